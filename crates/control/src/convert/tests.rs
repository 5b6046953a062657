//! Tables: a piece of a compose file, and the facts of the definition that differ from a service which says
//! nothing but `image: i`.

use std::collections::BTreeMap;

use clos_compose::{self as compose, File, Input, Outcome, SourceError};
use clos_domain::error::{Kind, Severity};
use clos_domain::name::GroupRef;
use clos_domain::{Error, Reason};
use serde_json::Value;

use super::{Converted, compose_errors, convert};

fn input(text: &str) -> Input {
    Input {
        working_dir: "/home/dev/shop".to_owned(),
        files: vec![File { path: "compose.yaml".to_owned(), text: text.to_owned() }],
        ..Input::default()
    }
}

fn load(input: &Input) -> compose::Project {
    match compose::load(input) {
        Outcome::Ready(project) => *project,
        other => panic!("{}: {other:?}", input.files[0].text),
    }
}

fn converted(text: &str) -> Result<Converted, Error> {
    convert(&load(&input(text)), &GroupRef::parse("group", "shop").unwrap())
}

/// A file with one service `a` of these lines, an idle service `b`, and what else belongs to the top level.
fn file(body: &str, top: &str) -> String {
    let lines: Vec<String> = body.lines().map(|line| format!("    {line}\n")).collect();
    let image = if body.contains("image: ") { "" } else { "    image: i\n" };
    format!("services:\n  a:\n{image}{}  b:\n    image: i\n{top}", lines.concat())
}

fn good(body: &str, top: &str) -> Converted {
    let text = file(body, top);
    converted(&text).unwrap_or_else(|error| panic!("{text}{error}"))
}

fn bad(body: &str, top: &str) -> Error {
    let text = file(body, top);
    converted(&text).expect_err(&text)
}

fn flatten(path: &str, value: &Value, facts: &mut BTreeMap<String, String>) {
    let children: Vec<(String, &Value)> = match value {
        Value::Object(map) if !map.is_empty() => {
            map.iter().map(|(name, value)| (name.clone(), value)).collect()
        }
        Value::Array(items) if !items.is_empty() => {
            items.iter().enumerate().map(|(index, value)| (index.to_string(), value)).collect()
        }
        Value::String(text) => return drop(facts.insert(path.to_owned(), text.clone())),
        other => return drop(facts.insert(path.to_owned(), other.to_string())),
    };
    for (name, value) in children {
        let path = if path.is_empty() { name } else { format!("{path}.{name}") };
        flatten(&path, value, facts);
    }
}

fn all_facts(converted: &Converted, index: usize) -> BTreeMap<String, String> {
    let mut facts = BTreeMap::new();
    flatten("", &serde_json::to_value(&converted.services[index]).unwrap(), &mut facts);
    let bare = |(path, value): (String, String)| {
        let path = path.strip_prefix("run.container.").unwrap_or(&path).to_owned();
        (path, value)
    };
    facts.into_iter().map(bare).collect()
}

/// What the service `a` says beyond `image: i`.
fn facts(converted: &Converted) -> Vec<String> {
    let plain = all_facts(&good("", ""), 0);
    let said = all_facts(converted, 0).into_iter().filter(|(path, value)| plain.get(path) != Some(value));
    let worth_saying = said.filter(|(path, value)| {
        let says_nothing = matches!(value.as_str(), "null" | "[]" | "{}" | "false");
        let whole_seconds = path.ends_with(".nanos") && value == "0";
        let has_its_own_test = path.starts_with("config_hash");
        !whole_seconds && !has_its_own_test && (!says_nothing || plain.contains_key(path))
    });
    worth_saying.map(|(path, value)| format!("{path}={value}")).collect()
}

#[test]
fn composes_hash_is_known_unless_it_takes_the_container_of_another() {
    use clos_domain::workload::{ConfigHash, ConfigPiece};
    let plain = converted("name: p\nservices: {a: {image: i}}").unwrap();
    // What `docker compose config --hash a` prints.
    let hash = "b5503d15e9dfd8640ebae91969f22360eac34b863c420e1f1dfaa304737b96ce";
    assert_eq!(plain.services[0].config_hash, Some(ConfigHash::Known(hash.to_owned())));

    let joined = converted("name: p\nservices: {a: {image: i, pid: 'service:b'}, b: {image: i}}").unwrap();
    let Some(ConfigHash::Of(pieces)) = &joined.services[0].config_hash else { panic!("{joined:?}") };
    assert!(pieces.contains(&ConfigPiece::IdOf("b".to_owned())), "{pieces:?}");
}

fn check(table: &[(&str, &[&str])]) {
    for (body, expected) in table {
        assert_eq!(facts(&good(body, "")), *expected, "{body}");
    }
}

#[test]
fn what_runs_and_how_it_ends() {
    check(&[
        ("image: postgres:17", &["image=postgres:17"]),
        ("command: serve --port 80", &["command.0=serve", "command.1=--port", "command.2=80"]),
        ("command: []", &["command=[]"]),
        ("entrypoint: [run]", &["entrypoint.0=run"]),
        ("environment: {A: '1', B: two}", &["environment.A=1", "environment.B=two"]),
        ("labels: {team: x}", &["labels.team=x"]),
        ("container_name: db1", &["container_name=db1"]),
        ("working_dir: /app\nuser: '1:2'", &["user=1:2", "working_dir=/app"]),
        ("hostname: h\ndomainname: d", &["domainname=d", "hostname=h"]),
        ("group_add: [video, 7]", &["group_add.0=video", "group_add.1=7"]),
        ("stop_signal: INT\nstop_grace_period: 5s", &["stop.grace.secs=5", "stop.signal=INT"]),
        ("restart: always", &["restart=always"]),
        ("restart: unless-stopped", &["restart=unless_stopped"]),
        ("restart: on-failure", &["restart.on_failure.max_retries=0"]),
        ("restart: on-failure:4", &["restart.on_failure.max_retries=4"]),
        (
            "deploy: {restart_policy: {condition: on-failure, max_attempts: 2}}",
            &["restart.on_failure.max_retries=2"],
        ),
        ("deploy: {restart_policy: {condition: any}}", &["restart=always"]),
        ("restart: 'no'\ndeploy: {restart_policy: {condition: any}}", &[]),
        ("pull_policy: always", &["pull=always"]),
        ("pull_policy: never", &["pull=never"]),
        ("pull_policy: if_not_present", &[]),
        ("platform: linux/arm64", &["platform=linux/arm64"]),
        (
            "logging: {driver: local, options: {max-size: 1m}}",
            &["logging.driver=local", "logging.options.max-size=1m"],
        ),
        ("attach: false", &[]),
    ]);
}

#[test]
fn a_variable_that_nobody_sets_reaches_no_container() {
    let text = file("environment: {A: '1', B: }", "");
    let mut input = input(&text);
    input.variables.insert("B".to_owned(), None);
    let converted = convert(&load(&input), &GroupRef::parse("group", "shop").unwrap()).unwrap();
    assert_eq!(facts(&converted), ["environment.A=1"]);
}

#[test]
fn rights_limits_and_kernel() {
    check(&[
        ("init: true\ntty: true\nstdin_open: true", &["init=true", "stdin_open=true", "tty=true"]),
        ("read_only: true\nprivileged: true", &["privileged=true", "read_only=true"]),
        ("cap_add: [NET_ADMIN]\ncap_drop: [ALL]", &["cap_add.0=NET_ADMIN", "cap_drop.0=ALL"]),
        ("security_opt: ['no-new-privileges:true']", &["security_opt.0=no-new-privileges:true"]),
        ("sysctls: {net.core.somaxconn: 64}", &["sysctls.net.core.somaxconn=64"]),
        (
            "ulimits: {nofile: {soft: 1, hard: 2}, nproc: 3}",
            &["ulimits.nofile.0=1", "ulimits.nofile.1=2", "ulimits.nproc.0=3", "ulimits.nproc.1=3"],
        ),
        ("pid: host\nipc: shareable\nuts: host", &["ipc=shareable", "pid=host", "uts=host"]),
        ("userns_mode: host\ncgroup: private", &["cgroup=private", "userns_mode=host"]),
        ("cgroup_parent: p\nruntime: runsc", &["cgroup_parent=p", "runtime=runsc"]),
        ("oom_score_adj: -5", &["oom_score_adj=-5"]),
        ("shm_size: 1k", &["shm_size=1024"]),
        ("mem_limit: 1m\nmem_reservation: 1k", &["limits.memory=1048576", "limits.memory_reservation=1024"]),
        ("mem_limit: 0", &[]),
        ("mem_limit: 1m\nmemswap_limit: -1", &["limits.memory=1048576", "limits.memory_swap=-1"]),
        (
            "cpus: 0.5\ncpuset: 0-1\ncpu_shares: 7",
            &["limits.cpu_millis=500", "limits.cpu_shares=7", "limits.cpuset=0-1"],
        ),
        ("cpus: 0.0001", &["limits.cpu_millis=1"]),
        ("cpu_quota: 50000", &["limits.cpu_millis=500"]),
        ("cpu_quota: 50000\ncpu_period: 25000", &["limits.cpu_millis=2000"]),
        ("pids_limit: 9", &["limits.pids=9"]),
        ("pids_limit: -1", &[]),
        (
            "deploy: {resources: {limits: {cpus: '2', memory: 1k, pids: 3}, reservations: {memory: 1k}}}",
            &[
                "limits.cpu_millis=2000",
                "limits.memory=1024",
                "limits.memory_reservation=1024",
                "limits.pids=3",
            ],
        ),
        (
            "devices: [/dev/a, '/dev/b:/dev/c:r']",
            &["devices.0=/dev/a:/dev/a:rwm", "devices.1=/dev/b:/dev/c:r"],
        ),
    ]);
}

#[test]
fn ports_keep_their_wishes() {
    check(&[
        ("ports: ['5432']", &["ports.0.container_port=5432", "ports.0.protocol=tcp"]),
        (
            "ports: ['3000:80/udp']",
            &["ports.0.container_port=80", "ports.0.host_port=3000", "ports.0.protocol=udp"],
        ),
        (
            "ports: ['127.0.0.2:8000-8010:80']",
            &[
                "ports.0.container_port=80",
                "ports.0.host_ip=127.0.0.2",
                "ports.0.host_port=8000",
                "ports.0.host_port_end=8010",
                "ports.0.protocol=tcp",
            ],
        ),
        (
            "ports: [{target: 80, published: '81', mode: host, protocol: sctp}]",
            &["ports.0.container_port=80", "ports.0.host_port=81", "ports.0.protocol=sctp"],
        ),
        (
            "expose: [80, '81/udp', '90-91']",
            &["expose.0=80/tcp", "expose.1=81/udp", "expose.2=90/tcp", "expose.3=91/tcp"],
        ),
    ]);
}

#[test]
fn networks_and_names() {
    let top = "networks:\n  back: {}\n  front: {}\n";
    let body = "mac_address: 02:00:00:00:00:01\nnetworks:\n  back: {aliases: [x], ipv4_address: 10.0.0.2}\n  front: {priority: 9}";
    assert_eq!(
        facts(&good(body, top)),
        [
            "networks.0.mac_address=02:00:00:00:00:01",
            "networks.0.network=front",
            "networks.1.aliases.0=x",
            "networks.1.ipv4_address=10.0.0.2",
            "networks.1.network=back",
        ]
    );
    check(&[
        ("network_mode: host", &["network_mode=host"]),
        (
            "extra_hosts: ['x:10.0.0.1', 'gw:host-gateway']",
            &[
                "extra_hosts.0.0=x",
                "extra_hosts.0.1=10.0.0.1",
                "extra_hosts.1.0=gw",
                "extra_hosts.1.1=host-gateway",
            ],
        ),
        (
            "dns: 1.1.1.1\ndns_search: [x]\ndns_opt: [use-vc]",
            &["dns.0=1.1.1.1", "dns_opt.0=use-vc", "dns_search.0=x"],
        ),
    ]);
    assert!(good("network_mode: host", "").services[0].container().networks.is_empty());
}

#[test]
fn mounts_of_every_supported_kind() {
    let top = "volumes:\n  data: {}\n";
    assert_eq!(
        facts(&good("volumes: ['data:/data:ro,nocopy']", top)),
        [
            "mounts.0.kind=volume",
            "mounts.0.no_copy=true",
            "mounts.0.read_only=true",
            "mounts.0.source=data",
            "mounts.0.target=/data",
        ]
    );
    let part = "volumes: [{type: volume, source: data, target: /d, volume: {subpath: p}}]";
    assert!(facts(&good(part, top)).contains(&"mounts.0.subpath=p".to_owned()));
    check(&[
        (
            "volumes: ['./src:/app:z,rshared']",
            &[
                "mounts.0.create_host_path=true",
                "mounts.0.kind=bind",
                "mounts.0.propagation=rshared",
                "mounts.0.selinux=z",
                "mounts.0.source=/home/dev/shop/src",
                "mounts.0.target=/app",
            ],
        ),
        (
            "volumes: [{type: bind, source: /x, target: /y, bind: {create_host_path: false, recursive: enabled}}]",
            &["mounts.0.kind=bind", "mounts.0.source=/x", "mounts.0.target=/y"],
        ),
        ("volumes: [/anonymous]", &["mounts.0.kind=volume", "mounts.0.target=/anonymous"]),
        (
            "volumes: [{type: tmpfs, target: /t, tmpfs: {size: 1k, mode: 0700}}]",
            &["mounts.0.kind=tmpfs", "mounts.0.mode=448", "mounts.0.size=1024", "mounts.0.target=/t"],
        ),
        ("tmpfs: ['/run:size=1m', /tmp]", &["tmpfs./run=size=1m", "tmpfs./tmp="]),
        ("volumes_from: ['container:old:ro']", &["volumes_from.0=container:old:ro"]),
    ]);
}

#[test]
fn files_of_secrets_and_configs_are_mounted_to_read_only() {
    let top = "secrets:\n  key: {file: ./key.pem}\nconfigs:\n  conf: {file: /etc/x.conf}\n";
    let body =
        "secrets: [key, {source: key, target: other}]\nconfigs: [conf, {source: conf, target: etc/app.conf}]";
    let converted = good(body, top);
    let mounts = &converted.services[0].container().mounts;
    let shown: Vec<String> = mounts
        .iter()
        .map(|mount| format!("{} {} {}", mount.source.as_deref().unwrap(), mount.target, mount.read_only))
        .collect();
    assert_eq!(
        shown,
        [
            "/etc/x.conf /conf true",
            "/etc/x.conf /etc/app.conf true",
            "/home/dev/shop/key.pem /run/secrets/key true",
            "/home/dev/shop/key.pem /run/secrets/other true",
        ]
    );
    assert!(converted.findings.is_empty(), "{:?}", converted.findings);
}

#[test]
fn the_files_check_becomes_an_argument_vector() {
    let defaults = ["health.interval.secs=30", "health.retries=3", "health.start_period.secs=0"];
    let with = |more: &[&str]| {
        let mut all: Vec<String> = defaults.iter().chain(more).map(|fact| (*fact).to_owned()).collect();
        all.push("health.timeout.secs=30".to_owned());
        all.sort();
        all
    };
    let argv = ["health.test.command.argv.0=pg_isready", "health.test.command.argv.1=-q"];
    assert_eq!(facts(&good("healthcheck: {test: [CMD, pg_isready, -q]}", "")), with(&argv));
    let shell = ["/bin/sh", "-c", "curl -f x || exit 1"];
    let shell: Vec<String> =
        shell.iter().enumerate().map(|(i, word)| format!("health.test.command.argv.{i}={word}")).collect();
    let shell: Vec<&str> = shell.iter().map(String::as_str).collect();
    for test in ["curl -f x || exit 1", "[CMD-SHELL, 'curl -f x || exit 1']"] {
        assert_eq!(facts(&good(&format!("healthcheck: {{test: {test}}}"), "")), with(&shell));
    }
    let zeros = "healthcheck: {test: [CMD, pg_isready, -q], interval: 0s, timeout: 0s, retries: 0, start_interval: 0s}";
    assert_eq!(facts(&good(zeros, "")), with(&argv));
    check(&[
        (
            "healthcheck: {disable: true}",
            &[
                "health.interval.secs=30",
                "health.retries=3",
                "health.start_period.secs=0",
                "health.test=disabled",
                "health.timeout.secs=30",
            ],
        ),
        (
            "healthcheck: {test: [CMD, x], interval: 1s, timeout: 2s, retries: 4, start_period: 5s, start_interval: 1s}",
            &[
                "health.interval.secs=1",
                "health.retries=4",
                "health.start_interval.secs=1",
                "health.start_period.secs=5",
                "health.test.command.argv.0=x",
                "health.timeout.secs=2",
            ],
        ),
    ]);
    assert!(good("healthcheck: {test: [NONE]}", "").services[0].gate_check().is_none());
}

#[test]
fn our_own_check_is_a_probe() {
    for (check, expected) in [
        (
            "{url: 'http://:80/h', expected_status: 204}",
            vec!["probe.test.http.expected.0=204", "probe.test.http.url=http://:80/h"],
        ),
        ("{tcp: 5432}", vec!["probe.test.tcp.port=5432"]),
        ("{tcp: 'localhost:5432'}", vec!["probe.test.tcp.port=5432"]),
        ("{command: [x, y]}", vec!["probe.test.command.argv.0=x", "probe.test.command.argv.1=y"]),
    ] {
        let facts = facts(&good(&format!("x-clos: {{health_check: {check}}}"), ""));
        let test: Vec<&String> = facts.iter().filter(|fact| fact.starts_with("probe.test")).collect();
        assert_eq!(test, expected, "{check}");
    }
    let paced = "x-clos: {health_check: {tcp: 1, interval: 1s, timeout: 2s, retries: 5, start_period: 3s}}";
    assert_eq!(
        facts(&good(paced, "")),
        [
            "probe.interval.secs=1",
            "probe.retries=5",
            "probe.start_period.secs=3",
            "probe.test.tcp.port=1",
            "probe.timeout.secs=2",
        ]
    );
}

#[test]
fn needs_are_kept_and_implied_ones_are_started() {
    let listed = |body: &str| {
        let converted = good(body, "");
        let needs = &converted.services[0].depends_on;
        let shown = needs.iter().map(|need| {
            format!("{} {} {} {}", need.service, need.condition.as_str(), need.required, need.restart)
        });
        shown.collect::<Vec<String>>()
    };
    for (body, expected) in [
        ("depends_on: [b]", "b started true false"),
        ("depends_on: {b: {condition: service_healthy, restart: true}}", "b healthy true true"),
        (
            "depends_on: {b: {condition: service_completed_successfully, required: false}}",
            "b completed false false",
        ),
        ("network_mode: service:b", "b started true true"),
        ("pid: service:b", "b started true true"),
        ("ipc: service:b", "b started true true"),
        ("volumes_from: ['b:ro']", "b started true false"),
        ("links: [b]", "b started true true"),
        ("links: [b]\ndepends_on: {b: {condition: service_healthy}}", "b healthy true false"),
    ] {
        assert_eq!(listed(body), [expected], "{body}");
    }
}

#[test]
fn a_link_under_another_name_is_an_alias_of_the_other() {
    let converted = good("links: ['b:database', b]", "");
    assert_eq!(converted.services[1].container().networks[0].aliases, ["database"]);
    assert_eq!(
        converted.notes,
        ["compose.yaml:4:12: services.a.links: `database` names `b` for every service on the same network"]
    );
    assert!(good("links: [b]", "").notes.is_empty());
}

#[test]
fn a_build_keeps_what_the_engines_builder_can_do() {
    let body = "build: {context: ./app, dockerfile: docker/Dockerfile, args: {A: x}, target: t, labels: {l: v}, \
                tags: [o], cache_from: [c], no_cache: true, pull: true, network: host, shm_size: 1k, \
                platforms: [linux/arm64], extra_hosts: ['x:1.2.3.4']}\nimage: app:1";
    assert_eq!(
        facts(&good(body, "")),
        [
            "build.args.A=x",
            "build.cache_from.0=c",
            "build.context=/home/dev/shop/app",
            "build.dockerfile=docker/Dockerfile",
            "build.extra_hosts.0.0=x",
            "build.extra_hosts.0.1=1.2.3.4",
            "build.labels.l=v",
            "build.network=host",
            "build.no_cache=true",
            "build.platform=linux/arm64",
            "build.pull=true",
            "build.shm_size=1024",
            "build.tags.0=o",
            "build.target=t",
            "image=app:1",
        ]
    );
    let text = "services: {a: {build: ., platform: linux/amd64, pull_policy: build}}";
    let converted = converted(text).unwrap();
    let container = converted.services[0].container();
    assert_eq!(container.image, "");
    let build = container.build.as_ref().unwrap();
    assert_eq!((build.context.as_str(), build.dockerfile.as_deref()), ("/home/dev/shop", Some("Dockerfile")));
    assert_eq!(build.platform.as_deref(), Some("linux/amd64"));
    let absolute = good("build: {context: ., dockerfile: /home/dev/shop/x/Dockerfile}", "");
    let build = absolute.services[0].container().build.clone().unwrap();
    assert_eq!(build.dockerfile.as_deref(), Some("x/Dockerfile"));
    for (written, kept) in [
        ("../D", "/home/dev/D"),
        ("x/../../D", "/home/dev/D"),
        ("../shop/D", "D"),
        ("/D", "/D"),
        ("./x/D", "x/D"),
    ] {
        let outside = good(&format!("build: {{context: ., dockerfile: {written}}}"), "");
        let build = outside.services[0].container().build.clone().unwrap();
        assert_eq!(build.dockerfile.as_deref(), Some(kept), "{written}");
    }
    let inline = good("build: {context: ., dockerfile_inline: FROM scratch}", "");
    let build = inline.services[0].container().build.clone().unwrap();
    assert_eq!((build.dockerfile, build.dockerfile_inline.as_deref()), (None, Some("FROM scratch")));
}

#[test]
fn the_group_keeps_its_folder_files_profiles_and_resources() {
    let text = "
name: shop
x-clos: {project: apis, depends_on: [infra, infra, 'other~x/db']}
services:
  web: {image: i, networks: [back, lan, default], volumes: ['data:/d', 'old:/o']}
  debug: {image: i, profiles: [debug]}
  tools: {image: i, profiles: [tools]}
networks:
  back:
    name: shared
    driver: bridge
    driver_opts: {o: v}
    internal: true
    attachable: true
    enable_ipv6: true
    labels: {l: v, com.docker.compose.project: x}
    ipam: {config: [{subnet: 10.1.0.0/16, ip_range: 10.1.1.0/24, gateway: 10.1.0.1, aux_addresses: {h: 10.1.0.9}}]}
  lan: {external: true}
volumes:
  data: {driver: local, driver_opts: {type: none}, labels: {l: v}}
  old: {external: true, name: legacy}
";
    let mut input = input(text);
    input.profiles = vec!["debug".to_owned()];
    let group = GroupRef::parse("group", "shop").unwrap();
    let converted = convert(&load(&input), &group).unwrap();
    assert_eq!(converted.disabled, ["tools"]);
    let names: Vec<&str> = converted.services.iter().map(|service| service.name.as_str()).collect();
    assert_eq!(names, ["web", "debug"]);
    assert_eq!(converted.services[1].profiles, ["debug"]);
    let group = &converted.group;
    assert_eq!(group.working_dir, "/home/dev/shop");
    assert_eq!(group.compose_files, ["/home/dev/shop/compose.yaml"]);
    assert_eq!(group.profiles, ["debug"]);
    assert_eq!(group.project.as_deref(), Some("apis"));
    let edges: Vec<String> = group.depends_on.iter().map(ToString::to_string).collect();
    assert_eq!(edges, ["infra", "other~x/db"]);

    let back = &group.networks["back"];
    assert_eq!((back.name.as_str(), back.driver.as_deref()), ("shared", Some("bridge")));
    assert!(back.internal && back.attachable && back.enable_ipv6 == Some(true) && !back.external);
    assert_eq!(back.driver_opts["o"], "v");
    assert_eq!(back.labels.keys().collect::<Vec<_>>(), ["l"]);
    let pool = &back.subnets[0];
    assert_eq!(pool.subnet.as_deref(), Some("10.1.0.0/16"));
    assert_eq!(pool.ip_range.as_deref(), Some("10.1.1.0/24"));
    assert_eq!(pool.gateway.as_deref(), Some("10.1.0.1"));
    assert_eq!(pool.aux_addresses["h"], "10.1.0.9");
    let lan = &group.networks["lan"];
    assert!(lan.external && lan.name.is_empty());
    assert_eq!(group.networks["default"].name, "");

    let data = &group.volumes["data"];
    assert_eq!((data.name.as_str(), data.driver.as_deref()), ("", Some("local")));
    assert_eq!((data.driver_opts["type"].as_str(), data.labels["l"].as_str()), ("none", "v"));
    let old = &group.volumes["old"];
    assert!(old.external && old.name == "legacy");

    let warned: Vec<&str> = converted.findings.iter().map(|finding| finding.key.as_str()).collect();
    assert_eq!(warned, ["networks.back.labels.com.docker.compose.project"]);
}

#[test]
fn a_service_without_containers_stays_and_is_not_enabled() {
    for (body, field) in [("scale: 0", "scale"), ("deploy: {replicas: 0}", "deploy.replicas")] {
        let converted = good(body, "");
        assert!(!converted.services[0].enabled);
        assert_eq!(converted.notes.len(), 1);
        assert!(converted.notes[0].contains(&format!("services.a.{field}: it has no containers")), "{body}");
    }
    assert!(good("", "").services[0].enabled);
}

#[test]
fn ports_without_an_address_are_named_in_one_note() {
    let text = "services: {web: {image: i, ports: ['3000:3000', '5432', '127.0.0.1:1:1']}, api: {image: i, ports: ['8000-8010:80']}}";
    let converted = converted(text).unwrap();
    assert_eq!(
        converted.notes,
        [
            "ports without an address are reachable only from this machine and its containers: web 3000, api 8000-8010 (write `0.0.0.0:3000:3000` to publish one to other machines)"
        ]
    );
    let many: Vec<String> = (1..=12).map(|port| format!("'{port}:80'")).collect();
    let note = good(&format!("ports: [{}]", many.join(", ")), "").notes.remove(0);
    assert!(note.contains("a 10, and 2 more ("), "{note}");
}

#[test]
fn warnings_name_file_line_and_key() {
    let secret = "secrets:\n  k: {file: ./k}\n";
    let template = "configs:\n  c: {file: ./c, template_driver: golang}\n";
    let table = [
        ("ports: ['0.0.0.0:80:80']", "", "services.a.ports[0]", "every machine"),
        ("ports: ['[::]:80:80']", "", "services.a.ports[0]", "every machine"),
        ("network_mode: host\nports: ['80:80']", "", "services.a.ports", "publishing has no effect"),
        ("network_mode: none\nports: ['80:80']", "", "services.a.ports", "has no network"),
        ("network_mode: host\nmac_address: 02:00:00:00:00:01", "", "services.a.mac_address", "joins none"),
        ("annotations: {a: b}", "", "services.a.annotations", "no effect"),
        ("device_cgroup_rules: ['c 1:3 mr']", "", "services.a.device_cgroup_rules", "no effect"),
        ("storage_opt: {size: 1G}", "", "services.a.storage_opt", "no effect"),
        ("oom_kill_disable: true", "", "services.a.oom_kill_disable", "no effect"),
        ("mem_swappiness: 5", "", "services.a.mem_swappiness", "no effect"),
        ("deploy: {restart_policy: {delay: 5s}}", "", "services.a.deploy.restart_policy", "paces restarts"),
        (
            "deploy: {resources: {reservations: {cpus: '1'}}}",
            "",
            "services.a.deploy.resources.reservations.cpus",
            "reserves",
        ),
        ("pull_policy: daily", "", "services.a.pull_policy", "age of an image"),
        ("healthcheck: {interval: 1s}", "", "services.a.healthcheck", "name the test"),
        (
            "labels: {com.docker.compose.service: x}",
            "",
            "services.a.labels.com.docker.compose.service",
            "left out",
        ),
        ("labels: {clos.v2.group: x}", "", "services.a.labels.clos.v2.group", "left out"),
        ("networks: {default: {gw_priority: 1}}", "", "services.a.networks.default.gw_priority", "no effect"),
        (
            "networks: {default: {interface_name: e}}",
            "",
            "services.a.networks.default.interface_name",
            "no effect",
        ),
        (
            "networks: {default: {driver_opts: {a: b}}}",
            "",
            "services.a.networks.default.driver_opts",
            "no effect",
        ),
        (
            "networks: {default: {link_local_ips: [1.1.1.1]}}",
            "",
            "services.a.networks.default.link_local_ips",
            "no effect",
        ),
        ("secrets: [{source: k, mode: 0400}]", secret, "services.a.secrets[0]", "those of the file"),
        ("configs: [c]", template, "services.a.configs[0]", "template driver"),
        (
            "volumes: [{type: volume, target: /x, volume: {labels: {a: b}}}]",
            "",
            "services.a.volumes[0]",
            "labels of a volume",
        ),
        ("x-clos: {process: {command: x}}", "", "services.a.x-clos.process", "runs as a container"),
        ("x-clos: {prefer: process}", "", "services.a.x-clos.prefer", "runs as a container"),
        ("build: {context: ., secrets: [k]}", secret, "services.a.build.secrets", "sees no secrets"),
        ("build: {context: ., ssh: [default]}", "", "services.a.build.ssh", "SSH agent"),
        ("build: {context: ., cache_to: [x]}", "", "services.a.build.cache_to", "not exported"),
        ("build: {context: ., ulimits: {nofile: 1}}", "", "services.a.build.ulimits", "no effect"),
        ("build: {context: ., privileged: true}", "", "services.a.build.privileged", "no effect"),
        ("build: {context: ., platforms: [a/b, c/d]}", "", "services.a.build.platforms", "one platform"),
        (
            "networks: [n]",
            "networks: {n: {ipam: {options: {a: b}}}}\n",
            "networks.n.ipam.options",
            "no effect",
        ),
        ("x-clos: {strange: 1}", "", "services.a.x-clos.strange", "no key `strange`"),
        ("develop: {}", "", "services.a.develop", "it is ignored"),
    ];
    for (body, top, key, part) in table {
        let found = good(body, top).findings;
        let shown: Vec<String> = found.iter().map(super::rendered).collect();
        assert_eq!(found.len(), 1, "{body}: {shown:?}");
        assert_eq!((found[0].key.as_str(), found[0].severity), (key, Severity::Warning), "{body}");
        assert!(found[0].message.contains(part), "{body}: {shown:?}");
        assert_eq!(found[0].file, "compose.yaml", "{body}");
        assert!(found[0].line > 3 && found[0].column > 0, "{body}: {shown:?}");
    }
}

#[test]
fn what_would_be_another_service_is_an_error_with_its_place() {
    let elsewhere = "secrets:\n  k: {external: true}\nconfigs:\n  i: {content: x}\n  e: {external: true}\n";
    let inline = "volumes: {vol: {}}\nconfigs:\n  i: {content: x}\n";
    let mounted = "secrets:\n  k: {file: ./k}\n";
    let shared = |key: &str| format!("network_mode: service:b\n{key}");
    let (s_ports, s_expose, s_host) =
        (shared("ports: ['80']"), shared("expose: [80]"), shared("hostname: x"));
    let (s_dns, s_hosts, s_mac) = (
        shared("dns: 1.1.1.1"),
        shared("extra_hosts: ['x:1.1.1.1']"),
        shared("mac_address: 02:00:00:00:00:01"),
    );
    let many = "expose: ['1-4000', '2-4001']";
    let table = [
        ("volumes: [{type: image, source: i, target: /x}]", "", "services.a.volumes[0]", "type `image`"),
        ("volumes: [{type: npipe, source: i, target: /x}]", "", "services.a.volumes[0]", "type `npipe`"),
        ("volumes: [{type: cluster, source: i, target: /x}]", "", "services.a.volumes[0]", "type `cluster`"),
        ("volumes: ['./x:y']", "", "services.a.volumes[0]", "not an absolute path"),
        ("volumes: ['v:/cfg']", "volumes: {v: {}}", "services.a.volumes[0]", "a name of two or more letters"),
        (r"volumes: ['c:\x:/y']", "", "services.a.volumes[0]", "not a path on this machine"),
        (
            "volumes: [{type: bind, source: /x, target: /y, bind: {recursive: readonly}}]",
            "",
            "services.a.volumes[0]",
            "recursive: readonly",
        ),
        ("tmpfs: [run]", "", "services.a.tmpfs[0]", "not an absolute path"),
        ("volumes_from: ['b:rx']", "", "services.a.volumes_from", "is not `service`"),
        ("secrets: [k]", elsewhere, "services.a.secrets[0]", "only clusters"),
        ("configs: [e]", elsewhere, "services.a.configs[0]", "only clusters"),
        (
            "configs: [i]\nread_only: true",
            elsewhere,
            "services.a.configs[0]",
            "the config `i` has its content in the compose file and is copied to `/i`, but the service is `read_only`; write it",
        ),
        (
            "configs: [{source: i, target: /data/x}]\nvolumes: ['vol:/data']",
            inline,
            "services.a.configs[0]",
            "the volume at `/data` covers it; give it another `target`, or write it to a file",
        ),
        (
            "configs: [{source: i, target: /run/x}]\ntmpfs: /run:size=1m",
            elsewhere,
            "services.a.configs[0]",
            "the tmpfs at `/run` covers it",
        ),
        (
            "configs: [{source: i, target: /m/x}]\nvolumes: [{type: tmpfs, target: /m}]",
            elsewhere,
            "services.a.configs[0]",
            "the tmpfs at `/m` covers it",
        ),
        (
            "configs: [{source: i, target: /src/x}]\nvolumes: ['./src:/src']",
            elsewhere,
            "services.a.configs[0]",
            "the bind mount at `/src` covers it",
        ),
        ("configs: [{source: i, target: /dev/x}]", elsewhere, "services.a.configs[0]", "its own `/dev`"),
        (
            "configs: [i, {source: i, target: /./i}]",
            elsewhere,
            "services.a.configs[1]",
            "`/i` is mounted already",
        ),
        ("configs: [{source: i, target: /etc/../x}]", elsewhere, "services.a.configs[0]", "names no file"),
        ("configs: [{source: i, target: /etc/}]", elsewhere, "services.a.configs[0]", "names no file"),
        ("configs: [{source: i, uid: www}]", elsewhere, "services.a.configs[0]", "uid `www` is not a number"),
        (
            "secrets: [{source: k, target: /x}]\nvolumes: [/x]",
            mounted,
            "services.a.secrets[0]",
            "mounted already",
        ),
        (
            "secrets: [{source: k, target: /x}]\ntmpfs: ['/x:size=1']",
            mounted,
            "services.a.secrets[0]",
            "mounted already",
        ),
        ("devices: ['vendor/x=0']", "", "services.a.devices[0]", "not a path like"),
        ("devices: ['/dev/a:/dev/b:x']", "", "services.a.devices[0]", "not made of r, w and m"),
        ("expose: ['x']", "", "services.a.expose", "not a port of a container"),
        ("expose: ['80/tpc']", "", "services.a.expose", "not a port of a container"),
        ("expose: ['90-80']", "", "services.a.expose", "not a port of a container"),
        (many, "", "services.a.expose", "more than 4096 ports"),
        ("ports: [{target: 80, mode: x}]", "", "services.a.ports[0]", "not one of ingress, host"),
        ("working_dir: app", "", "services.a.working_dir", "not an absolute path"),
        ("pull_policy: build", "", "services.a.pull_policy", "needs a `build`"),
        ("pid: x", "", "services.a.pid", "not one of host, service:NAME"),
        ("ipc: x", "", "services.a.ipc", "not one of host, none"),
        ("uts: x", "", "services.a.uts", "not one of host"),
        ("userns_mode: x", "", "services.a.userns_mode", "not one of host"),
        ("external_links: [x]", "", "services.a.external_links", "external network"),
        ("links: ['b:a']", "", "services.a.links", "service of its own"),
        ("links: [b]\nnetworks: [n]", "networks: {n: {}}\n", "services.a.links", "on no network with `b`"),
        (&s_ports, "", "services.a.ports", "shares the network of `b`"),
        (&s_expose, "", "services.a.expose", "shares the network of `b`"),
        (&s_host, "", "services.a.hostname", "shares the network of `b`"),
        (&s_dns, "", "services.a.dns", "shares the network of `b`"),
        (&s_hosts, "", "services.a.extra_hosts", "shares the network of `b`"),
        (&s_mac, "", "services.a.mac_address", "shares the network of `b`"),
        ("mem_limit: -5", "", "services.a.mem_limit", "-5 bytes"),
        (
            "deploy: {resources: {limits: {memory: '-5'}}}",
            "",
            "services.a.deploy.resources.limits.memory",
            "-5 bytes",
        ),
        ("memswap_limit: -5", "", "services.a.memswap_limit", "-5 bytes"),
        ("mem_limit: 2m\nmemswap_limit: 1m", "", "services.a.memswap_limit", "below the memory limit"),
        ("memswap_limit: 1m", "", "services.a.memswap_limit", "needs a `mem_limit`"),
        ("cpus: -1", "", "services.a.cpus", "not a number of cores"),
        ("cpus: 1\ncpu_quota: 5000", "", "services.a.cpu_quota", "keep one of them"),
        ("healthcheck: {test: [CMD]}", "", "services.a.healthcheck.test", "no command after CMD"),
        ("healthcheck: {test: ''}", "", "services.a.healthcheck.test", "no command after CMD-SHELL"),
        (
            "x-clos: {health_check: {tcp: 'b:80'}}",
            "",
            "services.a.x-clos.health_check.tcp",
            "of the service itself",
        ),
        ("build: https://example.com/x.git", "", "services.a.build.context", "not a folder on this machine"),
        (
            "build: {context: ., additional_contexts: {base: ./base}}",
            "",
            "services.a.build.additional_contexts",
            "`base` would be looked for in a registry",
        ),
        ("networks: [n]", "networks: {n: {enable_ipv4: false}}\n", "networks.n.enable_ipv4", "without IPv4"),
        (
            "networks: [n]",
            "networks: {n: {ipam: {driver: x}}}\n",
            "networks.n.ipam.driver",
            "address driver `x`",
        ),
        ("", "x-clos: {project: 'A B'}\n", "x-clos.project", "`A B` is not the name"),
        ("", "x-clos: {project: 7}\n", "x-clos.project", "`7` is not the name"),
    ];
    for (body, top, key, part) in table {
        let error = bad(body, top);
        let found = error.findings();
        assert_eq!(found.len(), 1, "{body}: {error}");
        assert_eq!((found[0].key.as_str(), found[0].severity), (key, Severity::Error), "{body}");
        assert!(found[0].message.contains(part), "{body}: {error}");
        assert!(found[0].line > 0 && found[0].column > 0, "{body}: {error}");
        assert_eq!(error.reason(), Reason::InvalidFile, "{body}");
        assert!(error.message().starts_with("compose.yaml:"), "{error}");
    }
}

#[test]
fn what_is_no_file_is_copied_with_its_owner_and_permissions() {
    let body = "secrets: [k, {source: k, target: sub/other, uid: '12', gid: '13', mode: 0440}]\n\
                configs: [i, {source: v, target: //etc/./app.conf}]";
    let top = "secrets:\n  k: {environment: TOKEN}\nconfigs:\n  i: {content: 'a $$b ${TOKEN}'}\n  \
               v: {environment: TOKEN}\n";
    let mut input = input(&file(body, top));
    input.variables.insert("TOKEN".to_owned(), Some("hunter2".to_owned()));
    let converted = convert(&load(&input), &GroupRef::parse("group", "shop").unwrap()).unwrap();
    let container = converted.services[0].container();
    let shown: Vec<String> = container
        .files
        .iter()
        .map(|file| {
            let content = file.content.reveal();
            format!("{} {content:?} {}:{} {:04o}", file.target, file.uid, file.gid, file.mode)
        })
        .collect();
    assert_eq!(
        shown,
        [
            r#"/i "a $b hunter2" 0:0 0444"#,
            r#"/etc/app.conf "hunter2" 0:0 0444"#,
            r#"/run/secrets/k "hunter2" 0:0 0444"#,
            r#"/run/secrets/sub/other "hunter2" 12:13 0440"#,
        ]
    );
    let digest = "f52fbd32b2b3b86ff88ef6c490628285f482af15ddcb29541f94bcf526a3f6c7";
    assert_eq!(container.files[1].digest, digest);
    assert!(container.mounts.is_empty());
    assert!(!format!("{converted:?}").contains("hunter2"));
}

#[test]
fn a_secret_from_a_variable_that_is_not_set_is_refused() {
    let text = file("secrets: [k]", "secrets:\n  k: {environment: TOKEN}\n");
    let with = |value: Option<&str>, more: &str| {
        let mut input = input(&text.replace("secrets: [k]", &format!("secrets: [k]{more}")));
        input.variables.insert("TOKEN".to_owned(), value.map(str::to_owned));
        convert(&load(&input), &GroupRef::parse("group", "shop").unwrap())
    };
    let error = with(None, "").unwrap_err();
    assert!(error.message().contains("the variable `TOKEN`, which is not set"), "{error}");
    // An empty value is one.
    assert_eq!(with(Some(""), "").unwrap().services[0].container().files[0].content.reveal(), "");
    let error = with(Some("hunter2"), "\n    read_only: true").unwrap_err();
    assert!(error.message().contains("comes from the variable `TOKEN` and is copied"), "{error}");
    assert!(!format!("{error:?}").contains("hunter2"));
}

#[test]
fn a_service_that_is_only_a_process_is_a_kind_to_come() {
    let error = refused(&input(&file("provider: {type: model}", "")));
    assert_eq!(error.reason(), Reason::KindUnsupported);
    assert_eq!(error.findings()[0].key, "services.a.provider");
    assert!(error.message().contains("`image` or a `build`"), "{error}");
    // Where the reader lets a service through that has neither image nor build.
    let group = GroupRef::parse("group", "shop").unwrap();
    let mut project = load(&input(&file("x-clos: {process: {command: x}}", "")));
    project.services[0].image = None;
    let error = convert(&project, &group).unwrap_err();
    assert_eq!(
        (error.reason(), error.findings()[0].key.as_str()),
        (Reason::KindUnsupported, "services.a.x-clos.process")
    );
    let mut project = load(&input(&file("", "")));
    project.services[0].image = None;
    let error = convert(&project, &group).unwrap_err();
    assert_eq!((error.reason(), error.findings()[0].key.as_str()), (Reason::InvalidFile, "services.a"));
}

#[test]
fn what_the_reader_should_have_refused_is_refused_here() {
    let group = GroupRef::parse("group", "shop").unwrap();
    let plain = || {
        load(&input(&file(
            "depends_on: [b]\nconfigs: [c]",
            "configs: {c: {file: ./c}}\nx-clos: {depends_on: [infra]}\n",
        )))
    };
    let refused = |change: &dyn Fn(&mut compose::Project)| {
        let mut project = plain();
        change(&mut project);
        convert(&project, &group).unwrap_err().message().to_owned()
    };
    assert!(
        refused(&|project| project.services[1].name = "a/b".into()).contains("`a/b` is not a service name")
    );
    let dependency = refused(&|project| project.services[0].depends_on[0].service = "b/c".into());
    assert!(dependency.contains("`b/c` is not a service name"), "{dependency}");
    assert!(refused(&|project| project.configs.clear()).contains("no config `c` is declared"));
    let path = refused(&|project| project.configs[0].source = compose::model::FileSource::File("c".into()));
    assert!(path.contains("`c` is not a path on this machine"), "{path}");
    assert!(refused(&|project| project.configs[0].external = true).contains("only clusters keep those"));
    assert!(
        refused(&|project| project.depends_on[0].group = "In Fra".into()).contains("is not a group name")
    );
    assert!(
        refused(&|project| project.depends_on[0].instance = Some("X".into()))
            .contains("is not an instance name")
    );
    assert!(
        refused(&|project| project.depends_on[0].service = Some("/".into()))
            .contains("is not a service name")
    );
    let told = refused(&|project| {
        let key = compose::Key::of(&["services"]);
        let at = compose::Location::new("compose.yaml", 1, 1);
        let (severity, code, message) = (compose::Severity::Error, compose::Code::Empty, "no".to_owned());
        project.findings.push(compose::Finding { severity, code, at, key, message });
    });
    assert_eq!(told, "compose.yaml:1:1: services: no");
}

#[test]
fn a_group_does_not_wait_for_itself_but_a_copy_may_wait_for_the_base() {
    let project = load(&input(&file("", "x-clos: {depends_on: [shop/db]}\n")));
    let error = convert(&project, &GroupRef::parse("group", "shop").unwrap()).unwrap_err();
    assert_eq!(error.reason(), Reason::DependencyCycle);
    assert!(
        error.message().contains("x-clos.depends_on[0]: the group `shop` cannot wait for itself"),
        "{error}"
    );
    let copy = convert(&project, &GroupRef::parse("group", "shop~x").unwrap()).unwrap();
    assert_eq!(copy.group.depends_on[0].to_string(), "shop/db");
}

#[test]
fn notes_of_the_reader_are_notes_and_its_warnings_findings() {
    let converted = converted("version: '3'\nservices: {a: {image: i, develop: {}}}").unwrap();
    assert_eq!(converted.notes, ["compose.yaml:1:10: version: it has no meaning any more and can go"]);
    let warned: Vec<&str> = converted.findings.iter().map(|finding| finding.key.as_str()).collect();
    assert_eq!(warned, ["services.a.develop"]);
}

#[test]
fn every_error_is_told_at_once_and_ten_are_listed() {
    let lines: Vec<String> = (0..12).map(|i| format!("  s{i}: {{image: i, working_dir: x{i}}}\n")).collect();
    let error = converted(&format!("services:\n{}", lines.concat())).unwrap_err();
    assert_eq!(error.findings().len(), 12);
    let listed: Vec<&str> = error.message().lines().collect();
    assert_eq!(listed.len(), 11);
    assert!(listed[0].starts_with("compose.yaml:2:"), "{error}");
    assert_eq!(listed[10], "and 2 more");
    let mixed = "services: {a: {image: i, provider: {type: clos}}, b: {image: i, strange: 1}}";
    let mixed = refused(&input(mixed));
    assert_eq!(mixed.reason(), Reason::InvalidFile);
}

fn refused(input: &Input) -> Error {
    match compose::load(input) {
        Outcome::Failed(errors) => compose_errors(&errors),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_readers_errors_keep_their_reason() {
    let table = [
        (
            "services: {a: {image: i, depends_on: [b]}, b: {image: i, depends_on: [a]}}",
            Reason::DependencyCycle,
            "DEPENDENCY_CYCLE",
        ),
        ("services: {a: {image: i, depends_on: [c]}}", Reason::UnknownDependency, "UNKNOWN_DEPENDENCY"),
        (
            "services: {a: {image: i, ports: ['80:1']}, b: {image: i, ports: ['80:2']}}",
            Reason::PortConflict,
            "DUPLICATE_PORT",
        ),
        ("services: [", Reason::InvalidFile, "SYNTAX"),
        ("services: {a/b: {image: i}}", Reason::InvalidFile, "INVALID_NAME"),
        ("services: {a: {image: i, scale: 2}}", Reason::InvalidFile, "UNSUPPORTED_REPLICAS"),
        ("services: {a: {}}", Reason::InvalidFile, "NO_IMAGE"),
    ];
    for (text, reason, code) in table {
        let error = refused(&input(text));
        assert_eq!(error.reason(), reason, "{text}: {error}");
        assert_eq!(error.metadata()["code"], code, "{text}");
        assert!(error.message().starts_with("compose.yaml:1:"), "{error}");
        assert_eq!(error.findings()[0].severity, Severity::Error);
    }
    let two = refused(&input("services: {a: {image: i, depends_on: [c], networks: [n]}}"));
    assert_eq!((two.reason(), two.findings().len()), (Reason::InvalidFile, 2), "{two}");
}

#[test]
fn a_file_that_is_missing_or_outside_has_its_own_reason() {
    let text = "services: {a: {image: i, env_file: ../x.env}}";
    let path = "/home/dev/x.env".to_owned();
    let with = |answer: SourceError| {
        let mut input = input(text);
        input.fetched.insert(path.clone(), Err(answer));
        refused(&input)
    };
    let missing = with(SourceError::NotFound { path: path.clone() });
    assert_eq!((missing.reason(), missing.kind()), (Reason::FileNotFound, Kind::NotFound));
    let outside = with(SourceError::OutsideRoot { path: path.clone(), root: "/home/dev/shop".into() });
    assert_eq!(outside.reason(), Reason::OutsideRoot);
    assert!(outside.message().contains("services.a.env_file[0]"), "{outside}");
    let unreadable = with(SourceError::Unreadable { path: path.clone(), reason: "no".into() });
    assert_eq!(unreadable.reason(), Reason::InvalidFile);
}

#[test]
fn no_error_at_all_is_still_an_answer() {
    let error = compose_errors(&compose::Errors { findings: Vec::new(), omitted: 0 });
    assert_eq!(error.message(), "the files cannot be read as a compose project");
    let from_a_flag = compose::Finding {
        severity: compose::Severity::Error,
        code: compose::Code::InvalidName,
        at: compose::Location::whole("--project"),
        key: compose::Key::root(),
        message: "no".into(),
    };
    assert_eq!(
        compose_errors(&compose::Errors { findings: vec![from_a_flag.clone()], omitted: 0 }).message(),
        "--project: no"
    );
    let many = compose_errors(&compose::Errors { findings: vec![from_a_flag], omitted: 2_600 });
    assert_eq!(
        (many.message(), many.metadata()["omitted"].as_str()),
        ("--project: no\nand 2600 more", "2600")
    );
}
