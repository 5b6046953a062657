//! Containers in another one's namespaces follow it.

use clos_control::apply::Request;

use clos_domain::operation::State;
use clos_domain::seams::engine::Error as E;

use crate::bed::{Bed, assert_completed, request, steps};

fn text(owner: &str) -> String {
    format!(
        "services: {{owner: {{image: app, ipc: shareable, environment: {{V: '{owner}'}}}}, guest: {{image: app, network_mode: 'service:owner'}}, peer: {{image: app, pid: 'service:owner', ipc: 'service:owner'}}, alone: {{image: app}}}}"
    )
}

fn assert_attached(bed: &Bed) {
    let owner = bed.engine.id("shop-owner-1").unwrap();
    for guest in ["shop-guest-1", "shop-peer-1"] {
        assert!(bed.engine.runs(guest), "{guest}");
        assert_eq!(bed.engine.shared_by(guest), std::slice::from_ref(&owner), "{guest}");
    }
}

#[tokio::test]
async fn guests_are_made_anew_with_their_owner_and_only_then() {
    let bed = Bed::new().await;
    assert_completed(&bed.up(&text("1")).await);
    assert_attached(&bed);
    assert_eq!(bed.apply(request(&text("1"))).await.unwrap().plan.steps, []);
    let alone = bed.engine.id("shop-alone-1");

    let guest = bed.engine.id("shop-guest-1");
    assert_completed(&bed.up(&text("2")).await);
    assert_attached(&bed);
    assert_ne!(bed.engine.id("shop-guest-1"), guest);
    assert_eq!(bed.engine.id("shop-alone-1"), alone);
    assert_eq!(bed.apply(request(&text("2"))).await.unwrap().plan.steps, []);

    bed.engine.remove_by_hand("shop-owner-1");
    assert_completed(&bed.up(&text("2")).await);
    assert_attached(&bed);
    let only = Request { services: vec!["owner".into()], ..request(&text("3")) };
    let operation = bed.apply(only).await.unwrap().operation.unwrap();
    assert_completed(&bed.ended(&operation).await);
    assert_attached(&bed);
    assert_eq!(bed.engine.id("shop-alone-1"), alone);
}

#[tokio::test]
async fn guests_that_run_are_restarted_after_their_owner() {
    let bed = Bed::new().await;
    assert_completed(&bed.up(&text("1")).await);
    let before = bed.engine.id("shop-guest-1");
    let restarted = bed.control.services().restart(&bed.ctx, "shop/owner", None).await.unwrap();
    assert_completed(&bed.ended(&restarted).await);
    assert_attached(&bed);
    assert_eq!(bed.engine.id("shop-guest-1"), before);
    let starts = |name: &str| bed.engine.starts_of(name);
    assert_eq!((starts("shop-guest-1"), starts("shop-peer-1"), starts("shop-alone-1")), (2, 2, 1));
    let log = bed.engine.log();
    let last = |line: &str| log.iter().rposition(|call| call == line).unwrap();
    assert!(last("start shop-owner-1") < last("start shop-guest-1"));
}

#[tokio::test]
async fn guests_follow_an_owner_that_is_put_back() {
    let bed = Bed::new().await;
    assert_completed(&bed.up(&text("1")).await);
    let temporary = format!("{}_shop-owner-1", &bed.engine.id("shop-owner-1").unwrap()[..12]);
    bed.engine.fail_always("start", &temporary, E::Refused("no such user".into()));
    let operation = bed.up(&text("2")).await;
    assert_eq!(operation.state, State::Failed);
    assert_attached(&bed);
    let starts = |name: &str| bed.engine.starts_of(name);
    assert_eq!(
        (starts("shop-owner-1"), starts("shop-guest-1"), starts("shop-peer-1"), starts("shop-alone-1")),
        (2, 2, 2, 1),
        "{:#?}",
        bed.engine.log()
    );
}

#[tokio::test]
async fn guests_run_again_when_the_network_of_their_owner_cannot_be_replaced() {
    let bed = Bed::new().await;
    let with = |network: &str| format!("{}\nnetworks: {{default: {{{network}}}}}", text("1"));
    assert_completed(&bed.up(&with("")).await);
    bed.engine.fail_always("network-replace", "shop_default", E::Refused("Pool overlaps".into()));
    let operation = bed.up(&with("internal: true")).await;
    assert_eq!(operation.state, State::Failed);
    assert_attached(&bed);
    let log = bed.engine.log();
    let last = |line: &str| log.iter().rposition(|call| call == line).unwrap();
    for guest in ["shop-guest-1", "shop-peer-1"] {
        assert!(last("start shop-owner-1") < last(&format!("start {guest}")), "{log:#?}");
        let service = bed.service(&guest.replacen("shop-", "shop/", 1).replace("-1", "")).await;
        assert!(service.observed.is_running(), "{:#?}", steps(&operation));
    }
}
