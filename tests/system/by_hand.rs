//! What somebody does with `docker` beside closd.

use clos_proto::v2 as pb;
use clos_tests::{Checkout, Daemon, IMAGE, docker, project_name};

fn compose(name: &str) -> String {
    format!(
        "name: {name}
services:
  web:
    image: {IMAGE}
    environment: {{LISTEN: '8080'}}
    restart: unless-stopped
    healthcheck: {{test: [CMD, /testapp, 'true'], interval: 1s}}
"
    )
}

/// Every change of a status so far, `running PAUSED`.
async fn told(daemon: &Daemon) -> Vec<String> {
    let asked = pb::ListEventsRequest {
        event_type: vec!["service.status_changed".into()],
        limit: Some(1000),
        ..Default::default()
    };
    let events = daemon.client().await.list_events(asked).await.unwrap().events;
    let words = events.into_iter().map(|event| {
        let data = event.data.unwrap();
        format!("{} {}", data.new_status.unwrap_or_default(), data.status_reason.unwrap_or_default())
    });
    words.collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_pause_and_a_stop_by_hand_are_shown_and_ended_by_up() {
    let daemon = Daemon::start().await;
    let name = project_name("byhand");
    let checkout = Checkout::new("byhand", &compose(&name));
    daemon.clos(checkout.path(), &["up"]).well();
    let (web, container) = (format!("{name}/web"), format!("{name}-web-1"));

    docker(&["pause", &container]).well();
    daemon.until(&web, |service| service.status_reason == "PAUSED").await;
    let status = daemon.clos(checkout.path(), &["status", "--exit-code"]);
    assert_eq!(status.code, 8, "{}", status.out);
    assert!(status.out.contains("running (PAUSED)"), "{}", status.out);
    let plan = daemon.clos(checkout.path(), &["plan"]).well();
    assert!(plan.contains("unpause") && plan.contains("is paused"), "{plan}");
    // The engine calls it unhealthy until it has asked again.
    daemon.clos(checkout.path(), &["up"]).well();
    daemon.until(&web, |service| service.status_reason.is_empty()).await;

    docker(&["pause", &container]).well();
    daemon.until(&web, |service| service.status_reason == "PAUSED").await;
    daemon.clos(checkout.path(), &["restart"]).well();

    docker(&["stop", "-t", "5", &container]).well();
    let service = daemon.until(&web, |service| service.status() == pb::ServiceStatus::Stopped).await;
    assert_eq!(service.status_reason, "STOPPED_OUTSIDE");
    let waited = daemon.clos(checkout.path(), &["wait", "web", "--timeout", "60s"]);
    assert_eq!(waited.code, 1, "{}", waited.err);
    assert!(waited.err.contains("STOPPED_OUTSIDE"), "{}", waited.err);
    daemon.clos(checkout.path(), &["up"]).well();

    docker(&["pause", &container]).well();
    daemon.until(&web, |service| service.status_reason == "PAUSED").await;
    daemon.clos(checkout.path(), &["down"]).well();
    let told = told(&daemon).await;
    let is_bad = |words: &&String| words.starts_with("failed") || words.starts_with("unhealthy");
    assert_eq!(told.iter().find(is_bad), None, "{told:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_restart_while_closd_was_away_moves_the_start() {
    let mut daemon = Daemon::start().await;
    let name = project_name("away");
    let checkout = Checkout::new("away", &compose(&name));
    daemon.clos(checkout.path(), &["up"]).well();
    let web = format!("{name}/web");
    let before = daemon.until(&web, |service| service.started_at.is_some()).await.started_at.unwrap();
    daemon.end("TERM");
    docker(&["restart", "-t", "5", &format!("{name}-web-1")]).well();
    daemon.run();
    let service = daemon.until(&web, |service| service.started_at != Some(before)).await;
    assert!(before.seconds <= service.started_at.unwrap().seconds);
    let shown = docker(&["inspect", "-f", "{{.State.StartedAt}}", &format!("{name}-web-1")]).well();
    let told = daemon.clos(checkout.path(), &["status", "-o", "json"]).json();
    // To the second: the engine counts further than the store.
    let told = told["services"][0]["started_at"].as_str().unwrap();
    assert_eq!(told[..19], shown[..19]);
}
