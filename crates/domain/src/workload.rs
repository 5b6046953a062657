//! What an engine runs: a specification with every name resolved, and what the
//! engine shows of it.
//!
//! A [`Spec`] is complete: an engine needs nothing else to create the workload.
//! A [`Definition`](crate::service::Definition) holds the same parts with the
//! names of the file; [`crate::spec::resolve`] turns one into the other.
//!
//! Host processes will be a second arm of [`Run`]; nothing above the engine may
//! ask for a container's id or image except through it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use indexmap::IndexMap;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::copied::CopiedFile;
use crate::health::{Check, LastCheck, Verdict};
use crate::id::{OperationId, ServiceId};
use crate::name::{GroupRef, ServiceRef};
use crate::port::Binding;
use crate::service::Condition;

/// Everything an engine needs to create one workload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spec {
    /// The engine's name for it, deterministic: `shop-web-1`.
    pub name: String,
    /// Whose it is; the engine keeps this in labels of its own.
    pub identity: Identity,
    /// Labels of the file.
    pub labels: IndexMap<String, String>,
    /// Variables, complete.
    pub environment: IndexMap<String, String>,
    /// Ports with their host side decided.
    pub ports: Vec<Binding>,
    /// The check that the engine runs by itself.
    pub health: Option<Check>,
    /// When the engine restarts it by itself.
    pub restart: Restart,
    /// How it is asked to end.
    pub stop: Stop,
    /// What it may use.
    pub limits: Limits,
    /// Where its output goes; `None` is the engine's default with our size limits.
    pub logging: Option<Logging>,
    /// What runs.
    pub run: Run,
    /// Volumes without a name that the service had before, by target: mounted again where the
    /// definition or the image still declares one there.
    #[serde(skip)]
    pub inherited: BTreeMap<String, String>,
}

impl Spec {
    /// The container part.
    pub fn container(&self) -> &Container {
        let Run::Container(container) = &self.run;
        container
    }
}

/// Whose a workload is and how it came about. Only what carries our
/// installation is ours; strangers are never touched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The random id of the state folder.
    pub installation: String,
    /// Its service.
    pub service_id: ServiceId,
    /// Its service's resource name.
    pub service: ServiceRef,
    /// The operation that made it.
    pub operation: Option<OperationId>,
    /// The generation of the definition it was made from.
    pub generation: i64,
    /// Hash of the spec without this identity; another one means drift.
    pub spec_hash: String,
    /// The group's folder.
    pub working_dir: String,
    /// The group's files.
    pub config_files: Vec<String>,
    /// The services that it needs: name, condition, restart.
    pub depends_on: Vec<(String, Condition, bool)>,
    /// What docker compose takes for the hash of the file; `None` for a row that came from no file.
    #[serde(default)]
    pub config_hash: Option<ConfigHash>,
}

/// The hash that docker compose compares a container with its file by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ConfigHash {
    /// The hash itself.
    Known(String),
    /// The pieces of the text that is hashed, for a service that shares something with another's container.
    Of(Vec<ConfigPiece>),
}

/// A piece of the text whose SHA-256 is the hash.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ConfigPiece {
    /// As it stands.
    Text(String),
    /// The id of a container: in a definition that of a service, in a spec that of a workload of this name.
    IdOf(String),
}

/// Whose a network or volume is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// The random id of the state folder.
    pub installation: String,
    /// The group.
    pub group: GroupRef,
    /// Its name in the file.
    pub key: String,
}

/// What runs. A host process is the second kind to come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Run {
    /// A container of an image.
    Container(Box<Container>),
}

/// A container's own part. In a definition the networks and volumes carry the
/// file's names, in a spec the engine's.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Container {
    /// Reference of the image; for a build without one, the name that the build gets.
    pub image: String,
    /// How the image is built.
    pub build: Option<Build>,
    /// When the image is pulled.
    pub pull: PullPolicy,
    /// Replaces the image's command.
    pub command: Option<Vec<String>>,
    /// Replaces the image's entry point.
    pub entrypoint: Option<Vec<String>>,
    /// Networks to join, in order of priority; empty with a `network_mode`.
    pub networks: Vec<Join>,
    /// `host`, `none`, `service:x`, `container:x`; `None` is the networks above.
    pub network_mode: Option<String>,
    /// What is mounted.
    pub mounts: Vec<Mount>,
    /// Folder in the container.
    pub working_dir: Option<String>,
    /// `user[:group]` in the container.
    pub user: Option<String>,
    /// Extra groups.
    pub group_add: Vec<String>,
    /// Host name in the container.
    pub hostname: Option<String>,
    /// Domain name in the container.
    pub domainname: Option<String>,
    /// `host` → address, added to its hosts file.
    pub extra_hosts: Vec<(String, String)>,
    /// DNS servers.
    pub dns: Vec<String>,
    /// DNS search domains.
    pub dns_search: Vec<String>,
    /// DNS options.
    pub dns_opt: Vec<String>,
    /// Ports that it listens on without publishing: `8080/tcp`.
    pub expose: Vec<String>,
    /// `linux/amd64` and its like.
    pub platform: Option<String>,
    /// A small init as process 1.
    pub init: Option<bool>,
    /// A terminal.
    pub tty: bool,
    /// Standard input is kept open.
    pub stdin_open: bool,
    /// The root file system is read-only.
    pub read_only: bool,
    /// Everything is allowed.
    pub privileged: bool,
    /// Capabilities added.
    pub cap_add: Vec<String>,
    /// Capabilities dropped.
    pub cap_drop: Vec<String>,
    /// Security options as the engine reads them.
    pub security_opt: Vec<String>,
    /// Devices, `host:container:permissions`.
    pub devices: Vec<String>,
    /// Kernel settings of its namespaces.
    pub sysctls: BTreeMap<String, String>,
    /// PID namespace: `host`, `service:x`.
    pub pid: Option<String>,
    /// IPC namespace.
    pub ipc: Option<String>,
    /// UTS namespace.
    pub uts: Option<String>,
    /// User namespace.
    pub userns_mode: Option<String>,
    /// Control-group namespace: `host`, `private`.
    pub cgroup: Option<String>,
    /// Bytes of /dev/shm.
    pub shm_size: Option<u64>,
    /// In-memory file systems: target → options.
    pub tmpfs: BTreeMap<String, String>,
    /// Resource limits: name → (soft, hard).
    pub ulimits: BTreeMap<String, (i64, i64)>,
    /// Control groups' parent.
    pub cgroup_parent: Option<String>,
    /// OCI runtime.
    pub runtime: Option<String>,
    /// OOM score adjustment, -1000 to 1000.
    pub oom_score_adj: Option<i64>,
    /// Volumes of other containers: engine names.
    pub volumes_from: Vec<String>,
    /// What is copied into it before it starts. Left out of the JSON when there is none, as every hash of a
    /// spec is made of that.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<CopiedFile>,
}

/// When an image is pulled.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PullPolicy {
    /// When the engine has none.
    #[default]
    Missing,
    /// Before every create.
    Always,
    /// Never: a missing image is an error.
    Never,
    /// Built before every create.
    Build,
}

/// How an image is built.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Build {
    /// Absolute folder that is sent to the engine.
    pub context: String,
    /// Dockerfile, relative to the context.
    pub dockerfile: Option<String>,
    /// The Dockerfile's text itself.
    pub dockerfile_inline: Option<String>,
    /// Build arguments; `None` takes the builder's environment.
    pub args: IndexMap<String, Option<String>>,
    /// Labels of the image.
    pub labels: BTreeMap<String, String>,
    /// The stage to stop at.
    pub target: Option<String>,
    /// More names for the result.
    pub tags: Vec<String>,
    /// Images whose layers may serve as cache.
    pub cache_from: Vec<String>,
    /// No layer is reused.
    pub no_cache: bool,
    /// Base images are pulled anew.
    pub pull: bool,
    /// Network of the build steps.
    pub network: Option<String>,
    /// Bytes of /dev/shm.
    pub shm_size: Option<u64>,
    /// Platform of the result.
    pub platform: Option<String>,
    /// `host` → address during the build.
    pub extra_hosts: Vec<(String, String)>,
    /// Digest of all of the above, which the image is labelled with; empty where nobody has
    /// computed it.
    #[serde(skip)]
    pub digest: String,
}

/// An image that the engine has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Image {
    /// The engine's id of it: a name that means another image has another id.
    pub id: String,
    /// The digest of the build definition that CLOS built it from, where it did.
    pub build_digest: Option<String>,
}

/// One network that a container joins.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Join {
    /// The network's name.
    pub network: String,
    /// Names under which others find it there.
    pub aliases: Vec<String>,
    /// A fixed address.
    pub ipv4_address: Option<String>,
    /// A fixed address.
    pub ipv6_address: Option<String>,
    /// A fixed hardware address.
    pub mac_address: Option<String>,
}

/// One thing mounted into a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// What kind of thing.
    pub kind: MountKind,
    /// Volume name or absolute host path; `None` is an anonymous volume or memory.
    pub source: Option<String>,
    /// Absolute path in the container.
    pub target: String,
    /// It cannot be written to.
    #[serde(default)]
    pub read_only: bool,
    /// Bind: the folder is made when missing.
    #[serde(default)]
    pub create_host_path: bool,
    /// Bind: mount propagation.
    #[serde(default)]
    pub propagation: Option<String>,
    /// SELinux relabelling: `z` or `Z`.
    #[serde(default)]
    pub selinux: Option<String>,
    /// Volume: the image's content is not copied in.
    #[serde(default)]
    pub no_copy: bool,
    /// Volume: mount only this part of it.
    #[serde(default)]
    pub subpath: Option<String>,
    /// Memory: bytes.
    #[serde(default)]
    pub size: Option<u64>,
    /// Memory: permissions.
    #[serde(default)]
    pub mode: Option<u32>,
}

impl Mount {
    /// A mount with everything optional left out.
    pub fn new(kind: MountKind, source: Option<String>, target: impl Into<String>) -> Self {
        Self {
            kind,
            source,
            target: target.into(),
            read_only: false,
            create_host_path: false,
            propagation: None,
            selinux: None,
            no_copy: false,
            subpath: None,
            size: None,
            mode: None,
        }
    }
}

/// What kind of thing is mounted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MountKind {
    /// A path of the host.
    Bind,
    /// A volume of the engine.
    Volume,
    /// Memory.
    Tmpfs,
}

impl MountKind {
    /// The wire word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Bind => "bind",
            Self::Volume => "volume",
            Self::Tmpfs => "tmpfs",
        }
    }
}

/// When the engine restarts a workload by itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Restart {
    /// Never; a one-shot.
    #[default]
    No,
    /// After a failure, at most so often (0: without end); a one-shot.
    OnFailure {
        /// How often.
        max_retries: u32,
    },
    /// Always.
    Always,
    /// Always, unless it was stopped.
    UnlessStopped,
}

impl Restart {
    /// One-shots may end: code 0 is then success.
    pub const fn is_one_shot(self) -> bool {
        matches!(self, Self::No | Self::OnFailure { .. })
    }
}

impl std::fmt::Display for Restart {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::No => f.write_str("no"),
            Self::OnFailure { max_retries: 0 } => f.write_str("on-failure"),
            Self::OnFailure { max_retries } => write!(f, "on-failure:{max_retries}"),
            Self::Always => f.write_str("always"),
            Self::UnlessStopped => f.write_str("unless-stopped"),
        }
    }
}

/// How a workload is asked to end.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Stop {
    /// Signal name; `None` is the image's, else TERM.
    pub signal: Option<String>,
    /// Time before it is killed; `None` is ten seconds.
    pub grace: Option<Duration>,
}

impl Stop {
    /// What holds when neither the file nor the caller says a grace period.
    pub const DEFAULT_GRACE: Duration = Duration::from_secs(10);

    /// The grace period that holds.
    pub fn grace(&self) -> Duration {
        self.grace.unwrap_or(Self::DEFAULT_GRACE)
    }
}

/// What a workload may use; absent means unlimited.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Limits {
    /// Thousandths of a core.
    pub cpu_millis: Option<u64>,
    /// Bytes.
    pub memory: Option<u64>,
    /// Bytes kept for it.
    pub memory_reservation: Option<u64>,
    /// Bytes of memory and swap together; -1 is unlimited.
    pub memory_swap: Option<i64>,
    /// Processes.
    pub pids: Option<i64>,
    /// Which cores, `0-2`.
    pub cpuset: Option<String>,
    /// Relative weight.
    pub cpu_shares: Option<i64>,
}

/// Where output goes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Logging {
    /// The engine's log driver; `None` is its default.
    pub driver: Option<String>,
    /// The driver's options.
    pub options: BTreeMap<String, String>,
}

/// A network to be made.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Network {
    /// The engine's name in a spec; a fixed name, or nothing, in a group.
    pub name: String,
    /// Whose it is, in a spec.
    pub owner: Option<Owner>,
    /// Made and removed by somebody else.
    pub external: bool,
    /// Driver; `None` is the engine's.
    pub driver: Option<String>,
    /// The driver's options.
    pub driver_opts: BTreeMap<String, String>,
    /// No way out.
    pub internal: bool,
    /// Containers from outside may join.
    pub attachable: bool,
    /// IPv6 addresses too.
    pub enable_ipv6: Option<bool>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Address pools.
    pub subnets: Vec<Subnet>,
    /// The hash of the definition, in a spec.
    #[serde(skip)]
    pub spec_hash: String,
}

/// What an engine shows of one network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundNetwork {
    /// The engine's own id.
    pub id: String,
    /// The network: its name, whose it is, and what it is like. Labels of ours and of docker compose's are
    /// left out; an address pool may be one that the engine chose, and the hash is empty where none was kept.
    pub network: Network,
}

/// An address pool of a network.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Subnet {
    /// CIDR.
    pub subnet: Option<String>,
    /// Part of it that is given out.
    pub ip_range: Option<String>,
    /// The router.
    pub gateway: Option<String>,
    /// Addresses that are taken.
    pub aux_addresses: BTreeMap<String, String>,
}

/// A volume to be made.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Volume {
    /// The engine's name in a spec; a fixed name, or nothing, in a group.
    pub name: String,
    /// Whose it is, in a spec.
    pub owner: Option<Owner>,
    /// Made and removed by somebody else.
    pub external: bool,
    /// Driver; `None` is the engine's.
    pub driver: Option<String>,
    /// The driver's options.
    pub driver_opts: BTreeMap<String, String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
}

/// What the labels of docker compose say of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Composed {
    /// The project, an engine prefix of ours.
    pub project: String,
    /// The service.
    pub service: String,
    /// The project's folder.
    pub working_dir: String,
    /// The hash of what it was made from.
    pub config_hash: String,
    /// It is of `docker compose run`.
    pub is_oneoff: bool,
}

impl Container {
    /// The services whose network, process or IPC namespace a definition asks for, in the file's words.
    pub fn shared_services(&self) -> BTreeSet<&str> {
        self.modes().filter_map(|mode| mode.strip_prefix("service:")).collect()
    }

    /// The containers whose namespaces a spec asks for.
    pub fn shared_with(&self) -> BTreeSet<&str> {
        self.modes().filter_map(|mode| mode.strip_prefix("container:")).collect()
    }

    /// The containers whose volumes a spec asks for; in a definition the services.
    pub fn mounted_from(&self) -> impl Iterator<Item = &str> {
        self.volumes_from.iter().map(|from| from.split(':').next().unwrap_or(from))
    }

    fn modes(&self) -> impl Iterator<Item = &str> {
        [&self.network_mode, &self.pid, &self.ipc].into_iter().filter_map(|mode| mode.as_deref())
    }
}

/// What an engine shows of one workload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The engine's own id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Whose it is; `None` for what CLOS did not make. Check the installation before touching it.
    pub identity: Option<Identity>,
    /// What docker compose says of it, whoever made it.
    pub composed: Option<Composed>,
    /// Its labels as the engine has them.
    pub labels: BTreeMap<String, String>,
    /// Reference of its image.
    pub image: String,
    /// The id that the reference meant when it was created; empty where the engine does not say.
    pub image_id: String,
    /// What it does.
    pub state: State,
    /// Addresses by network name.
    pub addresses: BTreeMap<String, String>,
    /// Ids of its networks by name, also while it does not run; empty where it has not been on one yet.
    pub networks: BTreeMap<String, String>,
    /// Published ports as they are now.
    pub ports: Vec<Binding>,
    /// Its volumes that nobody named, by target.
    pub anonymous_volumes: BTreeMap<String, String>,
    /// The containers whose network, process or IPC namespace it shares, by id; only an inspection
    /// tells them.
    pub shares_with: BTreeSet<String>,
    /// When it last started.
    pub started_at: Option<Timestamp>,
    /// When it last ended.
    pub finished_at: Option<Timestamp>,
    /// How often the engine restarted it.
    pub restarts: u32,
    /// The last answer to the engine's own check; only an inspection tells it.
    pub last_check: Option<LastCheck>,
}

/// What a workload does, as the engine says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// Made, never started.
    Created,
    /// Runs.
    Running {
        /// The engine's own health verdict.
        health: Verdict,
    },
    /// Runs, but is frozen.
    Paused,
    /// Ended, and the engine waits to start it again.
    Restarting,
    /// Ended.
    Exited {
        /// Exit code, 128 + signal for a signal.
        code: i32,
        /// The kernel ended it for want of memory.
        oom: bool,
    },
    /// The engine is removing it.
    Removing,
}
