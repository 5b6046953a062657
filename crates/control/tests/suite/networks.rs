//! Networks that changed, that somebody else made, and that are gone.

use clos_control::apply::Request;
use clos_domain::seams::engine::Error as E;
use clos_domain::workload::Network;
use clos_domain::{Reason, operation};

use crate::bed::{Bed, assert_completed, assert_refused, request, steps};

const NETWORK: &str = "shop_default";

fn text(network: &str) -> String {
    format!(
        "services: {{web: {{image: app, depends_on: [db]}}, db: {{image: app}}, alone: {{image: app, network_mode: none}}}}\nnetworks: {{default: {{{network}}}}}"
    )
}

fn assert_on_it(bed: &Bed) {
    for name in ["shop-web-1", "shop-db-1"] {
        assert!(bed.engine.runs(name), "{name}");
        assert_eq!(bed.engine.joined(name), [(NETWORK.to_owned(), true)], "{name}");
    }
}

#[tokio::test]
async fn a_changed_network_is_replaced_and_everything_on_it_runs_on() {
    let bed = Bed::new().await;
    assert_completed(&bed.up(&text("")).await);
    let ids = ["shop-web-1", "shop-db-1", "shop-alone-1"].map(|name| bed.engine.id(name));
    for definition in ["internal: true", "labels: {tier: back}", "ipam: {config: [{subnet: 10.9.0.0/24}]}"] {
        let before = bed.engine.network(NETWORK).unwrap();
        let operation = bed.up(&text(definition)).await;
        assert_completed(&operation);
        let after = bed.engine.network(NETWORK).unwrap();
        assert_ne!(after.id, before.id, "{definition}: {:#?}", steps(&operation));
        assert_on_it(&bed);
        assert_eq!(bed.apply(request(&text(definition))).await.unwrap().plan.steps, [], "{definition}");
    }
    assert_eq!(ids, ["shop-web-1", "shop-db-1", "shop-alone-1"].map(|name| bed.engine.id(name)));
    assert_eq!(bed.engine.starts_of("shop-alone-1"), 1);

    // One service alone: the other one is on the network too.
    let only = Request { services: vec!["db".into()], ..request(&text("attachable: true")) };
    let operation = bed.apply(only).await.unwrap().operation.unwrap();
    assert_completed(&bed.ended(&operation).await);
    assert_on_it(&bed);
}

#[tokio::test]
async fn a_stranger_on_a_changed_network_refuses_it_before_anything_is_touched() {
    let bed = Bed::new().await;
    assert_completed(&bed.up(&text("")).await);
    bed.engine.add_foreign("psql", "app");
    bed.engine.join("psql", NETWORK);
    let before = bed.engine.log().len();
    assert_refused(bed.apply(request(&text("internal: true"))).await, Reason::DependantsRunning, "`psql`");
    let log = bed.engine.log();
    let is_a_look = |call: &String| {
        let word = call.split(' ').next().unwrap_or_default();
        word.ends_with("list") || word.ends_with("find") || word.ends_with("gateway") || word == "inspect"
    };
    assert!(log[before..].iter().all(is_a_look), "{:?}", &log[before..]);
    // Without the change nobody asks.
    assert_completed(&bed.up(&text("").replace("alone", "lonely")).await);
}

#[tokio::test]
async fn what_ran_runs_again_when_the_network_cannot_be_replaced() {
    let bed = Bed::new().await;
    assert_completed(&bed.up(&text("")).await);
    let why = E::Refused("Pool overlaps with other one on this address space".into());
    bed.engine.fail_always("network-replace", NETWORK, why);
    let failed = bed.up(&text("ipam: {config: [{subnet: 10.9.0.0/24}]}")).await;
    assert_eq!(failed.state, operation::State::Failed, "{:#?}", steps(&failed));
    let told = failed.steps.iter().find(|step| step.subject == NETWORK).unwrap();
    assert!(told.message.contains("Pool overlaps"), "{}", told.message);
    assert_on_it(&bed);
    bed.engine.heal("network-replace", NETWORK);
    assert_completed(&bed.up(&text("ipam: {config: [{subnet: 10.9.0.0/24}]}")).await);
    assert_on_it(&bed);
}

#[tokio::test]
async fn a_network_of_somebody_else_is_not_joined_unasked() {
    let bed = Bed::new().await;
    bed.engine.add_network(Network { name: NETWORK.into(), ..Network::default() });
    let error = assert_refused(bed.apply(request(&text(""))).await, Reason::NameTaken, NETWORK);
    assert!(error.message().contains("external: true"), "{error}");
    let adopting = Request { adopt: true, ..request(&text("")) };
    let operation = bed.apply(adopting).await.unwrap().operation.unwrap();
    assert_completed(&bed.ended(&operation).await);
    assert_on_it(&bed);
    let down = bed.control.groups().down(&bed.ctx, "shop", false, None).await.unwrap();
    assert_completed(&bed.ended(&down).await);
    assert!(bed.engine.network(NETWORK).is_some(), "it is not ours to remove");
}

#[tokio::test]
async fn a_network_that_was_removed_by_hand_is_made_again_for_its_containers() {
    let bed = Bed::new().await;
    assert_completed(&bed.up(&text("")).await);
    let stop = bed.control.groups().stop(&bed.ctx, "shop", Default::default()).await.unwrap();
    assert_completed(&bed.ended(&stop).await);
    bed.engine.remove_network_by_hand(NETWORK);
    let operation = bed.up(&text("")).await;
    assert_completed(&operation);
    assert_on_it(&bed);
}

#[tokio::test]
async fn a_container_that_was_taken_off_its_network_is_put_on_it_again() {
    let bed = Bed::new().await;
    assert_completed(&bed.up(&text("")).await);
    bed.engine.disconnect("shop-web-1", NETWORK);
    let applied = bed.apply(request(&text(""))).await.unwrap();
    let told = applied.plan.render();
    assert!(told.contains("it is not on network `shop_default` any more"), "{told}");
    assert_completed(&bed.ended(&applied.operation.unwrap()).await);
    assert_on_it(&bed);
    assert_eq!(bed.apply(request(&text(""))).await.unwrap().plan.steps, []);
}
