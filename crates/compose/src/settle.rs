//! The last touches to a model's tree, while its folder and its environment are still known: defaults, paths
//! made absolute, bare names in `environment` given their values.

use crate::environment::Environment;
use crate::finding::Key;
use crate::interpolate::Lookup;
use crate::load::Loader;
use crate::node::{Kind, Map, Node, Weight};

/// Where the value of a secret or config that comes from a variable is kept: no file can write this key.
pub(crate) const VALUE: &str = "x-\u{0}value";

fn section<'n>(project: &'n mut Node, name: &str) -> impl Iterator<Item = (&'n String, &'n mut Node)> {
    let map = project.as_map_mut().and_then(|map| map.get_mut(name)).and_then(Node::as_map_mut);
    map.into_iter().flat_map(Map::iter_mut).map(|(name, entry)| (name, &mut entry.value))
}

fn list<'n>(node: &'n mut Node, name: &str) -> &'n mut [Node] {
    match node.as_map_mut().and_then(|map| map.get_mut(name)).map(|node| &mut node.kind) {
        Some(Kind::List(items)) => items,
        _ => &mut [],
    }
}

fn child<'n>(node: &'n mut Node, name: &str) -> Option<&'n mut Node> {
    node.as_map_mut().and_then(|map| map.get_mut(name))
}

fn set_if_absent(node: &mut Node, name: &str, kind: Kind) {
    let at = node.at.clone();
    if let Some(map) = node.as_map_mut()
        && !map.has(name)
    {
        map.set(name, &at, Node::new(kind, &at));
    }
}

pub(crate) fn defaults(project: &mut Node) {
    let text = |text: &str| Kind::Text(text.to_owned());
    for (_, service) in section(project, "services") {
        if let Some(build) = child(service, "build") {
            set_if_absent(build, "context", text("."));
        }
        for port in list(service, "ports") {
            set_if_absent(port, "protocol", text("tcp"));
            set_if_absent(port, "mode", text("ingress"));
        }
        for secret in list(service, "secrets") {
            let source =
                secret.as_map().and_then(|map| map.get("source")).and_then(Node::as_text).unwrap_or_default();
            let target = format!("/run/secrets/{source}");
            set_if_absent(secret, "target", Kind::Text(target));
        }
        for mount in list(service, "volumes") {
            if let Some(bind) = child(mount, "bind") {
                set_if_absent(bind, "create_host_path", Kind::Bool(true));
            }
        }
    }
}

pub(crate) fn resolve_paths(project: &mut Node, base: &str, loader: &mut Loader<'_>) {
    let mut resolve = Resolve { base, loader };
    for (name, service) in section(project, "services") {
        let key = Key::of(&["services", name]);
        if let Some(build) = child(service, "build") {
            resolve.build(build, &key.child("build"));
        }
        for (field, below) in [("env_file", Some("path")), ("label_file", None)] {
            let key = key.child(field);
            for (index, item) in list(service, field).iter_mut().enumerate() {
                let node = match below {
                    Some(below) => child(item, below),
                    None => Some(item),
                };
                resolve.maybe(node, &key.item(index));
            }
        }
        if let Some(extends) = child(service, "extends") {
            resolve.maybe(child(extends, "file"), &key.child("extends").child("file"));
        }
        for (index, mount) in list(service, "volumes").iter_mut().enumerate() {
            let bind = mount.as_map().and_then(|map| map.get("type")).and_then(Node::as_text) == Some("bind");
            if bind {
                resolve.maybe(child(mount, "source"), &key.child("volumes").item(index));
            }
        }
        if let Some(develop) = child(service, "develop") {
            for (index, watch) in list(develop, "watch").iter_mut().enumerate() {
                resolve.maybe(child(watch, "path"), &key.child("develop").child("watch").item(index));
            }
        }
    }
    for name in ["configs", "secrets"] {
        for (resource, node) in section(project, name) {
            resolve.maybe(child(node, "file"), &Key::of(&[name, resource, "file"]));
        }
    }
    for (name, volume) in section(project, "volumes") {
        let local =
            volume.as_map().and_then(|map| map.get("driver")).and_then(Node::as_text) == Some("local");
        let Some(options) = child(volume, "driver_opts").filter(|_| local) else { continue };
        let bind = options.as_map().and_then(|map| map.get("o")).and_then(Node::as_text) == Some("bind");
        if bind {
            resolve.maybe(child(options, "device"), &Key::of(&["volumes", name, "driver_opts", "device"]));
        }
    }
}

struct Resolve<'r, 'l> {
    base: &'r str,
    loader: &'r mut Loader<'l>,
}

impl Resolve<'_, '_> {
    fn maybe(&mut self, node: Option<&mut Node>, key: &Key) {
        let Some(node) = node else { return };
        let at = node.at.clone();
        let Kind::Text(path) = &mut node.kind else { return };
        if path.is_empty() || is_windows_absolute(path) {
            return;
        }
        if !path.starts_with('/') {
            *path = self.loader.path(self.base, path, &at, key);
        }
    }

    fn build(&mut self, build: &mut Node, key: &Key) {
        let context = child(build, "context");
        if !context.as_deref().is_some_and(is_remote) {
            self.maybe(context, &key.child("context"));
        }
        if let Some(dockerfile) = child(build, "dockerfile")
            && dockerfile.as_text().is_some_and(|path| path.starts_with("~/"))
        {
            self.maybe(Some(dockerfile), &key.child("dockerfile"));
        }
        for (field, remote_too) in [("additional_contexts", true), ("ssh", false)] {
            let Some(map) = child(build, field).and_then(Node::as_map_mut) else { continue };
            for (name, entry) in map.iter_mut() {
                if !(remote_too && is_remote(&entry.value)) {
                    self.maybe(Some(&mut entry.value), &key.child(field).child(name));
                }
            }
        }
    }
}

/// Contexts that are no folder of this machine.
fn is_remote(node: &Node) -> bool {
    const STARTS: [&str; 4] = ["service:", "github.com/", "git@", "ssh://"];
    node.as_text()
        .is_some_and(|text| text.contains("://") || STARTS.iter().any(|start| text.starts_with(start)))
}

fn is_windows_absolute(path: &str) -> bool {
    let mut letters = path.chars();
    let drive = letters.next().is_some_and(|c| c.is_ascii_alphabetic()) && letters.next() == Some(':');
    path.starts_with(r"\\") || (drive && matches!(letters.next(), Some('\\' | '/')))
}

/// `- NAME` in an environment list, and the variables that secrets and configs are made of.
pub(crate) fn resolve_environment<'a>(
    project: &mut Node,
    environment: &Environment<'a>,
    loader: &mut Loader<'a>,
) {
    for (_, service) in section(project, "services") {
        for item in list(service, "environment") {
            let Kind::Text(text) = &mut item.kind else { continue };
            if text.contains('=') {
                continue;
            }
            match loader.unknown.look(environment, text) {
                Lookup::Value(value) => {
                    if !loader.charge(Weight { nodes: 0, bytes: value.len() }, &item.at) {
                        return;
                    }
                    *text = format!("{text}={value}");
                }
                Lookup::Unset => {}
                Lookup::Unknown(_) => item.pending = true,
            }
        }
    }
    for name in ["secrets", "configs"] {
        for (_, resource) in section(project, name) {
            let Some(variable) = child(resource, "environment") else { continue };
            let (at, pending) = (variable.at.clone(), variable.pending);
            let Some(variable) = variable.as_text().filter(|_| !pending) else { continue };
            if let Lookup::Value(value) = loader.unknown.look(environment, variable)
                && let Some(map) = resource.as_map_mut()
            {
                map.set(VALUE, &at, Node::text(value, &at));
            }
        }
    }
}
