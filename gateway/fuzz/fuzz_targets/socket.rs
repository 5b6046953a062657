//! A connection that was upgraded ends, whatever its client sends or leaves unsaid, and says no
//! more than it was asked for.
//!
//! The first byte of the input chooses the path and how the client behaves; behind it are raw
//! bytes, or frames of a byte for opcode and FIN, a byte for the length, and so many bytes.
#![no_main]

use std::sync::LazyLock;
use std::time::Duration;

use clos_fuzz::{Backend, json, run, transcoder};
use clos_transcoder::{Options, Transcoder};
use futures::channel::oneshot;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use libfuzzer_sys::fuzz_target;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;

const PATHS: [&str; 4] = ["/v1/chat/a", "/v1/stream", "/v1/ws", "/v1/logs?follow=true"];
static OPTIONS: LazyLock<Options> = LazyLock::new(Options::default);
static REST: LazyLock<Transcoder<Backend>> =
    LazyLock::new(|| transcoder(Backend::default(), OPTIONS.clone()));
/// Longer than any patience that a socket has.
const LONG: Duration = Duration::from_secs(300);

fuzz_target!(|input: &[u8]| {
    let Some((first, rest)) = input.split_first() else { return };
    let path = PATHS[usize::from(first & 3)];
    let is_raw = first & 4 != 0;
    let stays = first & 8 != 0;
    let sent = if is_raw { rest.to_vec() } else { framed(rest) };
    let said = run(converse(path, &sent, stays));

    let (head, frames) = split(&said);
    assert!(head.starts_with(b"HTTP/1.1 101 "), "{}", String::from_utf8_lossy(head));
    // A message of the echo is printed with all its fields, and each may be said in two bytes.
    assert!(frames.len() <= (8 << 10) + sent.len() * 1024, "{} bytes for {}", frames.len(), sent.len());
    judge(frames);
});

/// Everything that a client hears that sends these bytes.
async fn converse(path: &str, sent: &[u8], stays: bool) -> Vec<u8> {
    let (client, server) = tokio::io::duplex(4 << 10);
    let connection = hyper::server::conn::http1::Builder::new()
        .serve_connection(TokioIo::new(server), TowerToHyperService::new(REST.clone()))
        .with_upgrades();
    let (mut reading, mut writing) = tokio::io::split(client);
    let head = format!(
        "GET {path} HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    let (upgraded, is_upgraded) = oneshot::channel();
    let write = async {
        let _ = writing.write_all(head.as_bytes()).await;
        let _ = writing.write_all(sent).await;
        // Who goes before there is an answer gets none.
        let _ = is_upgraded.await;
        if !stays {
            let _ = writing.shutdown().await;
        }
    };
    let mut said = Vec::new();
    let read = async {
        let _ = reading.read_buf(&mut said).await;
        let _ = upgraded.send(());
        reading.read_to_end(&mut said).await
    };
    // How the connection ended is seen in what was said.
    let talk = async { _ = futures::join!(connection, write, read) };
    timeout(LONG, talk).await.expect("a socket stays open");
    OPTIONS.sockets.close();
    timeout(LONG, OPTIONS.sockets.wait()).await.expect("a socket is closed and its task goes on");
    OPTIONS.sockets.reopen();
    said
}

/// Frames as a client has to send them, with a mask that changes nothing.
fn framed(mut rest: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    while let [kind, length, after @ ..] = rest {
        let (payload, next) = after.split_at(usize::from(*length).min(after.len()));
        // The high bit says that more is to come, so that plain opcodes are whole messages.
        out.push((kind & 0x7f) | if kind & 0x80 == 0 { 0x80 } else { 0 });
        match u8::try_from(payload.len()) {
            Ok(short) if short < 126 => out.push(0x80 | short),
            _ => out.extend([0x80 | 126, 0, *length]),
        }
        out.extend([0; 4]);
        out.extend_from_slice(payload);
        rest = next;
    }
    out
}

fn split(said: &[u8]) -> (&[u8], &[u8]) {
    let end = said.windows(4).position(|four| four == b"\r\n\r\n").map_or(said.len(), |at| at + 4);
    said.split_at(end)
}

/// What a server sends are whole frames without a mask, texts of JSON, and nothing behind a close.
fn judge(mut frames: &[u8]) {
    let mut is_closed = false;
    while let [first, second, rest @ ..] = frames {
        assert!(!is_closed, "a frame behind the close");
        assert!(first & 0xf0 == 0x80 && second & 0x80 == 0, "{first:x} {second:x}");
        let (length, rest) = match second {
            126 => (usize::from(u16::from_be_bytes([rest[0], rest[1]])), &rest[2..]),
            127 => (
                usize::try_from(u64::from_be_bytes(rest[..8].try_into().expect("eight"))).expect("a size"),
                &rest[8..],
            ),
            short => (usize::from(*short), rest),
        };
        let Some((payload, rest)) = rest.split_at_checked(length) else { return };
        match first & 0x0f {
            1 => _ = json(payload),
            8 => is_closed = true,
            9 | 10 => {}
            other => panic!("a frame of kind {other}"),
        }
        frames = rest;
    }
}
