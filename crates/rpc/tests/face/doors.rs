//! Who comes in, and how far.

use bytes::Bytes;
use clos_proto::v2 as pb;
use clos_rpc::Limits;
use http::{Request, Response};
use http_body_util::Full;
use tonic::body::Body;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;
use tower::ServiceExt as _;

use crate::bed::{Bed, Caller, SECRET, reason, within};

/// An empty message, framed.
const EMPTY: &[u8] = &[0, 0, 0, 0, 0];

async fn ask(caller: Caller, path: &str) -> Response<Body> {
    let request = Request::builder()
        .method("POST")
        .uri(path)
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(Body::new(Full::new(Bytes::from_static(EMPTY))))
        .unwrap();
    within(caller.oneshot(request)).await.unwrap()
}

/// The reason of an error in the head; empty when there is none.
fn refused(response: &Response<Body>) -> String {
    match Status::from_header_map(response.headers()) {
        Some(status) if status.code() != Code::Ok => reason(&status),
        _ => String::new(),
    }
}

#[tokio::test]
async fn nobody_may_call_a_method_that_needs_a_permission() {
    let bed = Bed::new().await;
    for (path, permission) in clos_proto::permissions() {
        let is_open = permission == clos_proto::NO_PERMISSION;
        let missing = refused(&ask(bed.over_tcp(None), path).await);
        assert_eq!(missing == "TOKEN_MISSING", !is_open, "{path}: {missing}");
        let wrong = refused(&ask(bed.over_tcp(Some("Bearer wrong")), path).await);
        assert_eq!(wrong == "TOKEN_INVALID", !is_open, "{path}: {wrong}");
    }
}

#[tokio::test]
async fn the_owner_and_whoever_shows_the_token_may_call_every_method() {
    let bed = Bed::new().await;
    let bearer: &'static str = Box::leak(format!("Bearer {SECRET}").into_boxed_str());
    for path in clos_proto::permissions().keys() {
        for caller in [bed.owner(), bed.over_tcp(Some(bearer))] {
            let reason = refused(&ask(caller, path).await);
            let is_about_credentials =
                ["TOKEN_MISSING", "TOKEN_INVALID", "PEER_REFUSED"].contains(&reason.as_str());
            assert!(!is_about_credentials, "{path}: {reason}");
            assert_ne!(reason, "INTERNAL", "{path}");
            assert_ne!(reason, "NOT_KNOWN_HERE", "{path}");
        }
    }
}

#[tokio::test]
async fn what_is_no_method_is_told_to_the_owner_only() {
    let bed = Bed::new().await;
    for path in
        ["/", "/clos.v2.ServicesApi/Explode", "/clos.v1.ServicesApi/GetService", "/grpc.health.v1.Health/X"]
    {
        assert_eq!(refused(&ask(bed.over_tcp(None), path).await), "TOKEN_MISSING", "{path}");
        assert_eq!(refused(&ask(bed.owner(), path).await), "NOT_KNOWN_HERE", "{path}");
    }
}

#[tokio::test]
async fn another_user_of_the_machine_stays_out() {
    let mut bed = Bed::new().await;
    bed.settings.uid += 1;
    bed.face = clos_rpc::routes(bed.control.clone(), bed.settings.clone()).unwrap();
    for path in
        ["/clos.v2.ServicesApi/ListServices", "/clos.v2.SystemApi/GetLive", "/grpc.health.v1.Health/Check"]
    {
        assert_eq!(refused(&ask(bed.owner(), path).await), "PEER_REFUSED", "{path}");
    }
}

#[tokio::test]
async fn a_request_keeps_its_name_from_the_head_to_the_error() {
    let bed = Bed::new().await;
    let mut request =
        tonic::Request::new(pb::GetServiceRequest { id: "shop/web".into(), include_metrics: false });
    request.metadata_mut().insert("x-request-id", "job-7".parse().unwrap());
    let status = within(bed.services().get_service(request)).await.unwrap_err();
    assert_eq!(reason(&status), "SERVICE_NOT_FOUND");
    assert_eq!(status.get_details_error_info().unwrap().metadata["request_id"], "job-7");
    assert_eq!(status.metadata().get("x-request-id").unwrap(), "job-7");

    let named = within(bed.system().get_live(pb::GetLiveRequest {})).await.unwrap();
    assert!(named.metadata().get("x-request-id").unwrap().to_str().unwrap().starts_with("req_"));
}

#[tokio::test]
async fn beyond_the_limit_callers_are_told_when_to_come_back() {
    let bed = Bed::with(Limits { in_flight: 0, streams: 1, ..Limits::default() }).await;
    let request = pb::GetServiceRequest { id: "shop/web".into(), include_metrics: false };
    let status = within(bed.services().get_service(request)).await.unwrap_err();
    assert_eq!((status.code(), reason(&status).as_str()), (Code::ResourceExhausted, "TOO_MANY_REQUESTS"));
    assert!(status.get_details_retry_info().unwrap().retry_delay.is_some());
    assert!(
        within(bed.system().get_health(pb::GetHealthRequest {})).await.is_ok(),
        "it still says how it is"
    );

    let first = within(bed.events().watch_events(pb::WatchEventsRequest::default())).await.unwrap();
    let second = within(bed.events().watch_events(pb::WatchEventsRequest::default())).await.unwrap_err();
    assert_eq!(reason(&second), "TOO_MANY_REQUESTS");
    drop(first);
    assert!(within(bed.events().watch_events(pb::WatchEventsRequest::default())).await.is_ok());
}

#[tokio::test]
async fn a_request_that_is_too_large_or_no_message_is_refused() {
    let bed = Bed::new().await;
    let request = pb::GetServiceRequest { id: "x".repeat(5 << 20), include_metrics: false };
    let status = within(bed.services().get_service(request)).await.unwrap_err();
    assert_eq!((status.code(), reason(&status).as_str()), (Code::InvalidArgument, "INVALID_FIELD"));
    assert!(status.message().starts_with("the request cannot be read: "), "{}", status.message());

    let broken = Request::builder()
        .method("POST")
        .uri("/clos.v2.ServicesApi/GetService")
        .header("content-type", "application/grpc")
        .body(Body::new(Full::new(Bytes::from_static(&[0, 0, 0, 0, 2, 10, 200]))))
        .unwrap();
    let response = within(bed.owner().oneshot(broken)).await.unwrap();
    assert_eq!(refused(&response), "INVALID_FIELD");
}

#[tokio::test]
async fn calls_are_counted_by_method_and_code() {
    let bed = Bed::new().await;
    let request = pb::GetServiceRequest { id: "shop/web".into(), include_metrics: false };
    within(bed.services().get_service(request)).await.unwrap_err();
    within(bed.system().get_live(pb::GetLiveRequest {})).await.unwrap();
    drop(ask(bed.owner(), "/made/Up").await);
    let text = bed.settings.metrics.render();
    for line in [
        r#"clos_rpc_requests_total{code="NOT_FOUND",method="/clos.v2.ServicesApi/GetService"} 1"#,
        r#"clos_rpc_requests_total{code="OK",method="/clos.v2.SystemApi/GetLive"} 1"#,
        r#"clos_rpc_requests_total{code="UNIMPLEMENTED",method="unknown"} 1"#,
    ] {
        assert!(text.lines().any(|shown| shown == line), "{line}\n{text}");
    }
    assert!(!text.contains("made/Up"));
}
