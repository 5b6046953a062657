//! Cancel, the later intent, drain, and what an earlier process left open.

use std::time::Duration;

use clos_domain::Reason;
use clos_domain::operation::State;
use clos_domain::service::{Desired, Observed, Status};

use crate::bed::{Bed, assert_completed, request, steps, within};

const WAITING: &str = "
services:
  db: {image: app, healthcheck: {test: [CMD, check], interval: 10s, retries: 30}}
  web: {image: app, depends_on: {db: {condition: service_healthy}}}
";

async fn waiting(bed: &Bed) -> clos_domain::operation::Operation {
    bed.engine.exec_answers("shop-db-1", 1, "not yet");
    let operation = bed.begin_up(WAITING).await;
    bed.until("shop/db", |service| {
        service.step.as_ref().is_some_and(|step| step.action == clos_domain::operation::Action::Wait)
    })
    .await;
    operation
}

#[tokio::test]
async fn cancel_ends_a_wait_at_once() {
    let bed = Bed::new().await;
    let operation = waiting(&bed).await;
    let asked = bed.control.operations().cancel(&bed.ctx, operation.id.as_str()).await.unwrap();
    assert!(asked.cancel_requested);
    let ended = bed.ended(&operation).await;
    assert_eq!((ended.state, ended.reason), (State::Cancelled, Some(Reason::CancelRequested)));
    assert!(ended.cancel_requested);
    assert!(bed.engine.runs("shop-db-1"), "what runs stays");
    let web = bed.service("shop/web").await;
    assert_eq!(
        (web.observed, web.desired),
        (Observed::Created, Desired::Stopped),
        "made early, never started"
    );
    let again = bed.control.operations().cancel(&bed.ctx, operation.id.as_str()).await.unwrap();
    assert_eq!(again.state, State::Cancelled);
}

#[tokio::test]
async fn cancel_awaits_a_call_that_was_sent() {
    let bed = Bed::new().await;
    let held = bed.engine.hold("start", "shop-web-1");
    let operation =
        bed.begin_up("services: {web: {image: app}, late: {image: app, depends_on: [web]}}").await;
    within(held.reached()).await;
    bed.control.operations().cancel(&bed.ctx, operation.id.as_str()).await.unwrap();
    drop(held);
    let ended = bed.ended(&operation).await;
    assert_eq!(ended.state, State::Cancelled);
    assert!(steps(&ended).contains(&"start shop-web-1 completed".to_owned()), "{:#?}", steps(&ended));
    assert!(!bed.engine.runs("shop-late-1"));
    assert_eq!(bed.status("shop/web").await, (Status::Running, None));
}

#[tokio::test]
async fn the_later_intent_wins() {
    let bed = Bed::new().await;
    let up = waiting(&bed).await;
    let stop = bed.control.groups().stop(&bed.ctx, "shop", None).await.unwrap();
    assert_completed(&bed.ended(&stop).await);
    let up = bed.ended(&up).await;
    assert_eq!((up.state, up.reason), (State::Cancelled, Some(Reason::Superseded)), "{:#?}", steps(&up));
    assert!(!bed.engine.runs("shop-db-1"));
    assert_eq!(bed.status("shop/db").await, (Status::Stopped, None));
}

#[tokio::test]
async fn the_same_intent_joins_and_starts_nothing_twice() {
    let bed = Bed::new().await;
    let held = bed.engine.hold("start", "shop-web-1");
    let first = bed.begin_up("services: {web: {image: app}}").await;
    within(held.reached()).await;
    let second = bed.begin_up("services: {web: {image: app}}").await;
    drop(held);
    assert_completed(&bed.ended(&first).await);
    assert_completed(&bed.ended(&second).await);
    assert_eq!(bed.engine.starts_of("shop-web-1"), 1);
}

#[tokio::test]
async fn a_drain_ends_open_operations_as_interrupted_and_touches_no_container() {
    let bed = Bed::new().await;
    let operation = waiting(&bed).await;
    assert!(bed.supervisor.drain(Duration::from_secs(10)).await);
    let ended = bed.control.operations().get(&bed.ctx, operation.id.as_str()).await.unwrap();
    assert_eq!((ended.state, ended.reason), (State::Failed, Some(Reason::Interrupted)));
    assert!(bed.engine.runs("shop-db-1"));
    assert_eq!(bed.engine.calls("stop", "shop-db-1"), 0);
    assert!(!bed.control.system().ready(&bed.ctx).await);
}

#[tokio::test]
async fn what_a_dead_process_left_open_ends_as_interrupted_at_the_next_start() {
    let bed = Bed::new().await;
    let held = bed.engine.hold("start", "shop-web-1");
    let operation =
        bed.begin_up("services: {web: {image: app}, late: {image: app, depends_on: [web]}}").await;
    within(held.reached()).await;
    let bed = bed.restarted().await;
    let ended = bed.control.operations().get(&bed.ctx, operation.id.as_str()).await.unwrap();
    assert_eq!((ended.state, ended.reason), (State::Failed, Some(Reason::Interrupted)));
    assert!(ended.steps.iter().all(|step| step.state.is_terminal()), "{:#?}", steps(&ended));
    assert_eq!(bed.service("shop/web").await.step, None);
    let applied =
        bed.apply(request("services: {web: {image: app}, late: {image: app, depends_on: [web]}}")).await;
    assert_completed(&bed.ended(&applied.unwrap().operation.unwrap()).await);
    drop(held);
}

#[tokio::test]
async fn an_operation_that_cannot_be_recorded_ends_when_the_store_is_back() {
    let bed = Bed::new().await;
    let held = bed.engine.hold("start", "shop-web-1");
    let operation =
        bed.begin_up("services: {web: {image: app}, late: {image: app, depends_on: [web]}}").await;
    within(held.reached()).await;
    bed.store.refuse(true);
    drop(held);
    // The end of the step, what the engine told of it, and the end of the operation, more than once.
    within(bed.store.refused(5)).await;
    bed.store.refuse(false);
    let ended = bed.ended(&operation).await;
    assert_eq!((ended.state, ended.reason), (State::Failed, Some(Reason::StoreUnavailable)));
    assert!(ended.message.contains("could not be recorded"), "{}", ended.message);
    assert!(ended.steps.iter().all(|step| step.state.is_terminal()), "{:#?}", steps(&ended));
    assert_eq!(bed.service("shop/web").await.step, None);
    assert!(!bed.engine.runs("shop-late-1"));
}
