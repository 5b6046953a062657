//! `closd`: the process around the rooms.
//!
//! [`config`] says what holds (file, environment, flags) and where each value
//! comes from; [`state`] is the folder with the lock, the token and the socket;
//! [`serve`] listens, judges who is at the door and ends in order; [`world`]
//! makes one of each seam and wires them; [`app`] starts and ends it all in order.
//!
//! It has no rule about services, no RPC of its own and no SQL: whatever a
//! caller asks is answered by `rpc`, which asks `control`.
//!
//! To add a setting: a line in its section of `config/sections.rs`; the file,
//! the environment, `--set`, `closd config` and its explanation follow from it.
//! To add a listener: a place in `serve/listen.rs` and a line in `app.rs`.

pub mod app;
pub mod cli;
pub mod config;
pub mod serve;
pub mod state;
pub mod world;

/// The version of this build.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
