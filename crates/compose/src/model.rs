//! The project as it is meant: every short form written out, every path absolute, every default of compose
//! filled in. What `config` prints, in types.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde_json::Value;

use crate::finding::{Finding, Key, Location};

#[derive(Clone, Debug)]
pub struct Project {
    pub name: String,
    pub name_source: NameSource,
    /// Where relative paths started, absolute.
    pub working_dir: String,
    /// The files of the command line, absolute, in order; included and extended ones are not among them.
    pub config_files: Vec<String>,
    /// The active profiles.
    pub profiles: Vec<String>,
    /// Services of active profiles, in the order of the files.
    pub services: Vec<Service>,
    /// Services that no active profile asks for.
    pub disabled: Vec<DisabledService>,
    /// Only what an active service uses, as with the three below.
    pub networks: Vec<Network>,
    pub volumes: Vec<Volume>,
    pub configs: Vec<FileObject>,
    pub secrets: Vec<FileObject>,
    /// `x-clos: {depends_on: …}`: other groups that have to be up first.
    pub depends_on: Vec<GroupEdge>,
    /// `x-…` of the top level, as they stand; keys that nobody knows are here too.
    pub extensions: BTreeMap<String, Value>,
    /// Warnings and notes, in the order of the files.
    pub findings: Vec<Finding>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameSource {
    /// `-p`
    Flag,
    /// `COMPOSE_PROJECT_NAME`
    Variable,
    /// `name:`
    File,
    Folder,
}

#[derive(Clone, Debug)]
pub struct DisabledService {
    pub name: String,
    pub profiles: Vec<String>,
    pub at: Location,
}

/// `infra`, `infra~feature`, `other/db`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupEdge {
    pub group: String,
    /// Without it, the base instance.
    pub instance: Option<String>,
    /// Without it, all of the group.
    pub service: Option<String>,
    pub at: Location,
}

#[derive(Clone, Debug, Default)]
pub struct Service {
    pub name: String,
    pub at: Option<Location>,
    /// Where each key of the service stands; see [`Service::place`].
    pub places: BTreeMap<String, Location>,
    /// Empty if it is only built; the engine's name is then the project's and the service's.
    pub image: Option<String>,
    pub build: Option<Build>,
    pub pull_policy: Option<PullPolicy>,
    pub platform: Option<String>,
    /// `None` keeps the image's, an empty list clears it.
    pub command: Option<Vec<String>>,
    /// `None` keeps the image's, an empty list clears it.
    pub entrypoint: Option<Vec<String>>,
    /// With the env files; `None` is a name without value, which no container gets.
    pub environment: BTreeMap<String, Option<String>>,
    pub env_files: Vec<EnvFile>,
    pub label_files: Vec<String>,
    pub working_dir: Option<String>,
    pub user: Option<String>,
    pub group_add: Vec<String>,
    pub hostname: Option<String>,
    pub domainname: Option<String>,
    pub container_name: Option<String>,
    pub labels: BTreeMap<String, String>,
    pub annotations: BTreeMap<String, String>,
    pub profiles: Vec<String>,
    pub depends_on: Vec<Dependency>,
    pub restart: Option<Restart>,
    pub healthcheck: Option<HealthCheck>,
    pub stop_grace_period: Option<Duration>,
    pub stop_signal: Option<String>,
    /// 0 or 1: of `scale` or `deploy.replicas`.
    pub replicas: u32,
    pub scale: Option<i64>,
    pub deploy: Option<Deploy>,

    pub ports: Vec<Port>,
    pub expose: Vec<String>,
    /// Empty with `network_mode`.
    pub networks: Vec<Attachment>,
    pub network_mode: Option<String>,
    pub mac_address: Option<String>,
    pub extra_hosts: Vec<ExtraHost>,
    pub dns: Vec<String>,
    pub dns_search: Vec<String>,
    pub dns_opt: Vec<String>,
    pub links: Vec<String>,
    pub external_links: Vec<String>,

    pub volumes: Vec<Mount>,
    pub volumes_from: Vec<String>,
    pub tmpfs: Vec<String>,
    pub configs: Vec<FileMount>,
    pub secrets: Vec<FileMount>,
    pub devices: Vec<Device>,
    pub storage_opt: BTreeMap<String, String>,

    pub init: Option<bool>,
    pub tty: bool,
    pub stdin_open: bool,
    pub read_only: bool,
    pub privileged: bool,
    pub cap_add: Vec<String>,
    pub cap_drop: Vec<String>,
    pub security_opt: Vec<String>,
    pub device_cgroup_rules: Vec<String>,
    pub sysctls: BTreeMap<String, String>,
    pub ulimits: BTreeMap<String, Ulimit>,
    pub pid: Option<String>,
    pub ipc: Option<String>,
    pub uts: Option<String>,
    pub userns_mode: Option<String>,
    pub cgroup: Option<String>,
    pub cgroup_parent: Option<String>,
    pub runtime: Option<String>,
    pub oom_kill_disable: bool,
    pub oom_score_adj: i64,

    /// Bytes, as with the four below; -1 is "no limit".
    pub shm_size: Option<i64>,
    pub mem_limit: Option<i64>,
    pub mem_reservation: Option<i64>,
    pub memswap_limit: Option<i64>,
    pub mem_swappiness: Option<i64>,
    /// Of one core.
    pub cpus: Option<f64>,
    pub cpuset: Option<String>,
    pub cpu_shares: Option<i64>,
    pub cpu_quota: Option<i64>,
    pub cpu_period: Option<i64>,
    pub pids_limit: Option<i64>,

    pub logging: Option<Logging>,
    pub attach: Option<bool>,
    /// `x-clos` of the service.
    pub clos: Clos,
    /// Keys that compose knows and this model does not act on, as they stand, and `x-…`.
    pub others: BTreeMap<String, Value>,
}

impl Service {
    /// Where a key of this service stands, for findings about it.
    pub fn place(&self, key: &str) -> Location {
        let own = self.places.get(key).or(self.at.as_ref());
        own.cloned().unwrap_or_else(|| Location::whole(&self.name))
    }

    pub fn key(&self) -> Key {
        Key::of(&["services", &self.name])
    }

    /// `restart`, else what `deploy.restart_policy` says.
    pub fn effective_restart(&self) -> Restart {
        if let Some(restart) = self.restart {
            return restart;
        }
        let policy = self.deploy.as_ref().and_then(|deploy| deploy.restart_policy.as_ref());
        match policy.map(|policy| (policy.condition.as_deref(), policy.max_attempts)) {
            Some((Some("on-failure"), attempts)) => Restart::OnFailure { attempts },
            Some((Some("any") | None, _)) => Restart::Always,
            _ => Restart::No,
        }
    }

    fn limits(&self) -> Option<&Resources> {
        self.deploy.as_ref()?.limits.as_ref()
    }

    /// `mem_limit`, else `deploy.resources.limits.memory`.
    pub fn effective_memory(&self) -> Option<i64> {
        self.mem_limit.or_else(|| self.limits()?.memory)
    }

    /// `cpus`, else `deploy.resources.limits.cpus`.
    pub fn effective_cpus(&self) -> Option<f64> {
        self.cpus.or_else(|| self.limits()?.cpus)
    }

    /// `pids_limit`, else `deploy.resources.limits.pids`.
    pub fn effective_pids(&self) -> Option<i64> {
        self.pids_limit.or_else(|| self.limits()?.pids)
    }

    /// `mem_reservation`, else `deploy.resources.reservations.memory`.
    pub fn effective_memory_reservation(&self) -> Option<i64> {
        let reservations = || self.deploy.as_ref()?.reservations.as_ref()?.memory;
        self.mem_reservation.or_else(reservations)
    }
}

#[derive(Clone, Debug, Default)]
pub struct Build {
    pub at: Option<Location>,
    /// An absolute folder, or an address.
    pub context: String,
    /// Within the context; none if it is given inline.
    pub dockerfile: Option<String>,
    pub dockerfile_inline: Option<String>,
    /// With their values: a name that nobody gives one is left to the Dockerfile.
    pub args: BTreeMap<String, String>,
    pub target: Option<String>,
    pub labels: BTreeMap<String, String>,
    pub cache_from: Vec<String>,
    pub cache_to: Vec<String>,
    pub no_cache: bool,
    pub pull: bool,
    pub network: Option<String>,
    pub shm_size: Option<i64>,
    pub extra_hosts: Vec<ExtraHost>,
    pub tags: Vec<String>,
    pub platforms: Vec<String>,
    pub additional_contexts: BTreeMap<String, String>,
    pub secrets: Vec<FileMount>,
    /// An id and a path; without a path, the agent of the caller.
    pub ssh: BTreeMap<String, Option<String>>,
    pub ulimits: BTreeMap<String, Ulimit>,
    pub privileged: bool,
    /// What is kept and not acted on.
    pub others: BTreeMap<String, Value>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PullPolicy {
    Always,
    Never,
    Missing,
    Build,
    /// When the image at hand is older than this; `None` is "look whether there is a newer one".
    Refresh(Option<Duration>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnvFile {
    pub path: String,
    pub required: bool,
    /// `raw` takes values as they stand.
    pub raw: bool,
    pub at: Location,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dependency {
    pub service: String,
    pub condition: Condition,
    /// Whether a restart of the other by the user restarts this one.
    pub restart: bool,
    /// Otherwise its failure or absence is a warning.
    pub required: bool,
    pub at: Location,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    Started,
    Healthy,
    Completed,
}

impl Condition {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Started => "service_started",
            Self::Healthy => "service_healthy",
            Self::Completed => "service_completed_successfully",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Restart {
    No,
    Always,
    UnlessStopped,
    /// Without a number, for ever.
    OnFailure {
        attempts: Option<u64>,
    },
}

impl fmt::Display for Restart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::No => f.write_str("no"),
            Self::Always => f.write_str("always"),
            Self::UnlessStopped => f.write_str("unless-stopped"),
            Self::OnFailure { attempts: None } => f.write_str("on-failure"),
            Self::OnFailure { attempts: Some(attempts) } => write!(f, "on-failure:{attempts}"),
        }
    }
}

/// What is `None` is the image's or the engine's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HealthCheck {
    /// Starts with `CMD`, `CMD-SHELL` or `NONE`.
    pub test: Option<Vec<String>>,
    pub interval: Option<Duration>,
    pub timeout: Option<Duration>,
    pub retries: Option<u64>,
    pub start_period: Option<Duration>,
    pub start_interval: Option<Duration>,
    pub disable: bool,
}

impl HealthCheck {
    /// Whether the file switches off whatever the image brings.
    pub fn is_off(&self) -> bool {
        self.disable || self.test.as_ref().is_some_and(|test| test.first().is_some_and(|word| word == "NONE"))
    }
}

#[derive(Clone, Debug, Default)]
pub struct Deploy {
    pub mode: Option<String>,
    pub replicas: Option<i64>,
    pub labels: BTreeMap<String, String>,
    pub limits: Option<Resources>,
    pub reservations: Option<Resources>,
    pub restart_policy: Option<RestartPolicy>,
    pub endpoint_mode: Option<String>,
    /// `placement`, `update_config`, `rollback_config`: for clusters; kept.
    pub others: BTreeMap<String, Value>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Resources {
    pub cpus: Option<f64>,
    pub memory: Option<i64>,
    pub pids: Option<i64>,
    /// `devices`, `generic_resources`; kept.
    pub others: BTreeMap<String, Value>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RestartPolicy {
    pub condition: Option<String>,
    pub delay: Option<Duration>,
    pub max_attempts: Option<u64>,
    pub window: Option<Duration>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    pub target: u16,
    pub published: Option<Published>,
    pub host_ip: Option<String>,
    pub protocol: Protocol,
    pub mode: String,
    pub name: Option<String>,
    pub app_protocol: Option<String>,
    pub at: Location,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Published {
    Port(u16),
    /// Any free one of these, both included.
    OneOf {
        first: u16,
        last: u16,
    },
}

impl fmt::Display for Published {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Port(port) => port.fmt(f),
            Self::OneOf { first, last } => write!(f, "{first}-{last}"),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    Tcp,
    Udp,
    Sctp,
}

impl Protocol {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
        }
    }
}

/// How a service is joined to a network of the project.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attachment {
    /// The key of the network, not its name on the engine.
    pub network: String,
    pub aliases: Vec<String>,
    pub ipv4_address: Option<String>,
    pub ipv6_address: Option<String>,
    pub link_local_ips: Vec<String>,
    pub mac_address: Option<String>,
    pub driver_opts: BTreeMap<String, String>,
    pub interface_name: Option<String>,
    /// Higher is joined first.
    pub priority: i64,
    /// Higher gives the default gateway.
    pub gw_priority: i64,
    /// The file has a map here, if an empty one; Compose's hash tells it from no value.
    pub is_map: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExtraHost {
    pub host: String,
    /// Or `host-gateway`.
    pub address: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    pub kind: MountKind,
    /// A path, the key of a volume, or an image; none for an anonymous volume.
    pub source: Option<String>,
    pub target: String,
    pub read_only: bool,
    pub consistency: Option<String>,
    pub bind: Option<BindOptions>,
    pub volume: Option<VolumeOptions>,
    pub tmpfs: Option<TmpfsOptions>,
    pub image_subpath: Option<String>,
    pub at: Location,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MountKind {
    Bind,
    Volume,
    Tmpfs,
    Image,
    NamedPipe,
    Cluster,
}

impl MountKind {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Bind => "bind",
            Self::Volume => "volume",
            Self::Tmpfs => "tmpfs",
            Self::Image => "image",
            Self::NamedPipe => "npipe",
            Self::Cluster => "cluster",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BindOptions {
    pub propagation: Option<String>,
    /// Make the folder on the host if it is missing.
    pub create_host_path: bool,
    pub recursive: Option<String>,
    pub selinux: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VolumeOptions {
    pub no_copy: bool,
    pub subpath: Option<String>,
    pub labels: BTreeMap<String, String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TmpfsOptions {
    /// Bytes.
    pub size: Option<i64>,
    pub mode: Option<u32>,
}

/// A config or secret as a service sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileMount {
    /// The key of the config or secret.
    pub source: String,
    /// A path; for configs without one it is `/` and the source.
    pub target: Option<String>,
    pub uid: Option<String>,
    pub gid: Option<String>,
    pub mode: Option<u32>,
    pub at: Location,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    pub source: String,
    pub target: String,
    pub permissions: String,
    pub at: Location,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ulimit {
    Both(i64),
    Each { soft: i64, hard: i64 },
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Logging {
    pub driver: Option<String>,
    pub options: BTreeMap<String, String>,
}

#[derive(Clone, Debug)]
pub struct Network {
    pub key: String,
    /// On the engine, for the base instance.
    pub name: String,
    /// Whether the file fixes the name.
    pub named: bool,
    pub external: bool,
    pub driver: Option<String>,
    pub driver_opts: BTreeMap<String, String>,
    pub internal: bool,
    pub attachable: bool,
    pub enable_ipv4: Option<bool>,
    pub enable_ipv6: Option<bool>,
    pub labels: BTreeMap<String, String>,
    pub ipam: Ipam,
    /// None for the default network that no file declares.
    pub at: Option<Location>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ipam {
    pub driver: Option<String>,
    pub pools: Vec<Pool>,
    pub options: BTreeMap<String, String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pool {
    pub subnet: Option<String>,
    pub gateway: Option<String>,
    pub ip_range: Option<String>,
    pub aux_addresses: BTreeMap<String, String>,
}

#[derive(Clone, Debug)]
pub struct Volume {
    pub key: String,
    /// On the engine, for the base instance.
    pub name: String,
    /// Whether the file fixes the name.
    pub named: bool,
    pub external: bool,
    pub driver: Option<String>,
    pub driver_opts: BTreeMap<String, String>,
    pub labels: BTreeMap<String, String>,
    pub at: Location,
}

/// A config or a secret.
#[derive(Clone, Debug)]
pub struct FileObject {
    pub key: String,
    pub name: String,
    pub external: bool,
    pub source: FileSource,
    pub driver: Option<String>,
    pub driver_opts: BTreeMap<String, String>,
    pub template_driver: Option<String>,
    pub labels: BTreeMap<String, String>,
    pub at: Location,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileSource {
    /// An absolute path.
    File(String),
    /// A variable, and its value if it has one.
    Variable {
        name: String,
        value: Option<Hidden>,
    },
    Inline(Hidden),
    /// The engine has it, or a driver brings it.
    Elsewhere,
}

/// A text that does not print.
#[derive(Clone, PartialEq, Eq)]
pub struct Hidden(String);

impl Hidden {
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("********")
    }
}

/// `x-clos` of a service.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Clos {
    pub health_check: Option<Probe>,
    /// `container` or `process`, where a service can be both.
    pub prefer: Option<String>,
    /// The rest, as it stands.
    pub others: BTreeMap<String, Value>,
}

/// A health check of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    pub kind: ProbeKind,
    pub interval: Option<Duration>,
    pub timeout: Option<Duration>,
    pub retries: Option<u32>,
    pub start_period: Option<Duration>,
    pub at: Location,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProbeKind {
    /// Without a host, the service itself; the port is the container's.
    Http { url: String, expected_status: Option<u16> },
    /// `host:port`, `:port`
    Tcp(String),
    /// An argument vector, run in the container.
    Command(Vec<String>),
}
