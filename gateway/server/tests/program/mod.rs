#![allow(dead_code, reason = "two suites use it, each a part")]
//! `clos-gateway` as a process, and the backend of the suites behind HTTP/2.

use std::convert::Infallible;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use http::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
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
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
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
