//! Listening, and ending in order.
//!
//! One way for every connection, on the Unix socket and on TCP: a place among
//! the allowed number ([`listen`]), HTTP/1 or HTTP/2 within stated limits
//! ([`connection`]), the judgement at the [`door`], then `/metrics` or the gRPC
//! routes ([`surface`]).

pub mod connection;
pub mod door;
pub mod listen;
pub mod signals;
pub mod surface;

use std::convert::Infallible;

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
