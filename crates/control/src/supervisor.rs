//! Every long-lived task has a name, and its fate is a table and not folklore.

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

/// The tasks that there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Task {
    /// Follows the engine's events and lists.
    EngineWatcher,
    /// Asks whether the engine answers.
    EnginePing,
    /// Asks running services whether they are well.
    HealthMonitor,
    /// Runs one operation.
    Operation,
    /// Drops old events.
    JournalTrim,
    /// Serves one listener.
    Listener,
}

/// What a drain does with a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnDrain {
    /// It sees the token and ends by itself; it is waited for.
    Wait,
    /// It has nothing to lose.
    Abort,
}

impl Task {
    /// The table.
    pub const fn on_drain(self) -> OnDrain {
        match self {
            Self::Operation | Self::Listener => OnDrain::Wait,
            Self::EngineWatcher | Self::EnginePing | Self::HealthMonitor | Self::JournalTrim => {
                OnDrain::Abort
            }
        }
    }

    /// Its name in logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::EngineWatcher => "engine_watcher",
            Self::EnginePing => "engine_ping",
            Self::HealthMonitor => "health_monitor",
            Self::Operation => "operation",
            Self::JournalTrim => "journal_trim",
            Self::Listener => "listener",
        }
    }
}

/// Starts, names and ends the long-lived tasks.
#[derive(Clone)]
pub struct Supervisor {
    drain: CancellationToken,
    waited: Arc<Mutex<JoinSet<()>>>,
    aborted: Arc<Mutex<JoinSet<()>>>,
}

impl Default for Supervisor {
    fn default() -> Self {
        Self { drain: CancellationToken::new(), waited: Arc::default(), aborted: Arc::default() }
    }
}

impl Supervisor {
    /// Cancelled when the daemon drains.
    pub fn drain_token(&self) -> CancellationToken {
        self.drain.clone()
    }

    /// Runs a task until it ends or its fate comes.
    pub fn spawn(&self, task: Task, future: impl Future<Output = ()> + Send + 'static) {
        let set = match task.on_drain() {
            OnDrain::Wait => &self.waited,
            OnDrain::Abort => &self.aborted,
        };
        let span = tracing::info_span!("task", name = task.name());
        let mut set = set.lock().unwrap_or_else(PoisonError::into_inner);
        // Ended tasks are taken out here, so that the set does not grow with the operations.
        while let Some(ended) = set.try_join_next() {
            report(ended);
        }
        set.spawn(future.instrument(span));
    }

    /// Tells every task to end, and waits for those that are waited for; `false` when time ran out.
    pub async fn drain(&self, patience: Duration) -> bool {
        self.drain.cancel();
        let mut waited = std::mem::take(&mut *self.waited.lock().unwrap_or_else(PoisonError::into_inner));
        let all = async {
            while let Some(ended) = waited.join_next().await {
                report(ended);
            }
        };
        let in_time = tokio::time::timeout(patience, all).await.is_ok();
        self.aborted.lock().unwrap_or_else(PoisonError::into_inner).abort_all();
        in_time
    }
}

fn report(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!(%error, "a task panicked");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_drain_waits_for_operations_and_aborts_the_rest() {
        let supervisor = Supervisor::default();
        let token = supervisor.drain_token();
        let (done, was_done) = tokio::sync::oneshot::channel();
        supervisor.spawn(Task::Operation, async move {
            token.cancelled().await;
            let _ = done.send(());
        });
        supervisor.spawn(Task::EnginePing, std::future::pending());
        assert!(supervisor.drain(Duration::from_secs(5)).await);
        was_done.await.unwrap();
    }

    #[tokio::test]
    async fn a_task_that_does_not_end_is_told_of() {
        let supervisor = Supervisor::default();
        supervisor.spawn(Task::Operation, std::future::pending());
        assert!(!supervisor.drain(Duration::from_millis(10)).await);
    }
}
