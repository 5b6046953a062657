//! Text to located trees, one for each document.
//!
//! It is built from the parser's events, so every node knows its line through anchors, aliases and merge
//! keys. Aliases are expanded into a budget: a file of a kilobyte cannot become a tree of a gigabyte.

use std::collections::HashMap;
use std::iter::Peekable;

use serde_saphyr::granit_parser::{self, Event, Marker, Parser, ScalarStyle, Span, StrInput, Tag};

use crate::finding::{Code, Finding, Key, Location};
use crate::limits;
use crate::node::{Edit, Kind, Map, Node, Weight};
use crate::scalar;

/// The documents of `text`. A file of comments has none.
pub(crate) fn parse(file: &str, text: &str) -> Result<Vec<Node>, Finding> {
    let whole = Location::whole(file);
    if text.len() > limits::FILE_BYTES {
        let message = format!("the file has {} bytes; the limit is {}", text.len(), limits::FILE_BYTES);
        return Err(Finding::error(Code::TooLarge, &whole, &Key::root(), message));
    }
    // A key that is too long is refused by us, by its name, and not by the scanner as a riddle.
    let options =
        granit_parser::options! { emit_comments: false, simple_key_max_lookahead: limits::FILE_BYTES };
    let mut tree = Tree {
        events: Parser::new_from_str_with_options(text, options).peekable(),
        file: whole,
        anchors: HashMap::new(),
        weight: Weight::default(),
    };
    tree.documents()
}

struct Tree<'text> {
    events: Peekable<Parser<'text, StrInput<'text>>>,
    file: Location,
    /// Finished anchored nodes and what a copy costs.
    anchors: HashMap<usize, (Node, Weight)>,
    /// Of everything so far.
    weight: Weight,
}

impl<'text> Tree<'text> {
    fn documents(&mut self) -> Result<Vec<Node>, Finding> {
        let mut documents = Vec::new();
        while let Some((event, span)) = self.next()? {
            match event {
                Event::StreamStart | Event::StreamEnd | Event::DocumentStart(..) | Event::DocumentEnd => {}
                other => documents.push(self.node(other, span, &Key::root(), 0)?),
            }
        }
        Ok(documents)
    }

    fn next(&mut self) -> Result<Option<(Event<'text>, Span)>, Finding> {
        match self.events.next() {
            None => Ok(None),
            Some(Ok(pair)) => Ok(Some(pair)),
            Some(Err(error)) => {
                let at = self.place(*error.marker());
                let reason = error.info();
                let mut reason = reason.trim().trim_end_matches('.').to_owned();
                if let Some(first) = reason.get(..1) {
                    let first = first.to_lowercase();
                    reason.replace_range(..1, &first);
                }
                Err(Finding::error(Code::Syntax, &at, &Key::root(), format!("not valid YAML: {reason}")))
            }
        }
    }

    /// The event that has to be there: within a collection the parser always goes on to its end.
    fn within(&mut self, at: &Location) -> Result<(Event<'text>, Span), Finding> {
        self.next()?.ok_or_else(|| {
            Finding::error(Code::Syntax, at, &Key::root(), "not valid YAML: the file ends inside a value")
        })
    }

    fn place(&self, marker: Marker) -> Location {
        let line = u32::try_from(marker.line()).unwrap_or(u32::MAX);
        let column = u32::try_from(marker.col()).unwrap_or(u32::MAX).saturating_add(1);
        Location { file: self.file.file.clone(), line: line.max(1), column }
    }

    fn charge(&mut self, more: Weight, at: &Location, key: &Key) -> Result<(), Finding> {
        self.weight.add(more);
        let message = if self.weight.nodes > limits::NODES {
            format!(
                "the file holds more than {} values with its aliases expanded; use fewer or smaller anchors",
                limits::NODES
            )
        } else if self.weight.bytes > limits::EXPANDED_BYTES {
            format!(
                "the file holds more than {} bytes with its aliases expanded; use fewer or smaller anchors",
                limits::EXPANDED_BYTES
            )
        } else {
            return Ok(());
        };
        Err(Finding::error(Code::TooLarge, at, key, message))
    }

    fn node(&mut self, event: Event<'text>, span: Span, key: &Key, depth: usize) -> Result<Node, Finding> {
        let at = self.place(span.start);
        if depth > limits::DEPTH {
            let message = format!("nested more than {} deep", limits::DEPTH);
            return Err(Finding::error(Code::TooLarge, &at, key, message));
        }
        let bytes = if let Event::Scalar(text, ..) = &event { text.len() } else { 0 };
        self.charge(Weight { nodes: 1, bytes }, &at, key)?;
        let (mut node, anchor, tag) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                let kind = scalar_kind(&text, style, tag.as_deref(), &at, key)?;
                (Node::new(kind, &at), anchor, tag)
            }
            Event::SequenceStart(_, anchor, tag) => {
                (Node::new(Kind::List(self.list(&at, key, depth)?), &at), anchor, tag)
            }
            Event::MappingStart(_, anchor, tag) => {
                (Node::new(Kind::Map(self.mapping(&at, key, depth)?), &at), anchor, tag)
            }
            Event::Alias(id) => return self.alias(id, &at, key),
            _ => {
                let message = "not valid YAML: a value is missing here";
                return Err(Finding::error(Code::Syntax, &at, key, message));
            }
        };
        node.edit = tag.as_deref().and_then(edit_of);
        if anchor != 0 {
            self.anchors.insert(anchor, (node.clone(), node.weight()));
        }
        Ok(node)
    }

    fn alias(&mut self, id: usize, at: &Location, key: &Key) -> Result<Node, Finding> {
        let Some(weight) = self.anchors.get(&id).map(|(_, weight)| *weight) else {
            let message = "the alias stands inside the value that it repeats";
            return Err(Finding::error(Code::Syntax, at, key, message));
        };
        self.charge(weight, at, key)?;
        let (node, _) = &self.anchors[&id];
        Ok(node.clone())
    }

    fn list(&mut self, at: &Location, key: &Key, depth: usize) -> Result<Vec<Node>, Finding> {
        let mut items = Vec::new();
        loop {
            let (event, span) = self.within(at)?;
            if matches!(event, Event::SequenceEnd) {
                return Ok(items);
            }
            let item_key = key.item(items.len());
            items.push(self.node(event, span, &item_key, depth + 1)?);
        }
    }

    fn mapping(&mut self, at: &Location, key: &Key, depth: usize) -> Result<Map, Finding> {
        let mut map = Map::default();
        let mut merged: Option<(Location, Vec<Node>)> = None;
        loop {
            let (event, span) = self.within(at)?;
            if matches!(event, Event::MappingEnd) {
                break;
            }
            let key_at = self.place(span.start);
            let (name, is_merge) = self.name(event, &key_at, key)?;
            let own = key.child(&name);
            let (event, span) = self.within(&key_at)?;
            let value = self.node(event, span, &own, depth + 1)?;
            if is_merge {
                if let Some((first, _)) = &merged {
                    return Err(duplicate(&key_at, &own, first));
                }
                merged = Some((key_at.clone(), merge_sources(value, &key_at, &own)?));
                continue;
            }
            if let Some(first) = map.entry(&name) {
                return Err(duplicate(&key_at, &own, &first.key_at));
            }
            map.set(&name, &key_at, value);
        }
        // What is written here wins over what is merged in; of several sources the first one wins.
        for source in merged.into_iter().flat_map(|(_, sources)| sources) {
            let Kind::Map(source) = source.kind else { continue };
            for (name, entry) in source.into_entries() {
                if !map.has(&name) {
                    map.set(&name, &entry.key_at, entry.value);
                }
            }
        }
        Ok(map)
    }

    /// A key and whether it is the merge key `<<`.
    fn name(&mut self, event: Event<'text>, at: &Location, key: &Key) -> Result<(String, bool), Finding> {
        self.charge(Weight { nodes: 1, bytes: 0 }, at, key)?;
        let kind = match event {
            Event::Scalar(text, style, anchor, tag) => {
                let plain = style == ScalarStyle::Plain && tag.is_none();
                if plain && text == "<<" {
                    return Ok((text.into_owned(), true));
                }
                let kind = scalar_kind(&text, style, tag.as_deref(), at, key)?;
                if anchor != 0 {
                    let node = Node::new(kind.clone(), at);
                    let weight = node.weight();
                    self.anchors.insert(anchor, (node, weight));
                }
                kind
            }
            Event::Alias(id) => match self.anchors.get(&id) {
                Some((node, _)) => node.kind.clone(),
                None => Kind::Null,
            },
            _ => {
                return Err(Finding::error(
                    Code::Syntax,
                    at,
                    key,
                    "a key has to be a word, not a list or a mapping",
                ));
            }
        };
        match kind {
            Kind::Text(name) if name.chars().count() > limits::NAME => {
                let length = name.chars().count();
                let shown = crate::node::shorten(&name);
                let message =
                    format!("the key `{shown}` has {length} characters; the limit is {}", limits::NAME);
                Err(Finding::error(Code::TooLarge, at, key, message))
            }
            Kind::Text(name) => Ok((name, false)),
            other => {
                let described = Node::new(other, at).describe();
                let message = format!("a key has to be a word and this is {described}; put it in quotes");
                Err(Finding::error(Code::Syntax, at, key, message))
            }
        }
    }
}

fn duplicate(at: &Location, key: &Key, first: &Location) -> Finding {
    Finding::error(Code::Syntax, at, key, format!("the key is there already, at line {}", first.line))
}

fn merge_sources(value: Node, at: &Location, key: &Key) -> Result<Vec<Node>, Finding> {
    let sources = match value.kind {
        Kind::Map(_) => vec![value],
        Kind::List(items) => items,
        _ => Vec::new(),
    };
    let all_maps = !sources.is_empty() && sources.iter().all(|source| matches!(source.kind, Kind::Map(_)));
    if all_maps {
        return Ok(sources);
    }
    Err(Finding::error(Code::Syntax, at, key, "`<<` takes a mapping or a list of mappings"))
}

fn edit_of(tag: &Tag) -> Option<Edit> {
    match (tag.handle(), tag.suffix()) {
        ("!", "reset") => Some(Edit::Reset),
        ("!", "override") => Some(Edit::Override),
        _ => None,
    }
}

fn scalar_kind(
    text: &str,
    style: ScalarStyle,
    tag: Option<&Tag>,
    at: &Location,
    key: &Key,
) -> Result<Kind, Finding> {
    let quoted = style != ScalarStyle::Plain;
    let read = || if quoted { Kind::Text(text.to_owned()) } else { scalar::resolve(text) };
    let Some(tag) = tag else { return Ok(read()) };
    if edit_of(tag).is_some() {
        return Ok(read());
    }
    let Some(core) = tag.core_suffix() else {
        let message = format!("the tag `{}` means nothing here; `!reset` and `!override` do", tag.original());
        return Err(Finding::error(Code::Syntax, at, key, message));
    };
    let kind = match (core, scalar::resolve(text)) {
        ("str", _) => Kind::Text(text.to_owned()),
        ("int", kind @ Kind::Int(_)) | ("bool", kind @ Kind::Bool(_)) | ("null", kind @ Kind::Null) => kind,
        ("float", kind @ Kind::Float(_)) => kind,
        // The cast is the point of the tag: what is lost is what the writer gave up.
        ("float", Kind::Int(number)) => Kind::Float(number as f64),
        _ => {
            let message = format!("`{}` is no {core}", crate::node::shorten(text));
            return Err(Finding::error(Code::Syntax, at, key, message));
        }
    };
    Ok(kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(text: &str) -> Node {
        let mut documents = parse("compose.yaml", text).unwrap();
        assert_eq!(documents.len(), 1);
        documents.remove(0)
    }

    fn error(text: &str) -> String {
        parse("compose.yaml", text).unwrap_err().to_string()
    }

    fn at<'a>(node: &'a Node, path: &[&str]) -> &'a Node {
        path.iter().fold(node, |node, name| node.as_map().unwrap().get(name).unwrap())
    }

    #[test]
    fn every_value_knows_its_line_through_anchors_and_merges() {
        let node =
            one("x-a: &a\n  image: one\n  user: root\nservices:\n  web:\n    <<: *a\n    image: two\n");
        let web = at(&node, &["services", "web"]);
        assert_eq!(at(web, &["image"]).as_text(), Some("two"));
        assert_eq!(at(web, &["image"]).at.line, 7);
        assert_eq!(at(web, &["user"]).at, Location::new("compose.yaml", 3, 9));
        assert_eq!(web.as_map().unwrap().entry("user").unwrap().key_at.column, 3);
    }

    #[test]
    fn of_several_merged_mappings_the_first_wins() {
        let node =
            one("a: &a {k: 1}\nb: &b {k: 2, l: 3}\nc: {<<: [*a, *b]}\nd: &list [*a, *b]\ne: {<<: *list}\n");
        for name in ["c", "e"] {
            assert_eq!(at(&node, &[name, "k"]).describe(), "the number 1");
            assert_eq!(at(&node, &[name, "l"]).describe(), "the number 3");
        }
    }

    #[test]
    fn reset_and_override_are_kept_for_the_merge() {
        let node = one("a: !reset null\nb: !override [x]\nc: !reset {}\n");
        assert_eq!(at(&node, &["a"]).edit, Some(Edit::Reset));
        assert_eq!(at(&node, &["b"]).edit, Some(Edit::Override));
        assert_eq!(at(&node, &["c"]).edit, Some(Edit::Reset));
    }

    #[test]
    fn documents_are_told_apart() {
        assert_eq!(parse("a", "---\na: 1\n---\nb: 2\n").unwrap().len(), 2);
        assert_eq!(parse("a", "# nothing\n").unwrap().len(), 0);
        assert_eq!(parse("a", "").unwrap().len(), 0);
    }

    #[test]
    fn tags_cast_and_strange_ones_are_refused() {
        let node = one("a: !!str 12\nb: !!float 1\nc: !!int 7\n");
        assert_eq!(at(&node, &["a"]).as_text(), Some("12"));
        assert!(matches!(at(&node, &["b"]).kind, Kind::Float(_)));
        assert!(error("a: !secret x\n").contains("the tag `!secret` means nothing here"));
        assert!(error("a: !!int x\n").contains("`x` is no int"));
    }

    #[test]
    fn duplicate_keys_name_both_lines() {
        assert_eq!(
            error("services:\n  web: {image: a}\n  web: {image: b}\n"),
            "compose.yaml:3:3: services.web: the key is there already, at line 2"
        );
        assert!(error("a: &a {}\nb: {<<: *a, <<: *a}\n").contains("b.<<: the key is there already"));
    }

    #[test]
    fn keys_have_to_be_words() {
        assert!(error("80: x\n").contains("a key has to be a word and this is the number 80"));
        assert!(error("a: {true: x}\n").contains("the boolean true"));
        assert!(error("? [a]\n: x\n").contains("not a list or a mapping"));
        assert!(error("a: {<<: 5}\n").contains("`<<` takes a mapping"));
    }

    #[test]
    fn broken_text_is_placed() {
        let message = error("services:\n  web: [\n");
        assert!(message.starts_with("compose.yaml:"), "{message}");
        assert!(message.contains("not valid YAML: "), "{message}");
        assert!(error("a: *nobody\n").contains("not valid YAML"));
    }

    #[test]
    fn an_alias_bomb_is_refused_before_it_expands() {
        let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..12 {
            let below = level - 1;
            let row = vec![format!("*a{below}"); 9].join(", ");
            text.push_str(&format!("a{level}: &a{level} [{row}]\n"));
        }
        assert!(error(&text).contains("more than 20000 values with its aliases expanded"));
    }

    #[test]
    fn one_long_text_repeated_is_refused_too() {
        let text = format!("a: &a {}\nb: [{}]\n", "x".repeat(100_000), vec!["*a"; 1_000].join(", "));
        assert!(error(&text).contains("more than 8388608 bytes with its aliases expanded"));
    }

    #[test]
    fn depth_and_size_are_bounded() {
        let deep = format!("a: {}{}", "[".repeat(100), "]".repeat(100));
        assert!(error(&deep).contains("nested more than 64 deep"));
        assert!(error(&"#".repeat(limits::FILE_BYTES + 1)).contains("the limit is 1048576"));
        assert!(error("a: &a [*a]\n").contains("inside the value that it repeats"));
        assert!(
            error(&format!("{}: a", "n".repeat(10_000))).contains("has 10000 characters; the limit is 1024")
        );
    }
}
