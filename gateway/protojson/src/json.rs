//! Reading JSON texts token by token (RFC 8259), with the place of everything.

use std::borrow::Cow;

/// Where something stands in a text; both count from 1, columns in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The line.
    pub line: usize,
    /// The column.
    pub column: usize,
}

/// A text that is no JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Syntax {
    /// What was wrong.
    pub message: &'static str,
    /// Where: bytes from the beginning.
    pub at: usize,
}

/// What begins at a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peek {
    /// `{`
    Object,
    /// `[`
    Array,
    /// `"`
    String,
    /// A digit or `-`.
    Number,
    /// `true`
    True,
    /// `false`
    False,
    /// `null`
    Null,
}

impl Peek {
    /// What a reader calls it: `an object`.
    pub const fn named(self) -> &'static str {
        match self {
            Self::Object => "an object",
            Self::Array => "a list",
            Self::String => "a string",
            Self::Number => "a number",
            Self::True | Self::False => "a boolean",
            Self::Null => "null",
        }
    }
}

/// A position in a text that is known to be UTF-8.
#[derive(Debug, Clone)]
pub struct Cursor<'a> {
    text: &'a str,
    at: usize,
}

/// The place of a byte.
pub fn place(text: &str, at: usize) -> Place {
    let before = &text.as_bytes()[..at.min(text.len())];
    let line_start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
    let column = before[line_start..].iter().filter(|byte| (**byte & 0xc0) != 0x80).count() + 1;
    Place { line, column }
}

impl<'a> Cursor<'a> {
    /// Stands at the beginning of a text.
    pub const fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    /// Bytes before it.
    pub const fn at(&self) -> usize {
        self.at
    }

    pub(crate) const fn go_to(&mut self, at: usize) {
        self.at = at;
    }

    /// The whole text.
    pub const fn text(&self) -> &'a str {
        self.text
    }

    fn byte(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    const fn wrong(&self, message: &'static str) -> Syntax {
        Syntax { message, at: self.at }
    }

    pub(crate) fn skip_space(&mut self) {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.byte() {
            self.at += 1;
        }
    }

    /// What the next value is, without taking it.
    pub fn peek(&mut self) -> Result<Peek, Syntax> {
        self.skip_space();
        Ok(match self.byte() {
            Some(b'{') => Peek::Object,
            Some(b'[') => Peek::Array,
            Some(b'"') => Peek::String,
            Some(b'-' | b'0'..=b'9') => Peek::Number,
            Some(b't') => Peek::True,
            Some(b'f') => Peek::False,
            Some(b'n') => Peek::Null,
            Some(_) => return Err(self.wrong("expected a value")),
            None => return Err(self.wrong("the text ends where a value should be")),
        })
    }

    /// Takes `byte` if it is next.
    pub fn eat(&mut self, byte: u8) -> bool {
        self.skip_space();
        let is_next = self.byte() == Some(byte);
        if is_next {
            self.at += 1;
        }
        is_next
    }

    /// Steps over a byte, which has to be there.
    pub fn expect(&mut self, byte: u8, message: &'static str) -> Result<(), Syntax> {
        if self.eat(byte) { Ok(()) } else { Err(self.wrong(message)) }
    }

    /// Nothing but white space may follow.
    pub fn end(&mut self) -> Result<(), Syntax> {
        self.skip_space();
        if self.at == self.text.len() { Ok(()) } else { Err(self.wrong("something follows the value")) }
    }

    /// Steps over a word, which has to be there.
    pub fn word(&mut self, word: &'static str) -> Result<(), Syntax> {
        if !self.text[self.at..].starts_with(word) {
            return Err(self.wrong("expected a value"));
        }
        self.at += word.len();
        Ok(())
    }

    /// The next number as it is written.
    pub fn number(&mut self) -> Result<&'a str, Syntax> {
        self.skip_space();
        let start = self.at;
        let digits = |cursor: &mut Self| {
            let from = cursor.at;
            while let Some(b'0'..=b'9') = cursor.byte() {
                cursor.at += 1;
            }
            cursor.at - from
        };
        if self.byte() == Some(b'-') {
            self.at += 1;
        }
        let has_leading_zero = self.byte() == Some(b'0');
        let whole = digits(self);
        if whole == 0 || (has_leading_zero && whole > 1) {
            self.at = start;
            return Err(self.wrong("a number is misspelled"));
        }
        if self.byte() == Some(b'.') {
            self.at += 1;
            if digits(self) == 0 {
                return Err(self.wrong("a number is misspelled"));
            }
        }
        if let Some(b'e' | b'E') = self.byte() {
            self.at += 1;
            if let Some(b'+' | b'-') = self.byte() {
                self.at += 1;
            }
            if digits(self) == 0 {
                return Err(self.wrong("a number is misspelled"));
            }
        }
        Ok(&self.text[start..self.at])
    }

    /// The next string, unescaped.
    pub fn string(&mut self) -> Result<Cow<'a, str>, Syntax> {
        self.expect(b'"', "expected a string")?;
        let start = self.at;
        let bytes = self.text.as_bytes();
        self.at += plain::<false>(&bytes[start..]);
        match bytes.get(self.at) {
            Some(b'"') => {
                self.at += 1;
                return Ok(Cow::Borrowed(&self.text[start..self.at - 1]));
            }
            Some(b'\\') => {}
            Some(_) => return Err(self.wrong("a string has a control character")),
            None => return Err(self.wrong("a string does not end")),
        }
        let mut text = String::with_capacity(self.at - start + 16);
        let mut plain = start;
        loop {
            match bytes.get(self.at) {
                Some(b'"') => {
                    text.push_str(&self.text[plain..self.at]);
                    self.at += 1;
                    return Ok(Cow::Owned(text));
                }
                Some(b'\\') => {
                    text.push_str(&self.text[plain..self.at]);
                    self.at += 1;
                    text.push(self.escape()?);
                    plain = self.at;
                }
                Some(0..0x20) => return Err(self.wrong("a string has a control character")),
                Some(_) => self.at += 1,
                None => return Err(self.wrong("a string does not end")),
            }
        }
    }

    fn escape(&mut self) -> Result<char, Syntax> {
        let escaped = self.byte();
        self.at += 1;
        Ok(match escaped {
            Some(b'"') => '"',
            Some(b'\\') => '\\',
            Some(b'/') => '/',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => {
                let first = self.hex()?;
                let code = match first {
                    0xd800..0xdc00 => {
                        if !self.text[self.at..].starts_with("\\u") {
                            return Err(self.wrong("half of a surrogate pair"));
                        }
                        self.at += 2;
                        let second = self.hex()?;
                        if !(0xdc00..0xe000).contains(&second) {
                            return Err(self.wrong("half of a surrogate pair"));
                        }
                        0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00)
                    }
                    _ => first,
                };
                char::from_u32(code).ok_or_else(|| self.wrong("half of a surrogate pair"))?
            }
            _ => {
                self.at -= 1;
                return Err(self.wrong("an unknown escape in a string"));
            }
        })
    }

    fn hex(&mut self) -> Result<u32, Syntax> {
        let digits = self.text.as_bytes().get(self.at..self.at + 4);
        let value = digits.and_then(|digits| {
            digits.iter().try_fold(0, |value, digit| Some(value << 4 | char::from(*digit).to_digit(16)?))
        });
        let Some(value) = value else { return Err(self.wrong("an escape needs four hexadecimal digits")) };
        self.at += 4;
        Ok(value)
    }

    /// Passes over one value.
    pub fn skip(&mut self, depth: usize) -> Result<(), Syntax> {
        match self.peek()? {
            Peek::String => _ = self.string()?,
            Peek::Number => _ = self.number()?,
            Peek::True => self.word("true")?,
            Peek::False => self.word("false")?,
            Peek::Null => self.word("null")?,
            Peek::Array | Peek::Object if depth == 0 => return Err(self.wrong(TOO_DEEP)),
            Peek::Array => {
                self.at += 1;
                if self.eat(b']') {
                    return Ok(());
                }
                loop {
                    self.skip(depth - 1)?;
                    if self.eat(b']') {
                        return Ok(());
                    }
                    self.expect(b',', "expected `,` or `]`")?;
                }
            }
            Peek::Object => {
                self.at += 1;
                if self.eat(b'}') {
                    return Ok(());
                }
                loop {
                    self.skip_space();
                    self.string()?;
                    self.expect(b':', "expected `:`")?;
                    self.skip(depth - 1)?;
                    if self.eat(b'}') {
                        return Ok(());
                    }
                    self.expect(b',', "expected `,` or `}`")?;
                }
            }
        }
        Ok(())
    }
}

/// What is said of a text that nests too deeply.
pub(crate) const TOO_DEEP: &str = "it is nested too deeply";

/// Writes bytes as a JSON string, if they are UTF-8. Most texts are ASCII of which nothing has to be
/// escaped: that is seen in one look, which finds that they are UTF-8 as well.
pub(crate) fn put_utf8(out: &mut Vec<u8>, bytes: &[u8]) -> Option<()> {
    if plain::<true>(bytes) < bytes.len() {
        put_string(out, std::str::from_utf8(bytes).ok()?);
        return Some(());
    }
    out.reserve(bytes.len() + 2);
    out.push(b'"');
    out.extend_from_slice(bytes);
    out.push(b'"');
    Some(())
}

/// Writes a JSON string.
pub fn put_string(out: &mut Vec<u8>, text: &str) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    out.push(b'"');
    let mut rest = text.as_bytes();
    loop {
        let (plain, special) = rest.split_at(plain::<false>(rest));
        out.extend_from_slice(plain);
        let Some((&byte, more)) = special.split_first() else { break };
        rest = more;
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            other => {
                out.extend_from_slice(b"\\u00");
                out.push(HEX[usize::from(other >> 4)]);
                out.push(HEX[usize::from(other & 15)]);
            }
        }
    }
    out.push(b'"');
}

/// How many bytes stand as they are; most of what is printed is such, so eight are looked at together.
/// Bytes beyond ASCII end it if `ASCII`.
fn plain<const ASCII: bool>(bytes: &[u8]) -> usize {
    const ONES: u64 = u64::MAX / 0xff;
    const HIGHS: u64 = ONES * 0x80;
    // A high bit for some byte that is below; bytes beyond ASCII never are. What is borrowed goes to
    // later bytes, so the first one is right.
    let below = |word: u64, limit: u64| word.wrapping_sub(ONES * limit) & !word & HIGHS;
    let is_byte = |word: u64, byte: u8| below(word ^ (ONES * u64::from(byte)), 1);
    let ends = |block: [u8; 8]| {
        let word = u64::from_le_bytes(block);
        let beyond = if ASCII { word & HIGHS } else { 0 };
        beyond | below(word, 0x20) | is_byte(word, b'"') | is_byte(word, b'\\')
    };
    let mut at = 0;
    while let Some(block) = bytes[at..].first_chunk::<8>() {
        match ends(*block) {
            0 => at += block.len(),
            found => return at + found.trailing_zeros() as usize / 8,
        }
    }
    let rest = &bytes[at..];
    let mut block = [b' '; 8];
    block[..rest.len()].copy_from_slice(rest);
    match ends(block) {
        0 => bytes.len(),
        found => at + found.trailing_zeros() as usize / 8,
    }
}

/// Lays a compact JSON text out for people.
pub fn indent(compact: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(compact.len() * 2);
    let (mut depth, mut in_string, mut is_escaped) = (0_usize, false, false);
    let line = |out: &mut Vec<u8>, depth: usize| {
        out.push(b'\n');
        out.extend(std::iter::repeat_n(b' ', depth * 2));
    };
    let mut bytes = compact.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        if in_string {
            out.push(byte);
            in_string = is_escaped || byte != b'"';
            is_escaped = byte == b'\\' && !is_escaped;
            continue;
        }
        match byte {
            b'{' | b'[' => {
                out.push(byte);
                let closing = if byte == b'{' { b'}' } else { b']' };
                if bytes.peek() == Some(&closing) {
                    out.extend(bytes.next());
                } else {
                    depth += 1;
                    line(&mut out, depth);
                }
            }
            b'}' | b']' => {
                depth = depth.saturating_sub(1);
                line(&mut out, depth);
                out.push(byte);
            }
            b',' => {
                out.push(byte);
                line(&mut out, depth);
            }
            b':' => out.extend_from_slice(b": "),
            _ => {
                in_string = byte == b'"';
                out.push(byte);
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(text: &str) -> Result<(), Syntax> {
        let mut cursor = Cursor::new(text);
        cursor.skip(64)?;
        cursor.end()
    }

    #[test]
    fn a_string_is_escaped_wherever_it_has_to_be() {
        for letter in (0..=0x7f).map(char::from).chain(['\u{80}', 'é', '\u{a22}', '€', '😀']) {
            for before in 0..18 {
                let text = format!("{}{letter}{letter}~ é and more", "a".repeat(before));
                let mut out = Vec::new();
                put_string(&mut out, &text);
                let mut same = Vec::new();
                put_utf8(&mut same, text.as_bytes()).unwrap();
                assert_eq!(same, out);
                let read: String = serde_json::from_slice(&out).unwrap();
                assert_eq!(read, text);
                assert_eq!(out.contains(&b'\\'), letter < ' ' || letter == '"' || letter == '\\', "{text:?}");
            }
        }
    }

    #[test]
    fn what_is_json_and_what_is_not_agrees_with_a_reader_that_is_widely_used() {
        for text in [
            "{}",
            "[]",
            "1",
            "-0",
            "1.5e+3",
            "\"a\\u00e9\\ud83d\\ude00\"",
            " { \"a\" : [ 1 , null , true ] } ",
            "",
            "{",
            "[1,]",
            "{,}",
            "{\"a\":1,}",
            "01",
            "1.",
            ".5",
            "1e",
            "+1",
            "-",
            "NaN",
            "'a'",
            "\"\\x\"",
            "\"\\ud800\"",
            "\"\\ud800\\u0041\"",
            "\"\\udc00\"",
            "\"\u{1}\"",
            "\"a",
            "{} {}",
            "[1 2]",
            "{\"a\" 1}",
            "{1:2}",
            "tru",
            "nulll",
            "\u{feff}{}",
            "// x\n{}",
            "\"\\u12\"",
            "\"\\u12g4\"",
            "\"é\\n\"",
            "[1e400]",
        ] {
            let theirs = serde_json::from_str::<serde_json::Value>(text);
            // 1e400 is well-formed, and no number of theirs.
            let expected = theirs.is_ok() || text.contains("1e400");
            assert_eq!(judged(text).is_ok(), expected, "{text}");
        }
    }

    #[test]
    fn strings_are_unescaped_and_escaped() {
        let text = "\"a\\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e9\\ud83d\\ude00z\"";
        let read = Cursor::new(text).string().unwrap();
        assert_eq!(read, "a\"\\/\u{8}\u{c}\n\r\té😀z");
        let mut out = Vec::new();
        put_string(&mut out, &read);
        assert_eq!(serde_json::from_slice::<String>(&out).unwrap(), read);
    }

    #[test]
    fn places_count_lines_and_characters() {
        assert_eq!(place("a\nbé?", 5), Place { line: 2, column: 3 });
        assert_eq!(place("", 9), Place { line: 1, column: 1 });
    }

    #[test]
    fn depth_has_an_end() {
        let deep = format!("{}{}", "[".repeat(65), "]".repeat(65));
        assert_eq!(judged(&deep).unwrap_err().message, TOO_DEEP);
    }

    #[test]
    fn a_text_is_laid_out_for_people() {
        let compact = br#"{"a":[1,{"b":"x:,{\"}"}],"c":{},"d":[]}"#;
        let laid = String::from_utf8(indent(compact)).unwrap();
        assert_eq!(
            laid,
            "{\n  \"a\": [\n    1,\n    {\n      \"b\": \"x:,{\\\"}\"\n    }\n  ],\n  \"c\": {},\n  \"d\": []\n}"
        );
    }
}
