//! The use cases on a real store (SQLite) and the fake engine: what semantics.md
//! says, verb by verb, with the world behaving as badly as engines do.
#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "tests run their own tasks and may fail")]

mod admission;
mod adoption;
mod apply;
mod bed;
mod by_hand;
mod cancelling;
mod compose_cases;
mod files;
mod guests;
mod images;
mod naming;
mod networks;
mod observing;
mod ports;
mod rebuilding;
mod renaming;
mod replacing;
mod rows;
mod starting;
mod stopping;
mod store;
mod truth;
mod watching;
