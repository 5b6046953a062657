//! `x-clos`: what we add to compose files, under a key that every other program passes over.

use crate::finding::{Code, Key};
use crate::keys;
use crate::model::{Clos, GroupEdge, Probe, ProbeKind};
use crate::node::{Kind, Node};

use super::read::Reader;
use super::service::{command, one_of};

/// `x-clos` of a service.
pub(super) fn service(r: &mut Reader<'_>, node: &Node, key: &Key) -> Clos {
    let mut clos = Clos::default();
    let Some(map) = r.map(node, key) else { return clos };
    for (field, entry) in map.iter() {
        let (value, own) = (&entry.value, key.child(field));
        match field.as_str() {
            "health_check" => clos.health_check = probe(r, value, &own),
            "prefer" => clos.prefer = one_of(r, value, &own, &["container", "process"]),
            // Read by what runs processes.
            "process" => drop(clos.others.insert(field.clone(), value.to_json())),
            _ => {
                let message = keys::unknown(key, field, "it is ignored: CLOS knows no key");
                r.findings.warning(Code::UnknownKey, &entry.key_at, &own, message);
                clos.others.insert(field.clone(), value.to_json());
            }
        }
    }
    clos
}

fn probe(r: &mut Reader<'_>, node: &Node, key: &Key) -> Option<Probe> {
    let map = r.map(node, key)?;
    let mut kinds: Vec<ProbeKind> = Vec::new();
    let mut named = 0;
    let mut expected = None;
    let mut probe = Probe {
        kind: ProbeKind::Tcp(String::new()),
        interval: None,
        timeout: None,
        retries: None,
        start_period: None,
        at: node.at.clone(),
    };
    for (field, entry) in map.iter() {
        let (value, own) = (&entry.value, key.child(field));
        match field.as_str() {
            "url" => {
                named += 1;
                kinds.extend(url(r, value, &own).map(|url| ProbeKind::Http { url, expected_status: None }));
            }
            "tcp" => {
                named += 1;
                kinds.extend(tcp(r, value, &own).map(ProbeKind::Tcp));
            }
            "command" => {
                named += 1;
                kinds.extend(argv(r, value, &own).map(ProbeKind::Command));
            }
            "expected_status" => expected = status(r, value, &own),
            "interval" => probe.interval = r.duration(value, &own),
            "timeout" => probe.timeout = r.duration(value, &own),
            "start_period" => probe.start_period = r.duration(value, &own),
            "retries" => probe.retries = r.count(value, &own).and_then(|count| u32::try_from(count).ok()),
            _ => r.unknown(field, entry, key),
        }
    }
    if named != 1 {
        r.error(Code::Conflict, node, key, "a health check needs one of url, tcp and command");
        return None;
    }
    probe.kind = kinds.pop()?;
    match (&mut probe.kind, expected) {
        (ProbeKind::Http { expected_status, .. }, expected) => *expected_status = expected,
        (_, Some(_)) => r.error(Code::Conflict, node, key, "`expected_status` goes with `url` only"),
        _ => {}
    }
    Some(probe)
}

fn url(r: &mut Reader<'_>, node: &Node, key: &Key) -> Option<String> {
    let text = r.text(node, key)?;
    let address = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
    let authority = address.map(|rest| rest.split(['/', '?', '#']).next().unwrap_or_default());
    let port_fits = |authority: &str| match authority.rsplit_once(':') {
        Some((_, port)) if !port.ends_with(']') => port.parse::<u16>().is_ok_and(|port| port > 0),
        _ => !authority.is_empty(),
    };
    if authority.is_some_and(port_fits) && !text.contains(char::is_whitespace) {
        return Some(text);
    }
    let shown = crate::node::shorten(&text);
    let message = format!("`{shown}` is not an address; write it as `http://:8080/healthz`");
    r.error(Code::InvalidValue, node, key, message);
    None
}

fn tcp(r: &mut Reader<'_>, node: &Node, key: &Key) -> Option<String> {
    let text = match &node.kind {
        Kind::Int(port) => format!(":{port}"),
        _ => r.text(node, key)?,
    };
    let port = text.rsplit_once(':').map_or(text.as_str(), |(_, port)| port);
    if port.parse::<u16>().is_ok_and(|port| port > 0) {
        return Some(if text.contains(':') { text } else { format!(":{text}") });
    }
    let shown = crate::node::shorten(&text);
    r.error(Code::InvalidValue, node, key, format!("`{shown}` names no port; write it as `:5432`"));
    None
}

fn argv(r: &mut Reader<'_>, node: &Node, key: &Key) -> Option<Vec<String>> {
    let words = command(r, node, key)?;
    if words.is_empty() {
        r.error(Code::InvalidValue, node, key, "the command is empty");
        return None;
    }
    Some(words)
}

fn status(r: &mut Reader<'_>, node: &Node, key: &Key) -> Option<u16> {
    let number = r.integer(node, key)?;
    match u16::try_from(number) {
        Ok(status @ 100..=599) => Some(status),
        _ => {
            r.error(Code::InvalidValue, node, key, format!("{number} is no HTTP status"));
            None
        }
    }
}

/// `x-clos` of the top level.
pub(super) fn project(r: &mut Reader<'_>, node: &Node, key: &Key) -> Vec<GroupEdge> {
    let mut edges = Vec::new();
    let Some(map) = r.map(node, key) else { return edges };
    for (field, entry) in map.iter() {
        let (value, own) = (&entry.value, key.child(field));
        match field.as_str() {
            "depends_on" => {
                for (index, item) in r.list(value, &own).unwrap_or_default().iter().enumerate() {
                    let own = own.item(index);
                    let Some(text) = r.text(item, &own) else { continue };
                    match edge(&text, item) {
                        Some(edge) => edges.push(edge),
                        None => {
                            let shown = crate::node::shorten(&text);
                            let message = format!(
                                "`{shown}` is not a group; write `infra`, `infra~instance` or `other/db`"
                            );
                            r.error(Code::InvalidName, item, &own, message);
                        }
                    }
                }
            }
            _ => {
                let message = keys::unknown(key, field, "it is ignored: CLOS knows no key");
                r.findings.warning(Code::UnknownKey, &entry.key_at, &own, message);
            }
        }
    }
    edges
}

fn edge(text: &str, node: &Node) -> Option<GroupEdge> {
    let (group, service) = match text.split_once('/') {
        Some((group, service)) => (group, Some(service)),
        None => (text, None),
    };
    let (group, instance) = match group.split_once('~') {
        Some((group, instance)) => (group, Some(instance)),
        None => (group, None),
    };
    let good = super::is_group_name(group)
        && instance.is_none_or(is_instance_name)
        && service.is_none_or(super::is_service_name);
    good.then(|| GroupEdge {
        group: group.to_owned(),
        instance: instance.map(str::to_owned),
        service: service.map(str::to_owned),
        at: node.at.clone(),
    })
}

fn is_instance_name(name: &str) -> bool {
    let starts_well = name.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
    starts_well
        && name.len() <= 31
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
}
