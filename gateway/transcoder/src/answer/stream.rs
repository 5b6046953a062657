//! Streams: each message as it comes, framed as the caller asked, and nothing
//! in between that could fill up.

use std::time::Duration;

use bytes::Bytes;
use clos_protojson::wire::{self, Raw};
use futures::FutureExt as _;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::StreamBody;
use tokio::time::Instant;
use tonic::body::Body;

use super::{Encoder, Kind, is_raw, plain, raw_part, with_metadata};
use crate::asked::Asked;
use crate::call::body::BoxError;
use crate::call::messages::Messages;
use crate::call::{self, Deadline, Upstream};
use crate::metadata;
use crate::rules::Framing;
use crate::status::Failure;

/// How long an error may take that comes instead of a first message.
const EARLY: Duration = Duration::from_millis(5);
/// Messages that are ready are sent together up to so many bytes.
const TOGETHER: usize = 16 << 10;

/// Says that a response is a stream, in its extensions: it should not be compressed or buffered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Streamed;

/// What the beginning of an answer brought.
pub(crate) struct Begun {
    pub(crate) messages: Messages,
    /// The first message, if it came at once.
    pub(crate) first: Option<Bytes>,
    /// The answer is over, without an error.
    pub(crate) is_over: bool,
    pub(crate) metadata: http::HeaderMap,
}

/// Calls, and waits a moment for the error that would make it no stream at all.
pub(crate) async fn begin<S: Upstream>(
    upstream: &S,
    request: Request<Body>,
    most: usize,
) -> Result<Begun, Failure> {
    let response = call::call(upstream, request).await?;
    let (head, mut messages) = Messages::begin(response, most)?;
    let metadata = metadata::to_headers(&head);
    let (first, is_over) = match tokio::time::timeout(EARLY, messages.next()).await {
        Ok(Some(Ok(first))) => (Some(first), false),
        Ok(Some(Err(failure))) => return Err(failure.behind(metadata)),
        Ok(None) => (None, true),
        Err(_) => (None, false),
    };
    Ok(Begun { messages, first, is_over, metadata })
}

/// The response of a stream.
pub(crate) async fn open<S: Upstream>(
    upstream: &S,
    request: Request<Body>,
    asked: &Asked,
    encoder: Encoder,
    kind: Kind,
    deadline: &Deadline,
) -> Result<Response<Body>, Failure> {
    let begun = begin(upstream, request, asked.shared.options.limits.answer).await?;
    let metadata = begun.metadata.clone();
    let framing = if is_raw(&asked.shared.schema, encoder.route()) { Shown::Raw } else { Shown::of(kind) };
    let kind = match (&framing, &begun.first) {
        (Shown::Raw, Some(first)) => {
            let body = raw_part(&asked.shared.schema, encoder.route(), first);
            match wire::last(body, 1) {
                Some(Raw::Bytes(kind)) if !kind.is_empty() => HeaderValue::from_bytes(kind).ok(),
                _ => None,
            }
        }
        .unwrap_or(HeaderValue::from_static("application/octet-stream")),
        (Shown::Raw, None) => HeaderValue::from_static("application/octet-stream"),
        (Shown::Lines(index), _) => plain(&encoder.route().renditions[*index].0),
        (Shown::Ndjson, _) => HeaderValue::from_static(super::NDJSON),
        (Shown::Events, _) => HeaderValue::from_static(super::EVENTS),
        (Shown::Array, _) => HeaderValue::from_static(super::JSON),
    };
    let body = if asked.head.method == Method::HEAD {
        // The call is dropped with its messages.
        Body::empty()
    } else {
        Body::new(StreamBody::new(frames(begun, encoder, framing, *deadline)))
    };
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::OK;
    let own = response.headers_mut();
    own.insert(CONTENT_TYPE, kind);
    own.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    own.insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    response.extensions_mut().insert(Streamed);
    Ok(with_metadata(response, metadata))
}

/// How messages look in the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shown {
    Ndjson,
    Events,
    Array,
    Lines(usize),
    Raw,
}

impl Shown {
    const fn of(kind: Kind) -> Self {
        match kind {
            Kind::Framed(Framing::EventStream) => Self::Events,
            Kind::Framed(Framing::Array) => Self::Array,
            Kind::Lines(index) => Self::Lines(index),
            _ => Self::Ndjson,
        }
    }
}

struct State {
    begun: Begun,
    encoder: Encoder,
    shown: Shown,
    deadline: Deadline,
    count: u64,
    is_over: bool,
    /// The stream breaks off, for this reason, behind what was sent.
    broken: Option<String>,
}

fn frames(
    begun: Begun,
    encoder: Encoder,
    shown: Shown,
    deadline: Deadline,
) -> impl futures::Stream<Item = Result<Frame<Bytes>, BoxError>> + Send {
    let state = State { begun, encoder, shown, deadline, count: 0, is_over: false, broken: None };
    futures::stream::unfold(state, |mut state| async move {
        if let Some(why) = state.broken.take() {
            // What came before is sent first: whoever writes it drops it when the body breaks.
            tokio::task::yield_now().await;
            return Some((Err(why.into()), state));
        }
        if state.is_over {
            return None;
        }
        let chunk = state.chunk().await?;
        Some((Ok(Frame::data(chunk.into())), state))
    })
}

impl State {
    /// The next bytes, or the end.
    async fn chunk(&mut self) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        if let Some(first) = self.begun.first.take()
            && let Err(failure) = self.put(&first, &mut out)
        {
            return Some(self.fail(&failure, out));
        }
        // What is ready goes together; what is not is waited for only when there is nothing to send.
        while out.len() < TOGETHER && !self.begun.is_over {
            let next = if out.is_empty() {
                match self.wait().await {
                    Waited::Message(next) => next,
                    Waited::Quiet => return Some(self.sign_of_life()),
                    Waited::Late => Some(Err(Failure::late())),
                    Waited::Draining => Some(Err(Failure::own(
                        StatusCode::SERVICE_UNAVAILABLE,
                        "the server is shutting down; connect again",
                    ))),
                }
            } else {
                match self.begun.messages.next().now_or_never() {
                    Some(next) => next,
                    None => break,
                }
            };
            match next {
                Some(Ok(message)) => {
                    if let Err(failure) = self.put(&message, &mut out) {
                        return Some(self.fail(&failure, out));
                    }
                }
                Some(Err(failure)) => return Some(self.fail(&failure, out)),
                None => self.begun.is_over = true,
            }
        }
        if self.begun.is_over {
            self.is_over = true;
            if self.shown == Shown::Array {
                out.extend_from_slice(if self.count == 0 { b"[]" } else { b"]" });
            }
        }
        (!out.is_empty()).then_some(out)
    }

    async fn wait(&mut self) -> Waited {
        let options = &self.encoder.shared.options;
        let (quiet, drain) = (options.keep_alive, &options.drain);
        let deadline = self.deadline;
        tokio::select! {
            biased;
            next = self.begun.messages.next() => Waited::Message(next),
            () = drain.cancelled() => Waited::Draining,
            _ = deadline.wait(std::future::pending::<()>()) => Waited::Late,
            () = tokio::time::sleep_until(Instant::now() + quiet) => Waited::Quiet,
        }
    }

    fn sign_of_life(&self) -> Vec<u8> {
        match self.shown {
            Shown::Events => b":\n\n".to_vec(),
            Shown::Array if self.count == 0 => b" ".to_vec(),
            Shown::Raw => Vec::new(),
            _ => b"\n".to_vec(),
        }
    }

    fn put(&mut self, message: &[u8], out: &mut Vec<u8>) -> Result<(), Failure> {
        let start = out.len();
        let result = self.put_framed(message, out);
        if result.is_err() {
            // No half of a message.
            out.truncate(start);
        } else {
            self.count += 1;
        }
        result
    }

    fn put_framed(&self, message: &[u8], out: &mut Vec<u8>) -> Result<(), Failure> {
        let encoder = &self.encoder;
        match self.shown {
            Shown::Ndjson => {
                encoder.put(message, out)?;
                out.push(b'\n');
            }
            Shown::Array => {
                out.push(if self.count == 0 { b'[' } else { b',' });
                encoder.put(message, out)?;
            }
            Shown::Events => {
                let route = encoder.route();
                for (name, index) in [("id", route.event_id), ("event", route.event_name)] {
                    let text = index.map(|index| encoder.text(message, index)).unwrap_or_default();
                    let is_said = !text.is_empty() && text != "0" && !text.contains(['\n', '\r', '\0']);
                    if is_said {
                        out.extend_from_slice(format!("{name}: {text}\n").as_bytes());
                    }
                }
                out.extend_from_slice(b"data: ");
                encoder.put(message, out)?;
                out.extend_from_slice(b"\n\n");
            }
            Shown::Lines(index) => {
                let field = encoder.route().renditions[index].1;
                out.extend_from_slice(encoder.text(message, field).as_bytes());
                out.push(b'\n');
            }
            Shown::Raw => {
                let body = raw_part(&encoder.shared.schema, encoder.route(), message);
                if let Some(Raw::Bytes(data)) = wire::last(body, 2) {
                    out.extend_from_slice(data);
                }
            }
        }
        Ok(())
    }

    /// What a caller hears of an error that comes late.
    fn fail(&mut self, failure: &Failure, mut out: Vec<u8>) -> Vec<u8> {
        self.is_over = true;
        match self.shown {
            Shown::Ndjson => {
                out.extend_from_slice(&self.encoder.error(failure));
                out.push(b'\n');
            }
            Shown::Events => {
                out.extend_from_slice(b"event: error\ndata: ");
                out.extend_from_slice(&self.encoder.error(failure));
                out.extend_from_slice(b"\n\n");
            }
            // Nothing that could be read as complete.
            Shown::Array | Shown::Lines(_) | Shown::Raw => self.broken = Some(failure.message.clone()),
        }
        out
    }
}

enum Waited {
    Message(Option<Result<Bytes, Failure>>),
    Quiet,
    Late,
    Draining,
}
