//! What is seen of CLOS: logs on standard error and in a file, OpenTelemetry
//! traces over OTLP when configured, and Prometheus metrics.
//!
//! [`init`] is called once by a binary and returns a [`Guard`] that flushes.
//! [`metrics`] is the one registry of the process, with a verb for each thing
//! that is counted; their names, help texts and units stand in [`names`].
//! [`propagation`] carries W3C trace context over headers, [`redact`] takes
//! credentials out of what is shown.
//!
//! It serves nothing: whoever has a listener renders [`Metrics::render`]. It
//! reads no environment: what it should do comes in as [`Settings`].
//!
//! To add a metric: its [`names::Metric`] in `names.rs`, a field and a verb in
//! `metrics.rs`; the test there fails until both agree. Labels have few values,
//! known when the code is written: a verb, an outcome, never an id or a name
//! that somebody chose.
#![warn(missing_docs)]

mod logs;
mod metrics;
pub mod names;
pub mod propagation;
mod redact;
mod refusals;
mod rotating;
mod unheard;

pub use logs::{Error, Format, Guard, Settings, init};
pub use metrics::{Metrics, Watcher, metrics};
pub use redact::redact;
pub use unheard::authority_was_refused;
