//! How many calls are in progress at a time; more are refused at once, with the time to come back.
//!
//! Methods that need no credentials are apart. Anybody may call them, keep the call open and say nothing, and no
//! number of such calls may keep others from an answer: each of these methods has places of its own, others for callers
//! who showed who they are, and when they are all taken the oldest call goes.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use clos_domain::ctx::Principal;
use clos_domain::{Error, Reason, Result};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use super::methods::Method;

/// Calls of one method that needs no credentials, in progress at a time.
const OPEN: usize = 64;
/// When a refused caller should come back.
const COME_BACK: Duration = Duration::from_secs(1);

/// The places that there are.
pub(crate) struct Limit {
    open: Arc<Open>,
    in_flight: Arc<Semaphore>,
    streams: Arc<Semaphore>,
}

/// A place that a call has, until it is dropped.
pub(crate) struct Place(Kept);

enum Kept {
    Counted(#[expect(dead_code, reason = "it is given back when it is dropped")] OwnedSemaphorePermit),
    Open(Seat),
}

impl Limit {
    pub(crate) fn new(in_flight: usize, streams: usize) -> Self {
        let places = |count: usize| Arc::new(Semaphore::new(count.min(Semaphore::MAX_PERMITS)));
        Self { open: Arc::default(), in_flight: places(in_flight), streams: places(streams) }
    }

    /// A place for a call, if there is one.
    pub(crate) fn take(&self, method: &Method, principal: &Principal) -> Result<Place> {
        if method.is_open() {
            let is_anonymous = *principal == Principal::Anonymous;
            return Ok(Place(Kept::Open(self.open.take((method.path.clone(), is_anonymous)))));
        }
        // What waits for hours is no work in progress.
        let is_long = method.is_stream || method.patience == Some(super::methods::LONGEST);
        let (places, what) = match is_long {
            true => (&self.streams, "streams"),
            false => (&self.in_flight, "requests in progress"),
        };
        match Arc::clone(places).try_acquire_owned() {
            Ok(permit) => Ok(Place(Kept::Counted(permit))),
            Err(_) => Err(Error::new(
                Reason::TooManyRequests,
                format!("the daemon is at its limit of {what}; come back in a second"),
            )
            .retry_after(COME_BACK)),
        }
    }
}

impl Place {
    /// Cancelled when a newer call takes the place.
    pub(crate) fn wanted(&self) -> Option<CancellationToken> {
        match &self.0 {
            Kept::Counted(_) => None,
            Kept::Open(seat) => Some(seat.wanted.clone()),
        }
    }

    /// What the future gives, unless a newer call takes the place before.
    pub(crate) async fn hold<F: Future>(&self, answer: F) -> Result<F::Output> {
        match &self.0 {
            Kept::Counted(_) => Ok(answer.await),
            Kept::Open(seat) => seat.wanted.run_until_cancelled(answer).await.ok_or_else(made_room),
        }
    }
}

/// The error of a call whose place a newer one took.
pub(crate) fn made_room() -> Error {
    let message = format!(
        "more than {OPEN} calls of this method are open, and this was the oldest; come back in a second"
    );
    Error::new(Reason::TooManyRequests, message).retry_after(COME_BACK)
}

/// A method, and whether its callers are anonymous.
type Group = (String, bool);

/// Calls that are in progress, the oldest of each group first.
#[derive(Default)]
struct Open(Mutex<Calls>);

#[derive(Default)]
struct Calls {
    groups: HashMap<Group, VecDeque<(u64, CancellationToken)>>,
    next_id: u64,
}

impl Open {
    fn take(self: &Arc<Self>, group: Group) -> Seat {
        let mut open = self.lock();
        let id = open.next_id;
        open.next_id += 1;
        let wanted = CancellationToken::new();
        let calls = open.groups.entry(group.clone()).or_default();
        if calls.len() >= OPEN
            && let Some((_, oldest)) = calls.pop_front()
        {
            oldest.cancel();
        }
        calls.push_back((id, wanted.clone()));
        drop(open);
        Seat { open: Arc::clone(self), group, id, wanted }
    }

    fn lock(&self) -> MutexGuard<'_, Calls> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Seat {
    open: Arc<Open>,
    group: Group,
    id: u64,
    wanted: CancellationToken,
}

impl Drop for Seat {
    fn drop(&mut self) {
        if let Some(calls) = self.open.lock().groups.get_mut(&self.group) {
            calls.retain(|(id, _)| *id != self.id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layers::methods::Methods;

    const OWNER: Principal = Principal::Owner { uid: 1_000 };

    fn method(path: &str) -> Arc<Method> {
        Methods::of_the_contract().unwrap().named(path).unwrap()
    }

    #[test]
    fn every_kind_of_call_has_places_of_its_own() {
        let get = method("/clos.v2.ServicesApi/GetService");
        let watch = method("/clos.v2.EventsApi/WatchEvents");
        let wait = method("/clos.v2.OperationsApi/WaitOperation");
        let health = method("/grpc.health.v1.Health/Check");
        let limit = Limit::new(1, 1);
        let first = limit.take(&get, &OWNER).unwrap();
        let refused = limit.take(&get, &OWNER).map(drop).unwrap_err();
        assert_eq!(refused.reason(), Reason::TooManyRequests);
        assert_eq!(refused.retry_delay(), Some(COME_BACK));
        let stream = limit.take(&watch, &OWNER).unwrap();
        assert!(limit.take(&wait, &OWNER).is_err(), "a long wait has the place of a stream");
        assert!(limit.take(&health, &OWNER).is_ok());
        drop((first, stream));
        assert!(limit.take(&get, &OWNER).is_ok());
        assert!(limit.take(&wait, &OWNER).is_ok());
    }

    #[tokio::test]
    async fn the_oldest_open_call_goes_and_only_for_its_like() {
        let watch = method("/grpc.health.v1.Health/Watch");
        let reflect = method("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo");
        let limit = Limit::new(1, 1);
        let owner = limit.take(&watch, &OWNER).unwrap();
        let other = limit.take(&reflect, &Principal::Anonymous).unwrap();
        let mut taken: Vec<Place> =
            (0..OPEN).map(|_| limit.take(&watch, &Principal::Anonymous).unwrap()).collect();
        let is_wanted = |place: &Place| place.wanted().unwrap().is_cancelled();
        assert!(!taken.iter().any(is_wanted));
        taken.push(limit.take(&watch, &Principal::Anonymous).unwrap());
        assert!(is_wanted(&taken[0]) && !taken[1..].iter().any(is_wanted));
        assert!(!is_wanted(&owner) && !is_wanted(&other));
        let late = taken[0].hold(std::future::pending::<()>()).await.unwrap_err();
        assert_eq!((late.reason(), late.retry_delay()), (Reason::TooManyRequests, Some(COME_BACK)));
        // One that ends makes room by itself.
        drop(taken.remove(1));
        taken.push(limit.take(&watch, &Principal::Anonymous).unwrap());
        assert!(!taken[1..].iter().any(is_wanted));
        drop(taken);
        assert!(limit.open.lock().groups.values().map(VecDeque::len).sum::<usize>() == 2);
    }
}
