//! WebSocket: each message of a stream a text frame. Methods that stream both ways go on in [`super::duplex`].

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::{SinkExt as _, StreamExt as _};
use http::header::{
    AUTHORIZATION, CONNECTION, HeaderMap, HeaderName, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY,
    SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use http::request::Parts;
use http::{Extensions, Method, Response, StatusCode};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::time::{Instant, Sleep};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::error::CapacityError;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error as WsError, Message};
use tonic::body::Body;

use super::stream::{Begun, begin};
use super::{Encoder, duplex};
use crate::asked::Asked;
use crate::bind::{self, Bound};
use crate::call::{self, Deadline, Upstream};
use crate::headers;
use crate::route;
use crate::status::Failure;

/// How long a write may wait for a reader that does not read.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long the other side may take to close.
const CLOSING: Duration = Duration::from_secs(5);

/// Whether a request asks for an upgrade to WebSocket.
pub(crate) fn is_upgrade(head: &Parts) -> bool {
    let has = |name: &HeaderName, word: &str| {
        head.headers.get_all(name).iter().any(|value| {
            let value = value.to_str().unwrap_or_default();
            value.split(',').any(|part| part.trim().eq_ignore_ascii_case(word))
        })
    };
    head.method == Method::GET && has(&UPGRADE, "websocket") && has(&CONNECTION, "upgrade")
}

/// The protocol that is chosen, and the credentials that came with the offers.
fn protocols(headers: &HeaderMap, ours: Option<&str>) -> (Option<HeaderValue>, Option<String>) {
    let offers = headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter().filter_map(|value| value.to_str().ok());
    let (mut chosen, mut credentials) = (None, None);
    for offer in offers.flat_map(|value| value.split(',')).map(str::trim) {
        if ours == Some(offer) {
            chosen = HeaderValue::from_str(offer).ok();
        } else if let Some(token) = offer.strip_prefix("bearer.") {
            credentials = Some(format!("Bearer {token}"));
        } else if let Some(ticket) = offer.strip_prefix("ticket.") {
            credentials = Some(format!("Ticket {ticket}"));
        }
    }
    // Credentials are read only beside the protocol that defines them.
    (chosen.clone(), credentials.filter(|_| chosen.is_some()))
}

/// Answers 101, after everything that could be refused was.
pub(crate) async fn open<S: Upstream>(
    upstream: &S,
    asked: &mut Asked,
    index: usize,
    bound: Bound,
    deadline: Deadline,
) -> Result<Response<Body>, Failure> {
    let shared = Arc::clone(&asked.shared);
    let route = &shared.routes.routes[index];
    let Accepted { response, upgrade, metadata, extensions } = accept(asked)?;
    let limits = shared.options.limits;
    let heartbeat = Heartbeat { every: shared.options.keep_alive, patience: shared.options.keep_alive };

    if route.is_client_stream {
        let (frames, messages) = duplex::Frames::new(bound, asked.ignores_unknown());
        let request = call::request(&route.rpc, metadata, extensions, &deadline, call::many(messages));
        let encoder = Encoder::new(&shared, index, frames.filter(), false, asked);
        let upstream = upstream.clone();
        shared.options.sockets.clone().spawn(async move {
            let Some(socket) = upgraded(upgrade, limits.socket_message).await else { return };
            let call = async move { call::call(&upstream, request).await };
            duplex::run(Talk::new(socket, encoder, deadline, heartbeat), frames, call).await;
        });
        return Ok(response);
    }
    // What the body would have to say cannot be said.
    let message = match route.body {
        route::Body::None => bind::without_body(&shared.schema, route, &bound),
        _ if route.optional_body || bind::without_body(&shared.schema, route, &bound).is_ok() => {
            bind::without_body(&shared.schema, route, &bound)
        }
        _ => return Err(Failure::field("body", "a WebSocket has none")),
    };
    let message = message.map_err(|violations| Failure::fields(&violations))?;
    let request = call::request(&route.rpc, metadata, extensions, &deadline, call::one(&message)?);
    let begun = deadline.wait(begin(upstream, request, limits.answer)).await??;
    let encoder = Encoder::new(&shared, index, bound.filter, false, asked);
    shared.options.sockets.clone().spawn(async move {
        let Some(socket) = upgraded(upgrade, limits.socket_message).await else { return };
        Talk::new(socket, encoder, deadline, heartbeat).out(begun).await;
    });
    Ok(response)
}

/// A request for a socket that may have one.
pub(crate) struct Accepted {
    /// 101.
    pub(crate) response: Response<Body>,
    pub(crate) upgrade: OnUpgrade,
    pub(crate) metadata: HeaderMap,
    pub(crate) extensions: Extensions,
}

/// Judges what a request says of the socket that it wants.
pub(crate) fn accept(asked: &mut Asked) -> Result<Accepted, Failure> {
    let shared = Arc::clone(&asked.shared);
    if asked.head.headers.get(SEC_WEBSOCKET_VERSION).is_none_or(|version| version != "13") {
        return Err(Failure::own(
            StatusCode::UPGRADE_REQUIRED,
            "only version 13 of WebSocket is spoken here",
        )
        .with_header(SEC_WEBSOCKET_VERSION, "13")
        .with_header(UPGRADE, "websocket"));
    }
    let mut keys = asked.head.headers.get_all(SEC_WEBSOCKET_KEY).iter();
    let key = keys.next().filter(|_| keys.next().is_none()).map(|key| key.as_bytes().to_vec());
    let key =
        key.filter(|key| data_encoding::BASE64.decode(key).is_ok_and(|key| key.len() == 16)).ok_or_else(
            || Failure::field("sec-websocket-key", "it is missing, twice there, or not 16 bytes in base64"),
        )?;
    let Some(upgrade) = asked.head.extensions.remove::<OnUpgrade>() else {
        return Err(Failure::own(
            StatusCode::UPGRADE_REQUIRED,
            "this connection cannot be upgraded; use HTTP/1.1",
        )
        .with_header(UPGRADE, "websocket"));
    };
    let (protocol, credentials) = protocols(&asked.head.headers, shared.options.subprotocol.as_deref());
    let mut metadata = headers::to_metadata(&asked.head.headers, &shared.options, &asked.named)?;
    if let Some(credentials) = credentials.and_then(|text| HeaderValue::from_str(&text).ok())
        && !metadata.contains_key(AUTHORIZATION)
    {
        metadata.insert(AUTHORIZATION, credentials);
    }
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let own = response.headers_mut();
    own.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    own.insert(UPGRADE, HeaderValue::from_static("websocket"));
    if let Ok(accept) = HeaderValue::from_str(&derive_accept_key(&key)) {
        own.insert(SEC_WEBSOCKET_ACCEPT, accept);
    }
    if let Some(protocol) = protocol {
        own.insert(SEC_WEBSOCKET_PROTOCOL, protocol);
    }
    let extensions = std::mem::take(&mut asked.head.extensions);
    Ok(Accepted { response, upgrade, metadata, extensions })
}

type Socket = WebSocketStream<TokioIo<Upgraded>>;

/// The socket, once the connection is its own.
pub(crate) async fn upgraded(upgrade: OnUpgrade, most: usize) -> Option<Socket> {
    match upgrade.await {
        Ok(upgraded) => Some(accepted(upgraded, most).await),
        Err(error) => {
            tracing::debug!(%error, "a connection was not upgraded");
            None
        }
    }
}

async fn accepted(upgraded: Upgraded, most: usize) -> Socket {
    framed(TokioIo::new(upgraded), most).await
}

async fn framed(io: TokioIo<Upgraded>, most: usize) -> Socket {
    // The defaults take 128 KiB a connection before a byte is read.
    let config = WebSocketConfig::default()
        .read_buffer_size(1 << 10)
        .write_buffer_size(8 << 10)
        .max_write_buffer_size(256 << 10)
        .max_message_size(Some(most))
        .max_frame_size(Some(most));
    WebSocketStream::from_raw_socket(io, Role::Server, Some(config)).await
}

/// A socket with what its frames mean.
pub(crate) struct Talk {
    pub(crate) socket: Socket,
    pub(crate) encoder: Encoder,
    pub(crate) deadline: Deadline,
    heartbeat: Heartbeat,
    /// When the next ping is due, or the patience with the last one is over.
    pub(crate) next_beat: Pin<Box<Sleep>>,
    /// Whether a ping was sent and not answered yet.
    is_waiting: bool,
}

/// How a client that went away without a word is noticed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Heartbeat {
    /// A client is asked this often whether it is there.
    pub(crate) every: Duration,
    /// And has so long to answer.
    pub(crate) patience: Duration,
}

/// What came in.
pub(crate) enum Came {
    Text(Bytes),
    /// A frame that is no text.
    Other,
    /// The client closed; we may still finish.
    Closed,
    /// Nothing can be said any more.
    Gone,
    /// Broken rules: the code to close with.
    Broken(CloseCode, &'static str),
}

impl Talk {
    pub(crate) fn new(socket: Socket, encoder: Encoder, deadline: Deadline, heartbeat: Heartbeat) -> Self {
        let next_beat = Box::pin(tokio::time::sleep(heartbeat.every));
        Self { socket, encoder, deadline, heartbeat, next_beat, is_waiting: false }
    }

    /// Sends the messages of a stream until either side ends.
    async fn out(mut self, mut begun: Begun) {
        let mut next = begun.first.take().map(Ok);
        let drain = self.encoder.shared.options.drain.clone();
        let mut draining = pin!(drain.cancelled());
        loop {
            if let Some(message) = next.take() {
                match message {
                    Ok(message) => {
                        if !self.say(&message).await {
                            return;
                        }
                    }
                    Err(failure) => return self.fail(&failure).await,
                }
            }
            if begun.is_over {
                return self.close(CloseCode::Normal, "").await;
            }
            let deadline = self.deadline;
            tokio::select! {
                biased;
                () = &mut draining => return self.close(CloseCode::Away, "the server is shutting down").await,
                came = self.socket.next() => match judged(came) {
                    Some(Came::Closed | Came::Gone) => return self.leave().await,
                    Some(Came::Broken(code, why)) => return self.close(code, why).await,
                    Some(Came::Text(_) | Came::Other) => {}
                    None => self.heard(),
                },
                message = begun.messages.next() => match message {
                    Some(message) => next = Some(message),
                    None => begun.is_over = true,
                },
                _ = deadline.wait(std::future::pending::<()>()) => next = Some(Err(Failure::late())),
                () = self.next_beat.as_mut() => if !self.ping().await { return },
            }
        }
    }

    /// The client is there: it said something.
    pub(crate) fn heard(&mut self) {
        if std::mem::take(&mut self.is_waiting) {
            self.next_beat.as_mut().reset(Instant::now() + self.heartbeat.every);
        }
    }

    /// As [`ping`](Self::ping) while nothing is read, so that no answer can be expected: only writing tells whether
    /// somebody is there.
    pub(crate) async fn ping_unheard(&mut self) -> bool {
        self.next_beat.as_mut().reset(Instant::now() + self.heartbeat.every);
        self.send(Message::Ping(Bytes::new())).await
    }

    /// Asks whether somebody is there; `false` when the last time nobody answered.
    pub(crate) async fn ping(&mut self) -> bool {
        if self.is_waiting {
            tracing::debug!("a socket does not answer");
            return false;
        }
        self.is_waiting = true;
        self.next_beat.as_mut().reset(Instant::now() + self.heartbeat.patience);
        self.send(Message::Ping(Bytes::new())).await
    }

    pub(crate) async fn say(&mut self, message: &[u8]) -> bool {
        let mut text = Vec::with_capacity(message.len() * 2);
        match self.encoder.put(message, &mut text) {
            Ok(()) => self.send_text(text).await,
            Err(failure) => {
                self.fail(&failure).await;
                false
            }
        }
    }

    pub(crate) async fn send_text(&mut self, text: Vec<u8>) -> bool {
        let text = String::from_utf8(text).unwrap_or_default();
        self.send(Message::Text(text.into())).await
    }

    /// As `send_text`, and others may follow before it goes out by [`flush`](Self::flush).
    pub(crate) async fn feed_text(&mut self, text: Vec<u8>) -> bool {
        let text = String::from_utf8(text).unwrap_or_default();
        let fed = self.socket.feed(Message::Text(text.into()));
        matches!(tokio::time::timeout(PATIENCE, fed).await, Ok(Ok(())))
    }

    pub(crate) async fn flush(&mut self) -> bool {
        matches!(tokio::time::timeout(PATIENCE, self.socket.flush()).await, Ok(Ok(())))
    }

    async fn send(&mut self, message: Message) -> bool {
        matches!(tokio::time::timeout(PATIENCE, self.socket.send(message)).await, Ok(Ok(())))
    }

    /// The error as the last frame, and its code.
    pub(crate) async fn fail(&mut self, failure: &Failure) {
        let error = self.encoder.error(failure);
        if self.send_text(error).await {
            let code = 4_000 + u16::try_from(failure.code as i32).unwrap_or(0);
            self.close(CloseCode::from(code), &failure.message).await;
        }
    }

    pub(crate) async fn close(&mut self, code: CloseCode, reason: &str) {
        /// A close frame has room for so many bytes.
        const ROOM: usize = 120;
        let mut reason = reason.to_owned();
        while reason.len() > ROOM {
            reason.pop();
        }
        let frame = CloseFrame { code, reason: reason.into() };
        if matches!(tokio::time::timeout(CLOSING, self.socket.close(Some(frame))).await, Ok(Ok(()))) {
            self.drain().await;
        }
    }

    /// The client closed, and is told what is still to be said before its close is answered (RFC 6455, 5.5.1).
    /// The answer is ready in the socket that heard it, so another one speaks on.
    pub(crate) async fn half_closed(self) -> Self {
        let most = self.encoder.shared.options.limits.socket_message;
        let socket = framed(self.socket.into_inner(), most).await;
        Self { socket, ..self }
    }

    /// The client closed: its close is answered by reading on.
    pub(crate) async fn leave(&mut self) {
        let _ = tokio::time::timeout(CLOSING, self.socket.flush()).await;
        self.drain().await;
    }

    async fn drain(&mut self) {
        let rest = async { while let Some(Ok(_)) = self.socket.next().await {} };
        let _ = tokio::time::timeout(CLOSING, rest).await;
    }
}

/// What a frame means; nothing for a pong or ping.
pub(crate) fn judged(came: Option<Result<Message, WsError>>) -> Option<Came> {
    Some(match came {
        Some(Ok(Message::Text(text))) => Came::Text(text.into()),
        Some(Ok(Message::Binary(_))) => Came::Other,
        Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => return None,
        Some(Ok(Message::Close(_))) => Came::Closed,
        Some(Err(WsError::Capacity(CapacityError::MessageTooLong { .. }))) => {
            Came::Broken(CloseCode::Size, "the message is too large")
        }
        Some(Err(WsError::Protocol(error))) => {
            tracing::debug!(%error, "a client broke the rules of WebSocket");
            Came::Broken(CloseCode::Protocol, "the rules of WebSocket were broken")
        }
        Some(Err(WsError::Utf8(_))) => Came::Broken(CloseCode::Invalid, "a text is not UTF-8"),
        Some(Err(_)) | None => Came::Gone,
    })
}
