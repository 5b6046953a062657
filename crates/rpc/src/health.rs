//! `grpc.health.v1`: whether work is taken, for whoever balances or waits.
//!
//! It asks when it is asked. A watch asks again every few seconds and speaks when the word changes.

use std::time::Duration;

use clos_control::Control;
use clos_domain::Ctx;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_server;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

use crate::call;

/// A watch looks this often.
const EVERY: Duration = Duration::from_secs(2);

/// The health of each of our services, which is that of the daemon.
#[derive(Clone)]
pub(crate) struct Health {
    control: Control,
    drain: CancellationToken,
}

impl Health {
    pub(crate) fn new(control: Control, drain: CancellationToken) -> Self {
        Self { control, drain }
    }

    async fn status(&self, ctx: &Ctx, service: &str) -> ServingStatus {
        let is_ours = service.is_empty()
            || clos_proto::methods().any(|method| method.parent_service().full_name() == service);
        match () {
            () if !is_ours => ServingStatus::ServiceUnknown,
            () if self.drain.is_cancelled() => ServingStatus::NotServing,
            () if self.control.system().ready(ctx).await => ServingStatus::Serving,
            () => ServingStatus::NotServing,
        }
    }
}

#[tonic::async_trait]
impl health_server::Health for Health {
    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        let (ctx, request) = call::open(request);
        match self.status(&ctx, &request.service).await {
            // The protocol's own answer, which its clients know without our details.
            ServingStatus::ServiceUnknown => Err(Status::not_found("there is no such service here")),
            status => Ok(Response::new(HealthCheckResponse { status: status.into() })),
        }
    }

    type WatchStream = BoxStream<'static, Result<HealthCheckResponse, Status>>;

    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let (ctx, request) = call::open(request);
        let words = futures::stream::unfold((self.clone(), None), move |(health, told)| {
            let (ctx, service) = (ctx.clone(), request.service.clone());
            async move {
                loop {
                    let status = health.status(&ctx, &service).await;
                    if told != Some(status) {
                        let answer = HealthCheckResponse { status: status.into() };
                        return Some((Ok(answer), (health, Some(status))));
                    }
                    if health.drain.is_cancelled() {
                        return None;
                    }
                    tokio::select! {
                        () = tokio::time::sleep(EVERY) => {}
                        () = health.drain.cancelled() => {}
                    }
                }
            }
        });
        Ok(Response::new(words.boxed()))
    }
}
