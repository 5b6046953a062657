//! Remembers what CLOS knows: [`clos_domain::seams::Store`] over SQLite and,
//! with the same code, over PostgreSQL.
//!
//! [`Store::open`] takes the pending migrations (after a copy of an existing
//! file), then hands out units of work. SQLite has one writer (`BEGIN
//! IMMEDIATE`) and a pool of read-only readers; PostgreSQL has one pool, where a
//! unit of work locks the rows that it reads by id or name, and where the row of
//! `journal_head` puts commits in order. Every statement has a deadline; a
//! statement that fails spoils its unit of work on both.
//!
//! What it does not do: decide. There is no rule about services or operations
//! in here but those that constraints can hold, no cache, and no knowledge of
//! who listens: publishing is done by the caller after a commit.
//!
//! To add a table: a step in `migrations/`, an entry in `tables.rs`, its part
//! in the module of its noun, and a case in `testkit`'s `store_suite`. A query
//! over a listing gets a test in `explain.rs` that shows the index it uses.
#![warn(missing_docs)]

mod adoptions;
mod config;
mod connection;
mod convert;
mod error;
#[cfg(test)]
mod explain;
mod groups;
mod journal;
mod keyset;
mod open;
mod operations;
mod ports;
mod services;
mod tables;
mod unit;
mod whole;

pub use error::OpenError;
pub use open::{Options, PostgresOptions, SqliteOptions, Store};
