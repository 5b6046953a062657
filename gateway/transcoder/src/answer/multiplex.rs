//! One socket for many subscriptions: each is a call of one method that streams,
//! and its messages come as frames with the subscription's name.
//!
//! A browser opens six connections to a host; with a stream for each tab the seventh
//! tab would wait for ever. Nothing is buffered here: a client that reads slowly
//! holds its calls back, and the method itself decides what that means.

use std::pin::Pin;

use bytes::Bytes;
use futures::{Stream, StreamExt as _};
use http::request::Parts;
use http::{Extensions, HeaderMap, Method, Response, StatusCode};
use serde_json::{Map, Value, json};
use tokio::time::Instant;
use tokio_stream::StreamMap;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tonic::body::Body;

use super::Encoder;
use super::socket::{Accepted, Came, Talk, accept, is_upgrade, judged};
use super::stream::begin;
use crate::Shared;
use crate::call::messages::Messages;
use crate::call::{self, Deadline, Upstream};
use crate::codec::json::put_string;
use crate::codec::parse::{self, How};
use crate::codec::shown;
use crate::options::Multiplex;
use crate::route::Route;
use crate::serve::Asked;
use crate::status::Failure;

/// Subscriptions of one socket.
const MOST: usize = 64;
/// Bytes of a subscription's name.
const ID: usize = 64;
/// How often a quiet socket is asked whether somebody is there.
const PING: std::time::Duration = std::time::Duration::from_secs(20);

/// What the options name, found in the descriptors.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    /// A route of the method.
    pub(crate) route: usize,
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
        Ok(Self { route, kind: field(&wanted.kind)?, position: field(&wanted.position)? })
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
        return Err(not_upgraded(&asked.head));
    }
    let shared = std::sync::Arc::clone(&asked.shared);
    let Accepted { response, upgrade, metadata, extensions } = accept(asked)?;
    let route = &shared.routes.routes[place.route];
    let none = Deadline::new(None);
    // Who may not watch at all hears it before the upgrade.
    let request = call::request(&route.rpc, metadata.clone(), extensions.clone(), &none, call::one(&[])?)?;
    drop(begin(upstream, request, shared.options.limits.answer).await?);
    let encoder = Encoder::new(&shared, place.route, None, false, asked);
    let (upstream, wanted, place) = (upstream.clone(), wanted.clone(), place.clone());
    let most = shared.options.limits.socket_message;
    shared.options.sockets.clone().spawn(async move {
        let Some(socket) = super::socket::upgraded(upgrade, most).await else { return };
        let talk = Talk::new(socket, encoder, none, PING);
        let calls = Calls { upstream, metadata, extensions };
        Hub { talk, calls, wanted, place, subscriptions: StreamMap::new(), positions: Vec::new() }
            .run()
            .await;
    });
    Ok(response)
}

fn not_upgraded(head: &Parts) -> Failure {
    if matches!(head.method, Method::GET | Method::HEAD) {
        return Failure::own(
            StatusCode::UPGRADE_REQUIRED,
            "this is a WebSocket; ask with `Upgrade: websocket`",
        )
        .with_header(http::header::UPGRADE, "websocket");
    }
    Failure::own(StatusCode::METHOD_NOT_ALLOWED, "GET with `Upgrade: websocket` is served here")
        .with_header(http::header::ALLOW, "GET, HEAD")
}

/// How subscriptions call.
struct Calls<S> {
    upstream: S,
    metadata: HeaderMap,
    extensions: Extensions,
}

/// What a subscription brings.
enum Brought {
    /// The call was taken.
    Begun,
    Message(Bytes),
    Failed(Failure),
    Ended,
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
        loop {
            let ping: Instant = self.talk.ping;
            tokio::select! {
                biased;
                () = drain.cancelled() => {
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
                    None => self.talk.is_answered = true,
                },
                Some((id, brought)) = self.subscriptions.next() => match brought {
                    Brought::Failed(failure) if failure.code == tonic::Code::Unauthenticated => {
                        self.complain(Some(&id), &failure).await;
                        return self.talk.close(CloseCode::Policy, &failure.message).await;
                    }
                    brought => if !self.tell(&id, brought).await { return },
                },
                () = tokio::time::sleep_until(ping) => if !self.talk.ping().await { return },
            }
        }
    }

    /// What a client's frame asks; `false` when nobody reads the answer.
    async fn hear(&mut self, text: &[u8]) -> bool {
        let mut frame: Map<String, Value> = match serde_json::from_slice(text) {
            Ok(frame) => frame,
            Err(error) => {
                let failure = Failure::field("frame", format!("it is no JSON object: {error}"));
                return self.complain(None, &failure).await;
            }
        };
        let op = frame.remove("op");
        let op = op.as_ref().and_then(Value::as_str).unwrap_or_default().to_owned();
        let id = frame.remove("id");
        let id = id.as_ref().and_then(Value::as_str).map(str::to_owned);
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
    fn subscribe(&self, mut frame: Map<String, Value>) -> Result<(Subscription, i64), Failure> {
        for (name, field) in &self.wanted.rename {
            if let Some(value) = frame.remove(name) {
                frame.insert(field.clone(), value);
            }
        }
        let position = frame.get(&self.wanted.after).and_then(Value::as_i64).unwrap_or_default();
        let shared = std::sync::Arc::clone(&self.talk.encoder.shared);
        let route: &Route = &shared.routes.routes[self.place.route];
        let text = Value::Object(frame).to_string();
        let parsed = parse::message(&shared.schema, route.request, &text, How::default());
        let message = parsed.map_err(|violations| Failure::fields(&violations))?.bytes;
        let deadline = Deadline::new(None);
        let (metadata, extensions) = (self.calls.metadata.clone(), self.calls.extensions.clone());
        let request = call::request(&route.rpc, metadata, extensions, &deadline, call::one(&message)?)?;
        let upstream = self.calls.upstream.clone();
        let most = shared.options.limits.answer;
        let begun = async move {
            let response = call::call(&upstream, request).await?;
            Ok::<Messages, Failure>(Messages::begin(response, most)?.1)
        };
        let subscription = futures::stream::once(begun).flat_map(|begun| match begun {
            Ok(messages) => {
                let head = futures::stream::once(async { Brought::Begun });
                let rest = futures::stream::unfold(Some(messages), |messages| async {
                    let mut messages = messages?;
                    Some(match messages.next().await {
                        Some(Ok(message)) => (Brought::Message(message), Some(messages)),
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

    fn forget(&mut self, id: &str) -> i64 {
        let at = self.positions.iter().position(|(known, _)| known == id);
        at.map(|at| self.positions.swap_remove(at).1).unwrap_or_default()
    }

    /// What a subscription brought, as a frame.
    async fn tell(&mut self, id: &str, brought: Brought) -> bool {
        let message = match brought {
            Brought::Begun => {
                let position = self.positions.iter().find(|(known, _)| known == id);
                let position = position.map(|(_, position)| *position).unwrap_or_default();
                return self.say("ack", id, position).await;
            }
            Brought::Failed(failure) => {
                self.subscriptions.remove(id);
                self.forget(id);
                return self.complain(Some(id), &failure).await;
            }
            Brought::Ended => {
                self.subscriptions.remove(id);
                self.forget(id);
                let failure =
                    Failure::own(StatusCode::SERVICE_UNAVAILABLE, "the stream has ended; subscribe again");
                return self.complain(Some(id), &failure).await;
            }
            Brought::Message(message) => message,
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
            return self.say("bookmark", id, position).await;
        }
        if kind == self.wanted.resync {
            return self.say("resync", id, position).await;
        }
        let mut frame = b"{\"op\":\"event\",\"id\":".to_vec();
        put_string(&mut frame, id);
        frame.push(b',');
        let brace = frame.len();
        match self.talk.encoder.put(&message, &mut frame) {
            Ok(()) => {
                // The members of the message's object go on in ours.
                frame.remove(brace);
                self.talk.send_text(frame).await
            }
            Err(failure) => self.complain(Some(id), &failure).await,
        }
    }

    async fn say(&mut self, op: &str, id: &str, position: i64) -> bool {
        let frame = json!({"op": op, "id": id, "seq": position});
        self.talk.send_text(frame.to_string().into_bytes()).await
    }

    async fn complain(&mut self, id: Option<&str>, failure: &Failure) -> bool {
        let mut frame = b"{\"op\":\"error\",".to_vec();
        if let Some(id) = id {
            frame.extend_from_slice(b"\"id\":");
            put_string(&mut frame, id);
            frame.push(b',');
        }
        // `{"error":{…}}` without its first brace.
        frame.extend_from_slice(&self.talk.encoder.error(failure)[1..]);
        self.talk.send_text(frame).await
    }
}
