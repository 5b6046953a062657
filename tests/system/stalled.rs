//! Streams that nobody reads hold nobody else up, and lose nothing.

use clos_tests::{Checkout, Daemon, IMAGE, PATIENCE, project_name};
use futures::StreamExt as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

/// Streams that stand still.
const STALLED: usize = 51;
/// Requests that come meanwhile.
const ASKED: usize = 300;
/// Lines of the log, of 16 kB each.
const LINES: usize = 120;

const UPGRADE: &str = "connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

struct Caller {
    address: String,
    token: String,
}

impl Caller {
    async fn send(&self, path: &str, head: &str) -> TcpStream {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4 << 10).unwrap();
        let mut stream = socket.connect(self.address.parse().unwrap()).await.unwrap();
        let Self { address, token } = self;
        let request =
            format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {token}\r\n{head}\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        stream
    }

    /// The status, and the stream behind it.
    async fn begun(&self, path: &str, head: &str) -> (String, TcpStream) {
        let mut stream = self.send(path, head).await;
        let mut first = [0; 12];
        let read = tokio::time::timeout(PATIENCE, stream.read_exact(&mut first)).await;
        read.expect("an answer begins").unwrap();
        (String::from_utf8_lossy(&first[9..]).into_owned(), stream)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn log_streams_that_nobody_reads_hold_nobody_up() {
    let daemon = Daemon::start().await;
    let name = project_name("stalled");
    let compose = format!(
        "name: {name}
services:
  flood: {{image: '{IMAGE}', environment: {{FLOOD: max, FLOOD_LINES: '{LINES}', LINE_BYTES: '16000'}}}}
"
    );
    let checkout = Checkout::new("stalled", &compose);
    daemon.clos(checkout.path(), &["up"]).well();
    let caller = Caller { address: daemon.tcp(), token: daemon.token() };
    let logs = format!("/api/v2/services/{name}%2Fflood/logs?follow=true&lines={LINES}");
    let mut streams = Vec::new();
    for at in 0..STALLED {
        let (head, status) =
            [("", "200"), ("accept: text/event-stream\r\n", "200"), (UPGRADE, "101")][at % 3];
        let (told, stream) = caller.begun(&logs, head).await;
        assert_eq!(told, status);
        streams.push(stream);
    }

    let service = format!("/api/v2/services/{name}%2Fflood");
    let answers = futures::stream::iter(0..ASKED)
        .map(|_| async { caller.begun(&service, "connection: close\r\n").await.0 });
    let statuses: Vec<String> = answers.buffer_unordered(8).collect().await;
    assert_eq!(statuses, ["200"; ASKED]);

    // The first of them reads on, and finds everything there.
    let (mut lines, mut bytes, mut kept) = (0, vec![0; 64 << 10], Vec::new());
    let word = b"\"message\":";
    let reading = async {
        while lines < LINES {
            let read = streams[0].read(&mut bytes).await.unwrap();
            assert!(read > 0, "the stream ended after {lines} lines");
            kept.extend_from_slice(&bytes[..read]);
            lines += kept.windows(word.len()).filter(|part| part == word).count();
            // The beginning of a word may have come.
            kept.drain(..kept.len().saturating_sub(word.len() - 1));
        }
    };
    tokio::time::timeout(PATIENCE, reading).await.expect("all lines come");
}
