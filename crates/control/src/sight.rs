//! What a service's row becomes by what the engine shows. Pure, but for the journal that is told.

use clos_domain::event::{Draft, Severity, types};
use clos_domain::health::Verdict;
use clos_domain::seams::Tx;
use clos_domain::service::{Change, Desired, Ended, Observed, Service, Status};
use clos_domain::workload::{Found, State};
use clos_domain::{Reason, Result, Timestamp};

/// Writes a row that changed, with its new status and the events that say so.
pub(crate) async fn save(tx: &mut dyn Tx, before: &Service, row: &mut Service, now: Timestamp) -> Result<()> {
    let is_up_again = row.observed.is_running() || row.desired != Desired::Running;
    if row.status_reason == Some(Reason::Skipped) && (is_up_again || row.step.is_some()) {
        row.status_reason = None;
        row.status_detail.clear();
    }
    let (status, reason) = row.derive_status(now);
    // Who has just been asked to stop is about to: that is no drift, unless nothing comes of it.
    let is_asked_to_stop = before.desired == Desired::Running && row.desired != Desired::Running;
    let reason =
        if is_asked_to_stop && reason == Some(Reason::Drifted) { before.status_reason } else { reason };
    row.status = status;
    row.status_reason = reason;
    // What was the matter before says nothing of what is now.
    let is_past = match status {
        Status::Running | Status::Stopping => true,
        Status::Starting => row.step.is_some(),
        Status::Stopped => reason.is_none(),
        Status::Failed | Status::Unhealthy => false,
    };
    if is_past && status != before.status && row.status_detail == before.status_detail {
        row.status_detail.clear();
    }
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
        let has_ended = matches!(row.status, Status::Stopped | Status::Failed);
        changed.data.exit_code = row.observed.exit_code().filter(|_| has_ended);
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
pub(crate) fn note_restart(row: &mut Service, found: &Found) -> bool {
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
pub(crate) fn apply(
    row: &mut Service,
    id: &str,
    change: Change,
    found: Option<&Found>,
    at: Timestamp,
) -> bool {
    let ours_decide = row.definition.probe.is_some();
    if ours_decide && matches!(change, Change::Health(_)) {
        return false;
    }
    if change == Change::Stopped {
        return was_stopped(row);
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
                row.status_detail = format!("exited with code {code}");
            }
        }
        Change::Removed => forget_container(row),
        Change::Health(_) | Change::Paused | Change::Unpaused | Change::Signalled(_) | Change::Stopped => {}
    }
    row.observed = next;
    row.observed_at = Some(at);
    true
}

/// Notes that a stop ended what has ended; `false` when that is known, or it was ours.
fn was_stopped(row: &mut Service) -> bool {
    let has_ended = matches!(row.observed, Observed::Exited(_)) && row.step.is_none();
    let is_news = has_ended && matches!(row.ended_by, None | Some(Ended::Itself));
    if is_news {
        row.ended_by = Some(Ended::Outside);
    }
    is_news
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
        // It cannot be asked how it is.
        State::Paused => {
            let same_run = before.is_running() && row.container_id.as_deref() == Some(&found.id);
            let checked = row.definition.gate_check().is_some();
            Observed::Paused(match (same_run, checked) {
                (true, _) => before.health(),
                (false, true) => Verdict::Starting,
                (false, false) => Verdict::None,
            })
        }
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
        (!is_up(one), !is_known, one.name != name)
    });
    found.into_iter().next()
}

/// It is up, or about to be again.
pub(crate) fn is_up(found: &Found) -> bool {
    matches!(found.state, State::Running { .. } | State::Paused | State::Restarting)
}

/// It has been started at some time.
pub(crate) fn has_run(found: &Found) -> bool {
    !matches!(found.state, State::Created)
}

/// Whether there is anything to write of what the engine shows.
pub(crate) fn differs(service: &Service, found: Option<&Found>) -> bool {
    let mut shown = service.clone();
    show(&mut shown, found, service.observed_at.unwrap_or(Timestamp::UNIX_EPOCH));
    shown.observed != service.observed
        || shown.container_id != service.container_id
        || shown.started_at != service.started_at
        || shown.restart_times != service.restart_times
        || service.observed_at.is_none()
}

#[cfg(test)]
pub(crate) mod tests {
    use clos_domain::id::{GroupId, ServiceId};
    use clos_domain::name::{GroupRef, ServiceName};
    use clos_domain::service::Definition;

    use super::*;

    pub(crate) fn row(name: &str) -> Service {
        Service {
            id: ServiceId::trusted(format!("svc_{name}")),
            group_id: GroupId::trusted("grp_shop"),
            group: GroupRef::parse("group", "shop").unwrap(),
            definition: Definition::of_image(ServiceName::parse("name", name).unwrap(), "app:1"),
            desired: Desired::Running,
            observed: Observed::Absent,
            observed_at: None,
            container_id: None,
            step: None,
            status: Status::Stopped,
            status_reason: None,
            status_detail: String::new(),
            restart_times: Vec::new(),
            ended_by: None,
            ports: Vec::new(),
            generation: 1,
            started_at: None,
            stopped_at: None,
            created_at: Timestamp::UNIX_EPOCH,
            updated_at: Timestamp::UNIX_EPOCH,
        }
    }

    #[test]
    fn the_word_about_a_stop_is_heard_once_and_not_of_our_own() {
        let mut web = row("web");
        assert!(!was_stopped(&mut web), "it has not ended");
        web.observed = Observed::Exited(0);
        assert!(was_stopped(&mut web) && !was_stopped(&mut web));
        web.ended_by = Some(Ended::Clos);
        assert!(!was_stopped(&mut web));
        assert_eq!(web.ended_by, Some(Ended::Clos));
    }
}
