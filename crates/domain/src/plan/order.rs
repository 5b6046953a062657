//! Who takes part, in which order, and what each needs.

use std::collections::BTreeMap;

use super::{Part, Wanted};
use crate::error::{Error, Reason};
use crate::graph::Graph;
use crate::group::Group;
use crate::name::ServiceRef;
use crate::service::{Condition, Service};

/// Every service that takes part, in start order, with what it needs.
pub(super) struct Order<'a> {
    pub(super) nodes: Vec<Node<'a>>,
    pub(super) start: Vec<usize>,
}

pub(super) struct Node<'a> {
    pub(super) group: &'a Group,
    pub(super) along: bool,
    pub(super) wanted: &'a Wanted<'a>,
    /// (node, how far it must be, failing is only a warning)
    pub(super) needs: Vec<(usize, Condition, bool)>,
    pub(super) needed_by: Vec<usize>,
}

impl<'a> Order<'a> {
    pub(super) fn of(parts: &'a [Part<'a>]) -> Result<Self, Error> {
        check_groups(parts)?;
        let mut nodes: Vec<Node<'a>> = Vec::new();
        for part in parts {
            let mut services: Vec<&Wanted<'a>> = part.services.iter().collect();
            services.sort_by(|a, b| sort_key(a.service).cmp(&sort_key(b.service)));
            nodes.extend(services.into_iter().map(|wanted| Node {
                group: part.group,
                along: part.along,
                wanted,
                needs: Vec::new(),
                needed_by: Vec::new(),
            }));
        }
        let names: BTreeMap<ServiceRef, usize> =
            nodes.iter().enumerate().map(|(i, node)| (node.wanted.service.resource(), i)).collect();
        for i in 0..nodes.len() {
            let needs = needs_of(&nodes, &names, i);
            for (need, _, _) in &needs {
                nodes[*need].needed_by.push(i);
            }
            nodes[i].needs = needs;
        }
        let keys: Vec<String> = nodes.iter().map(|node| node.wanted.service.resource().to_string()).collect();
        let edges = nodes.iter().enumerate().flat_map(|(i, node)| {
            let keys = &keys;
            node.needs.iter().map(move |(need, _, _)| (keys[i].clone(), keys[*need].clone()))
        });
        let graph = Graph::new(keys.iter().cloned(), edges).map_err(|cycle| {
            Error::new(Reason::DependencyCycle, format!("services depend on each other in a circle: {cycle}"))
                .with("path", &cycle)
        })?;
        let by_key: BTreeMap<&String, usize> = keys.iter().enumerate().map(|(i, key)| (key, i)).collect();
        let start = graph.start_order().into_iter().map(|key| by_key[key]).collect();
        Ok(Self { nodes, start })
    }
}

fn sort_key(service: &Service) -> (i32, &str) {
    (service.definition.start_order, service.definition.name.as_str())
}

/// Groups that need each other in a circle are refused before their services are looked at.
fn check_groups(parts: &[Part<'_>]) -> Result<(), Error> {
    let keys = parts.iter().map(|part| part.group.name.to_string());
    let edges = parts.iter().flat_map(|part| {
        let from = part.group.name.to_string();
        part.group.definition.depends_on.iter().map(move |need| (from.clone(), need.group.to_string()))
    });
    Graph::new(keys, edges).map(drop).map_err(|cycle| {
        Error::new(Reason::DependencyCycle, format!("groups depend on each other in a circle: {cycle}"))
            .with("path", &cycle)
    })
}

fn needs_of(
    nodes: &[Node<'_>],
    names: &BTreeMap<ServiceRef, usize>,
    i: usize,
) -> Vec<(usize, Condition, bool)> {
    let node = &nodes[i];
    let mut needs: BTreeMap<usize, (Condition, bool)> = BTreeMap::new();
    for dependency in &node.wanted.service.definition.depends_on {
        let key = ServiceRef { group: node.group.name.clone(), name: dependency.service.clone() };
        if let Some(&need) = names.get(&key) {
            needs.insert(need, (dependency.condition, !dependency.required));
        }
    }
    let container = node.wanted.spec.container();
    for owner in container.shared_with().into_iter().chain(container.mounted_from()) {
        let found = nodes.iter().position(|other| other.wanted.spec.name == owner);
        if let Some(j) = found.filter(|j| *j != i) {
            needs.entry(j).or_insert((Condition::Started, false));
        }
    }
    for dependency in &node.group.definition.depends_on {
        for (j, other) in nodes.iter().enumerate() {
            let is_meant = other.group.name == dependency.group
                && dependency
                    .service
                    .as_ref()
                    .is_none_or(|name| *name == other.wanted.service.definition.name);
            if is_meant && j != i {
                let service = &other.wanted.service.definition;
                let far =
                    if service.gate_check().is_some() { Condition::Healthy } else { Condition::Started };
                needs.entry(j).or_insert((far, false));
            }
        }
    }
    needs.into_iter().map(|(need, (condition, soft))| (need, condition, soft)).collect()
}
