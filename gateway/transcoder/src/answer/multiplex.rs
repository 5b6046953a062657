//! One socket for many subscriptions: each is a call of one method that streams,
//! and its messages come as frames with the subscription's name.
//!
//! A browser opens six connections to a host; with a stream for each tab the seventh
//! tab would wait for ever. Nothing is buffered here: a client that reads slowly
//! holds its calls back, and the method itself decides what that means.

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use clos_protojson::json::put_string;
use clos_protojson::parse::{self, How};
use clos_protojson::wire::{self, Raw};
use clos_protojson::{Violation, shown};
use futures::StreamExt as _;
use futures::future::{BoxFuture, FutureExt as _, poll_fn};
use http::{Extensions, HeaderMap, HeaderValue, Response, StatusCode};
use serde_json::json;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tonic::body::Body;

use super::Encoder;
use super::frame::Frame;
use super::socket::{Accepted, Came, Heartbeat, Talk, accept, is_upgrade, judged};
use super::stream::begin;
use crate::asked::Asked;
use crate::call::body::text_of;
use crate::call::messages::Messages;
use crate::call::{self, Deadline, Upstream};
use crate::route::Route;
use crate::route::multiplex::Place;
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

/// Answers a request for the socket's path.
pub(crate) async fn open<S: Upstream>(
    upstream: &S,
    asked: &mut Asked,
    place: &Arc<Place>,
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
    let calls = Calls { upstream: upstream.clone(), metadata: apart(&metadata), extensions };
    let (place, most) = (Arc::clone(place), shared.options.limits.socket_message);
    shared.options.sockets.clone().spawn(async move {
        let Some(socket) = super::socket::upgraded(upgrade, most).await else { return };
        let talk = Talk::new(socket, encoder, none, HEARTBEAT);
        Hub { talk, calls, place, subscriptions: Subscriptions::default() }.run().await;
    });
    Ok(response)
}

/// Headers that are no part of the buffer that their request was read into: a socket would keep all of it.
fn apart(headers: &HeaderMap) -> HeaderMap {
    let mut copies = HeaderMap::with_capacity(headers.len());
    for (name, value) in headers {
        if let Ok(mut copy) = HeaderValue::from_bytes(value.as_bytes()) {
            copy.set_sensitive(value.is_sensitive());
            copies.append(name.clone(), copy);
        }
    }
    copies
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
    /// The call was taken; the subscription's position is where it begins.
    Begun,
    Message {
        message: Bytes,
        /// Whether the next one is there as well: events of one commit come together.
        more: bool,
    },
    Failed(Failure),
    Ended,
}

struct Subscription {
    id: String,
    /// Where it stands.
    position: i64,
    stage: Stage,
}

enum Stage {
    /// Until the head of the answer is there, which may tell where the messages begin.
    Calls(BoxFuture<'static, Result<(Option<i64>, Messages), Failure>>),
    Brings(Messages),
}

impl Subscription {
    /// What it brings; nothing is asked of one that failed or ended.
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Brought> {
        Poll::Ready(match &mut self.stage {
            Stage::Calls(call) => match ready!(call.poll_unpin(context)) {
                Ok((told, messages)) => {
                    self.position = told.unwrap_or(self.position);
                    self.stage = Stage::Brings(messages);
                    Brought::Begun
                }
                Err(failure) => Brought::Failed(failure),
            },
            Stage::Brings(messages) => match ready!(messages.poll_next(context)) {
                Some(Ok(message)) => Brought::Message { message, more: messages.has_more() },
                Some(Err(failure)) => Brought::Failed(failure),
                None => Brought::Ended,
            },
        })
    }
}

/// All of a socket.
#[derive(Default)]
struct Subscriptions {
    all: Vec<Subscription>,
    /// Who is asked first, so that nobody is kept waiting by another who always has something.
    turn: usize,
}

impl Subscriptions {
    fn find(&self, id: &str) -> Option<usize> {
        self.all.iter().position(|known| known.id == id)
    }

    /// What any of them brings, and which.
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<(usize, Brought)> {
        let count = self.all.len();
        for at in (0..count).map(|step| (self.turn + step) % count) {
            if let Poll::Ready(brought) = self.all[at].poll(context) {
                self.turn = at + 1;
                return Poll::Ready((at, brought));
            }
        }
        Poll::Pending
    }
}

/// Why a socket ends because of what is said on it.
enum End {
    /// Nobody reads.
    Gone,
    /// The credentials are not good any more.
    Refused(String),
}

struct Hub<S> {
    talk: Talk,
    calls: Calls<S>,
    place: Arc<Place>,
    subscriptions: Subscriptions,
}

// A thousand of these lie about. What is rarely done has its memory only while it is done.
impl<S: Upstream> Hub<S> {
    async fn run(&mut self) {
        let drain = self.talk.encoder.shared.options.drain.clone();
        let mut draining = pin!(drain.cancelled());
        loop {
            tokio::select! {
                biased;
                () = &mut draining => {
                    return Box::pin(self.talk.close(CloseCode::Away, "the server is shutting down")).await;
                }
                came = self.talk.socket.next() => match judged(came) {
                    Some(Came::Text(text)) => if !Box::pin(self.hear(&text)).await { return },
                    Some(Came::Other) => {
                        let failure = Failure::field("frame", "it is no text");
                        if !Box::pin(self.complain(None, &failure)).await { return }
                    }
                    Some(Came::Closed | Came::Gone) => return Box::pin(self.talk.leave()).await,
                    Some(Came::Broken(code, why)) => return Box::pin(self.talk.close(code, why)).await,
                    None => self.talk.heard(),
                },
                (at, brought) = poll_fn(|context| self.subscriptions.poll(context)) => {
                    if let Err(end) = self.pass_on(at, brought).await {
                        return Box::pin(self.end(end)).await;
                    }
                }
                () = self.talk.next_beat.as_mut() => if !Box::pin(self.talk.ping()).await { return },
            }
        }
    }

    /// Sends what a subscription brought, together with what it has besides.
    async fn pass_on(&mut self, at: usize, brought: Brought) -> Result<(), End> {
        let mut next = Some(brought);
        let mut together = 0;
        while let Some(brought) = next.take() {
            if let Brought::Failed(failure) = &brought
                && failure.code == tonic::Code::Unauthenticated
            {
                self.complain(Some(&self.subscriptions.all[at].id.clone()), failure).await;
                return Err(End::Refused(failure.message.clone()));
            }
            let more = matches!(brought, Brought::Message { more: true, .. });
            let frame = self.told(at, brought);
            together += frame.len();
            if !self.talk.feed_text(frame).await {
                return Err(End::Gone);
            }
            if more && together < TOGETHER {
                next = poll_fn(|context| self.subscriptions.all[at].poll(context)).now_or_never();
            }
        }
        if self.talk.flush().await { Ok(()) } else { Err(End::Gone) }
    }

    async fn end(&mut self, end: End) {
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
        let known = self.subscriptions.find(&id);
        if op == "unsubscribe" {
            let Some(at) = known else {
                let failure = Failure::field("id", format!("there is no subscription `{}`", shown(&id)));
                return self.complain(Some(&id), &failure).await;
            };
            let position = self.subscriptions.all.swap_remove(at).position;
            return self.talk.send_text(said("ack", &id, position)).await;
        }
        if known.is_some() {
            let failure = Failure::field("id", format!("there is a subscription `{}` already", shown(&id)));
            return self.complain(Some(&id), &failure).await;
        }
        if self.subscriptions.all.len() >= MOST {
            let message = format!("a socket has at most {MOST} subscriptions");
            let failure = Failure::own(StatusCode::TOO_MANY_REQUESTS, message);
            return self.complain(Some(&id), &failure).await;
        }
        match self.subscribe(frame) {
            Ok((stage, position)) => {
                // Most sockets have one, and room for four is three too many.
                self.subscriptions.all.reserve_exact(1);
                self.subscriptions.all.push(Subscription { id, position, stage });
                true
            }
            Err(failure) => self.complain(Some(&id), &failure).await,
        }
    }

    /// The call that a frame asks for, and the position after which it begins.
    fn subscribe(&self, mut frame: Frame) -> Result<(Stage, i64), Failure> {
        for (name, field) in &self.place.wanted.rename {
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
        let place = Arc::clone(&self.place);
        let call = async move {
            let response = call::call(&upstream, request).await?;
            let (head, messages) = Messages::begin(response, most)?;
            let begins = place.wanted.begins.as_ref();
            let told = begins.and_then(|name| head.get(name)?.to_str().ok()?.parse::<i64>().ok());
            Ok((told, messages))
        };
        Ok((Stage::Calls(Box::pin(call)), position))
    }

    /// Fields by the names that frames have for them.
    fn in_their_words(&self, mut violations: Vec<Violation>) -> Vec<Violation> {
        for violation in &mut violations {
            for (name, field) in &self.place.wanted.rename {
                if let Some(rest) = violation.field.strip_prefix(field.as_str()) {
                    violation.field = format!("{name}{rest}");
                }
            }
        }
        violations
    }

    /// What a subscription brought, as a frame.
    fn told(&mut self, at: usize, brought: Brought) -> Vec<u8> {
        let message = match brought {
            Brought::Message { message, .. } => message,
            Brought::Begun => {
                let Subscription { id, position, .. } = &self.subscriptions.all[at];
                return said("ack", id, *position);
            }
            Brought::Failed(failure) => {
                let Subscription { id, .. } = self.subscriptions.all.swap_remove(at);
                return self.complaint(Some(&id), &failure);
            }
            Brought::Ended => {
                let failure =
                    Failure::own(StatusCode::SERVICE_UNAVAILABLE, "the stream has ended; subscribe again");
                let Subscription { id, .. } = self.subscriptions.all.swap_remove(at);
                return self.complaint(Some(&id), &failure);
            }
        };
        let (encoder, place) = (&self.talk.encoder, &self.place);
        let kind = encoder.text(&message, place.kind);
        let position: i64 = encoder.text(&message, place.position).parse().unwrap_or_default();
        if position > 0 {
            self.subscriptions.all[at].position = position;
        }
        let id = &self.subscriptions.all[at].id;
        if kind == place.wanted.bookmark {
            return said("bookmark", id, position);
        }
        if kind == place.wanted.resync {
            return said("resync", id, position);
        }
        let text = encoder.shared.printed.of(position, &message, |out| encoder.put(&message, out));
        match text {
            // The members of the message's object go on in ours.
            Ok(text) => {
                const BEGIN: &[u8] = b"{\"op\":\"event\",\"id\":";
                // No more room than it takes: two quotes more and a comma for a brace.
                let mut frame = Vec::with_capacity(BEGIN.len() + id.len() + 2 + text.len());
                frame.extend_from_slice(BEGIN);
                put_string(&mut frame, id);
                if text.len() > 2 {
                    frame.push(b',');
                }
                frame.extend_from_slice(&text[1..]);
                frame
            }
            Err(failure) => self.complaint(Some(id), &failure),
        }
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

#[cfg(test)]
mod tests {
    use http::header::AUTHORIZATION;

    use super::*;

    #[test]
    fn a_socket_keeps_its_headers_and_not_what_they_were_read_into() {
        let read = Bytes::from(b"authorization: Bearer abc\r\nx-a: 1\r\nx-a: 2\r\n".to_vec());
        let value = |range| HeaderValue::from_maybe_shared(read.slice(range)).unwrap();
        let mut secret = value(15..25);
        secret.set_sensitive(true);
        let mut headers = HeaderMap::new();
        headers.append(AUTHORIZATION, secret);
        headers.append("x-a", value(32..33));
        headers.append("x-a", value(40..41));
        let kept = apart(&headers);
        assert_eq!(kept, headers);
        assert_eq!((&kept[AUTHORIZATION], kept.get_all("x-a").iter().count()), (&value(15..25), 2));
        assert!(kept[AUTHORIZATION].is_sensitive());
        drop(headers);
        assert!(read.is_unique());
    }

    #[tokio::test]
    async fn who_always_has_something_keeps_nobody_waiting() {
        let ready = || Stage::Calls(Box::pin(async { Err(Failure::late()) }));
        let subscription = |id: &str| Subscription { id: id.into(), position: 0, stage: ready() };
        let mut subscriptions = Subscriptions { all: vec![subscription("a"), subscription("b")], turn: 0 };
        let mut order = String::new();
        for _ in 0..4 {
            let (at, _) = poll_fn(|context| subscriptions.poll(context)).await;
            subscriptions.all[at].stage = ready();
            order.push_str(&subscriptions.all[at].id);
        }
        assert_eq!(order, "abab");
        // One that went leaves its turn to whoever is there.
        subscriptions.all.clear();
        assert!(poll_fn(|context| subscriptions.poll(context)).now_or_never().is_none());
        subscriptions.all.push(subscription("c"));
        assert_eq!(poll_fn(|context| subscriptions.poll(context)).await.0, 0);
    }
}
