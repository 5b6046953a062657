//! Clients that are not ours, made from the contract by the tools of others: grpcio for Python, connect-web in a
//! browser, and REST clients in TypeScript, Python and Go from the OpenAPI document.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test may fail, and waits in its own threads for what it started"
)]

mod python;
mod rest;
mod web;
