//! The bytes of a connection under hyper: counted, followed, and given words where hyper has none.

use std::future::Future as _;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf as _, Bytes};
use futures::FutureExt as _;
use http::{HeaderMap, Response, StatusCode};
use http_body_util::BodyExt as _;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

use crate::heads::Heads;
use crate::listen::Place;

/// How long a client may go on to send what nobody reads. A connection that is closed before
/// takes the answer along that is still on its way.
const LINGER: Duration = Duration::from_secs(1);
/// A client that said all it has to say may close its side, and one that went away looks the
/// same. What is answered in this time is sent; then nobody is there, and what runs is dropped.
const GRACE: Duration = Duration::from_millis(25);
/// An answer of hyper itself is shorter.
const BARE: usize = 200;

/// A connection's bytes.
pub(crate) struct Watched<I> {
    io: I,
    read: Arc<AtomicUsize>,
    heads: Heads,
    /// What is said in the place of an answer without words.
    words: Bytes,
    /// Nothing more comes in; hyper hears it when this is over.
    ended: Option<Pin<Box<Sleep>>>,
    closing: Option<Pin<Box<Sleep>>>,
    _place: Place,
}

impl<I> Watched<I> {
    /// `read` counts what came in.
    pub(crate) fn new(io: I, read: Arc<AtomicUsize>, place: Place) -> Self {
        let (heads, words) = (Heads::default(), Bytes::new());
        Self { io, read, heads, words, ended: None, closing: None, _place: place }
    }

    /// Whether these bytes are not sent, but others instead.
    ///
    /// hyper sends its own answers as one piece and then only closes. A body that looks the same
    /// would need a backend that makes it so, for a client who reads nothing but its own answer.
    fn is_replaced(&mut self, bytes: &[u8]) -> bool {
        if bytes.starts_with(b"HTTP/1.1 101") {
            self.heads.upgraded();
        }
        let Some((status, date)) = bare(bytes) else { return false };
        let fault = self.heads.fault(status);
        clos_telemetry::metrics().refused("framing");
        let none = HeaderMap::new();
        let options = clos_transcoder::Options::default();
        let mut response =
            clos_transcoder::refusal(fault.status, fault.field, fault.message, &none, &options);
        crate::secure(response.headers_mut());
        self.words = spoken(response, date);
        true
    }
}

/// The status and the date of an answer that is hyper's own.
fn bare(bytes: &[u8]) -> Option<(StatusCode, &str)> {
    let text = std::str::from_utf8(bytes).ok().filter(|text| text.len() < BARE)?;
    let (line, headers) = text.strip_prefix("HTTP/1.1 ")?.split_once("\r\n")?;
    let date = headers.strip_prefix("connection: close\r\ncontent-length: 0\r\ndate: ")?;
    let date = date.strip_suffix("\r\n\r\n").filter(|date| !date.contains('\r'))?;
    let own =
        [StatusCode::BAD_REQUEST, StatusCode::URI_TOO_LONG, StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE];
    let status = own.into_iter().find(|status| line.starts_with(status.as_str()))?;
    Some((status, date))
}

/// The bytes of a response that is whole.
fn spoken(response: Response<tonic::body::Body>, date: &str) -> Bytes {
    let (head, body) = response.into_parts();
    let body = body.collect().now_or_never().and_then(Result::ok);
    let body = body.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    let mut out = format!("HTTP/1.1 {}\r\nconnection: close\r\ndate: {date}\r\n", head.status).into_bytes();
    for (name, value) in &head.headers {
        out.extend_from_slice(name.as_str().as_bytes());
        out.extend_from_slice(b": ");
        out.extend_from_slice(value.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(&body);
    out.into()
}

impl<I: AsyncRead + Unpin> AsyncRead for Watched<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.ended.is_none() {
            let before = buffer.filled().len();
            ready!(Pin::new(&mut self.io).poll_read(cx, buffer))?;
            let came = &mut buffer.filled_mut()[before..];
            if !came.is_empty() {
                self.read.fetch_add(came.len(), Ordering::Relaxed);
                self.heads.follow(came);
                return Poll::Ready(Ok(()));
            }
        }
        let ended = self.ended.get_or_insert_with(|| Box::pin(sleep(GRACE)));
        ended.as_mut().poll(cx).map(Ok)
    }
}

impl<I: AsyncRead + AsyncWrite + Unpin> Watched<I> {
    fn poll_words(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.words.is_empty() {
            let written = ready!(Pin::new(&mut self.io).poll_write(cx, &self.words))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.words.advance(written);
        }
        Poll::Ready(Ok(()))
    }
}

impl<I: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Watched<I> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.is_replaced(bytes) {
            return Poll::Ready(Ok(bytes.len()));
        }
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_words(cx))?;
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.closing.is_none() {
            ready!(self.poll_words(cx))?;
            ready!(Pin::new(&mut self.io).poll_shutdown(cx))?;
            if !self.heads.is_inside() {
                return Poll::Ready(Ok(()));
            }
        }
        let Self { io, closing, .. } = &mut *self;
        let closing = closing.get_or_insert_with(|| Box::pin(sleep(LINGER)));
        let mut space = [0; 4096];
        while closing.as_mut().poll(cx).is_pending() {
            let mut buffer = ReadBuf::new(&mut space);
            let read = ready!(Pin::new(&mut *io).poll_read(cx, &mut buffer));
            if read.is_err() || buffer.filled().is_empty() {
                break;
            }
        }
        Poll::Ready(Ok(()))
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut full = parts.iter().filter(|part| !part.is_empty());
        if let (Some(only), None) = (full.next(), full.next())
            && self.is_replaced(only)
        {
            return Poll::Ready(Ok(only.len()));
        }
        Pin::new(&mut self.io).poll_write_vectored(cx, parts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_answer_of_hyper_itself_has_no_words() {
        let own = "HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 0\r\ndate: Mon\r\n\r\n";
        assert_eq!(bare(own.as_bytes()), Some((StatusCode::BAD_REQUEST, "Mon")));
        for other in [
            own.replace("400", "404"),
            own.replace(": 0", ": 1"),
            own.replace("close\r\n", "close\r\nx: y\r\n"),
            format!("{own}x"),
            own.replace("Mon", "Mon\r\nx: y"),
        ] {
            assert_eq!(bare(other.as_bytes()), None, "{other}");
        }
    }
}
