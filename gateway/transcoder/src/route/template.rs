//! Path templates, as `google/api/http.proto` spells them, and literals after `**` besides.

use std::fmt;

/// A template that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Template {
    pub(crate) segments: Vec<Segment>,
    pub(crate) variables: Vec<Variable>,
    /// The custom verb after the last colon.
    pub(crate) verb: Option<String>,
}

/// What a segment of a path has to be.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Segment {
    /// This text, byte for byte.
    Literal(String),
    /// Anything that is not empty.
    One,
    /// Any number of segments, none too.
    Many,
}

/// A field that segments fill.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Variable {
    /// `name` or `book.name`.
    pub(crate) path: String,
    /// Index of its first segment.
    pub(crate) first: usize,
    /// How many segments of the template.
    pub(crate) count: usize,
    /// It may take several segments of a path, so `%2F` stays as it is.
    pub(crate) is_multi: bool,
}

impl Template {
    /// Reads a template.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut rest = text.strip_prefix('/').ok_or("a path begins with `/`")?;
        let mut template = Self { segments: Vec::new(), variables: Vec::new(), verb: None };
        // The verb stands after the last colon that is outside of a variable.
        let last_brace = rest.rfind('}').map_or(0, |at| at + 1);
        let last_slash = rest.rfind('/').map_or(0, |at| at + 1);
        if let Some(colon) = rest[last_brace.max(last_slash)..].find(':') {
            let at = last_brace.max(last_slash) + colon;
            let verb = &rest[at + 1..];
            if verb.is_empty() || verb.contains([':', '{', '*']) {
                return Err("the verb after `:` is empty or no word".to_owned());
            }
            template.verb = Some(verb.to_owned());
            rest = &rest[..at];
        }
        if rest.is_empty() && template.verb.is_none() {
            return Ok(template);
        }
        while !rest.is_empty() {
            rest = if rest.starts_with('{') {
                template.variable(rest)?
            } else {
                let end = rest.find('/').unwrap_or(rest.len());
                let (segment, after) = rest.split_at(end);
                template.push(segment)?;
                after
            };
            rest = match rest.strip_prefix('/') {
                Some("") => return Err("a path does not end with `/`".to_owned()),
                Some(after) => after,
                None if rest.is_empty() => break,
                None => return Err(format!("expected `/` before `{rest}`")),
            };
        }
        if template.segments.is_empty() {
            return Err("a verb needs a path before it".to_owned());
        }
        if template.segments.iter().filter(|segment| **segment == Segment::Many).count() > 1 {
            return Err("`**` stands in it twice".to_owned());
        }
        for (at, variable) in template.variables.iter().enumerate() {
            if template.variables[..at].iter().any(|other| other.path == variable.path) {
                return Err(format!("the variable `{}` stands in it twice", variable.path));
            }
        }
        Ok(template)
    }

    fn variable<'t>(&mut self, text: &'t str) -> Result<&'t str, String> {
        let end = text.find('}').ok_or("a `{` has no `}`")?;
        let inside = &text[1..end];
        if inside.contains('{') {
            return Err(format!("the variable `{inside}` has a variable in it"));
        }
        let (path, pattern) = inside.split_once('=').unwrap_or((inside, "*"));
        let is_path = !path.is_empty()
            && path.split('.').all(|part| {
                part.starts_with(|it: char| it.is_ascii_alphabetic() || it == '_')
                    && part.bytes().all(|it| it.is_ascii_alphanumeric() || it == b'_')
            });
        if !is_path {
            return Err(format!("`{path}` is no name of a field"));
        }
        let first = self.segments.len();
        for segment in pattern.split('/') {
            self.push(segment)?;
        }
        let own = &self.segments[first..];
        let is_multi = own.len() > 1 || own.contains(&Segment::Many);
        self.variables.push(Variable { path: path.to_owned(), first, count: own.len(), is_multi });
        Ok(&text[end + 1..])
    }

    fn push(&mut self, text: &str) -> Result<(), String> {
        self.segments.push(match text {
            "" => return Err("it has an empty segment".to_owned()),
            "*" => Segment::One,
            "**" => Segment::Many,
            literal if literal.contains(['*', '{', '}', '?', '#', ' ']) => {
                return Err(format!("`{literal}` is no segment"));
            }
            literal => Segment::Literal(literal.to_owned()),
        });
        Ok(())
    }

    /// The segments of a path that a variable takes, when the path has so many.
    pub(crate) fn range(&self, variable: &Variable, segments: usize) -> std::ops::Range<usize> {
        let fixed = self.segments.len() - 1;
        let place = |index: usize| {
            match self.segments.iter().position(|segment| *segment == Segment::Many) {
                // What comes after `**` counts from the end.
                Some(many) if index > many => segments + index - fixed - 1,
                _ => index,
            }
        };
        place(variable.first)..place(variable.first + variable.count)
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut at = 0;
        let write = |f: &mut fmt::Formatter<'_>, segment: &Segment| match segment {
            Segment::Literal(text) => f.write_str(text),
            Segment::One => f.write_str("*"),
            Segment::Many => f.write_str("**"),
        };
        if self.segments.is_empty() {
            f.write_str("/")?;
        }
        while at < self.segments.len() {
            f.write_str("/")?;
            let Some(variable) = self.variables.iter().find(|variable| variable.first == at) else {
                write(f, &self.segments[at])?;
                at += 1;
                continue;
            };
            write!(f, "{{{}", variable.path)?;
            let own = &self.segments[at..at + variable.count];
            if own != [Segment::One] {
                f.write_str("=")?;
                for (nth, segment) in own.iter().enumerate() {
                    f.write_str(if nth > 0 { "/" } else { "" })?;
                    write(f, segment)?;
                }
            }
            f.write_str("}")?;
            at += variable.count;
        }
        match &self.verb {
            Some(verb) => write!(f, ":{verb}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_reads_as_it_prints() {
        for text in [
            "/",
            "/v1/things",
            "/v1/{id}",
            "/v1/{a.b.c}/x",
            "/v1/{name=a/*/b/*}",
            "/v1/{name=**}",
            "/v1/**/tail",
            "/v1/{name=a/**}/b/c",
            "/v1/*/x",
            "/v1/{id}:start",
            "/v1/things:batch",
            "/v1/{name=**}:copy",
        ] {
            assert_eq!(Template::parse(text).unwrap().to_string(), text);
        }
        assert_eq!(Template::parse("/v1/{id=*}").unwrap().to_string(), "/v1/{id}");
    }

    #[test]
    fn what_is_no_template_is_refused() {
        for text in [
            "",
            "v1",
            "/v1/",
            "//v1",
            "/v1//x",
            "/v1/{}",
            "/v1/{a",
            "/v1/{a}b",
            "/v1/x{a}",
            "/v1/{a={b}}",
            "/v1/{a}/{a}",
            "/v1/**/**",
            "/v1/{a=**}/{b=**}",
            "/v1/{a}:",
            "/v1/{a}:x:y",
            "/v1/***",
            "/v1/{1a}",
            "/v1/{a.}",
            "/v1/{a=}",
            "/v1/a b",
            "/:x",
        ] {
            assert!(Template::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_variable_behind_any_number_of_segments_counts_from_the_end() {
        let template = Template::parse("/a/{x=**}/b/{y}").unwrap();
        assert_eq!(template.range(&template.variables[0], 3), 1..1);
        assert_eq!(template.range(&template.variables[1], 3), 2..3);
        assert_eq!(template.range(&template.variables[0], 6), 1..4);
        assert_eq!(template.range(&template.variables[1], 6), 5..6);
    }
}
