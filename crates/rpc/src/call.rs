//! What every handler begins and ends with.

use clos_domain::ctx::Principal;
use clos_domain::{Ctx, Result};
use tonic::{Request, Response, Status};

use crate::status::to_status;

/// Who asks, under which request, until when: what the layers put into the request's extensions.
pub(crate) fn ctx<T>(request: &Request<T>) -> Ctx {
    request.extensions().get::<Ctx>().cloned().unwrap_or_else(|| Ctx {
        principal: Principal::Anonymous,
        request_id: String::new(),
        deadline: None,
    })
}

/// The context of a request, and its message.
pub(crate) fn open<T>(request: Request<T>) -> (Ctx, T) {
    let ctx = ctx(&request);
    (ctx, request.into_inner())
}

/// The answer, or the status of what went wrong.
pub(crate) fn answer<T>(ctx: &Ctx, outcome: Result<T>) -> Result<Response<T>, Status> {
    outcome.map(Response::new).map_err(|error| to_status(&error, &ctx.request_id))
}
