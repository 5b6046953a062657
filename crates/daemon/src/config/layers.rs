//! Layers of settings, put one on the other.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use clos_telemetry::redact;
use serde_json::{Map, Value};

use super::{Config, Error, Setting};

/// What every variable of ours begins with.
const PREFIX: &str = "CLOSD_";

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Nobody said otherwise.
    Default,
    /// A configuration file.
    File(PathBuf),
    /// The configuration file of version 1.
    V1(PathBuf),
    /// A variable of the environment.
    Environment(String),
    /// A flag.
    Flag(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path) => write!(f, "{}", path.display()),
            Self::V1(path) => write!(f, "{} (version 1)", path.display()),
            Self::Environment(name) => write!(f, "environment {name}"),
            Self::Flag(flag) => write!(f, "flag {flag}"),
        }
    }
}

/// A key that does not exist or a value that cannot be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where it stands.
    pub origin: Origin,
    /// Which setting.
    pub key: String,
    /// What is wrong, and the way out.
    pub why: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.origin, self.key, self.why)
    }
}

/// Settings from one place.
#[derive(Debug, Clone, Default)]
pub struct Layer {
    entries: Vec<Entry>,
}

#[derive(Debug, Clone)]
struct Entry {
    key: String,
    given: Given,
    origin: Origin,
}

/// A value as it came.
#[derive(Debug, Clone)]
enum Given {
    /// With a type, from a file.
    Value(Value),
    /// As text, from the environment or a flag: its type is what the setting wants.
    Text(String),
}

impl Layer {
    pub(crate) fn with(mut self, key: &str, value: Value, origin: Origin) -> Self {
        self.entries.push(Entry { key: key.to_owned(), given: Given::Value(value), origin });
        self
    }

    /// The settings of a YAML file.
    pub(crate) fn of_yaml(path: &Path, text: &str) -> Result<Self, Error> {
        let malformed = |why: String| Error::Malformed { path: path.display().to_string(), why };
        let origin = Origin::File(path.to_owned());
        let mut layer = Self::default();
        for (section, value) in mapping(text).map_err(malformed)? {
            match value {
                Value::Object(keys) => {
                    for (key, value) in keys {
                        layer = layer.with(&format!("{section}.{key}"), value, origin.clone());
                    }
                }
                // A section of which every line is a comment.
                Value::Null => {}
                value => layer = layer.with(&section, value, origin.clone()),
            }
        }
        Ok(layer)
    }

    /// `CLOSD_SERVER__MAX_CONNECTIONS` is `server.max_connections`.
    pub(crate) fn of_environment(environment: &BTreeMap<String, String>) -> Self {
        let entries = environment.iter().filter_map(|(name, value)| {
            let key = name.strip_prefix(PREFIX)?.to_ascii_lowercase().replacen("__", ".", 1);
            Some(Entry { key, given: Given::Text(value.clone()), origin: Origin::Environment(name.clone()) })
        });
        Self { entries: entries.collect() }
    }

    /// Flags: as typed, key, value.
    pub(crate) fn of_flags(flags: &[(String, String, String)]) -> Self {
        let entries = flags.iter().map(|(flag, key, value)| Entry {
            key: key.clone(),
            given: Given::Text(value.clone()),
            origin: Origin::Flag(flag.clone()),
        });
        Self { entries: entries.collect() }
    }
}

/// The mapping that a YAML text is; an empty text is an empty one.
pub(crate) fn mapping(text: &str) -> Result<Map<String, Value>, String> {
    let options =
        serde_saphyr::options! { strict_booleans: true, legacy_octal_numbers: true, with_snippet: false };
    match serde_saphyr::from_str_with_options(text, options) {
        Ok(Value::Object(map)) => Ok(map),
        Ok(Value::Null) => Ok(Map::new()),
        Ok(_) => Err("it is not a mapping of sections".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// Puts the layers on the defaults, the later over the earlier.
pub(crate) fn merge(layers: &[Layer]) -> Result<(Config, Vec<Setting>), Error> {
    let defaults = tree(&Config::default());
    let mut settings = leaves(&defaults);
    let mut merged = defaults.clone();
    let mut problems = Vec::new();

    for entry in layers.iter().flat_map(|layer| &layer.entries) {
        let Some(at) = settings.iter().position(|setting| setting.key == entry.key) else {
            let why = unknown(entry, &settings);
            problems.push(Problem { origin: entry.origin.clone(), key: entry.key.clone(), why });
            continue;
        };
        match fitting(&defaults, entry) {
            Ok(value) => {
                set(&mut merged, &entry.key, value.clone());
                settings[at].value = value;
                settings[at].origin = entry.origin.clone();
            }
            Err(why) => problems.push(Problem { origin: entry.origin.clone(), key: entry.key.clone(), why }),
        }
    }
    if !problems.is_empty() {
        return Err(Error::Invalid(problems));
    }
    let config = serde_json::from_value(merged).map_err(|error| {
        let problem = Problem { origin: Origin::Default, key: String::new(), why: error.to_string() };
        Error::Invalid(vec![problem])
    })?;
    Ok((config, settings))
}

/// The value as the setting holds it, or what is wrong with it: each is tried by
/// itself on the defaults, so that every wrong one is found.
fn fitting(defaults: &Value, entry: &Entry) -> Result<Value, String> {
    let try_on = |value: Value| -> Result<Value, serde_json::Error> {
        let mut tree = defaults.clone();
        set(&mut tree, &entry.key, value);
        let config: Config = serde_json::from_value(tree)?;
        // Written the way we write it: `8080` becomes `127.0.0.1:8080`.
        Ok(get(&self::tree(&config), &entry.key).cloned().unwrap_or_default())
    };
    let cannot = |shown: &str, error: &serde_json::Error| {
        format!("`{}` cannot be used: {}", redact(shown), redact(&error.to_string()))
    };
    match &entry.given {
        Given::Value(value) => try_on(value.clone()).map_err(|error| {
            let shown = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            cannot(&shown, &error)
        }),
        Given::Text(text) => {
            if get(defaults, &entry.key).is_some_and(Value::is_array) {
                let words = text.split(',').map(str::trim).filter(|word| !word.is_empty());
                return try_on(words.collect()).map_err(|error| cannot(text, &error));
            }
            let scalar = match text.as_str() {
                "true" => Some(Value::Bool(true)),
                "false" => Some(Value::Bool(false)),
                number => number.parse::<u64>().ok().map(Value::from),
            };
            if let Some(Ok(value)) = scalar.map(&try_on) {
                return Ok(value);
            }
            try_on(Value::String(text.clone())).map_err(|error| cannot(text, &error))
        }
    }
}

fn unknown(entry: &Entry, settings: &[Setting]) -> String {
    // A whole section that is no mapping is not unknown.
    let is_section = settings.iter().any(|setting| setting.key.starts_with(&format!("{}.", entry.key)));
    if is_section {
        return "this is a section; its settings stand below it".to_owned();
    }
    let nearest = settings
        .iter()
        .map(|setting| (strsim::damerau_levenshtein(&setting.key, &entry.key), setting.key.as_str()))
        .min()
        .filter(|(distance, key)| *distance <= (key.len() / 3).max(2));
    let same_name = || {
        let name = entry.key.rsplit('.').next()?;
        settings.iter().map(|setting| setting.key.as_str()).find(|key| key.rsplit('.').next() == Some(name))
    };
    match nearest.map(|(_, key)| key).or_else(same_name) {
        Some(key) => {
            let shown = match entry.origin {
                Origin::Environment(_) => {
                    format!("{PREFIX}{}", key.replacen('.', "__", 1).to_ascii_uppercase())
                }
                _ => key.to_owned(),
            };
            format!("there is no such setting; did you mean `{shown}`?")
        }
        None => "there is no such setting; `closd config` lists them".to_owned(),
    }
}

/// The configuration as a tree of values.
fn tree(config: &Config) -> Value {
    serde_json::to_value(config).expect("sections are made of words, numbers and lists")
}

fn leaves(tree: &Value) -> Vec<Setting> {
    let leaf = |key: String, value: &Value| Setting { key, value: value.clone(), origin: Origin::Default };
    let mut found = Vec::new();
    for (section, value) in tree.as_object().into_iter().flatten() {
        match value {
            Value::Object(keys) => {
                found.extend(keys.iter().map(|(key, value)| leaf(format!("{section}.{key}"), value)));
            }
            value => found.push(leaf(section.clone(), value)),
        }
    }
    found
}

fn get<'a>(tree: &'a Value, key: &str) -> Option<&'a Value> {
    key.split('.').try_fold(tree, |tree, part| tree.get(part))
}

fn set(tree: &mut Value, key: &str, value: Value) {
    let mut place = tree;
    for part in key.split('.') {
        place = &mut place[part];
    }
    *place = value;
}
