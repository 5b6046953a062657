//! What only a container has. Networks, volumes and other services keep the file's names.

use std::collections::BTreeMap;

use clos_compose::{self as compose, model};
use clos_domain::name::{is_image_reference, shown};
use clos_domain::workload::{Container, Join, PullPolicy};

use super::{IGNORED_TEXT, Site, build, files, limits, mounts};

pub(super) fn container(project: &compose::Project, site: &mut Site<'_>) -> Container {
    let service = site.service;
    sharing(site);
    if let Some(image) = service.image.as_deref().filter(|image| !is_image_reference(image)) {
        site.error("image", format!("`{}` is not an image reference like `postgres:17`", shown(image)));
    }
    let mut container = Container {
        // Without one, the domain gives a build compose's own name.
        image: service.image.clone().unwrap_or_default(),
        build: build::build(site),
        pull: pull(site),
        command: service.command.clone(),
        entrypoint: service.entrypoint.clone(),
        networks: joins(site),
        network_mode: service.network_mode.clone(),
        mounts: mounts::mounts(site),
        working_dir: working_dir(site),
        user: service.user.clone(),
        group_add: service.group_add.clone(),
        hostname: service.hostname.clone(),
        domainname: service.domainname.clone(),
        extra_hosts: hosts(&service.extra_hosts),
        dns: service.dns.clone(),
        dns_search: service.dns_search.clone(),
        dns_opt: service.dns_opt.clone(),
        expose: expose(site),
        platform: service.platform.clone(),
        init: service.init,
        tty: service.tty,
        stdin_open: service.stdin_open,
        read_only: service.read_only,
        privileged: service.privileged,
        cap_add: service.cap_add.clone(),
        cap_drop: service.cap_drop.clone(),
        security_opt: service.security_opt.clone(),
        devices: devices(site),
        sysctls: service.sysctls.clone(),
        pid: namespace(site, "pid", service.pid.as_deref(), &["host"], true),
        ipc: namespace(site, "ipc", service.ipc.as_deref(), &["host", "none", "private", "shareable"], true),
        uts: namespace(site, "uts", service.uts.as_deref(), &["host"], false),
        userns_mode: namespace(site, "userns_mode", service.userns_mode.as_deref(), &["host"], false),
        cgroup: service.cgroup.clone(),
        shm_size: limits::bytes(site, "shm_size", service.shm_size),
        tmpfs: mounts::tmpfs(site),
        ulimits: ulimits(&service.ulimits),
        cgroup_parent: service.cgroup_parent.clone(),
        runtime: service.runtime.clone(),
        oom_score_adj: Some(service.oom_score_adj).filter(|score| *score != 0),
        volumes_from: volumes_from(site),
        files: Vec::new(),
    };
    files::add(project, site, &mut container);
    container
}

pub(super) fn hosts(hosts: &[model::ExtraHost]) -> Vec<(String, String)> {
    hosts.iter().map(|one| (one.host.clone(), one.address.clone())).collect()
}

fn ulimits(limits: &BTreeMap<String, model::Ulimit>) -> BTreeMap<String, (i64, i64)> {
    let pair = |limit: &model::Ulimit| match *limit {
        model::Ulimit::Both(both) => (both, both),
        model::Ulimit::Each { soft, hard } => (soft, hard),
    };
    limits.iter().map(|(name, limit)| (name.clone(), pair(limit))).collect()
}

fn pull(site: &mut Site<'_>) -> PullPolicy {
    match site.service.pull_policy {
        None | Some(model::PullPolicy::Missing) => PullPolicy::Missing,
        Some(model::PullPolicy::Always) => PullPolicy::Always,
        Some(model::PullPolicy::Never) => PullPolicy::Never,
        Some(model::PullPolicy::Build) => {
            if site.service.build.is_none() {
                site.error("pull_policy", "`build` needs a `build` section; add one or take `missing`");
            }
            PullPolicy::Build
        }
        Some(model::PullPolicy::Refresh(_)) => {
            let message =
                "the age of an image is not looked at; it is pulled when it is missing, and by `--pull`";
            site.warn("pull_policy", message);
            PullPolicy::Missing
        }
    }
}

fn working_dir(site: &mut Site<'_>) -> Option<String> {
    let folder = site.service.working_dir.clone()?;
    if !folder.starts_with('/') {
        let message =
            format!("`{}` is not an absolute path; folders in a container start with `/`", shown(&folder));
        site.error("working_dir", message);
    }
    Some(folder)
}

/// The one with the highest priority first, as the engine's default gateway follows from the order.
fn joins(site: &mut Site<'_>) -> Vec<Join> {
    let service = site.service;
    let mut attachments: Vec<&model::Attachment> = service.networks.iter().collect();
    attachments.sort_by(|one, other| {
        other.priority.cmp(&one.priority).then_with(|| one.network.cmp(&other.network))
    });
    let mut joins = Vec::new();
    for attachment in attachments {
        let table = [
            ("link_local_ips", !attachment.link_local_ips.is_empty()),
            ("driver_opts", !attachment.driver_opts.is_empty()),
            ("interface_name", attachment.interface_name.is_some()),
            ("gw_priority", attachment.gw_priority != 0),
        ];
        for (field, is_there) in table {
            if is_there {
                let key = site.key("networks").child(&attachment.network).child(field);
                let at = site.at("networks");
                site.report.warn(&at, &key, IGNORED_TEXT);
            }
        }
        joins.push(Join {
            network: attachment.network.clone(),
            aliases: attachment.aliases.clone(),
            ipv4_address: attachment.ipv4_address.clone(),
            ipv6_address: attachment.ipv6_address.clone(),
            mac_address: attachment.mac_address.clone(),
        });
    }
    if let Some(mac) = &service.mac_address {
        match joins.first_mut() {
            Some(first) => drop(first.mac_address.get_or_insert_with(|| mac.clone())),
            None => {
                site.warn(
                    "mac_address",
                    "it belongs to a network of the project, and the service joins none",
                );
            }
        }
    }
    joins
}

/// A container that lives in another's network has none of these for itself; the engine refuses them.
fn sharing(site: &mut Site<'_>) {
    let service = site.service;
    let Some(mode) = service.network_mode.as_deref() else { return };
    if !mode.starts_with("service:") && !mode.starts_with("container:") {
        return;
    }
    let table = [
        ("ports", !service.ports.is_empty()),
        ("expose", !service.expose.is_empty()),
        ("hostname", service.hostname.is_some()),
        ("dns", !service.dns.is_empty()),
        ("extra_hosts", !service.extra_hosts.is_empty()),
        ("mac_address", service.mac_address.is_some()),
    ];
    let (_, other) = mode.split_once(':').unwrap_or_default();
    for (field, is_there) in table {
        if is_there {
            let message = format!(
                "the service shares the network of `{}`, to which this belongs; move it there",
                shown(other)
            );
            site.error(field, message);
        }
    }
}

fn namespace(
    site: &mut Site<'_>,
    field: &str,
    mode: Option<&str>,
    words: &[&str],
    shareable: bool,
) -> Option<String> {
    let mode = mode?;
    let is_shared = mode.starts_with("service:") || mode.starts_with("container:");
    if words.contains(&mode) || (shareable && is_shared) {
        return Some(mode.to_owned());
    }
    let mut allowed = words.to_vec();
    if shareable {
        allowed.extend(["service:NAME", "container:NAME"]);
    }
    site.error(field, format!("`{}` is not one of {}", shown(mode), allowed.join(", ")));
    None
}

/// `expose` names at most so many ports; more is a slip, and work without end.
const MOST_EXPOSED: usize = 4_096;

/// `8080`, `8080/udp`, `3000-3005` → `8080/tcp` and its like.
fn expose(site: &mut Site<'_>) -> Vec<String> {
    let mut exposed = Vec::new();
    for text in &site.service.expose {
        let (ports, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
        let (first, last) = ports.split_once('-').unwrap_or((ports, ports));
        let protocol = protocol.to_ascii_lowercase();
        let range = first.parse::<u16>().ok().zip(last.parse::<u16>().ok());
        let range = range.filter(|(first, last)| 0 < *first && first <= last);
        let Some((first, last)) = range.filter(|_| ["tcp", "udp", "sctp"].contains(&protocol.as_str()))
        else {
            let message = format!(
                "`{}` is not a port of a container; write it as `8080`, `8080/udp` or `3000-3005`",
                shown(text)
            );
            site.error("expose", message);
            continue;
        };
        if exposed.len() + usize::from(last - first) >= MOST_EXPOSED {
            let message =
                format!("it names more than {MOST_EXPOSED} ports; name those that something listens on");
            site.error("expose", message);
            break;
        }
        exposed.extend((first..=last).map(|port| format!("{port}/{protocol}")));
    }
    exposed
}

fn devices(site: &mut Site<'_>) -> Vec<String> {
    let mut devices = Vec::new();
    for (index, device) in site.service.devices.iter().enumerate() {
        let target = if device.target.is_empty() { &device.source } else { &device.target };
        let permissions = if device.permissions.is_empty() { "rwm" } else { &device.permissions };
        let is_path = |path: &str| path.starts_with('/') && !path.contains(':');
        if !is_path(&device.source) || !is_path(target) {
            let message = format!(
                "`{}` is not a path like `/dev/ttyUSB0`; other devices cannot be passed",
                shown(&device.source)
            );
            site.error_in("devices", index, &device.at, message);
            continue;
        }
        if permissions.is_empty() || !permissions.chars().all(|c| "rwm".contains(c)) {
            let message = format!("`{}` is not made of r, w and m", shown(permissions));
            site.error_in("devices", index, &device.at, message);
            continue;
        }
        devices.push(format!("{}:{target}:{permissions}", device.source));
    }
    devices
}

/// `db`, `db:ro`, `container:name`, `container:name:ro`.
fn volumes_from(site: &mut Site<'_>) -> Vec<String> {
    let mut sources = Vec::new();
    for text in &site.service.volumes_from {
        let bare = text.strip_prefix("container:").unwrap_or(text);
        let (name, mode) = bare.split_once(':').unwrap_or((bare, "rw"));
        if name.is_empty() || !matches!(mode, "ro" | "rw") {
            let message = format!("`{}` is not `service`, `service:ro` or `container:name`", shown(text));
            site.error("volumes_from", message);
            continue;
        }
        sources.push(text.clone());
    }
    sources
}
