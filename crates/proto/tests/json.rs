//! The JSON that clients print.

use clos_proto::json::to_value;
use clos_proto::v2 as pb;
use prost_types::{Duration, Timestamp};

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
            pb::ServicePort { container_port: 53, protocol: pb::Protocol::Udp.into(), ..Default::default() },
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
    let json = to_value("Service", &service).unwrap();
    insta::assert_snapshot!(serde_json::to_string_pretty(&json).unwrap());
}

#[test]
fn an_event_prints_only_the_facts_that_it_has() {
    let event = pb::Event {
        r#type: "service.status_changed".into(),
        seq: 42,
        severity: pb::Severity::Info.into(),
        service_id: "svc_01".into(),
        group_name: "shop".into(),
        data: Some(pb::EventData {
            old_status: Some("starting".into()),
            new_status: Some("running".into()),
            exit_code: Some(0),
            ..Default::default()
        }),
        timestamp: at(1_795_428_000, 1_000),
        ..Default::default()
    };
    let json = to_value("clos.v2.Event", &event).unwrap();
    insta::assert_snapshot!(json.to_string());
}

#[test]
fn an_empty_operation_prints_its_lists_and_words_and_leaves_out_its_times() {
    let json = to_value("Operation", &pb::Operation::default()).unwrap();
    insta::assert_snapshot!(json.to_string());
}

#[test]
fn words_of_several_parts_keep_their_underscore_and_unknown_numbers_stay() {
    let step = pb::Step { status: pb::OperationStatus::InProgress.into(), action: 99, ..Default::default() };
    let json = to_value("Step", &step).unwrap();
    assert_eq!(json["status"], "in_progress");
    assert_eq!(json["action"], 99);
}

#[test]
fn an_unset_variable_is_told_apart_from_an_empty_one() {
    let source = pb::ComposeSource {
        variables: [
            ("EMPTY".into(), pb::VariableValue { value: Some(String::new()) }),
            ("UNSET".into(), pb::VariableValue { value: None }),
        ]
        .into(),
        ..Default::default()
    };
    let json = to_value("ComposeSource", &source).unwrap();
    assert_eq!(json["variables"], serde_json::json!({"EMPTY": {"value": ""}, "UNSET": {}}));
}

#[test]
fn numbers_that_json_has_no_form_for_are_words() {
    let print = |value| to_value("Group", &pb::Group { health_score: value, ..Default::default() }).unwrap();
    assert_eq!(print(f64::NAN)["health_score"], "NaN");
    assert_eq!(print(f64::INFINITY)["health_score"], "Infinity");
    assert_eq!(print(f64::NEG_INFINITY)["health_score"], "-Infinity");
}

#[test]
fn numbers_are_as_short_as_they_read_back() {
    let print = |value| to_value("Group", &pb::Group { health_score: value, ..Default::default() }).unwrap();
    assert_eq!(print(1.0)["health_score"].to_string(), "1");
    assert_eq!(print(0.1)["health_score"].to_string(), "0.1");
    assert_eq!(print(1e300)["health_score"].to_string(), "1e+300");
}

#[test]
fn well_known_types_have_their_own_form() {
    let request = pb::UpdateServiceRequest {
        update_mask: Some(prost_types::FieldMask { paths: vec!["docker_config.image".into()] }),
        ..Default::default()
    };
    let json = to_value("UpdateServiceRequest", &request).unwrap();
    assert_eq!(json["update_mask"], "dockerConfig.image");
}

#[test]
fn a_name_that_the_contract_does_not_have_is_an_error() {
    let error = to_value("Servise", &pb::Service::default()).unwrap_err();
    assert_eq!(error.to_string(), "the contract has no message `Servise`");
}

#[test]
fn a_message_under_another_ones_name_is_an_error() {
    let group = pb::Group { id: "grp_01".into(), ..Default::default() };
    let error = to_value("Pagination", &group).unwrap_err();
    assert!(error.to_string().starts_with("the message is no `Pagination`"), "{error}");
}
