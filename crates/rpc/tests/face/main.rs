//! The whole face as its callers see it: over gRPC, on a real control and a store in memory, with
//! an engine that shows nothing and does nothing.
#![allow(clippy::unwrap_used, reason = "tests")]

mod away;
mod bed;
mod doors;
mod facts;
mod watching;
