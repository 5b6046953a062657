//! `$VAR`, `${VAR}`, `${VAR:-default}`, `${VAR:?message}`, `${VAR:+replacement}` and their kin without colon.
//!
//! Where a value comes from is the caller's; a name that nobody knows yet is taken as unset for the moment
//! and the result says that it is provisional.

use crate::limits;

/// What is known of a variable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Lookup {
    Value(String),
    /// Known to have no value.
    Unset,
    /// Nobody was asked yet. `Some` is what it will be if the answer is "unset".
    Unknown(Option<String>),
}

#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Substituted {
    pub(crate) text: String,
    /// At least one name was unknown.
    pub(crate) pending: bool,
    /// Names without value and default, taken as empty.
    pub(crate) unset: Vec<String>,
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Problem {
    #[error("`{0}` is not a variable; write `$$` for a dollar sign")]
    Invalid(String),
    #[error("the variable {name} is required{}", if reason.is_empty() { String::new() } else { format!(": {reason}") })]
    Required { name: String, reason: String },
    #[error("variables are nested more than {} deep", limits::NESTED_VARIABLES)]
    TooDeep,
    #[error("the value has more than {} characters once its variables are filled in", limits::DOCUMENT)]
    TooLong,
}

pub(crate) fn substitute(text: &str, lookup: &mut dyn FnMut(&str) -> Lookup) -> Result<Substituted, Problem> {
    let mut work = Work { lookup, pending: false, unset: Vec::new() };
    let text = work.run(text, 0)?;
    Ok(Substituted { text, pending: work.pending, unset: work.unset })
}

struct Work<'l> {
    lookup: &'l mut dyn FnMut(&str) -> Lookup,
    pending: bool,
    unset: Vec<String>,
}

/// What stands between the name and the rest in `${NAME…}`.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Operator {
    Default,
    Required,
    Replacement,
}

impl Work<'_> {
    fn run(&mut self, text: &str, depth: usize) -> Result<String, Problem> {
        if depth > limits::NESTED_VARIABLES {
            return Err(Problem::TooDeep);
        }
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(dollar) = rest.find('$') {
            out.push_str(&rest[..dollar]);
            let after = &rest[dollar + 1..];
            if let Some(tail) = after.strip_prefix('$') {
                out.push('$');
                rest = tail;
            } else if after.starts_with('{') {
                let (value, used) = self.braced(after, depth)?;
                out.push_str(&value);
                rest = &after[used..];
            } else {
                let name = &after[..name_length(after)];
                if name.is_empty() {
                    out.push('$');
                } else {
                    out.push_str(&self.plain(name));
                }
                rest = &after[name.len()..];
            }
            if out.len() > limits::DOCUMENT {
                return Err(Problem::TooLong);
            }
        }
        out.push_str(rest);
        if out.len() > limits::DOCUMENT.max(text.len()) {
            return Err(Problem::TooLong);
        }
        Ok(out)
    }

    fn value_of(&mut self, name: &str) -> (Option<String>, bool) {
        match (self.lookup)(name) {
            Lookup::Value(value) => (Some(value), true),
            Lookup::Unset => (None, true),
            Lookup::Unknown(value) => {
                self.pending = true;
                (value, false)
            }
        }
    }

    fn plain(&mut self, name: &str) -> String {
        let (value, known) = self.value_of(name);
        value.unwrap_or_else(|| {
            if known {
                self.unset.push(name.to_owned());
            }
            String::new()
        })
    }

    /// Reads from the opening brace; gives the value and how many bytes were used.
    fn braced(&mut self, text: &str, depth: usize) -> Result<(String, usize), Problem> {
        let invalid = || Problem::Invalid(crate::node::shorten(&format!("${text}")));
        let line = text.lines().next().unwrap_or(text);
        let last = line.rfind('}').ok_or_else(invalid)?;
        let name = &line[1..1 + name_length(&line[1..])];
        if name.is_empty() {
            return Err(invalid());
        }
        let after = &line[1 + name.len()..];
        if after.starts_with('}') {
            return Ok((self.plain(name), name.len() + 2));
        }
        let (if_empty_too, after) = match after.strip_prefix(':') {
            Some(after) => (true, after),
            None => (false, after),
        };
        let operator = match after.chars().next() {
            Some('-') => Operator::Default,
            Some('?') => Operator::Required,
            Some('+') => Operator::Replacement,
            _ => return Err(invalid()),
        };
        let start = line.len() - after.len() + 1;
        let end = closing_brace(&line[..=last]).unwrap_or(last).max(start);
        let argument = &line[start..end];

        let (value, known) = self.value_of(name);
        let counts = value.as_ref().is_some_and(|value| !if_empty_too || !value.is_empty());
        let text = match operator {
            Operator::Default if counts && known => value.unwrap_or_default(),
            Operator::Default => {
                // The default is read even where the value may yet come, to learn the names in it.
                let default = self.run(argument, depth + 1)?;
                if counts { value.unwrap_or_default() } else { default }
            }
            Operator::Required if counts => value.unwrap_or_default(),
            Operator::Required => {
                let reason = self.run(argument, depth + 1)?;
                if known {
                    return Err(Problem::Required { name: name.to_owned(), reason });
                }
                String::new()
            }
            Operator::Replacement if counts || !known => {
                let replacement = self.run(argument, depth + 1)?;
                if counts { replacement } else { String::new() }
            }
            Operator::Replacement => String::new(),
        };
        Ok((text, end + 1))
    }
}

fn name_length(text: &str) -> usize {
    let starts_well = text.starts_with(|first: char| first == '_' || first.is_ascii_alphabetic());
    if !starts_well {
        return 0;
    }
    text.find(|c: char| c != '_' && !c.is_ascii_alphanumeric()).unwrap_or(text.len())
}

/// The brace that closes the first one, counting those between.
fn closing_brace(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut open = 0_usize;
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'}' => {
                open = open.saturating_sub(1);
                if open == 0 {
                    return Some(at);
                }
            }
            // What follows an opening brace belongs to it, whatever it is.
            b'{' => {
                open += 1;
                at += 1;
            }
            _ => {}
        }
        at += 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lookup(name: &str) -> Lookup {
        match name {
            "FOO" => Lookup::Value("first".to_owned()),
            "BAR" => Lookup::Value("second".to_owned()),
            "EMPTY" => Lookup::Value(String::new()),
            "LATER" => Lookup::Unknown(None),
            _ => Lookup::Unset,
        }
    }

    fn text(template: &str) -> String {
        substitute(template, &mut lookup).unwrap().text
    }

    #[test]
    fn every_form_gives_what_compose_gives() {
        for (template, expected) in [
            ("$FOO", "first"),
            ("${FOO}", "first"),
            ("a$FOO-b", "afirst-b"),
            ("$$FOO", "$FOO"),
            ("$$$FOO", "$first"),
            ("$", "$"),
            ("cost $5", "cost $5"),
            ("${NOT:-def}", "def"),
            ("${NOT-def}", "def"),
            ("${EMPTY:-def}", "def"),
            ("${EMPTY-def}", ""),
            ("${FOO:-def}", "first"),
            ("${NOT:-}", ""),
            ("${FOO:+yes}", "yes"),
            ("${NOT:+yes}", ""),
            ("${EMPTY:+yes}", ""),
            ("${EMPTY+yes}", "yes"),
            ("${FOO:?no}", "first"),
            ("${EMPTY?no}", ""),
            ("${NOT:-${FOO}}", "first"),
            ("${NOT:-a${NOT:-b}c}", "abc"),
            ("${NOT:-${NOT2:-deep}} and ${FOO}", "deep and first"),
            ("${NOT:-{\"a\": 1}}", "{\"a\": 1}"),
            ("${NOT-a:-b}", "a:-b"),
            ("${NOT:-a?b+c}", "a?b+c"),
            ("${FOO}${BAR}", "firstsecond"),
            ("http://$FOO:8080/${BAR}", "http://first:8080/second"),
            ("${NOT:-$$x}", "$x"),
            ("ünï$FOO", "ünïfirst"),
        ] {
            assert_eq!(text(template), expected, "{template}");
        }
    }

    #[test]
    fn what_is_no_variable_is_refused() {
        for template in ["${", "${}", "${1}", "${FOO", "${FOO!x}", "${ FOO}", "${FOO:x}", "${NOT:-a\nb}"] {
            let problem = substitute(template, &mut lookup).unwrap_err();
            assert!(matches!(problem, Problem::Invalid(_)), "{template}: {problem}");
        }
    }

    #[test]
    fn a_required_variable_says_why() {
        for (template, expected) in [
            ("${NOT:?set it in .env}", "the variable NOT is required: set it in .env"),
            ("${NOT?}", "the variable NOT is required"),
            ("${EMPTY:?$FOO}", "the variable EMPTY is required: first"),
        ] {
            assert_eq!(substitute(template, &mut lookup).unwrap_err().to_string(), expected);
        }
    }

    #[test]
    fn a_name_without_value_is_reported_and_one_with_a_default_is_not() {
        assert_eq!(substitute("$NOT ${NOT2:-x} ${NOT3:+y}", &mut lookup).unwrap().unset, ["NOT"]);
    }

    #[test]
    fn an_unknown_name_makes_the_result_provisional_and_its_default_is_read() {
        let mut asked = Vec::new();
        let mut ask = |name: &str| {
            asked.push(name.to_owned());
            lookup(name)
        };
        let result = substitute("${LATER:?x} ${LATER:-$NOT} ${LATER:+$BAR}", &mut ask).unwrap();
        assert!(result.pending);
        assert_eq!(asked, ["LATER", "LATER", "NOT", "LATER", "BAR"]);
    }

    #[test]
    fn nesting_and_growth_are_bounded() {
        let deep = format!("{}x{}", "${NOT:-".repeat(100), "}".repeat(100));
        assert_eq!(substitute(&deep, &mut lookup), Err(Problem::TooDeep));
        let long = "x".repeat(1000);
        let grown = substitute(&"$A".repeat(100), &mut |_| Lookup::Value(long.clone()));
        assert_eq!(grown, Err(Problem::TooLong));
    }
}
