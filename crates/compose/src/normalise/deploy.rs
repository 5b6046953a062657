//! `deploy`: what of it means something for one container, and the rest as it stands.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::finding::Key;
use crate::model::{Deploy, Resources, RestartPolicy};
use crate::node::Node;
use crate::units;

use super::read::Reader;

pub(super) fn deploy(r: &mut Reader<'_>, node: &Node, key: &Key) -> Option<Deploy> {
    if node.is_null() {
        return None;
    }
    let map = r.map(node, key)?;
    let mut deploy = Deploy::default();
    for (field, entry) in map.iter() {
        let (value, own) = (&entry.value, key.child(field));
        match field.as_str() {
            "mode" => deploy.mode = r.some_text(value, &own),
            "replicas" => deploy.replicas = r.integer(value, &own),
            "labels" => deploy.labels = r.labels(value, &own),
            "endpoint_mode" => deploy.endpoint_mode = r.some_text(value, &own),
            "resources" => resources(r, &mut deploy, value, &own),
            "restart_policy" => deploy.restart_policy = restart_policy(r, value, &own),
            "placement" | "update_config" | "rollback_config" => {
                let message = "it is for clusters and has no effect here";
                r.findings.note(crate::finding::Code::UnsupportedKey, &entry.key_at, &own, message);
                r.passed_over(value, &own);
                deploy.others.insert(field.clone(), with_plain_durations(value.to_json()));
            }
            _ => {
                if !field.starts_with("x-") {
                    r.unknown(field, entry, key);
                }
                deploy.others.insert(field.clone(), value.to_json());
            }
        }
    }
    Some(deploy)
}

/// `delay` and `monitor` in the one form that durations are printed in.
fn with_plain_durations(mut value: Value) -> Value {
    if let Value::Object(map) = &mut value {
        for name in ["delay", "monitor"] {
            if let Some(Value::String(text)) = map.get_mut(name)
                && let Some(duration) = units::duration(text)
            {
                *text = units::duration_text(duration);
            }
        }
    }
    value
}

fn resources(r: &mut Reader<'_>, deploy: &mut Deploy, node: &Node, key: &Key) {
    let Some(map) = r.map(node, key) else { return };
    for (field, entry) in map.iter() {
        let (value, own) = (&entry.value, key.child(field));
        match field.as_str() {
            "limits" => deploy.limits = resource(r, value, &own),
            "reservations" => deploy.reservations = resource(r, value, &own),
            _ if field.starts_with("x-") => {}
            _ => r.unknown(field, entry, key),
        }
    }
}

fn resource(r: &mut Reader<'_>, node: &Node, key: &Key) -> Option<Resources> {
    let map = r.map(node, key)?;
    let mut resources = Resources { others: BTreeMap::new(), ..Resources::default() };
    for (field, entry) in map.iter() {
        let (value, own) = (&entry.value, key.child(field));
        match field.as_str() {
            "cpus" => resources.cpus = r.float(value, &own),
            "memory" => resources.memory = r.text(value, &own).and_then(|_| r.bytes(value, &own)),
            "pids" => resources.pids = r.integer(value, &own),
            "devices" | "generic_resources" => {
                r.unsupported(field, entry, key);
                resources.others.insert(field.clone(), value.to_json());
            }
            _ if field.starts_with("x-") => {}
            _ => r.unknown(field, entry, key),
        }
    }
    Some(resources)
}

fn restart_policy(r: &mut Reader<'_>, node: &Node, key: &Key) -> Option<RestartPolicy> {
    let map = r.map(node, key)?;
    let mut policy = RestartPolicy::default();
    for (field, entry) in map.iter() {
        let (value, own) = (&entry.value, key.child(field));
        match field.as_str() {
            "condition" => policy.condition = r.some_text(value, &own),
            "delay" => policy.delay = r.duration(value, &own),
            "max_attempts" => policy.max_attempts = r.count(value, &own),
            "window" => policy.window = r.duration(value, &own),
            _ if field.starts_with("x-") => {}
            _ => r.unknown(field, entry, key),
        }
    }
    Some(policy)
}
