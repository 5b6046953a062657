//! Volumes that services share.

use std::collections::{BTreeMap, BTreeSet};

use super::up::Fate;
use super::{Planner, Work};
use crate::error::Reason;
use crate::group::Group;
use crate::problem::Problem;
use crate::spec;

impl Planner<'_> {
    pub(super) fn volumes(&mut self, fates: &[Fate]) -> BTreeMap<String, u32> {
        let mut planned = BTreeMap::new();
        let mut missing = BTreeSet::new();
        for at in 0..self.order.start.len() {
            let i = self.order.start[at];
            let (group, wanted) = (self.order.nodes[i].group, self.order.nodes[i].wanted);
            if !matches!(fates[i], Fate::Create | Fate::Replace) {
                continue;
            }
            for mount in &wanted.spec.container().mounts {
                let Some(name) =
                    mount.source.as_ref().filter(|_| mount.kind == crate::workload::MountKind::Volume)
                else {
                    continue;
                };
                if planned.contains_key(name) || self.snapshot.volumes.contains_key(name) {
                    continue;
                }
                let installation = &wanted.spec.identity.installation;
                let key = key_of(group.definition.volumes.keys(), |key| group.volume_name(key) == *name);
                let volume = spec::volume(installation, group, key);
                if volume.external {
                    if missing.insert(name.clone()) {
                        self.problems.push(missing_external("volume", name, group));
                    }
                    continue;
                }
                let number = self.step(
                    None,
                    Work::MakeVolume(Box::new(volume)),
                    vec![],
                    vec![],
                    "does not exist yet".into(),
                );
                planned.insert(name.clone(), number);
            }
        }
        planned
    }
}

pub(super) fn key_of<'k>(
    mut keys: impl Iterator<Item = &'k String>,
    is_it: impl Fn(&str) -> bool,
) -> &'k str {
    keys.find(|key| is_it(key)).map_or(spec::DEFAULT_NETWORK, String::as_str)
}

pub(super) fn missing_external(noun: &str, name: &str, group: &Group) -> Problem {
    let message = format!("{noun} `{name}` of `{}` is external and does not exist", group.name);
    let hint = format!("create it with `docker {noun} create {name}`");
    Problem::new(Reason::InvalidFile, &group.name, message, hint).with(noun, name)
}
