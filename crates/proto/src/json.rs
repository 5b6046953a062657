//! The JSON of our messages, as REST prints it: names and enum words in snake
//! case, 64-bit integers as numbers, RFC 3339 times, durations in seconds.
//!
//! This is for printing only, and for messages that were just decoded or built:
//! speed does not matter here, and nothing is read back. Lists, maps and plain
//! fields are always there; an optional field or message that is absent is left out.

use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MapKey, ReflectMessage, Value};
use serde_json::{Map, Number, Value as Json};

/// Prints a message of the package, by its short or full name: `Service`, `clos.v2.Service`.
///
/// # Errors
/// When the contract has no message of that name, or the message is another one.
pub fn to_value(name: &str, message: &impl prost::Message) -> Result<Json, Error> {
    let descriptor = crate::pool()
        .get_message_by_name(name)
        .or_else(|| crate::pool().get_message_by_name(&format!("{}.{name}", crate::PACKAGE)))
        .ok_or_else(|| Error(format!("the contract has no message `{name}`")))?;
    let dynamic = DynamicMessage::decode(descriptor, message.encode_to_vec().as_slice())
        .map_err(|error| Error(format!("the message is no `{name}`: {error}")))?;
    print_message(&dynamic)
}

/// A message that cannot be printed under the name that was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error(String);

impl Error {
    pub(crate) fn new(message: String) -> Self {
        Self(message)
    }
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Error {}

fn print_message(message: &DynamicMessage) -> Result<Json, Error> {
    let descriptor = message.descriptor();
    // The well-known types have a JSON form of their own, and prost-reflect knows it.
    if descriptor.package_name() == "google.protobuf" {
        return serde_json::to_value(message).map_err(|error| Error(error.to_string()));
    }
    let mut fields: Vec<FieldDescriptor> = descriptor.fields().collect();
    fields.sort_by_key(FieldDescriptor::number);
    let mut object = Map::new();
    for field in fields {
        if field.supports_presence() && !message.has_field(&field) {
            continue;
        }
        let value = message.get_field(&field);
        object.insert(field.name().to_owned(), print_field(&field, &value)?);
    }
    Ok(Json::Object(object))
}

fn print_field(field: &FieldDescriptor, value: &Value) -> Result<Json, Error> {
    match value {
        Value::List(items) => items.iter().map(|item| print_scalar(&field.kind(), item)).collect(),
        Value::Map(entries) => {
            let kind = match field.kind() {
                Kind::Message(entry) => entry.map_entry_value_field().kind(),
                other => other,
            };
            let mut entries: Vec<(&MapKey, &Value)> = entries.iter().collect();
            entries.sort_by_key(|(key, _)| *key);
            let mut object = Map::new();
            for (key, value) in entries {
                object.insert(print_key(key), print_scalar(&kind, value)?);
            }
            Ok(Json::Object(object))
        }
        other => print_scalar(&field.kind(), other),
    }
}

fn print_scalar(kind: &Kind, value: &Value) -> Result<Json, Error> {
    Ok(match value {
        Value::Bool(it) => Json::Bool(*it),
        Value::I32(it) => Json::from(*it),
        Value::I64(it) => Json::from(*it),
        Value::U32(it) => Json::from(*it),
        Value::U64(it) => Json::from(*it),
        // By its own shortest text: widened to 64 bits, 0.1 would print as 0.10000000149011612.
        Value::F32(it) => print_float(it.to_string().parse().unwrap_or(f64::from(*it))),
        Value::F64(it) => print_float(*it),
        Value::String(it) => Json::String(it.clone()),
        Value::Bytes(it) => Json::String(data_encoding::BASE64.encode(it)),
        Value::EnumNumber(number) => print_enum(kind, *number),
        Value::Message(message) => print_message(message)?,
        Value::List(_) | Value::Map(_) => {
            return Err(Error("a list or map inside of a list or map is no protobuf".to_owned()));
        }
    })
}

fn print_key(key: &MapKey) -> String {
    match key {
        MapKey::Bool(it) => it.to_string(),
        MapKey::I32(it) => it.to_string(),
        MapKey::I64(it) => it.to_string(),
        MapKey::U32(it) => it.to_string(),
        MapKey::U64(it) => it.to_string(),
        MapKey::String(it) => it.clone(),
    }
}

fn print_float(value: f64) -> Json {
    /// Up to here every whole number is exact.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    let is_whole = value.fract() == 0.0 && value.abs() <= EXACT;
    if is_whole {
        // As short as it reads back: 1 and not 1.0.
        #[expect(clippy::cast_possible_truncation, reason = "whole and within 53 bits")]
        let whole = value as i64;
        return Json::from(whole);
    }
    match Number::from_f64(value) {
        Some(number) => Json::Number(number),
        None if value.is_nan() => Json::from("NaN"),
        None if value > 0.0 => Json::from("Infinity"),
        None => Json::from("-Infinity"),
    }
}

/// `SERVICE_STATUS_RUNNING` of `ServiceStatus` is `running`; a number that this side does not know stays one.
fn print_enum(kind: &Kind, number: i32) -> Json {
    let Some(descriptor) = kind.as_enum() else { return Json::from(number) };
    let Some(value) = descriptor.get_value(number) else { return Json::from(number) };
    let prefix = format!("{}_", upper_snake(descriptor.name()));
    let word = value.name().strip_prefix(&prefix).unwrap_or(value.name());
    Json::String(word.to_ascii_lowercase())
}

pub(crate) fn upper_snake(camel: &str) -> String {
    let mut snake = String::with_capacity(camel.len() + 4);
    for (at, letter) in camel.char_indices() {
        if at > 0 && letter.is_ascii_uppercase() {
            snake.push('_');
        }
        snake.push(letter.to_ascii_uppercase());
    }
    snake
}
