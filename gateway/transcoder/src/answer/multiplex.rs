//! One socket for many subscriptions: each is a call of one method that streams,
//! and its messages come as frames with the subscription's name.
//!
//! A browser opens six connections to a host; with a stream for each tab the seventh
//! tab would wait for ever. Nothing is buffered here: a client that reads slowly
//! holds its calls back, and the method itself decides what that means.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::{FutureExt as _, Stream, StreamExt as _};
use http::{Extensions, HeaderMap, Response, StatusCode};
use serde_json::json;
use tokio_stream::StreamMap;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tonic::body::Body;

use super::Encoder;
use super::frame::Frame;
use super::socket::{Accepted, Came, Heartbeat, Talk, accept, is_upgrade, judged};
use super::stream::begin;
use crate::Shared;
use crate::call::messages::Messages;
use crate::call::{self, Deadline, Upstream};
use crate::codec::json::put_string;
use crate::codec::parse::{self, How};
use crate::codec::wire::{self, Raw};
use crate::codec::{Violation, shown};
use crate::options::Multiplex;
use crate::route::Route;
use crate::serve::{Asked, text_of};
use crate::status::Failure;

/// Subscriptions of one socket.
const MOST: usize = 64;
/// Bytes of a subscription's name.
const ID: usize = 64;
/// How often a socket is asked whether somebody is there, and how long the answer may take.
const HEARTBEAT: Heartbeat = Heartbeat { every: Duration::from_secs(20), patience: Duration::from_secs(10) };
/// How long the backend may take to say that somebody may watch.
const ANSWER: Duration = Duration::from_secs(10);
/// Frames that are ready are sent together up to so many bytes.
const TOGETHER: usize = 8 << 10;

/// What the options name, found in the descriptors.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    /// A route of the method.
    pub(crate) route: usize,
    /// Number of the request's field.
    after: u32,
    kind: usize,
    position: usize,
}

impl Place {
    /// Finds the method and its fields.
    pub(crate) fn of(shared: &Shared, wanted: &Multiplex) -> Result<Self, String> {
        let routes = &shared.routes.routes;
        let route = routes.iter().position(|route| route.method.full_name() == wanted.method);
        let route = route.ok_or_else(|| format!("{}: the socket needs a route of it", wanted.method))?;
        if !routes[route].is_server_stream || routes[route].is_client_stream {
            return Err(format!("{}: the socket needs a method that streams its answers", wanted.method));
        }
        let response = shared.schema.message(routes[route].response);
        let field = |name: &str| {
            response
                .by_name(name)
                .ok_or_else(|| format!("{}: `{}` has no field `{name}`", wanted.method, response.name))
        };
        let request = shared.schema.message(routes[route].request);
        let after = request.field(&wanted.after).ok_or_else(|| {
            format!("{}: `{}` has no field `{}`", wanted.method, request.name, wanted.after)
        })?;
        let (kind, position) = (field(&wanted.kind)?, field(&wanted.position)?);
        Ok(Self { route, after: after.number, kind, position })
    }
}

/// Answers a request for the socket's path.
pub(crate) async fn open<S: Upstream>(
    upstream: &S,
    asked: &mut Asked,
    wanted: &Multiplex,
    place: &Place,
) -> Result<Response<Body>, Failure> {
    if !is_upgrade(&asked.head) {
        return Err(not_upgraded());
    }
    let shared = Arc::clone(&asked.shared);
    let Accepted { response, upgrade, metadata, extensions } = accept(asked)?;
    let route = &shared.routes.routes[place.route];
    let none = Deadline::new(None);
    // Who may not watch at all hears it before the upgrade.
    let request = call::request(&route.rpc, metadata.clone(), extensions.clone(), &none, call::one(&[])?);
    drop(Deadline::new(Some(ANSWER)).wait(begin(upstream, request, shared.options.limits.answer)).await??);
    let encoder = Encoder::new(&shared, place.route, None, false, asked);
    let (upstream, wanted, place) = (upstream.clone(), wanted.clone(), place.clone());
    let most = shared.options.limits.socket_message;
    shared.options.sockets.clone().spawn(async move {
        let Some(socket) = super::socket::upgraded(upgrade, most).await else { return };
        let talk = Talk::new(socket, encoder, none, HEARTBEAT);
        let calls = Calls { upstream, metadata, extensions };
        Hub { talk, calls, wanted, place, subscriptions: StreamMap::new(), positions: Vec::new() }
            .run()
            .await;
    });
    Ok(response)
}

fn not_upgraded() -> Failure {
    let why = "this is a WebSocket; ask with `Upgrade: websocket`";
    Failure::own(StatusCode::UPGRADE_REQUIRED, why).with_header(http::header::UPGRADE, "websocket")
}

/// How subscriptions call.
struct Calls<S> {
    upstream: S,
    metadata: HeaderMap,
    extensions: Extensions,
}

/// What a subscription brings.
enum Brought {
    /// The call was taken; the position that its head tells.
    Begun(Option<i64>),
    Message {
        message: Bytes,
        /// Whether the next one is there as well: events of one commit come together.
        more: bool,
    },
    Failed(Failure),
    Ended,
}

/// Why a socket ends because of what is said on it.
enum End {
    /// Nobody reads.
    Gone,
    /// The credentials are not good any more.
    Refused(String),
}

type Subscription = Pin<Box<dyn Stream<Item = Brought> + Send>>;

struct Hub<S> {
    talk: Talk,
    calls: Calls<S>,
    wanted: Multiplex,
    place: Place,
    subscriptions: StreamMap<String, Subscription>,
    /// Where each subscription stands.
    positions: Vec<(String, i64)>,
}

impl<S: Upstream> Hub<S> {
    async fn run(mut self) {
        let drain = self.talk.encoder.shared.options.drain.clone();
        let mut draining = pin!(drain.cancelled());
        loop {
            tokio::select! {
                biased;
                () = &mut draining => {
                    return self.talk.close(CloseCode::Away, "the server is shutting down").await;
                }
                came = self.talk.socket.next() => match judged(came) {
                    Some(Came::Text(text)) => if !self.hear(&text).await { return },
                    Some(Came::Other) => {
                        let failure = Failure::field("frame", "it is no text");
                        if !self.complain(None, &failure).await { return }
                    }
                    Some(Came::Closed | Came::Gone) => return self.talk.leave().await,
                    Some(Came::Broken(code, why)) => return self.talk.close(code, why).await,
                    None => self.talk.heard(),
                },
                Some((id, brought)) = self.subscriptions.next() => {
                    if let Err(end) = self.pass_on(id, brought).await {
                        return self.end(end).await;
                    }
                }
                () = self.talk.next_beat.as_mut() => if !self.talk.ping().await { return },
            }
        }
    }

    /// Sends what a subscription brought, together with what came at the same time.
    async fn pass_on(&mut self, id: String, brought: Brought) -> Result<(), End> {
        let mut next = Some((id, brought));
        let mut together = 0;
        while let Some((id, brought)) = next.take() {
            if let Brought::Failed(failure) = &brought
                && failure.code == tonic::Code::Unauthenticated
            {
                self.complain(Some(&id), failure).await;
                return Err(End::Refused(failure.message.clone()));
            }
            let more = matches!(brought, Brought::Message { more: true, .. });
            together += self.tell(&id, brought).await.ok_or(End::Gone)?;
            // Asking what is ready costs as much as sending it, so only who is known to have more is asked.
            if more && together < TOGETHER {
                next = self.subscriptions.next().now_or_never().flatten();
            }
        }
        if self.talk.flush().await { Ok(()) } else { Err(End::Gone) }
    }

    async fn end(self, end: End) {
        match end {
            End::Refused(why) => self.talk.close(CloseCode::Policy, &why).await,
            End::Gone => {}
        }
    }

    /// What a client's frame asks; `false` when nobody reads the answer.
    async fn hear(&mut self, text: &[u8]) -> bool {
        let read = text_of(text).and_then(|text| Frame::read(text).map_err(|it| Failure::fields(&[it])));
        let mut frame = match read {
            Ok(frame) => frame,
            Err(failure) => return self.complain(None, &failure).await,
        };
        let op = frame.take_string("op").unwrap_or_default();
        let id = frame.take_string("id");
        if op == "ping" {
            return self.talk.send_text(b"{\"op\":\"pong\"}".to_vec()).await;
        }
        if op != "subscribe" && op != "unsubscribe" {
            let message = format!("`{}` is none of subscribe, unsubscribe, ping", shown(&op));
            return self.complain(id.as_deref(), &Failure::field("op", message)).await;
        }
        let Some(id) = id.filter(|id| (1..=ID).contains(&id.len())) else {
            let failure = Failure::field("id", format!("a subscription has a name of 1 to {ID} characters"));
            return self.complain(None, &failure).await;
        };
        let known = self.subscriptions.contains_key(&id);
        if op == "unsubscribe" {
            if !known {
                let failure = Failure::field("id", format!("there is no subscription `{}`", shown(&id)));
                return self.complain(Some(&id), &failure).await;
            }
            self.subscriptions.remove(&id);
            let position = self.forget(&id);
            return self.say("ack", &id, position).await;
        }
        if known {
            let failure = Failure::field("id", format!("there is a subscription `{}` already", shown(&id)));
            return self.complain(Some(&id), &failure).await;
        }
        if self.subscriptions.len() >= MOST {
            let message = format!("a socket has at most {MOST} subscriptions");
            let failure = Failure::own(StatusCode::TOO_MANY_REQUESTS, message);
            return self.complain(Some(&id), &failure).await;
        }
        match self.subscribe(frame) {
            Ok((subscription, position)) => {
                self.positions.push((id.clone(), position));
                self.subscriptions.insert(id, subscription);
                true
            }
            Err(failure) => self.complain(Some(&id), &failure).await,
        }
    }

    /// The call that a frame asks for, and the position after which it begins.
    fn subscribe(&self, mut frame: Frame) -> Result<(Subscription, i64), Failure> {
        for (name, field) in &self.wanted.rename {
            frame.rename(name, field).map_err(|violation| Failure::fields(&[violation]))?;
        }
        let shared = Arc::clone(&self.talk.encoder.shared);
        let route: &Route = &shared.routes.routes[self.place.route];
        let parsed = parse::message(&shared.schema, route.request, &frame.text(), How::default());
        let message = parsed.map_err(|violations| Failure::fields(&self.in_their_words(violations)))?.bytes;
        let position = match wire::last(&message, self.place.after) {
            Some(Raw::Varint(position)) => position.cast_signed(),
            _ => 0,
        };
        let deadline = Deadline::new(None);
        let (metadata, extensions) = (self.calls.metadata.clone(), self.calls.extensions.clone());
        let request = call::request(&route.rpc, metadata, extensions, &deadline, call::one(&message)?);
        let upstream = self.calls.upstream.clone();
        let most = shared.options.limits.answer;
        let begins = self.wanted.begins.clone();
        let begun = async move {
            let response = call::call(&upstream, request).await?;
            let (head, messages) = Messages::begin(response, most)?;
            let told = begins.and_then(|name| head.get(name)?.to_str().ok()?.parse::<i64>().ok());
            Ok::<(Option<i64>, Messages), Failure>((told, messages))
        };
        let subscription = futures::stream::once(begun).flat_map(|begun| match begun {
            Ok((told, messages)) => {
                let head = futures::stream::once(async move { Brought::Begun(told) });
                let rest = futures::stream::unfold(Some(messages), |messages| async {
                    let mut messages = messages?;
                    Some(match messages.next().await {
                        Some(Ok(message)) => {
                            let more = messages.has_more();
                            (Brought::Message { message, more }, Some(messages))
                        }
                        Some(Err(failure)) => (Brought::Failed(failure), None),
                        None => (Brought::Ended, None),
                    })
                });
                head.chain(rest).left_stream()
            }
            Err(failure) => futures::stream::once(async { Brought::Failed(failure) }).right_stream(),
        });
        Ok((Box::pin(subscription), position))
    }

    /// Fields by the names that frames have for them.
    fn in_their_words(&self, mut violations: Vec<Violation>) -> Vec<Violation> {
        for violation in &mut violations {
            for (name, field) in &self.wanted.rename {
                if let Some(rest) = violation.field.strip_prefix(field.as_str()) {
                    violation.field = format!("{name}{rest}");
                }
            }
        }
        violations
    }

    fn forget(&mut self, id: &str) -> i64 {
        let at = self.positions.iter().position(|(known, _)| known == id);
        at.map(|at| self.positions.swap_remove(at).1).unwrap_or_default()
    }

    /// What a subscription brought, as a frame that is not flushed yet: its bytes, or nothing when
    /// nobody reads.
    async fn tell(&mut self, id: &str, brought: Brought) -> Option<usize> {
        let message = match brought {
            Brought::Begun(told) => {
                let known = self.positions.iter_mut().find(|(known, _)| known == id);
                let position = known.map_or(0, |(_, position)| {
                    *position = told.unwrap_or(*position);
                    *position
                });
                return self.feed(said("ack", id, position)).await;
            }
            Brought::Failed(failure) => {
                self.subscriptions.remove(id);
                self.forget(id);
                return self.feed(self.complaint(Some(id), &failure)).await;
            }
            Brought::Ended => {
                self.subscriptions.remove(id);
                self.forget(id);
                let failure =
                    Failure::own(StatusCode::SERVICE_UNAVAILABLE, "the stream has ended; subscribe again");
                return self.feed(self.complaint(Some(id), &failure)).await;
            }
            Brought::Message { message, .. } => message,
        };
        let encoder = &self.talk.encoder;
        let kind = encoder.text(&message, self.place.kind);
        let position: i64 = encoder.text(&message, self.place.position).parse().unwrap_or_default();
        if position > 0
            && let Some(known) = self.positions.iter_mut().find(|(known, _)| known == id)
        {
            known.1 = position;
        }
        if kind == self.wanted.bookmark {
            return self.feed(said("bookmark", id, position)).await;
        }
        if kind == self.wanted.resync {
            return self.feed(said("resync", id, position)).await;
        }
        let text = encoder.shared.printed.of(position, &message, |out| encoder.put(&message, out));
        match text {
            // The members of the message's object go on in ours.
            Ok(text) => {
                let mut frame = Vec::with_capacity(text.len() + id.len() + 32);
                frame.extend_from_slice(b"{\"op\":\"event\",\"id\":");
                put_string(&mut frame, id);
                if text.len() > 2 {
                    frame.push(b',');
                }
                frame.extend_from_slice(&text[1..]);
                self.feed(frame).await
            }
            Err(failure) => self.feed(self.complaint(Some(id), &failure)).await,
        }
    }

    async fn feed(&mut self, frame: Vec<u8>) -> Option<usize> {
        let length = frame.len();
        self.talk.feed_text(frame).await.then_some(length)
    }

    async fn say(&mut self, op: &str, id: &str, position: i64) -> bool {
        self.talk.send_text(said(op, id, position)).await
    }

    async fn complain(&mut self, id: Option<&str>, failure: &Failure) -> bool {
        self.talk.send_text(self.complaint(id, failure)).await
    }

    fn complaint(&self, id: Option<&str>, failure: &Failure) -> Vec<u8> {
        let mut frame = b"{\"op\":\"error\",".to_vec();
        if let Some(id) = id {
            frame.extend_from_slice(b"\"id\":");
            put_string(&mut frame, id);
            frame.push(b',');
        }
        // `{"error":{…}}` without its first brace.
        frame.extend_from_slice(&self.talk.encoder.error(failure)[1..]);
        frame
    }
}

fn said(op: &str, id: &str, position: i64) -> Vec<u8> {
    json!({"op": op, "id": id, "seq": position}).to_string().into_bytes()
}
