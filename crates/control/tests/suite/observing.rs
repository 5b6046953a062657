//! What the engine shows: kills, removals, restarts, lost events, late events, an engine that goes away.

use clos_domain::Reason;
use clos_domain::event::{Filter, Pattern, types};
use clos_domain::health::{LastCheck, Verdict};
use clos_domain::operation::State;
use clos_domain::seams::Workloads as _;
use clos_domain::seams::host::Answer;
use clos_domain::service::{Observed, Status};
use futures::StreamExt as _;

use crate::bed::{Bed, assert_completed, request, within};

const WEB: &str = "services: {web: {image: app, restart: unless-stopped}}";

#[tokio::test]
async fn a_container_killed_by_hand_shows_as_an_event() {
    let bed = Bed::new().await;
    assert_completed(&bed.up(WEB).await);
    bed.engine.kill("shop-web-1", 137);
    let service = bed.until("shop/web", |service| service.status == Status::Failed).await;
    assert_eq!(service.status_reason, Some(Reason::Exited));
    assert_eq!(service.observed, Observed::Exited(137));
    let events = bed.events().await;
    let told = events.iter().rfind(|event| event.kind == types::SERVICE_STATUS_CHANGED).unwrap();
    assert_eq!(told.data.exit_code, Some(137));
    assert_eq!(told.data.new_status.as_deref(), Some("failed"));
}

#[tokio::test]
async fn a_stop_that_was_asked_for_is_no_drift_and_an_old_error_is_no_news() {
    let bed = Bed::new().await;
    assert_completed(&bed.up(WEB).await);
    bed.engine.kill("shop-web-1", 137);
    bed.until("shop/web", |service| service.status == Status::Failed).await;
    let mark = bed.events().await.len();
    assert_completed(&bed.up(WEB).await);
    let down = bed.control.groups().down(&bed.ctx, "shop", false, None).await.unwrap();
    assert_completed(&bed.ended(&down).await);
    for event in bed.events().await.split_off(mark) {
        if event.kind != types::SERVICE_STATUS_CHANGED {
            continue;
        }
        assert_ne!(event.data.status_reason.as_deref(), Some("DRIFTED"), "{event:?}");
        let is_up = matches!(event.data.new_status.as_deref(), Some("starting" | "running" | "stopping"));
        assert!(!is_up || (event.data.exit_code.is_none() && event.data.message.is_none()), "{event:?}");
    }
}

#[tokio::test]
async fn a_container_removed_by_hand_is_gone() {
    let bed = Bed::new().await;
    assert_completed(&bed.up(WEB).await);
    bed.engine.remove_by_hand("shop-web-1");
    let service = bed.until("shop/web", |service| service.status_reason == Some(Reason::Gone)).await;
    assert_eq!((service.status, service.observed), (Status::Failed, Observed::Absent));
}

#[tokio::test]
async fn a_list_repairs_what_events_lost() {
    let bed = Bed::new().await;
    assert_completed(&bed.up(WEB).await);
    bed.engine.drop_events(true);
    bed.engine.kill("shop-web-1", 1);
    assert_eq!(bed.service("shop/web").await.status, Status::Running, "nobody told");
    let mut lists = bed.control.system().lists();
    lists.mark_unchanged();
    bed.engine.drop_events(false);
    bed.engine.reconnect();
    within(lists.changed()).await.unwrap();
    let service = bed.until("shop/web", |service| service.status == Status::Failed).await;
    assert_eq!(service.observed, Observed::Exited(1));
}

#[tokio::test]
async fn a_restart_that_nobody_saw_moves_the_start() {
    let bed = Bed::new().await;
    assert_completed(&bed.up(WEB).await);
    let before = bed.service("shop/web").await;
    bed.engine.drop_events(true);
    bed.engine.kill("shop-web-1", 0);
    bed.engine.start_by_hand("shop-web-1");
    bed.engine.drop_events(false);
    bed.engine.reconnect();
    let service = bed.until("shop/web", |service| service.started_at > before.started_at).await;
    assert_eq!((service.status, service.status_reason), (Status::Running, None));

    bed.engine.drop_events(true);
    bed.engine.crash("shop-web-1", 1);
    bed.engine.restart_by_policy("shop-web-1");
    bed.engine.drop_events(false);
    bed.engine.reconnect();
    let again = bed.until("shop/web", |it| it.started_at > service.started_at).await;
    assert_eq!(again.status_reason, Some(Reason::Restarting));
}

#[tokio::test]
async fn an_event_that_comes_late_overwrites_nothing() {
    let bed = Bed::new().await;
    assert_completed(&bed.up(WEB).await);
    let before = bed.service("shop/web").await;
    let id = before.container_id.clone().unwrap();
    bed.engine.tell_late(&id, "shop-web-1", clos_domain::service::Change::Died { code: 9 });
    // An event of another container comes through after it, so the late one was taken.
    bed.engine.kill("shop-web-1", 2);
    let service = bed.until("shop/web", |service| matches!(service.observed, Observed::Exited(_))).await;
    assert_eq!(service.observed, Observed::Exited(2));
}

#[tokio::test]
async fn an_engine_that_goes_away_is_told_and_the_last_word_stays() {
    let bed = Bed::new().await;
    assert_completed(&bed.up(WEB).await);
    bed.engine.down();
    let service =
        bed.until("shop/web", |service| service.status_reason == Some(Reason::EngineUnreachable)).await;
    assert_eq!(service.status, Status::Running, "the last word");
    assert!(service.observed_at.is_some());
    assert_eq!(bed.control.system().health(&bed.ctx).await.engine, Some(false));
    assert_eq!(bed.control.system().engine().await, bed.engine.known());
    bed.engine.up();
    let service = bed.until("shop/web", |service| service.status_reason.is_none()).await;
    assert_eq!(service.status, Status::Running);
    let health = bed.control.system().health(&bed.ctx).await;
    assert_eq!((health.database, health.engine), (true, Some(true)));
    // What is known of the engine is known a moment before its event is committed.
    let types = vec![Pattern::parse("types", types::ENGINE_CHANGED).unwrap()];
    let changes = Filter { types, ..Filter::default() };
    let watch = bed.control.events().watch(&bed.ctx, Some(0), changes).await.unwrap();
    within(watch.take(3).collect::<Vec<_>>()).await;
    let kinds = bed.events().await.iter().filter(|event| event.kind == types::ENGINE_CHANGED).count();
    assert_eq!(kinds, 3, "up, down, up");
}

#[tokio::test]
async fn who_asks_before_the_engine_was_asked_waits_for_its_first_word() {
    let bed = Bed::still().await;
    let hold = bed.engine.hold("ping", "");
    bed.control.start();
    within(hold.reached()).await;
    let (control, ctx) = (bed.control.clone(), bed.ctx.clone());
    let asking = tokio::spawn(async move {
        let system = control.system();
        tokio::join!(system.health(&ctx), system.engine())
    });
    assert!(within(async { bed.control.system().ready(&bed.ctx).await }).await, "work is taken meanwhile");
    drop(hold);
    let (health, engine) = within(asking).await.unwrap();
    assert_eq!(health.engine, Some(true));
    assert_eq!(engine.version, "1");
}

#[tokio::test]
async fn an_engine_that_has_not_been_asked_is_not_called_away() {
    let bed = Bed::still().await;
    tokio::time::pause();
    assert_eq!(bed.control.system().engine().await, bed.engine.known());
    assert_eq!(bed.control.system().health(&bed.ctx).await.engine, None);
}

#[tokio::test]
async fn a_container_that_the_engine_restarts_again_and_again_is_crash_looping() {
    let bed = Bed::new().await;
    assert_completed(&bed.up(WEB).await);
    for _ in 0..3 {
        bed.engine.crash("shop-web-1", 1);
        bed.until("shop/web", |service| !service.observed.is_running()).await;
        bed.engine.restart_by_policy("shop-web-1");
        bed.until("shop/web", |service| service.observed.is_running()).await;
    }
    bed.engine.crash("shop-web-1", 1);
    let service = bed.until("shop/web", |service| service.status_reason == Some(Reason::CrashLooping)).await;
    assert_eq!(service.status, Status::Failed);
}

#[tokio::test]
async fn the_engines_own_verdict_is_followed() {
    let bed = Bed::new().await;
    assert_completed(&bed.up("services: {web: {image: app, healthcheck: {test: [CMD, check]}}}").await);
    bed.engine.set_health("shop-web-1", Verdict::Unhealthy);
    let service = bed.until("shop/web", |service| service.status == Status::Unhealthy).await;
    assert_eq!(service.observed, Observed::Running(Verdict::Unhealthy));
    let group = bed.control.groups().get(&bed.ctx, "shop").await.unwrap();
    assert!(group.health_score < 1.0);
    bed.engine.set_health("shop-web-1", Verdict::Healthy);
    bed.until("shop/web", |service| service.status == Status::Running).await;
    let health = bed.control.services().health(&bed.ctx, "shop/web").await.unwrap();
    assert_eq!(health.verdict, Verdict::Healthy);
    assert!(health.history.len() >= 2, "{:?}", health.history);
}

fn failed_check(bed: &Bed, output: &str) -> LastCheck {
    let at = bed.world.clock.now();
    LastCheck {
        at,
        healthy: false,
        output: output.into(),
        exit_code: Some(7),
        http_status: None,
        failures: 3,
    }
}

#[tokio::test]
async fn the_engines_last_answer_is_kept_and_found_again_after_a_start() {
    let bed = Bed::new().await;
    assert_completed(&bed.up("services: {web: {image: app, healthcheck: {test: [CMD, check]}}}").await);
    let check = failed_check(&bed, "no route to db");
    bed.engine.answer_check("shop-web-1", check.clone());
    bed.engine.set_health("shop-web-1", Verdict::Unhealthy);
    let service = bed.until("shop/web", |service| service.status == Status::Unhealthy).await;
    assert_eq!(bed.control.services().last_check(&service), Some(check.clone()));

    bed.supervisor.drain(std::time::Duration::from_secs(5)).await;
    let bed = bed.restarted().await;
    assert_eq!(bed.control.services().last_check(&service), None);
    bed.control.start();
    let mut lists = bed.control.system().lists();
    lists.wait_for(|lists| *lists > 0).await.unwrap();
    assert_eq!(bed.control.services().last_check(&service), Some(check));

    // What was said of the run before says nothing of this one.
    bed.engine.kill("shop-web-1", 1);
    bed.engine.start_by_hand("shop-web-1");
    let service = bed.until("shop/web", |it| it.started_at != service.started_at).await;
    assert_eq!(bed.control.services().last_check(&service), None);
}

#[tokio::test]
async fn the_engines_verdict_fails_a_gate_with_the_last_output() {
    let bed = Bed::new().await;
    bed.engine.exec_answers("shop-db-1", 1, "starting");
    let text = "services: {db: {image: app, healthcheck: {test: [CMD, check]}}}";
    let hold = bed.engine.hold("exec", "shop-db-1");
    let operation = bed.begin_up(text).await;
    hold.reached().await;
    bed.engine.answer_check("shop-db-1", failed_check(&bed, "FATAL: no space left\n"));
    bed.engine.set_health("shop-db-1", Verdict::Unhealthy);
    let operation = bed.ended(&operation).await;
    drop(hold);
    let step = operation.steps.iter().find(|step| step.state == State::Failed).unwrap();
    assert_eq!(step.message, "health check failed 3 times; last output: FATAL: no space left");
}

#[tokio::test]
async fn our_own_check_is_asked_on_after_the_first_success() {
    let bed = Bed::new().await;
    bed.probe.answer_everything(Answer::Well);
    let text = "services: {web: {image: app, x-clos: {health_check: {url: 'http://:80/', interval: 1s, retries: 1}}}}";
    assert_completed(&bed.up(text).await);
    bed.probe.answer_everything(Answer::Http { status: 500, is_well: false });
    bed.until("shop/web", |service| service.status == Status::Unhealthy).await;
    let last = bed.control.services().health(&bed.ctx, "shop/web").await.unwrap().last.unwrap();
    assert_eq!((last.healthy, last.output.as_str(), last.http_status), (false, "status 500", Some(500)));
    bed.probe.answer_everything(Answer::Well);
    bed.until("shop/web", |service| service.status == Status::Running).await;
}

#[tokio::test]
async fn what_never_got_well_is_not_called_starting_again() {
    let bed = Bed::new().await;
    bed.probe.answer_everything(Answer::Http { status: 500, is_well: false });
    let text = "services: {web: {image: app, x-clos: {health_check: {url: 'http://:80/', interval: 1s, retries: 2}}}}";
    let operation = bed.up(text).await;
    assert_eq!(operation.reason, Some(Reason::Unhealthy));
    let first = bed.service("shop/web").await;
    assert_eq!(first.status, Status::Unhealthy);
    // The monitor has taken over, and has written its first verdict, once there are two later answers.
    within(async {
        for _ in 0..2 {
            let last = bed.control.services().last_check(&first);
            while bed.control.services().last_check(&first) == last {
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
        }
    })
    .await;
    assert_eq!(bed.service("shop/web").await.status, Status::Unhealthy);
    let events = bed.events().await;
    let changes = events.iter().filter(|event| event.data.new_health.as_deref() == Some("starting")).count();
    assert!(changes <= 1, "{events:#?}");
}

#[tokio::test]
async fn what_runs_at_start_is_seen_and_not_touched() {
    let bed = Bed::new().await;
    assert_completed(&bed.up(WEB).await);
    bed.supervisor.drain(std::time::Duration::from_secs(5)).await;
    bed.engine.kill("shop-web-1", 5);
    let before = bed.engine.log().len();
    let bed = bed.restarted().await;
    bed.control.start();
    let service = bed.until("shop/web", |service| service.status == Status::Failed).await;
    assert_eq!(service.observed, Observed::Exited(5));
    let after = bed.engine.log();
    let touched =
        after[before..].iter().any(|line| line.starts_with("start ") || line.starts_with("create "));
    assert!(!touched, "{after:#?}");
}

#[tokio::test]
async fn who_asks_right_after_the_start_hears_what_is_so_now() {
    let bed = Bed::new().await;
    assert_completed(&bed.up(WEB).await);
    bed.supervisor.drain(std::time::Duration::from_secs(5)).await;
    bed.engine.kill("shop-web-1", 5);
    let bed = bed.restarted().await;
    bed.control.start();
    assert_eq!(bed.status("shop/web").await, (Status::Failed, Some(Reason::Exited)));
}

#[tokio::test]
async fn who_follows_a_log_hears_the_next_container_too() {
    use futures::StreamExt as _;
    let bed = Bed::new().await;
    let text = "services: {web: {image: app, restart: unless-stopped}, late: {image: app}}";
    let mut rows = crate::bed::request(text);
    rows.services = vec!["web".to_owned()];
    let first = bed.apply(rows).await.unwrap().operation.unwrap();
    assert_completed(&bed.ended(&first).await);
    bed.engine.say("shop-web-1", "one");
    let mut request = clos_control::logs::LogRequest::default();
    request.query.follow = true;
    let mut lines = bed.control.groups().logs(&bed.ctx, "shop", &[], request).await.unwrap();
    let mut next = async || within(lines.next()).await.unwrap().unwrap().line.text;
    assert_eq!(next().await, "one");
    bed.engine.kill("shop-web-1", 1);
    bed.until("shop/web", |service| !service.observed.is_running()).await;
    bed.engine.start_by_hand("shop-web-1");
    bed.until("shop/web", |service| service.observed.is_running()).await;
    bed.engine.say("shop-web-1", "two");
    assert_eq!(next().await, "two", "and not `one` again");
    assert_completed(&bed.up(text).await);
    bed.engine.say("shop-late-1", "three");
    assert_eq!(next().await, "three");
    let down = bed.control.groups().down(&bed.ctx, "shop", false, None).await.unwrap();
    assert_completed(&bed.ended(&down).await);
    bed.control.groups().delete(&bed.ctx, "shop", None, false).await.unwrap();
    assert!(within(lines.next()).await.is_none(), "nobody is left to speak");
}

#[tokio::test]
async fn a_followed_log_that_breaks_off_is_taken_up_again() {
    use futures::StreamExt as _;
    let bed = Bed::new().await;
    assert_completed(&bed.up(WEB).await);
    bed.engine.say("shop-web-1", "one");
    bed.engine.tear_log("shop-web-1", true);
    let mut request = clos_control::logs::LogRequest::default();
    request.query.follow = true;
    let mut lines = bed.control.groups().logs(&bed.ctx, "shop", &[], request).await.unwrap();
    let mut next = async || within(lines.next()).await.unwrap().unwrap().line.text;
    assert_eq!(next().await, "one");
    // The container runs on all the time: nothing about it will be told.
    bed.engine.tear_log("shop-web-1", false);
    bed.engine.say("shop-web-1", "two");
    assert_eq!(next().await, "two");
}

fn followed() -> clos_control::logs::LogRequest {
    let mut request = clos_control::logs::LogRequest::default();
    request.query.follow = true;
    request
}

#[tokio::test]
async fn no_line_of_a_run_between_two_looks_is_missed() {
    let bed = Bed::new().await;
    assert_completed(&bed.up(WEB).await);
    bed.engine.say("shop-web-1", "one");
    let mut lines = bed.control.groups().logs(&bed.ctx, "shop", &[], followed()).await.unwrap();
    let mut next = async || within(lines.next()).await.unwrap().unwrap().line.text;
    assert_eq!(next().await, "one");
    bed.engine.drop_events(true);
    bed.engine.kill("shop-web-1", 1);
    bed.engine.run_shortly("shop-web-1", "two", 1);
    bed.engine.run_shortly("shop-web-1", "three", 1);
    assert_eq!((next().await, next().await), ("two".to_owned(), "three".to_owned()));
    bed.engine.drop_events(false);
    bed.engine.run_shortly("shop-web-1", "four", 1);
    assert_eq!(next().await, "four");
}

#[tokio::test]
async fn a_recreated_container_is_followed_with_its_own_id() {
    let bed = Bed::new().await;
    assert_completed(&bed.up(WEB).await);
    bed.engine.say("shop-web-1", "one");
    let mut lines = bed.control.groups().logs(&bed.ctx, "shop", &[], followed()).await.unwrap();
    let one = within(lines.next()).await.unwrap().unwrap();
    assert_completed(&bed.up(&WEB.replace("image: app", "image: app, environment: {A: b}")).await);
    bed.engine.say("shop-web-1", "two");
    let two = within(lines.next()).await.unwrap().unwrap();
    assert_eq!(two.line.text, "two");
    assert_ne!(one.container_id, two.container_id);
    assert_eq!(Some(two.container_id), bed.service("shop/web").await.container_id);
}

#[tokio::test]
async fn a_container_is_found_while_its_row_says_another_name_already() {
    let bed = Bed::new().await;
    assert_completed(&bed.up(WEB).await);
    bed.engine.say("shop-web-1", "one");
    let mut rows_only = request(&WEB.replace("image: app", "image: app, container_name: front"));
    rows_only.start = false;
    bed.apply(rows_only).await.unwrap();
    for request in [clos_control::logs::LogRequest::default(), followed()] {
        let mut lines = bed.control.groups().logs(&bed.ctx, "shop", &[], request).await.unwrap();
        assert_eq!(within(lines.next()).await.unwrap().unwrap().line.text, "one");
    }
    assert!(bed.control.services().stats(&bed.ctx, "shop/web").await.unwrap().memory > 0);
    let mut lines = bed.control.groups().logs(&bed.ctx, "shop", &[], followed()).await.unwrap();
    within(lines.next()).await.unwrap().unwrap();
    bed.engine.run_shortly("shop-web-1", "two", 0);
    assert_eq!(within(lines.next()).await.unwrap().unwrap().line.text, "two");
}

#[tokio::test]
async fn one_service_without_a_log_spoils_nobodys() {
    let bed = Bed::new().await;
    let text = "services: {web: {image: app}, mute: {image: app, logging: {driver: none}}}";
    assert_completed(&bed.up(text).await);
    bed.engine.say("shop-web-1", "one");
    for request in [clos_control::logs::LogRequest::default(), followed()] {
        let lines = bed.control.groups().logs(&bed.ctx, "shop", &[], request).await.unwrap();
        let lines: Vec<_> = within(lines.take(2).map(Result::unwrap).collect::<Vec<_>>()).await;
        let note = lines.iter().find(|line| line.note.is_some()).unwrap();
        assert_eq!(note.service.definition.name.as_str(), "mute");
        assert!(lines.iter().any(|line| line.line.text == "one"));
    }
}

#[tokio::test]
async fn lines_of_several_services_come_in_order_of_time() {
    let bed = Bed::new().await;
    assert_completed(&bed.up("services: {web: {image: app}, api: {image: app}}").await);
    for (name, text) in [("web", "1"), ("api", "2"), ("api", "3"), ("web", "4"), ("api", "5")] {
        bed.engine.say(&format!("shop-{name}-1"), text);
    }
    for request in [clos_control::logs::LogRequest::default(), followed()] {
        let lines = bed.control.groups().logs(&bed.ctx, "shop", &[], request).await.unwrap();
        let texts = lines.take(5).map(|line| line.unwrap().line.text);
        assert_eq!(within(texts.collect::<Vec<_>>()).await, ["1", "2", "3", "4", "5"]);
    }
}

#[tokio::test]
async fn logs_and_figures_come_from_the_engine() {
    use futures::StreamExt as _;
    let bed = Bed::new().await;
    assert_completed(&bed.up("services: {web: {image: app}, api: {image: app}}").await);
    bed.engine.say("shop-web-1", "level=info listening");
    bed.engine.say("shop-web-1", "level=error pool is full");
    let request = clos_control::logs::LogRequest {
        at_least: Some(clos_domain::event::Severity::Warning),
        ..Default::default()
    };
    let lines = bed.control.groups().logs(&bed.ctx, "shop", &[], request).await.unwrap();
    let lines: Vec<String> = within(lines.map(|line| line.unwrap().line.text).collect::<Vec<_>>()).await;
    assert_eq!(lines, ["level=error pool is full"]);
    let words = clos_control::logs::LogRequest { contains: Some("listening".into()), ..Default::default() };
    let lines = bed.control.services().logs(&bed.ctx, "shop/web", words).await.unwrap();
    assert_eq!(within(lines.collect::<Vec<_>>()).await.len(), 1);
    let stats = bed.control.services().stats(&bed.ctx, "shop/web").await.unwrap();
    assert!(stats.memory > 0);
    bed.engine.kill("shop-web-1", 0);
    bed.until("shop/web", |service| !service.observed.is_running()).await;
    let answer = bed.control.services().stats(&bed.ctx, "shop/web").await;
    crate::bed::assert_refused(answer, Reason::Exited, "does not run");
}
