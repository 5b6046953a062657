//! Lists whose entries have a name: of two entries with one name the later one stands, in the place of the first.

use crate::finding::Key;
use crate::node::{Kind, Node};
use crate::scalar;
use crate::short;

type Naming = fn(&Node) -> Option<String>;

const NAMED: [(&str, Naming); 29] = [
    ("networks.*.labels", before_equals),
    ("services.*.annotations", before_equals),
    ("services.*.build.args", before_equals),
    ("services.*.build.additional_contexts", before_equals),
    ("services.*.build.tags", before_equals),
    ("services.*.build.labels", before_equals),
    ("services.*.cap_add", before_equals),
    ("services.*.cap_drop", before_equals),
    ("services.*.configs", config_target),
    ("services.*.deploy.labels", before_equals),
    ("services.*.devices", device_target),
    ("services.*.dns", before_equals),
    ("services.*.dns_opt", before_equals),
    ("services.*.dns_search", before_equals),
    ("services.*.environment", before_equals),
    ("services.*.env_file", env_file_path),
    ("services.*.expose", whole),
    ("services.*.labels", before_equals),
    ("services.*.links", before_equals),
    ("services.*.networks.*.aliases", before_equals),
    ("services.*.networks.*.link_local_ips", before_equals),
    ("services.*.ports", port),
    ("services.*.profiles", before_equals),
    ("services.*.secrets", secret_target),
    ("services.*.sysctls", before_equals),
    ("services.*.tmpfs", before_equals),
    ("services.*.volumes", mount_target),
    ("volumes.*.labels", before_equals),
    ("networks.*.ipam.options", before_equals),
];

pub(crate) fn enforce(node: &mut Node, key: &Key) {
    match &mut node.kind {
        Kind::Map(map) => {
            for (name, entry) in map.iter_mut() {
                enforce(&mut entry.value, &key.child(name));
            }
        }
        Kind::List(items) => {
            if let Some((_, naming)) = NAMED.iter().find(|(pattern, _)| key.is(pattern)) {
                *items = once_each(std::mem::take(items), *naming);
            }
        }
        _ => {}
    }
}

fn once_each(items: Vec<Node>, naming: Naming) -> Vec<Node> {
    let mut kept: Vec<Node> = Vec::with_capacity(items.len());
    let mut names: std::collections::HashMap<String, usize> = std::collections::HashMap::new();
    for item in items {
        let Some(name) = naming(&item) else {
            kept.push(item);
            continue;
        };
        if let Some(&there) = names.get(&name) {
            kept[there] = item;
        } else {
            names.insert(name, kept.len());
            kept.push(item);
        }
    }
    kept
}

fn before_equals(item: &Node) -> Option<String> {
    let text = item.as_text()?;
    Some(text.split_once('=').map_or(text, |(name, _)| name).to_owned())
}

fn whole(item: &Node) -> Option<String> {
    scalar::to_text(&item.kind)
}

fn field(item: &Node, name: &str) -> Option<String> {
    item.as_map()?.get(name).and_then(|value| scalar::to_text(&value.kind))
}

fn env_file_path(item: &Node) -> Option<String> {
    item.as_text().map(str::to_owned).or_else(|| field(item, "path"))
}

fn config_target(item: &Node) -> Option<String> {
    file_target(item, "")
}

fn secret_target(item: &Node) -> Option<String> {
    file_target(item, "/run/secrets")
}

fn file_target(item: &Node, folder: &str) -> Option<String> {
    if let Some(name) = item.as_text() {
        return Some(format!("{folder}/{name}"));
    }
    field(item, "target").or_else(|| field(item, "source").map(|source| format!("{folder}/{source}")))
}

fn mount_target(item: &Node) -> Option<String> {
    match item.as_text() {
        Some(spec) => short::mount(spec).ok().map(|mount| mount.target),
        None => field(item, "target"),
    }
}

fn device_target(item: &Node) -> Option<String> {
    match item.as_text() {
        Some(spec) => short::device(spec).ok().map(|device| device.target),
        None => field(item, "target"),
    }
}

fn port(item: &Node) -> Option<String> {
    if item.as_map().is_none() {
        return scalar::to_text(&item.kind);
    }
    let target = field(item, "target")?;
    let published = field(item, "published").unwrap_or_else(|| "-".to_owned());
    let host_ip = field(item, "host_ip").unwrap_or_else(|| "0.0.0.0".to_owned());
    let protocol = field(item, "protocol").unwrap_or_else(|| "tcp".to_owned());
    Some(format!("{host_ip}:{published}:{target}/{protocol}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::yaml;
    use serde_json::{Value, json};

    fn service(text: &str) -> Value {
        let mut tree = yaml::parse("a", &format!("services: {{web: {{{text}}}}}")).unwrap().remove(0);
        enforce(&mut tree, &Key::root());
        tree.to_json()["services"]["web"].take()
    }

    #[test]
    fn of_two_entries_with_one_name_the_later_stands_in_the_first_place() {
        for (text, expected) in [
            ("environment: [A=1, B=2, A=3]", json!({"environment": ["A=3", "B=2"]})),
            ("volumes: ['aa:/x', 'bb:/y', 'cc:/x:ro']", json!({"volumes": ["cc:/x:ro", "bb:/y"]})),
            ("ports: ['80', '80']", json!({"ports": ["80"]})),
            (
                "ports: [{target: 80, published: '1'}, {target: 80, published: 1, mode: host}]",
                json!({"ports": [{"target": 80, "published": 1, "mode": "host"}]}),
            ),
            (
                "secrets: [a, {source: b, target: /run/secrets/a}]",
                json!({"secrets": [{"source": "b", "target": "/run/secrets/a"}]}),
            ),
            (
                "env_file: [a, {path: a, required: false}]",
                json!({"env_file": [{"path": "a", "required": false}]}),
            ),
            ("devices: ['/dev/a:/dev/x', '/dev/b:/dev/x']", json!({"devices": ["/dev/b:/dev/x"]})),
            ("command: [a, a]", json!({"command": ["a", "a"]})),
            ("expose: [80, '80']", json!({"expose": ["80"]})),
        ] {
            assert_eq!(service(text), expected, "{text}");
        }
    }
}
