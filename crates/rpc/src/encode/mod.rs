//! Values of the domain as messages of the wire.
//!
//! Pure functions, a module for each noun. What a message shows of a definition reads back as that
//! definition (`decode` is its other half), but for values that look secret: they are shown as
//! [`MASK`], here and nowhere else.
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

use std::time::Duration;

use clos_domain::{Reason, Timestamp};

/// What is shown for a value that looks secret.
pub(crate) const MASK: &str = "********";

/// Parts of names whose values are shown to nobody.
const SECRET_WORDS: [&str; 12] = [
    "PASSWORD",
    "PASSWD",
    "PASSPHRASE",
    "SECRET",
    "TOKEN",
    "CREDENTIAL",
    "APIKEY",
    "API_KEY",
    "PRIVATE",
    "COOKIE",
    "SIGNING",
    "SALT",
];
/// The same, but only as a whole word between underscores: `SSH_KEY`, not `KEYBOARD`.
const SECRET_PARTS: [&str; 6] = ["KEY", "KEYS", "PASS", "PWD", "PIN", "AUTH"];

/// Whether the value of a variable of this name is shown to nobody.
pub(crate) fn is_secret(name: &str) -> bool {
    let upper = name.to_ascii_uppercase();
    let mut parts = upper.split(|c: char| !c.is_ascii_alphanumeric());
    SECRET_WORDS.iter().any(|word| upper.contains(word)) || parts.any(|part| SECRET_PARTS.contains(&part))
}

/// A value as callers see it. An empty one hides nothing.
pub(crate) fn masked(name: &str, value: &str) -> String {
    if value.is_empty() || !is_secret(name) {
        return without_password(value);
    }
    MASK.to_owned()
}

/// A URL that carries a password is shown as a whole secret: `postgres://me:secret@db/shop`.
fn without_password(value: &str) -> String {
    let authority =
        value.split_once("://").map(|(_, rest)| rest.split(['/', '?', '#']).next().unwrap_or_default());
    let user = authority.and_then(|authority| authority.rsplit_once('@')).map(|(user, _)| user);
    let has_password =
        user.and_then(|user| user.split_once(':')).is_some_and(|(_, password)| !password.is_empty());
    if has_password { MASK.to_owned() } else { value.to_owned() }
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
