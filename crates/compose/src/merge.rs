//! One tree laid over another: override files over their base, a service over the one it extends, a project
//! over what it includes.
//!
//! Mappings merge, lists append, single values replace; what compose treats otherwise stands in [`rule`].
//! Edits (`!reset`, `!override`) are applied to the base first, by [`apply_edits`], and then stripped.

use crate::finding::{Code, Finding, Key};
use crate::node::{Edit, Kind, Map, Node};
use crate::scalar;

/// Takes away from `base` what `over` wants reset or replaced.
pub(crate) fn apply_edits(base: &mut Node, over: &Node) {
    let (Kind::Map(base), Kind::Map(over)) = (&mut base.kind, &over.kind) else { return };
    for (name, entry) in over.iter() {
        if entry.value.edit.is_some() {
            base.remove(name);
        } else if let Some(below) = base.get_mut(name) {
            apply_edits(below, &entry.value);
        }
    }
}

/// Removes what is marked for reset, and the marks.
pub(crate) fn strip_edits(node: &mut Node) {
    node.edit = None;
    match &mut node.kind {
        Kind::Map(map) => {
            map.retain(|_, entry| entry.value.edit != Some(Edit::Reset));
            for (_, entry) in map.iter_mut() {
                strip_edits(&mut entry.value);
            }
        }
        Kind::List(items) => {
            items.retain(|item| item.edit != Some(Edit::Reset));
            items.iter_mut().for_each(strip_edits);
        }
        _ => {}
    }
}

enum Rule {
    /// The later value stands alone.
    Replace,
    /// Both become lists of `KEY=VALUE` or of words, and append.
    Sequence,
    /// Both become mappings, and merge; the text says what a bare word stands for.
    Mapping(Bare),
    Build,
    /// Options merge only if the driver is the same.
    Logging,
    /// Pools are told apart by their subnet.
    Pools,
    Ulimit,
}

#[derive(Clone, Copy)]
enum Bare {
    Nothing,
    Dependency,
}

fn rule(key: &Key) -> Option<Rule> {
    const SEQUENCES: [&str; 19] = [
        "networks.*.labels",
        "volumes.*.labels",
        "services.*.annotations",
        "services.*.build.args",
        "services.*.build.additional_contexts",
        "services.*.build.extra_hosts",
        "services.*.build.labels",
        "services.*.deploy.labels",
        "services.*.dns",
        "services.*.dns_opt",
        "services.*.dns_search",
        "services.*.env_file",
        "services.*.label_file",
        "services.*.environment",
        "services.*.extra_hosts",
        "services.*.labels",
        "services.*.volumes.*.volume.labels",
        "services.*.sysctls",
        "services.*.tmpfs",
    ];
    const REPLACED: [&str; 3] =
        ["services.*.command", "services.*.entrypoint", "services.*.healthcheck.test"];
    if SEQUENCES.iter().any(|pattern| key.is(pattern)) {
        return Some(Rule::Sequence);
    }
    if REPLACED.iter().any(|pattern| key.is(pattern)) {
        return Some(Rule::Replace);
    }
    if key.is("services.*.depends_on") {
        return Some(Rule::Mapping(Bare::Dependency));
    }
    if key.is("services.*.networks") || key.is("services.*.models") {
        return Some(Rule::Mapping(Bare::Nothing));
    }
    if key.is("services.*.build") {
        return Some(Rule::Build);
    }
    if key.is("services.*.logging") {
        return Some(Rule::Logging);
    }
    if key.is("networks.*.ipam.config") {
        return Some(Rule::Pools);
    }
    key.is("services.*.ulimits.*").then_some(Rule::Ulimit)
}

/// `over` wins.
pub(crate) fn merge(base: Node, over: Node, key: &Key) -> Result<Node, Finding> {
    let rule = rule(key);
    if over.is_null() && !matches!(rule, Some(Rule::Replace | Rule::Ulimit)) {
        return Ok(base);
    }
    if base.is_null() {
        return Ok(over);
    }
    let at = over.at.clone();
    let as_map = |base: Map, over: Map| Ok(Node::new(Kind::Map(merge_maps(base, over, key)?), &at));
    match rule {
        Some(Rule::Replace) => Ok(over),
        Some(Rule::Sequence) => {
            let mut items = sequence(base);
            append(&mut items, sequence(over));
            Ok(Node::new(Kind::List(items), &at))
        }
        Some(Rule::Mapping(bare)) => as_map(mapping(base, bare, key)?, mapping(over, bare, key)?),
        Some(Rule::Build) => as_map(build(base, key)?, build(over, key)?),
        Some(Rule::Logging) => {
            let (base, over) = (map_or_error(base, key)?, map_or_error(over, key)?);
            let another_driver = match (base.get("driver"), over.get("driver")) {
                (Some(base), Some(over)) => !base.says_the_same(over),
                _ => false,
            };
            if another_driver { Ok(Node::new(Kind::Map(over), &at)) } else { as_map(base, over) }
        }
        Some(Rule::Pools) => pools(base, over, key),
        Some(Rule::Ulimit) => match (base.kind, over.kind) {
            (Kind::Map(base), Kind::Map(over)) => as_map(base, over),
            (_, over) => Ok(Node::new(over, &at)),
        },
        None => match (base.kind, over.kind) {
            (Kind::Map(base), Kind::Map(over)) => as_map(base, over),
            (Kind::List(mut base), Kind::List(over)) => {
                append(&mut base, over);
                Ok(Node::new(Kind::List(base), &at))
            }
            (base @ (Kind::Map(_) | Kind::List(_)), over) => {
                let message = format!(
                    "{} cannot be merged over {}; mark it `!override` to replace it",
                    Node::new(over, &at).describe(),
                    Node::new(base, &at).describe()
                );
                Err(Finding::error(Code::WrongType, &at, key, message))
            }
            (_, over) => Ok(Node::new(over, &at)),
        },
    }
    .map(|mut merged| {
        merged.pending = false;
        merged
    })
}

fn merge_maps(mut base: Map, over: Map, key: &Key) -> Result<Map, Finding> {
    for (name, entry) in over.into_entries() {
        let below =
            base.get_mut(&name).map(|below| std::mem::replace(below, Node::new(Kind::Null, &entry.key_at)));
        let merged = match below {
            Some(below) => merge_keeping_pending(below, entry.value, &key.child(&name))?,
            None => entry.value,
        };
        base.set(&name, &entry.key_at, merged);
    }
    Ok(base)
}

fn merge_keeping_pending(base: Node, over: Node, key: &Key) -> Result<Node, Finding> {
    let single = !matches!(over.kind, Kind::Map(_) | Kind::List(_));
    let pending = if single && !over.is_null() { over.pending } else { base.pending || over.pending };
    let mut merged = merge(base, over, key)?;
    merged.pending = pending;
    Ok(merged)
}

/// What stands there already is not added again.
fn append(base: &mut Vec<Node>, over: Vec<Node>) {
    for item in over {
        if !base.iter().any(|there| there.says_the_same(&item)) {
            base.push(item);
        }
    }
}

/// `{A: 1, B: null, C: [x, y]}` → `[A=1, B, C=x, C=y]`, in the order of their text.
fn sequence(node: Node) -> Vec<Node> {
    let at = node.at.clone();
    match node.kind {
        Kind::List(items) => items,
        kind @ Kind::Text(_) => vec![Node::new(kind, &at)],
        Kind::Map(map) => {
            let mut items: Vec<(String, Node)> = Vec::new();
            for (name, entry) in map.into_entries() {
                let value_at = entry.value.at.clone();
                let mut add = |text: String, pending: bool| {
                    let mut item = Node::text(text.clone(), &value_at);
                    item.pending = pending;
                    items.push((text, item));
                };
                match &entry.value.kind {
                    Kind::List(values) => {
                        for value in values {
                            let text = scalar::to_text(&value.kind).unwrap_or_default();
                            add(format!("{name}={text}"), value.pending);
                        }
                    }
                    kind => match scalar::to_text(kind) {
                        Some(text) => add(format!("{name}={text}"), entry.value.pending),
                        None => add(name, entry.value.pending),
                    },
                }
            }
            items.sort_by(|(a, _), (b, _)| a.cmp(b));
            items.into_iter().map(|(_, item)| item).collect()
        }
        _ => Vec::new(),
    }
}

fn mapping(node: Node, bare: Bare, key: &Key) -> Result<Map, Finding> {
    let at = node.at.clone();
    let words = match node.kind {
        Kind::Map(map) => return Ok(map),
        kind @ Kind::Text(_) => vec![Node::new(kind, &at)],
        Kind::List(items) => items,
        other => {
            let message = format!("{} is neither a list nor a mapping", Node::new(other, &at).describe());
            return Err(Finding::error(Code::WrongType, &at, key, message));
        }
    };
    let mut map = Map::default();
    for (index, word) in words.into_iter().enumerate() {
        let Some(name) = word.as_text() else {
            let message = format!("{} is no name", word.describe());
            return Err(Finding::error(Code::WrongType, &word.at, &key.item(index), message));
        };
        map.set(name, &word.at, bare_value(bare, &word));
    }
    Ok(map)
}

/// What a word in a list stands for where the long form is a mapping.
fn bare_value(bare: Bare, word: &Node) -> Node {
    match bare {
        Bare::Nothing => Node::new(Kind::Null, &word.at),
        Bare::Dependency => dependency(word),
    }
}

pub(crate) fn dependency(word: &Node) -> Node {
    let mut map = Map::default();
    map.set("condition", &word.at, Node::text("service_started", &word.at));
    map.set("required", &word.at, Node::new(Kind::Bool(true), &word.at));
    Node::new(Kind::Map(map), &word.at)
}

fn build(node: Node, key: &Key) -> Result<Map, Finding> {
    if node.as_text().is_some() {
        let mut map = Map::default();
        let at = node.at.clone();
        map.set("context", &at, node);
        return Ok(map);
    }
    map_or_error(node, key)
}

fn map_or_error(node: Node, key: &Key) -> Result<Map, Finding> {
    let at = node.at.clone();
    match node.kind {
        Kind::Map(map) => Ok(map),
        other => {
            let message = format!("{} is not a mapping", Node::new(other, &at).describe());
            Err(Finding::error(Code::WrongType, &at, key, message))
        }
    }
}

fn pools(base: Node, over: Node, key: &Key) -> Result<Node, Finding> {
    let at = over.at.clone();
    let list = |node: Node| match node.kind {
        Kind::List(items) => Ok(items),
        other => {
            let message = format!("{} is no list", Node::new(other, &at).describe());
            Err(Finding::error(Code::WrongType, &at, key, message))
        }
    };
    let mut pools = list(base)?;
    for item in list(over)? {
        let subnet = |pool: &Node| {
            pool.as_map().and_then(|map| map.get("subnet").and_then(Node::as_text).map(str::to_owned))
        };
        let wanted = subnet(&item);
        match pools.iter().position(|pool| subnet(pool) == wanted) {
            Some(index) => {
                let below = std::mem::replace(&mut pools[index], Node::new(Kind::Null, &at));
                let merged = merge_maps(map_or_error(below, key)?, map_or_error(item, key)?, key)?;
                pools[index] = Node::new(Kind::Map(merged), &at);
            }
            None => pools.push(item),
        }
    }
    Ok(Node::new(Kind::List(pools), &at))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::yaml;
    use serde_json::{Value, json};

    fn tree(text: &str) -> Node {
        yaml::parse("compose.yaml", text).unwrap().remove(0)
    }

    fn merged(base: &str, over: &str) -> Value {
        let (mut base, mut over) = (tree(base), tree(over));
        apply_edits(&mut base, &over);
        strip_edits(&mut base);
        strip_edits(&mut over);
        merge(base, over, &Key::root()).unwrap().to_json()
    }

    fn service(base: &str, over: &str) -> Value {
        let wrap = |text: &str| format!("services: {{web: {{{text}}}}}");
        merged(&wrap(base), &wrap(over))["services"]["web"].take()
    }

    #[test]
    fn single_values_replace_lists_append_and_mappings_merge() {
        assert_eq!(
            service("image: a, cap_add: [X]", "image: b, cap_add: [X, Y]"),
            json!({"image": "b", "cap_add": ["X", "Y"]})
        );
        assert_eq!(
            service("deploy: {mode: a, replicas: 1}", "deploy: {replicas: 2}"),
            json!({"deploy": {"mode": "a", "replicas": 2}})
        );
        assert_eq!(service("image: a", "image: null"), json!({"image": "a"}));
    }

    #[test]
    fn commands_are_replaced() {
        assert_eq!(service("command: [a, b]", "command: [c]"), json!({"command": ["c"]}));
        assert_eq!(service("command: a", "command: null"), json!({"command": null}));
        assert_eq!(
            service("healthcheck: {test: [CMD, a], retries: 1}", "healthcheck: {test: [NONE]}"),
            json!({"healthcheck": {"test": ["NONE"], "retries": 1}})
        );
    }

    #[test]
    fn environment_of_either_form_becomes_one_list() {
        assert_eq!(
            service("environment: {B: 1, A: null}", "environment: [B=2, C=x]"),
            json!({"environment": ["A", "B=1", "B=2", "C=x"]})
        );
        assert_eq!(service("tmpfs: /a", "tmpfs: [/b]"), json!({"tmpfs": ["/a", "/b"]}));
    }

    #[test]
    fn names_in_a_list_merge_with_a_mapping() {
        assert_eq!(
            service(
                "depends_on: [a]",
                "depends_on: {a: {condition: service_healthy}, b: {condition: service_started}}"
            )["depends_on"]["a"],
            json!({"condition": "service_healthy", "required": true})
        );
        assert_eq!(
            service("networks: [x]", "networks: {x: {priority: 1}}"),
            json!({"networks": {"x": {"priority": 1}}})
        );
        assert_eq!(
            service("build: ./a", "build: {target: t}"),
            json!({"build": {"context": "./a", "target": "t"}})
        );
    }

    #[test]
    fn logging_options_stay_with_their_driver() {
        assert_eq!(
            service("logging: {driver: a, options: {x: 1}}", "logging: {driver: b}"),
            json!({"logging": {"driver": "b"}})
        );
        assert_eq!(
            service("logging: {driver: a, options: {x: 1}}", "logging: {options: {y: 2}}"),
            json!({"logging": {"driver": "a", "options": {"x": 1, "y": 2}}})
        );
        assert_eq!(
            service("ulimits: {n: 1}", "ulimits: {n: {soft: 2}}"),
            json!({"ulimits": {"n": {"soft": 2}}})
        );
    }

    #[test]
    fn reset_takes_away_and_override_replaces() {
        assert_eq!(service("image: a, ports: ['80']", "ports: !reset []"), json!({"image": "a"}));
        assert_eq!(service("ports: ['80']", "ports: !override ['90']"), json!({"ports": ["90"]}));
        assert_eq!(
            service("environment: {A: 1, B: 2}", "environment: {A: !reset null}"),
            json!({"environment": ["B=2"]})
        );
        assert_eq!(
            merged("services: {a: {image: x}, b: {image: y}}", "services: {a: !reset {}}"),
            json!({"services": {"b": {"image": "y"}}})
        );
    }

    #[test]
    fn pools_are_told_apart_by_their_subnet() {
        let net = |pools: &str| format!("networks: {{n: {{ipam: {{config: {pools}}}}}}}");
        let result =
            merged(&net("[{subnet: a}, {subnet: b}]"), &net("[{subnet: b, gateway: g}, {subnet: c}]"));
        assert_eq!(
            result["networks"]["n"]["ipam"]["config"],
            json!([{"subnet": "a"}, {"subnet": "b", "gateway": "g"}, {"subnet": "c"}])
        );
    }

    #[test]
    fn what_cannot_be_merged_says_so() {
        for (base, over, part) in [
            ("deploy: {mode: a}", "deploy: [x]", "a list cannot be merged over a mapping"),
            ("cap_add: [X]", "cap_add: Y", "`Y` cannot be merged over a list"),
            ("networks: [x]", "networks: [{}]", "a mapping is no name"),
            ("depends_on: [x]", "depends_on: 5", "neither a list nor a mapping"),
            ("logging: {}", "logging: x", "`x` is not a mapping"),
        ] {
            let wrap = |text: &str| tree(&format!("services: {{web: {{{text}}}}}"));
            let finding = merge(wrap(base), wrap(over), &Key::root()).unwrap_err();
            assert!(finding.to_string().contains(part), "{finding}");
        }
    }

    #[test]
    fn merging_with_nothing_changes_nothing() {
        let text = "services: {web: {image: a, environment: {A: 1}, ports: ['80'], depends_on: [b]}}";
        assert_eq!(merged(text, "services: {}"), tree(text).to_json());
        assert_eq!(merged("services: {}", text), tree(text).to_json());
    }
}
