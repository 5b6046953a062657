//! Descriptors of protobuf editions, put into the words of proto2 and proto3, which is what
//! the reader of descriptors understands. <https://protobuf.dev/editions/features/>
//!
//! A file becomes proto3 whose fields are `optional` where their presence is explicit. One
//! with an enum that does not begin with zero, which proto3 does not allow, becomes proto2.

use std::borrow::Cow;

use crate::wire::{self, Malformed, Raw, Reader, Type};

/// What of a file or message holds for what is in it.
#[derive(Clone, Copy)]
struct Features {
    is_implicit: bool,
    is_delimited: bool,
}

impl Features {
    /// With what the bytes of options say, in whose field `number` the features are.
    fn within(self, options: &[u8], number: u32) -> Self {
        let Some(Raw::Bytes(own)) = wire::last(options, number) else { return self };
        let is = |feature: u32, wanted: u64, before: bool| match wire::last(own, feature) {
            Some(Raw::Varint(value)) => value == wanted,
            _ => before,
        };
        // field_presence: EXPLICIT 1, IMPLICIT 2; message_encoding: DELIMITED 2.
        Self { is_implicit: is(1, 2, self.is_implicit), is_delimited: is(5, 2, self.is_delimited) }
    }
}

/// A descriptor set without editions.
pub(crate) fn lowered(set: &[u8]) -> Cow<'_, [u8]> {
    let has_editions = |file: &[u8]| wire::last(file, 12) == Some(Raw::Bytes(b"editions"));
    let mut reader = Reader::new(set);
    let mut found = false;
    while let Ok(Some((number, raw))) = reader.field() {
        found |= matches!(raw, Raw::Bytes(bytes) if number == 1 && has_editions(bytes));
    }
    if !found {
        return Cow::Borrowed(set);
    }
    let lowered = rewritten(set, |out, number, raw| {
        let (1, Raw::Bytes(bytes)) = (number, raw) else { return Ok(false) };
        if !has_editions(bytes) {
            return Ok(false);
        }
        wire::put_bytes(out, 1, &file(bytes)?);
        Ok(true)
    });
    // What is no descriptor set is refused by who reads it next.
    lowered.map_or(Cow::Borrowed(set), Cow::Owned)
}

/// A copy of a message in which some fields are written anew.
fn rewritten(
    bytes: &[u8],
    mut anew: impl FnMut(&mut Vec<u8>, u32, Raw<'_>) -> Result<bool, Malformed>,
) -> Result<Vec<u8>, Malformed> {
    let mut out = Vec::with_capacity(bytes.len() + 16);
    let mut reader = Reader::new(bytes);
    loop {
        let start = bytes.len() - reader.left();
        let Some((number, raw)) = reader.field()? else { return Ok(out) };
        if !anew(&mut out, number, raw)? {
            out.extend_from_slice(&bytes[start..bytes.len() - reader.left()]);
        }
    }
}

fn options(of: &[u8], number: u32) -> &[u8] {
    match wire::last(of, number) {
        Some(Raw::Bytes(bytes)) => bytes,
        _ => &[],
    }
}

fn file(bytes: &[u8]) -> Result<Vec<u8>, Malformed> {
    let features = Features { is_implicit: false, is_delimited: false }.within(options(bytes, 8), 50);
    let syntax: &[u8] = if begins_with_zero(bytes, 4, 5)? { b"proto3" } else { b"proto2" };
    rewritten(bytes, |out, number, raw| {
        match (number, raw) {
            (12, _) => wire::put_bytes(out, 12, syntax),
            (4, Raw::Bytes(inner)) => wire::put_bytes(out, 4, &message(inner, features)?),
            (7, Raw::Bytes(inner)) => wire::put_bytes(out, 7, &field(inner, features)?),
            _ => return Ok(false),
        }
        Ok(true)
    })
}

fn message(bytes: &[u8], around: Features) -> Result<Vec<u8>, Malformed> {
    let own = options(bytes, 7);
    let features = around.within(own, 12);
    let is_entry = matches!(wire::last(own, 7), Some(Raw::Varint(1)));
    rewritten(bytes, |out, number, raw| {
        match (number, raw) {
            // Entries of maps are spelled by the map.
            (2 | 6, Raw::Bytes(inner)) if !is_entry => {
                wire::put_bytes(out, number, &field(inner, features)?);
            }
            (3, Raw::Bytes(inner)) => wire::put_bytes(out, 3, &message(inner, features)?),
            _ => return Ok(false),
        }
        Ok(true)
    })
}

fn field(bytes: &[u8], around: Features) -> Result<Vec<u8>, Malformed> {
    const MESSAGE: u64 = 11;
    const GROUP: u64 = 10;
    let features = around.within(options(bytes, 8), 21);
    let number_of = |number| match wire::last(bytes, number) {
        Some(Raw::Varint(value)) => value,
        _ => 0,
    };
    let (label, kind) = (number_of(4), number_of(5));
    let mut out = rewritten(bytes, |out, number, _| {
        if number != 5 || kind != MESSAGE || !features.is_delimited {
            return Ok(false);
        }
        wire::put_tag(out, 5, Type::Varint);
        wire::put_varint(out, GROUP);
        Ok(true)
    })?;
    let is_scalar = kind != MESSAGE && kind != GROUP;
    let in_oneof = wire::last(bytes, 9).is_some();
    if label == 1 && is_scalar && !in_oneof && !features.is_implicit {
        wire::put_tag(&mut out, 17, Type::Varint);
        out.push(1);
    }
    Ok(out)
}

/// Whether every enum in it begins with zero: those of the field `enums`, and of messages in the field `messages`.
fn begins_with_zero(bytes: &[u8], messages: u32, enums: u32) -> Result<bool, Malformed> {
    let mut reader = Reader::new(bytes);
    while let Some((number, raw)) = reader.field()? {
        let Raw::Bytes(inner) = raw else { continue };
        if number == messages && !begins_with_zero(inner, 3, 4)? {
            return Ok(false);
        }
        if number == enums {
            let mut values = Reader::new(inner);
            while let Some((number, raw)) = values.field()? {
                let (2, Raw::Bytes(value)) = (number, raw) else { continue };
                if !matches!(wire::last(value, 2), None | Some(Raw::Varint(0))) {
                    return Ok(false);
                }
                break;
            }
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use prost_reflect::prost::Message as _;
    use prost_reflect::prost_types::field_descriptor_proto::{Label, Type as Of};
    use prost_reflect::prost_types::{
        DescriptorProto, EnumDescriptorProto, EnumValueDescriptorProto, FieldDescriptorProto,
        FileDescriptorProto,
    };

    use super::*;
    use crate::{Codec, Spelling};

    fn nested(number: u32, bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        wire::put_bytes(&mut out, number, bytes);
        out
    }

    fn field(name: &str, number: i32, of: Of, of_name: Option<&str>) -> FieldDescriptorProto {
        FieldDescriptorProto {
            name: Some(name.to_owned()),
            number: Some(number),
            label: Some(Label::Optional.into()),
            r#type: Some(of.into()),
            type_name: of_name.map(str::to_owned),
            ..FieldDescriptorProto::default()
        }
    }

    /// A set with one file of edition 2023, whose enum begins with this number.
    fn set(first: i32) -> Vec<u8> {
        let file = FileDescriptorProto {
            name: Some("e.proto".to_owned()),
            package: Some("e".to_owned()),
            syntax: Some("editions".to_owned()),
            enum_type: vec![EnumDescriptorProto {
                name: Some("E".to_owned()),
                value: vec![EnumValueDescriptorProto {
                    name: Some("E_FIRST".to_owned()),
                    number: Some(first),
                    ..EnumValueDescriptorProto::default()
                }],
                ..EnumDescriptorProto::default()
            }],
            ..FileDescriptorProto::default()
        };
        let message = DescriptorProto {
            name: Some("M".to_owned()),
            field: vec![field("explicit", 1, Of::Int32, None), field("e", 2, Of::Enum, Some(".e.E"))],
            ..DescriptorProto::default()
        };
        let implicit = field("implicit", 3, Of::Int32, None).encode_to_vec();
        let implicit = [implicit, nested(8, &nested(21, &[8, 2]))].concat();
        let grouped = field("grouped", 4, Of::Message, Some(".e.M")).encode_to_vec();
        let grouped = [grouped, nested(8, &nested(21, &[0x28, 2]))].concat();
        let message = [message.encode_to_vec(), nested(2, &implicit), nested(2, &grouped)].concat();
        nested(1, &[file.encode_to_vec(), nested(4, &message), vec![0x70, 0xe8, 7]].concat())
    }

    #[test]
    fn editions_are_read_with_the_presence_they_give() {
        let codec = Codec::new(&set(0), Spelling::default()).unwrap();
        let there_and_back = |codec: &Codec, json: &str| {
            let wire = codec.parse("e.M", json).unwrap();
            let mut out = Vec::new();
            codec.print("e.M", &wire, &mut out).unwrap();
            (wire, String::from_utf8(out).unwrap())
        };
        assert_eq!(there_and_back(&codec, "{}").1, "{\"implicit\":0}");
        let (wire, text) = there_and_back(&codec, "{\"explicit\":0,\"e\":\"first\",\"grouped\":{}}");
        assert_eq!(text, "{\"explicit\":0,\"e\":\"E_FIRST\",\"implicit\":0,\"grouped\":{\"implicit\":0}}");
        assert_eq!(wire, [8, 0, 0x10, 0, 0x23, 0x24], "a group has a beginning and an end");
        let closed = Codec::new(&set(1), Spelling::default()).unwrap();
        assert_eq!(there_and_back(&closed, "{\"e\":1}").1, "{\"e\":\"E_FIRST\"}");
    }

    #[test]
    fn other_sets_are_left_as_they_are() {
        let set = tonic_types::pb::FILE_DESCRIPTOR_SET;
        assert!(matches!(lowered(set), Cow::Borrowed(same) if same == set));
        assert!(matches!(lowered(b"nope"), Cow::Borrowed(b"nope")));
    }
}
