//! The program in front of a server that is not ours, asked byte by byte.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::large_futures,
    reason = "a test may fail and reads where it is"
)]

mod program;
#[path = "../../transcoder/tests/support/mod.rs"]
mod support;

use std::process::Command;
use std::sync::atomic::Ordering;

use futures::{SinkExt as _, StreamExt as _};
use program::{PATIENCE, gateway, json_of, start, status_of, upstream};
use support::Backend;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_not_ours_is_asked_over_http() {
    let gateway = gateway().await;
    let answer = gateway.ask("GET /v1/all/x?fields=s,i64,kind", "", "").await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.ends_with("{\"i64\":\"0\",\"s\":\"x\",\"kind\":\"KIND_UNSPECIFIED\"}"), "{answer}");
    assert!(answer.contains("x-content-type-options: nosniff"), "{answer}");
    assert!(gateway.ask("GET http://HOST/v1/all/x", "", "").await.starts_with("HTTP/1.1 200"));
    let stream = gateway.ask("GET /v1/stream?count=3", "", "").await;
    assert_eq!(stream.matches("\"i64\":").count(), 3, "{stream}");
    assert!(gateway.ask("GET /nothing", "", "").await.starts_with("HTTP/1.1 404"));
    let metrics = gateway.ask("GET /metrics", "", "").await;
    let counted = "clos_http_requests_total{method=\"GET\",route=\"/v1/all/{s}\",status=\"200\"} 2";
    assert!(metrics.contains(counted), "{metrics}");

    let large = format!("{{\"s\":\"{}\"}}", "x".repeat(5_000));
    let json = "content-type: application/json\r\n";
    let packed = gateway.ask("POST /v1/all", &format!("{json}accept-encoding: gzip\r\n"), &large).await;
    assert!(
        packed.contains("content-encoding: gzip") && packed.to_lowercase().contains("vary: accept-encoding"),
        "{packed}"
    );
    let plain = gateway.ask("GET /v1/stream?count=90", "accept-encoding: gzip\r\n", "").await;
    assert!(!plain.contains("content-encoding"), "a stream is not compressed: {plain}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_may_not_come_in_hears_it_before_anything_is_routed() {
    let gateway = gateway().await;
    let evil = "origin: http://evil.example\r\n";
    let json = "content-type: application/json\r\n";
    for (text, status) in [
        ("GET /v1/all HTTP/1.1\r\nhost: evil.example\r\nconnection: close\r\n\r\n", 403),
        ("GET /v1/all HTTP/1.1\r\nhost: x.localhost\r\nconnection: close\r\n\r\n", 403),
        ("GET http://evil.example/v1/all HTTP/1.1\r\nhost: HOST\r\nconnection: close\r\n\r\n", 403),
        ("GET /v1/all HTTP/1.0\r\n\r\n", 403),
        (
            "POST /v1/all HTTP/1.1\r\nhost: HOST\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
            400,
        ),
        (
            "POST /v1/all HTTP/1.1\r\nhost: HOST\r\ntransfer-encoding: chunked\r\nContent-Length: 2\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
            400,
        ),
        // A body with the words of its own first line does not hide the head.
        (
            "POST /v1/all HTTP/1.1\r\nhost: HOST\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n1f\r\nPOST /v1/all HTTP/1.1\r\nx: y\r\n\r\n\r\n0\r\n\r\n",
            400,
        ),
        ("POST /v1/all HTTP/1.1\r\nhost: HOST\r\ntransfer-encoding: chunked, gzip\r\n\r\n0\r\n\r\n", 400),
        ("GET /v1/all HTTP/1.1\r\nhost: HOST\r\nx: a\r\n b\r\n\r\n", 400),
    ] {
        let answer = gateway.raw(text).await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status}"))
                || answer.starts_with(&format!("HTTP/1.0 {status}")),
            "{text}: {answer}"
        );
    }
    let refused = gateway.ask("POST /v1/all", &format!("{evil}{json}"), "{}").await;
    assert!(
        refused.starts_with("HTTP/1.1 403") && refused.contains("\"code\":\"PERMISSION_DENIED\""),
        "{refused}"
    );
    assert!(
        gateway
            .ask("POST /v1/all", &format!("origin: null\r\n{json}"), "{}")
            .await
            .starts_with("HTTP/1.1 403")
    );
    let read = gateway.ask("GET /v1/all", evil, "").await;
    assert!(read.starts_with("HTTP/1.1 200") && !read.contains("access-control"), "{read}");
    let own = format!("origin: http://{}\r\n", gateway.address);
    let read = gateway.ask("GET /v1/all", &own, "").await;
    assert!(
        read.contains("access-control-allow-origin") && read.contains("access-control-expose-headers"),
        "{read}"
    );
    let preflight =
        gateway.ask("OPTIONS /v1/all", &format!("{own}access-control-request-method: POST\r\n"), "").await;
    assert!(preflight.contains("access-control-allow-methods"), "{preflight}");
    let upgrade = "connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    assert!(
        gateway
            .ask("GET /v1/stream?count=1", &format!("{evil}{upgrade}"), "")
            .await
            .starts_with("HTTP/1.1 403")
    );
    let chunked = "POST /v1/all HTTP/1.1\r\nhost: HOST\r\nconnection: close\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n";
    assert!(gateway.raw(chunked).await.starts_with("HTTP/1.1 200"));
    let many: String = (0..110).map(|at| format!("x-{at}: 1\r\n")).collect();
    let answer = gateway.ask("GET /v1/all", &many, "").await;
    assert!(answer.starts_with("HTTP/1.1 431") && answer.contains("INVALID_ARGUMENT"), "{answer}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_compressed_depends_on_who_asks_and_says_so() {
    let gateway = gateway().await;
    let large = format!("/v1/all/{}", "x".repeat(2_000));
    for (accepted, coding) in [
        ("gzip", "gzip"),
        ("br", "br"),
        ("zstd;q=0.5", "zstd"),
        ("*", "zstd"),
        ("deflate", ""),
        ("gzip;q=0", ""),
        ("identity;q=0, *;q=0", ""),
        ("", ""),
    ] {
        for method in ["GET", "HEAD"] {
            let head = format!("accept-encoding: {accepted}\r\n");
            let answer = gateway.ask(&format!("{method} {large}"), &head, "").await.to_lowercase();
            assert_eq!(status_of(&answer), 200, "{accepted}");
            assert_eq!(answer.matches("vary: accept-encoding").count(), 1, "{accepted}: {answer}");
            let told = answer.split("content-encoding: ").nth(1).and_then(|rest| rest.lines().next());
            assert_eq!(told.unwrap_or_default(), coding, "{method} {accepted}: {answer}");
        }
    }
    let plain = gateway.ask(&format!("GET {large}"), "", "").await;
    assert!(plain.contains("vary: accept-encoding") && plain.contains("content-length: "), "{plain}");
    let small = gateway.ask("GET /v1/all/x?fields=s", "accept-encoding: gzip\r\n", "").await;
    assert!(small.ends_with("{\"s\":\"x\"}"), "{small}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_are_read_and_nothing_else() {
    let gateway = gateway().await;
    for path in ["/metrics", "/docs", "/api/v2/openapi.json"] {
        assert_eq!(status_of(&gateway.ask(&format!("GET {path}"), "", "").await), 200);
        let post = gateway.ask(&format!("POST {path}"), "", "").await;
        assert!(status_of(&post) == 405 && post.contains("allow: GET, HEAD, OPTIONS"), "{post}");
        assert_eq!(json_of(&post)["code"], "UNIMPLEMENTED");
        let options = gateway.ask(&format!("OPTIONS {path}"), "", "").await;
        assert!(status_of(&options) == 204 && options.contains("allow: GET, HEAD, OPTIONS"), "{options}");
    }
    let shown = gateway.ask("GET /docs", "", "").await;
    assert!(shown.contains("href=\"/api/v2/openapi.json\""), "{shown}");
    let home = gateway.ask("GET /", "", "").await;
    assert!(status_of(&home) == 307 && home.contains("location: /docs\r\n"), "{home}");
    assert_eq!(status_of(&gateway.ask("POST /", "", "").await), 405);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_that_breaks_off_is_sent_as_far_as_it_came() {
    let gateway = gateway().await;
    for (accept, sent) in [("application/json", "[{\"i64\":\"1\"}"), ("text/plain", "tick\n")] {
        let head = format!("accept: {accept}\r\n");
        let line = "GET /v1/stream?count=1&fail_code=5&fields=i64&word=tick";
        let answer = gateway.ask(line, &head, "").await;
        assert_eq!(status_of(&answer), 200, "{answer}");
        // Neither its own end nor that of its body.
        assert!(answer.ends_with(&format!("{sent}\r\n")), "{answer:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn grpc_web_passes_and_grpc_on_a_rest_path_stays_grpc() {
    let gateway = gateway().await;
    for kind in
        ["application/grpc", "Application/gRPC+proto", "application/grpc-web", "application/grpc-web+json"]
    {
        let head = format!("content-type: {kind}\r\n");
        let answer = gateway.ask("GET /v1/all", &head, "").await;
        assert!(status_of(&answer) == 200 && answer.contains("grpc-status: 12"), "{kind}: {answer}");
        let evil = gateway
            .raw(&format!("POST /v1/all HTTP/1.1\r\nhost: evil\r\nconnection: close\r\n{head}\r\n"))
            .await;
        assert!(status_of(&evil) == 200 && evil.contains("grpc-status: 7"), "{kind}: {evil}");
        let own = if kind.contains("web") { kind } else { "application/grpc" };
        assert!(evil.contains(&format!("content-type: {own}\r\n")), "{kind}: {evil}");
    }
    let text = gateway
        .ask(
            "POST /conformance.v1.Echo/Get",
            "content-type: application/grpc-web-text\r\naccept: application/grpc-web-text\r\n",
            "AAAAAANyAXg=",
        )
        .await;
    assert!(text.contains("AAAAAANyAXg="), "{text}");
    let body = "\0\0\0\0\u{3}\u{72}\u{1}x";
    let answer = gateway
        .ask(
            "POST /conformance.v1.Echo/Get",
            "content-type: application/grpc-web+proto\r\nx-grpc-web: 1\r\n",
            body,
        )
        .await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("grpc-status:0"), "{answer:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_behind_is_unavailable() {
    let gateway = start(&support::descriptors(), "http://127.0.0.1:9", Backend::default(), &[]);
    let answer = gateway.ask("GET /v1/all", "", "").await;
    assert!(
        answer.starts_with("HTTP/1.1 503")
            && answer.contains("retry-after: 1")
            && answer.contains("\"code\":\"UNAVAILABLE\""),
        "{answer}"
    );
    assert!(gateway.folder.path().exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_is_tried_again_when_its_connection_broke() {
    // The first connection closes as soon as it is asked something.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let backend = Backend::default();
    let behind = upstream(backend.clone()).await.trim_start_matches("http://").to_owned();
    tokio::spawn(async move {
        for at in 0.. {
            let (mut stream, _) = listener.accept().await.unwrap();
            if at % 2 == 0 {
                // Its preface and settings, and no word back.
                let _ = stream.read(&mut [0; 64]).await;
                continue;
            }
            let mut behind = TcpStream::connect(&behind).await.unwrap();
            let _ = tokio::io::copy_bidirectional(&mut stream, &mut behind).await;
        }
    });
    let gateway = start(&support::descriptors(), &format!("http://{address}"), backend, &[]);
    let answer = gateway.ask("GET /v1/all/x", "", "").await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_who_leaves_takes_the_call_along() {
    let gateway = gateway().await;
    let until = async |wanted| {
        while gateway.backend.waiting.load(Ordering::SeqCst) != wanted {
            tokio::task::yield_now().await;
        }
    };
    let mut quickest = PATIENCE;
    for _ in 0..10 {
        let mut stream = TcpStream::connect(&gateway.address).await.unwrap();
        let text = format!("GET /v1/slow HTTP/1.1\r\nhost: {}\r\n\r\n", gateway.address);
        stream.write_all(text.as_bytes()).await.unwrap();
        tokio::time::timeout(PATIENCE, until(1)).await.unwrap();
        let left = std::time::Instant::now();
        drop(stream);
        tokio::time::timeout(PATIENCE, until(0)).await.unwrap();
        quickest = quickest.min(left.elapsed());
    }
    assert!(quickest.as_millis() < 50, "{quickest:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_fails_before_it_begins_is_an_ordinary_error_in_every_framing() {
    let gateway = gateway().await;
    let upgrade = "upgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    for head in [
        "",
        "accept: text/event-stream\r\n",
        "accept: application/json\r\n",
        "accept: text/plain\r\n",
        upgrade,
    ] {
        let text = format!("GET /v1/stream?fail_code=5 HTTP/1.1\r\nhost: HOST\r\n{head}\r\n");
        let answer = gateway.first(&text).await;
        assert_eq!(status_of(&answer), 404, "{answer}");
        assert_eq!(json_of(&answer)["code"], "NOT_FOUND", "{answer}");
    }
    assert_eq!(status_of(&gateway.ask("HEAD /v1/stream?fail_code=5", "", "").await), 404);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sockets_carry_streams() {
    let gateway = gateway().await;
    let mut socket = gateway.socket("/v1/stream?count=2").await;
    for number in ["1", "2"] {
        let Some(Ok(Message::Text(text))) = socket.next().await else { panic!() };
        let message: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(message["i64"], number);
    }
    let Some(Ok(Message::Close(Some(close)))) = socket.next().await else { panic!() };
    assert_eq!(close.code, CloseCode::Normal);

    let mut socket = gateway.socket("/v1/stream?count=1&fail_code=5").await;
    socket.next().await.unwrap().unwrap();
    let Some(Ok(Message::Text(text))) = socket.next().await else { panic!() };
    assert!(text.starts_with("{\"error\":{\"code\":\"NOT_FOUND\""), "{text}");
    let Some(Ok(Message::Close(Some(close)))) = socket.next().await else { panic!() };
    assert_eq!(u16::from(close.code), 4005);

    let upgrade = "connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let early = gateway.ask("GET /v1/stream?fail_code=5", upgrade, "").await;
    assert!(early.starts_with("HTTP/1.1 404"), "{early}");
    assert!(gateway.ask("GET /v1/stream?nope=1", upgrade, "").await.starts_with("HTTP/1.1 400"));
    assert!(
        gateway
            .ask("GET /v1/stream?count=1", &upgrade.replace("13", "8"), "")
            .await
            .starts_with("HTTP/1.1 426")
    );
    assert!(gateway.ask("GET /v1/chat/x", "", "").await.starts_with("HTTP/1.1 426"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sockets_talk_both_ways() {
    let gateway = gateway().await;
    let mut socket = gateway.socket("/v1/chat/room").await;
    for number in 1..4 {
        socket.send(Message::text(format!("{{\"i32\":{number}}}"))).await.unwrap();
        let Some(Ok(Message::Text(text))) = socket.next().await else { panic!() };
        let message: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!((&message["i32"], &message["s"]), (&number.into(), &"room".into()));
    }
    socket.send(Message::text("{\"nope\":1}")).await.unwrap();
    let Some(Ok(Message::Text(text))) = socket.next().await else { panic!() };
    assert!(text.contains("\"field\":\"nope\""), "{text}");
    let Some(Ok(Message::Close(Some(close)))) = socket.next().await else { panic!() };
    assert_eq!(u16::from(close.code), 4003);

    // Who closes has asked all there is to ask, and still hears the answers.
    let mut socket = gateway.socket("/v1/chat/room").await;
    for number in [7, 8] {
        socket.feed(Message::text(format!("{{\"i32\":{number}}}"))).await.unwrap();
    }
    socket.feed(Message::Close(None)).await.unwrap();
    socket.flush().await.unwrap();
    for number in [7, 8] {
        let Some(Ok(Message::Text(text))) = socket.next().await else { panic!("{number}") };
        assert!(text.contains(&format!("\"i32\":{number},")), "{text}");
    }
    let Some(Ok(Message::Close(Some(close)))) = socket.next().await else { panic!() };
    assert_eq!(close.code, CloseCode::Normal);

    let mut socket = gateway.socket("/v1/chat/room").await;
    socket.send(Message::text(format!("{{\"s\":\"{}\"}}", "x".repeat(70_000)))).await.unwrap();
    let Some(Ok(Message::Close(Some(close)))) = socket.next().await else { panic!() };
    assert_eq!(close.code, CloseCode::Size);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unmasked_frame_breaks_the_rules() {
    let gateway = gateway().await;
    let mut stream = TcpStream::connect(&gateway.address).await.unwrap();
    let upgrade = format!(
        "GET /v1/chat/x HTTP/1.1\r\nhost: {}\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-protocol: other, clos.v2\r\n\r\n",
        gateway.address
    );
    stream.write_all(upgrade.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        answer.push(stream.read_u8().await.unwrap());
    }
    let head = String::from_utf8(answer).unwrap();
    assert!(head.starts_with("HTTP/1.1 101") && head.contains("sec-websocket-protocol: clos.v2"), "{head}");
    assert!(head.contains("sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{head}");
    stream.write_all(&[0x81, 2, b'{', b'}']).await.unwrap();
    let mut frame = [0; 4];
    stream.read_exact(&mut frame).await.unwrap();
    assert_eq!((frame[0], u16::from_be_bytes([frame[2], frame[3]])), (0x88, 1002));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_that_ends_says_so_to_its_sockets() {
    let mut gateway = gateway().await;
    let mut socket = gateway.socket("/v1/stream?count=1&forever=1").await;
    socket.next().await.unwrap().unwrap();
    let pid = gateway.process.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    let Some(Ok(Message::Close(Some(close)))) = socket.next().await else { panic!() };
    assert_eq!(close.code, CloseCode::Away);
    drop(socket);
    let ended = tokio::task::spawn_blocking(move || gateway.process.wait().unwrap()).await.unwrap();
    assert!(ended.success(), "{ended}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_document_is_where_it_is_wanted_and_reasons_are_of_the_domain_that_is_named() {
    let backend = Backend::default();
    let upstream = upstream(backend.clone()).await;
    let flags = ["--openapi-path", "/v1/openapi.json", "--error-domain", "example.com"];
    let gateway = start(&support::descriptors(), &upstream, backend, &flags);
    assert_eq!(json_of(&gateway.ask("GET /v1/openapi.json", "", "").await)["openapi"], "3.1.0");
    assert_eq!(status_of(&gateway.ask("GET /api/v2/openapi.json", "", "").await), 404);
    let page = gateway.ask("GET /docs", "", "").await;
    assert!(page.contains("href=\"/v1/openapi.json\"") && !page.contains("api/v2"), "{page}");
    let refused = gateway
        .raw("POST /a.B/C HTTP/1.1\r\nhost: evil\r\nconnection: close\r\ncontent-type: application/grpc\r\ncontent-length: 0\r\n\r\n")
        .await;
    let details = refused.split("grpc-status-details-bin: ").nth(1).and_then(|it| it.lines().next()).unwrap();
    let details = data_encoding::BASE64_NOPAD.decode(details.trim_end_matches('=').as_bytes()).unwrap();
    assert!(String::from_utf8_lossy(&details).contains("example.com"), "{refused}");
}

#[test]
fn what_cannot_be_served_is_said_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let run = |args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_clos-gateway"));
        let ran = command.args(args).env("RUST_BACKTRACE", "1").output().unwrap();
        let told = String::from_utf8(ran.stderr).unwrap();
        assert!(told.starts_with("error: ") && told.lines().count() == 1, "{told}");
        (ran.status.code(), told)
    };
    let missing = folder.path().join("nope.pb");
    let (code, told) =
        run(&["--descriptor-set", missing.to_str().unwrap(), "--upstream", "http://127.0.0.1:9"]);
    assert!(code == Some(1) && told.contains("nope.pb cannot be read"), "{told}");
    let set = folder.path().join("set.pb");
    std::fs::write(&set, "no set").unwrap();
    let (_, told) = run(&["--descriptor-set", set.to_str().unwrap(), "--upstream", "http://127.0.0.1:9"]);
    assert!(told.contains("no descriptor set"), "{told}");
    std::fs::write(&set, support::descriptors()).unwrap();
    let (_, told) = run(&["--descriptor-set", set.to_str().unwrap(), "--upstream", "unix:///x.sock"]);
    assert!(told.contains("is no http or https address"), "{told}");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let (_, told) = run(&[
        "--descriptor-set",
        set.to_str().unwrap(),
        "--upstream",
        "http://127.0.0.1:9",
        "--listen",
        &address,
    ]);
    let why =
        format!("error: --listen: {address} cannot be listened on: Address already in use (os error 98)\n");
    assert_eq!(told, why);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_socket_keeps_the_place_of_its_connection() {
    let backend = Backend::default();
    let upstream = upstream(backend.clone()).await;
    let gateway = start(&support::descriptors(), &upstream, backend, &["--max-connections", "1"]);
    let mut socket = gateway.socket("/v1/chat/room").await;
    socket.send(Message::text("{}")).await.unwrap();
    socket.next().await.unwrap().unwrap();
    let mut other = TcpStream::connect(&gateway.address).await.unwrap();
    let closed = tokio::time::timeout(PATIENCE, other.read(&mut [0; 1])).await.expect("it is closed at once");
    assert!(matches!(closed, Ok(0) | Err(_)), "{closed:?}");
    socket.close(None).await.unwrap();
    while socket.next().await.is_some() {}
    drop(socket);
    // The place is free as soon as the server has heard of the end.
    let again = async {
        loop {
            let answer = gateway.ask("GET /v1/all/x", "", "").await;
            if answer.starts_with("HTTP/1.1 200") {
                return;
            }
        }
    };
    tokio::time::timeout(PATIENCE, again).await.expect("the place is given back");
}
