//! One service, key by key.

use std::collections::BTreeMap;

use crate::finding::{Code, Key};
use crate::keys;
use crate::model::{
    Attachment, Condition, Dependency, Device, EnvFile, HealthCheck, Logging, PullPolicy, Restart, Service,
};
use crate::node::{Kind, Map, Node};
use crate::units;
use crate::words;

use super::read::Reader;
use super::{build, clos, deploy, storage};

pub(super) fn service(reader: &mut Reader<'_>, name: &str, node: &Node, key: &Key) -> Option<Service> {
    let map = reader.map(node, key)?;
    let mut service =
        Service { name: name.to_owned(), at: Some(node.at.clone()), replicas: 1, ..Service::default() };
    reader.takes_part = takes_part(map, reader.profiles);
    for (field, entry) in map.iter() {
        let (value, own) = (&entry.value, key.child(field));
        service.places.insert(field.clone(), value.at.clone());
        if !read_identity(reader, &mut service, field, value, &own)
            && !read_runtime(reader, &mut service, field, value, &own)
            && !read_connections(reader, &mut service, field, value, &own)
        {
            // Still there only if it could not be followed, which is told.
            if field == "extends" {
                continue;
            }
            if field == "x-clos" {
                service.clos = clos::service(reader, value, &own);
            } else if keys::unsupported(&own).is_some() {
                reader.unsupported(field, entry, key);
            } else if !field.starts_with("x-") {
                reader.unknown(field, entry, key);
            }
            service.others.insert(field.clone(), value.to_json());
        }
    }
    replicas(reader, &mut service, map, key);
    reader.takes_part = true;
    Some(service)
}

fn takes_part(service: &Map, active: &[String]) -> bool {
    let own = service.get("profiles").and_then(Node::as_list).unwrap_or_default();
    let is_active = |own: &str| active.iter().any(|profile| profile == "*" || profile == own);
    own.is_empty() || own.iter().filter_map(Node::as_text).any(is_active)
}

/// What runs: the image, the command, the names, when it starts and stops.
fn read_identity(r: &mut Reader<'_>, service: &mut Service, field: &str, node: &Node, key: &Key) -> bool {
    match field {
        "image" => service.image = r.some_text(node, key),
        "build" => service.build = build::build(r, node, key),
        "pull_policy" => service.pull_policy = pull_policy(r, node, key),
        "platform" => service.platform = r.some_text(node, key),
        "command" => service.command = command(r, node, key),
        "entrypoint" => service.entrypoint = command(r, node, key),
        "environment" => service.environment = r.pairs(node, key),
        "env_file" => service.env_files = env_files(r, node, key),
        "label_file" => service.label_files = r.text_or_texts(node, key),
        "working_dir" => service.working_dir = r.some_text(node, key),
        "user" => service.user = r.some_text(node, key),
        "group_add" => service.group_add = r.texts_or_numbers(node, key),
        "hostname" => service.hostname = r.some_text(node, key),
        "domainname" => service.domainname = r.some_text(node, key),
        "container_name" => service.container_name = container_name(r, node, key),
        "labels" => service.labels = r.labels(node, key),
        "annotations" => service.annotations = r.labels(node, key),
        "profiles" => service.profiles = profiles(r, node, key),
        "depends_on" => service.depends_on = depends_on(r, node, key),
        "restart" => service.restart = restart(r, node, key),
        "healthcheck" => service.healthcheck = healthcheck(r, node, key),
        "stop_grace_period" => service.stop_grace_period = r.duration(node, key),
        "stop_signal" => service.stop_signal = r.some_text(node, key),
        "scale" => service.scale = r.integer(node, key),
        "deploy" => service.deploy = deploy::deploy(r, node, key),
        "logging" => service.logging = logging(r, node, key),
        "attach" => service.attach = r.boolean(node, key),
        _ => return false,
    }
    true
}

/// How the container is made: its rights, its limits, its kernel.
fn read_runtime(r: &mut Reader<'_>, service: &mut Service, field: &str, node: &Node, key: &Key) -> bool {
    match field {
        "init" => service.init = r.boolean(node, key),
        "tty" => service.tty = r.boolean(node, key).unwrap_or_default(),
        "stdin_open" => service.stdin_open = r.boolean(node, key).unwrap_or_default(),
        "read_only" => service.read_only = r.boolean(node, key).unwrap_or_default(),
        "privileged" => service.privileged = r.boolean(node, key).unwrap_or_default(),
        "cap_add" => service.cap_add = r.texts(node, key),
        "cap_drop" => service.cap_drop = r.texts(node, key),
        "security_opt" => service.security_opt = r.texts(node, key),
        "device_cgroup_rules" => service.device_cgroup_rules = r.texts(node, key),
        "sysctls" => service.sysctls = r.labels(node, key),
        "ulimits" => service.ulimits = r.ulimits(node, key),
        "pid" => service.pid = if node.is_null() { None } else { r.some_text(node, key) },
        "ipc" => service.ipc = r.some_text(node, key),
        "uts" => service.uts = r.some_text(node, key),
        "userns_mode" => service.userns_mode = r.some_text(node, key),
        "cgroup" => service.cgroup = one_of(r, node, key, &["host", "private"]),
        "cgroup_parent" => service.cgroup_parent = r.some_text(node, key),
        "runtime" => service.runtime = r.some_text(node, key),
        "oom_kill_disable" => service.oom_kill_disable = r.boolean(node, key).unwrap_or_default(),
        "oom_score_adj" => service.oom_score_adj = oom_score(r, node, key),
        "shm_size" => service.shm_size = r.bytes(node, key),
        "mem_limit" => service.mem_limit = r.bytes(node, key),
        "mem_reservation" => service.mem_reservation = r.bytes(node, key),
        "memswap_limit" => service.memswap_limit = r.bytes(node, key),
        "mem_swappiness" => service.mem_swappiness = r.bytes(node, key),
        "cpus" => service.cpus = r.float(node, key),
        "cpuset" => service.cpuset = r.some_text(node, key),
        "cpu_shares" => service.cpu_shares = r.integer(node, key),
        "cpu_quota" => service.cpu_quota = r.integer(node, key),
        "cpu_period" => service.cpu_period = r.integer(node, key),
        "pids_limit" => service.pids_limit = r.integer(node, key),
        "storage_opt" => service.storage_opt = r.options(node, key),
        _ => return false,
    }
    true
}

/// What it is joined to: ports, networks, volumes, devices.
fn read_connections(r: &mut Reader<'_>, service: &mut Service, field: &str, node: &Node, key: &Key) -> bool {
    match field {
        "ports" => service.ports = storage::ports(r, node, key),
        "expose" => service.expose = r.texts_or_numbers(node, key),
        "networks" => service.networks = attachments(r, node, key),
        "network_mode" => service.network_mode = r.some_text(node, key),
        "mac_address" => service.mac_address = r.some_text(node, key),
        "extra_hosts" => service.extra_hosts = r.extra_hosts(node, key),
        "dns" => service.dns = r.text_or_texts(node, key),
        "dns_search" => service.dns_search = r.text_or_texts(node, key),
        "dns_opt" => service.dns_opt = r.texts(node, key),
        "links" => service.links = r.texts(node, key),
        "external_links" => service.external_links = r.texts(node, key),
        "volumes" => service.volumes = storage::mounts(r, node, key),
        "volumes_from" => service.volumes_from = r.texts(node, key),
        "tmpfs" => service.tmpfs = r.text_or_texts(node, key),
        "configs" => service.configs = storage::file_mounts(r, node, key),
        "secrets" => service.secrets = storage::file_mounts(r, node, key),
        "devices" => service.devices = devices(r, node, key),
        _ => return false,
    }
    true
}

pub(super) fn one_of(r: &mut Reader<'_>, node: &Node, key: &Key, allowed: &[&str]) -> Option<String> {
    let word = r.text(node, key)?;
    if allowed.contains(&word.as_str()) {
        return Some(word);
    }
    let message = format!("`{}` is not one of {}", crate::node::shorten(&word), allowed.join(", "));
    r.error(Code::InvalidValue, node, key, message);
    None
}

/// A list as it is, a string split into words.
pub(super) fn command(r: &mut Reader<'_>, node: &Node, key: &Key) -> Option<Vec<String>> {
    match &node.kind {
        Kind::Null => None,
        Kind::Text(line) if !node.pending => match words::split(line) {
            Ok(words) => Some(words),
            Err(problem) => {
                r.error(Code::InvalidValue, node, key, problem.to_string());
                None
            }
        },
        Kind::Text(_) => None,
        _ => Some(r.texts(node, key)),
    }
}

fn container_name(r: &mut Reader<'_>, node: &Node, key: &Key) -> Option<String> {
    let name = r.some_text(node, key)?;
    let starts_well = name.starts_with(|c: char| c.is_ascii_alphanumeric());
    let good =
        starts_well && name.len() > 1 && name.chars().all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c));
    if good && name.len() <= 255 {
        return Some(name);
    }
    let shown = crate::node::shorten(&name);
    let message = format!(
        "`{shown}` is not a container name: two to 255 letters, digits, `_`, `.`, `-`, starting with a letter or digit"
    );
    r.error(Code::InvalidName, node, key, message);
    None
}

fn profiles(r: &mut Reader<'_>, node: &Node, key: &Key) -> Vec<String> {
    let profiles = r.texts(node, key);
    for profile in &profiles {
        let starts_well = profile.starts_with(|c: char| c.is_ascii_alphanumeric());
        if !starts_well || !profile.chars().all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c)) {
            let shown = crate::node::shorten(profile);
            r.error(Code::InvalidName, node, key, format!("`{shown}` is not a profile name"));
        }
    }
    profiles
}

fn pull_policy(r: &mut Reader<'_>, node: &Node, key: &Key) -> Option<PullPolicy> {
    const DAY: u64 = 86_400;
    let word = r.some_text(node, key)?;
    let every = |seconds| Some(PullPolicy::Refresh(Some(std::time::Duration::from_secs(seconds))));
    let policy = match word.as_str() {
        "always" => Some(PullPolicy::Always),
        "never" => Some(PullPolicy::Never),
        "missing" | "if_not_present" => Some(PullPolicy::Missing),
        "build" => Some(PullPolicy::Build),
        "refresh" => Some(PullPolicy::Refresh(None)),
        "daily" => every(DAY),
        "weekly" => every(7 * DAY),
        other => {
            let age = other.strip_prefix("every_").and_then(units::duration);
            age.map(|age| PullPolicy::Refresh(Some(age)))
        }
    };
    if policy.is_none() {
        let shown = crate::node::shorten(&word);
        let message =
            format!("`{shown}` is not one of always, never, missing, build, refresh, daily, weekly, every_…");
        r.error(Code::InvalidValue, node, key, message);
    }
    policy
}

fn restart(r: &mut Reader<'_>, node: &Node, key: &Key) -> Option<Restart> {
    let word = r.some_text(node, key)?;
    let policy = match word.as_str() {
        "no" => Some(Restart::No),
        "always" => Some(Restart::Always),
        "unless-stopped" => Some(Restart::UnlessStopped),
        "on-failure" => Some(Restart::OnFailure { attempts: None }),
        other => {
            let attempts = other.strip_prefix("on-failure:").and_then(|attempts| attempts.parse().ok());
            attempts.map(|attempts| Restart::OnFailure { attempts: Some(attempts) })
        }
    };
    if policy.is_none() {
        let shown = crate::node::shorten(&word);
        let message = format!("`{shown}` is not one of no, always, unless-stopped, on-failure, on-failure:N");
        r.error(Code::InvalidValue, node, key, message);
    }
    policy
}

fn oom_score(r: &mut Reader<'_>, node: &Node, key: &Key) -> i64 {
    let score = r.integer(node, key).unwrap_or_default();
    if !(-1000..=1000).contains(&score) {
        r.error(Code::InvalidValue, node, key, format!("{score} is not between -1000 and 1000"));
    }
    score
}

fn env_files(r: &mut Reader<'_>, node: &Node, key: &Key) -> Vec<EnvFile> {
    let mut files = Vec::new();
    for (index, item) in r.list(node, key).unwrap_or_default().iter().enumerate() {
        let key = key.item(index);
        let Some(map) = r.map(item, &key) else { continue };
        let mut file = EnvFile { path: String::new(), required: true, raw: false, at: item.at.clone() };
        let mut complete = false;
        for (field, entry) in map.iter() {
            let (value, own) = (&entry.value, key.child(field));
            match field.as_str() {
                "path" => {
                    complete = true;
                    file.path = r.text(value, &own).unwrap_or_default();
                }
                "required" => file.required = r.boolean(value, &own).unwrap_or(true),
                "format" => {
                    file.raw = one_of(r, value, &own, &["raw", ""]).is_some_and(|format| format == "raw");
                }
                _ if field.starts_with("x-") => {}
                _ => r.unknown(field, entry, &key),
            }
        }
        if !complete {
            r.error(Code::MissingKey, item, &key.child("path"), "an env file needs a path");
        } else if !file.path.is_empty() {
            files.push(file);
        }
    }
    files
}

fn depends_on(r: &mut Reader<'_>, node: &Node, key: &Key) -> Vec<Dependency> {
    let mut dependencies = Vec::new();
    let Some(map) = r.map(node, key) else { return dependencies };
    for (name, entry) in map.iter() {
        let key = key.child(name);
        let Some(edge) = entry.value.as_map() else { continue };
        let mut dependency = Dependency {
            service: name.clone(),
            condition: Condition::Started,
            restart: false,
            required: true,
            at: entry.key_at.clone(),
        };
        for (field, entry) in edge.iter() {
            let (value, own) = (&entry.value, key.child(field));
            match field.as_str() {
                "condition" => {
                    let words = [Condition::Started, Condition::Healthy, Condition::Completed];
                    let names = words.map(Condition::as_str);
                    if let Some(word) = one_of(r, value, &own, &names) {
                        let found = words.into_iter().find(|condition| condition.as_str() == word);
                        dependency.condition = found.unwrap_or(Condition::Started);
                    }
                }
                "restart" => dependency.restart = r.boolean(value, &own).unwrap_or_default(),
                "required" => dependency.required = r.boolean(value, &own).unwrap_or(true),
                _ if field.starts_with("x-") => {}
                _ => r.unknown(field, entry, &key),
            }
        }
        dependencies.push(dependency);
    }
    dependencies
}

fn healthcheck(r: &mut Reader<'_>, node: &Node, key: &Key) -> Option<HealthCheck> {
    let map = r.map(node, key)?;
    let mut check = HealthCheck::default();
    for (field, entry) in map.iter() {
        let (value, own) = (&entry.value, key.child(field));
        match field.as_str() {
            "test" => check.test = health_test(r, value, &own),
            "interval" => check.interval = r.duration(value, &own),
            "timeout" => check.timeout = r.duration(value, &own),
            "retries" => check.retries = r.count(value, &own),
            "start_period" => check.start_period = r.duration(value, &own),
            "start_interval" => check.start_interval = r.duration(value, &own),
            "disable" => check.disable = r.boolean(value, &own).unwrap_or_default(),
            _ if field.starts_with("x-") => {}
            _ => r.unknown(field, entry, key),
        }
    }
    Some(check)
}

fn health_test(r: &mut Reader<'_>, node: &Node, key: &Key) -> Option<Vec<String>> {
    if matches!(node.kind, Kind::Text(_)) {
        return r.text(node, key).map(|line| vec!["CMD-SHELL".to_owned(), line]);
    }
    let test = r.texts(node, key);
    let known = test.first().is_none_or(|word| ["CMD", "CMD-SHELL", "NONE"].contains(&word.as_str()));
    let waiting = node.as_list().is_some_and(|items| items.iter().any(|item| item.pending));
    if !known && !waiting {
        r.error(Code::InvalidValue, node, key, "the list has to start with CMD, CMD-SHELL or NONE");
    }
    (!test.is_empty()).then_some(test)
}

fn logging(r: &mut Reader<'_>, node: &Node, key: &Key) -> Option<Logging> {
    let map = r.map(node, key)?;
    let mut logging = Logging::default();
    for (field, entry) in map.iter() {
        let (value, own) = (&entry.value, key.child(field));
        match field.as_str() {
            "driver" => logging.driver = r.some_text(value, &own),
            "options" => logging.options = r.options(value, &own),
            _ if field.starts_with("x-") => {}
            _ => r.unknown(field, entry, key),
        }
    }
    Some(logging)
}

fn devices(r: &mut Reader<'_>, node: &Node, key: &Key) -> Vec<Device> {
    let mut devices = Vec::new();
    for (index, item) in r.list(node, key).unwrap_or_default().iter().enumerate() {
        let key = key.item(index);
        if item.pending {
            continue;
        }
        let Some(map) = r.map(item, &key) else { continue };
        let mut texts: BTreeMap<&str, String> = BTreeMap::new();
        for (field, entry) in map.iter() {
            match field.as_str() {
                "source" | "target" | "permissions" => {
                    texts.extend(r.text(&entry.value, &key.child(field)).map(|text| (field.as_str(), text)));
                }
                _ if field.starts_with("x-") => {}
                _ => r.unknown(field, entry, &key),
            }
        }
        let Some(source) = texts.remove("source") else {
            r.error(Code::MissingKey, item, &key.child("source"), "a device needs a source");
            continue;
        };
        let target = texts.remove("target").unwrap_or_else(|| source.clone());
        let permissions = texts.remove("permissions").unwrap_or_default();
        devices.push(Device { source, target, permissions, at: item.at.clone() });
    }
    devices
}

fn attachments(r: &mut Reader<'_>, node: &Node, key: &Key) -> Vec<Attachment> {
    let mut attachments = Vec::new();
    let Some(map) = r.map(node, key) else { return attachments };
    for (name, entry) in map.iter() {
        let key = key.child(name);
        let mut attachment = Attachment { network: name.clone(), ..Attachment::default() };
        if entry.value.is_null() {
            attachments.push(attachment);
            continue;
        }
        let Some(map) = r.map(&entry.value, &key) else { continue };
        attachment.is_map = true;
        for (field, entry) in map.iter() {
            let (value, own) = (&entry.value, key.child(field));
            match field.as_str() {
                "aliases" => attachment.aliases = r.texts(value, &own),
                "ipv4_address" => attachment.ipv4_address = address(r, value, &own),
                "ipv6_address" => attachment.ipv6_address = address(r, value, &own),
                "link_local_ips" => attachment.link_local_ips = r.texts(value, &own),
                "mac_address" => attachment.mac_address = r.some_text(value, &own),
                "driver_opts" => attachment.driver_opts = r.options(value, &own),
                "interface_name" => attachment.interface_name = r.some_text(value, &own),
                "priority" => attachment.priority = r.integer(value, &own).unwrap_or_default(),
                "gw_priority" => attachment.gw_priority = r.integer(value, &own).unwrap_or_default(),
                _ if field.starts_with("x-") => {}
                _ => r.unknown(field, entry, &key),
            }
        }
        attachments.push(attachment);
    }
    attachments
}

fn address(r: &mut Reader<'_>, node: &Node, key: &Key) -> Option<String> {
    let text = r.some_text(node, key)?;
    if text.parse::<std::net::IpAddr>().is_err() {
        r.error(
            Code::InvalidValue,
            node,
            key,
            format!("`{}` is not an IP address", crate::node::shorten(&text)),
        );
        return None;
    }
    Some(text)
}

/// `scale` and `deploy.replicas` say the same thing. More than one container of a service is not what we do.
fn replicas(r: &mut Reader<'_>, service: &mut Service, map: &Map, key: &Key) {
    let of_deploy = service.deploy.as_ref().and_then(|deploy| deploy.replicas);
    let node_at = |name: &str| map.get(name);
    if let (Some(scale), Some(replicas)) = (service.scale, of_deploy)
        && scale != replicas
        && let Some(node) = node_at("scale")
    {
        let message =
            format!("{scale} differs from `deploy.replicas`, which is {replicas}; keep one of them");
        r.error(Code::Conflict, node, &key.child("scale"), message);
        return;
    }
    let (wanted, node, own) = match (service.scale, of_deploy) {
        (Some(scale), _) => (scale, node_at("scale"), key.child("scale")),
        (None, Some(replicas)) => {
            let node = node_at("deploy").and_then(Node::as_map).and_then(|deploy| deploy.get("replicas"));
            (replicas, node, key.child("deploy").child("replicas"))
        }
        (None, None) => return,
    };
    let Some(node) = node else { return };
    if let (Some(scale), Some(deploy)) = (service.scale, service.deploy.as_mut()) {
        deploy.replicas = Some(scale);
    }
    match u32::try_from(wanted) {
        Ok(replicas @ 0..=1) => service.replicas = replicas,
        Ok(_) if !r.takes_part => {}
        Ok(_) => {
            let message = format!(
                "{wanted} containers of one service are not supported; write the service out {wanted} times, or set it to 1"
            );
            r.error(Code::UnsupportedReplicas, node, &own, message);
        }
        Err(_) => r.error(Code::InvalidValue, node, &own, format!("{wanted} is not a number of containers")),
    }
}
