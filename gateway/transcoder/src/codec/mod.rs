//! Between JSON and the wire, by the tables of the [schema](crate::schema) and in one pass.
//!
//! [`parse`] reads a JSON text and writes protobuf, [`print`] reads protobuf and
//! writes JSON. Neither builds a tree of values in between.

pub(crate) mod json;
#[cfg(test)]
mod oracle;
pub(crate) mod parse;
pub(crate) mod print;
pub(crate) mod scalar;
pub(crate) mod time;
pub(crate) mod wire;

/// How deeply messages, lists and objects may nest.
pub(crate) const DEPTH: usize = 64;

/// A field that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Violation {
    /// Which: `ports[0].host_port`.
    pub(crate) field: String,
    /// What is wrong, and the way out.
    pub(crate) description: String,
}

impl Violation {
    pub(crate) fn new(field: impl Into<String>, description: impl Into<String>) -> Self {
        Self { field: field.into(), description: description.into() }
    }
}

/// What a caller reads of what it sent: printable, and not too much.
pub(crate) fn shown(text: &str) -> String {
    let mut shown: String =
        text.chars().take(100).map(|letter| if letter.is_control() { '?' } else { letter }).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    shown
}
