//! Host ports: tried before anything is made, conflicts with their holders, leases that stay.

use clos_domain::Reason;
use clos_domain::event::types;
use clos_domain::port::Protocol;
use clos_domain::seams::engine;
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
async fn a_port_that_was_lost_to_somebody_else_meanwhile_stops_nothing_the_next_time() {
    let bed = Bed::new().await;
    let text = |port| format!("services: {{db: {{image: app, ports: ['{port}:5432']}}}}");
    assert_completed(&bed.up(&text(5432)).await);
    let id = bed.engine.id("shop-db-1").unwrap();
    let temporary = format!("{}_shop-db-1", &id[..12]);
    bed.engine.fail_always("start", &temporary, engine::Error::PortInUse { port: 5433 });
    let failed = bed.up(&text(5433)).await;
    assert_eq!(failed.reason, Some(Reason::PortConflict));
    assert_eq!(failed.message.matches("shop/db").count(), 1, "{}", failed.message);

    // The lease is of the new port, and the container still holds the old one.
    bed.engine.add_foreign("thief", "app");
    bed.engine.publish("thief", 5433, 5432);
    bed.host.take_by_process(5433, "docker-proxy");
    bed.host.take_by_process(5432, "docker-proxy");
    let stops = bed.engine.calls("stop", "shop-db-1");
    assert_refused(bed.apply(request(&text(5433))).await, Reason::PortConflict, "thief");
    assert_eq!(bed.engine.calls("stop", "shop-db-1"), stops);
    assert_eq!((bed.engine.id("shop-db-1").as_deref(), bed.engine.runs("shop-db-1")), (Some(&*id), true));
    assert!(bed.apply(request(&text(5432))).await.unwrap().plan.is_empty());
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
        bed.apply(plan).await.unwrap().plan.ports[0].port.host_port
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

/// What the host shows of ports that containers of ours publish.
fn proxied(bed: &Bed, ports: &[u16]) {
    for port in ports {
        bed.host.take_by_process(*port, "docker-proxy");
        bed.host.take("::1", *port, Protocol::Tcp, clos_domain::port::Holder::Unknown);
    }
}

#[tokio::test]
async fn two_running_services_swap_their_ports() {
    let bed = Bed::new().await;
    let text = |a: u16, b: u16| {
        format!(
            "services: {{a: {{image: app, ports: ['{a}:80']}}, b: {{image: app, ports: ['{b}:80'], depends_on: [a]}}}}"
        )
    };
    assert_completed(&bed.up(&text(8080, 9090)).await);
    proxied(&bed, &[8080, 9090]);
    assert_completed(&bed.up(&text(9090, 8080)).await);
    assert_eq!(bed.service("shop/a").await.ports[0].host_port, 9090);
    assert_eq!(bed.service("shop/b").await.ports[0].host_port, 8080);
    assert_eq!(bed.up(&text(9090, 8080)).await.steps.len(), 0, "nothing is left to do");
}

#[tokio::test]
async fn a_port_moves_to_a_new_service_while_its_owner_gets_another() {
    let bed = Bed::new().await;
    assert_completed(&bed.up("services: {web: {image: app, ports: ['8080:80']}}").await);
    proxied(&bed, &[8080]);
    let text = "services: {web: {image: app, depends_on: [edge]}, edge: {image: app, ports: ['8080:80']}}";
    assert_completed(&bed.up(text).await);
    assert_eq!(bed.service("shop/edge").await.ports[0].host_port, 8080);
    assert_eq!(bed.service("shop/web").await.ports, []);
}

#[tokio::test]
async fn the_owner_of_a_port_is_renamed() {
    for is_running in [true, false] {
        let bed = Bed::new().await;
        assert_completed(&bed.up("services: {old: {image: app, ports: ['8080:80']}}").await);
        if is_running {
            proxied(&bed, &[8080]);
        } else {
            let stop = bed.control.groups().stop(&bed.ctx, "shop", None).await.unwrap();
            assert_completed(&bed.ended(&stop).await);
        }
        let mut renamed = request("services: {new: {image: app, ports: ['8080:80']}}");
        if is_running {
            let error = assert_refused(bed.apply(renamed.clone()).await, Reason::PortConflict, "shop/old");
            assert!(error.message().contains("--remove-orphans"), "{error}");
        }
        renamed.remove_orphans = true;
        let operation = bed.apply(renamed).await.unwrap().operation.unwrap();
        let operation = bed.ended(&operation).await;
        assert_completed(&operation);
        assert!(operation.message.contains("port 8080 moves from `shop/old`"), "{}", operation.message);
        assert_eq!(bed.service("shop/new").await.ports[0].host_port, 8080);
    }
}

#[tokio::test]
async fn a_start_replaces_nothing_so_what_another_container_holds_stays_taken() {
    let bed = Bed::new().await;
    assert_completed(&bed.up("services: {a: {image: app, ports: ['8080:80']}, b: {image: app}}").await);
    let stop = bed.control.services().stop(&bed.ctx, "shop/b", None).await.unwrap();
    assert_completed(&bed.ended(&stop).await);
    let mut rows = request("services: {a: {image: app}, b: {image: app, ports: ['8080:80']}}");
    rows.start = false;
    bed.apply(rows).await.unwrap();
    proxied(&bed, &[8080]);
    let options = clos_control::verbs::StartOptions::default();
    let answer = bed.control.groups().start(&bed.ctx, "shop", options).await;
    assert_refused(answer, Reason::PortConflict, "shop/a");
}

#[tokio::test]
async fn a_port_without_an_address_is_bound_where_this_machine_and_its_containers_reach_it() {
    let addresses = async |bed: &Bed| {
        let mut dry = request("services: {web: {image: app, ports: ['8080:80']}}");
        dry.dry_run = true;
        let plan = bed.apply(dry).await.unwrap().plan;
        let port = plan.ports[0].port.clone();
        assert_eq!(port.host_ip, None);
        (port.addresses.join(" "), plan.notes.join("; "))
    };
    let bed = Bed::new().await;
    let (everywhere, notes) = addresses(&bed).await;
    assert_eq!(everywhere, "127.0.0.1 ::1 172.17.0.1");
    assert!(!notes.contains("loopback"), "{notes}");
    assert_completed(&bed.up("services: {web: {image: app, ports: ['8080:80']}}").await);
    let mut held: Vec<String> =
        bed.service("shop/web").await.ports.into_iter().map(|binding| binding.host_ip).collect();
    held.sort();
    assert_eq!(held, ["127.0.0.1", "172.17.0.1", "::1"], "each address is a claim");

    let bed = Bed::new().await;
    bed.host.refuse("172.17.0.1", "not an address of this machine");
    bed.host.refuse("::1", "this machine has no IPv6");
    let (here, notes) = addresses(&bed).await;
    assert_eq!(here, "127.0.0.1");
    assert!(notes.contains("loopback only"), "{notes}");

    let bed = Bed::new().await;
    bed.engine.remove_bridge();
    assert_eq!(addresses(&bed).await.0, "127.0.0.1 ::1");
}

#[tokio::test]
async fn one_number_at_two_addresses_is_had_by_two_projects() {
    let bed = Bed::new().await;
    assert_completed(&bed.up("services: {web: {image: app, ports: ['127.0.0.2:8080:80']}}").await);
    let other = request_in("/home/ann/blog", "services: {web: {image: app, ports: ['127.0.0.3:8080:80']}}");
    let operation = bed.apply(other).await.unwrap().operation.unwrap();
    assert_completed(&bed.ended(&operation).await);
    let all = request_in("/home/ann/third", "services: {web: {image: app, ports: ['0.0.0.0:8080:80']}}");
    assert_refused(bed.apply(all).await, Reason::PortConflict, "blog/web");
}

/// A daemon on 127.0.0.1:8080 that gives way, and frees the port when it leaves.
struct Daemon {
    host: std::sync::Arc<clos_testkit::fake_host::FakeHost>,
}

#[async_trait::async_trait]
impl clos_domain::seams::OwnPort for Daemon {
    fn gives_way(&self, wanted: &clos_domain::port::Binding) -> bool {
        wanted.host_port == 8080 && wanted.host_ip == "127.0.0.1"
    }

    async fn move_on(&self, wanted: &[u16]) -> std::io::Result<std::net::SocketAddr> {
        assert!(wanted.contains(&8080), "{wanted:?}");
        Ok(([127, 0, 0, 1], 8081).into())
    }

    async fn leave(&self) {
        self.host.release(8080);
    }
}

#[tokio::test]
async fn the_daemons_own_port_is_not_in_the_way_and_its_move_is_told_before_anything_is_made() {
    let bed = Bed::new().await;
    bed.host.take("127.0.0.1", 8080, Protocol::Tcp, clos_domain::port::Holder::Unknown);
    bed.control.listens(std::sync::Arc::new(Daemon { host: bed.host.clone() }));
    let mut dry = request("services: {web: {image: app, ports: ['8080:80']}}");
    dry.dry_run = true;
    let notes = bed.apply(dry).await.unwrap().plan.notes.join("; ");
    assert!(notes.contains("closd moves from port 8080"), "{notes}");
    let is_told = |events: &[clos_domain::event::Event]| {
        events.iter().position(|event| event.kind == types::ENDPOINT_CHANGED)
    };
    assert_eq!(is_told(&bed.events().await), None, "a plan moves nothing");

    assert_completed(&bed.up("services: {web: {image: app, ports: ['8080:80']}}").await);
    let events = bed.events().await;
    let told = is_told(&events).unwrap();
    assert_eq!(events[told].data.port, Some(8081));
    let started = events.iter().position(|event| event.kind == types::GROUP_OPERATION_STARTED).unwrap();
    assert!(told < started, "{events:#?}");
}
