//! What every [`Store`] does, as cases: `clos_testkit::store_suite!(make)`
//! turns each into a test. `make` is an async function that gives a [`Fixture`]
//! with an empty store of its own.
//!
//! To add a case: an `async fn` here that takes the store, and its name in the
//! list at the end of the file.
#![expect(clippy::unwrap_used, reason = "a case that cannot go on has failed")]

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use clos_domain::copied::CopiedFile;
use clos_domain::event::{Data, Draft, Event, Filter, Pattern, Severity, types};
use clos_domain::group::{self, Group};
use clos_domain::health::{Check, Test, Verdict};
use clos_domain::id::{GroupId, OperationId, ServiceId};
use clos_domain::name::{GroupFilter, GroupName, GroupRef, ServiceName, ServiceRef};
use clos_domain::operation::{Action, FailurePolicy, Operation, State, Step, Verb};
use clos_domain::page::{Cursor, Key, Request};
use clos_domain::port::{Binding, Protocol, Range, Wish, default_ranges};
use clos_domain::seams::IdSource as _;
use clos_domain::seams::store::{
    Adoption, Error, OperationFilter, ServiceFilter, ServiceKey, ServiceOrder, Store,
};
use clos_domain::secret::Hidden;
use clos_domain::service::{
    Condition, Definition, Dependency, Desired, Ended, Observed, OpenStep, Service, Status,
};
use clos_domain::workload::{
    Build, ConfigHash, ConfigPiece, Container, Join, Limits, Logging, Mount, MountKind, Network, PullPolicy,
    Restart, Run, Stop, Subnet, Volume,
};
use clos_domain::{Reason, Timestamp};
use futures::FutureExt as _;
use indexmap::IndexMap;
use tokio::task::JoinSet;

use crate::ids::SeqIds;

/// A store for one test, and what is to be done when the test is over.
pub struct Fixture {
    /// An empty store that nobody else uses.
    pub store: Arc<dyn Store>,
    /// Runs after the case, whatever its outcome.
    pub clean: Pin<Box<dyn Future<Output = ()> + Send>>,
}

/// How long a case may take before it counts as hanging.
const PATIENCE: Duration = Duration::from_secs(60);

/// Runs one case on a store of its own.
///
/// # Panics
/// When the case fails or hangs.
pub async fn run<F>(make: impl Future<Output = Fixture>, case: impl FnOnce(Arc<dyn Store>) -> F)
where
    F: Future<Output = ()>,
{
    let Fixture { store, clean } = make.await;
    let outcome = AssertUnwindSafe(tokio::time::timeout(PATIENCE, case(store))).catch_unwind().await;
    clean.await;
    match outcome {
        Ok(Ok(())) => {}
        Ok(Err(_)) => panic!("the case hangs: no end within {PATIENCE:?}"),
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_microsecond(1_790_000_000_000_000 + seconds * 1_000_000 + 123_456)
        .expect("a time of our days")
}

fn group_ref(name: &str) -> GroupRef {
    GroupRef::parse("group", name).unwrap()
}

fn service_name(name: &str) -> ServiceName {
    ServiceName::parse("name", name).unwrap()
}

fn filter(raw: &str) -> GroupFilter {
    GroupFilter::parse("group", raw).unwrap()
}

/// A group with nothing said.
pub fn group(ids: &SeqIds, name: &str) -> Group {
    Group {
        id: GroupId::from_unique(&ids.unique()),
        name: group_ref(name),
        definition: group::Definition::default(),
        created_at: at(0),
        updated_at: at(0),
    }
}

/// A stopped service of an image with nothing else said.
pub fn service(ids: &SeqIds, group: &Group, name: &str) -> Service {
    Service {
        id: ServiceId::from_unique(&ids.unique()),
        group_id: group.id.clone(),
        group: group.name.clone(),
        definition: Definition::of_image(service_name(name), "app:1"),
        desired: Desired::Stopped,
        observed: Observed::Absent,
        observed_at: None,
        container_id: None,
        step: None,
        status: Status::Stopped,
        status_reason: None,
        status_detail: String::new(),
        restart_times: Vec::new(),
        ended_by: None,
        ports: Vec::new(),
        generation: 1,
        started_at: None,
        stopped_at: None,
        created_at: at(0),
        updated_at: at(0),
    }
}

/// An operation on a group, accepted and not begun.
pub fn operation(ids: &SeqIds, group: &Group, verb: Verb, created_at: Timestamp) -> Operation {
    Operation {
        id: OperationId::from_unique(&ids.unique()),
        verb,
        group_id: group.id.clone(),
        group: group.name.clone(),
        service: None,
        state: State::Pending,
        reason: None,
        message: String::new(),
        policy: FailurePolicy::Leave,
        cancel_requested: false,
        steps: Vec::new(),
        leftovers: Vec::new(),
        request_id: "request".into(),
        created_at,
        started_at: None,
        ended_at: None,
    }
}

/// A step that has not begun.
pub fn step(number: u32, service: Option<&Service>, action: Action) -> Step {
    Step {
        number,
        service: service.map(|service| service.id.clone()),
        service_name: service.map(Service::resource),
        subject: service.map_or_else(|| "shop_default".to_owned(), Service::workload_name),
        action,
        why: "not there yet".into(),
        needs: Vec::new(),
        state: State::Pending,
        reason: None,
        message: String::new(),
        started_at: None,
        ended_at: None,
    }
}

fn binding(container_port: u16, host_port: u16) -> Binding {
    Binding { container_port, host_port, host_ip: "127.0.0.1".into(), protocol: Protocol::Tcp }
}

fn text(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

fn pairs<T: FromIterator<(String, String)>>(pairs: &[(&str, &str)]) -> T {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

/// A definition with something in every field. It is written without `..`, so
/// that a new field does not compile until it is in here.
pub fn full_definition(name: &str) -> Definition {
    let check = |test| Check {
        test,
        interval: Duration::from_millis(1500),
        timeout: Duration::from_secs(2),
        retries: 7,
        start_period: Duration::from_secs(9),
        start_interval: Some(Duration::from_millis(250)),
    };
    Definition {
        name: service_name(name),
        enabled: false,
        scale: Some(0),
        profiles: text(&["debug", "dev"]),
        environment: pairs(&[
            ("Z_FIRST", "1"),
            ("a", ""),
            ("M", "line\nline \"quoted\" 'é' 日本"),
            ("B", "=x="),
        ]),
        ports: vec![
            Wish {
                container_port: 8080,
                host_port: Some(80),
                host_port_end: Some(90),
                host_ip: Some("0.0.0.0".into()),
                protocol: Protocol::Tcp,
            },
            Wish {
                container_port: 53,
                host_port: None,
                host_port_end: None,
                host_ip: None,
                protocol: Protocol::Udp,
            },
            Wish {
                container_port: 8080,
                host_port: Some(65535),
                host_port_end: None,
                host_ip: None,
                protocol: Protocol::Sctp,
            },
        ],
        depends_on: vec![
            Dependency {
                service: service_name("z"),
                condition: Condition::Healthy,
                required: false,
                restart: true,
            },
            Dependency {
                service: service_name("a"),
                condition: Condition::Started,
                required: true,
                restart: false,
            },
            Dependency {
                service: service_name("m"),
                condition: Condition::Completed,
                required: true,
                restart: true,
            },
        ],
        health: Some(check(Test::Command { argv: text(&["pg_isready", "-U", "me"]) })),
        probe: Some(check(Test::Http { url: "http://:8080/healthz".into(), expected: vec![200, 204] })),
        restart: Restart::OnFailure { max_retries: 4 },
        stop: Stop { signal: Some("SIGQUIT".into()), grace: Some(Duration::from_millis(2500)) },
        limits: Limits {
            cpu_millis: Some(1500),
            memory: Some(u64::MAX),
            memory_reservation: Some(1),
            memory_swap: Some(-1),
            pids: Some(100),
            cpuset: Some("0-2".into()),
            cpu_shares: Some(512),
        },
        logging: Some(Logging { driver: Some("json-file".into()), options: pairs(&[("max-size", "5m")]) }),
        labels: pairs(&[("z.label", "1"), ("a.label", "")]),
        container_name: Some("fixed".into()),
        run: Run::Container(Box::new(full_container())),
        start_order: -3,
        tags: text(&["web", "a tag", "web"]),
        description: "Sells Ünïcode, 100% of it_".into(),
        owner: "ann".into(),
        version: "1.2".into(),
        config_hash: Some(ConfigHash::Of(vec![
            ConfigPiece::Text("{\"ipc\":\"container:".into()),
            ConfigPiece::IdOf("db".into()),
        ])),
    }
}

fn full_container() -> Container {
    Container {
        image: "registry.local:5000/app@sha256:0".into(),
        build: Some(Build {
            context: "/src".into(),
            dockerfile: Some("Dockerfile.dev".into()),
            dockerfile_inline: Some("FROM scratch\n".into()),
            args: IndexMap::from([("B".into(), None), ("A".into(), Some("1".into()))]),
            labels: pairs(&[("l", "1")]),
            target: Some("run".into()),
            tags: text(&["app:dev"]),
            cache_from: text(&["app:cache"]),
            no_cache: true,
            pull: true,
            network: Some("host".into()),
            shm_size: Some(1 << 20),
            platform: Some("linux/arm64".into()),
            extra_hosts: vec![("h".into(), "10.0.0.1".into())],
            digest: String::new(),
        }),
        pull: PullPolicy::Always,
        command: Some(text(&["serve", "--port", "8080"])),
        entrypoint: Some(Vec::new()),
        networks: vec![
            Join {
                network: "z_net".into(),
                aliases: text(&["shop", "api"]),
                ipv4_address: Some("10.1.0.5".into()),
                ipv6_address: Some("fd00::5".into()),
                mac_address: Some("02:42:0a:01:00:05".into()),
            },
            Join { network: "a_net".into(), ..Join::default() },
        ],
        network_mode: Some("service:db".into()),
        mounts: vec![
            Mount {
                kind: MountKind::Bind,
                source: Some("/src/data".into()),
                target: "/z".into(),
                read_only: true,
                create_host_path: true,
                propagation: Some("rslave".into()),
                selinux: Some("z".into()),
                no_copy: false,
                subpath: None,
                size: None,
                mode: None,
            },
            Mount {
                kind: MountKind::Volume,
                source: Some("data".into()),
                target: "/a".into(),
                read_only: false,
                create_host_path: false,
                propagation: None,
                selinux: None,
                no_copy: true,
                subpath: Some("sub".into()),
                size: None,
                mode: None,
            },
            Mount {
                kind: MountKind::Tmpfs,
                source: None,
                target: "/tmp".into(),
                read_only: false,
                create_host_path: false,
                propagation: None,
                selinux: None,
                no_copy: false,
                subpath: None,
                size: Some(u64::MAX),
                mode: Some(u32::MAX),
            },
        ],
        working_dir: Some("/app".into()),
        user: Some("1000:1000".into()),
        group_add: text(&["wheel"]),
        hostname: Some("host".into()),
        domainname: Some("example.org".into()),
        extra_hosts: vec![("b".into(), "::1".into()), ("a".into(), "127.0.0.1".into())],
        dns: text(&["1.1.1.1"]),
        dns_search: text(&["example.org"]),
        dns_opt: text(&["ndots:1"]),
        expose: text(&["8080/tcp"]),
        platform: Some("linux/amd64".into()),
        init: Some(false),
        tty: true,
        stdin_open: true,
        read_only: true,
        privileged: true,
        cap_add: text(&["NET_ADMIN"]),
        cap_drop: text(&["ALL"]),
        security_opt: text(&["no-new-privileges:true"]),
        devices: text(&["/dev/null:/dev/null:rwm"]),
        sysctls: pairs(&[("net.core.somaxconn", "1024")]),
        pid: Some("host".into()),
        ipc: Some("shareable".into()),
        uts: Some("host".into()),
        userns_mode: Some("host".into()),
        cgroup: Some("private".into()),
        shm_size: Some(64 << 20),
        tmpfs: pairs(&[("/run", "size=1m")]),
        ulimits: [("nofile".to_owned(), (1024, 2048))].into(),
        cgroup_parent: Some("m".into()),
        runtime: Some("runc".into()),
        oom_score_adj: Some(-500),
        volumes_from: text(&["shop-db-1"]),
        files: vec![CopiedFile {
            target: "/run/secrets/key".into(),
            content: Hidden::new("hunter2"),
            digest: "d1".into(),
            uid: 7,
            gid: 8,
            mode: 0o400,
        }],
    }
}

fn full_group(ids: &SeqIds, name: &str) -> Group {
    let network = Network {
        name: "shared".into(),
        owner: None,
        external: true,
        driver: Some("bridge".into()),
        driver_opts: pairs(&[("o", "1")]),
        internal: true,
        attachable: true,
        enable_ipv6: Some(true),
        labels: pairs(&[("l", "1")]),
        subnets: vec![Subnet {
            subnet: Some("10.1.0.0/16".into()),
            ip_range: Some("10.1.1.0/24".into()),
            gateway: Some("10.1.0.1".into()),
            aux_addresses: pairs(&[("host", "10.1.0.2")]),
        }],
        spec_hash: String::new(),
    };
    let volume = Volume {
        name: "fixed".into(),
        owner: None,
        external: false,
        driver: Some("local".into()),
        driver_opts: pairs(&[("type", "none")]),
        labels: pairs(&[("l", "1")]),
    };
    Group {
        definition: group::Definition {
            description: "the shop".into(),
            working_dir: "/home/ann/shop".into(),
            compose_files: text(&["compose.yml", "compose.override.yml"]),
            is_named_by_files: true,
            profiles: text(&["dev"]),
            project: Some("apis".into()),
            networks: IndexMap::from([("z".into(), network), ("a".into(), Network::default())]),
            volumes: IndexMap::from([("z".into(), volume), ("a".into(), Volume::default())]),
            depends_on: vec![
                group::Dependency { group: group_ref("other"), service: Some(service_name("db")) },
                group::Dependency { group: group_ref("infra~x"), service: None },
                group::Dependency { group: group_ref("infra"), service: None },
            ],
            auto_restart: true,
            start_order: 12,
        },
        updated_at: at(77),
        ..group(ids, name)
    }
}

/// Writes a group and some services of it.
async fn given(store: &Arc<dyn Store>, group: &Group, services: &[&Service]) {
    let mut tx = store.begin().await.unwrap();
    tx.groups().insert(group).await.unwrap();
    for service in services {
        tx.services().insert(service).await.unwrap();
    }
    tx.commit().await.unwrap();
}

async fn names(store: &Arc<dyn Store>, filter: &ServiceFilter) -> Vec<String> {
    let page = store.view().await.unwrap().services().list(filter, &Request::ALL).await.unwrap();
    assert_eq!(page.total, page.items.len() as u64);
    page.items.iter().map(|service| service.resource().to_string()).collect()
}

async fn stored(store: &Arc<dyn Store>, id: &ServiceId) -> Option<Service> {
    store.view().await.unwrap().services().get(id).await.unwrap()
}

/// Every field of a group comes back, by id and by name, in order.
pub async fn a_group_reads_back_as_it_was_written(store: Arc<dyn Store>) {
    let ids = SeqIds::default();
    let mut shop = full_group(&ids, "shop~x");
    given(&store, &shop, &[]).await;
    let mut view = store.view().await.unwrap();
    assert_eq!(view.groups().get(&shop.id).await.unwrap().as_ref(), Some(&shop));
    assert_eq!(view.groups().find(&shop.name).await.unwrap().as_ref(), Some(&shop));
    assert_eq!(view.groups().find(&group_ref("shop")).await.unwrap(), None, "the base is another row");
    drop(view);

    shop.definition.depends_on.reverse();
    shop.definition.networks.reverse();
    shop.definition.project = None;
    shop.updated_at = at(99);
    let mut tx = store.begin().await.unwrap();
    tx.groups().update(&shop).await.unwrap();
    assert_eq!(tx.groups().get(&shop.id).await.unwrap().as_ref(), Some(&shop), "seen within the unit");
    tx.commit().await.unwrap();
    let read = store.view().await.unwrap().groups().get(&shop.id).await.unwrap().unwrap();
    assert_eq!(read, shop);
    assert!(read.definition.networks.keys().eq(["a", "z"]), "order is part of it");
}

/// Every field of a service comes back, in order.
pub async fn a_service_reads_back_as_it_was_written(store: Arc<dyn Store>) {
    let ids = SeqIds::default();
    let shop = group(&ids, "shop");
    let plain = service(&ids, &shop, "plain");
    let mut full = service(&ids, &shop, "full");
    full.definition = full_definition("full");
    full.desired = Desired::Running;
    full.observed = Observed::Paused(Verdict::Unhealthy);
    full.observed_at = Some(at(1));
    full.container_id = Some("c0ffee".into());
    full.step = Some(OpenStep { action: Action::Wait });
    full.status = Status::Unhealthy;
    full.status_reason = Some(Reason::Restarting);
    full.status_detail = "connection refused".into();
    full.restart_times = vec![at(5), at(3)];
    full.ended_by = Some(Ended::Outside);
    full.generation = 41;
    full.started_at = Some(at(2));
    full.stopped_at = Some(at(-2));
    full.updated_at = at(8);
    given(&store, &shop, &[&full, &plain]).await;

    let mut view = store.view().await.unwrap();
    for wanted in [&full, &plain] {
        let read = view.services().get(&wanted.id).await.unwrap().unwrap();
        assert_eq!(&read, wanted);
        assert!(read.definition.environment.keys().eq(wanted.definition.environment.keys()));
        assert!(read.definition.labels.keys().eq(wanted.definition.labels.keys()));
        let found = view.services().find(&shop.name, &wanted.definition.name).await.unwrap();
        assert_eq!(found.as_ref(), Some(wanted));
    }
    assert_eq!(view.services().of_group(&shop.id).await.unwrap(), [full, plain], "by start order, then name");
    assert_eq!(view.services().find(&group_ref("shop~x"), &service_name("full")).await.unwrap(), None);
    assert_eq!(view.services().get(&ServiceId::trusted("svc_none")).await.unwrap(), None);
    assert_eq!(view.services().find_alias("full-shop").await.unwrap(), None);
}

/// A definition may have more parts than a statement has room for.
pub async fn a_very_large_service_reads_back(store: Arc<dyn Store>) {
    let ids = SeqIds::default();
    let shop = group(&ids, "shop");
    let mut large = service(&ids, &shop, "large");
    let definition = &mut large.definition;
    definition.environment = (0..1234).rev().map(|n| (format!("KEY_{n}"), "v".repeat(n))).collect();
    definition.ports = (1..=700)
        .map(|port| Wish {
            container_port: port,
            host_port: None,
            host_port_end: None,
            host_ip: None,
            protocol: Protocol::Tcp,
        })
        .collect();
    definition.container_mut().mounts =
        (0..600).map(|n| Mount::new(MountKind::Volume, Some(format!("v{n}")), format!("/v/{n}"))).collect();
    definition.tags = (0..501).map(|n| format!("tag {n}")).collect();
    given(&store, &shop, &[&large]).await;
    assert_eq!(stored(&store, &large.id).await, Some(large));
}

/// An update leaves nothing of the old definition.
pub async fn an_update_replaces_every_part_of_a_service(store: Arc<dyn Store>) {
    let ids = SeqIds::default();
    let shop = group(&ids, "shop");
    let mut web = service(&ids, &shop, "web");
    web.definition = full_definition("web");
    given(&store, &shop, &[&web]).await;
    for definition in [Definition::of_image(service_name("web"), "app:2"), full_definition("web2")] {
        web.definition = definition;
        web.generation += 1;
        let mut tx = store.begin().await.unwrap();
        tx.services().update(&web).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(stored(&store, &web.id).await.as_ref(), Some(&web));
    }
}

/// Cheap updates of state touch no definition, whatever the caller's copy says.
pub async fn an_update_of_state_leaves_the_definition_alone(store: Arc<dyn Store>) {
    let ids = SeqIds::default();
    let shop = group(&ids, "shop");
    let mut web = service(&ids, &shop, "web");
    web.definition = full_definition("web");
    given(&store, &shop, &[&web]).await;
    let mut stale_copy = web.clone();
    stale_copy.definition = Definition::of_image(service_name("other"), "other:9");
    stale_copy.generation = 9;
    for copy in [&mut stale_copy, &mut web] {
        copy.desired = Desired::Running;
        copy.observed = Observed::Exited(137);
        copy.observed_at = Some(at(3));
        copy.container_id = Some("abc".into());
        copy.step = Some(OpenStep { action: Action::Stop });
        copy.status = Status::Stopping;
        copy.status_reason = Some(Reason::Exited);
        copy.status_detail = "code 137".into();
        copy.restart_times = vec![at(1)];
        copy.started_at = Some(at(1));
        copy.stopped_at = Some(at(2));
        copy.updated_at = at(3);
    }
    let mut tx = store.begin().await.unwrap();
    tx.services().update_state(&stale_copy).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(stored(&store, &web.id).await, Some(web));
}

/// What the engine may show and what may be asked for.
pub async fn every_state_reads_back(store: Arc<dyn Store>) {
    let ids = SeqIds::default();
    let shop = group(&ids, "shop");
    let mut web = service(&ids, &shop, "web");
    given(&store, &shop, &[&web]).await;
    let running =
        [Verdict::None, Verdict::Starting, Verdict::Healthy, Verdict::Unhealthy].map(Observed::Running);
    let others = [
        Observed::Absent,
        Observed::Created,
        Observed::Exited(0),
        Observed::Exited(-1),
        Observed::Restarting,
        Observed::Unknown,
    ];
    let mut tx = store.begin().await.unwrap();
    let paused = [Observed::Paused(Verdict::None), Observed::Paused(Verdict::Healthy)];
    for observed in running.into_iter().chain(others).chain(paused) {
        for desired in [Desired::Running, Desired::Stopped, Desired::Absent] {
            (web.observed, web.desired) = (observed, desired);
            tx.services().update_state(&web).await.unwrap();
            assert_eq!(tx.services().get(&web.id).await.unwrap().as_ref(), Some(&web));
        }
    }
    for status in Status::ALL {
        for action in Action::ALL {
            (web.status, web.step) = (status, Some(OpenStep { action }));
            tx.services().update_state(&web).await.unwrap();
            assert_eq!(tx.services().get(&web.id).await.unwrap().as_ref(), Some(&web));
        }
    }
    for ended in [None, Some(Ended::Clos), Some(Ended::Outside), Some(Ended::Itself)] {
        web.ended_by = ended;
        tx.services().update_state(&web).await.unwrap();
        assert_eq!(tx.services().get(&web.id).await.unwrap().unwrap().ended_by, ended);
    }
    for reason in Reason::ALL {
        web.status_reason = Some(*reason);
        tx.services().update_state(&web).await.unwrap();
        assert_eq!(tx.services().get(&web.id).await.unwrap().unwrap().status_reason, Some(*reason));
    }
}

/// Names are unique among the rows that they belong to.
pub async fn a_taken_name_is_named(store: Arc<dyn Store>) {
    let ids = SeqIds::default();
    let shop = group(&ids, "shop");
    let web = service(&ids, &shop, "web");
    given(&store, &shop, &[&web]).await;
    let copy = group(&ids, "shop~x");
    let copied = service(&ids, &copy, "web");
    given(&store, &copy, &[&copied]).await;

    for (second, key) in [
        (group(&ids, "shop"), "group name"),
        (group(&ids, "shop~x"), "group name"),
        (Group { name: group_ref("other"), ..shop.clone() }, "id"),
    ] {
        let mut tx = store.begin().await.unwrap();
        let error = tx.groups().insert(&second).await.unwrap_err();
        assert!(matches!(error, Error::Taken(taken) if taken == key), "{error:?}");
    }
    for (second, key) in [
        (service(&ids, &shop, "web"), "service name"),
        (Service { id: web.id.clone(), ..service(&ids, &shop, "api") }, "id"),
    ] {
        let mut tx = store.begin().await.unwrap();
        let error = tx.services().insert(&second).await.unwrap_err();
        assert!(matches!(error, Error::Taken(taken) if taken == key), "{error:?}");
    }
    let api = service(&ids, &shop, "api");
    let mut tx = store.begin().await.unwrap();
    tx.services().insert(&api).await.unwrap();
    let renamed = Service { definition: Definition::of_image(service_name("web"), "a"), ..api };
    let error = tx.services().update(&renamed).await.unwrap_err();
    assert!(matches!(error, Error::Taken("service name")), "{error:?}");
}

/// A change of a row that is not there says so.
pub async fn changing_what_is_gone_is_stale(store: Arc<dyn Store>) {
    let ids = SeqIds::default();
    let shop = group(&ids, "shop");
    let web = service(&ids, &shop, "web");
    let up = operation(&ids, &shop, Verb::Up, at(0));
    let one = step(1, Some(&web), Action::Start);
    let is_stale = |result: Result<(), Error>| assert!(matches!(result, Err(Error::Stale)), "{result:?}");

    let mut tx = store.begin().await.unwrap();
    is_stale(tx.groups().update(&shop).await);
    is_stale(tx.groups().delete(&shop.id).await);
    is_stale(tx.services().update(&web).await);
    is_stale(tx.services().update_state(&web).await);
    is_stale(tx.services().delete(&web.id).await);
    is_stale(tx.operations().update(&up).await);
    is_stale(tx.operations().update_step(&up.id, &one).await);
    tx.config().set("after", "stale").await.unwrap();
    tx.commit().await.expect("nothing failed: the unit goes on");

    // Rows that need another row which is gone.
    let mut tx = store.begin().await.unwrap();
    is_stale(tx.services().insert(&web).await);
    let mut tx = {
        drop(tx);
        store.begin().await.unwrap()
    };
    is_stale(tx.operations().append_steps(&up.id, std::slice::from_ref(&one)).await);
    let mut tx = {
        drop(tx);
        store.begin().await.unwrap()
    };
    is_stale(tx.ports().replace(&web.id, &[binding(80, 8000)], at(0)).await);
}

/// Without a commit nothing has happened, and the connection is free again.
pub async fn a_unit_of_work_that_is_dropped_has_not_happened(store: Arc<dyn Store>) {
    let ids = SeqIds::default();
    let shop = group(&ids, "shop");
    let web = service(&ids, &shop, "web");
    for _ in 0..20 {
        let mut tx = store.begin().await.unwrap();
        tx.groups().insert(&shop).await.unwrap();
        tx.services().insert(&web).await.unwrap();
        tx.ports().replace(&web.id, &[binding(80, 8000)], at(0)).await.unwrap();
        tx.journal().append(Draft::new(types::GROUP_CREATED, at(0)));
        drop(tx);
    }
    let mut view = store.view().await.unwrap();
    assert_eq!(view.groups().find(&shop.name).await.unwrap(), None);
    assert_eq!(view.ports().leases().await.unwrap(), []);
    assert_eq!(view.journal().head().await.unwrap(), 0);
    assert_eq!(view.journal().oldest().await.unwrap(), None);
    drop(view);
    given(&store, &shop, &[&web]).await;
    assert_eq!(stored(&store, &web.id).await, Some(web));
}

/// A failed statement spoils the unit, on every database.
pub async fn a_unit_of_work_with_a_failure_cannot_be_committed(store: Arc<dyn Store>) {
    let ids = SeqIds::default();
    let shop = group(&ids, "shop");
    given(&store, &shop, &[]).await;
    let mut tx = store.begin().await.unwrap();
    tx.config().set("before", "1").await.unwrap();
    let error = tx.groups().insert(&group(&ids, "shop")).await.unwrap_err();
    assert!(matches!(error, Error::Taken(_)), "{error:?}");
    let error = tx.config().set("after", "1").await.unwrap_err();
    assert!(matches!(error, Error::Failed(_)), "{error:?}");
    let error = tx.commit().await.unwrap_err();
    assert!(matches!(error, Error::Failed(_)), "{error:?}");
    let mut view = store.view().await.unwrap();
    assert_eq!(view.config().get("before").await.unwrap(), None);
}

/// A view only reads, an event through it is refused too.
pub async fn a_view_cannot_write(store: Arc<dyn Store>) {
    let mut view = store.view().await.unwrap();
    let error = view.config().set("key", "value").await.unwrap_err();
    assert!(matches!(error, Error::Failed(_)), "{error:?}");
    let mut view = store.view().await.unwrap();
    view.journal().append(Draft::new(types::GROUP_CREATED, at(0)));
    assert!(view.commit().await.is_err());
    let view = store.view().await.unwrap();
    assert_eq!(view.commit().await.unwrap(), []);
    let mut view = store.view().await.unwrap();
    assert_eq!(view.config().get("key").await.unwrap(), None);
    assert_eq!(view.journal().head().await.unwrap(), 0);
}

/// Whatever is committed meanwhile, a view shows one moment.
pub async fn a_view_is_one_moment(store: Arc<dyn Store>) {
    let ids = SeqIds::default();
    let (shop, infra) = (group(&ids, "shop"), group(&ids, "infra"));
    given(&store, &shop, &[]).await;
    let mut view = store.view().await.unwrap();
    assert_eq!(view.groups().list(None, &Request::ALL).await.unwrap().total, 1);

    let mut tx = store.begin().await.unwrap();
    tx.groups().insert(&infra).await.unwrap();
    tx.journal().append(Draft::new(types::GROUP_CREATED, at(0)));
    let mut meanwhile = store.view().await.unwrap();
    assert_eq!(meanwhile.groups().list(None, &Request::ALL).await.unwrap().total, 1, "not committed");
    tx.commit().await.unwrap();

    assert_eq!(view.groups().list(None, &Request::ALL).await.unwrap().total, 1);
    assert_eq!(view.groups().find(&infra.name).await.unwrap(), None);
    assert_eq!(view.journal().head().await.unwrap(), 0);
    assert_eq!(meanwhile.journal().head().await.unwrap(), 0);
    let mut later = store.view().await.unwrap();
    assert_eq!(later.groups().list(None, &Request::ALL).await.unwrap().total, 2);
    assert_eq!(later.journal().head().await.unwrap(), 1);
}

/// `shop` is the base, `shop~*` every instance; the base comes first.
pub async fn a_group_filter_tells_the_base_from_its_instances(store: Arc<dyn Store>) {
    let ids = SeqIds::default();
    for name in ["shop~x", "shop", "shop~a", "shop2", "infra"] {
        let group = group(&ids, name);
        let web = service(&ids, &group, "web");
        given(&store, &group, &[&web]).await;
    }
    let groups = async |wanted: Option<&str>| {
        let filter = wanted.map(filter);
        let page = store.view().await.unwrap().groups().list(filter.as_ref(), &Request::ALL).await.unwrap();
        page.items.iter().map(|group| group.name.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(groups(None).await, ["infra", "shop", "shop~a", "shop~x", "shop2"]);
    assert_eq!(groups(Some("shop")).await, ["shop"]);
    assert_eq!(groups(Some("shop~*")).await, ["shop", "shop~a", "shop~x"]);
    assert_eq!(groups(Some("shop~x")).await, ["shop~x"]);
    assert_eq!(groups(Some("none~*")).await, Vec::<String>::new());
    let of = |raw| ServiceFilter { group: Some(filter(raw)), ..ServiceFilter::default() };
    assert_eq!(names(&store, &of("shop")).await, ["shop/web"]);
    assert_eq!(names(&store, &of("shop~*")).await, ["shop/web", "shop~a/web", "shop~x/web"]);
    assert_eq!(names(&store, &of("shop~a")).await, ["shop~a/web"]);
}

/// Services are found by what they are and by what they do.
pub async fn services_are_found_by_every_filter(store: Arc<dyn Store>) {
    let ids = SeqIds::default();
    let (shop, copy) = (group(&ids, "shop"), group(&ids, "shop~feature"));
    let mut web = service(&ids, &shop, "web");
    web.definition.tags = text(&["front", "public"]);
    web.definition.description = "Größe 100%".into();
    web.observed = Observed::Running(Verdict::Healthy);
    web.status = Status::Running;
    let mut api = service(&ids, &shop, "Api_v2");
    api.definition.tags = text(&["public"]);
    api.observed = Observed::Exited(1);
    api.status = Status::Failed;
    let mut db = service(&ids, &copy, "db");
    db.definition.container_mut().image = "Postgres:17".into();
    given(&store, &shop, &[&web, &api]).await;
    given(&store, &copy, &[&db]).await;

    let all = ServiceFilter::default();
    let with_text = |text: &str| ServiceFilter { text: Some(text.into()), ..all.clone() };
    let with_tags = |tags: &[&str]| ServiceFilter { tags: text(tags), ..all.clone() };
    let cases: Vec<(ServiceFilter, &[&str])> = vec![
        (all.clone(), &["shop/Api_v2", "shop/web", "shop~feature/db"]),
        (ServiceFilter { status: vec![Status::Failed], ..all.clone() }, &["shop/Api_v2"]),
        (ServiceFilter { status: vec![Status::Failed, Status::Starting], ..all.clone() }, &["shop/Api_v2"]),
        (ServiceFilter { status: vec![Status::Starting], ..all.clone() }, &[]),
        (ServiceFilter { health: Some(Verdict::Healthy), ..all.clone() }, &["shop/web"]),
        (ServiceFilter { health: Some(Verdict::None), ..all.clone() }, &["shop/Api_v2", "shop~feature/db"]),
        (with_tags(&["public"]), &["shop/Api_v2", "shop/web"]),
        (with_tags(&["public", "front"]), &["shop/web"]),
        (with_tags(&["public", "none"]), &[]),
        (with_text("API"), &["shop/Api_v2"]),
        (with_text("größe"), &["shop/web"]),
        (with_text("GRÖSSE"), &[]),
        (with_text("GRÖß"), &["shop/web"]),
        (with_text("100%"), &["shop/web"]),
        (with_text("0%0"), &[]),
        (with_text("i_v"), &["shop/Api_v2"]),
        (with_text("pi_2"), &[]),
        (with_text("postgres:"), &["shop~feature/db"]),
        (with_text("SHOP"), &["shop/Api_v2", "shop/web", "shop~feature/db"]),
        (with_text("op~feat"), &["shop~feature/db"]),
        (with_text("~"), &["shop~feature/db"]),
        (with_text("' OR 1=1 --"), &[]),
        (with_text("\\"), &[]),
        (
            ServiceFilter {
                group: Some(filter("shop~*")),
                status: vec![Status::Running],
                text: Some("w".into()),
                ..with_tags(&["front"])
            },
            &["shop/web"],
        ),
    ];
    for (wanted, found) in cases {
        assert_eq!(names(&store, &wanted).await, found, "{wanted:?}");
    }
}

/// Listings are ordered by bytes, whatever the database's locale, and by the order asked for.
pub async fn services_are_listed_in_the_order_asked_for(store: Arc<dyn Store>) {
    let ids = SeqIds::default();
    let (shop, infra) = (group(&ids, "shop"), group(&ids, "infra"));
    let make = |group, name: &str, start_order, created, updated, status| {
        let mut one = service(&ids, group, name);
        one.definition.start_order = start_order;
        (one.created_at, one.updated_at, one.status) = (at(created), at(updated), status);
        one
    };
    let mut of_shop = [
        make(&shop, "a_b", 0, 5, 1, Status::Stopped),
        make(&shop, "ab", 0, 4, 2, Status::Running),
        make(&shop, "a-b", 0, 3, 3, Status::Failed),
        make(&shop, "B", 0, 2, 9, Status::Stopped),
        make(&shop, "a", 0, 1, 5, Status::Stopped),
        make(&shop, "z", -1, 0, 0, Status::Failed),
    ];
    (of_shop[1].started_at, of_shop[4].started_at) = (Some(at(1)), Some(at(2)));
    let of_infra = [make(&infra, "db", 7, 3, 3, Status::Failed)];
    given(&store, &shop, &of_shop.each_ref()).await;
    given(&store, &infra, &of_infra.each_ref()).await;
    let by = |order| ServiceFilter { order, ..ServiceFilter::default() };
    let up = |by| ServiceOrder { by, descending: false };
    let down = |by| ServiceOrder { by, descending: true };
    let cases = [
        (vec![], ["infra/db", "shop/z", "shop/B", "shop/a", "shop/a-b", "shop/a_b", "shop/ab"]),
        (
            vec![up(ServiceKey::CreatedAt)],
            ["shop/z", "shop/a", "shop/B", "infra/db", "shop/a-b", "shop/ab", "shop/a_b"],
        ),
        (
            vec![down(ServiceKey::CreatedAt)],
            ["shop/a_b", "shop/ab", "infra/db", "shop/a-b", "shop/B", "shop/a", "shop/z"],
        ),
        (
            vec![down(ServiceKey::UpdatedAt)],
            ["shop/B", "shop/a", "infra/db", "shop/a-b", "shop/ab", "shop/a_b", "shop/z"],
        ),
        (
            vec![up(ServiceKey::Status)],
            ["infra/db", "shop/z", "shop/a-b", "shop/ab", "shop/B", "shop/a", "shop/a_b"],
        ),
        (
            vec![down(ServiceKey::Group), up(ServiceKey::Name)],
            ["shop/B", "shop/a", "shop/a-b", "shop/a_b", "shop/ab", "shop/z", "infra/db"],
        ),
        (
            vec![up(ServiceKey::StartedAt), down(ServiceKey::Name)],
            ["shop/ab", "shop/a", "shop/z", "infra/db", "shop/a_b", "shop/a-b", "shop/B"],
        ),
        (
            vec![down(ServiceKey::StartedAt), down(ServiceKey::Name)],
            ["shop/a", "shop/ab", "shop/z", "infra/db", "shop/a_b", "shop/a-b", "shop/B"],
        ),
    ];
    for (order, wanted) in cases {
        assert_eq!(names(&store, &by(order.clone())).await, wanted, "{order:?}");
    }
    let group = store.view().await.unwrap().services().of_group(&shop.id).await.unwrap();
    let group: Vec<&str> = group.iter().map(|one| one.definition.name.as_str()).collect();
    assert_eq!(group, ["z", "B", "a", "a-b", "a_b", "ab"]);
}

/// Page by page, everything comes once, and each page knows how much there is.
pub async fn pages_show_everything_once(store: Arc<dyn Store>) {
    let ids = SeqIds::default();
    let shop = group(&ids, "shop");
    let services: Vec<Service> = (0..25).map(|n| service(&ids, &shop, &format!("s{n:02}"))).collect();
    given(&store, &shop, &services.iter().collect::<Vec<_>>()).await;
    for n in 0..7 {
        given(&store, &group(&ids, &format!("g{n}")), &[]).await;
    }
    let mut view = store.view().await.unwrap();
    let (mut seen, mut offset) = (Vec::new(), 0);
    loop {
        let request = Request::at(10, offset);
        let page = view.services().list(&ServiceFilter::default(), &request).await.unwrap();
        assert_eq!((page.total, page.offset), (25, offset));
        offset += page.items.len() as u64;
        let more = page.has_more();
        seen.extend(page.items);
        if !more {
            break;
        }
    }
    assert_eq!(seen, services);
    let full = view.groups().list(None, &Request::at(4, 4)).await.unwrap();
    assert_eq!((full.items.len(), full.total, full.has_more()), (4, 8, false));
    let behind = view.groups().list(None, &Request::at(4, 400)).await.unwrap();
    assert_eq!((behind.items.len(), behind.total), (0, 8));
    let behind = view.services().list(&ServiceFilter::default(), &Request::at(4, 400)).await.unwrap();
    assert_eq!((behind.items.len(), behind.total), (0, 25));
}

/// A cursor is a place and not a count: what comes and goes around it neither repeats nor hides what stays.
pub async fn a_cursor_shows_what_stays_once_while_others_come_and_go(store: Arc<dyn Store>) {
    let ids = SeqIds::default();
    let groups = ["blog", "shop", "shop~x", "zoo"].map(|name| group(&ids, name));
    let mixed = |group: &Group, name: &str, n: i32| {
        let mut one = service(&ids, group, name);
        let n64 = i64::from(n);
        one.definition.start_order = n % 3 - 1;
        one.status = [Status::Running, Status::Stopped, Status::Failed][n as usize % 3];
        (one.created_at, one.updated_at) = (at(n64 % 4), at(n64 * 7 % 5));
        one.started_at = (n % 3 != 0).then(|| at(n64 % 2));
        one
    };
    let mut stay = Vec::new();
    for (group, at) in groups.iter().zip(0..) {
        let services: Vec<Service> = (0..6).map(|n| mixed(group, &format!("s{n}"), at + n * 2)).collect();
        given(&store, group, &services.iter().collect::<Vec<_>>()).await;
        stay.extend(services.iter().map(|service| service.resource().to_string()));
    }
    stay.sort();

    let mut orders = vec![vec![]];
    for by in ServiceKey::ALL {
        for descending in [false, true] {
            orders.push(vec![ServiceOrder { by, descending }]);
        }
    }
    let up = |by| ServiceOrder { by, descending: false };
    let down = |by| ServiceOrder { by, descending: true };
    orders.push(vec![down(ServiceKey::StartedAt), up(ServiceKey::Status), down(ServiceKey::Name)]);
    orders.push(vec![down(ServiceKey::Status), down(ServiceKey::StartedAt), up(ServiceKey::Group)]);
    for order in orders {
        let wanted = ServiceFilter { order: order.clone(), ..ServiceFilter::default() };
        let in_order: Vec<String> = names(&store, &wanted).await;
        let (mut request, mut seen, mut others) = (Request::at(5, 0), Vec::new(), Vec::<ServiceId>::new());
        loop {
            let page = store.view().await.unwrap().services().list(&wanted, &request).await.unwrap();
            assert!(page.items.len() <= 5 && page.total >= 24);
            assert_eq!(page.offset, seen.len() as u64, "{order:?}");
            seen.extend(page.items.iter().map(|service| service.resource().to_string()));
            let Some(next) = page.next else { break };
            assert!(seen.len() < 500, "{order:?} has no end: {seen:?}");
            request = Request::after(5, next);
            let mut tx = store.begin().await.unwrap();
            for id in others.drain(..) {
                tx.services().delete(&id).await.unwrap();
            }
            // Only so many, or there would always be more than a page.
            for n in (0..12).filter(|_| seen.len() < 20) {
                let group = &groups[n as usize % groups.len()];
                let other =
                    mixed(group, &format!("{}{}-{n}", ["a", "s2", "z"][n as usize % 3], seen.len()), n);
                tx.services().insert(&other).await.unwrap();
                others.push(other.id);
            }
            tx.commit().await.unwrap();
        }
        let mut tx = store.begin().await.unwrap();
        for id in others {
            tx.services().delete(&id).await.unwrap();
        }
        tx.commit().await.unwrap();
        let of_stay: Vec<String> = seen.into_iter().filter(|name| stay.binary_search(name).is_ok()).collect();
        assert_eq!(of_stay, in_order, "{order:?}");
    }
}

/// The same with a thousand rows around one place.
pub async fn a_thousand_rows_around_a_cursor_do_not_move_it(store: Arc<dyn Store>) {
    let ids = SeqIds::default();
    let shop = group(&ids, "shop");
    let stay: Vec<Service> = (0..30).map(|n| service(&ids, &shop, &format!("s{n:02}"))).collect();
    given(&store, &shop, &stay.iter().collect::<Vec<_>>()).await;
    let all = ServiceFilter::default();
    let list =
        async |request: &Request| store.view().await.unwrap().services().list(&all, request).await.unwrap();
    let first = list(&Request::at(10, 0)).await;
    let held = first.next.clone().unwrap();
    let others: Vec<Service> =
        (0..1_000).map(|n| service(&ids, &shop, &format!("s{:02}-{n}", n % 30))).collect();
    let mut tx = store.begin().await.unwrap();
    for other in &others {
        tx.services().insert(other).await.unwrap();
    }
    // Also the row that the cursor was made from.
    tx.services().delete(&first.items.last().unwrap().id).await.unwrap();
    tx.commit().await.unwrap();
    let mut seen: Vec<ServiceId> = first.items.into_iter().map(|one| one.id).collect();
    let second = list(&Request::after(100, held)).await;
    assert_eq!((second.total, second.offset), (1_029, 10));
    seen.extend(second.items.iter().map(|one| one.id.clone()));
    let mut tx = store.begin().await.unwrap();
    for other in &others {
        tx.services().delete(&other.id).await.unwrap();
    }
    tx.commit().await.unwrap();
    let last = list(&Request::after(100, second.next.unwrap())).await;
    assert!(last.next.is_none());
    seen.extend(last.items.into_iter().map(|one| one.id));
    seen.retain(|id| stay.iter().any(|one| one.id == *id));
    assert_eq!(seen, stay.into_iter().map(|one| one.id).collect::<Vec<_>>());
}

/// Groups and operations go on where the page ended, too.
pub async fn groups_and_operations_go_on_at_a_cursor(store: Arc<dyn Store>) {
    let ids = SeqIds::default();
    let mut stay = Vec::new();
    for name in ["a", "b~x", "b~y", "c", "d", "e"] {
        let group = group(&ids, name);
        given(&store, &group, &[]).await;
        stay.push(group);
    }
    let (mut request, mut seen) = (Request::at(2, 0), Vec::new());
    loop {
        let page = store.view().await.unwrap().groups().list(None, &request).await.unwrap();
        seen.extend(page.items.into_iter().map(|group| group.name));
        let Some(next) = page.next else { break };
        // Before the place and behind it; the base comes before its instances.
        given(&store, &group(&ids, &format!("a-{}", seen.len())), &[]).await;
        given(&store, &group(&ids, &format!("z-{}", seen.len())), &[]).await;
        if seen.len() == 2 {
            given(&store, &group(&ids, "b"), &[]).await;
        }
        request = Request::after(2, next);
    }
    let names: Vec<String> = seen.iter().map(ToString::to_string).collect();
    assert_eq!(names[..6], ["a", "b~x", "b~y", "c", "d", "e"].map(String::from));
    assert!(names[6..].iter().all(|name| name.starts_with("z-")), "{names:?}");

    // Several begin within one moment; new ones come before all that were seen.
    let operations: Vec<Operation> =
        (0..7).map(|n| operation(&ids, &stay[0], Verb::Stop, at(n / 3))).collect();
    let insert = async |operation: &Operation| {
        let mut tx = store.begin().await.unwrap();
        tx.operations().insert(operation).await.unwrap();
        tx.commit().await.unwrap();
    };
    for operation in &operations {
        insert(operation).await;
    }
    let all = OperationFilter::default();
    let (mut request, mut seen) = (Request::at(2, 0), Vec::new());
    loop {
        let page = store.view().await.unwrap().operations().list(&all, &request).await.unwrap();
        seen.extend(page.items.into_iter().map(|operation| operation.id));
        let Some(next) = page.next else { break };
        insert(&operation(&ids, &stay[1], Verb::Start, at(100))).await;
        request = Request::after(2, next);
    }
    let mut newest_first: Vec<&Operation> = operations.iter().collect();
    newest_first.sort_by_key(|one| std::cmp::Reverse((one.created_at, one.id.to_string())));
    assert_eq!(seen, newest_first.into_iter().map(|one| one.id.clone()).collect::<Vec<_>>());
}

/// A cursor of another listing is told, and is no failure of the database.
pub async fn a_cursor_that_does_not_fit_is_refused(store: Arc<dyn Store>) {
    let ids = SeqIds::default();
    let shop = group(&ids, "shop");
    given(&store, &shop, &[&service(&ids, &shop, "web")]).await;
    let text = |text: &str| Key::Text(text.into());
    let after = |keys: &[Key]| Request::after(10, Cursor { keys: keys.to_vec(), seen: 1 });
    let mut view = store.view().await.unwrap();
    for keys in [
        vec![],
        vec![text("shop")],
        vec![text("shop"), Key::Number(1)],
        vec![text("shop"), Key::Nothing],
        vec![text("shop"), text("a\0b")],
        vec![text("shop"), text(""), text("")],
    ] {
        let refused = view.groups().list(None, &after(&keys)).await;
        assert!(matches!(refused, Err(Error::BadCursor)), "{keys:?}: {refused:?}");
    }
    let by_start = ServiceFilter {
        order: vec![ServiceOrder { by: ServiceKey::StartedAt, descending: false }],
        ..ServiceFilter::default()
    };
    let tie = [text("shop"), text(""), Key::Number(0), text("web")];
    for first in [Key::Nothing, Key::Number(i64::MAX), Key::Number(i64::MIN)] {
        let keys = [&[first], tie.as_slice()].concat();
        assert!(view.services().list(&by_start, &after(&keys)).await.is_ok(), "{keys:?}");
    }
    let keys = [&[text("1")], tie.as_slice()].concat();
    assert!(matches!(view.services().list(&by_start, &after(&keys)).await, Err(Error::BadCursor)));
    let operations = view.operations().list(&OperationFilter::default(), &after(&tie)).await;
    assert!(matches!(operations, Err(Error::BadCursor)));
    assert_eq!(view.groups().list(None, &Request::ALL).await.unwrap().total, 1, "the view is not spoilt");
}

/// What the store reads at a time shows in no answer.
pub async fn a_long_listing_is_whole_and_in_order(store: Arc<dyn Store>) {
    let ids = SeqIds::default();
    let shop = group(&ids, "shop");
    let mut services: Vec<Service> = Vec::new();
    for n in 0..230 {
        let mut service = service(&ids, &shop, &format!("s{n:03}"));
        service.definition.start_order = 1_000 - n;
        service.definition.tags = vec![format!("tag {n}")];
        services.push(service);
    }
    given(&store, &shop, &services.iter().collect::<Vec<_>>()).await;
    services.reverse();
    let mut view = store.view().await.unwrap();
    assert_eq!(view.services().of_group(&shop.id).await.unwrap(), services);
    let all = view.services().list(&ServiceFilter::default(), &Request::ALL).await.unwrap();
    assert_eq!((all.items, all.total), (services, 230));
}

/// With a group go its services and their leases; what happened to it stays known.
pub async fn deleting_a_group_deletes_its_services_and_keeps_its_history(store: Arc<dyn Store>) {
    let ids = SeqIds::default();
    let (shop, infra) = (full_group(&ids, "shop"), group(&ids, "infra"));
    let mut web = service(&ids, &shop, "web");
    web.definition = full_definition("web");
    let db = service(&ids, &infra, "db");
    given(&store, &shop, &[&web]).await;
    given(&store, &infra, &[&db]).await;
    let mut down = operation(&ids, &shop, Verb::Down, at(1));
    down.steps = vec![step(1, Some(&web), Action::Stop)];
    let mut tx = store.begin().await.unwrap();
    tx.ports().replace(&web.id, &[binding(80, 8000)], at(0)).await.unwrap();
    tx.ports().replace(&db.id, &[binding(80, 8001)], at(0)).await.unwrap();
    tx.operations().insert(&down).await.unwrap();
    tx.journal().append(Draft { group: Some(shop.name.clone()), ..Draft::new(types::GROUP_CREATED, at(0)) });
    tx.commit().await.unwrap();

    let mut tx = store.begin().await.unwrap();
    tx.groups().delete(&shop.id).await.unwrap();
    tx.commit().await.unwrap();
    let mut view = store.view().await.unwrap();
    assert_eq!(view.groups().get(&shop.id).await.unwrap(), None);
    assert_eq!(view.services().get(&web.id).await.unwrap(), None);
    let leases = view.ports().leases().await.unwrap();
    assert_eq!(leases.iter().map(|lease| lease.binding.host_port).collect::<Vec<_>>(), [8001]);
    assert_eq!(view.operations().get(&down.id).await.unwrap(), Some(down));
    assert_eq!(view.journal().after(0, 10).await.unwrap().len(), 1);
    drop(view);
    given(&store, &full_group(&ids, "shop"), &[]).await;
}

/// With a service goes everything of it.
pub async fn deleting_a_service_lets_its_ports_go(store: Arc<dyn Store>) {
    let ids = SeqIds::default();
    let shop = group(&ids, "shop");
    let mut web = service(&ids, &shop, "web");
    web.definition = full_definition("web");
    given(&store, &shop, &[&web]).await;
    let mut tx = store.begin().await.unwrap();
    tx.ports().replace(&web.id, &[binding(80, 8000)], at(0)).await.unwrap();
    tx.services().delete(&web.id).await.unwrap();
    assert_eq!(tx.ports().leases().await.unwrap(), []);
    web.id = ServiceId::from_unique(&ids.unique());
    tx.services().insert(&web).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(stored(&store, &web.id).await, Some(web));
}

/// What was adopted is known until its service has other containers, or is gone.
pub async fn what_containers_were_made_from_goes_with_their_service(store: Arc<dyn Store>) {
    let ids = SeqIds::default();
    let shop = group(&ids, "shop");
    let web = service(&ids, &shop, "web");
    given(&store, &shop, &[&web]).await;
    let made = |hashes: &[&str]| -> std::collections::BTreeMap<String, String> {
        hashes.iter().map(|hash| ((*hash).to_owned(), format!("{{\"hash\": \"{hash}\"}}"))).collect()
    };
    let mut tx = store.begin().await.unwrap();
    assert_eq!(tx.services().made_from(&web.id).await.unwrap(), made(&[]));
    for hashes in [&["a", "b"][..], &["b"], &["c"]] {
        tx.services().set_made_from(&web.id, &made(hashes)).await.unwrap();
        assert_eq!(tx.services().made_from(&web.id).await.unwrap(), made(hashes));
    }
    tx.services().delete(&web.id).await.unwrap();
    assert_eq!(tx.services().made_from(&web.id).await.unwrap(), made(&[]));
}

pub async fn adopted_containers_go_with_their_service(store: Arc<dyn Store>) {
    let ids = SeqIds::default();
    let shop = group(&ids, "shop");
    let web = service(&ids, &shop, "web");
    given(&store, &shop, &[&web]).await;
    let of = |id: &str| Adoption {
        container_id: id.into(),
        service: web.id.clone(),
        config_hash: format!("hash of {id}"),
    };
    let mut tx = store.begin().await.unwrap();
    tx.adoptions().replace(&web.id, &[of("one"), of("two")]).await.unwrap();
    assert_eq!(tx.adoptions().list().await.unwrap(), [of("one"), of("two")]);
    tx.adoptions().replace(&web.id, &[of("three")]).await.unwrap();
    assert_eq!(tx.adoptions().list().await.unwrap(), [of("three")]);
    tx.services().delete(&web.id).await.unwrap();
    assert_eq!(tx.adoptions().list().await.unwrap(), []);
}

/// A lease is firm while its service should run or does run.
pub async fn leases_show_their_owner_and_whether_they_are_firm(store: Arc<dyn Store>) {
    let ids = SeqIds::default();
    let shop = group(&ids, "shop~x");
    let states = [
        ("off", Desired::Stopped, Observed::Absent, false),
        ("ended", Desired::Absent, Observed::Exited(0), false),
        ("wanted", Desired::Running, Observed::Absent, true),
        ("drifted", Desired::Stopped, Observed::Running(Verdict::None), true),
        ("looping", Desired::Stopped, Observed::Restarting, true),
    ];
    let mut tx = store.begin().await.unwrap();
    tx.groups().insert(&shop).await.unwrap();
    for (n, (name, desired, observed, _)) in states.into_iter().enumerate() {
        let one = Service { desired, observed, ..service(&ids, &shop, name) };
        tx.services().insert(&one).await.unwrap();
        let port = 9000 - u16::try_from(n).unwrap();
        tx.ports().replace(&one.id, &[binding(80, port)], at(0)).await.unwrap();
        let own = tx.ports().of_service(&one.id).await.unwrap();
        assert_eq!(own.len(), 1);
        assert_eq!(own[0].binding, binding(80, port));
        assert_eq!(own[0].service, one.id);
        let read = tx.services().get(&one.id).await.unwrap().unwrap();
        assert_eq!(read.ports, [binding(80, port)], "a service shows the ports that it has");
    }
    tx.commit().await.unwrap();
    let leases = store.view().await.unwrap().ports().leases().await.unwrap();
    let seen: Vec<(String, bool)> =
        leases.iter().map(|lease| (lease.owner.to_string(), lease.firm)).collect();
    let wanted: Vec<(String, bool)> =
        states.iter().rev().map(|(name, _, _, firm)| (format!("shop~x/{name}"), *firm)).collect();
    assert_eq!(seen, wanted, "by host port");
}

/// A host port has one owner for each protocol, and changes hands only when it was let go.
pub async fn a_host_port_has_one_owner(store: Arc<dyn Store>) {
    let ids = SeqIds::default();
    let shop = group(&ids, "shop");
    let (web, api) = (service(&ids, &shop, "web"), service(&ids, &shop, "api"));
    given(&store, &shop, &[&web, &api]).await;
    let udp = Binding { protocol: Protocol::Udp, ..binding(53, 8000) };
    let mut tx = store.begin().await.unwrap();
    tx.ports().replace(&web.id, &[binding(80, 8000), binding(443, 8443)], at(0)).await.unwrap();
    tx.ports().replace(&api.id, std::slice::from_ref(&udp), at(0)).await.unwrap();
    tx.commit().await.unwrap();

    let mut tx = store.begin().await.unwrap();
    let error = tx.ports().replace(&api.id, &[binding(80, 8000)], at(1)).await.unwrap_err();
    assert!(matches!(error, Error::Taken("host port")), "{error:?}");
    drop(tx);
    let mut tx = store.begin().await.unwrap();
    let twice =
        tx.ports().replace(&api.id, &[binding(80, 9000), binding(81, 9000)], at(1)).await.unwrap_err();
    assert!(matches!(twice, Error::Taken("host port")), "{twice:?}");
    drop(tx);

    let mut tx = store.begin().await.unwrap();
    tx.ports().release(&api.id, 8000, Protocol::Tcp).await.unwrap();
    assert_eq!(tx.ports().leases().await.unwrap().len(), 3, "nobody lets go what another has");
    tx.ports().release(&web.id, 8000, Protocol::Tcp).await.unwrap();
    tx.ports().replace(&api.id, &[binding(80, 8000), udp.clone()], at(1)).await.unwrap();
    tx.commit().await.unwrap();
    let mut view = store.view().await.unwrap();
    let owners: Vec<String> = view
        .ports()
        .leases()
        .await
        .unwrap()
        .iter()
        .map(|l| format!("{} {}", l.owner, l.binding.host_port))
        .collect();
    assert_eq!(owners, ["shop/api 8000", "shop/api 8000", "shop/web 8443"]);
    drop(view);
    let mut tx = store.begin().await.unwrap();
    tx.ports().replace(&api.id, &[], at(2)).await.unwrap();
    assert_eq!(tx.ports().of_service(&api.id).await.unwrap(), []);
}

/// PostgreSQL refuses NUL in a text and SQLite keeps it: both have U+FFFD in its place.
pub async fn nul_in_the_words_of_an_engine_is_replaced(store: Arc<dyn Store>) {
    let ids = SeqIds::default();
    let shop = group(&ids, "shop");
    let mut web = service(&ids, &shop, "web");
    given(&store, &shop, &[&web]).await;
    web.status_detail = "exec: \"a\0b\": invalid argument".into();
    web.container_id = Some("c\0".into());
    let mut up = operation(&ids, &shop, Verb::Up, at(1));
    up.steps = vec![Step { message: "no\0 device".into(), ..step(1, Some(&web), Action::Create) }];
    up.leftovers = text(&["network \0"]);
    let mut event = draft("service.created", 1);
    event.data.message = Some("the engine says \0".into());
    let mut tx = store.begin().await.unwrap();
    tx.services().update_state(&web).await.unwrap();
    tx.operations().insert(&up).await.unwrap();
    tx.journal().append(event);
    tx.commit().await.unwrap();

    let read = stored(&store, &web.id).await.unwrap();
    assert_eq!(read.status_detail, "exec: \"a\u{fffd}b\": invalid argument");
    assert_eq!(read.container_id.as_deref(), Some("c\u{fffd}"));
    let read = store.view().await.unwrap().operations().get(&up.id).await.unwrap().unwrap();
    assert_eq!(read.steps[0].message, "no\u{fffd} device");
}

/// Every field of an operation and of its steps comes back.
pub async fn an_operation_reads_back_with_its_steps(store: Arc<dyn Store>) {
    let ids = SeqIds::default();
    let shop = group(&ids, "shop~x");
    let web = service(&ids, &shop, "web");
    given(&store, &shop, &[&web]).await;
    let mut up = operation(&ids, &shop, Verb::Up, at(1));
    up.service = Some(web.id.clone());
    up.policy = FailurePolicy::Undo;
    up.steps = vec![step(1, None, Action::Network), step(2, Some(&web), Action::Create)];
    up.steps[1].needs = vec![1];
    let mut tx = store.begin().await.unwrap();
    tx.operations().insert(&up).await.unwrap();
    tx.commit().await.unwrap();
    let read = store.view().await.unwrap().operations().get(&up.id).await.unwrap();
    assert_eq!(read.as_ref(), Some(&up));

    let undo = Step { action: Action::Remove, needs: vec![1, 2], ..step(3, Some(&web), Action::Remove) };
    up.steps.push(undo.clone());
    up.steps[1].state = State::Failed;
    up.steps[1].reason = Some(Reason::SpecRefused);
    up.steps[1].message = "no such device".into();
    up.steps[1].started_at = Some(at(2));
    up.steps[1].ended_at = Some(at(3));
    up.state = State::Failed;
    up.reason = Some(Reason::UndoStuck);
    up.message = "undo stuck".into();
    up.cancel_requested = true;
    up.leftovers = text(&["container shop__x-web-1", "network \"n\""]);
    up.started_at = Some(at(2));
    up.ended_at = Some(at(4));
    let mut tx = store.begin().await.unwrap();
    let without_steps = Operation { steps: Vec::new(), ..up.clone() };
    tx.operations().update(&without_steps).await.unwrap();
    tx.operations().append_steps(&up.id, &[undo]).await.unwrap();
    tx.operations().update_step(&up.id, &up.steps[1]).await.unwrap();
    tx.commit().await.unwrap();
    let mut view = store.view().await.unwrap();
    assert_eq!(view.operations().get(&up.id).await.unwrap().as_ref(), Some(&up));
    assert_eq!(view.operations().get(&OperationId::trusted("op_none")).await.unwrap(), None);
    drop(view);

    let mut tx = store.begin().await.unwrap();
    let error = tx.operations().append_steps(&up.id, &up.steps[..1]).await.unwrap_err();
    assert!(matches!(error, Error::Taken("id")), "{error:?}");
    drop(tx);
    let mut tx = store.begin().await.unwrap();
    for verb in Verb::ALL {
        for (n, state) in (0..).zip(State::ALL) {
            let one = Operation { state, ..operation(&ids, &shop, verb, at(n)) };
            tx.operations().insert(&one).await.unwrap();
            assert_eq!(tx.operations().get(&one.id).await.unwrap(), Some(one));
        }
    }
}

/// The newest operation comes first, each with its steps, by every filter.
pub async fn operations_are_listed_newest_first(store: Arc<dyn Store>) {
    let ids = SeqIds::default();
    let (shop, copy) = (group(&ids, "shop"), group(&ids, "shop~x"));
    let (web, db) = (service(&ids, &shop, "web"), service(&ids, &shop, "db"));
    given(&store, &shop, &[&web, &db]).await;
    let mut first = operation(&ids, &shop, Verb::Up, at(1));
    first.state = State::Completed;
    first.steps = vec![step(1, Some(&web), Action::Create), step(2, Some(&web), Action::Start)];
    let mut second = operation(&ids, &shop, Verb::Stop, at(2));
    second.state = State::InProgress;
    second.service = Some(db.id.clone());
    let third = operation(&ids, &copy, Verb::Up, at(3));
    let mut tx = store.begin().await.unwrap();
    for one in [&second, &third, &first] {
        tx.operations().insert(one).await.unwrap();
    }
    tx.commit().await.unwrap();

    let all = OperationFilter::default();
    let cases: Vec<(OperationFilter, Vec<&Operation>)> = vec![
        (all.clone(), vec![&third, &second, &first]),
        (OperationFilter { open: true, ..all.clone() }, vec![&third, &second]),
        (OperationFilter { state: vec![State::Completed], ..all.clone() }, vec![&first]),
        (OperationFilter { state: State::ALL.to_vec(), ..all.clone() }, vec![&third, &second, &first]),
        (OperationFilter { state: vec![State::Completed], open: true, ..all.clone() }, vec![]),
        (OperationFilter { group: Some(filter("shop")), ..all.clone() }, vec![&second, &first]),
        (OperationFilter { group: Some(filter("shop~*")), ..all.clone() }, vec![&third, &second, &first]),
        (OperationFilter { group: Some(filter("shop~x")), ..all.clone() }, vec![&third]),
        (OperationFilter { service: Some(web.id.clone()), ..all.clone() }, vec![&first]),
        (OperationFilter { service: Some(db.id.clone()), ..all.clone() }, vec![&second]),
        (OperationFilter { verb: Some(Verb::Up), ..all.clone() }, vec![&third, &first]),
        (OperationFilter { verb: Some(Verb::Up), group: Some(filter("shop")), ..all.clone() }, vec![&first]),
    ];
    let mut view = store.view().await.unwrap();
    for (wanted, found) in cases {
        let page = view.operations().list(&wanted, &Request::ALL).await.unwrap();
        assert_eq!(page.items.iter().collect::<Vec<_>>(), found, "{wanted:?}");
        assert_eq!(page.total, found.len() as u64);
    }
    let page = view.operations().list(&all, &Request::at(1, 1)).await.unwrap();
    assert_eq!((page.items, page.total), (vec![second], 3));
}

/// Of one service, one step is in progress at a time, whatever operation it is of.
pub async fn one_step_of_a_service_is_in_progress(store: Arc<dyn Store>) {
    let ids = SeqIds::default();
    let shop = group(&ids, "shop");
    let (web, db) = (service(&ids, &shop, "web"), service(&ids, &shop, "db"));
    given(&store, &shop, &[&web, &db]).await;
    let mut up = operation(&ids, &shop, Verb::Up, at(1));
    up.steps = vec![
        step(1, Some(&web), Action::Start),
        step(2, Some(&db), Action::Start),
        step(3, None, Action::Pull),
        step(4, None, Action::Pull),
    ];
    let mut stop = operation(&ids, &shop, Verb::Stop, at(2));
    stop.steps = vec![step(1, Some(&web), Action::Stop)];
    let in_progress = |step: &Step| Step { state: State::InProgress, ..step.clone() };
    let mut tx = store.begin().await.unwrap();
    tx.operations().insert(&up).await.unwrap();
    tx.operations().insert(&stop).await.unwrap();
    for step in &up.steps {
        tx.operations().update_step(&up.id, &in_progress(step)).await.unwrap();
        tx.operations().update_step(&up.id, &in_progress(step)).await.expect("the same step again");
    }
    tx.commit().await.unwrap();

    let mut tx = store.begin().await.unwrap();
    let error = tx.operations().update_step(&stop.id, &in_progress(&stop.steps[0])).await.unwrap_err();
    assert!(matches!(error, Error::StepInProgress), "{error:?}");
    drop(tx);
    let mut third = operation(&ids, &shop, Verb::Stop, at(3));
    third.steps = vec![in_progress(&stop.steps[0])];
    let mut tx = store.begin().await.unwrap();
    let error = tx.operations().insert(&third).await.unwrap_err();
    assert!(matches!(error, Error::StepInProgress), "{error:?}");
    drop(tx);

    let mut tx = store.begin().await.unwrap();
    let ended = Step { state: State::Cancelled, reason: Some(Reason::Superseded), ..up.steps[0].clone() };
    tx.operations().update_step(&up.id, &ended).await.unwrap();
    tx.operations().update_step(&stop.id, &in_progress(&stop.steps[0])).await.unwrap();
    tx.commit().await.unwrap();
}

fn draft(kind: &'static str, n: i64) -> Draft {
    Draft::new(kind, at(n))
}

/// Events of one commit are adjacent, come back from it, and read back whole.
pub async fn events_get_their_sequences_at_commit(store: Arc<dyn Store>) {
    let data = Data {
        old_status: Some("stopped".into()),
        new_status: Some("failed".into()),
        status_reason: Some("EXITED".into()),
        old_health: Some("healthy".into()),
        new_health: Some("none".into()),
        exit_code: Some(-1),
        container_id: Some("c0ffee".into()),
        service_name: Some("shop~x/web".into()),
        verb: Some("up".into()),
        step: Some(3),
        action: Some("start".into()),
        subject: Some("shop__x-web-1".into()),
        state: Some("failed".into()),
        reason: Some("EXITED".into()),
        message: Some("ended with 1 \"é\"".into()),
        progress_current: Some(i64::MAX),
        progress_total: Some(i64::MIN),
        port: Some(65535),
        holder: Some("nginx".into()),
        oldest_seq: Some(1),
    };
    let full = Draft {
        kind: types::SERVICE_STATUS_CHANGED,
        severity: Severity::Critical,
        service: Some(ServiceId::trusted("svc_web")),
        group: Some(group_ref("shop~x")),
        operation: Some(OperationId::trusted("op_1")),
        data,
        at: at(5),
    };
    let mut tx = store.begin().await.unwrap();
    tx.journal().append(full.clone());
    tx.journal().append(draft(types::ENGINE_CHANGED, 6));
    assert_eq!(tx.journal().head().await.unwrap(), 0, "given at commit");
    let first = tx.commit().await.unwrap();
    assert_eq!(first.iter().map(|event| event.seq).collect::<Vec<_>>(), [1, 2]);
    let mut tx = store.begin().await.unwrap();
    tx.journal().append(draft(types::GROUP_CREATED, 7));
    let second = tx.commit().await.unwrap();
    let nothing = store.begin().await.unwrap().commit().await.unwrap();
    assert_eq!(nothing, []);

    let all: Vec<Event> = first.into_iter().chain(second).collect();
    assert_eq!((all[0].kind.as_str(), &all[0].data, all[0].at), (full.kind, &full.data, full.at));
    assert_eq!(
        (&all[0].service, &all[0].group, &all[0].operation),
        (&full.service, &full.group, &full.operation)
    );
    let mut view = store.view().await.unwrap();
    assert_eq!(view.journal().after(0, 100).await.unwrap(), all);
    assert_eq!(view.journal().after(1, 1).await.unwrap(), all[1..2]);
    assert_eq!(view.journal().after(3, 100).await.unwrap(), []);
    assert_eq!(view.journal().head().await.unwrap(), 3);
    assert_eq!(view.journal().oldest().await.unwrap(), Some(1));
}

/// A commit may hold more events than a statement has room for.
pub async fn a_commit_may_hold_thousands_of_events(store: Arc<dyn Store>) {
    let mut tx = store.begin().await.unwrap();
    for n in 0..2345 {
        tx.journal().append(draft(types::OPERATION_PROGRESS, n));
    }
    let events = tx.commit().await.unwrap();
    assert!(events.iter().map(|event| event.seq).eq(1..=2345));
    assert_eq!(store.view().await.unwrap().journal().after(0, u32::MAX).await.unwrap(), events);
}

/// The database chooses the same events as the filter itself.
pub async fn events_are_found_by_every_filter(store: Arc<dyn Store>) {
    let (web, db) = (ServiceId::trusted("svc_web"), ServiceId::trusted("svc_db"));
    let up = OperationId::trusted("op_up");
    let mut tx = store.begin().await.unwrap();
    let kinds = types::JOURNALED;
    for n in 0..120 {
        let i = usize::try_from(n).unwrap();
        tx.journal().append(Draft {
            severity: Severity::ALL[i % 5],
            service: [None, Some(web.clone()), Some(db.clone())][i % 3].clone(),
            group: [None, Some(group_ref("shop")), Some(group_ref("shop~x")), Some(group_ref("shop2"))]
                [i % 4]
                .clone(),
            operation: (i % 7 == 2).then(|| up.clone()),
            ..draft(kinds[i % kinds.len()], n)
        });
    }
    let events = tx.commit().await.unwrap();
    let family = |raw| Pattern::parse("event_type", raw).unwrap();
    let all = Filter::default();
    let filters = [
        all.clone(),
        Filter { types: vec![family("service.*")], ..all.clone() },
        Filter { types: vec![family("service.created"), family("port.*")], ..all.clone() },
        Filter { types: vec![Pattern::Family("watch.".into())], ..all.clone() },
        Filter { types: vec![Pattern::Word("no.such".into())], ..all.clone() },
        Filter { service: Some(web.clone()), ..all.clone() },
        Filter { group: Some(filter("shop")), ..all.clone() },
        Filter { group: Some(filter("shop~x")), ..all.clone() },
        Filter { group: Some(filter("shop~*")), ..all.clone() },
        Filter { operation: Some(up.clone()), ..all.clone() },
        Filter { at_least: Some(Severity::Debug), ..all.clone() },
        Filter { at_least: Some(Severity::Error), ..all.clone() },
        Filter { since: Some(at(30)), until: Some(at(60)), ..all.clone() },
        Filter {
            types: vec![family("service.*"), family("group.*")],
            service: Some(web.clone()),
            group: Some(filter("shop~*")),
            at_least: Some(Severity::Info),
            since: Some(at(10)),
            ..all
        },
    ];
    let mut view = store.view().await.unwrap();
    for filter in filters {
        let wanted: Vec<Event> =
            events.iter().filter(|event| event.seq > 4 && filter.matches(event)).take(50).cloned().collect();
        assert_eq!(view.journal().list(&filter, 4, 50).await.unwrap(), wanted, "{filter:?}");
    }
    assert_eq!(view.journal().first_of(&up).await.unwrap(), Some(3));
    assert_eq!(view.journal().first_of(&OperationId::trusted("op_none")).await.unwrap(), None);
}

/// Writers side by side: sequences have no gaps, those of a commit are adjacent, and no
/// reader ever sees a later event before an earlier one or a part of a commit.
pub async fn writers_side_by_side_leave_no_gap(store: Arc<dyn Store>) {
    const WRITERS: usize = 2;
    const COMMITS: usize = 40;
    // Writer w gives its commit c this many events.
    let size = |w: usize, c: usize| 1 + (w + c) % 4;
    let total: usize = (0..WRITERS).flat_map(|w| (0..COMMITS).map(move |c| size(w, c))).sum();

    let mut tasks: JoinSet<()> = JoinSet::new();
    for w in 0..WRITERS {
        let store = store.clone();
        tasks.spawn(async move {
            for c in 0..COMMITS {
                let mut tx = store.begin().await.unwrap();
                tx.config().set(&format!("writer {w}"), &c.to_string()).await.unwrap();
                for part in 0..size(w, c) {
                    tx.journal().append(Draft {
                        data: Data { message: Some(format!("{w} {c} {part}")), ..Data::default() },
                        ..draft(types::OPERATION_PROGRESS, 0)
                    });
                    tokio::task::yield_now().await;
                }
                if c % 5 == 4 {
                    drop(tx);
                    let mut tx = store.begin().await.unwrap();
                    for part in 0..size(w, c) {
                        tx.journal().append(Draft {
                            data: Data { message: Some(format!("{w} {c} {part}")), ..Data::default() },
                            ..draft(types::OPERATION_PROGRESS, 0)
                        });
                    }
                    tx.commit().await.unwrap();
                } else {
                    let events = tx.commit().await.unwrap();
                    assert!(events.windows(2).all(|pair| pair[1].seq == pair[0].seq + 1));
                }
            }
        });
    }
    for _ in 0..2 {
        let store = store.clone();
        tasks.spawn(async move {
            let mut seen: Vec<Event> = Vec::new();
            while seen.len() < total {
                let position = seen.last().map_or(0, |event| event.seq);
                let mut view = store.view().await.unwrap();
                let head = view.journal().head().await.unwrap();
                let next = view.journal().after(position, u32::MAX).await.unwrap();
                drop(view);
                assert_eq!(
                    next.last().map_or(position, |event| event.seq),
                    head,
                    "all up to the head is there"
                );
                seen.extend(next);
                let last = seen.last().map(|event| event.data.message.clone().unwrap());
                if let Some(last) = last {
                    let [w, c, part] = numbers(&last);
                    assert_eq!(part + 1, size(w, c), "a commit is seen whole or not at all");
                }
                tokio::task::yield_now().await;
            }
            assert!(seen.iter().map(|event| event.seq).eq(1..=i64::try_from(total).unwrap()));
            let mut rest =
                seen.iter().map(|event| numbers(event.data.message.as_deref().unwrap())).peekable();
            let mut next_commit = [0; WRITERS];
            while let Some([w, c, part]) = rest.next() {
                assert_eq!((c, part), (next_commit[w], 0), "each writer's commits come in order");
                for part in 1..size(w, c) {
                    assert_eq!(rest.next(), Some([w, c, part]), "events of a commit are adjacent");
                }
                next_commit[w] += 1;
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
}

fn numbers(text: &str) -> [usize; 3] {
    let numbers: Vec<usize> = text.split(' ').map(|number| number.parse().unwrap()).collect();
    numbers.try_into().unwrap()
}

/// Who reads a row in a unit that writes may build on what it read.
pub async fn nothing_is_lost_between_a_read_and_a_write(store: Arc<dyn Store>) {
    let ids = SeqIds::default();
    let shop = group(&ids, "shop");
    let web = service(&ids, &shop, "web");
    let up = operation(&ids, &shop, Verb::Up, at(0));
    given(&store, &shop, &[&web]).await;
    let mut tx = store.begin().await.unwrap();
    tx.operations().insert(&up).await.unwrap();
    tx.commit().await.unwrap();
    let mut tasks: JoinSet<()> = JoinSet::new();
    for _ in 0..4 {
        let (store, shop, web, up) = (store.clone(), shop.clone(), web.clone(), up.clone());
        tasks.spawn(async move {
            for _ in 0..10 {
                let mut tx = store.begin().await.unwrap();
                let mut group = tx.groups().find(&shop.name).await.unwrap().unwrap();
                group.definition.start_order += 1;
                let need = group::Dependency { group: group_ref("infra"), service: None };
                group.definition.depends_on.push(need);
                tx.groups().update(&group).await.unwrap();
                let mut service = tx.services().get(&web.id).await.unwrap().unwrap();
                service.generation += 1;
                service.definition.tags.push("one".into());
                tx.services().update(&service).await.unwrap();
                let mut operation = tx.operations().get(&up.id).await.unwrap().unwrap();
                operation.leftovers.push("one".into());
                tx.operations().update(&operation).await.unwrap();
                let mut of_group = tx.services().of_group(&shop.id).await.unwrap();
                of_group[0].status_detail.push('.');
                tx.services().update_state(&of_group[0]).await.unwrap();
                tx.commit().await.unwrap();
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    let mut view = store.view().await.unwrap();
    let shop = view.groups().get(&shop.id).await.unwrap().unwrap();
    assert_eq!((shop.definition.start_order, shop.definition.depends_on.len()), (40, 40));
    let web = view.services().get(&web.id).await.unwrap().unwrap();
    assert_eq!((web.generation, web.status_detail.len(), web.definition.tags.len()), (41, 40, 40));
    assert_eq!(view.operations().get(&up.id).await.unwrap().unwrap().leftovers.len(), 40);
}

/// Old events go, but never the newest, and never out of the middle.
pub async fn trimming_keeps_the_newest_and_leaves_no_hole(store: Arc<dyn Store>) {
    let mut tx = store.begin().await.unwrap();
    assert_eq!(tx.journal().trim(0, at(1000)).await.unwrap(), 0, "nothing to trim");
    // Ten events; the fifth is younger than those after it.
    for time in [0, 1, 2, 3, 50, 5, 6, 7, 8, 9] {
        tx.journal().append(draft(types::OPERATION_PROGRESS, time));
    }
    tx.commit().await.unwrap();
    let trim = async |keep, before| {
        let mut tx = store.begin().await.unwrap();
        let gone = tx.journal().trim(keep, before).await.unwrap();
        tx.commit().await.unwrap();
        let mut view = store.view().await.unwrap();
        let oldest = view.journal().oldest().await.unwrap();
        let head = view.journal().head().await.unwrap();
        (gone, oldest, head)
    };
    assert_eq!(trim(100, at(1000)).await, (0, Some(1), 10), "as many are to be kept");
    assert_eq!(trim(0, at(2)).await, (2, Some(3), 10), "older than the second");
    assert_eq!(trim(0, at(20)).await, (2, Some(5), 10), "the young fifth holds those after it");
    assert_eq!(trim(4, at(1000)).await, (2, Some(7), 10), "four are kept however old");
    assert_eq!(trim(0, at(1000)).await, (4, None, 10), "the head outlives its events");
    let mut tx = store.begin().await.unwrap();
    tx.journal().append(draft(types::OPERATION_PROGRESS, 60));
    assert_eq!(tx.commit().await.unwrap()[0].seq, 11);
}

/// Settings are text by key; the port ranges are the defaults until somebody sets others.
pub async fn settings_and_port_ranges_read_back(store: Arc<dyn Store>) {
    let ranges = [
        Range { project: "z".into(), start: 1, end: 1 },
        Range { project: "a".into(), start: 3000, end: 65535 },
    ];
    let mut tx = store.begin().await.unwrap();
    assert_eq!(tx.config().get("installation").await.unwrap(), None);
    for value in ["one", "two", ""] {
        tx.config().set("installation", value).await.unwrap();
        assert_eq!(tx.config().get("installation").await.unwrap().as_deref(), Some(value));
    }
    assert_eq!(tx.config().port_ranges().await.unwrap(), default_ranges());
    tx.config().set_port_ranges(&ranges).await.unwrap();
    tx.commit().await.unwrap();
    let mut tx = store.begin().await.unwrap();
    assert_eq!(tx.config().port_ranges().await.unwrap(), ranges, "in their order");
    tx.config().set_port_ranges(&ranges[1..]).await.unwrap();
    assert_eq!(tx.config().port_ranges().await.unwrap(), ranges[1..]);
    tx.config().set_port_ranges(&[]).await.unwrap();
    assert_eq!(tx.config().port_ranges().await.unwrap(), default_ranges());
    let twice = [ranges[0].clone(), ranges[0].clone()];
    let error = tx.config().set_port_ranges(&twice).await.unwrap_err();
    assert!(matches!(error, Error::Taken("project of a port range")), "{error:?}");
}

/// Readers and a writer do not wait for each other, and a database that is there says so.
pub async fn readers_and_a_writer_do_not_stop_each_other(store: Arc<dyn Store>) {
    let ids = SeqIds::default();
    let shop = group(&ids, "shop");
    let mut views = Vec::new();
    for _ in 0..3 {
        let mut view = store.view().await.unwrap();
        assert_eq!(view.groups().list(None, &Request::ALL).await.unwrap().total, 0);
        views.push(view);
    }
    let mut tx = store.begin().await.unwrap();
    tx.groups().insert(&shop).await.unwrap();
    store.ping().await.unwrap();
    let mut view = store.view().await.unwrap();
    assert_eq!(view.groups().find(&shop.name).await.unwrap(), None);
    drop(view);
    tx.commit().await.unwrap();
    for view in &mut views {
        assert_eq!(view.groups().find(&shop.name).await.unwrap(), None);
    }
    drop(views);
    assert_eq!(store.view().await.unwrap().groups().find(&shop.name).await.unwrap(), Some(shop));
}

/// Names that are words of SQL or of patterns are only names.
pub async fn names_are_values_and_never_statements(store: Arc<dyn Store>) {
    let ids = SeqIds::default();
    let shop = Group {
        name: GroupRef::base(GroupName::trusted("x'; drop table groups; --")),
        ..group(&ids, "shop")
    };
    let web = service(&ids, &shop, "web");
    given(&store, &shop, &[&web]).await;
    let up =
        Operation { steps: vec![step(1, None, Action::Pull)], ..operation(&ids, &shop, Verb::Up, at(0)) };
    let mut tx = store.begin().await.unwrap();
    tx.operations().insert(&up).await.unwrap();
    assert_eq!(tx.groups().find(&shop.name).await.unwrap().as_ref(), Some(&shop));
    assert_eq!(tx.services().find(&shop.name, &service_name("web")).await.unwrap(), Some(web));
    assert_eq!(tx.operations().get(&up.id).await.unwrap(), Some(up));
    assert_eq!(tx.services().find_alias("' OR '1'='1").await.unwrap(), None);
    let other = ServiceRef::parse("id", "shop/web").unwrap();
    assert_eq!(tx.services().find(&other.group, &other.name).await.unwrap(), None);
}

/// Makes a test of every case: `store_suite!(make)`, where `make` is an
/// `async fn() -> Fixture`.
#[macro_export]
macro_rules! store_suite {
    ($make:path) => {
        $crate::store_suite! { @cases $make:
            a_group_reads_back_as_it_was_written
            a_service_reads_back_as_it_was_written
            a_very_large_service_reads_back
            an_update_replaces_every_part_of_a_service
            an_update_of_state_leaves_the_definition_alone
            every_state_reads_back
            a_taken_name_is_named
            changing_what_is_gone_is_stale
            a_unit_of_work_that_is_dropped_has_not_happened
            a_unit_of_work_with_a_failure_cannot_be_committed
            a_view_cannot_write
            a_view_is_one_moment
            nul_in_the_words_of_an_engine_is_replaced
            a_group_filter_tells_the_base_from_its_instances
            services_are_found_by_every_filter
            services_are_listed_in_the_order_asked_for
            a_long_listing_is_whole_and_in_order
            pages_show_everything_once
            a_cursor_shows_what_stays_once_while_others_come_and_go
            a_thousand_rows_around_a_cursor_do_not_move_it
            groups_and_operations_go_on_at_a_cursor
            a_cursor_that_does_not_fit_is_refused
            deleting_a_group_deletes_its_services_and_keeps_its_history
            deleting_a_service_lets_its_ports_go
            adopted_containers_go_with_their_service
            what_containers_were_made_from_goes_with_their_service
            leases_show_their_owner_and_whether_they_are_firm
            a_host_port_has_one_owner
            an_operation_reads_back_with_its_steps
            operations_are_listed_newest_first
            one_step_of_a_service_is_in_progress
            events_get_their_sequences_at_commit
            a_commit_may_hold_thousands_of_events
            events_are_found_by_every_filter
            writers_side_by_side_leave_no_gap
            nothing_is_lost_between_a_read_and_a_write
            trimming_keeps_the_newest_and_leaves_no_hole
            settings_and_port_ranges_read_back
            readers_and_a_writer_do_not_stop_each_other
            names_are_values_and_never_statements
        }
    };
    (@cases $make:path: $($case:ident)*) => {$(
        #[tokio::test]
        async fn $case() {
            $crate::store_suite::run($make(), $crate::store_suite::$case).await;
        }
    )*};
}
