//! What CLOS knows.
//!
//! The words of the product as types, and the rules between them as synchronous
//! functions of values: start order ([`graph`]), what an operation will do
//! ([`plan`]), which port goes to whom ([`port`]), what a service's status is
//! ([`service`]), which container specs are admitted ([`admit`]).
//!
//! There is no clock, no I/O, no wire format, no database and no engine API in
//! here; what the rules need from the world comes in as an argument, and what
//! the use cases need from it stands as traits in [`seams`].
//!
//! To add a noun: a module here with its parsed names and its states, a
//! repository in [`seams::store`], a migration, a file in `proto/`, a module in
//! `control`. To add a rule: a function over values with its property test
//! beside it. Nothing in this crate may be `async` outside [`seams`].
#![warn(missing_docs)]

pub mod admit;
pub mod copied;
pub mod ctx;
pub mod error;
pub mod event;
pub mod graph;
pub mod group;
pub mod health;
pub mod id;
pub mod name;
pub mod operation;
pub mod page;
pub mod plan;
pub mod port;
pub mod problem;
pub mod seams;
pub mod secret;
pub mod service;
pub mod spec;
pub mod text;
pub mod workload;

pub use ctx::Ctx;
pub use error::{Error, Kind, Reason};
pub use jiff::Timestamp;

/// The result of everything that answers to a caller.
pub type Result<T, E = Error> = std::result::Result<T, E>;
