//! Calls of the backend, as bytes.

pub(crate) mod body;
pub(crate) mod messages;

use std::time::Duration;

use bytes::Bytes;
use futures::Stream;
use http::{Extensions, HeaderMap, Method, Request, Response, Uri, Version};
use http_body::Frame;
use http_body_util::{Full, StreamBody};
use tokio::time::Instant;
use tonic::body::Body;
use tower::{Service, ServiceExt as _};

use self::body::BoxError;
use crate::headers;
use crate::status::{Failure, framed};

/// What speaks gRPC behind a transcoder: tonic's `Routes` in process, or a `Channel`.
pub trait Upstream:
    Service<Request<Body>, Response = Response<Body>, Error: Into<BoxError>, Future: Send>
    + Clone
    + Send
    + Sync
    + 'static
{
}

impl<S> Upstream for S where
    S: Service<Request<Body>, Response = Response<Body>, Error: Into<BoxError>, Future: Send>
        + Clone
        + Send
        + Sync
        + 'static
{
}

/// Until when.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Deadline {
    at: Option<Instant>,
    span: Option<Duration>,
}

impl Deadline {
    pub(crate) fn new(span: Option<Duration>) -> Self {
        // A moment that no clock reaches is none.
        Self { at: span.and_then(|span| Instant::now().checked_add(span)), span }
    }

    /// Waits for a future, and drops it when the time is over.
    pub(crate) async fn wait<F: Future>(&self, future: F) -> Result<F::Output, Failure> {
        match self.at {
            Some(at) => tokio::time::timeout_at(at, future).await.map_err(|_| Failure::late()),
            None => Ok(future.await),
        }
    }

    /// A backend that gives up because of the deadline says so in other words.
    pub(crate) fn judge(&self, failure: Failure) -> Failure {
        let is_over = self.at.is_some_and(|at| at <= Instant::now() + Duration::from_millis(5));
        if is_over && matches!(failure.code, tonic::Code::Cancelled | tonic::Code::DeadlineExceeded) {
            return Failure::late();
        }
        failure
    }
}

/// A call's request.
pub(crate) fn request(
    rpc: &Uri,
    metadata: HeaderMap,
    extensions: Extensions,
    deadline: &Deadline,
    body: Body,
) -> Request<Body> {
    let mut request = Request::new(body);
    *request.method_mut() = Method::POST;
    *request.version_mut() = Version::HTTP_2;
    *request.uri_mut() = rpc.clone();
    *request.headers_mut() = metadata;
    *request.extensions_mut() = extensions;
    if let Some(span) = deadline.span {
        request.headers_mut().insert("grpc-timeout", headers::timeout_value(span));
    }
    request
}

/// A body of one message.
pub(crate) fn one(message: &[u8]) -> Result<Body, Failure> {
    let frame = framed(message).ok_or_else(|| Failure::internal("the request is too large"))?;
    Ok(Body::new(Full::new(frame)))
}

/// A body of many messages.
pub(crate) fn many(messages: impl Stream<Item = Result<Bytes, tonic::Status>> + Send + 'static) -> Body {
    use futures::StreamExt as _;
    Body::new(StreamBody::new(messages.map(|message| message.map(Frame::data))))
}

/// Calls, and waits for the head of the answer.
pub(crate) async fn call<S: Upstream>(
    upstream: &S,
    request: Request<Body>,
) -> Result<Response<Body>, Failure> {
    upstream.clone().oneshot(request).await.map_err(|error| {
        let error: BoxError = error.into();
        tracing::warn!(error = %chain(error.as_ref()), "the backend cannot be called");
        Failure::unreachable()
    })
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
