//! Events: the journal as a listing and as a watch.

use std::sync::Arc;
use std::time::Duration;

use clos_domain::event::{Event, Filter, Sequence};
use clos_domain::{Ctx, Error, Result};
use futures::stream::{self, Stream};

use crate::Shared;
use crate::ledger::Item;
use crate::supervisor::Task;

/// Old events are dropped this often.
const TRIM_EVERY: Duration = Duration::from_secs(600);

/// The use cases of events.
pub struct Events<'a> {
    pub(crate) shared: &'a Arc<Shared>,
}

impl Events<'_> {
    /// Events that fit, after a position, oldest first.
    pub async fn list(&self, _ctx: &Ctx, filter: &Filter, after: Sequence, limit: u32) -> Result<Vec<Event>> {
        let mut view = self.shared.world.store.view().await?;
        Ok(view.journal().list(filter, after, limit).await?)
    }

    /// Everything after a position that fits, for ever; `None` begins at the head.
    pub async fn watch(
        &self,
        _ctx: &Ctx,
        after: Option<Sequence>,
        filter: Filter,
    ) -> Result<impl Stream<Item = Result<Item>> + Send + use<>> {
        let drain = self.shared.supervisor.drain_token();
        let watch = self.shared.ledger.watch(after, filter, drain).await?;
        // It is handed back and forth with each event, and not small.
        Ok(stream::unfold(Some(Box::new(watch)), |watch| async move {
            let mut watch = watch?;
            match watch.next().await {
                Ok(None) => None,
                Ok(Some(item)) => Some((Ok(item), Some(watch))),
                Err(error) => Some((Err(error), None)),
            }
        }))
    }

    /// The oldest sequence that is kept; 0 when there is none.
    pub async fn oldest(&self, _ctx: &Ctx) -> Result<Sequence> {
        let mut view = self.shared.world.store.view().await?;
        Ok(view.journal().oldest().await?.unwrap_or(0))
    }

    /// The newest sequence.
    pub fn head(&self) -> Sequence {
        self.shared.ledger.head()
    }
}

pub(crate) fn start_trim(shared: &Arc<Shared>) {
    let this = shared.clone();
    shared.supervisor.spawn(Task::JournalTrim, async move {
        loop {
            tokio::time::sleep(TRIM_EVERY).await;
            match trim(&this).await {
                Ok(0) => {}
                Ok(count) => tracing::debug!(count, "old events were dropped"),
                Err(error) => tracing::warn!(%error, "old events could not be dropped"),
            }
        }
    });
}

/// Drops what is older than the settings say, but never the newest.
pub(crate) async fn trim(shared: &Shared) -> Result<u64> {
    let age = jiff::SignedDuration::try_from(shared.settings.journal_max_age).map_err(Error::internal)?;
    let before = shared.world.now().checked_sub(age).map_err(Error::internal)?;
    let mut tx = shared.world.store.begin().await?;
    let dropped = tx.journal().trim(shared.settings.journal_keep, before).await?;
    shared.ledger.commit(tx).await?;
    Ok(dropped)
}
