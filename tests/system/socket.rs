//! `/api/v2/ws`: many subscriptions over one socket, and going on after a break.

use clos_proto::v2 as pb;
use clos_tests::Daemon;
use futures::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::{Error, Message};

use crate::rest::Rest;

pub(crate) struct Socket(WebSocketStream<TcpStream>);

impl Socket {
    pub(crate) async fn open(daemon: &Daemon, token: &str) -> Result<Self, Error> {
        Self::showing(daemon, &format!("bearer.{token}")).await
    }

    async fn showing(daemon: &Daemon, credentials: &str) -> Result<Self, Error> {
        let host = daemon.endpoint()["tcp"].as_str().unwrap().to_owned();
        let mut request = format!("ws://{host}/api/v2/ws").into_client_request().unwrap();
        let offers = format!("clos.v2, {credentials}").parse().unwrap();
        request.headers_mut().insert("sec-websocket-protocol", offers);
        let stream = TcpStream::connect(&host).await.unwrap();
        let (socket, answer) = tokio_tungstenite::client_async(request, stream).await?;
        assert_eq!(answer.headers()["sec-websocket-protocol"], "clos.v2");
        Ok(Self(socket))
    }

    pub(crate) async fn say(&mut self, frame: Value) {
        self.0.send(Message::text(frame.to_string())).await.unwrap();
    }

    async fn hear(&mut self) -> Value {
        loop {
            match self.0.next().await.unwrap().unwrap() {
                Message::Text(text) => return serde_json::from_str(&text).unwrap(),
                Message::Close(close) => return json!({"closed": close.map(|close| u16::from(close.code))}),
                _ => {}
            }
        }
    }

    /// The next frame with this word.
    pub(crate) async fn until(&mut self, op: &str) -> Value {
        loop {
            let frame = self.hear().await;
            if frame["op"] == op {
                return frame;
            }
        }
    }
}

fn token(daemon: &Daemon) -> String {
    std::fs::read_to_string(daemon.home().join("token")).unwrap().trim().to_owned()
}

async fn make(daemon: &Daemon, name: &str) {
    let group = pb::Group { name: name.into(), ..pb::Group::default() };
    let request = pb::CreateGroupRequest { group: Some(group), ..pb::CreateGroupRequest::default() };
    daemon.client().await.create_group(request).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn an_event_comes_once_for_each_subscription_that_matches() {
    let daemon = Daemon::start().await;
    let Err(Error::Http(refused)) = Socket::open(&daemon, "wrong").await else {
        panic!("a wrong token came in")
    };
    assert_eq!(refused.status(), 401);

    let mut socket = Socket::open(&daemon, &token(&daemon)).await.unwrap();
    socket.say(json!({"op": "ping"})).await;
    assert_eq!(socket.hear().await, json!({"op": "pong"}));
    for (id, types) in
        [("all", json!([])), ("groups", json!(["group.*"])), ("services", json!(["service.*"]))]
    {
        socket.say(json!({"op": "subscribe", "id": id, "types": types, "after": 0})).await;
    }
    // Subscriptions begin in any order, and one may bring events before another has begun.
    for _ in 0..3 {
        socket.until("ack").await;
    }
    make(&daemon, "one").await;
    let mut seen: Vec<(String, String)> = Vec::new();
    while seen.iter().filter(|(_, kind)| kind == "group.created").count() < 2 {
        let frame = socket.until("event").await;
        let word = |name: &str| frame[name].as_str().unwrap().to_owned();
        assert!(
            frame["seq"].is_i64() && frame["data"].is_object() && frame["timestamp"].is_string(),
            "{frame}"
        );
        seen.push((word("id"), word("type")));
    }
    assert!(seen.contains(&("all".into(), "group.created".into())), "{seen:?}");
    assert!(seen.contains(&("groups".into(), "group.created".into())), "{seen:?}");
    assert!(!seen.iter().any(|(id, _)| id == "services"), "{seen:?}");

    socket.say(json!({"op": "unsubscribe", "id": "groups"})).await;
    let ack = socket.until("ack").await;
    assert!(ack["id"] == "groups" && ack["seq"].as_i64().unwrap() > 0, "{ack}");
    for (frame, field) in [
        (json!({"op": "unsubscribe", "id": "groups"}), "id"),
        (json!({"op": "subscribe", "id": "all"}), "id"),
        (json!({"op": "subscribe"}), "id"),
        (json!({"op": "shout", "id": "x"}), "op"),
        (json!({"op": "subscribe", "id": "x", "nope": 1}), "nope"),
        (json!({"op": "subscribe", "id": "x", "types": 1}), "types"),
        (json!({"op": "subscribe", "id": "x", "types": [], "event_type": []}), "types"),
        (json!([]), "frame"),
    ] {
        socket.say(frame.clone()).await;
        let error = socket.until("error").await;
        assert_eq!(error["error"]["details"]["field_violations"][0]["field"], field, "{frame}: {error}");
    }
    for at in 0..64 {
        socket.say(json!({"op": "subscribe", "id": format!("more-{at}"), "types": ["service.*"]})).await;
    }
    let error = socket.until("error").await;
    assert!(error["error"]["message"].as_str().unwrap().contains("at most 64"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn nothing_is_lost_and_nothing_comes_twice_over_a_break() {
    let daemon = Daemon::start().await;
    let token = token(&daemon);
    let (mut seen, mut after) = (Vec::new(), 0);
    for round in 0..4 {
        let mut socket = Socket::open(&daemon, &token).await.unwrap();
        socket.say(json!({"op": "subscribe", "id": "1", "types": ["group.created"], "after": after})).await;
        assert_eq!(socket.until("ack").await["id"], "1");
        make(&daemon, &format!("here-{round}")).await;
        let frame = socket.until("event").await;
        after = frame["seq"].as_i64().unwrap();
        seen.push(frame["group_name"].as_str().unwrap().to_owned());
        // Gone without a word, while more happens.
        drop(socket);
        make(&daemon, &format!("away-{round}")).await;
    }
    let mut socket = Socket::open(&daemon, &token).await.unwrap();
    socket.say(json!({"op": "subscribe", "id": "1", "types": ["group.created"], "after": after})).await;
    while seen.len() < 8 {
        seen.push(socket.until("event").await["group_name"].as_str().unwrap().to_owned());
    }
    let expected: Vec<String> = (0..4).flat_map(|at| [format!("here-{at}"), format!("away-{at}")]).collect();
    assert_eq!(seen, expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_and_nothing_comes_twice_when_it_breaks_in_a_burst() {
    const ALL: usize = 60;
    let daemon = Daemon::start().await;
    let token = token(&daemon);
    let client = daemon.client().await;
    let making = tokio::spawn(async move {
        for at in 0..ALL {
            let group = pb::Group { name: format!("group-{at}"), ..pb::Group::default() };
            let request = pb::CreateGroupRequest { group: Some(group), ..pb::CreateGroupRequest::default() };
            client.create_group(request).await.unwrap();
        }
    });
    let (mut seen, mut after) = (Vec::new(), 0);
    while seen.len() < ALL {
        let mut socket = Socket::open(&daemon, &token).await.unwrap();
        socket.say(json!({"op": "subscribe", "id": "1", "types": ["group.created"], "after": after})).await;
        for _ in 0..(seen.len() % 4 + 3).min(ALL - seen.len()) {
            let frame = socket.until("event").await;
            after = frame["seq"].as_i64().unwrap();
            seen.push(frame["group_name"].as_str().unwrap().to_owned());
        }
        // Reset, with frames on their way.
        socket.0.get_ref().set_zero_linger().unwrap();
    }
    making.await.unwrap();
    assert_eq!(seen, (0..ALL).map(|at| format!("group-{at}")).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_daemon_that_ends_says_so() {
    let mut daemon = Daemon::start().await;
    let mut socket = Socket::open(&daemon, &token(&daemon)).await.unwrap();
    socket.say(json!({"op": "subscribe", "id": "1"})).await;
    socket.until("ack").await;
    let ending = tokio::task::spawn_blocking(move || {
        daemon.end("TERM");
        daemon
    });
    let closed = loop {
        let frame = socket.hear().await;
        if frame.get("closed").is_some() {
            break frame;
        }
    };
    assert_eq!(closed["closed"], 1001);
    drop(socket);
    ending.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_ticket_opens_one_socket_which_knows_where_it_begins() {
    let daemon = Daemon::start().await;
    make(&daemon, "before").await;
    let ticket = || {
        let made = Rest::of(&daemon).ask("POST /api/v2/ws-tickets", &Value::Null).json();
        assert!(made["expires_at"].is_string(), "{made}");
        format!("ticket.{}", made["ticket"].as_str().unwrap())
    };
    let shown = ticket();
    let mut socket = Socket::showing(&daemon, &shown).await.unwrap();
    for id in ["1", "2"] {
        socket.say(json!({"op": "subscribe", "id": id, "types": ["group.created"]})).await;
    }
    let position = socket.until("ack").await["seq"].as_i64().unwrap();
    assert!(position > 0, "where the journal stood, although nothing was told yet");
    socket.until("ack").await;
    make(&daemon, "here").await;
    for _ in 0..2 {
        assert_eq!(socket.until("event").await["group_name"], "here");
    }
    let Err(Error::Http(refused)) = Socket::showing(&daemon, &shown).await else {
        panic!("a ticket was good twice")
    };
    assert_eq!(refused.status(), 401);
    drop(socket);

    let mut socket = Socket::showing(&daemon, &ticket()).await.unwrap();
    socket.say(json!({"op": "subscribe", "id": "1", "types": ["group.created"], "after": position})).await;
    assert_eq!(socket.until("event").await["group_name"], "here");
}
