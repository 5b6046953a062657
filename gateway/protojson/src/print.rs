//! Wire bytes → JSON, in one pass where the fields come in the order of their
//! numbers, as every encoder writes them, and by gathering them first where not.
//!
//! The output is stable: fields by number, keys of maps sorted, no white space.

use crate::json::put_string;
use crate::scalar;
use crate::schema::{Card, Field, Kind, Message, MessageId, Scalar, Schema, Shape};
use crate::time;
use crate::wire::{Malformed, Raw, Reader};

/// How deeply an answer may nest; prost decodes no more.
const DEPTH: usize = crate::WIRE_DEPTH + 1;

/// A message that has no JSON.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It is no message.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// A field has a value that cannot be printed.
    #[error("field `{0}` has a value that cannot be printed")]
    Value(String),
    /// It nests too deeply.
    #[error("it is nested too deeply")]
    Depth,
}

/// Which fields are printed: everything, or a tree of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Index of a field, and what of it.
    fields: Vec<(usize, Option<Filter>)>,
}

impl Filter {
    /// Adds a path of a message.
    pub fn add(&mut self, schema: &Schema, id: MessageId, path: &str) -> Result<(), String> {
        let message = schema.message(id);
        let (name, rest) = path.split_once('.').map_or((path, None), |(name, rest)| (name, Some(rest)));
        let index =
            message.by_name(name).ok_or_else(|| format!("`{}` has no field `{name}`", message.name))?;
        let known = self.fields.iter().position(|(at, _)| *at == index);
        let Some(rest) = rest else {
            match known {
                Some(at) => self.fields[at].1 = None,
                None => self.fields.push((index, None)),
            }
            return Ok(());
        };
        let field = &message.fields[index];
        let into = field
            .message()
            .filter(|id| !matches!(field.card, Card::Map(_)) && !schema.message(*id).shape.is_leaf())
            .ok_or_else(|| format!("`{name}` has no fields of its own"))?;
        let at = match known {
            Some(at) if self.fields[at].1.is_none() => {
                // The whole of it is printed already; the path has to be one all the same.
                return Self::default().add(schema, into, rest);
            }
            Some(at) => at,
            None => {
                self.fields.push((index, Some(Self::default())));
                self.fields.len() - 1
            }
        };
        match &mut self.fields[at].1 {
            Some(inner) => inner.add(schema, into, rest),
            None => Ok(()),
        }
    }

    fn of(&self, index: usize) -> Option<Option<&Self>> {
        self.fields.iter().find(|(at, _)| *at == index).map(|(_, inner)| inner.as_ref())
    }
}

/// Prints a message.
pub fn message(
    schema: &Schema,
    id: MessageId,
    bytes: &[u8],
    filter: Option<&Filter>,
    out: &mut Vec<u8>,
) -> Result<(), Error> {
    Printer { schema, out, gathers: false }.message(id, bytes, filter, 0)
}

/// Prints one field of a message that carries it, as `response_body` wants it.
pub fn field(
    schema: &Schema,
    field: &Field,
    bytes: &[u8],
    filter: Option<&Filter>,
    out: &mut Vec<u8>,
) -> Result<(), Error> {
    let mut values = Vec::new();
    let mut reader = Reader::new(bytes);
    while let Some((number, raw)) = reader.field()? {
        if number == field.number {
            values.push(raw);
        }
    }
    let mut printer = Printer { schema, out, gathers: false };
    if values.is_empty() {
        let shape = field.message().map(|id| schema.message(id).shape);
        match (field.card, shape) {
            // What would be an object or a list is an empty one.
            (
                Card::Implicit | Card::Optional,
                Some(Shape::Plain | Shape::HttpBody | Shape::Struct | Shape::Any),
            ) => printer.out.extend_from_slice(b"{}"),
            (Card::Implicit | Card::Optional, Some(Shape::ListValue)) => {
                printer.out.extend_from_slice(b"[]");
            }
            (Card::Optional, _) => printer.out.extend_from_slice(b"null"),
            _ => schema.put_default(field, printer.out),
        }
        return Ok(());
    }
    printer.gathered(field, &values, filter, 0)
}

/// An entry of a map.
struct Entry<'w> {
    sorts: Sorts<'w>,
    key: Option<Raw<'w>>,
    value: Option<Raw<'w>>,
    /// Pieces of a message that came before the value.
    before: Vec<Raw<'w>>,
}

/// What the keys of a map are sorted by; a map has keys of one kind.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Sorts<'w> {
    Text(&'w [u8]),
    Number(i128),
}

struct Printer<'s, 'o> {
    schema: &'s Schema,
    out: &'o mut Vec<u8>,
    /// Fields are gathered at once: what is around came out of order and is printed anew, so that
    /// trying one pass again at every level would double the work with each.
    gathers: bool,
}

impl Printer<'_, '_> {
    fn message(
        &mut self,
        id: MessageId,
        bytes: &[u8],
        filter: Option<&Filter>,
        depth: usize,
    ) -> Result<(), Error> {
        if depth >= DEPTH {
            return Err(Error::Depth);
        }
        let message = self.schema.message(id);
        match message.shape {
            Shape::Plain | Shape::HttpBody => {
                self.out.push(b'{');
                self.members(message, bytes, filter, depth)?;
                self.out.push(b'}');
                Ok(())
            }
            shape => self.well_known(shape, message, bytes, depth),
        }
    }

    /// The members of an object, without its braces.
    fn members(
        &mut self,
        message: &Message,
        bytes: &[u8],
        filter: Option<&Filter>,
        depth: usize,
    ) -> Result<(), Error> {
        let start = self.out.len();
        if self.gathers {
            return self.out_of_order(message, bytes, filter, depth);
        }
        if self.in_order(message, bytes, filter, depth)? {
            return Ok(());
        }
        self.out.truncate(start);
        self.gathers = true;
        let printed = self.out_of_order(message, bytes, filter, depth);
        self.gathers = false;
        printed
    }

    /// Two passes: what there is of each field, then the fields by their numbers.
    fn out_of_order(
        &mut self,
        message: &Message,
        bytes: &[u8],
        filter: Option<&Filter>,
        depth: usize,
    ) -> Result<(), Error> {
        let start = self.out.len();
        let mut values: Vec<Vec<Raw<'_>>> = vec![Vec::new(); message.fields.len()];
        let mut reader = Reader::new(bytes);
        while let Some((number, raw)) = reader.field()? {
            let Some(index) = message.by_number(number) else { continue };
            // A later member of a oneof takes the earlier one's place.
            if let Some(oneof) = message.fields[index].oneof {
                for (at, other) in message.fields.iter().enumerate() {
                    if at != index && other.oneof == Some(oneof) {
                        values[at].clear();
                    }
                }
            }
            values[index].push(raw);
        }
        for (index, field) in message.fields.iter().enumerate() {
            let inner = match filter {
                None => None,
                Some(filter) => match filter.of(index) {
                    None => continue,
                    Some(inner) => inner,
                },
            };
            if values[index].is_empty() {
                self.absent(field, start);
                continue;
            }
            self.key(field, start);
            self.gathered(field, &values[index], inner, depth)?;
        }
        Ok(())
    }

    /// One pass; `false` when the fields do not come in their order.
    fn in_order(
        &mut self,
        message: &Message,
        bytes: &[u8],
        filter: Option<&Filter>,
        depth: usize,
    ) -> Result<bool, Error> {
        let start = self.out.len();
        let mut reader = Reader::new(bytes);
        // The first field that is not printed yet.
        let mut next = 0;
        let mut pending = reader.field()?;
        let mut seen_oneofs = 0_u64;
        while let Some((number, raw)) = pending {
            let Some(index) = message.by_number(number) else {
                pending = reader.field()?;
                continue;
            };
            if index < next {
                return Ok(false);
            }
            let field = &message.fields[index];
            if let Some(oneof) = field.oneof {
                let bit = 1_u64.checked_shl(oneof.into()).unwrap_or(0);
                if bit == 0 || seen_oneofs & bit != 0 {
                    return Ok(false);
                }
                seen_oneofs |= bit;
            }
            self.absents(message, next..index, filter, start);
            next = index + 1;
            let inner = match filter {
                None => None,
                Some(filter) => match filter.of(index) {
                    Some(inner) => inner,
                    None => {
                        pending = reader.field()?;
                        while matches!(pending, Some((again, _)) if again == number) {
                            pending = reader.field()?;
                        }
                        continue;
                    }
                },
            };
            if field.is_single() {
                pending = reader.field()?;
                if matches!(pending, Some((again, _)) if again == number) {
                    return Ok(false);
                }
                self.key(field, start);
                self.single(field, raw, inner, depth)?;
                continue;
            }
            if field.card == Card::Many {
                self.key(field, start);
                self.out.push(b'[');
                let first = self.out.len();
                self.item(field, raw, inner, depth, first)?;
                loop {
                    pending = reader.field()?;
                    match pending {
                        Some((again, raw)) if again == number => {
                            self.item(field, raw, inner, depth, first)?;
                        }
                        _ => break,
                    }
                }
                self.out.push(b']');
                continue;
            }
            let mut values = vec![raw];
            loop {
                pending = reader.field()?;
                match pending {
                    Some((again, raw)) if again == number => values.push(raw),
                    _ => break,
                }
            }
            self.key(field, start);
            self.gathered(field, &values, inner, depth)?;
        }
        self.absents(message, next..message.fields.len(), filter, start);
        Ok(true)
    }

    fn absents(
        &mut self,
        message: &Message,
        range: std::ops::Range<usize>,
        filter: Option<&Filter>,
        start: usize,
    ) {
        for index in range {
            if filter.is_none_or(|filter| filter.of(index).is_some()) {
                self.absent(&message.fields[index], start);
            }
        }
    }

    fn absent(&mut self, field: &Field, start: usize) {
        if !field.absent.is_empty() {
            self.comma(start);
            self.out.extend_from_slice(&field.absent);
        }
    }

    fn key(&mut self, field: &Field, start: usize) {
        if self.out.len() > start {
            self.out.push(b',');
        }
        self.out.extend_from_slice(&field.key);
    }

    fn single(
        &mut self,
        field: &Field,
        raw: Raw<'_>,
        filter: Option<&Filter>,
        depth: usize,
    ) -> Result<(), Error> {
        let bad = || Error::Value(field.name.clone());
        match (field.kind, raw) {
            (Kind::Scalar(of), raw) => scalar::print(self.out, of, raw, field.number64).ok_or_else(bad),
            (Kind::Enum(id), Raw::Varint(value)) => {
                #[expect(clippy::cast_possible_truncation, reason = "a decoder cuts it off the same way")]
                let number = value as i32;
                let known = self.schema.enumeration(id);
                match known.printed(number) {
                    _ if known.is_null => self.out.extend_from_slice(b"null"),
                    Some(word) => self.out.extend_from_slice(word),
                    None => scalar::put_integer(self.out, number.into()),
                }
                Ok(())
            }
            (Kind::Message(id), Raw::Bytes(bytes) | Raw::Group(bytes)) => match self.schema.message(id).shape
            {
                // Whether its number is printed as one is said where it is used.
                Shape::Wrapper(of) => self.wrapper(of, bytes, field.number64),
                _ => self.message(id, bytes, filter, depth + 1),
            },
            _ => Err(bad()),
        }
    }

    /// All values of a field.
    fn gathered(
        &mut self,
        field: &Field,
        values: &[Raw<'_>],
        filter: Option<&Filter>,
        depth: usize,
    ) -> Result<(), Error> {
        match field.card {
            Card::Implicit | Card::Optional => {
                let Some(last) = values.last() else { return Ok(()) };
                if let (Kind::Message(id), [_, _, ..]) = (field.kind, values) {
                    // Pieces of one message stand for all of it.
                    let mut whole = Vec::new();
                    for value in values {
                        let (Raw::Bytes(piece) | Raw::Group(piece)) = value else {
                            return Err(Error::Value(field.name.clone()));
                        };
                        whole.extend_from_slice(piece);
                    }
                    return self.message(id, &whole, filter, depth + 1);
                }
                self.single(field, *last, filter, depth)
            }
            Card::Many => {
                self.out.push(b'[');
                let start = self.out.len();
                for value in values {
                    self.item(field, *value, filter, depth, start)?;
                }
                self.out.push(b']');
                Ok(())
            }
            Card::Map(key) => self.map(field, key, values, depth),
        }
    }

    /// What stands at one place of a list: one value, or packed ones. `start` is where the list begins.
    fn item(
        &mut self,
        field: &Field,
        value: Raw<'_>,
        filter: Option<&Filter>,
        depth: usize,
        start: usize,
    ) -> Result<(), Error> {
        match (field.kind, value) {
            (Kind::Scalar(of), Raw::Bytes(packed)) if of.wire() != crate::wire::Type::Bytes => {
                self.packed(field, packed, of.wire(), start)
            }
            (Kind::Enum(_), Raw::Bytes(packed)) => {
                self.packed(field, packed, crate::wire::Type::Varint, start)
            }
            _ => {
                self.comma(start);
                self.single(field, value, filter, depth)
            }
        }
    }

    fn comma(&mut self, start: usize) {
        if self.out.len() > start {
            self.out.push(b',');
        }
    }

    fn packed(
        &mut self,
        field: &Field,
        packed: &[u8],
        of: crate::wire::Type,
        start: usize,
    ) -> Result<(), Error> {
        let mut reader = Reader::new(packed);
        while !reader.is_empty() {
            let raw = match of {
                crate::wire::Type::Fixed32 => Raw::Fixed32(reader.fixed32()?),
                crate::wire::Type::Fixed64 => Raw::Fixed64(reader.fixed64()?),
                _ => Raw::Varint(reader.varint()?),
            };
            self.comma(start);
            self.single(field, raw, None, 0)?;
        }
        Ok(())
    }

    fn map(&mut self, field: &Field, of: Scalar, values: &[Raw<'_>], depth: usize) -> Result<(), Error> {
        let bad = || Error::Value(field.name.clone());
        let mut entries: Vec<Entry<'_>> = Vec::with_capacity(values.len());
        for value in values {
            let Raw::Bytes(entry) = value else { return Err(bad()) };
            let (mut key, mut value, mut before) = (None, None, Vec::new());
            let mut reader = Reader::new(entry);
            while let Some((number, raw)) = reader.field()? {
                match number {
                    1 => key = Some(raw),
                    2 => before.extend(value.replace(raw)),
                    _ => {}
                }
            }
            entries.push(Entry { sorts: sorts(of, key), key, value, before });
        }
        // The sort is stable, so the last of equal keys is the one that counts.
        entries.sort_by(|one, other| one.sorts.cmp(&other.sorts));
        self.out.push(b'{');
        let start = self.out.len();
        for (at, Entry { sorts, key, value, before }) in entries.iter().enumerate() {
            if entries.get(at + 1).is_some_and(|next| next.sorts == *sorts) {
                // It is not printed, and has to be one all the same.
                self.map_key(of, *key).ok_or_else(bad).map(|before| self.out.truncate(before))?;
                continue;
            }
            self.comma(start);
            self.map_key(of, *key).ok_or_else(bad)?;
            self.out.push(b':');
            match (value, field.kind) {
                (None, Kind::Message(_)) => self.single(field, Raw::Bytes(&[]), None, depth)?,
                (None, _) => self.schema.put_default(&Field::value_of(field), self.out),
                (Some(raw), _) if before.is_empty() => self.single(field, *raw, None, depth)?,
                (Some(raw), _) => {
                    let pieces = [before.as_slice(), &[*raw]].concat();
                    self.gathered(&Field::value_of(field), &pieces, None, depth)?;
                }
            }
        }
        self.out.push(b'}');
        Ok(())
    }

    /// A key, which is a string whatever it is of; returns where it begins.
    fn map_key(&mut self, of: Scalar, key: Option<Raw<'_>>) -> Option<usize> {
        let start = self.out.len();
        let quote: &[u8] = if of == Scalar::String { b"" } else { b"\"" };
        self.out.extend_from_slice(quote);
        match key {
            Some(raw) => scalar::print(self.out, of, raw, true)?,
            None => scalar::print_default(self.out, of, true),
        }
        self.out.extend_from_slice(quote);
        Some(start)
    }

    fn well_known(
        &mut self,
        shape: Shape,
        message: &Message,
        bytes: &[u8],
        depth: usize,
    ) -> Result<(), Error> {
        let bad = || Error::Value(message.name.clone());
        match shape {
            Shape::Timestamp | Shape::Duration => {
                let (seconds, nanos) = seconds(bytes)?;
                self.out.push(b'"');
                match shape {
                    Shape::Timestamp => time::put_timestamp(self.out, seconds, nanos),
                    _ => time::put_duration(self.out, seconds, nanos),
                }
                .ok_or_else(bad)?;
                self.out.push(b'"');
            }
            Shape::Wrapper(of) => {
                let number64 = message.field("value").is_some_and(|field| field.number64);
                self.wrapper(of, bytes, number64)?;
            }
            Shape::FieldMask => {
                let mut paths: Vec<String> = Vec::new();
                let mut reader = Reader::new(bytes);
                while let Some((number, raw)) = reader.field()? {
                    if let (1, Raw::Bytes(path)) = (number, raw) {
                        paths.push(camel(std::str::from_utf8(path).map_err(|_| bad())?));
                    }
                }
                put_string(self.out, &paths.join(","));
            }
            Shape::Struct => self.map(&message.fields[0], Scalar::String, &all(bytes, 1)?, depth)?,
            Shape::ListValue => {
                self.gathered(&message.fields[0], &all(bytes, 1)?, None, depth)?;
            }
            Shape::Value => self.value(message, bytes, depth)?,
            Shape::Any => self.any(bytes, depth)?,
            Shape::Plain | Shape::HttpBody => return self.members(message, bytes, None, depth),
        }
        Ok(())
    }

    fn wrapper(&mut self, of: Scalar, bytes: &[u8], number64: bool) -> Result<(), Error> {
        match last_checked(bytes, 1)? {
            Some(raw) => {
                scalar::print(self.out, of, raw, number64).ok_or_else(|| Error::Value("value".to_owned()))
            }
            None => {
                scalar::print_default(self.out, of, number64);
                Ok(())
            }
        }
    }

    fn value(&mut self, message: &Message, bytes: &[u8], depth: usize) -> Result<(), Error> {
        let mut found = None;
        let mut reader = Reader::new(bytes);
        while let Some((number, raw)) = reader.field()? {
            if let Some(index) = message.by_number(number) {
                found = Some((index, number, raw));
            }
        }
        let Some((index, _, raw)) = found.filter(|(_, number, _)| *number != 1) else {
            self.out.extend_from_slice(b"null");
            return Ok(());
        };
        if let Raw::Fixed64(bits) = raw
            && !f64::from_bits(bits).is_finite()
        {
            return Err(Error::Value(message.name.clone()));
        }
        self.single(&message.fields[index], raw, None, depth)
    }

    fn any(&mut self, bytes: &[u8], depth: usize) -> Result<(), Error> {
        let bad = || Error::Value("@type".to_owned());
        let as_bytes = |raw| match raw {
            Some(Raw::Bytes(bytes)) => Ok(bytes),
            Some(_) => Err(bad()),
            None => Ok(&[][..]),
        };
        let url = std::str::from_utf8(as_bytes(last_checked(bytes, 1)?)?).map_err(|_| bad())?;
        let value = as_bytes(last_checked(bytes, 2)?)?;
        self.out.push(b'{');
        if url.is_empty() {
            self.out.push(b'}');
            return Ok(());
        }
        self.out.extend_from_slice(b"\"@type\":");
        put_string(self.out, url);
        let after_type = self.out.len();
        let known = self.schema.by_url(url).map(|id| (id, self.schema.message(id)));
        match known {
            Some((id, message)) if message.shape.is_leaf() => {
                self.out.extend_from_slice(b",\"value\":");
                self.message(id, value, None, depth + 1)?;
            }
            Some((_, message)) => {
                if depth + 1 >= DEPTH {
                    return Err(Error::Depth);
                }
                self.out.push(b',');
                let members = self.out.len();
                self.members(message, value, None, depth + 1)?;
                if self.out.len() == members {
                    self.out.truncate(after_type);
                }
            }
            // A type that nobody here knows is handed on as it is.
            None => {
                self.out.extend_from_slice(b",\"value\":\"");
                self.out.extend_from_slice(data_encoding::BASE64.encode(value).as_bytes());
                self.out.push(b'"');
            }
        }
        self.out.push(b'}');
        Ok(())
    }
}

/// The last value of a field of a message that has to be one.
fn last_checked(bytes: &[u8], wanted: u32) -> Result<Option<Raw<'_>>, Malformed> {
    let mut reader = Reader::new(bytes);
    let mut found = None;
    while let Some((number, raw)) = reader.field()? {
        if number == wanted {
            found = Some(raw);
        }
    }
    Ok(found)
}

fn all(bytes: &[u8], wanted: u32) -> Result<Vec<Raw<'_>>, Malformed> {
    let mut reader = Reader::new(bytes);
    let mut found = Vec::new();
    while let Some((number, raw)) = reader.field()? {
        if number == wanted {
            found.push(raw);
        }
    }
    Ok(found)
}

fn seconds(bytes: &[u8]) -> Result<(i64, i32), Malformed> {
    let (mut seconds, mut nanos) = (0, 0);
    let mut reader = Reader::new(bytes);
    while let Some((number, raw)) = reader.field()? {
        match (number, raw) {
            (1, Raw::Varint(value)) => seconds = value.cast_signed(),
            #[expect(clippy::cast_possible_truncation, reason = "a decoder cuts it off the same way")]
            (2, Raw::Varint(value)) => nanos = value as i32,
            _ => {}
        }
    }
    Ok((seconds, nanos))
}

fn sorts<'w>(of: Scalar, raw: Option<Raw<'w>>) -> Sorts<'w> {
    #[expect(clippy::cast_possible_truncation, reason = "a decoder cuts 32-bit numbers off the same way")]
    let signed = match (of, raw) {
        (_, None) => 0,
        (_, Some(Raw::Bytes(text))) => return Sorts::Text(text),
        (Scalar::Sint32, Some(Raw::Varint(value))) => crate::wire::unzigzag32(value as u32).into(),
        (Scalar::Sint64, Some(Raw::Varint(value))) => crate::wire::unzigzag64(value).into(),
        (Scalar::Int32, Some(Raw::Varint(value))) => i128::from(value as i32),
        (Scalar::Int64, Some(Raw::Varint(value))) | (Scalar::Sfixed64, Some(Raw::Fixed64(value))) => {
            i128::from(value.cast_signed())
        }
        (Scalar::Sfixed32, Some(Raw::Fixed32(value))) => i128::from(value.cast_signed()),
        (_, Some(Raw::Varint(value) | Raw::Fixed64(value))) => i128::from(value),
        (_, Some(Raw::Fixed32(value))) => i128::from(value),
        (_, Some(Raw::Group(_))) => 0,
    };
    if of == Scalar::String { Sorts::Text(b"") } else { Sorts::Number(signed) }
}

/// Paths of masks are printed as ProtoJSON does, whatever names fields have.
fn camel(snake: &str) -> String {
    let mut out = String::with_capacity(snake.len());
    let mut is_up = false;
    for letter in snake.chars() {
        if letter == '_' {
            is_up = true;
        } else {
            out.push(if is_up { letter.to_ascii_uppercase() } else { letter });
            is_up = false;
        }
    }
    out
}
