//! Host ports: tried before anything is made, conflicts with their holders, leases that stay.

use clos_domain::Reason;
use clos_domain::event::types;
use clos_domain::port::Protocol;
use clos_domain::service::Status;

use crate::bed::{Bed, assert_completed, assert_refused, request, request_in};

#[tokio::test]
async fn a_port_that_a_process_holds_is_refused_with_its_name_and_nothing_is_made() {
    let bed = Bed::new().await;
    bed.host.take_by_process(5432, "postgres");
    let answer =
        bed.apply(request("services: {db: {image: app, ports: ['5432:5432']}, web: {image: app}}")).await;
    let error = assert_refused(answer, Reason::PortConflict, "5432");
    assert!(error.message().contains("postgres"), "{error}");
    assert_eq!(error.conflicts().len(), 1);
    assert_eq!(error.conflicts()[0].wanted_by, "shop/db");
    assert_eq!(bed.groups().await, Vec::<String>::new());
    assert_eq!(bed.engine.calls("create", "shop-web-1"), 0);
    let told = bed.events().await;
    assert!(told.iter().any(|event| event.kind == types::PORT_CONFLICT_DETECTED), "{told:#?}");
}

#[tokio::test]
async fn a_second_project_is_told_which_service_has_the_port() {
    let bed = Bed::new().await;
    assert_completed(&bed.up("services: {db: {image: app, ports: ['5432:5432']}}").await);
    let other = request_in("/home/ann/blog", "services: {db: {image: app, ports: ['5432:5432']}}");
    let error = assert_refused(bed.apply(other).await, Reason::PortConflict, "shop/db");
    assert!(error.message().contains("blog/db"), "{error}");
    assert_eq!(bed.groups().await, ["shop"]);
    assert_eq!(bed.engine.calls("create", "blog-db-1"), 0);
}

#[tokio::test]
async fn a_foreign_container_that_holds_the_port_is_named() {
    let bed = Bed::new().await;
    bed.engine.add_foreign("old-db", "app");
    bed.engine.publish("old-db", 5432, 5432);
    bed.host.take_by_process(5432, "docker-proxy");
    let answer = bed.apply(request("services: {db: {image: app, ports: ['5432:5432']}}")).await;
    assert_refused(answer, Reason::PortConflict, "old-db");
}

#[tokio::test]
async fn one_port_twice_in_one_file_names_both() {
    let bed = Bed::new().await;
    let text = "services: {a: {image: app, ports: ['5432:1']}, b: {image: app, ports: ['5432:2']}}";
    let error = assert_refused(bed.apply(request(text)).await, Reason::PortConflict, "5432");
    assert!(error.message().contains("`a` and `b`"), "{error}");
    assert_eq!(bed.groups().await, Vec::<String>::new());
}

#[tokio::test]
async fn a_port_that_clos_chose_stays_over_stop_and_start() {
    let bed = Bed::new().await;
    let text = "services: {db: {image: app, ports: ['5432']}}";
    assert_completed(&bed.up(text).await);
    let chosen = bed.service("shop/db").await.ports[0].host_port;
    assert!(chosen >= 1024);
    let down = bed.control.groups().down(&bed.ctx, "shop", false, None).await.unwrap();
    assert_completed(&bed.ended(&down).await);
    assert_completed(&bed.up(text).await);
    assert_eq!(bed.service("shop/db").await.ports[0].host_port, chosen);
}

#[tokio::test]
async fn a_chosen_port_passes_over_what_strangers_hold() {
    let bed = Bed::new().await;
    let dry = async || {
        let mut plan = request("services: {db: {image: app, ports: ['5432']}}");
        plan.dry_run = true;
        bed.apply(plan).await.unwrap().plan.ports[0].binding.host_port
    };
    let first = dry().await;
    bed.host.take("127.0.0.1", first, Protocol::Tcp, clos_domain::port::Holder::Unknown);
    let second = dry().await;
    assert_ne!(first, second);
}

#[tokio::test]
async fn a_fixed_port_moves_from_a_service_that_does_not_run() {
    let bed = Bed::new().await;
    assert_completed(&bed.up("services: {db: {image: app, ports: ['5432:5432']}}").await);
    let stop = bed.control.groups().stop(&bed.ctx, "shop", None).await.unwrap();
    assert_completed(&bed.ended(&stop).await);
    let other = request_in("/home/ann/blog", "services: {db: {image: app, ports: ['5432:5432']}}");
    let operation = bed.apply(other).await.unwrap().operation.unwrap();
    let operation = bed.ended(&operation).await;
    assert_completed(&operation);
    assert!(operation.message.contains("shop/db"), "{}", operation.message);
    let kinds: Vec<String> = bed.events().await.into_iter().map(|event| event.kind).collect();
    assert!(kinds.iter().any(|kind| kind == types::PORT_RELEASED), "{kinds:?}");
}

#[tokio::test]
async fn a_port_stolen_between_the_trial_and_the_start_fails_that_service_with_the_reason() {
    let bed = Bed::new().await;
    bed.engine.port_stolen("shop-db-1", 5432);
    let operation = bed.up("services: {db: {image: app, ports: ['5432:5432']}}").await;
    assert_eq!(operation.reason, Some(Reason::PortConflict), "{}", operation.message);
    assert!(
        operation.message.contains("shop/db") && operation.message.contains("5432"),
        "{}",
        operation.message
    );
    assert_ne!(bed.status("shop/db").await.0, Status::Running);
}

#[tokio::test]
async fn an_address_that_this_machine_has_not_is_named() {
    let bed = Bed::new().await;
    bed.host.refuse("192.0.2.7", "not an address of this machine");
    let answer = bed.apply(request("services: {db: {image: app, ports: ['192.0.2.7:5432:5432']}}")).await;
    assert_refused(answer, Reason::InvalidField, "192.0.2.7");
}

#[tokio::test]
async fn a_row_by_api_is_refused_a_port_that_runs_elsewhere() {
    let bed = Bed::new().await;
    assert_completed(&bed.up("services: {db: {image: app, ports: ['5432:5432']}}").await);
    let mut definition = bed.service("shop/db").await.definition;
    definition.name = clos_domain::name::ServiceName::parse("name", "second").unwrap();
    let group = clos_domain::name::GroupRef::parse("group", "shop").unwrap();
    let answer = bed.control.services().create(&bed.ctx, &group, definition).await;
    assert_refused(answer, Reason::PortConflict, "shop/db");
}
