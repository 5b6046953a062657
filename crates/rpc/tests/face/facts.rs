//! What the daemon tells of itself, and what its contract tells of it.

use clos_proto::v2 as pb;
use futures::StreamExt as _;
use tonic::Code;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;

use crate::bed::{Bed, within};

async fn checked(bed: &Bed, service: &str) -> Result<ServingStatus, Code> {
    let request = HealthCheckRequest { service: service.into() };
    let answer = within(HealthClient::new(bed.over_tcp(None)).check(request)).await;
    answer.map(|answer| answer.into_inner().status()).map_err(|status| status.code())
}

#[tokio::test]
async fn health_follows_the_daemon_for_each_of_its_services() {
    let bed = Bed::new().await;
    for service in ["", "clos.v2.ServicesApi", "clos.v2.EventsApi"] {
        assert_eq!(checked(&bed, service).await, Ok(ServingStatus::Serving), "{service}");
    }
    assert_eq!(checked(&bed, "clos.v2.NoApi").await, Err(Code::NotFound));

    let request = HealthCheckRequest { service: String::new() };
    let mut client = HealthClient::new(bed.over_tcp(None));
    let mut words = within(client.watch(request)).await.unwrap().into_inner();
    assert_eq!(within(words.next()).await.unwrap().unwrap().status(), ServingStatus::Serving);
    let unknown = HealthCheckRequest { service: "clos.v2.NoApi".into() };
    let mut no_words = within(client.watch(unknown)).await.unwrap().into_inner();
    assert_eq!(within(no_words.next()).await.unwrap().unwrap().status(), ServingStatus::ServiceUnknown);

    bed.drain().cancel();
    assert_eq!(checked(&bed, "").await, Ok(ServingStatus::NotServing));
    // The watch ends: with the word, or at once with the drain.
    while let Some(Ok(word)) = within(words.next()).await {
        assert_eq!(word.status(), ServingStatus::NotServing);
    }
}

#[tokio::test]
async fn reflection_lists_every_service() {
    let bed = Bed::new().await;
    let request = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let asked = futures::stream::iter([request]);
    let mut client = ServerReflectionClient::new(bed.over_tcp(None));
    let mut answers = within(client.server_reflection_info(asked)).await.unwrap().into_inner();
    let answer = within(answers.next()).await.unwrap().unwrap().message_response.unwrap();
    let MessageResponse::ListServicesResponse(listed) = answer else { panic!("{answer:?}") };
    let names: Vec<String> = listed.service.into_iter().map(|service| service.name).collect();
    for method in clos_proto::methods() {
        let service = method.parent_service().full_name().to_owned();
        assert!(names.contains(&service), "{service} is missing in {names:?}");
    }
    assert!(names.iter().any(|name| name == "grpc.health.v1.Health"));
}

#[tokio::test]
async fn the_daemon_says_how_it_is_and_what_it_stands_on() {
    let bed = Bed::new().await;
    bed.control.start();
    let health = within(bed.system().get_health(pb::GetHealthRequest {})).await.unwrap().into_inner();
    assert_eq!(health.status(), pb::SystemStatus::Degraded, "by the engine");
    assert_eq!(health.version, "2.0.0");
    let checks = health.checks.unwrap();
    assert_eq!(checks.database(), pb::ComponentStatus::Healthy);
    assert_eq!(checks.docker(), pb::ComponentStatus::Unhealthy);
    assert_eq!(checks.disk_space(), pb::DiskStatus::Healthy);
    assert!(within(bed.system().get_ready(pb::GetReadyRequest {})).await.is_ok());

    let info = within(bed.system().get_system_info(pb::GetSystemInfoRequest {})).await.unwrap().into_inner();
    assert_eq!(info.system_resources.unwrap().cpu_count, 2);
    let engine = info.docker_info.unwrap();
    assert_eq!((engine.version.as_str(), engine.address.as_str()), ("", "unix:///nowhere.sock"));
    assert_eq!(info.daemon.unwrap().database, "sqlite");
}
