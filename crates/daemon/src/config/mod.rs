//! What holds, and where each value comes from.
//!
//! Five layers, the later over the earlier: the defaults, v1's `config.yaml` as
//! far as it maps, `closd.yaml`, the environment (`CLOSD_<SECTION>__<KEY>`), the
//! flags. Every wrong key and every wrong value is named at once, with the layer
//! it came from.

mod layers;
mod sections;
mod show;
mod v1;
mod values;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

pub use layers::{Layer, Origin, Problem};
pub use sections::{Config, Engine, Journal, Log, Operations, Server, Store, Telemetry};
pub use values::{Listen, LogFormat, Span};

/// Bytes of a configuration file; a larger one is none.
const FILE_LIMIT: u64 = 1024 * 1024;

/// Where to look.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// The state folder.
    pub home: PathBuf,
    /// The user's home folder, for `~`.
    pub user_home: Option<PathBuf>,
    /// A file that was named; it has to exist. Else `closd.yaml` of the state folder, if there is one.
    pub file: Option<PathBuf>,
    /// The process's environment.
    pub environment: BTreeMap<String, String>,
    /// Flags: the flag as it was typed, its key, and its value.
    pub flags: Vec<(String, String, String)>,
}

/// What holds, with the origin of each value.
#[derive(Debug, Clone)]
pub struct Effective {
    /// What holds.
    pub config: Config,
    /// Key, value and origin of every setting, in the order of the sections.
    pub settings: Vec<Setting>,
    /// The configuration file that was read or would be.
    pub file: PathBuf,
    /// What is odd and no reason to stop.
    pub warnings: Vec<String>,
}

/// One value and where it comes from.
#[derive(Debug, Clone, PartialEq)]
pub struct Setting {
    /// `server.listen`.
    pub key: String,
    /// As JSON.
    pub value: serde_json::Value,
    /// Where it comes from.
    pub origin: Origin,
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file cannot be read.
    #[error("{path} cannot be read")]
    Unreadable {
        /// Which.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A file is no YAML mapping.
    #[error("{path}: {why}")]
    Malformed {
        /// Which.
        path: String,
        /// The parser's words, with the place.
        why: String,
    },
    /// Settings that are not there or have impossible values, all of them.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Invalid(Vec<Problem>),
}

/// Reads every layer.
///
/// # Errors
/// A file that cannot be read, or everything that is wrong in all layers.
pub fn load(sources: &Sources) -> Result<Effective, Error> {
    let file = sources.file.clone().unwrap_or_else(|| sources.home.join("closd.yaml"));
    let mut warnings = Vec::new();
    let mut layers = Vec::new();

    let v1_file = sources.home.join("config.yaml");
    match read(&v1_file) {
        Ok(Some(text)) => match v1::layer(&v1_file, &text, sources.user_home.as_deref()) {
            Ok(layer) => layers.push(layer),
            Err(why) => warnings.push(format!("{} of version 1 is passed over: {why}", v1_file.display())),
        },
        Ok(None) => {}
        Err(error) => warnings.push(format!("{} of version 1 is passed over: {error}", v1_file.display())),
    }
    match read(&file).map_err(|source| unreadable(&file, source))? {
        Some(text) => layers.push(Layer::of_yaml(&file, &text)?),
        None if sources.file.is_some() => {
            return Err(unreadable(&file, std::io::Error::from(std::io::ErrorKind::NotFound)));
        }
        None => {}
    }
    layers.push(Layer::of_environment(&sources.environment));
    layers.push(Layer::of_flags(&sources.flags));

    let (mut config, settings) = layers::merge(&layers)?;
    config.expand(sources.user_home.as_deref());
    let problems = config.problems(&settings, sources.user_home.as_deref());
    if !problems.is_empty() {
        return Err(Error::Invalid(problems));
    }
    Ok(Effective { config, settings, file, warnings })
}

impl Effective {
    /// Where a value comes from.
    pub fn origin(&self, key: &str) -> &Origin {
        let found = self.settings.iter().find(|setting| setting.key == key);
        found.map_or(&Origin::Default, |setting| &setting.origin)
    }

    /// The configuration as a file, each value with its origin behind it and, if
    /// wanted, its explanation above it. Credentials are masked.
    pub fn render(&self, explain: bool) -> String {
        show::render(self, explain)
    }
}

fn read(path: &Path) -> std::io::Result<Option<String>> {
    use std::io::Read as _;

    let file = match std::fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut text = String::new();
    file.take(FILE_LIMIT + 1).read_to_string(&mut text)?;
    if u64::try_from(text.len()).is_ok_and(|length| length <= FILE_LIMIT) {
        return Ok(Some(text));
    }
    Err(std::io::Error::other(format!("it has more than {FILE_LIMIT} bytes")))
}

fn unreadable(path: &Path, source: std::io::Error) -> Error {
    Error::Unreadable { path: path.display().to_string(), source }
}

#[cfg(test)]
mod tests;
