//! Where workloads run.
//!
//! Four seams: every engine has [`Workloads`]; images, networks and volumes come
//! from container engines only. Every call has its own deadline inside; an
//! error says whether the call may still have had its effect.

use std::time::Duration;

use async_trait::async_trait;
use futures_core::stream::BoxStream;
use jiff::Timestamp;

use crate::service::Change;
use crate::workload::{Build, Found, FoundNetwork, Image, Network, Spec, Volume};

/// Why an engine did not do it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A workload, network or volume of this name exists already.
    #[error("the name `{0}` is taken")]
    NameTaken(String),
    /// There is no such workload, network or volume.
    #[error("`{0}` does not exist on the engine")]
    NotFound(String),
    /// There is no such image here.
    #[error("image `{0}` is not on the engine")]
    NoImage(String),
    /// The registry has none, or wants credentials.
    #[error("image `{image}` cannot be pulled: {why}")]
    PullRefused {
        /// Which.
        image: String,
        /// The registry's or the engine's words.
        why: String,
    },
    /// The build ended with an error.
    #[error("image `{image}` cannot be built: {why}")]
    BuildFailed {
        /// Which.
        image: String,
        /// The last words of the build.
        why: String,
    },
    /// Another container has the host port.
    #[error("host port {port} is allocated to another container")]
    PortAllocated {
        /// The host port; 0 when the engine did not say.
        port: u16,
    },
    /// A process of the host has the port.
    #[error("host port {port} is in use on the host")]
    PortInUse {
        /// The host port; 0 when the engine did not say.
        port: u16,
    },
    /// Something still uses the network or volume.
    #[error("`{0}` is in use")]
    InUse(String),
    /// The engine says that the request is wrong.
    #[error("the engine refused: {0}")]
    Refused(String),
    /// This engine has no such capability.
    #[error("this engine cannot {0}")]
    Unsupported(String),
    /// Nobody answers; nothing was sent.
    #[error("the engine does not answer: {0}")]
    Unreachable(String),
    /// It was sent and no answer came: it may have happened.
    #[error("no answer to `{0}`; it may have happened")]
    UnknownOutcome(String),
    /// The engine failed.
    #[error("the engine failed: {0}")]
    Failed(String),
}

/// What the engine says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Info {
    /// `docker`, `podman`, `fake`.
    pub kind: String,
    /// Its version.
    pub version: String,
    /// Its API's version.
    pub api_version: String,
    /// Where it was found: `DOCKER_HOST`, `context desktop-linux`, `default socket`.
    pub found_by: String,
    /// Its address.
    pub address: String,
    /// Its operating system and architecture: `linux/amd64`.
    pub platform: String,
    /// It builds with BuildKit.
    pub buildkit: bool,
    /// Runs without root.
    pub rootless: bool,
}

/// A change on the engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The stream is connected (again): everything may have changed, list again.
    Connected,
    /// The stream broke; it reconnects by itself.
    Disconnected(String),
    /// A workload changed.
    Workload {
        /// The engine's id.
        id: String,
        /// Its name.
        name: String,
        /// What happened.
        change: Change,
        /// When, by the engine's clock.
        at: Timestamp,
    },
}

/// Which part of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogQuery {
    /// The last so many lines; `None` is all.
    pub tail: Option<u32>,
    /// Not before.
    pub since: Option<Timestamp>,
    /// Before.
    pub until: Option<Timestamp>,
    /// Goes on until the workload ends.
    pub follow: bool,
    /// Standard output.
    pub stdout: bool,
    /// Standard error.
    pub stderr: bool,
}

impl Default for LogQuery {
    fn default() -> Self {
        Self { tail: Some(100), since: None, until: None, follow: false, stdout: true, stderr: true }
    }
}

/// One line of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// When the engine took it.
    pub at: Option<Timestamp>,
    /// From standard error.
    pub stderr: bool,
    /// The text without its line end; bytes that are no UTF-8 are replaced.
    pub text: String,
    /// The bytes themselves where they are no UTF-8.
    pub raw: Option<Vec<u8>>,
    /// The line goes on in the next of the same stream.
    pub partial: bool,
}

/// What a workload uses.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Stats {
    /// When.
    pub at: Option<Timestamp>,
    /// Per cent of one core.
    pub cpu_percent: f64,
    /// Bytes, without the page cache.
    pub memory: u64,
    /// Bytes; 0 is unlimited.
    pub memory_limit: u64,
    /// Bytes since the start.
    pub network_rx: u64,
    /// Bytes since the start.
    pub network_tx: u64,
    /// Bytes read from block devices since the start.
    pub block_read: u64,
    /// Bytes written to block devices since the start.
    pub block_write: u64,
    /// Processes.
    pub pids: u64,
}

/// How a command inside a workload ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecOutcome {
    /// Exit code.
    pub code: i64,
    /// The first few kilobytes of both streams.
    pub output: String,
}

/// Progress of a pull or build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// Layer or build step; empty for the whole.
    pub part: String,
    /// What is being done.
    pub message: String,
    /// Bytes done, over all parts.
    pub current: u64,
    /// Bytes in all, as far as known.
    pub total: u64,
}

/// Takes progress; must not block.
pub type OnProgress<'a> = &'a (dyn Fn(Progress) + Send + Sync);

/// Runs workloads. Knows no Docker.
#[async_trait]
pub trait Workloads: Send + Sync + 'static {
    /// What is known of it without asking it: how it was found and its address. The rest is empty.
    fn known(&self) -> Info;

    /// Answers within two seconds, or the engine is away.
    async fn ping(&self) -> Result<Info, Error>;

    /// Makes it, never starts it; returns the engine's id. [`Error::NameTaken`] when the name is.
    async fn create(&self, spec: &Spec) -> Result<String, Error>;

    /// Starts it; a running one is left as it is.
    async fn start(&self, name: &str) -> Result<(), Error>;

    /// Asks it to end, and kills it after `grace`; an ended one is left as it is, a paused one goes on to end.
    async fn stop(&self, name: &str, grace: Duration) -> Result<(), Error>;

    /// Freezes it; a paused one is left as it is.
    async fn pause(&self, name: &str) -> Result<(), Error>;

    /// Lets it go on; one that is not paused is left as it is.
    async fn unpause(&self, name: &str) -> Result<(), Error>;

    /// Removes it, killing it when it runs; its volumes stay. One that is not there is fine.
    async fn remove(&self, name: &str) -> Result<(), Error>;

    /// Gives it another name, running or not. [`Error::NameTaken`] when another one has that name.
    async fn rename(&self, name: &str, to: &str) -> Result<(), Error>;

    /// What it shows; `None` when there is none.
    async fn inspect(&self, name: &str) -> Result<Option<Found>, Error>;

    /// Every workload, strangers included.
    async fn list(&self) -> Result<Vec<Found>, Error>;

    /// Its output.
    async fn logs(
        &self,
        name: &str,
        query: LogQuery,
    ) -> Result<BoxStream<'static, Result<LogLine, Error>>, Error>;

    /// Changes from now on, for ever: reconnects by itself and begins with [`Event::Connected`].
    fn events(&self) -> BoxStream<'static, Event>;

    /// What it uses, about once a second.
    async fn stats(&self, name: &str) -> Result<BoxStream<'static, Result<Stats, Error>>, Error>;

    /// Runs a command in it and waits, no longer than `timeout`.
    async fn exec(&self, name: &str, argv: &[String], timeout: Duration) -> Result<ExecOutcome, Error>;
}

/// Images of a container engine. References are as in files: `postgres:17`.
#[async_trait]
pub trait Images: Send + Sync + 'static {
    /// The image that a reference means now; `None` when the engine has none.
    async fn find(&self, image: &str) -> Result<Option<Image>, Error>;

    /// Whether the engine has it.
    async fn exists(&self, image: &str) -> Result<bool, Error> {
        Ok(self.find(image).await?.is_some())
    }

    /// Whether a registry has it, without fetching it.
    async fn resolvable(&self, image: &str) -> Result<(), Error>;

    /// Fetches it. `platform` such as `linux/amd64`.
    async fn pull(&self, image: &str, platform: Option<&str>, progress: OnProgress<'_>) -> Result<(), Error>;

    /// Builds it from a folder of this machine, names it and labels it with the definition's digest.
    async fn build(&self, image: &str, build: &Build, progress: OnProgress<'_>) -> Result<(), Error>;
}

/// Networks of a container engine.
#[async_trait]
pub trait Networks: Send + Sync + 'static {
    /// Makes it; [`Error::NameTaken`] when the name is.
    async fn create(&self, network: &Network) -> Result<(), Error>;

    /// Removes it; one that is not there is fine, [`Error::InUse`] when somebody is on it.
    async fn remove(&self, name: &str) -> Result<(), Error>;

    /// Puts this network in the place of the one of its name, and joins these containers to it as they were
    /// joined to the old one. None of them may run: [`Error::InUse`] when somebody is on the old one. When the
    /// new one cannot be made, the old one is back. Doing it again is fine.
    async fn replace(&self, network: &Network, containers: &[String]) -> Result<(), Error>;

    /// Every network.
    async fn list(&self) -> Result<Vec<FoundNetwork>, Error>;

    /// The IPv4 address that containers of a network see as their host's; `None` where the network
    /// is not there or has none.
    async fn gateway(&self, name: &str) -> Result<Option<std::net::Ipv4Addr>, Error>;
}

/// Volumes of a container engine.
#[async_trait]
pub trait Volumes: Send + Sync + 'static {
    /// Makes it; one of the same name and driver is left as it is.
    async fn create(&self, volume: &Volume) -> Result<(), Error>;

    /// Removes it and its data; one that is not there is fine, [`Error::InUse`] when somebody mounts it.
    async fn remove(&self, name: &str) -> Result<(), Error>;

    /// Every volume: name, and whose it is.
    async fn list(&self) -> Result<Vec<(String, Option<crate::workload::Owner>)>, Error>;
}
