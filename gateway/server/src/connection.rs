//! One connection: HTTP/1 or HTTP/2, as its first bytes say, within limits.

use std::future::{Future as _, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;

use crate::Answers;
use crate::door::{Door, Peer};
use crate::listen::Place;
use crate::seats::Seat;
use crate::watched::Watched;

/// Requests at a time on one HTTP/2 connection.
const STREAMS: u32 = 256;
/// Streams that a client opened and reset before anybody looked at them; more end the connection.
const RESETS_WAITING: usize = 64;
/// Streams that we reset for a client's mistakes; more end the connection.
const RESETS_BY_US: usize = 256;
/// Bytes of the head of a request of HTTP/2, decoded; above our own limit of 32 KiB, which
/// answers in the shape of every error.
const HEAD: u32 = 128 * 1024;
/// Bytes that HTTP/1 keeps of a request that is being read.
const BUFFER: usize = 128 * 1024;
/// Header lines of a request.
///
/// Above our own limit of 100, which answers in the shape of every error.
const HEADERS: usize = 256;
/// Bytes of an answer that wait for a slow reader, a stream.
const SEND_BUFFER: usize = 256 * 1024;
/// Bytes that a client may send ahead, a stream and a connection.
const WINDOW: u32 = 1024 * 1024;
/// A silent HTTP/2 client is asked whether it is there.
const PING_EVERY: Duration = Duration::from_secs(20);
/// And gone when it does not answer.
const PING_PATIENCE: Duration = Duration::from_secs(10);
/// As many bytes tell HTTP/2 from HTTP/1.
const FIRST_WORD: usize = 24;

/// Who came in, and how long they may stay.
#[derive(Debug)]
pub(crate) struct Visit {
    pub(crate) peer: Peer,
    /// Goes with the bytes: a connection that becomes a socket keeps it.
    pub(crate) place: Place,
    /// By it an idle connection hears that its place is wanted.
    pub(crate) seat: Seat,
    /// How long a head may take, from its first byte to its last and from the beginning of the
    /// connection to the first one.
    pub(crate) header_timeout: Duration,
    /// Requests that have begun may end.
    pub(crate) drain: CancellationToken,
}

/// Serves until the client goes, or the drain lets the last request end.
pub(crate) async fn serve<I, S>(io: I, service: S, visit: Visit)
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: Answers,
{
    let Visit { peer, place, seat, header_timeout, drain } = visit;
    let asked = Arc::new(AtomicBool::new(false));
    let read = Arc::new(AtomicUsize::new(0));
    let transport = if matches!(peer, Peer::Unix(_)) { "unix" } else { "tcp" };
    let door = Door::new(service, peer, Arc::clone(&asked), seat.uses());
    let io = TokioIo::new(Watched::new(io, Arc::clone(&read), place));
    let http = builder(header_timeout);
    let mut connection = pin!(http.serve_connection_with_upgrades(io, TowerToHyperService::new(door)));
    let mut first_word = pin!(tokio::time::sleep(header_timeout));
    let (mut is_waiting, mut is_draining) = (true, false);
    let (mut is_asked_to_go, mut has_said_so) = (false, false);
    loop {
        tokio::select! {
            // What has come is read before anything is decided about the connection.
            biased;
            ended = poll_fn(|context| {
                let polled = connection.as_mut().poll(context);
                if clos_telemetry::authority_was_refused() {
                    say_refused(transport);
                }
                polled
            }) => {
                if let Err(error) = ended {
                    tracing::debug!(%error, "a connection broke");
                }
                return;
            }
            () = drain.cancelled(), if !is_draining => {
                is_draining = true;
                connection.as_mut().graceful_shutdown();
            }
            () = seat.asked_to_go(), if !is_asked_to_go => {
                is_asked_to_go = true;
                connection.as_mut().graceful_shutdown();
            }
            () = std::future::ready(()), if is_asked_to_go && !has_said_so => {
                has_said_so = true;
                // A request that came just then is still answered.
                if seat.is_idle() {
                    return;
                }
            }
            // Until the version is known no limit of HTTP holds.
            () = &mut first_word, if is_waiting => {
                is_waiting = false;
                if read.load(Ordering::Relaxed) < FIRST_WORD && !asked.load(Ordering::Relaxed) {
                    clos_telemetry::metrics().refused("silent");
                    return;
                }
            }
        }
    }
}

/// Counts and logs a request that `h2` has refused.
fn say_refused(transport: &str) {
    if let Some(omitted) = clos_telemetry::metrics().refused("authority") {
        tracing::warn!(
            transport,
            omitted,
            "a call was refused because its :authority is not a host name; a grpcio client of a Unix socket needs the channel option grpc.default_authority=localhost"
        );
    }
}

fn builder(header_timeout: Duration) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(header_timeout)
        .max_buf_size(BUFFER)
        .max_headers(HEADERS);
    // Two of these are off unless they are set, and the defaults may change under us.
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS)
        .max_pending_accept_reset_streams(RESETS_WAITING)
        .max_local_error_reset_streams(RESETS_BY_US)
        .max_header_list_size(HEAD)
        .max_send_buf_size(SEND_BUFFER)
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(WINDOW)
        .keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_PATIENCE);
    builder
}
