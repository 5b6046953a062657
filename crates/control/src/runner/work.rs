//! One step: the turn, the row, the engine call, the row again.

use std::collections::BTreeMap;
use std::sync::PoisonError;
use std::time::Duration;

use clos_domain::operation::{Action, State, Step};
use clos_domain::plan::{self, OnlyIf, Swap, Work};
use clos_domain::seams::engine::{self, Error as E, Progress};
use clos_domain::service::{Ended, Observed, OpenStep};
use clos_domain::workload::{self, Found, Spec};
use clos_domain::{Error, Reason, Result};

use super::claims::{Asked, Outcome};
use super::run::{elapsed, finish_row};
use super::{Inner, Run, StepEnd};
use crate::observer::engine_error;
use crate::snapshot;

/// An answer that was lost is asked for so often.
const TRIES: u32 = 5;
/// Pause before the first repetition; it doubles.
const FIRST_PAUSE: Duration = Duration::from_millis(200);

impl Inner {
    /// Does a step; the outer error is of the store, the inner one of the step.
    pub(super) async fn perform(&self, run: &Run, step: &plan::Step, row: Step) -> Result<StepEnd> {
        self.perform_with(run, step, row, true).await
    }

    /// The same for an undo, which no cancel stops.
    pub(super) async fn perform_uncancelled(
        &self,
        run: &Run,
        step: &plan::Step,
        row: Step,
    ) -> Result<StepEnd> {
        self.perform_with(run, step, row, false).await
    }

    async fn perform_with(
        &self,
        run: &Run,
        step: &plan::Step,
        mut row: Step,
        may_cancel: bool,
    ) -> Result<StepEnd> {
        let token = if may_cancel {
            run.token(row.service.as_ref())
        } else {
            tokio_util::sync::CancellationToken::new()
        };
        if let Some(condition) = &step.only_if {
            let end = match self.holds(run, condition).await {
                Ok(true) => None,
                Ok(false) => {
                    run.passed_over.lock().unwrap_or_else(PoisonError::into_inner).insert(step.number);
                    Some(Ok(condition.passed_over().to_owned()))
                }
                Err(error) => Some(Err(error)),
            };
            if let Some(end) = end {
                self.end_row(run, &mut row, &end).await?;
                return Ok(end);
            }
        }
        let claim = match &row.service {
            None => None,
            Some(service) => {
                let ask = self.claims.ask(service, row.action, &row.subject);
                let asked = tokio::select! {
                    asked = ask => asked,
                    () = token.cancelled() => {
                        let end = Err(given_up(run));
                        self.end_row(run, &mut row, &end).await?;
                        return Ok(end);
                    }
                };
                match asked {
                    Asked::Mine(claim) => Some(claim),
                    Asked::Theirs(outcome) => {
                        let end = match outcome {
                            Outcome::Done => Ok("done by another operation".to_owned()),
                            Outcome::Failed(reason, message) => Err(Error::new(reason, message)),
                            Outcome::GivenUp => Err(given_up(run)),
                        };
                        self.end_row(run, &mut row, &end).await?;
                        return Ok(end);
                    }
                }
            }
        };
        if token.is_cancelled() {
            let end = Err(given_up(run));
            self.end_row(run, &mut row, &end).await?;
            return Ok(end);
        }
        row.state = State::InProgress;
        row.started_at = Some(self.world.now());
        let action = row.action;
        {
            let _held = match &row.service {
                Some(service) => Some(self.observer.hold(service).await),
                None => None,
            };
            self.write_step(run, &row, |service| service.step = Some(OpenStep { action })).await?;
        }

        let can_be_interrupted = matches!(action, Action::Wait | Action::Pull | Action::Build);
        let end = if can_be_interrupted {
            tokio::select! {
                end = self.work(run, step, &row) => end,
                () = token.cancelled() => Err(given_up(run)),
            }
        } else {
            self.work(run, step, &row).await
        };
        let end = match (end, &step.swap) {
            (Err(error), Some(swap)) if breaks(&step.work) => Err(self.put_back(&row, swap, error).await),
            (end, _) => end,
        };
        self.finish(run, step, &mut row, &end).await?;
        if let Some(claim) = claim {
            claim.finish(match &end {
                Ok(_) => Outcome::Done,
                Err(error)
                    if error.reason() == Reason::Superseded || error.reason() == Reason::CancelRequested =>
                {
                    Outcome::GivenUp
                }
                Err(error) => Outcome::Failed(error.reason(), error.message().to_owned()),
            });
        }
        Ok(end)
    }

    /// Whether a step's condition holds now; the first answer about an image holds for the whole run.
    async fn holds(&self, run: &Run, condition: &OnlyIf) -> Result<bool> {
        let mut has_changed = false;
        for (image, was) in &condition.images {
            let known = run.images.lock().unwrap_or_else(PoisonError::into_inner).get(image).cloned();
            let is = match known {
                Some(is) => is,
                None => {
                    let images = &self.world.engine.images;
                    let found = self.call_raw(|| images.find(image)).await.map_err(engine_error)?;
                    let mut known = run.images.lock().unwrap_or_else(PoisonError::into_inner);
                    known.entry(image.clone()).or_insert(found.map(|found| found.id)).clone()
                }
            };
            has_changed |= is.is_some_and(|is| is != *was);
        }
        Ok(has_changed == condition.changed)
    }

    /// A step that ended before it began.
    async fn end_row(&self, run: &Run, row: &mut Step, end: &StepEnd) -> Result<()> {
        let now = self.world.now();
        if end.is_ok() {
            row.started_at = Some(now);
        }
        finish_row(row, end, run);
        row.ended_at = Some(now);
        let mut tx = self.world.store.begin().await?;
        tx.operations().update_step(&run.id, row).await?;
        Ok(self.ledger.commit(tx).await?)
    }

    /// Records the end of a step with what the engine shows of its service now.
    async fn finish(&self, run: &Run, step: &plan::Step, row: &mut Step, end: &StepEnd) -> Result<()> {
        finish_row(row, end, run);
        let ended_at = self.world.now();
        row.ended_at = Some(ended_at);
        let took = row.started_at.map_or(Duration::ZERO, |from| elapsed(from, ended_at));
        clos_telemetry::metrics().step(row.action.as_str(), row.state.as_str(), took);
        let Some(service) = row.service.clone() else {
            return self.write_step(run, row, |_| {}).await;
        };
        let detail = match end {
            Err(error) if row.state == State::Failed => Some(error.message().to_owned()),
            _ => None,
        };
        let looked = match self.observer.see(&service, step.shown(end.is_ok())).await {
            Ok(sight) => Ok(sight),
            Err(error) => Err((error, self.observer.hold(&service).await)),
        };
        self.write_step(run, row, |row| {
            row.step = None;
            row.status_detail = detail.unwrap_or_default();
            // From here on an end is its own.
            if step.work.action() == Action::Start && (end.is_err() || row.ended_by == Some(Ended::Clos)) {
                row.ended_by = None;
            }
            if let Ok(sight) = &looked {
                sight.show(row);
            }
            let has_ended = matches!(row.observed, Observed::Exited(_));
            if step.work.action() == Action::Stop && has_ended {
                row.ended_by = end.is_ok().then_some(Ended::Clos);
            }
        })
        .await
    }

    async fn work(&self, run: &Run, step: &plan::Step, row: &Step) -> StepEnd {
        match &step.work {
            Work::Pull { image, platform } => self.pull(run, row, image, platform.as_deref()).await,
            Work::Build { image, build } => {
                let _slot = self.images.acquire().await.map_err(Error::internal)?;
                let tell = |progress: Progress| self.ledger.progress(&run.id, row.number, progress);
                let built = self.world.engine.images.build(image, build, &tell).await;
                built.map(|()| String::new()).map_err(engine_error)
            }
            Work::MakeNetwork(network) => self.make_network(network).await,
            Work::ReplaceNetwork { network, members } => self.replace_network(network, members).await,
            Work::MakeVolume(volume) => self.call(|| self.world.engine.volumes.create(volume)).await,
            Work::RemoveNetwork(name) => match self.call(|| self.world.engine.networks.remove(name)).await {
                // Somebody else's container is on it; it is not ours to push off.
                Err(error) if is_in_use(&error) => Ok(kept_for(&self.users_of(name).await)),
                end => end,
            },
            Work::RemoveVolume(name) => match self.call(|| self.world.engine.volumes.remove(name)).await {
                Err(error) if is_in_use(&error) => Ok(kept_for(&[])),
                end => end,
            },
            Work::Create(spec) => {
                if let Some(swap) = &step.swap
                    && self.was_swapped(row, swap).await?
                {
                    return Ok("done by another operation".into());
                }
                let made = self.create(run, spec).await;
                if made.is_ok() {
                    self.remember_origin(row, spec, step.swap.as_deref()).await?;
                }
                made
            }
            Work::Start { name } => {
                let is_done = match &step.swap {
                    Some(swap) if swap.new == *name => self.was_swapped(row, swap).await?,
                    _ => false,
                };
                self.start(row, step.swap.as_ref().filter(|_| is_done).map_or(name, |swap| &swap.name)).await
            }
            Work::Wait { name, gate } => {
                let Some(service) = &row.service else { return Ok(String::new()) };
                self.gates.wait(service, name, *gate).await
            }
            Work::Stop { .. } | Work::Remove { .. } if self.is_another(step).await? => {
                Ok("replaced already".into())
            }
            Work::Stop { name, grace } => self.call(|| self.world.engine.workloads.stop(name, *grace)).await,
            Work::Pause { name } => self.call(|| self.world.engine.workloads.pause(name)).await,
            Work::Unpause { name } => self.call(|| self.world.engine.workloads.unpause(name)).await,
            Work::Remove { name } => {
                if step.swap.is_none()
                    && let Ok(Some(found)) = self.world.engine.workloads.inspect(name).await
                {
                    self.remember_volumes(row, &found).await?;
                }
                self.call(|| self.world.engine.workloads.remove(name)).await
            }
            Work::Rename { from, to } => {
                let end = self.rename(row, from, to).await;
                if let (Ok(_), Some(swap)) = (&end, &step.swap) {
                    self.forget_origins(row, &swap.spec_hash).await?;
                }
                end
            }
        }
    }

    /// Who is on a network, as far as the engine tells.
    async fn users_of(&self, network: &str) -> Vec<String> {
        let listed = self.world.engine.workloads.list().await.unwrap_or_default();
        let users = listed.into_iter().filter(|found| found.networks.contains_key(network));
        users.map(|found| found.name).collect()
    }

    async fn pull(&self, run: &Run, row: &Step, image: &str, platform: Option<&str>) -> StepEnd {
        let _slot = self.images.acquire().await.map_err(Error::internal)?;
        let tell = |progress: Progress| self.ledger.progress(&run.id, row.number, progress);
        self.world.engine.images.pull(image, platform, &tell).await.map_err(engine_error)?;
        Ok(String::new())
    }

    /// Creates, and takes "the name is taken" for "already done" when it is our own work:
    /// a lost reply, or another operation that was quicker.
    async fn create(&self, run: &Run, spec: &Spec) -> StepEnd {
        let mut spec = spec.clone();
        spec.identity.operation = Some(run.id.clone());
        let error = match self.call_raw(|| self.world.engine.workloads.create(&spec)).await {
            Ok(_) => return Ok(String::new()),
            Err(error @ E::NameTaken(_)) => error,
            Err(error) => return Err(engine_error(error)),
        };
        let found = self.world.engine.workloads.inspect(&spec.name).await.map_err(engine_error)?;
        let identity = found.and_then(|found| found.identity);
        let is_ours = identity.as_ref().is_some_and(|one| {
            one.installation == spec.identity.installation && one.service_id == spec.identity.service_id
        });
        if !is_ours {
            return Err(engine_error(error));
        }
        if identity.is_some_and(|one| one.spec_hash == spec.identity.spec_hash) {
            return Ok("was there already".into());
        }
        self.call_raw(|| self.world.engine.workloads.remove(&spec.name)).await.map_err(engine_error)?;
        self.call(|| async { self.world.engine.workloads.create(&spec).await.map(drop) }).await
    }

    /// Whether another operation has made this replacement already.
    async fn was_swapped(&self, row: &Step, swap: &Swap) -> Result<bool> {
        let found = self.world.engine.workloads.inspect(&swap.name).await.map_err(engine_error)?;
        Ok(found.is_some_and(|found| {
            let of_this = found.identity.as_ref().filter(|one| row.service.as_ref() == Some(&one.service_id));
            found.id != swap.old_id && of_this.is_some_and(|one| one.spec_hash == swap.spec_hash)
        }))
    }

    /// Whether the name of the old container means another one by now.
    async fn is_another(&self, step: &plan::Step) -> Result<bool> {
        let Some(swap) = step.swap.as_ref().filter(|swap| step.work.subject() == swap.old) else {
            return Ok(false);
        };
        let found = self.world.engine.workloads.inspect(&swap.old).await.map_err(engine_error)?;
        Ok(found.is_none_or(|found| found.id != swap.old_id))
    }

    /// Renames, and takes "there is no such container" for "already done" when ours has the name.
    async fn rename(&self, row: &Step, from: &str, to: &str) -> StepEnd {
        let error = match self.call_raw(|| self.world.engine.workloads.rename(from, to)).await {
            Ok(()) => return Ok(String::new()),
            Err(error @ (E::NotFound(_) | E::NameTaken(_))) => error,
            Err(error) => return Err(engine_error(error)),
        };
        let source = self.world.engine.workloads.inspect(from).await.map_err(engine_error)?;
        let found = self.world.engine.workloads.inspect(to).await.map_err(engine_error)?;
        let has_it = found
            .and_then(|found| found.identity)
            .is_some_and(|one| row.service.as_ref() == Some(&one.service_id));
        if source.is_none() && has_it { Ok("was renamed already".into()) } else { Err(engine_error(error)) }
    }

    /// Keeps which volumes without a name a container has, so that the next one gets them again.
    async fn remember_volumes(&self, row: &Step, found: &Found) -> Result<()> {
        let Some(service) = row.service.as_ref().filter(|_| !found.anonymous_volumes.is_empty()) else {
            return Ok(());
        };
        let mut tx = self.world.store.begin().await?;
        if tx.services().get(service).await?.is_none() {
            return Ok(());
        }
        // What is mounted at a target that it has no more is not lost: the target may come back.
        let mut volumes = tx.services().anonymous_volumes(service).await?;
        volumes.extend(found.anonymous_volumes.clone());
        tx.services().set_anonymous_volumes(service, &volumes).await?;
        self.ledger.commit(tx).await?;
        Ok(())
    }

    /// Keeps what a container was made from, so that a plan can say what changed since. While one
    /// is replaced what the old one was made from stays known: it may have to be put back.
    async fn remember_origin(&self, row: &Step, spec: &Spec, swap: Option<&Swap>) -> Result<()> {
        let Some(service) = &row.service else { return Ok(()) };
        let name = swap.map_or(&spec.name, |swap| &swap.name);
        let made_from = snapshot::fingerprint(&Spec { name: name.clone(), ..spec.clone() })?;
        let mut tx = self.world.store.begin().await?;
        if tx.services().get(service).await?.is_none() {
            return Ok(());
        }
        let mut made = match swap {
            Some(_) => tx.services().made_from(service).await?,
            None => BTreeMap::new(),
        };
        made.insert(spec.identity.spec_hash.clone(), made_from);
        tx.services().set_made_from(service, &made).await?;
        self.ledger.commit(tx).await?;
        Ok(())
    }

    /// Once a container is replaced only what the new one was made from matters.
    async fn forget_origins(&self, row: &Step, kept: &str) -> Result<()> {
        let Some(service) = &row.service else { return Ok(()) };
        let mut tx = self.world.store.begin().await?;
        let mut made = tx.services().made_from(service).await?;
        made.retain(|hash, _| hash == kept);
        tx.services().set_made_from(service, &made).await?;
        self.ledger.commit(tx).await?;
        Ok(())
    }

    /// Starts what does not run; so a second operation on the same service starts nothing twice.
    async fn start(&self, row: &Step, name: &str) -> StepEnd {
        let found = self.world.engine.workloads.inspect(name).await.map_err(engine_error)?;
        if let Some(found) = &found {
            self.remember_volumes(row, found).await?;
        }
        match found.map(|found| found.state) {
            Some(workload::State::Running { .. }) => return Ok("was running already".into()),
            Some(workload::State::Paused) => {
                return self.call(|| self.world.engine.workloads.unpause(name)).await;
            }
            _ => {}
        }
        self.call(|| self.world.engine.workloads.start(name)).await
    }

    async fn call<T, F>(&self, call: impl Fn() -> F) -> StepEnd
    where
        F: Future<Output = Result<T, engine::Error>>,
    {
        self.call_raw(call).await.map(|_| String::new()).map_err(engine_error)
    }

    /// One engine call, in one of the bounded places, repeated while the engine does not answer.
    pub(super) async fn call_raw<T, F>(&self, call: impl Fn() -> F) -> Result<T, engine::Error>
    where
        F: Future<Output = Result<T, engine::Error>>,
    {
        let Ok(_slot) = self.calls.acquire().await else {
            return Err(E::Failed("the daemon is shutting down".into()));
        };
        let mut pause = FIRST_PAUSE;
        let mut left = TRIES;
        loop {
            left -= 1;
            match call().await {
                Err(E::UnknownOutcome(_) | E::Unreachable(_)) if left > 0 => {
                    tokio::time::sleep(pause).await;
                    pause *= 2;
                }
                answer => return answer,
            }
        }
    }
}

/// The part of a replacement whose failure leaves the service without what it had.
fn breaks(work: &Work) -> bool {
    matches!(work, Work::Create(_) | Work::Stop { .. } | Work::Start { .. })
}

fn given_up(run: &Run) -> Error {
    if run.cancel.is_cancelled() {
        return Error::new(Reason::CancelRequested, "the operation was cancelled");
    }
    Error::new(Reason::Superseded, "a later operation took the service over")
}

/// What is told instead of a removal.
fn kept_for(users: &[String]) -> String {
    match users {
        [] => "kept: another container uses it".into(),
        [one] => format!("kept: container `{one}` uses it"),
        many => format!("kept: containers `{}` use it", many.join("`, `")),
    }
}

fn is_in_use(error: &Error) -> bool {
    let source = std::error::Error::source(error).and_then(|source| source.downcast_ref::<E>());
    matches!(source, Some(E::InUse(_)))
}
