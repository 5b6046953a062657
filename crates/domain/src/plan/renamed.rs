//! A project whose files, or whose folder, have another name by now: what it was before.

use std::collections::{BTreeMap, BTreeSet};

use super::{Former, Part, Planner, Work};
use crate::group::Group;
use crate::spec;

/// The steps that remove what a renamed project was.
#[derive(Debug, Default)]
pub(super) struct Retired {
    pub(super) containers: Vec<u32>,
    pub(super) networks: Vec<u32>,
}

impl Planner<'_> {
    /// Names the groups that the files made under an earlier name, and removes on request what
    /// they have but for their volumes.
    pub(super) fn retire(&mut self, parts: &[Part<'_>]) -> Retired {
        let mut retired = Retired::default();
        for part in parts {
            for former in &part.former {
                if self.policy.remove_orphans {
                    self.retire_one(part, former, &mut retired);
                } else {
                    let name = &former.group.name;
                    self.notes.push(format!(
                        "these files were group `{name}` before, and it still has containers; --remove-orphans removes them and its networks, and keeps its volumes"
                    ));
                }
            }
        }
        retired
    }

    fn retire_one(&mut self, part: &Part<'_>, former: &Former<'_>, retired: &mut Retired) {
        let group = former.group;
        let why = format!("{} is {} now", group.name, part.group.name);
        let mut removed = Vec::new();
        for service in &former.services {
            for name in self.names_of(&service.id, &service.workload_name()) {
                let mut needs = Vec::new();
                if self.runs(&name) {
                    let grace = self.policy.grace.unwrap_or_else(|| service.definition.stop.grace());
                    let work = Work::Stop { name: name.clone(), grace };
                    needs.push(self.step(Some(service), work, vec![], vec![], why.clone()));
                }
                removed.push(self.step(Some(service), Work::Remove { name }, needs, vec![], why.clone()));
            }
        }
        let kept_networks = networks(part.group);
        for name in networks(group).difference(&kept_networks) {
            if self.snapshot.networks.get(name).is_some_and(|present| present.is_ours) {
                let work = Work::RemoveNetwork(name.clone());
                retired.networks.push(self.step(None, work, vec![], removed.clone(), why.clone()));
            }
        }
        retired.containers.extend(removed);
        let volumes = self.volumes_left(part, former);
        if !volumes.is_empty() {
            self.notes.push(format!("kept: {} of group `{}`", volumes.join(", "), group.name));
        }
    }

    fn volumes_left(&self, part: &Part<'_>, former: &Former<'_>) -> Vec<String> {
        let names = |group: &Group| -> BTreeSet<String> {
            group.definition.volumes.keys().map(|key| group.volume_name(key)).collect()
        };
        let wanted = names(part.group);
        let own = names(former.group);
        let mut left: Vec<String> = own
            .difference(&wanted)
            .filter(|name| self.snapshot.volumes.get(*name) == Some(&true))
            .map(|name| format!("volume `{name}`"))
            .collect();
        let services = former.services.iter();
        let anonymous = services.filter_map(|service| self.snapshot.anonymous_volumes.get(&service.id));
        match anonymous.map(BTreeMap::len).sum() {
            0 => {}
            1 => left.push("1 anonymous volume".into()),
            count => left.push(format!("{count} anonymous volumes")),
        }
        left
    }
}

fn networks(group: &Group) -> BTreeSet<String> {
    let keys = group.definition.networks.keys().map(String::as_str);
    keys.chain([spec::DEFAULT_NETWORK]).map(|key| group.network_name(key)).collect()
}
