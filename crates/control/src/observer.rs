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
use clos_domain::seams::engine::{Event, Info};
use clos_domain::seams::{Tx, engine};
use clos_domain::service::{Change, Desired, Observed, Service, Status};
use clos_domain::workload::{Found, State};
use clos_domain::{Reason, Result, Timestamp};
use futures::StreamExt as _;
use tokio::sync::watch;

use crate::World;
use crate::adoption;
use crate::ledger::Ledger;
use crate::supervisor::{Supervisor, Task};

/// A list repairs what events lost.
const LIST_EVERY: Duration = Duration::from_secs(60);
/// The engine is asked this often whether it is there.
const PING_EVERY: Duration = Duration::from_secs(5);

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
            is_looking: AtomicBool::new(false),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Whether the engine answers, as last seen.
    pub fn reachability(&self) -> Reachability {
        self.inner.reachability.borrow().clone()
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
            let all = view.services().list(&Default::default(), clos_domain::page::Request::ALL).await?.items;
            (all, adoption::Known::read(view.as_mut()).await?)
        };
        let mut ours: HashMap<ServiceId, Vec<Found>> = HashMap::new();
        for one in found {
            if let Some(service) = adopted.service_of(&self.inner.installation, &one).cloned() {
                ours.entry(service).or_default().push(one);
            }
        }
        for service in all {
            let shown = main_of(&service, ours.remove(&service.id).unwrap_or_default());
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

    async fn take_event(&self, id: &str, name: &str, change: Change, at: Timestamp) -> Result<()> {
        let Some((service, found)) = self.service_of(id, name, change).await? else { return Ok(()) };
        self.update(&service, |row| {
            let is_old = row.observed_at.is_some_and(|seen| at < seen);
            let is_another = row.container_id.as_deref().is_some_and(|known| known != id);
            // A new container beside the old one is no news until it takes over.
            let is_news = change == Change::Created && row.observed == Observed::Absent;
            if is_old || (is_another && !is_news) {
                return false;
            }
            let is_restarted = found.as_ref().is_some_and(|found| note_restart(row, found));
            apply(row, id, change, found.as_ref(), at) || is_restarted
        })
        .await?;
        Ok(())
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
            let all = view.services().list(&Default::default(), clos_domain::page::Request::ALL).await?;
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
    async fn owner_of(&self, found: &Found) -> Result<Option<ServiceId>> {
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
        Ok(Sight { found, at, _held: held })
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

    /// The service is gone: so is its lock.
    pub(crate) fn forget(&self, service: &ServiceId) {
        self.inner.locks.lock().unwrap_or_else(PoisonError::into_inner).remove(service);
    }
}

/// What the engine showed of one workload; nobody else writes its service meanwhile.
pub(crate) struct Sight {
    found: Option<Found>,
    at: Timestamp,
    _held: tokio::sync::OwnedMutexGuard<()>,
}

impl Sight {
    /// Sets a row to what was seen.
    pub(crate) fn show(&self, row: &mut Service) {
        show(row, self.found.as_ref(), self.at);
    }
}

/// Writes a row that changed, with its new status and the events that say so.
pub(crate) async fn save(tx: &mut dyn Tx, before: &Service, row: &mut Service, now: Timestamp) -> Result<()> {
    let is_up_again = row.observed.is_running() || row.desired != Desired::Running;
    if row.status_reason == Some(Reason::Skipped) && (is_up_again || row.step.is_some()) {
        row.status_reason = None;
        row.status_detail.clear();
    }
    let (status, reason) = row.derive_status(now);
    row.status = status;
    row.status_reason = reason;
    row.updated_at = now;
    tx.services().update_state(row).await?;
    let draft = |kind| {
        let mut draft = Draft::new(kind, now);
        draft.service = Some(row.id.clone());
        draft.group = Some(row.group.clone());
        draft.data.service_name = Some(row.definition.name.to_string());
        draft
    };
    if before.status != row.status || before.status_reason != row.status_reason {
        let mut changed = draft(types::SERVICE_STATUS_CHANGED);
        changed.severity = match row.status {
            Status::Failed => Severity::Error,
            Status::Unhealthy => Severity::Warning,
            _ => Severity::Info,
        };
        changed.data.old_status = Some(before.status.as_str().to_owned());
        changed.data.new_status = Some(row.status.as_str().to_owned());
        changed.data.status_reason = row.status_reason.map(|reason| reason.as_str().to_owned());
        changed.data.exit_code = row.observed.exit_code();
        changed.data.container_id.clone_from(&row.container_id);
        changed.data.message = (!row.status_detail.is_empty()).then(|| row.status_detail.clone());
        tx.journal().append(changed);
    }
    let (old_health, new_health) = (before.observed.health(), row.observed.health());
    if old_health != new_health && row.observed.is_running() {
        let mut changed = draft(types::SERVICE_HEALTH_CHANGED);
        changed.severity = if new_health == Verdict::Unhealthy { Severity::Warning } else { Severity::Info };
        changed.data.old_health = Some(old_health.as_str().to_owned());
        changed.data.new_health = Some(new_health.as_str().to_owned());
        tx.journal().append(changed);
    }
    Ok(())
}

/// Starts by the policy that are remembered of one service.
const KEPT_RESTARTS: usize = 16;

/// Notes starts by the restart policy; `false` when they are known, or there are none.
fn note_restart(row: &mut Service, found: &Found) -> bool {
    // The engine counts when it decides to restart, before it has.
    let done = match found.state {
        State::Restarting => found.restarts.saturating_sub(1),
        _ => found.restarts,
    };
    // A list knows neither the moment nor the count.
    let Some(at) = found.started_at.map(as_stored) else { return false };
    let done = usize::try_from(done).unwrap_or(usize::MAX);
    let known = row.restart_times.len();
    if done == 0 {
        // Somebody started it by hand, and the engine counts anew.
        row.restart_times.clear();
        return known > 0;
    }
    let is_known = row.restart_times.last() == Some(&at);
    // Several may have passed between two looks.
    let missed = if known < KEPT_RESTARTS { done.saturating_sub(known) } else { usize::from(!is_known) };
    row.restart_times.extend(std::iter::repeat_n(at, missed.min(KEPT_RESTARTS)));
    let excess = row.restart_times.len().saturating_sub(KEPT_RESTARTS);
    row.restart_times.drain(..excess);
    missed > 0
}

/// The engine counts in nanoseconds, the store in microseconds.
fn as_stored(at: Timestamp) -> Timestamp {
    Timestamp::from_microsecond(at.as_microsecond()).unwrap_or(at)
}

/// Applies a change to a row; `false` when it is no news.
fn apply(row: &mut Service, id: &str, change: Change, found: Option<&Found>, at: Timestamp) -> bool {
    let ours_decide = row.definition.probe.is_some();
    if ours_decide && matches!(change, Change::Health(_)) {
        return false;
    }
    let checked = row.definition.gate_check().is_some();
    let Some(mut next) = row.observed.after(change, checked) else { return false };
    match change {
        Change::Created => row.container_id = Some(id.to_owned()),
        Change::Started => {
            row.ended_by = None;
            row.started_at = Some(found.and_then(|found| found.started_at).map_or(at, as_stored));
        }
        Change::Died { code } => {
            row.stopped_at = Some(at);
            row.ended_by = None;
            // The engine is about to start it again, or has done so meanwhile.
            let goes_on =
                found.is_some_and(|found| found.restarts > 0 && !matches!(found.state, State::Exited { .. }));
            if goes_on {
                next = Observed::Restarting;
                row.status_detail = format!("ended with code {code}");
            }
        }
        Change::Removed => forget_container(row),
        Change::Health(_) => {}
    }
    row.observed = next;
    row.observed_at = Some(at);
    true
}

/// A container that was taken away by us is forgotten; of one that should run its id stays, which
/// is how it is known to be gone.
fn forget_container(row: &mut Service) {
    let is_ours_to_take = row.step.is_some() || row.desired != Desired::Running;
    if is_ours_to_take {
        row.container_id = None;
    }
}

/// Sets a row to what the engine shows.
pub(crate) fn show(row: &mut Service, found: Option<&Found>, at: Timestamp) {
    let before = row.observed;
    row.observed_at = Some(at);
    let Some(found) = found else {
        row.observed = Observed::Absent;
        row.ended_by = None;
        forget_container(row);
        return;
    };
    let is_another = row.container_id.as_deref() != Some(&found.id);
    row.container_id = Some(found.id.clone());
    note_restart(row, found);
    row.started_at = found.started_at.map(as_stored).or(row.started_at);
    row.observed = observed(row, before, found);
    let has_ended = matches!(row.observed, Observed::Exited(_));
    if has_ended {
        row.stopped_at = found.finished_at.or(row.stopped_at);
    }
    if !has_ended || is_another {
        row.ended_by = None;
    }
}

fn observed(row: &Service, before: Observed, found: &Found) -> Observed {
    match &found.state {
        State::Created => Observed::Created,
        State::Running { health } => {
            // Where the check is ours the engine has no say, and a verdict lasts until the next answer.
            let same_run = before.is_running() && row.container_id.as_deref() == Some(&found.id);
            let verdict = match &row.definition.probe {
                Some(_) if same_run => before.health(),
                Some(_) => Verdict::Starting,
                None => *health,
            };
            // A command check that we ran succeeds before the engine's own first one.
            let early = same_run && before.health() == Verdict::Healthy && verdict == Verdict::Starting;
            Observed::Running(if early { Verdict::Healthy } else { verdict })
        }
        State::Paused => Observed::Running(Verdict::None),
        State::Restarting => Observed::Restarting,
        State::Exited { code, .. } => Observed::Exited(*code),
        State::Removing => before,
    }
}

/// The container that a service is shown by, where it has several: an interrupted replacement
/// leaves two.
pub(crate) fn main_of(service: &Service, mut found: Vec<Found>) -> Option<Found> {
    let name = service.workload_name();
    found.sort_by_key(|one| {
        let is_known = service.container_id.as_deref() == Some(&one.id);
        let runs = matches!(one.state, State::Running { .. } | State::Paused | State::Restarting);
        (!runs, !is_known, one.name != name)
    });
    found.into_iter().next()
}

fn differs(service: &Service, found: Option<&Found>) -> bool {
    let mut shown = service.clone();
    show(&mut shown, found, service.observed_at.unwrap_or(Timestamp::UNIX_EPOCH));
    shown.observed != service.observed
        || shown.container_id != service.container_id
        || shown.started_at != service.started_at
        || service.observed_at.is_none()
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
