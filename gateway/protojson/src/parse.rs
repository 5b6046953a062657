//! JSON → wire bytes, in one pass.
//!
//! What is no JSON ends the reading; what is JSON and does not fit a field is
//! noted, and reading goes on, so that a caller hears of every bad field at once.
//! Values that are there are written even when they are the default, so that the
//! bytes tell what the text set.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt::Write as _;

use crate::json::{self, Cursor, Peek, Syntax, TOO_DEEP};
use crate::scalar::{self, Digits};
use crate::schema::{Card, Field, Kind, MaskOf, Message, MessageId, Scalar, Schema, Shape, snake};
use crate::seen::{Keys, Seen};
use crate::wire::{self, Type};
use crate::{DEPTH, Violation, WIRE_DEPTH, shown, time};

/// Bad fields that are told of at once.
const MOST: usize = 50;

/// How a body is read.
#[derive(Debug, Clone, Copy, Default)]
pub struct How {
    /// Pass over fields that the message does not have.
    pub ignore_unknown: bool,
    /// Note the paths that the text sets, for a field mask.
    pub mask: bool,
    /// What field masks of the text speak of.
    pub mask_of: Option<MaskOf>,
}

/// What came of a text that fits.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Parsed {
    /// The message on the wire.
    pub bytes: Vec<u8>,
    /// The paths that the text sets, if they were asked for.
    pub mask: Vec<String>,
}

/// Reads a whole text as a value of a field's kind; messages are written without tag and length.
pub fn document(schema: &Schema, field: &Field, text: &str, how: How) -> Result<Parsed, Vec<Violation>> {
    let mut parser = Parser::new(schema, text, how);
    let result = parser.document(field);
    parser.finish(result)
}

/// Reads a whole text as a message.
pub fn message(schema: &Schema, id: MessageId, text: &str, how: How) -> Result<Parsed, Vec<Violation>> {
    let mut parser = Parser::new(schema, text, how);
    let result = parser.top(id);
    parser.finish(result)
}

/// Writes the value of a query parameter or path variable, with its tag.
pub fn text_value(schema: &Schema, field: &Field, text: &str, out: &mut Vec<u8>) -> Result<(), String> {
    let bad = |expected: &str| format!("`{}` is not {expected}", shown(text));
    match field.kind {
        Kind::Scalar(of) => {
            text_scalar(of, field.number, text, Digits::Plain, out).ok_or_else(|| bad(of.expected()))
        }
        Kind::Enum(id) => {
            let known = schema.enumeration(id);
            let number = known.parse(text).ok_or_else(|| bad(&known.expected()))?;
            wire::put_tag(out, field.number, Type::Varint);
            wire::put_varint(out, i64::from(number).cast_unsigned());
            Ok(())
        }
        Kind::Message(id) => wire::put_nested(out, field.number, |out| match schema.message(id).shape {
            Shape::Wrapper(of) => {
                text_scalar(of, 1, text, Digits::Plain, out).ok_or_else(|| bad(of.expected()))
            }
            Shape::Timestamp => {
                let (seconds, nanos) =
                    time::parse_timestamp(text).ok_or_else(|| bad("a time such as 2026-11-23T10:00:00Z"))?;
                put_seconds(out, seconds, nanos);
                Ok(())
            }
            Shape::Duration => {
                let (seconds, nanos) = time::parse_duration(text, true)
                    .ok_or_else(|| bad("a duration such as 1.5s or 1h30m"))?;
                put_seconds(out, seconds, nanos);
                Ok(())
            }
            Shape::FieldMask => {
                for path in mask_paths(text).ok_or_else(|| bad("a list of paths with commas"))? {
                    wire::put_bytes(out, 1, snake(path).as_bytes());
                }
                Ok(())
            }
            _ => Err(format!("`{}` is an object and cannot stand in a URL", field.name)),
        }),
    }
}

/// Writes a scalar with its tag.
pub fn text_scalar(of: Scalar, number: u32, text: &str, digits: Digits, out: &mut Vec<u8>) -> Option<()> {
    match of {
        Scalar::String => wire::put_bytes(out, number, text.as_bytes()),
        Scalar::Bytes => wire::put_bytes(out, number, &scalar::base64(text)?),
        Scalar::Bool => {
            let value = match text {
                "true" | "1" => 1,
                "false" | "0" => 0,
                _ => return None,
            };
            wire::put_tag(out, number, Type::Varint);
            wire::put_varint(out, value);
        }
        _ => {
            let start = out.len();
            wire::put_tag(out, number, of.wire());
            if scalar::put_number(out, of, text, digits).is_none() {
                out.truncate(start);
                return None;
            }
        }
    }
    Some(())
}

fn put_seconds(out: &mut Vec<u8>, seconds: i64, nanos: i32) {
    if seconds != 0 {
        wire::put_tag(out, 1, Type::Varint);
        wire::put_varint(out, seconds.cast_unsigned());
    }
    if nanos != 0 {
        wire::put_tag(out, 2, Type::Varint);
        wire::put_varint(out, i64::from(nanos).cast_unsigned());
    }
}

/// The paths of a mask's text, as they are spelled.
pub fn mask_paths(text: &str) -> Option<Vec<&str>> {
    if text.is_empty() {
        return Some(Vec::new());
    }
    let is_path = |path: &str| {
        path == "*"
            || path.split('.').all(|part| {
                !part.is_empty() && part.bytes().all(|it| it.is_ascii_alphanumeric() || it == b'_')
            })
    };
    text.split(',').map(str::trim).map(|part| is_path(part).then_some(part)).collect()
}

/// A step into the value that is being read.
#[derive(Clone, Copy)]
enum Step<'s> {
    Field(&'s str),
    Item(usize),
}

struct Parser<'s, 't> {
    schema: &'s Schema,
    cursor: Cursor<'t>,
    out: Vec<u8>,
    how: How,
    depth: usize,
    /// How deep the message is that is being written.
    wire_depth: usize,
    path: Vec<Step<'s>>,
    /// Keys of maps and of unknown members, by which a step may be followed.
    keys: Vec<(usize, Cow<'t, str>)>,
    violations: Vec<Violation>,
    mask: Vec<String>,
}

type Fatal = Syntax;

impl<'s, 't> Parser<'s, 't> {
    fn new(schema: &'s Schema, text: &'t str, how: How) -> Self {
        Self {
            schema,
            cursor: Cursor::new(text),
            out: Vec::with_capacity(text.len()),
            how,
            depth: 0,
            wire_depth: 0,
            path: Vec::new(),
            keys: Vec::new(),
            violations: Vec::new(),
            mask: Vec::new(),
        }
    }

    fn finish(mut self, result: Result<(), Fatal>) -> Result<Parsed, Vec<Violation>> {
        if let Err(syntax) = result {
            let at = json::place(self.cursor.text(), syntax.at);
            let description = format!("{} (line {}, column {})", syntax.message, at.line, at.column);
            let field = self.shown_path();
            let field = if field.is_empty() { "body".to_owned() } else { field };
            self.violations.push(Violation { field, description });
        }
        if self.violations.is_empty() {
            return Ok(Parsed { bytes: self.out, mask: self.mask });
        }
        Err(self.violations)
    }

    fn document(&mut self, field: &'s Field) -> Result<(), Fatal> {
        let is_value =
            matches!(field.kind, Kind::Message(id) if self.schema.message(id).shape == Shape::Value);
        if self.cursor.peek()? == Peek::Null && !is_value {
            self.note("the body is null; leave it out or send a value");
            return Ok(());
        }
        match (field.card, field.message()) {
            (Card::Implicit | Card::Optional, Some(id)) => self.bare(id, field.lenient_duration)?,
            _ => self.value(field)?,
        }
        self.cursor.end()
    }

    fn top(&mut self, id: MessageId) -> Result<(), Fatal> {
        if self.cursor.peek()? == Peek::Null && self.schema.message(id).shape != Shape::Value {
            self.note("the body is null; send an object");
            return Ok(());
        }
        self.bare(id, false)?;
        self.cursor.end()
    }

    fn shown_path(&self) -> String {
        let mut shown = String::new();
        for (at, step) in self.path.iter().enumerate() {
            match step {
                Step::Field(name) => {
                    let dot = if shown.is_empty() { "" } else { "." };
                    let _ = write!(shown, "{dot}{name}");
                }
                Step::Item(item) => match self.keys.iter().find(|(depth, _)| *depth == at) {
                    Some((_, key)) => _ = write!(shown, "[{}]", crate::shown(key)),
                    None => _ = write!(shown, "[{item}]"),
                },
            }
        }
        shown
    }

    /// Notes that what stands here is wrong.
    fn note(&mut self, message: &str) {
        self.note_at(self.cursor.at(), message);
    }

    fn note_at(&mut self, at: usize, message: &str) {
        let field = self.shown_path();
        self.note_of(at, if field.is_empty() { "body".to_owned() } else { field }, message);
    }

    fn note_of(&mut self, at: usize, field: String, message: &str) {
        // A place is found by counting lines from the beginning, so that it is not looked for without end.
        if self.violations.len() >= MOST {
            return;
        }
        let at = json::place(self.cursor.text(), at);
        let description = format!("{message} (line {}, column {})", at.line, at.column);
        self.violations.push(Violation { field, description });
    }

    /// Notes that another kind of value was expected, and passes over this one.
    fn unfit(&mut self, expected: &str) -> Result<(), Fatal> {
        let start = self.cursor.at();
        let found = self.cursor.peek()?;
        let from = self.cursor.at();
        self.cursor.skip(DEPTH.saturating_sub(self.depth))?;
        let text = &self.cursor.text()[from..self.cursor.at()];
        let found = match found {
            Peek::Object | Peek::Array => found.named().to_owned(),
            _ => format!("`{}`", shown(text.trim_matches('"'))),
        };
        self.note_at(start, &format!("{found} is not {expected}"));
        Ok(())
    }

    fn enter(&mut self) -> Result<(), Fatal> {
        if self.depth == DEPTH {
            return Err(Syntax { message: TOO_DEEP, at: self.cursor.at() });
        }
        self.depth += 1;
        Ok(())
    }

    fn deeper(&mut self) -> Result<(), Fatal> {
        if self.wire_depth == WIRE_DEPTH {
            return Err(Syntax { message: TOO_DEEP, at: self.cursor.at() });
        }
        self.wire_depth += 1;
        Ok(())
    }

    /// Begins a message, or an entry of a map, as a field of another.
    fn open(&mut self, number: u32) -> Result<usize, Fatal> {
        self.deeper()?;
        wire::put_tag(&mut self.out, number, Type::Bytes);
        Ok(wire::open(&mut self.out))
    }

    /// A message as a field of another, as a group if the field is one.
    fn nested(
        &mut self,
        field: &Field,
        write: impl FnOnce(&mut Self) -> Result<(), Fatal>,
    ) -> Result<(), Fatal> {
        if !field.is_group {
            let mark = self.open(field.number)?;
            write(self)?;
            self.close(mark);
            return Ok(());
        }
        self.deeper()?;
        wire::put_tag(&mut self.out, field.number, Type::Group);
        write(self)?;
        wire::put_tag(&mut self.out, field.number, Type::End);
        self.wire_depth -= 1;
        Ok(())
    }

    fn close(&mut self, mark: usize) {
        self.wire_depth -= 1;
        wire::close(&mut self.out, mark);
    }

    /// Reads an object's members one after the other.
    fn members(
        &mut self,
        mut member: impl FnMut(&mut Self, Cow<'t, str>, usize) -> Result<(), Fatal>,
    ) -> Result<(), Fatal> {
        self.enter()?;
        self.cursor.expect(b'{', "expected an object")?;
        if !self.cursor.eat(b'}') {
            loop {
                self.cursor.skip_space();
                let at = self.cursor.at();
                let key = self.cursor.string()?;
                self.cursor.expect(b':', "expected `:` after a name")?;
                member(self, key, at)?;
                if self.cursor.eat(b'}') {
                    break;
                }
                self.cursor.expect(b',', "expected `,` or `}`")?;
            }
        }
        self.depth -= 1;
        Ok(())
    }

    /// Reads a list's items one after the other.
    fn items(&mut self, mut item: impl FnMut(&mut Self, usize) -> Result<(), Fatal>) -> Result<(), Fatal> {
        self.enter()?;
        self.cursor.expect(b'[', "expected a list")?;
        if !self.cursor.eat(b']') {
            let mut at = 0;
            loop {
                self.path.push(Step::Item(at));
                item(self, at)?;
                self.path.pop();
                at += 1;
                if self.cursor.eat(b']') {
                    break;
                }
                self.cursor.expect(b',', "expected `,` or `]`")?;
            }
        }
        self.depth -= 1;
        Ok(())
    }

    /// Runs with a step that a map's key or an unknown name names.
    fn keyed(
        &mut self,
        key: Cow<'t, str>,
        run: impl FnOnce(&mut Self) -> Result<(), Fatal>,
    ) -> Result<(), Fatal> {
        self.keys.push((self.path.len(), key));
        self.path.push(Step::Item(0));
        run(self)?;
        self.path.pop();
        self.keys.pop();
        Ok(())
    }

    /// A message without tag and length.
    fn bare(&mut self, id: MessageId, lenient: bool) -> Result<(), Fatal> {
        let schema = self.schema;
        let message = schema.message(id);
        match message.shape {
            Shape::Plain | Shape::HttpBody => {
                if self.cursor.peek()? != Peek::Object {
                    return self.unfit("an object");
                }
                let prefix = self.how.mask.then(String::new);
                self.object(message, prefix.as_deref(), None)
            }
            Shape::Wrapper(of) => self.scalar(of, 1),
            Shape::Timestamp | Shape::Duration => self.time(message.shape, lenient),
            Shape::FieldMask => {
                if self.cursor.peek()? != Peek::String {
                    return self.unfit("a text of paths with commas");
                }
                let at = self.cursor.at();
                let text = self.cursor.string()?;
                let Some(paths) = mask_paths(&text) else {
                    self.note_at(at, "it is not a text of paths with commas");
                    return Ok(());
                };
                for path in paths {
                    let known = self.how.mask_of.map(|of| schema.mask_path(of, path));
                    match known {
                        // Deeper ones may speak of anything.
                        Some(Err(why)) if self.path.len() < 2 => self.note_at(at, &why),
                        Some(Ok(path)) => wire::put_bytes(&mut self.out, 1, path.as_bytes()),
                        _ => wire::put_bytes(&mut self.out, 1, snake(path).as_bytes()),
                    }
                }
                Ok(())
            }
            Shape::Struct => self.free_object(),
            Shape::Value => self.free_value(),
            Shape::ListValue => self.free_list(),
            Shape::Any => self.any(),
        }
    }

    fn time(&mut self, shape: Shape, lenient: bool) -> Result<(), Fatal> {
        type Read = fn(&str, bool) -> Option<(i64, i32)>;
        let (read, expected): (Read, _) = match shape {
            Shape::Timestamp => {
                (|text, _| time::parse_timestamp(text), "a time such as \"2026-11-23T10:00:00Z\"")
            }
            _ if lenient => (time::parse_duration, "a duration such as \"90s\" or \"1h30m\""),
            _ => (time::parse_duration, "a duration such as \"1.5s\""),
        };
        if self.cursor.peek()? != Peek::String {
            return self.unfit(expected);
        }
        let at = self.cursor.at();
        let text = self.cursor.string()?;
        match read(&text, lenient) {
            Some((seconds, nanos)) => put_seconds(&mut self.out, seconds, nanos),
            None => self.note_at(at, &format!("`{}` is not {expected}", shown(&text))),
        }
        Ok(())
    }

    /// An object's members as fields; `prefix` is there when paths are noted, `except` is passed over.
    fn object(
        &mut self,
        message: &'s Message,
        prefix: Option<&str>,
        except: Option<&str>,
    ) -> Result<(), Fatal> {
        let mut seen = Seen::default();
        let mut due = 0;
        self.members(|this, key, at| {
            if except == Some(&*key) {
                return this.cursor.skip(DEPTH.saturating_sub(this.depth));
            }
            let Some(index) = message.by_name_from(due, &key) else {
                if !this.how.ignore_unknown && this.violations.len() < MOST {
                    let path = this.shown_path();
                    let dot = if path.is_empty() { "" } else { "." };
                    let why = format!("`{}` has no such field{}", message.name, nearest(message, &key));
                    this.note_of(at, format!("{path}{dot}{}", shown(&key)), &why);
                }
                return this.cursor.skip(DEPTH.saturating_sub(this.depth));
            };
            let field = &message.fields[index];
            due = index + 1;
            this.path.push(Step::Field(&field.name));
            if seen.insert(index) {
                this.member(field, &mut seen, prefix)?;
            } else {
                this.note_at(at, "it is there twice");
                this.cursor.skip(DEPTH.saturating_sub(this.depth))?;
            }
            this.path.pop();
            Ok(())
        })
    }

    fn member(&mut self, field: &'s Field, seen: &mut Seen, prefix: Option<&str>) -> Result<(), Fatal> {
        let schema = self.schema;
        let kind_message = field.message().map(|id| schema.message(id));
        let is_null = self.cursor.peek()? == Peek::Null;
        let takes_null = field.is_single() && self.takes_null(field.kind);
        let path = prefix.map(|prefix| {
            if prefix.is_empty() { field.name.clone() } else { format!("{prefix}.{}", field.name) }
        });
        if is_null && !takes_null {
            self.cursor.word("null")?;
            self.mask.extend(path);
            return Ok(());
        }
        if let Some(oneof) = field.oneof {
            if seen.oneofs.contains(&oneof) {
                self.note("it excludes another field that is set as well");
            }
            seen.oneofs.push(oneof);
        }
        // A mask goes on into plain messages that say something.
        if let (Some(path), Some(message)) = (&path, kind_message)
            && field.is_single()
            && message.shape == Shape::Plain
            && self.cursor.peek()? == Peek::Object
        {
            let mut ahead = self.cursor.clone();
            if ahead.eat(b'{') && ahead.eat(b'}') {
                self.mask.push(path.clone());
            }
            return self.nested(field, |this| this.object(message, Some(path), None));
        }
        self.mask.extend(path);
        self.value(field)
    }

    /// A field's value with its tag.
    fn value(&mut self, field: &'s Field) -> Result<(), Fatal> {
        match field.card {
            Card::Implicit | Card::Optional => self.single(field),
            Card::Many => {
                if self.cursor.peek()? != Peek::Array {
                    return self.unfit("a list");
                }
                match field.kind {
                    Kind::Scalar(of) if of.is_number() => self.packed(field, of),
                    _ => self.items(|this, _| this.item(field)),
                }
            }
            Card::Map(key) => {
                if self.cursor.peek()? != Peek::Object {
                    return self.unfit("an object");
                }
                let (mut seen, value) = (Keys::default(), Field::value_of(field));
                self.members(|this, text, at| {
                    this.keyed(text.clone(), |this| {
                        this.entry(field.number, key, &value, text, at, &mut seen)
                    })
                })
            }
        }
    }

    /// Whether null is a value of this kind, and not the lack of one.
    fn takes_null(&self, kind: Kind) -> bool {
        match kind {
            Kind::Message(id) => self.schema.message(id).shape == Shape::Value,
            Kind::Enum(id) => self.schema.enumeration(id).is_null,
            Kind::Scalar(_) => false,
        }
    }

    /// One value of a list or map.
    fn item(&mut self, field: &Field) -> Result<(), Fatal> {
        if self.cursor.peek()? == Peek::Null && !self.takes_null(field.kind) {
            self.note("null cannot stand in a list or map");
            return self.cursor.word("null");
        }
        self.single(field)
    }

    fn single(&mut self, field: &Field) -> Result<(), Fatal> {
        match field.kind {
            Kind::Scalar(of) => self.scalar(of, field.number),
            Kind::Enum(id) => {
                let start = self.out.len();
                wire::put_tag(&mut self.out, field.number, Type::Varint);
                let known = self.schema.enumeration(id);
                let at = self.cursor.at();
                let number = match self.cursor.peek()? {
                    Peek::String => {
                        let word = self.cursor.string()?;
                        known.parse(&word).ok_or_else(|| shown(&word))
                    }
                    Peek::Number => {
                        let text = self.cursor.number()?;
                        let number = scalar::whole_32(text);
                        number.filter(|it| known.is_defined(*it)).ok_or_else(|| shown(text))
                    }
                    Peek::Null if known.is_null => {
                        self.cursor.word("null")?;
                        Ok(0)
                    }
                    _ => {
                        self.out.truncate(start);
                        return self.unfit(&known.expected());
                    }
                };
                match number {
                    Ok(number) => wire::put_varint(&mut self.out, i64::from(number).cast_unsigned()),
                    Err(found) => {
                        self.out.truncate(start);
                        self.note_at(at, &format!("`{found}` is not {}", known.expected()));
                    }
                }
                Ok(())
            }
            Kind::Message(id) => {
                // Paths of a mask do not go into lists, maps and well-known types.
                let mask = std::mem::take(&mut self.how.mask);
                self.nested(field, |this| this.bare(id, field.lenient_duration))?;
                self.how.mask = mask;
                Ok(())
            }
        }
    }

    fn packed(&mut self, field: &'s Field, of: Scalar) -> Result<(), Fatal> {
        wire::put_tag(&mut self.out, field.number, Type::Bytes);
        let mark = wire::open(&mut self.out);
        self.items(|this, _| {
            if this.cursor.peek()? == Peek::Null {
                this.note("null cannot stand in a list or map");
                return this.cursor.word("null");
            }
            this.number(of)
        })?;
        wire::close(&mut self.out, mark);
        Ok(())
    }

    /// A number without its tag.
    fn number(&mut self, of: Scalar) -> Result<(), Fatal> {
        let at = self.cursor.at();
        let text = match self.cursor.peek()? {
            Peek::Number => Cow::Borrowed(self.cursor.number()?),
            Peek::String => self.cursor.string()?,
            _ => return self.unfit(of.expected()),
        };
        if scalar::put_number(&mut self.out, of, &text, Digits::Json).is_none() {
            self.note_at(at, &format!("`{}` is not {}", shown(&text), of.expected()));
        }
        Ok(())
    }

    /// A scalar with its tag.
    fn scalar(&mut self, of: Scalar, number: u32) -> Result<(), Fatal> {
        match of {
            Scalar::String | Scalar::Bytes => {
                if self.cursor.peek()? != Peek::String {
                    return self.unfit(of.expected());
                }
                let at = self.cursor.at();
                let text = self.cursor.string()?;
                if text_scalar(of, number, &text, Digits::Json, &mut self.out).is_none() {
                    self.note_at(at, &format!("`{}` is not {}", shown(&text), of.expected()));
                }
                Ok(())
            }
            Scalar::Bool => {
                let value = match self.cursor.peek()? {
                    Peek::True => {
                        self.cursor.word("true")?;
                        1
                    }
                    Peek::False => {
                        self.cursor.word("false")?;
                        0
                    }
                    _ => return self.unfit(of.expected()),
                };
                wire::put_tag(&mut self.out, number, Type::Varint);
                wire::put_varint(&mut self.out, value);
                Ok(())
            }
            _ => {
                wire::put_tag(&mut self.out, number, of.wire());
                self.number(of)
            }
        }
    }

    fn entry(
        &mut self,
        number: u32,
        of: Scalar,
        value: &Field,
        key: Cow<'t, str>,
        at: usize,
        seen: &mut Keys<'t>,
    ) -> Result<(), Fatal> {
        let mark = self.open(number)?;
        match text_scalar(of, 1, &key, Digits::Plain, &mut self.out) {
            // `1` and `0` are no booleans of JSON.
            Some(()) if of != Scalar::Bool || key.len() > 1 => {
                // Numbers that are spelled differently may be the same.
                let same = match of {
                    Scalar::String => key,
                    _ => Cow::Owned(format!("{:?}", &self.out[mark..])),
                };
                if !seen.insert(same) {
                    self.note_at(at, "the key is there twice");
                }
            }
            _ => self.note_at(at, &format!("the key is not {}", of.expected())),
        }
        self.item(value)?;
        self.close(mark);
        Ok(())
    }

    /// google.protobuf.Struct.
    fn free_object(&mut self) -> Result<(), Fatal> {
        if self.cursor.peek()? != Peek::Object {
            return self.unfit("an object");
        }
        let mut seen: HashSet<String> = HashSet::new();
        self.members(|this, key, at| {
            this.keyed(key.clone(), |this| {
                if !seen.insert(key.clone().into_owned()) {
                    this.note_at(at, "the key is there twice");
                }
                let entry = this.open(1)?;
                wire::put_bytes(&mut this.out, 1, key.as_bytes());
                let value = this.open(2)?;
                this.free_value()?;
                this.close(value);
                this.close(entry);
                Ok(())
            })
        })
    }

    /// google.protobuf.ListValue.
    fn free_list(&mut self) -> Result<(), Fatal> {
        if self.cursor.peek()? != Peek::Array {
            return self.unfit("a list");
        }
        self.items(|this, _| {
            let value = this.open(1)?;
            this.free_value()?;
            this.close(value);
            Ok(())
        })
    }

    /// google.protobuf.Value.
    fn free_value(&mut self) -> Result<(), Fatal> {
        match self.cursor.peek()? {
            Peek::Null => {
                self.cursor.word("null")?;
                self.out.extend_from_slice(&[0x08, 0]);
            }
            Peek::Number => {
                let at = self.cursor.at();
                let text = self.cursor.number()?;
                self.out.push(0x11);
                if scalar::put_number(&mut self.out, Scalar::Double, text, Digits::Json).is_none() {
                    self.note_at(at, "the number is too large");
                }
            }
            Peek::String => {
                let text = self.cursor.string()?;
                wire::put_bytes(&mut self.out, 3, text.as_bytes());
            }
            Peek::True => {
                self.cursor.word("true")?;
                self.out.extend_from_slice(&[0x20, 1]);
            }
            Peek::False => {
                self.cursor.word("false")?;
                self.out.extend_from_slice(&[0x20, 0]);
            }
            Peek::Object => {
                let mark = self.open(5)?;
                self.free_object()?;
                self.close(mark);
            }
            Peek::Array => {
                let mark = self.open(6)?;
                self.free_list()?;
                self.close(mark);
            }
        }
        Ok(())
    }

    /// google.protobuf.Any: `@type` says what the other members are, wherever it stands.
    fn any(&mut self) -> Result<(), Fatal> {
        if self.cursor.peek()? != Peek::Object {
            return self.unfit("an object");
        }
        let start = self.cursor.at();
        let (mut url, mut value_at, mut others) = (None, None, 0);
        self.members(|this, key, at| {
            match &*key {
                "@type" if url.is_some() => this.note_at(at, "`@type` is there twice"),
                "@type" if this.cursor.peek()? == Peek::String => {
                    url = Some(this.cursor.string()?.into_owned());
                    return Ok(());
                }
                "value" => {
                    this.cursor.skip_space();
                    value_at = Some(this.cursor.at());
                    others += 1;
                }
                _ => others += 1,
            }
            this.cursor.skip(DEPTH.saturating_sub(this.depth))
        })?;
        let end = self.cursor.at();
        let Some(url) = url else {
            if others > 0 {
                self.note_at(start, "it has no `@type` that says what it is");
            }
            return Ok(());
        };
        let Some(id) = self.schema.by_url(&url) else {
            self.note_at(start, &format!("`@type`: no message `{}` is known here", shown(&url)));
            return Ok(());
        };
        wire::put_bytes(&mut self.out, 1, url.as_bytes());
        wire::put_tag(&mut self.out, 2, Type::Bytes);
        let mark = wire::open(&mut self.out);
        let message = self.schema.message(id);
        // Bytes in which another message is encoded are none that a decoder goes into.
        let wire_depth = std::mem::take(&mut self.wire_depth);
        let how = self.how;
        self.how = How { ignore_unknown: how.ignore_unknown, ..How::default() };
        // Some write google.protobuf.Empty as a well-known type, some as a message without fields.
        let is_empty = message.name == "google.protobuf.Empty";
        match value_at {
            Some(at) if others == 1 && (is_empty || message.shape.is_leaf()) => {
                self.cursor.go_to(at);
                self.enter()?;
                self.bare(id, false)?;
                self.depth -= 1;
            }
            _ if message.shape.is_leaf() => {
                self.note_at(start, "a well-known type stands in one member `value`");
            }
            _ => {
                self.cursor.go_to(start);
                self.object(message, None, Some("@type"))?;
            }
        }
        self.how = how;
        self.wire_depth = wire_depth;
        wire::close(&mut self.out, mark);
        self.cursor.go_to(end);
        Ok(())
    }
}

/// A hint for a misspelled name.
fn nearest(message: &Message, name: &str) -> String {
    let wanted = name.to_ascii_lowercase().replace(['-', '_'], "");
    let close = message.fields.iter().find(|field| {
        let known = field.name.replace('_', "");
        known == wanted || (wanted.len() > 3 && (known.starts_with(&wanted) || wanted.starts_with(&known)))
    });
    close.map(|field| format!("; did you mean `{}`?", field.name)).unwrap_or_default()
}
