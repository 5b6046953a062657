//! What is shown reads back, secrets are shown to nobody, and steps are summed up for each service.

use std::collections::BTreeMap;
use std::time::Duration;

use clos_control::groups::{GraphView, GroupView};
use clos_control::services::Health;
use clos_domain::error::{Finding, Severity as FindingSeverity};
use clos_domain::event::{Data, Event, Severity};
use clos_domain::health::{Check, Test, Verdict};
use clos_domain::id::OperationId;
use clos_domain::name::ServiceName;
use clos_domain::operation::{Action, FailurePolicy, State, Verb};
use clos_domain::plan::{Change, Plan, Step as PlanStep, Work};
use clos_domain::port::{Assignment, Binding, Protocol, Published, Wish};
use clos_domain::problem::Problem;
use clos_domain::seams::IdSource as _;
use clos_domain::seams::engine::{LogLine, Stats};
use clos_domain::service::{Condition, Definition, Dependency, Desired, Observed, Service, Status};
use clos_domain::workload::{
    Build, Container, Join, Limits, Logging, Mount, MountKind, PullPolicy, Restart, Run, Stop,
};
use clos_domain::{Reason, Timestamp, group as groups};
use clos_proto::v2 as pb;
use clos_testkit::ids::SeqIds;
use clos_testkit::store_suite as made;
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;

use super::*;
use crate::decode;

fn text() -> impl Strategy<Value = String> {
    "[a-z][a-z0-9._-]{0,8}"
}

fn word() -> impl Strategy<Value = Option<String>> {
    option::of(text())
}

fn pairs() -> impl Strategy<Value = BTreeMap<String, String>> {
    btree_map(text(), "[ -~]{0,10}", 0..3)
}

fn length() -> impl Strategy<Value = Duration> {
    (1..3_600_000u64).prop_map(Duration::from_millis)
}

fn bytes() -> impl Strategy<Value = Option<u64>> {
    option::of(1..u64::MAX / 2)
}

fn wish() -> impl Strategy<Value = Wish> {
    let ip = prop_oneof![Just(None), Just(Some("0.0.0.0".to_owned())), Just(Some("::1".to_owned()))];
    let protocol = prop_oneof![Just(Protocol::Tcp), Just(Protocol::Udp), Just(Protocol::Sctp)];
    (1..=u16::MAX, 1..60_000u16, 0..3u8, 0..100u16, ip, protocol).prop_map(
        |(container_port, port, form, more, host_ip, protocol)| Wish {
            container_port,
            host_port: (form > 0).then_some(port),
            host_port_end: (form > 1).then_some(port + more),
            host_ip,
            protocol,
        },
    )
}

fn pace(test: impl Strategy<Value = Test>) -> impl Strategy<Value = Check> {
    (test, length(), length(), 1..100u32, length(), option::of(length())).prop_map(
        |(test, interval, timeout, retries, start_period, start_interval)| Check {
            test,
            interval,
            timeout,
            retries,
            start_period,
            start_interval,
        },
    )
}

fn argv() -> impl Strategy<Value = Vec<String>> {
    (text(), vec("[ -~]{0,5}", 0..3)).prop_map(|(program, rest)| [vec![program], rest].concat())
}

fn engine_check() -> impl Strategy<Value = Check> {
    pace(prop_oneof![argv().prop_map(|argv| Test::Command { argv }), Just(Test::Disabled)])
}

fn probe() -> impl Strategy<Value = Check> {
    let http = ("[a-z]{0,3}", 1..=u16::MAX, vec(100..600u16, 0..3)).prop_map(|(host, port, expected)| {
        Test::Http { url: format!("http://{host}:{port}/up?now"), expected }
    });
    let tcp = (1..=u16::MAX).prop_map(|port| Test::Tcp { port });
    let test = prop_oneof![http, tcp, argv().prop_map(|argv| Test::Command { argv })];
    pace(test).prop_map(|check| Check { start_interval: None, ..check })
}

fn mount() -> impl Strategy<Value = Mount> {
    let kind = prop_oneof![Just(MountKind::Bind), Just(MountKind::Volume), Just(MountKind::Tmpfs)];
    let flags = (any::<bool>(), any::<bool>(), any::<bool>());
    let selinux = prop_oneof![Just(None), Just(Some("z".to_owned()))];
    (kind, text(), text(), flags, (word(), selinux, word()), bytes(), option::of(0..0o7777u32)).prop_map(
        |(kind, source, target, flags, (propagation, selinux, subpath), size, mode)| Mount {
            kind,
            source: match kind {
                MountKind::Bind => Some(format!("/{source}")),
                MountKind::Volume => Some(source),
                MountKind::Tmpfs => None,
            },
            target: format!("/{target}"),
            read_only: flags.0,
            create_host_path: flags.1,
            propagation,
            selinux,
            no_copy: flags.2,
            subpath,
            size,
            mode,
        },
    )
}

fn build() -> impl Strategy<Value = Build> {
    let args = btree_map(text(), option::of("[ -~]{0,5}"), 0..3);
    let file = prop_oneof![
        Just((None, None)),
        text().prop_map(|name| (Some(name), None)),
        text().prop_map(|name| (None, Some(format!("FROM {name}")))),
    ];
    let words = (word(), word(), word());
    let lists = (vec(text(), 0..2), vec(text(), 0..2), vec((text(), text()), 0..2));
    (text(), file, args, pairs(), words, lists, any::<(bool, bool)>(), bytes()).prop_map(
        |(context, (dockerfile, dockerfile_inline), args, labels, words, lists, flags, shm_size)| Build {
            context: format!("/{context}"),
            dockerfile,
            dockerfile_inline,
            args: args.into_iter().collect(),
            labels,
            target: words.0,
            tags: lists.0,
            cache_from: lists.1,
            no_cache: flags.0,
            pull: flags.1,
            network: words.1,
            shm_size,
            platform: words.2,
            extra_hosts: lists.2,
            digest: String::new(),
        },
    )
}

fn networks() -> impl Strategy<Value = (Vec<Join>, Option<String>)> {
    let join = (text(), vec(text(), 0..2), any::<bool>(), word()).prop_map(
        |(network, aliases, fixed, mac_address)| {
            let ipv4_address = fixed.then(|| "10.0.0.7".to_owned());
            let ipv6_address = fixed.then(|| "fd00::7".to_owned());
            Join { network, aliases, ipv4_address, ipv6_address, mac_address }
        },
    );
    prop_oneof![
        vec(join, 0..3).prop_map(|joins| (joins, None)),
        text().prop_map(|mode| (Vec::new(), Some(mode))),
    ]
}

fn words() -> impl Strategy<Value = Option<Vec<String>>> {
    option::of(prop_oneof![Just(Vec::new()), argv()])
}

prop_compose! {
    fn container()(
        image in "[a-z0-9]{1,8}(:[a-z0-9_][a-z0-9._-]{0,8})?",
        build in option::of(build().boxed()),
        command in words(),
        entrypoint in words(),
        (networks, network_mode) in networks().boxed(),
        mounts in vec(mount().boxed(), 0..3),
        texts in vec(word(), 12),
        lists in vec(vec(text(), 0..2), 10),
        extra_hosts in vec((text(), text()), 0..2),
        init in option::of(any::<bool>()),
        flags in any::<[bool; 4]>(),
        maps in (pairs(), pairs(), btree_map(text(), (0..5i64, 5..9i64), 0..2)),
        shm_size in bytes(),
        oom_score_adj in option::of(-1_000..=1_000i64),
        pull in 0..4usize,
    ) -> Container {
        let policies = [PullPolicy::Missing, PullPolicy::Always, PullPolicy::Never, PullPolicy::Build];
        let pull = if build.is_some() { policies[pull] } else { policies[pull % 3] };
        Container {
            image,
            build,
            pull,
            command,
            entrypoint,
            networks,
            network_mode,
            mounts,
            working_dir: texts[0].clone(),
            user: texts[1].clone(),
            group_add: lists[0].clone(),
            hostname: texts[2].clone(),
            domainname: texts[3].clone(),
            extra_hosts,
            dns: lists[1].clone(),
            dns_search: lists[2].clone(),
            dns_opt: lists[3].clone(),
            expose: lists[4].clone(),
            platform: texts[4].clone(),
            init,
            tty: flags[0],
            stdin_open: flags[1],
            read_only: flags[2],
            privileged: flags[3],
            cap_add: lists[5].clone(),
            cap_drop: lists[6].clone(),
            security_opt: lists[7].clone(),
            devices: lists[8].clone(),
            sysctls: maps.0,
            pid: texts[5].clone(),
            ipc: texts[6].clone(),
            uts: texts[7].clone(),
            userns_mode: texts[8].clone(),
            cgroup: texts[9].clone(),
            shm_size,
            tmpfs: maps.1,
            ulimits: maps.2,
            cgroup_parent: texts[10].clone(),
            runtime: texts[11].clone(),
            oom_score_adj,
            volumes_from: lists[9].clone(),
            files: Vec::new(),
        }
    }
}

fn restart() -> impl Strategy<Value = Restart> {
    prop_oneof![
        Just(Restart::No),
        (0..9u32).prop_map(|max_retries| Restart::OnFailure { max_retries }),
        Just(Restart::Always),
        Just(Restart::UnlessStopped),
    ]
}

prop_compose! {
    fn limits()(
        cpu_millis in option::of(1..64_000u64),
        memory in bytes(),
        memory_reservation in bytes(),
        memory_swap in option::of(prop_oneof![Just(-1i64), 1..i64::MAX]),
        pids in option::of(1..9_999i64),
        cpuset in option::of("[0-9]-[0-9]"),
        cpu_shares in option::of(2..262_144i64),
    ) -> Limits {
        Limits { cpu_millis, memory, memory_reservation, memory_swap, pids, cpuset, cpu_shares }
    }
}

fn needs() -> impl Strategy<Value = Vec<Dependency>> {
    let condition =
        prop_oneof![Just(Condition::Started), Just(Condition::Healthy), Just(Condition::Completed)];
    btree_map("n[a-z]{1,5}", (condition, any::<(bool, bool)>()), 0..4).prop_map(|needs| {
        let need = |(name, (condition, (required, restart))): (String, _)| Dependency {
            service: ServiceName::trusted(name),
            condition,
            required,
            restart,
        };
        needs.into_iter().map(need).collect()
    })
}

prop_compose! {
    fn definition()(
        profiles in vec(text(), 0..2),
        environment in btree_map("[A-Z][A-Z0-9_]{0,9}", "[ -~\n]{0,12}", 0..5),
        ports in vec(wish().boxed(), 0..4),
        depends_on in needs().boxed(),
        health in option::of(engine_check().boxed()),
        probe in option::of(probe().boxed()),
        restart in restart(),
        stop in (word(), option::of(length())),
        limits in limits().boxed(),
        logging in option::of((word(), pairs())),
        labels in pairs(),
        container_name in word(),
        container in container().boxed(),
        start_order in any::<i32>(),
        tags in vec("[a-z ]{0,5}[a-z]", 0..10),
        texts in vec("[ -~]{0,12}", 3),
    ) -> Definition {
        let mut unique = std::collections::BTreeSet::new();
        let ports = ports.into_iter().filter(|wish| unique.insert((wish.host_port, wish.protocol))).collect();
        Definition {
            name: ServiceName::trusted("web"),
            enabled: profiles.is_empty(),
            scale: None,
            profiles,
            environment: environment.into_iter().filter(|(name, value)| masked(name, value) == *value).collect(),
            ports,
            depends_on,
            health,
            probe,
            restart,
            stop: Stop { signal: stop.0.filter(|signal| signal.bytes().all(|b| b.is_ascii_alphanumeric())), grace: stop.1 },
            limits,
            logging: logging.map(|(driver, options)| Logging { driver, options }),
            labels: labels.into_iter().collect(),
            container_name,
            run: Run::Container(Box::new(container)),
            start_order,
            tags,
            description: texts[0].clone(),
            owner: texts[1].clone(),
            version: texts[2].clone(),
            config_hash: None,
        }
    }
}

fn stored(definition: Definition) -> Service {
    let ids = SeqIds::default();
    let mut service = made::service(&ids, &made::group(&ids, "shop"), definition.name.as_str());
    service.definition = definition;
    service
}

fn hides_something(definition: &Definition) -> bool {
    format!("{:?}", service::definition(&stored(definition.clone()))).contains(MASK)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn a_definition_that_is_shown_reads_back_as_a_new_one(definition in definition().boxed()) {
        prop_assume!(!hides_something(&definition));
        let shown = service::definition(&stored(definition.clone()));
        let request = pb::CreateServiceRequest { service: Some(shown), request_id: String::new() };
        let read = decode::service::create(&request);
        prop_assert!(read.is_ok(), "{}", read.unwrap_err());
        prop_assert_eq!(read.unwrap().definition, definition);
    }

    #[test]
    fn a_definition_that_is_sent_back_replaces_nothing(definition in definition().boxed()) {
        let before = stored(definition);
        let sent = Some(service::service(&before));
        let replace = pb::ReplaceServiceRequest { service: sent.clone(), ..Default::default() };
        let update = pb::UpdateServiceRequest { service: sent, ..Default::default() };
        for read in
            [decode::service::replace(&replace, &before), decode::service::update(&update, &before)]
        {
            prop_assert!(read.is_ok(), "{}", read.unwrap_err());
            let read = read.unwrap();
            prop_assert_eq!(&read, &before.definition);
            // The order decides the hash of the spec, and so whether a container is replaced.
            prop_assert!(read.environment.keys().eq(before.definition.environment.keys()));
        }
    }
}

#[test]
fn what_looks_secret_is_shown_to_nobody() {
    let secret = [
        "POSTGRES_PASSWORD",
        "db_passwd",
        "GITHUB_TOKEN",
        "AWS_SECRET_ACCESS_KEY",
        "SSH_KEY",
        "KEY",
        "apiKey",
        "API_KEY",
        "ENCRYPTION-KEYS",
        "DB_PASS",
        "SESSION_COOKIE",
        "BASIC_AUTH",
        "MyCredentials",
    ];
    for name in secret {
        assert_eq!(masked(name, "x"), MASK, "{name}");
        assert_eq!(masked(name, ""), "", "nothing hides nothing: {name}");
    }
    for name in ["KEYBOARD", "MONKEY", "PATH", "COMPASS", "AUTHOR", "SPIN", "PINNED", "PASSENGERS"] {
        assert_eq!(masked(name, "x"), "x", "{name}");
    }
    assert_eq!(masked("DATABASE_URL", "postgres://me:hunter2@db:5432/shop"), MASK);
    for open in ["postgres://me@db/shop", "http://db:5432/a:b@c", "me:hunter2@db", "postgres://me:@db/shop"] {
        assert_eq!(masked("DATABASE_URL", open), open);
    }
}

#[test]
fn a_secret_is_in_no_part_of_what_is_shown() {
    let mut definition = made::full_definition("web");
    definition.environment.insert("DB_PASSWORD".into(), "hunter2".into());
    definition.environment.insert("DSN".into(), "amqp://me:hunter2@mq/".into());
    let build = definition.container_mut().build.get_or_insert_default();
    build.args.insert("NPM_TOKEN".into(), Some("hunter2".into()));
    let container = definition.container_mut();
    container.command = Some(vec!["serve".into(), "--password".into(), "hunter2".into()]);
    container.entrypoint = Some(vec!["env".into(), "TOKEN=hunter2".into()]);
    let logging = definition.logging.get_or_insert_default();
    logging.options.insert("splunk-token".into(), "hunter2".into());
    let service = stored(definition);
    let shown = format!("{:?}{:?}", service::service(&service), service::definition(&service));
    assert!(!shown.contains("hunter2"));
    assert_eq!(shown.matches(MASK).count(), 12);
}

#[test]
fn the_options_of_a_groups_networks_and_volumes_hide_their_secrets() {
    let ids = SeqIds::default();
    let mut shop = made::group(&ids, "shop");
    let secret = ("o".to_owned(), "addr=nas,username=me,password=hunter2".to_owned());
    let volume = clos_domain::workload::Volume { driver_opts: [secret].into(), ..Default::default() };
    shop.definition.volumes.insert("data".into(), volume);
    let token = ("token".to_owned(), "hunter2".to_owned());
    let network = clos_domain::workload::Network { driver_opts: [token].into(), ..Default::default() };
    shop.definition.networks.insert("net".into(), network);
    let shown = super::group::definition(&shop);
    assert!(!format!("{shown:?}").contains("hunter2"), "{shown:?}");
    let replace = pb::ReplaceGroupRequest { group: Some(shown), ..Default::default() };
    let read = decode::group::replace(&replace, &shop).unwrap();
    assert_eq!((read.volumes, read.networks), (shop.definition.volumes, shop.definition.networks));
}

#[test]
fn state_is_shown_beside_the_definition_and_a_manifest_has_none() {
    let mut one = stored(made::full_definition("web"));
    one.status = Status::Failed;
    one.status_reason = Some(Reason::CrashLooping);
    one.status_detail = "code 3".into();
    one.desired = Desired::Running;
    one.observed = Observed::Exited(3);
    one.container_id = Some("c0ffee".into());
    one.started_at = Some(Timestamp::new(5, 7).unwrap());
    one.generation = 4;
    let shown = service::service(&one);
    assert_eq!(shown.status(), pb::ServiceStatus::Failed);
    assert_eq!((shown.status_reason.as_str(), shown.status_detail.as_str()), ("CRASH_LOOPING", "code 3"));
    assert_eq!((shown.desired_state(), shown.exit_code), (pb::DesiredState::Running, Some(3)));
    assert_eq!(shown.started_at, Some(prost_types::Timestamp { seconds: 5, nanos: 7 }));
    assert_eq!((shown.etag.as_str(), shown.group.as_str()), ("4", "shop"));
    assert_eq!(shown.docker_config.unwrap().container_id, "c0ffee");
    assert_eq!(shown.health_check.unwrap().status, None, "nobody asks what does not run");
    assert_eq!(shown.health_url, "http://:8080/healthz");

    one.observed = Observed::Running(Verdict::Unhealthy);
    assert_eq!(service::service(&one).health_check.unwrap().status(), pb::HealthStatus::Unhealthy);
    let manifest = service::definition(&one);
    let stateless = pb::Service {
        docker_config: manifest.docker_config.clone(),
        health_check: manifest.health_check.clone(),
        ..manifest.clone()
    };
    assert_eq!(manifest, stateless);
    assert_eq!(
        (manifest.id.as_str(), manifest.status(), manifest.created_at),
        ("", pb::ServiceStatus::Unspecified, None)
    );
    assert_eq!(manifest.docker_config.unwrap().container_id, "");

    one.definition.probe = None;
    assert!(service::service(&one).health_check.unwrap().docker, "the engine's check is followed");
    one.definition.health = Some(Check::new(Test::Disabled));
    assert_eq!(service::service(&one).health_check, None);
}

fn binding(container_port: u16, host_port: u16) -> Binding {
    Binding { container_port, host_port, host_ip: "127.0.0.1".into(), protocol: Protocol::Tcp }
}

#[test]
fn a_port_is_shown_at_the_wish_that_it_is_for() {
    let mut one = stored(made::full_definition("web"));
    let wish =
        |host_port| Wish { host_port, host_port_end: None, host_ip: None, ..one.definition.ports[0].clone() };
    one.definition.ports = vec![wish(None), wish(Some(9_000)), wish(None)];
    one.ports = vec![binding(8080, 9_000), binding(8080, 5_001)];
    let shown: Vec<Option<i32>> = service::service(&one).ports.iter().map(|port| port.host_port).collect();
    assert_eq!(shown, [Some(5_001), Some(9_000), None]);
    let wishes: Vec<Option<i32>> =
        service::definition(&one).ports.iter().map(|port| port.host_port).collect();
    assert_eq!(wishes, [None, Some(9_000), None]);
}

fn operation_with(steps: &[(&str, Action, State)]) -> clos_domain::operation::Operation {
    let ids = SeqIds::default();
    let shop = made::group(&ids, "shop");
    let (web, db) = (made::service(&ids, &shop, "web"), made::service(&ids, &shop, "db"));
    let mut operation = made::operation(&ids, &shop, Verb::Up, Timestamp::UNIX_EPOCH);
    for (index, (service, action, state)) in steps.iter().enumerate() {
        let service = match *service {
            "web" => Some(&web),
            "db" => Some(&db),
            _ => None,
        };
        let number = u32::try_from(index).unwrap() + 1;
        let mut step = made::step(number, service, *action);
        step.state = *state;
        if matches!(state, State::Failed | State::Cancelled) {
            (step.reason, step.message) = (Some(Reason::Exited), format!("step {number}"));
        }
        step.started_at = Some(Timestamp::new(i64::from(number), 0).unwrap());
        step.ended_at = state.is_terminal().then(|| Timestamp::new(i64::from(number) + 10, 0).unwrap());
        operation.steps.push(step);
    }
    operation
}

#[test]
fn steps_are_summed_up_for_each_service() {
    use State::{Cancelled, Completed, Failed, InProgress, Pending};

    let table: [(&[State], pb::OperationStatus); 9] = [
        (&[Completed, Completed], pb::OperationStatus::Completed),
        (&[Pending, Pending], pb::OperationStatus::Pending),
        (&[Completed, Pending], pb::OperationStatus::InProgress),
        (&[InProgress, Pending], pb::OperationStatus::InProgress),
        (&[Completed, Failed], pb::OperationStatus::Failed),
        (&[Failed, Pending], pb::OperationStatus::Failed),
        (&[Completed, Cancelled], pb::OperationStatus::Cancelled),
        (&[Cancelled, Cancelled], pb::OperationStatus::Cancelled),
        (&[Cancelled, Pending], pb::OperationStatus::Cancelled),
    ];
    for (states, wanted) in table {
        let steps: Vec<(&str, Action, State)> =
            states.iter().map(|state| ("web", Action::Start, *state)).collect();
        let shown = operation::operation(&operation_with(&steps), 0);
        assert_eq!(shown.service_operations[0].status(), wanted, "{states:?}");
    }
}

#[test]
fn an_operation_counts_its_services_and_shows_its_steps() {
    let mut operation = operation_with(&[
        ("", Action::Network, State::Completed),
        ("web", Action::Create, State::Completed),
        ("db", Action::Create, State::Completed),
        ("web", Action::Start, State::Failed),
        ("db", Action::Start, State::Completed),
    ]);
    operation.policy = FailurePolicy::Undo;
    operation.leftovers = vec!["shop-web-1".into()];
    operation.reason = Some(Reason::UndoStuck);
    let shown = operation::operation(&operation, 17);
    assert_eq!((shown.total_services, shown.completed_services, shown.failed_services), (2, 1, 1));
    assert_eq!((shown.r#type(), shown.policy()), (pb::OperationType::Up, pb::FailurePolicy::Undo));
    assert_eq!((shown.reason.as_str(), shown.first_seq, shown.progress), ("UNDO_STUCK", 17, 1.0));
    assert_eq!(shown.leftovers, ["shop-web-1"]);
    let web = &shown.service_operations[0];
    assert_eq!(
        (web.service.as_str(), web.reason.as_str(), web.message.as_str()),
        ("shop/web", "EXITED", "step 4")
    );
    let seconds = |at: &Option<prost_types::Timestamp>| at.map(|at| at.seconds);
    assert_eq!((seconds(&web.started_at), seconds(&web.ended_at)), (Some(2), Some(14)));
    assert_eq!(shown.steps.len(), 5);
    assert_eq!((shown.steps[0].service.as_str(), shown.steps[0].action()), ("", pb::StepAction::Network));
    assert_eq!((shown.steps[3].status(), shown.steps[3].number), (pb::OperationStatus::Failed, 4));
    let summary = operation::summary(&operation, 17);
    assert_eq!((summary.steps.len(), summary.service_operations.len()), (0, 2));

    let open = operation_with(&[
        ("web", Action::Stop, State::Completed),
        ("web", Action::Remove, State::InProgress),
    ]);
    let open = operation::operation(&open, 0);
    assert_eq!(open.service_operations[0].ended_at, None, "it goes on");
}

#[test]
fn every_word_of_operations_has_its_own_on_the_wire() {
    let statuses: std::collections::BTreeSet<i32> =
        State::ALL.into_iter().map(|state| operation::state(state).into()).collect();
    assert_eq!(statuses.len(), State::ALL.len());
    for action in Action::ALL {
        let wire = operation::action(action).as_str_name().to_lowercase();
        assert_eq!(wire, format!("step_action_{}", action.as_str()));
    }
    for verb in Verb::ALL {
        let operation = clos_domain::operation::Operation { verb, ..operation_with(&[]) };
        let wire = operation::operation(&operation, 0).r#type().as_str_name().to_lowercase();
        assert_eq!(wire, format!("operation_type_{}", verb.as_str()));
    }
    for status in Status::ALL {
        let wire = service::status(status).as_str_name().to_lowercase();
        assert_eq!(wire, format!("service_status_{}", status.as_str()));
    }
    for severity in Severity::ALL {
        let wire = event::severity(severity);
        assert_eq!(wire.as_str_name().to_lowercase(), format!("severity_{}", severity.as_str()));
        assert_eq!(decode::event::severity(wire), Some(severity));
    }
}

#[test]
fn a_plan_shows_its_steps_its_ports_and_its_text() {
    let ids = SeqIds::default();
    let shop = made::group(&ids, "shop~x");
    let web = made::service(&ids, &shop, "web");
    let work = Work::Create(Box::new(clos_domain::spec::resolve("me", &shop, &web, &[], &[])));
    let step = PlanStep {
        number: 3,
        service: Some((web.id.clone(), web.resource())),
        work,
        needs: vec![1],
        after: vec![2],
        why: "is not there".into(),
        swap: None,
        only_if: None,
    };
    let assignment = Assignment {
        service: web.id.clone(),
        owner: web.resource(),
        port: Published {
            container_port: 80,
            host_port: 5_000,
            host_ip: None,
            addresses: vec!["127.0.0.1".into(), "::1".into()],
            protocol: Protocol::Tcp,
        },
        why: "the first free port",
        movable: true,
        taken_from: Vec::new(),
    };
    let planned = Plan {
        verb: Verb::Up,
        subject: "shop~x".into(),
        failure: FailurePolicy::Leave,
        steps: vec![step],
        ports: vec![assignment],
        notes: vec!["a note".into()],
        changes: [(web.id, vec![Change { field: "environment.A".into(), from: None, to: Some("1".into()) }])]
            .into(),
        problems: vec![Problem::new(Reason::ImageNotFound, "none:1", "nobody has `none:1`", "build it")],
    };
    let finding = Finding {
        severity: FindingSeverity::Error,
        file: "compose.yaml".into(),
        line: 3,
        column: 5,
        key: "services.web".into(),
        message: "bad".into(),
    };
    let shown = plan::plan(&shop.name, &planned, &[finding]);
    assert_eq!((shown.group_name.as_str(), shown.instance.as_str()), ("shop", "x"));
    assert_eq!(
        (shown.steps[0].service.as_str(), shown.steps[0].subject.as_str()),
        ("shop~x/web", "shop__x-web-1")
    );
    assert_eq!(
        (shown.steps[0].needs.as_slice(), shown.steps[0].after.as_slice()),
        ([1].as_slice(), [2].as_slice())
    );
    assert_eq!((shown.ports[0].host_port, shown.ports[0].why.as_str()), (5_000, "the first free port"));
    assert_eq!((shown.findings[0].severity(), shown.findings[0].line), (pb::Severity::Error, 3));
    let change = &shown.steps[0].changes[0];
    assert_eq!(
        (change.field.as_str(), &change.from, change.to.as_deref()),
        ("environment.A", &None, Some("1"))
    );
    let problem = &shown.problems[0];
    assert_eq!((problem.reason.as_str(), problem.hint.as_str()), ("IMAGE_NOT_FOUND", "build it"));
    assert_eq!((shown.text, shown.notes), (planned.render(), planned.notes));
}

fn view(names: &[(&str, &[&str])]) -> GroupView {
    let ids = SeqIds::default();
    let shop = made::group(&ids, "shop~x");
    let services = names.iter().map(|(name, needs)| {
        let mut one = made::service(&ids, &shop, name);
        let need = |need: &&str| Dependency {
            service: ServiceName::trusted(*need),
            condition: Condition::Healthy,
            required: true,
            restart: false,
        };
        one.definition.depends_on = needs.iter().map(need).collect();
        one
    });
    let services = services.collect();
    let open = Some(OperationId::from_unique(&ids.unique()));
    GroupView { group: shop, services, status: groups::Status::Starting, health_score: 0.5, open }
}

#[test]
fn a_group_shows_what_follows_from_its_services() {
    let mut view = view(&[("api", &["db"]), ("db", &[]), ("old", &[]), ("web", &["api"])]);
    for (service, status) in
        view.services.iter_mut().zip([Status::Running, Status::Stopped, Status::Running, Status::Failed])
    {
        service.status = status;
    }
    view.services[1].status_reason = Some(Reason::Completed);
    view.services[2].definition.enabled = false;
    let shown = group::group(&view);
    assert_eq!(shown.services, ["db", "old", "api", "web"], "an order in which they could start");
    assert_eq!((shown.total_services, shown.running_services), (4, 2));
    assert_eq!((shown.name.as_str(), shown.instance.as_str()), ("shop", "x"));
    assert_eq!((shown.status(), shown.health_score), (pb::GroupStatus::Starting, 0.5));
    assert_eq!(shown.network_name, "shop__x_default");
    assert_eq!(shown.operation_id, view.open.as_ref().unwrap().to_string());
    assert_eq!(shown.etag, clos_control::etag::group(&view.group));
    let manifest = group::manifest(&view);
    assert_eq!(manifest.services.len(), 4);
    let bare = manifest.group.unwrap();
    assert_eq!((bare.id.as_str(), bare.status(), bare.services.len()), ("", pb::GroupStatus::Unspecified, 0));
    view.services[1].definition.depends_on = view.services[0].definition.depends_on.clone();
    assert_eq!(group::group(&view).services.len(), 4, "a circle is shown as it is");
}

#[test]
fn a_graph_shows_nodes_edges_and_waves() {
    let view = view(&[("api", &["db"]), ("db", &[])]);
    let (api, db) = (view.services[0].clone(), view.services[1].clone());
    let graph = GraphView {
        group: view.group.name,
        edges: vec![(api.resource(), db.resource(), Condition::Completed, false)],
        waves: vec![vec![db.resource()], vec![api.resource()]],
        nodes: vec![(api, 1), (db, 0)],
    };
    let shown = group::graph(&graph);
    assert_eq!((shown.nodes[0].resource_name.as_str(), shown.nodes[0].wave), ("shop~x/api", 1));
    assert_eq!(
        (shown.edges[0].condition(), shown.edges[0].required),
        (pb::DependencyCondition::Completed, false)
    );
    assert_eq!(shown.waves[0].services, ["shop~x/db"]);
}

fn health_event(seq: i64, old: &str, new: &str) -> Event {
    let mut data = Data { old_health: Some(old.into()), new_health: Some(new.into()), ..Data::default() };
    data.message = Some(format!("change {seq}"));
    Event {
        seq,
        kind: "service.health_changed".into(),
        severity: Severity::Warning,
        service: None,
        group: Some(made::group(&SeqIds::default(), "shop~x").name),
        operation: None,
        data,
        at: Timestamp::new(seq, 0).unwrap(),
    }
}

#[test]
fn health_shows_the_newest_change_first() {
    let service = stored(made::full_definition("web"));
    let history = vec![health_event(1, "none", "starting"), health_event(2, "starting", "healthy")];
    let health = Health { service, verdict: Verdict::Healthy, last: None, history };
    let shown = health::health(&health);
    assert_eq!((shown.status(), shown.last_check), (pb::HealthStatus::Healthy, None));
    assert_eq!(shown.history[0].message, "change 2");
    assert_eq!(shown.history[1].old_status, None, "nobody asked before");
    assert_eq!(shown.history[1].new_status(), pb::HealthStatus::Starting);
}

#[test]
fn an_event_shows_every_fact_that_it_has() {
    let mut one = health_event(9, "starting", "unhealthy");
    one.data.step = Some(4);
    one.data.port = Some(8080);
    one.data.state = Some("failed".into());
    one.data.oldest_seq = Some(2);
    let shown = event::event(&one);
    assert_eq!(
        (shown.r#type.as_str(), shown.seq, shown.severity()),
        ("service.health_changed", 9, pb::Severity::Warning)
    );
    assert_eq!(
        (shown.group_name.as_str(), shown.instance.as_str(), shown.service_id.as_str()),
        ("shop", "x", "")
    );
    let data = shown.data.unwrap();
    assert_eq!(
        (data.step, data.port, data.status.as_deref(), data.oldest_seq),
        (Some(4), Some(8080), Some("failed"), Some(2))
    );
    assert_eq!(data.exit_code, None);
}

#[test]
fn figures_are_megabytes_and_shares() {
    let mut one = stored(made::full_definition("web"));
    one.started_at = Some(Timestamp::new(100, 0).unwrap());
    one.definition.limits.memory = Some(512);
    let stats = Stats {
        at: Some(Timestamp::new(160, 0).unwrap()),
        cpu_percent: 12.5,
        memory: 3_000_000,
        memory_limit: 12_000_000,
        pids: 4,
        network_rx: u64::MAX,
        ..Stats::default()
    };
    let shown = stats::metrics(&one, &stats);
    assert_eq!((shown.memory_usage, shown.memory_percent, shown.uptime), (3.0, 25.0, 60));
    assert_eq!((shown.network_rx, shown.memory_limit, shown.pids), (i64::MAX, 512, 4));
    let unknown = stats::metrics(&one, &Stats::default());
    assert_eq!((unknown.memory_percent, unknown.uptime, unknown.timestamp), (0.0, 0, None));
}

#[test]
fn a_line_says_whose_it_is() {
    let mut one = stored(made::full_definition("web"));
    one.container_id = Some("c0ffee".into());
    let line = LogLine { at: None, stderr: true, text: "boom".into(), raw: Some(vec![0xff]), partial: true };
    let line = clos_control::logs::Line {
        service: one.into(),
        container_id: "c0ffee".into(),
        line,
        level: Some(Severity::Error),
        note: None,
    };
    let shown = logs::line(&line);
    assert_eq!((shown.raw.as_deref(), shown.note.as_str()), (Some([0xff].as_slice()), ""));
    assert_eq!(
        (shown.source(), shown.level(), shown.partial),
        (pb::LogStream::Stderr, pb::Severity::Error, true)
    );
    assert_eq!(
        (shown.service.as_str(), shown.group_name.as_str(), shown.container_id.as_str()),
        ("shop/web", "shop", "c0ffee")
    );
    let silent = clos_control::logs::Line { level: None, ..line };
    assert_eq!(logs::line(&silent).level(), pb::Severity::Unspecified);
}

#[test]
fn the_last_page_has_no_token() {
    use clos_domain::page::{Key, Page, Request};

    let listing = decode::page::Listing::of("ListServices", &pb::ListServicesRequest::default());
    let request = Request::at(2, 0);
    let keys = |row: &i64| vec![Key::Number(*row)];
    let (first, total) = page::page(&Page::of(vec![1, 2, 3], &request, 3, keys), &request, listing);
    assert!(first.has_more && total == 3);
    let mut v = decode::Violations::default();
    let next = decode::page::page(&mut v, listing, Some(2), 0, &first.next_page_token).unwrap();
    let (last, _) = page::page(&Page::of(vec![3], &next, 3, keys), &next, listing);
    assert_eq!((last.has_more, last.next_page_token.as_str(), last.offset), (false, "", 2));
}

#[test]
fn what_the_wire_cannot_hold_is_shown_as_the_most_that_it_can() {
    assert_eq!(
        duration(Duration::from_millis(1_500)),
        prost_types::Duration { seconds: 1, nanos: 500_000_000 }
    );
    assert_eq!(duration(Duration::MAX).seconds, 315_576_000_000);
    assert_eq!((count(u64::MAX), small(usize::MAX), number(u32::MAX)), (i64::MAX, i32::MAX, i32::MAX));
    let before_the_epoch = timestamp(Timestamp::new(-1, -500_000_000).unwrap());
    assert!((0..1_000_000_000).contains(&before_the_epoch.nanos), "{before_the_epoch:?}");
}
