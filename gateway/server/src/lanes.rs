//! Connections to one server: several, so that streams that nobody reads hold nobody else up.
//!
//! An HTTP/2 connection has one window for all its streams. A stream whose reader stands still keeps what has come of
//! it in that window, and when the window is full nothing of any stream moves any more. So a connection carries a
//! number of calls at most, and its window has room for all of them standing still at once, each with a full window
//! of its own; what comes beyond that number goes over another connection. A reader that stands still stops its own
//! stream, that one's server, and nothing else.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::body::Body;
use tonic::transport::{Channel, Endpoint};

/// Calls on one connection. Servers take 100 at least if they follow RFC 9113, 6.5.2; what they take beyond their
/// number waits for one that ends, which a stream may never do. The health check needs a place too.
const CALLS: u32 = 64;
/// Bytes that a server may send ahead on one stream.
const STREAM_WINDOW: u32 = 128 << 10;
/// And on one connection.
const CONNECTION_WINDOW: u32 = STREAM_WINDOW * CALLS;
/// Connections to one server: 16,384 calls, more than `--max-connections` of HTTP/1 bring along.
const CONNECTIONS: usize = 256;
/// Connections without a call that are kept.
const SPARE: usize = 1;

/// The connections to one server.
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
    /// Connects when somebody calls.
    pub(crate) fn new(endpoint: Endpoint) -> Self {
        let endpoint = endpoint
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW);
        Self { endpoint, lanes: Arc::default() }
    }

    /// A connection with a place for one more call; none when every connection is full.
    pub(crate) fn take(&self) -> Option<(Channel, Place)> {
        let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        let mut taken = None;
        // The first one with a place, so that the last ones become free and are closed.
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

/// A call's place on a connection, until its answer is over.
#[derive(Debug)]
pub(crate) struct Place(
    #[expect(dead_code, reason = "it is given back when it is dropped")] OwnedSemaphorePermit,
);

impl Place {
    /// Goes with the body of an answer.
    pub(crate) fn with(self, body: Body) -> Body {
        if body.is_end_stream() {
            return body;
        }
        Body::new(Placed { body, _place: self })
    }
}

/// A body whose call has its place.
struct Placed {
    body: Body,
    _place: Place,
}

impl http_body::Body for Placed {
    type Data = Bytes;
    type Error = tonic::Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, tonic::Status>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
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

    #[test]
    fn a_window_has_room_for_all_calls_of_a_connection() {
        assert!(u64::from(CONNECTION_WINDOW) >= u64::from(STREAM_WINDOW) * u64::from(CALLS));
        assert!(CONNECTION_WINDOW < 1 << 31, "HTTP/2 has no larger one");
    }
}
