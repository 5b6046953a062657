//! The seams: what the use cases need from the world, as traits.
//!
//! They are called seams because "port" is a noun of this domain. A trait is
//! here when it has two implementations, a fake counting as one; `testkit`
//! holds one conformance suite for each, run on every implementation.

pub mod clock;
pub mod engine;
pub mod files;
pub mod host;
pub mod ids;
pub mod own_port;
pub mod store;

pub use clock::Clock;
pub use engine::{Images, Networks, Volumes, Workloads};
pub use files::Files;
pub use host::{Host, Probe};
pub use ids::IdSource;
pub use own_port::OwnPort;
pub use store::{Store, Tx};
