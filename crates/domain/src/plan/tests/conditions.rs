//! Replacements that depend on what a build or a pull makes.

use super::*;

/// `web` needs `db`, whose image is built.
fn built() -> World {
    let mut world = World::new(&["web", "db"]).needs("web", "db", Condition::Started).everything_runs();
    let container = world.definition("db").container_mut();
    (container.image, container.build) = ("db:1".into(), Some(Build::default()));
    world.snapshot.images.insert("db:1".into(), image("1"));
    world.policy.build = true;
    world
}

/// The steps with a condition, those on the opposite one with `!`.
fn conditional(plan: &Plan) -> Vec<String> {
    let words = words(plan);
    let pairs = plan.steps.iter().zip(words);
    pairs
        .filter_map(|(step, words)| {
            let condition = step.only_if.as_ref()?;
            Some(if condition.changed { words } else { format!("!{words}") })
        })
        .collect()
}

#[test]
fn a_rebuilt_service_is_replaced_if_its_image_changes() {
    insta::assert_snapshot!(built().plan(Verb::Up).unwrap().render(), @"
    plan: up shop
       1  build    db:1                    build was asked for
       2  create   0000000000db_shop-db-1  if its image changes  after 1
       3  stop     shop-db-1               the new container takes over, if its image changes  after 2
       4  start    0000000000db_shop-db-1  its container is new, if its image changes  after 3
       5  remove   shop-db-1               replaced, if its image changes  after 4
       6  rename   shop-db-1               gets its final name, if its image changes  after 5
       7  wait     shop-db-1               until it stays up  after 6
    ");
}

#[test]
fn what_is_replaced_for_another_reason_too_is_replaced_in_any_case() {
    let mut world = built();
    let plan = world.plan(Verb::Recreate).unwrap();
    assert_eq!(conditional(&plan), Vec::<String>::new());
    world.policy.force_recreate = true;
    assert_eq!(conditional(&world.plan(Verb::Up).unwrap()), Vec::<String>::new());
    world.policy.force_recreate = false;
    world.present("db", "h0", State::Running { health: Verdict::Healthy });
    assert_eq!(conditional(&world.plan(Verb::Up).unwrap()), Vec::<String>::new());
    world.present("db", "h1", State::Running { health: Verdict::Healthy });
    assert_eq!(conditional(&world.plan(Verb::Up).unwrap()).len(), 5);
    // An engine that does not say what the container was made from.
    world.snapshot.workloads.get_mut("shop-db-1").unwrap().image_id.clear();
    assert_eq!(conditional(&world.plan(Verb::Up).unwrap()), Vec::<String>::new());
}

#[test]
fn what_does_not_run_is_started_if_it_is_not_replaced() {
    let mut world = built();
    world.present("db", "h1", State::Exited { code: 0, oom: false });
    let plan = world.plan(Verb::Up).unwrap();
    assert_eq!(
        conditional(&plan),
        [
            "create 0000000000db_shop-db-1",
            "start 0000000000db_shop-db-1",
            "remove shop-db-1",
            "rename shop-db-1",
            "!start shop-db-1"
        ]
    );
    let last = plan.steps.iter().find(|step| step.only_if.as_ref().is_some_and(|it| !it.changed)).unwrap();
    assert_eq!(last.why, "is not running, if its image does not change");
    assert_eq!(
        behind(&plan, "wait shop-db-1")[..3],
        ["wait shop-db-1", "start shop-db-1", "rename shop-db-1"]
    );
}

#[test]
fn who_follows_is_restarted_on_the_same_condition() {
    let mut world = built();
    world.definition("web").depends_on[0].restart = true;
    let plan = world.plan(Verb::Up).unwrap();
    assert_eq!(conditional(&plan)[5..], ["stop shop-web-1", "start shop-web-1"], "{}", plan.render());
    assert!(behind(&plan, "stop shop-web-1").contains(&"build db:1".to_owned()));
    assert!(plan.render().contains("follows db, if image `db:1` changes"), "{}", plan.render());

    // With an image of its own that is built too, either is enough.
    world.definition("web").container_mut().build = Some(Build::default());
    let plan = world.plan(Verb::Up).unwrap();
    assert_eq!(conditional(&plan).len(), 10, "{}", plan.render());
    assert!(plan.render().contains("if image `app:1` or `db:1` changes"), "{}", plan.render());

    // What is replaced in any case takes its followers along in any case.
    world.present("db", "h0", State::Running { health: Verdict::Healthy });
    assert_eq!(conditional(&world.plan(Verb::Up).unwrap()), Vec::<String>::new());
}

#[test]
fn guests_are_replaced_on_the_condition_of_their_owner() {
    let mut world = sharing();
    world.definition("owner").container_mut().build = Some(Build::default());
    world.definition("owner").container_mut().image = "owner:1".into();
    world.snapshot.images.insert("owner:1".into(), image("1"));
    world.policy.build = true;
    let plan = world.plan(Verb::Up).unwrap();
    assert_eq!(conditional(&plan).len(), 10, "{}", plan.render());
    // An owner that does not run is replaced or started: who runs in its namespaces is made anew either way.
    world.present("owner", "h1", State::Exited { code: 1, oom: false });
    let plan = world.plan(Verb::Up).unwrap();
    assert_eq!(conditional(&plan).len(), 5, "{}", plan.render());
}

#[test]
fn a_container_that_may_stay_gives_up_no_port() {
    let mut world = built();
    let held = Binding {
        host_ip: "127.0.0.1".into(),
        host_port: 8080,
        container_port: 80,
        protocol: crate::port::Protocol::Tcp,
    };
    world.snapshot.workloads.get_mut("shop-db-1").unwrap().ports = vec![held];
    // It holds a port that it is not to have any more, so it cannot stay.
    assert_eq!(conditional(&world.plan(Verb::Up).unwrap()), Vec::<String>::new());
}
