//! Wall time, so that a test can own it.

use jiff::Timestamp;

/// Tells the wall time.
pub trait Clock: Send + Sync + 'static {
    /// Now, with microseconds.
    fn now(&self) -> Timestamp;
}
