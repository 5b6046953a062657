mod conditions;

use proptest::prelude::*;

use super::*;
use crate::error::Reason;
use crate::group::tests::{group, service};
use crate::health::{Check, Test, Verdict};
use crate::name::{GroupRef, ServiceName};
use crate::service::{Definition, Dependency};
use crate::spec;
use crate::workload::{Mount, MountKind};

/// A small world to plan in.
#[derive(Debug)]
struct World {
    group: Group,
    services: Vec<Service>,
    snapshot: Snapshot,
    policy: Policy,
}

impl World {
    fn new(names: &[&str]) -> Self {
        let group = group("shop");
        let services = names.iter().map(|name| service(&group, name)).collect();
        let snapshot =
            Snapshot { images: BTreeMap::from([("app:1".to_owned(), image("1"))]), ..Snapshot::default() };
        Self { group, services, snapshot, policy: Policy::default() }
    }

    fn definition(&mut self, name: &str) -> &mut Definition {
        let found = self.services.iter_mut().find(|service| service.definition.name.as_str() == name);
        &mut found.unwrap().definition
    }

    fn needs(mut self, from: &str, to: &str, condition: Condition) -> Self {
        let service = ServiceName::parse("name", to).unwrap();
        self.definition(from).depends_on.push(Dependency {
            service,
            condition,
            required: true,
            restart: false,
        });
        self
    }

    fn checked(mut self, name: &str) -> Self {
        self.definition(name).health = Some(Check::new(Test::Command { argv: vec!["true".into()] }));
        self
    }

    fn wanted(&self) -> Vec<Wanted<'_>> {
        let resolve = |service| {
            let mut spec = spec::resolve("me", &self.group, service, &self.services, &[]);
            spec.identity.spec_hash = "h1".into();
            Wanted { service, spec }
        };
        self.services.iter().map(resolve).collect()
    }

    fn plan(&self, verb: Verb) -> Result<Plan, Error> {
        let part = Part {
            group: &self.group,
            services: self.wanted(),
            orphans: vec![],
            aside: vec![],
            along: false,
            is_whole: true,
            former: vec![],
        };
        plan(verb, "shop", &[part], &self.snapshot, &self.policy)
    }

    fn refused(&self, verb: Verb) -> Error {
        self.plan(verb).unwrap().refusal().unwrap()
    }

    fn present(&mut self, name: &str, hash: &str, state: State) {
        let present = Present {
            id: format!("{name:0>12}"),
            anonymous_volumes: BTreeMap::new(),
            service: self.services.iter().find(|s| s.definition.name.as_str() == name).map(|s| s.id.clone()),
            of_another: None,
            aside: None,
            networks: BTreeMap::from([("shop_default".to_owned(), "net1".to_owned())]),
            is_in_the_making: false,
            shares_with: BTreeSet::new(),
            spec_hash: hash.into(),
            image_id: "1".into(),
            state,
            ports: Vec::new(),
        };
        self.snapshot.workloads.insert(format!("shop-{name}-1"), present);
        let network = PresentNetwork {
            id: "net1".into(),
            is_ours: true,
            group: Some(self.group.name.clone()),
            changes: None,
        };
        self.snapshot.networks.insert("shop_default".into(), network);
    }

    fn everything_runs(mut self) -> Self {
        let names: Vec<String> = self.services.iter().map(|s| s.definition.name.to_string()).collect();
        for name in names {
            self.present(&name, "h1", State::Running { health: Verdict::Healthy });
        }
        self
    }
}

fn image(id: &str) -> Image {
    Image { id: id.into(), build_digest: None }
}

fn words(plan: &Plan) -> Vec<String> {
    plan.steps.iter().map(|step| format!("{} {}", step.work.action().as_str(), step.work.subject())).collect()
}

/// Somebody else's container that has ended.
fn stranger() -> Present {
    Present {
        id: "f00".into(),
        anonymous_volumes: BTreeMap::new(),
        service: None,
        of_another: None,
        aside: None,
        networks: BTreeMap::new(),
        is_in_the_making: false,
        shares_with: BTreeSet::new(),
        spec_hash: String::new(),
        image_id: String::new(),
        state: State::Exited { code: 0, oom: false },
        ports: Vec::new(),
    }
}

#[test]
fn up_from_nothing_reads_as_a_story() {
    let mut world = World::new(&["web", "api", "db"])
        .needs("web", "api", Condition::Started)
        .needs("api", "db", Condition::Healthy)
        .checked("db");
    world.definition("db").container_mut().mounts.push(Mount::new(
        MountKind::Volume,
        Some("data".into()),
        "/data",
    ));
    world.group.definition.volumes.insert("data".into(), Volume::default());
    world.definition("web").container_mut().image = "web:2".into();
    insta::assert_snapshot!(world.plan(Verb::Up).unwrap().render(), @"
    plan: up shop
       1  pull     web:2         not on this engine
       2  network  shop_default  does not exist yet
       3  volume   shop_data     does not exist yet
       4  create   shop-db-1     has no container  after 2 3
       5  start    shop-db-1     its container is new  after 4
       6  wait     shop-db-1     until healthy  after 5
       7  create   shop-api-1    has no container  after 2
       8  start    shop-api-1    needs db healthy  after 6 7
       9  wait     shop-api-1    until it stays up  after 8
      10  create   shop-web-1    has no container  after 1 2
      11  start    shop-web-1    needs api started  after 8 10
      12  wait     shop-web-1    until it stays up  after 11
    ");
}

#[test]
fn what_is_as_it_should_be_is_left_alone() {
    let world =
        World::new(&["web", "db"]).needs("web", "db", Condition::Healthy).checked("db").everything_runs();
    let plan = world.plan(Verb::Up).unwrap();
    assert!(plan.is_empty(), "{}", plan.render());
    assert_eq!(plan.render(), "plan: up shop\n  nothing to do: shop is up to date\n");
}

#[test]
fn a_changed_definition_replaces_on_up_and_is_named_on_start() {
    let mut world = World::new(&["web"]).everything_runs();
    world.present("web", "h0", State::Running { health: Verdict::None });
    let up = world.plan(Verb::Up).unwrap();
    assert_eq!(
        words(&up),
        [
            "create 000000000web_shop-web-1",
            "stop shop-web-1",
            "start 000000000web_shop-web-1",
            "remove shop-web-1",
            "rename shop-web-1",
            "wait shop-web-1"
        ]
    );
    let start = world.plan(Verb::Start).unwrap();
    assert!(start.is_empty());
    assert!(start.notes[0].contains("differs from its container"), "{:?}", start.notes);
}

#[test]
fn what_only_comes_along_is_never_replaced() {
    let mut world = World::new(&["web"]).everything_runs();
    world.present("web", "h0", State::Running { health: Verdict::None });
    world.policy.force_recreate = true;
    let part = Part {
        group: &world.group,
        services: world.wanted(),
        orphans: vec![],
        aside: vec![],
        along: true,
        is_whole: true,
        former: vec![],
    };
    assert!(plan(Verb::Up, "other", &[part], &world.snapshot, &world.policy).unwrap().is_empty());
}

#[test]
fn a_strangers_container_is_refused_and_adopted_on_request() {
    let mut world = World::new(&["web"]);
    world.snapshot.workloads.insert("shop-web-1".into(), stranger());
    let error = world.refused(Verb::Up);
    assert_eq!(error.reason(), Reason::NameTaken);
    assert!(error.message().contains("--adopt"), "{error}");
    world.policy.adopt = true;
    assert_eq!(
        words(&world.plan(Verb::Up).unwrap())[1..],
        [
            "create f00_shop-web-1",
            "start f00_shop-web-1",
            "remove shop-web-1",
            "rename shop-web-1",
            "wait shop-web-1"
        ]
    );
}

#[test]
fn a_container_of_another_service_of_ours_is_never_adopted() {
    let mut world = World::new(&["web"]);
    let other = Present { of_another: Some("other/web".into()), ..stranger() };
    world.snapshot.workloads.insert("shop-web-1".into(), other);
    world.policy.adopt = true;
    let error = world.refused(Verb::Up);
    assert_eq!(error.reason(), Reason::NameTaken);
    assert_eq!(
        error.message(),
        "container `shop-web-1` belongs to `other/web`, and `shop/web` needs that name; bring the other one down, \
         change `container_name`, or use --instance NAME"
    );
}

#[test]
fn stop_is_the_reverse_and_touches_no_stranger() {
    let mut world = World::new(&["web", "api", "db"])
        .needs("web", "api", Condition::Started)
        .needs("api", "db", Condition::Started)
        .everything_runs();
    world.snapshot.workloads.get_mut("shop-api-1").unwrap().service = None;
    let plan = world.plan(Verb::Stop).unwrap();
    assert_eq!(words(&plan), ["stop shop-web-1", "stop shop-db-1"]);
    let full = World::new(&["web", "db"]).needs("web", "db", Condition::Started).everything_runs();
    let plan = full.plan(Verb::Stop).unwrap();
    assert_eq!((words(&plan)[1].as_str(), plan.steps[1].after.as_slice()), ("stop shop-db-1", &[1][..]));
}

#[test]
fn down_removes_what_is_ours_and_volumes_only_on_request() {
    let mut world = World::new(&["web"]).everything_runs();
    world.group.definition.volumes.insert("data".into(), Volume::default());
    world.snapshot.volumes.insert("shop_data".into(), true);
    assert_eq!(
        words(&world.plan(Verb::Down).unwrap()),
        ["stop shop-web-1", "remove shop-web-1", "network shop_default"]
    );
    world.policy.remove_volumes = true;
    assert_eq!(words(&world.plan(Verb::Down).unwrap())[3], "volume shop_data");
    assert!(world.plan(Verb::Down).unwrap().notes.is_empty());
    world.snapshot.adopted_volumes.insert("shop_data".into());
    assert_eq!(
        world.plan(Verb::Down).unwrap().notes,
        ["removes with its data: volume `shop_data` (made by docker compose)"]
    );
    world.snapshot.volumes.insert("shop_data".into(), false);
    assert_eq!(world.plan(Verb::Down).unwrap().steps.len(), 3);
}

#[test]
fn down_tells_what_it_leaves_and_why() {
    let mut world = World::new(&["web", "db"]).everything_runs();
    let definition = &mut world.group.definition;
    definition.volumes.insert("data".into(), Volume::default());
    definition.volumes.insert("theirs".into(), Volume { external: true, ..Volume::default() });
    definition.networks.insert("lan".into(), Network { external: true, ..Network::default() });
    world.snapshot.volumes = [("shop_data".into(), true), ("theirs".into(), false)].into();
    world.snapshot.networks.insert("lan".into(), PresentNetwork::default());
    world.snapshot.workloads.get_mut("shop-db-1").unwrap().service = None;
    let web = world.services[0].id.clone();
    world.snapshot.anonymous_volumes.insert(web, [("/cache".into(), "4f1c".into())].into());
    let beside = |name: &str, is_one_off| Beside { name: name.into(), is_one_off };
    world.snapshot.composed.insert(
        "shop".into(),
        vec![beside("shop-db-1", false), beside("shop-web-run-1f", true), beside("shop-web-2", false)],
    );
    assert_eq!(
        world.plan(Verb::Down).unwrap().notes,
        [
            "kept: container `shop-db-1`, which has the name of shop/db but is not ours",
            "kept: container `shop-web-run-1f`, which was made by docker compose run",
            "kept: container `shop-web-2`, which was made by docker compose",
            "kept: external network `lan`",
            "kept: external volume `theirs`",
            "kept: volume `shop_data`, 1 anonymous volume (use --volumes to remove)",
        ]
    );
    world.policy.remove_volumes = true;
    assert_eq!(world.plan(Verb::Down).unwrap().notes.len(), 5);
}

#[test]
fn what_a_renamed_project_was_is_removed_before_its_network_is_made_again() {
    let mut world = World::new(&["web"]);
    let mut old = world.group.clone();
    old.name = GroupRef::parse("group", "old").unwrap();
    old.definition.volumes.insert("data".into(), Volume::default());
    let web = service(&old, "web");
    let network = PresentNetwork { is_ours: true, ..PresentNetwork::default() };
    world.snapshot.networks.insert("old_default".into(), network);
    world.snapshot.volumes.insert("old_data".into(), true);
    let present = Present { service: Some(web.id.clone()), ..stranger() };
    world.snapshot.workloads.insert("old-web-1".into(), present);
    world.policy.remove_orphans = true;
    let former = vec![Former { group: &old, services: vec![&web] }];
    let part = Part {
        group: &world.group,
        services: world.wanted(),
        orphans: vec![],
        aside: vec![],
        along: false,
        is_whole: true,
        former,
    };
    let plan = plan(Verb::Up, "shop", &[part], &world.snapshot, &world.policy).unwrap();
    assert_eq!(
        words(&plan)[..5],
        [
            "remove old-web-1",
            "network old_default",
            "network shop_default",
            "create shop-web-1",
            "start shop-web-1"
        ]
    );
    assert_eq!(plan.steps[2].after, [2], "its addresses may be those of the old one");
    assert_eq!(plan.steps[3].after, [1], "so may its name and ports");
    assert_eq!(plan.notes, ["kept: volume `old_data` of group `old`"]);
}

#[test]
fn restart_keeps_the_containers_and_the_order() {
    let mut world =
        World::new(&["web", "db"]).needs("web", "db", Condition::Healthy).checked("db").everything_runs();
    world.services.push(service(&world.group, "gone"));
    let plan = world.plan(Verb::Restart).unwrap();
    assert_eq!(
        words(&plan),
        [
            "stop shop-web-1",
            "stop shop-db-1",
            "start shop-db-1",
            "wait shop-db-1",
            "start shop-web-1",
            "wait shop-web-1"
        ]
    );
    assert!(plan.notes[0].contains("shop/gone has no container"));
}

#[test]
fn a_dependant_that_follows_is_restarted_with_its_dependency() {
    let mut world = World::new(&["web", "db"]).needs("web", "db", Condition::Started).everything_runs();
    world.definition("web").depends_on[0].restart = true;
    world.present("db", "h0", State::Running { health: Verdict::None });
    let plan = world.plan(Verb::Up).unwrap();
    assert!(words(&plan).contains(&"stop shop-web-1".to_owned()), "{}", plan.render());
    let whys: Vec<&str> = plan.steps.iter().map(|step| step.why.as_str()).collect();
    assert_eq!(whys[whys.len() - 2..], ["restarted", "until it stays up"]);
}

#[test]
fn a_cycle_is_refused_with_its_path() {
    let world =
        World::new(&["a", "b"]).needs("a", "b", Condition::Started).needs("b", "a", Condition::Started);
    let error = world.plan(Verb::Up).unwrap_err();
    assert_eq!(error.message(), "services depend on each other in a circle: shop/a → shop/b → shop/a");
}

#[test]
fn another_group_comes_first_and_a_circle_of_groups_is_refused() {
    let (mut shop, mut infra) = (group("shop"), group("infra"));
    let need =
        |name: &str| crate::group::Dependency { group: GroupRef::parse("g", name).unwrap(), service: None };
    shop.definition.depends_on.push(need("infra"));
    let (web, db) = (service(&shop, "web"), service(&infra, "db"));
    let snapshot =
        Snapshot { images: BTreeMap::from([("app:1".to_owned(), image("1"))]), ..Snapshot::default() };
    let wanted =
        |group: &Group, service| Wanted { service, spec: spec::resolve("me", group, service, &[], &[]) };
    let run = |shop: &Group, infra: &Group| {
        let parts = [
            Part {
                group: shop,
                services: vec![wanted(shop, &web)],
                orphans: vec![],
                aside: vec![],
                along: false,
                is_whole: true,
                former: vec![],
            },
            Part {
                group: infra,
                services: vec![wanted(infra, &db)],
                orphans: vec![],
                aside: vec![],
                along: true,
                is_whole: true,
                former: vec![],
            },
        ];
        plan(Verb::Start, "shop", &parts, &snapshot, &Policy::default()).map(|plan| words(&plan))
    };
    let order = run(&shop, &infra).unwrap();
    let position = |word: &str| order.iter().position(|one| one == word).unwrap();
    assert!(position("start infra-db-1") < position("start shop-web-1"));
    infra.definition.depends_on.push(need("shop"));
    let error = run(&shop, &infra).unwrap_err();
    assert!(error.message().starts_with("groups depend on each other in a circle: "), "{error}");
}

#[test]
fn an_image_that_may_not_be_pulled_is_an_error() {
    let mut world = World::new(&["web"]);
    let container = world.definition("web").container_mut();
    (container.image, container.pull) = ("none:1".into(), PullPolicy::Never);
    assert_eq!(world.refused(Verb::Up).reason(), Reason::ImageNotFound);
}

#[test]
fn build_and_pull_are_done_again_only_on_request() {
    let mut world = World::new(&["web", "api"]).everything_runs();
    world.definition("web").container_mut().build = Some(Build::default());
    world.definition("api").container_mut().image = "other:1".into();
    world.snapshot.images.insert("other:1".into(), image("1"));
    assert!(world.plan(Verb::Up).unwrap().is_empty());
    world.policy.build = true;
    assert_eq!(words(&world.plan(Verb::Up).unwrap())[0], "build app:1");
    world.policy = Policy { pull: Some(PullPolicy::Always), ..Policy::default() };
    let plan = world.plan(Verb::Up).unwrap();
    assert!(
        words(&plan).contains(&"pull other:1".to_owned())
            && !words(&plan).contains(&"build app:1".to_owned())
    );
}

/// The steps that a step waits for, directly or not.
fn behind(plan: &Plan, word: &str) -> Vec<String> {
    let all = words(plan);
    let mut open = vec![all.iter().position(|one| one == word).unwrap()];
    let mut found = Vec::new();
    while let Some(at) = open.pop() {
        found.push(all[at].clone());
        let step = &plan.steps[at];
        open.extend(step.needs.iter().chain(&step.after).map(|number| *number as usize - 1));
    }
    found
}

#[test]
fn an_image_holds_back_only_the_services_that_need_it() {
    let mut world = World::new(&["web", "api", "db"]).needs("api", "web", Condition::Started);
    world.definition("web").container_mut().image = "web:1".into();
    world.definition("db").container_mut().image = "db:1".into();
    let plan = world.plan(Verb::Up).unwrap();
    let waits_for = |step: &str, image: &str| behind(&plan, step).contains(&format!("pull {image}"));
    assert!(waits_for("create shop-web-1", "web:1") && !waits_for("start shop-web-1", "db:1"));
    assert!(waits_for("create shop-db-1", "db:1") && !waits_for("start shop-db-1", "web:1"));
    assert!(!waits_for("create shop-api-1", "web:1") && waits_for("start shop-api-1", "web:1"));
}

#[test]
fn what_is_restarted_with_another_is_not_stopped_before_its_image_is_there() {
    let mut world = World::new(&["web", "db", "aside"]).needs("web", "db", Condition::Started);
    world.definition("web").depends_on[0].restart = true;
    let mut world = world.everything_runs();
    world.present("db", "h0", State::Running { health: Verdict::None });
    world.present("aside", "h0", State::Running { health: Verdict::None });
    world.definition("db").container_mut().image = "db:2".into();
    world.definition("aside").container_mut().image = "aside:2".into();
    let plan = world.plan(Verb::Up).unwrap();
    let before = behind(&plan, "stop shop-web-1");
    assert!(before.contains(&"pull db:2".to_owned()) && !before.contains(&"pull aside:2".to_owned()));
}

#[test]
fn an_image_that_one_service_builds_and_another_names_is_built_once_and_never_pulled() {
    // In start order the service that only names the image comes first, and last.
    for (builder, other) in [("web", "db"), ("db", "web")] {
        let mut world = World::new(&["web", "db"]).needs("web", "db", Condition::Started);
        let build = Build { tags: vec!["docker.io/library/mine:2".into()], ..Build::default() };
        let container = world.definition(builder).container_mut();
        (container.image, container.build) = ("mine".into(), Some(build));
        for name in ["mine:latest", "mine:2"] {
            for pull in [PullPolicy::Missing, PullPolicy::Always, PullPolicy::Never] {
                let container = world.definition(other).container_mut();
                (container.image, container.pull) = (name.into(), pull);
                let plan = world.plan(Verb::Up).unwrap();
                assert!(plan.problems.is_empty(), "{:?}", plan.problems);
                let made: Vec<String> =
                    words(&plan).into_iter().filter(|step| step.contains(" mine")).collect();
                assert_eq!(made, ["build mine"], "{}", plan.render());
                assert!(behind(&plan, &format!("create shop-{other}-1")).contains(&"build mine".to_owned()));
            }
        }
    }
}

#[test]
fn a_new_image_under_the_same_name_replaces_on_up_and_is_named_on_start() {
    let mut world = World::new(&["web"]).everything_runs();
    world.snapshot.images.insert("app:1".into(), image("2"));
    let up = world.plan(Verb::Up).unwrap();
    assert_eq!(up.steps[0].why, "`app:1` is another image by now", "{}", up.render());
    let start = world.plan(Verb::Start).unwrap();
    assert!(start.is_empty() && start.notes[0].contains("runs an older image"), "{:?}", start.notes);
    // An engine that does not say which image a container has.
    world.snapshot.workloads.get_mut("shop-web-1").unwrap().image_id.clear();
    assert!(world.plan(Verb::Up).unwrap().is_empty());
}

#[test]
fn an_image_that_was_built_from_another_definition_is_built_before_its_container() {
    let mut world = World::new(&["web", "api"]).everything_runs();
    world.definition("web").container_mut().build = Some(Build { digest: "new".into(), ..Build::default() });
    // Built by somebody else, or from the same definition: contents are looked at by --build only.
    for known in [None, Some("new".to_owned())] {
        world.snapshot.images.insert("app:1".into(), Image { build_digest: known, ..image("1") });
        assert!(world.plan(Verb::Up).unwrap().is_empty());
    }
    world.snapshot.images.insert("app:1".into(), Image { build_digest: Some("old".into()), ..image("1") });
    let plan = world.plan(Verb::Up).unwrap();
    assert_eq!(
        (words(&plan)[0].as_str(), plan.steps[0].why.as_str()),
        ("build app:1", "its build definition changed")
    );
    for name in ["web", "api"] {
        let create = format!("create 000000000{name}_shop-{name}-1");
        assert!(behind(&plan, &create).contains(&"build app:1".to_owned()), "{}", plan.render());
    }
    assert!(world.plan(Verb::Start).unwrap().is_empty());
    // Also where `down` has taken the container away.
    world.snapshot.workloads.clear();
    assert_eq!(words(&world.plan(Verb::Up).unwrap())[0], "build app:1");
}

#[test]
fn external_things_that_are_missing_are_errors() {
    let mut world = World::new(&["web"]);
    world
        .group
        .definition
        .networks
        .insert("default".into(), Network { external: true, ..Network::default() });
    assert!(world.refused(Verb::Up).message().contains("network `default`"));
    let mut world = World::new(&["web"]);
    world.group.definition.volumes.insert("data".into(), Volume { external: true, ..Volume::default() });
    world.definition("web").container_mut().mounts.push(Mount::new(
        MountKind::Volume,
        Some("data".into()),
        "/d",
    ));
    assert!(world.refused(Verb::Up).message().contains("docker volume create data"));
}

#[test]
fn everything_that_stands_in_the_way_is_in_the_plan_at_once() {
    let mut world = World::new(&["web", "api", "db"]);
    world.snapshot.workloads.insert("shop-web-1".into(), stranger());
    let container = world.definition("api").container_mut();
    (container.image, container.pull) = ("none:1".into(), PullPolicy::Never);
    let external = Network { external: true, ..Network::default() };
    world.group.definition.networks.insert("default".into(), external);
    let plan = world.plan(Verb::Up).unwrap();
    let reasons: Vec<Reason> = plan.problems.iter().map(|problem| problem.reason).collect();
    // The network is missing once, though three services join it.
    assert_eq!(reasons, [Reason::NameTaken, Reason::ImageNotFound, Reason::InvalidFile]);
    assert!(plan.problems.iter().all(|problem| !problem.hint.is_empty()), "{:#?}", plan.problems);
    assert!(words(&plan).contains(&"start shop-db-1".to_owned()), "{}", plan.render());
    assert_eq!(plan.refusal().unwrap().reason(), Reason::NameTaken);
}

#[test]
fn orphans_are_named_and_removed_on_request() {
    let mut world = World::new(&["web"]).everything_runs();
    world.present("old", "h1", State::Running { health: Verdict::None });
    let orphan = service(&world.group, "old");
    world.snapshot.workloads.get_mut("shop-old-1").unwrap().service = Some(orphan.id.clone());
    let run = |world: &World| {
        let part = Part {
            group: &world.group,
            services: world.wanted(),
            orphans: vec![&orphan],
            aside: vec![],
            along: false,
            is_whole: true,
            former: vec![],
        };
        plan(Verb::Up, "shop", &[part], &world.snapshot, &world.policy).unwrap()
    };
    assert!(run(&world).notes[0].contains("--remove-orphans"));
    world.policy.remove_orphans = true;
    assert_eq!(words(&run(&world)), ["stop shop-old-1", "remove shop-old-1"]);
}

#[test]
fn a_one_shot_that_must_complete_is_waited_for_to_its_end() {
    let mut world = World::new(&["web", "migrate"]).needs("web", "migrate", Condition::Completed);
    assert_eq!(world.plan(Verb::Up).unwrap().steps.iter().filter(|s| s.why == "until completed").count(), 1);
    world.present("migrate", "h1", State::Exited { code: 0, oom: false });
    assert!(words(&world.plan(Verb::Up).unwrap()).contains(&"start shop-migrate-1".to_owned()));
}

#[test]
fn an_optional_dependency_is_only_waited_for() {
    let mut world = World::new(&["web", "db"]).needs("web", "db", Condition::Healthy).checked("db");
    world.definition("web").depends_on[0].required = false;
    let plan = world.plan(Verb::Up).unwrap();
    let start = plan
        .steps
        .iter()
        .find(|step| step.work.subject() == "shop-web-1" && step.work.action() == Action::Start)
        .unwrap();
    let wait = plan.steps.iter().find(|step| step.work.action() == Action::Wait).unwrap();
    assert_eq!(start.after, [wait.number]);
    assert!(!start.needs.contains(&wait.number));
}

fn random_world() -> impl Strategy<Value = World> {
    (2usize..200).prop_flat_map(|n| {
        let edges = proptest::collection::vec((0..n, 0..n, 0u8..3), 0..n * 2);
        let there = proptest::collection::vec(0u8..5, n);
        (Just(n), edges, there).prop_map(|(n, edges, there)| {
            let names: Vec<String> = (0..n).map(|i| format!("s{i}")).collect();
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            let mut world = World::new(&names);
            for (a, b, condition) in edges {
                let condition =
                    [Condition::Started, Condition::Healthy, Condition::Completed][usize::from(condition)];
                let (low, high) = (a.min(b), a.max(b));
                if low != high {
                    let taken = world.services[high]
                        .definition
                        .depends_on
                        .iter()
                        .any(|d| d.service.as_str() == names[low]);
                    if !taken {
                        world = world.needs(names[high], names[low], condition);
                    }
                }
            }
            for (i, kind) in there.into_iter().enumerate() {
                match kind {
                    0 => world.present(names[i], "h1", State::Running { health: Verdict::Healthy }),
                    1 => world.present(names[i], "h0", State::Running { health: Verdict::None }),
                    2 => world.present(names[i], "h1", State::Exited { code: 1, oom: false }),
                    _ => {}
                }
            }
            world
        })
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_need_comes_first_and_the_plan_is_stable(world in random_world()) {
        for verb in [Verb::Up, Verb::Start, Verb::Stop, Verb::Restart, Verb::Down] {
            let plan = world.plan(verb).unwrap();
            for (i, step) in plan.steps.iter().enumerate() {
                prop_assert_eq!(step.number as usize, i + 1);
                for need in step.needs.iter().chain(&step.after) {
                    prop_assert!(*need < step.number);
                }
            }
            prop_assert_eq!(plan.render(), world.plan(verb).unwrap().render());
        }
    }

    #[test]
    fn each_service_starts_at_most_once_and_after_its_dependencies(world in random_world()) {
        let plan = world.plan(Verb::Up).unwrap();
        let mut starts: BTreeMap<&str, u32> = BTreeMap::new();
        for step in &plan.steps {
            if step.work.action() == Action::Start {
                prop_assert!(starts.insert(step.work.subject(), step.number).is_none());
            }
        }
        for service in &world.services {
            let Some(own) = starts.get(service.workload_name().as_str()) else { continue };
            for need in &service.definition.depends_on {
                if let Some(first) = starts.get(format!("shop-{}-1", need.service).as_str()) {
                    prop_assert!(first < own);
                }
            }
        }
    }

    #[test]
    fn undo_is_the_exact_reverse_of_what_ran(world in random_world(), share in 0.0f64..1.0) {
        let plan = world.plan(Verb::Up).unwrap();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "a share of a small count")]
        let ran = (plan.steps.len() as f64 * share) as usize;
        let completed: Vec<u32> = plan.steps[..ran].iter().map(|step| step.number).collect();
        let undone: Vec<u32> = plan.undo(&completed, Duration::from_secs(1)).into_iter().map(|(step, _)| step).collect();
        let mut expected: Vec<u32> = plan.steps[..ran]
            .iter()
            .filter(|step| matches!(step.work.action(), Action::Create | Action::Start | Action::Rename | Action::Network | Action::Volume))
            .map(|step| step.number)
            .collect();
        expected.reverse();
        prop_assert_eq!(undone, expected);
    }
}

/// `peer` lives in the namespaces of `owner`.
fn sharing() -> World {
    let mut world = World::new(&["owner", "peer"]);
    world.definition("peer").container_mut().pid = Some("service:owner".into());
    let mut world = world.everything_runs();
    let owner = world.snapshot.workloads["shop-owner-1"].id.clone();
    world.snapshot.workloads.get_mut("shop-peer-1").unwrap().shares_with = BTreeSet::from([owner]);
    world
}

#[test]
fn what_shares_a_namespace_is_made_anew_after_its_owner() {
    let mut world = sharing();
    assert!(world.plan(Verb::Up).unwrap().is_empty());
    world.snapshot.workloads.get_mut("shop-owner-1").unwrap().spec_hash = "h0".into();
    let plan = world.plan(Verb::Up).unwrap();
    let at = |word: &str| words(&plan).iter().position(|step| step == word).unwrap();
    let made = at("create 00000000peer_shop-peer-1");
    assert!(
        plan.steps[made].needs.contains(&plan.steps[at("rename shop-owner-1")].number),
        "{}",
        plan.render()
    );

    let mut world = sharing();
    world.snapshot.workloads.remove("shop-owner-1");
    for verb in [Verb::Up, Verb::Start] {
        let plan = world.plan(verb).unwrap();
        assert!(words(&plan).contains(&"create 00000000peer_shop-peer-1".to_owned()), "{}", plan.render());
    }
}

#[test]
fn what_is_bound_to_an_earlier_container_is_made_anew() {
    let mut world = sharing();
    world.snapshot.workloads.get_mut("shop-owner-1").unwrap().id = "another".into();
    let plan = world.plan(Verb::Up).unwrap();
    assert_eq!(plan.steps[0].why, "shares a namespace of an earlier `shop-owner-1`");
    assert!(world.plan(Verb::Start).unwrap().is_empty());
}

#[test]
fn what_shares_a_namespace_is_restarted_when_its_owner_is_started() {
    let mut world = sharing();
    let owner = world.snapshot.workloads.get_mut("shop-owner-1").unwrap();
    owner.state = State::Exited { code: 1, oom: false };
    let plan = world.plan(Verb::Up).unwrap();
    let steps = words(&plan);
    assert!(steps.starts_with(&["start shop-owner-1".to_owned()]), "{}", plan.render());
    assert!(steps.contains(&"stop shop-peer-1".to_owned()), "{}", plan.render());
    let owner = world.snapshot.workloads.get_mut("shop-owner-1").unwrap();
    owner.state = State::Paused;
    assert!(!words(&world.plan(Verb::Up).unwrap()).contains(&"stop shop-peer-1".to_owned()));
}

#[test]
fn who_mounts_the_volumes_of_a_replaced_one_is_replaced_too() {
    let mut world = World::new(&["owner", "reader"]);
    world.definition("reader").container_mut().volumes_from = vec!["owner:ro".into()];
    let mut world = world.everything_runs();
    assert!(world.plan(Verb::Up).unwrap().is_empty());
    world.snapshot.workloads.get_mut("shop-owner-1").unwrap().spec_hash = "h0".into();
    let plan = world.plan(Verb::Up).unwrap();
    assert!(words(&plan).contains(&"rename shop-reader-1".to_owned()), "{}", plan.render());
}

/// A changed definition of the network that everything is on.
fn changed_network(world: &mut World) {
    let network = world.snapshot.networks.get_mut("shop_default").unwrap();
    network.changes = Some("internal: false → true".into());
}

#[test]
fn a_changed_network_is_replaced_under_what_runs_on_it() {
    let mut world = World::new(&["web", "db"]).needs("web", "db", Condition::Started).everything_runs();
    changed_network(&mut world);
    insta::assert_snapshot!(world.plan(Verb::Up).unwrap().render(), @"
    plan: up shop
       1  stop     shop-web-1    its network is replaced
       2  stop     shop-db-1     its network is replaced  after 1
       3  network  shop_default  its definition changed: internal: false → true  after 1 2
       4  start    shop-db-1     restarted  after 2 3
       5  wait     shop-db-1     until it stays up  after 4
       6  start    shop-web-1    restarted  after 1 3 4
       7  wait     shop-web-1    until it stays up  after 6
    ");
    for verb in [Verb::Start, Verb::Recreate] {
        let plan = world.plan(verb).unwrap();
        assert!(!words(&plan).contains(&"network shop_default".to_owned()), "{}", plan.render());
        assert!(plan.notes[0].contains("`up` would replace it"), "{:?}", plan.notes);
    }
    // One that is replaced anyway is stopped before the network goes, and made after the new one is there.
    world.snapshot.workloads.get_mut("shop-web-1").unwrap().spec_hash = "h0".into();
    insta::assert_snapshot!(world.plan(Verb::Up).unwrap().render(), @"
    plan: up shop
       1  stop     shop-web-1               its network is replaced
       2  stop     shop-db-1                its network is replaced  after 1
       3  network  shop_default             its definition changed: internal: false → true  after 1 2
       4  start    shop-db-1                restarted  after 2 3
       5  wait     shop-db-1                until it stays up  after 4
       6  create   000000000web_shop-web-1  its definition changed  after 1 3 4
       7  start    000000000web_shop-web-1  needs db started  after 6
       8  remove   shop-web-1               replaced  after 7
       9  rename   shop-web-1               gets its final name  after 8
      10  wait     shop-web-1               until it stays up  after 9
    ");
}

#[test]
fn a_network_that_somebody_else_is_on_is_not_replaced() {
    let mut world = World::new(&["web"]).everything_runs();
    changed_network(&mut world);
    let on_it = BTreeMap::from([("shop_default".to_owned(), "net1".to_owned())]);
    world.snapshot.workloads.insert("psql".into(), Present { networks: on_it, ..stranger() });
    let refused = world.refused(Verb::Up);
    assert_eq!(refused.reason(), Reason::DependantsRunning);
    assert!(refused.message().contains("`psql`"), "{}", refused.message());
    assert!(world.plan(Verb::Start).unwrap().problems.is_empty());
}

#[test]
fn services_that_take_no_part_come_back_on_the_new_network() {
    let mut world = World::new(&["web"]).everything_runs();
    changed_network(&mut world);
    let db = service(&world.group, "db");
    let web = world.snapshot.workloads["shop-web-1"].clone();
    let present = Present { service: None, aside: Some(db.id.clone()), ..web };
    world.snapshot.workloads.insert("shop-db-1".into(), present);
    let part = Part {
        group: &world.group,
        services: world.wanted(),
        orphans: vec![],
        aside: vec![&db],
        along: false,
        is_whole: false,
        former: vec![],
    };
    let plan = plan(Verb::Up, "shop", &[part], &world.snapshot, &world.policy).unwrap();
    assert!(plan.problems.is_empty(), "{:?}", plan.problems);
    let steps = words(&plan);
    assert_eq!(
        steps,
        [
            "stop shop-db-1",
            "stop shop-web-1",
            "network shop_default",
            "start shop-web-1",
            "wait shop-web-1",
            "start shop-db-1"
        ]
    );
}

#[test]
fn a_network_of_somebody_else_is_asked_about_and_not_joined() {
    let mut world = World::new(&["web"]);
    let theirs = PresentNetwork { id: "net1".into(), ..PresentNetwork::default() };
    world.snapshot.networks.insert("shop_default".into(), theirs);
    let plan = world.plan(Verb::Up).unwrap();
    assert_eq!(plan.problems[0].reason, Reason::NameTaken);
    assert!(plan.problems[0].hint.contains("external: true"), "{}", plan.problems[0].hint);
    world.policy.adopt = true;
    let plan = world.plan(Verb::Up).unwrap();
    assert!(plan.problems.is_empty() && plan.notes[0].contains("shop_default"), "{:?}", plan.notes);
    world.policy.adopt = false;
    // Compose made it for this project.
    world.snapshot.networks.get_mut("shop_default").unwrap().group = Some(world.group.name.clone());
    assert!(world.plan(Verb::Up).unwrap().problems.is_empty());
}

#[test]
fn a_container_whose_network_is_gone_is_replaced() {
    for verb in [Verb::Up, Verb::Start] {
        let mut world = World::new(&["web"]);
        world.present("web", "h1", State::Exited { code: 0, oom: false });
        assert!(words(&world.plan(verb).unwrap()).contains(&"start shop-web-1".to_owned()));
        // Another one has its name by now, or none.
        world.snapshot.networks.get_mut("shop_default").unwrap().id = "net2".into();
        let plan = world.plan(verb).unwrap();
        assert_eq!(plan.steps[0].why, "its network `shop_default` was removed", "{}", plan.render());
        world.snapshot.networks.clear();
        let plan = world.plan(verb).unwrap();
        assert_eq!(
            words(&plan)[..2],
            ["network shop_default", "create 000000000web_shop-web-1"],
            "{}",
            plan.render()
        );
    }
}

#[test]
fn a_paused_one_goes_on_where_it_stays_and_is_stopped_where_it_goes() {
    let mut world = World::new(&["web", "db"]).needs("web", "db", Condition::Healthy).everything_runs();
    world.snapshot.workloads.get_mut("shop-db-1").unwrap().state = State::Paused;
    insta::assert_snapshot!(world.plan(Verb::Up).unwrap().render(), @"
    plan: up shop
       1  unpause  shop-db-1  is paused
       2  wait     shop-db-1  until healthy  after 1
    ");
    let stops = "stop shop-db-1".to_owned();
    for verb in [Verb::Restart, Verb::Recreate, Verb::Stop, Verb::Down] {
        let plan = world.plan(verb).unwrap();
        assert!(words(&plan).contains(&stops), "{}", plan.render());
        assert!(!words(&plan).contains(&"unpause shop-db-1".to_owned()), "{}", plan.render());
    }
    let plan = world.plan(Verb::Up).unwrap();
    let undone = plan.undo(&[1], Duration::ZERO);
    assert_eq!(undone, [(1, Work::Pause { name: "shop-db-1".into() })]);
}

#[test]
fn who_follows_a_replaced_one_is_restarted_though_it_is_paused() {
    let mut world = sharing();
    world.snapshot.workloads.get_mut("shop-owner-1").unwrap().spec_hash = "h0".into();
    world.snapshot.workloads.get_mut("shop-peer-1").unwrap().state = State::Paused;
    let plan = world.plan(Verb::Up).unwrap();
    assert!(words(&plan).contains(&"stop shop-peer-1".to_owned()), "{}", plan.render());
    assert!(!words(&plan).contains(&"unpause shop-peer-1".to_owned()), "{}", plan.render());
}
