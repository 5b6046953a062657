//! One connection: HTTP/1 or HTTP/2, as its first bytes say, within limits.

use std::io;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::sync::CancellationToken;

use crate::Answers;
use crate::door::{Door, Peer};

/// Requests at a time on one HTTP/2 connection.
const STREAMS: u32 = 256;
/// Streams that a client opened and reset before anybody looked at them; more end the connection.
const RESETS_WAITING: usize = 64;
/// Streams that we reset for a client's mistakes; more end the connection.
const RESETS_BY_US: usize = 256;
/// Bytes of the head of a request, decoded; above our own limit of 32 KiB.
const HEAD: u32 = 48 * 1024;
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

/// Serves until the client goes, or the drain lets the last request end.
///
/// `header_timeout` is how long a head may take, from its first byte to its last
/// and from the beginning of the connection to the first one.
pub async fn serve<I, S>(io: I, service: S, peer: Peer, header_timeout: Duration, drain: CancellationToken)
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: Answers,
{
    let asked = Arc::new(AtomicBool::new(false));
    let read = Arc::new(AtomicUsize::new(0));
    let recent = Arc::new(Recent::default());
    let door = Door::new(service, peer, Arc::clone(&asked), Arc::clone(&recent));
    let io = TokioIo::new(Counted { io, read: Arc::clone(&read), recent });
    let http = builder(header_timeout);
    let mut connection = pin!(http.serve_connection_with_upgrades(io, TowerToHyperService::new(door)));
    let mut first_word = pin!(tokio::time::sleep(header_timeout));
    let (mut is_waiting, mut is_draining) = (true, false);
    loop {
        tokio::select! {
            ended = connection.as_mut() => {
                if let Err(error) = ended {
                    tracing::debug!(%error, "a connection broke");
                }
                return;
            }
            () = drain.cancelled(), if !is_draining => {
                is_draining = true;
                connection.as_mut().graceful_shutdown();
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

/// The last bytes of HTTP/1 that came in. hyper takes a Content-Length beside a
/// Transfer-Encoding out before anybody sees it; two parsers that disagree about
/// where a request ends are how requests are smuggled, so we look for ourselves.
#[derive(Debug, Default)]
pub struct Recent(Mutex<Vec<u8>>);

/// Bytes that are kept: a head has no more.
const KEPT: usize = 64 * 1024;
/// How HTTP/2 begins.
const PREFACE: &[u8] = b"PRI * HTTP/2";

impl Recent {
    fn add(&self, bytes: &[u8]) {
        let Ok(mut kept) = self.0.lock() else { return };
        if kept.starts_with(PREFACE) {
            return;
        }
        if kept.len() + bytes.len() > KEPT {
            let drop = (kept.len() + bytes.len() - KEPT).min(kept.len());
            kept.drain(..drop);
        }
        kept.extend_from_slice(&bytes[bytes.len().saturating_sub(KEPT)..]);
    }

    /// Whether the head that begins with this line has a Content-Length; it is forgotten, with
    /// what came before it, so that nothing in a body is ever taken for a later request's head.
    pub(crate) fn has_length(&self, first_line: &str) -> bool {
        const END: &[u8] = b"\r\n\r\n";
        let Ok(mut kept) = self.0.lock() else { return false };
        let find = |bytes: &[u8], wanted: &[u8]| bytes.windows(wanted.len()).position(|part| part == wanted);
        let Some(start) = find(&kept, first_line.as_bytes()) else { return false };
        let end = find(&kept[start..], END).map_or(kept.len(), |at| start + at + END.len());
        let has_length = String::from_utf8_lossy(&kept[start..end]).lines().any(|line| {
            line.split_once(':')
                .is_some_and(|(name, _)| name.trim_end().eq_ignore_ascii_case("content-length"))
        });
        kept.drain(..end);
        has_length
    }
}

/// Counts what was read.
struct Counted<I> {
    io: I,
    read: Arc<AtomicUsize>,
    recent: Arc<Recent>,
}

impl<I: AsyncRead + Unpin> AsyncRead for Counted<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.io).poll_read(cx, buffer);
        let came = &buffer.filled()[before..];
        self.recent.add(came);
        self.read.fetch_add(came.len(), Ordering::Relaxed);
        polled
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Counted<I> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, parts)
    }
}
