//! Both ways for whoever knows a message by its name.

use prost_reflect::{DescriptorError, DescriptorPool};

use crate::schema::{MessageId, Schema};
use crate::spelling::Spelling;
use crate::{parse, print};

/// The JSON of the messages of a descriptor set, by their names.
#[derive(Debug)]
pub struct Codec {
    schema: Schema,
}

/// Why a message has no JSON, or a JSON text is no message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// The descriptors do not have it.
    #[error("there is no message `{0}`")]
    Unknown(String),
    /// The bytes cannot be printed.
    #[error("{0}")]
    Bytes(String),
    /// Fields that are not as they should be: which, and what is wrong.
    #[error("{}", .0.iter().map(|(field, why)| format!("{field}: {why}")).collect::<Vec<_>>().join("; "))]
    Fields(Vec<(String, String)>),
}

impl Codec {
    /// Compiles the messages of an encoded `FileDescriptorSet`.
    ///
    /// # Errors
    /// Bytes that are no descriptor set.
    pub fn new(descriptor_set: &[u8], spelling: Spelling) -> Result<Self, DescriptorError> {
        Ok(Self::of(&crate::pool(descriptor_set)?, spelling))
    }

    /// Compiles the messages of a pool.
    pub fn of(pool: &DescriptorPool, spelling: Spelling) -> Self {
        Self { schema: Schema::new(pool, spelling) }
    }

    fn find(&self, message: &str) -> Result<MessageId, Unfit> {
        self.schema.find(message).ok_or_else(|| Unfit::Unknown(message.to_owned()))
    }

    /// Appends the JSON of a message, which is given by its full name.
    ///
    /// # Errors
    /// A name that is not known, and bytes that are no such message.
    pub fn print(&self, message: &str, wire: &[u8], out: &mut Vec<u8>) -> Result<(), Unfit> {
        let printed = print::message(&self.schema, self.find(message)?, wire, None, out);
        printed.map_err(|error| Unfit::Bytes(error.to_string()))
    }

    /// The message that a JSON text says, as wire bytes.
    ///
    /// # Errors
    /// A name that is not known, and every field that does not fit.
    pub fn parse(&self, message: &str, json: &str) -> Result<Vec<u8>, Unfit> {
        let parsed = parse::message(&self.schema, self.find(message)?, json, parse::How::default());
        parsed.map(|parsed| parsed.bytes).map_err(|violations| {
            Unfit::Fields(violations.into_iter().map(|it| (it.field, it.description)).collect())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_goes_there_and_back_by_its_name() {
        let codec = Codec::new(tonic_types::pb::FILE_DESCRIPTOR_SET, Spelling::default()).unwrap();
        let wire = codec.parse("google.rpc.ErrorInfo", "{\"reason\":\"X\"}").unwrap();
        let mut text = Vec::new();
        codec.print("google.rpc.ErrorInfo", &wire, &mut text).unwrap();
        assert_eq!(text, b"{\"reason\":\"X\",\"domain\":\"\",\"metadata\":{}}");

        assert_eq!(codec.parse("a.B", "{}"), Err(Unfit::Unknown("a.B".to_owned())));
        let Err(unfit) = codec.parse("google.rpc.ErrorInfo", "{\"reason\":1,\"nope\":2}") else { panic!() };
        let text = unfit.to_string();
        assert!(text.contains("reason: ") && text.contains("; nope: "), "{text}");
        assert!(matches!(
            codec.print("google.rpc.ErrorInfo", &[0x0a], &mut Vec::new()),
            Err(Unfit::Bytes(_))
        ));
        assert!(Codec::new(b"nope", Spelling::default()).is_err());
    }
}
