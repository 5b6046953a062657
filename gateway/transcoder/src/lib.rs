//! HTTP/JSON in front of gRPC.
#![warn(missing_docs)]

mod bind;
mod call;
mod codec;
mod headers;
mod negotiate;
mod options;
mod route;
mod rules;
mod schema;
mod status;
