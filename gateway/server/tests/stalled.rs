//! Streams that nobody reads: they stop their server, and hold nobody else up.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::large_futures,
    reason = "a test may fail and reads where it is"
)]

mod program;
#[path = "../../transcoder/tests/support/mod.rs"]
mod support;

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::StreamExt as _;
use http::{HeaderValue, Request, Response};
use http_body::Frame;
use http_body_util::StreamBody;
use program::{Gateway, PATIENCE, start, status_of, upstream};
use support::Backend;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tonic::body::Body;
use tower::Service;

/// Streams that stand still; more than one connection carries.
const STALLED: usize = 75;
/// Bytes of a message.
const MESSAGE: usize = 16 << 10;
/// So much of each stream waits somewhere on its way, however long nobody reads.
const WAITING: usize = 2 << 20;
/// Requests that come meanwhile.
const ASKED: usize = 500;
const UPGRADE: &str = "connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

/// The suites' backend, whose streams have no end and stop only when nobody takes more.
#[derive(Clone, Default)]
struct Endless {
    backend: Backend,
    /// Bytes that each stream was asked for.
    sent: Arc<Mutex<Vec<Arc<AtomicUsize>>>>,
    open: Arc<AtomicUsize>,
}

struct Open(Arc<AtomicUsize>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Endless {
    fn stream(&self) -> Response<Body> {
        let sent = Arc::new(AtomicUsize::new(0));
        self.sent.lock().unwrap().push(Arc::clone(&sent));
        self.open.fetch_add(1, Ordering::SeqCst);
        let open = Open(Arc::clone(&self.open));
        // Field 14 of the suites' message is a text.
        let mut message = vec![0x72, 0x80, 0x80, 0x01];
        message.resize(4 + MESSAGE, b'x');
        let message = support::framed(&message);
        let messages = futures::stream::repeat(message).map(move |message: Bytes| {
            let _ = &open;
            sent.fetch_add(message.len(), Ordering::SeqCst);
            Ok::<_, Infallible>(Frame::data(message))
        });
        let mut response = Response::new(Body::new(StreamBody::new(messages)));
        response.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
        response
    }

    fn sent(&self) -> Vec<usize> {
        self.sent.lock().unwrap().iter().map(|sent| sent.load(Ordering::SeqCst)).collect()
    }
}

impl Service<Request<Body>> for Endless {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        if request.uri().path().ends_with("/Stream") {
            return Box::pin(std::future::ready(Ok(self.stream())));
        }
        self.backend.call(request)
    }
}

/// A stream of which only the first bytes are read.
async fn stalled(gateway: &Gateway, head: &str) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4 << 10).unwrap();
    let mut stream = socket.connect(gateway.address.parse().unwrap()).await.unwrap();
    let request = format!("GET /v1/stream HTTP/1.1\r\nhost: {}\r\n{head}\r\n", gateway.address);
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut first = [0; 12];
    tokio::time::timeout(PATIENCE, stream.read_exact(&mut first)).await.expect("it begins").unwrap();
    assert!(first.ends_with(b" 200") || first.ends_with(b" 101"), "{first:?}");
    stream
}

async fn until(what: &str, is_so: impl Fn() -> bool) {
    let waiting = async {
        while !is_so() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("{what}"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_that_nobody_reads_stop_their_server_and_hold_nobody_up() {
    let endless = Endless::default();
    let upstream = upstream(endless.clone()).await;
    let gateway = start(&support::descriptors(), &upstream, endless.backend.clone(), &[]);
    let mut streams = Vec::new();
    for at in 0..STALLED {
        let head = ["", "accept: text/event-stream\r\n", UPGRADE][at % 3];
        streams.push(stalled(&gateway, head).await);
    }
    until("each stream is under way", || {
        let sent = endless.sent();
        sent.len() == STALLED && sent.iter().all(|sent| *sent >= 8 * MESSAGE)
    })
    .await;

    let answers = futures::stream::iter(0..ASKED).map(|at| {
        let (gateway, line) = (&gateway, format!("GET /v1/all/x{at}?fields=s"));
        async move { gateway.ask(&line, "", "").await }
    });
    let statuses: Vec<u16> = answers.buffer_unordered(8).map(|answer| status_of(&answer)).collect().await;
    assert_eq!(statuses, [200; ASKED]);
    for sent in endless.sent() {
        assert!(sent <= WAITING, "{sent} bytes were sent to somebody who does not read");
    }

    // Who reads again gets more, and who leaves is left.
    let mut more = vec![0; 2 * WAITING];
    let reading = streams[0].read_exact(&mut more);
    tokio::time::timeout(PATIENCE, reading).await.expect("it goes on").unwrap();
    drop(streams);
    until("each stream ends with its reader", || endless.open.load(Ordering::SeqCst) == 0).await;
}
