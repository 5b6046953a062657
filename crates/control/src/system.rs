//! The daemon and what it stands on.

use std::sync::Arc;
use std::time::Duration;

use clos_domain::seams::engine::Info;
use clos_domain::{Ctx, Timestamp};

use crate::Shared;
use crate::observer::Reachability;

/// A check of the database takes no longer than this.
const PATIENCE: Duration = Duration::from_secs(2);

/// How the daemon is.
#[derive(Debug, Clone)]
pub struct Health {
    /// The database answers.
    pub database: bool,
    /// The engine answers; `None` before it was asked.
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
        let asked = tokio::time::timeout(PATIENCE, self.shared.world.store.ping()).await;
        Health {
            database: matches!(asked, Ok(Ok(()))),
            engine: match self.shared.observer.reachability() {
                Reachability::Unknown => None,
                Reachability::Up(_) => Some(true),
                Reachability::Down(_) => Some(false),
            },
            at: now,
            uptime: Duration::try_from(now.duration_since(self.shared.started_at)).unwrap_or_default(),
        }
    }

    /// It can do what it is asked: the database answers and nobody drains.
    pub async fn ready(&self, ctx: &Ctx) -> bool {
        !self.shared.supervisor.drain_token().is_cancelled() && self.health(ctx).await.database
    }

    /// What the engine says of itself; `None` while it does not answer.
    pub fn engine(&self) -> Option<Info> {
        match self.shared.observer.reachability() {
            Reachability::Up(info) => Some(*info),
            Reachability::Unknown | Reachability::Down(_) => None,
        }
    }

    /// Follows the engine, for whoever must wait for its first complete list.
    pub fn lists(&self) -> tokio::sync::watch::Receiver<u64> {
        self.shared.observer.lists()
    }
}
