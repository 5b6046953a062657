//! The located tree: what YAML says, before anybody knows what it means.

use indexmap::IndexMap;

use crate::finding::Location;

/// One value and where it was written.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) kind: Kind,
    pub(crate) at: Location,
    /// What the file wants done with the value beneath it in earlier files.
    pub(crate) edit: Option<Edit>,
    /// Made from a variable whose value is not known yet: nobody may act on it.
    pub(crate) pending: bool,
}

#[derive(Clone, Debug)]
pub(crate) enum Kind {
    Null,
    Bool(bool),
    Int(i128),
    Float(f64),
    Text(String),
    List(Vec<Node>),
    Map(Map),
}

/// `!reset` takes a value away, `!override` replaces it instead of merging.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Edit {
    Reset,
    Override,
}

/// A mapping in the order of the file, with the places of its keys.
#[derive(Clone, Debug, Default)]
pub(crate) struct Map(IndexMap<String, Entry>);

#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) key_at: Location,
    pub(crate) value: Node,
}

/// How many values there are, and how much text they hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Weight {
    pub(crate) nodes: usize,
    pub(crate) bytes: usize,
}

impl Weight {
    pub(crate) fn add(&mut self, more: Self) {
        self.nodes = self.nodes.saturating_add(more.nodes);
        self.bytes = self.bytes.saturating_add(more.bytes);
    }
}

impl Node {
    pub(crate) fn new(kind: Kind, at: &Location) -> Self {
        Self { kind, at: at.clone(), edit: None, pending: false }
    }

    pub(crate) fn text(text: impl Into<String>, at: &Location) -> Self {
        Self::new(Kind::Text(text.into()), at)
    }

    pub(crate) fn map(at: &Location) -> Self {
        Self::new(Kind::Map(Map::default()), at)
    }

    pub(crate) fn as_text(&self) -> Option<&str> {
        match &self.kind {
            Kind::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(crate) fn as_map(&self) -> Option<&Map> {
        match &self.kind {
            Kind::Map(map) => Some(map),
            _ => None,
        }
    }

    pub(crate) fn as_map_mut(&mut self) -> Option<&mut Map> {
        match &mut self.kind {
            Kind::Map(map) => Some(map),
            _ => None,
        }
    }

    pub(crate) fn as_list(&self) -> Option<&[Node]> {
        match &self.kind {
            Kind::List(items) => Some(items),
            _ => None,
        }
    }

    pub(crate) fn is_null(&self) -> bool {
        matches!(self.kind, Kind::Null)
    }

    /// Whether both say the same, wherever it stands.
    pub(crate) fn says_the_same(&self, other: &Node) -> bool {
        match (&self.kind, &other.kind) {
            (Kind::Null, Kind::Null) => true,
            (Kind::Bool(a), Kind::Bool(b)) => a == b,
            (Kind::Int(a), Kind::Int(b)) => a == b,
            (Kind::Float(a), Kind::Float(b)) => a.to_bits() == b.to_bits(),
            (Kind::Text(a), Kind::Text(b)) => a == b,
            (Kind::List(a), Kind::List(b)) => {
                a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.says_the_same(b))
            }
            (Kind::Map(a), Kind::Map(b)) => {
                a.len() == b.len()
                    && a.iter().all(|(name, entry)| b.get(name).is_some_and(|b| entry.value.says_the_same(b)))
            }
            _ => false,
        }
    }

    /// How much a copy of it costs.
    pub(crate) fn weight(&self) -> Weight {
        let mut weight = Weight { nodes: 1, bytes: 0 };
        match &self.kind {
            Kind::List(items) => items.iter().for_each(|item| weight.add(item.weight())),
            Kind::Map(map) => {
                for (name, entry) in map.iter() {
                    weight.add(entry.value.weight());
                    weight.bytes += name.len();
                }
            }
            Kind::Text(text) => weight.bytes = text.len(),
            _ => {}
        }
        weight
    }

    /// For messages: "the number 5", "a list".
    pub(crate) fn describe(&self) -> String {
        match &self.kind {
            Kind::Null => "nothing".to_owned(),
            Kind::Bool(value) => format!("the boolean {value}"),
            Kind::Int(value) => format!("the number {value}"),
            Kind::Float(value) => format!("the number {value}"),
            Kind::Text(text) => format!("`{}`", shorten(text)),
            Kind::List(_) => "a list".to_owned(),
            Kind::Map(_) => "a mapping".to_owned(),
        }
    }

    /// The value as JSON, for keys that are kept and not understood.
    pub(crate) fn to_json(&self) -> serde_json::Value {
        use serde_json::Value;
        match &self.kind {
            Kind::Null => Value::Null,
            Kind::Bool(value) => Value::Bool(*value),
            Kind::Int(value) => match (i64::try_from(*value), u64::try_from(*value)) {
                (Ok(number), _) => Value::from(number),
                (_, Ok(number)) => Value::from(number),
                _ => Value::String(value.to_string()),
            },
            Kind::Float(value) => serde_json::Number::from_f64(*value)
                .map_or_else(|| Value::String(value.to_string()), Value::Number),
            Kind::Text(text) => Value::String(text.clone()),
            Kind::List(items) => Value::Array(items.iter().map(Node::to_json).collect()),
            Kind::Map(map) => {
                Value::Object(map.iter().map(|(name, entry)| (name.clone(), entry.value.to_json())).collect())
            }
        }
    }
}

/// A long value in a message is cut: the message is for reading.
pub(crate) fn shorten(text: &str) -> String {
    const MOST: usize = 60;
    if text.chars().count() <= MOST {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(MOST).collect();
    short.push('…');
    short
}

impl Map {
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Node> {
        self.0.get(name).map(|entry| &entry.value)
    }

    pub(crate) fn entry(&self, name: &str) -> Option<&Entry> {
        self.0.get(name)
    }

    pub(crate) fn get_mut(&mut self, name: &str) -> Option<&mut Node> {
        self.0.get_mut(name).map(|entry| &mut entry.value)
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// Replaces in place, or adds at the end.
    pub(crate) fn set(&mut self, name: &str, key_at: &Location, value: Node) {
        self.0.insert(name.to_owned(), Entry { key_at: key_at.clone(), value });
    }

    pub(crate) fn remove(&mut self, name: &str) -> Option<Node> {
        self.0.shift_remove(name).map(|entry| entry.value)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&String, &Entry)> {
        self.0.iter()
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (&String, &mut Entry)> {
        self.0.iter_mut()
    }

    pub(crate) fn retain(&mut self, mut keep: impl FnMut(&String, &mut Entry) -> bool) {
        self.0.retain(|name, entry| keep(name, entry));
    }

    pub(crate) fn into_entries(self) -> impl Iterator<Item = (String, Entry)> {
        self.0.into_iter()
    }

    pub(crate) fn names(&self) -> Vec<String> {
        self.0.keys().cloned().collect()
    }
}
