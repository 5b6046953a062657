//! A container that is replaced: what fails takes nothing away, and nothing is left over.

use clos_domain::Reason;
use clos_domain::operation::State;
use clos_domain::seams::engine::Error as E;
use clos_domain::service::{Desired, Observed, Status};

use crate::bed::{Bed, assert_completed, request, steps, within};

const OLD: &str = "services: {web: {image: app, environment: {V: '1'}}}";
const NEW: &str = "services: {web: {image: app, environment: {V: '2'}}}";

/// Every container that is there.
async fn names(bed: &Bed) -> Vec<String> {
    let mut names: Vec<String> =
        bed.world.engine.workloads.list().await.unwrap().into_iter().map(|found| found.name).collect();
    names.sort();
    names
}

async fn id(bed: &Bed) -> String {
    bed.world.engine.workloads.inspect("shop-web-1").await.unwrap().unwrap().id
}

/// The name under which the next container of `shop/web` is created.
async fn temporary(bed: &Bed) -> String {
    format!("{}_shop-web-1", &id(bed).await[..12])
}

#[tokio::test]
async fn the_new_container_takes_over_before_the_old_one_is_removed() {
    let bed = Bed::new().await;
    assert_completed(&bed.up(OLD).await);
    let (old, temporary) = (id(&bed).await, temporary(&bed).await);
    let operation = bed.up(NEW).await;
    assert_completed(&operation);
    assert_eq!(
        steps(&operation),
        [
            format!("create {temporary} completed"),
            "stop shop-web-1 completed".to_owned(),
            format!("start {temporary} completed"),
            "remove shop-web-1 completed".to_owned(),
            "rename shop-web-1 completed".to_owned(),
            "wait shop-web-1 completed".to_owned(),
        ]
    );
    assert_eq!(names(&bed).await, ["shop-web-1"]);
    assert_ne!(id(&bed).await, old);
    let service = bed.service("shop/web").await;
    assert_eq!(service.container_id.as_deref(), Some(id(&bed).await.as_str()));
    assert_eq!(service.status, Status::Running);
    assert_eq!(bed.apply(request(NEW)).await.unwrap().plan.steps, []);
}

#[tokio::test]
async fn a_recreate_that_fails_leaves_what_ran_also_when_it_is_tried_again() {
    for (call, error) in [
        ("create", E::Refused("invalid mount config: bind source path does not exist: /none".into())),
        ("start", E::PortInUse { port: 8080 }),
        ("start", E::Refused("exec: \"none\": executable file not found in $PATH".into())),
    ] {
        let bed = Bed::new().await;
        assert_completed(&bed.up(OLD).await);
        let (old, temporary) = (id(&bed).await, temporary(&bed).await);
        bed.engine.fail_always(call, &temporary, error.clone());
        for _ in 0..3 {
            let operation = bed.up(NEW).await;
            assert_eq!(operation.state, State::Failed);
            assert_eq!(names(&bed).await, ["shop-web-1"], "{call} {error}");
            assert!(bed.engine.runs("shop-web-1"), "{call} {error}");
            assert_eq!(id(&bed).await, old);
            let service = bed.service("shop/web").await;
            assert!(service.observed.is_running(), "{service:#?}");
            assert_eq!((service.desired, service.container_id.as_deref()), (Desired::Running, Some(&*old)));
        }
        bed.engine.heal(call, &temporary);
        assert_completed(&bed.up(NEW).await);
        assert_eq!(names(&bed).await, ["shop-web-1"]);
        assert_ne!(id(&bed).await, old);
    }
}

#[tokio::test]
async fn what_did_not_run_is_put_back_as_it_was() {
    let bed = Bed::new().await;
    assert_completed(&bed.up(OLD).await);
    let stop = bed.control.groups().stop(&bed.ctx, "shop", None).await.unwrap();
    assert_completed(&bed.ended(&stop).await);
    let (old, temporary) = (id(&bed).await, temporary(&bed).await);
    bed.engine.fail_always("start", &temporary, E::PortInUse { port: 8080 });
    assert_eq!(bed.up(NEW).await.state, State::Failed);
    assert_eq!((names(&bed).await, id(&bed).await), (vec!["shop-web-1".to_owned()], old));
    assert!(!bed.engine.runs("shop-web-1"));
    assert_eq!(bed.service("shop/web").await.observed, Observed::Exited(143));
}

#[tokio::test]
async fn atomic_puts_the_old_one_back_too() {
    let bed = Bed::new().await;
    assert_completed(&bed.up(OLD).await);
    let (old, temporary) = (id(&bed).await, temporary(&bed).await);
    bed.engine.fail_always("start", &temporary, E::PortInUse { port: 8080 });
    let mut atomic = request(NEW);
    atomic.atomic = true;
    let operation = bed.apply(atomic).await.unwrap().operation.unwrap();
    let operation = bed.ended(&operation).await;
    assert_eq!(operation.state, State::Failed);
    assert_eq!((names(&bed).await, id(&bed).await), (vec!["shop-web-1".to_owned()], old));
    let service = bed.service("shop/web").await;
    assert_eq!((service.desired, service.observed.is_running()), (Desired::Running, true));
}

#[tokio::test]
async fn a_build_that_fails_touches_no_container() {
    let bed = Bed::new().await;
    bed.files.write("/home/ann/shop/Dockerfile", "FROM app");
    let built = |value| format!("services: {{web: {{build: ., environment: {{V: '{value}'}}}}}}");
    assert_completed(&bed.up(&built(1)).await);
    let old = id(&bed).await;
    bed.engine.fail_builds("exit code 1");
    let mut again = request(&built(2));
    again.build = true;
    let operation = bed.apply(again).await.unwrap().operation.unwrap();
    assert_eq!(bed.ended(&operation).await.reason, Some(Reason::BuildFailed));
    assert_eq!((names(&bed).await, id(&bed).await), (vec!["shop-web-1".to_owned()], old));
    assert!(bed.engine.runs("shop-web-1"));
}

#[tokio::test]
async fn what_waits_for_a_dependency_that_fails_is_not_touched() {
    let bed = Bed::new().await;
    let text = |value| {
        format!(
            "services: {{db: {{image: app, environment: {{V: '{value}'}}}}, web: {{image: app, depends_on: [db], environment: {{V: '{value}'}}}}}}"
        )
    };
    assert_completed(&bed.up(&text(1)).await);
    let old = id(&bed).await;
    let db = bed.world.engine.workloads.inspect("shop-db-1").await.unwrap().unwrap().id;
    bed.engine.fail_always("create", &format!("{}_shop-db-1", &db[..12]), E::Refused("no".into()));
    assert_eq!(bed.up(&text(2)).await.state, State::Failed);
    assert_eq!(names(&bed).await, ["shop-db-1", "shop-web-1"]);
    assert_eq!(id(&bed).await, old);
    assert!(bed.engine.runs("shop-web-1") && bed.engine.runs("shop-db-1"));
}

#[tokio::test]
async fn a_cancel_in_the_middle_leaves_one_container_that_runs() {
    for call in ["create", "stop", "start", "remove"] {
        let bed = Bed::new().await;
        assert_completed(&bed.up(OLD).await);
        let temporary = temporary(&bed).await;
        let name = if matches!(call, "create" | "start") { temporary.as_str() } else { "shop-web-1" };
        let held = bed.engine.hold(call, name);
        let operation = bed.begin_up(NEW).await;
        within(held.reached()).await;
        bed.control.operations().cancel(&bed.ctx, operation.id.as_str()).await.unwrap();
        drop(held);
        let operation = bed.ended(&operation).await;
        assert_eq!(names(&bed).await, ["shop-web-1"], "{call}: {:#?}", steps(&operation));
        assert!(bed.engine.runs("shop-web-1"), "{call}: {:#?}", steps(&operation));
        assert!(bed.service("shop/web").await.observed.is_running(), "{call}");
    }
}

#[tokio::test]
async fn two_that_replace_the_same_container_end_with_one() {
    for round in 0..20 {
        let bed = Bed::new().await;
        assert_completed(&bed.up(OLD).await);
        let (one, two) = tokio::join!(bed.begin_up(NEW), bed.begin_up(NEW));
        for operation in [one, two] {
            let operation = bed.ended(&operation).await;
            assert_eq!(operation.state, State::Completed, "round {round}: {:#?}", steps(&operation));
        }
        assert_eq!(names(&bed).await, ["shop-web-1"], "round {round}: {:#?}", bed.engine.log());
        assert!(bed.engine.runs("shop-web-1"), "round {round}: {:#?}", bed.engine.log());
    }
}

/// The volumes without a name of the container of `shop/web`, by target.
async fn anonymous(bed: &Bed) -> std::collections::BTreeMap<String, String> {
    bed.world.engine.workloads.inspect("shop-web-1").await.unwrap().unwrap().anonymous_volumes
}

#[tokio::test]
async fn volumes_without_a_name_go_over_to_the_next_container() {
    let bed = Bed::new().await;
    bed.engine.declare_volume("app", "/data");
    let text = |value| {
        format!("services: {{web: {{image: app, volumes: [/cache], environment: {{V: '{value}'}}}}}}")
    };
    assert_completed(&bed.up(&text(1)).await);
    let first = anonymous(&bed).await;
    assert_eq!(first.len(), 2);
    assert_completed(&bed.up(&text(2)).await);
    assert_eq!(anonymous(&bed).await, first, "after a change");

    let down = bed.control.groups().down(&bed.ctx, "shop", false, None).await.unwrap();
    assert_completed(&bed.ended(&down).await);
    assert_completed(&bed.up(&text(2)).await);
    assert_eq!(anonymous(&bed).await, first, "after down and up");

    bed.engine.remove_by_hand("shop-web-1");
    assert_completed(&bed.up(&text(3)).await);
    assert_eq!(anonymous(&bed).await, first, "after a removal by hand");

    let down = bed.control.groups().down(&bed.ctx, "shop", true, None).await.unwrap();
    let down = bed.ended(&down).await;
    assert_completed(&down);
    for volume in first.values() {
        assert!(steps(&down).contains(&format!("volume {volume} completed")), "{:#?}", steps(&down));
    }
    assert_eq!(bed.engine.volume_names(), Vec::<String>::new());
}

#[tokio::test]
async fn a_target_that_comes_back_has_its_volume_again() {
    let bed = Bed::new().await;
    bed.engine.add_image("plain");
    bed.engine.declare_volume("app", "/data");
    let with = "services: {web: {image: app, volumes: [/cache]}}";
    let without = "services: {web: {image: plain, volumes: [/other]}}";
    assert_completed(&bed.up(with).await);
    let first = anonymous(&bed).await;
    assert_completed(&bed.up(without).await);
    let second = anonymous(&bed).await;
    assert_eq!(second.keys().collect::<Vec<_>>(), ["/other"]);
    assert_completed(&bed.up(with).await);
    assert_eq!(anonymous(&bed).await, first);

    // All of them are the group's until it goes with its volumes.
    let down = bed.control.groups().down(&bed.ctx, "shop", true, None).await.unwrap();
    assert_completed(&bed.ended(&down).await);
    assert_eq!(bed.engine.volume_names(), Vec::<String>::new());
}

#[tokio::test]
async fn the_volumes_of_a_service_that_left_the_files_are_named_before_nobody_knows_whose_they_were() {
    let text = "services: {web: {image: app, volumes: [/cache]}, db: {image: app}}";
    let left = "services: {db: {image: app}}";
    for goes_down in [false, true] {
        let bed = Bed::new().await;
        assert_completed(&bed.up(text).await);
        let volume = anonymous(&bed).await.remove("/cache").unwrap();
        if goes_down {
            let down = bed.control.groups().down(&bed.ctx, "shop", false, None).await.unwrap();
            assert_completed(&bed.ended(&down).await);
        }
        let mut asked = request(left);
        asked.remove_orphans = !goes_down;
        let applied = bed.apply(asked).await.unwrap();
        let note = format!("its anonymous volume is kept, `docker volume rm {volume}` removes it");
        assert!(applied.plan.notes.iter().any(|told| told.contains(&note)), "{:?}", applied.plan.notes);
        assert_completed(&bed.ended(&applied.operation.unwrap()).await);
        assert!(bed.engine.volume_names().contains(&volume));
    }
}

#[tokio::test]
async fn who_follows_what_cannot_be_replaced_runs_on() {
    let text = |value| {
        format!(
            "services: {{web: {{image: app, environment: {{V: '{value}'}}}}, dep: {{image: app, depends_on: {{web: {{condition: service_started, restart: true}}}}}}, far: {{image: app, depends_on: {{dep: {{condition: service_started, restart: true}}}}}}}}"
        )
    };
    let bed = Bed::new().await;
    assert_completed(&bed.up(&text(1)).await);
    let temporary = temporary(&bed).await;
    bed.engine.fail_always("start", &temporary, E::Refused("unable to find user nobody".into()));
    let operation = bed.up(&text(2)).await;
    assert_eq!(operation.state, State::Failed);
    assert!(operation.message.contains("the previous container is running again"), "{}", operation.message);
    for name in ["shop-web-1", "shop-dep-1", "shop-far-1"] {
        assert!(bed.engine.runs(name), "{name}: {:#?}", steps(&operation));
    }
    assert_eq!((bed.engine.starts_of("shop-dep-1"), bed.engine.starts_of("shop-far-1")), (1, 1));

    // A follower that was stopped already is started again, whatever broke the restart off.
    bed.engine.heal("start", &temporary);
    let held = bed.engine.hold("stop", "shop-far-1");
    let operation = bed.begin_up(&text(3)).await;
    within(held.reached()).await;
    bed.control.operations().cancel(&bed.ctx, operation.id.as_str()).await.unwrap();
    drop(held);
    let operation = bed.ended(&operation).await;
    for name in ["shop-web-1", "shop-dep-1", "shop-far-1"] {
        assert!(bed.engine.runs(name), "{name}: {:#?}", steps(&operation));
        assert!(
            bed.service(&name.replacen("shop-", "shop/", 1).replace("-1", "")).await.observed.is_running()
        );
    }
}

#[tokio::test]
async fn a_plan_says_what_changed() {
    let plan = async |bed: &Bed, text: &str| {
        let mut asked = request(text);
        asked.dry_run = true;
        bed.apply(asked).await.unwrap().plan.render()
    };
    let bed = Bed::new().await;
    assert_completed(&bed.up(OLD).await);
    assert!(plan(&bed, OLD).await.contains("nothing to do"));
    let text = plan(&bed, NEW).await;
    assert!(text.contains("its definition changed: environment.V: 1 → 2"), "{text}");
    let secret = "services: {web: {image: other, environment: {V: '1', API_TOKEN: hunter2}}}";
    let text = plan(&bed, secret).await;
    assert!(text.contains("environment.API_TOKEN: not set → ********, image: app → other"), "{text}");
    assert!(!text.contains("hunter2"), "{text}");

    // What the container was made from is that of the one that runs now.
    assert_completed(&bed.up(NEW).await);
    let text = plan(&bed, OLD).await;
    assert!(text.contains("its definition changed: environment.V: 2 → 1"), "{text}");
}

#[tokio::test]
async fn volumes_without_a_name_are_made_anew_only_when_that_is_asked_for() {
    let bed = Bed::new().await;
    bed.engine.declare_volume("app", "/data");
    bed.engine.add_image("other");
    let text = "
services:
  web: {image: app, volumes: [/cache, 'kept:/kept']}
  side: {image: other, volumes_from: [web]}
volumes: {kept: {}}
";
    assert_completed(&bed.up(text).await);
    let first = anonymous(&bed).await;
    let mut renew = request(text);
    renew.renew_anon_volumes = true;
    let applied = bed.apply(renew.clone()).await.unwrap();
    for old in first.values() {
        let way_out = format!("`docker volume rm {old}` removes it");
        assert!(applied.plan.notes.iter().any(|note| note.contains(&way_out)), "{:?}", applied.plan.notes);
    }
    assert_completed(&bed.ended(&applied.operation.unwrap()).await);
    let second = anonymous(&bed).await;
    assert_eq!(second.keys().collect::<Vec<_>>(), first.keys().collect::<Vec<_>>());
    let volumes = bed.engine.volume_names();
    assert!(first.values().all(|old| volumes.contains(old)), "what was in them is kept: {volumes:?}");
    assert!(second.values().all(|new| !first.values().any(|old| old == new)), "{second:?}");
    assert!(second.values().all(|new| volumes.contains(new)), "{volumes:?}");
    assert!(volumes.contains(&"shop_kept".to_owned()), "{volumes:?}");

    assert_completed(&bed.up(text).await);
    assert_eq!(anonymous(&bed).await, second, "an ordinary up leaves them");

    // What cannot start has taken nothing away.
    let id = bed.engine.id("shop-web-1").unwrap();
    bed.engine.fail_always(
        "start",
        &format!("{}_shop-web-1", id.chars().take(12).collect::<String>()),
        E::Failed("no space left on device".into()),
    );
    let operation = bed.apply(renew.clone()).await.unwrap().operation.unwrap();
    assert_eq!(bed.ended(&operation).await.state, State::Failed);
    assert_eq!(anonymous(&bed).await, second);
    assert!(second.values().all(|kept| bed.engine.volume_names().contains(kept)));

    let down = bed.control.groups().down(&bed.ctx, "shop", false, None).await.unwrap();
    assert_completed(&bed.ended(&down).await);
    let operation = bed.apply(renew).await.unwrap().operation.unwrap();
    assert_completed(&bed.ended(&operation).await);
    let third = anonymous(&bed).await;
    assert!(third.values().all(|new| !second.values().any(|old| old == new)), "after down too: {third:?}");
}
