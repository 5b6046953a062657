//! The client against a daemon that breaks where a test says so.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod scripted;

use std::time::Duration;

use clos_client::{Client, Endpoint, Kind, Options};
use clos_proto::v2 as pb;
use prost::Message as _;
use scripted::{Reply, Server};
use tempfile::TempDir;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

struct Bed {
    home: TempDir,
    server: Server,
}

impl Bed {
    fn new() -> Self {
        let home = TempDir::new().unwrap();
        let server = Server::default();
        server.listen(&home.path().join("run/closd.sock"));
        Self { home, server }
    }

    async fn client(&self) -> Client {
        let options = Options { home: self.home.path().to_owned(), ..Options::default() };
        Client::connect(&Endpoint::resolve(&options).unwrap(), Duration::from_secs(20)).await.unwrap()
    }
}

fn event(seq: i64) -> pb::Event {
    pb::Event { r#type: "service.updated".into(), seq, ..pb::Event::default() }
}

fn broken_after(first: Vec<pb::Event>, then: Vec<pb::Event>) -> impl FnMut(&scripted::Call) -> Reply {
    let mut rounds = vec![Reply::many(&then), Reply::cut(&first)];
    move |_| rounds.pop().unwrap_or_else(|| Reply::Stream(tokio::sync::mpsc::unbounded_channel().1))
}

#[tokio::test]
async fn a_watch_goes_on_after_a_break_without_doubles_and_gaps() {
    let bed = Bed::new();
    let bookmark = pb::Event { r#type: "watch.bookmark".into(), seq: 9, ..pb::Event::default() };
    // The second stream repeats what the first one told, as one that resumes carelessly would.
    bed.server
        .on("WatchEvents", broken_after(vec![event(6), bookmark, event(10)], vec![event(10), event(11)]));
    let request = pb::WatchEventsRequest { after: Some(5), ..pb::WatchEventsRequest::default() };
    let mut watch = bed.client().await.watch_events(request).await.unwrap();
    let mut told = [watch.next().await.unwrap().seq, watch.next().await.unwrap().seq, 0];
    bed.server.cut();
    told[2] = watch.next().await.unwrap().seq;
    assert_eq!((told, watch.position()), ([6, 10, 11], 11));
    let positions: Vec<Option<i64>> = bed
        .server
        .calls("WatchEvents")
        .iter()
        .map(|call| call.read::<pb::WatchEventsRequest>().after)
        .collect();
    assert_eq!(positions[..2], [Some(5), Some(10)]);
}

#[tokio::test]
async fn a_watch_from_now_on_knows_its_position_before_the_first_event() {
    let bed = Bed::new();
    bed.server
        .on("ListEvents", |_| Reply::one(&pb::ListEventsResponse { head_seq: 41, ..Default::default() }));
    bed.server.on("WatchEvents", broken_after(vec![event(41)], vec![event(42)]));
    let mut watch = bed.client().await.watch_events(pb::WatchEventsRequest::default()).await.unwrap();
    bed.server.cut();
    assert_eq!(watch.next().await.unwrap().seq, 42);
    let asked = bed.server.calls("WatchEvents");
    assert!(asked.iter().all(|call| call.read::<pb::WatchEventsRequest>().after == Some(41)), "{asked:?}");
}

#[tokio::test]
async fn what_was_forgotten_during_a_break_is_told_as_a_resync() {
    let bed = Bed::new();
    let mut rounds = vec![
        Reply::many(&[event(40)]),
        Reply::error(Code::OutOfRange, "SEQUENCE_TOO_OLD", "too old", &[("oldest_seq", "40")]),
        Reply::cut(&[event(6)]),
    ];
    bed.server.on("WatchEvents", move |_| rounds.pop().unwrap());
    let request = pb::WatchEventsRequest { after: Some(5), ..pb::WatchEventsRequest::default() };
    let mut watch = bed.client().await.watch_events(request).await.unwrap();
    assert_eq!(watch.next().await.unwrap().seq, 6);
    bed.server.cut();
    let resync = watch.next().await.unwrap();
    assert_eq!((resync.r#type.as_str(), resync.data.unwrap().oldest_seq), ("watch.resync", Some(40)));
    assert_eq!(watch.next().await.unwrap().seq, 40);
    assert_eq!(bed.server.calls("WatchEvents")[2].read::<pb::WatchEventsRequest>().after, Some(39));
}

#[tokio::test]
async fn a_position_that_is_too_old_at_first_is_the_callers_mistake() {
    let bed = Bed::new();
    bed.server.on("WatchEvents", |_| {
        Reply::error(Code::OutOfRange, "SEQUENCE_TOO_OLD", "too old", &[("oldest_seq", "40")])
    });
    let request = pb::WatchEventsRequest { after: Some(5), ..pb::WatchEventsRequest::default() };
    let error = bed.client().await.watch_events(request).await.unwrap_err();
    assert_eq!((error.kind, error.reason.as_str()), (Kind::OutOfRange, "SEQUENCE_TOO_OLD"));
}

#[tokio::test]
async fn an_operation_is_followed_through_a_drain_to_its_end() {
    let bed = Bed::new();
    let mut rounds = vec![
        Reply::many(&[event(3), event(4)]),
        Reply::error(Code::Unavailable, "DRAINING", "going down", &[]),
        Reply::cut(&[event(2), event(3)]),
    ];
    bed.server.on("WatchOperation", move |_| rounds.pop().unwrap());
    let mut watch = bed.client().await.watch_operation("op_a").await.unwrap();
    let mut told = Vec::new();
    while let Some(event) = watch.next().await.unwrap() {
        told.push(event.seq);
        if told == [2, 3] {
            bed.server.cut();
        }
    }
    assert_eq!(told, [2, 3, 4]);
    assert_eq!(bed.server.calls("WatchOperation")[2].read::<pb::WatchOperationRequest>().after, Some(3));
}

fn line(container: &str, nanos: i32, message: &str) -> pb::LogEntry {
    pb::LogEntry {
        timestamp: Some(prost_types::Timestamp { seconds: 100, nanos }),
        container_id: container.into(),
        message: message.into(),
        ..pb::LogEntry::default()
    }
}

#[tokio::test]
async fn followed_logs_go_on_after_a_break_where_each_container_was() {
    let bed = Bed::new();
    let first = [line("a", 5, "a5"), line("b", 9, "b9")];
    let then = [
        line("a", 5, "a5"),
        line("a", 6, "a6"),
        line("b", 9, "b9"),
        line("b", 10, "b10"),
        line("b", 10, "b10 again"),
    ];
    let mut rounds = vec![Reply::many(&then), Reply::cut(&first)];
    bed.server.on("GetGroupLogs", move |_| rounds.pop().unwrap());
    let request =
        pb::GetGroupLogsRequest { name: "shop".into(), follow: true, lines: Some(5), ..Default::default() };
    let mut watch = bed.client().await.group_logs(request).await.unwrap();
    let mut told = Vec::new();
    while let Some(entry) = watch.next().await.unwrap() {
        told.push(entry.message);
        if told.len() == 2 {
            bed.server.cut();
        }
    }
    assert_eq!(
        told,
        ["a5", "b9", "a6", "b10", "b10 again"],
        "what comes again is counted, so that two lines of one instant are two"
    );
    let asked: pb::GetGroupLogsRequest = bed.server.calls("GetGroupLogs")[1].read();
    assert_eq!((asked.since.unwrap().nanos, asked.lines), (5, Some(-1)));
}

#[tokio::test]
async fn logs_that_are_not_followed_end_with_the_break() {
    let bed = Bed::new();
    bed.server.on("GetServiceLogs", |_| Reply::cut(&[line("a", 1, "one")]));
    let request = pb::GetServiceLogsRequest { id: "shop/web".into(), ..Default::default() };
    let mut watch = bed.client().await.service_logs(request).await.unwrap();
    assert_eq!(watch.next().await.unwrap().unwrap().message, "one");
    bed.server.cut();
    assert_eq!(watch.next().await.unwrap_err().kind, Kind::Unreachable);
}

#[tokio::test]
async fn a_read_is_repeated_and_a_change_is_not() {
    let bed = Bed::new();
    let mut rounds = vec![Reply::one(&pb::Service { name: "web".into(), ..Default::default() })];
    rounds.extend((0..2).map(|_| Reply::Cut(Vec::new())));
    bed.server.on("GetService", move |_| rounds.pop().unwrap());
    bed.server.on("StartService", |_| Reply::Cut(Vec::new()));
    let client = bed.client().await;
    assert_eq!(client.get_service(pb::GetServiceRequest::default()).await.unwrap().name, "web");
    let error = client.start_service(pb::StartServiceRequest::default()).await.unwrap_err();
    assert_eq!((error.kind, bed.server.calls("StartService").len()), (Kind::Unreachable, 1));
    bed.server.on("GetService", |_| Reply::Cut(Vec::new()));
    client.get_service(pb::GetServiceRequest::default()).await.unwrap_err();
    assert_eq!(bed.server.calls("GetService").len(), 6, "three attempts each");
}

#[tokio::test]
async fn an_error_brings_everything_that_the_daemon_said() {
    let bed = Bed::new();
    bed.server.on("ApplyGroup", |_| {
        let mut details = ErrorDetails::new();
        details.set_error_info("PORT_CONFLICT", "clos.dev", [("request_id".to_owned(), "r1".to_owned())]);
        details.add_bad_request_violation("name", "has a slash");
        details.set_retry_info(Some(Duration::from_secs(2)));
        let typed = Status::with_error_details(Code::FailedPrecondition, "taken", details);
        let mut status = tonic_types::pb::Status::decode(typed.details()).unwrap();
        let mut add = |name: &str, value: Vec<u8>| {
            status
                .details
                .push(prost_types::Any { type_url: format!("type.googleapis.com/clos.v2.{name}"), value });
        };
        let conflict = pb::PortConflict { port: 5432, ..Default::default() };
        add("PortConflicts", pb::PortConflicts { conflicts: vec![conflict] }.encode_to_vec());
        add("VariablesNeeded", pb::VariablesNeeded { names: vec!["TAG".into()] }.encode_to_vec());
        let finding = pb::Finding { line: 3, ..Default::default() };
        add("SourceFindings", pb::SourceFindings { findings: vec![finding] }.encode_to_vec());
        add("Unknown", vec![1, 2, 3]);
        Reply::Status(Status::with_details(Code::FailedPrecondition, "taken", status.encode_to_vec().into()))
    });
    let error = bed.client().await.apply_group(pb::ApplyGroupRequest::default()).await.unwrap_err();
    assert_eq!(
        (error.kind, error.reason.as_str(), error.to_string().as_str()),
        (Kind::FailedPrecondition, "PORT_CONFLICT", "taken")
    );
    assert_eq!((error.metadata["request_id"].as_str(), error.fields[0].field.as_str()), ("r1", "name"));
    assert_eq!((error.conflicts[0].port, error.findings[0].line), (5432, 3));
    assert_eq!(
        (error.variables.as_slice(), error.retry_after),
        (["TAG".to_owned()].as_slice(), Some(Duration::from_secs(2)))
    );
}

#[tokio::test]
async fn what_is_no_daemon_of_ours_is_said_so() {
    let bed = Bed::new();
    let client = bed.client().await;
    let error = client.get_live(pb::GetLiveRequest {}).await.unwrap_err();
    assert_eq!(error.kind, Kind::Unimplemented);
    assert!(error.message.contains("not closd, or older than this client"), "{error}");
    for (code, kind) in [
        (Code::NotFound, Kind::NotFound),
        (Code::AlreadyExists, Kind::AlreadyExists),
        (Code::Aborted, Kind::Aborted),
        (Code::Unauthenticated, Kind::Unauthenticated),
        (Code::PermissionDenied, Kind::PermissionDenied),
        (Code::ResourceExhausted, Kind::ResourceExhausted),
        (Code::Cancelled, Kind::Cancelled),
        (Code::DataLoss, Kind::Internal),
        (Code::Unavailable, Kind::Unreachable),
    ] {
        bed.server.on("StartGroup", move |_| Reply::Status(Status::new(code, "bare")));
        assert_eq!(
            client.start_group(pb::StartGroupRequest::default()).await.unwrap_err().kind,
            kind,
            "{code:?}"
        );
    }
}

#[tokio::test]
async fn a_daemon_that_says_nothing_is_late() {
    let bed = Bed::new();
    // The word of whichever end notices first; it comes with the code of a cancellation.
    bed.server.on("StartGroup", |_| Reply::Status(Status::cancelled("Timeout expired")));
    let error = bed.client().await.start_group(pb::StartGroupRequest::default()).await.unwrap_err();
    assert_eq!(error.kind, Kind::DeadlineExceeded, "{error}");

    let (_open, channel) = tokio::sync::mpsc::unbounded_channel();
    let mut channel = Some(channel);
    bed.server.on("StopGroup", move |_| Reply::Stream(channel.take().unwrap()));
    let client = bed.client().await.with_timeout(Duration::from_millis(1));
    let error = client.stop_group(pb::StopGroupRequest::default()).await.unwrap_err();
    assert_eq!(error.kind, Kind::DeadlineExceeded, "{error}");
    assert!(bed.server.calls("StopGroup").iter().all(|call| call.headers.contains_key("grpc-timeout")));
}

#[tokio::test]
async fn the_token_goes_to_its_own_daemon_and_to_nobody_else() {
    let bed = Bed::new();
    let port = bed.server.listen_on_tcp().await;
    bed.server.on("GetLive", |_| Reply::one(&pb::GetLiveResponse::default()));
    std::fs::write(bed.home.path().join("token"), "sesame\n").unwrap();
    let options = Options {
        home: bed.home.path().to_owned(),
        host: Some(format!("http://127.0.0.1:{port}")),
        ..Options::default()
    };
    let ask = async |options: &Options| {
        let endpoint = Endpoint::resolve(options).unwrap();
        assert!(!format!("{endpoint:?}").contains("sesame"));
        let client = Client::connect(&endpoint, Duration::from_secs(20)).await.unwrap();
        client.get_live(pb::GetLiveRequest {}).await.unwrap();
        let call = bed.server.calls("GetLive").pop().unwrap();
        call.headers.get("authorization").map(|value| value.to_str().unwrap().to_owned())
    };
    assert_eq!(ask(&options).await, None, "nobody said that this is the daemon of the state folder");
    let announced = format!(r#"{{"socket": "/nowhere", "tcp": "127.0.0.1:{port}", "pid": 1}}"#);
    std::fs::write(bed.home.path().join("run/endpoint.json"), announced).unwrap();
    assert_eq!(ask(&options).await.as_deref(), Some("Bearer sesame"));
    let given = Options { token: Some("other".into()), ..options };
    assert_eq!(ask(&given).await.as_deref(), Some("Bearer other"));
}

#[tokio::test]
async fn nobody_there_is_unreachable_and_says_where() {
    let home = TempDir::new().unwrap();
    let options = Options { home: home.path().to_owned(), ..Options::default() };
    let endpoint = Endpoint::resolve(&options).unwrap();
    assert!(endpoint.is_ours_to_start());
    let error = Client::connect(&endpoint, Duration::from_secs(20)).await.unwrap_err();
    assert_eq!(error.kind, Kind::Unreachable);
    assert!(error.message.contains("run/closd.sock"), "{error}");
}

#[tokio::test]
async fn a_stream_that_breaks_while_it_opens_is_opened_again() {
    let bed = Bed::new();
    let mut rounds = vec![Reply::many(&[event(1)]), Reply::Cut(Vec::new())];
    bed.server.on("WatchOperation", move |_| rounds.pop().unwrap());
    let mut watch = bed.client().await.watch_operation("op_a").await.unwrap();
    assert_eq!(watch.next().await.unwrap().unwrap().seq, 1);
    bed.server.on("WatchOperation", |_| Reply::Cut(Vec::new()));
    let error = bed.client().await.watch_operation("op_b").await.unwrap_err();
    assert_eq!(error.kind, Kind::Unreachable);
}
