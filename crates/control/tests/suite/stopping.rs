//! `stop` and `down`: reverse order, what is kept, strangers, orphans.

use clos_control::verbs::StartOptions;
use clos_domain::seams::engine::Error as E;
use clos_domain::service::{Desired, Observed, Status};
use clos_domain::workload::Composed;
use clos_domain::{Reason, operation::State};

use crate::bed::{Bed, assert_completed, assert_refused, request, request_in};

const SHOP: &str = "
services:
  db: {image: app, volumes: ['data:/data']}
  api: {image: app, depends_on: [db]}
  web: {image: app, depends_on: [api]}
volumes: {data: {}}
";

#[tokio::test]
async fn stop_goes_in_reverse_and_keeps_containers() {
    let bed = Bed::new().await;
    bed.engine.add_foreign("stranger", "app");
    assert_completed(&bed.up(SHOP).await);
    let operation = bed.control.groups().stop(&bed.ctx, "shop", None).await.unwrap();
    assert_completed(&bed.ended(&operation).await);
    let log = bed.engine.log();
    let stops: Vec<&String> = log.iter().filter(|line| line.starts_with("stop ")).collect();
    assert_eq!(stops, ["stop shop-web-1", "stop shop-api-1", "stop shop-db-1"]);
    for name in ["db", "api", "web"] {
        let service = bed.service(&format!("shop/{name}")).await;
        assert_eq!((service.status, service.desired), (Status::Stopped, Desired::Stopped));
        assert!(bed.engine.has(&format!("shop-{name}-1")));
    }
    assert!(bed.engine.runs("stranger"));
    let again = bed.control.groups().stop(&bed.ctx, "shop", None).await.unwrap();
    assert_completed(&bed.ended(&again).await);
}

#[tokio::test]
async fn down_removes_containers_and_networks_and_keeps_rows_and_volumes() {
    let bed = Bed::new().await;
    assert_completed(&bed.up(SHOP).await);
    let operation = bed.control.groups().down(&bed.ctx, "shop", false, None).await.unwrap();
    assert_completed(&bed.ended(&operation).await);
    assert!(!bed.engine.has("shop-db-1"));
    assert_eq!(bed.engine.network_names(), Vec::<String>::new());
    assert_eq!(bed.engine.volume_names(), ["shop_data"]);
    let service = bed.service("shop/db").await;
    assert_eq!((service.desired, service.observed), (Desired::Absent, Observed::Absent));
    assert_eq!(service.status, Status::Stopped);

    let volumes = bed.control.groups().down(&bed.ctx, "shop", true, None).await.unwrap();
    assert_completed(&bed.ended(&volumes).await);
    assert_eq!(bed.engine.volume_names(), Vec::<String>::new());
}

#[tokio::test]
async fn a_network_that_a_stranger_uses_is_kept_and_said() {
    let bed = Bed::new().await;
    assert_completed(&bed.up("services: {web: {image: app}}").await);
    bed.engine.add_foreign("stranger", "app");
    bed.engine.join("stranger", "shop_default");
    let operation = bed.control.groups().down(&bed.ctx, "shop", false, None).await.unwrap();
    let operation = bed.ended(&operation).await;
    assert_completed(&operation);
    assert!(operation.steps.iter().any(|step| step.message == "kept: container `stranger` uses it"));
    assert_eq!(bed.engine.network_names(), ["shop_default"]);
}

#[tokio::test]
async fn down_tells_what_it_leaves_and_a_volume_in_use_is_no_failure() {
    let bed = Bed::new().await;
    assert_completed(&bed.up(SHOP).await);
    let one_off = Composed {
        project: "shop".into(),
        service: "web".into(),
        working_dir: "/home/ann/shop".into(),
        config_hash: String::new(),
        is_oneoff: true,
    };
    bed.engine.add_composed("shop-web-run-1f", "app", one_off);
    let operation = bed.control.groups().down(&bed.ctx, "shop", false, None).await.unwrap();
    let operation = bed.ended(&operation).await;
    assert_completed(&operation);
    assert_eq!(
        operation.message,
        "kept: container `shop-web-run-1f`, which was made by docker compose run; kept: volume `shop_data` (use --volumes to remove)"
    );

    bed.engine.fail_always("volume-remove", "shop_data", E::InUse("shop_data".into()));
    let operation = bed.control.groups().down(&bed.ctx, "shop", true, None).await.unwrap();
    let operation = bed.ended(&operation).await;
    assert_completed(&operation);
    assert!(operation.steps.iter().any(|step| step.message == "kept: another container uses it"));
}

#[tokio::test]
async fn stopping_what_others_need_warns_and_stops_nobody_else() {
    let bed = Bed::new().await;
    let infra = request_in("/home/ann/infra", "name: infra\nservices: {db: {image: app}}");
    let operation = bed.apply(infra).await.unwrap().operation.unwrap();
    assert_completed(&bed.ended(&operation).await);
    assert_completed(&bed.up("x-clos: {depends_on: [infra]}\nservices: {web: {image: app}}").await);
    let operation = bed.control.groups().stop(&bed.ctx, "infra", None).await.unwrap();
    let operation = bed.ended(&operation).await;
    assert_completed(&operation);
    assert!(operation.message.contains("`shop` depends on `infra`"), "{}", operation.message);
    assert!(bed.engine.runs("shop-web-1"));
}

#[tokio::test]
async fn a_container_that_ignores_the_signal_is_killed_after_its_grace() {
    let bed = Bed::new().await;
    bed.engine.ignores_term("shop-web-1");
    assert_completed(&bed.up("services: {web: {image: app, stop_grace_period: 50ms}}").await);
    let operation = bed.control.services().stop(&bed.ctx, "shop/web", None).await.unwrap();
    assert_completed(&bed.ended(&operation).await);
    assert_eq!(bed.service("shop/web").await.observed, Observed::Exited(137));
    assert_eq!(bed.status("shop/web").await, (Status::Stopped, None));
}

#[tokio::test]
async fn a_service_that_left_the_file_is_named_and_removed_only_on_request() {
    let bed = Bed::new().await;
    assert_completed(&bed.up("services: {web: {image: app}, old: {image: app}}").await);
    let without = "services: {web: {image: app}}";
    let named = bed.up(without).await;
    assert_completed(&named);
    assert!(named.message.contains("shop/old"), "{}", named.message);
    assert!(bed.engine.runs("shop-old-1"));

    let mut remove = request(without);
    remove.remove_orphans = true;
    let operation = bed.apply(remove).await.unwrap().operation.unwrap();
    assert_completed(&bed.ended(&operation).await);
    assert!(!bed.engine.has("shop-old-1"));
    let gone = bed.control.services().get(&bed.ctx, "shop/old").await;
    assert_refused(gone, Reason::ServiceNotFound, "shop/old");
}

#[tokio::test]
async fn a_container_that_cannot_be_stopped_fails_the_operation_and_says_why() {
    let bed = Bed::new().await;
    assert_completed(&bed.up("services: {web: {image: app}}").await);
    bed.engine.fail_always(
        "stop",
        "shop-web-1",
        clos_domain::seams::engine::Error::Failed("permission denied".into()),
    );
    let operation = bed.control.groups().stop(&bed.ctx, "shop", None).await.unwrap();
    let operation = bed.ended(&operation).await;
    assert_eq!(operation.state, State::Failed);
    assert!(operation.message.contains("permission denied"), "{}", operation.message);
}

#[tokio::test]
async fn a_service_alone_goes_down_and_says_who_needs_it() {
    let bed = Bed::new().await;
    assert_completed(&bed.up(SHOP).await);
    let operation = bed.control.services().down(&bed.ctx, "shop/db", None).await.unwrap();
    let operation = bed.ended(&operation).await;
    assert_completed(&operation);
    assert!(operation.message.contains("`shop/api` depends on `shop/db`"), "{}", operation.message);
    assert!(!bed.engine.has("shop-db-1") && bed.engine.runs("shop-api-1"));
    let restart = bed.control.services().restart(&bed.ctx, "shop/web", None).await.unwrap();
    assert_completed(&bed.ended(&restart).await);
}

#[tokio::test]
async fn a_restart_of_one_service_restarts_the_running_ones_that_follow_it() {
    const FOLLOWED: &str = "
services:
  db: {image: app}
  api: {image: app, depends_on: {db: {condition: service_started, restart: true}}}
  web: {image: app, depends_on: [db]}
";
    let bed = Bed::new().await;
    assert_completed(&bed.up(FOLLOWED).await);
    let before = bed.engine.log().len();
    let restart = bed.control.services().restart(&bed.ctx, "shop/db", None).await.unwrap();
    assert_completed(&bed.ended(&restart).await);
    let log = bed.engine.log();
    let calls: Vec<&String> =
        log[before..].iter().filter(|line| line.starts_with("stop ") || line.starts_with("start ")).collect();
    assert_eq!(calls, ["stop shop-api-1", "stop shop-db-1", "start shop-db-1", "start shop-api-1"]);
}

#[tokio::test]
async fn changed_dependencies_alone_recreate_nothing() {
    let bed = Bed::new().await;
    assert_completed(&bed.up("services: {db: {image: app}, web: {image: app, depends_on: [db]}}").await);
    let before = bed.engine.log().len();
    assert_completed(&bed.up("services: {db: {image: app}, web: {image: app}}").await);
    let log = bed.engine.log();
    assert!(
        !log[before..].iter().any(|line| line.starts_with("create ") || line.starts_with("stop ")),
        "{:?}",
        &log[before..]
    );
}

#[tokio::test]
async fn what_we_stopped_ourselves_is_never_told_as_failed() {
    let bed = Bed::new().await;
    assert_completed(&bed.up(SHOP).await);
    let groups = bed.control.groups();
    let stopped = groups.stop(&bed.ctx, "shop", None).await.unwrap();
    assert_completed(&bed.ended(&stopped).await);
    let started = groups.start(&bed.ctx, "shop", StartOptions::default()).await.unwrap();
    assert_completed(&bed.ended(&started).await);
    let restarted = groups.restart(&bed.ctx, "shop", None).await.unwrap();
    assert_completed(&bed.ended(&restarted).await);
    let changed = SHOP.replace("{image: app, depends_on", "{image: app, environment: {V: '2'}, depends_on");
    assert_completed(&bed.up(&changed).await);
    for event in bed.events().await {
        assert_ne!(event.data.new_status.as_deref(), Some("failed"), "{event:#?}");
    }
    bed.engine.kill("shop-web-1", 137);
    bed.until("shop/web", |service| service.status == Status::Failed).await;
}

#[tokio::test]
async fn a_start_that_fails_after_a_stop_is_a_failure() {
    let bed = Bed::new().await;
    assert_completed(&bed.up("services: {web: {image: app}}").await);
    let groups = bed.control.groups();
    let stopped = groups.stop(&bed.ctx, "shop", None).await.unwrap();
    assert_completed(&bed.ended(&stopped).await);
    bed.engine.fail_always("start", "shop-web-1", E::Failed("no space left on device".into()));
    let started = groups.start(&bed.ctx, "shop", StartOptions::default()).await.unwrap();
    assert_eq!(bed.ended(&started).await.state, State::Failed);
    let web = bed.service("shop/web").await;
    assert_eq!(web.status, Status::Failed, "{:?} {}", web.status_reason, web.status_detail);
}
