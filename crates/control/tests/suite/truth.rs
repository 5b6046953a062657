//! What is called up is up: jobs that fail, services that end at once, crash loops.

use std::time::Duration;

use clos_domain::Reason;
use clos_domain::operation::State;
use clos_domain::service::{RESTART_SETTLES, Status};

use crate::bed::{Bed, assert_completed, steps};

#[tokio::test]
async fn a_job_that_fails_fails_the_up() {
    let bed = Bed::new().await;
    bed.engine.exits_with("shop-job-1", 3);
    let operation = bed.up("services: {job: {image: app}}").await;
    assert_eq!((operation.state, operation.reason), (State::Failed, Some(Reason::Exited)));
    assert!(operation.message.contains("exited with code 3"), "{}", operation.message);
    assert_eq!(bed.status("shop/job").await, (Status::Failed, Some(Reason::Exited)));
}

#[tokio::test]
async fn a_job_that_does_its_work_is_a_success() {
    let bed = Bed::new().await;
    bed.engine.exits_with("shop-job-1", 0);
    assert_completed(&bed.up("services: {job: {image: app}}").await);
    assert_eq!(bed.status("shop/job").await, (Status::Stopped, Some(Reason::Completed)));
}

#[tokio::test]
async fn an_end_that_nobody_told_of_is_seen_before_a_service_is_called_up() {
    let bed = Bed::new().await;
    let held = bed.engine.hold("start", "shop-job-1");
    let operation = bed.begin_up("services: {job: {image: app}}").await;
    held.reached().await;
    bed.engine.drop_events(true);
    drop(held);
    bed.until("shop/job", |service| service.observed.is_running()).await;
    bed.engine.crash("shop-job-1", 4);
    let operation = bed.ended(&operation).await;
    assert_eq!((operation.state, operation.reason), (State::Failed, Some(Reason::Exited)));
}

#[tokio::test]
async fn who_needs_a_service_only_started_does_not_wait_until_it_settles() {
    let bed = Bed::new().await;
    let operation = bed.up("services: {db: {image: app}, web: {image: app, depends_on: [db]}}").await;
    assert_completed(&operation);
    let number = |subject: &str, action: &str| {
        let step = operation.steps.iter().find(|it| it.subject == subject && it.action.as_str() == action);
        step.unwrap_or_else(|| panic!("no {action} {subject} in {:#?}", steps(&operation)))
    };
    assert!(!number("shop-web-1", "start").needs.contains(&number("shop-db-1", "wait").number));
    let again = bed.up("services: {db: {image: app}, web: {image: app, depends_on: [db]}}").await;
    assert!(again.steps.is_empty(), "{:#?}", steps(&again));
}

#[tokio::test]
async fn a_crash_loop_is_no_success() {
    let bed = Bed::new().await;
    bed.engine.exits_with("shop-web-1", 3);
    let text = "services: {web: {image: app, restart: always}}";
    let operation = bed.up(text).await;
    assert_eq!((operation.state, operation.reason), (State::Failed, Some(Reason::CrashLooping)));
    assert_eq!(bed.status("shop/web").await, (Status::Failed, Some(Reason::CrashLooping)));
    let again = bed.up(text).await;
    assert_eq!((again.state, again.reason), (State::Failed, Some(Reason::CrashLooping)));
}

#[tokio::test]
async fn between_two_crashes_a_loop_is_failed_and_not_running() {
    let bed = Bed::new().await;
    assert_completed(&bed.up("services: {web: {image: app, restart: unless-stopped}}").await);
    for _ in 0..3 {
        bed.engine.crash("shop-web-1", 1);
        bed.engine.restart_by_policy("shop-web-1");
    }
    let service = bed.until("shop/web", |service| service.status_reason == Some(Reason::CrashLooping)).await;
    assert_eq!(service.status, Status::Failed);
    bed.clock.advance(RESTART_SETTLES);
    let service = bed.until("shop/web", |service| service.status == Status::Running).await;
    assert_eq!(service.status_reason, None, "it has stayed up");
}

#[tokio::test]
async fn what_a_policy_restarted_is_starting_until_it_has_stayed_up() {
    let bed = Bed::new().await;
    assert_completed(&bed.up("services: {web: {image: app, restart: always}}").await);
    bed.engine.crash("shop-web-1", 1);
    bed.until("shop/web", |service| !service.observed.is_running()).await;
    assert_eq!(bed.status("shop/web").await, (Status::Starting, Some(Reason::Restarting)));
    bed.engine.restart_by_policy("shop-web-1");
    bed.until("shop/web", |service| service.observed.is_running()).await;
    assert_eq!(bed.status("shop/web").await, (Status::Starting, Some(Reason::Restarting)));
    bed.clock.advance(RESTART_SETTLES + Duration::from_secs(1));
    bed.until("shop/web", |service| service.status == Status::Running).await;
}

#[tokio::test]
async fn a_start_by_hand_is_no_crash() {
    let bed = Bed::new().await;
    assert_completed(&bed.up("services: {web: {image: app, restart: always}}").await);
    for _ in 0..4 {
        bed.engine.kill("shop-web-1", 137);
        bed.until("shop/web", |service| !service.observed.is_running()).await;
        bed.engine.start_by_hand("shop-web-1");
        bed.until("shop/web", |service| service.observed.is_running()).await;
    }
    assert_eq!(bed.status("shop/web").await, (Status::Running, None));
}
