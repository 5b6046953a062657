//! The Rust client of CLOS.
//!
//! It finds the daemon ([`Endpoint`]), calls it ([`Client`], one method an RPC, the messages of
//! [`clos_proto::v2`] in and out), reads what an error carries ([`Error`]), and watches events,
//! operations and logs across breaks and restarts of the daemon ([`watch`]).
//!
//! It reads no environment and starts no process: who uses it hands [`Options`] in. It retries
//! reads only; a change that got no answer may have happened, and whoever asked decides.
//!
//! To add an RPC: a line in the table of `calls.rs`; a stream gets a method in `watch.rs`.

mod calls;
mod connect;
mod endpoint;
mod error;
pub mod watch;

pub use connect::Client;
pub use endpoint::{Address, Contexts, Endpoint, EndpointError, Options, Origin};
pub use error::{Error, Failure, FieldProblem, Kind};
