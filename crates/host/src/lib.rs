//! Sees the machine, for the seams `Host`, `Probe`, `Files`, `Clock` and
//! `IdSource` of `clos_domain::seams`.
//!
//! [`Machine`] tries ports by binding them, names who holds one, and measures
//! the machine itself; [`HttpProbe`] asks a service once whether it is well;
//! [`RootedFiles`] reads files under a root and judges the opened file;
//! [`SystemClock`], [`RandomIds`] and [`random_token`] are the only places
//! where wall time and randomness enter.
//!
//! It decides nothing: which port to take, what an answer means for a verdict
//! and which roots are allowed is for `domain` and `control`. It starts, stops
//! and signals nothing. What only Linux shows (`/proc`) stands behind `cfg`;
//! elsewhere the answer is "not known here", never a guess.
//!
//! To add a sight: a module with a plain blocking function that takes its
//! deadline as an argument, a method that runs it on the blocking pool, and,
//! where `control` needs it, a method of a seam with a fake in `testkit` and a
//! case in `testkit::host_suite`.
#![warn(missing_docs)]

mod bind;
mod blocking;
mod clock;
mod files;
mod holder;
mod ids;
mod machine;
mod probe;
mod resources;

pub use clock::SystemClock;
pub use files::RootedFiles;
pub use ids::{RandomIds, random_token};
pub use machine::{Machine, user_id};
pub use probe::HttpProbe;
pub use resources::{Disk, Memory, Resources};
