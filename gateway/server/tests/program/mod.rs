#![allow(dead_code, reason = "several suites use it, each a part")]
//! `clos-gateway` as a process, and the backend of the suites behind HTTP/2.

use std::convert::Infallible;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use http::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tonic::body::Body;
use tower::{Service, ServiceExt as _};

use crate::support::Backend;

/// The program, in front of a backend.
pub(crate) struct Gateway {
    pub(crate) process: Child,
    pub(crate) address: String,
    pub(crate) backend: Backend,
    pub(crate) folder: tempfile::TempDir,
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Serves a backend over HTTP/2 and says where.
pub(crate) async fn upstream<S>(backend: S) -> String
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible, Future: Send>
        + Clone
        + Send
        + 'static,
{
    // What an answer needs is there before anybody waits for one.
    crate::support::pool();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            stream.set_nodelay(true).unwrap();
            let backend = backend.clone();
            tokio::spawn(async move {
                let service = backend.map_request(|request: http::Request<hyper::body::Incoming>| {
                    request.map(tonic::body::Body::new)
                });
                let _ = auto::Builder::new(TokioExecutor::new())
                    .serve_connection(TokioIo::new(stream), TowerToHyperService::new(service))
                    .await;
            });
        }
    });
    format!("http://{address}")
}

/// Starts the program and waits until it says where it listens.
pub(crate) fn start(descriptors: &[u8], upstream: &str, backend: Backend, more: &[&str]) -> Gateway {
    let folder = tempfile::tempdir().unwrap();
    let set = folder.path().join("set.pb");
    std::fs::write(&set, descriptors).unwrap();
    let mut process = Command::new(env!("CARGO_BIN_EXE_clos-gateway"))
        .args(["--descriptor-set", set.to_str().unwrap(), "--upstream", upstream, "--listen", "127.0.0.1:0"])
        .args(more)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(process.stderr.take().unwrap()).lines();
    let url = lines.find_map(|line| {
        let line = line.unwrap();
        let at = line.find("http://")?;
        Some(line[at + 7..].split(['"', ' ']).next().unwrap().to_owned())
    });
    std::thread::spawn(move || lines.for_each(drop));
    Gateway { process, address: url.expect("it says where it listens"), backend, folder }
}

/// Patience with the program itself, never a measure.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// The program in front of the suites' backend.
pub(crate) async fn gateway() -> Gateway {
    let backend = Backend::default();
    let upstream = upstream(backend.clone()).await;
    start(
        &crate::support::descriptors(),
        &upstream,
        backend,
        &["--json-names", "proto", "--int64", "string", "--enums", "full"],
    )
}

impl Gateway {
    /// Sends bytes as they are and reads to the end of the connection; `HOST` is our own.
    pub(crate) async fn raw(&self, text: &str) -> String {
        self.bytes(text.replace("HOST", &self.address).as_bytes()).await
    }

    pub(crate) async fn bytes(&self, bytes: &[u8]) -> String {
        let mut stream = TcpStream::connect(&self.address).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        let mut answer = Vec::new();
        let _ = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("it closes");
        String::from_utf8_lossy(&answer).into_owned()
    }

    /// Sends bytes and reads as far as an answer without a stream goes; the connection may stay open.
    pub(crate) async fn first(&self, text: &str) -> String {
        let mut stream = TcpStream::connect(&self.address).await.unwrap();
        stream.write_all(text.replace("HOST", &self.address).as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        let reading = async {
            while !answer.ends_with(b"}") {
                assert!(stream.read_buf(&mut answer).await.unwrap() > 0, "the connection ended");
            }
        };
        tokio::time::timeout(PATIENCE, reading).await.expect("an answer comes");
        String::from_utf8(answer).unwrap()
    }

    pub(crate) async fn ask(&self, line: &str, head: &str, body: &str) -> String {
        let length =
            if body.is_empty() { String::new() } else { format!("content-length: {}\r\n", body.len()) };
        self.raw(&format!("{line} HTTP/1.1\r\nhost: HOST\r\nconnection: close\r\n{length}{head}\r\n{body}"))
            .await
    }

    pub(crate) async fn socket(&self, path: &str) -> tokio_tungstenite::WebSocketStream<TcpStream> {
        let request = format!("ws://{}{path}", self.address).into_client_request().unwrap();
        let stream = TcpStream::connect(&self.address).await.unwrap();
        tokio_tungstenite::client_async(request, stream).await.unwrap().0
    }
}

/// The JSON of an answer, whose body has a length or one chunk.
pub(crate) fn json_of(answer: &str) -> serde_json::Value {
    let body = answer.split_once("\r\n\r\n").map(|(_, body)| body).unwrap_or_default();
    serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {answer}"))
}

/// The status of an answer.
pub(crate) fn status_of(answer: &str) -> u16 {
    answer.get(9..12).and_then(|status| status.parse().ok()).unwrap_or_else(|| panic!("no answer: {answer}"))
}
