//! A specification in the engine's own form. Pure: the engine's facts come in.

use std::collections::HashMap;
use std::time::Duration;

use bollard::models::{
    ContainerCreateBody, DeviceMapping, EndpointIpamConfig, EndpointSettings, HealthConfig, HostConfig,
    HostConfigCgroupnsModeEnum, HostConfigLogConfig, Mount as ApiMount, MountBindOptions,
    MountBindOptionsPropagationEnum, MountTmpfsOptions, MountType, MountVolumeOptions, NetworkConnectRequest,
    NetworkingConfig, PortBinding, ResourcesUlimits, RestartPolicy, RestartPolicyNameEnum,
};
use clos_domain::health::{Check, Test};
use clos_domain::seams::engine::Error;
use clos_domain::workload::{Container, Join, Limits, Logging, Mount, MountKind, Restart, Run, Spec};

use crate::docker::{Api, Facts};
use crate::{labels, name};

/// What is sent to make a container: the body of the create call, and the
/// networks that an older engine wants joined one by one afterwards.
pub(crate) struct Creation {
    pub(crate) body: ContainerCreateBody,
    pub(crate) join_after: Vec<(String, NetworkConnectRequest)>,
}

/// Without a bound a busy container writes 50 MiB of log a second.
const LOG_LIMITS: [(&str, &str); 2] = [("max-size", "10m"), ("max-file", "3")];
/// The drivers that know these limits.
const LIMITED_DRIVERS: [&str; 2] = ["json-file", "local"];

/// The spec with its service's volumes of before, where it or the image declares one without a name.
pub(crate) fn with_inherited(spec: &Spec, declared: &[String]) -> Spec {
    let mut spec = spec.clone();
    let inherited = std::mem::take(&mut spec.inherited);
    let Run::Container(container) = &mut spec.run;
    for (target, volume) in inherited {
        let mount = container.mounts.iter_mut().find(|mount| mount.target == target);
        match mount {
            Some(mount) if mount.kind == MountKind::Volume && mount.source.is_none() => {
                mount.source = Some(volume);
            }
            Some(_) => {}
            None if declared.contains(&target) && !container.tmpfs.contains_key(&target) => {
                container.mounts.push(Mount::new(MountKind::Volume, Some(volume), target));
            }
            None => {}
        }
    }
    spec
}

pub(crate) fn creation(
    spec: &Spec,
    image_id: &str,
    config_hash: &str,
    facts: &Facts,
) -> Result<Creation, Error> {
    let container = spec.container();
    let (mounts, binds) = mounts(&container.mounts, facts.api)?;
    let (networking, join_after, network_mode) = networks(&spec.name, container, facts.api)?;
    let (exposed, bindings) = ports(spec);

    // Ours last: a file cannot pretend to be somebody else's.
    let mut labels: HashMap<String, String> = spec.labels.clone().into_iter().collect();
    labels.extend(labels::of_identity(&spec.identity, image_id, config_hash));

    let Limits { cpu_millis, memory, memory_reservation, memory_swap, pids, cpuset, cpu_shares } =
        &spec.limits;
    let host = HostConfig {
        nano_cpus: cpu_millis.map(|millis| signed(millis.saturating_mul(1_000_000))),
        memory: memory.map(signed),
        memory_reservation: memory_reservation.map(signed),
        memory_swap: *memory_swap,
        pids_limit: *pids,
        cpuset_cpus: cpuset.clone(),
        cpu_shares: *cpu_shares,
        binds: non_empty(binds),
        mounts: non_empty(mounts),
        network_mode,
        port_bindings: (!bindings.is_empty()).then_some(bindings),
        restart_policy: Some(restart_policy(spec.restart)),
        log_config: log_config(spec.logging.as_ref(), &facts.log_driver),
        init: container.init,
        privileged: Some(container.privileged),
        readonly_rootfs: Some(container.read_only),
        cap_add: non_empty(container.cap_add.clone()),
        cap_drop: non_empty(container.cap_drop.clone()),
        security_opt: non_empty(container.security_opt.clone()),
        devices: non_empty(container.devices.iter().map(|text| device(text)).collect::<Result<_, _>>()?),
        sysctls: non_empty_map(container.sysctls.clone()),
        pid_mode: container.pid.clone(),
        ipc_mode: container.ipc.clone(),
        uts_mode: container.uts.clone(),
        userns_mode: container.userns_mode.clone(),
        cgroupns_mode: container.cgroup.as_deref().map(cgroup_namespace).transpose()?,
        shm_size: container.shm_size.map(signed),
        tmpfs: non_empty_map(container.tmpfs.clone()),
        ulimits: non_empty(
            container
                .ulimits
                .iter()
                .map(|(name, (soft, hard))| ResourcesUlimits {
                    name: Some(name.clone()),
                    soft: Some(*soft),
                    hard: Some(*hard),
                })
                .collect(),
        ),
        cgroup_parent: container.cgroup_parent.clone(),
        runtime: container.runtime.clone(),
        oom_score_adj: container.oom_score_adj,
        volumes_from: non_empty(container.volumes_from.clone()),
        extra_hosts: non_empty(
            container.extra_hosts.iter().map(|(host, address)| format!("{host}:{address}")).collect(),
        ),
        dns: non_empty(container.dns.clone()),
        dns_search: non_empty(container.dns_search.clone()),
        dns_options: non_empty(container.dns_opt.clone()),
        group_add: non_empty(container.group_add.clone()),
        ..HostConfig::default()
    };

    let body = ContainerCreateBody {
        image: Some(container.image.clone()),
        cmd: container.command.clone(),
        entrypoint: container.entrypoint.clone().map(entrypoint),
        env: Some(spec.environment.iter().map(|(key, value)| format!("{key}={value}")).collect()),
        labels: Some(labels),
        exposed_ports: non_empty(exposed),
        hostname: container.hostname.clone(),
        domainname: container.domainname.clone(),
        user: container.user.clone(),
        working_dir: container.working_dir.clone(),
        tty: Some(container.tty),
        open_stdin: Some(container.stdin_open),
        healthcheck: spec.health.as_ref().and_then(|check| health(check, facts.api)),
        stop_signal: spec.stop.signal.clone(),
        stop_timeout: spec.stop.grace.map(whole_seconds),
        host_config: Some(host),
        networking_config: networking,
        ..ContainerCreateBody::default()
    };
    Ok(Creation { body, join_after })
}

/// Seconds as the engine takes them; less than one is one, for zero kills at once.
pub(crate) fn whole_seconds(duration: Duration) -> i64 {
    let rounded_up = duration.as_secs() + u64::from(duration.subsec_nanos() > 0);
    signed(rounded_up)
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn non_empty<T>(list: Vec<T>) -> Option<Vec<T>> {
    (!list.is_empty()).then_some(list)
}

fn non_empty_map(map: impl IntoIterator<Item = (String, String)>) -> Option<HashMap<String, String>> {
    let map: HashMap<String, String> = map.into_iter().collect();
    (!map.is_empty()).then_some(map)
}

/// An empty list inherits the image's; one empty word takes it away.
fn entrypoint(words: Vec<String>) -> Vec<String> {
    if words.is_empty() { vec![String::new()] } else { words }
}

fn restart_policy(restart: Restart) -> RestartPolicy {
    let (name, retries) = match restart {
        Restart::No => (RestartPolicyNameEnum::NO, None),
        Restart::OnFailure { max_retries } => {
            (RestartPolicyNameEnum::ON_FAILURE, Some(i64::from(max_retries)))
        }
        Restart::Always => (RestartPolicyNameEnum::ALWAYS, None),
        Restart::UnlessStopped => (RestartPolicyNameEnum::UNLESS_STOPPED, None),
    };
    RestartPolicy { name: Some(name), maximum_retry_count: retries }
}

/// The file's driver and options, with our limits where the driver knows them and the file is silent.
fn log_config(logging: Option<&Logging>, default_driver: &str) -> Option<HostConfigLogConfig> {
    let named = logging.and_then(|logging| logging.driver.clone());
    let driver = named.clone().unwrap_or_else(|| default_driver.to_owned());
    let mut options: HashMap<String, String> =
        logging.map(|logging| logging.options.clone()).unwrap_or_default().into_iter().collect();
    if LIMITED_DRIVERS.contains(&driver.as_str()) {
        for (key, value) in LOG_LIMITS {
            options.entry(key.to_owned()).or_insert_with(|| value.to_owned());
        }
    } else if named.is_none() && options.is_empty() {
        return None;
    }
    Some(HostConfigLogConfig { typ: Some(driver), config: Some(options) })
}

/// The check that the engine runs by itself. HTTP and TCP checks are ours: an image has no client for them.
fn health(check: &Check, api: Api) -> Option<HealthConfig> {
    let test = match &check.test {
        Test::Command { argv } => {
            let mut words = vec!["CMD".to_owned()];
            words.extend(argv.iter().cloned());
            words
        }
        Test::Disabled => {
            return Some(HealthConfig { test: Some(vec!["NONE".into()]), ..HealthConfig::default() });
        }
        Test::Http { .. } | Test::Tcp { .. } => return None,
    };
    let nanos = |duration: Duration| i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX);
    Some(HealthConfig {
        test: Some(test),
        interval: Some(nanos(check.interval)),
        timeout: Some(nanos(check.timeout)),
        retries: Some(i64::from(check.retries)),
        start_period: Some(nanos(check.start_period)),
        start_interval: check.start_interval.filter(|_| api >= Api::NETWORKS_AT_CREATE).map(nanos),
    })
}

type Ports = (Vec<String>, HashMap<String, Option<Vec<PortBinding>>>);

fn ports(spec: &Spec) -> Ports {
    let mut exposed: Vec<String> = spec
        .container()
        .expose
        .iter()
        .map(|port| if port.contains('/') { port.clone() } else { format!("{port}/tcp") })
        .collect();
    let mut bindings: HashMap<String, Option<Vec<PortBinding>>> = HashMap::new();
    for binding in &spec.ports {
        let key = format!("{}/{}", binding.container_port, binding.protocol.as_str());
        bindings.entry(key.clone()).or_default().get_or_insert_default().push(PortBinding {
            host_ip: Some(binding.host_ip.clone()),
            host_port: Some(binding.host_port.to_string()),
        });
        exposed.push(key);
    }
    exposed.sort_unstable();
    exposed.dedup();
    (exposed, bindings)
}

type Networks = (Option<NetworkingConfig>, Vec<(String, NetworkConnectRequest)>, Option<String>);

/// The first network at create, the others there too where the engine can, else one by one.
fn networks(container_name: &str, container: &Container, api: Api) -> Result<Networks, Error> {
    if let Some(mode) = &container.network_mode {
        if let Some(service) = mode.strip_prefix("service:") {
            return Err(Error::Refused(format!(
                "network_mode: `service:{service}` names no container; it must be resolved to `container:NAME`"
            )));
        }
        return Ok((None, Vec::new(), Some(mode.clone())));
    }
    let Some(first) = container.networks.first() else { return Ok((None, Vec::new(), None)) };
    let mut endpoints = HashMap::new();
    let mut join_after = Vec::new();
    for (position, join) in container.networks.iter().enumerate() {
        name::check("network", &join.network)?;
        let settings = endpoint(join, api)?;
        if position == 0 || api >= Api::NETWORKS_AT_CREATE {
            endpoints.insert(join.network.clone(), settings);
        } else {
            let request = NetworkConnectRequest {
                container: container_name.to_owned(),
                endpoint_config: Some(settings),
            };
            join_after.push((join.network.clone(), request));
        }
    }
    let networking = NetworkingConfig { endpoints_config: Some(endpoints) };
    Ok((Some(networking), join_after, Some(first.network.clone())))
}

fn endpoint(join: &Join, api: Api) -> Result<EndpointSettings, Error> {
    if join.mac_address.is_some() && api < Api::NETWORKS_AT_CREATE {
        return Err(Error::Unsupported(format!(
            "give a fixed mac_address on network `{}`; it needs API 1.44 or newer",
            join.network
        )));
    }
    let has_address = join.ipv4_address.is_some() || join.ipv6_address.is_some();
    Ok(EndpointSettings {
        aliases: non_empty(join.aliases.clone()),
        ipam_config: has_address.then(|| EndpointIpamConfig {
            ipv4_address: join.ipv4_address.clone(),
            ipv6_address: join.ipv6_address.clone(),
            link_local_ips: None,
        }),
        mac_address: join.mac_address.clone(),
        ..EndpointSettings::default()
    })
}

/// Mounts in the engine's typed form, and the binds that only its text form can say:
/// SELinux labels, and on older engines folders that are made when missing.
fn mounts(mounts: &[Mount], api: Api) -> Result<(Vec<ApiMount>, Vec<String>), Error> {
    let mut typed = Vec::new();
    let mut texts = Vec::new();
    for mount in mounts {
        if mount.subpath.is_some() && api < Api::SUBPATH {
            return Err(Error::Unsupported(format!(
                "mount a part of a volume at `{}`; it needs API 1.45 or newer",
                mount.target
            )));
        }
        let wants_text = mount.selinux.is_some() || (mount.create_host_path && api < Api::CREATE_MOUNTPOINT);
        if mount.kind == MountKind::Bind && wants_text {
            texts.push(bind_text(mount)?);
        } else {
            typed.push(typed_mount(mount)?);
        }
    }
    Ok((typed, texts))
}

fn bind_text(mount: &Mount) -> Result<String, Error> {
    let source = mount.source.as_deref().unwrap_or_default();
    if source.contains(':') || mount.target.contains(':') {
        return Err(Error::Unsupported(format!(
            "bind `{source}` to `{}`: a path with a colon",
            mount.target
        )));
    }
    let mut options: Vec<&str> = vec![if mount.read_only { "ro" } else { "rw" }];
    options.extend(mount.selinux.as_deref());
    options.extend(mount.propagation.as_deref());
    Ok(format!("{source}:{}:{}", mount.target, options.join(",")))
}

fn typed_mount(mount: &Mount) -> Result<ApiMount, Error> {
    let mut typed = ApiMount {
        typ: Some(match mount.kind {
            MountKind::Bind => MountType::BIND,
            MountKind::Volume => MountType::VOLUME,
            MountKind::Tmpfs => MountType::TMPFS,
        }),
        source: mount.source.clone().filter(|_| mount.kind != MountKind::Tmpfs),
        target: Some(mount.target.clone()),
        read_only: Some(mount.read_only),
        ..ApiMount::default()
    };
    match mount.kind {
        MountKind::Bind => {
            let propagation = mount.propagation.as_deref().map(propagation).transpose()?;
            typed.bind_options = Some(MountBindOptions {
                propagation,
                create_mountpoint: mount.create_host_path.then_some(true),
                ..MountBindOptions::default()
            });
        }
        MountKind::Volume => {
            if let Some(volume) = &mount.source {
                name::check("volume", volume)?;
            }
            typed.volume_options = Some(MountVolumeOptions {
                no_copy: Some(mount.no_copy),
                subpath: mount.subpath.clone(),
                ..MountVolumeOptions::default()
            });
        }
        MountKind::Tmpfs => {
            typed.tmpfs_options = Some(MountTmpfsOptions {
                size_bytes: mount.size.map(signed),
                mode: mount.mode.map(i64::from),
                options: None,
            });
        }
    }
    Ok(typed)
}

fn propagation(word: &str) -> Result<MountBindOptionsPropagationEnum, Error> {
    use MountBindOptionsPropagationEnum as P;
    [
        ("private", P::PRIVATE),
        ("rprivate", P::RPRIVATE),
        ("shared", P::SHARED),
        ("rshared", P::RSHARED),
        ("slave", P::SLAVE),
        ("rslave", P::RSLAVE),
    ]
    .into_iter()
    .find(|(known, _)| *known == word)
    .map(|(_, value)| value)
    .ok_or_else(|| {
        Error::Refused(format!(
            "propagation: `{word}` is none of private, rprivate, shared, rshared, slave, rslave"
        ))
    })
}

fn cgroup_namespace(word: &str) -> Result<HostConfigCgroupnsModeEnum, Error> {
    match word {
        "host" => Ok(HostConfigCgroupnsModeEnum::HOST),
        "private" => Ok(HostConfigCgroupnsModeEnum::PRIVATE),
        other => Err(Error::Refused(format!("cgroup: `{other}` is neither `host` nor `private`"))),
    }
}

/// `host[:container[:permissions]]`.
fn device(text: &str) -> Result<DeviceMapping, Error> {
    let mut parts = text.split(':');
    let host = parts.next().unwrap_or_default();
    if !host.starts_with('/') {
        return Err(Error::Unsupported(format!("pass device `{text}`: only paths like `/dev/ttyUSB0`")));
    }
    let inside = parts.next().unwrap_or(host);
    Ok(DeviceMapping {
        path_on_host: Some(host.to_owned()),
        path_in_container: Some(inside.to_owned()),
        cgroup_permissions: Some(parts.next().unwrap_or("rwm").to_owned()),
    })
}
