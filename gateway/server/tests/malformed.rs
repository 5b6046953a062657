//! Requests that are no good HTTP, byte by byte: each has the stated status and the one shape of
//! errors, and the next request is served.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::large_futures,
    reason = "a test may fail and reads where it is"
)]

mod program;
#[path = "../../transcoder/tests/support/mod.rs"]
mod support;

use program::{Gateway, gateway, json_of, status_of};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

const JSON: &str = "content-type: application/json\r\n";

/// Asks, and judges the shape of the refusal.
async fn refused(gateway: &Gateway, text: &[u8], status: u16, field: Option<&str>) {
    let shown = String::from_utf8_lossy(&text[..text.len().min(200)]).into_owned();
    let answer = gateway.bytes(text).await;
    assert_eq!(status_of(&answer), status, "{shown}: {answer}");
    let error = json_of(&answer);
    let keys: Vec<&String> = error.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["code", "message", "details", "request_id", "trace_id", "timestamp"], "{shown}");
    assert!(answer.contains(&format!("x-request-id: {}", error["request_id"].as_str().unwrap())), "{shown}");
    assert!(answer.contains("connection: close") && answer.contains("x-content-type-options: nosniff"));
    let told = &error["details"]["field_violations"][0]["field"];
    assert_eq!(told.as_str(), field, "{shown}: {answer}");
    let next = gateway.ask("GET /v1/all/x?fields=s", "", "").await;
    assert!(next.ends_with("{\"s\":\"x\"}"), "after {shown}: {next}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_head_that_is_none_is_refused_in_the_shape_of_every_error() {
    let gateway = gateway().await;
    let host = format!("host: {}\r\n", gateway.address);
    for line in [
        "x: a\0b",
        "x: a\u{1}b",
        "x: a\u{7f}b",
        "x: a\r\n b",
        "x : a",
        "x",
        ": a",
        "x y: a",
        "x: a\rb",
        "content-length: 2, 2",
        "content-length: +2",
        "content-length: -2",
        "content-length: 0x2",
        "content-length:",
        "content-length: 2\r\ncontent-length: 3",
    ] {
        let text = format!("GET /v1/all HTTP/1.1\r\n{host}{line}\r\n\r\n");
        refused(&gateway, text.as_bytes(), 400, Some("request")).await;
    }
    for line in [
        "hello",
        "\u{16}\u{3}\u{1}\u{2}",
        "GET /v1/all",
        "GET  /v1/all HTTP/1.1",
        "GET /v1/a b HTTP/1.1",
        "GET /v1/all HTTP/1.2",
        "GET /v1/all HTTP/2.0",
        "GET /v1/all http/1.1",
        "G=T /v1/all HTTP/1.1",
        "GET v1/all HTTP/1.1",
        "GET /\u{1} HTTP/1.1",
        "GET /\0 HTTP/1.1",
        "GET http:///v1/all HTTP/1.1",
    ] {
        refused(&gateway, format!("{line}\r\n{host}\r\n").as_bytes(), 400, Some("request")).await;
    }
    let head = [b"GET /v1/all/\xff HTTP/1.1\r\n", host.as_bytes(), b"\r\n"].concat();
    refused(&gateway, &head, 400, Some("request")).await;
    let old = format!("POST /v1/all HTTP/1.0\r\n{host}transfer-encoding: chunked\r\n\r\n0\r\n\r\n");
    refused(&gateway, old.as_bytes(), 400, Some("request")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_too_long_has_a_status_of_its_own() {
    let gateway = gateway().await;
    let host = format!("host: {}\r\nconnection: close\r\n", gateway.address);
    for bytes in [9_000, 70_000, 300_000] {
        let text = format!("GET /v1/all?s={} HTTP/1.1\r\n{host}\r\n", "x".repeat(bytes));
        refused(&gateway, text.as_bytes(), 414, None).await;
    }
    let many = |count: usize| (0..count).map(|at| format!("x-{at}: y\r\n")).collect::<String>();
    for lines in [
        format!("x: {}\r\n", "y".repeat(33_000)),
        format!("x: {}\r\n", "y".repeat(300_000)),
        format!("{}: y\r\n", "x".repeat(70_000)),
        many(110),
        many(300),
        many(5_000),
    ] {
        let text = format!("GET /v1/all HTTP/1.1\r\n{host}{lines}\r\n");
        refused(&gateway, text.as_bytes(), 431, None).await;
    }
    let body = "x".repeat(3_000_000);
    for length in ["2000000", "18446744073709551615", "99999999999999999999"] {
        // Whether it is sent or not.
        for body in ["", &body] {
            let text = format!("POST /v1/all HTTP/1.1\r\n{host}{JSON}content-length: {length}\r\n\r\n{body}");
            refused(&gateway, text.as_bytes(), 413, None).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_a_request_ends_is_said_once() {
    let gateway = gateway().await;
    let host = format!("host: {}\r\n{JSON}", gateway.address);
    let chunks = "2\r\n{}\r\n0\r\n\r\n";
    let both = format!("content-length: 2\r\ntransfer-encoding: chunked\r\n\r\n{chunks}");
    let turned = format!("Transfer-Encoding: Chunked\r\nContent-Length: 2\r\n\r\n{chunks}");
    for rest in [&both, &turned, "content-length: 2\r\ntransfer-encoding: chunked\r\n\r\n"] {
        for target in ["/v1/all", "/v1/all#x", &format!("HTTP://{}", gateway.address)] {
            let text = format!("POST {target} HTTP/1.1\r\n{host}{rest}");
            refused(&gateway, text.as_bytes(), 400, Some("content-length")).await;
        }
    }
    for coding in
        ["gzip", "chunked, gzip", "gzip, chunked", "xchunked", "chunked\r\ntransfer-encoding: chunked"]
    {
        let text = format!("POST /v1/all HTTP/1.1\r\n{host}transfer-encoding: {coding}\r\n\r\n{chunks}");
        refused(&gateway, text.as_bytes(), 400, Some("transfer-encoding")).await;
    }
    let long = format!("2;{}\r\n{{}}\r\n0\r\n\r\n", "a".repeat(20_000));
    for body in
        ["zz\r\n{}\r\n", "-2\r\n{}\r\n", "fffffffffffffffff\r\n{}\r\n", "1\r\n{}\r\n", "2\n{}\n0\n\n", &long]
    {
        let text = format!(
            "POST /v1/all HTTP/1.1\r\n{host}connection: close\r\ntransfer-encoding: chunked\r\n\r\n{body}"
        );
        refused(&gateway, text.as_bytes(), 400, Some("body")).await;
    }
    let good = format!("POST /v1/all?fields=s HTTP/1.1\r\n{host}transfer-encoding: chunked\r\n\r\n");
    // A body that looks like a head hides none that follows; what was served before is served.
    for first in [format!("{good}5;a=b\r\n{{\"s\":\r\n4\r\n\"y\"}}\r\n0\r\nx: y\r\n\r\n")] {
        let decoy = format!("POST /v1/all HTTP/1.1\r\n{host}\r\n\r\n");
        let hidden =
            format!("POST /v1/all?s=x HTTP/1.1\r\n{host}content-length: {}\r\n\r\n{decoy}", decoy.len());
        let answers = gateway.raw(&format!("{first}{hidden}POST /v1/all HTTP/1.1\r\n{host}{both}")).await;
        let statuses: Vec<&str> = answers.split("HTTP/1.1 ").skip(1).map(|answer| &answer[..3]).collect();
        assert_eq!(statuses, ["200", "400", "400"], "{answers}");
        assert!(
            answers.contains("{\"s\":\"y\"}") && answers.contains("beside a Transfer-Encoding"),
            "{answers}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_names_its_host_once() {
    let gateway = gateway().await;
    let own = gateway.address.clone();
    let port = own.rsplit(':').next().unwrap();
    let ask = async |target: &str, hosts: &[&str]| {
        let hosts: String = hosts.iter().map(|host| format!("host: {host}\r\n")).collect();
        let answer = gateway.raw(&format!("GET {target} HTTP/1.1\r\n{hosts}connection: close\r\n\r\n")).await;
        status_of(&answer)
    };
    for host in ["localhost", "LocalHost", "localhost.", "127.0.0.1", "[::1]"] {
        assert_eq!(ask("/v1/all", &[&format!("{host}:{port}")]).await, 200, "{host}");
    }
    for host in [
        "",
        "localhost",
        "localhost:80",
        "evil",
        "127.1:PORT",
        "[::1:PORT",
        "a@localhost:PORT",
        "localhost:PORT/x",
        "localhost:PORTx",
        "0.0.0.0:PORT",
        "localhost:PORT, evil",
        "localhost.evil.example:PORT",
    ] {
        assert_eq!(ask("/v1/all", &[&host.replace("PORT", port)]).await, 403, "{host}");
    }
    assert_eq!(ask("/v1/all", &[]).await, 403);
    assert_eq!(ask("/v1/all", &[&own, "evil"]).await, 403);
    assert_eq!(ask("/v1/all", &[&own, &own]).await, 400);
    // The authority of an absolute target is the host.
    assert_eq!(ask(&format!("http://{own}/v1/all"), &[]).await, 200);
    assert_eq!(ask(&format!("http://{own}/v1/all"), &["evil"]).await, 200);
    assert_eq!(ask("http://evil/v1/all", &[&own]).await, 403);
    assert_eq!(ask(&format!("http://a@{own}/v1/all"), &[&own]).await, 403);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_has_said_all_and_closes_one_side_is_answered() {
    let gateway = gateway().await;
    for (line, status) in [("GET /v1/all/x", 200), ("GET /nothing", 404), ("GET /v1/stream?count=2", 200)] {
        let text = format!("{line} HTTP/1.1\r\nhost: {}\r\n\r\n", gateway.address);
        let mut answer = String::new();
        // An answer has a moment to come, which a busy machine may need for other things.
        for _ in 0..20 {
            let mut stream = TcpStream::connect(&gateway.address).await.unwrap();
            stream.write_all(text.as_bytes()).await.unwrap();
            stream.shutdown().await.unwrap();
            stream.read_to_string(&mut answer).await.unwrap();
            if !answer.is_empty() {
                break;
            }
        }
        assert_eq!(status_of(&answer), status, "{line}");
    }
}
