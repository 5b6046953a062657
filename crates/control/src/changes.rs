//! Finds what differs between what a container was made from and what is wanted now.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use clos_domain::plan::Change;
use clos_domain::secret;
use serde_json::Value;

/// A value is told up to so many characters.
const LONGEST: usize = 60;

/// The key of a container's name.
const NAME: &str = "container_name";

/// A file that is copied into the container; its path follows.
const FILE: &str = "files.";

/// `None` when nothing differs or one of the two cannot be read.
pub(crate) fn between(made_from: &str, wanted: &str) -> Option<Vec<Change>> {
    let read = |text: &str| -> Option<BTreeMap<String, Value>> {
        let mut leaves = BTreeMap::new();
        flatten(String::new(), &serde_json::from_str(text).ok()?, &mut leaves);
        Some(leaves)
    };
    let (before, after) = (read(made_from)?, read(wanted)?);
    let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let mut changes = Vec::new();
    for name in names {
        let (old, new) = (before.get(name), after.get(name));
        if old.unwrap_or(&Value::Null) == new.unwrap_or(&Value::Null) {
            continue;
        }
        if name.starts_with(FILE) {
            of_file(name, old, new, &mut changes);
        } else {
            changes.push(Change { field: name.clone(), from: shown(name, old), to: shown(name, new) });
        }
    }
    // The container's name is an alias in its networks: one change is enough to tell it.
    let is_renamed = changes.iter().any(|change| change.field == NAME);
    changes.retain(|change| !(is_renamed && change.field == "networks" && change.from == change.to));
    Some(changes).filter(|changes| !changes.is_empty())
}

/// Maps become dotted names as a compose file has them; a list is one value.
fn flatten(name: String, value: &Value, leaves: &mut BTreeMap<String, Value>) {
    let fields = match value {
        Value::Object(fields) if !fields.is_empty() => match span(fields) {
            Some(span) => {
                leaves.insert(in_the_file(&name).to_owned(), Value::String(span));
                return;
            }
            None => fields,
        },
        Value::Object(_) | Value::Null => return,
        Value::Array(files) if name == FILE.trim_end_matches('.') => {
            for file in files {
                let target = file.get("target").and_then(Value::as_str).unwrap_or_default();
                leaves.insert(format!("{FILE}{target}"), file.clone());
            }
            return;
        }
        Value::String(policy) if name == "restart" => {
            leaves.insert(name, Value::String(policy.replace('_', "-")));
            return;
        }
        Value::Number(millis) if name == "limits.cpu_millis" => {
            let cpus = millis.as_f64().unwrap_or_default() / 1_000.0;
            leaves.insert("cpus".to_owned(), Value::String(cpus.to_string()));
            return;
        }
        leaf => {
            leaves.insert(in_the_file(&name).to_owned(), leaf.clone());
            return;
        }
    };
    if let Some(policy) = fields.get("on_failure").filter(|_| name == "restart") {
        let times = policy["max_retries"].as_u64().filter(|times| *times > 0);
        let times = times.map(|times| format!(":{times}")).unwrap_or_default();
        leaves.insert(name, Value::String(format!("on-failure{times}")));
        return;
    }
    for (key, field) in fields {
        let inner = match (name.as_str(), key.as_str()) {
            ("", "run") | ("run", "container") => {
                flatten(if name.is_empty() { "run".into() } else { "container".into() }, field, leaves);
                continue;
            }
            ("", "name") => NAME.to_owned(),
            ("", "working_dir") => "project folder".to_owned(),
            ("", "health") => "healthcheck".to_owned(),
            ("" | "container", key) => word(key).to_owned(),
            (outer, key) => format!("{outer}.{key}"),
        };
        flatten(inner, field, leaves);
    }
}

/// `90s`, of what is kept as seconds and nanoseconds.
fn span(fields: &serde_json::Map<String, Value>) -> Option<String> {
    let (Some(seconds), Some(nanos), 2) = (fields.get("secs"), fields.get("nanos"), fields.len()) else {
        return None;
    };
    Some(format!("{:?}", Duration::new(seconds.as_u64()?, u32::try_from(nanos.as_u64()?).ok()?)))
}

/// Of what is kept under another name: the key as the file has it.
fn in_the_file(name: &str) -> &str {
    match name {
        "stop.grace" => "stop_grace_period",
        "stop.signal" => "stop_signal",
        "limits.memory" => "mem_limit",
        "limits.memory_reservation" => "mem_reservation",
        "limits.memory_swap" => "memswap_limit",
        "limits.pids" => "pids_limit",
        "limits.cpuset" => "cpuset",
        "limits.cpu_shares" => "cpu_shares",
        "healthcheck.test.command.argv" => "healthcheck.test",
        other => other,
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
fn of_file(name: &str, old: Option<&Value>, new: Option<&Value>, changes: &mut Vec<Change>) {
    let mask = || Some(secret::MASK.to_owned());
    let (Some(old), Some(new)) = (old, new) else {
        let (from, to) = (old.and_then(|_| mask()), new.and_then(|_| mask()));
        changes.push(Change { field: name.to_owned(), from, to });
        return;
    };
    if old["digest"] != new["digest"] {
        changes.push(Change { field: format!("{name}.content"), from: mask(), to: mask() });
    }
    let number = |file: &Value, key: &str| {
        let number = file[key].as_u64().unwrap_or_default();
        Some(if key == "mode" { format!("{number:04o}") } else { number.to_string() })
    };
    for key in ["uid", "gid", "mode"] {
        if old[key] != new[key] {
            changes.push(Change {
                field: format!("{name}.{key}"),
                from: number(old, key),
                to: number(new, key),
            });
        }
    }
}

fn shown(name: &str, value: Option<&Value>) -> Option<String> {
    let key = name.rsplit_once('.').map_or(name, |(_, key)| key);
    let text = match value {
        None | Some(Value::Null) => return None,
        Some(Value::Array(words)) if matches!(name, "command" | "entrypoint") => {
            let words: Vec<String> = words.iter().map(|word| text("", word)).collect();
            format!("[{}]", secret::masked_words(&words).join(" "))
        }
        Some(value) => text(name, value),
    };
    let is_map =
        ["environment.", "labels.", "build.args.", "build.labels."].iter().any(|map| name.starts_with(map));
    let text = match name.split_once("options.") {
        Some(("logging.", option)) => secret::masked_option(option, &text),
        _ if is_map => secret::masked(key, &text),
        _ => secret::masked("", &text),
    };
    let text = text.replace(['\n', '\r'], " ");
    if text.chars().count() <= LONGEST {
        return Some(text);
    }
    let start: String = text.chars().take(LONGEST - 1).collect();
    Some(format!("{start}…"))
}

fn text(name: &str, value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(|item| item_text(name, item)).collect();
            format!("[{}]", items.join(", "))
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
    use clos_domain::plan::change;

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
            change::sentence(&between(&before, &after).unwrap()),
            "environment.DB_PASSWORD changed, environment.OLD: x → not set, environment.URL changed, \
             environment.WORKER_NAME: w1 → w2, image: a → b, and 1 more"
        );
        assert_eq!(between(&before, &before), None);
        assert_eq!(between("", &after), None);
    }

    #[test]
    fn keys_and_values_are_those_of_the_file() {
        let of = |check: &str, restart: &str, grace: &str, limits: &str| {
            format!(
                r#"{{"name": "x", "health": {{"test": {{"command": {{"argv": {check}}}}}, "interval": {{"secs": 1, "nanos": 500000000}}}},
                    "restart": {restart}, "stop": {{"signal": null, "grace": {grace}}}, "limits": {limits}}}"#
            )
        };
        let before = of(r#"["true"]"#, r#""unless_stopped""#, "null", "{}");
        let after = of(
            r#"["CMD", "x"]"#,
            r#"{"on_failure": {"max_retries": 3}}"#,
            r#"{"secs": 90, "nanos": 0}"#,
            r#"{"memory": 1024, "cpu_millis": 1500}"#,
        )
        .replace("500000000", "0");
        let mut told: Vec<String> =
            between(&before, &after).unwrap().chunks(1).map(change::sentence).collect();
        told.sort();
        assert_eq!(
            told,
            [
                "cpus: not set → 1.5",
                "healthcheck.interval: 1.5s → 1s",
                "healthcheck.test: [true] → [CMD, x]",
                "mem_limit: not set → 1024",
                "restart: unless-stopped → on-failure:3",
                "stop_grace_period: not set → 90s",
            ]
        );
    }

    #[test]
    fn a_renamed_container_is_one_change() {
        let of = |name: &str| {
            format!(
                r#"{{"name": "{name}", "run": {{"container": {{"networks": [{{"network": "shop_default", "aliases": ["{name}", "web"]}}]}}}}}}"#
            )
        };
        let changes = between(&of("shop-web-1"), &of("front")).unwrap();
        assert_eq!(change::sentence(&changes), "container_name: shop-web-1 → front");
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
            change::sentence(&between(&before, &after).unwrap()),
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
            change::sentence(&between(&before, &after).unwrap()),
            "files./a.uid: 0 → 7, files./a.mode: 0444 → 0400, files./new: not set → ********, \
             files./old: ******** → not set, files./run/secrets/x.content changed"
        );
        let none = made_from("{}", "[]", "{}");
        let added = between(&none, &files(r#"{"target": "/a"}"#)).unwrap();
        assert_eq!(change::sentence(&added), "files./a: not set → ********");
    }
}
