//! The container of a service: `docker_config`.

use std::collections::BTreeMap;

use clos_domain::copied::Obstacle;
use clos_domain::health::Check;
use clos_domain::name::{is_image_reference, shown};
use clos_domain::service::Service;
use clos_domain::workload::{Build, Container, Join, Logging, Mount, MountKind, PullPolicy, Restart, Run};
use clos_proto::v2 as pb;
use indexmap::IndexMap;

use super::service::{in_order, unmasked, unmasked_words};
use super::{Violations, health, some};
use crate::encode;

/// What `docker_config` says; the wire has more in it than the domain's container.
pub(crate) struct Docker {
    pub(crate) run: Run,
    pub(crate) health: Option<Check>,
    pub(crate) restart: Restart,
    pub(crate) logging: Option<Logging>,
    pub(crate) labels: IndexMap<String, String>,
    pub(crate) container_name: Option<String>,
}

/// Reads it beside what there is; `None` when something in it is wrong.
pub(crate) fn docker(
    v: &mut Violations,
    wanted: Option<&pb::DockerConfig>,
    before: Option<&Service>,
) -> Option<Docker> {
    let old = before.map(|service| &service.definition);
    let missing = pb::DockerConfig::default();
    let wanted = wanted.unwrap_or(&missing);
    if let Some(old) = old {
        let comes_back = pb::DockerConfig { container_id: String::new(), ..wanted.clone() }
            == encode::container::docker_config(old);
        if comes_back {
            // What was shown and is not touched is kept to the letter.
            return Some(Docker {
                run: old.run.clone(),
                health: old.health.clone(),
                restart: old.restart,
                logging: old.logging.clone(),
                labels: old.labels.clone(),
                container_name: old.container_name.clone(),
            });
        }
    }
    let count = v.count();
    if !wanted.container_name.is_empty() && !is_container_name(&wanted.container_name) {
        let message = format!(
            "`{}` is not a container name: it must match [a-zA-Z0-9][a-zA-Z0-9_.-]*",
            shown(&wanted.container_name)
        );
        v.add("docker_config.container_name", message);
    }
    let health =
        wanted.healthcheck.as_ref().and_then(|check| health::engine(v, "docker_config.healthcheck", check));
    let restart = restart(v, &wanted.restart_policy);
    let old_build = old.and_then(|old| old.container().build.as_ref());
    let mut container = container(v, wanted, old_build)?;
    let known = old.map(|old| old.container());
    let command = known.and_then(|known| known.command.as_deref());
    container.command = unmasked_words(v, "docker_config.command", container.command, command);
    let entrypoint = known.and_then(|known| known.entrypoint.as_deref());
    container.entrypoint = unmasked_words(v, "docker_config.entrypoint", container.entrypoint, entrypoint);
    let logging = wanted.logging.as_ref();
    let logging =
        logging.map(|one| super::service::logging(v, one, old.and_then(|old| old.logging.as_ref())));
    keep_files(v, &mut container, old.map(|old| old.container()));
    if v.count() > count {
        return None;
    }
    Some(Docker {
        run: Run::Container(Box::new(container)),
        health,
        restart: restart?,
        logging,
        labels: in_order(wanted.labels.clone(), old.map(|old| &old.labels)),
        container_name: some(&wanted.container_name),
    })
}

fn is_container_name(raw: &str) -> bool {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
    raw.len() <= 128
        && raw.bytes().all(good)
        && raw.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric())
}

fn container(v: &mut Violations, wanted: &pb::DockerConfig, old_build: Option<&Build>) -> Option<Container> {
    // A build may go without.
    if !wanted.image.is_empty() && !is_image_reference(&wanted.image) {
        let message = format!("`{}` is not an image reference like `postgres:17`", shown(&wanted.image));
        v.add("docker_config.image", message);
    }
    let build = wanted.build.as_ref().map(|wanted| build(v, wanted, old_build));
    let pull = pull(v, "docker_config.pull_policy", wanted.pull_policy);
    if pull == Some(PullPolicy::Build) && build.is_none() {
        v.add("docker_config.pull_policy", "build needs docker_config.build; say how the image is built");
    }
    if !wanted.network_mode.is_empty() && !wanted.networks.is_empty() {
        v.add(
            "docker_config.network_mode",
            format!("`{}` stands beside networks; give one of them", shown(&wanted.network_mode)),
        );
    }
    let networks = wanted.networks.iter().enumerate().map(|(index, one)| join(v, index, one)).collect();
    let mounts = wanted.volumes.iter().enumerate().filter_map(|(index, one)| mount(v, index, one)).collect();
    let oom_score_adj =
        wanted.oom_score_adj.and_then(|score| v.within("docker_config.oom_score_adj", score, -1_000, 1_000));
    let ulimits = wanted
        .ulimits
        .iter()
        .map(|(name, limit)| {
            (name.clone(), ulimit(v, &format!("docker_config.ulimits[{}]", shown(name)), limit))
        })
        .collect();
    let shm_size = v.positive("docker_config.shm_size", wanted.shm_size);
    Some(Container {
        image: wanted.image.clone(),
        build,
        pull: pull?,
        command: words(&wanted.command),
        entrypoint: words(&wanted.entrypoint),
        networks,
        network_mode: some(&wanted.network_mode),
        mounts,
        working_dir: some(&wanted.working_dir),
        user: some(&wanted.user),
        group_add: wanted.group_add.clone(),
        hostname: some(&wanted.hostname),
        domainname: some(&wanted.domainname),
        extra_hosts: hosts(&wanted.extra_hosts),
        dns: wanted.dns.clone(),
        dns_search: wanted.dns_search.clone(),
        dns_opt: wanted.dns_opt.clone(),
        expose: wanted.expose.clone(),
        platform: some(&wanted.platform),
        init: wanted.init,
        tty: wanted.tty,
        stdin_open: wanted.stdin_open,
        read_only: wanted.read_only,
        privileged: wanted.privileged,
        cap_add: wanted.cap_add.clone(),
        cap_drop: wanted.cap_drop.clone(),
        security_opt: wanted.security_opt.clone(),
        devices: wanted.devices.clone(),
        sysctls: wanted.sysctls.clone(),
        pid: some(&wanted.pid),
        ipc: some(&wanted.ipc),
        uts: some(&wanted.uts),
        userns_mode: some(&wanted.userns_mode),
        cgroup: some(&wanted.cgroup),
        shm_size,
        tmpfs: wanted.tmpfs.clone(),
        ulimits,
        cgroup_parent: some(&wanted.cgroup_parent),
        runtime: some(&wanted.runtime),
        oom_score_adj,
        volumes_from: wanted.volumes_from.clone(),
        files: Vec::new(),
    })
}

/// Secrets and configs that are copied into the container come from the compose file only; the API neither shows
/// nor changes them.
fn keep_files(v: &mut Violations, container: &mut Container, old: Option<&Container>) {
    let files = old.map(|old| old.files.clone()).unwrap_or_default();
    for file in &files {
        let Some(obstacle) = container.obstacle(&file.target) else { continue };
        let field = match obstacle {
            Obstacle::ReadOnly => "docker_config.read_only",
            Obstacle::Mount { target, .. } if container.tmpfs.contains_key(target) => "docker_config.tmpfs",
            Obstacle::Mount { .. } | Obstacle::Engine(_) => "docker_config.volumes",
        };
        let message = format!(
            "a secret or config is copied to `{}` before the container starts, but {obstacle}",
            shown(&file.target)
        );
        v.add(field, message);
    }
    container.files = files;
}

/// No words leave the image's own, one empty word clears them.
fn words(wanted: &[String]) -> Option<Vec<String>> {
    match wanted {
        [] => None,
        [only] if only.is_empty() => Some(Vec::new()),
        words => Some(words.to_vec()),
    }
}

fn hosts(wanted: &[pb::ExtraHost]) -> Vec<(String, String)> {
    wanted.iter().map(|one| (one.host.clone(), one.address.clone())).collect()
}

fn build(v: &mut Violations, wanted: &pb::Build, before: Option<&Build>) -> Build {
    if !wanted.context.starts_with('/') {
        let message =
            format!("`{}` must be an absolute folder of the daemon's machine", shown(&wanted.context));
        v.add("docker_config.build.context", message);
    }
    if !wanted.dockerfile.is_empty() && !wanted.dockerfile_inline.is_empty() {
        v.add("docker_config.build.dockerfile_inline", "it stands beside dockerfile; give one of them");
    }
    let known = before.map(|build| &build.args);
    let mut args = BTreeMap::new();
    for (key, value) in &wanted.args {
        let field = format!("docker_config.build.args[{}]", shown(key));
        let known = known.and_then(|args| args.get(key)).and_then(Option::as_deref);
        let value = value.value.as_deref().map(|value| unmasked(v, &field, value, known));
        args.insert(key.clone(), value);
    }
    Build {
        context: wanted.context.clone(),
        dockerfile: some(&wanted.dockerfile),
        dockerfile_inline: some(&wanted.dockerfile_inline),
        args: in_order(args, known),
        labels: wanted.labels.clone(),
        target: some(&wanted.target),
        tags: wanted.tags.clone(),
        cache_from: wanted.cache_from.clone(),
        no_cache: wanted.no_cache,
        pull: wanted.pull,
        network: some(&wanted.network),
        shm_size: v.positive("docker_config.build.shm_size", wanted.shm_size),
        platform: some(&wanted.platform),
        extra_hosts: hosts(&wanted.extra_hosts),
        digest: String::new(),
    }
}

/// The word of a pull policy; unspecified is when the image is missing.
fn pull(v: &mut Violations, field: &str, number: i32) -> Option<PullPolicy> {
    Some(match v.word(field, number)? {
        pb::PullPolicy::Unspecified | pb::PullPolicy::Missing => PullPolicy::Missing,
        pb::PullPolicy::Always => PullPolicy::Always,
        pb::PullPolicy::Never => PullPolicy::Never,
        pb::PullPolicy::Build => PullPolicy::Build,
    })
}

fn join(v: &mut Violations, index: usize, wanted: &pb::NetworkAttachment) -> Join {
    let field = format!("docker_config.networks[{index}]");
    if wanted.name.is_empty() {
        v.add(format!("{field}.name"), "it is missing; give the network's name in the file");
    }
    let addresses = [("ipv4_address", &wanted.ipv4_address), ("ipv6_address", &wanted.ipv6_address)];
    for (name, address) in addresses {
        if !address.is_empty() && address.parse::<std::net::IpAddr>().is_err() {
            v.add(format!("{field}.{name}"), format!("`{}` is not an IP address", shown(address)));
        }
    }
    Join {
        network: wanted.name.clone(),
        aliases: wanted.aliases.clone(),
        ipv4_address: some(&wanted.ipv4_address),
        ipv6_address: some(&wanted.ipv6_address),
        mac_address: some(&wanted.mac_address),
    }
}

fn mount(v: &mut Violations, index: usize, wanted: &pb::VolumeMount) -> Option<Mount> {
    let field = format!("docker_config.volumes[{index}]");
    let kind = match v.word(&format!("{field}.type"), wanted.r#type)? {
        pb::MountType::Unspecified | pb::MountType::Volume => MountKind::Volume,
        pb::MountType::Bind => MountKind::Bind,
        pb::MountType::Tmpfs => MountKind::Tmpfs,
    };
    if !wanted.target.starts_with('/') {
        let message = format!("`{}` must be an absolute path in the container", shown(&wanted.target));
        v.add(format!("{field}.target"), message);
    }
    match kind {
        MountKind::Bind if !wanted.source.starts_with('/') => {
            let message = format!("`{}` must be an absolute path of the host", shown(&wanted.source));
            v.add(format!("{field}.source"), message);
        }
        MountKind::Volume if wanted.source.contains('/') => {
            let message =
                format!("`{}` is a path; give the volume's name, or the type bind", shown(&wanted.source));
            v.add(format!("{field}.source"), message);
        }
        MountKind::Tmpfs if !wanted.source.is_empty() => {
            let message = format!("`{}`: memory has no source; leave it out", shown(&wanted.source));
            v.add(format!("{field}.source"), message);
        }
        _ => {}
    }
    if !matches!(wanted.selinux.as_str(), "" | "z" | "Z") {
        v.add(format!("{field}.selinux"), format!("`{}` is neither `z` nor `Z`", shown(&wanted.selinux)));
    }
    let mode = wanted.mode.and_then(|mode| v.within(&format!("{field}.mode"), mode.into(), 0, 0o7777));
    Some(Mount {
        kind,
        source: some(&wanted.source),
        target: wanted.target.clone(),
        read_only: wanted.read_only,
        create_host_path: wanted.create_host_path,
        propagation: some(&wanted.propagation),
        selinux: some(&wanted.selinux),
        no_copy: wanted.no_copy,
        subpath: some(&wanted.subpath),
        size: v.positive(&format!("{field}.size"), wanted.size),
        mode,
    })
}

fn ulimit(v: &mut Violations, field: &str, wanted: &pb::Ulimit) -> (i64, i64) {
    let exceeds = wanted.hard >= 0 && (wanted.soft < 0 || wanted.soft > wanted.hard);
    if wanted.soft < -1 || wanted.hard < -1 || exceeds {
        let message = format!(
            "soft {} and hard {} must be -1 for no limit, or counts with soft no more than hard",
            wanted.soft, wanted.hard
        );
        v.add(field, message);
    }
    (wanted.soft, wanted.hard)
}

/// `no`, `always`, `unless-stopped`, `on-failure`, `on-failure:5`.
fn restart(v: &mut Violations, raw: &str) -> Option<Restart> {
    let policy = match raw {
        "" | "no" => Some(Restart::No),
        "always" => Some(Restart::Always),
        "unless-stopped" => Some(Restart::UnlessStopped),
        "on-failure" => Some(Restart::OnFailure { max_retries: 0 }),
        other => {
            let times = other.strip_prefix("on-failure:").and_then(|times| times.parse().ok());
            times.map(|max_retries| Restart::OnFailure { max_retries })
        }
    };
    if policy.is_none() {
        let message =
            format!("`{}` is not one of no, always, unless-stopped, on-failure, on-failure:N", shown(raw));
        v.add("docker_config.restart_policy", message);
    }
    policy
}
