//! The handlers of services and groups, on a real control over a store in memory and a small engine.

mod masks;
mod paging;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use clos_control::supervisor::Supervisor;
use clos_control::{Control, Engine, Settings, World};
use clos_domain::{Ctx, Reason};
use clos_proto::v2 as pb;
use clos_proto::v2::groups_api_server::GroupsApi as _;
use clos_proto::v2::services_api_server::ServicesApi as _;
use clos_store::Store;
use clos_testkit::clock::TickingClock;
use clos_testkit::fake_engine::FakeEngine;
use clos_testkit::fake_files::FakeFiles;
use clos_testkit::fake_host::{FakeHost, FakeProbe};
use clos_testkit::ids::SeqIds;
use futures::StreamExt as _;
use tonic::{Code, Request, Response, Status};
use tonic_types::StatusExt as _;

use crate::groups::Groups;
use crate::services::Services;

/// Nothing in these tests takes longer, unless it hangs.
const PATIENCE: Duration = Duration::from_secs(20);
const FOLDER: &str = "/home/ann/shop";
const SHOP: &str = "\
name: shop
services:
  db: {image: app}
  web: {image: app, depends_on: [db]}
  debug: {image: app, profiles: [dev]}
";

struct Bed {
    control: Control,
    services: Services,
    groups: Groups,
    engine: Arc<FakeEngine>,
    ctx: Ctx,
}

impl Bed {
    async fn new() -> Self {
        let clock = Arc::new(TickingClock::default());
        let engine = Arc::new(FakeEngine::by(clock.clone()));
        engine.add_image("app");
        let world = World {
            store: Arc::new(Store::temporary().await.unwrap()),
            engine: Engine::of(engine.clone()),
            host: Arc::new(FakeHost::new()),
            probe: Arc::new(FakeProbe::new()),
            files: Arc::new(FakeFiles::new()),
            clock,
            ids: Arc::new(SeqIds::default()),
        };
        let settings = Settings::for_cores("inst-of-the-tests", 2);
        let control = Control::open(world, settings, Supervisor::default()).await.unwrap();
        let mut lists = control.system().lists();
        control.start();
        within(lists.wait_for(|lists| *lists > 0)).await.unwrap();
        Self {
            services: Services::new(control.clone()),
            groups: Groups::new(control.clone()),
            engine,
            ctx: Ctx::system("test"),
            control,
        }
    }

    async fn create(&self, service: pb::Service) -> Result<pb::Service, Status> {
        let request = pb::CreateServiceRequest { service: Some(service), request_id: String::new() };
        said(self.services.create_service(asked(request)).await)
    }

    async fn get(&self, id: &str) -> Result<pb::Service, Status> {
        let request = pb::GetServiceRequest { id: id.into(), include_metrics: false };
        said(self.services.get_service(asked(request)).await)
    }

    async fn group(&self, name: &str) -> Result<pb::Group, Status> {
        said(self.groups.get_group(asked(pb::GetGroupRequest { name: name.into() })).await)
    }

    async fn patch(
        &self,
        id: &str,
        service: pb::Service,
        paths: &[&str],
        etag: &str,
    ) -> Result<pb::Service, Status> {
        let request = pb::UpdateServiceRequest {
            id: id.into(),
            service: Some(service),
            update_mask: Some(mask(paths)),
            etag: etag.into(),
            request_id: String::new(),
        };
        said(self.services.update_service(asked(request)).await)
    }

    async fn apply(&self, request: pb::ApplyGroupRequest) -> Result<pb::ApplyGroupResponse, Status> {
        said(within(self.groups.apply_group(asked(request))).await)
    }

    /// `up` of the shop, waited for.
    async fn up(&self) -> pb::Operation {
        let begun = self.apply(shop()).await.unwrap().operation.unwrap();
        self.ended(&begun).await
    }

    async fn ended(&self, begun: &pb::Operation) -> pb::Operation {
        let ended = self.control.operations().wait(&self.ctx, &begun.id, PATIENCE).await.unwrap();
        assert!(ended.state.is_terminal(), "the operation hangs: {ended:#?}");
        crate::encode::operation::operation(&ended, 0)
    }
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("takes too long")
}

fn asked<M>(message: M) -> Request<M> {
    let mut request = Request::new(message);
    request.extensions_mut().insert(Ctx::system("test"));
    request
}

fn said<M>(answer: Result<Response<M>, Status>) -> Result<M, Status> {
    answer.map(Response::into_inner)
}

fn mask(paths: &[&str]) -> prost_types::FieldMask {
    prost_types::FieldMask { paths: paths.iter().map(|path| (*path).to_owned()).collect() }
}

fn web() -> pb::Service {
    pb::Service {
        name: "web".into(),
        group: "shop".into(),
        docker_config: Some(pb::DockerConfig { image: "app".into(), ..pb::DockerConfig::default() }),
        ..pb::Service::default()
    }
}

fn source(text: &str) -> pb::ComposeSource {
    let file = pb::SourceFile { path: "compose.yaml".into(), content: text.into() };
    pb::ComposeSource { working_dir: FOLDER.into(), files: vec![file], ..pb::ComposeSource::default() }
}

fn shop() -> pb::ApplyGroupRequest {
    pb::ApplyGroupRequest { name: "-".into(), source: Some(source(SHOP)), ..Default::default() }
}

#[track_caller]
fn refused<M: std::fmt::Debug>(answer: Result<M, Status>, code: Code, reason: Reason) -> Status {
    let status = answer.expect_err("should have been refused");
    assert_eq!(status.code(), code, "{status}");
    assert_eq!(status.get_details_error_info().unwrap().reason, reason.as_str(), "{status}");
    status
}

#[tokio::test]
async fn a_service_is_made_shown_changed_and_deleted() {
    let bed = Bed::new().await;
    let secret = BTreeMap::from([("DB_PASSWORD".to_owned(), "hunter2".to_owned())]);
    let made = bed.create(pb::Service { port: Some(8080), environment: secret, ..web() }).await.unwrap();
    assert_eq!((made.name.as_str(), made.group.as_str(), made.port), ("web", "shop", Some(8080)));
    assert!(made.enabled && made.id.starts_with("svc_"));
    assert_eq!(made.environment["DB_PASSWORD"], crate::encode::MASK);
    assert_eq!(bed.get("shop/web").await.unwrap(), made);
    assert_eq!(bed.get(&made.id).await.unwrap(), made);

    let put = pb::ReplaceServiceRequest {
        id: "shop/web".into(),
        service: Some(pb::Service { description: "sells".into(), ..made.clone() }),
        etag: made.etag.clone(),
        ..Default::default()
    };
    let changed = said(bed.services.replace_service(asked(put.clone())).await).unwrap();
    assert_eq!(changed.description, "sells");
    assert_ne!(changed.etag, made.etag);
    refused(said(bed.services.replace_service(asked(put)).await), Code::Aborted, Reason::EtagMismatch);

    let kept = bed.control.services().get(&bed.ctx, "shop/web").await.unwrap();
    assert_eq!(kept.definition.environment["DB_PASSWORD"], "hunter2");
    let owner = pb::Service { owner: "ann".into(), ..Default::default() };
    let patched = bed.patch("shop/web", owner, &["owner"], "").await.unwrap();
    assert_eq!((patched.owner.as_str(), patched.description.as_str()), ("ann", "sells"));

    let delete =
        |etag: &str| pb::DeleteServiceRequest { id: "shop/web".into(), force: false, etag: etag.into() };
    let old = bed.services.delete_service(asked(delete(&made.etag))).await;
    refused(old, Code::Aborted, Reason::EtagMismatch);
    bed.services.delete_service(asked(delete(&patched.etag))).await.unwrap();
    let gone = refused(bed.get("shop/web").await, Code::NotFound, Reason::ServiceNotFound);
    assert_eq!(gone.get_details_error_info().unwrap().metadata["request_id"], "test");
}

#[tokio::test]
async fn a_bad_service_is_refused_with_every_field() {
    let bed = Bed::new().await;
    let bad = pb::Service { name: "a b".into(), port: Some(80), ..web() };
    let status = refused(bed.create(bad).await, Code::InvalidArgument, Reason::InvalidField);
    let fields: Vec<String> = status
        .get_details_bad_request()
        .unwrap()
        .field_violations
        .into_iter()
        .map(|violation| violation.field)
        .collect();
    assert_eq!(fields, ["name", "port"]);
    bed.create(web()).await.unwrap();
    refused(bed.create(web()).await, Code::AlreadyExists, Reason::ServiceExists);
    let lost = pb::Service {
        depends_on: vec![pb::Dependency { service: "db".into(), ..Default::default() }],
        ..web()
    };
    let lost = pb::Service { name: "api".into(), ..lost };
    refused(bed.create(lost).await, Code::InvalidArgument, Reason::UnknownDependency);
    let unknown = bed.patch("shop/web", web(), &["colour"], "").await;
    refused(unknown, Code::InvalidArgument, Reason::InvalidField);
}

#[tokio::test]
async fn a_request_id_makes_a_call_repeatable() {
    let bed = Bed::new().await;
    let request = pb::CreateServiceRequest { service: Some(web()), request_id: "again".into() };
    let first = said(bed.services.create_service(asked(request.clone())).await).unwrap();
    let second = said(bed.services.create_service(asked(request)).await).unwrap();
    assert_eq!(first.id, second.id);

    let begun =
        bed.apply(pb::ApplyGroupRequest { request_id: "up-1".into(), r#move: true, ..shop() }).await.unwrap();
    let first = begun.operation.unwrap();
    assert_eq!(first.request_id, "up-1");
    let ended = bed.ended(&first).await;
    let again = bed.apply(pb::ApplyGroupRequest { request_id: "up-1".into(), ..shop() }).await.unwrap();
    let again = again.operation.unwrap();
    assert_eq!((&again.id, again.status()), (&first.id, ended.status()));
    let anew = bed.apply(pb::ApplyGroupRequest { request_id: "up-2".into(), ..shop() }).await.unwrap();
    assert_ne!(anew.operation.unwrap().id, first.id);

    let stop =
        pb::StopServiceRequest { id: "shop/web".into(), timeout: Some(1), request_id: "stop-1".into() };
    let first = said(within(bed.services.stop_service(asked(stop.clone()))).await).unwrap();
    let second = said(within(bed.services.stop_service(asked(stop))).await).unwrap();
    assert_eq!(first.id, second.id);
}

#[tokio::test]
async fn two_changes_at_once_without_etags_are_both_kept() {
    let bed = Bed::new().await;
    bed.create(web()).await.unwrap();
    let owner = pb::Service { owner: "ann".into(), ..Default::default() };
    let version = pb::Service { version: "2".into(), ..Default::default() };
    let (one, two) = tokio::join!(
        bed.patch("shop/web", owner, &["owner"], ""),
        bed.patch("shop/web", version, &["version"], "")
    );
    one.unwrap();
    two.unwrap();
    let now = bed.get("shop/web").await.unwrap();
    assert_eq!((now.owner.as_str(), now.version.as_str()), ("ann", "2"));
}

#[tokio::test]
async fn listings_are_filtered_ordered_and_come_in_pages() {
    let bed = Bed::new().await;
    for name in ["a", "b", "c"] {
        let tags = vec![format!("tag-{name}"), "all".into()];
        bed.create(pb::Service { name: name.into(), tags, ..web() }).await.unwrap();
    }
    bed.create(pb::Service { group: "blog".into(), instance: "x".into(), ..web() }).await.unwrap();
    let list = async |request: pb::ListServicesRequest| {
        let page = said(bed.services.list_services(asked(request)).await).unwrap();
        let names: Vec<String> =
            page.services.iter().map(|one| format!("{}/{}", one.group, one.name)).collect();
        (names, page.pagination.unwrap(), page.total_count)
    };
    let request = pb::ListServicesRequest { limit: Some(3), ..Default::default() };
    let (first, pagination, total) = list(request.clone()).await;
    assert_eq!((first.as_slice(), total), (["blog/web", "shop/a", "shop/b"].map(String::from).as_slice(), 4));
    assert!(pagination.has_more);
    let (last, end, _) =
        list(pb::ListServicesRequest { page_token: pagination.next_page_token, ..request }).await;
    assert_eq!((last.as_slice(), end.has_more, end.offset), (["shop/c".to_owned()].as_slice(), false, 3));

    let with = |group: &str, order_by: &str| pb::ListServicesRequest {
        group: group.into(),
        order_by: order_by.into(),
        ..Default::default()
    };
    assert_eq!(list(with("shop", "created_at desc")).await.0, ["shop/c", "shop/b", "shop/a"]);
    assert_eq!(list(with("blog", "")).await.2, 0, "a bare name is the base only");
    assert_eq!(list(with("blog~*", "")).await.2, 1);
    let by_id = bed.group("shop").await.unwrap().id;
    assert_eq!(list(with(&by_id, "")).await.2, 3);
    let tagged = pb::ListServicesRequest { tags: vec!["all,tag-b".into()], ..Default::default() };
    assert_eq!(list(tagged).await.0, ["shop/b"]);
    let stopped = pb::ListServicesRequest {
        status: vec![pb::ServiceStatus::Failed.into(), pb::ServiceStatus::Stopped.into()],
        include_metrics: true,
        ..Default::default()
    };
    assert_eq!(list(stopped).await.2, 4);
    let bad = pb::ListServicesRequest { limit: Some(0), order_by: "colour".into(), ..Default::default() };
    let bad = said(bed.services.list_services(asked(bad)).await);
    refused(bad, Code::InvalidArgument, Reason::InvalidField);
    let gone = with("grp_abcdefghijklmnopqrstuvwx23", "");
    refused(said(bed.services.list_services(asked(gone)).await), Code::NotFound, Reason::GroupNotFound);
}

#[tokio::test]
async fn a_profile_enables_what_its_group_has_active() {
    let bed = Bed::new().await;
    let group = pb::Group { name: "shop".into(), profiles: vec!["dev".into()], ..Default::default() };
    let request = pb::CreateGroupRequest { group: Some(group), request_id: String::new() };
    said(bed.groups.create_group(asked(request)).await).unwrap();
    let of = |name: &str, profile: &str| pb::Service {
        name: name.into(),
        profiles: vec![profile.into()],
        ..web()
    };
    assert!(bed.create(of("a", "dev")).await.unwrap().enabled);
    assert!(!bed.create(of("b", "debug")).await.unwrap().enabled);
    let elsewhere = pb::Service { group: "blog".into(), ..of("c", "dev") };
    assert!(!bed.create(elsewhere).await.unwrap().enabled, "its group is new");
    let moved = bed.patch("shop/b", of("b", "dev"), &["profiles"], "").await.unwrap();
    assert!(moved.enabled);
}

#[tokio::test]
async fn scale_0_survives_a_patch() {
    let bed = Bed::new().await;
    let text = "name: shop\nservices: {web: {image: app, scale: 0}}";
    let request = pb::ApplyGroupRequest { source: Some(source(text)), ..shop() };
    bed.apply(request).await.unwrap();
    let described = pb::Service { description: "off".into(), ..pb::Service::default() };
    let patched = bed.patch("shop/web", described, &["description"], "").await.unwrap();
    assert!(!patched.enabled);
}

#[tokio::test]
async fn up_makes_a_group_run_and_a_plan_changes_nothing() {
    let bed = Bed::new().await;
    let planned = bed.apply(pb::ApplyGroupRequest { dry_run: true, ..shop() }).await.unwrap();
    assert!(planned.operation.is_none() && planned.group.is_none(), "there is no such group yet");
    assert!(planned.plan.unwrap().text.contains("create   shop-web-1"));
    refused(bed.group("shop").await, Code::NotFound, Reason::GroupNotFound);

    let ended = bed.up().await;
    assert_eq!((ended.status(), ended.r#type()), (pb::OperationStatus::Completed, pb::OperationType::Up));
    assert_eq!((ended.total_services, ended.completed_services), (2, 2));
    let group = bed.group("shop").await.unwrap();
    assert_eq!(
        (group.status(), group.health_score, group.running_services),
        (pb::GroupStatus::Running, 1.0, 2)
    );
    assert_eq!((group.working_dir.as_str(), group.total_services), (FOLDER, 2));
    let planned = bed.apply(pb::ApplyGroupRequest { dry_run: true, ..shop() }).await.unwrap();
    assert_eq!(planned.group.unwrap().id, group.id);
    assert_eq!(planned.plan.unwrap().steps, []);

    let elsewhere = pb::ComposeSource { working_dir: "/home/ann/other".into(), ..source(SHOP) };
    let elsewhere = bed.apply(pb::ApplyGroupRequest { source: Some(elsewhere), ..shop() }).await;
    refused(elsewhere, Code::FailedPrecondition, Reason::ProjectMismatch);
    let broken = bed.apply(pb::ApplyGroupRequest { source: Some(source("services: [")), ..shop() }).await;
    refused(broken, Code::InvalidArgument, Reason::InvalidFile);
}

#[tokio::test]
async fn every_verb_of_a_service_begins_its_operation() {
    let bed = Bed::new().await;
    bed.up().await;
    let id = String::from("shop/web");
    let timeout = Some(1);
    let stop = pb::StopServiceRequest { id: id.clone(), timeout, ..Default::default() };
    let stopped = said(within(bed.services.stop_service(asked(stop))).await).unwrap();
    assert_eq!(
        (stopped.r#type(), bed.ended(&stopped).await.status()),
        (pb::OperationType::Stop, pb::OperationStatus::Completed)
    );
    assert_eq!(bed.get("shop/web").await.unwrap().desired_state(), pb::DesiredState::Stopped);
    assert!(stopped.first_seq > 0);
    assert_eq!(stopped.service_id, bed.get("shop/web").await.unwrap().id);

    let start =
        pb::StartServiceRequest { id: id.clone(), with_dependencies: Some(false), ..Default::default() };
    let started = said(within(bed.services.start_service(asked(start))).await).unwrap();
    assert_eq!(
        (started.r#type(), bed.ended(&started).await.status()),
        (pb::OperationType::Start, pb::OperationStatus::Completed)
    );
    let restart = pb::RestartServiceRequest { id: id.clone(), timeout, ..Default::default() };
    let restarted = said(within(bed.services.restart_service(asked(restart))).await).unwrap();
    assert_eq!(
        (restarted.r#type(), bed.ended(&restarted).await.status()),
        (pb::OperationType::Restart, pb::OperationStatus::Completed)
    );
    let recreate = pb::RecreateServiceRequest { id: id.clone(), timeout, ..Default::default() };
    let recreated = said(within(bed.services.recreate_service(asked(recreate))).await).unwrap();
    assert_eq!(
        (recreated.r#type(), bed.ended(&recreated).await.status()),
        (pb::OperationType::Recreate, pb::OperationStatus::Completed)
    );

    let batch = pb::BatchServicesRequest {
        action: pb::BatchAction::Stop.into(),
        ids: vec![id.clone(), "shop/db".into()],
        timeout,
        ..Default::default()
    };
    let both = said(within(bed.services.batch_services(asked(batch))).await).unwrap();
    assert_eq!(bed.ended(&both).await.total_services, 2);
    let not_down = pb::DeleteServiceRequest { id: id.clone(), ..Default::default() };
    refused(bed.services.delete_service(asked(not_down)).await, Code::FailedPrecondition, Reason::NotDown);
    let down = pb::DownServiceRequest { id: id.clone(), timeout, ..Default::default() };
    let down = said(within(bed.services.down_service(asked(down))).await).unwrap();
    assert_eq!(
        (down.r#type(), bed.ended(&down).await.status()),
        (pb::OperationType::Down, pb::OperationStatus::Completed)
    );
    assert_eq!(bed.get("shop/web").await.unwrap().docker_config.unwrap().container_id, "");

    let late = pb::StopServiceRequest { id, timeout: Some(-1), ..Default::default() };
    refused(said(bed.services.stop_service(asked(late)).await), Code::InvalidArgument, Reason::InvalidField);
}

#[tokio::test]
async fn every_verb_of_a_group_begins_its_operation() {
    let bed = Bed::new().await;
    bed.up().await;
    let name = String::from("shop");
    let timeout = Some(1);
    let stop = pb::StopGroupRequest { name: name.clone(), timeout, ..Default::default() };
    let stop = said(within(bed.groups.stop_group(asked(stop))).await).unwrap();
    assert_eq!(
        (stop.r#type(), bed.ended(&stop).await.status()),
        (pb::OperationType::Stop, pb::OperationStatus::Completed)
    );
    let start = pb::StartGroupRequest { name: name.clone(), atomic: true, ..Default::default() };
    let start = said(within(bed.groups.start_group(asked(start))).await).unwrap();
    assert_eq!((start.r#type(), start.policy()), (pb::OperationType::Start, pb::FailurePolicy::Undo));
    assert_eq!(bed.ended(&start).await.status(), pb::OperationStatus::Completed);
    let restart = pb::RestartGroupRequest { name: name.clone(), timeout, ..Default::default() };
    let restart = said(within(bed.groups.restart_group(asked(restart))).await).unwrap();
    assert_eq!(
        (restart.r#type(), bed.ended(&restart).await.status()),
        (pb::OperationType::Restart, pb::OperationStatus::Completed)
    );

    let delete = pb::DeleteGroupRequest { name: name.clone(), ..Default::default() };
    refused(bed.groups.delete_group(asked(delete.clone())).await, Code::FailedPrecondition, Reason::NotDown);
    let down = pb::DownGroupRequest { name: name.clone(), volumes: true, timeout, ..Default::default() };
    let down = said(within(bed.groups.down_group(asked(down))).await).unwrap();
    assert_eq!(
        (down.r#type(), bed.ended(&down).await.status()),
        (pb::OperationType::Down, pb::OperationStatus::Completed)
    );
    assert_eq!(bed.group("shop").await.unwrap().status(), pb::GroupStatus::Stopped);
    bed.groups.delete_group(asked(delete)).await.unwrap();
    refused(bed.group("shop").await, Code::NotFound, Reason::GroupNotFound);
}

#[tokio::test]
async fn what_will_never_be_is_not_watched() {
    let bed = Bed::new().await;
    bed.up().await;
    let service = bed.get("shop/web").await.unwrap().id;
    let watched = async |service: &str, operation: &str| {
        let filter = clos_domain::event::Filter {
            service: clos_domain::id::ServiceId::parse(service),
            operation: clos_domain::id::OperationId::parse(operation),
            ..Default::default()
        };
        crate::listing::can_come(&bed.control, &bed.ctx, &filter).await.map_err(|error| error.reason())
    };
    let unknown = "abcdefghijklmnopqrstuvwx23";
    assert_eq!(watched("", "").await, Ok(()));
    assert_eq!(watched(&service, "").await, Ok(()));
    assert_eq!(watched(&format!("svc_{unknown}"), "").await, Err(Reason::ServiceNotFound));
    assert_eq!(watched(&service, &format!("op_{unknown}")).await, Err(Reason::OperationNotFound));
    // What is gone has a history.
    let delete = pb::DeleteServiceRequest { id: service.clone(), force: true, ..Default::default() };
    bed.services.delete_service(asked(delete)).await.unwrap();
    assert_eq!(watched(&service, "").await, Ok(()));
}

#[tokio::test]
async fn history_of_a_service_is_listed() {
    let bed = Bed::new().await;
    bed.up().await;
    let operations = pb::ListServiceOperationsRequest { id: "shop/web".into(), ..Default::default() };
    let listed = said(bed.services.list_service_operations(asked(operations)).await).unwrap();
    assert_eq!((listed.total_count, listed.operations.len()), (1, 1));
    assert_eq!((listed.operations[0].steps.len(), listed.operations[0].r#type()), (0, pb::OperationType::Up));
    assert!(listed.operations[0].first_seq > 0);
    let failed = vec![pb::OperationStatus::Failed.into(), pb::OperationStatus::Cancelled.into()];
    let failed =
        pb::ListServiceOperationsRequest { id: "shop/web".into(), status: failed, ..Default::default() };
    assert_eq!(said(bed.services.list_service_operations(asked(failed)).await).unwrap().total_count, 0);

    let mut after = None;
    let mut seen = Vec::new();
    loop {
        let request = pb::ListServiceEventsRequest {
            id: "shop/web".into(),
            after,
            limit: Some(2),
            ..Default::default()
        };
        let part = said(bed.services.list_service_events(asked(request)).await).unwrap();
        assert!(part.oldest_seq == 1 && part.head_seq >= part.next_after);
        seen.extend(part.events);
        after = Some(part.next_after);
        if !part.has_more {
            assert_eq!(after, Some(part.head_seq), "everything up to the head was looked at");
            break;
        }
    }
    assert_eq!(seen[0].r#type, "service.created");
    assert!(seen.len() > 2 && seen.windows(2).all(|pair| pair[0].seq < pair[1].seq));
    let id = bed.get("shop/web").await.unwrap().id;
    assert!(seen.iter().all(|event| event.service_id == id && event.resource_name == "shop/web"));
    let bad = pb::ListServiceEventsRequest { id: "shop/web".into(), limit: Some(0), ..Default::default() };
    refused(
        said(bed.services.list_service_events(asked(bad)).await),
        Code::InvalidArgument,
        Reason::InvalidField,
    );
}

#[tokio::test]
async fn health_and_metrics_tell_when_nobody_asks() {
    let bed = Bed::new().await;
    let made = bed.create(web()).await.unwrap();
    let metrics = pb::GetServiceMetricsRequest { id: "shop/web".into() };
    let metrics = said(bed.services.get_service_metrics(asked(metrics)).await).unwrap();
    assert_eq!((metrics.service_id.as_str(), metrics.latest), (made.id.as_str(), None));
    let health = pb::GetServiceHealthRequest { id: "shop/web".into() };
    let health = said(bed.services.get_service_health(asked(health)).await).unwrap();
    assert_eq!((health.service_id, health.status, health.last_check), (made.id, None, None));
    let with_metrics = pb::GetServiceRequest { id: "shop/web".into(), include_metrics: true };
    assert_eq!(said(bed.services.get_service(asked(with_metrics)).await).unwrap().metrics, None);
}

#[tokio::test]
async fn logs_end_where_there_is_nothing_to_follow() {
    let bed = Bed::new().await;
    bed.create(web()).await.unwrap();
    let logs = pb::GetServiceLogsRequest { id: "shop/web".into(), ..Default::default() };
    let lines = said(bed.services.get_service_logs(asked(logs)).await).unwrap();
    assert_eq!(within(lines.count()).await, 0);
    let logs = pb::GetGroupLogsRequest { name: "shop".into(), ..Default::default() };
    let lines = said(bed.groups.get_group_logs(asked(logs)).await).unwrap();
    assert_eq!(within(lines.count()).await, 0);
    let bad = pb::GetServiceLogsRequest { id: "shop/web".into(), lines: Some(-2), ..Default::default() };
    let bad = bed.services.get_service_logs(asked(bad)).await.map(drop);
    refused(bad, Code::InvalidArgument, Reason::InvalidField);
    let bad = pb::GetGroupLogsRequest { name: "shop".into(), stream: 9, ..Default::default() };
    refused(
        bed.groups.get_group_logs(asked(bad)).await.map(drop),
        Code::InvalidArgument,
        Reason::InvalidField,
    );
}

#[tokio::test]
async fn lines_say_whose_they_are_and_an_error_is_the_last() {
    let bed = Bed::new().await;
    bed.up().await;
    for container in ["shop-web-1", "shop-db-1"] {
        bed.engine.say(container, "INFO up");
        bed.engine.complain(container, "ERROR no coffee");
    }
    bed.engine.tear_log("shop-web-1", true);
    let logs = pb::GetServiceLogsRequest { id: "shop/web".into(), ..Default::default() };
    let lines = said(bed.services.get_service_logs(asked(logs)).await).unwrap();
    let lines: Vec<Result<pb::LogEntry, Status>> = within(lines.collect()).await;
    let first = lines[0].as_ref().unwrap();
    assert_eq!(
        (first.message.as_str(), first.service.as_str(), first.level()),
        ("INFO up", "shop/web", pb::Severity::Info)
    );
    assert_eq!(lines[1].as_ref().unwrap().source(), pb::LogStream::Stderr);
    assert_eq!(lines.len(), 3);
    let last = lines.into_iter().next_back().unwrap();
    assert!(last.unwrap_err().get_details_error_info().is_some());
    bed.engine.tear_log("shop-web-1", false);

    let logs = pb::GetGroupLogsRequest {
        name: "shop".into(),
        services: vec!["web".into(), "db".into()],
        level: pb::Severity::Error.into(),
        ..Default::default()
    };
    let lines = said(bed.groups.get_group_logs(asked(logs)).await).unwrap();
    let lines: Vec<pb::LogEntry> = within(lines.map(Result::unwrap).collect()).await;
    let mut names: Vec<&str> = lines.iter().map(|line| line.service.as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["shop/db", "shop/web"]);
}

#[tokio::test]
async fn what_runs_shows_its_figures() {
    let bed = Bed::new().await;
    bed.up().await;
    let metrics = pb::GetServiceMetricsRequest { id: "shop/web".into() };
    let latest = said(bed.services.get_service_metrics(asked(metrics)).await).unwrap().latest.unwrap();
    assert_eq!((latest.cpu_usage, latest.memory_usage, latest.memory_percent), (50.0, 2.0, 25.0));
    let all = pb::ListServicesRequest { include_metrics: true, ..Default::default() };
    let all = said(bed.services.list_services(asked(all)).await).unwrap();
    let with_figures: Vec<&str> =
        all.services.iter().filter(|one| one.metrics.is_some()).map(|one| one.name.as_str()).collect();
    assert_eq!(with_figures, ["db", "web"]);
}

#[tokio::test]
async fn an_import_writes_rows_and_starts_nothing() {
    let bed = Bed::new().await;
    let import =
        pb::ImportServicesRequest { source: Some(source(SHOP)), dry_run: true, ..Default::default() };
    let dry = said(bed.services.import_services(asked(import.clone())).await).unwrap();
    assert_eq!((dry.group_name.as_str(), dry.services.len()), ("shop", 0));
    assert!(!dry.plan.unwrap().steps.is_empty());
    refused(bed.group("shop").await, Code::NotFound, Reason::GroupNotFound);

    let import = pb::ImportServicesRequest { dry_run: false, request_id: "import-1".into(), ..import };
    let made = said(bed.services.import_services(asked(import.clone())).await).unwrap();
    assert_eq!(made.services.len(), 2, "without what no active profile enables");
    assert!(made.services.iter().all(|one| one.desired_state() == pb::DesiredState::Absent));
    let again = said(bed.services.import_services(asked(import)).await).unwrap();
    assert_eq!(again, made);
    let operations = pb::ListServiceOperationsRequest { id: "shop/web".into(), ..Default::default() };
    assert_eq!(said(bed.services.list_service_operations(asked(operations)).await).unwrap().total_count, 0);
    let nothing = said(bed.services.import_services(asked(pb::ImportServicesRequest::default())).await);
    refused(nothing, Code::InvalidArgument, Reason::InvalidField);
}

#[tokio::test]
async fn a_group_is_made_listed_changed_and_deleted() {
    let bed = Bed::new().await;
    let create = |name: &str, instance: &str| pb::CreateGroupRequest {
        group: Some(pb::Group { name: name.into(), instance: instance.into(), ..Default::default() }),
        request_id: String::new(),
    };
    let made = said(bed.groups.create_group(asked(create("shop", ""))).await).unwrap();
    said(bed.groups.create_group(asked(create("shop", "x"))).await).unwrap();
    said(bed.groups.create_group(asked(create("blog", ""))).await).unwrap();
    refused(
        said(bed.groups.create_group(asked(create("shop", ""))).await),
        Code::AlreadyExists,
        Reason::GroupExists,
    );
    refused(
        said(bed.groups.create_group(asked(create("A", ""))).await),
        Code::InvalidArgument,
        Reason::InvalidField,
    );

    let list = async |name: &str, status: &[pb::GroupStatus], offset: i32| {
        let status = status.iter().map(|status| i32::from(*status)).collect();
        let request =
            pb::ListGroupsRequest { name: name.into(), status, limit: Some(2), offset, ..Default::default() };
        let page = said(bed.groups.list_groups(asked(request)).await).unwrap();
        let names: Vec<String> =
            page.groups.iter().map(|one| format!("{}~{}", one.name, one.instance)).collect();
        (names, page.total_count)
    };
    assert_eq!(list("", &[], 0).await, (vec!["blog~".to_owned(), "shop~".to_owned()], 3));
    assert_eq!(list("shop~*", &[], 0).await.0, ["shop~", "shop~x"]);
    assert_eq!(list("", &[pb::GroupStatus::Stopped], 2).await, (vec!["shop~x".to_owned()], 3));
    assert_eq!(list("", &[pb::GroupStatus::Running], 0).await.1, 0);
    let bad = pb::ListGroupsRequest { name: "~".into(), ..Default::default() };
    refused(said(bed.groups.list_groups(asked(bad)).await), Code::InvalidArgument, Reason::InvalidField);

    let update = |paths: &[&str], etag: &str| pb::UpdateGroupRequest {
        name: "shop".into(),
        group: Some(pb::Group { description: "sells".into(), start_order: 4, ..Default::default() }),
        update_mask: Some(mask(paths)),
        etag: etag.into(),
        request_id: String::new(),
    };
    let changed = said(bed.groups.update_group(asked(update(&["description"], &made.etag))).await).unwrap();
    assert_eq!((changed.description.as_str(), changed.start_order), ("sells", 0));
    let old = said(bed.groups.update_group(asked(update(&["start_order"], &made.etag))).await);
    refused(old, Code::Aborted, Reason::EtagMismatch);
    let changed = said(bed.groups.update_group(asked(update(&["start_order"], ""))).await).unwrap();
    assert_eq!((changed.description.as_str(), changed.start_order), ("sells", 4));

    let delete = |etag: &str| pb::DeleteGroupRequest { name: "shop".into(), force: true, etag: etag.into() };
    refused(bed.groups.delete_group(asked(delete(&made.etag))).await, Code::Aborted, Reason::EtagMismatch);
    bed.groups.delete_group(asked(delete(""))).await.unwrap();
    refused(bed.group("shop").await, Code::NotFound, Reason::GroupNotFound);
}

#[tokio::test]
async fn a_graph_and_a_manifest_show_the_definitions() {
    let bed = Bed::new().await;
    let import = pb::ImportServicesRequest { source: Some(source(SHOP)), ..Default::default() };
    said(bed.services.import_services(asked(import)).await).unwrap();
    let graph = pb::GetGroupGraphRequest { name: "shop".into() };
    let graph = said(bed.groups.get_group_graph(asked(graph)).await).unwrap();
    assert_eq!(
        (graph.nodes.len(), graph.edges[0].from.as_str(), graph.edges[0].to.as_str()),
        (2, "shop/web", "shop/db")
    );
    assert_eq!(graph.waves.last().unwrap().services, ["shop/web"]);
    let manifest = pb::GetGroupManifestRequest { name: "shop".into() };
    let manifest = said(bed.groups.get_group_manifest(asked(manifest)).await).unwrap();
    assert_eq!(manifest.group.unwrap().compose_files.len(), 1);
    assert!(manifest.services.iter().all(|one| one.id.is_empty() && one.created_at.is_none()));
}

#[tokio::test]
async fn what_is_not_there_is_not_found_by_any_method() {
    let bed = Bed::new().await;
    let id = || String::from("shop/none");
    let name = || String::from("none");
    macro_rules! not_found {
        ($server:ident $reason:ident: $($method:ident($request:expr)),+ $(,)?) => {$(
            let answer = within(bed.$server.$method(asked($request))).await.map(drop);
            refused(answer, Code::NotFound, Reason::$reason);
        )+};
    }
    not_found!(services ServiceNotFound:
        get_service(pb::GetServiceRequest { id: id(), ..Default::default() }),
        update_service(pb::UpdateServiceRequest { id: id(), service: Some(web()), ..Default::default() }),
        replace_service(pb::ReplaceServiceRequest { id: id(), service: Some(web()), ..Default::default() }),
        delete_service(pb::DeleteServiceRequest { id: id(), ..Default::default() }),
        start_service(pb::StartServiceRequest { id: id(), ..Default::default() }),
        stop_service(pb::StopServiceRequest { id: id(), ..Default::default() }),
        restart_service(pb::RestartServiceRequest { id: id(), ..Default::default() }),
        recreate_service(pb::RecreateServiceRequest { id: id(), ..Default::default() }),
        down_service(pb::DownServiceRequest { id: id(), ..Default::default() }),
        get_service_logs(pb::GetServiceLogsRequest { id: id(), ..Default::default() }),
        get_service_metrics(pb::GetServiceMetricsRequest { id: id() }),
        get_service_health(pb::GetServiceHealthRequest { id: id() }),
        list_service_operations(pb::ListServiceOperationsRequest { id: id(), ..Default::default() }),
        list_service_events(pb::ListServiceEventsRequest { id: id(), ..Default::default() }),
        batch_services(pb::BatchServicesRequest { action: 1, ids: vec![id()], ..Default::default() }),
    );
    not_found!(groups GroupNotFound:
        get_group(pb::GetGroupRequest { name: name() }),
        update_group(pb::UpdateGroupRequest { name: name(), ..Default::default() }),
        replace_group(pb::ReplaceGroupRequest { name: name(), ..Default::default() }),
        delete_group(pb::DeleteGroupRequest { name: name(), ..Default::default() }),
        start_group(pb::StartGroupRequest { name: name(), ..Default::default() }),
        stop_group(pb::StopGroupRequest { name: name(), ..Default::default() }),
        restart_group(pb::RestartGroupRequest { name: name(), ..Default::default() }),
        down_group(pb::DownGroupRequest { name: name(), ..Default::default() }),
        get_group_graph(pb::GetGroupGraphRequest { name: name() }),
        get_group_manifest(pb::GetGroupManifestRequest { name: name() }),
        get_group_logs(pb::GetGroupLogsRequest { name: name(), ..Default::default() }),
    );
}
