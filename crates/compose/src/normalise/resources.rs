//! Networks, volumes, configs and secrets of the top level.

use std::collections::BTreeMap;

use crate::finding::{Code, Key};
use crate::model::{FileObject, FileSource, Hidden, Ipam, Network, Pool, Volume};
use crate::node::{Map, Node};
use crate::settle;

use super::read::Reader;

/// What the four have in common.
struct Common {
    name: Option<String>,
    external: bool,
    labels: BTreeMap<String, String>,
    driver: Option<String>,
    driver_opts: BTreeMap<String, String>,
}

impl Common {
    /// Reads the fields that belong to all; gives the others back.
    fn read<'n>(
        r: &mut Reader<'_>,
        map: &'n Map,
        key: &Key,
    ) -> (Self, Vec<(&'n str, &'n crate::node::Entry)>) {
        let mut common = Self {
            name: None,
            external: false,
            labels: BTreeMap::new(),
            driver: None,
            driver_opts: BTreeMap::new(),
        };
        let mut others = Vec::new();
        for (field, entry) in map.iter() {
            let (value, own) = (&entry.value, key.child(field));
            match field.as_str() {
                "name" => common.name = r.some_text(value, &own),
                "external" => common.external = r.boolean(value, &own).unwrap_or_default(),
                "labels" => common.labels = r.labels(value, &own),
                "driver" => common.driver = r.some_text(value, &own),
                "driver_opts" => common.driver_opts = r.options(value, &own),
                _ if field.starts_with("x-") => {}
                _ => others.push((field.as_str(), entry)),
            }
        }
        (common, others)
    }

    /// On the engine: the fixed name, the key of something external, or the project's.
    fn name_of(&self, key: &str, project: &str) -> String {
        match &self.name {
            Some(name) => name.clone(),
            None if self.external => key.to_owned(),
            None => format!("{project}_{key}"),
        }
    }
}

pub(super) fn networks(r: &mut Reader<'_>, node: &Node, key: &Key, project: &str) -> Vec<Network> {
    let mut networks = Vec::new();
    let Some(map) = r.map(node, key) else { return networks };
    let empty = Map::default();
    for name in super::resource_names(r, map, key) {
        let Some(entry) = map.entry(name) else { continue };
        let key = key.child(name);
        let fields = if entry.value.is_null() { Some(&empty) } else { r.map(&entry.value, &key) };
        let Some(fields) = fields else { continue };
        let (common, others) = Common::read(r, fields, &key);
        let mut network = Network {
            key: name.clone(),
            name: common.name_of(name, project),
            named: common.name.is_some(),
            external: common.external,
            driver: common.driver,
            driver_opts: common.driver_opts,
            labels: common.labels,
            internal: false,
            attachable: false,
            enable_ipv4: None,
            enable_ipv6: None,
            ipam: Ipam::default(),
            at: Some(entry.key_at.clone()),
        };
        for (field, entry) in others {
            let (value, own) = (&entry.value, key.child(field));
            match field {
                "internal" => network.internal = r.boolean(value, &own).unwrap_or_default(),
                "attachable" => network.attachable = r.boolean(value, &own).unwrap_or_default(),
                "enable_ipv4" => network.enable_ipv4 = r.boolean(value, &own),
                "enable_ipv6" => network.enable_ipv6 = r.boolean(value, &own),
                "ipam" => network.ipam = ipam(r, value, &own),
                _ => r.unknown(field, entry, &key),
            }
        }
        networks.push(network);
    }
    networks
}

fn ipam(r: &mut Reader<'_>, node: &Node, key: &Key) -> Ipam {
    let mut ipam = Ipam::default();
    let Some(map) = r.map(node, key) else { return ipam };
    for (field, entry) in map.iter() {
        let (value, own) = (&entry.value, key.child(field));
        match field.as_str() {
            "driver" => ipam.driver = r.some_text(value, &own),
            "options" => ipam.options = r.options(value, &own),
            "config" => {
                for (index, item) in r.list(value, &own).unwrap_or_default().iter().enumerate() {
                    ipam.pools.extend(pool(r, item, &own.item(index)));
                }
            }
            _ if field.starts_with("x-") => {}
            _ => r.unknown(field, entry, key),
        }
    }
    ipam
}

fn pool(r: &mut Reader<'_>, node: &Node, key: &Key) -> Option<Pool> {
    let map = r.map(node, key)?;
    let mut pool = Pool::default();
    for (field, entry) in map.iter() {
        let (value, own) = (&entry.value, key.child(field));
        match field.as_str() {
            "subnet" => pool.subnet = r.some_text(value, &own),
            "gateway" => pool.gateway = r.some_text(value, &own),
            "ip_range" => pool.ip_range = r.some_text(value, &own),
            "aux_addresses" => pool.aux_addresses = r.options(value, &own),
            _ if field.starts_with("x-") => {}
            _ => r.unknown(field, entry, key),
        }
    }
    Some(pool)
}

pub(super) fn volumes(r: &mut Reader<'_>, node: &Node, key: &Key, project: &str) -> Vec<Volume> {
    let mut volumes = Vec::new();
    let Some(map) = r.map(node, key) else { return volumes };
    let empty = Map::default();
    for name in super::resource_names(r, map, key) {
        let Some(entry) = map.entry(name) else { continue };
        let key = key.child(name);
        let fields = if entry.value.is_null() { Some(&empty) } else { r.map(&entry.value, &key) };
        let Some(fields) = fields else { continue };
        let (common, others) = Common::read(r, fields, &key);
        for (field, entry) in others {
            r.unknown(field, entry, &key);
        }
        if common.external {
            for (field, entry) in fields.iter() {
                if !["name", "external"].contains(&field.as_str()) && !field.starts_with("x-") {
                    let message = "an external volume takes nothing but a name";
                    r.findings.error(Code::Conflict, &entry.key_at, &key.child(field), message);
                }
            }
        }
        volumes.push(Volume {
            key: name.clone(),
            name: common.name_of(name, project),
            named: common.name.is_some(),
            external: common.external,
            driver: common.driver,
            driver_opts: common.driver_opts,
            labels: common.labels,
            at: entry.key_at.clone(),
        });
    }
    volumes
}

/// Configs, and secrets.
pub(super) fn files(r: &mut Reader<'_>, node: &Node, key: &Key, project: &str) -> Vec<FileObject> {
    let mut files = Vec::new();
    let Some(map) = r.map(node, key) else { return files };
    let inline_allowed = key.is("configs");
    for name in super::resource_names(r, map, key) {
        let Some(entry) = map.entry(name) else { continue };
        let key = key.child(name);
        let Some(fields) = r.map(&entry.value, &key) else { continue };
        let (common, others) = Common::read(r, fields, &key);
        let mut sources: Vec<FileSource> = Vec::new();
        let mut template_driver = None;
        for (field, entry) in others {
            let (value, own) = (&entry.value, key.child(field));
            match field {
                "file" => sources.extend(r.text(value, &own).map(FileSource::File)),
                "environment" => {
                    let value_of = fields.get(settle::VALUE).and_then(Node::as_text).map(Hidden::new);
                    let name = r.text(value, &own);
                    sources.extend(name.map(|name| FileSource::Variable { name, value: value_of }));
                }
                "content" if inline_allowed => {
                    sources.extend(r.text(value, &own).map(|text| FileSource::Inline(Hidden::new(text))));
                }
                "template_driver" => template_driver = r.some_text(value, &own),
                _ => r.unknown(field, entry, &key),
            }
        }
        let ways = if inline_allowed { "file, environment and content" } else { "file and environment" };
        if sources.len() > 1 {
            r.error(Code::Conflict, &entry.value, &key, format!("only one of {ways} can be given"));
        } else if sources.is_empty() && !common.external && common.driver.is_none() {
            r.error(Code::MissingKey, &entry.value, &key, format!("one of {ways} has to be given"));
        }
        files.push(FileObject {
            key: name.clone(),
            name: common.name_of(name, project),
            external: common.external,
            source: sources.pop().unwrap_or(FileSource::Elsewhere),
            driver: common.driver,
            driver_opts: common.driver_opts,
            template_driver,
            labels: common.labels,
            at: entry.key_at.clone(),
        });
    }
    files
}
