//! What a handler has of a call besides its message.

use clos_domain::ctx::Principal;
use clos_domain::{Ctx, Result};
use tonic::{Request, Response, Status};

use crate::status::to_status;

/// The context that the layers put beside the message, and the message.
pub(crate) fn open<M>(request: Request<M>) -> (Ctx, M) {
    let (_, mut extensions, message) = request.into_parts();
    // Without the layers nobody has been judged, so nobody is known.
    let ctx = extensions.remove::<Ctx>().unwrap_or_else(|| Ctx {
        principal: Principal::Anonymous,
        request_id: String::new(),
        deadline: None,
    });
    (ctx, message)
}

/// What the use case said, in the words of gRPC.
pub(crate) fn answer<M>(ctx: &Ctx, said: Result<M>) -> Result<Response<M>, Status> {
    said.map(Response::new).map_err(|error| to_status(&error, &ctx.request_id))
}

#[cfg(test)]
mod tests {
    use clos_domain::Error;
    use tonic_types::StatusExt as _;

    use super::*;

    #[test]
    fn a_call_without_layers_is_nobodys() {
        let (ctx, message) = open(Request::new(7));
        assert_eq!((ctx.principal, ctx.request_id.as_str(), message), (Principal::Anonymous, "", 7));
        let mut request = Request::new(8);
        request.extensions_mut().insert(Ctx::system("req_9"));
        assert_eq!(open(request).0.request_id, "req_9");
    }

    #[test]
    fn an_answer_says_which_request_failed() {
        let ctx = Ctx::system("req_9");
        assert_eq!(answer(&ctx, Ok(3)).unwrap().into_inner(), 3);
        let status = answer::<()>(&ctx, Err(Error::field("name", "empty"))).unwrap_err();
        assert_eq!(status.get_details_error_info().unwrap().metadata["request_id"], "req_9");
    }
}
