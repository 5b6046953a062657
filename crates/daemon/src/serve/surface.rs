//! What is behind the door: gRPC, and `/metrics` for Prometheus.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::task::{Context, Poll};

use clos_telemetry::Metrics;
use futures::future::Either;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use tonic::body::Body;
use tower::Service;

use super::Answers;

/// What somebody reads who comes with a browser.
const NOT_HERE: &str = "closd speaks gRPC here, and serves GET /metrics\n";

/// gRPC by `grpc`, and the metrics.
#[derive(Debug, Clone)]
pub struct Surface<S> {
    grpc: S,
    metrics: Metrics,
}

impl<S> Surface<S> {
    /// The gRPC routes and the registry.
    pub fn new(grpc: S, metrics: Metrics) -> Self {
        Self { grpc, metrics }
    }
}

impl<S: Answers> Service<Request<Incoming>> for Surface<S> {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Either<S::Future, Ready<Result<Response<Body>, Infallible>>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.grpc.poll_ready(context)
    }

    fn call(&mut self, request: Request<Incoming>) -> Self::Future {
        let is_grpc = request
            .headers()
            .get(CONTENT_TYPE)
            .is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"));
        if is_grpc {
            return Either::Left(self.grpc.call(request));
        }
        let answer = match (request.uri().path(), request.method()) {
            ("/metrics", &Method::GET | &Method::HEAD) => {
                text(StatusCode::OK, Metrics::CONTENT_TYPE, self.metrics.render())
            }
            ("/metrics", _) => {
                text(StatusCode::METHOD_NOT_ALLOWED, "text/plain; charset=utf-8", "use GET\n".to_owned())
            }
            _ => text(StatusCode::NOT_FOUND, "text/plain; charset=utf-8", NOT_HERE.to_owned()),
        };
        Either::Right(ready(Ok(answer)))
    }
}

fn text(status: StatusCode, kind: &'static str, body: String) -> Response<Body> {
    let mut response = Response::new(Body::new(Full::new(bytes::Bytes::from(body))));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}
