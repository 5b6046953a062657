//! The descriptors, compiled to what a request needs: for every message a table
//! of fields by number and by name, with the texts that are printed.

use std::collections::HashMap;

use prost_reflect::{Cardinality, DescriptorPool, EnumDescriptor, FieldDescriptor, MessageDescriptor};

use crate::rules::Rules;
use crate::scalar;
use crate::shown;
use crate::spelling::{Enums, Int64, Names, Spelling};

pub use crate::scalar::Scalar;

/// Which message of the schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct MessageId(usize);

/// Which enum of the schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct EnumId(usize);

/// Every message and enum of a pool.
#[derive(Debug)]
pub struct Schema {
    messages: Vec<Message>,
    enums: Vec<Enum>,
    by_name: HashMap<String, MessageId>,
    pool: DescriptorPool,
}

/// What a field mask speaks of.
#[derive(Debug, Clone, Copy)]
pub struct MaskOf {
    /// The message whose fields it names.
    pub message: MessageId,
    /// A request that may have the message in one of its fields.
    pub or_inside: Option<MessageId>,
}

/// Whether a message has a JSON of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// An object of its fields.
    Plain,
    /// `google.protobuf.Timestamp`
    Timestamp,
    /// `google.protobuf.Duration`
    Duration,
    /// `google.protobuf.FieldMask`
    FieldMask,
    /// `google.protobuf.Struct`
    Struct,
    /// `google.protobuf.Value`
    Value,
    /// `google.protobuf.ListValue`
    ListValue,
    /// `google.protobuf.Any`
    Any,
    /// A wrapper of one scalar.
    Wrapper(Scalar),
    /// google.api.HttpBody; its JSON is that of a plain message.
    HttpBody,
}

impl Shape {
    /// Whether a path may lead into it.
    pub const fn is_leaf(self) -> bool {
        !matches!(self, Self::Plain | Self::HttpBody)
    }
}

/// One message.
#[derive(Debug)]
pub struct Message {
    /// The full name.
    pub name: String,
    /// Whether it has a JSON of its own.
    pub shape: Shape,
    /// By number.
    pub fields: Vec<Field>,
    /// Both spellings.
    names: HashMap<String, u16>,
    /// Index + 1 of the field with a small number.
    dense: Vec<u16>,
}

/// One field.
#[derive(Debug)]
pub struct Field {
    /// Its number on the wire.
    pub number: u32,
    /// As the proto spells it.
    pub name: String,
    /// `"name":` as it is printed.
    pub key: Vec<u8>,
    /// How it is printed when it is not there, with its name; empty when it is left out.
    pub absent: Vec<u8>,
    /// What kind of value.
    pub kind: Kind,
    /// How many values.
    pub card: Card,
    /// Which real oneof it belongs to.
    pub oneof: Option<u16>,
    /// `null` is printed when it is not there.
    pub nullable: bool,
    /// A query parameter may carry several values with commas between.
    pub csv: bool,
    /// 64-bit integers are printed as numbers.
    pub number64: bool,
    /// A duration may be written `1h30m` in a body too.
    pub lenient_duration: bool,
    /// `google.api.field_behavior` says REQUIRED.
    pub required: bool,
    /// `google.api.field_behavior` says OUTPUT_ONLY.
    pub output_only: bool,
    /// A message without a length, as proto2 has them.
    pub is_group: bool,
}

/// How many values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Card {
    /// One, which is always there.
    Implicit,
    /// One, or none.
    Optional,
    /// A list.
    Many,
    /// A map with such keys; the field's kind is that of the values.
    Map(Scalar),
}

/// What kind of value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A number, boolean, string or bytes.
    Scalar(Scalar),
    /// A word.
    Enum(EnumId),
    /// An object, or what a well-known type is in JSON.
    Message(MessageId),
}

/// One enum.
#[derive(Debug)]
pub struct Enum {
    /// The full name.
    pub name: String,
    /// Accepted spellings.
    words: HashMap<String, i32>,
    /// Number and how it is printed, in quotes; sorted by number.
    printed: Vec<(i32, Vec<u8>)>,
    /// google.protobuf.NullValue.
    pub is_null: bool,
}

impl Enum {
    /// The number of a word in any accepted spelling, or of a defined number.
    pub fn parse(&self, word: &str) -> Option<i32> {
        if let Some(number) = self.words.get(word) {
            return Some(*number);
        }
        let number =
            word.parse().ok().filter(|_| word.bytes().all(|byte| byte == b'-' || byte.is_ascii_digit()))?;
        self.is_defined(number).then_some(number)
    }

    pub(crate) fn is_defined(&self, number: i32) -> bool {
        self.printed(number).is_some()
    }

    /// The quoted word.
    pub fn printed(&self, number: i32) -> Option<&[u8]> {
        let at = self.printed.binary_search_by_key(&number, |(number, _)| *number).ok()?;
        Some(&self.printed[at].1)
    }

    /// Every spelling of a number.
    pub fn spellings(&self, number: i32) -> Vec<String> {
        self.words.iter().filter(|(_, known)| **known == number).map(|(word, _)| word.clone()).collect()
    }

    /// A value's name without the enum's, as reasons of errors are spelled.
    pub fn bare(&self, number: i32, full: &str) -> String {
        let shorter = self.spellings(number).into_iter().filter(|word| full.ends_with(word.as_str()));
        shorter.min_by_key(String::len).unwrap_or_else(|| full.to_owned())
    }

    /// The words as they are printed, in the order of their numbers.
    pub fn words(&self) -> impl Iterator<Item = String> {
        self.printed.iter().map(|(_, word)| String::from_utf8_lossy(word).trim_matches('"').to_owned())
    }

    /// What somebody reads who used another word: `running, stopped`.
    pub fn expected(&self) -> String {
        let words: Vec<String> = self.words().take(12).collect();
        let more = if self.printed.len() > words.len() { ", …" } else { "" };
        format!("one of {}{more}", words.join(", "))
    }
}

impl Message {
    /// The index of a field.
    pub fn by_number(&self, number: u32) -> Option<usize> {
        if let Some(known) = usize::try_from(number).ok().and_then(|at| self.dense.get(at)) {
            return known.checked_sub(1).map(usize::from);
        }
        self.fields.binary_search_by_key(&number, |field| field.number).ok()
    }

    /// As [`by_name`](Self::by_name), for names that come in the order of the fields: those that are due are
    /// compared, as they are printed, before the table is asked.
    pub(crate) fn by_name_from(&self, due: usize, name: &str) -> Option<usize> {
        let is_named = |field: &Field| field.key.get(1..field.key.len() - 2) == Some(name.as_bytes());
        let found = self.fields.iter().skip(due).take(2).position(is_named);
        found.map(|at| due + at).or_else(|| self.by_name(name))
    }

    /// The index of a field; either spelling.
    pub fn by_name(&self, name: &str) -> Option<usize> {
        self.names.get(name).copied().map(usize::from)
    }

    /// A field; either spelling.
    pub fn field(&self, name: &str) -> Option<&Field> {
        self.by_name(name).map(|at| &self.fields[at])
    }
}

impl Field {
    /// Whether it has one value at most.
    pub const fn is_single(&self) -> bool {
        matches!(self.card, Card::Implicit | Card::Optional)
    }

    /// The value of a map's entries, as a field of the entry.
    pub const fn value_of(map: &Self) -> Self {
        Self {
            number: 2,
            name: String::new(),
            key: Vec::new(),
            absent: Vec::new(),
            kind: map.kind,
            card: Card::Optional,
            oneof: None,
            nullable: false,
            csv: false,
            number64: map.number64,
            lenient_duration: map.lenient_duration,
            required: false,
            output_only: false,
            is_group: false,
        }
    }

    /// The message of a field that has one.
    pub const fn message(&self) -> Option<MessageId> {
        match self.kind {
            Kind::Message(id) => Some(id),
            _ => None,
        }
    }

    /// Whether it is one string.
    pub fn is_text(&self) -> bool {
        self.is_single() && self.kind == Kind::Scalar(Scalar::String)
    }
}

impl Schema {
    /// Compiles a pool.
    pub fn new(pool: &DescriptorPool, spelling: Spelling) -> Self {
        let rules = Rules::of(pool);
        let mut schema =
            Self { messages: Vec::new(), enums: Vec::new(), by_name: HashMap::new(), pool: pool.clone() };
        let mut enum_ids = HashMap::new();
        for of in pool.all_enums() {
            enum_ids.insert(of.full_name().to_owned(), EnumId(schema.enums.len()));
            schema.enums.push(enumeration(&of, &rules, spelling));
        }
        let all: Vec<MessageDescriptor> = pool.all_messages().collect();
        for (at, of) in all.iter().enumerate() {
            schema.by_name.insert(of.full_name().to_owned(), MessageId(at));
        }
        for of in &all {
            let message = message(of, &rules, spelling, &schema.by_name, &enum_ids);
            schema.messages.push(message);
        }
        for at in 0..schema.messages.len() {
            for field in 0..schema.messages[at].fields.len() {
                let absent = schema.absent(&schema.messages[at].fields[field]);
                schema.messages[at].fields[field].absent = absent;
            }
        }
        schema
    }

    /// What is printed for a field that is not there, with its name.
    fn absent(&self, field: &Field) -> Vec<u8> {
        let mut out = Vec::new();
        if field.card == Card::Optional && !field.nullable {
            return out;
        }
        out.extend_from_slice(&field.key);
        match field.card {
            Card::Optional => out.extend_from_slice(b"null"),
            _ => self.put_default(field, &mut out),
        }
        out
    }

    /// Prints the value of a field that is not there.
    pub(crate) fn put_default(&self, field: &Field, out: &mut Vec<u8>) {
        match (field.card, field.kind) {
            (Card::Many, _) => out.extend_from_slice(b"[]"),
            (Card::Map(_), _) => out.extend_from_slice(b"{}"),
            (_, Kind::Scalar(of)) => scalar::print_default(out, of, field.number64),
            (_, Kind::Enum(id)) => {
                let known = self.enumeration(id);
                let word = if known.is_null { b"null" } else { known.printed(0).unwrap_or(b"0") };
                out.extend_from_slice(word);
            }
            (_, Kind::Message(_)) => out.extend_from_slice(b"{}"),
        }
    }

    /// The message of an id.
    pub fn message(&self, id: MessageId) -> &Message {
        &self.messages[id.0]
    }

    /// The enum of an id.
    pub fn enumeration(&self, id: EnumId) -> &Enum {
        &self.enums[id.0]
    }

    /// A message by its full name.
    pub fn find(&self, name: &str) -> Option<MessageId> {
        self.by_name.get(name).copied()
    }

    /// An enum by its full name.
    pub fn find_enum(&self, name: &str) -> &Enum {
        self.enums.iter().find(|of| of.name == name).expect("every enum of the pool is in the schema")
    }

    /// The message that a type URL names.
    pub(crate) fn by_url(&self, url: &str) -> Option<MessageId> {
        self.find(url.rsplit_once('/').map_or(url, |(_, name)| name))
    }

    /// The pool it was made from.
    pub const fn pool(&self) -> &DescriptorPool {
        &self.pool
    }

    /// A path of a field mask, by the names that the proto gives; why it is none.
    pub fn mask_path(&self, of: MaskOf, path: &str) -> Result<String, String> {
        if path == "*" {
            return Ok(path.to_owned());
        }
        let inside = || {
            let fields = of.or_inside.map(|id| self.message(id).fields.as_slice()).unwrap_or_default();
            fields.iter().filter_map(Field::message).find_map(|id| self.named_path(id, path).ok())
        };
        self.named_path(of.message, path)
            .or_else(|why| inside().ok_or_else(|| format!("`{}` is no path: {why}", shown(path))))
    }

    /// As [`Self::path`], and also into the keys of maps and the members of free objects.
    fn named_path(&self, of: MessageId, path: &str) -> Result<String, String> {
        let mut at = Some(of);
        let mut named: Vec<&str> = Vec::new();
        let mut parts = path.split('.');
        while let Some(part) = parts.next() {
            let message =
                at.map(|id| self.message(id)).ok_or_else(|| format!("there is no field `{part}`"))?;
            let field = message.field(part).or_else(|| message.field(&snake(part)));
            let field = field.ok_or_else(|| format!("`{}` has no field `{}`", message.name, shown(part)))?;
            named.push(&field.name);
            at = field.message().filter(|_| field.is_single());
            let is_free = at.is_some_and(|id| matches!(self.message(id).shape, Shape::Struct | Shape::Value));
            if is_free || matches!(field.card, Card::Map(_)) {
                named.extend(parts.by_ref());
            }
            at = at.filter(|id| !self.message(*id).shape.is_leaf());
        }
        Ok(named.join("."))
    }

    /// Follows a dotted path through single messages; either spelling.
    pub fn path(&self, from: MessageId, path: &str) -> Result<Vec<&Field>, String> {
        let mut at = from;
        let mut fields: Vec<&Field> = Vec::new();
        for part in path.split('.') {
            if let Some(before) = fields.last() {
                let into = before.message().filter(|_| before.is_single());
                at = into
                    .filter(|id| !self.message(*id).shape.is_leaf())
                    .ok_or_else(|| format!("`{}` has no fields", before.name))?;
            }
            let message = self.message(at);
            let field = message.field(part);
            fields.push(field.ok_or_else(|| format!("`{}` has no field `{part}`", message.name))?);
        }
        Ok(fields)
    }
}

fn message(
    of: &MessageDescriptor,
    rules: &Rules,
    spelling: Spelling,
    messages: &HashMap<String, MessageId>,
    enums: &HashMap<String, EnumId>,
) -> Message {
    let mut fields: Vec<(FieldDescriptor, Field)> = of
        .fields()
        .map(|it| {
            let made = field(&it, rules, spelling, messages, enums);
            (it, made)
        })
        .collect();
    fields.sort_by_key(|(_, field)| field.number);
    let mut names = HashMap::new();
    let mut others = Vec::new();
    let mut dense = Vec::new();
    for (at, (descriptor, field)) in fields.iter().enumerate() {
        let at = u16::try_from(at)
            .expect("a message has at most 65,535 fields: its bytes in a descriptor are more");
        // Where one field's JSON name is another one's own, the name that is printed is the one that is meant.
        let (printed, other) = match spelling.names {
            Names::Proto => (descriptor.name(), descriptor.json_name()),
            Names::Json => (descriptor.json_name(), descriptor.name()),
        };
        names.insert(printed.to_owned(), at);
        others.push((other.to_owned(), at));
        if let Ok(number) = usize::try_from(field.number)
            && number < 256
        {
            dense.resize(dense.len().max(number + 1), 0);
            dense[number] = at + 1;
        }
    }
    for (name, at) in others {
        names.entry(name).or_insert(at);
    }
    let fields = fields.into_iter().map(|(_, field)| field).collect();
    Message { name: of.full_name().to_owned(), shape: shape(of.full_name()), fields, names, dense }
}

fn shape(name: &str) -> Shape {
    let Some(short) = name.strip_prefix("google.protobuf.") else {
        return if name == "google.api.HttpBody" { Shape::HttpBody } else { Shape::Plain };
    };
    match short {
        "Timestamp" => Shape::Timestamp,
        "Duration" => Shape::Duration,
        "FieldMask" => Shape::FieldMask,
        "Struct" => Shape::Struct,
        "Value" => Shape::Value,
        "ListValue" => Shape::ListValue,
        "Any" => Shape::Any,
        "DoubleValue" => Shape::Wrapper(Scalar::Double),
        "FloatValue" => Shape::Wrapper(Scalar::Float),
        "Int64Value" => Shape::Wrapper(Scalar::Int64),
        "UInt64Value" => Shape::Wrapper(Scalar::Uint64),
        "Int32Value" => Shape::Wrapper(Scalar::Int32),
        "UInt32Value" => Shape::Wrapper(Scalar::Uint32),
        "BoolValue" => Shape::Wrapper(Scalar::Bool),
        "StringValue" => Shape::Wrapper(Scalar::String),
        "BytesValue" => Shape::Wrapper(Scalar::Bytes),
        _ => Shape::Plain,
    }
}

fn field(
    of: &FieldDescriptor,
    rules: &Rules,
    spelling: Spelling,
    messages: &HashMap<String, MessageId>,
    enums: &HashMap<String, EnumId>,
) -> Field {
    let own = rules.field(of);
    let behaviors = rules.behaviors(of);
    let kind_of = |of: &FieldDescriptor| match of.kind() {
        prost_reflect::Kind::Message(message) => Kind::Message(messages[message.full_name()]),
        prost_reflect::Kind::Enum(of) => Kind::Enum(enums[of.full_name()]),
        scalar => Kind::Scalar(scalar_of(&scalar)),
    };
    let (kind, card) = match of.kind() {
        prost_reflect::Kind::Message(entry) if of.is_map() => {
            let key = scalar_of(&entry.map_entry_key_field().kind());
            (kind_of(&entry.map_entry_value_field()), Card::Map(key))
        }
        _ if of.cardinality() == Cardinality::Repeated => (kind_of(of), Card::Many),
        _ if of.supports_presence() => (kind_of(of), Card::Optional),
        _ => (kind_of(of), Card::Implicit),
    };
    let printed = match spelling.names {
        Names::Proto => of.name(),
        Names::Json => of.json_name(),
    };
    let mut key = Vec::new();
    crate::json::put_string(&mut key, printed);
    key.push(b':');
    // Every `optional` of proto3 stands in a oneof of its own, which is none.
    let oneof = of.containing_oneof().filter(|oneof| !oneof.is_synthetic());
    let file = rules.file(&of.parent_message().parent_file());
    Field {
        number: of.number(),
        name: of.name().to_owned(),
        key,
        absent: Vec::new(),
        kind,
        card,
        oneof: oneof.and_then(|oneof| u16::try_from(oneof.path().last().copied().unwrap_or_default()).ok()),
        nullable: own.nullable,
        csv: own.csv,
        number64: own.number64 || file.number64 || spelling.int64 == Int64::Number,
        lenient_duration: own.lenient_duration,
        required: behaviors.iter().any(|word| word == "REQUIRED"),
        output_only: behaviors.iter().any(|word| word == "OUTPUT_ONLY"),
        is_group: of.is_group(),
    }
}

fn scalar_of(kind: &prost_reflect::Kind) -> Scalar {
    use prost_reflect::Kind as K;
    match kind {
        K::Double => Scalar::Double,
        K::Float => Scalar::Float,
        K::Int32 => Scalar::Int32,
        K::Int64 => Scalar::Int64,
        K::Uint32 => Scalar::Uint32,
        K::Uint64 => Scalar::Uint64,
        K::Sint32 => Scalar::Sint32,
        K::Sint64 => Scalar::Sint64,
        K::Fixed32 => Scalar::Fixed32,
        K::Fixed64 => Scalar::Fixed64,
        K::Sfixed32 => Scalar::Sfixed32,
        K::Sfixed64 => Scalar::Sfixed64,
        K::Bool => Scalar::Bool,
        K::String => Scalar::String,
        K::Bytes | K::Message(_) | K::Enum(_) => Scalar::Bytes,
    }
}

fn enumeration(of: &EnumDescriptor, rules: &Rules, spelling: Spelling) -> Enum {
    let is_short = match spelling.enums {
        Enums::Short => true,
        Enums::Full => rules.is_short(of) || rules.file(&of.parent_file()).short_enums,
    };
    let prefix = format!("{}_", upper_snake(of.name()));
    let is_null = of.full_name() == "google.protobuf.NullValue";
    let mut words = HashMap::new();
    let mut printed: Vec<(i32, Vec<u8>)> = Vec::new();
    // In the order of their declaration, which is not the one of the pool.
    let mut values: Vec<_> = of.values().collect();
    values.sort_by_key(|value| value.path().last().copied());
    for value in &values {
        let full = value.name();
        let stripped =
            full.strip_prefix(&prefix).filter(|rest| rest.starts_with(|it: char| it.is_ascii_alphabetic()));
        let short = stripped.unwrap_or(full);
        // A full name wins over another's short one.
        words.insert(full.to_owned(), value.number());
        // What begins with a digit is read and not printed, and what is a number means that number.
        let bare = full.strip_prefix(&prefix).filter(|rest| rest.bytes().any(|it| !it.is_ascii_digit()));
        let bare = bare.unwrap_or(full);
        for word in [full.to_ascii_lowercase(), bare.to_owned(), bare.to_ascii_lowercase()] {
            words.entry(word).or_insert(value.number());
        }
        // Of two names for a number the first is printed.
        if printed.iter().all(|(number, _)| *number != value.number()) {
            let word = if is_short { short.to_ascii_lowercase() } else { full.to_owned() };
            let mut quoted = Vec::new();
            crate::json::put_string(&mut quoted, &word);
            printed.push((value.number(), quoted));
        }
    }
    for value in &values {
        words.insert(value.name().to_owned(), value.number());
    }
    printed.sort_by_key(|(number, _)| *number);
    Enum { name: of.full_name().to_owned(), words, printed, is_null }
}

/// A path of a mask in snake case, for masks of which nobody knows what they speak of.
pub(crate) fn snake(camel: &str) -> String {
    let mut out = String::with_capacity(camel.len() + 4);
    for letter in camel.chars() {
        if letter.is_ascii_uppercase() {
            out.push('_');
        }
        out.push(letter.to_ascii_lowercase());
    }
    out
}

/// `HTTPStatusCode` and `HttpStatus` as protoc's linters spell the prefix of their values.
fn upper_snake(camel: &str) -> String {
    let letters: Vec<char> = camel.chars().collect();
    let mut snake = String::with_capacity(camel.len() + 4);
    for (at, letter) in letters.iter().enumerate() {
        let begins_word = at > 0
            && letter.is_ascii_uppercase()
            && (!letters[at - 1].is_ascii_uppercase()
                || letters.get(at + 1).is_some_and(char::is_ascii_lowercase));
        if begins_word && letters[at - 1] != '_' {
            snake.push('_');
        }
        snake.push(letter.to_ascii_uppercase());
    }
    snake
}

#[cfg(test)]
mod tests {
    use super::upper_snake;

    #[test]
    fn the_prefix_of_an_enum_is_its_name_in_upper_snake() {
        assert_eq!(upper_snake("ServiceStatus"), "SERVICE_STATUS");
        assert_eq!(upper_snake("HTTPMethod"), "HTTP_METHOD");
        assert_eq!(upper_snake("Kind"), "KIND");
    }
}
