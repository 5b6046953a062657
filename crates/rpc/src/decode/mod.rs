//! Requests of the wire as values of the domain.
//!
//! Everything that a message can have wrong by itself is found here, and all of it at once: a
//! [`Violations`] collects the bad fields, each with its value and the way out. What depends on
//! other rows (whether a dependency exists, who holds a port) is `control`'s to say.
//!
//! To add a field: read it in the module of its message, push a violation where it can be wrong,
//! and add the wrong value to the table of that module's tests.

pub(crate) mod apply;
pub(crate) mod container;
pub(crate) mod event;
pub(crate) mod group;
pub(crate) mod health;
pub(crate) mod logs;
pub(crate) mod operation;
pub(crate) mod page;
pub(crate) mod port;
pub(crate) mod service;
#[cfg(test)]
mod tests;

use std::time::Duration;

use clos_domain::error::FieldViolation;
use clos_domain::name::{GroupFilter, shown};
use clos_domain::{Error, Result, Timestamp};

/// The paths that an update changes; `None` is the whole definition.
pub(crate) fn mask_of<M: prost::Message>(
    name: &str,
    mask: Option<&prost_types::FieldMask>,
    wanted: &M,
) -> Result<Option<Vec<String>>> {
    match mask {
        None => clos_proto::mask::populated(name, wanted).map(Some).map_err(Error::internal),
        Some(mask) if mask.paths.iter().any(|path| path == "*") => Ok(None),
        Some(mask) => Ok(Some(mask.paths.clone())),
    }
}

/// Every bad field of one request.
#[derive(Debug, Default)]
pub(crate) struct Violations {
    fields: Vec<FieldViolation>,
}

impl Violations {
    /// One more bad field: what is wrong with it and the way out.
    pub(crate) fn add(&mut self, field: impl Into<String>, description: impl Into<String>) {
        self.fields.push(FieldViolation { field: field.into(), description: description.into() });
    }

    /// The value, or its bad fields beside the others.
    pub(crate) fn take<T>(&mut self, read: Result<T>) -> Option<T> {
        match read {
            Ok(value) => Some(value),
            Err(error) if error.violations().is_empty() => {
                self.add("", error.message());
                None
            }
            Err(error) => {
                self.fields.extend(error.violations().iter().cloned());
                None
            }
        }
    }

    /// How many were found so far.
    pub(crate) fn count(&self) -> usize {
        self.fields.len()
    }

    /// The value, if nothing was wrong with any field.
    pub(crate) fn finish<T>(self, value: Option<T>) -> Result<T> {
        match value {
            Some(value) if self.fields.is_empty() => Ok(value),
            _ if self.fields.is_empty() => Err(Error::internal("a request was refused without a violation")),
            _ => Err(Error::fields(self.fields)),
        }
    }

    /// The word of an enum's number; a number that the contract does not have is a violation.
    pub(crate) fn word<E: TryFrom<i32>>(&mut self, field: &str, number: i32) -> Option<E> {
        let word = E::try_from(number).ok();
        if word.is_none() {
            self.add(field, format!("{number} is not one of its words"));
        }
        word
    }

    /// A text of bounded length without control characters, `\n` and `\t` apart.
    pub(crate) fn text(&mut self, field: &str, raw: &str, max: usize) -> String {
        let length = raw.chars().count();
        if length > max {
            self.add(field, format!("it has {length} characters; at most {max} are allowed"));
        }
        if raw.chars().any(|c| c.is_control() && c != '\n' && c != '\t') {
            self.add(
                field,
                format!(
                    "`{}` has control characters; leave them out",
                    shown(&raw.escape_debug().to_string())
                ),
            );
        }
        raw.to_owned()
    }

    /// A number within bounds, both included.
    pub(crate) fn within<N: TryFrom<i64>>(
        &mut self,
        field: &str,
        number: i64,
        from: i64,
        to: i64,
    ) -> Option<N> {
        if from <= number && number <= to {
            return N::try_from(number).ok();
        }
        self.add(field, format!("{number} is not between {from} and {to}"));
        None
    }

    /// A count of bytes or of things: more than nothing.
    pub(crate) fn positive(&mut self, field: &str, number: Option<i64>) -> Option<u64> {
        let number = number?;
        match u64::try_from(number) {
            Ok(count) if count > 0 => Some(count),
            _ => {
                self.add(field, format!("{number} must be more than 0; leave it out for no limit"));
                None
            }
        }
    }

    /// A length of time within bounds, both included; absent stays absent.
    pub(crate) fn duration(
        &mut self,
        field: &str,
        raw: Option<&prost_types::Duration>,
        from: Duration,
        to: Duration,
    ) -> Option<Duration> {
        let raw = raw?;
        let length = Duration::try_from(*raw).ok().filter(|length| from <= *length && *length <= to);
        if length.is_none() {
            let message =
                format!("{} is not between {} and {}", seconds(raw), in_seconds(from), in_seconds(to));
            self.add(field, message);
        }
        length
    }

    /// A moment; absent stays absent.
    pub(crate) fn moment(&mut self, field: &str, raw: Option<&prost_types::Timestamp>) -> Option<Timestamp> {
        let raw = raw?;
        let moment = Timestamp::new(raw.seconds, raw.nanos).ok();
        if moment.is_none() {
            self.add(field, format!("{} s and {} ns are not a time", raw.seconds, raw.nanos));
        }
        moment
    }

    /// Two moments in order.
    pub(crate) fn span(
        &mut self,
        since: Option<&prost_types::Timestamp>,
        until: Option<&prost_types::Timestamp>,
    ) -> (Option<Timestamp>, Option<Timestamp>) {
        let (since, until) = (self.moment("since", since), self.moment("until", until));
        if let (Some(since), Some(until)) = (since, until)
            && until <= since
        {
            self.add("until", format!("{until} is not after since, {since}"));
        }
        (since, until)
    }

    /// Seconds before something is killed; absent stays absent.
    pub(crate) fn grace(&mut self, raw: Option<i32>) -> Option<Duration> {
        let seconds: u64 = self.within("timeout", raw?.into(), 0, 3_600)?;
        Some(Duration::from_secs(seconds))
    }
}

fn seconds(raw: &prost_types::Duration) -> String {
    match Duration::try_from(*raw) {
        Ok(length) => in_seconds(length),
        Err(_) => format!("{} s and {} ns", raw.seconds, raw.nanos),
    }
}

fn in_seconds(length: Duration) -> String {
    format!("{} s", length.as_secs_f64())
}

/// A group as callers name it in a filter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum GroupWish {
    /// By name: `shop`, `shop~x`, `shop~*`.
    Named(GroupFilter),
    /// By id; whose name it is has to be looked up.
    Id(String),
}

impl GroupWish {
    pub(crate) fn parse(v: &mut Violations, field: &str, raw: &str) -> Option<Self> {
        if raw.is_empty() {
            return None;
        }
        if clos_domain::id::GroupId::parse(raw).is_some() {
            return Some(Self::Id(raw.to_owned()));
        }
        v.take(GroupFilter::parse(field, raw)).map(Self::Named)
    }
}

/// A text that means nothing when it is empty.
pub(crate) fn some(raw: &str) -> Option<String> {
    (!raw.is_empty()).then(|| raw.to_owned())
}

/// The id of the message that makes a call repeatable; a long one is refused.
pub(crate) fn request_id(v: &mut Violations, raw: &str) {
    const MAX: usize = 128;
    let is_sane = raw.len() <= MAX && raw.bytes().all(|byte| byte.is_ascii_graphic());
    if !is_sane {
        let message = format!(
            "`{}` must be at most {MAX} visible ASCII characters",
            shown(&raw.escape_debug().to_string())
        );
        v.add("request_id", message);
    }
}
