//! Methods that stream both ways, over a WebSocket.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::large_futures,
    reason = "a test may fail and reads where it is"
)]

mod support;

use std::time::Duration;

use clos_transcoder::{Options, Transcoder};
use futures::{SinkExt as _, StreamExt as _};
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use serde_json::{Value, json};
use support::{Backend, descriptors};
use tokio::io::DuplexStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::{Error, Message};
use tower::ServiceExt as _;

/// Patience with the transcoder, never a measure.
const PATIENCE: Duration = Duration::from_secs(20);

struct Socket(WebSocketStream<DuplexStream>);

/// What the server ends with: the text frames that came before, and the code of the close frame.
type Rest = (Vec<Value>, u16);

impl Socket {
    async fn open(path: &str, options: Options) -> Result<Self, Error> {
        Self::open_with(path, options, |_| {}).await
    }

    async fn open_with(
        path: &str,
        options: Options,
        edit: impl FnOnce(&mut http::HeaderMap),
    ) -> Result<Self, Error> {
        let (client, server) = tokio::io::duplex(64 << 10);
        let rest = Transcoder::new(&descriptors(), Backend::default(), options).unwrap();
        let rest = rest
            .map_request(|request: http::Request<hyper::body::Incoming>| request.map(tonic::body::Body::new));
        tokio::spawn(async move {
            let connection = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(server), TowerToHyperService::new(rest));
            let _ = connection.with_upgrades().await;
        });
        let mut request = format!("ws://here{path}").into_client_request().unwrap();
        edit(request.headers_mut());
        Ok(Self(tokio_tungstenite::client_async(request, client).await?.0))
    }

    async fn say(&mut self, text: &str) {
        self.0.send(Message::text(text)).await.unwrap();
    }

    async fn next(&mut self) -> Message {
        tokio::time::timeout(PATIENCE, self.0.next()).await.expect("a frame comes").unwrap().unwrap()
    }

    async fn hear(&mut self) -> Value {
        loop {
            match self.next().await {
                Message::Text(text) => return serde_json::from_str(&text).unwrap(),
                Message::Ping(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    async fn rest(&mut self) -> Rest {
        let mut texts = Vec::new();
        loop {
            match self.next().await {
                Message::Text(text) => texts.push(serde_json::from_str(&text).unwrap()),
                Message::Close(close) => return (texts, close.map_or(0, |close| close.code.into())),
                _ => {}
            }
        }
    }

    /// The error of the last frame, with the code of the close frame.
    async fn failure(&mut self) -> (Value, u16) {
        let (mut texts, code) = self.rest().await;
        (texts.pop().map(|mut text| text["error"].take()).unwrap_or_default(), code)
    }
}

#[tokio::test]
async fn a_frame_is_a_whole_message_where_the_binding_has_no_body() {
    let mut socket = Socket::open("/v1/talk/room?i64=7&rs=x", Options::default()).await.unwrap();
    for number in 1..3 {
        socket.say(&json!({"i32": number, "sub": {"s": "y"}}).to_string()).await;
        let heard = socket.hear().await;
        let told = (&heard["i32"], &heard["s"], &heard["i64"], &heard["rs"], &heard["sub"]["s"]);
        assert_eq!(told, (&json!(number), &json!("room"), &json!("7"), &json!(["x"]), &json!("y")));
    }
    // The same once more is no contradiction.
    socket.say(r#"{"s":"room","i64":7}"#).await;
    assert_eq!(socket.hear().await["i64"], "7");
    socket.say(r#"{"b":true}"#).await;
    assert_eq!(socket.rest().await, (vec![], 1000), "the backend ends, and the client has not");
}

#[tokio::test]
async fn a_frame_does_not_override_what_path_and_query_say() {
    for (text, field) in [
        (r#"{"s":"other"}"#, "s"),
        (r#"{"i64":"8"}"#, "i64"),
        (r#"{"rs":["y"]}"#, "rs"),
        (r#"{"nope":1}"#, "nope"),
    ] {
        let mut socket = Socket::open("/v1/talk/room?i64=7&rs=x", Options::default()).await.unwrap();
        socket.say(text).await;
        let (error, code) = socket.failure().await;
        assert_eq!(
            (&error["details"]["field_violations"][0]["field"], code),
            (&json!(field), 4003),
            "{error}"
        );
    }
}

#[tokio::test]
async fn what_cannot_be_read_ends_with_4003_and_what_is_too_large_with_1009() {
    for frame in [
        Message::text(""),
        Message::text("not JSON"),
        Message::text("{}{}"),
        Message::text("[]"),
        Message::text("\"half_close\""),
        Message::binary("{}"),
    ] {
        for path in ["/v1/talk/room", "/v1/chat/room"] {
            let mut socket = Socket::open(path, Options::default()).await.unwrap();
            socket.say("{}").await;
            socket.hear().await;
            socket.0.send(frame.clone()).await.unwrap();
            let (error, code) = socket.failure().await;
            assert_eq!((&error["code"], code), (&json!("INVALID_ARGUMENT"), 4003), "{path} {frame:?}");
        }
    }
    let mut options = Options::default();
    options.limits.socket_message = 100;
    let mut socket = Socket::open("/v1/talk/room", options.clone()).await.unwrap();
    let text = json!({"rs": ["x".repeat(80)]}).to_string();
    // Each message has the limit, not all of them.
    for _ in 0..3 {
        socket.say(&text).await;
        socket.hear().await;
    }
    socket.say(&json!({"rs": ["x".repeat(100)]}).to_string()).await;
    assert_eq!(socket.rest().await, (vec![], 1009));
}

#[tokio::test]
async fn a_backend_that_fails_says_so_in_the_last_frame() {
    for path in ["/v1/talk/room", "/v1/all/room/talk"] {
        let mut socket = Socket::open(path, Options::default()).await.unwrap();
        socket.say(r#"{"i32":1}"#).await;
        assert_eq!(socket.hear().await["i32"], 1);
        socket.say(r#"{"i32":-5}"#).await;
        let (error, code) = socket.failure().await;
        assert_eq!((&error["code"], &error["message"], code), (&json!("NOT_FOUND"), &json!("told to"), 4005));
    }
}

#[tokio::test]
async fn after_half_close_the_rest_is_heard() {
    for path in ["/v1/talk/room", "/v1/chat/room"] {
        let mut socket = Socket::open(path, Options::default()).await.unwrap();
        for number in 1..4 {
            socket.say(&json!({"i32": number}).to_string()).await;
        }
        socket.say("half_close\n").await;
        let (texts, code) = socket.rest().await;
        let numbers: Vec<&Value> = texts.iter().map(|text| &text["i32"]).collect();
        assert_eq!((numbers, code), (vec![&json!(1), &json!(2), &json!(3)], 1000), "{path}");

        // Who sends nothing at all is answered as well.
        let mut socket = Socket::open(path, Options::default()).await.unwrap();
        socket.say("half_close").await;
        assert_eq!(socket.rest().await, (vec![], 1000), "{path}");
    }
}

#[tokio::test]
async fn a_quiet_socket_is_asked_whether_somebody_is_there() {
    let options = Options { keep_alive: Duration::from_millis(20), ..Options::default() };
    let mut socket = Socket::open("/v1/talk/room", options).await.unwrap();
    // Each answer goes out with the next read, so that several rounds show that they are heard.
    for _ in 0..4 {
        assert!(matches!(socket.next().await, Message::Ping(_)));
    }
    socket.say(r#"{"i32":1}"#).await;
    assert_eq!(socket.hear().await["i32"], 1);
}

#[tokio::test]
async fn a_drain_ends_both_directions() {
    let options = Options::default();
    let mut socket = Socket::open("/v1/talk/room", options.clone()).await.unwrap();
    socket.say(r#"{"i32":1}"#).await;
    socket.hear().await;
    options.drain.cancel();
    assert_eq!(socket.rest().await, (vec![], 1001));
    options.sockets.close();
    drop(socket);
    tokio::time::timeout(PATIENCE, options.sockets.wait()).await.expect("the socket is given up");
}

#[tokio::test]
async fn what_is_wrong_with_the_head_is_an_ordinary_error() {
    let status = |opened: Result<Socket, Error>| match opened {
        Err(Error::Http(answer)) => answer.status().as_u16(),
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("it was opened"),
    };
    for (path, wanted) in [
        ("/v1/talk/room?nope=1", 400),
        ("/v1/talk/room?s=x", 400),
        ("/v1/talk/%zz", 400),
        ("/v1/chat/room?i32=1", 400),
        ("/v1/talk/", 404),
    ] {
        assert_eq!(status(Socket::open(path, Options::default()).await), wanted, "{path}");
    }
    let older = Socket::open_with("/v1/talk/room", Options::default(), |headers| {
        headers.insert("sec-websocket-version", "8".parse().unwrap());
    });
    assert_eq!(status(older.await), 426);
}

#[tokio::test]
async fn headers_and_parameters_that_shape_json_hold_for_frames() {
    let options = Options::default();
    let ignoring = Socket::open_with("/v1/talk/room?fields=i32,s", options, |headers| {
        headers.insert("x-rest-unknown-fields", "ignore".parse().unwrap());
    });
    let mut socket = ignoring.await.unwrap();
    socket.say(r#"{"i32":1,"nope":true,"i64":3}"#).await;
    assert_eq!(socket.hear().await, json!({"i32": 1, "s": "room"}));
}
