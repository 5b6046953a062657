//! Containers that are restarted, stopped and removed.

use std::collections::{BTreeMap, BTreeSet};

use super::up::Done;
use super::{Part, Planner, Work};
use crate::spec;

impl Planner<'_> {
    pub(super) fn restart(&mut self) {
        let mut stopped: BTreeMap<usize, u32> = BTreeMap::new();
        for at in (0..self.order.start.len()).rev() {
            let i = self.order.start[at];
            let node = &self.order.nodes[i];
            let (service, name) = (node.wanted.service, self.seats[i].name.clone());
            if !self.seats[i].is_ours() {
                self.notes.push(format!("{} has no container; use start", service.resource()));
                continue;
            }
            if self.seats[i].runs() {
                let after = node.needed_by.iter().filter_map(|j| stopped.get(j).copied()).collect();
                let work = Work::Stop { name, grace: self.grace(&node.wanted.spec) };
                let number = self.step(Some(service), work, vec![], after, "restart".into());
                stopped.insert(i, number);
            }
        }
        let mut done = vec![Done::default(); self.order.nodes.len()];
        for at in 0..self.order.start.len() {
            let i = self.order.start[at];
            let node = &self.order.nodes[i];
            let (service, name) = (node.wanted.service, self.seats[i].name.clone());
            if !self.seats[i].is_ours() {
                continue;
            }
            let (mut needs, mut after) = self.gates(i, &done);
            needs.extend(stopped.get(&i));
            after.extend(node.needed_by.iter().filter_map(|j| stopped.get(j).copied()));
            done[i].start =
                Some(self.step(Some(service), Work::Start { name }, needs, after, "restart".into()));
            self.wait(i, &mut done);
        }
    }

    pub(super) fn take_down(&mut self, parts: &[Part<'_>], remove: bool) {
        let mut ended: BTreeMap<usize, u32> = BTreeMap::new();
        let mut removed: Vec<u32> = Vec::new();
        for at in (0..self.order.start.len()).rev() {
            let i = self.order.start[at];
            let node = &self.order.nodes[i];
            let (service, spec) = (node.wanted.service, &node.wanted.spec);
            let dependants: Vec<u32> = node.needed_by.iter().filter_map(|j| ended.get(j).copied()).collect();
            let grace = self.grace(spec);
            let why = if remove { "down" } else { "stop" };
            for name in self.names_of(&service.id, &spec.name) {
                let mut needs = Vec::new();
                if self.runs(&name) {
                    let work = Work::Stop { name: name.clone(), grace };
                    let number = self.step(Some(service), work, vec![], dependants.clone(), why.into());
                    ended.insert(i, number);
                    needs.push(number);
                }
                if remove {
                    removed.push(self.step(
                        Some(service),
                        Work::Remove { name },
                        needs,
                        vec![],
                        "down".into(),
                    ));
                }
            }
        }
        for orphan in parts.iter().flat_map(|part| &part.orphans).filter(|_| remove) {
            for name in self.names_of(&orphan.id, &orphan.workload_name()) {
                let work = Work::Remove { name };
                removed.push(self.step(Some(orphan), work, vec![], vec![], "no longer in the files".into()));
            }
        }
        if remove {
            self.remove_shared(parts, &removed);
            for part in parts.iter().filter(|part| part.is_whole) {
                self.tell_kept(part);
            }
        }
    }

    /// Names what is left of a group that goes down, and why.
    fn tell_kept(&mut self, part: &Part<'_>) {
        let (group, snapshot) = (part.group, self.snapshot);
        let mut kept = Vec::new();
        let mut strangers = BTreeSet::new();
        for wanted in &part.services {
            let name = &wanted.spec.name;
            if snapshot.workloads.get(name).is_some_and(|present| !present.is_ours()) {
                strangers.insert(name);
                let service = wanted.service.resource();
                kept.push(format!("container `{name}`, which has the name of {service} but is not ours"));
            }
        }
        let beside = snapshot.composed.get(&group.name.engine_prefix()).into_iter().flatten();
        for one in beside.filter(|one| !strangers.contains(&one.name)) {
            let how = if one.is_one_off { "docker compose run" } else { "docker compose" };
            kept.push(format!("container `{}`, which was made by {how}", one.name));
        }
        let definition = &group.definition;
        for (key, _) in definition.networks.iter().filter(|(_, network)| network.external) {
            let name = group.network_name(key);
            if snapshot.networks.contains_key(&name) {
                kept.push(format!("external network `{name}`"));
            }
        }
        let mut volumes = Vec::new();
        for (key, volume) in &definition.volumes {
            let name = group.volume_name(key);
            match snapshot.volumes.get(&name) {
                Some(_) if volume.external => kept.push(format!("external volume `{name}`")),
                Some(true) if !self.policy.remove_volumes => volumes.push(format!("volume `{name}`")),
                Some(false) => kept.push(format!("volume `{name}`, which is not ours")),
                _ => {}
            }
        }
        if !self.policy.remove_volumes {
            let services = part.services.iter().map(|wanted| wanted.service);
            let anonymous: usize = services
                .chain(part.orphans.iter().copied())
                .filter_map(|service| snapshot.anonymous_volumes.get(&service.id))
                .map(BTreeMap::len)
                .sum();
            match anonymous {
                0 => {}
                1 => volumes.push("1 anonymous volume".into()),
                count => volumes.push(format!("{count} anonymous volumes")),
            }
        }
        if !volumes.is_empty() {
            kept.push(format!("{} (use --volumes to remove)", volumes.join(", ")));
        }
        self.notes.extend(kept.into_iter().map(|what| format!("kept: {what}")));
    }

    fn remove_shared(&mut self, parts: &[Part<'_>], removed: &[u32]) {
        let mut networks = BTreeSet::new();
        let mut volumes = BTreeSet::new();
        for part in parts {
            let keys = part.group.definition.networks.keys().map(String::as_str);
            networks.extend(keys.chain([spec::DEFAULT_NETWORK]).map(|key| part.group.network_name(key)));
            volumes.extend(part.group.definition.volumes.keys().map(|key| part.group.volume_name(key)));
        }
        for name in networks {
            if self.snapshot.networks.get(&name).is_some_and(|network| network.is_ours) {
                let why = "down, unless something else uses it".to_owned();
                self.step(None, Work::RemoveNetwork(name), vec![], removed.to_vec(), why);
            }
        }
        let mut adopted = Vec::new();
        for name in volumes {
            if self.policy.remove_volumes && self.snapshot.volumes.get(&name) == Some(&true) {
                if self.snapshot.adopted_volumes.contains(&name) {
                    adopted.push(format!("volume `{name}`"));
                }
                self.step(
                    None,
                    Work::RemoveVolume(name),
                    removed.to_vec(),
                    vec![],
                    "down with volumes".into(),
                );
            }
        }
        if !adopted.is_empty() {
            self.notes
                .push(format!("removes with its data: {} (made by docker compose)", adopted.join(", ")));
        }
        for part in parts.iter().filter(|_| self.policy.remove_volumes) {
            let services =
                part.services.iter().map(|wanted| wanted.service).chain(part.orphans.iter().copied());
            for service in services {
                let kept = self.snapshot.anonymous_volumes.get(&service.id).into_iter().flatten();
                for (target, volume) in kept {
                    let why = format!("down with volumes; {target} of {}", service.resource());
                    self.step(None, Work::RemoveVolume(volume.clone()), removed.to_vec(), vec![], why);
                }
            }
        }
    }
}
