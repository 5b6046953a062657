//! How an image is built.

use std::collections::BTreeMap;

use crate::finding::{Code, Key};
use crate::keys;
use crate::model::Build;
use crate::node::{Kind, Node};

use super::read::Reader;
use super::storage;

pub(super) fn build(r: &mut Reader<'_>, node: &Node, key: &Key) -> Option<Build> {
    let map = r.map(node, key)?;
    let mut build = Build { at: Some(node.at.clone()), ..Build::default() };
    for (field, entry) in map.iter() {
        let (value, own) = (&entry.value, key.child(field));
        match field.as_str() {
            "context" => build.context = r.text(value, &own).unwrap_or_default(),
            "dockerfile" => build.dockerfile = r.some_text(value, &own),
            "dockerfile_inline" => build.dockerfile_inline = r.some_text(value, &own),
            "args" => {
                for (name, value) in r.pairs(value, &own) {
                    let value = value.or_else(|| r.variable(&name));
                    build.args.extend(value.map(|value| (name, value)));
                }
            }
            "target" => build.target = r.some_text(value, &own),
            "labels" => build.labels = r.labels(value, &own),
            "cache_from" => build.cache_from = r.text_or_texts(value, &own),
            "cache_to" => build.cache_to = r.text_or_texts(value, &own),
            "no_cache" => build.no_cache = r.boolean(value, &own).unwrap_or_default(),
            "pull" => build.pull = r.boolean(value, &own).unwrap_or_default(),
            "network" => build.network = r.some_text(value, &own),
            "shm_size" => build.shm_size = r.bytes(value, &own),
            "extra_hosts" => build.extra_hosts = r.extra_hosts(value, &own),
            "tags" => build.tags = r.texts(value, &own),
            "platforms" => build.platforms = r.texts(value, &own),
            "additional_contexts" => build.additional_contexts = contexts(r, value, &own),
            "secrets" => build.secrets = storage::file_mounts(r, value, &own),
            "ssh" => build.ssh = ssh(r, value, &own),
            "ulimits" => build.ulimits = r.ulimits(value, &own),
            "privileged" => build.privileged = r.boolean(value, &own).unwrap_or_default(),
            _ => {
                if keys::unsupported(&own).is_some() {
                    r.unsupported(field, entry, key);
                } else if !field.starts_with("x-") {
                    r.unknown(field, entry, key);
                }
                build.others.insert(field.clone(), value.to_json());
            }
        }
    }
    if let (Some(_), Some(inline)) = (&build.dockerfile, map.get("dockerfile_inline")) {
        let message = "`dockerfile` and `dockerfile_inline` exclude each other";
        r.error(Code::Conflict, inline, &key.child("dockerfile_inline"), message);
    }
    if build.dockerfile.is_none() && build.dockerfile_inline.is_none() {
        build.dockerfile = Some("Dockerfile".to_owned());
    }
    Some(build)
}

fn contexts(r: &mut Reader<'_>, node: &Node, key: &Key) -> BTreeMap<String, String> {
    let mut contexts = BTreeMap::new();
    for (name, value) in r.pairs(node, key) {
        match value {
            Some(value) => drop(contexts.insert(name, value)),
            None => r.error(Code::InvalidValue, node, &key.child(&name), "a context is written `name=place`"),
        }
    }
    contexts
}

fn ssh(r: &mut Reader<'_>, node: &Node, key: &Key) -> BTreeMap<String, Option<String>> {
    if let Kind::Text(_) = node.kind {
        r.error(Code::WrongType, node, key, "a list or a mapping is expected");
        return BTreeMap::new();
    }
    let keys = r.pairs(node, key);
    for (id, path) in &keys {
        if path.is_none() && id != "default" {
            r.error(Code::InvalidValue, node, &key.child(id), "only `default` may go without a path");
        }
    }
    keys
}
