//! `GroupsApi`: decode, ask control, encode.

use clos_control::verbs::StartOptions;
use clos_control::{Control, etag};
use clos_domain::group::{Definition, Group};
use clos_domain::operation::Operation;
use clos_domain::{Ctx, Kind, Reason, Result};
use clos_proto::v2 as pb;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use tonic::{Request, Response, Status};

use crate::call::{self, answer};
use crate::once::Calls;
use crate::services::{entries, named};
use crate::{decode, encode, listing};

/// A change that was made on a sight that grew old meanwhile is made anew so often.
const TRIES: u32 = 5;

/// The service of groups.
pub(crate) struct Groups {
    control: Control,
    /// Ids of what calls made: groups or operations.
    made: Calls<String>,
    applied: Calls<pb::ApplyGroupResponse>,
}

impl Groups {
    pub(crate) fn new(control: Control) -> Self {
        Self { control, made: Calls::default(), applied: Calls::default() }
    }

    async fn list(&self, ctx: &Ctx, request: &pb::ListGroupsRequest) -> Result<pb::ListGroupsResponse> {
        let list = decode::group::list(request)?;
        let page = self.control.groups().list(ctx, list.filter.as_ref(), &list.status, &list.page).await?;
        let (pagination, total_count) = encode::page::page(&page, &list.page, list.listing);
        let groups = page.items.iter().map(encode::group::group).collect();
        Ok(pb::ListGroupsResponse { groups, pagination: Some(pagination), total_count })
    }

    async fn create(&self, ctx: &Ctx, request: &pb::CreateGroupRequest) -> Result<pb::Group> {
        let (name, definition) = decode::group::create(request)?;
        let make = async {
            let made = self.control.groups().create(ctx, &name, definition).await?;
            Ok(made.group.id.to_string())
        }
        .boxed();
        let id = self.made.once("CreateGroup", &request.request_id, make).await?;
        self.get(ctx, &id).await
    }

    async fn get(&self, ctx: &Ctx, name: &str) -> Result<pb::Group> {
        Ok(encode::group::group(&self.control.groups().get(ctx, name).await?))
    }

    async fn update(&self, ctx: &Ctx, request: &pb::UpdateGroupRequest) -> Result<pb::Group> {
        let read = |before: &Group| decode::group::update(request, before);
        let make = self.change(ctx, &request.name, &request.etag, read).boxed();
        let id = self.made.once("UpdateGroup", &request.request_id, make).await?;
        self.get(ctx, &id).await
    }

    async fn replace(&self, ctx: &Ctx, request: &pb::ReplaceGroupRequest) -> Result<pb::Group> {
        let read = |before: &Group| decode::group::replace(request, before);
        let make = self.change(ctx, &request.name, &request.etag, read).boxed();
        let id = self.made.once("ReplaceGroup", &request.request_id, make).await?;
        self.get(ctx, &id).await
    }

    /// What the request does not say is taken from what there is; when that changes meanwhile and
    /// the caller named no etag, it is read again.
    async fn change(
        &self,
        ctx: &Ctx,
        name: &str,
        etag: &str,
        read: impl Fn(&Group) -> Result<Definition>,
    ) -> Result<String> {
        let groups = self.control.groups();
        let mut tries = 0;
        loop {
            let before = groups.get(ctx, name).await?.group;
            let definition = read(&before)?;
            let seen = decode::some(etag).unwrap_or_else(|| etag::group(&before));
            let changed = groups.update(ctx, before.id.as_str(), Some(&seen), definition).await;
            tries += 1;
            match changed {
                Err(error) if error.reason() == Reason::EtagMismatch && etag.is_empty() && tries < TRIES => {}
                changed => return changed.map(|view| view.group.id.to_string()),
            }
        }
    }

    async fn apply(&self, ctx: &Ctx, request: pb::ApplyGroupRequest) -> Result<pb::ApplyGroupResponse> {
        let dry_run = request.dry_run;
        let request_id = if dry_run { String::new() } else { request.request_id.clone() };
        let wanted = decode::apply::apply(request)?;
        let make = async {
            let applied = self.control.groups().apply(ctx, wanted).await?;
            let name = &applied.group.group.name;
            let plan = encode::plan::plan(name, &applied.plan, &applied.findings);
            let operation = match &applied.operation {
                Some(operation) => Some(listing::operation(&self.control, ctx, operation).await?),
                None => None,
            };
            let is_there = !dry_run || self.exists(ctx, applied.group.group.id.as_str()).await?;
            let group = is_there.then(|| encode::group::group(&applied.group));
            Ok(pb::ApplyGroupResponse { operation, plan: Some(plan), group })
        }
        .boxed();
        let mut answer = self.applied.once("ApplyGroup", &request_id, make).await?;
        if !request_id.is_empty()
            && let Some(begun) = &mut answer.operation
        {
            // A repeated call sees how far the operation is by now.
            let now = self.control.operations().get(ctx, &begun.id).await?;
            *begun = listing::operation(&self.control, ctx, &now).await?;
        }
        Ok(answer)
    }

    async fn exists(&self, ctx: &Ctx, id: &str) -> Result<bool> {
        match self.control.groups().get(ctx, id).await {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == Kind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
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
}

#[tonic::async_trait]
impl pb::groups_api_server::GroupsApi for Groups {
    async fn list_groups(
        &self,
        request: Request<pb::ListGroupsRequest>,
    ) -> Result<Response<pb::ListGroupsResponse>, Status> {
        let (ctx, request) = call::open(request);
        answer(&ctx, self.list(&ctx, &request).await)
    }

    async fn create_group(
        &self,
        request: Request<pb::CreateGroupRequest>,
    ) -> Result<Response<pb::Group>, Status> {
        let (ctx, request) = call::open(request);
        answer(&ctx, self.create(&ctx, &request).await)
    }

    async fn get_group(&self, request: Request<pb::GetGroupRequest>) -> Result<Response<pb::Group>, Status> {
        let (ctx, request) = call::open(request);
        answer(&ctx, self.get(&ctx, &request.name).await)
    }

    async fn update_group(
        &self,
        request: Request<pb::UpdateGroupRequest>,
    ) -> Result<Response<pb::Group>, Status> {
        let (ctx, request) = call::open(request);
        answer(&ctx, self.update(&ctx, &request).await)
    }

    async fn replace_group(
        &self,
        request: Request<pb::ReplaceGroupRequest>,
    ) -> Result<Response<pb::Group>, Status> {
        let (ctx, request) = call::open(request);
        answer(&ctx, self.replace(&ctx, &request).await)
    }

    async fn delete_group(&self, request: Request<pb::DeleteGroupRequest>) -> Result<Response<()>, Status> {
        let (ctx, request) = call::open(request);
        let seen = decode::some(&request.etag);
        let groups = self.control.groups();
        answer(&ctx, groups.delete(&ctx, &request.name, seen.as_deref(), request.force).await)
    }

    async fn apply_group(
        &self,
        request: Request<pb::ApplyGroupRequest>,
    ) -> Result<Response<pb::ApplyGroupResponse>, Status> {
        let (ctx, request) = call::open(request);
        let ctx = named(&ctx, &request.request_id);
        answer(&ctx, self.apply(&ctx, request).await)
    }

    async fn start_group(
        &self,
        request: Request<pb::StartGroupRequest>,
    ) -> Result<Response<pb::Operation>, Status> {
        let (ctx, request) = call::open(request);
        let begin = async {
            decode::service::grace(None, &request.request_id)?;
            let options = StartOptions {
                with_dependencies: request.with_dependencies.unwrap_or(true),
                atomic: request.atomic,
                no_wait: !request.wait.unwrap_or(true),
            };
            self.control.groups().start(&named(&ctx, &request.request_id), &request.name, options).await
        }
        .boxed();
        answer(&ctx, self.begun(&ctx, "StartGroup", &request.request_id, begin).await)
    }

    async fn stop_group(
        &self,
        request: Request<pb::StopGroupRequest>,
    ) -> Result<Response<pb::Operation>, Status> {
        let (ctx, request) = call::open(request);
        let begin = async {
            let grace = decode::service::grace(request.timeout, &request.request_id)?;
            self.control.groups().stop(&named(&ctx, &request.request_id), &request.name, grace).await
        }
        .boxed();
        answer(&ctx, self.begun(&ctx, "StopGroup", &request.request_id, begin).await)
    }

    async fn restart_group(
        &self,
        request: Request<pb::RestartGroupRequest>,
    ) -> Result<Response<pb::Operation>, Status> {
        let (ctx, request) = call::open(request);
        let begin = async {
            let grace = decode::service::grace(request.timeout, &request.request_id)?;
            self.control.groups().restart(&named(&ctx, &request.request_id), &request.name, grace).await
        }
        .boxed();
        answer(&ctx, self.begun(&ctx, "RestartGroup", &request.request_id, begin).await)
    }

    async fn down_group(
        &self,
        request: Request<pb::DownGroupRequest>,
    ) -> Result<Response<pb::Operation>, Status> {
        let (ctx, request) = call::open(request);
        let begin = async {
            let grace = decode::service::grace(request.timeout, &request.request_id)?;
            let ctx = named(&ctx, &request.request_id);
            self.control.groups().down(&ctx, &request.name, request.volumes, grace).await
        }
        .boxed();
        answer(&ctx, self.begun(&ctx, "DownGroup", &request.request_id, begin).await)
    }

    async fn get_group_graph(
        &self,
        request: Request<pb::GetGroupGraphRequest>,
    ) -> Result<Response<pb::GroupGraph>, Status> {
        let (ctx, request) = call::open(request);
        let graph = self.control.groups().graph(&ctx, &request.name).await;
        answer(&ctx, graph.map(|graph| encode::group::graph(&graph)))
    }

    async fn get_group_manifest(
        &self,
        request: Request<pb::GetGroupManifestRequest>,
    ) -> Result<Response<pb::GroupManifest>, Status> {
        let (ctx, request) = call::open(request);
        let view = self.control.groups().get(&ctx, &request.name).await;
        answer(&ctx, view.map(|view| encode::group::manifest(&view)))
    }

    type GetGroupLogsStream = BoxStream<'static, Result<pb::LogEntry, Status>>;

    async fn get_group_logs(
        &self,
        request: Request<pb::GetGroupLogsRequest>,
    ) -> Result<Response<Self::GetGroupLogsStream>, Status> {
        let (ctx, request) = call::open(request);
        let lines = async {
            let wanted = decode::logs::group(&request)?;
            self.control.groups().logs(&ctx, &request.name, &request.services, wanted).await
        };
        answer(&ctx, lines.await.map(|lines| entries(&ctx, lines)))
    }
}
