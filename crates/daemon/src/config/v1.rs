//! What of version 1's `config.yaml` still means something.
//!
//! The database is never taken over, port ranges and groups come with
//! `clos migrate`, and the dashboard's address was another server's.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::layers::{self, Layer, Origin};

/// What version 1 wrote into every new file: it says nothing about where the engine is.
const WRITTEN_BY_DEFAULT: &str = "unix:///var/run/docker.sock";

/// The settings that map; whatever else stands in the file is not ours to judge.
pub(crate) fn layer(path: &Path, text: &str, user_home: Option<&Path>) -> Result<Layer, String> {
    let file = layers::mapping(text)?;
    let word = |section: &str, key: &str| {
        let word = file.get(section)?.get(key)?.as_str()?.trim();
        (!word.is_empty()).then(|| word.to_owned())
    };
    let origin = || Origin::V1(path.to_owned());
    let mut layer = Layer::default();
    if let Some(host) = word("docker", "host").filter(|host| host != WRITTEN_BY_DEFAULT) {
        layer = layer.with("engine.host", Value::String(host), origin());
    }
    if let Some(level) = word("logging", "level").map(|level| level.to_ascii_lowercase()) {
        let level = match level.as_str() {
            "warning" => "warn",
            "fatal" | "panic" => "error",
            other => other,
        };
        if ["error", "warn", "info", "debug", "trace"].contains(&level) {
            layer = layer.with("log.level", Value::from(level), origin());
        }
    }
    if let Some(format) =
        word("logging", "format").filter(|format| ["text", "json"].contains(&format.as_str()))
    {
        layer = layer.with("log.format", Value::String(format), origin());
    }
    if let Some(file) = word("logging", "file").and_then(|file| absolute(&file, user_home)) {
        layer = layer.with("log.file", Value::String(file), origin());
    }
    Ok(layer)
}

/// Version 1 took paths relative to wherever it was called; those mean nothing to a daemon.
fn absolute(file: &str, user_home: Option<&Path>) -> Option<String> {
    let path = match (file.strip_prefix("~/"), user_home) {
        (Some(rest), Some(home)) => home.join(rest),
        _ => PathBuf::from(file),
    };
    path.is_absolute().then(|| path.to_string_lossy().into_owned())
}
