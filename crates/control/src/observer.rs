//! What the engine shows, kept in the store.
//!
//! Events of the engine are lossy, so they are only hints that come early: a full
//! list follows every connection and runs every minute anyway. Whoever changes the
//! observed state of a service, this task or a step, does it under that service's lock,
//! with what the engine says inside the lock; so an older word never overwrites a newer one.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use clos_domain::event::{Draft, Severity, types};
use clos_domain::health::Verdict;
use clos_domain::id::ServiceId;
use clos_domain::operation::Action;
use clos_domain::seams::engine;
use clos_domain::seams::engine::{Event, Info};
use clos_domain::service::{Change, Ended, Observed, Service};
use clos_domain::workload::Found;
use clos_domain::{Reason, Result, Timestamp};
use futures::StreamExt as _;
use tokio::sync::watch;

use crate::World;
use crate::adoption;
use crate::checks::Checks;
use crate::endings::Endings;
use crate::ledger::Ledger;
use crate::sight::{apply, differs, has_run, is_up, main_of, note_restart, save, show};
use crate::supervisor::{Supervisor, Task};

/// A list repairs what events lost.
const LIST_EVERY: Duration = Duration::from_secs(60);
/// The engine is asked this often whether it is there.
const PING_EVERY: Duration = Duration::from_secs(5);

/// Inspections at a time of a full look.
const LOOKS_AT_ONCE: usize = 8;

/// Who asks right after a start waits no longer than this for the first look at the engine.
const FIRST_LOOK: Duration = Duration::from_secs(2);

/// Whether the engine answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reachability {
    /// Not asked yet.
    Unknown,
    /// It answers.
    Up(Box<Info>),
    /// It does not, and why.
    Down(String),
}

/// Keeps observed states.
#[derive(Clone)]
pub struct Observer {
    inner: Arc<Inner>,
}

struct Inner {
    world: World,
    ledger: Arc<Ledger>,
    installation: String,
    locks: Mutex<HashMap<ServiceId, Arc<tokio::sync::Mutex<()>>>>,
    reachability: watch::Sender<Reachability>,
    listed: watch::Sender<u64>,
    checks: Checks,
    endings: Arc<Endings>,
    /// Somebody is about to look at the engine, or has done so.
    is_looking: AtomicBool,
}

impl Observer {
    pub(crate) fn new(world: World, ledger: Arc<Ledger>, installation: String) -> Self {
        let inner = Inner {
            world,
            ledger,
            installation,
            locks: Mutex::default(),
            reachability: watch::Sender::new(Reachability::Unknown),
            listed: watch::Sender::new(0),
            checks: Checks::default(),
            endings: Arc::default(),
            is_looking: AtomicBool::new(false),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Whether the engine answers, as last seen.
    pub fn reachability(&self) -> Reachability {
        self.inner.reachability.borrow().clone()
    }

    /// The last answers to the services' health checks.
    pub(crate) fn checks(&self) -> &Checks {
        &self.inner.checks
    }

    /// The same, waited for while nobody has asked yet: a daemon that has just come up knows
    /// in a moment, and "it does not answer" would be untrue until then.
    pub async fn first_reachability(&self, patience: Duration) -> Reachability {
        let mut known = self.inner.reachability.subscribe();
        let asked = known.wait_for(|known| *known != Reachability::Unknown);
        match tokio::time::timeout(patience, asked).await {
            Ok(Ok(known)) => known.clone(),
            // We hold the sender, so the other error cannot come.
            Ok(Err(_)) | Err(_) => Reachability::Unknown,
        }
    }

    /// Waits until the engine was looked at once, or is known to be away: what is kept of before this
    /// daemon's start may be old. Nothing is waited for where nobody is about to look.
    pub(crate) async fn first_look(&self) {
        if !self.inner.is_looking.load(Ordering::Relaxed) {
            return;
        }
        let (mut lists, mut known) = (self.lists(), self.inner.reachability.subscribe());
        let looked = async { drop(lists.wait_for(|lists| *lists > 0).await) };
        let is_away = async { drop(known.wait_for(|known| matches!(known, Reachability::Down(_))).await) };
        // Whoever asks is answered with what is kept, late or not.
        let _ = tokio::time::timeout(FIRST_LOOK, async {
            tokio::select! {
                () = looked => {}
                () = is_away => {}
            }
        })
        .await;
    }

    /// Counts the complete lists that were taken; a test and a start wait on it.
    pub fn lists(&self) -> watch::Receiver<u64> {
        self.inner.listed.subscribe()
    }

    pub(crate) fn start(&self, supervisor: &Supervisor) {
        self.inner.is_looking.store(true, Ordering::Relaxed);
        let this = self.clone();
        supervisor.spawn(Task::EngineWatcher, async move { this.follow().await });
        let this = self.clone();
        supervisor.spawn(Task::EnginePing, async move { this.ping().await });
    }

    async fn ping(&self) {
        loop {
            self.ping_once().await;
            tokio::time::sleep(PING_EVERY).await;
        }
    }

    /// Asks once, and tells everybody when the answer is another than before.
    pub async fn ping_once(&self) {
        let now = match self.inner.world.engine.workloads.ping().await {
            Ok(info) => Reachability::Up(Box::new(info)),
            Err(error) => Reachability::Down(error.to_string()),
        };
        self.set_reachability(now).await;
    }

    async fn set_reachability(&self, now: Reachability) {
        let before = self.inner.reachability.send_replace(now.clone());
        let was_up = matches!(before, Reachability::Up(_));
        let is_up = matches!(now, Reachability::Up(_));
        if was_up == is_up && before != Reachability::Unknown {
            return;
        }
        let mut draft = Draft::new(types::ENGINE_CHANGED, self.inner.world.now());
        draft.data.state = Some(if is_up { "up" } else { "down" }.to_owned());
        if let Reachability::Down(why) = now {
            draft.severity = Severity::Error;
            draft.data.message = Some(why);
        }
        if let Err(error) = self.tell(draft).await {
            tracing::warn!(%error, "the change of the engine could not be journaled");
        }
    }

    async fn tell(&self, draft: Draft) -> Result<()> {
        let mut tx = self.inner.world.store.begin().await?;
        tx.journal().append(draft);
        self.inner.ledger.commit(tx).await?;
        Ok(())
    }

    async fn follow(&self) {
        let mut events = self.inner.world.engine.workloads.events();
        let mut every = tokio::time::interval(LIST_EVERY);
        every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        every.tick().await;
        loop {
            tokio::select! {
                event = events.next() => match event {
                    None => return,
                    Some(Event::Connected) => {
                        self.ping_once().await;
                        self.list_and_log().await;
                    }
                    Some(Event::Disconnected(why)) => {
                        tracing::info!(why, "the engine's event stream broke");
                        self.ping_once().await;
                    }
                    Some(Event::Workload { id, name, change, at }) => {
                        if let Err(error) = self.take_event(&id, &name, change, at).await {
                            tracing::warn!(%error, container = name, "an event of the engine could not be recorded");
                        }
                    }
                },
                _ = every.tick() => self.list_and_log().await,
            }
        }
    }

    async fn list_and_log(&self) {
        if let Err(error) = self.list_once().await {
            tracing::warn!(%error, "the engine could not be listed");
        }
    }

    /// Looks at everything afresh.
    pub async fn list_once(&self) -> Result<()> {
        let begun = self.inner.world.now();
        let found = self.inner.world.engine.workloads.list().await.map_err(engine_error)?;
        let (all, adopted) = {
            let mut view = self.inner.world.store.view().await?;
            let all =
                view.services().list(&Default::default(), &clos_domain::page::Request::ALL).await?.items;
            (all, adoption::Known::read(view.as_mut()).await?)
        };
        let mut ours: HashMap<ServiceId, Vec<Found>> = HashMap::new();
        for one in found {
            if let Some(service) = adopted.service_of(&self.inner.installation, &one).cloned() {
                ours.entry(service).or_default().push(one);
            }
        }
        let listed: Vec<(Service, Option<Found>)> = all
            .into_iter()
            .map(|service| {
                let found = main_of(&service, ours.remove(&service.id).unwrap_or_default());
                (service, found)
            })
            .collect();
        let looked = futures::stream::iter(listed).map(|(service, found)| async move {
            let found = self.looked_into(&service, found).await;
            (service, found)
        });
        let mut looked = looked.buffer_unordered(LOOKS_AT_ONCE);
        while let Some((service, shown)) = looked.next().await {
            self.note_check(&service.id, shown.as_ref());
            let is_news =
                service.observed_at.is_none_or(|at| at < begun) && differs(&service, shown.as_ref());
            if !is_news {
                continue;
            }
            self.update(&service.id, |row| {
                let is_newer = row.observed_at.is_some_and(|at| at >= begun);
                if row.step.is_some() || is_newer {
                    return false;
                }
                show(row, shown.as_ref(), begun);
                true
            })
            .await?;
        }
        for stranger in ours.values().flatten() {
            tracing::warn!(container = stranger.name, "a container of ours has no row");
        }
        self.inner.listed.send_modify(|lists| *lists += 1);
        Ok(())
    }

    /// A row of the list does not say when a container started, nor how often, nor what its check said:
    /// who runs is inspected, and so is what changed unseen. Where that fails the row has to do.
    async fn looked_into(&self, service: &Service, found: Option<Found>) -> Option<Found> {
        let listed = found?;
        if !has_run(&listed) || !(is_up(&listed) || differs(service, Some(&listed))) {
            return Some(listed);
        }
        match self.inner.world.engine.workloads.inspect(&listed.id).await {
            Ok(Some(found)) => Some(found),
            Ok(None) => Some(listed),
            Err(error) => {
                tracing::warn!(%error, container = listed.name, "a container could not be inspected");
                Some(listed)
            }
        }
    }

    async fn take_event(&self, id: &str, name: &str, change: Change, at: Timestamp) -> Result<()> {
        if let Change::Signalled(signal) = change {
            self.inner.endings.signalled(id, signal, at);
            return Ok(());
        }
        if change == Change::Stopped {
            // In case its end is told only now.
            self.inner.endings.stopped(id, at);
        }
        let Some((service, found)) = self.service_of(id, name, change).await? else { return Ok(()) };
        self.note_check(&service, found.as_ref());
        self.update(&service, |row| {
            let is_old = row.observed_at.is_some_and(|seen| at < seen);
            let is_another = row.container_id.as_deref().is_some_and(|known| known != id);
            // A new container beside the old one is no news until it takes over.
            let is_news = change == Change::Created && row.observed == Observed::Absent;
            if is_old || (is_another && !is_news) {
                return false;
            }
            let is_restarted = found.as_ref().is_some_and(|found| note_restart(row, found));
            let is_news = apply(row, id, change, found.as_ref(), at);
            if is_news && matches!(change, Change::Died { .. }) && matches!(row.observed, Observed::Exited(_))
            {
                row.ended_by = self.ended_by(row, at);
            }
            is_news || is_restarted
        })
        .await?;
        Ok(())
    }

    /// Who ended a run that ended now; a stop of ours is for its step to say.
    fn ended_by(&self, row: &Service, at: Timestamp) -> Option<Ended> {
        let is_ours = row.step.is_some_and(|step| matches!(step.action, Action::Stop | Action::Remove));
        (!is_ours).then(|| self.inner.endings.of(row, at))
    }

    /// The service of a container, by its labels, and the container as it is now; a removed one is
    /// known by its id only.
    async fn service_of(
        &self,
        id: &str,
        name: &str,
        change: Change,
    ) -> Result<Option<(ServiceId, Option<Found>)>> {
        if change == Change::Removed {
            let mut view = self.inner.world.store.view().await?;
            let all = view.services().list(&Default::default(), &clos_domain::page::Request::ALL).await?;
            return Ok(all
                .items
                .into_iter()
                .find(|row| row.container_id.as_deref() == Some(id))
                .map(|row| (row.id, None)));
        }
        let found = self.inner.world.engine.workloads.inspect(name).await.map_err(engine_error)?;
        let Some(found) = found.filter(|found| found.id == id) else { return Ok(None) };
        let owner = self.owner_of(&found).await?;
        Ok(owner.map(|service| (service, Some(found))))
    }

    /// The service whose container this is, by its labels or because it was adopted.
    pub(crate) async fn owner_of(&self, found: &Found) -> Result<Option<ServiceId>> {
        let adopted = if found.identity.is_some() {
            adoption::Known::default()
        } else {
            let mut view = self.inner.world.store.view().await?;
            adoption::Known::read(view.as_mut()).await?
        };
        Ok(adopted.service_of(&self.inner.installation, found).cloned())
    }

    /// Looks at one workload, under its service's lock, which the sight keeps until it is written.
    pub(crate) async fn see(&self, service: &ServiceId, name: &str) -> Result<Sight> {
        let held = self.lock(service).lock_owned().await;
        let at = self.inner.world.now();
        let found = self.inner.world.engine.workloads.inspect(name).await.map_err(engine_error)?;
        let found = match found {
            Some(found) if self.owner_of(&found).await?.is_some() => Some(found),
            _ => None,
        };
        self.note_check(service, found.as_ref());
        let endings = self.inner.endings.clone();
        Ok(Sight { found, at, endings, _held: held })
    }

    fn note_check(&self, service: &ServiceId, found: Option<&Found>) {
        if let Some(check) = found.and_then(|found| found.last_check.clone()) {
            self.inner.checks.note(service, check);
        }
    }

    /// Looks at one workload and writes what is news.
    pub(crate) async fn refresh(&self, service: &ServiceId, name: &str) -> Result<()> {
        let sight = self.see(service, name).await?;
        self.write(service, |row| {
            let before = row.clone();
            sight.show(row);
            before.observed != row.observed
                || before.container_id != row.container_id
                || before.started_at != row.started_at
                || before.restart_times != row.restart_times
        })
        .await?;
        Ok(())
    }

    /// What its policy restarted and what has stayed up since is well from now on.
    pub(crate) async fn settle(&self, service: &ServiceId) -> Result<()> {
        let now = self.inner.world.now();
        self.update(service, |row| row.derive_status(now) != (row.status, row.status_reason)).await?;
        Ok(())
    }

    /// Records a verdict of our own probes.
    pub async fn record_health(&self, service: &ServiceId, verdict: Verdict) -> Result<()> {
        self.update(service, |row| {
            let Observed::Running(before) = row.observed else { return false };
            row.observed = Observed::Running(verdict);
            before != verdict
        })
        .await?;
        Ok(())
    }

    /// Changes a row under its lock; `change` says whether there is anything to write.
    pub async fn update(
        &self,
        service: &ServiceId,
        change: impl FnOnce(&mut Service) -> bool + Send,
    ) -> Result<Option<Service>> {
        let lock = self.lock(service);
        let _held = lock.lock().await;
        self.write(service, change).await
    }

    async fn write(
        &self,
        service: &ServiceId,
        change: impl FnOnce(&mut Service) -> bool + Send,
    ) -> Result<Option<Service>> {
        let now = self.inner.world.now();
        let mut tx = self.inner.world.store.begin().await?;
        let Some(before) = tx.services().get(service).await? else { return Ok(None) };
        let mut row = before.clone();
        if !change(&mut row) {
            return Ok(Some(before));
        }
        save(tx.as_mut(), &before, &mut row, now).await?;
        self.inner.ledger.commit(tx).await?;
        Ok(Some(row))
    }

    /// Takes a service's lock.
    pub(crate) async fn hold(&self, service: &ServiceId) -> tokio::sync::OwnedMutexGuard<()> {
        self.lock(service).lock_owned().await
    }

    fn lock(&self, service: &ServiceId) -> Arc<tokio::sync::Mutex<()>> {
        let mut locks = self.inner.locks.lock().unwrap_or_else(PoisonError::into_inner);
        locks.entry(service.clone()).or_default().clone()
    }

    /// The service is gone: so are its lock and its last check.
    pub(crate) fn forget(&self, service: &ServiceId) {
        self.inner.checks.forget(service);
        self.inner.locks.lock().unwrap_or_else(PoisonError::into_inner).remove(service);
    }
}

/// What the engine showed of one workload; nobody else writes its service meanwhile.
pub(crate) struct Sight {
    found: Option<Found>,
    at: Timestamp,
    endings: Arc<Endings>,
    _held: tokio::sync::OwnedMutexGuard<()>,
}

impl Sight {
    /// Sets a row to what was seen. Who looks at a run that has just ended has watched it.
    pub(crate) fn show(&self, row: &mut Service) {
        let had_ended = matches!(row.observed, Observed::Exited(_));
        let before = row.started_at;
        show(row, self.found.as_ref(), self.at);
        let has_ended = matches!(row.observed, Observed::Exited(_));
        if has_ended && (!had_ended || row.started_at != before) {
            row.ended_by = Some(self.endings.of(row, row.stopped_at.unwrap_or(self.at)));
        }
    }
}

/// What a caller is told of an engine's error.
pub(crate) fn engine_error(error: engine::Error) -> clos_domain::Error {
    use engine::Error as E;
    let message = error.to_string();
    let reason = match &error {
        E::Unreachable(_) | E::UnknownOutcome(_) => Reason::EngineUnreachable,
        E::NoImage(_) => Reason::ImageNotFound,
        E::PullRefused { .. } => Reason::ImagePullFailed,
        E::BuildFailed { .. } => Reason::BuildFailed,
        E::NameTaken(_) => Reason::NameTaken,
        E::PortAllocated { .. } | E::PortInUse { .. } => Reason::PortConflict,
        E::NotFound(_) => Reason::Gone,
        E::Unsupported(_) => Reason::NotKnownHere,
        E::Refused(_) | E::InUse(_) | E::Failed(_) => Reason::SpecRefused,
    };
    clos_domain::Error::new(reason, message).with_source(error)
}
