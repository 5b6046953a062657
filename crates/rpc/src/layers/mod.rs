//! What stands around every call, whoever makes it and whichever way it came.
//!
//! In this order: a name for the request ([`request_id`]), its trace ([`trace`]), its figures
//! ([`observe`]), who asks ([`authenticate`]), whether they may ([`authorise`]), whether there is
//! room ([`limit`]), and until when ([`deadline`]). What does not pass gets a complete status of
//! gRPC, and the handler never hears of it. A method that is not in the contract is refused after
//! its caller was judged: nothing here lets anybody through whom it does not know.
//!
//! To add a layer: a module with a pure judgement and its tests, and a line in [`Layers::pass`].

mod authenticate;
mod authorise;
mod body;
mod deadline;
mod limit;
mod methods;
mod observe;
mod request_id;
#[cfg(test)]
mod tests;
mod trace;

use std::convert::Infallible;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use clos_domain::{Ctx, Error, Reason, Result};
use futures::FutureExt as _;
use http::{Request, Response};
use tokio::time::Instant;
use tonic::body::Body;
use tonic::transport::server::TcpConnectInfo;
use tower::Service;
use tracing::Instrument as _;

use self::authenticate::Authenticate;
pub use self::authenticate::Token;
use self::body::Observed;
use self::deadline::Deadline;
use self::limit::{Limit, Place};
use self::methods::{Method, Methods};
use self::observe::Observer;
use crate::Settings;
use crate::status::{draining, to_status, unread};
use crate::tickets::Tickets;

/// The layers around a service of gRPC.
#[derive(Clone)]
pub struct Layers<S> {
    inner: S,
    shared: Arc<Shared>,
}

struct Shared {
    methods: Methods,
    authenticate: Authenticate,
    limit: Limit,
    settings: Settings,
}

impl<S> Layers<S> {
    /// # Errors
    /// A method of the contract that does not say who may call it.
    pub(crate) fn new(inner: S, settings: Settings, tickets: Tickets) -> Result<Self> {
        let shared = Shared {
            methods: Methods::of_the_contract()?,
            authenticate: Authenticate::new(settings.uid, settings.token.clone(), tickets),
            limit: Limit::new(settings.limits.in_flight, settings.limits.streams),
            settings,
        };
        Ok(Self { inner, shared: Arc::new(shared) })
    }
}

impl<S, B> Service<Request<B>> for Layers<S>
where
    S: Service<Request<B>, Response = Response<Body>, Error = Infallible, Future: Send>
        + Clone
        + Send
        + 'static,
    B: Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        // The one that is ready is this one; the next call gets the copy.
        let copy = self.inner.clone();
        let inner = std::mem::replace(&mut self.inner, copy);
        let shared = Arc::clone(&self.shared);
        let request_id = request_id::of(request.headers(), shared.settings.ids.as_ref());
        let method = shared.methods.named(request.uri().path());
        let span = trace::span(method.as_deref(), &request_id, request.headers());
        Box::pin(shared.pass(inner, request, method, request_id).instrument(span))
    }
}

/// A call that was let in.
struct Admitted {
    method: Arc<Method>,
    ctx: Ctx,
    deadline: Deadline,
    place: Place,
}

impl Shared {
    async fn pass<S, B>(
        self: Arc<Self>,
        mut inner: S,
        mut request: Request<B>,
        method: Option<Arc<Method>>,
        request_id: String,
    ) -> Result<Response<Body>, Infallible>
    where
        S: Service<Request<B>, Response = Response<Body>, Error = Infallible, Future: Send>,
    {
        let label = method.as_ref().map_or(Method::UNKNOWN, |method| method.path.as_str()).to_owned();
        let observer = Observer::begin(self.settings.metrics.clone(), label.clone());
        let admitted = match self.admit(&request, method, &request_id) {
            Ok(admitted) => admitted,
            Err(error) => {
                self.say(&error, request.extensions());
                return Ok(refused(&error, &request_id, observer));
            }
        };
        request.extensions_mut().insert(admitted.ctx);
        let deadline = admitted.deadline;
        // A panic would take the connection and every other call on it along.
        let answer = AssertUnwindSafe(inner.call(request)).catch_unwind();
        let held = deadline.before_the_head(admitted.place.hold(answer)).await;
        let answered = match held.and_then(|held| held) {
            Ok(Ok(Ok(response))) => unread(response.headers()).map_or(Ok(response), Err),
            Ok(Err(_)) => Err(Error::internal(format!("{label} panicked"))),
            Err(late) => Err(late),
        };
        let mut response = match answered {
            Ok(response) => response,
            Err(error) => return Ok(refused(&error, &request_id, observer)),
        };
        request_id::tell(&request_id, response.headers_mut());
        let drain = admitted.method.is_stream.then(|| self.settings.drain.clone());
        let until = deadline.of_the_body();
        Ok(Observed::around(response, observer, admitted.place, until, drain, request_id))
    }

    /// Judges a call by its head.
    fn admit<B>(
        &self,
        request: &Request<B>,
        method: Option<Arc<Method>>,
        request_id: &str,
    ) -> Result<Admitted> {
        let is_open = method.as_ref().is_some_and(|method| method.is_open());
        let principal = self.authenticate.judge(request.extensions(), request.headers(), is_open)?;
        let Some(method) = method else {
            let path = clos_domain::name::shown(request.uri().path());
            return Err(Error::new(Reason::NotKnownHere, format!("there is no method `{path}` here")));
        };
        authorise::judge(&method, &principal)?;
        if !is_open && self.settings.drain.is_cancelled() {
            return Err(draining());
        }
        let place = self.limit.take(&method, &principal)?;
        let now = Instant::now();
        let deadline = Deadline::of(&method, request.headers(), self.settings.limits.timeout, now)?;
        let ends_at = deadline.left(now).and_then(|left| self.settings.clock.now().checked_add(left).ok());
        let ctx = Ctx { principal, request_id: request_id.to_owned(), deadline: ends_at };
        Ok(Admitted { method, ctx, deadline, place })
    }
}

impl Shared {
    /// Counts and logs somebody who may not come in.
    fn say(&self, error: &Error, came_by: &http::Extensions) {
        let kind = match error.reason() {
            Reason::TokenMissing | Reason::TokenInvalid => "token",
            Reason::PeerRefused => "peer",
            _ => return,
        };
        if let Some(omitted) = self.settings.metrics.refused(kind) {
            let peer = came_by.get::<TcpConnectInfo>().and_then(TcpConnectInfo::remote_addr);
            tracing::warn!(reason = error.reason().as_str(), ?peer, omitted, "a caller was refused: {error}");
        }
    }
}

/// The answer to a call that got no further.
fn refused(error: &Error, request_id: &str, mut observer: Observer) -> Response<Body> {
    let status = to_status(error, request_id);
    observer.ended(status.code());
    let mut response = status.into_http();
    request_id::tell(request_id, response.headers_mut());
    response
}
