//! `closd`: the process around the rooms.
//!
//! [`config`] says what holds (file, environment, flags) and where each value
//! comes from; [`state`] is the folder with the lock, the token and the socket;
//! [`serve`] finds a port and hears signals; what answers on it is the gateway's, spelled
//! as [`rest`] says; [`world`]
//! makes one of each seam and wires them; [`app`] starts and ends it all in order.
//!
//! It has no rule about services, no RPC of its own and no SQL: whatever a
//! caller asks is answered by `rpc`, which asks `control`.
//!
//! To add a setting: a line in its section of `config/sections.rs`; the file,
//! the environment, `--set`, `closd config` and its explanation follow from it.
//! To add a listener: a place in the gateway's `listen.rs` and a line in `app.rs`.

pub mod app;
pub mod cli;
pub mod config;
pub mod rest;
pub mod serve;
pub mod state;
pub mod world;

/// The version of this build.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
