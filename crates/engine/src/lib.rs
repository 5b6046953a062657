//! Runs workloads: the Docker engine and its kin (Podman's compatible socket,
//! rootless, Docker Desktop) behind the seams of [`clos_domain::seams::engine`].
//!
//! The only crate that knows the engine API's types, paths, error texts and
//! label keys. It holds no state of its own beyond what the engine said of
//! itself: what should run, in which order and why, is `control`'s business. It
//! reads no environment and no clock; [`Environment`] is handed in.
//!
//! What an engine really does, and what each module here answers it with:
//!
//! - replies get lost: a change whose answer did not come is
//!   [`UnknownOutcome`](clos_domain::seams::engine::Error::UnknownOutcome), names are deterministic (`call`)
//! - a stopped engine accepts connections and hangs: own deadlines everywhere (`deadline`)
//! - ids and names go into paths unescaped, and a short name of hex digits also
//!   finds the container whose id begins so: both are settled first (`name`)
//! - events are lossy, silently: one task reads and never waits (`events`)
//!
//! To add one more call: its deadline in `deadline`, its mapping of the engine's
//! words in the module of its noun, a case in `testkit::engine_suite`, which
//! runs on the fake and on a real engine. To add one more engine: a module with
//! its own implementation of [`Workloads`](clos_domain::seams::Workloads).

mod call;
mod context;
mod copy;
mod create;
mod credentials;
mod deadline;
mod docker;
mod events;
mod exec;
mod find;
mod found;
mod images;
mod labels;
mod logs;
mod name;
mod networks;
mod stats;
mod volumes;
mod workloads;

pub use docker::Docker;
pub use find::{Environment, NotFound};
