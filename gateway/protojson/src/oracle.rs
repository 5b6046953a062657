//! The plans against prost-reflect, which reads and prints the same messages by other means.
//!
//! What may differ, and only that: whole floats are `1` here and `1.0` there, an unset field with presence
//! is left out by both, and `nullable` is ours alone.

use std::path::Path;
use std::sync::LazyLock;

use proptest::prelude::*;
use prost_reflect::prost::Message as _;
use prost_reflect::{DescriptorPool, DynamicMessage, FieldDescriptor, Kind, MapKey, SerializeOptions, Value};
use serde_json::Value as Json;

use crate::parse::{self, How};
use crate::print;
use crate::schema::Schema;
use crate::spelling::{Names, Spelling};

fn pool() -> DescriptorPool {
    static POOL: LazyLock<DescriptorPool> = LazyLock::new(compiled);
    POOL.clone()
}

fn compiled() -> DescriptorPool {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut compiler =
        protox::Compiler::new([root.join("../transcoder/tests/proto"), root.join("../../proto")]).unwrap();
    compiler.include_imports(true).open_file("conformance/v1/conformance.proto").unwrap();
    DescriptorPool::decode(compiler.encode_file_descriptor_set().as_slice()).unwrap()
}

/// Choices, one after the other; zeros when there are no more.
struct Choices<'c>(std::slice::Iter<'c, u16>);

impl Choices<'_> {
    fn next(&mut self) -> u16 {
        self.0.next().copied().unwrap_or_default()
    }

    fn of<T: Clone>(&mut self, all: &[T]) -> T {
        all[usize::from(self.next()) % all.len()].clone()
    }
}

fn text(choices: &mut Choices<'_>) -> String {
    choices.of(&["", "a", "é😀", "\"\\\n\t\u{1}/", "null", "0", "\u{7f}\u{2028}", "x".repeat(200).as_str()]
        .map(str::to_owned))
}

fn value(kind: &Kind, choices: &mut Choices<'_>, depth: usize) -> Value {
    match kind {
        Kind::Double => Value::F64(choices.of(&[0.0, 1.0, -1.5, 0.1, 1e300, 1e-7, 123_456_789.125, -0.25])),
        Kind::Float => Value::F32(choices.of(&[0.0, 1.0, -1.5, 0.1, 1e30, 16_777_216.0])),
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => {
            Value::I32(choices.of(&[0, 1, -1, i32::MAX, i32::MIN, 300]))
        }
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => {
            Value::I64(choices.of(&[0, 1, -1, i64::MAX, i64::MIN, 1 << 53]))
        }
        Kind::Uint32 | Kind::Fixed32 => Value::U32(choices.of(&[0, 1, u32::MAX, 300])),
        Kind::Uint64 | Kind::Fixed64 => Value::U64(choices.of(&[0, 1, u64::MAX, 1 << 53])),
        Kind::Bool => Value::Bool(choices.next() % 2 == 1),
        Kind::String => Value::String(text(choices)),
        Kind::Bytes => Value::Bytes(choices.of(&[vec![], vec![0], vec![0xfb, 0xff], vec![1; 100]]).into()),
        Kind::Enum(of) => {
            let numbers: Vec<i32> = of.values().map(|value| value.number()).collect();
            Value::EnumNumber(choices.of(&numbers))
        }
        Kind::Message(of) => {
            let mut message = DynamicMessage::new(of.clone());
            fill(&mut message, choices, depth + 1);
            Value::Message(message)
        }
    }
}

fn fill(message: &mut DynamicMessage, choices: &mut Choices<'_>, depth: usize) {
    use prost_reflect::ReflectMessage as _;
    let descriptor = message.descriptor();
    let name = descriptor.full_name().to_owned();
    let set = |message: &mut DynamicMessage, name: &str, value: Value| message.set_field_by_name(name, value);
    match name.as_str() {
        "google.protobuf.Timestamp" => {
            set(
                message,
                "seconds",
                Value::I64(choices.of(&[0, -1, 1_795_428_000, 253_402_300_799, -62_135_596_800])),
            );
            return set(message, "nanos", Value::I32(choices.of(&[0, 1, 1_000, 500_000_000, 999_999_999])));
        }
        "google.protobuf.Duration" => {
            let sign = choices.of(&[1, -1]);
            set(
                message,
                "seconds",
                Value::I64(i64::from(sign) * choices.of(&[0, 1, 5_400, 315_576_000_000 - 1])),
            );
            return set(message, "nanos", Value::I32(sign * choices.of(&[0, 1, 1_000, 500_000_000])));
        }
        "google.protobuf.FieldMask" => {
            let paths = choices.of(&[vec![], vec!["a"], vec!["sub.long_name", "i32"]]);
            return set(
                message,
                "paths",
                Value::List(paths.iter().map(|it| Value::String((*it).to_owned())).collect()),
            );
        }
        "google.protobuf.Any" => {
            let url = "type.googleapis.com/google.protobuf.Duration".to_owned();
            set(message, "type_url", Value::String(url));
            return set(message, "value", Value::Bytes(vec![8, 1].into()));
        }
        "google.protobuf.Value" => {
            let (field, value) = match choices.next() % 5 {
                0 => ("null_value", Value::EnumNumber(0)),
                1 => ("number_value", Value::F64(choices.of(&[0.0, 1.5, -3.0]))),
                2 => ("bool_value", Value::Bool(true)),
                _ => ("string_value", Value::String(text(choices))),
            };
            return set(message, field, value);
        }
        _ => {}
    }
    if depth > 3 {
        return;
    }
    let fields: Vec<FieldDescriptor> = descriptor.fields().collect();
    for field in fields {
        let choice = choices.next() % 4;
        // Of a oneof one member at most, which setting it sees to; `nullable` prints what the other does not.
        if choice == 0 || field.name() == "maybe" {
            continue;
        }
        let set = if field.is_map() {
            let Kind::Message(entry) = field.kind() else { continue };
            let key = match value(&entry.map_entry_key_field().kind(), choices, depth) {
                Value::Bool(key) => MapKey::Bool(key),
                Value::I32(key) => MapKey::I32(key),
                Value::String(key) => MapKey::String(key),
                _ => continue,
            };
            Value::Map(
                [(key, value(&entry.map_entry_value_field().kind(), choices, depth))].into_iter().collect(),
            )
        } else if field.is_list() {
            Value::List((0..choice).map(|_| value(&field.kind(), choices, depth)).collect())
        } else {
            value(&field.kind(), choices, depth)
        };
        message.set_field(&field, set);
    }
}

/// Whole floats and numbers compare as numbers.
fn normal(json: Json) -> Json {
    match json {
        Json::Number(number) => Json::from(number.as_f64()),
        Json::Array(items) => items.into_iter().map(normal).collect(),
        Json::Object(members) => members
            .into_iter()
            .filter(|(name, _)| name != "maybe")
            .map(|(name, value)| (name, normal(value)))
            .collect(),
        other => other,
    }
}

proptest! {
    #[test]
    fn both_print_the_same_and_read_what_either_printed(choices in proptest::collection::vec(any::<u16>(), 0..400)) {
        let pool = pool();
        let descriptor = pool.get_message_by_name("conformance.v1.All").unwrap();
        let mut message = DynamicMessage::new(descriptor.clone());
        fill(&mut message, &mut Choices(choices.iter()), 0);
        let schema = Schema::new(&pool, Spelling { names: Names::Json, ..Spelling::default() });
        let id = schema.find("conformance.v1.All").unwrap();
        let wire = message.encode_to_vec();

        let mut ours = Vec::new();
        print::message(&schema, id, &wire, None, &mut ours).unwrap();
        let ours = String::from_utf8(ours).unwrap();
        let mut theirs = Vec::new();
        let options = SerializeOptions::new().skip_default_fields(false);
        message.serialize_with_options(&mut serde_json::Serializer::new(&mut theirs), &options).unwrap();
        let theirs = String::from_utf8(theirs).unwrap();
        let mut own: Json = serde_json::from_str(&ours).unwrap();
        // One field is spelled as a number by its annotation.
        let big = own["big"].as_i64().unwrap_or_default().to_string();
        own["big"] = Json::from(big);
        fn inner(json: &mut Json) {
            if let Some(next) = json.get_mut("inner").filter(|next| next.is_object()) {
                let big = next["big"].as_i64().unwrap_or_default().to_string();
                next["big"] = Json::from(big);
                inner(next);
            }
        }
        inner(&mut own);
        prop_assert_eq!(normal(own), normal(serde_json::from_str(&theirs).unwrap()));

        for text in [&ours, &theirs] {
            let parsed = parse::message(&schema, id, text, How::default());
            let parsed = parsed.map_err(|violations| TestCaseError::fail(format!("{violations:?}")))?;
            let read = DynamicMessage::decode(descriptor.clone(), parsed.bytes.as_slice()).unwrap();
                prop_assert!(read.encode_to_vec() == message.encode_to_vec(), "{}", text);
        }

        // The same fields in another order print the same.
        let mut shuffled: Vec<&[u8]> = Vec::new();
        let mut rest = &wire[..];
        while !rest.is_empty() {
            let mut reader = crate::wire::Reader::new(rest);
            reader.field().unwrap();
            let length = rest.len() - reader.left();
            shuffled.push(&rest[..length]);
            rest = &rest[length..];
        }
        // Values of one field keep their order among themselves.
        shuffled.sort_by_key(|piece| {
            let mut reader = crate::wire::Reader::new(piece);
            let number = reader.field().unwrap().unwrap().0;
            number.wrapping_mul(2_654_435_761)
        });
        let mut again = Vec::new();
        print::message(&schema, id, &shuffled.concat(), None, &mut again).unwrap();
        prop_assert_eq!(String::from_utf8(again).unwrap(), ours);
    }

    #[test]
    fn whatever_comes_nothing_panics(text in "[ -~é]{0,60}", bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
        let pool = pool();
        let schema = Schema::new(&pool, Spelling::default());
        let id = schema.find("conformance.v1.All").unwrap();
        let _ = parse::message(&schema, id, &text, How::default());
        let _ = parse::message(&schema, id, &format!("{{\"{text}"), How { ignore_unknown: true, mask: true, mask_of: None });
        let mut out = Vec::new();
        if print::message(&schema, id, &bytes, None, &mut out).is_ok() {
            serde_json::from_slice::<Json>(&out).unwrap();
        }
    }
}
