//! By gRPC: one container, its events, and watchers that come late or come back.

use std::process::{Command, Stdio};

use clos_proto::v2 as pb;
use clos_tests::{Daemon, IMAGE, PATIENCE, docker, project_name, tool};

/// A group with one service, registered and not started.
async fn registered(daemon: &Daemon) -> String {
    let client = daemon.client().await;
    let name = project_name("solo");
    let group = pb::Group { name: name.clone(), working_dir: "/".into(), ..Default::default() };
    client.create_group(pb::CreateGroupRequest { group: Some(group), ..Default::default() }).await.unwrap();
    let service = pb::Service {
        name: "web".into(),
        group: name.clone(),
        environment: [("LISTEN".to_owned(), "8080".to_owned())].into(),
        docker_config: Some(pb::DockerConfig { image: IMAGE.into(), ..Default::default() }),
        ..Default::default()
    };
    client
        .create_service(pb::CreateServiceRequest { service: Some(service), ..Default::default() })
        .await
        .unwrap();
    name
}

async fn next(watch: &mut clos_client::watch::EventWatch) -> pb::Event {
    tokio::time::timeout(PATIENCE, watch.next()).await.expect("an event comes").unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn one_container_is_created_started_watched_and_killed() {
    let daemon = Daemon::start().await;
    let client = daemon.client().await;
    let mut watch = client.watch_events(pb::WatchEventsRequest::default()).await.unwrap();
    let name = registered(&daemon).await;
    let id = format!("{name}/web");
    let operation =
        client.start_service(pb::StartServiceRequest { id: id.clone(), ..Default::default() }).await.unwrap();
    let ended = daemon.ended(&operation).await;
    assert_eq!(ended.status(), pb::OperationStatus::Completed, "{ended:#?}");
    let actions: Vec<pb::StepAction> = ended.steps.iter().map(pb::Step::action).collect();
    assert!(
        actions.contains(&pb::StepAction::Create) && actions.contains(&pb::StepAction::Start),
        "{actions:?}"
    );

    docker(&["kill", &format!("{name}-web-1")]).well();
    let mut seen = Vec::new();
    loop {
        let event = next(&mut watch).await;
        let data = event.data.clone().unwrap_or_default();
        seen.push(event);
        if data.new_status.as_deref() == Some("failed") {
            assert_eq!(data.exit_code, Some(137));
            break;
        }
    }
    let types: Vec<&str> = seen.iter().map(|event| event.r#type.as_str()).collect();
    for expected in [
        "group.created",
        "service.created",
        "group.operation_started",
        "operation.progress",
        "service.status_changed",
    ] {
        assert!(types.contains(&expected), "{expected}: {types:?}");
    }
    let sequences: Vec<i64> = seen.iter().map(|event| event.seq).collect();
    assert!(sequences.windows(2).all(|pair| pair[0] + 1 == pair[1]), "{sequences:?}");

    // Who comes late reads the same.
    let mut late = client
        .watch_events(pb::WatchEventsRequest { after: Some(sequences[0] - 1), ..Default::default() })
        .await
        .unwrap();
    for expected in &seen {
        assert_eq!(&next(&mut late).await, expected);
    }
    // And who watches the operation only, its own events from the first to the last.
    let mut of_operation = client.watch_operation(&operation.id).await.unwrap();
    let mut told = Vec::new();
    while let Some(event) = of_operation.next().await.unwrap() {
        told.push(event);
    }
    let expected: Vec<pb::Event> =
        seen.into_iter().filter(|event| event.operation_id == operation.id).collect();
    assert_eq!(told, expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn grpcurl_finds_everything_by_reflection() {
    let daemon = Daemon::start().await;
    let name = registered(&daemon).await;
    let grpcurl = |args: &[&str], method: &str| {
        let mut grpcurl = Command::new(tool("CLOS_TEST_GRPCURL"));
        grpcurl.args(["-plaintext", "-unix"]).args(args).arg(daemon.socket()).args(method.split(' '));
        grpcurl.stdin(Stdio::null()).output().unwrap()
    };
    let ask = |data: &str, method: &str| -> String {
        let output = grpcurl(&["-d", data], method);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let listed = String::from_utf8(grpcurl(&[], "list").stdout).unwrap();
    for api in ["EventsApi", "GroupsApi", "OperationsApi", "ServicesApi", "SystemApi"] {
        assert!(listed.contains(&format!("clos.v2.{api}")), "{listed}");
    }
    let described =
        String::from_utf8(grpcurl(&[], "describe clos.v2.ServicesApi.StartService").stdout).unwrap();
    assert!(described.contains("StartServiceRequest"), "{described}");

    let started = ask(&format!(r#"{{"name": "{name}"}}"#), "clos.v2.GroupsApi/StartGroup");
    let operation: serde_json::Value = serde_json::from_str(&started).unwrap();
    let id = operation["id"].as_str().unwrap();
    let watched = ask(&format!(r#"{{"id": "{id}"}}"#), "clos.v2.OperationsApi/WatchOperation");
    let events: Vec<serde_json::Value> =
        serde_json::Deserializer::from_str(&watched).into_iter().map(Result::unwrap).collect();
    assert_eq!(events.first().unwrap()["type"], "group.operation_started");
    assert_eq!(events.last().unwrap()["type"], "group.operation_completed");

    // A watch from a position on: the first that comes is the one behind it.
    let after: i64 = events[0]["seq"].as_str().unwrap().parse().unwrap();
    let output = grpcurl(
        &["-max-time", "3", "-d", &format!(r#"{{"after": {after}}}"#)],
        "clos.v2.EventsApi/WatchEvents",
    );
    let text = String::from_utf8(output.stdout).unwrap();
    let mut resumed = serde_json::Deserializer::from_str(&text).into_iter::<serde_json::Value>();
    assert_eq!(resumed.next().unwrap().unwrap()["seq"], (after + 1).to_string());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_watch_goes_on_through_a_restart_of_the_daemon() {
    let mut daemon = Daemon::start().await;
    let client = daemon.client().await;
    let name = registered(&daemon).await;
    let mut watch =
        client.watch_events(pb::WatchEventsRequest { after: Some(0), ..Default::default() }).await.unwrap();
    let mut last = next(&mut watch).await.seq;
    daemon.end("TERM");
    daemon.run();
    let deleted = pb::DeleteGroupRequest { name, force: true, ..Default::default() };
    daemon.client().await.delete_group(deleted).await.unwrap();
    loop {
        let event = next(&mut watch).await;
        assert_eq!(event.seq, last + 1);
        last = event.seq;
        if event.r#type == "group.deleted" {
            break;
        }
    }
}
