//! HTTP/JSON in front of gRPC.
#![warn(missing_docs)]

mod codec;
mod options;
mod route;
mod rules;
mod schema;
