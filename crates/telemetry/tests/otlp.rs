//! Traces reach a collector, and one that is away holds nobody up.
#![allow(clippy::unwrap_used, reason = "a test may")]

use std::convert::Infallible;
use std::time::{Duration, Instant};

use bytes::Bytes;
use clos_telemetry::{Error, Settings, init};
use http::{HeaderMap, Response};
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

/// Takes one connection and hands on path and body of each request on it.
async fn collect(listener: TcpListener, seen: mpsc::Sender<(String, Bytes)>) {
    let (stream, _) = listener.accept().await.unwrap();
    let service = hyper::service::service_fn(move |request: http::Request<Incoming>| {
        let seen = seen.clone();
        async move {
            let path = request.uri().path().to_owned();
            let body = request.into_body().collect().await.unwrap().to_bytes();
            seen.send((path, body)).await.unwrap();
            // An empty message, and the trailers that say OK.
            let mut trailers = HeaderMap::new();
            trailers.insert("grpc-status", "0".parse().unwrap());
            let frames = [
                Ok::<_, Infallible>(Frame::data(Bytes::from_static(&[0; 5]))),
                Ok(Frame::trailers(trailers)),
            ];
            let mut response = Response::new(StreamBody::new(futures::stream::iter(frames)));
            response.headers_mut().insert("content-type", "application/grpc".parse().unwrap());
            Ok::<_, Infallible>(response)
        }
    });
    let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
    let _ = server.serve_connection(TokioIo::new(stream), service).await;
}

// One test, because a process has one subscriber.
#[tokio::test(flavor = "multi_thread")]
async fn spans_arrive_at_the_collector_when_the_guard_is_shut_down() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let (seen, mut arrived) = mpsc::channel(16);
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(collect(listener, seen));

    let settings = Settings {
        otlp_endpoint: Some(endpoint),
        service_name: "closd",
        service_version: "2.0.0",
        ..Settings::default()
    };
    let guard = init(&settings).unwrap();
    tracing::info_span!("service.start", service = "shop/web").in_scope(|| tracing::info!("port reserved"));

    // A second set-up in one process is refused and leaves the first in place.
    let again = init(&Settings::default());
    assert!(matches!(again, Err(Error::Again)), "{again:?}");

    guard.shutdown().await;
    let (path, body) = tokio::time::timeout(Duration::from_secs(20), arrived.recv()).await.unwrap().unwrap();
    assert_eq!(path, "/opentelemetry.proto.collector.trace.v1.TraceService/Export");
    let body = String::from_utf8_lossy(&body).into_owned();
    for word in ["service.start", "shop/web", "closd", "service.version"] {
        assert!(body.contains(word), "{word}");
    }

    // The collector goes; ending takes no longer than the stated time.
    tasks.shutdown().await;
    let started = Instant::now();
    drop(again);
    assert!(started.elapsed() < Duration::from_secs(10));
}
