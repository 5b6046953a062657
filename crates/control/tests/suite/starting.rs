//! `up` and `start`: order, parallelism, gates, failure, sharing, lost answers.

use clos_control::verbs::StartOptions;
use clos_domain::operation::State;
use clos_domain::page::Request as Page;
use clos_domain::seams::engine::Error as E;
use clos_domain::seams::host::Answer;
use clos_domain::seams::store::OperationFilter;
use clos_domain::service::{Desired, Observed, Status};
use clos_domain::{Reason, health::Verdict};

use crate::bed::{Bed, PATIENCE, assert_completed, assert_refused, request, request_in, steps, within};

/// Six services in four levels, as shops have them.
const SHOP: &str = r#"
services:
  db:
    image: app
    healthcheck: {test: [CMD, "true"], interval: 100ms, retries: 20}
  cache:
    image: app
  migrate:
    image: app
    restart: "no"
    depends_on: {db: {condition: service_healthy}}
  api:
    image: app
    depends_on: {migrate: {condition: service_completed_successfully}, cache: {condition: service_started}}
    x-clos: {health_check: {url: "http://:8080/healthz", interval: 1s}}
  worker:
    image: app
    depends_on: {migrate: {condition: service_completed_successfully}}
  web:
    image: app
    depends_on: {api: {condition: service_healthy}}
"#;

fn position(log: &[String], line: &str) -> usize {
    log.iter().position(|one| one == line).unwrap_or_else(|| panic!("{line} is not in {log:#?}"))
}

#[tokio::test]
async fn six_services_come_up_each_after_what_it_needs() {
    let bed = Bed::new().await;
    bed.engine.exits_with("shop-migrate-1", 0);
    bed.probe.answer_everything(Answer::Well);
    let operation = bed.up(SHOP).await;
    assert_completed(&operation);

    let log = bed.engine.log();
    let started = |name: &str| position(&log, &format!("start shop-{name}-1"));
    assert!(started("db") < started("migrate"));
    assert!(started("migrate") < started("api") && started("cache") < started("api"));
    assert!(started("migrate") < started("worker"));
    assert!(started("api") < started("web"));
    for name in ["db", "cache", "api", "worker", "web"] {
        assert_eq!(bed.status(&format!("shop/{name}")).await, (Status::Running, None), "{name}");
    }
    assert_eq!(bed.status("shop/migrate").await, (Status::Stopped, Some(Reason::Completed)));
    assert_eq!(bed.service("shop/api").await.observed, Observed::Running(Verdict::Healthy));
    let group = bed.control.groups().get(&bed.ctx, "shop").await.unwrap();
    assert_eq!(group.status, clos_domain::group::Status::Running);
    assert_eq!(group.open, None);
}

#[tokio::test]
async fn services_that_need_nothing_start_side_by_side() {
    let bed = Bed::new().await;
    let both = [bed.engine.hold("start", "shop-a-1"), bed.engine.hold("start", "shop-b-1")];
    let operation = bed.begin_up("services: {a: {image: app}, b: {image: app}}").await;
    for held in &both {
        within(held.reached()).await;
    }
    drop(both);
    assert_completed(&bed.ended(&operation).await);
    assert!(bed.engine.most_at_once() >= 2);
}

#[tokio::test]
async fn a_failure_skips_its_dependants_and_nobody_else() {
    let bed = Bed::new().await;
    bed.engine.exits_with("shop-db-1", 3);
    let operation = bed
        .up("
services:
  db: {image: app}
  api: {image: app, depends_on: {db: {condition: service_completed_successfully}}}
  web: {image: app, depends_on: [api]}
  other: {image: app}
")
        .await;
    assert_eq!((operation.state, operation.reason), (State::Failed, Some(Reason::Exited)));
    assert!(
        operation.message.contains("shop/db") && operation.message.contains("code 3"),
        "{}",
        operation.message
    );
    assert_eq!(bed.status("shop/other").await, (Status::Running, None));
    assert_eq!(bed.status("shop/db").await, (Status::Failed, Some(Reason::Exited)));
    for left_out in ["shop/api", "shop/web"] {
        let service = bed.service(left_out).await;
        assert_eq!((service.status, service.status_reason), (Status::Stopped, Some(Reason::Skipped)));
        assert!(service.status_detail.contains("shop/db"), "{}", service.status_detail);
        assert_eq!(bed.engine.calls("start", &left_out.replace('/', "-")), 0);
    }
    assert!(bed.engine.has("shop-db-1"), "the failed container stays for its logs");
}

#[tokio::test]
async fn atomic_takes_everything_back_in_reverse() {
    let bed = Bed::new().await;
    bed.engine.exits_with("shop-api-1", 1);
    let mut atomic =
        request("services: {db: {image: app}, api: {image: app, restart: always, depends_on: [db]}}");
    atomic.atomic = true;
    // A gate of its own, so that the exit is seen before the operation ends.
    let text = "
services:
  db: {image: app}
  api: {image: app, depends_on: [db], healthcheck: {test: [CMD, 'false'], interval: 50ms, retries: 1}}
";
    atomic.source.files[0].1 = text.into();
    let operation = bed.apply(atomic).await.unwrap().operation.unwrap();
    let operation = bed.ended(&operation).await;
    assert_eq!(operation.state, State::Failed);
    let log = bed.engine.log();
    assert!(
        position(&log, "stop shop-api-1") < position(&log, "stop shop-db-1")
            && position(&log, "stop shop-db-1") < position(&log, "remove shop-db-1"),
        "{log:#?}"
    );
    assert!(!bed.engine.has("shop-db-1") && !bed.engine.has("shop-api-1"));
    for name in ["shop/db", "shop/api"] {
        let service = bed.service(name).await;
        assert_eq!((service.desired, service.observed), (Desired::Absent, Observed::Absent), "{name}");
    }
}

#[tokio::test]
async fn an_undo_that_sticks_names_what_is_left_over() {
    let bed = Bed::new().await;
    bed.engine.exits_with("shop-api-1", 1);
    bed.engine.fail_always("remove", "shop-db-1", E::Failed("device is busy".into()));
    let mut atomic = request(
        "
services:
  db: {image: app}
  api: {image: app, restart: always, depends_on: [db], healthcheck: {test: [CMD, 'false'], interval: 50ms, retries: 1}}
",
    );
    atomic.atomic = true;
    let operation = bed.apply(atomic).await.unwrap().operation.unwrap();
    let operation = bed.ended(&operation).await;
    assert_eq!((operation.state, operation.reason), (State::Failed, Some(Reason::UndoStuck)));
    assert_eq!(operation.leftovers.len(), 1, "{:?}", operation.leftovers);
    assert!(operation.leftovers[0].contains("remove shop-db-1") && operation.leftovers[0].contains("busy"));
}

#[tokio::test]
async fn nothing_is_said_to_be_gone_before_it_was_made() {
    let bed = Bed::new().await;
    let text = "services: {db: {image: app}, web: {image: app, depends_on: [db]}}";
    assert_completed(&bed.up(text).await);
    let down = bed.control.groups().down(&bed.ctx, "shop", false, None).await.unwrap();
    assert_completed(&bed.ended(&down).await);
    assert_completed(&bed.up(text).await);
    for event in bed.events().await {
        assert_ne!(event.data.new_status.as_deref(), Some("failed"), "{event:#?}");
    }
}

#[tokio::test]
async fn two_groups_that_share_a_dependency_start_it_once() {
    for round in 0..50 {
        let bed = Bed::new().await;
        let infra = request_in("/home/ann/infra", "name: infra\nservices: {db: {image: app}}");
        bed.apply(clos_control::apply::Request { start: false, ..infra }).await.unwrap();
        for name in ["one", "two"] {
            let text =
                format!("name: {name}\nx-clos: {{depends_on: [infra]}}\nservices: {{web: {{image: app}}}}");
            let rows = request_in(&format!("/home/ann/{name}"), &text);
            bed.apply(clos_control::apply::Request { start: false, ..rows }).await.unwrap();
        }
        let groups = bed.control.groups();
        let (one, two) = tokio::join!(
            groups.start(&bed.ctx, "one", StartOptions::default()),
            groups.start(&bed.ctx, "two", StartOptions::default()),
        );
        for operation in [one.unwrap(), two.unwrap()] {
            assert_completed(&bed.ended(&operation).await);
        }
        assert_eq!(bed.engine.starts_of("infra-db-1"), 1, "round {round}: {:#?}", bed.engine.log());
    }
}

#[tokio::test]
async fn an_answer_that_was_lost_is_asked_for_again() {
    let bed = Bed::new().await;
    bed.engine.lose_next_reply("create");
    bed.engine.lose_next_reply("start");
    let operation = bed.up("services: {web: {image: app}}").await;
    assert_completed(&operation);
    assert_eq!(bed.engine.starts_of("shop-web-1"), 1);
    assert_eq!(bed.status("shop/web").await, (Status::Running, None));
}

#[tokio::test]
async fn a_container_of_somebody_else_is_never_replaced_silently() {
    let bed = Bed::new().await;
    bed.engine.add_foreign("shop-web-1", "app");
    let text = "services: {web: {image: app}}";
    let answer = bed.apply(request(text)).await;
    assert_refused(answer, Reason::NameTaken, "shop-web-1");
    assert_eq!(bed.groups().await, Vec::<String>::new());

    let mut adopt = request(text);
    adopt.adopt = true;
    let operation = bed.apply(adopt).await.unwrap().operation.unwrap();
    assert_completed(&bed.ended(&operation).await);
    assert_eq!(bed.status("shop/web").await, (Status::Running, None));
}

#[tokio::test]
async fn a_container_of_another_group_is_not_adopted() {
    let bed = Bed::new().await;
    let text = "services: {web: {image: app, container_name: front}}";
    assert_completed(&bed.up(text).await);
    let mut adopt = request_in("/home/ann/other", text);
    adopt.adopt = true;
    assert_refused(bed.apply(adopt).await, Reason::NameTaken, "`front` belongs to `shop/web`");
    assert_eq!(bed.status("shop/web").await, (Status::Running, None));
}

#[tokio::test]
async fn a_stranger_that_is_quicker_than_the_create_is_left_alone() {
    let bed = Bed::new().await;
    let held = bed.engine.hold("create", "shop-web-1");
    let operation = bed.begin_up("services: {web: {image: app}}").await;
    within(held.reached()).await;
    bed.engine.add_foreign("shop-web-1", "app");
    drop(held);
    let operation = bed.ended(&operation).await;
    assert_eq!((operation.state, operation.reason), (State::Failed, Some(Reason::NameTaken)));
    assert_eq!(bed.engine.calls("remove", "shop-web-1"), 0);
}

#[tokio::test]
async fn a_network_of_a_stranger_that_is_quicker_is_not_taken_for_ours() {
    use clos_domain::seams::Networks;
    let bed = Bed::new().await;
    let held = bed.engine.hold("network-create", "shop_default");
    let operation = bed.begin_up("services: {web: {image: app}}").await;
    within(held.reached()).await;
    let stranger = clos_domain::workload::Network { name: "shop_default".into(), ..Default::default() };
    Networks::create(&*bed.engine, &stranger).await.unwrap();
    drop(held);
    let operation = bed.ended(&operation).await;
    assert_eq!((operation.state, operation.reason), (State::Failed, Some(Reason::NameTaken)));
    assert!(!bed.engine.has("shop-web-1"));
}

#[tokio::test]
async fn an_image_that_is_nowhere_is_told_before_anything_is_written() {
    let bed = Bed::new().await;
    let head = bed.control.events().head();
    let answer = bed.apply(request("services: {web: {image: 'nowhere/none:1'}}")).await;
    assert_refused(answer, Reason::ImageNotFound, "nowhere/none:1");
    assert_eq!(bed.groups().await, Vec::<String>::new());
    assert_eq!(bed.control.events().head(), head);
}

#[tokio::test]
async fn a_missing_image_is_pulled_first() {
    let bed = Bed::new().await;
    bed.engine.add_remote_image("postgres:17");
    let operation = bed.up("services: {db: {image: 'postgres:17'}}").await;
    assert_completed(&operation);
    assert_eq!(steps(&operation)[0], "pull postgres:17 completed");
}

#[tokio::test]
async fn a_check_that_fails_its_retries_says_what_it_answered() {
    let bed = Bed::new().await;
    bed.engine.exec_answers("shop-web-1", 1, "connection refused by db");
    let operation = bed
        .up("services: {web: {image: app, healthcheck: {test: [CMD, check], interval: 50ms, retries: 2}}}")
        .await;
    assert_eq!((operation.state, operation.reason), (State::Failed, Some(Reason::Unhealthy)));
    assert!(operation.message.contains("connection refused by db"), "{}", operation.message);
    // From here on the engine's own check has the word.
    bed.engine.set_health("shop-web-1", clos_domain::health::Verdict::Unhealthy);
    bed.until("shop/web", |service| service.status == Status::Unhealthy).await;
}

#[tokio::test]
async fn waiting_for_health_without_a_check_is_an_error_and_no_hang() {
    let bed = Bed::new().await;
    let operation = bed
        .up("services: {db: {image: app}, web: {image: app, depends_on: {db: {condition: service_healthy}}}}")
        .await;
    assert_eq!((operation.state, operation.reason), (State::Failed, Some(Reason::Unhealthy)));
    assert!(operation.message.contains("health check"), "{}", operation.message);
}

#[tokio::test]
async fn a_tcp_check_asks_the_container() {
    let bed = Bed::new().await;
    bed.probe.answer_everything(Answer::Well);
    let operation =
        bed.up("services: {web: {image: app, x-clos: {health_check: {tcp: 5432, interval: 1s}}}}").await;
    assert_completed(&operation);
    assert!(!bed.probe.asked().is_empty());
    assert_eq!(bed.service("shop/web").await.observed, Observed::Running(Verdict::Healthy));
}

#[tokio::test]
async fn what_a_probe_cannot_reach_directly_is_asked_by_its_published_port() {
    let bed = Bed::new().await;
    bed.probe.answer_everything(Answer::Unreachable("no route to host".into()));
    bed.probe.script("http://127.0.0.1:18080/", [Answer::Well]);
    let operation = bed
        .up("services: {web: {image: app, ports: ['18080:8080'], x-clos: {health_check: {url: 'http://:8080/', interval: 1s}}}}")
        .await;
    assert_completed(&operation);
}

#[tokio::test]
async fn up_again_does_nothing_and_a_change_recreates_only_what_changed() {
    let bed = Bed::new().await;
    let text = "services: {db: {image: app}, web: {image: app, environment: {A: '1'}}}";
    assert_completed(&bed.up(text).await);
    let before = bed.engine.log().len();
    let again = bed.up(text).await;
    assert_completed(&again);
    let mutating =
        |line: &&String| ["create ", "start ", "remove ", "stop "].iter().any(|verb| line.starts_with(verb));
    assert_eq!(bed.engine.log()[before..].iter().filter(mutating).count(), 0, "{:#?}", bed.engine.log());

    assert_completed(&bed.up(&text.replace("'1'", "'2'")).await);
    assert_eq!(bed.engine.calls("remove", "shop-web-1"), 1);
    assert_eq!(bed.engine.calls("remove", "shop-db-1"), 0);
    assert!(bed.engine.runs("shop-web-1") && bed.engine.runs("shop-db-1"));
}

#[tokio::test]
async fn start_never_recreates_and_names_the_drift() {
    let bed = Bed::new().await;
    assert_completed(&bed.up("services: {web: {image: app, environment: {A: '1'}}}").await);
    let service = bed.service("shop/web").await;
    let mut definition = service.definition.clone();
    definition.environment.insert("A".into(), "2".into());
    bed.control.services().update(&bed.ctx, "shop/web", None, definition).await.unwrap();
    let operation = bed.control.groups().start(&bed.ctx, "shop", StartOptions::default()).await.unwrap();
    let operation = bed.ended(&operation).await;
    assert_completed(&operation);
    assert_eq!(bed.engine.calls("create", "shop-web-1"), 1);
    assert!(operation.message.contains("shop/web"), "{}", operation.message);
}

#[tokio::test]
async fn restart_keeps_the_container_and_recreate_makes_another() {
    let bed = Bed::new().await;
    assert_completed(&bed.up("services: {db: {image: app}, web: {image: app, depends_on: [db]}}").await);
    let before = bed.service("shop/web").await.container_id;
    let restart = bed.control.groups().restart(&bed.ctx, "shop", None).await.unwrap();
    assert_completed(&bed.ended(&restart).await);
    assert_eq!(bed.service("shop/web").await.container_id, before);
    assert_eq!(bed.engine.starts_of("shop-web-1"), 2);

    let recreate = bed.control.services().recreate(&bed.ctx, "shop/web", Default::default()).await.unwrap();
    assert_completed(&bed.ended(&recreate).await);
    assert_ne!(bed.service("shop/web").await.container_id, before);
    assert_eq!(bed.engine.starts_of("shop-db-1"), 2, "recreate of one touches no other");
}

#[tokio::test]
async fn one_service_comes_with_what_it_needs_and_nothing_else() {
    let bed = Bed::new().await;
    let mut rows =
        request("services: {db: {image: app}, web: {image: app, depends_on: [db]}, other: {image: app}}");
    rows.start = false;
    bed.apply(rows).await.unwrap();
    let operation = bed.control.services().start(&bed.ctx, "shop/web", true).await.unwrap();
    assert_completed(&bed.ended(&operation).await);
    assert_eq!((bed.engine.starts_of("shop-db-1"), bed.engine.starts_of("shop-web-1")), (1, 1));
    assert!(!bed.engine.has("shop-other-1"));
    assert_eq!(bed.status("shop/other").await, (Status::Stopped, None));
    let batch = bed
        .control
        .services()
        .batch(&bed.ctx, clos_domain::operation::Verb::Start, &["shop/other".into(), "shop/web".into()], None)
        .await
        .unwrap();
    assert_completed(&bed.ended(&batch).await);
    assert!(bed.engine.has("shop-other-1"));
}

#[tokio::test]
async fn an_engine_that_is_away_is_said_at_once() {
    let bed = Bed::new().await;
    bed.engine.down();
    let answer = bed.apply(request("services: {web: {image: app}}")).await;
    assert_refused(answer, Reason::EngineUnreachable, "does not answer");
    assert_eq!(bed.groups().await, Vec::<String>::new());
}

#[tokio::test]
async fn an_operation_can_be_read_waited_for_and_listed() {
    let bed = Bed::new().await;
    let held = bed.engine.hold("start", "shop-web-1");
    let operation = bed.begin_up("services: {web: {image: app}}").await;
    within(held.reached()).await;
    let operations = bed.control.operations();
    let still = operations.wait(&bed.ctx, operation.id.as_str(), std::time::Duration::ZERO).await.unwrap();
    assert_eq!(still.state, State::InProgress);
    let open = OperationFilter { open: true, ..OperationFilter::default() };
    assert_eq!(operations.list(&bed.ctx, &open, &Page::ALL).await.unwrap().total, 1);
    let view = bed.control.groups().get(&bed.ctx, "shop").await.unwrap();
    assert_eq!(view.open, Some(operation.id.clone()));
    assert_eq!(view.status, clos_domain::group::Status::Starting);
    drop(held);
    let ended = operations.wait(&bed.ctx, operation.id.as_str(), PATIENCE).await.unwrap();
    assert_completed(&ended);
    assert_eq!(operations.list(&bed.ctx, &open, &Page::ALL).await.unwrap().total, 0);
    let unknown = operations.get(&bed.ctx, "op_aaaaaaaaaaaaaaaaaaaaaaaaaa").await;
    assert_refused(unknown, Reason::OperationNotFound, "op_aaa");
    assert_refused(operations.get(&bed.ctx, "shop").await, Reason::InvalidField, "op_");
}
