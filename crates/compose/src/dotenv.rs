//! `.env` and `env_file` texts, in the dialect that compose reads, and compose's `format: raw`.

use std::collections::{BTreeMap, HashMap};

use crate::interpolate::{self, Lookup};
use crate::limits;

/// What a file sets, in order; a name set twice stands twice.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Parsed {
    pub(crate) entries: Vec<(String, String)>,
    /// A value was made from a variable that nobody knows yet.
    pub(crate) pending: bool,
    bytes: usize,
}

impl Parsed {
    fn add(&mut self, name: &str, value: String) -> Result<(), String> {
        if value.len() > limits::DOCUMENT {
            return Err(format!("the value of {name} has more than {} characters", limits::DOCUMENT));
        }
        self.bytes += name.len() + value.len();
        if self.bytes > limits::EXPANDED_BYTES {
            return Err(format!("the values have more than {} characters", limits::EXPANDED_BYTES));
        }
        self.entries.push((name.to_owned(), value));
        Ok(())
    }

    /// A name alone takes the value that `lookup` has for it.
    fn take_over(&mut self, name: &str, lookup: &mut dyn FnMut(&str) -> Lookup) -> Result<(), String> {
        match lookup(name) {
            Lookup::Value(value) => self.add(name, value),
            Lookup::Unset => Ok(()),
            Lookup::Unknown(value) => {
                self.pending = true;
                value.map_or(Ok(()), |value| self.add(name, value))
            }
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(crate) line: u32,
    pub(crate) message: String,
}

/// Quotes, `export`, comments, `$VAR` in bare and double-quoted values, double quotes over several lines. A
/// name alone on its line takes the value that `lookup` has for it. Variables come from `lookup`, then from
/// further up in the text, then from `earlier` files.
pub(crate) fn parse(
    text: &str,
    earlier: &BTreeMap<String, String>,
    lookup: &mut dyn FnMut(&str) -> Lookup,
) -> Result<Parsed, Problem> {
    let mut reader = Reader {
        earlier,
        rest: text.strip_prefix('\u{feff}').unwrap_or(text),
        line: 1,
        parsed: Parsed::default(),
        latest: HashMap::new(),
        lookup,
    };
    while reader.skip_to_statement() {
        reader.statement()?;
    }
    Ok(reader.parsed)
}

/// One `KEY=VALUE` a line, taken as it stands.
pub(crate) fn parse_raw(text: &str, lookup: &mut dyn FnMut(&str) -> Lookup) -> Result<Parsed, Problem> {
    let mut parsed = Parsed::default();
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    for (index, line) in text.split('\n').enumerate() {
        let number = u32::try_from(index + 1).unwrap_or(u32::MAX);
        let line = line.strip_suffix('\r').unwrap_or(line).trim_start();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (name, value) = match line.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (line, None),
        };
        if name.is_empty() {
            return Err(Problem { line: number, message: "the line has a value and no name".to_owned() });
        }
        if name.contains([' ', '\t']) {
            let message = format!("the name `{}` holds white space", crate::node::shorten(name));
            return Err(Problem { line: number, message });
        }
        let added = match value {
            Some(value) => parsed.add(name, value.to_owned()),
            None => parsed.take_over(name, lookup),
        };
        added.map_err(|message| Problem { line: number, message })?;
    }
    Ok(parsed)
}

struct Reader<'a> {
    earlier: &'a BTreeMap<String, String>,
    rest: &'a str,
    line: u32,
    parsed: Parsed,
    /// Where the latest value of a name stands among the entries.
    latest: HashMap<String, usize>,
    lookup: &'a mut dyn FnMut(&str) -> Lookup,
}

/// White space that does not end a line.
fn is_blank(c: char) -> bool {
    matches!(c, '\t' | '\u{b}' | '\u{c}' | '\r' | ' ' | '\u{85}' | '\u{a0}')
}

impl<'a> Reader<'a> {
    fn problem<T>(&self, message: impl Into<String>) -> Result<T, Problem> {
        Err(Problem { line: self.line, message: message.into() })
    }

    fn advance(&mut self, bytes: usize) {
        let newlines = self.rest[..bytes].matches('\n').count();
        self.line = self.line.saturating_add(u32::try_from(newlines).unwrap_or(u32::MAX));
        self.rest = &self.rest[bytes..];
    }

    /// Over white space and comments; false at the end.
    fn skip_to_statement(&mut self) -> bool {
        loop {
            let start = self.rest.find(|c: char| !c.is_whitespace()).unwrap_or(self.rest.len());
            self.advance(start);
            if !self.rest.starts_with('#') {
                return !self.rest.is_empty();
            }
            let end = self.rest.find('\n').unwrap_or(self.rest.len());
            self.advance(end);
        }
    }

    fn statement(&mut self) -> Result<(), Problem> {
        if let Some(after) = self.rest.strip_prefix("export")
            && after.starts_with(|c: char| c.is_ascii_whitespace())
        {
            let trimmed = after.trim_start_matches(is_blank);
            self.advance(self.rest.len() - trimmed.len());
        }
        let Some((end, terminator)) = self.end_of_name()? else {
            // The last line, a name alone without a line end.
            let name = self.rest.trim_end();
            self.rest = "";
            return self.parsed.take_over(name, self.lookup).or_else(|message| self.problem(message));
        };
        let name = self.rest[..end].trim_end();
        if name.contains(' ') {
            return self.problem(format!("the name `{}` holds a space", crate::node::shorten(name)));
        }
        if name.chars().count() > limits::VALUE {
            return self.problem(format!("a name has more than {} characters", limits::VALUE));
        }
        self.advance(end + 1);
        let blanks = self.rest.len() - self.rest.trim_start_matches(is_blank).len();
        self.advance(blanks);
        if terminator == '\n' {
            return self.parsed.take_over(name, self.lookup).or_else(|message| self.problem(message));
        }
        let value = self.value()?;
        let index = self.parsed.entries.len();
        self.parsed.add(name, value).or_else(|message| self.problem(message))?;
        self.latest.insert(name.to_owned(), index);
        Ok(())
    }

    /// Where the name ends and on what; a name ends on `=`, `:` or the line.
    fn end_of_name(&self) -> Result<Option<(usize, char)>, Problem> {
        for (at, c) in self.rest.char_indices() {
            if is_blank(c) {
                continue;
            }
            match c {
                '=' | ':' | '\n' => return Ok(Some((at, c))),
                '_' | '.' | '-' | '[' | ']' => {}
                c if c.is_alphabetic() || c.is_numeric() => {}
                c => {
                    // Never the value, which may be a secret.
                    let name = self.rest.split(['=', ':', '\n']).next().unwrap_or_default();
                    let shown = crate::node::shorten(name.trim_end());
                    return self.problem(format!("the character `{c}` cannot be in a name: `{shown}`"));
                }
            }
        }
        Ok(None)
    }

    fn value(&mut self) -> Result<String, Problem> {
        match self.rest.chars().next() {
            Some(quote @ ('"' | '\'')) => self.quoted(quote),
            _ => {
                let rest: &'a str = self.rest;
                let line = rest.split('\n').next().unwrap_or_default();
                let bare = line.split(" #").next().unwrap_or_default().trim_end();
                let value = self.expand(bare)?;
                self.advance((line.len() + 1).min(rest.len()));
                Ok(value)
            }
        }
    }

    fn quoted(&mut self, quote: char) -> Result<String, Problem> {
        let mut value = String::new();
        let mut escaped = false;
        let mut end = None;
        for (at, c) in self.rest.char_indices().skip(1) {
            if c == quote && !escaped {
                end = Some(at);
                break;
            }
            if c == '\\' && !escaped {
                escaped = true;
                continue;
            }
            if escaped && c != quote {
                value.push('\\');
            }
            escaped = false;
            value.push(c);
        }
        let Some(end) = end else {
            return self.problem("the quote is not closed");
        };
        if quote == '"' {
            value = self.expand(&unescape(&value))?;
        }
        self.advance(end + 1);
        Ok(value)
    }

    /// Variables in a value: first what the caller knows, then what stands further up.
    fn expand(&mut self, text: &str) -> Result<String, Problem> {
        let entries = &self.parsed.entries;
        let lookup = &mut *self.lookup;
        let earlier = self.earlier;
        let latest = &self.latest;
        let above = |name: &str| {
            let own = latest.get(name).map(|index| &entries[*index].1);
            own.or_else(|| earlier.get(name)).cloned()
        };
        let mut both = |name: &str| match lookup(name) {
            Lookup::Unset => above(name).map_or(Lookup::Unset, Lookup::Value),
            Lookup::Unknown(None) => Lookup::Unknown(above(name)),
            known => known,
        };
        match interpolate::substitute(text, &mut both) {
            Ok(substituted) => {
                self.parsed.pending |= substituted.pending;
                Ok(substituted.text)
            }
            Err(problem) => self.problem(problem.to_string()),
        }
    }
}

/// The escapes of a double-quoted value. `\$` becomes the `$$` that stands for a dollar sign.
fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        let simple = match after.chars().next() {
            Some('a') => Some('\u{7}'),
            Some('b') => Some('\u{8}'),
            Some('f') => Some('\u{c}'),
            Some('n') => Some('\n'),
            Some('r') => Some('\r'),
            Some('t') => Some('\t'),
            Some('v') => Some('\u{b}'),
            Some(c @ ('"' | '\\')) => Some(c),
            _ => None,
        };
        if let Some(c) = simple {
            out.push(c);
            rest = &after[1..];
            continue;
        }
        if let Some(tail) = after.strip_prefix('$') {
            out.push_str("$$");
            rest = tail;
            continue;
        }
        // `\0` and three octal digits.
        let octal = after.strip_prefix('0').and_then(|digits| digits.get(..3));
        let code = octal.filter(|digits| digits.bytes().all(|digit| (b'0'..=b'7').contains(&digit)));
        if let Some(code) = code.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            out.push(char::from(code));
            rest = &after[4..];
            continue;
        }
        out.push('\\');
        rest = after;
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lookup(name: &str) -> Lookup {
        match name {
            "SHELL_VAR" => Lookup::Value("from the shell".to_owned()),
            "LATER" => Lookup::Unknown(None),
            _ => Lookup::Unset,
        }
    }

    fn pairs(text: &str) -> Vec<(String, String)> {
        parse(text, &BTreeMap::new(), &mut lookup).unwrap().entries
    }

    fn check(text: &str, expected: &[(&str, &str)]) {
        let expected: Vec<_> = expected.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        assert_eq!(pairs(text), expected, "{text:?}");
    }

    #[test]
    fn bare_values_end_with_the_line_or_a_comment() {
        check(
            "A=1\nB = two words  # comment\nC=a#b\n\n# whole line\nD=\n",
            &[("A", "1"), ("B", "two words"), ("C", "a#b"), ("D", "")],
        );
        check("export A=1\r\nB: yaml\n", &[("A", "1"), ("B", "yaml")]);
    }

    #[test]
    fn quotes_keep_what_is_between_them() {
        check(
            "A='single $X \\n'\nB=\"tab\\there\"\nC=\"line one\nline two\"\nD='it\\'s'\n",
            &[("A", "single $X \\n"), ("B", "tab\there"), ("C", "line one\nline two"), ("D", "it's")],
        );
        check("A=\"x\\$Y\" # c\nB=\"\\0101\\q\"\n", &[("A", "x$Y"), ("B", "A\\q")]);
    }

    #[test]
    fn variables_come_from_the_caller_first_then_from_above() {
        check(
            "A=1\nB=${A}2\nC=\"$B3 ${B}3\"\nD=$SHELL_VAR\nE='$A'\nF=${NOPE:-x}\n",
            &[("A", "1"), ("B", "12"), ("C", " 123"), ("D", "from the shell"), ("E", "$A"), ("F", "x")],
        );
    }

    #[test]
    fn a_name_alone_takes_the_callers_value() {
        check("SHELL_VAR\nNOBODY\nA=1\n", &[("SHELL_VAR", "from the shell"), ("A", "1")]);
        check("A=1\nSHELL_VAR", &[("A", "1"), ("SHELL_VAR", "from the shell")]);
    }

    #[test]
    fn an_unknown_name_makes_it_provisional() {
        let parsed = parse("A=1\nB=$LATER\n", &BTreeMap::new(), &mut lookup).unwrap();
        assert!(parsed.pending);
        assert!(!parse("A=1\n", &BTreeMap::new(), &mut lookup).unwrap().pending);
        assert!(parse_raw("LATER\n", &mut lookup).unwrap().pending);
    }

    #[test]
    fn problems_name_the_line() {
        for (text, line, part) in [
            ("A=1\nB!=2\n", 2, "the character `!` cannot be in a name"),
            ("A=1\n\nB='open\n", 3, "the quote is not closed"),
            ("A=${\n", 1, "is not a variable"),
            ("A B=1\n", 1, "holds a space"),
            ("A=\"one\ntwo\"\nB=${x\n", 3, "is not a variable"),
        ] {
            let problem = parse(text, &BTreeMap::new(), &mut lookup).unwrap_err();
            assert_eq!(problem.line, line, "{text:?}");
            assert!(problem.message.contains(part), "{}", problem.message);
        }
    }

    #[test]
    fn values_that_repeat_each_other_cannot_grow_without_end() {
        let mut text = format!("A={}\n", "x".repeat(60_000));
        for number in 0..1_000 {
            text.push_str(&format!("B{number}=$A\n"));
        }
        let problem = parse(&text, &BTreeMap::new(), &mut lookup).unwrap_err();
        assert_eq!(
            (problem.line, problem.message.as_str()),
            (141, "the values have more than 8388608 characters")
        );
    }

    #[test]
    fn raw_files_are_taken_as_they_stand() {
        let parsed =
            parse_raw("# c\nA=\"quoted $X\"  \n  B=1 # no comment\nSHELL_VAR\nNOBODY\n", &mut lookup)
                .unwrap();
        let expected = [("A", "\"quoted $X\"  "), ("B", "1 # no comment"), ("SHELL_VAR", "from the shell")];
        let expected: Vec<_> = expected.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        assert_eq!(parsed.entries, expected);
        assert!(parse_raw("=x\n", &mut lookup).unwrap_err().message.contains("no name"));
        let long = format!("A={}\n", "x".repeat(limits::DOCUMENT + 1));
        assert!(
            parse_raw(&long, &mut lookup).unwrap_err().message.contains("the value of A has more than 65536")
        );
        assert!(parse_raw("A B=x\n", &mut lookup).unwrap_err().message.contains("white space"));
    }
}
