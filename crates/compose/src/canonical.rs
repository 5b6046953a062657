//! Short forms to long forms, in the tree: afterwards each thing is written in one way.
//!
//! What has a shape that no form allows is left as it is; reading it into the model names it.

use crate::finding::{Code, Findings, Key, Location};
use crate::merge;
use crate::node::{Kind, Map, Node};
use crate::scalar;
use crate::short;

pub(crate) fn canonical(project: &mut Node, findings: &mut Findings) {
    let root = Key::root();
    each(project, &root, "services", |service, key| services(service, key, findings));
    for section in ["volumes", "networks", "secrets", "configs"] {
        each(project, &root, section, |resource, key| external(resource, key, findings));
    }
}

/// Runs over the entries of one mapping below `node`.
fn each(node: &mut Node, key: &Key, name: &str, mut run: impl FnMut(&mut Node, &Key)) {
    let section_key = key.child(name);
    let section = node.as_map_mut().and_then(|map| map.get_mut(name)).and_then(Node::as_map_mut);
    let Some(section) = section else { return };
    for (name, entry) in section.iter_mut() {
        run(&mut entry.value, &section_key.child(name));
    }
}

fn services(service: &mut Node, key: &Key, findings: &mut Findings) {
    let Some(map) = service.as_map_mut() else { return };
    for (name, entry) in map.iter_mut() {
        let value = &mut entry.value;
        let key = key.child(name);
        match name.as_str() {
            "build" => build(value, &key),
            "depends_on" => depends_on(value, &key, findings),
            "env_file" => env_files(value),
            "label_file" | "dns" => list_of_one(value),
            "networks" | "models" => names_to_map(value),
            "ports" => ports(value, &key, findings),
            "volumes" => items(value, &key, |item, key| mount(item, key, findings)),
            "devices" => items(value, &key, |item, key| device(item, key, findings)),
            "secrets" | "configs" => items(value, &key, |item, _| source(item)),
            "gpus" => gpus(value),
            _ => {}
        }
    }
    if let Some(dns) = map.get_mut("dns")
        && let Kind::List(servers) = &mut dns.kind
    {
        servers.retain(|server| !server.is_null() && server.as_text() != Some(""));
    }
}

fn items(node: &mut Node, key: &Key, mut run: impl FnMut(&mut Node, &Key)) {
    let Kind::List(items) = &mut node.kind else { return };
    for (index, item) in items.iter_mut().enumerate() {
        run(item, &key.item(index));
    }
}

fn list_of_one(node: &mut Node) {
    if node.as_text().is_some() {
        let at = node.at.clone();
        let single = std::mem::replace(node, Node::new(Kind::Null, &at));
        node.kind = Kind::List(vec![single]);
    }
}

fn wrap(node: &mut Node, name: &str) {
    if node.as_text().is_some() {
        let at = node.at.clone();
        let single = std::mem::replace(node, Node::map(&at));
        node.pending = single.pending;
        if let Some(map) = node.as_map_mut() {
            map.set(name, &at, single);
        }
    }
}

fn source(node: &mut Node) {
    wrap(node, "source");
}

fn build(node: &mut Node, key: &Key) {
    wrap(node, "context");
    let Some(map) = node.as_map_mut() else { return };
    for (name, entry) in map.iter_mut() {
        match name.as_str() {
            "secrets" => items(&mut entry.value, &key.child(name), |item, _| source(item)),
            "additional_contexts" | "ssh" => pairs_to_map(&mut entry.value),
            _ => {}
        }
    }
}

/// `[a=x, b]` → `{a: x, b: null}`
fn pairs_to_map(node: &mut Node) {
    let Kind::List(items) = &node.kind else { return };
    if items.iter().any(|item| item.as_text().is_none()) {
        return;
    }
    let mut map = Map::default();
    for item in items {
        let text = item.as_text().unwrap_or_default();
        match text.split_once('=') {
            Some((name, value)) => map.set(name, &item.at, Node::text(value, &item.at)),
            None => map.set(text, &item.at, Node::new(Kind::Null, &item.at)),
        }
    }
    node.kind = Kind::Map(map);
}

fn names_to_map(node: &mut Node) {
    let Kind::List(items) = &node.kind else { return };
    if items.iter().any(|item| item.as_text().is_none()) {
        return;
    }
    let mut map = Map::default();
    for item in items {
        map.set(item.as_text().unwrap_or_default(), &item.at, Node::new(Kind::Null, &item.at));
    }
    node.kind = Kind::Map(map);
}

fn depends_on(node: &mut Node, key: &Key, findings: &mut Findings) {
    if let Kind::List(items) = &node.kind {
        if items.iter().any(|item| item.as_text().is_none()) {
            return;
        }
        let mut map = Map::default();
        for item in items {
            map.set(item.as_text().unwrap_or_default(), &item.at, merge::dependency(item));
        }
        node.kind = Kind::Map(map);
        return;
    }
    let Some(map) = node.as_map_mut() else { return };
    for (name, entry) in map.iter_mut() {
        let at = entry.key_at.clone();
        let Some(edge) = entry.value.as_map_mut() else {
            let message = "a dependency takes a mapping with `condition`, or write the names as a list";
            findings.error(Code::WrongType, &entry.value.at, &key.child(name), message);
            continue;
        };
        if !edge.has("condition") {
            edge.set("condition", &at, Node::text("service_started", &at));
        }
        if !edge.has("required") {
            edge.set("required", &at, Node::new(Kind::Bool(true), &at));
        }
    }
}

fn env_files(node: &mut Node) {
    list_of_one(node);
    let Kind::List(items) = &mut node.kind else { return };
    for item in items {
        wrap(item, "path");
        let at = item.at.clone();
        if let Some(map) = item.as_map_mut()
            && !map.has("required")
        {
            map.set("required", &at, Node::new(Kind::Bool(true), &at));
        }
    }
}

fn gpus(node: &mut Node) {
    if node.as_text().is_some() {
        let at = node.at.clone();
        let mut map = Map::default();
        map.set("count", &at, Node::new(Kind::Int(-1), &at));
        node.kind = Kind::List(vec![Node::new(Kind::Map(map), &at)]);
    }
}

/// Sets text fields, leaving out what is not there.
struct Fields<'a> {
    map: Map,
    at: &'a Location,
}

impl<'a> Fields<'a> {
    fn new(at: &'a Location) -> Self {
        Self { map: Map::default(), at }
    }

    fn text(&mut self, name: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.map.set(name, self.at, Node::text(value, self.at));
        }
    }

    fn kind(&mut self, name: &str, kind: Kind) {
        self.map.set(name, self.at, Node::new(kind, self.at));
    }

    fn into_node(self, pending: bool) -> Node {
        let mut node = Node::new(Kind::Map(self.map), self.at);
        node.pending = pending;
        node
    }
}

fn ports(node: &mut Node, key: &Key, findings: &mut Findings) {
    let Kind::List(items) = &mut node.kind else { return };
    let mut long = Vec::with_capacity(items.len());
    for (index, item) in std::mem::take(items).into_iter().enumerate() {
        let spec = match &item.kind {
            Kind::Text(_) | Kind::Int(_) => scalar::to_text(&item.kind).unwrap_or_default(),
            _ => {
                long.push(item);
                continue;
            }
        };
        match short::ports(&spec) {
            Ok(ports) => {
                for port in ports {
                    let mut fields = Fields::new(&item.at);
                    fields.text("mode", Some("ingress"));
                    fields.text("host_ip", port.host_ip.as_deref());
                    fields.kind("target", Kind::Int(port.target.into()));
                    fields.text("published", port.published.as_deref());
                    fields.text("protocol", Some(&port.protocol));
                    long.push(fields.into_node(item.pending));
                }
            }
            // With a variable still open the text means nothing yet.
            Err(_) if item.pending => {}
            Err(problem) => {
                findings.error(Code::InvalidValue, &item.at, &key.item(index), problem.to_string());
            }
        }
    }
    *items = long;
}

fn mount(node: &mut Node, key: &Key, findings: &mut Findings) {
    let Some(spec) = node.as_text() else { return };
    let mount = match short::mount(spec) {
        Ok(mount) => mount,
        Err(problem) => {
            if !node.pending {
                findings.error(Code::InvalidValue, &node.at, key, problem.to_string());
            }
            // It is told; nobody has to look at it again.
            node.pending = true;
            return;
        }
    };
    let mut fields = Fields::new(&node.at);
    fields.text("type", Some(if mount.bind { "bind" } else { "volume" }));
    fields.text("source", mount.source.as_deref());
    fields.text("target", Some(&crate::paths::clean(&mount.target)));
    if mount.read_only {
        fields.kind("read_only", Kind::Bool(true));
    }
    if mount.bind || mount.propagation.is_some() || mount.selinux.is_some() {
        let mut bind = Fields::new(&node.at);
        bind.text("propagation", mount.propagation.as_deref());
        bind.text("selinux", mount.selinux.as_deref());
        if mount.bind {
            bind.kind("create_host_path", Kind::Bool(true));
        }
        fields.kind("bind", Kind::Map(bind.map));
    }
    if !mount.bind || mount.no_copy {
        let mut volume = Fields::new(&node.at);
        if mount.no_copy {
            volume.kind("nocopy", Kind::Bool(true));
        }
        fields.kind("volume", Kind::Map(volume.map));
    }
    let pending = node.pending;
    *node = fields.into_node(pending);
}

fn device(node: &mut Node, key: &Key, findings: &mut Findings) {
    let Some(spec) = node.as_text() else { return };
    match short::device(spec) {
        Ok(device) => {
            let mut fields = Fields::new(&node.at);
            fields.text("source", Some(&device.source));
            fields.text("target", Some(&device.target));
            fields.text("permissions", Some(&device.permissions));
            let pending = node.pending;
            *node = fields.into_node(pending);
        }
        Err(_) if node.pending => {}
        Err(problem) => findings.error(Code::InvalidValue, &node.at, key, problem.to_string()),
    }
}

/// `external: {name: x}` is the old way to say `external: true` with `name: x`.
fn external(resource: &mut Node, key: &Key, findings: &mut Findings) {
    let Some(map) = resource.as_map_mut() else { return };
    let Some(external) = map.get("external") else { return };
    let at = external.at.clone();
    let Some(inner) = external.as_map() else { return };
    let name = inner.get("name").cloned();
    map.set("external", &at, Node::new(Kind::Bool(true), &at));
    let Some(name) = name else { return };
    let key = key.child("external").child("name");
    findings.note(Code::Deprecated, &name.at, &key, "write `name:` and `external: true`");
    match map.get("name") {
        Some(own) if !own.says_the_same(&name) => {
            findings.error(Code::Conflict, &name.at, &key, "it differs from `name`; keep `name` only");
        }
        Some(_) => {}
        None => map.set("name", &name.at.clone(), name),
    }
}
