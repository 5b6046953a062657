//! One operation from its first step to its outcome.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use clos_domain::event::{Draft, Severity, types};
use clos_domain::id::ServiceId;
use clos_domain::operation::{Action, FailurePolicy, Operation, State, Step};
use clos_domain::plan::{self, Plan, Work};
use clos_domain::service::{Desired, Observed};
use clos_domain::{Error, Reason, Result, Timestamp};
use tokio::task::JoinSet;

use super::{Inner, Run, StepEnd};
use crate::sight::save;

/// The steps of an operation while it runs.
pub(super) struct Progress {
    operation: Operation,
    /// In the order in which they completed, for an undo.
    completed: Vec<u32>,
}

impl Progress {
    pub(super) fn state(&self, number: u32) -> State {
        self.operation.steps[index(number)].state
    }

    /// The number of a step that is appended.
    pub(super) fn next_number(&self) -> u32 {
        u32::try_from(self.operation.steps.len() + 1).unwrap_or(u32::MAX)
    }
}

fn index(number: u32) -> usize {
    number as usize - 1
}

/// What becomes of a step that has not begun.
enum Next {
    Begin,
    Later,
    End(Reason, String),
}

impl Inner {
    pub(super) async fn drive(
        self: Arc<Self>,
        operation: Operation,
        plan: Plan,
        run: Arc<Run>,
        discard: &[ServiceId],
    ) -> Result<()> {
        let mut progress = Progress { operation, completed: Vec::new() };
        progress.operation.state = State::InProgress;
        progress.operation.started_at = Some(self.world.now());
        self.save_operation(&progress.operation, None).await?;

        let mut running: JoinSet<(u32, Result<StepEnd>)> = JoinSet::new();
        let mut begun: BTreeSet<u32> = BTreeSet::new();
        loop {
            self.settle(&mut progress, &plan, &run, &begun).await?;
            for step in &plan.steps {
                let is_open = progress.state(step.number) == State::Pending && !begun.contains(&step.number);
                if is_open && matches!(judge(&progress, step, &run), Next::Begin) {
                    begun.insert(step.number);
                    let row = progress.operation.steps[index(step.number)].clone();
                    let (inner, run, step) = (self.clone(), run.clone(), step.clone());
                    running.spawn(async move { (step.number, inner.perform(&run, &step, row).await) });
                }
            }
            if running.is_empty() {
                break;
            }
            tokio::select! {
                ended = running.join_next() => {
                    if let Some(ended) = ended {
                        let (number, end) = ended.map_err(Error::internal)?;
                        note_end(&mut progress, number, end?, self.world.now(), &run);
                    }
                }
                () = run.nudge.notified() => {}
                () = run.drain.cancelled(), if !run.cancel.is_cancelled() => run.cancel.cancel(),
            }
        }
        let (state, reason, message) = outcome(&progress.operation, &run);
        if state != State::Completed
            && progress.operation.policy == FailurePolicy::Undo
            && !run.drain.is_cancelled()
        {
            self.undo(&mut progress, &plan, &run).await?;
        }
        self.put_back_unfinished(&mut progress, &plan, &run).await?;
        self.start_again(&mut progress, &plan, &run).await?;
        if state == State::Cancelled && reason == Some(Reason::CancelRequested) {
            self.withdraw(&progress, &run).await?;
        }
        for service in discard {
            self.discard(service).await?;
        }
        progress.operation.state = state;
        progress.operation.reason = reason;
        if state != State::Completed {
            progress.operation.message = message;
        }
        progress.operation.cancel_requested = run.cancel.is_cancelled() && !run.drain.is_cancelled();
        if !progress.operation.leftovers.is_empty() {
            progress.operation.state = State::Failed;
            progress.operation.reason = Some(Reason::UndoStuck);
        }
        let ended_at = self.world.now();
        progress.operation.ended_at = Some(ended_at);
        let (verb, outcome) = (progress.operation.verb, progress.operation.state);
        let took = elapsed(progress.operation.created_at, ended_at);
        clos_telemetry::metrics().operation(verb.as_str(), outcome.as_str(), took);
        let told = completion(&progress.operation, self.world.now());
        self.save_operation(&progress.operation, Some(told)).await
    }

    /// Ends every step that will never begin, until nothing more follows from that.
    async fn settle(
        &self,
        progress: &mut Progress,
        plan: &Plan,
        run: &Run,
        begun: &BTreeSet<u32>,
    ) -> Result<()> {
        let mut ended: Vec<(u32, Reason, String)> = Vec::new();
        loop {
            let before = ended.len();
            for step in &plan.steps {
                if progress.state(step.number) != State::Pending || begun.contains(&step.number) {
                    continue;
                }
                if let Next::End(reason, message) = judge(progress, step, run) {
                    let row = &mut progress.operation.steps[index(step.number)];
                    row.state = State::Cancelled;
                    row.reason = Some(reason);
                    row.message.clone_from(&message);
                    row.ended_at = Some(self.world.now());
                    ended.push((step.number, reason, message));
                }
            }
            if ended.len() == before {
                break;
            }
        }
        if ended.is_empty() {
            return Ok(());
        }
        // A service is told once why it was left out, whatever number of its steps were.
        let mut skipped: BTreeMap<ServiceId, String> = BTreeMap::new();
        let mut tx = self.world.store.begin().await?;
        for (number, reason, message) in ended {
            let row = &progress.operation.steps[index(number)];
            tx.operations().update_step(&progress.operation.id, row).await?;
            tx.journal().append(progress_event(&progress.operation, row, self.world.now()));
            if reason == Reason::Skipped
                && let Some((service, _)) = &plan.steps[index(number)].service
            {
                skipped.entry(service.clone()).or_insert(message);
            }
        }
        self.ledger.commit(tx).await?;
        let starts = progress.operation.steps.iter().filter(|step| step.action == Action::Start);
        let failed_to_start: BTreeSet<ServiceId> = starts
            .filter(|step| step.state == State::Failed)
            .filter_map(|step| step.service.clone())
            .collect();
        for (service, message) in skipped {
            self.observer
                .update(&service, |row| {
                    // What ended once and could not be started again has failed, and its detail says why.
                    let has_failed =
                        matches!(row.observed, Observed::Exited(_)) && failed_to_start.contains(&row.id);
                    let should_have_started =
                        row.desired == Desired::Running && !row.observed.is_running() && !has_failed;
                    if should_have_started {
                        row.status_reason = Some(Reason::Skipped);
                        row.status_detail = message;
                    }
                    should_have_started
                })
                .await?;
        }
        Ok(())
    }

    /// Takes back what this operation did, in reverse; what cannot be taken back is named.
    async fn undo(&self, progress: &mut Progress, plan: &Plan, run: &Run) -> Result<()> {
        let undone = plan.undo(&progress.completed, clos_domain::workload::Stop::DEFAULT_GRACE);
        for (of, work) in undone {
            let original = &plan.steps[index(of)];
            let number = progress.next_number();
            let step = plan::Step {
                number,
                service: original.service.clone(),
                work,
                needs: vec![],
                after: vec![],
                why: format!("undoes step {of}"),
                swap: original.swap.clone(),
                only_if: None,
            };
            self.append(progress, step, run).await?;
        }
        for (service, desired) in withdrawn(progress, plan, run) {
            self.set_desired(&service, desired).await?;
        }
        Ok(())
    }

    /// A step that the plan does not have: written, done, and named where it fails.
    pub(super) async fn append(&self, progress: &mut Progress, step: plan::Step, run: &Run) -> Result<()> {
        let row = step_row(&step);
        let mut tx = self.world.store.begin().await?;
        tx.operations().append_steps(&progress.operation.id, std::slice::from_ref(&row)).await?;
        self.ledger.commit(tx).await?;
        progress.operation.steps.push(row.clone());
        let end = self.perform_uncancelled(run, &step, row).await?;
        if let Err(error) = &end {
            let what = format!("{} {}: {error}", step.work.action().as_str(), step.work.subject());
            progress.operation.leftovers.push(what);
        }
        note_end(progress, step.number, end, self.world.now(), run);
        Ok(())
    }

    /// Containers whose replacement was broken off between two calls are as they were, or are the
    /// new ones where those have started. Where a call
    /// itself failed, that step has seen to it; where a later operation took over, what becomes of
    /// the old container is that one's to say.
    async fn put_back_unfinished(&self, progress: &mut Progress, plan: &Plan, run: &Run) -> Result<()> {
        for made in &plan.steps {
            let (Work::Create(_), Some(swap), Some((service, _))) = (&made.work, &made.swap, &made.service)
            else {
                continue;
            };
            if run.was_passed_over(made.number) {
                continue;
            }
            let states: Vec<(Action, State)> = plan
                .steps
                .iter()
                .filter(|step| step.swap.as_ref() == Some(swap))
                .map(|step| (step.work.action(), progress.state(step.number)))
                .collect();
            let has = |action, state| states.contains(&(action, state));
            let was_seen_to = states.iter().any(|(_, state)| *state == State::Failed);
            let has_begun = has(Action::Create, State::Completed) || has(Action::Stop, State::Completed);
            let is_over = has(Action::Rename, State::Completed);
            if !has_begun || is_over || was_seen_to {
                continue;
            }
            let is_undone =
                progress.operation.policy == FailurePolicy::Undo && !has(Action::Remove, State::Completed);
            let mut works = Vec::new();
            if has(Action::Start, State::Completed) && !is_undone {
                if !has(Action::Remove, State::Completed) {
                    works.push(Work::Remove { name: swap.old.clone() });
                }
                if progress.operation.policy != FailurePolicy::Undo {
                    works.push(Work::Rename { from: swap.new.clone(), to: swap.name.clone() });
                }
            } else {
                if has(Action::Create, State::Completed) {
                    works.push(Work::Remove { name: swap.new.clone() });
                }
                if has(Action::Stop, State::Completed) && !run.is_superseded(service) {
                    works.push(Work::Start { name: swap.old.clone() });
                }
            }
            for work in works {
                let number = progress.next_number();
                let step = plan::Step {
                    number,
                    service: made.service.clone(),
                    work,
                    needs: vec![],
                    after: vec![],
                    why: "the replacement was broken off".into(),
                    swap: Some(swap.clone()),
                    only_if: None,
                };
                let starts_the_old = matches!(&step.work, Work::Start { name } if *name == swap.old);
                self.append(progress, step, run).await?;
                if starts_the_old && let Err(error) = self.restart_guests(&swap.old_id).await {
                    progress
                        .operation
                        .leftovers
                        .push(format!("who shares namespaces with {}: {error}", swap.old));
                }
            }
        }
        Ok(())
    }

    /// After a cancel: what was never started is no longer meant to run.
    async fn withdraw(&self, progress: &Progress, run: &Run) -> Result<()> {
        if run.direction == clos_domain::group::Direction::Down {
            return Ok(());
        }
        for service in &run.services {
            let has_pending = progress
                .operation
                .steps
                .iter()
                .any(|step| step.service.as_ref() == Some(service) && step.state == State::Cancelled);
            if has_pending {
                self.observer
                    .update(service, |row| {
                        if row.observed.is_running() || row.desired != Desired::Running {
                            return false;
                        }
                        row.desired =
                            if row.observed == Observed::Absent { Desired::Absent } else { Desired::Stopped };
                        true
                    })
                    .await?;
            }
        }
        Ok(())
    }

    async fn set_desired(&self, service: &ServiceId, desired: Desired) -> Result<()> {
        self.observer
            .update(service, |row| {
                let changes = row.desired != desired;
                row.desired = desired;
                changes
            })
            .await?;
        Ok(())
    }

    async fn save_operation(&self, operation: &Operation, event: Option<Draft>) -> Result<()> {
        let mut tx = self.world.store.begin().await?;
        tx.operations().update(operation).await?;
        if let Some(event) = event {
            tx.journal().append(event);
        }
        Ok(self.ledger.commit(tx).await?)
    }

    /// Writes a step, and its service where it has one; the service's lock is the caller's.
    pub(super) async fn write_step(
        &self,
        run: &Run,
        row: &Step,
        change: impl FnOnce(&mut clos_domain::service::Service) + Send,
    ) -> Result<()> {
        let now = self.world.now();
        let mut tx = self.world.store.begin().await?;
        tx.operations().update_step(&run.id, row).await?;
        let mut group = None;
        let before = match &row.service {
            Some(id) => tx.services().get(id).await?,
            None => None,
        };
        if let Some(before) = before {
            let mut service = before.clone();
            change(&mut service);
            save(tx.as_mut(), &before, &mut service, now).await?;
            group = Some(service.group);
        }
        let mut event = step_event(row, now);
        event.operation = Some(run.id.clone());
        event.group = group.or_else(|| row.service_name.as_ref().map(|name| name.group.clone()));
        tx.journal().append(event);
        Ok(self.ledger.commit(tx).await?)
    }
}

/// How long something took by the wall clock, which may have been set back meanwhile.
pub(super) fn elapsed(from: Timestamp, to: Timestamp) -> std::time::Duration {
    std::time::Duration::try_from(to.duration_since(from)).unwrap_or_default()
}

/// The services that an undo took back, and what they are meant to be now: without a container
/// where this operation would have made it, else stopped.
fn withdrawn(progress: &Progress, plan: &Plan, run: &Run) -> BTreeMap<ServiceId, Desired> {
    let has_done = |step: &plan::Step| {
        progress.state(step.number) == State::Completed && !run.was_passed_over(step.number)
    };
    let was_replaced = |service: &ServiceId| {
        let of_it = plan.steps.iter().filter(|step| step.swap.is_some());
        let mut of_it = of_it.filter(|step| step.service.as_ref().is_some_and(|(id, _)| id == service));
        of_it.any(|step| step.work.action() == Action::Start && has_done(step))
    };
    let mut desired = BTreeMap::new();
    for step in &plan.steps {
        let Some((service, _)) = &step.service else { continue };
        if step.swap.is_some() && !was_replaced(service) {
            continue;
        }
        // What runs and is replaced or restarted only on a condition runs on where it was not.
        if step.only_if.as_ref().is_some_and(|condition| condition.changed) && !has_done(step)
            || run.was_passed_over(step.number)
        {
            continue;
        }
        match step.work.action() {
            Action::Create => {
                desired.insert(service.clone(), Desired::Absent);
            }
            Action::Start => {
                desired.entry(service.clone()).or_insert(Desired::Stopped);
            }
            _ => {}
        }
    }
    desired
}

/// What becomes of a pending step now.
fn judge(progress: &Progress, step: &plan::Step, run: &Run) -> Next {
    if run.drain.is_cancelled() {
        return Next::End(Reason::Interrupted, "the daemon is shutting down".into());
    }
    if run.cancel.is_cancelled() {
        return Next::End(Reason::CancelRequested, "the operation was cancelled".into());
    }
    if let Some((service, _)) = &step.service
        && run.is_superseded(service)
    {
        return Next::End(Reason::Superseded, "a later operation took the service over".into());
    }
    for need in &step.needs {
        let state = progress.state(*need);
        if state.is_terminal() && state != State::Completed {
            return Next::End(Reason::Skipped, cause(progress, *need));
        }
    }
    let needs_are_done = step.needs.iter().all(|need| progress.state(*need) == State::Completed);
    let others_have_ended = step.after.iter().all(|other| progress.state(*other).is_terminal());
    if needs_are_done && others_have_ended { Next::Begin } else { Next::Later }
}

/// Why a step is skipped: the first failure behind it, not the last link of the chain.
fn cause(progress: &Progress, need: u32) -> String {
    let failed = &progress.operation.steps[index(need)];
    if failed.reason == Some(Reason::Skipped) {
        return failed.message.clone();
    }
    let what = failed.service_name.as_ref().map_or_else(|| failed.subject.clone(), ToString::to_string);
    let how = match (failed.action, failed.reason) {
        (_, Some(Reason::Exited)) => "exited",
        (_, Some(Reason::CancelRequested | Reason::Superseded | Reason::Interrupted)) => "was cancelled",
        (Action::Pull, _) => "could not be pulled",
        (Action::Build, _) => "failed to build",
        (Action::Network | Action::Volume | Action::Create, _) => "could not be created",
        (Action::Start, _) => "failed to start",
        (Action::Wait, _) => "did not become ready",
        (Action::Stop, _) => "could not be stopped",
        (Action::Remove, _) => "could not be removed",
        (Action::Rename, _) => "could not be renamed",
        (Action::Pause, _) => "could not be paused",
        (Action::Unpause, _) => "could not be unpaused",
    };
    format!("not started: `{what}` {how}")
}

fn note_end(progress: &mut Progress, number: u32, end: StepEnd, now: Timestamp, run: &Run) {
    let row = &mut progress.operation.steps[index(number)];
    row.ended_at = Some(now);
    finish_row(row, &end, run);
    if row.state == State::Completed && !run.was_passed_over(number) {
        progress.completed.push(number);
    }
}

/// The row of a step that ended so.
pub(super) fn finish_row(row: &mut Step, end: &StepEnd, run: &Run) {
    match end {
        Ok(message) => {
            row.state = State::Completed;
            row.message.clone_from(message);
        }
        Err(error) => {
            let was_given_up =
                matches!(error.reason(), Reason::Superseded | Reason::CancelRequested | Reason::Interrupted);
            row.state = if was_given_up { State::Cancelled } else { State::Failed };
            let is_drain = run.drain.is_cancelled() && was_given_up;
            row.reason = Some(if is_drain { Reason::Interrupted } else { error.reason() });
            row.message = error.message().to_owned();
        }
    }
}

fn outcome(operation: &Operation, run: &Run) -> (State, Option<Reason>, String) {
    let failed = operation.steps.iter().find(|step| step.state == State::Failed);
    if let Some(step) = failed {
        let what = step.service_name.as_ref().map_or_else(|| step.subject.clone(), ToString::to_string);
        return (State::Failed, step.reason, format!("{what}: {}", step.message));
    }
    let given_up = operation.steps.iter().find(|step| step.state == State::Cancelled);
    match given_up {
        None => (State::Completed, None, String::new()),
        Some(_) if run.drain.is_cancelled() => {
            (State::Failed, Some(Reason::Interrupted), "the daemon shut down".into())
        }
        Some(_) if run.cancel.is_cancelled() => {
            (State::Cancelled, Some(Reason::CancelRequested), "cancelled on request".into())
        }
        Some(step) => (State::Cancelled, step.reason, step.message.clone()),
    }
}

/// A step's row as a plan has it.
pub(crate) fn step_row(step: &plan::Step) -> Step {
    use clos_domain::operation::Action;
    // Images serve every service that uses them: their steps hold nobody's turn.
    let is_for_all = matches!(step.work.action(), Action::Pull | Action::Build);
    Step {
        number: step.number,
        service: step.service.as_ref().filter(|_| !is_for_all).map(|(id, _)| id.clone()),
        service_name: step.service.as_ref().map(|(_, name)| name.clone()),
        subject: step.work.subject().to_owned(),
        action: step.work.action(),
        why: step.why.clone(),
        needs: step.needs.clone(),
        state: State::Pending,
        reason: None,
        message: String::new(),
        started_at: None,
        ended_at: None,
    }
}

fn progress_event(operation: &Operation, row: &Step, now: Timestamp) -> Draft {
    let mut event = step_event(row, now);
    event.operation = Some(operation.id.clone());
    event.group = Some(operation.group.clone());
    event
}

fn step_event(row: &Step, now: Timestamp) -> Draft {
    let mut event = Draft::new(types::OPERATION_PROGRESS, now);
    event.severity = if row.state == State::Failed { Severity::Error } else { Severity::Info };
    event.service.clone_from(&row.service);
    event.data.service_name = row.service_name.as_ref().map(|name| name.name.to_string());
    event.data.step = Some(row.number);
    event.data.action = Some(row.action.as_str().to_owned());
    event.data.subject = Some(row.subject.clone());
    event.data.state = Some(row.state.as_str().to_owned());
    event.data.reason = row.reason.map(|reason| reason.as_str().to_owned());
    event.data.message = (!row.message.is_empty()).then(|| row.message.clone());
    event
}

fn completion(operation: &Operation, now: Timestamp) -> Draft {
    let mut event = Draft::new(types::GROUP_OPERATION_COMPLETED, now);
    event.severity = match operation.state {
        State::Failed => Severity::Error,
        State::Cancelled => Severity::Warning,
        _ => Severity::Info,
    };
    event.group = Some(operation.group.clone());
    event.service.clone_from(&operation.service);
    event.data.service_name = crate::verbs::name_of(operation);
    event.operation = Some(operation.id.clone());
    event.data.verb = Some(operation.verb.as_str().to_owned());
    event.data.state = Some(operation.state.as_str().to_owned());
    event.data.reason = operation.reason.map(|reason| reason.as_str().to_owned());
    event.data.message = (!operation.message.is_empty()).then(|| operation.message.clone());
    event
}
