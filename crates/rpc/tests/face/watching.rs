//! Streams: in order, from a position, until their end.

use std::time::Duration;

use clos_proto::v2 as pb;
use tonic::{Code, Streaming};

use crate::bed::{Bed, reason, within};

async fn next(stream: &mut Streaming<pb::Event>) -> pb::Event {
    within(stream.message()).await.unwrap().expect("the stream goes on")
}

async fn watch(bed: &Bed, request: pb::WatchEventsRequest) -> Result<Streaming<pb::Event>, tonic::Status> {
    Ok(within(bed.events().watch_events(request)).await?.into_inner())
}

#[tokio::test]
async fn a_watch_goes_on_after_the_position_where_another_one_ended() {
    let bed = Bed::new().await;
    bed.create("db").await;
    let from_the_oldest = pb::WatchEventsRequest { after: Some(0), ..pb::WatchEventsRequest::default() };
    let mut first = watch(&bed, from_the_oldest).await.unwrap();
    let mut seen = Vec::new();
    while seen.last().is_none_or(|event: &pb::Event| event.r#type != "service.created") {
        seen.push(next(&mut first).await);
    }
    drop(first);
    bed.create("web").await;
    let after = seen.last().map(|event| event.seq);
    let mut second = watch(&bed, pb::WatchEventsRequest { after, ..Default::default() }).await.unwrap();
    seen.push(next(&mut second).await);
    while seen.last().is_none_or(|event| event.r#type != "service.created") {
        seen.push(next(&mut second).await);
    }
    let positions: Vec<i64> = seen.iter().map(|event| event.seq).collect();
    let wanted: Vec<i64> = (1..).take(positions.len()).collect();
    assert_eq!(positions, wanted, "no event twice, none lost");
    assert!(seen.iter().all(|event| event.group_name == "shop"));
}

#[tokio::test]
async fn a_watch_tells_where_it_begins_before_its_first_event() {
    let bed = Bed::new().await;
    bed.create("db").await;
    let head = within(bed.events().list_events(pb::ListEventsRequest::default())).await.unwrap();
    let head = head.into_inner().head_seq;
    assert!(head > 0);
    for (after, position) in [(None, head), (Some(0), 0), (Some(1), 1)] {
        let request = pb::WatchEventsRequest { after, ..Default::default() };
        let answer = within(bed.events().watch_events(request)).await.unwrap();
        assert_eq!(answer.metadata().get("watch-position").unwrap(), &position.to_string());
    }
}

#[tokio::test]
async fn a_ticket_opens_a_watch_and_nothing_else() {
    let bed = Bed::new().await;
    let made =
        within(bed.events().create_ws_ticket(pb::CreateWsTicketRequest {})).await.unwrap().into_inner();
    assert!(made.expires_at.is_some());
    let shown: &'static str = Box::leak(format!("Ticket {}", made.ticket).into_boxed_str());
    let bearer = bed.over_tcp(Some(shown));
    let mut events = pb::events_api_client::EventsApiClient::new(bearer.clone());
    for _ in 0..2 {
        within(events.watch_events(pb::WatchEventsRequest::default())).await.unwrap();
    }
    let mut services = pb::services_api_client::ServicesApiClient::new(bearer);
    let refused = within(services.list_services(pb::ListServicesRequest::default())).await.unwrap_err();
    assert_eq!((refused.code(), reason(&refused).as_str()), (Code::Unauthenticated, "TOKEN_MISSING"));
    let mut stranger = pb::events_api_client::EventsApiClient::new(bed.over_tcp(Some("Ticket made-up")));
    let refused = within(stranger.watch_events(pb::WatchEventsRequest::default())).await.unwrap_err();
    assert_eq!(reason(&refused), "TOKEN_INVALID");
}

#[tokio::test]
async fn a_watch_sees_only_what_it_asks_for() {
    let bed = Bed::new().await;
    let db = bed.create("db").await;
    let web = bed.create("web").await;
    for wish in ["shop/web", web.id.as_str()] {
        let request = pb::WatchEventsRequest {
            service_id: wish.into(),
            event_type: vec!["service.*".into()],
            after: Some(0),
            ..pb::WatchEventsRequest::default()
        };
        let event = next(&mut watch(&bed, request).await.unwrap()).await;
        assert_eq!((event.r#type.as_str(), event.service_id.as_str()), ("service.created", web.id.as_str()));
    }
    let listed = pb::ListEventsRequest { service_id: db.id.clone(), limit: Some(1), ..Default::default() };
    let page = within(bed.events().list_events(listed)).await.unwrap().into_inner();
    assert_eq!(page.events.len(), 1);
    assert_eq!(page.events[0].service_id, db.id);
    assert_eq!(page.oldest_seq, 1);
    assert!(page.head_seq >= 2);
}

#[tokio::test]
async fn a_position_that_cannot_be_is_refused_when_the_watch_opens() {
    let bed = Bed::new().await;
    for (after, wanted) in [(99, "INVALID_POSITION"), (-1, "INVALID_FIELD")] {
        let request = pb::WatchEventsRequest { after: Some(after), ..Default::default() };
        let status = watch(&bed, request).await.unwrap_err();
        assert_eq!((status.code(), reason(&status).as_str()), (Code::InvalidArgument, wanted));
    }
    let unknown = pb::WatchEventsRequest { event_type: vec!["nothing.*".into()], ..Default::default() };
    assert_eq!(reason(&watch(&bed, unknown).await.unwrap_err()), "INVALID_FIELD");
    let nobody = pb::WatchEventsRequest { service_id: "shop/nobody".into(), ..Default::default() };
    assert_eq!(reason(&watch(&bed, nobody).await.unwrap_err()), "SERVICE_NOT_FOUND");
}

#[tokio::test]
async fn a_drain_ends_every_watch_and_says_so() {
    let bed = Bed::new().await;
    let mut open = watch(&bed, pb::WatchEventsRequest::default()).await.unwrap();
    let waiting = open.message();
    bed.drain().cancel();
    let status = within(waiting).await.unwrap_err();
    assert_eq!((status.code(), reason(&status).as_str()), (Code::Unavailable, "DRAINING"));

    let status = watch(&bed, pb::WatchEventsRequest::default()).await.unwrap_err();
    assert_eq!(reason(&status), "DRAINING", "and none begins");
    let status = within(bed.system().get_ready(pb::GetReadyRequest {})).await.unwrap_err();
    assert_eq!(reason(&status), "DRAINING");
    assert!(within(bed.system().get_live(pb::GetLiveRequest {})).await.is_ok());
    assert!(bed.supervisor.drain(Duration::from_secs(5)).await);
}

#[tokio::test]
async fn a_watch_ends_when_its_caller_said() {
    let bed = Bed::new().await;
    let mut request = tonic::Request::new(pb::WatchEventsRequest::default());
    request.set_timeout(Duration::from_millis(30));
    let mut open = within(bed.events().watch_events(request)).await.unwrap().into_inner();
    let status = within(open.message()).await.unwrap_err();
    assert_eq!((status.code(), reason(&status).as_str()), (Code::DeadlineExceeded, "TIMED_OUT"));
}

#[tokio::test]
async fn an_operation_that_is_not_there_is_named() {
    let bed = Bed::new().await;
    let id = "op_abcdefghijklmnopqrstuvwx23".to_owned();
    let mut operations = bed.operations();
    let mut told = Vec::new();
    told.push(
        within(operations.get_operation(pb::GetOperationRequest { id: id.clone() })).await.unwrap_err(),
    );
    told.push(
        within(operations.cancel_operation(pb::CancelOperationRequest { id: id.clone() })).await.unwrap_err(),
    );
    let wait = pb::WaitOperationRequest { id: id.clone(), timeout: None };
    told.push(within(operations.wait_operation(wait)).await.unwrap_err());
    let watch = pb::WatchOperationRequest { id: id.clone(), after: None };
    told.push(within(operations.watch_operation(watch)).await.map(drop).unwrap_err());
    for status in told {
        assert_eq!((status.code(), reason(&status).as_str()), (Code::NotFound, "OPERATION_NOT_FOUND"));
        assert!(status.message().contains(&id), "{}", status.message());
    }
    let listed = within(operations.list_operations(pb::ListOperationsRequest::default())).await.unwrap();
    assert_eq!(listed.into_inner().total_count, 0);
}

#[tokio::test]
async fn an_operation_is_watched_and_waited_for_to_its_end() {
    let bed = Bed::new().await;
    let web = bed.create("web").await;
    let request = pb::StartServiceRequest { id: web.id.clone(), ..Default::default() };
    let begun = within(bed.services().start_service(request)).await.unwrap().into_inner();
    let watch = pb::WatchOperationRequest { id: begun.id.clone(), after: None };
    let mut open = within(bed.operations().watch_operation(watch)).await.unwrap().into_inner();
    let mut seen = Vec::new();
    while let Some(event) = within(open.message()).await.unwrap() {
        seen.push(event);
    }
    assert_eq!(seen.first().unwrap().r#type, "group.operation_started");
    assert_eq!(seen.last().unwrap().r#type, "group.operation_completed");
    assert!(seen.iter().all(|event| event.operation_id == begun.id));
    assert_eq!(seen.first().unwrap().seq, begun.first_seq);

    let wait = pb::WaitOperationRequest { id: begun.id.clone(), timeout: None };
    let ended = within(bed.operations().wait_operation(wait)).await.unwrap().into_inner();
    assert_eq!(ended.status(), pb::OperationStatus::Failed, "the engine is away");
    assert_eq!(ended.reason, "ENGINE_UNREACHABLE", "{}", ended.message);
    assert_eq!((ended.total_services, ended.completed_services), (1, 0));
    let of_the_service = pb::ListOperationsRequest { service_id: "shop/web".into(), ..Default::default() };
    let listed = within(bed.operations().list_operations(of_the_service)).await.unwrap().into_inner();
    assert_eq!(listed.operations.len(), 1);
    assert_eq!(listed.operations[0].first_seq, begun.first_seq);
}
