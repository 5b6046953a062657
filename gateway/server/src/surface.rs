//! What is behind the door: gRPC as it is, gRPC-Web, `/metrics`, and REST for the rest.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use clos_telemetry::Metrics;
use clos_transcoder::{Document, Options, Refused, RouteTemplate, Streamed, Transcoder, Upstream};
use http::header::{
    ACCEPT_ENCODING, ACCESS_CONTROL_REQUEST_METHOD, CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue,
    ORIGIN,
};
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use tonic::body::Body;
use tonic_web::GrpcWebLayer;
use tower::{Layer as _, Service, ServiceExt as _};
use tower_http::compression::predicate::Predicate;
use tower_http::compression::{Compression, CompressionLayer};
use tower_http::cors::{AllowOrigin, Cors, CorsLayer};

use crate::door::Names;
use crate::pages::Pages;

/// A browser may keep the answer to a preflight so long.
const PREFLIGHT: Duration = Duration::from_secs(600);
/// The label of what is no route: pages, and paths that lead nowhere.
const NO_ROUTE: &str = "-";
/// Answers below are not worth compressing.
const WORTH: u64 = 1024;
/// What every answer that is no gRPC says to browsers.
pub(crate) const SECURITY: [(&str, &str); 6] = [
    ("content-security-policy", "default-src 'self'; frame-ancestors 'none'"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
    ("referrer-policy", "no-referrer"),
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
];
/// Request headers that a page of another origin may set.
pub(crate) const ASKED_ACROSS: [&str; 11] = [
    "authorization",
    "content-type",
    "if-match",
    "if-none-match",
    "idempotency-key",
    "last-event-id",
    "x-request-id",
    "x-request-timeout",
    "x-grpc-web",
    "x-user-agent",
    "grpc-timeout",
];
/// Response headers that it may read.
pub(crate) const TOLD_ACROSS: [&str; 8] = [
    "etag",
    "location",
    "retry-after",
    "x-request-id",
    "link",
    "grpc-status",
    "grpc-message",
    "grpc-status-details-bin",
];

type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Everything that is served, by what is asked.
#[derive(Clone)]
pub struct Surface<S> {
    routed: Routed<S>,
    compressed: Compression<Routed<S>, Worth>,
    /// For pages of an origin that may read what we answer.
    shared: Compression<Cors<Routed<S>>, Worth>,
}

impl<S: Upstream> Surface<S> {
    /// Serves what the descriptors say, by the upstream.
    ///
    /// # Errors
    /// Descriptors that cannot be served.
    pub fn new(
        descriptor_set: &[u8],
        upstream: S,
        options: Options,
        about: &Document,
        metrics: Metrics,
    ) -> Result<Self, Refused> {
        let rest = Transcoder::new(descriptor_set, upstream.clone(), options)?;
        let pages = Pages::new(&rest.openapi(about));
        let routed = Routed { grpc: Reached(upstream), rest, pages, metrics };
        let compression = CompressionLayer::new().compress_when(Worth);
        let compressed = compression.layer(routed.clone());
        let shared = compression.layer(cors().layer(routed.clone()));
        Ok(Self { routed, compressed, shared })
    }

    /// The transcoder, for what it serves.
    pub const fn rest(&self) -> &Transcoder<S> {
        &self.routed.rest
    }
}

fn cors() -> CorsLayer {
    let is_allowed = AllowOrigin::predicate(|origin: &HeaderValue, head: &http::request::Parts| {
        let names = head.extensions.get::<std::sync::Arc<Names>>();
        names.is_some_and(|names| origin.to_str().is_ok_and(|origin| names.is_allowed_origin(origin)))
    });
    CorsLayer::new()
        .allow_origin(is_allowed)
        .allow_methods([Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE])
        .allow_headers(ASKED_ACROSS.map(HeaderName::from_static))
        .expose_headers(TOLD_ACROSS.map(HeaderName::from_static))
        .max_age(PREFLIGHT)
}

/// Whether an answer is worth compressing: large enough, of a kind that shrinks, and no stream.
#[derive(Debug, Clone, Copy)]
struct Worth;

impl Predicate for Worth {
    fn should_compress<B: http_body::Body>(&self, response: &Response<B>) -> bool {
        let kind =
            response.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        let shrinks = kind.starts_with("text/")
            || kind.contains("json")
            || kind.contains("javascript")
            || kind.contains("svg");
        let is_large = response.body().size_hint().exact().is_some_and(|bytes| bytes > WORTH);
        shrinks && is_large && response.extensions().get::<Streamed>().is_none()
    }
}

impl<S: Upstream> Service<Request<Incoming>> for Surface<S> {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Incoming>) -> Self::Future {
        let headers = request.headers();
        if is_grpc(headers, "application/grpc") && !is_grpc(headers, "application/grpc-web") {
            return self.routed.call(request);
        }
        let request_method = request.method().clone();
        let origin = headers.get(ORIGIN).and_then(|origin| origin.to_str().ok());
        let names = request.extensions().get::<std::sync::Arc<Names>>();
        let is_shared =
            origin.is_some_and(|origin| names.is_some_and(|names| names.is_allowed_origin(origin)));
        // Only a preflight is CORS's own; another OPTIONS asks what is served.
        let is_question =
            *request.method() == Method::OPTIONS && !headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD);
        let answered: BoxFuture<Result<Response<Body>, Infallible>> = if is_shared && !is_question {
            let shared = self.shared.clone();
            Box::pin(async move { Ok(shared.oneshot(request).await?.map(Body::new)) })
        } else if headers.contains_key(ACCEPT_ENCODING) {
            let compressed = self.compressed.clone();
            Box::pin(async move { Ok(compressed.oneshot(request).await?.map(Body::new)) })
        } else {
            self.routed.call(request)
        };
        let method = known_method(&request_method);
        let (metrics, began) = (self.routed.metrics.clone(), Instant::now());
        Box::pin(async move {
            let mut response = answered.await?;
            let template = response.extensions().get::<RouteTemplate>();
            let route = template.map_or(NO_ROUTE, |template| &template.0);
            metrics.http(method, route, response.status().as_u16(), began.elapsed());
            for (name, value) in SECURITY {
                let name = HeaderName::from_static(name);
                response.headers_mut().entry(name).or_insert(HeaderValue::from_static(value));
            }
            Ok(response)
        })
    }
}

/// A method as a label: what callers make up is one.
fn known_method(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "OTHER",
    }
}

fn is_grpc(headers: &http::HeaderMap, family: &str) -> bool {
    headers.get(CONTENT_TYPE).is_some_and(|kind| {
        let kind = kind.as_bytes();
        kind.len() >= family.len() && kind[..family.len()].eq_ignore_ascii_case(family.as_bytes())
    })
}

/// By kind and path.
#[derive(Debug, Clone)]
struct Routed<S> {
    grpc: Reached<S>,
    rest: Transcoder<S>,
    pages: Pages,
    metrics: Metrics,
}

impl<S: Upstream> Service<Request<Incoming>> for Routed<S> {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Incoming>) -> Self::Future {
        if is_grpc(request.headers(), "application/grpc-web") {
            return Box::pin(
                GrpcWebLayer::new().layer(self.grpc.clone().map_response(unsized_body)).oneshot(request),
            );
        }
        if is_grpc(request.headers(), "application/grpc") {
            return Box::pin(self.grpc.clone().oneshot(request.map(Body::new)));
        }
        if let Some(page) = self.pages.answer(request.method(), request.uri().path(), request.headers()) {
            return Box::pin(std::future::ready(Ok(page)));
        }
        match (request.uri().path(), request.method()) {
            ("/metrics", &Method::GET | &Method::HEAD) => {
                let text = self.metrics.render();
                let mut response = Response::new(Body::new(Full::new(bytes::Bytes::from(text))));
                response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(Metrics::CONTENT_TYPE));
                Box::pin(std::future::ready(Ok(response)))
            }
            _ => Box::pin(self.rest.call(request)),
        }
    }
}

/// Hides how long an answer is: in gRPC-Web its trailers follow in the body, and a length that was
/// known before they were there would cut them off.
fn unsized_body(response: Response<Body>) -> Response<Body> {
    let mut response = response.map(|body| Body::new(http_body_util::StreamBody::new(body_frames(body))));
    response.headers_mut().remove(CONTENT_LENGTH);
    response
}

fn body_frames(
    mut body: Body,
) -> impl futures::Stream<Item = Result<http_body::Frame<bytes::Bytes>, tonic::Status>> {
    use http_body::Body as _;
    futures::stream::poll_fn(move |context| Pin::new(&mut body).poll_frame(context))
}

/// An upstream that always answers: what cannot be reached is UNAVAILABLE in the words of gRPC.
#[derive(Debug, Clone)]
struct Reached<S>(S);

impl<S: Upstream> Service<Request<Body>> for Reached<S> {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let upstream = self.0.clone();
        Box::pin(async move {
            Ok(upstream.oneshot(request).await.unwrap_or_else(|_| {
                let mut response =
                    tonic::Status::unavailable("the backend does not answer; try again").into_http();
                *response.status_mut() = StatusCode::OK;
                response
            }))
        })
    }
}
