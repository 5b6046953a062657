//! Runs plans: bounded parallelism, gates, failure policy, cancel, undo.
//!
//! A run has no choices to make: the plan says what needs what. What it does
//! decide is only *when*: a step begins as soon as its needs have completed, and
//! never beside another step of the same service (see `claims`). Every step is
//! written before and after; every engine call can be repeated, so an answer that
//! was lost is asked for again.

mod claims;
mod networks;
mod put_back;
mod run;
mod work;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use clos_domain::group::Direction;
use clos_domain::id::{OperationId, ServiceId};
use clos_domain::operation::Operation;
use clos_domain::plan::Plan;
use clos_domain::{Error, Result};
use tokio::sync::{Notify, Semaphore};
use tokio_util::sync::CancellationToken;

use crate::gates::Gates;
use crate::ledger::Ledger;
use crate::observer::Observer;
use crate::operations::end_open;
use crate::supervisor::{Supervisor, Task};
use crate::{Settings, World};

/// Pause before the end of an operation is written again; it doubles.
const GIVE_UP_PAUSE: Duration = Duration::from_millis(200);
/// The longest such pause.
const GIVE_UP_PAUSE_MAX: Duration = Duration::from_secs(5);

/// Runs operations.
#[derive(Clone)]
pub struct Runner {
    inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) world: World,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) observer: Observer,
    pub(crate) gates: Gates,
    claims: claims::Claims,
    runs: Mutex<HashMap<OperationId, Arc<Run>>>,
    /// Calls that change something on the engine, at a time.
    calls: Semaphore,
    /// Pulls and builds at a time.
    images: Semaphore,
    /// One network is made at a time: the engine takes two of one name that are asked for at once, and
    /// refuses a container that starts between them as ambiguous.
    networks: Semaphore,
}

/// An operation that is open in this process.
pub(crate) struct Run {
    id: OperationId,
    direction: Direction,
    services: HashSet<ServiceId>,
    cancel: CancellationToken,
    drain: CancellationToken,
    superseded: Mutex<HashMap<ServiceId, CancellationToken>>,
    nudge: Notify,
    /// What the names of images meant when they were first asked for, so that all steps see the same.
    images: Mutex<HashMap<String, Option<String>>>,
    /// Steps whose condition did not hold: they completed without having done anything.
    passed_over: Mutex<HashSet<u32>>,
}

impl Run {
    /// Ends the waits of one service; a child of the run's own token.
    fn token(&self, service: Option<&ServiceId>) -> CancellationToken {
        let Some(service) = service else { return self.cancel.child_token() };
        let mut tokens = self.superseded.lock().unwrap_or_else(PoisonError::into_inner);
        tokens.entry(service.clone()).or_insert_with(|| self.cancel.child_token()).clone()
    }

    fn is_superseded(&self, service: &ServiceId) -> bool {
        let tokens = self.superseded.lock().unwrap_or_else(PoisonError::into_inner);
        tokens.get(service).is_some_and(CancellationToken::is_cancelled) && !self.cancel.is_cancelled()
    }

    /// Whether a step was left out because its condition did not hold.
    fn was_passed_over(&self, step: u32) -> bool {
        self.passed_over.lock().unwrap_or_else(PoisonError::into_inner).contains(&step)
    }

    fn supersede(&self, service: &ServiceId) {
        self.token(Some(service)).cancel();
        self.nudge.notify_one();
    }
}

impl Runner {
    pub(crate) fn new(world: World, settings: Settings, ledger: Arc<Ledger>, observer: Observer) -> Self {
        let gates = Gates::new(world.clone(), &settings, ledger.clone(), observer.clone());
        let inner = Inner {
            calls: Semaphore::new(settings.parallel),
            images: Semaphore::new(settings.parallel_images),
            networks: Semaphore::new(1),
            world,
            ledger,
            observer,
            gates,
            claims: claims::Claims::default(),
            runs: Mutex::default(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Begins an operation whose row was just committed. An open operation of the
    /// opposite intent gives its services up: the later intent wins.
    pub(crate) fn start(
        &self,
        operation: Operation,
        plan: Plan,
        services: HashSet<ServiceId>,
        discard: Vec<ServiceId>,
        supervisor: &Supervisor,
    ) {
        let run = Arc::new(Run {
            id: operation.id.clone(),
            direction: operation.verb.direction(),
            services,
            cancel: CancellationToken::new(),
            drain: supervisor.drain_token(),
            superseded: Mutex::default(),
            nudge: Notify::new(),
            images: Mutex::default(),
            passed_over: Mutex::default(),
        });
        let opposite: Vec<Arc<Run>> = {
            let mut runs = self.inner.runs.lock().unwrap_or_else(PoisonError::into_inner);
            let opposite = runs.values().filter(|other| other.direction != run.direction).cloned().collect();
            runs.insert(run.id.clone(), run.clone());
            opposite
        };
        for other in opposite {
            for service in run.services.intersection(&other.services) {
                other.supersede(service);
            }
        }
        let inner = self.inner.clone();
        supervisor.spawn(Task::Operation, async move {
            let id = run.id.clone();
            if let Err(error) = inner.clone().drive(operation, plan, run.clone(), &discard).await {
                tracing::error!(operation = %id, %error, "an operation could not be recorded");
                inner.give_up(&id, &error, &run.drain).await;
            }
            inner.ledger.forget_progress(&id);
            inner.runs.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
        });
    }

    /// Asks a run to end; `false` when it is not open in this process.
    pub(crate) fn cancel(&self, id: &OperationId) -> bool {
        let runs = self.inner.runs.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(run) = runs.get(id) else { return false };
        run.cancel.cancel();
        run.nudge.notify_one();
        true
    }

    /// The gates, for the monitor.
    pub(crate) fn gates(&self) -> &Gates {
        &self.inner.gates
    }
}

impl Inner {
    /// Ends an operation that the store did not let us record further. An operation that is open and
    /// that nobody drives would hold up everybody who waits for it, so this is tried until it is
    /// written; what a drain leaves open, the next start ends.
    async fn give_up(&self, id: &OperationId, error: &Error, drain: &CancellationToken) {
        let mut pause = GIVE_UP_PAUSE;
        let message = format!("it could not be recorded: {error}");
        loop {
            let ended = async {
                let operation = self.world.store.view().await?.operations().get(id).await?;
                let open = operation.filter(|operation| !operation.state.is_terminal());
                match open {
                    None => Ok(()),
                    Some(open) => {
                        end_open(&self.world, &self.ledger, open, error.reason(), &message, &message).await
                    }
                }
            };
            let Err(again) = ended.await as Result<()> else { return };
            tracing::error!(operation = %id, error = %again, "an operation could not be ended");
            tokio::select! {
                () = tokio::time::sleep(pause) => pause = (pause * 2).min(GIVE_UP_PAUSE_MAX),
                () = drain.cancelled() => return,
            }
        }
    }

    /// Deletes the row of a service that left its files, once its container is gone.
    async fn discard(&self, service: &ServiceId) -> Result<()> {
        let mut tx = self.world.store.begin().await?;
        let Some(row) = tx.services().get(service).await? else { return Ok(()) };
        if row.observed != clos_domain::service::Observed::Absent {
            return Ok(());
        }
        crate::services::tell_deleted(tx.as_mut(), &row, self.world.clock.now());
        tx.services().delete(service).await?;
        self.ledger.commit(tx).await?;
        self.observer.forget(service);
        Ok(())
    }
}

pub(crate) use run::step_row;

/// How a step ended.
pub(crate) type StepEnd = Result<String>;
