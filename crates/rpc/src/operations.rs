//! `OperationsApi`: decode, ask control, encode.

use std::sync::Arc;
use std::time::Duration;

use clos_control::Control;
use clos_domain::seams::Clock;
use clos_domain::{Ctx, Result};
use clos_proto::codec::EncodedEvent;
use clos_proto::v2 as pb;
use futures::stream::BoxStream;
use tonic::{Request, Response, Status};

use crate::call::{self, answer};
use crate::events::{Watched, shown};
use crate::{decode, listing};

/// A wait that names no end and whose call has none ends after this; the caller asks again.
const LONGEST: Duration = Duration::from_secs(24 * 3_600);
/// A wait answers so much before its call's deadline, so that the answer still arrives.
const MARGIN: Duration = Duration::from_millis(100);

/// The service of operations.
pub(crate) struct Operations {
    control: Control,
    clock: Arc<dyn Clock>,
    watched: Watched,
}

impl Operations {
    pub(crate) fn new(control: Control, clock: Arc<dyn Clock>, watched: Watched) -> Self {
        Self { control, clock, watched }
    }

    async fn get(&self, ctx: &Ctx, id: &str) -> Result<pb::Operation> {
        let operation = self.control.operations().get(ctx, id).await?;
        listing::operation(&self.control, ctx, &operation).await
    }

    async fn cancel(&self, ctx: &Ctx, id: &str) -> Result<pb::Operation> {
        let operation = self.control.operations().cancel(ctx, id).await?;
        listing::operation(&self.control, ctx, &operation).await
    }

    async fn wait(&self, ctx: &Ctx, request: &pb::WaitOperationRequest) -> Result<pb::Operation> {
        let wanted = decode::operation::wait(request)?.unwrap_or(LONGEST);
        let at_most = self.before_the_deadline(ctx).map_or(wanted, |left| left.min(wanted));
        let operation = self.control.operations().wait(ctx, &request.id, at_most).await?;
        listing::operation(&self.control, ctx, &operation).await
    }

    fn before_the_deadline(&self, ctx: &Ctx) -> Option<Duration> {
        let left = ctx.deadline?.duration_since(self.clock.now());
        // A deadline that has passed leaves nothing.
        Some(Duration::try_from(left).unwrap_or_default().saturating_sub(MARGIN))
    }
}

#[tonic::async_trait]
impl pb::operations_api_server::OperationsApi for Operations {
    async fn list_operations(
        &self,
        request: Request<pb::ListOperationsRequest>,
    ) -> Result<Response<pb::ListOperationsResponse>, Status> {
        let (ctx, request) = call::open(request);
        let listed =
            async { listing::operations(&self.control, &ctx, decode::operation::list(&request)?).await };
        answer(&ctx, listed.await)
    }

    async fn get_operation(
        &self,
        request: Request<pb::GetOperationRequest>,
    ) -> Result<Response<pb::Operation>, Status> {
        let (ctx, request) = call::open(request);
        answer(&ctx, self.get(&ctx, &request.id).await)
    }

    async fn cancel_operation(
        &self,
        request: Request<pb::CancelOperationRequest>,
    ) -> Result<Response<pb::Operation>, Status> {
        let (ctx, request) = call::open(request);
        answer(&ctx, self.cancel(&ctx, &request.id).await)
    }

    async fn wait_operation(
        &self,
        request: Request<pb::WaitOperationRequest>,
    ) -> Result<Response<pb::Operation>, Status> {
        let (ctx, request) = call::open(request);
        answer(&ctx, self.wait(&ctx, &request).await)
    }

    type WatchOperationStream = BoxStream<'static, Result<EncodedEvent, Status>>;

    async fn watch_operation(
        &self,
        request: Request<pb::WatchOperationRequest>,
    ) -> Result<Response<Self::WatchOperationStream>, Status> {
        let (ctx, request) = call::open(request);
        let items = async {
            let after = decode::operation::watch(&request)?;
            self.control.operations().watch(&ctx, &request.id, after).await
        };
        answer(&ctx, items.await.map(|items| shown(&ctx, items, self.watched.clone())))
    }
}
