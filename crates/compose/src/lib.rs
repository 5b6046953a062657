//! Compose files: texts in, a located, merged, interpolated project out.
//!
//! [`load`] is a function of its [`Input`]. It opens no file, reads no variable and knows no clock: what it needs
//! beyond its input it asks for by [`Outcome::NeedsFiles`] and [`Outcome::NeedsVariables`], and is called again
//! with the answers. So the same code runs in the daemon, which opens files under a root, and in a test.
//!
//! What comes out is what `docker compose config` says of the same files; `tests/differential.rs` holds the two
//! side by side. It differs where a developer is better served: keys that CLOS does not act on are an error or a
//! warning (`keys`), more than one replica is an error, two services that want one port of the host are an error, and every finding
//! names file, line, column and key.
//!
//! It does not decide what may run (that is `domain::admit`), which ports are free, or what the engine is told.
//!
//! The way through the code: `yaml` (text → located tree) → `interpolate`, `include`, `extends`, `merge` (trees →
//! one tree) → `canonical`, `settle` (one way to write each thing) → `normalise` (tree → `model`) → `check`.
//! To add a key, see `normalise`; to add a merge rule, see `merge`; to add a short form, see `short`.

mod canonical;
mod check;
pub mod config_hash;
mod dotenv;
mod environment;
mod extends;
pub mod finding;
mod include;
mod input;
mod interpolate;
mod json;
mod keys;
pub mod limits;
mod load;
mod merge;
pub mod model;
mod node;
mod normalise;
mod paths;
mod scalar;
mod settle;
mod short;
mod unique;
mod units;
mod words;
mod yaml;

pub use finding::{Code, Errors, Finding, Key, Location, Severity};
pub use input::{File, Input, Outcome, Purpose, SourceError, Wanted};
pub use json::to_compose_json;
pub use load::load;
pub use model::Project;
