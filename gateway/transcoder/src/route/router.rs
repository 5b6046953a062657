//! From a method and a raw path to a route: a trie over the segments, literals
//! before `*` before `**`, so that the order in which routes were added does not matter.
//!
//! Paths are compared raw, before anything is decoded: an encoded slash or colon
//! is never taken for one that separates.

use std::collections::{BTreeSet, HashMap};

use super::template::{Segment, Template};

/// Every route.
#[derive(Debug, Default)]
pub(crate) struct Router {
    root: Node,
}

/// A place in the trie.
#[derive(Debug, Default)]
struct Node {
    literals: HashMap<String, Node>,
    one: Option<Box<Node>>,
    many: Option<Box<Node>>,
    /// Routes that end here, by verb; the empty one is none.
    ends: HashMap<String, Vec<(String, usize)>>,
    /// The longest way down from here, for the search behind `**`.
    height: usize,
}

/// What a path leads to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found<'p> {
    /// This route, and the segments of the path without the verb.
    Route(usize, Vec<&'p str>),
    /// The path is known, the method is not: the methods that are.
    OtherMethods(BTreeSet<String>),
    /// Nothing.
    Nothing,
}

impl Router {
    /// Adds a route; the index of the one that has the place already.
    pub(crate) fn add(&mut self, method: &str, template: &Template, route: usize) -> Result<(), usize> {
        let mut node = &mut self.root;
        for (at, segment) in template.segments.iter().enumerate() {
            node.height = node.height.max(template.segments.len() - at);
            node = match segment {
                Segment::Literal(text) => node.literals.entry(text.clone()).or_default(),
                Segment::One => node.one.get_or_insert_default(),
                Segment::Many => node.many.get_or_insert_default(),
            };
        }
        let ends = node.ends.entry(template.verb.clone().unwrap_or_default()).or_default();
        if let Some((_, other)) = ends.iter().find(|(known, _)| known == method) {
            return Err(*other);
        }
        ends.push((method.to_owned(), route));
        Ok(())
    }

    /// The routes that a raw path has under any method.
    pub(crate) fn all(&self, path: &str) -> Vec<usize> {
        let index = |method: &str| match self.find(method, path) {
            Found::Route(index, _) => Some(index),
            _ => None,
        };
        // No method is called so, and only a route for every method is found by it.
        match self.find("", path) {
            Found::Route(index, _) => vec![index],
            Found::OtherMethods(methods) => methods.iter().filter_map(|method| index(method)).collect(),
            Found::Nothing => Vec::new(),
        }
    }

    /// Finds the route of a raw path, which begins with `/`.
    pub(crate) fn find<'p>(&self, method: &str, path: &'p str) -> Found<'p> {
        let Some(rest) = path.strip_prefix('/') else { return Found::Nothing };
        let segments: Vec<&str> = if rest.is_empty() { Vec::new() } else { rest.split('/').collect() };
        if let Some((before, verb)) = segments.last().and_then(|last| last.rsplit_once(':'))
            && !verb.is_empty()
        {
            let mut stripped = segments.clone();
            if let Some(last) = stripped.last_mut() {
                *last = before;
            }
            let mut search = Search { method, verb, methods: BTreeSet::new() };
            if let Some(route) = search.at(&self.root, &stripped) {
                return Found::Route(route, stripped);
            }
            if !search.methods.is_empty() {
                return Found::OtherMethods(search.methods);
            }
            if before.is_empty() && stripped.len() > 1 {
                // An empty id, if the verb is one here.
                let mut search = Search { method: "", verb, methods: BTreeSet::new() };
                let named = [&stripped[..stripped.len() - 1], &["-"]].concat();
                if search.at(&self.root, &named).is_some() || !search.methods.is_empty() {
                    return Found::Nothing;
                }
            }
        }
        let mut search = Search { method, verb: "", methods: BTreeSet::new() };
        match search.at(&self.root, &segments) {
            Some(route) => Found::Route(route, segments),
            None if search.methods.is_empty() => Found::Nothing,
            None => Found::OtherMethods(search.methods),
        }
    }
}

struct Search<'m> {
    method: &'m str,
    verb: &'m str,
    /// Methods of the routes that match otherwise.
    methods: BTreeSet<String>,
}

impl Search<'_> {
    fn at(&mut self, node: &Node, rest: &[&str]) -> Option<usize> {
        let Some((first, after)) = rest.split_first() else {
            return self.end(node).or_else(|| {
                // `**` takes none as well.
                node.many.as_ref().and_then(|many| self.end(many))
            });
        };
        if !first.is_empty() {
            if let Some(route) = node.literals.get(*first).and_then(|next| self.at(next, after)) {
                return Some(route);
            }
            if let Some(route) = node.one.as_ref().and_then(|next| self.at(next, after)) {
                return Some(route);
            }
        }
        let many = node.many.as_ref()?;
        // An empty segment is one only at the very end: `/files/`.
        let is_split = rest[..rest.len() - 1].iter().any(|segment| segment.is_empty());
        if is_split {
            return None;
        }
        // What follows `**` has a known length, so few places come into question.
        let longest = many.height.min(rest.len());
        (0..=longest).rev().find_map(|tail| self.at_exact(many, &rest[rest.len() - tail..]))
    }

    /// As [`Self::at`], below a `**`: a route that ends here has to be at the end of the path.
    fn at_exact(&mut self, node: &Node, rest: &[&str]) -> Option<usize> {
        let Some((first, after)) = rest.split_first() else { return self.end(node) };
        if first.is_empty() {
            return None;
        }
        let literal = node.literals.get(*first).and_then(|next| self.at_exact(next, after));
        literal.or_else(|| node.one.as_ref().and_then(|next| self.at_exact(next, after)))
    }

    fn end(&mut self, node: &Node) -> Option<usize> {
        let ends = node.ends.get(self.verb)?;
        let of = |wanted: &str| ends.iter().find(|(method, _)| method == wanted);
        // HEAD asks what GET would answer, before any route that takes whatever comes.
        let instead = if self.method == "HEAD" { of("GET") } else { None };
        if let Some((_, route)) = of(self.method).or(instead).or_else(|| of("*")) {
            return Some(*route);
        }
        self.methods.extend(ends.iter().map(|(method, _)| method.clone()));
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn router(routes: &[(&str, &str)]) -> Router {
        let mut router = Router::default();
        for (at, (method, path)) in routes.iter().enumerate() {
            router.add(method, &Template::parse(path).unwrap(), at).unwrap();
        }
        router
    }

    fn route(router: &Router, method: &str, path: &str) -> Option<usize> {
        match router.find(method, path) {
            Found::Route(at, _) => Some(at),
            _ => None,
        }
    }

    #[test]
    fn literals_come_before_one_before_many_whatever_the_order() {
        let routes = [("GET", "/a/**"), ("GET", "/a/{x}"), ("GET", "/a/b"), ("DELETE", "/a/{x}")];
        let router = router(&routes);
        assert_eq!(route(&router, "GET", "/a/b"), Some(2));
        assert_eq!(route(&router, "GET", "/a/c"), Some(1));
        assert_eq!(route(&router, "GET", "/a/c/d"), Some(0));
        assert_eq!(route(&router, "GET", "/a"), Some(0));
        assert_eq!(route(&router, "DELETE", "/a/b"), Some(3), "a less specific route that has the method");
        let Found::OtherMethods(methods) = router.find("PUT", "/a/b") else { panic!() };
        assert_eq!(methods.into_iter().collect::<Vec<_>>(), ["DELETE", "GET"]);
        assert_eq!(router.find("GET", "/b"), Found::Nothing);
    }

    #[test]
    fn empty_segments_lead_nowhere_except_behind_any_number() {
        let router = router(&[("GET", "/a/{x}"), ("GET", "/files/{x=**}"), ("GET", "/t/**/end")]);
        for path in [
            "/a/",
            "/a//",
            "/a",
            "//a/b",
            "/a/b/",
            "/files//a",
            "/files/a//b",
            "/A/b",
            "/t//end",
            "/t/a/b",
            "",
            "a/b",
        ] {
            assert_eq!(router.find("GET", path), Found::Nothing, "{path}");
        }
        for path in ["/files", "/files/", "/files/a", "/files/a/b", "/files/a/"] {
            assert_eq!(route(&router, "GET", path), Some(1), "{path}");
        }
        assert_eq!(route(&router, "GET", "/t/end"), Some(2));
        assert_eq!(route(&router, "GET", "/t/a/b/end"), Some(2));
    }

    #[test]
    fn a_verb_is_one_only_where_it_is_registered() {
        let router = router(&[
            ("POST", "/k/{x}:start"),
            ("GET", "/k/{x}"),
            ("POST", "/k:batch"),
            ("POST", "/f/{x=**}:copy"),
        ]);
        assert_eq!(router.find("POST", "/k/abc:start"), Found::Route(0, vec!["k", "abc"]));
        assert_eq!(router.find("POST", "/k/img:tag:start"), Found::Route(0, vec!["k", "img:tag"]));
        assert_eq!(router.find("GET", "/k/abc:other"), Found::Route(1, vec!["k", "abc:other"]));
        let Found::OtherMethods(methods) = router.find("GET", "/k/abc:start") else { panic!() };
        assert_eq!(methods.into_iter().collect::<Vec<_>>(), ["POST"], "never an id");
        assert_eq!(router.find("GET", "/k/abc%3Astart"), Found::Route(1, vec!["k", "abc%3Astart"]));
        assert_eq!(route(&router, "POST", "/k:batch"), Some(2));
        assert_eq!(route(&router, "POST", "/f/a/b:copy"), Some(3));
        assert_eq!(router.find("POST", "/k/:start"), Found::Nothing, "an empty id");
        assert_eq!(route(&router, "POST", "/f/:copy"), Some(3), "as `/f/` is none or more");
        assert_eq!(route(&router, "POST", "/f:copy"), Some(3));
        assert_eq!(route(&router, "HEAD", "/k/abc"), Some(1));
    }

    #[test]
    fn a_place_is_taken_once() {
        let mut router = router(&[("GET", "/a/{x}")]);
        assert_eq!(router.add("GET", &Template::parse("/a/{y}").unwrap(), 9), Err(0));
        assert_eq!(router.add("PUT", &Template::parse("/a/{x}").unwrap(), 9), Ok(()));
    }

    /// The same by trying every template: which matches, and which of two is more specific.
    fn naive(templates: &[Template], path: &[&str]) -> Option<usize> {
        fn matches(template: &[Segment], path: &[&str]) -> bool {
            match (template.split_first(), path.split_first()) {
                (None, None) => true,
                (Some((Segment::Many, rest)), _) => {
                    (0..=path.len()).any(|taken| matches(rest, &path[taken..]))
                }
                (Some((Segment::One, rest)), Some((_, path))) => matches(rest, path),
                (Some((Segment::Literal(text), rest)), Some((first, path))) => {
                    text == first && matches(rest, path)
                }
                _ => false,
            }
        }
        (0..templates.len())
            .filter(|at| matches(&templates[*at].segments, path))
            .min_by(|one, other| templates[*one].segments.cmp(&templates[*other].segments))
    }

    proptest! {
        #[test]
        fn the_trie_finds_what_trying_every_template_finds(
            shapes in proptest::collection::vec(proptest::collection::vec(0..4_u8, 1..5), 1..8),
            path in proptest::collection::vec(0..3_u8, 1..6),
        ) {
            let letter = |at: u8| ["a", "b", "c"][usize::from(at) % 3];
            let mut router = Router::default();
            let mut templates: Vec<Template> = Vec::new();
            for shape in shapes {
                let parts: Vec<&str> = shape.iter().map(|at| if *at == 3 { "*" } else { letter(*at) }).collect();
                let text = format!("/{}{}", parts.join("/"), if shape.len() == 3 { "/**" } else { "" });
                let template = Template::parse(&text).unwrap();
                if router.add("GET", &template, templates.len()).is_ok() {
                    templates.push(template);
                }
            }
            let path: Vec<&str> = path.into_iter().map(letter).collect();
            let found = route(&router, "GET", &format!("/{}", path.join("/")));
            prop_assert_eq!(found, naive(&templates, &path));
        }
    }
}
