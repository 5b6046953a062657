//! How many calls are in progress at a time; more are refused at once, with the time to come back.

use std::sync::Arc;
use std::time::Duration;

use clos_domain::{Error, Reason, Result};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::methods::Method;

/// Questions that need no permission; they have places of their own, so that a busy daemon still
/// says how it is, and so that nobody keeps the owner out.
const OPEN: usize = 64;
/// When a refused caller should come back.
const COME_BACK: Duration = Duration::from_secs(1);

/// The places that there are.
pub(crate) struct Limit {
    open: Arc<Semaphore>,
    in_flight: Arc<Semaphore>,
    streams: Arc<Semaphore>,
}

/// A place that a call has, until it is dropped.
pub(crate) struct Place(
    #[expect(dead_code, reason = "it is given back when it is dropped")] OwnedSemaphorePermit,
);

impl Limit {
    pub(crate) fn new(in_flight: usize, streams: usize) -> Self {
        let places = |count: usize| Arc::new(Semaphore::new(count.min(Semaphore::MAX_PERMITS)));
        Self { open: places(OPEN), in_flight: places(in_flight), streams: places(streams) }
    }

    /// A place for a call, if there is one.
    pub(crate) fn take(&self, method: &Method) -> Result<Place> {
        // What waits for hours is no work in progress.
        let is_long = method.is_stream || method.patience == Some(super::methods::LONGEST);
        let (places, what) = match () {
            () if method.is_open() => (&self.open, "open questions"),
            () if is_long => (&self.streams, "streams"),
            () => (&self.in_flight, "requests in progress"),
        };
        match Arc::clone(places).try_acquire_owned() {
            Ok(permit) => Ok(Place(permit)),
            Err(_) => Err(Error::new(
                Reason::TooManyRequests,
                format!("the daemon is at its limit of {what}; come back in a second"),
            )
            .retry_after(COME_BACK)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layers::methods::Methods;

    #[test]
    fn every_kind_of_call_has_places_of_its_own() {
        let methods = Methods::of_the_contract().unwrap();
        let method = |path: &str| methods.named(path).unwrap();
        let get = method("/clos.v2.ServicesApi/GetService");
        let watch = method("/clos.v2.EventsApi/WatchEvents");
        let wait = method("/clos.v2.OperationsApi/WaitOperation");
        let health = method("/grpc.health.v1.Health/Check");
        let limit = Limit::new(1, 1);
        let first = limit.take(&get).unwrap();
        let refused = limit.take(&get).map(drop).unwrap_err();
        assert_eq!(refused.reason(), Reason::TooManyRequests);
        assert_eq!(refused.retry_delay(), Some(COME_BACK));
        let stream = limit.take(&watch).unwrap();
        assert!(limit.take(&wait).is_err(), "a long wait has the place of a stream");
        assert!(limit.take(&health).is_ok());
        drop((first, stream));
        assert!(limit.take(&get).is_ok());
        assert!(limit.take(&wait).is_ok());
    }

    #[test]
    fn open_questions_are_limited_too() {
        let health = Methods::of_the_contract().unwrap().named("/grpc.health.v1.Health/Watch").unwrap();
        let limit = Limit::new(1, 1);
        let taken: Vec<Place> = (0..OPEN).map(|_| limit.take(&health).unwrap()).collect();
        assert!(limit.take(&health).is_err());
        drop(taken);
    }
}
