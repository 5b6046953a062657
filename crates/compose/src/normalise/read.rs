//! Reading one value as what it has to be, or saying what it is instead.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::environment::{Environment, Unknown};
use crate::finding::{Code, Finding, Findings, Key, Severity};
use crate::interpolate::Lookup;
use crate::keys;
use crate::model::{ExtraHost, Ulimit};
use crate::node::{Entry, Kind, Map, Node};
use crate::scalar;
use crate::units;

/// Reads values and notes what is wrong with them. What still waits for a variable, and what was told already,
/// is `pending` and passes in silence.
pub(super) struct Reader<'f> {
    pub(super) findings: &'f mut Findings,
    pub(super) unknown: &'f mut Unknown,
    pub(super) environment: &'f Environment<'f>,
    pub(super) profiles: &'f [String],
    /// Whether what is read is in an active profile.
    pub(super) takes_part: bool,
}

impl Reader<'_> {
    /// The value of a variable that is named outside of `${…}`.
    pub(super) fn variable(&mut self, name: &str) -> Option<String> {
        match self.unknown.look(self.environment, name) {
            Lookup::Value(value) => Some(value),
            Lookup::Unset | Lookup::Unknown(_) => None,
        }
    }

    pub(super) fn error(&mut self, code: Code, node: &Node, key: &Key, message: impl Into<String>) {
        if !node.pending {
            self.findings.error(code, &node.at, key, message);
        }
    }

    fn wrong(&mut self, what: &str, node: &Node, key: &Key) {
        self.error(Code::WrongType, node, key, format!("{what} is expected and this is {}", node.describe()));
    }

    fn expected<T>(&mut self, what: &str, node: &Node, key: &Key) -> Option<T> {
        self.wrong(what, node, key);
        None
    }

    pub(super) fn unknown(&mut self, name: &str, entry: &Entry, key: &Key) {
        let message = keys::unknown(key, name, "unknown key");
        self.findings.error(Code::UnknownKey, &entry.key_at, &key.child(name), message);
    }

    /// What is in a profile that nobody asked for may be what it likes.
    pub(super) fn unsupported(&mut self, name: &str, entry: &Entry, key: &Key) {
        let own = key.child(name);
        let Some(known) = keys::unsupported(&own) else { return };
        let severity = if self.takes_part { known.severity } else { Severity::Warning };
        let finding = Finding::warning(Code::UnsupportedKey, &entry.key_at, &own, known.message);
        self.findings.push(Finding { severity, ..finding });
        if severity == Severity::Warning {
            self.passed_over(&entry.value, &own);
        }
    }

    /// Nothing is done with what is below; a misspelt key in it is an error all the same, as it is for Compose.
    pub(super) fn passed_over(&mut self, node: &Node, key: &Key) {
        keys::unknown_below(node, key, &mut |name, entry, key| self.unknown(name, entry, key));
    }

    pub(super) fn map<'n>(&mut self, node: &'n Node, key: &Key) -> Option<&'n Map> {
        node.as_map().or_else(|| self.expected("a mapping", node, key))
    }

    pub(super) fn list<'n>(&mut self, node: &'n Node, key: &Key) -> Option<&'n [Node]> {
        node.as_list().or_else(|| self.expected("a list", node, key))
    }

    pub(super) fn text(&mut self, node: &Node, key: &Key) -> Option<String> {
        if node.pending {
            return None;
        }
        match &node.kind {
            Kind::Text(text) => Some(text.clone()),
            Kind::Bool(_) | Kind::Int(_) | Kind::Float(_) => {
                let message =
                    format!("a string is expected and this is {}; put it in quotes", node.describe());
                self.error(Code::WrongType, node, key, message);
                None
            }
            _ => self.expected("a string", node, key),
        }
    }

    /// A string, or a number taken as one.
    pub(super) fn text_or_number(&mut self, node: &Node, key: &Key) -> Option<String> {
        match &node.kind {
            Kind::Int(_) | Kind::Float(_) => scalar::to_text(&node.kind),
            _ => self.text(node, key),
        }
    }

    /// An empty string is as good as nothing.
    pub(super) fn some_text(&mut self, node: &Node, key: &Key) -> Option<String> {
        self.text(node, key).filter(|text| !text.is_empty())
    }

    pub(super) fn texts(&mut self, node: &Node, key: &Key) -> Vec<String> {
        let mut texts = Vec::new();
        for (index, item) in self.list(node, key).unwrap_or_default().iter().enumerate() {
            texts.extend(self.text(item, &key.item(index)));
        }
        texts
    }

    pub(super) fn texts_or_numbers(&mut self, node: &Node, key: &Key) -> Vec<String> {
        let mut texts = Vec::new();
        for (index, item) in self.list(node, key).unwrap_or_default().iter().enumerate() {
            texts.extend(self.text_or_number(item, &key.item(index)));
        }
        texts
    }

    pub(super) fn text_or_texts(&mut self, node: &Node, key: &Key) -> Vec<String> {
        match &node.kind {
            Kind::Text(_) => self.text(node, key).into_iter().collect(),
            Kind::List(_) => self.texts(node, key),
            _ => self.expected::<Vec<String>>("a string or a list of strings", node, key).unwrap_or_default(),
        }
    }

    /// `true` and `false`, and with a remark the words of YAML 1.1.
    pub(super) fn boolean(&mut self, node: &Node, key: &Key) -> Option<bool> {
        let word = match &node.kind {
            Kind::Bool(value) => return Some(*value),
            Kind::Text(word) if !node.pending => word.to_lowercase(),
            _ => return self.expected("true or false", node, key),
        };
        let value = match word.as_str() {
            "true" => return Some(true),
            "false" => return Some(false),
            "y" | "yes" | "on" => true,
            "n" | "no" | "off" => false,
            _ => return self.expected("true or false", node, key),
        };
        let message = format!("`{word}` is read as {value}; write `{value}`");
        self.findings.warning(Code::Deprecated, &node.at, key, message);
        Some(value)
    }

    pub(super) fn integer(&mut self, node: &Node, key: &Key) -> Option<i64> {
        let number = match &node.kind {
            Kind::Int(number) => i64::try_from(*number).ok(),
            // A cast below 2^53 keeps a whole number whole.
            Kind::Float(number) if number.fract() == 0.0 && number.abs() < 9e15 => Some(*number as i64),
            Kind::Text(text) if !node.pending => text.parse().ok(),
            _ => None,
        };
        number.or_else(|| self.expected("a whole number", node, key))
    }

    pub(super) fn count(&mut self, node: &Node, key: &Key) -> Option<u64> {
        let number = self.integer(node, key)?;
        u64::try_from(number).ok().or_else(|| {
            self.error(Code::InvalidValue, node, key, format!("{number} is below zero"));
            None
        })
    }

    pub(super) fn float(&mut self, node: &Node, key: &Key) -> Option<f64> {
        let number = match &node.kind {
            // What has more digits than a float is no number of cores.
            Kind::Int(number) => Some(*number as f64),
            Kind::Float(number) => Some(*number),
            Kind::Text(text) if !node.pending => text.parse().ok(),
            _ => None,
        };
        number.filter(|number| number.is_finite()).or_else(|| self.expected("a number", node, key))
    }

    pub(super) fn duration(&mut self, node: &Node, key: &Key) -> Option<Duration> {
        let text = self.text(node, key)?;
        units::duration(&text).or_else(|| {
            let message = format!("`{text}` is not a duration; write it as `90s` or `1m30s`");
            self.error(Code::InvalidValue, node, key, message);
            None
        })
    }

    pub(super) fn bytes(&mut self, node: &Node, key: &Key) -> Option<i64> {
        let text = self.text_or_number(node, key)?;
        units::bytes(&text).or_else(|| {
            let message = format!("`{text}` is not a size; write it as `512m` or `1g`");
            self.error(Code::InvalidValue, node, key, message);
            None
        })
    }

    /// `0440`, `"0440"`.
    pub(super) fn file_mode(&mut self, node: &Node, key: &Key) -> Option<u32> {
        let mode = match &node.kind {
            Kind::Int(number) => u32::try_from(*number).ok(),
            Kind::Text(text) if !node.pending => {
                let digits = text.strip_prefix("0o").unwrap_or(text);
                u32::from_str_radix(digits, 8).ok()
            }
            _ => None,
        };
        mode.filter(|mode| *mode <= 0o7777).or_else(|| self.expected("a file mode as `0440`", node, key))
    }

    /// `{A: 1, B: }` or `[A=1, B]`.
    pub(super) fn pairs(&mut self, node: &Node, key: &Key) -> BTreeMap<String, Option<String>> {
        let mut pairs = BTreeMap::new();
        match &node.kind {
            Kind::Map(map) => {
                for (name, entry) in map.iter() {
                    let (value, key) = (&entry.value, key.child(name));
                    match &value.kind {
                        _ if value.pending => {}
                        Kind::Null => drop(pairs.insert(name.clone(), None)),
                        Kind::List(_) | Kind::Map(_) => self.wrong("a single value", value, &key),
                        kind => drop(pairs.insert(name.clone(), scalar::to_text(kind))),
                    }
                }
            }
            Kind::List(items) => {
                for (index, item) in items.iter().enumerate() {
                    let key = key.item(index);
                    let Some(text) = self.text(item, &key) else { continue };
                    let (name, value) = match text.split_once('=') {
                        Some((name, value)) => (name, Some(value.to_owned())),
                        None => (text.as_str(), None),
                    };
                    if name.ends_with(char::is_whitespace) {
                        let message = format!("the name `{}` ends in a space", name.trim_end());
                        self.error(Code::InvalidName, item, &key, message);
                        continue;
                    }
                    pairs.insert(name.to_owned(), value);
                }
            }
            _ => self.wrong("a mapping or a list of `NAME=value`", node, key),
        }
        if pairs.remove("").is_some() {
            self.error(Code::InvalidName, node, key, "a value has an empty name");
        }
        pairs
    }

    /// The same where nothing means the empty string.
    pub(super) fn labels(&mut self, node: &Node, key: &Key) -> BTreeMap<String, String> {
        self.pairs(node, key).into_iter().map(|(name, value)| (name, value.unwrap_or_default())).collect()
    }

    /// A mapping of names to single values.
    pub(super) fn options(&mut self, node: &Node, key: &Key) -> BTreeMap<String, String> {
        if self.map(node, key).is_none() { BTreeMap::new() } else { self.labels(node, key) }
    }

    pub(super) fn ulimits(&mut self, node: &Node, key: &Key) -> BTreeMap<String, Ulimit> {
        let mut limits = BTreeMap::new();
        let Some(map) = self.map(node, key) else { return limits };
        for (name, entry) in map.iter() {
            let key = key.child(name);
            let limit = match &entry.value.kind {
                Kind::Map(map) => {
                    for (field, entry) in map.iter() {
                        if !["soft", "hard"].contains(&field.as_str()) && !field.starts_with("x-") {
                            self.unknown(field, entry, &key);
                        }
                    }
                    let mut each = |field: &str| match map.get(field) {
                        Some(node) => self.integer(node, &key.child(field)),
                        None => {
                            self.error(Code::MissingKey, &entry.value, &key, format!("`{field}` is missing"));
                            None
                        }
                    };
                    each("soft").zip(each("hard")).map(|(soft, hard)| Ulimit::Each { soft, hard })
                }
                _ => self.integer(&entry.value, &key).map(Ulimit::Both),
            };
            limits.extend(limit.map(|limit| (name.clone(), limit)));
        }
        limits
    }

    /// `[host=address]`, `[host:address]`, `{host: address}`, `{host: [address]}`.
    pub(super) fn extra_hosts(&mut self, node: &Node, key: &Key) -> Vec<ExtraHost> {
        let mut hosts = Vec::new();
        let mut add = |host: &str, address: &str| {
            let bare = address.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(address);
            hosts.push(ExtraHost { host: host.to_owned(), address: bare.to_owned() });
        };
        match &node.kind {
            Kind::Map(map) => {
                for (host, entry) in map.iter() {
                    let key = key.child(host);
                    if host.is_empty() || host.contains([':', '=']) {
                        self.error(
                            Code::InvalidName,
                            &entry.value,
                            &key,
                            format!("`{host}` is not a host name"),
                        );
                        continue;
                    }
                    for address in self.text_or_texts(&entry.value, &key) {
                        add(host, &address);
                    }
                }
            }
            Kind::List(items) => {
                for (index, item) in items.iter().enumerate() {
                    let key = key.item(index);
                    let Some(text) = self.text(item, &key) else { continue };
                    let Some((host, addresses)) = text.split_once('=').or_else(|| text.split_once(':'))
                    else {
                        self.error(
                            Code::InvalidValue,
                            item,
                            &key,
                            format!("`{text}` names no address: `host=address`"),
                        );
                        continue;
                    };
                    if host.is_empty() || host.contains(':') {
                        self.error(Code::InvalidName, item, &key, format!("`{host}` is not a host name"));
                        continue;
                    }
                    for address in addresses.split(',') {
                        add(host, address);
                    }
                }
            }
            _ => self.wrong("a mapping or a list of `host=address`", node, key),
        }
        hosts
    }
}
