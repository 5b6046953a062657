//! What CLOS does: use cases and background tasks, over the seams of `domain`.
//!
//! A use case loads, asks the pure rules, writes state and its events in one
//! transaction, and leaves the work to the [`runner`]; a second transaction
//! tells the outcome. There is no SQL, no engine API and no wire format here.
//!
//! To add a use case: a method on the noun's handle ([`services`], [`groups`],
//! [`operations`], [`events`], [`system`]), its test on SQLite and the fake engine, an
//! RPC that calls it. To add a background task: a module with `run`, a row in
//! [`supervisor::Task`], and a line in [`Control::start`].

mod admission;
mod adoption;
pub mod apply;
mod changes;
mod checks;
mod containers;
mod convert;
mod endings;
pub mod etag;
pub mod events;
mod gates;
pub mod groups;
pub mod ledger;
pub mod logs;
mod lookup;
mod monitor;
mod networks;
pub mod observer;
pub mod operations;
mod ports;
mod reach;
pub mod runner;
pub mod services;
mod sight;
mod snapshot;
pub mod supervisor;
pub mod system;
pub mod verbs;

use std::sync::Arc;
use std::time::Duration;

use clos_domain::seams::{
    Clock, Files, Host, IdSource, Images, Networks, OwnPort, Probe, Store, Volumes, Workloads,
};
use clos_domain::{Result, Timestamp};

use crate::ledger::Ledger;
use crate::observer::Observer;
use crate::runner::Runner;
use crate::supervisor::Supervisor;

/// The container engine's four faces.
#[derive(Clone)]
pub struct Engine {
    /// Runs workloads.
    pub workloads: Arc<dyn Workloads>,
    /// Images.
    pub images: Arc<dyn Images>,
    /// Networks.
    pub networks: Arc<dyn Networks>,
    /// Volumes.
    pub volumes: Arc<dyn Volumes>,
}

impl Engine {
    /// An engine that has all four faces.
    pub fn of<E: Workloads + Images + Networks + Volumes>(engine: Arc<E>) -> Self {
        Self { workloads: engine.clone(), images: engine.clone(), networks: engine.clone(), volumes: engine }
    }
}

/// The world as `control` needs it.
#[derive(Clone)]
pub struct World {
    /// What is remembered.
    pub store: Arc<dyn Store>,
    /// Where workloads run.
    pub engine: Engine,
    /// The machine.
    pub host: Arc<dyn Host>,
    /// Asks whether something is well.
    pub probe: Arc<dyn Probe>,
    /// Files under roots.
    pub files: Arc<dyn Files>,
    /// Wall time.
    pub clock: Arc<dyn Clock>,
    /// Ids.
    pub ids: Arc<dyn IdSource>,
}

impl World {
    fn now(&self) -> Timestamp {
        self.clock.now()
    }
}

/// What can be set.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The random id of the state folder; only what carries it is ours.
    pub installation: String,
    /// Engine calls that change something, at a time.
    pub parallel: usize,
    /// Pulls and builds at a time.
    pub parallel_images: usize,
    /// Command checks at a time: one a core.
    pub cores: usize,
    /// More folders that projects may read from.
    pub roots: Vec<String>,
    /// How long a gate waits for a one-shot to complete.
    pub completion_patience: Duration,
    /// What nobody checks counts as up when it has run for so long.
    pub settles_after: Duration,
    /// The newest events are kept whatever their age.
    pub journal_keep: u64,
    /// Older events go.
    pub journal_max_age: Duration,
}

impl Settings {
    /// The figures that hold on a machine with so many cores. A single start takes
    /// over a second when sixteen run at once on two cores, hence four a core.
    pub fn for_cores(installation: impl Into<String>, cores: usize) -> Self {
        Self {
            installation: installation.into(),
            parallel: cores.saturating_mul(4).clamp(4, 32),
            parallel_images: 3,
            cores: cores.max(1),
            roots: Vec::new(),
            completion_patience: Duration::from_secs(3_600),
            settles_after: Duration::from_millis(500),
            journal_keep: 10_000,
            journal_max_age: Duration::from_secs(7 * 24 * 3_600),
        }
    }
}

/// Every use case, behind one handle.
#[derive(Clone)]
pub struct Control {
    shared: Arc<Shared>,
}

pub(crate) struct Shared {
    pub(crate) world: World,
    pub(crate) settings: Settings,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) observer: Observer,
    pub(crate) runner: Runner,
    pub(crate) supervisor: Supervisor,
    pub(crate) started_at: Timestamp,
    /// Applies of one group come one after the other, so that two do not plan on the same rows.
    pub(crate) submitting: tokio::sync::Mutex<()>,
    /// Set once when the daemon listens.
    pub(crate) own_port: std::sync::OnceLock<Arc<dyn OwnPort>>,
}

impl Control {
    /// Opens the journal, ends what an earlier process left open, and touches no container.
    pub async fn open(world: World, settings: Settings, supervisor: Supervisor) -> Result<Self> {
        let ledger = Ledger::open(world.store.clone()).await?;
        let observer = Observer::new(world.clone(), ledger.clone(), settings.installation.clone());
        let runner = Runner::new(world.clone(), settings.clone(), ledger.clone(), observer.clone());
        let started_at = world.now();
        let shared = Shared {
            world,
            settings,
            ledger,
            observer,
            runner,
            supervisor,
            started_at,
            submitting: tokio::sync::Mutex::new(()),
            own_port: std::sync::OnceLock::new(),
        };
        let control = Self { shared: Arc::new(shared) };
        operations::interrupt_open(&control.shared).await?;
        Ok(control)
    }

    /// The daemon listens on a port of its own, which gives way to the ports of services.
    pub fn listens(&self, own_port: Arc<dyn OwnPort>) {
        let _ = self.shared.own_port.set(own_port);
    }

    /// Starts the background tasks.
    pub fn start(&self) {
        let shared = &self.shared;
        shared.observer.start(&shared.supervisor);
        monitor::start(shared);
        events::start_trim(shared);
    }

    /// Services.
    pub fn services(&self) -> services::Services<'_> {
        services::Services { shared: &self.shared }
    }

    /// Groups.
    pub fn groups(&self) -> groups::Groups<'_> {
        groups::Groups { shared: &self.shared }
    }

    /// Operations.
    pub fn operations(&self) -> operations::Operations<'_> {
        operations::Operations { shared: &self.shared }
    }

    /// Events.
    pub fn events(&self) -> events::Events<'_> {
        events::Events { shared: &self.shared }
    }

    /// The daemon and the machine.
    pub fn system(&self) -> system::System<'_> {
        system::System { shared: &self.shared }
    }
}
