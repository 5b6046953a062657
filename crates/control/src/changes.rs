//! What differs between what a container was made from and what is wanted now, for people.

use std::collections::BTreeMap;

use clos_domain::secret;
use serde_json::Value;

/// So many differences of a service are told, the rest is counted.
const TOLD: usize = 5;

/// A value is told up to so many characters.
const LONGEST: usize = 60;

/// A file that is copied into the container; its path follows.
const FILE: &str = "files.";

/// `environment.WORKER_NAME: w1 → w2, image: a → b`; `None` when nothing differs or one cannot be read.
pub(crate) fn between(made_from: &str, wanted: &str) -> Option<String> {
    let read = |text: &str| -> Option<BTreeMap<String, Value>> {
        let mut leaves = BTreeMap::new();
        flatten(String::new(), &serde_json::from_str(text).ok()?, &mut leaves);
        Some(leaves)
    };
    let (before, after) = (read(made_from)?, read(wanted)?);
    let names: std::collections::BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let mut lines = Vec::new();
    for name in names {
        let (old, new) = (before.get(name), after.get(name));
        if old.unwrap_or(&Value::Null) == new.unwrap_or(&Value::Null) {
            continue;
        }
        if name.starts_with(FILE) {
            lines.push(format!("{name}: {}", of_file(old, new)));
            continue;
        }
        let (from, to) = (shown(name, old), shown(name, new));
        // Equal once cut or masked: that it changed is all that can be told.
        let line = if from == to { format!("{name} changed") } else { format!("{name}: {from} → {to}") };
        lines.push(line);
    }
    if lines.is_empty() {
        return None;
    }
    let more = lines.len().saturating_sub(TOLD);
    lines.truncate(TOLD);
    if more > 0 {
        lines.push(format!("and {more} more"));
    }
    Some(lines.join(", "))
}

/// Maps become dotted names as a compose file has them; a list is one value.
fn flatten(name: String, value: &Value, leaves: &mut BTreeMap<String, Value>) {
    let fields = match value {
        Value::Object(fields) if !fields.is_empty() => fields,
        Value::Object(_) | Value::Null => return,
        Value::Array(files) if name == FILE.trim_end_matches('.') => {
            for file in files {
                let target = file.get("target").and_then(Value::as_str).unwrap_or_default();
                leaves.insert(format!("{FILE}{target}"), file.clone());
            }
            return;
        }
        leaf => {
            leaves.insert(name, leaf.clone());
            return;
        }
    };
    for (key, field) in fields {
        let inner = match (name.as_str(), key.as_str()) {
            ("", "run") | ("run", "container") => {
                flatten(if name.is_empty() { "run".into() } else { "container".into() }, field, leaves);
                continue;
            }
            ("", "name") => "container_name".to_owned(),
            ("", "working_dir") => "project folder".to_owned(),
            ("", "health") => "healthcheck".to_owned(),
            ("" | "container", key) => word(key).to_owned(),
            (outer, key) => format!("{outer}.{key}"),
        };
        flatten(inner, field, leaves);
    }
}

/// The key as the file has it.
fn word(key: &str) -> &str {
    match key {
        "mounts" => "volumes",
        "pull" => "pull_policy",
        other => other,
    }
}

/// What differs between two files of the same path. The digest of the content is not told: a short secret can be
/// guessed from it.
fn of_file(old: Option<&Value>, new: Option<&Value>) -> String {
    let (Some(old), Some(new)) = (old, new) else {
        return if new.is_some() { "added" } else { "removed" }.to_owned();
    };
    let number = |file: &Value, key: &str| {
        let number = file[key].as_u64().unwrap_or_default();
        if key == "mode" { format!("{number:04o}") } else { number.to_string() }
    };
    let mut words = Vec::new();
    if old["digest"] != new["digest"] {
        words.push("content changed".to_owned());
    }
    for key in ["uid", "gid", "mode"] {
        if old[key] != new[key] {
            words.push(format!("{key} {} → {}", number(old, key), number(new, key)));
        }
    }
    words.join(" and ")
}

fn shown(name: &str, value: Option<&Value>) -> String {
    let key = name.rsplit_once('.').map_or(name, |(_, key)| key);
    let text = match value {
        None | Some(Value::Null) => return "not set".to_owned(),
        Some(value) => text(name, value),
    };
    let is_map =
        ["environment.", "labels.", "build.args.", "build.labels."].iter().any(|map| name.starts_with(map));
    let text = if is_map { secret::masked(key, &text) } else { secret::masked("", &text) };
    if text.is_empty() {
        return "\"\"".to_owned();
    }
    let text = text.replace(['\n', '\r'], " ");
    if text.chars().count() <= LONGEST {
        return text;
    }
    let start: String = text.chars().take(LONGEST - 1).collect();
    format!("{start}…")
}

fn text(name: &str, value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(|item| item_text(name, item)).collect();
            let between = if matches!(name, "command" | "entrypoint") { " " } else { ", " };
            format!("[{}]", items.join(between))
        }
        other => other.to_string(),
    }
}

/// Ports, mounts and networks in the short form of the file.
fn item_text(name: &str, item: &Value) -> String {
    let field = |key: &str| item.get(key).map(|value| text("", value)).unwrap_or_default();
    match (name, item) {
        (_, Value::String(text)) => text.clone(),
        ("ports", Value::Object(_)) => {
            let ip = field("host_ip");
            let ip = if ip.is_empty() { ip } else { format!("{ip}:") };
            let protocol = match field("protocol").as_str() {
                "tcp" | "" => String::new(),
                other => format!("/{other}"),
            };
            format!("{ip}{}:{}{protocol}", field("host_port"), field("container_port"))
        }
        ("volumes", Value::Object(_)) => {
            let source = item.get("source").and_then(Value::as_str);
            let source = source.map(|source| format!("{source}:")).unwrap_or_default();
            let mode = if item.get("read_only") == Some(&Value::Bool(true)) { ":ro" } else { "" };
            format!("{source}{}{mode}", field("target"))
        }
        ("networks", Value::Object(_)) => field("network"),
        (_, other) => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made_from(environment: &str, ports: &str, container: &str) -> String {
        format!(
            r#"{{"name": "shop-web-1", "working_dir": "/x", "environment": {environment}, "ports": {ports},
                "run": {{"container": {container}}}}}"#
        )
    }

    #[test]
    fn a_difference_is_told_in_the_words_of_the_file() {
        let before = made_from(
            r#"{"WORKER_NAME": "w1", "OLD": "x", "DB_PASSWORD": "hunter2", "URL": "postgres://a:s3cret@db/x"}"#,
            r#"[{"container_port": 80, "host_port": 8088, "host_ip": "127.0.0.1", "protocol": "tcp"}]"#,
            r#"{"image": "a", "command": ["serve", "-v"], "mounts": []}"#,
        );
        let after = made_from(
            r#"{"WORKER_NAME": "w2", "DB_PASSWORD": "hunter3", "URL": "postgres://a:other@db/x"}"#,
            r#"[{"container_port": 80, "host_port": 8089, "host_ip": "127.0.0.1", "protocol": "tcp"}]"#,
            r#"{"image": "b", "command": ["serve", "-v"], "mounts": []}"#,
        );
        assert_eq!(
            between(&before, &after).unwrap(),
            "environment.DB_PASSWORD changed, environment.OLD: x → not set, environment.URL changed, \
             environment.WORKER_NAME: w1 → w2, image: a → b, and 1 more"
        );
        assert_eq!(between(&before, &before), None);
        assert_eq!(between("", &after), None);
    }

    #[test]
    fn lists_are_in_the_short_form() {
        let before =
            made_from("{}", "[]", r#"{"mounts": [{"kind": "volume", "source": "data", "target": "/data"}]}"#);
        let after = made_from(
            "{}",
            r#"[{"container_port": 53, "host_port": 53, "host_ip": "", "protocol": "udp"}]"#,
            r#"{"command": ["serve", "-v"], "mounts": [{"kind": "bind", "source": "/src", "target": "/data", "read_only": true}]}"#,
        );
        assert_eq!(
            between(&before, &after).unwrap(),
            "command: not set → [serve -v], ports: [] → [53:53/udp], volumes: [data:/data] → [/src:/data:ro]"
        );
    }

    #[test]
    fn of_a_copied_file_the_content_is_only_said_to_have_changed() {
        let files = |files: &str| made_from("{}", "[]", &format!(r#"{{"files": [{files}]}}"#));
        let before = files(
            r#"{"target": "/a", "digest": "d1", "uid": 0, "gid": 0, "mode": 292},
               {"target": "/old", "digest": "d1", "uid": 0, "gid": 0, "mode": 292},
               {"target": "/run/secrets/x", "digest": "d1", "uid": 0, "gid": 0, "mode": 292}"#,
        );
        let after = files(
            r#"{"target": "/a", "digest": "d1", "uid": 7, "gid": 0, "mode": 256},
               {"target": "/new", "digest": "d3", "uid": 0, "gid": 0, "mode": 292},
               {"target": "/run/secrets/x", "digest": "d2", "uid": 0, "gid": 0, "mode": 292}"#,
        );
        assert_eq!(
            between(&before, &after).unwrap(),
            "files./a: uid 0 → 7 and mode 0444 → 0400, files./new: added, files./old: removed, \
             files./run/secrets/x: content changed"
        );
        let none = made_from("{}", "[]", "{}");
        assert_eq!(between(&none, &files(r#"{"target": "/a"}"#)).unwrap(), "files./a: added");
    }
}
