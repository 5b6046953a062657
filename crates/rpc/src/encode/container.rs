//! The container of a service.

use clos_domain::service::Definition;
use clos_domain::workload::{Build, Join, Logging, Mount, MountKind, PullPolicy};
use clos_proto::v2 as pb;

use super::{count, health, masked, masked_words, options, text};

/// Everything of a definition that concerns its container; which one it is belongs to the state.
pub(crate) fn docker_config(definition: &Definition) -> pb::DockerConfig {
    let container = definition.container();
    pb::DockerConfig {
        container_id: String::new(),
        container_name: text(definition.container_name.as_ref()),
        image: container.image.clone(),
        build: container.build.as_ref().map(build),
        pull_policy: pull(container.pull).into(),
        command: words(container.command.as_deref()),
        entrypoint: words(container.entrypoint.as_deref()),
        networks: container.networks.iter().map(join).collect(),
        network_mode: text(container.network_mode.as_ref()),
        volumes: container.mounts.iter().map(mount).collect(),
        restart_policy: definition.restart.to_string(),
        labels: definition.labels.iter().map(|(key, value)| (key.clone(), value.clone())).collect(),
        dns: container.dns.clone(),
        dns_search: container.dns_search.clone(),
        dns_opt: container.dns_opt.clone(),
        healthcheck: definition.health.as_ref().map(health::engine),
        logging: definition.logging.as_ref().map(logging),
        working_dir: text(container.working_dir.as_ref()),
        user: text(container.user.as_ref()),
        group_add: container.group_add.clone(),
        hostname: text(container.hostname.as_ref()),
        domainname: text(container.domainname.as_ref()),
        extra_hosts: hosts(&container.extra_hosts),
        expose: container.expose.clone(),
        platform: text(container.platform.as_ref()),
        init: container.init,
        tty: container.tty,
        stdin_open: container.stdin_open,
        read_only: container.read_only,
        privileged: container.privileged,
        cap_add: container.cap_add.clone(),
        cap_drop: container.cap_drop.clone(),
        security_opt: container.security_opt.clone(),
        devices: container.devices.clone(),
        sysctls: container.sysctls.clone(),
        pid: text(container.pid.as_ref()),
        ipc: text(container.ipc.as_ref()),
        uts: text(container.uts.as_ref()),
        userns_mode: text(container.userns_mode.as_ref()),
        cgroup: text(container.cgroup.as_ref()),
        cgroup_parent: text(container.cgroup_parent.as_ref()),
        shm_size: container.shm_size.map(count),
        tmpfs: container.tmpfs.clone(),
        ulimits: container
            .ulimits
            .iter()
            .map(|(name, (soft, hard))| (name.clone(), pb::Ulimit { soft: *soft, hard: *hard }))
            .collect(),
        runtime: text(container.runtime.as_ref()),
        oom_score_adj: container.oom_score_adj,
        volumes_from: container.volumes_from.clone(),
    }
}

/// One empty word says that there are none; no words say nothing.
fn words(words: Option<&[String]>) -> Vec<String> {
    match words {
        None => Vec::new(),
        Some([]) => vec![String::new()],
        Some(words) => masked_words(words),
    }
}

fn hosts(hosts: &[(String, String)]) -> Vec<pb::ExtraHost> {
    hosts
        .iter()
        .map(|(host, address)| pb::ExtraHost { host: host.clone(), address: address.clone() })
        .collect()
}

fn build(build: &Build) -> pb::Build {
    let value = |name: &str, value: &Option<String>| pb::VariableValue {
        value: value.as_deref().map(|value| masked(name, value)),
    };
    pb::Build {
        context: build.context.clone(),
        dockerfile: text(build.dockerfile.as_ref()),
        dockerfile_inline: text(build.dockerfile_inline.as_ref()),
        args: build.args.iter().map(|(name, arg)| (name.clone(), value(name, arg))).collect(),
        labels: build.labels.clone(),
        target: text(build.target.as_ref()),
        tags: build.tags.clone(),
        cache_from: build.cache_from.clone(),
        no_cache: build.no_cache,
        pull: build.pull,
        network: text(build.network.as_ref()),
        shm_size: build.shm_size.map(count),
        platform: text(build.platform.as_ref()),
        extra_hosts: hosts(&build.extra_hosts),
    }
}

fn pull(policy: PullPolicy) -> pb::PullPolicy {
    match policy {
        PullPolicy::Missing => pb::PullPolicy::Missing,
        PullPolicy::Always => pb::PullPolicy::Always,
        PullPolicy::Never => pb::PullPolicy::Never,
        PullPolicy::Build => pb::PullPolicy::Build,
    }
}

fn join(join: &Join) -> pb::NetworkAttachment {
    pb::NetworkAttachment {
        name: join.network.clone(),
        aliases: join.aliases.clone(),
        ipv4_address: text(join.ipv4_address.as_ref()),
        ipv6_address: text(join.ipv6_address.as_ref()),
        mac_address: text(join.mac_address.as_ref()),
    }
}

fn mount(mount: &Mount) -> pb::VolumeMount {
    let kind = match mount.kind {
        MountKind::Bind => pb::MountType::Bind,
        MountKind::Volume => pb::MountType::Volume,
        MountKind::Tmpfs => pb::MountType::Tmpfs,
    };
    pb::VolumeMount {
        r#type: kind.into(),
        source: text(mount.source.as_ref()),
        target: mount.target.clone(),
        read_only: mount.read_only,
        create_host_path: mount.create_host_path,
        propagation: text(mount.propagation.as_ref()),
        selinux: text(mount.selinux.as_ref()),
        no_copy: mount.no_copy,
        subpath: text(mount.subpath.as_ref()),
        size: mount.size.map(count),
        mode: mount.mode.map(super::number),
    }
}

fn logging(logging: &Logging) -> pb::Logging {
    pb::Logging { driver: text(logging.driver.as_ref()), options: options(&logging.options) }
}
