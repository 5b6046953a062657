//! Containers that live in another one's namespaces. The engine binds them to its id: when that
//! container is replaced they are dead, and when it is restarted they keep what has ended.

use super::up::Fate;
use super::{Planner, Present};
use crate::operation::Verb;

impl Planner<'_> {
    /// What a container has to follow, if it would go on as it is otherwise.
    pub(super) fn guest_fate(&self, i: usize, fates: &[Fate]) -> Option<(Fate, String)> {
        if !matches!(fates[i], Fate::Keep | Fate::Start | Fate::Unpause) {
            return None;
        }
        let spec = &self.order.nodes[i].wanted.spec;
        let present = self.snapshot.workloads.get(&spec.name)?;
        let container = spec.container();
        let shared = container.shared_with();
        let leaves = self.verb == Verb::Start || self.order.nodes[i].along;
        for owner in &shared {
            if let Some((at, name)) = self.node_named(owner)
                && matches!(fates[at], Fate::Create | Fate::Replace)
            {
                return Some((
                    Fate::Replace,
                    format!("shares a namespace of {name}, whose container is new"),
                ));
            }
        }
        // What runs there is left alone by a start; what does not could not be started.
        let may_stay = leaves && fates[i] != Fate::Start;
        let left_behind = shared.iter().find(|owner| !may_stay && self.is_bound_elsewhere(present, owner));
        if let Some(owner) = left_behind {
            return Some((Fate::Replace, format!("shares a namespace of an earlier `{owner}`")));
        }
        for owner in container.mounted_from() {
            if let Some((at, name)) = self.node_named(owner)
                && matches!(fates[at], Fate::Create | Fate::Replace)
                && !leaves
            {
                return Some((Fate::Replace, format!("mounts volumes of {name}, whose container is new")));
            }
        }
        if fates[i] == Fate::Start {
            return None;
        }
        shared.iter().filter_map(|owner| self.node_named(owner)).find_map(|(at, name)| {
            let is_started = matches!(fates[at], Fate::Restart | Fate::Start);
            is_started.then(|| (Fate::Restart, format!("shares a namespace of {name}, which is started")))
        })
    }

    /// The nodes whose namespaces a node shares.
    pub(super) fn owners(&self, i: usize) -> Vec<usize> {
        let container = self.order.nodes[i].wanted.spec.container();
        container.shared_with().into_iter().filter_map(|owner| Some(self.node_named(owner)?.0)).collect()
    }

    /// Its container is bound to one that is not its owner's any more.
    pub(super) fn is_left_behind(&self, i: usize) -> bool {
        let spec = &self.order.nodes[i].wanted.spec;
        let Some(present) = self.snapshot.workloads.get(&spec.name) else { return false };
        spec.container().shared_with().iter().any(|owner| self.is_bound_elsewhere(present, owner))
    }

    /// The owner is there, and the container is bound to another one.
    fn is_bound_elsewhere(&self, guest: &Present, owner: &str) -> bool {
        let Some(owner_present) = self.snapshot.workloads.get(owner) else { return false };
        // An engine that keeps the name says nothing about the id.
        let is_it = |bound: &String| *bound == owner_present.id || bound == owner;
        !guest.shares_with.is_empty() && !guest.shares_with.iter().any(is_it)
    }

    pub(super) fn node_named(&self, workload: &str) -> Option<(usize, &str)> {
        let at = self.order.nodes.iter().position(|node| node.wanted.spec.name == workload)?;
        Some((at, self.order.nodes[at].wanted.service.definition.name.as_str()))
    }
}
