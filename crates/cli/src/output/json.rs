//! The API's messages as JSON, by the printer and with the spelling of the REST API: what a script reads
//! from `clos` and what it reads from `curl` are the same text.

use std::sync::LazyLock;

use clos_protojson::{Codec, Enums, Int64, Names, Spelling};
use prost::Message;
use serde_json::{Map, Value as Json};

use crate::failure::Failure;

/// Prints a message of the contract, given by its short name, as one line. With fields it is an object of
/// these, each under its dotted name.
pub(crate) fn text<M: Message>(name: &str, message: &M, fields: &[String]) -> Result<String, Failure> {
    static CODEC: LazyLock<Codec> = LazyLock::new(|| {
        // As the daemon mounts its REST API.
        let spelling = Spelling { names: Names::Proto, int64: Int64::Number, enums: Enums::Short };
        Codec::of(clos_proto::pool(), spelling)
    });
    let name = format!("{}.{name}", clos_proto::PACKAGE);
    let mut out = Vec::new();
    CODEC.print(&name, &message.encode_to_vec(), &mut out).map_err(|error| unprintable(&error))?;
    let text = String::from_utf8(out).map_err(|error| unprintable(&error))?;
    if fields.is_empty() {
        return Ok(text);
    }
    let value: Json = serde_json::from_str(&text).map_err(|error| unprintable(&error))?;
    Ok(select(&value, fields).to_string())
}

/// The same as a value.
pub(crate) fn value<M: Message>(name: &str, message: &M) -> Result<Json, Failure> {
    serde_json::from_str(&text(name, message, &[])?).map_err(|error| unprintable(&error))
}

/// Says why an answer is not printed.
pub(super) fn unprintable(error: &dyn std::fmt::Display) -> Failure {
    Failure::own(format!("the answer cannot be printed: {error}"))
}

fn select(value: &Json, fields: &[String]) -> Json {
    let mut chosen = Map::new();
    for field in fields {
        let found = field.split('.').try_fold(value, |inside, part| inside.get(part));
        chosen.insert(field.clone(), found.cloned().unwrap_or(Json::Null));
    }
    Json::Object(chosen)
}

#[cfg(test)]
mod tests {
    use clos_proto::v2 as pb;
    use prost_types::{Duration, Timestamp};

    use super::*;

    fn at(seconds: i64, nanos: i32) -> Option<Timestamp> {
        Some(Timestamp { seconds, nanos })
    }

    #[test]
    fn a_service_prints_as_rest_does() {
        let service = pb::Service {
            id: "svc_01".into(),
            name: "web".into(),
            group: "shop".into(),
            instance: "x".into(),
            port: Some(3000),
            ports: vec![
                pb::ServicePort {
                    container_port: 3000,
                    host_port: Some(3000),
                    host_ip: "127.0.0.1".into(),
                    protocol: pb::Protocol::Tcp.into(),
                    host_port_end: None,
                    addresses: vec!["127.0.0.1".into()],
                },
                pb::ServicePort {
                    container_port: 53,
                    protocol: pb::Protocol::Udp.into(),
                    ..Default::default()
                },
            ],
            status: pb::ServiceStatus::Running.into(),
            desired_state: pb::DesiredState::Running.into(),
            observed_at: at(1_795_428_000, 0),
            started_at: at(1_795_427_999, 120_000_000),
            health_check: Some(pb::HealthCheck {
                url: Some("http://:8080/healthz".into()),
                interval: Some(Duration { seconds: 30, nanos: 0 }),
                timeout: Some(Duration { seconds: 1, nanos: 500_000_000 }),
                expected_status: vec![200, 204],
                status: Some(pb::HealthStatus::Healthy.into()),
                ..Default::default()
            }),
            environment: [("B".into(), "2".into()), ("A".into(), String::new())].into(),
            depends_on: vec![pb::Dependency {
                service: "db".into(),
                condition: pb::DependencyCondition::Healthy.into(),
                required: Some(true),
                restart: false,
            }],
            resources: Some(pb::Resources {
                cpu_limit: Some(0.5),
                memory_limit: Some(9_007_199_254_740_993),
                ..Default::default()
            }),
            docker_config: Some(pb::DockerConfig {
                image: "web:1".into(),
                command: vec!["serve".into()],
                ulimits: [("nofile".into(), pb::Ulimit { soft: 1024, hard: -1 })].into(),
                ..Default::default()
            }),
            enabled: true,
            metrics: Some(pb::ServiceMetrics { cpu_usage: 1.0, memory_usage: 12.25, ..Default::default() }),
            ..Default::default()
        };
        let laid_out = clos_protojson::json::indent(text("Service", &service, &[]).unwrap().as_bytes());
        insta::assert_snapshot!(String::from_utf8(laid_out).unwrap());
    }

    #[test]
    fn what_an_operation_does_not_have_yet_is_null() {
        let json = value("Operation", &pb::Operation::default()).unwrap();
        assert_eq!((&json["started_at"], &json["steps"]), (&Json::Null, &serde_json::json!([])));
        assert!(json.as_object().unwrap().contains_key("started_at"));
    }

    #[test]
    fn words_of_several_parts_keep_their_underscore_and_unknown_numbers_stay() {
        let step =
            pb::Step { status: pb::OperationStatus::InProgress.into(), action: 99, ..pb::Step::default() };
        let json = value("Step", &step).unwrap();
        assert_eq!((&json["status"], &json["action"]), (&Json::from("in_progress"), &Json::from(99)));
    }

    #[test]
    fn numbers_are_printed_to_their_last_digit() {
        let group = pb::Group { health_score: 0.123_456_789_012_345_68, ..pb::Group::default() };
        assert!(text("Group", &group, &[]).unwrap().contains("\"health_score\":0.12345678901234568,"));
    }

    #[test]
    fn fields_are_found_inside_of_messages_and_maps() {
        let service = pb::Service {
            name: "web".into(),
            environment: [("A".into(), "1".into())].into(),
            ..pb::Service::default()
        };
        let fields = ["environment.A", "name", "started_at", "nope.nope"].map(str::to_owned);
        let text = text("Service", &service, &fields).unwrap();
        assert_eq!(text, "{\"environment.A\":\"1\",\"name\":\"web\",\"started_at\":null,\"nope.nope\":null}");
    }

    #[test]
    fn a_name_that_the_contract_does_not_have_is_an_error() {
        let error = text("Servise", &pb::Service::default(), &[]).unwrap_err();
        assert!(format!("{error:?}").contains("there is no message `clos.v2.Servise`"), "{error:?}");
    }
}
