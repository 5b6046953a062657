//! The whole system: a real `closd` over a real engine, spoken to by gRPC, HTTP and the command line.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test may fail, and waits in its own threads for what it started"
)]

mod adoption;
mod bad_input;
mod beside_compose;
mod breaking;
mod by_hand;
mod changing;
mod demo;
mod doors;
mod guests;
mod neighbours;
mod networks;
mod paths;
mod ports;
mod rebuilding;
mod rest;
mod secrets;
mod socket;
mod stalled;
mod strangers;
mod surface;
mod volumes;
mod watching;
