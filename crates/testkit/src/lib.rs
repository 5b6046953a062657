//! Fakes for the seams of `clos_domain::seams`, and one conformance suite a
//! seam that runs on every implementation, the fake included.
//!
//! Nothing here is part of the product: it is only ever a dev-dependency.
//!
//! To add a seam: a module with its fake, and a `…_suite` module with functions
//! that take a maker of the implementation and a macro that turns each of them
//! into a test.

pub mod clock;
pub mod engine_suite;
pub mod fake_engine;
pub mod fake_files;
pub mod fake_host;
pub mod host_suite;
pub mod ids;
pub mod store_suite;
