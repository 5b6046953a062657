//! The connections of one listener: how many there may be, and which of them goes when another one wants its place.
//!
//! A client that opens connections and sends nothing on them costs us places, and must not cost anybody else theirs.
//! So a connection on which no request is in progress is closed when all places are taken, the one that has been
//! idle for longest first. One that has become a WebSocket is in use until it ends.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

/// How long a newcomer waits for a place.
const PATIENCE: Duration = Duration::from_secs(2);
/// When it asks the next idle connection to go, because another newcomer was faster.
const AGAIN: Duration = Duration::from_millis(20);
/// Newcomers that wait at a time.
const WAITING: usize = 128;

/// Every place.
#[derive(Debug, Clone)]
pub(crate) struct Seats {
    free: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
    taken: Arc<Mutex<Taken>>,
}

#[derive(Debug, Default)]
struct Taken {
    seats: BTreeMap<u64, Occupied>,
    next_id: u64,
    /// Counts the moments at which connections became idle: the lowest has been so for longest.
    moments: u64,
}

#[derive(Debug)]
struct Occupied {
    in_progress: usize,
    idle_since: u64,
    leave: CancellationToken,
}

impl Seats {
    pub(crate) fn new(count: usize) -> Self {
        let free = Arc::new(Semaphore::new(count.min(Semaphore::MAX_PERMITS)));
        Self { free, waiting: Arc::new(Semaphore::new(WAITING)), taken: Arc::default() }
    }

    /// A place for a connection if one is free.
    pub(crate) fn take(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.free).try_acquire_owned().ok()
    }

    /// A turn to wait for a place; none when all are in use, or too many wait already.
    pub(crate) fn turn(&self) -> Option<OwnedSemaphorePermit> {
        let has_idle = self.lock().seats.values().any(|seat| seat.in_progress == 0);
        has_idle.then(|| Arc::clone(&self.waiting).try_acquire_owned().ok()).flatten()
    }

    /// A place, for which idle connections are asked to go.
    pub(crate) async fn wait(&self, _turn: OwnedSemaphorePermit) -> Option<OwnedSemaphorePermit> {
        let waiting = async {
            loop {
                self.make_room();
                if let Ok(place) = tokio::time::timeout(AGAIN, Arc::clone(&self.free).acquire_owned()).await {
                    return place.ok();
                }
            }
        };
        tokio::time::timeout(PATIENCE, waiting).await.ok().flatten()
    }

    /// Asks the connection that has been idle for longest to go.
    fn make_room(&self) {
        let taken = self.lock();
        let idle = taken.seats.values().filter(|seat| seat.in_progress == 0 && !seat.leave.is_cancelled());
        if let Some(longest) = idle.min_by_key(|seat| seat.idle_since) {
            longest.leave.cancel();
        }
    }

    /// A connection, idle so far.
    pub(crate) fn sit(&self) -> Seat {
        let leave = CancellationToken::new();
        let mut taken = self.lock();
        let id = taken.next_id;
        taken.next_id += 1;
        let idle_since = taken.moment();
        taken.seats.insert(id, Occupied { in_progress: 0, idle_since, leave: leave.clone() });
        drop(taken);
        Seat { seats: self.clone(), id, leave }
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Taken {
    fn moment(&mut self) -> u64 {
        self.moments += 1;
        self.moments
    }
}

/// A connection's place in the order of who goes first; it is not in the order any more when this is dropped.
#[derive(Debug)]
pub(crate) struct Seat {
    seats: Seats,
    id: u64,
    leave: CancellationToken,
}

impl Seat {
    /// Done when the connection is asked to go.
    pub(crate) async fn asked_to_go(&self) {
        self.leave.cancelled().await;
    }

    /// Whether no request is in progress.
    pub(crate) fn is_idle(&self) -> bool {
        self.seats.lock().seats.get(&self.id).is_none_or(|seat| seat.in_progress == 0)
    }

    /// For whoever takes the connection's requests.
    pub(crate) fn uses(&self) -> Uses {
        Uses { seats: self.seats.clone(), id: self.id }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.seats.lock().seats.remove(&self.id);
    }
}

/// Notes the requests of a connection.
#[derive(Debug, Clone)]
pub(crate) struct Uses {
    seats: Seats,
    id: u64,
}

impl Uses {
    /// A request is in progress for as long as the returned value lives.
    pub(crate) fn begin(&self) -> InProgress {
        if let Some(seat) = self.seats.lock().seats.get_mut(&self.id) {
            seat.in_progress += 1;
        }
        InProgress(self.clone())
    }
}

/// A request that is in progress.
#[derive(Debug)]
pub(crate) struct InProgress(Uses);

impl Drop for InProgress {
    fn drop(&mut self) {
        let mut taken = self.0.seats.lock();
        let moment = taken.moment();
        if let Some(seat) = taken.seats.get_mut(&self.0.id) {
            seat.in_progress = seat.in_progress.saturating_sub(1);
            seat.idle_since = moment;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_been_idle_for_longest_goes_first_and_nobody_in_use() {
        let seats = Seats::new(3);
        assert!(seats.turn().is_none(), "nobody could go");
        let sitting: Vec<Seat> = (0..3).map(|_| seats.sit()).collect();
        let went = || sitting.iter().map(|seat| seat.leave.is_cancelled()).collect::<Vec<_>>();
        let working = sitting[1].uses().begin();
        // It has just asked something, so that it is the last of the idle ones.
        drop(sitting[0].uses().begin());
        seats.make_room();
        assert_eq!(went(), [false, false, true]);
        seats.make_room();
        assert_eq!(went(), [true, false, true]);
        seats.make_room();
        assert_eq!(went(), [true, false, true], "the other one is in use");
        assert!(!sitting[1].is_idle());
        drop(working);
        assert!(sitting[1].is_idle());
        seats.make_room();
        assert_eq!(went(), [true; 3]);
        drop(sitting);
        assert!(seats.turn().is_none());
    }

    #[tokio::test]
    async fn a_newcomer_has_the_place_of_who_goes() {
        let seats = Seats::new(1);
        let (place, seat) = (seats.take().unwrap(), seats.sit());
        assert!(seats.take().is_none());
        let going = async {
            seat.asked_to_go().await;
            drop(place);
        };
        let turn = seats.turn().unwrap();
        let (waited, ()) = tokio::join!(seats.wait(turn), going);
        assert!(waited.is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn only_so_many_wait_and_only_so_long() {
        let seats = Seats::new(1);
        let (_place, _seat) = (seats.take().unwrap(), seats.sit());
        let mut turns: Vec<_> = std::iter::from_fn(|| seats.turn()).collect();
        assert_eq!(turns.len(), WAITING);
        assert!(seats.wait(turns.pop().unwrap()).await.is_none());
    }
}
