//! What somebody does by hand beside closd, `docker pause`, `docker stop`, `docker restart`, is respected and shown.

use std::time::Duration;

use clos_domain::event::types;
use clos_domain::health::Verdict;
use clos_domain::operation::State;
use clos_domain::seams::host::Answer;
use clos_domain::service::{Observed, Service, Status};
use clos_domain::{Reason, group};

use crate::bed::{Bed, assert_completed, steps, within};

const WEB: &str = "services: {web: {image: app, restart: unless-stopped}}";
const CHECKED: &str = "services: {web: {image: app, healthcheck: {test: [CMD, check]}}}";

/// The words of every change of status so far, `running PAUSED`.
async fn told(bed: &Bed) -> Vec<String> {
    let events = bed.events().await;
    let changes = events.iter().filter(|event| event.kind == types::SERVICE_STATUS_CHANGED);
    let words = changes.map(|event| {
        let status = event.data.new_status.clone().unwrap_or_default();
        event.data.status_reason.iter().fold(status, |words, reason| format!("{words} {reason}"))
    });
    words.collect()
}

async fn group_status(bed: &Bed) -> (group::Status, f64) {
    let shop = bed.control.groups().get(&bed.ctx, "shop").await.unwrap();
    (shop.status, shop.health_score)
}

fn is_paused(service: &Service) -> bool {
    service.status_reason == Some(Reason::Paused)
}

fn was_stopped(service: &Service) -> bool {
    service.status_reason == Some(Reason::StoppedOutside)
}

#[tokio::test]
async fn a_pause_is_shown_and_left_alone_until_somebody_ends_it() {
    let bed = Bed::new().await;
    assert_completed(&bed.up(CHECKED).await);
    let before = told(&bed).await.len();
    bed.engine.pause_by_hand("shop-web-1");
    let service = bed.until("shop/web", is_paused).await;
    assert_eq!((service.status, service.observed), (Status::Running, Observed::Paused(Verdict::Healthy)));
    bed.engine.reconnect();
    bed.engine.unpause_by_hand("shop-web-1");
    let service = bed.until("shop/web", |service| service.status_reason.is_none()).await;
    assert_eq!(service.observed, Observed::Running(Verdict::Healthy));
    assert_eq!(told(&bed).await[before..], ["running PAUSED", "running"]);
    assert_eq!(bed.engine.calls("unpause", "shop-web-1"), 0);
    let health = bed.control.services().health(&bed.ctx, "shop/web").await.unwrap();
    assert_eq!(
        health.history.iter().filter(|it| it.data.new_health.as_deref() == Some("healthy")).count(),
        1
    );
}

#[tokio::test]
async fn a_pause_that_nobody_saw_is_found() {
    let bed = Bed::new().await;
    assert_completed(&bed.up(WEB).await);
    bed.engine.drop_events(true);
    bed.engine.pause_by_hand("shop-web-1");
    bed.engine.drop_events(false);
    bed.engine.reconnect();
    bed.until("shop/web", is_paused).await;
}

#[tokio::test]
async fn up_lets_a_paused_service_go_on_and_waits_for_it() {
    let bed = Bed::new().await;
    assert_completed(&bed.up(WEB).await);
    let container = bed.engine.id("shop-web-1");
    bed.engine.pause_by_hand("shop-web-1");
    bed.until("shop/web", is_paused).await;
    let operation = bed.up(WEB).await;
    assert_completed(&operation);
    let words: Vec<&str> = operation.steps.iter().map(|step| step.action.as_str()).collect();
    assert_eq!(words, ["unpause", "wait"], "{:#?}", steps(&operation));
    assert_eq!(operation.steps[0].why, "is paused");
    assert_eq!(bed.status("shop/web").await, (Status::Running, None));
    assert_eq!((bed.engine.id("shop-web-1"), bed.engine.starts_of("shop-web-1")), (container, 1));
}

#[tokio::test]
async fn every_verb_takes_a_paused_service_as_one_that_runs() {
    let bed = Bed::new().await;
    assert_completed(&bed.up(WEB).await);
    let paused = async || {
        bed.engine.pause_by_hand("shop-web-1");
        bed.until("shop/web", is_paused).await;
    };
    paused().await;
    let restart = bed.control.groups().restart(&bed.ctx, "shop", None).await.unwrap();
    assert_completed(&bed.ended(&restart).await);
    assert_eq!(bed.status("shop/web").await, (Status::Running, None));
    paused().await;
    assert_completed(&bed.up("services: {web: {image: app, environment: {A: b}}}").await);
    assert_eq!(bed.status("shop/web").await, (Status::Running, None));
    assert!(bed.engine.runs("shop-web-1"));
    paused().await;
    let stop = bed.control.groups().stop(&bed.ctx, "shop", None).await.unwrap();
    assert_completed(&bed.ended(&stop).await);
    assert_eq!(bed.status("shop/web").await, (Status::Stopped, None));
    assert_completed(&bed.up(WEB).await);
    paused().await;
    let down = bed.control.groups().down(&bed.ctx, "shop", false, None).await.unwrap();
    assert_completed(&bed.ended(&down).await);
    assert!(!bed.engine.has("shop-web-1"));
    let words = told(&bed).await;
    assert!(!words.iter().any(|word| word.starts_with("failed") || word.contains("OUTSIDE")), "{words:?}");
}

#[tokio::test]
async fn a_gate_waits_for_a_paused_service_and_asks_it_nothing() {
    let bed = Bed::new().await;
    bed.engine.exec_answers("shop-web-1", 1, "not yet");
    let operation = bed.begin_up(CHECKED).await;
    bed.until("shop/web", |service| service.observed.is_running() && service.step.is_some()).await;
    bed.engine.pause_by_hand("shop-web-1");
    bed.until("shop/web", is_paused).await;
    bed.engine.exec_answers("shop-web-1", 0, "");
    let running =
        bed.control.operations().wait(&bed.ctx, operation.id.as_str(), Duration::from_millis(400)).await;
    assert_eq!(running.unwrap().state, State::InProgress);
    let asked = bed.engine.calls("exec", "shop-web-1");
    bed.engine.unpause_by_hand("shop-web-1");
    assert_completed(&bed.ended(&operation).await);
    assert!(bed.engine.calls("exec", "shop-web-1") > asked);
}

#[tokio::test]
async fn our_own_check_asks_nobody_who_is_paused() {
    let bed = Bed::new().await;
    bed.probe.answer_everything(Answer::Well);
    let text = "services: {web: {image: app, x-clos: {health_check: {url: 'http://:80/', interval: 1s, retries: 1}}}}";
    assert_completed(&bed.up(text).await);
    bed.engine.pause_by_hand("shop-web-1");
    bed.until("shop/web", is_paused).await;
    bed.probe.answer_everything(Answer::Http { status: 500, is_well: false });
    // Longer than the pace of the monitor.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert_eq!(bed.service("shop/web").await.observed, Observed::Paused(Verdict::Healthy));
    bed.engine.unpause_by_hand("shop-web-1");
    bed.until("shop/web", |service| service.status == Status::Unhealthy).await;
}

#[tokio::test]
async fn a_stop_by_hand_is_no_failure_whatever_the_code() {
    for (text, code) in [(WEB, 0), (WEB, 143), (WEB, 137), (WEB, 1), (CHECKED, 0)] {
        let bed = Bed::new().await;
        assert_completed(&bed.up(text).await);
        let before = told(&bed).await.len();
        bed.engine.stop_by_hand("shop-web-1", code);
        let service = bed.until("shop/web", was_stopped).await;
        assert_eq!((service.status, service.observed), (Status::Stopped, Observed::Exited(code)));
        assert_eq!(told(&bed).await[before..], ["stopped STOPPED_OUTSIDE"]);
        assert_eq!(group_status(&bed).await, (group::Status::Partial, 0.0));
        bed.engine.reconnect();
        assert_completed(&bed.up(text).await);
        assert_eq!(bed.status("shop/web").await, (Status::Running, None));
    }
}

#[tokio::test]
async fn a_pause_then_a_stop_by_hand_is_a_stop() {
    let bed = Bed::new().await;
    assert_completed(&bed.up(WEB).await);
    bed.engine.pause_by_hand("shop-web-1");
    bed.until("shop/web", is_paused).await;
    bed.engine.stop_by_hand("shop-web-1", 0);
    bed.until("shop/web", was_stopped).await;
    assert!(!told(&bed).await.iter().any(|word| word.starts_with("failed")));
}

#[tokio::test]
async fn a_restart_by_hand_is_no_failure() {
    let bed = Bed::new().await;
    assert_completed(&bed.up(WEB).await);
    let before = bed.service("shop/web").await.started_at;
    bed.engine.stop_by_hand("shop-web-1", 0);
    bed.engine.start_by_hand("shop-web-1");
    let service = bed.until("shop/web", |service| service.started_at > before).await;
    assert_eq!((service.status, service.ended_by), (Status::Running, None));
    assert!(!told(&bed).await.iter().any(|word| word.starts_with("failed")));
}

#[tokio::test]
async fn a_kill_is_a_failure_and_so_is_an_end_long_after_a_reload() {
    for signal in [None, Some(1)] {
        let bed = Bed::new().await;
        assert_completed(&bed.up(WEB).await);
        if let Some(signal) = signal {
            bed.engine.signal("shop-web-1", signal);
        }
        bed.engine.kill("shop-web-1", 137);
        let service = bed.until("shop/web", |service| service.status == Status::Failed).await;
        assert_eq!(service.status_reason, Some(Reason::Exited));
    }
}

#[tokio::test]
async fn a_server_that_ended_while_nobody_watched_has_not_done_its_work() {
    for (text, status) in [
        ("services: {web: {image: app, ports: ['8080:80']}}", (Status::Failed, Some(Reason::Exited))),
        (CHECKED, (Status::Failed, Some(Reason::Exited))),
        ("services: {web: {image: app}}", (Status::Stopped, Some(Reason::Completed))),
    ] {
        let bed = Bed::new().await;
        assert_completed(&bed.up(text).await);
        bed.supervisor.drain(Duration::from_secs(5)).await;
        bed.engine.stop_by_hand("shop-web-1", 0);
        let bed = bed.restarted().await;
        bed.control.start();
        let service = bed.until("shop/web", |service| !service.observed.is_running()).await;
        assert_eq!((service.status, service.status_reason), status, "{text}");
    }
}

#[tokio::test]
async fn a_job_with_a_port_or_a_check_that_was_watched_is_completed() {
    let bed = Bed::new().await;
    bed.engine.exits_with("shop-job-1", 0);
    let text = "services: {job: {image: app, ports: ['8080:80']}, web: {image: app, depends_on: {job: {condition: service_completed_successfully}}}}";
    assert_completed(&bed.up(text).await);
    assert_eq!(bed.status("shop/job").await, (Status::Stopped, Some(Reason::Completed)));
    let bed = Bed::new().await;
    assert_completed(&bed.up(CHECKED).await);
    bed.engine.crash("shop-web-1", 0);
    bed.until("shop/web", |service| service.status_reason == Some(Reason::Completed)).await;
}

#[tokio::test]
async fn a_gate_on_what_was_stopped_by_hand_ends_at_once() {
    let bed = Bed::new().await;
    bed.engine.exec_answers("shop-db-1", 1, "not yet");
    let text = "services: {db: {image: app, healthcheck: {test: [CMD, check]}}, web: {image: app, depends_on: {db: {condition: service_healthy}}}}";
    let operation = bed.begin_up(text).await;
    bed.until("shop/db", |service| service.observed.is_running()).await;
    bed.engine.stop_by_hand("shop-db-1", 0);
    let operation = within(bed.ended(&operation)).await;
    assert_eq!((operation.state, operation.reason), (State::Failed, Some(Reason::StoppedOutside)));
    assert_eq!(bed.status("shop/db").await, (Status::Stopped, Some(Reason::StoppedOutside)));
    assert_eq!(bed.status("shop/web").await, (Status::Stopped, Some(Reason::Skipped)));
}

#[tokio::test]
async fn an_undo_pauses_again_what_was_paused() {
    let bed = Bed::new().await;
    assert_completed(&bed.up(WEB).await);
    bed.engine.pause_by_hand("shop-web-1");
    bed.until("shop/web", is_paused).await;
    bed.engine.exits_with("shop-job-1", 3);
    let text = "services: {web: {image: app, restart: unless-stopped}, job: {image: app, depends_on: [web]}}";
    let mut request = crate::bed::request(text);
    request.atomic = true;
    let operation = bed.apply(request).await.unwrap().operation.unwrap();
    let operation = bed.ended(&operation).await;
    assert_eq!(operation.state, State::Failed);
    assert_eq!(operation.steps.last().unwrap().action.as_str(), "pause", "{:#?}", steps(&operation));
    assert_eq!(bed.status("shop/web").await, (Status::Running, Some(Reason::Paused)));
}
