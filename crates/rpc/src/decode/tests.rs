//! Every bad field is named, what is shown reads back, and masks change only what they name.

use std::collections::BTreeMap;

use clos_domain::copied::CopiedFile;
use clos_domain::event::Severity;
use clos_domain::health::{Check, Test, Verdict};
use clos_domain::port::{Binding, Protocol, Wish};
use clos_domain::seams::store::{ServiceKey, ServiceOrder};
use clos_domain::secret::Hidden;
use clos_domain::service::{Definition, Observed, Service, Status};
use clos_domain::workload::{ConfigHash, PullPolicy};
use clos_domain::{Error, Reason};
use clos_proto::v2 as pb;
use clos_testkit::ids::SeqIds;
use clos_testkit::store_suite as made;

use super::*;
use crate::encode::{self, MASK};

fn length(seconds: i64, nanos: i32) -> Option<prost_types::Duration> {
    Some(prost_types::Duration { seconds, nanos })
}

fn good() -> pb::Service {
    pb::Service {
        name: "web".into(),
        group: "shop".into(),
        docker_config: Some(pb::DockerConfig { image: "app:1".into(), ..pb::DockerConfig::default() }),
        ..pb::Service::default()
    }
}

fn create(service: pb::Service) -> Result<Definition> {
    let request = pb::CreateServiceRequest { service: Some(service), request_id: String::new() };
    service::create(&request).map(|create| create.definition)
}

fn docker(change: impl FnOnce(&mut pb::DockerConfig)) -> pb::Service {
    let mut service = good();
    change(service.docker_config.get_or_insert_default());
    service
}

fn check(change: impl FnOnce(&mut pb::HealthCheck)) -> pb::Service {
    let mut check = pb::HealthCheck { url: Some("http://:8080/".into()), ..pb::HealthCheck::default() };
    change(&mut check);
    pb::Service { health_check: Some(check), ..good() }
}

fn engine_check(change: impl FnOnce(&mut pb::EngineHealthCheck)) -> pb::Service {
    let mut check = pb::EngineHealthCheck { test: vec!["true".into()], ..pb::EngineHealthCheck::default() };
    change(&mut check);
    docker(|docker| docker.healthcheck = Some(check))
}

fn port(change: impl FnOnce(&mut pb::ServicePort)) -> pb::Service {
    let mut port = pb::ServicePort { container_port: 80, ..pb::ServicePort::default() };
    change(&mut port);
    pb::Service { ports: vec![port], ..good() }
}

fn resources(resources: pb::Resources) -> pb::Service {
    pb::Service { resources: Some(resources), ..good() }
}

fn volume(change: impl FnOnce(&mut pb::VolumeMount)) -> pb::Service {
    let mut volume = pb::VolumeMount { target: "/data".into(), ..pb::VolumeMount::default() };
    change(&mut volume);
    docker(|docker| docker.volumes = vec![volume])
}

fn build(change: impl FnOnce(&mut pb::Build)) -> pb::Service {
    let mut build = pb::Build { context: "/src".into(), ..pb::Build::default() };
    change(&mut build);
    docker(|docker| docker.build = Some(build))
}

fn needs(services: &[&str]) -> pb::Service {
    let need = |service: &&str| pb::Dependency { service: (*service).into(), ..pb::Dependency::default() };
    pb::Service { depends_on: services.iter().map(need).collect(), ..good() }
}

fn variable(name: &str, value: &str) -> pb::Service {
    pb::Service { environment: BTreeMap::from([(name.into(), value.into())]), ..good() }
}

/// Every way in which a service can be wrong by itself, and the words for it.
fn bad_services() -> Vec<(pb::Service, &'static str)> {
    let resource = pb::Resources::default;
    vec![
        (pb::Service { name: String::new(), ..good() }, "name: `` is not a service name"),
        (pb::Service { name: "a/b".into(), ..good() }, "name: `a/b` is not a service name"),
        (pb::Service { group: "Shop".into(), ..good() }, "group: `Shop` is not a group name"),
        (pb::Service { instance: "X".into(), ..good() }, "instance: `X` is not an instance name"),
        (pb::Service { port: Some(80), ..good() }, "port: 80 is not between 1024 and 65535"),
        (pb::Service { port: Some(65_536), ..good() }, "port: 65536 is not between 1024 and 65535"),
        (
            pb::Service { port: Some(8080), ..port(|port| port.host_port = Some(80)) },
            "port: 8080 stands beside ports; give one of them",
        ),
        (port(|port| port.container_port = 0), "ports[0].container_port: 0 is not between 1 and 65535"),
        (port(|port| port.host_port = Some(-1)), "ports[0].host_port: -1 is not between 1 and 65535"),
        (
            port(|port| (port.host_port, port.host_port_end) = (Some(90), Some(80))),
            "ports[0].host_port_end: 80 is below host_port, 90",
        ),
        (
            port(|port| port.host_port_end = Some(80)),
            "ports[0].host_port_end: 80 ends a range without a host_port that begins it",
        ),
        (
            port(|port| port.host_ip = "localhost".into()),
            "ports[0].host_ip: `localhost` is not an IP address; leave it out for the local addresses",
        ),
        (port(|port| port.protocol = 9), "ports[0].protocol: 9 is not one of its words"),
        (
            {
                let mut twice = port(|port| port.host_port = Some(80));
                twice.ports.push(pb::ServicePort { container_port: 81, ..twice.ports[0].clone() });
                twice
            },
            "ports[1].host_port: 80/tcp is published twice; once is enough",
        ),
        (
            check(|check| check.tcp = Some(80)),
            "health_check: exactly one of url, tcp, command and docker must be given; there are 2",
        ),
        (
            check(|check| check.url = None),
            "health_check: exactly one of url, tcp, command and docker must be given; there are 0",
        ),
        (
            check(|check| check.url = Some("https://:8080/".into())),
            "health_check.url: `https://:8080/` is not an http address; write it as `http://:8080/healthz`",
        ),
        (
            check(|check| check.url = Some("http://:99999/".into())),
            "health_check.url: `http://:99999/` is not an http address; write it as `http://:8080/healthz`",
        ),
        (
            check(|check| check.url = Some("http://me:secret@db/".into())),
            "health_check.url: a health URL must not carry credentials; leave them out",
        ),
        (
            check(|check| (check.url, check.tcp) = (None, Some(0))),
            "health_check.tcp: 0 is not between 1 and 65535",
        ),
        (
            check(|check| (check.url, check.command) = (None, vec![String::new()])),
            "health_check.command[0]: the program must not be empty",
        ),
        (
            check(|check| (check.url, check.docker, check.retries) = (None, true, Some(2))),
            "health_check: with docker the pace is that of docker_config.healthcheck; set it there",
        ),
        (
            check(|check| check.expected_status = vec![99]),
            "health_check.expected_status[0]: 99 is not between 100 and 599",
        ),
        (
            check(|check| (check.url, check.tcp, check.expected_status) = (None, Some(80), vec![200])),
            "health_check.expected_status: it is for url only; leave it out",
        ),
        (
            check(|check| check.interval = length(0, 0)),
            "health_check.interval: 0 s is not between 0.001 s and 86400 s",
        ),
        (
            check(|check| check.timeout = length(-1, 0)),
            "health_check.timeout: -1 s and 0 ns is not between 0.001 s and 86400 s",
        ),
        (
            check(|check| check.start_period = length(100_000, 0)),
            "health_check.start_period: 100000 s is not between 0 s and 86400 s",
        ),
        (check(|check| check.retries = Some(0)), "health_check.retries: 0 is not between 1 and 1000000"),
        (
            pb::Service { health_url: "http://:1/".into(), ..check(|_| {}) },
            "health_url: `http://:1/` stands beside health_check; give one of them",
        ),
        (
            pb::Service { health_url: "up?".into(), ..good() },
            "health_url: `up?` is not an http address; write it as `http://:8080/healthz`",
        ),
        (variable("A=B", ""), "environment[A=B]: a variable's name must not be empty and has neither"),
        (variable("", "x"), "environment[]: a variable's name must not be empty"),
        (variable("A", "\0"), "environment[A]: its value has a zero byte, which no process can be given"),
        (
            variable("A_TOKEN", "********"),
            "environment[A_TOKEN]: `********` stands for a value that is kept, and there is none; send the value",
        ),
        (pb::Service { tags: vec!["t".into(); 11], ..good() }, "tags: there are 11; at most 10 are allowed"),
        (
            pb::Service { tags: vec!["a,b".into()], ..good() },
            "tags[0]: `a,b` must be 1-100 characters without commas",
        ),
        (
            pb::Service { profiles: vec![" ".into()], ..good() },
            "profiles[0]: ` ` must be 1-100 characters without commas",
        ),
        (needs(&["a b"]), "depends_on[0].service: `a b` is not a service name"),
        (needs(&["web"]), "depends_on[0].service: `web` cannot depend on itself; leave it out"),
        (needs(&["db", "db"]), "depends_on[1].service: `db` is named twice; once is enough"),
        (
            {
                let mut bad = needs(&["db"]);
                bad.depends_on[0].condition = -4;
                bad
            },
            "depends_on[0].condition: -4 is not one of its words",
        ),
        (
            resources(pb::Resources { cpu_limit: Some(0.0), ..resource() }),
            "resources.cpu_limit: 0 is not between 0.001 and 4096; leave it out for no limit",
        ),
        (
            resources(pb::Resources { cpu_limit: Some(f64::NAN), ..resource() }),
            "resources.cpu_limit: NaN is not between 0.001 and 4096; leave it out for no limit",
        ),
        (
            resources(pb::Resources { memory_limit: Some(0), ..resource() }),
            "resources.memory_limit: 0 must be more than 0; leave it out for no limit",
        ),
        (
            resources(pb::Resources { memory_reservation: Some(-1), ..resource() }),
            "resources.memory_reservation: -1 must be more than 0; leave it out for no limit",
        ),
        (
            resources(pb::Resources { memory_swap: Some(-2), ..resource() }),
            "resources.memory_swap: -2 must be more than 0, or -1 for no limit",
        ),
        (
            resources(pb::Resources { pids_limit: Some(0), ..resource() }),
            "resources.pids_limit: 0 must be more than 0, or -1 for no limit",
        ),
        (
            resources(pb::Resources { cpuset: "all".into(), ..resource() }),
            "resources.cpuset: `all` is not a set of cores like `0-2,5`",
        ),
        (
            resources(pb::Resources { cpu_shares: Some(1), ..resource() }),
            "resources.cpu_shares: 1 is not between 2 and 262144",
        ),
        (
            pb::Service { stop_grace_period: length(3_601, 0), ..good() },
            "stop_grace_period: 3601 s is not between 0 s and 3600 s",
        ),
        (
            pb::Service { stop_signal: "SIG TERM".into(), ..good() },
            "stop_signal: `SIG TERM` is not a signal like SIGTERM",
        ),
        (
            pb::Service { owner: "x".repeat(1_001), ..good() },
            "owner: it has 1001 characters; at most 1000 are allowed",
        ),
        (
            pb::Service { description: "a\u{7}".into(), ..good() },
            "description: `a\\u{7}` has control characters; leave them out",
        ),
        (
            docker(|docker| docker.image = "app 1".into()),
            "docker_config.image: `app 1` is not an image reference like `postgres:17`",
        ),
        (
            docker(|docker| docker.container_name = "/web".into()),
            "docker_config.container_name: `/web` is not a container name",
        ),
        (
            docker(|docker| docker.pull_policy = 4),
            "docker_config.pull_policy: build needs docker_config.build; say how the image is built",
        ),
        (docker(|docker| docker.pull_policy = 5), "docker_config.pull_policy: 5 is not one of its words"),
        (
            docker(|docker| docker.restart_policy = "on-failure:often".into()),
            "docker_config.restart_policy: `on-failure:often` is not one of no, always, unless-stopped",
        ),
        (
            docker(|docker| docker.oom_score_adj = Some(1_001)),
            "docker_config.oom_score_adj: 1001 is not between -1000 and 1000",
        ),
        (docker(|docker| docker.shm_size = Some(0)), "docker_config.shm_size: 0 must be more than 0"),
        (
            docker(|docker| {
                docker.network_mode = "host".into();
                docker.networks = vec![pb::NetworkAttachment { name: "back".into(), ..Default::default() }];
            }),
            "docker_config.network_mode: `host` stands beside networks; give one of them",
        ),
        (
            docker(|docker| docker.networks = vec![pb::NetworkAttachment::default()]),
            "docker_config.networks[0].name: it is missing; give the network's name in the file",
        ),
        (
            docker(|docker| {
                let (name, ipv4_address) = ("back".into(), "10.0.0".into());
                docker.networks = vec![pb::NetworkAttachment { name, ipv4_address, ..Default::default() }];
            }),
            "docker_config.networks[0].ipv4_address: `10.0.0` is not an IP address",
        ),
        (
            docker(|docker| {
                docker.ulimits = BTreeMap::from([("nofile".into(), pb::Ulimit { soft: 2, hard: 1 })]);
            }),
            "docker_config.ulimits[nofile]: soft 2 and hard 1 must be -1 for no limit",
        ),
        (
            build(|build| build.context = "src".into()),
            "docker_config.build.context: `src` must be an absolute",
        ),
        (
            build(|build| {
                (build.dockerfile, build.dockerfile_inline) = ("Dockerfile".into(), "FROM scratch".into());
            }),
            "docker_config.build.dockerfile_inline: it stands beside dockerfile; give one of them",
        ),
        (
            build(|build| {
                let masked = pb::VariableValue { value: Some("********".into()) };
                build.args = BTreeMap::from([("NPM_TOKEN".into(), masked)]);
            }),
            "docker_config.build.args[NPM_TOKEN]: `********` stands for a value that is kept",
        ),
        (
            build(|build| build.shm_size = Some(-1)),
            "docker_config.build.shm_size: -1 must be more than 0; leave it out for no limit",
        ),
        (volume(|volume| volume.r#type = 7), "docker_config.volumes[0].type: 7 is not one of its words"),
        (
            volume(|volume| volume.target = "data".into()),
            "docker_config.volumes[0].target: `data` must be an absolute path in the container",
        ),
        (
            volume(|volume| (volume.r#type, volume.source) = (pb::MountType::Bind.into(), "src".into())),
            "docker_config.volumes[0].source: `src` must be an absolute path of the host",
        ),
        (
            volume(|volume| volume.source = "/src".into()),
            "docker_config.volumes[0].source: `/src` is a path; give the volume's name, or the type bind",
        ),
        (
            volume(|volume| (volume.r#type, volume.source) = (pb::MountType::Tmpfs.into(), "x".into())),
            "docker_config.volumes[0].source: `x`: memory has no source; leave it out",
        ),
        (
            volume(|volume| volume.selinux = "y".into()),
            "docker_config.volumes[0].selinux: `y` is neither `z` nor `Z`",
        ),
        (volume(|volume| volume.size = Some(0)), "docker_config.volumes[0].size: 0 must be more than 0"),
        (
            volume(|volume| volume.mode = Some(-1)),
            "docker_config.volumes[0].mode: -1 is not between 0 and 4095",
        ),
        (
            engine_check(|check| check.test = vec![]),
            "docker_config.healthcheck.test: it is missing; give the argument vector, or disable",
        ),
        (
            engine_check(|check| check.test = vec![String::new()]),
            "docker_config.healthcheck.test[0]: the program must not be empty",
        ),
        (
            engine_check(|check| check.disable = true),
            "docker_config.healthcheck.disable: a check that is off has no test; give one of them",
        ),
        (
            engine_check(|check| check.start_interval = length(0, -1)),
            "docker_config.healthcheck.start_interval: 0 s and -1 ns is not between 0.001 s and 86400 s",
        ),
    ]
}

#[test]
fn every_bad_field_of_a_service_is_named_with_its_value_and_the_way_out() {
    assert!(create(good()).is_ok());
    for (service, wanted) in bad_services() {
        let error = create(service.clone()).expect_err(wanted);
        assert_eq!(error.reason(), Reason::InvalidField, "{wanted}");
        assert_eq!(error.violations().len(), 1, "{error}: {wanted}");
        assert!(error.message().starts_with(wanted), "{error}\nis not\n{wanted}");
    }
}

#[test]
fn several_bad_fields_are_named_at_once() {
    let service = pb::Service {
        name: "a b".into(),
        group: String::new(),
        instance: "~".into(),
        port: Some(1),
        tags: vec![String::new()],
        stop_signal: "?".into(),
        ..check(|check| check.retries = Some(-1))
    };
    let fields: Vec<String> =
        create(service).unwrap_err().violations().iter().map(|one| one.field.clone()).collect();
    assert_eq!(
        fields,
        ["group", "instance", "name", "port", "health_check.retries", "tags[0]", "stop_signal"]
    );
    let nothing = service::create(&pb::CreateServiceRequest::default()).unwrap_err();
    assert_eq!(nothing.violations().len(), 2, "{nothing}");
    let id = pb::CreateServiceRequest { service: Some(good()), request_id: "a b".into() };
    assert!(service::create(&id).unwrap_err().message().starts_with("request_id: `a b` must be at most 128"));
}

#[test]
fn the_short_forms_say_the_same_as_the_long_ones() {
    let short =
        create(pb::Service { port: Some(8080), health_url: "http://:8080/".into(), ..good() }).unwrap();
    let wish = Wish {
        container_port: 8080,
        host_port: Some(8080),
        host_port_end: None,
        host_ip: None,
        protocol: Protocol::Tcp,
    };
    assert_eq!(short.ports, [wish]);
    let test = Test::Http { url: "http://:8080/".into(), expected: vec![] };
    assert_eq!(short.probe, Some(Check::new(test)));
    let agreed = pb::Service { port: Some(80), ..port(|port| port.host_port = Some(80)) };
    assert_eq!(create(agreed).unwrap().ports.len(), 1);
}

fn stored(definition: Definition) -> Service {
    let ids = SeqIds::default();
    let mut service = made::service(&ids, &made::group(&ids, "shop"), definition.name.as_str());
    service.definition = definition;
    service
}

fn web() -> Service {
    stored(create(pb::Service { port: Some(8080), ..good() }).unwrap())
}

fn put(before: &Service, service: pb::Service) -> Result<Definition> {
    let request =
        pb::ReplaceServiceRequest { service: Some(service), ..pb::ReplaceServiceRequest::default() };
    service::replace(&request, before)
}

fn patch_without_a_mask(before: &Service, service: pb::Service) -> Result<Definition> {
    let request = pb::UpdateServiceRequest { service: Some(service), ..pb::UpdateServiceRequest::default() };
    service::update(&request, before)
}

fn patch(before: &Service, service: pb::Service, paths: &[&str]) -> Result<Definition> {
    let paths = paths.iter().map(|path| (*path).to_owned()).collect();
    let request = pb::UpdateServiceRequest {
        service: Some(service),
        update_mask: Some(prost_types::FieldMask { paths }),
        ..pb::UpdateServiceRequest::default()
    };
    service::update(&request, before)
}

#[test]
fn a_service_that_is_sent_back_as_it_was_shown_does_not_change() {
    let mut full = stored(made::full_definition("web"));
    full.definition.environment.insert("DB_PASSWORD".into(), "hunter2".into());
    full.observed = Observed::Running(Verdict::Healthy);
    full.container_id = Some("c0ffee".into());
    full.ports = vec![
        Binding { container_port: 8080, host_port: 83, host_ip: "0.0.0.0".into(), protocol: Protocol::Tcp },
        Binding {
            container_port: 53,
            host_port: 5_000,
            host_ip: "127.0.0.1".into(),
            protocol: Protocol::Udp,
        },
    ];
    let shown = encode::service::service(&full);
    assert_eq!(shown.environment["DB_PASSWORD"], encode::MASK);
    assert_eq!(shown.port, Some(83), "the port that it has");
    assert_eq!(put(&full, shown.clone()).unwrap(), full.definition);
    assert_eq!(patch_without_a_mask(&full, shown.clone()).unwrap(), full.definition);
    assert_eq!(patch(&full, pb::Service::default(), &[]).unwrap(), full.definition);
    let order: Vec<String> = put(&full, shown).unwrap().environment.into_keys().collect();
    assert_eq!(order, full.definition.environment.keys().cloned().collect::<Vec<_>>());
}

#[test]
fn a_masked_word_of_a_command_keeps_the_word_that_there_is() {
    let mut before = web();
    let words = |words: &[&str]| -> Vec<String> { words.iter().map(|word| (*word).to_owned()).collect() };
    let old = words(&["serve", "--password", "hunter2", "--token=abc", "--port", "80"]);
    before.definition.container_mut().command = Some(old.clone());
    let logging = before.definition.logging.get_or_insert_default();
    logging.options.insert("splunk-token".into(), "abc".into());
    let mut shown = encode::service::service(&before);
    let config = shown.docker_config.as_mut().unwrap();
    assert_eq!(config.command, words(&["serve", "--password", MASK, "--token=********", "--port", "80"]));
    config.command[5] = "81".into();
    config.command.insert(0, "exec".into());
    let read = put(&before, shown.clone()).unwrap();
    let mut wanted = old;
    wanted[5] = "81".into();
    wanted.insert(0, "exec".into());
    assert_eq!(read.container().command.as_deref(), Some(wanted.as_slice()));
    assert_eq!(read.logging.unwrap().options["splunk-token"], "abc");

    shown.docker_config.as_mut().unwrap().command[4] = "--key=********".into();
    let refused = put(&before, shown).unwrap_err();
    assert_eq!(refused.violations()[0].field, "docker_config.command[4]");
}

#[test]
fn a_masked_value_keeps_what_there_is() {
    let mut before = web();
    before.definition.environment =
        [("B_SECRET".to_owned(), "old".to_owned()), ("A".to_owned(), "1".to_owned())].into();
    let environment = BTreeMap::from([
        ("A".to_owned(), "2".to_owned()),
        ("B_SECRET".to_owned(), encode::MASK.to_owned()),
        ("AA".to_owned(), "new".to_owned()),
    ]);
    let changed = put(&before, pb::Service { environment, ..good() }).unwrap();
    let pairs: Vec<(&str, &str)> =
        changed.environment.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    assert_eq!(pairs, [("B_SECRET", "old"), ("A", "2"), ("AA", "new")]);
    let environment = BTreeMap::from([("C_SECRET".to_owned(), encode::MASK.to_owned())]);
    let refused = put(&before, pb::Service { environment, ..good() }).unwrap_err();
    assert_eq!(refused.violations()[0].field, "environment[C_SECRET]");
}

#[test]
fn a_file_that_is_copied_into_the_container_is_not_shown_and_stays() {
    let mut before = web();
    let key = CopiedFile {
        target: "/run/secrets/key".into(),
        content: Hidden::new("hunter2"),
        digest: "d1".into(),
        mode: 0o444,
        ..CopiedFile::default()
    };
    before.definition.container_mut().files = vec![key.clone()];
    before.definition.config_hash = Some(ConfigHash::Known("c1".into()));
    let shown = encode::service::service(&before);
    assert!(!format!("{shown:?}").contains("hunter2"));
    assert_eq!(put(&before, shown).unwrap(), before.definition);
    assert_eq!(patch(&before, good(), &["*"]).unwrap().container().files, std::slice::from_ref(&key));
    let image = docker(|docker| docker.image = "app:2".into());
    let changed = put(&before, image).unwrap();
    assert_eq!((changed.container().image.as_str(), &changed.container().files), ("app:2", &vec![key]));

    let read_only = docker(|docker| docker.read_only = true);
    let memory = docker(|docker| drop(docker.tmpfs.insert("/run".into(), String::new())));
    for (service, field, words) in [
        (read_only, "docker_config.read_only", "the service is `read_only`"),
        (
            memory,
            "docker_config.tmpfs",
            "copied to `/run/secrets/key` before the container starts, but the tmpfs at `/run`",
        ),
    ] {
        let refused = put(&before, service).unwrap_err();
        let violation = &refused.violations()[0];
        assert_eq!(violation.field, field);
        assert!(violation.description.contains(words), "{violation:?}");
    }
}

#[test]
fn a_mask_changes_only_what_it_names() {
    let before = stored(made::full_definition("web"));
    let changes = pb::Service { description: "new".into(), start_order: 9, ..good() };
    let wanted = Definition { description: "new".into(), ..before.definition.clone() };
    assert_eq!(patch(&before, changes.clone(), &["description"]).unwrap(), wanted);

    let one_variable = pb::Service { environment: BTreeMap::from([("B".into(), "2".into())]), ..good() };
    let changed = patch(&before, one_variable, &["environment.B"]).unwrap();
    assert_eq!(changed.environment["B"], "2");
    assert_eq!(changed.environment.len(), before.definition.environment.len());

    let mut simple = web();
    simple.definition.container_mut().pull = PullPolicy::Always;
    let image = docker(|docker| docker.image = "app:2".into());
    let changed = patch(&simple, image, &["docker_config.image"]).unwrap();
    assert_eq!((changed.container().image.as_str(), changed.container().pull), ("app:2", PullPolicy::Always));
    assert_eq!(changed.ports, simple.definition.ports);

    let all = patch(&before, changes, &["*"]).unwrap();
    assert_eq!((all.start_order, all.tags.len()), (9, 0));
}

#[test]
fn of_two_forms_of_one_thing_the_one_that_the_mask_names_holds() {
    let before = web();
    let moved = patch(&before, pb::Service { port: Some(9090), ..good() }, &["port"]).unwrap();
    assert_eq!(moved.ports[0].host_port, Some(9090));
    assert_eq!(moved.ports.len(), 1);
    let closed = patch(&before, good(), &["port"]).unwrap();
    assert_eq!(closed.ports, []);
    let chosen = patch(&before, port(|_| {}), &["ports"]).unwrap();
    assert_eq!((chosen.ports[0].container_port, chosen.ports[0].host_port), (80, None));

    let mut checked = web();
    checked.definition = patch(&checked, check(|check| check.retries = Some(9)), &["health_check"]).unwrap();
    let url = pb::Service { health_url: "http://:1/".into(), ..good() };
    let probe = patch(&checked, url, &["health_url"]).unwrap().probe.unwrap();
    assert_eq!((probe.test, probe.retries), (Test::Http { url: "http://:1/".into(), expected: vec![] }, 9));
    assert_eq!(patch(&checked, good(), &["health_url"]).unwrap().probe, None);
    assert_eq!(patch(&checked, good(), &["health_check"]).unwrap().probe, None);
}

#[test]
fn a_port_that_clos_chose_stays_its_choice() {
    let mut before = web();
    before.definition.ports = create(port(|_| {})).unwrap().ports;
    before.ports = vec![Binding {
        container_port: 80,
        host_port: 5_001,
        host_ip: "127.0.0.1".into(),
        protocol: Protocol::Tcp,
    }];
    let shown = encode::service::service(&before);
    assert_eq!((shown.port, shown.ports[0].host_port), (Some(5_001), Some(5_001)));
    assert_eq!(put(&before, shown.clone()).unwrap().ports[0].host_port, None);
    let mut fixed = shown.clone();
    fixed.ports[0].host_port = Some(5_002);
    assert_eq!(put(&before, fixed).unwrap().ports[0].host_port, Some(5_002));
    let short = put(&before, pb::Service { port: Some(6_000), ..shown }).unwrap();
    assert_eq!((short.ports[0].container_port, short.ports[0].host_port), (6_000, Some(6_000)));
}

#[test]
fn a_service_cannot_move_or_be_renamed() {
    let before = web();
    let table = [
        (pb::Service { name: "api".into(), ..good() }, "name: `shop/web` cannot become `api`"),
        (pb::Service { group: "blog".into(), ..good() }, "group: `shop/web` cannot become `blog`"),
        (pb::Service { instance: "x".into(), ..good() }, "instance: `shop/web` cannot become `x`"),
    ];
    for (service, wanted) in table {
        let error = put(&before, service).unwrap_err();
        assert!(error.message().starts_with(wanted), "{error}");
    }
    let unnamed = pb::Service { name: String::new(), group: String::new(), ..good() };
    assert!(put(&before, unnamed).is_ok(), "what is not said is not changed");
    let unknown = patch(&before, good(), &["colour"]).unwrap_err();
    assert!(unknown.message().starts_with("update_mask: `colour`: there is no field `colour`"), "{unknown}");
}

#[test]
fn a_change_without_a_definition_takes_nothing_away() {
    let update = pb::UpdateServiceRequest { request_id: " ".into(), ..Default::default() };
    refused(service::update(&update, &web()), &["request_id", "service"]);
    let replace = pb::ReplaceServiceRequest { request_id: " ".into(), ..Default::default() };
    refused(service::replace(&replace, &web()), &["request_id", "service"]);
    let before = made::group(&SeqIds::default(), "shop");
    refused(group::update(&pb::UpdateGroupRequest::default(), &before), &["group"]);
    refused(group::replace(&pb::ReplaceGroupRequest::default(), &before), &["group"]);
}

#[test]
fn a_listing_of_services_reads_every_filter() {
    let request = pb::ListServicesRequest {
        group: "shop~*".into(),
        status: vec![pb::ServiceStatus::Failed.into(), pb::ServiceStatus::Unhealthy.into()],
        tags: vec!["a,b".into(), " c ".into()],
        health: pb::HealthStatus::Starting.into(),
        q: "web".into(),
        order_by: "status, created_at desc,name asc".into(),
        limit: Some(7),
        offset: 3,
        ..pb::ListServicesRequest::default()
    };
    let list = service::list(&request).unwrap();
    assert!(matches!(list.group, Some(GroupWish::Named(GroupFilter::AllInstances(_)))));
    assert_eq!(list.filter.status, [Status::Failed, Status::Unhealthy]);
    assert_eq!(list.filter.tags, ["a", "b", "c"]);
    assert_eq!((list.filter.health, list.filter.text.as_deref()), (Some(Verdict::Starting), Some("web")));
    let key = |by, descending| ServiceOrder { by, descending };
    let wanted =
        [key(ServiceKey::Status, false), key(ServiceKey::CreatedAt, true), key(ServiceKey::Name, false)];
    assert_eq!(list.filter.order, wanted);
    assert_eq!((list.page.limit, list.page.offset()), (7, 3));
    let by_id =
        pb::ListServicesRequest { group: "grp_abcdefghijklmnopqrstuvwx23".into(), ..Default::default() };
    assert!(matches!(service::list(&by_id).unwrap().group, Some(GroupWish::Id(_))));
}

#[track_caller]
fn refused<T: std::fmt::Debug>(read: Result<T, Error>, fields: &[&str]) {
    let error = read.unwrap_err();
    let named: Vec<&str> = error.violations().iter().map(|one| one.field.as_str()).collect();
    assert_eq!(named, fields, "{error}");
}

#[test]
fn a_bad_listing_names_every_field() {
    let bad = pb::ListServicesRequest {
        group: "Shop".into(),
        status: vec![1, 44],
        tags: vec!["a,b,c,d,e,f,g,h,i,j,k".into()],
        health: 17,
        q: "x".repeat(2_000),
        order_by: "colour desc".into(),
        limit: Some(1_000),
        ..Default::default()
    };
    refused(service::list(&bad), &["group", "limit", "status[1]", "tags", "health", "q", "order_by"]);
    for order_by in ["name down", "name desc please", "desc"] {
        refused(
            service::list(&pb::ListServicesRequest { order_by: order_by.into(), ..Default::default() }),
            &["order_by"],
        );
    }
    let bad = pb::ListGroupsRequest {
        name: "~".into(),
        limit: Some(0),
        status: vec![9],
        page_token: "?".into(),
        ..Default::default()
    };
    refused(group::list(&bad), &["name", "limit", "page_token", "status[0]"]);
    let bad = pb::ListOperationsRequest {
        status: vec![12],
        group_name: "a b".into(),
        r#type: 99,
        offset: -1,
        ..Default::default()
    };
    refused(operation::list(&bad), &["status[0]", "group_name", "type", "offset"]);
    let bad = pb::ListEventsRequest {
        event_type: vec!["service.*,nothing".into()],
        service_id: String::new(),
        group_name: "?".into(),
        severity: 77,
        page_token: "nothing".into(),
        operation_id: "op".into(),
        since: Some(prost_types::Timestamp { seconds: i64::MAX, nanos: 0 }),
        until: Some(prost_types::Timestamp { seconds: 0, nanos: -1_999_999_999 }),
        after: Some(-1),
        limit: Some(1_001),
    };
    let fields = [
        "event_type[1]",
        "group_name",
        "severity",
        "operation_id",
        "since",
        "until",
        "after",
        "page_token",
        "limit",
    ];
    refused(event::list(&bad), &fields);
    let bad = pb::WatchEventsRequest { after: Some(-1), severity: 8, ..Default::default() };
    refused(event::watch(&bad), &["severity", "after"]);
    refused(
        operation::watch(&pb::WatchOperationRequest { after: Some(-5), ..Default::default() }),
        &["after"],
    );
    let wait = pb::WaitOperationRequest { timeout: length(-1, 0), ..Default::default() };
    refused(operation::wait(&wait), &["timeout"]);
}

#[test]
fn listings_of_operations_and_events_read_every_filter() {
    use clos_domain::operation::{State, Verb};

    let request = pb::ListOperationsRequest {
        status: vec![1, 2, 3, 4, 5, 0],
        service_id: "shop/web".into(),
        group_name: "shop".into(),
        r#type: pb::OperationType::Down.into(),
        ..Default::default()
    };
    let list = operation::list(&request).unwrap();
    assert_eq!((list.filter.state.as_slice(), list.filter.verb), (State::ALL.as_slice(), Some(Verb::Down)));
    assert_eq!(list.service.as_deref(), Some("shop/web"));

    let request = pb::ListEventsRequest {
        event_type: vec!["service.*".into(), "group.created, port.allocated".into()],
        severity: pb::Severity::Error.into(),
        operation_id: "op_abcdefghijklmnopqrstuvwx23".into(),
        since: Some(prost_types::Timestamp { seconds: 1, nanos: 0 }),
        until: Some(prost_types::Timestamp { seconds: 2, nanos: 0 }),
        after: Some(4),
        ..Default::default()
    };
    let list = event::list(&request).unwrap();
    let filter = &list.wish.filter;
    assert_eq!((filter.types.len(), filter.at_least), (3, Some(Severity::Error)));
    assert!(filter.operation.is_some() && filter.since < filter.until);
    assert_eq!((list.after, list.limit), (4, 100));
    let backwards =
        pb::ListEventsRequest { since: request.until, until: request.since, ..Default::default() };
    refused(event::list(&backwards), &["until"]);

    assert_eq!(event::watch(&Default::default()).unwrap().1, None, "from now on");
    assert_eq!(
        operation::watch(&pb::WatchOperationRequest { after: Some(0), ..Default::default() }).unwrap(),
        None
    );
    assert_eq!(operation::wait(&Default::default()).unwrap(), None);
}

#[test]
fn lines_of_a_log_have_bounds() {
    let all = logs::service(&pb::GetServiceLogsRequest::default()).unwrap();
    assert_eq!((all.query.tail, all.query.stdout, all.query.stderr), (Some(100), true, true));
    let some = pb::GetServiceLogsRequest {
        lines: Some(10_000),
        stream: pb::LogStream::Stderr.into(),
        level: pb::Severity::Warning.into(),
        grep: "boom".into(),
        follow: true,
        ..Default::default()
    };
    let some = logs::service(&some).unwrap();
    assert_eq!((some.query.tail, some.query.stdout, some.query.follow), (Some(10_000), false, true));
    assert_eq!((some.at_least, some.contains.as_deref()), (Some(Severity::Warning), Some("boom")));
    for (lines, tail) in [(-1, None), (0, Some(0))] {
        let request = pb::GetServiceLogsRequest { lines: Some(lines), ..Default::default() };
        assert_eq!(logs::service(&request).unwrap().query.tail, tail);
    }
    let stdout = pb::GetServiceLogsRequest { stream: pb::LogStream::Stdout.into(), ..Default::default() };
    assert!(!logs::service(&stdout).unwrap().query.stderr);
    let bad = pb::GetServiceLogsRequest {
        lines: Some(10_001),
        until: Some(prost_types::Timestamp { seconds: 1, nanos: 0 }),
        follow: true,
        grep: "\0".into(),
        level: 70,
        stream: 71,
        ..Default::default()
    };
    refused(logs::service(&bad), &["lines", "until", "grep", "level", "stream"]);
}

#[test]
fn a_batch_and_a_grace_period_have_bounds() {
    let good = pb::BatchServicesRequest {
        action: pb::BatchAction::Stop.into(),
        ids: vec!["shop/web".into()],
        timeout: Some(0),
        request_id: String::new(),
    };
    let batch = service::batch(&good).unwrap();
    assert_eq!((batch.ids.len(), batch.grace), (1, Some(Duration::ZERO)));
    refused(service::batch(&pb::BatchServicesRequest::default()), &["action", "ids"]);
    refused(
        service::batch(&pb::BatchServicesRequest { action: 9, timeout: Some(-1), ..good.clone() }),
        &["action", "timeout"],
    );
    let starting = pb::BatchServicesRequest { action: pb::BatchAction::Start.into(), ..good.clone() };
    refused(service::batch(&starting), &["timeout"]);
    let many = pb::BatchServicesRequest { ids: vec!["shop/web".into(); 101], ..good };
    refused(service::batch(&many), &["ids"]);

    assert_eq!(service::grace(Some(30), "").unwrap(), Some(Duration::from_secs(30)));
    refused(service::grace(Some(3_601), "\u{e9}"), &["request_id", "timeout"]);
    let recreate = pb::RecreateServiceRequest { timeout: Some(-1), pull: 8, ..Default::default() };
    refused(service::recreate(&recreate), &["timeout", "pull"]);
    let recreate = pb::RecreateServiceRequest { pull: pb::PullPolicy::Never.into(), ..Default::default() };
    assert_eq!(service::recreate(&recreate).unwrap(), (Some(PullPolicy::Never), None));
}

fn source() -> pb::ComposeSource {
    let file = pb::SourceFile { path: "compose.yaml".into(), content: "services: {}".into() };
    pb::ComposeSource { working_dir: "/src".into(), files: vec![file], ..pb::ComposeSource::default() }
}

#[test]
fn what_is_applied_reads_every_flag() {
    let request = pb::ApplyGroupRequest {
        name: "shop~x".into(),
        source: Some(pb::ComposeSource {
            dotenv: Some("A=1".into()),
            home: "/home/ann".into(),
            variables: BTreeMap::from([("B".into(), pb::VariableValue { value: None })]),
            ..source()
        }),
        start: Some(false),
        pull: pb::PullPolicy::Build.into(),
        adopt: true,
        r#move: true,
        ..Default::default()
    };
    let read = apply::apply(request).unwrap();
    assert_eq!((read.group.as_deref(), read.instance.as_deref()), (Some("shop"), Some("x")));
    assert_eq!((read.start, read.build, read.pull), (false, true, None));
    assert!(read.adopt && read.move_here);
    assert_eq!(read.source.variables, BTreeMap::from([("B".to_owned(), None)]));
    assert_eq!(read.source.env_files, [(".env".to_owned(), "A=1".to_owned())]);
    assert_eq!(read.source.home.as_deref(), Some("/home/ann"));
    let unnamed = pb::ApplyGroupRequest { name: "-".into(), source: Some(source()), ..Default::default() };
    let read = apply::apply(unnamed).unwrap();
    assert_eq!((read.group, read.instance, read.start, read.pull), (None, None, true, None));
    let import =
        pb::ImportServicesRequest { group: "shop".into(), source: Some(source()), ..Default::default() };
    assert!(!apply::import(import).unwrap().start);
}

#[test]
fn every_bad_field_of_what_is_applied_is_named() {
    refused(apply::apply(pb::ApplyGroupRequest::default()), &["source"]);
    let many_files = vec![pb::SourceFile { path: "a".into(), content: "x".repeat(1 << 15) }; 65];
    let bad = pb::ApplyGroupRequest {
        name: "Shop~x".into(),
        instance: "y".into(),
        source: Some(pb::ComposeSource {
            working_dir: "src".into(),
            files: many_files,
            variables: BTreeMap::from([("A=".into(), pb::VariableValue::default())]),
            dotenv: Some(String::new()),
            home: "home".into(),
            env_files: vec![pb::SourceFile::default()],
        }),
        services: vec!["a b".into()],
        start: Some(false),
        atomic: true,
        pull: 12,
        request_id: " ".into(),
        ..Default::default()
    };
    let fields = [
        "request_id",
        "instance",
        "name",
        "source.working_dir",
        "source.files",
        "source.dotenv",
        "source.home",
        "source.env_files[0].path",
        "source.files",
        "source.variables[A=]",
        "services[0]",
        "atomic",
        "pull",
    ];
    refused(apply::apply(bad), &fields);
    let alone = pb::ApplyGroupRequest {
        with_dependencies: Some(false),
        source: Some(source()),
        ..Default::default()
    };
    refused(apply::apply(alone), &["with_dependencies"]);
    let nameless = pb::ComposeSource { files: vec![pb::SourceFile::default()], ..source() };
    let import =
        pb::ImportServicesRequest { instance: "Y".into(), source: Some(nameless), ..Default::default() };
    refused(apply::import(import), &["instance", "source.files[0].path"]);
    let mut many = source();
    many.variables = (0..=10_000).map(|number| (number.to_string(), pb::VariableValue::default())).collect();
    refused(
        apply::import(pb::ImportServicesRequest { source: Some(many), ..Default::default() }),
        &["source.variables"],
    );
}

fn full_group() -> pb::Group {
    pb::Group {
        name: "shop".into(),
        description: "sells".into(),
        dependencies: vec!["infra".into(), "infra~x".into(), "other/db".into()],
        start_order: -2,
        working_dir: "/src".into(),
        auto_restart: true,
        profiles: vec!["dev".into()],
        project: "apis".into(),
        networks: vec![pb::GroupNetwork {
            key: "back".into(),
            name: "fixed".into(),
            external: true,
            driver: "bridge".into(),
            driver_opts: BTreeMap::from([("a".into(), "b".into())]),
            internal: true,
            attachable: true,
            enable_ipv6: Some(false),
            labels: BTreeMap::from([("l".into(), "1".into())]),
            subnets: vec![pb::Subnet {
                subnet: "10.0.0.0/24".into(),
                ip_range: "10.0.0.0/25".into(),
                gateway: "10.0.0.1".into(),
                aux_addresses: BTreeMap::from([("host".into(), "10.0.0.9".into())]),
            }],
        }],
        volumes: vec![pb::GroupVolume {
            key: "data".into(),
            name: "fixed".into(),
            external: true,
            driver: "local".into(),
            driver_opts: BTreeMap::from([("type".into(), "tmpfs".into())]),
            labels: BTreeMap::from([("l".into(), "2".into())]),
        }],
        ..pb::Group::default()
    }
}

#[test]
fn a_group_reads_back_as_it_is_shown() {
    let request = pb::CreateGroupRequest { group: Some(full_group()), request_id: String::new() };
    let (name, definition) = group::create(&request).unwrap();
    let mut stored = made::group(&SeqIds::default(), "shop");
    stored.definition = definition;
    assert_eq!(name, stored.name);
    assert_eq!(encode::group::definition(&stored), full_group());

    stored.definition.compose_files = vec!["compose.yaml".into()];
    let update = |group, paths: Option<&[&str]>| {
        let update_mask = paths
            .map(|paths| prost_types::FieldMask { paths: paths.iter().map(ToString::to_string).collect() });
        group::update(
            &pb::UpdateGroupRequest { group: Some(group), update_mask, ..Default::default() },
            &stored,
        )
    };
    let replace = |group| {
        group::replace(&pb::ReplaceGroupRequest { group: Some(group), ..Default::default() }, &stored)
    };
    for read in [update(full_group(), None), update(full_group(), Some(&["*"])), replace(full_group())] {
        assert_eq!(read.unwrap(), stored.definition, "its files are not the caller's to change");
    }
    let bare = replace(pb::Group::default()).unwrap();
    assert_eq!((bare.description.as_str(), bare.networks.len(), bare.start_order), ("", 0, 0));
    assert_eq!(bare.compose_files, stored.definition.compose_files);
    let described = pb::Group { description: "new".into(), start_order: 5, ..Default::default() };
    let changed = update(described, Some(&["description"])).unwrap();
    assert_eq!((changed.description.as_str(), changed.start_order), ("new", -2));
    assert_eq!(changed.networks, stored.definition.networks);
    refused(
        update(pb::Group { name: "blog".into(), instance: "x".into(), ..Default::default() }, None),
        &["name", "instance"],
    );
    refused(update(full_group(), Some(&["networks.back"])), &["update_mask"]);
}

#[test]
fn every_bad_field_of_a_group_is_named() {
    let network = |key: &str| pb::GroupNetwork { key: key.into(), ..Default::default() };
    let volume = |key: &str| pb::GroupVolume { key: key.into(), ..Default::default() };
    let bad = pb::Group {
        name: "shop".into(),
        instance: "X".into(),
        working_dir: "src".into(),
        networks: vec![network("a"), network("a"), network("")],
        volumes: vec![volume("a/b"), volume("c"), volume("c")],
        description: "\u{1b}[0m".into(),
        project: "p".repeat(101),
        dependencies: vec!["Infra".into(), "a/".into(), "db".into(), "db".into()],
        ..Default::default()
    };
    let request = pb::CreateGroupRequest { group: Some(bad), request_id: "x".repeat(129) };
    let fields = [
        "request_id",
        "instance",
        "working_dir",
        "networks[1].key",
        "networks[2].key",
        "volumes[0].key",
        "volumes[2].key",
        "description",
        "project",
        "dependencies[0]",
        "dependencies[1]",
        "dependencies[3]",
    ];
    refused(group::create(&request), &fields);
    let itself = pb::Group { name: "shop".into(), dependencies: vec!["shop".into()], ..Default::default() };
    let request = pb::CreateGroupRequest { group: Some(itself), request_id: String::new() };
    refused(group::create(&request), &["dependencies[0]"]);
}
