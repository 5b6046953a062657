//! Networks: made where they are missing, replaced where their definition changed, and not joined
//! when they are somebody else's.

use std::collections::{BTreeMap, BTreeSet};

use super::images::Images;
use super::shared::{key_of, missing_external};
use super::up::{Done, Fate};
use super::{Member, Part, Planner, Present, Work};
use crate::error::Reason;
use crate::group::Group;
use crate::operation::Verb;
use crate::problem::Problem;
use crate::service::Service;
use crate::spec;
use crate::workload::{Network, Spec};

/// A network that is replaced, and the containers that are on it.
pub(super) struct Exchange<'a> {
    network: Network,
    why: String,
    /// Nodes of the plan.
    nodes: BTreeSet<usize>,
    /// Containers of ours that are not of the plan: those of services that take no part, and of orphans that stay.
    others: Vec<(&'a Service, String, bool)>,
}

/// The steps of the networks that are replaced.
#[derive(Default)]
pub(super) struct Exchanged {
    /// By the network's name.
    pub(super) steps: BTreeMap<String, u32>,
    /// By node: the networks that its container is on.
    pub(super) of_node: BTreeMap<usize, Vec<u32>>,
    /// By node: its stop, ahead of everything else.
    pub(super) stops: BTreeMap<usize, u32>,
}

impl<'a> Planner<'a> {
    /// The networks whose definition changed. Only an `up` replaces them, and only when nobody is on them whom
    /// this plan could not start again.
    pub(super) fn exchanges(&mut self, parts: &[Part<'a>]) -> Vec<Exchange<'a>> {
        let mut exchanges = Vec::new();
        for part in parts {
            let group = part.group;
            let keys = group.definition.networks.keys().map(String::as_str).chain([spec::DEFAULT_NETWORK]);
            let names: BTreeMap<String, &str> = keys.map(|key| (group.network_name(key), key)).collect();
            for (name, key) in names {
                let Some(present) = self.snapshot.networks.get(&name) else { continue };
                let Some(changes) = &present.changes else { continue };
                let mut joins = part.services.iter().flat_map(|wanted| &wanted.spec.container().networks);
                if present.group.as_ref() != Some(&group.name) || !joins.any(|join| join.network == name) {
                    continue;
                }
                if self.verb != Verb::Up || part.along {
                    self.notes.push(format!(
                        "network `{name}` differs from its definition ({changes}); `up` would replace it"
                    ));
                    continue;
                }
                let Some(installation) = part.services.first().map(|one| &one.spec.identity.installation)
                else {
                    continue;
                };
                let mut exchange = Exchange {
                    network: spec::network(installation, group, key),
                    why: format!("its definition changed: {changes}"),
                    nodes: BTreeSet::new(),
                    others: Vec::new(),
                };
                let strangers = self.find_members(&mut exchange, &present.id, parts);
                if strangers.is_empty() {
                    exchanges.push(exchange);
                } else {
                    self.problems.push(held_by(&name, changes, &strangers, group));
                }
            }
        }
        exchanges
    }

    /// Fills in who is on a network; returns those whom the plan may not stop.
    fn find_members(&self, exchange: &mut Exchange<'a>, id: &str, parts: &[Part<'a>]) -> Vec<&'a str> {
        let name = &exchange.network.name;
        let snapshot = self.snapshot;
        let on_it = snapshot
            .workloads
            .iter()
            .filter(|(_, present)| present.networks.get(name).is_some_and(|on| on == id || on == name));
        let mut strangers = Vec::new();
        for (container, present) in on_it {
            let seat = self.seats.iter().position(|seat| seat.present.is_some() && seat.name == *container);
            if let Some(i) = seat {
                exchange.nodes.insert(i);
                continue;
            }
            if self.seats.iter().any(|seat| seat.leftovers.contains(container)) {
                continue;
            }
            let orphan = self.orphans.iter().find(|one| present.service.as_ref() == Some(&one.id)).copied();
            if orphan.is_some() && self.policy.remove_orphans {
                continue;
            }
            let mut aside = parts.iter().flat_map(|part| &part.aside);
            let aside = aside.find(|one| present.aside.as_ref() == Some(&one.id)).copied();
            match orphan.or(aside) {
                Some(service) => exchange.others.push((service, container.clone(), present.runs())),
                // Another container of a service of the plan is that of an operation underway.
                None if present.is_ours() => {}
                None => strangers.push(container.as_str()),
            }
        }
        strangers
    }

    /// What runs on a network that is replaced is started again.
    pub(super) fn exchange_fates(
        &mut self,
        exchanges: &[Exchange<'_>],
        fates: &mut [Fate],
        reasons: &mut [String],
    ) {
        for exchange in exchanges {
            for i in exchange.nodes.iter().copied().filter(|i| self.seats[*i].runs()) {
                // It is stopped in any case, so it is replaced in any case.
                self.conditions[i] = None;
                if matches!(fates[i], Fate::Keep | Fate::Unpause) {
                    fates[i] = Fate::Restart;
                    reasons[i] = format!("network `{}` is replaced", exchange.network.name);
                }
            }
        }
    }

    /// A network that a container was on and that is not there any more, also when another one has its name:
    /// the engine starts it only on that one.
    pub(super) fn lost_network(&self, present: &Present) -> Option<String> {
        if present.runs() {
            return None;
        }
        let networks = &self.snapshot.networks;
        let is_there = |name: &str, id: &str| {
            let is_it = networks.iter().any(|(other, found)| found.id == id || other == id);
            if id.is_empty() { networks.contains_key(name) } else { is_it }
        };
        let mut joined = present.networks.iter();
        joined.find(|(name, id)| !is_there(name, id)).map(|(name, _)| name.clone())
    }

    /// A network that is there, and that a container was taken off by hand.
    pub(super) fn left_network(&self, spec: &Spec, present: &Present) -> Option<String> {
        // What has not run yet may be on none so far.
        if present.networks.is_empty() && !present.runs() {
            return None;
        }
        let networks = &self.snapshot.networks;
        let mut wanted = spec.container().networks.iter().map(|join| &join.network);
        wanted.find(|name| networks.contains_key(*name) && !present.networks.contains_key(*name)).cloned()
    }

    /// Makes the networks that are missing; returns the steps by name. They are made after `gone`, which may
    /// have had their addresses.
    pub(super) fn networks(
        &mut self,
        fates: &[Fate],
        exchanges: &[Exchange<'_>],
        gone: &[u32],
    ) -> BTreeMap<String, u32> {
        let mut planned = BTreeMap::new();
        let mut seen: BTreeSet<String> =
            exchanges.iter().map(|exchange| exchange.network.name.clone()).collect();
        for at in 0..self.order.start.len() {
            let i = self.order.start[at];
            let (group, wanted) = (self.order.nodes[i].group, self.order.nodes[i].wanted);
            if !matches!(fates[i], Fate::Create | Fate::Replace) {
                continue;
            }
            for join in &wanted.spec.container().networks {
                let name = &join.network;
                if !seen.insert(name.clone()) {
                    continue;
                }
                let installation = &wanted.spec.identity.installation;
                let key = key_of(group.definition.networks.keys(), |key| group.network_name(key) == *name);
                let network = spec::network(installation, group, key);
                let Some(present) = self.snapshot.networks.get(name) else {
                    if network.external {
                        self.problems.push(missing_external("network", name, group));
                        continue;
                    }
                    let work = Work::MakeNetwork(Box::new(network));
                    planned.insert(
                        name.clone(),
                        self.step(None, work, vec![], gone.to_vec(), "does not exist yet".into()),
                    );
                    continue;
                };
                if network.external || present.is_ours || present.group.as_ref() == Some(&group.name) {
                    continue;
                }
                if self.policy.adopt {
                    self.notes
                        .push(format!("joins network `{name}`, which this project did not make, as it is"));
                } else {
                    self.problems.push(not_the_projects(name, key, group));
                }
            }
        }
        planned
    }

    /// Stops whoever is on a network that is replaced, and replaces it.
    pub(super) fn exchange(
        &mut self,
        exchanges: &[Exchange<'a>],
        fates: &[Fate],
        images: &Images,
        cleared: &BTreeMap<usize, Vec<u32>>,
        orphans: &[u32],
    ) -> Exchanged {
        let mut exchanged = Exchanged::default();
        let nodes: BTreeSet<usize> = exchanges.iter().flat_map(|one| one.nodes.iter().copied()).collect();
        // Nothing stops before every image is there that one of them gets.
        let ready: BTreeSet<u32> = nodes.iter().flat_map(|i| self.images_of(images, *i, fates)).collect();
        let mut other_stops: BTreeMap<String, u32> = BTreeMap::new();
        for (service, name, runs) in exchanges.iter().flat_map(|one| &one.others) {
            if *runs && !other_stops.contains_key(name) {
                let grace = self.policy.grace.unwrap_or_else(|| service.definition.stop.grace());
                let work = Work::Stop { name: name.clone(), grace };
                let needs = ready.iter().copied().collect();
                let stop = self.step(Some(service), work, needs, vec![], "its network is replaced".into());
                other_stops.insert(name.clone(), stop);
            }
        }
        for at in (0..self.order.start.len()).rev() {
            let i = self.order.start[at];
            if !nodes.contains(&i) || !self.seats[i].runs() {
                continue;
            }
            let node = &self.order.nodes[i];
            let work = Work::Stop { name: self.seats[i].name.clone(), grace: self.grace(&node.wanted.spec) };
            let needs = ready.iter().chain(cleared.get(&i).into_iter().flatten()).copied().collect();
            let after = node.needed_by.iter().filter_map(|j| exchanged.stops.get(j).copied()).collect();
            let service = node.wanted.service;
            let stop = self.step(Some(service), work, needs, after, "its network is replaced".into());
            exchanged.stops.insert(i, stop);
        }
        for exchange in exchanges {
            let in_order = self.order.start.iter().filter(|i| exchange.nodes.contains(i));
            let mut members: Vec<Member> = in_order
                .map(|i| Member { name: self.seats[*i].name.clone(), ran: self.seats[*i].runs() })
                .collect();
            members.extend(
                exchange.others.iter().map(|(_, name, ran)| Member { name: name.clone(), ran: *ran }),
            );
            let mut needs: Vec<u32> =
                exchange.nodes.iter().filter_map(|i| exchanged.stops.get(i).copied()).collect();
            needs.extend(exchange.nodes.iter().filter_map(|i| cleared.get(i)).flatten());
            needs.extend(exchange.others.iter().filter_map(|(_, name, _)| other_stops.get(name)));
            let network = Box::new(exchange.network.clone());
            let work = Work::ReplaceNetwork { network, members };
            let number = self.step(None, work, needs, orphans.to_vec(), exchange.why.clone());
            exchanged.steps.insert(exchange.network.name.clone(), number);
            for i in &exchange.nodes {
                exchanged.of_node.entry(*i).or_default().push(number);
            }
        }
        exchanged
    }

    /// Starts again what is not of the plan and was stopped for a network, after everything that it may need.
    pub(super) fn resume_others(&mut self, exchanges: &[Exchange<'a>], exchanged: &Exchanged, done: &[Done]) {
        let mut networks: BTreeMap<&str, (&Service, Vec<u32>)> = BTreeMap::new();
        for exchange in exchanges {
            for (service, name, _) in exchange.others.iter().filter(|(_, _, runs)| *runs) {
                let steps = &mut networks.entry(name).or_insert((service, Vec::new())).1;
                steps.extend(exchanged.steps.get(&exchange.network.name));
            }
        }
        let started: Vec<u32> = done.iter().filter_map(|done| done.start).collect();
        for (name, (service, needs)) in networks {
            let work = Work::Start { name: name.to_owned() };
            self.step(Some(service), work, needs, started.clone(), "its network was replaced".into());
        }
    }
}

fn held_by(name: &str, changes: &str, containers: &[&str], group: &Group) -> Problem {
    let listed: Vec<String> = containers.iter().map(|one| format!("`{one}`")).collect();
    let (noun, verb, them) =
        if listed.len() == 1 { ("container", "is", "it") } else { ("containers", "are", "them") };
    let listed = listed.join(", ");
    let message = format!(
        "network `{name}` has to be replaced ({changes}), and {noun} {listed}, not part of `{}`, {verb} on it",
        group.name
    );
    let commands: Vec<String> =
        containers.iter().map(|one| format!("`docker network disconnect {name} {one}`")).collect();
    let hint = format!("disconnect {them} with {}, or undo the change of the network", commands.join(", "));
    Problem::new(Reason::DependantsRunning, &group.name, message, hint)
        .with("network", name)
        .with("containers", containers.join(","))
}

fn not_the_projects(name: &str, key: &str, group: &Group) -> Problem {
    let message = format!("network `{name}` of `{}` exists and was made by somebody else", group.name);
    let hint = format!(
        "to join it, write `external: true` under `networks.{key}` or use `up --adopt`; to have one of its own, give it another `name:` there"
    );
    Problem::new(Reason::NameTaken, &group.name, message, hint).with("network", name)
}
