//! From the one tree to the model: every key read as what it has to be, every implied thing written out.
//!
//! One more key of a service: a field in `model::Service`, a line in one of the three matches of `service.rs`,
//! a line in `json.rs`, and a case in `tests/cases` that shows compose says the same.

mod build;
mod clos;
mod deploy;
mod files;
mod read;
mod resources;
mod service;
mod storage;

use std::collections::{BTreeMap, BTreeSet};

use crate::check;
use crate::environment::Environment;
use crate::finding::{Code, Key};
use crate::load::{Loader, Scope};
use crate::model::{
    Attachment, Condition, Dependency, DisabledService, MountKind, NameSource, Network, Project, Service,
};
use crate::node::{Map, Node};

use read::Reader;

pub(crate) fn is_group_name(name: &str) -> bool {
    let starts_well = name.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
    let letters = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '-';
    starts_well && name.len() <= 50 && name.chars().all(letters) && !name.contains("__")
}

pub(crate) fn is_service_name(name: &str) -> bool {
    let starts_well = name.starts_with(|c: char| c.is_ascii_alphanumeric());
    starts_well && name.len() <= 100 && name.chars().all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c))
}

pub(crate) fn project<'a>(
    loader: &mut Loader<'a>,
    tree: &Node,
    scope: &Scope<'a>,
    name: String,
    name_source: NameSource,
    config_files: Vec<String>,
) -> Option<Project> {
    let environment = &scope.environment;
    let mut project = Project {
        name,
        name_source,
        working_dir: scope.base.clone(),
        config_files,
        profiles: active_profiles(loader, environment, tree),
        services: Vec::new(),
        disabled: Vec::new(),
        networks: Vec::new(),
        volumes: Vec::new(),
        configs: Vec::new(),
        secrets: Vec::new(),
        depends_on: Vec::new(),
        extensions: BTreeMap::new(),
        findings: Vec::new(),
    };
    let mut services = Vec::new();
    let active = project.profiles.clone();
    let mut r = Reader {
        findings: &mut loader.findings,
        unknown: &mut loader.unknown,
        environment,
        profiles: &active,
        takes_part: true,
    };
    for (field, entry) in tree.as_map()?.iter() {
        let (value, key) = (&entry.value, Key::of(&[field]));
        match field.as_str() {
            "name" => {}
            "services" => services = read_services(&mut r, value, &key),
            "networks" => project.networks = resources::networks(&mut r, value, &key, &project.name),
            "volumes" => project.volumes = resources::volumes(&mut r, value, &key, &project.name),
            "configs" => project.configs = resources::files(&mut r, value, &key, &project.name),
            "secrets" => project.secrets = resources::files(&mut r, value, &key, &project.name),
            _ => {
                match field.as_str() {
                    "x-clos" => project.depends_on = clos::project(&mut r, value, &key),
                    "models" => r.unsupported(field, entry, &Key::root()),
                    _ if field.starts_with("x-") => {}
                    _ => r.unknown(field, entry, &Key::root()),
                }
                project.extensions.insert(field.clone(), value.to_json());
            }
        }
    }
    for service in services {
        if is_active(&service, &project.profiles) {
            project.services.push(service);
        } else {
            let at = service.place("profiles");
            project.disabled.push(DisabledService { name: service.name, profiles: service.profiles, at });
        }
    }
    if project.services.is_empty() && project.disabled.is_empty() && !loader.findings.has_errors() {
        let message = "there are no services in it";
        loader.findings.error(Code::Empty, &tree.at, &Key::of(&["services"]), message);
    }
    for service in &mut project.services {
        imply_dependencies(service);
        imply_network(service);
        files::environment(loader, service, environment);
        files::labels(loader, service);
    }
    add_default_network(&mut project);
    check::references(&project, &mut loader.findings);
    drop_optional_dependencies(&mut project, loader);
    check::consistency(&project, &mut loader.findings);
    keep_what_is_used(&mut project);
    Some(project)
}

/// `--profile`, else `COMPOSE_PROFILES`; and those of the services that the command names.
fn active_profiles(loader: &Loader<'_>, environment: &Environment<'_>, tree: &Node) -> Vec<String> {
    let mut active = loader.input.profiles.clone();
    if active.is_empty() {
        let variable = environment.if_known("COMPOSE_PROFILES").unwrap_or_default();
        let words = variable.split(',').map(str::trim).filter(|profile| !profile.is_empty());
        active.extend(words.map(str::to_owned));
    }
    let services = tree.as_map().and_then(|map| map.get("services")).and_then(Node::as_map);
    for name in &loader.input.services {
        let service = services.and_then(|map| map.get(name)).and_then(Node::as_map);
        let own = service.and_then(|map| map.get("profiles")).and_then(Node::as_list).unwrap_or_default();
        for profile in own.iter().filter_map(Node::as_text) {
            if !active.iter().any(|known| known == profile) {
                active.push(profile.to_owned());
            }
        }
    }
    active
}

fn is_active(service: &Service, profiles: &[String]) -> bool {
    service.profiles.is_empty()
        || profiles.iter().any(|profile| profile == "*" || service.profiles.contains(profile))
}

fn read_services(r: &mut Reader<'_>, node: &Node, key: &Key) -> Vec<Service> {
    let mut services = Vec::new();
    let Some(map) = r.map(node, key) else { return services };
    for (name, entry) in map.iter() {
        if !is_service_name(name) {
            let shown = crate::node::shorten(name);
            let message = format!(
                "`{shown}` is not a service name: up to 100 letters, digits, `_`, `.`, `-`, starting with a letter or digit"
            );
            r.findings.error(Code::InvalidName, &entry.key_at, key, message);
            continue;
        }
        services.extend(service::service(r, name, &entry.value, &key.child(name)));
    }
    services
}

/// A name of a network, volume, config or secret.
fn resource_names<'m>(r: &mut Reader<'_>, map: &'m Map, key: &Key) -> Vec<&'m String> {
    let mut names = Vec::new();
    for (name, entry) in map.iter() {
        let good = !name.is_empty()
            && name.len() <= 200
            && name.chars().all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c));
        if good {
            names.push(name);
        } else {
            let shown = crate::node::shorten(name);
            let message = format!(
                "`{shown}` is not allowed as a name here: up to 200 letters, digits, `_`, `.` and `-`"
            );
            r.findings.error(Code::InvalidName, &entry.key_at, key, message);
        }
    }
    names
}

/// Links, shared namespaces and borrowed volumes need the other service to be there.
fn imply_dependencies(service: &mut Service) {
    let mut implied: Vec<(String, bool, &str)> = Vec::new();
    for link in &service.links {
        implied.push((link.split(':').next().unwrap_or_default().to_owned(), true, "links"));
    }
    let namespaces = [
        ("network_mode", &service.network_mode),
        ("ipc", &service.ipc),
        ("pid", &service.pid),
        ("uts", &service.uts),
        ("cgroup", &service.cgroup),
    ];
    for (field, mode) in namespaces {
        if let Some(other) = mode.as_deref().and_then(|mode| mode.strip_prefix("service:")) {
            implied.push((other.to_owned(), true, field));
        }
    }
    for from in &service.volumes_from {
        if !from.starts_with("container:") {
            implied.push((from.split(':').next().unwrap_or_default().to_owned(), false, "volumes_from"));
        }
    }
    for (other, restart, field) in implied {
        if service.depends_on.iter().any(|dependency| dependency.service == other) {
            continue;
        }
        let at = service.place(field);
        let (condition, required) = (Condition::Started, true);
        service.depends_on.push(Dependency { service: other, condition, restart, required, at });
    }
}

fn imply_network(service: &mut Service) {
    if service.network_mode.is_none() && service.networks.is_empty() {
        service.networks.push(Attachment { network: "default".to_owned(), ..Attachment::default() });
    }
}

fn add_default_network(project: &mut Project) {
    let declared = project.networks.iter().any(|network| network.key == "default");
    let used = |service: &Service| service.networks.iter().any(|network| network.network == "default");
    if declared || !project.services.iter().any(used) {
        return;
    }
    project.networks.push(Network {
        key: "default".to_owned(),
        name: format!("{}_default", project.name),
        named: false,
        external: false,
        driver: None,
        driver_opts: BTreeMap::new(),
        internal: false,
        attachable: false,
        enable_ipv4: None,
        enable_ipv6: None,
        labels: BTreeMap::new(),
        ipam: crate::model::Ipam::default(),
        at: None,
    });
}

/// An optional dependency on a service that no profile wants is none.
fn drop_optional_dependencies(project: &mut Project, loader: &mut Loader<'_>) {
    let names: BTreeSet<String> = project.services.iter().map(|service| service.name.clone()).collect();
    for service in &mut project.services {
        let key = service.key().child("depends_on");
        service.depends_on.retain(|dependency| {
            let there = names.contains(&dependency.service);
            if !there && !dependency.required {
                let key = key.child(&dependency.service);
                let message = "it is in no active profile, and not required";
                loader.findings.note(Code::UnknownDependency, &dependency.at, &key, message);
            }
            there || dependency.required
        });
    }
}

fn keep_what_is_used(project: &mut Project) {
    let mut networks = BTreeSet::new();
    let mut volumes = BTreeSet::new();
    let mut configs = BTreeSet::new();
    let mut secrets = BTreeSet::new();
    for service in &project.services {
        networks.extend(service.networks.iter().map(|network| network.network.clone()));
        let named = service.volumes.iter().filter(|mount| mount.kind == MountKind::Volume);
        volumes.extend(named.filter_map(|mount| mount.source.clone()));
        configs.extend(service.configs.iter().map(|mount| mount.source.clone()));
        secrets.extend(service.secrets.iter().map(|mount| mount.source.clone()));
        if let Some(build) = &service.build {
            secrets.extend(build.secrets.iter().map(|mount| mount.source.clone()));
        }
    }
    project.networks.retain(|network| networks.contains(&network.key));
    project.volumes.retain(|volume| volumes.contains(&volume.key));
    project.configs.retain(|config| configs.contains(&config.key));
    project.secrets.retain(|secret| secrets.contains(&secret.key));
}
