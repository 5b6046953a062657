//! The connections to one upstream, and how many calls each of them carries.
//!
//! All streams of an HTTP/2 connection share its flow-control window. Data of a stream that nobody reads stays in
//! that window, and when it is full no stream of the connection moves any more. So a connection carries a limited
//! number of calls, and its window is large enough for all of them to be stalled at once, each with the window of
//! its stream full. Further calls go over further connections. A stalled reader stops its own stream and nothing
//! else (decision 13).

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::body::Body;
use tonic::transport::{Channel, Endpoint};

use crate::held;

/// Calls on one connection. RFC 9113, 6.5.2, asks servers to allow at least 100 concurrent streams; a call beyond a
/// server's limit waits until another one ends, which a stream may never do.
const CALLS: u32 = 64;
/// Bytes that a server may send ahead on one stream.
const STREAM_WINDOW: u32 = 128 << 10;
/// And on one connection.
const CONNECTION_WINDOW: u32 = STREAM_WINDOW * CALLS;
const _: () = assert!(CONNECTION_WINDOW < 1 << 31, "the largest window of HTTP/2");
/// Connections to one upstream: 16,384 calls, more than the default of `--max-connections` allows over HTTP/1.
const CONNECTIONS: usize = 256;
/// Idle connections that are kept.
const SPARE: usize = 1;

/// The connections to one upstream.
#[derive(Debug, Clone)]
pub(crate) struct Lanes {
    endpoint: Endpoint,
    lanes: Arc<Mutex<Vec<Lane>>>,
}

#[derive(Debug, Clone)]
struct Lane {
    channel: Channel,
    places: Arc<Semaphore>,
}

impl Lane {
    fn is_idle(&self) -> bool {
        self.places.available_permits() == CALLS as usize
    }
}

impl Lanes {
    /// Connects with the first call.
    pub(crate) fn new(endpoint: Endpoint) -> Self {
        let endpoint = endpoint
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW);
        Self { endpoint, lanes: Arc::default() }
    }

    /// A connection with room for one more call; `None` when all of them are full.
    pub(crate) fn take(&self) -> Option<(Channel, Place)> {
        let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        let mut taken = None;
        // The first one with room, so that the last ones become idle and are closed.
        for (at, lane) in lanes.iter().enumerate() {
            if let Ok(permit) = Arc::clone(&lane.places).try_acquire_owned() {
                taken = Some((at, lane.channel.clone(), Place(permit)));
                break;
            }
        }
        if taken.is_none() && lanes.len() < CONNECTIONS {
            let lane = Lane {
                channel: self.endpoint.connect_lazy(),
                places: Arc::new(Semaphore::new(CALLS as usize)),
            };
            let permit = Arc::clone(&lane.places).try_acquire_owned().ok()?;
            taken = Some((lanes.len(), lane.channel.clone(), Place(permit)));
            lanes.push(lane);
        }
        let (at, channel, place) = taken?;
        while lanes.len() > at + 1 + SPARE && lanes.last().is_some_and(Lane::is_idle) {
            lanes.pop();
        }
        Some((channel, place))
    }

    #[cfg(test)]
    fn count(&self) -> usize {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

/// A call's place on a connection, held until its response is over.
#[derive(Debug)]
pub(crate) struct Place(
    #[expect(dead_code, reason = "it is given back when it is dropped")] OwnedSemaphorePermit,
);

impl Place {
    /// Holds the place as long as the body of the response.
    pub(crate) fn with(self, body: Body) -> Body {
        held::with(body, self)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn lanes() -> Lanes {
        Lanes::new(Endpoint::from_static("http://127.0.0.1:1"))
    }

    #[tokio::test]
    async fn a_connection_is_full_before_there_is_another_and_closed_when_it_is_not_needed() {
        let lanes = lanes();
        let mut places: Vec<Place> = Vec::new();
        for calls in 1..=4 * CALLS as usize {
            places.push(lanes.take().unwrap().1);
            assert_eq!(lanes.count(), calls.div_ceil(CALLS as usize));
        }
        places.clear();
        drop(lanes.take().unwrap());
        assert_eq!(lanes.count(), 1 + SPARE);
    }

    #[tokio::test]
    async fn there_are_no_more_than_so_many() {
        let lanes = lanes();
        let taken: Vec<(Channel, Place)> = std::iter::from_fn(|| lanes.take()).collect();
        assert_eq!((taken.len(), lanes.count()), (CALLS as usize * CONNECTIONS, CONNECTIONS));
        drop(taken);
        assert!(lanes.take().is_some());
    }

    #[tokio::test]
    async fn a_place_is_kept_until_the_answer_is_over() {
        let lanes = lanes();
        let place = lanes.take().unwrap().1;
        let body = place.with(Body::new(http_body_util::Full::new(Bytes::from_static(b"x"))));
        let is_idle = || lanes.lanes.lock().unwrap()[0].is_idle();
        assert!(!is_idle());
        drop(body);
        assert!(is_idle());
        lanes.take().unwrap().1.with(Body::empty());
        assert!(is_idle());
    }
}
