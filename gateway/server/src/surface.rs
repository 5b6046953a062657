//! What is behind the door: gRPC as it is, gRPC-Web, `/metrics`, and REST for the rest.

use std::convert::Infallible;
use std::future::ready;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use clos_telemetry::Metrics;
use clos_transcoder::{Options, Refused, RouteTemplate, Streamed, Transcoder, Upstream};
use http::header::{
    ACCEPT_ENCODING, ACCESS_CONTROL_REQUEST_METHOD, CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue,
    ORIGIN, VARY,
};
use http::{Method, Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use tonic::body::Body;
use tonic_web::GrpcWebLayer;
use tower::{Layer as _, Service, ServiceExt as _};
use tower_http::compression::predicate::Predicate;
use tower_http::compression::{Compression, CompressionLayer};
use tower_http::cors::{AllowOrigin, Cors, CorsLayer};

use crate::door::{self, Names};
use crate::pages::{self, Openapi, Pages};
use crate::upstreams;

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
pub(crate) const ASKED_ACROSS: [&str; 14] = [
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
    "x-api-key",
    "traceparent",
    "tracestate",
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

type BoxError = Box<dyn std::error::Error + Send + Sync>;
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
        openapi: &Openapi,
        metrics: Metrics,
    ) -> Result<Self, Refused> {
        let ignore = format!("{}unknown-fields", options.header_prefix).parse().ok();
        let rest = Transcoder::new(descriptor_set, upstream.clone(), options)?;
        let pages = Pages::new(&openapi.path, &rest.openapi(&openapi.about));
        let has_root = rest.routes().any(|route| route.ends_with(" /"));
        let routed = Routed { grpc: Reached(upstream), rest, pages, has_root, metrics };
        let compression = CompressionLayer::new().compress_when(Worth);
        let compressed = compression.layer(routed.clone());
        let shared = compression.layer(cors(ignore).layer(routed.clone()));
        Ok(Self { routed, compressed, shared })
    }

    /// The transcoder, for what it serves.
    pub const fn rest(&self) -> &Transcoder<S> {
        &self.routed.rest
    }
}

/// What pages of another origin may do.
fn cors(ignore: Option<HeaderName>) -> CorsLayer {
    let is_allowed = AllowOrigin::predicate(|origin: &HeaderValue, head: &http::request::Parts| {
        let names = head.extensions.get::<std::sync::Arc<Names>>();
        names.is_some_and(|names| origin.to_str().is_ok_and(|origin| names.is_allowed_origin(origin)))
    });
    // One header has a name that is decided elsewhere.
    let taken = ASKED_ACROSS.map(HeaderName::from_static).into_iter().chain(ignore);
    CorsLayer::new()
        .allow_origin(is_allowed)
        .allow_methods([Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE])
        .allow_headers(taken.collect::<Vec<_>>())
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
        // The answer to HEAD has no body, and the length of the one that it would have.
        let length =
            response.headers().get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
        let is_large = response.body().size_hint().exact().max(length).is_some_and(|bytes| bytes > WORTH);
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

    fn call(&mut self, mut request: Request<Incoming>) -> Self::Future {
        if door::is_grpc(request.headers()) && !door::is_grpc_web(request.headers()) {
            return self.routed.call(request);
        }
        if !accepts_coding(request.headers()) {
            // A layer that is told of no coding it has, and not of identity, would spoil the answer.
            request.headers_mut().remove(ACCEPT_ENCODING);
        }
        let headers = request.headers();
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
            if !response.headers().contains_key(VARY) && Worth.should_compress(&response) {
                response.headers_mut().insert(VARY, HeaderValue::from_static("accept-encoding"));
            }
            crate::secure(response.headers_mut());
            Ok(response)
        })
    }
}

/// Whether a coding that we have is accepted.
fn accepts_coding(headers: &http::HeaderMap) -> bool {
    headers.get_all(ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok()).any(|value| {
        value.split(',').any(|entry| {
            let (coding, parameters) = entry.split_once(';').unwrap_or((entry, ""));
            let is_ours = ["gzip", "x-gzip", "br", "zstd", "*"]
                .iter()
                .any(|ours| coding.trim().eq_ignore_ascii_case(ours));
            let quality =
                parameters.trim().strip_prefix(['q', 'Q']).and_then(|rest| rest.trim().strip_prefix('='));
            is_ours
                && quality
                    .is_none_or(|quality| quality.trim().parse().is_ok_and(|quality: f32| quality > 0.0))
        })
    })
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

/// By kind and path.
#[derive(Debug, Clone)]
struct Routed<S> {
    grpc: Reached<S>,
    rest: Transcoder<S>,
    pages: Pages,
    /// Whether the API has a route at `/`.
    has_root: bool,
    metrics: Metrics,
}

impl<S: Upstream> Service<Request<Incoming>> for Routed<S> {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<Incoming>) -> Self::Future {
        if door::is_grpc(request.headers()) {
            let is_web = door::is_grpc_web(request.headers());
            if *request.method() != Method::POST || (is_web && !is_known_web(request.headers())) {
                let status = tonic::Status::unimplemented("calls are POST, of a type that is known here");
                return Box::pin(ready(Ok(door::refused_call(request.headers(), &status))));
            }
            let grpc = self.grpc.clone();
            if is_web {
                // What is unpacked of a text is shorter than it.
                request.headers_mut().remove(CONTENT_LENGTH);
                let request = request.map(|body| unsized_body(Body::new(body)));
                return Box::pin(
                    GrpcWebLayer::new().layer(grpc.map_response(unsized_answer)).oneshot(request),
                );
            }
            return Box::pin(grpc.oneshot(request.map(Body::new)));
        }
        if let Some(page) = self.pages.answer(request.method(), request.uri().path(), request.headers()) {
            return Box::pin(ready(Ok(page)));
        }
        if request.uri().path() == "/" && !self.has_root {
            return Box::pin(ready(Ok(pages::home(request.method(), request.headers()))));
        }
        if request.uri().path() == "/metrics" {
            let response = pages::other_method(request.method(), request.headers()).unwrap_or_else(|| {
                let text = self.metrics.render();
                let mut response = Response::new(Body::new(Full::new(bytes::Bytes::from(text))));
                response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(Metrics::CONTENT_TYPE));
                response
            });
            return Box::pin(ready(Ok(response)));
        }
        Box::pin(self.rest.call(request))
    }
}

/// Whether the type is one of gRPC-Web that can be told apart from gRPC.
fn is_known_web(headers: &http::HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    let rest = kind.strip_prefix(b"application/grpc-web").unwrap_or(b"?");
    matches!(rest, b"" | b"+proto" | b"-text" | b"-text+proto")
}

/// Hides how long an answer is: in gRPC-Web its trailers follow in the body, and a length that was
/// known before they were there would cut them off.
fn unsized_answer(response: Response<Body>) -> Response<Body> {
    let mut response = response.map(unsized_body);
    response.headers_mut().remove(CONTENT_LENGTH);
    response
}

fn unsized_body(mut body: Body) -> Body {
    use http_body::Body as _;
    let frames = futures::stream::poll_fn(move |context| Pin::new(&mut body).poll_frame(context));
    Body::new(http_body_util::StreamBody::new(frames))
}

/// An upstream that always answers: what cannot be reached is UNAVAILABLE in the words of gRPC,
/// and what nobody serves UNIMPLEMENTED.
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
            Ok(upstream.oneshot(request).await.unwrap_or_else(|error| {
                let error: BoxError = error.into();
                let status = match error.downcast_ref() {
                    Some(upstreams::Error::NoServer) => {
                        tonic::Status::unimplemented("no upstream has this service")
                    }
                    _ => tonic::Status::unavailable("the backend does not answer; try again"),
                };
                status.into_http()
            }))
        })
    }
}
