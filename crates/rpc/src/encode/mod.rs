//! Values of the domain as messages of the wire.
//!
//! Pure functions, a module for each noun. What a message shows of a definition reads back as that
//! definition (`decode` is its other half), but for values that look secret: they are shown as
//! [`MASK`].
//!
//! To add a field: fill it in here, read it in `decode`, and the test that sends every field there
//! and back covers it.

pub(crate) mod container;
pub(crate) mod event;
pub(crate) mod group;
pub(crate) mod health;
pub(crate) mod logs;
pub(crate) mod operation;
pub(crate) mod page;
pub(crate) mod plan;
pub(crate) mod port;
pub(crate) mod service;
pub(crate) mod stats;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::Duration;

use clos_domain::secret::masked_option;
pub(crate) use clos_domain::secret::{MASK, masked, masked_words};
use clos_domain::{Reason, Timestamp};

/// Options of a driver as callers see them.
pub(crate) fn options(options: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    options.iter().map(|(name, value)| (name.clone(), masked_option(name, value))).collect()
}

pub(crate) fn timestamp(at: Timestamp) -> prost_types::Timestamp {
    let (seconds, nanos) = (at.as_second(), at.subsec_nanosecond());
    // The wire counts the fraction forward, also before 1970.
    if nanos < 0 {
        return prost_types::Timestamp { seconds: seconds - 1, nanos: nanos + 1_000_000_000 };
    }
    prost_types::Timestamp { seconds, nanos }
}

/// A length of time; what the wire cannot hold is shown as the longest that it can.
pub(crate) fn duration(length: Duration) -> prost_types::Duration {
    const LONGEST: prost_types::Duration = prost_types::Duration { seconds: 315_576_000_000, nanos: 0 };
    prost_types::Duration::try_from(length).unwrap_or(LONGEST)
}

/// A count; what the wire cannot hold is shown as the most that it can.
pub(crate) fn count(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A count; what the wire cannot hold is shown as the most that it can.
pub(crate) fn small(number: usize) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

/// A number of a step.
pub(crate) fn number(number: u32) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

pub(crate) fn reason(reason: Option<Reason>) -> String {
    reason.map(Reason::as_str).unwrap_or_default().to_owned()
}

pub(crate) fn text(text: Option<&String>) -> String {
    text.cloned().unwrap_or_default()
}

pub(crate) fn instance(group: &clos_domain::name::GroupRef) -> String {
    group.instance.as_ref().map(ToString::to_string).unwrap_or_default()
}
