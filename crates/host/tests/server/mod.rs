//! A service that answers with bytes that a test wrote down.
#![allow(dead_code, reason = "each test program uses a part of it")]
#![allow(clippy::unwrap_used, reason = "a test may")]

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::net::TcpSocket;

pub(crate) struct Server {
    port: u16,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Server {
    /// Reads a request's head, answers with `text`, and closes after the client.
    pub(crate) fn answering(text: impl Into<String>) -> Self {
        let text = text.into();
        Self::new(move |stream, requests| {
            let Some(head) = read_head(stream) else { return };
            requests.lock().unwrap().push(head);
            let _ = stream.write_all(text.as_bytes());
            let _ = stream.read(&mut [0; 1]);
        })
    }

    /// Answers with `head` and then with body bytes for as long as somebody reads.
    pub(crate) fn flooding(head: &'static str) -> Self {
        Self::new(move |stream, _| {
            let Some(_) = read_head(stream) else { return };
            let _ = stream.write_all(head.as_bytes());
            while stream.write_all(&[b'x'; 4_096]).is_ok() {}
        })
    }

    /// Takes the connection and waits for the client to go.
    pub(crate) fn silent() -> Self {
        Self::new(|stream, _| while stream.read(&mut [0; 512]).is_ok_and(|read| read > 0) {})
    }

    /// Takes the connection and closes it.
    pub(crate) fn closing() -> Self {
        Self::new(|stream, _| _ = stream.shutdown(Shutdown::Both))
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}/healthz", self.port)
    }

    /// The heads of the requests so far.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }

    #[allow(clippy::disallowed_methods, reason = "a test's server is a thread of its own")]
    fn new(serve: impl Fn(&mut TcpStream, &Mutex<Vec<String>>) + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&requests);
        // It ends with the test program; nobody waits for it.
        std::thread::spawn(move || {
            while let Ok((mut stream, _)) = listener.accept() {
                stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
                stream.set_write_timeout(Some(Duration::from_secs(30))).unwrap();
                serve(&mut stream, &seen);
            }
        });
        Self { port, requests }
    }
}

/// A port that is bound, so that nobody else gets it, and refuses connections.
pub(crate) fn nobody() -> (TcpSocket, u16) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    let port = socket.local_addr().unwrap().port();
    (socket, port)
}

fn read_head(stream: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    let mut byte = [0; 1];
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read(&mut byte).ok()? == 0 {
            return None;
        }
        head.push(byte[0]);
    }
    String::from_utf8(head).ok()
}
