//! What any workload has: name, variables, ports, needs, checks, restart, stop, limits, output.

use clos_compose::config_hash::{Piece, config_text};
use clos_compose::{self as compose, model};
use clos_domain::Reason;
use clos_domain::health::{Check, Test};
use clos_domain::name::{ServiceName, shown};
use clos_domain::port::{Protocol, Wish};
use clos_domain::service::{Condition, Definition, Dependency};
use clos_domain::workload::{ConfigHash, ConfigPiece, Logging, Restart, Run, Stop};
use sha2::{Digest as _, Sha256};

use super::{IGNORED_TEXT, Report, Site, container, labels, limits};

/// A service of the file, or nothing and an error in the report.
pub(super) fn definition(
    project: &compose::Project,
    service: &model::Service,
    report: &mut Report,
) -> Option<Definition> {
    let mut site = Site { service, report };
    let name = match ServiceName::parse("name", &service.name) {
        Ok(name) => name,
        Err(error) => {
            let (at, key) = (service.place(""), service.key());
            site.report.error(Reason::InvalidFile, &at, &key, error.message());
            return None;
        }
    };
    if !runs_as_container(&mut site) {
        return None;
    }
    if service.replicas == 0 {
        let field = if service.scale.is_some() { "scale" } else { "deploy.replicas" };
        let message = "it has no containers; the service stays in its group and is not started";
        let (at, key) = (site.at(field), site.key(field));
        site.report.note(&at, &key, message);
    }
    ignored(&mut site);
    let (at, key) = (site.at("labels"), site.key("labels"));
    Some(Definition {
        name,
        enabled: service.replicas > 0,
        scale: (service.replicas != 1).then_some(service.replicas),
        profiles: service.profiles.clone(),
        environment: variables(service),
        ports: ports(&mut site),
        depends_on: dependencies(&mut site),
        health: health(&mut site),
        probe: probe(&mut site),
        restart: restart(&mut site),
        stop: Stop { signal: service.stop_signal.clone(), grace: service.stop_grace_period },
        limits: limits::limits(&mut site),
        logging: service
            .logging
            .as_ref()
            .map(|logging| Logging { driver: logging.driver.clone(), options: logging.options.clone() }),
        labels: labels(&service.labels, &at, &key, site.report).into_iter().collect(),
        container_name: service.container_name.clone(),
        run: Run::Container(Box::new(container::container(project, &mut site))),
        start_order: 0,
        tags: Vec::new(),
        description: String::new(),
        owner: String::new(),
        version: String::new(),
        config_hash: Some(config_hash(service)),
    })
}

fn config_hash(service: &model::Service) -> ConfigHash {
    let pieces = config_text(service, true);
    if let [Piece::Text(text)] = &pieces[..] {
        return ConfigHash::Known(data_encoding::HEXLOWER.encode(&Sha256::digest(text)));
    }
    let carried = pieces.into_iter().map(|piece| match piece {
        Piece::Text(text) => ConfigPiece::Text(text),
        Piece::ContainerOf(service) => ConfigPiece::IdOf(service),
    });
    ConfigHash::Of(carried.collect())
}

/// Processes are to come; a service that could also be a container is one meanwhile.
fn runs_as_container(site: &mut Site<'_>) -> bool {
    let service = site.service;
    let has_image = service.image.is_some() || service.build.is_some();
    let has_process = service.clos.others.contains_key("process");
    if !has_image && has_process {
        let message =
            "a service that is only a process cannot be run yet; give it an `image` or a `build` too";
        let (at, key) = (site.at("x-clos"), site.key("x-clos.process"));
        site.report.error(Reason::KindUnsupported, &at, &key, message);
        return false;
    }
    if !has_image {
        let (at, key) = (service.place(""), service.key());
        site.report.error(Reason::InvalidFile, &at, &key, "a service needs an `image` or a `build`");
        return false;
    }
    if has_process {
        site.warn("x-clos.process", "processes cannot be run yet; the service runs as a container");
    } else if service.clos.prefer.as_deref() == Some("process") {
        site.warn("x-clos.prefer", "processes cannot be run yet; the service runs as a container");
    }
    true
}

/// Keys that tune a container and that no row has a place for.
fn ignored(site: &mut Site<'_>) {
    let service = site.service;
    let table = [
        ("annotations", !service.annotations.is_empty()),
        ("device_cgroup_rules", !service.device_cgroup_rules.is_empty()),
        ("storage_opt", !service.storage_opt.is_empty()),
        ("oom_kill_disable", service.oom_kill_disable),
        ("mem_swappiness", service.mem_swappiness.is_some()),
    ];
    for (field, is_there) in table {
        if is_there {
            site.warn(field, IGNORED_TEXT);
        }
    }
    let Some(deploy) = &service.deploy else { return };
    if deploy.reservations.as_ref().is_some_and(|reservations| reservations.cpus.is_some()) {
        site.warn("deploy.resources.reservations.cpus", "no engine reserves cores; it has no effect here");
    }
    let policy = deploy.restart_policy.as_ref().filter(|_| service.restart.is_none());
    if policy.is_some_and(|policy| policy.delay.is_some() || policy.window.is_some()) {
        let message = "the engine paces restarts by itself; delay and window have no effect here";
        site.warn("deploy.restart_policy", message);
    }
}

/// A name without a value is one that no container gets.
fn variables(service: &model::Service) -> indexmap::IndexMap<String, String> {
    let with_value =
        |(name, value): (&String, &Option<String>)| value.clone().map(|value| (name.clone(), value));
    service.environment.iter().filter_map(with_value).collect()
}

fn ports(site: &mut Site<'_>) -> Vec<Wish> {
    let service = site.service;
    let mut wishes: Vec<Wish> = Vec::new();
    let unpublished = service.network_mode.as_deref().filter(|mode| matches!(*mode, "host" | "none"));
    if let Some(mode) = unpublished.filter(|_| !service.ports.is_empty()) {
        let message = match mode {
            "host" => {
                "the service listens on this machine itself (`network_mode: host`); publishing has no effect"
            }
            _ => "the service has no network (`network_mode: none`); publishing has no effect",
        };
        site.warn("ports", message);
        return wishes;
    }
    for (index, port) in service.ports.iter().enumerate() {
        let (host_port, host_port_end) = match port.published {
            None => (None, None),
            Some(model::Published::Port(port)) => (Some(port), None),
            Some(model::Published::OneOf { first, last }) => (Some(first), Some(last)),
        };
        if !matches!(port.mode.as_str(), "ingress" | "host") {
            let message = format!("`{}` is not one of ingress, host", shown(&port.mode));
            site.error_in("ports", index, &port.at, message);
        }
        match port.host_ip.as_deref() {
            Some(ip @ ("0.0.0.0" | "::")) => {
                let message = format!(
                    "{ip} opens container port {} to every machine that can reach this one; leave the address out for 127.0.0.1",
                    port.target
                );
                site.warn_in("ports", index, &port.at, message);
            }
            None if let Some(published) = port.published => {
                site.report.narrowed.push(format!("{} {published}", service.name));
            }
            _ => {}
        }
        let wish = Wish {
            container_port: port.target,
            host_port,
            host_port_end,
            host_ip: port.host_ip.clone(),
            protocol: protocol(port.protocol),
        };
        wishes.push(wish);
    }
    wishes
}

fn protocol(protocol: model::Protocol) -> Protocol {
    match protocol {
        model::Protocol::Tcp => Protocol::Tcp,
        model::Protocol::Udp => Protocol::Udp,
        model::Protocol::Sctp => Protocol::Sctp,
    }
}

fn dependencies(site: &mut Site<'_>) -> Vec<Dependency> {
    let mut dependencies = Vec::new();
    for dependency in &site.service.depends_on {
        let condition = match dependency.condition {
            model::Condition::Started => Condition::Started,
            model::Condition::Healthy => Condition::Healthy,
            model::Condition::Completed => Condition::Completed,
        };
        let (required, restart) = (dependency.required, dependency.restart);
        match ServiceName::parse("depends_on", &dependency.service) {
            Ok(service) => dependencies.push(Dependency { service, condition, required, restart }),
            Err(error) => {
                let key = site.key("depends_on").child(&dependency.service);
                site.report.error(Reason::InvalidFile, &dependency.at, &key, error.message());
            }
        }
    }
    dependencies
}

fn health(site: &mut Site<'_>) -> Option<Check> {
    let check = site.service.healthcheck.as_ref()?;
    if check.is_off() {
        return Some(Check::new(Test::Disabled));
    }
    let Some(test) = &check.test else {
        // There is no word for "the image's question at another pace".
        if *check != model::HealthCheck::default() {
            let message = "without a `test` it would tune the image's own check, which keeps its own pace here; name the test";
            site.warn("healthcheck", message);
        }
        return None;
    };
    let (kind, words) = test.split_first()?;
    let mut argv = words.to_vec();
    if argv.iter().all(String::is_empty) {
        site.error(
            "healthcheck.test",
            format!("there is no command after {kind}; `disable: true` switches the check off"),
        );
        return None;
    }
    if kind == "CMD-SHELL" {
        argv.splice(0..0, ["/bin/sh".to_owned(), "-c".to_owned()]);
    }
    let mut converted = Check::new(Test::Command { argv });
    // The engine takes zero for "not said", and so do files.
    if let Some(interval) = check.interval.filter(|interval| !interval.is_zero()) {
        converted.interval = interval;
    }
    if let Some(timeout) = check.timeout.filter(|timeout| !timeout.is_zero()) {
        converted.timeout = timeout;
    }
    if let Some(retries) = check.retries.filter(|retries| *retries > 0) {
        converted.retries = u32::try_from(retries).unwrap_or(u32::MAX);
    }
    converted.start_period = check.start_period.unwrap_or_default();
    converted.start_interval = check.start_interval.filter(|interval| !interval.is_zero());
    Some(converted)
}

/// Our own check, `x-clos.health_check`.
fn probe(site: &mut Site<'_>) -> Option<Check> {
    let probe = site.service.clos.health_check.as_ref()?;
    let test = match &probe.kind {
        model::ProbeKind::Http { url, expected_status } => {
            Test::Http { url: url.clone(), expected: expected_status.iter().copied().collect() }
        }
        model::ProbeKind::Tcp(address) => Test::Tcp { port: own_port(site, address, probe)? },
        model::ProbeKind::Command(argv) => Test::Command { argv: argv.clone() },
    };
    let mut check = Check::new(test);
    if let Some(interval) = probe.interval.filter(|interval| !interval.is_zero()) {
        check.interval = interval;
    }
    if let Some(timeout) = probe.timeout.filter(|timeout| !timeout.is_zero()) {
        check.timeout = timeout;
    }
    if let Some(retries) = probe.retries.filter(|retries| *retries > 0) {
        check.retries = retries;
    }
    check.start_period = probe.start_period.unwrap_or_default();
    Some(check)
}

/// `:5432`, or with a name of the service itself.
fn own_port(site: &mut Site<'_>, address: &str, probe: &model::Probe) -> Option<u16> {
    let (host, port) = address.rsplit_once(':').unwrap_or(("", address));
    let is_itself = ["", "localhost", "127.0.0.1", "[::1]", &site.service.name].contains(&host);
    let port = port.parse::<u16>().ok().filter(|_| is_itself);
    if port.is_none() {
        let message = format!(
            "`{}` is not a port of the service itself; write it as `:5432`, and wait for others by `depends_on`",
            shown(address)
        );
        let key = site.key("x-clos.health_check.tcp");
        site.report.error(Reason::InvalidFile, &probe.at, &key, message);
    }
    port
}

fn restart(site: &mut Site<'_>) -> Restart {
    match site.service.effective_restart() {
        model::Restart::No => Restart::No,
        model::Restart::Always => Restart::Always,
        model::Restart::UnlessStopped => Restart::UnlessStopped,
        model::Restart::OnFailure { attempts } => {
            let max_retries = u32::try_from(attempts.unwrap_or_default()).unwrap_or(u32::MAX);
            Restart::OnFailure { max_retries }
        }
    }
}
