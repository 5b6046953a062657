//! What the one who mounts a transcoder decides.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use clos_protojson::Spelling;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Where time and names come from.
#[derive(Clone)]
pub struct Source {
    /// Wall time, for errors.
    pub now: Arc<dyn Fn() -> SystemTime + Send + Sync>,
    /// A name for a request that came without one.
    pub request_id: Arc<dyn Fn() -> String + Send + Sync>,
    /// A random 128-bit number, for a trace that begins here.
    pub trace_id: Arc<dyn Fn() -> u128 + Send + Sync>,
}

impl Default for Source {
    #[expect(clippy::disallowed_methods, reason = "the default of a library; who mounts it may bring others")]
    fn default() -> Self {
        Self {
            now: Arc::new(SystemTime::now),
            request_id: Arc::new(request_id),
            trace_id: Arc::new(rand::random),
        }
    }
}

/// A UUIDv7 whose randomness comes from this thread's generator: the kernel is not asked for each request.
#[expect(clippy::disallowed_methods, reason = "the default of a library; who mounts it may bring others")]
fn request_id() -> String {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let milliseconds = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
    uuid::Builder::from_unix_timestamp_millis(milliseconds, &rand::random()).into_uuid().to_string()
}

impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Source")
    }
}

/// How much is let in.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Bytes of the target of a request.
    pub target: usize,
    /// Bytes of all header lines.
    pub header_bytes: usize,
    /// Header lines.
    pub headers: usize,
    /// Query parameters.
    pub parameters: usize,
    /// Bytes of a body, decompressed, or of one message of a streamed one.
    pub body: usize,
    /// How many times larger than what was sent a compressed body may become.
    pub ratio: usize,
    /// Bytes of a WebSocket message that comes in.
    pub socket_message: usize,
    /// Bytes of a message of the backend.
    pub answer: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            target: 8 << 10,
            header_bytes: 32 << 10,
            headers: 100,
            parameters: 256,
            body: 1 << 20,
            ratio: 100,
            socket_message: 64 << 10,
            answer: 64 << 20,
        }
    }
}

/// One WebSocket for many subscriptions to one method that streams.
#[derive(Debug, Clone)]
pub struct Multiplex {
    /// Where: `/v1/ws`.
    pub path: String,
    /// The method by its full name: `pkg.Service.Method`. It needs a route of its own.
    pub method: String,
    /// Members of a `subscribe` frame that are fields of another name; the others keep theirs.
    pub rename: Vec<(String, String)>,
    /// Field of the request with the position to go on after.
    pub after: String,
    /// Metadata of an answer's head with the position after which a stream begins that did not ask for one.
    pub begins: Option<String>,
    /// Field of a message that tells what it is.
    pub kind: String,
    /// Field of a message that tells its position.
    pub position: String,
    /// The kind that only tells a position.
    pub bookmark: String,
    /// The kind that tells of a gap.
    pub resync: String,
}

/// Everything that is decided from outside.
#[derive(Debug, Clone)]
pub struct Options {
    /// How JSON is printed.
    pub spelling: Spelling,
    /// The realm of `WWW-Authenticate`.
    pub realm: String,
    /// Prefix of the headers that speak to the transcoder itself, in lower case: with `x-rest-`
    /// it is `X-Rest-Unknown-Fields: ignore`. Such headers are never forwarded.
    pub header_prefix: String,
    /// The WebSocket subprotocol that is chosen when a client offers it.
    pub subprotocol: Option<String>,
    /// The socket for many subscriptions.
    pub multiplex: Option<Multiplex>,
    /// Serves methods without an annotation as `POST <prefix>/<package.Service>/<Method>`.
    pub auto_map: Option<String>,
    /// How much is let in.
    pub limits: Limits,
    /// Longest deadline that a caller may set, and the one of unary calls without; none is no timer.
    pub max_timeout: Option<Duration>,
    /// How often a unary call that only reads is tried again when the backend could not be reached.
    pub retries: u32,
    /// How often a quiet stream shows that it lives.
    pub keep_alive: Duration,
    /// Time and names.
    pub source: Source,
    /// Cancelled when the server drains: streams and sockets end then.
    pub drain: CancellationToken,
    /// Counts the sockets that are open, so that a server can wait for them.
    pub sockets: TaskTracker,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            spelling: Spelling::default(),
            realm: "api".to_owned(),
            header_prefix: "x-rest-".to_owned(),
            subprotocol: None,
            multiplex: None,
            auto_map: None,
            limits: Limits::default(),
            max_timeout: None,
            retries: 0,
            keep_alive: Duration::from_secs(15),
            source: Source::default(),
            drain: CancellationToken::new(),
            sockets: TaskTracker::new(),
        }
    }
}
