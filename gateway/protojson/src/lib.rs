//! The JSON of protobuf messages, by descriptors and without HTTP.
//!
//! A [`Schema`](schema::Schema) is the descriptors, compiled to tables. By them [`parse`] reads a
//! JSON text and writes wire bytes, and [`print`](mod@print) reads wire bytes and writes JSON, each in one
//! pass and without a tree of values in between. [`Codec`] is both for a tool that knows a message by its name.
//!
//! What is printed follows ProtoJSON, a [`Spelling`], and the annotations of `transcoding.v1` if the
//! descriptors have them: short words of enums, 64-bit integers as numbers, `null` for what is absent.
//! Every spelling is read.
//!
//! Where to look: `schema` compiles, `rules` reads annotations, `editions` makes older words of newer
//! descriptors; `json` and `wire` are the two formats, `scalar` and `time` the values.
//! `oracle` holds both ways against prost-reflect.
#![warn(missing_docs)]

mod codec;
mod editions;
pub mod json;
#[cfg(test)]
mod oracle;
pub mod parse;
pub mod print;
mod rules;
pub mod scalar;
pub mod schema;
mod seen;
mod spelling;
pub mod time;
pub mod wire;

use prost_reflect::{DescriptorError, DescriptorPool};

pub use crate::codec::{Codec, Unfit};
pub use crate::spelling::{Enums, Int64, Names, Spelling};

/// How deeply messages, lists and objects may nest.
pub const DEPTH: usize = 64;
/// How deeply messages may nest on the wire, where free objects take three levels for one of JSON and
/// entries of maps are messages too: prost and upb read no more.
pub(crate) const WIRE_DEPTH: usize = 100;

/// A field that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Which: `ports[0].host_port`.
    pub field: String,
    /// What is wrong, and the way out.
    pub description: String,
}

impl Violation {
    /// A field, and what is wrong with it.
    pub fn new(field: impl Into<String>, description: impl Into<String>) -> Self {
        Self { field: field.into(), description: description.into() }
    }
}

/// Reads an encoded `FileDescriptorSet`, of editions too.
///
/// # Errors
/// Bytes that are no descriptor set.
pub fn pool(descriptor_set: &[u8]) -> Result<DescriptorPool, DescriptorError> {
    DescriptorPool::decode(&*editions::lowered(descriptor_set))
}

/// What a caller reads of what it sent: printable, and not too much.
pub fn shown(text: &str) -> String {
    let mut shown: String =
        text.chars().take(100).map(|letter| if letter.is_control() { '?' } else { letter }).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    shown
}
