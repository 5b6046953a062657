//! The daemon and what it stands on.

use std::sync::Arc;
use std::time::Duration;

use clos_domain::seams::engine::Info;
use clos_domain::{Ctx, Timestamp};

use crate::Shared;
use crate::observer::Reachability;

/// A check of the database, or the wait for the first word of the engine, takes no longer than this.
const PATIENCE: Duration = Duration::from_secs(2);

/// How the daemon is.
#[derive(Debug, Clone)]
pub struct Health {
    /// The database answers.
    pub database: bool,
    /// The engine answers; `None` when it was asked just now, at the start, and is slow.
    pub engine: Option<bool>,
    /// When it was looked at.
    pub at: Timestamp,
    /// Since the start.
    pub uptime: Duration,
}

/// The use cases of the system.
pub struct System<'a> {
    pub(crate) shared: &'a Arc<Shared>,
}

impl System<'_> {
    /// Looks at the database now, and at what is known of the engine.
    pub async fn health(&self, _ctx: &Ctx) -> Health {
        let now = self.shared.world.clock.now();
        let (database, engine) =
            tokio::join!(self.database(), self.shared.observer.first_reachability(PATIENCE));
        Health {
            database,
            engine: match engine {
                Reachability::Unknown => None,
                Reachability::Up(_) => Some(true),
                Reachability::Down(_) => Some(false),
            },
            at: now,
            uptime: Duration::try_from(now.duration_since(self.shared.started_at)).unwrap_or_default(),
        }
    }

    /// It can do what it is asked: the database answers and nobody drains.
    pub async fn ready(&self, _ctx: &Ctx) -> bool {
        !self.shared.supervisor.drain_token().is_cancelled() && self.database().await
    }

    async fn database(&self) -> bool {
        let asked = tokio::time::timeout(PATIENCE, self.shared.world.store.ping()).await;
        matches!(asked, Ok(Ok(())))
    }

    /// What the engine says of itself; while it does not answer, only how it was found and its address.
    pub async fn engine(&self) -> Info {
        match self.shared.observer.first_reachability(PATIENCE).await {
            Reachability::Up(info) => *info,
            Reachability::Unknown | Reachability::Down(_) => self.shared.world.engine.workloads.known(),
        }
    }

    /// Follows the engine, for whoever must wait for its first complete list.
    pub fn lists(&self) -> tokio::sync::watch::Receiver<u64> {
        self.shared.observer.lists()
    }
}
