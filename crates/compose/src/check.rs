//! What has to fit together: names that somebody declares, no rings, no two claims on one thing.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::finding::{Code, Findings, Key};
use crate::model::{MountKind, Port, Project, Protocol, Published, Service};

/// Every name that a service uses is declared.
pub(crate) fn references(project: &Project, findings: &mut Findings) {
    let active: BTreeSet<&str> = project.services.iter().map(|service| service.name.as_str()).collect();
    let disabled: BTreeMap<&str, &[String]> =
        project.disabled.iter().map(|service| (service.name.as_str(), service.profiles.as_slice())).collect();
    let networks: BTreeSet<&str> = project.networks.iter().map(|network| network.key.as_str()).collect();
    let volumes: BTreeSet<&str> = project.volumes.iter().map(|volume| volume.key.as_str()).collect();
    let configs: BTreeSet<&str> = project.configs.iter().map(|config| config.key.as_str()).collect();
    let secrets: BTreeSet<&str> = project.secrets.iter().map(|secret| secret.key.as_str()).collect();

    for service in &project.services {
        let key = service.key();
        for dependency in &service.depends_on {
            let name = dependency.service.as_str();
            if active.contains(name) {
                continue;
            }
            let message = match disabled.get(name) {
                Some(_) if !dependency.required => continue,
                Some(profiles) => format!(
                    "`{name}` is only in the profile {}; activate it by `--profile`, or mark the dependency `required: false`",
                    profiles.join(", ")
                ),
                None => format!("there is no service `{name}`"),
            };
            let key = key.child("depends_on").child(name);
            findings.error(Code::UnknownDependency, &dependency.at, &key, message);
        }
        for attachment in &service.networks {
            if !networks.contains(attachment.network.as_str()) {
                let message = format!("no network `{}` is declared under `networks`", attachment.network);
                findings.error(
                    Code::UnknownReference,
                    &service.place("networks"),
                    &key.child("networks"),
                    message,
                );
            }
        }
        for (index, mount) in service.volumes.iter().enumerate() {
            let Some(source) = mount.source.as_deref().filter(|_| mount.kind == MountKind::Volume) else {
                continue;
            };
            if !volumes.contains(source) {
                let message = format!(
                    "no volume `{source}` is declared under `volumes`; a folder starts with `./` or `/`"
                );
                findings.error(Code::UnknownReference, &mount.at, &key.child("volumes").item(index), message);
            }
        }
        let build_secrets =
            service.build.iter().flat_map(|build| &build.secrets).map(|mount| ("build", mount));
        let own_secrets = service.secrets.iter().map(|mount| ("secrets", mount));
        for (field, mount) in own_secrets.chain(build_secrets) {
            if !secrets.contains(mount.source.as_str()) {
                let message = format!("no secret `{}` is declared under `secrets`", mount.source);
                findings.error(Code::UnknownReference, &mount.at, &key.child(field), message);
            }
        }
        for mount in &service.configs {
            if !configs.contains(mount.source.as_str()) {
                let message = format!("no config `{}` is declared under `configs`", mount.source);
                findings.error(Code::UnknownReference, &mount.at, &key.child("configs"), message);
            }
        }
    }
}

pub(crate) fn consistency(project: &Project, findings: &mut Findings) {
    for service in &project.services {
        one_service(service, findings);
    }
    additional_contexts(project, findings);
    container_names(project, findings);
    host_ports(project, findings);
    rings(project, findings);
}

fn one_service(service: &Service, findings: &mut Findings) {
    let key = service.key();
    let at = service.place("");
    let mut conflict = |field: &str, message: String| {
        findings.error(Code::Conflict, &service.place(field), &key.child(field), message);
    };
    if service.network_mode.is_some() && !service.networks.is_empty() {
        conflict("network_mode", "it excludes `networks`; keep one of them".to_owned());
    }
    if let Some(deploy) = &service.deploy {
        if let Some(limits) = &deploy.limits {
            if service.cpus.is_some_and(|cpus| limits.cpus != Some(cpus)) {
                conflict(
                    "cpus",
                    "it differs from `deploy.resources.limits.cpus`; keep one of them".to_owned(),
                );
            }
            if service.mem_limit.is_some_and(|memory| limits.memory != Some(memory)) {
                conflict(
                    "mem_limit",
                    "it differs from `deploy.resources.limits.memory`; keep one of them".to_owned(),
                );
            }
            if service.pids_limit.is_some_and(|pids| limits.pids != Some(pids)) {
                conflict(
                    "pids_limit",
                    "it differs from `deploy.resources.limits.pids`; keep one of them".to_owned(),
                );
            }
        }
        if let Some(reservations) = &deploy.reservations
            && service.mem_reservation.is_some_and(|memory| reservations.memory != Some(memory))
        {
            let message = "it differs from `deploy.resources.reservations.memory`; keep one of them";
            conflict("mem_reservation", message.to_owned());
        }
    }
    if let (Some(build), Some(platform)) = (&service.build, &service.platform)
        && !build.platforms.is_empty()
        && !build.platforms.contains(platform)
    {
        conflict("platform", format!("`{platform}` is not among `build.platforms`"));
    }
    if service.build.is_none() && service.image.is_none() {
        // What it has may be hidden behind another error.
        let hidden =
            ["image", "build", "extends", "provider"].iter().any(|field| service.places.contains_key(*field));
        if !(hidden && findings.has_errors()) {
            findings.error(Code::NoImage, &at, &key, "a service needs an `image` or a `build`");
        }
    }
    let mut targets: HashMap<&str, String> = HashMap::new();
    let tmpfs = service.tmpfs.iter().enumerate().map(|(index, spec)| {
        let target = spec.split(':').next().unwrap_or_default();
        (target, service.place("tmpfs"), key.child("tmpfs").item(index))
    });
    let mounts =
        service.volumes.iter().enumerate().map(|(index, mount)| {
            (mount.target.as_str(), mount.at.clone(), key.child("volumes").item(index))
        });
    for (target, at, key) in tmpfs.chain(mounts) {
        if let Some(first) = targets.get(target) {
            findings.error(Code::Duplicate, &at, &key, format!("`{target}` is mounted already by {first}"));
            continue;
        }
        targets.insert(target, key.to_string());
    }
}

fn additional_contexts(project: &Project, findings: &mut Findings) {
    for service in &project.services {
        let Some(build) = &service.build else { continue };
        for (name, context) in &build.additional_contexts {
            let Some(other) = context.strip_prefix("service:") else { continue };
            let built = project
                .services
                .iter()
                .find(|service| service.name == other)
                .map(|other| other.build.is_some());
            let message = match built {
                Some(true) => continue,
                Some(false) => format!("the service `{other}` is not built"),
                None => format!("there is no service `{other}`"),
            };
            let key = service.key().child("build").child("additional_contexts").child(name);
            findings.error(Code::UnknownReference, &service.place("build"), &key, message);
        }
    }
}

fn container_names(project: &Project, findings: &mut Findings) {
    let mut names: HashMap<&str, &str> = HashMap::new();
    for service in &project.services {
        let Some(name) = service.container_name.as_deref() else { continue };
        if let Some(first) = names.insert(name, &service.name) {
            let key = service.key().child("container_name");
            let message = format!("`{name}` is the container of `{first}` already");
            findings.error(Code::Duplicate, &service.place("container_name"), &key, message);
        }
    }
}

/// Two fixed ports of the host that cannot both be had.
fn host_ports(project: &Project, findings: &mut Findings) {
    let mut claims: HashMap<(u16, Protocol), Vec<(&Service, &Port)>> = HashMap::new();
    for service in &project.services {
        for (index, port) in service.ports.iter().enumerate() {
            let Some(Published::Port(number)) = port.published else { continue };
            let others = claims.entry((number, port.protocol)).or_default();
            if let Some((first, _)) = others.iter().find(|(_, other)| overlap(port, other)) {
                let message = if first.name == service.name {
                    format!("the service wants port {number} of the host twice")
                } else {
                    format!("`{}` and `{}` both want port {number} of the host", first.name, service.name)
                };
                let key = service.key().child("ports").item(index);
                findings.error(Code::DuplicatePort, &port.at, &key, message);
            }
            others.push((service, port));
        }
    }
}

/// Without an address a port is bound to both loopbacks; a wildcard collides with its whole family.
fn overlap(one: &Port, other: &Port) -> bool {
    let addresses = |port: &Port| match port.host_ip.as_deref().and_then(|ip| ip.parse::<IpAddr>().ok()) {
        Some(given) => vec![given.to_canonical()],
        None => vec![IpAddr::from(Ipv4Addr::LOCALHOST), IpAddr::from(Ipv6Addr::LOCALHOST)],
    };
    let collide = |one: &IpAddr, other: &IpAddr| {
        let same_family = one.is_ipv4() == other.is_ipv4();
        one == other || same_family && (one.is_unspecified() || other.is_unspecified())
    };
    let others = addresses(other);
    addresses(one).iter().any(|one| others.iter().any(|other| collide(one, other)))
}

/// Services that wait for each other, told once with the way round.
fn rings(project: &Project, findings: &mut Findings) {
    let index: HashMap<&str, usize> =
        project.services.iter().enumerate().map(|(index, service)| (service.name.as_str(), index)).collect();
    let mut state = vec![State::New; project.services.len()];
    for start in 0..project.services.len() {
        if state[start] != State::New {
            continue;
        }
        // The way to the service at hand, and how many of its edges were followed.
        let mut way: Vec<(usize, usize)> = vec![(start, 0)];
        state[start] = State::OnTheWay;
        while let Some((here, followed)) = way.last_mut() {
            let service = &project.services[*here];
            let Some(dependency) = service.depends_on.get(*followed) else {
                state[*here] = State::Done;
                way.pop();
                continue;
            };
            *followed += 1;
            let Some(&next) = index.get(dependency.service.as_str()) else { continue };
            match state[next] {
                State::Done => {}
                State::New => {
                    state[next] = State::OnTheWay;
                    way.push((next, 0));
                }
                State::OnTheWay => {
                    let from = way.iter().position(|(step, _)| *step == next).unwrap_or_default();
                    let mut names: Vec<&str> =
                        way[from..].iter().map(|(step, _)| project.services[*step].name.as_str()).collect();
                    names.push(&dependency.service);
                    let key: Key = service.key().child("depends_on").child(&dependency.service);
                    let message = format!("services wait for each other in a ring: {}", names.join(" → "));
                    findings.error(Code::DependencyCycle, &dependency.at, &key, message);
                }
            }
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    New,
    OnTheWay,
    Done,
}
