//! Connections on which nothing is asked take no place from anybody.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::large_futures,
    reason = "a test may fail and reads where it is"
)]

mod program;
#[path = "../../transcoder/tests/support/mod.rs"]
mod support;

use futures::{SinkExt as _, StreamExt as _};
use program::{PATIENCE, start, status_of, upstream};
use support::Backend;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tonic::transport::Endpoint;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

/// Places at a time.
const PLACES: usize = 24;
/// Streams and sockets in use: they are not closed for anybody.
const IN_USE: usize = 8;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_connections_go_for_those_who_ask_and_nothing_in_use_does() {
    let backend = Backend::default();
    let upstream = upstream(backend.clone()).await;
    let places = PLACES.to_string();
    let gateway = start(&support::descriptors(), &upstream, backend, &["--max-connections", &places]);
    let (mut sockets, mut streams) = (Vec::new(), Vec::new());
    for _ in 0..IN_USE {
        sockets.push(gateway.socket("/v1/chat/room").await);
        let mut stream = TcpStream::connect(&gateway.address).await.unwrap();
        let host = &gateway.address;
        let request = format!("GET /v1/stream?count=1&forever=1 HTTP/1.1\r\nhost: {host}\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        stream.read_exact(&mut [0; 12]).await.unwrap();
        streams.push(stream);
    }
    let heads = [
        "",
        "G",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "GET /v1/all/x HTTP/1.1\r\nhost: localhost\r\nx-slow: ",
        "GET /v1/chat/x HTTP/1.1\r\nhost: localhost\r\nconnection: upgrade\r\nupgrade: websocket\r\n",
    ];
    let mut idle = Vec::new();
    for at in 0..4 * PLACES {
        let mut stream = TcpStream::connect(&gateway.address).await.unwrap();
        let _ = stream.write_all(heads[at % heads.len()].as_bytes()).await;
        idle.push(stream);
    }

    let asking = async {
        for at in 0..10 {
            let answer = gateway.ask(&format!("GET /v1/all/x{at}"), "", "").await;
            assert_eq!(status_of(&answer), 200, "{answer}");
        }
        let endpoint = Endpoint::from_shared(format!("http://{}", gateway.address)).unwrap();
        let mut health = HealthClient::new(endpoint.connect().await.unwrap());
        health.check(HealthCheckRequest::default()).await.unwrap();
    };
    tokio::time::timeout(PATIENCE, asking).await.expect("everybody is answered");
    let metrics = gateway.ask("GET /metrics", "", "").await;
    assert!(metrics.contains("clos_connections_refused_total{reason=\"idle\"}"), "{metrics}");

    for socket in &mut sockets {
        socket.send(Message::text("{\"i32\":1}")).await.unwrap();
        let Some(Ok(Message::Text(text))) = socket.next().await else { panic!("it was closed") };
        assert!(text.contains("\"i32\":1"), "{text}");
    }
    for stream in &mut streams {
        let mut buffer = [0; 4096];
        // What the stream has sent before; no end.
        while let Ok(read) = stream.try_read(&mut buffer) {
            assert!(read > 0, "it was closed");
        }
    }
    drop(idle);
}
