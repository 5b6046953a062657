//! What several services share: images, networks, volumes.

use std::collections::{BTreeMap, BTreeSet};

use super::up::Fate;
use super::{Planner, Work};
use crate::error::Reason;
use crate::group::Group;
use crate::problem::Problem;
use crate::spec;
use crate::workload::{PullPolicy, Spec};

impl Planner<'_> {
    pub(super) fn images(&mut self, fates: &[Fate]) -> Vec<u32> {
        let mut planned: BTreeMap<String, u32> = BTreeMap::new();
        let mut missing: BTreeSet<String> = BTreeSet::new();
        for at in 0..self.order.start.len() {
            let i = self.order.start[at];
            if !matches!(fates[i], Fate::Create | Fate::Replace) {
                continue;
            }
            let node = &self.order.nodes[i];
            let (service, spec) = (node.wanted.service, &node.wanted.spec);
            let container = spec.container();
            let image = container.image.clone();
            if planned.contains_key(&image) {
                continue;
            }
            let is_there = self.snapshot.images.contains(&image);
            if let Some(build) = container.build.as_ref().filter(|_| self.builds(spec)) {
                let why = if is_there { "build was asked for" } else { "not on this engine" };
                let work = Work::Build { image: image.clone(), build: Box::new(build.clone()) };
                let number = self.step(Some(service), work, vec![], vec![], why.into());
                planned.insert(image, number);
            } else if self.pulls(spec) {
                let why = if is_there { "pull was asked for" } else { "not on this engine" };
                let work = Work::Pull { image: image.clone(), platform: container.platform.clone() };
                let number = self.step(Some(service), work, vec![], vec![], why.into());
                planned.insert(image, number);
            } else if !is_there && missing.insert(image.clone()) {
                let message = format!(
                    "image `{image}` of `{}` is not on this engine and its pull_policy is never",
                    service.resource()
                );
                let hint = "pull or build it, or change the policy";
                self.problems.push(
                    Problem::new(Reason::ImageNotFound, service.resource(), message, hint)
                        .with("image", &image)
                        .with("service", service.resource()),
                );
            }
        }
        let mut numbers: Vec<u32> = planned.into_values().collect();
        numbers.sort_unstable();
        numbers
    }

    pub(super) fn builds(&self, spec: &Spec) -> bool {
        let container = spec.container();
        container.build.is_some()
            && (self.policy.build
                || container.pull == PullPolicy::Build
                || !self.snapshot.images.contains(&container.image))
    }

    pub(super) fn pulls(&self, spec: &Spec) -> bool {
        let container = spec.container();
        let wanted = match self.policy.pull.unwrap_or(container.pull) {
            PullPolicy::Never | PullPolicy::Build => false,
            PullPolicy::Always => true,
            PullPolicy::Missing => !self.snapshot.images.contains(&container.image),
        };
        wanted && container.build.is_none()
    }

    pub(super) fn networks(&mut self, fates: &[Fate]) -> BTreeMap<String, u32> {
        let mut planned = BTreeMap::new();
        let mut missing = BTreeSet::new();
        for at in 0..self.order.start.len() {
            let i = self.order.start[at];
            let (group, wanted) = (self.order.nodes[i].group, self.order.nodes[i].wanted);
            if !matches!(fates[i], Fate::Create | Fate::Replace) {
                continue;
            }
            for join in &wanted.spec.container().networks {
                if planned.contains_key(&join.network) || self.snapshot.networks.contains_key(&join.network) {
                    continue;
                }
                let installation = &wanted.spec.identity.installation;
                let key =
                    key_of(group.definition.networks.keys(), |key| group.network_name(key) == join.network);
                let network = spec::network(installation, group, key);
                if network.external {
                    if missing.insert(join.network.clone()) {
                        self.problems.push(missing_external("network", &join.network, group));
                    }
                    continue;
                }
                let number = self.step(
                    None,
                    Work::MakeNetwork(Box::new(network)),
                    vec![],
                    vec![],
                    "not there yet".into(),
                );
                planned.insert(join.network.clone(), number);
            }
        }
        planned
    }

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
                    "not there yet".into(),
                );
                planned.insert(name.clone(), number);
            }
        }
        planned
    }
}

fn key_of<'k>(mut keys: impl Iterator<Item = &'k String>, is_it: impl Fn(&str) -> bool) -> &'k str {
    keys.find(|key| is_it(key)).map_or(spec::DEFAULT_NETWORK, String::as_str)
}

fn missing_external(noun: &str, name: &str, group: &Group) -> Problem {
    let message = format!("{noun} `{name}` of `{}` is external and does not exist", group.name);
    let hint = format!("create it with `docker {noun} create {name}`");
    Problem::new(Reason::InvalidFile, &group.name, message, hint).with(noun, name)
}
