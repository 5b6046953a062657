//! Our own checks after the first success: HTTP and TCP at their interval. A
//! command check follows the engine's events from then on and is not asked here.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use clos_domain::health::{Check, LastCheck, Streak, Test};
use clos_domain::id::ServiceId;
use clos_domain::page::Request;
use clos_domain::seams::store::ServiceFilter;
use clos_domain::service::{Observed, Service};
use clos_domain::{Reason, Result};
use futures::StreamExt as _;
use tokio::time::Instant;

use crate::supervisor::Task;
use crate::{Shared, containers};

/// The world is looked at afresh this often.
const LOOK: Duration = Duration::from_secs(1);
/// Questions at a time.
const AT_ONCE: usize = 16;
/// One question takes no longer than this.
const QUESTION: Duration = Duration::from_secs(10);

struct Watched {
    streak: Streak,
    due: Instant,
}

pub(crate) fn start(shared: &Arc<Shared>) {
    let this = shared.clone();
    shared.supervisor.spawn(Task::HealthMonitor, async move {
        let mut watched = HashMap::new();
        loop {
            tokio::time::sleep(LOOK).await;
            if let Err(error) = look(&this, &mut watched).await {
                tracing::warn!(%error, "the health monitor could not look");
            }
        }
    });
}

/// Asks everybody who is due.
async fn look(shared: &Shared, watched: &mut HashMap<ServiceId, Watched>) -> Result<()> {
    let rows = {
        let mut view = shared.world.store.view().await?;
        view.services().list(&ServiceFilter::default(), &Request::ALL).await?.items
    };
    for row in rows.iter().filter(|row| is_settling(row)) {
        shared.observer.settle(&row.id).await?;
    }
    let now = Instant::now();
    let asked: Vec<(Service, Check)> = rows
        .into_iter()
        .filter(|row| matches!(row.observed, Observed::Running(_)) && row.step.is_none())
        .filter_map(|row| our_check(&row).map(|check| (row, check)))
        .collect();
    watched.retain(|id, _| asked.iter().any(|(row, _)| row.id == *id));
    let mut due = Vec::new();
    for (row, check) in asked {
        let entry = watched
            .entry(row.id.clone())
            .or_insert_with(|| Watched { streak: Streak::after(row.observed.health(), &check), due: now });
        if entry.due <= now {
            entry.due = now + check.interval.max(LOOK);
            due.push((row, check));
        }
    }
    let answers: Vec<(Service, Check, LastCheck)> = futures::stream::iter(due)
        .map(|(row, check)| async move {
            let container = containers::handle(&row);
            let last = shared.runner.gates().ask(&row, &container, &check, QUESTION).await;
            (row, check, last)
        })
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;
    for (row, check, mut last) in answers {
        let Some(entry) = watched.get_mut(&row.id) else { continue };
        let age = row.started_at.map_or(Duration::MAX, |at| {
            Duration::try_from(shared.world.now().duration_since(at)).unwrap_or_default()
        });
        let verdict = entry.streak.record(&check, age, last.healthy);
        last.failures = entry.streak.failures();
        shared.observer.checks().note(&row.id, last);
        shared.observer.record_health(&row.id, verdict).await?;
    }
    Ok(())
}

/// It runs, and only time decides whether it is up or ends again.
fn is_settling(row: &Service) -> bool {
    row.observed.is_running() && matches!(row.status_reason, Some(Reason::Restarting | Reason::CrashLooping))
}

fn our_check(row: &Service) -> Option<Check> {
    let check = row.definition.probe.as_ref()?;
    matches!(check.test, Test::Http { .. } | Test::Tcp { .. }).then(|| check.clone())
}
