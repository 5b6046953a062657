//! The journal's public side: commits, the head, and watches.
//!
//! The bus carries one number, the head. A watcher has a position of its own and
//! loops: read the ring of recent events, else the journal; then wait until the
//! head is beyond its position. So no event is lost, none comes twice, and a slow
//! watcher grows nothing.

use std::collections::{BTreeMap, VecDeque};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use clos_domain::event::{Event, Filter, Sequence};
use clos_domain::id::OperationId;
use clos_domain::seams::engine::Progress;
use clos_domain::seams::{Store, Tx, store};
use clos_domain::{Error, Reason, Result};
use tokio::sync::watch;
use tokio::time::{Instant, Sleep};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

/// How many events the ring keeps; older ones are read from the journal.
const RING: usize = 4_096;
/// How many events one read of the journal brings.
const READ: u32 = 512;
/// An idle stream tells its position this often.
pub const BOOKMARK_EVERY: Duration = Duration::from_secs(10);

/// Commits units of work and tells everybody.
pub struct Ledger {
    store: Arc<dyn Store>,
    recent: Mutex<Recent>,
    head: watch::Sender<Sequence>,
    board: watch::Sender<Board>,
}

#[derive(Default)]
struct Recent {
    ring: VecDeque<Arc<Event>>,
    /// Committed, but an earlier sequence is not here yet.
    early: BTreeMap<Sequence, Arc<Event>>,
    head: Sequence,
}

/// The latest byte progress of pulls and builds: not journaled, conflated.
#[derive(Debug, Clone, Default)]
pub struct Board {
    /// Counts the changes.
    pub version: u64,
    entries: BTreeMap<(OperationId, u32), (u64, Progress)>,
}

impl Ledger {
    /// Begins at the head that the store has.
    pub async fn open(store: Arc<dyn Store>) -> Result<Arc<Self>> {
        let head = store.view().await?.journal().head().await?;
        Ok(Arc::new(Self {
            store,
            recent: Mutex::new(Recent { head, ..Recent::default() }),
            head: watch::Sender::new(head),
            board: watch::Sender::new(Board::default()),
        }))
    }

    /// Commits, and only then tells the events.
    pub async fn commit(&self, tx: Box<dyn Tx>) -> Result<(), store::Error> {
        match tx.commit().await {
            Ok(events) => {
                clos_telemetry::metrics().events(events.len() as u64);
                // A commit whose caller left before it was published is in the journal and nowhere else; without
                // it the head would stand still for good.
                if self.publish(events)
                    && let Err(error) = self.catch_up().await
                {
                    tracing::warn!(%error, "the journal cannot be read to fill a gap");
                }
                Ok(())
            }
            Err(error) => {
                // The answer may have been lost after the commit; then the journal has
                // more than the ring, and nobody would ever be told.
                if let Err(also) = self.catch_up().await {
                    tracing::warn!(error = %also, "the journal cannot be read after a failed commit");
                }
                Err(error)
            }
        }
    }

    /// The newest sequence that everybody may read.
    pub fn head(&self) -> Sequence {
        *self.head.borrow()
    }

    /// Follows the head.
    pub fn heads(&self) -> watch::Receiver<Sequence> {
        self.head.subscribe()
    }

    /// Takes events that were committed; `true` when earlier ones are still missing.
    fn publish(&self, events: Vec<Event>) -> bool {
        let (head, has_gap) = {
            let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
            for event in events {
                if event.seq > recent.head {
                    recent.early.insert(event.seq, Arc::new(event));
                }
            }
            while let Some(event) = {
                let next = recent.head + 1;
                recent.early.remove(&next)
            } {
                recent.head = event.seq;
                recent.ring.push_back(event);
                if recent.ring.len() > RING {
                    recent.ring.pop_front();
                }
            }
            (recent.head, !recent.early.is_empty())
        };
        self.head.send_if_modified(|known| {
            let moved = head > *known;
            *known = head.max(*known);
            moved
        });
        has_gap
    }

    /// Reads what the journal has beyond the head: after a commit whose answer was lost.
    pub async fn catch_up(&self) -> Result<(), store::Error> {
        loop {
            let events = self.store.view().await?.journal().after(self.head(), READ).await?;
            let more = events.len() == READ as usize;
            self.publish(events);
            if !more {
                return Ok(());
            }
        }
    }

    /// Sets the latest progress of a step.
    pub fn progress(&self, operation: &OperationId, step: u32, progress: Progress) {
        self.board.send_modify(|board| {
            board.version += 1;
            let version = board.version;
            board.entries.insert((operation.clone(), step), (version, progress));
        });
    }

    /// Forgets the progress of an operation that ended.
    pub fn forget_progress(&self, operation: &OperationId) {
        self.board.send_modify(|board| board.entries.retain(|(id, _), _| id != operation));
    }

    fn recent_after(&self, position: Sequence) -> Option<Vec<Arc<Event>>> {
        let recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        let first = recent.ring.front().map_or(recent.head + 1, |event| event.seq);
        if position + 1 < first {
            return None;
        }
        let skip = usize::try_from(position + 1 - first).unwrap_or(usize::MAX);
        Some(recent.ring.iter().skip(skip).take(READ as usize).cloned().collect())
    }

    /// Opens a watch after a position; `None` is the head as it is now.
    ///
    /// # Errors
    /// `SEQUENCE_TOO_OLD` with `oldest_seq` when the history begins later, and
    /// `INVALID_POSITION` when the position lies beyond the head.
    pub async fn watch(
        self: &Arc<Self>,
        after: Option<Sequence>,
        filter: Filter,
        drain: CancellationToken,
    ) -> Result<Watch> {
        let head = self.head();
        let position = after.unwrap_or(head);
        if position < 0 {
            return Err(Error::field(
                "after",
                format!("{position} is negative; 0 is the oldest that is kept"),
            ));
        }
        if position > head {
            return Err(Error::new(
                Reason::InvalidPosition,
                format!("sequence {position} lies beyond the head of the journal, which is {head}"),
            )
            .with("head", head));
        }
        let mut position = position;
        if position < head && self.recent_after(position).is_none() {
            let oldest = self.store.view().await?.journal().oldest().await?.unwrap_or(head + 1);
            if position == 0 {
                position = oldest - 1;
            } else if position + 1 < oldest {
                return Err(Error::new(
                    Reason::SequenceTooOld,
                    format!("events after {position} are no longer kept; the oldest is {oldest}"),
                )
                .with("oldest_seq", oldest));
            }
        }
        let board_seen = self.board.borrow().version;
        Ok(Watch {
            heads: self.head.subscribe(),
            boards: self.board.subscribe(),
            ledger: self.clone(),
            position,
            filter,
            pending: VecDeque::new(),
            drained: Box::pin(drain.cancelled_owned()),
            board_seen,
            told: Instant::now(),
            idle: Box::pin(tokio::time::sleep(BOOKMARK_EVERY)),
            _counted: clos_telemetry::metrics().watcher(),
        })
    }
}

/// What a watch yields.
#[derive(Debug, Clone, PartialEq)]
pub enum Item {
    /// A committed event that passes the filter.
    Event(Arc<Event>),
    /// The stream was idle; this is its position.
    Bookmark(Sequence),
    /// The position fell out of history; the stream goes on at the oldest event.
    Resync {
        /// The oldest event that is kept.
        oldest: Sequence,
    },
    /// The latest progress of a step; only for a watch of one operation.
    Progress {
        /// Whose.
        operation: OperationId,
        /// Which step.
        step: u32,
        /// How far.
        progress: Progress,
    },
}

/// A position, a filter and the head.
pub struct Watch {
    ledger: Arc<Ledger>,
    heads: watch::Receiver<Sequence>,
    boards: watch::Receiver<Board>,
    position: Sequence,
    filter: Filter,
    pending: VecDeque<Item>,
    // These two wait for as long as the watch lives: a thousand watches that begin to wait anew with each
    // event cost more than the event.
    drained: Pin<Box<WaitForCancellationFutureOwned>>,
    /// Over when a bookmark may be due.
    idle: Pin<Box<Sleep>>,
    /// When the last item was given.
    told: Instant,
    board_seen: u64,
    _counted: clos_telemetry::Watcher,
}

impl Watch {
    /// The next item; `None` when the daemon drains. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Result<Option<Item>> {
        loop {
            if let Some(item) = self.pending.pop_front() {
                self.told = Instant::now();
                return Ok(Some(item));
            }
            self.fill().await?;
            if !self.pending.is_empty() || self.position < *self.heads.borrow_and_update() {
                continue;
            }
            let wants_progress = self.filter.operation.is_some();
            tokio::select! {
                biased;
                () = self.drained.as_mut() => return Ok(None),
                moved = self.heads.changed() => if moved.is_err() { return Ok(None) },
                changed = self.boards.changed(), if wants_progress => {
                    if changed.is_err() { return Ok(None) }
                    self.take_progress();
                }
                () = self.idle.as_mut() => self.take_bookmark(),
            }
        }
    }

    /// The position: everything up to here was looked at.
    pub fn position(&self) -> Sequence {
        self.position
    }

    /// Items were read that [`next`](Self::next) has not given yet.
    pub fn has_pending(&self) -> bool {
        !self.pending.is_empty()
    }

    async fn fill(&mut self) -> Result<()> {
        let events = match self.ledger.recent_after(self.position) {
            Some(events) => events,
            None => self.read_journal().await?,
        };
        for event in events {
            self.position = event.seq;
            if self.filter.matches(&event) {
                self.pending.push_back(Item::Event(event));
            }
        }
        Ok(())
    }

    async fn read_journal(&mut self) -> Result<Vec<Arc<Event>>> {
        let mut view = self.ledger.store.view().await?;
        let events = view.journal().after(self.position, READ).await?;
        if let Some(first) = events.first().filter(|first| first.seq > self.position + 1) {
            self.pending.push_back(Item::Resync { oldest: first.seq });
        }
        if events.is_empty() {
            self.position = self.ledger.head();
        }
        Ok(events.into_iter().map(Arc::new).collect())
    }

    /// The idle time is over: it counts from the last item, which may have come meanwhile.
    fn take_bookmark(&mut self) {
        let now = Instant::now();
        let mut due = self.told + BOOKMARK_EVERY;
        if due <= now {
            self.pending.push_back(Item::Bookmark(self.position));
            due = now + BOOKMARK_EVERY;
        }
        self.idle.as_mut().reset(due);
    }

    fn take_progress(&mut self) {
        let board = self.boards.borrow_and_update();
        for ((operation, step), (version, progress)) in &board.entries {
            if *version > self.board_seen && self.filter.operation.as_ref() == Some(operation) {
                let progress = progress.clone();
                self.pending.push_back(Item::Progress {
                    operation: operation.clone(),
                    step: *step,
                    progress,
                });
            }
        }
        self.board_seen = board.version;
    }
}
