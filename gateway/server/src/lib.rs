//! One port for everything: native gRPC, gRPC-Web, REST with its streams and
//! sockets, and the pages beside them.
//!
//! One way for every connection, on the Unix socket and on TCP: a place among
//! the allowed number ([`listen`], `seats`), HTTP/1 or HTTP/2 within stated limits
//! ([`connection`]), the judgement at the [`door`], then what answers
//! ([`surface`]). The binary `clos-gateway` puts this in front of [`upstreams`];
//! `closd` mounts it in process, over its own routes.
//!
//! There is no route in here: what is served where is in the descriptors.

pub mod connection;
pub mod door;
pub mod envoy;
mod heads;
mod held;
mod lanes;
pub mod listen;
pub mod pages;
mod seats;
pub mod surface;
pub mod upstreams;
mod watched;

use std::convert::Infallible;

use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::{Request, Response};
use hyper::body::Incoming;
use tower::Service;

/// What answers requests behind the door.
pub trait Answers:
    Service<Request<Incoming>, Response = Response<tonic::body::Body>, Error = Infallible, Future: Send>
    + Clone
    + Send
    + 'static
{
}

impl<S> Answers for S where
    S: Service<Request<Incoming>, Response = Response<tonic::body::Body>, Error = Infallible, Future: Send>
        + Clone
        + Send
        + 'static
{
}

/// Adds what browsers should know of every answer.
pub(crate) fn secure(headers: &mut HeaderMap) {
    for (name, value) in surface::SECURITY {
        let name = HeaderName::from_static(name);
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
}
