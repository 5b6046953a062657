//! What breaks in the middle: ^C, a daemon that is killed.

use std::process::{Command, Stdio};

use clos_proto::v2 as pb;
use clos_tests::{Checkout, Daemon, IMAGE, project_name};

fn never_healthy(name: &str) -> String {
    format!(
        "name: {name}
services:
  db: {{image: {IMAGE}, environment: {{LISTEN: '8080'}}, healthcheck: {{test: [CMD, /testapp, 'false'], interval: 1s, retries: 1000}}}}
  web: {{image: {IMAGE}, depends_on: {{db: {{condition: service_healthy}}}}}}
"
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn an_interrupt_cancels_the_operation_and_what_runs_stays() {
    let daemon = Daemon::start().await;
    let name = project_name("cancel");
    let checkout = Checkout::new("cancel", &never_healthy(&name));
    let up = daemon.clos_in(checkout.path(), &["up"]).stderr(Stdio::piped()).spawn().unwrap();
    let mut watch = daemon
        .client()
        .await
        .watch_events(pb::WatchEventsRequest {
            after: Some(0),
            event_type: vec!["operation.progress".into()],
            ..Default::default()
        })
        .await
        .unwrap();
    loop {
        let data = watch.next().await.unwrap().data.unwrap();
        if data.action.as_deref() == Some("wait") && data.status.as_deref() == Some("in_progress") {
            break;
        }
    }
    assert!(Command::new("kill").arg("-INT").arg(up.id().to_string()).status().unwrap().success());
    let ran: clos_tests::Ran = up.wait_with_output().unwrap().into();
    assert_eq!(ran.code, 130, "{}", ran.err);
    assert!(ran.err.contains("cancelling"), "{}", ran.err);
    assert_eq!(daemon.containers(false), [format!("{name}-db-1")]);
    let ops = daemon.clos(checkout.path(), &["ops"]).well();
    assert!(ops.contains("cancelled (CANCEL_REQUESTED)"), "{ops}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_daemon_that_is_killed_touches_nothing_and_says_so_afterwards() {
    let mut daemon = Daemon::start().await;
    let name = project_name("killed");
    let checkout = Checkout::new("killed", &never_healthy(&name));
    daemon.clos(checkout.path(), &["up", "--no-start"]).well();
    let client = daemon.client().await;
    let start = pb::StartGroupRequest { name: name.clone(), ..Default::default() };
    let operation = client.start_group(start).await.unwrap();
    let db = format!("{name}/db");
    daemon
        .until(&db, |service| service.status() == pb::ServiceStatus::Starting && service.started_at.is_some())
        .await;
    daemon.end("KILL");
    assert_eq!(daemon.containers(false), [format!("{name}-db-1")], "it runs on");
    daemon.run();
    let ended = daemon.ended(&operation).await;
    assert_eq!((ended.status(), ended.reason.as_str()), (pb::OperationStatus::Failed, "INTERRUPTED"));

    // Repaired files, and all is well.
    checkout.write("compose.yaml", &never_healthy(&name).replace("'false'", "'true'"));
    daemon.clos(checkout.path(), &["up"]).well();
    assert_eq!(daemon.containers(false), [format!("{name}-db-1"), format!("{name}-web-1")]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn atomic_takes_back_what_it_did() {
    let daemon = Daemon::start().await;
    let name = project_name("atomic");
    let text = format!(
        "name: {name}
services:
  db: {{image: {IMAGE}, environment: {{LISTEN: '8080'}}}}
  web: {{image: {IMAGE}, depends_on: [db], environment: {{RUN_ONCE: '1', EXIT_CODE: '3'}}, restart: unless-stopped, healthcheck: {{test: [CMD, /testapp, 'false'], interval: 200ms, retries: 2}}}}
"
    );
    let checkout = Checkout::new("atomic", &text);
    let left = daemon.clos(checkout.path(), &["up"]);
    assert_eq!(left.code, 1, "{}", left.err);
    assert!(left.err.contains("web") && left.err.contains(&format!("clos logs {name}/web")), "{}", left.err);
    assert!(daemon.containers(true).contains(&format!("{name}-web-1")), "it stays for its logs");
    daemon.clos(checkout.path(), &["down"]).well();
    let undone = daemon.clos(checkout.path(), &["up", "--atomic"]);
    assert_eq!(undone.code, 1, "{}", undone.err);
    assert_eq!(daemon.containers(true), Vec::<String>::new());
}
