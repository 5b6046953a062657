//! `ServicesApi`: decode, ask control, encode.

use clos_control::services::RecreateOptions;
use clos_control::{Control, etag};
use clos_domain::name::GroupRef;
use clos_domain::operation::Operation;
use clos_domain::service::{Definition, Service};
use clos_domain::workload::PullPolicy;
use clos_domain::{Ctx, Kind, Reason, Result};
use clos_proto::v2 as pb;
use futures::FutureExt as _;
use futures::StreamExt as _;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use tonic::{Request, Response, Status};

use crate::call::{self, answer};
use crate::once::Calls;
use crate::status::to_status;
use crate::{decode, encode, listing};

/// A change that was made on a sight that grew old meanwhile is made anew so often.
const TRIES: u32 = 5;
/// Figures of so many services are taken at a time.
const FIGURES: usize = 16;

/// The service of services.
pub(crate) struct Services {
    control: Control,
    /// Ids of what calls made: services or operations.
    made: Calls<String>,
    imported: Calls<pb::ImportServicesResponse>,
}

impl Services {
    pub(crate) fn new(control: Control) -> Self {
        Self { control, made: Calls::default(), imported: Calls::default() }
    }

    async fn list(&self, ctx: &Ctx, request: pb::ListServicesRequest) -> Result<pb::ListServicesResponse> {
        let list = decode::service::list(&request)?;
        let mut filter = list.filter;
        filter.group = listing::group(&self.control, ctx, list.group).await?;
        let page = self.control.services().list(ctx, &filter, &list.page).await?;
        let (pagination, total_count) = encode::page::page(&page, &list.page, list.listing);
        let mut services: Vec<pb::Service> = page.items.iter().map(|one| self.shown(one)).collect();
        if request.include_metrics {
            let asked = page.items.into_iter().map(|one| self.figures(ctx, one));
            let figures: Vec<_> = futures::stream::iter(asked).buffered(FIGURES).collect().await;
            for (shown, figures) in services.iter_mut().zip(figures) {
                shown.metrics = figures;
            }
        }
        Ok(pb::ListServicesResponse { services, pagination: Some(pagination), total_count })
    }

    async fn get(&self, ctx: &Ctx, request: &pb::GetServiceRequest) -> Result<pb::Service> {
        let service = self.control.services().get(ctx, &request.id).await?;
        let mut shown = self.shown(&service);
        if request.include_metrics {
            shown.metrics = self.figures(ctx, service).await;
        }
        Ok(shown)
    }

    /// A service, with the last answer to its health check.
    fn shown(&self, service: &Service) -> pb::Service {
        let last = self.control.services().last_check(service);
        let shown = encode::service::service(service);
        let health_check = encode::health::with_last(shown.health_check, service, last.as_ref());
        pb::Service { health_check, ..shown }
    }

    /// What a service uses, where that is known.
    async fn figures(&self, ctx: &Ctx, service: Service) -> Option<pb::ServiceMetrics> {
        if !service.observed.is_running() {
            return None;
        }
        let stats = self.control.services().stats(ctx, service.id.as_str()).await.ok()?;
        Some(encode::stats::metrics(&service, &stats))
    }

    async fn create(&self, ctx: &Ctx, request: &pb::CreateServiceRequest) -> Result<pb::Service> {
        let wanted = decode::service::create(request)?;
        let make = async {
            let definition = self.enabled(ctx, &wanted.group, wanted.definition).await?;
            let made = self.control.services().create(ctx, &wanted.group, definition).await?;
            Ok(made.id.to_string())
        }
        .boxed();
        let id = self.made.once("CreateService", &request.request_id, make).await?;
        Ok(self.shown(&self.control.services().get(ctx, &id).await?))
    }

    async fn update(&self, ctx: &Ctx, request: &pb::UpdateServiceRequest) -> Result<pb::Service> {
        let read = |before: &Service| decode::service::update(request, before);
        let make = async { Ok(self.change(ctx, &request.id, &request.etag, read).await?.id.to_string()) };
        let id = self.made.once("UpdateService", &request.request_id, make.boxed()).await?;
        Ok(self.shown(&self.control.services().get(ctx, &id).await?))
    }

    async fn replace(&self, ctx: &Ctx, request: &pb::ReplaceServiceRequest) -> Result<pb::Service> {
        let read = |before: &Service| decode::service::replace(request, before);
        let make = async { Ok(self.change(ctx, &request.id, &request.etag, read).await?.id.to_string()) };
        let id = self.made.once("ReplaceService", &request.request_id, make.boxed()).await?;
        Ok(self.shown(&self.control.services().get(ctx, &id).await?))
    }

    /// What the request does not say is taken from what there is; when that changes meanwhile and
    /// the caller named no etag, it is read again.
    async fn change(
        &self,
        ctx: &Ctx,
        id: &str,
        etag: &str,
        read: impl Fn(&Service) -> Result<Definition>,
    ) -> Result<Service> {
        let services = self.control.services();
        let mut tries = 0;
        loop {
            let before = services.get(ctx, id).await?;
            let definition = self.enabled(ctx, &before.group, read(&before)?).await?;
            let seen = decode::some(etag).unwrap_or_else(|| etag::service(&before));
            let changed = services.update(ctx, before.id.as_str(), Some(&seen), definition).await;
            tries += 1;
            match changed {
                Err(error) if error.reason() == Reason::EtagMismatch && etag.is_empty() && tries < TRIES => {}
                changed => return changed,
            }
        }
    }

    /// Enabled when it has no profiles, or when its group has one of them active; never when it is
    /// scaled to 0.
    async fn enabled(&self, ctx: &Ctx, group: &GroupRef, definition: Definition) -> Result<Definition> {
        let enabled = if definition.scale == Some(0) {
            false
        } else if definition.profiles.is_empty() {
            true
        } else {
            match self.control.groups().get(ctx, &group.to_string()).await {
                Ok(view) => {
                    let active = &view.group.definition.profiles;
                    definition.profiles.iter().any(|profile| active.contains(profile))
                }
                Err(error) if error.kind() == Kind::NotFound => false,
                Err(error) => return Err(error),
            }
        };
        Ok(Definition { enabled, ..definition })
    }

    /// The operation that a call begins, or began when it came before.
    async fn begun(
        &self,
        ctx: &Ctx,
        method: &'static str,
        request_id: &str,
        begin: BoxFuture<'_, Result<Operation>>,
    ) -> Result<pb::Operation> {
        let make = async { Ok(begin.await?.id.to_string()) }.boxed();
        let id = self.made.once(method, request_id, make).await?;
        let operation = self.control.operations().get(ctx, &id).await?;
        listing::operation(&self.control, ctx, &operation).await
    }

    async fn import(
        &self,
        ctx: &Ctx,
        request: pb::ImportServicesRequest,
    ) -> Result<pb::ImportServicesResponse> {
        let dry_run = request.dry_run;
        let request_id = if dry_run { String::new() } else { request.request_id.clone() };
        let wanted = decode::apply::import(request)?;
        let make = async {
            let applied = self.control.groups().import(ctx, wanted).await?;
            let group = &applied.group.group.name;
            let services = if dry_run { &[] } else { applied.group.services.as_slice() };
            Ok(pb::ImportServicesResponse {
                group_name: group.name.to_string(),
                instance: encode::instance(group),
                services: services.iter().map(encode::service::service).collect(),
                plan: Some(encode::plan::plan(group, &applied.plan, &applied.findings)),
            })
        }
        .boxed();
        self.imported.once("ImportServices", &request_id, make).await
    }

    async fn metrics(&self, ctx: &Ctx, id: &str) -> Result<pb::GetServiceMetricsResponse> {
        let service = self.control.services().get(ctx, id).await?;
        let latest = if service.observed.is_running() {
            let stats = self.control.services().stats(ctx, service.id.as_str()).await?;
            Some(encode::stats::metrics(&service, &stats))
        } else {
            None
        };
        Ok(pb::GetServiceMetricsResponse { service_id: service.id.to_string(), latest })
    }

    async fn operations(
        &self,
        ctx: &Ctx,
        request: &pb::ListServiceOperationsRequest,
    ) -> Result<pb::ListOperationsResponse> {
        let mut list = decode::operation::of_service(request)?;
        list.service = Some(self.control.services().get(ctx, &request.id).await?.id.to_string());
        listing::operations(&self.control, ctx, list).await
    }

    async fn events(
        &self,
        ctx: &Ctx,
        request: &pb::ListServiceEventsRequest,
    ) -> Result<pb::ListEventsResponse> {
        let mut list = decode::event::of_service(request)?;
        list.wish.service = Some(self.control.services().get(ctx, &request.id).await?.id.to_string());
        listing::events(&self.control, ctx, list).await
    }
}

/// The context of what a call begins: an id that the caller gave names it.
pub(crate) fn named(ctx: &Ctx, request_id: &str) -> Ctx {
    match request_id {
        "" => ctx.clone(),
        given => Ctx { request_id: given.to_owned(), ..ctx.clone() },
    }
}

/// Lines as messages; an error is the last of them.
pub(crate) fn entries(
    ctx: &Ctx,
    lines: BoxStream<'static, Result<clos_control::logs::Line>>,
) -> BoxStream<'static, Result<pb::LogEntry, Status>> {
    let request_id = ctx.request_id.clone();
    let shown = lines.map(move |line| match line {
        Ok(line) => Ok(encode::logs::line(&line)),
        Err(error) => Err(to_status(&error, &request_id)),
    });
    shown.boxed()
}

#[tonic::async_trait]
impl pb::services_api_server::ServicesApi for Services {
    async fn list_services(
        &self,
        request: Request<pb::ListServicesRequest>,
    ) -> Result<Response<pb::ListServicesResponse>, Status> {
        let (ctx, request) = call::open(request);
        answer(&ctx, self.list(&ctx, request).await)
    }

    async fn create_service(
        &self,
        request: Request<pb::CreateServiceRequest>,
    ) -> Result<Response<pb::Service>, Status> {
        let (ctx, request) = call::open(request);
        answer(&ctx, self.create(&ctx, &request).await)
    }

    async fn get_service(
        &self,
        request: Request<pb::GetServiceRequest>,
    ) -> Result<Response<pb::Service>, Status> {
        let (ctx, request) = call::open(request);
        answer(&ctx, self.get(&ctx, &request).await)
    }

    async fn update_service(
        &self,
        request: Request<pb::UpdateServiceRequest>,
    ) -> Result<Response<pb::Service>, Status> {
        let (ctx, request) = call::open(request);
        answer(&ctx, self.update(&ctx, &request).await)
    }

    async fn replace_service(
        &self,
        request: Request<pb::ReplaceServiceRequest>,
    ) -> Result<Response<pb::Service>, Status> {
        let (ctx, request) = call::open(request);
        answer(&ctx, self.replace(&ctx, &request).await)
    }

    async fn delete_service(
        &self,
        request: Request<pb::DeleteServiceRequest>,
    ) -> Result<Response<()>, Status> {
        let (ctx, request) = call::open(request);
        let seen = decode::some(&request.etag);
        let services = self.control.services();
        answer(&ctx, services.delete(&ctx, &request.id, seen.as_deref(), request.force).await)
    }

    async fn start_service(
        &self,
        request: Request<pb::StartServiceRequest>,
    ) -> Result<Response<pb::Operation>, Status> {
        let (ctx, request) = call::open(request);
        let begin = async {
            decode::service::grace(None, &request.request_id)?;
            let with_dependencies = request.with_dependencies.unwrap_or(true);
            let ctx = named(&ctx, &request.request_id);
            self.control.services().start(&ctx, &request.id, with_dependencies).await
        }
        .boxed();
        answer(&ctx, self.begun(&ctx, "StartService", &request.request_id, begin).await)
    }

    async fn stop_service(
        &self,
        request: Request<pb::StopServiceRequest>,
    ) -> Result<Response<pb::Operation>, Status> {
        let (ctx, request) = call::open(request);
        let begin = async {
            let grace = decode::service::grace(request.timeout, &request.request_id)?;
            self.control.services().stop(&named(&ctx, &request.request_id), &request.id, grace).await
        }
        .boxed();
        answer(&ctx, self.begun(&ctx, "StopService", &request.request_id, begin).await)
    }

    async fn restart_service(
        &self,
        request: Request<pb::RestartServiceRequest>,
    ) -> Result<Response<pb::Operation>, Status> {
        let (ctx, request) = call::open(request);
        let begin = async {
            let grace = decode::service::grace(request.timeout, &request.request_id)?;
            self.control.services().restart(&named(&ctx, &request.request_id), &request.id, grace).await
        }
        .boxed();
        answer(&ctx, self.begun(&ctx, "RestartService", &request.request_id, begin).await)
    }

    async fn recreate_service(
        &self,
        request: Request<pb::RecreateServiceRequest>,
    ) -> Result<Response<pb::Operation>, Status> {
        let (ctx, request) = call::open(request);
        let begin = async {
            let (pull, grace) = decode::service::recreate(&request)?;
            let build = request.build || pull == Some(PullPolicy::Build);
            let pull = pull.filter(|pull| *pull != PullPolicy::Build);
            let options = RecreateOptions { build, pull, grace };
            let ctx = named(&ctx, &request.request_id);
            self.control.services().recreate(&ctx, &request.id, options).await
        }
        .boxed();
        answer(&ctx, self.begun(&ctx, "RecreateService", &request.request_id, begin).await)
    }

    async fn down_service(
        &self,
        request: Request<pb::DownServiceRequest>,
    ) -> Result<Response<pb::Operation>, Status> {
        let (ctx, request) = call::open(request);
        let begin = async {
            let grace = decode::service::grace(request.timeout, &request.request_id)?;
            self.control.services().down(&named(&ctx, &request.request_id), &request.id, grace).await
        }
        .boxed();
        answer(&ctx, self.begun(&ctx, "DownService", &request.request_id, begin).await)
    }

    type GetServiceLogsStream = BoxStream<'static, Result<pb::LogEntry, Status>>;

    async fn get_service_logs(
        &self,
        request: Request<pb::GetServiceLogsRequest>,
    ) -> Result<Response<Self::GetServiceLogsStream>, Status> {
        let (ctx, request) = call::open(request);
        let lines = async {
            let wanted = decode::logs::service(&request)?;
            self.control.services().logs(&ctx, &request.id, wanted).await
        };
        answer(&ctx, lines.await.map(|lines| entries(&ctx, lines)))
    }

    async fn get_service_metrics(
        &self,
        request: Request<pb::GetServiceMetricsRequest>,
    ) -> Result<Response<pb::GetServiceMetricsResponse>, Status> {
        let (ctx, request) = call::open(request);
        answer(&ctx, self.metrics(&ctx, &request.id).await)
    }

    async fn get_service_health(
        &self,
        request: Request<pb::GetServiceHealthRequest>,
    ) -> Result<Response<pb::ServiceHealth>, Status> {
        let (ctx, request) = call::open(request);
        let health = self.control.services().health(&ctx, &request.id).await;
        answer(&ctx, health.map(|health| encode::health::health(&health)))
    }

    async fn list_service_operations(
        &self,
        request: Request<pb::ListServiceOperationsRequest>,
    ) -> Result<Response<pb::ListOperationsResponse>, Status> {
        let (ctx, request) = call::open(request);
        answer(&ctx, self.operations(&ctx, &request).await)
    }

    async fn list_service_events(
        &self,
        request: Request<pb::ListServiceEventsRequest>,
    ) -> Result<Response<pb::ListEventsResponse>, Status> {
        let (ctx, request) = call::open(request);
        answer(&ctx, self.events(&ctx, &request).await)
    }

    async fn batch_services(
        &self,
        request: Request<pb::BatchServicesRequest>,
    ) -> Result<Response<pb::Operation>, Status> {
        let (ctx, request) = call::open(request);
        let begin = async {
            let batch = decode::service::batch(&request)?;
            let ctx = named(&ctx, &request.request_id);
            self.control.services().batch(&ctx, batch.verb, &batch.ids, batch.grace).await
        }
        .boxed();
        answer(&ctx, self.begun(&ctx, "BatchServices", &request.request_id, begin).await)
    }

    async fn import_services(
        &self,
        request: Request<pb::ImportServicesRequest>,
    ) -> Result<Response<pb::ImportServicesResponse>, Status> {
        let (ctx, request) = call::open(request);
        let ctx = named(&ctx, &request.request_id);
        answer(&ctx, self.import(&ctx, request).await)
    }
}
