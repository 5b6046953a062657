//! `clos-gateway` as it is installed, in front of a server that knows nothing of it.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test may fail, and waits in its own threads for what it started"
)]

mod echo;
mod google;

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use clos_tests::{Curl, PATIENCE, Ran, program};
use echo::v1::RepeatRequest;
use echo::v1::echo_client::EchoClient;
use futures::{SinkExt as _, StreamExt as _};
use serde_json::json;
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tonic::transport::Identity;

/// As http.proto and ProtoJSON have it, but for the names.
const PLAIN: [&str; 6] = ["--json-names", "proto", "--int64", "string", "--enums", "full"];

struct Gateway {
    process: Child,
    url: String,
    _folder: TempDir,
}

/// The program on these descriptors.
fn command(set: &[u8], args: &[&str]) -> (Command, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("api.pb");
    std::fs::write(&path, set).unwrap();
    let mut command = Command::new(program("clos-gateway"));
    command.arg("--descriptor-set").arg(path).args(["--listen", "127.0.0.1:0"]).args(args);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    (command, folder)
}

impl Gateway {
    fn start(args: &[&str]) -> Self {
        Self::start_with(echo::DESCRIPTORS, args)
    }

    fn start_with(set: &[u8], args: &[&str]) -> Self {
        let (mut command, folder) = command(set, args);
        let process = command.spawn().unwrap();
        // Ended with us from here on, whatever it says.
        let mut gateway = Self { process, url: String::new(), _folder: folder };
        let mut lines = BufReader::new(gateway.process.stderr.take().unwrap()).lines().map_while(Result::ok);
        let ready =
            lines.find(|line| line.contains("clos-gateway is ready")).expect("it says that it is ready");
        let mut words = ready.split(['"', ' ', '=']);
        words.find(|word| word.starts_with("http://")).unwrap().clone_into(&mut gateway.url);
        std::thread::spawn(move || lines.for_each(drop));
        gateway
    }

    fn curl(&self) -> Curl {
        Curl { base: self.url.clone(), token: None }
    }

    async fn socket(&self, path: &str) -> Socket {
        let address = self.url.trim_start_matches("http://");
        let request = format!("ws://{address}{path}").into_client_request().unwrap();
        let stream = TcpStream::connect(address).await.unwrap();
        tokio_tungstenite::client_async(request, stream).await.unwrap().0
    }

    fn terminate(&self) {
        let pid = self.process.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    }
}

type Socket = WebSocketStream<TcpStream>;

async fn next(socket: &mut Socket) -> Message {
    tokio::time::timeout(PATIENCE, socket.next()).await.expect("a frame comes").unwrap().unwrap()
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_foreign_server_gets_rest_and_streams() {
    let server = echo::Server::start().await;
    let gateway = Gateway::start(&[&["--upstream", &server.url][..], &PLAIN].concat());
    let curl = gateway.curl();
    let said = json!({
        "text": "hello", "how_often": "9007199254740993", "mood": "MOOD_GLAD", "said_at": "2026-01-02T03:04:05Z", "volume": 0,
    });
    let answer = curl.ask("POST", "/v1/messages", &said);
    assert_eq!((answer.status, answer.json()), (200, said.clone()));
    // Both spellings and a number are read.
    let other = json!({"text": "hello", "howOften": 9_007_199_254_740_993_i64, "mood": 1, "saidAt": "2026-01-02T04:04:05+01:00", "volume": 0});
    assert_eq!(curl.ask("POST", "/v1/messages", &other).json(), said);
    let read = curl.get("/v1/messages/a%20b?how_often=2&mood=MOOD_GLAD");
    assert_eq!(read.body, r#"{"text":"a b","how_often":"2","mood":"MOOD_GLAD"}"#);
    let lines = curl.get("/v1/messages/x/repeat?times=3").body;
    assert_eq!(lines.lines().count(), 3, "{lines}");
    let list =
        curl.with("GET", "/v1/messages/x/repeat?times=2", &["-H", "accept: application/json"], "").json();
    assert_eq!(list[1]["how_often"], "2", "{list}");

    for (method, path, body, status, code) in [
        ("POST", "/v1/messages", json!({}), 400, "INVALID_ARGUMENT"),
        ("POST", "/v1/messages", json!({"txt": "x"}), 400, "INVALID_ARGUMENT"),
        ("GET", "/v1/messages/x?text=y", json!(null), 400, "INVALID_ARGUMENT"),
        ("GET", "/v1/messages/x?loud=y", json!(null), 400, "INVALID_ARGUMENT"),
        ("GET", "/v1/nothing", json!(null), 404, "NOT_FOUND"),
        ("DELETE", "/v1/messages", json!(null), 405, "UNIMPLEMENTED"),
        // Without an annotation of its own a method has no route.
        ("POST", "/echo.v1.Echo/Say", json!({"text": "x"}), 404, "NOT_FOUND"),
    ] {
        let answer = curl.ask(method, path, &body);
        assert_eq!((answer.status, answer.json()["code"].as_str()), (status, Some(code)), "{method} {path}");
    }
    let document = curl.get("/api/v2/openapi.json").json();
    assert!(document["paths"]["/v1/messages/{text}"]["get"].is_object(), "{document}");

    // gRPC goes through on the same port.
    let mut client = EchoClient::connect(gateway.url.clone()).await.unwrap();
    let message = echo::v1::Message { text: "native".into(), ..Default::default() };
    assert_eq!(client.say(message.clone()).await.unwrap().into_inner(), message);
    let request = RepeatRequest { text: "native".into(), times: 2 };
    let mut stream = client.repeat(request).await.unwrap().into_inner();
    assert_eq!(stream.message().await.unwrap().unwrap().how_often, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_both_ways_is_a_socket() {
    let server = echo::Server::start().await;
    let gateway = Gateway::start(&[&["--upstream", &server.url][..], &PLAIN].concat());
    let path = "/v1/rooms/MOOD_GLAD:converse?volume=3";
    let refused = gateway.curl().get(path);
    assert_eq!((refused.status, refused.header("upgrade")), (426, Some("websocket")), "{}", refused.head);

    let mut socket = gateway.socket(path).await;
    for text in ["one", "two"] {
        socket.send(Message::text(json!({"text": text}).to_string())).await.unwrap();
        let Message::Text(heard) = next(&mut socket).await else { panic!() };
        let heard: serde_json::Value = serde_json::from_str(&heard).unwrap();
        assert_eq!(heard, json!({"text": text, "how_often": "0", "mood": "MOOD_GLAD", "volume": 3}));
    }
    socket.send(Message::text("half_close")).await.unwrap();
    let Message::Close(Some(close)) = next(&mut socket).await else { panic!() };
    assert_eq!(u16::from(close.code), 1000);

    for (text, code, reason) in [("{}", 4010, "ABORTED"), (r#"{"loud":1}"#, 4003, "INVALID_ARGUMENT")] {
        let mut socket = gateway.socket(path).await;
        socket.send(Message::text(text)).await.unwrap();
        let Message::Text(heard) = next(&mut socket).await else { panic!() };
        let heard: serde_json::Value = serde_json::from_str(&heard).unwrap();
        assert_eq!(heard["error"]["code"], reason);
        let Message::Close(Some(close)) = next(&mut socket).await else { panic!() };
        assert_eq!(u16::from(close.code), code, "{heard}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_service_is_asked_where_it_runs() {
    let (first, second) = (echo::Server::start().await, echo::Server::start().await);
    let words = format!("echo.v1.Words={}", second.url);
    let gateway = Gateway::start(&["--upstream", &first.url, "--upstream", &words]);
    let curl = gateway.curl();
    assert_eq!(curl.get("/v1/messages/abc").status, 200);
    assert_eq!(curl.get("/v1/words/abc:reverse").json()["text"], "cba");
    second.end().await;
    let gone = curl.get("/v1/words/abc:reverse");
    assert_eq!((gone.status, gone.json()["code"].as_str()), (503, Some("UNAVAILABLE")), "{}", gone.body);
    assert!(gone.header("retry-after").is_some(), "{}", gone.head);
    assert_eq!(curl.get("/v1/messages/abc").status, 200, "the other one is as it was");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_behind_https_is_asked_when_its_certificate_is_trusted() {
    let signed = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let certificate = signed.cert.pem();
    let identity = Identity::from_pem(&certificate, signed.signing_key.serialize_pem());
    let server = echo::Server::start_secure(identity).await;
    let folder = tempfile::tempdir().unwrap();
    let authority = folder.path().join("authority.pem");
    std::fs::write(&authority, certificate).unwrap();
    let authority = authority.to_str().unwrap();

    let gateway = Gateway::start(&["--upstream", &server.url, "--upstream-ca", authority]);
    assert_eq!(gateway.curl().get("/v1/messages/abc").json()["text"], "abc");
    let stranger = Gateway::start(&["--upstream", &server.url]);
    assert_eq!(stranger.curl().get("/v1/messages/abc").status, 503);

    let (mut wrong, _folder) =
        command(echo::DESCRIPTORS, &["--upstream", &server.url, "--upstream-ca", "/nothing/here.pem"]);
    let ran = Ran::from(wrong.output().unwrap());
    assert!(
        ran.code == 1 && ran.err.contains("--upstream-ca: /nothing/here.pem cannot be read"),
        "{}",
        ran.err
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_end_waits_for_what_has_begun() {
    let server = echo::Server::start().await;
    let mut gateway = Gateway::start(&["--upstream", &server.url]);
    let curl = gateway.curl();
    let begun = tokio::task::spawn_blocking(move || curl.get("/v1/hold"));
    tokio::time::timeout(PATIENCE, server.held.acquire()).await.unwrap().unwrap().forget();
    gateway.terminate();
    // It takes nobody in any more, and has not ended.
    let address = gateway.url.trim_start_matches("http://").to_owned();
    while TcpStream::connect(&address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    assert!(gateway.process.try_wait().unwrap().is_none());
    server.release.add_permits(1);
    let answer = begun.await.unwrap();
    assert_eq!((answer.status, &answer.json()["text"]), (200, &json!("held")));
    let ended = tokio::task::spawn_blocking(move || gateway.process.wait().unwrap()).await.unwrap();
    assert_eq!(ended.code(), Some(0));
}

#[test]
fn descriptors_that_cannot_be_served_say_what_is_wrong_with_them() {
    let run = |set: &[u8]| {
        let (mut command, _folder) = command(set, &["--upstream", "http://127.0.0.1:9"]);
        Ran::from(command.output().unwrap())
    };
    // The same length, so that the set stays one: a variable that no field has.
    let broken = String::from_utf8_lossy(b"/v1/messages/{text}/repeat");
    let at = echo::DESCRIPTORS.windows(broken.len()).position(|part| part == broken.as_bytes()).unwrap();
    let mut unknown_field = echo::DESCRIPTORS.to_vec();
    unknown_field[at..at + broken.len()].copy_from_slice(b"/v1/messages/{tixt}/repeat");
    for (set, told) in [
        (&b"not a descriptor set"[..], "no descriptor set"),
        (&echo::DESCRIPTORS[..echo::DESCRIPTORS.len() / 2], "no descriptor set"),
        (&unknown_field, "echo.v1.Echo.Repeat"),
    ] {
        let ran = run(set);
        assert_eq!(ran.code, 1, "{}", ran.err);
        assert!(
            ran.err.contains("api.pb") && ran.err.contains(told) && !ran.err.contains("panicked"),
            "{}",
            ran.err
        );
    }
}
