//! HTTP/JSON in front of gRPC.
#![warn(missing_docs)]

mod bind;
mod codec;
mod options;
mod route;
mod rules;
mod schema;
