//! The layers around services that misbehave as no handler of ours does.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use clos_domain::seams::Clock as _;
use clos_telemetry::Metrics;
use clos_testkit::clock::FrozenClock;
use clos_testkit::ids::SeqIds;
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tonic_types::StatusExt as _;
use tower::ServiceExt as _;

use super::*;
use crate::{About, Limits, Machine};

const GET: &str = "/clos.v2.ServicesApi/GetService";
const WATCH: &str = "/clos.v2.EventsApi/WatchEvents";

fn settings() -> Settings {
    Settings {
        token: Token::new("secret"),
        uid: 0,
        limits: Limits { in_flight: 1, streams: 1, timeout: Duration::from_millis(20) },
        metrics: Metrics::new(),
        clock: Arc::new(FrozenClock::default()),
        ids: Arc::new(SeqIds::default()),
        drain: CancellationToken::new(),
        about: About::default(),
        look: Arc::new(Machine::default),
    }
}

fn layers<S>(inner: S, settings: &Settings) -> Layers<S> {
    let tickets = Tickets::new(settings.clock.clone(), settings.ids.clone());
    Layers::new(inner, settings.clone(), tickets).unwrap()
}

fn request(path: &str) -> Request<()> {
    Request::builder().uri(path).header("authorization", "Bearer secret").body(()).unwrap()
}

async fn asked<F>(settings: &Settings, request: Request<()>, answer: fn(Request<()>) -> F) -> Response<Body>
where
    F: Future<Output = Result<Response<Body>, Infallible>> + Send + 'static,
{
    layers(tower::service_fn(answer), settings).oneshot(request).await.unwrap()
}

fn reason(headers: &http::HeaderMap) -> String {
    Status::from_header_map(headers).unwrap().get_details_error_info().unwrap().reason
}

fn messages(
    messages: impl futures::Stream<Item = &'static [u8]> + Send + 'static,
) -> Result<Response<Body>, Infallible> {
    let frames = futures::StreamExt::map(messages, |message| {
        Ok::<_, Status>(Frame::data(Bytes::from_static(message)))
    });
    Ok(Response::new(Body::new(StreamBody::new(frames))))
}

#[tokio::test]
async fn a_panic_is_an_error_of_one_call() {
    let settings = settings();
    let response = asked(&settings, request(GET), |_| async { panic!("a test panics") }).await;
    assert_eq!(reason(response.headers()), "INTERNAL");
    let again = asked(&settings, request(GET), |_| async { messages(futures::stream::empty()) }).await;
    assert!(!again.headers().contains_key("grpc-status"), "its place was given back");
}

#[tokio::test]
async fn an_answer_that_does_not_come_is_late() {
    let settings = settings();
    let response = asked(&settings, request(GET), |_| std::future::pending()).await;
    assert_eq!(reason(response.headers()), "TIMED_OUT");
    let text = settings.metrics.render();
    assert!(
        text.contains(r#"code="DEADLINE_EXCEEDED",method="/clos.v2.ServicesApi/GetService"} 1"#),
        "{text}"
    );
}

#[tokio::test]
async fn a_stream_that_never_rests_ends_at_its_deadline() {
    let settings = settings();
    let mut request = request(WATCH);
    request.headers_mut().insert("grpc-timeout", http::HeaderValue::from_static("5m"));
    let busy = |_| async { messages(futures::stream::repeat(b"again".as_slice())) };
    let mut body = asked(&settings, request, busy).await.into_body();
    let trailers = loop {
        let frame = body.frame().await.unwrap().unwrap();
        tokio::task::yield_now().await;
        if let Ok(trailers) = frame.into_trailers() {
            break trailers;
        }
    };
    assert_eq!(reason(&trailers), "TIMED_OUT");
    assert!(body.frame().await.is_none(), "nothing comes after the trailers");
}

#[tokio::test]
async fn a_stream_that_knows_of_no_drain_ends_with_it() {
    let settings = settings();
    let quiet = |_| async { messages(futures::stream::pending()) };
    let mut body = asked(&settings, request(WATCH), quiet).await.into_body();
    settings.drain.cancel();
    let trailers = body.frame().await.unwrap().unwrap().into_trailers().unwrap();
    assert_eq!(reason(&trailers), "DRAINING");
    drop(body);
    let text = settings.metrics.render();
    assert!(text.contains(r#"code="UNAVAILABLE",method="/clos.v2.EventsApi/WatchEvents"} 1"#), "{text}");
    let refused = asked(&settings, request(GET), |_| async { messages(futures::stream::empty()) }).await;
    assert_eq!(reason(refused.headers()), "DRAINING");
}

#[tokio::test]
async fn a_caller_who_goes_away_is_counted_as_cancelled_and_gives_the_place_back() {
    let settings = settings();
    let layers = layers(tower::service_fn(|_| async { messages(futures::stream::pending()) }), &settings);
    let first = layers.clone().oneshot(request(WATCH)).await.unwrap();
    let refused = layers.clone().oneshot(request(WATCH)).await.unwrap();
    assert_eq!(reason(refused.headers()), "TOO_MANY_REQUESTS");
    drop(first);
    let text = settings.metrics.render();
    assert!(text.contains(r#"code="CANCELLED",method="/clos.v2.EventsApi/WatchEvents"} 1"#), "{text}");
    let next = layers.oneshot(request(WATCH)).await.unwrap();
    assert!(!next.headers().contains_key("grpc-status"));
}

#[tokio::test]
async fn every_answer_says_which_request_it_is_for() {
    let settings = settings();
    let mut named = request(GET);
    named.headers_mut().insert("x-request-id", http::HeaderValue::from_static("job-7"));
    let answered = asked(&settings, named, |request| async move {
        let ctx = request.extensions().get::<Ctx>().unwrap();
        assert_eq!(ctx.request_id, "job-7");
        let left = ctx.deadline.unwrap().duration_since(FrozenClock::default().now());
        assert_eq!(left, Duration::from_millis(20).try_into().unwrap());
        messages(futures::stream::empty())
    })
    .await;
    assert_eq!(answered.headers()["x-request-id"], "job-7");
    let refused = asked(&settings, request("/clos.v2.NoApi/Nothing"), |_| std::future::pending()).await;
    assert_eq!(reason(refused.headers()), "NOT_KNOWN_HERE");
    assert!(refused.headers()["x-request-id"].to_str().unwrap().starts_with("req_"));
    assert!(settings.metrics.render().contains(r#"code="UNIMPLEMENTED",method="unknown"} 1"#));
}

#[tokio::test]
async fn a_request_that_tonic_cannot_read_is_the_callers_mistake() {
    let unread = |_| async { Ok(Status::internal("buffer underflow").into_http()) };
    let response = asked(&settings(), request(GET), unread).await;
    assert_eq!(reason(response.headers()), "INVALID_FIELD");
}
