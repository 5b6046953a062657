//! Which container is a service's: found by whose it is, whatever it is called.

use super::order::Order;
use super::{Planner, Present, Snapshot, Swap, Work};
use crate::id::ServiceId;
use crate::operation::Verb;
use crate::workload::{Spec, State};

/// So many digits of the old container's id are in front of a temporary name, as compose has it.
const TEMPORARY_DIGITS: usize = 12;

/// The container of a service, and what else carries its labels.
#[derive(Debug)]
pub(super) struct Seat<'a> {
    /// The container's name at this point of the plan; the wanted one while there is none.
    pub(super) name: String,
    pub(super) present: Option<&'a Present>,
    /// Further containers of the same service: an interrupted replacement leaves two.
    pub(super) leftovers: Vec<String>,
}

impl Seat<'_> {
    pub(super) fn runs(&self) -> bool {
        self.present.is_some_and(Present::runs)
    }

    pub(super) fn is_ours(&self) -> bool {
        self.present.is_some_and(Present::is_ours)
    }
}

impl Present {
    /// It is a container of a service of the plan.
    pub const fn is_ours(&self) -> bool {
        self.service.is_some()
    }

    /// It belongs to no service at all, so `--adopt` may replace it.
    pub const fn is_a_strangers(&self) -> bool {
        self.service.is_none() && self.of_another.is_none()
    }

    pub(super) fn runs(&self) -> bool {
        matches!(self.state, State::Running { .. } | State::Restarting | State::Paused)
    }
}

impl Snapshot {
    /// The containers of a service, the one that stands for it first.
    pub(super) fn containers_of(&self, id: &ServiceId, wanted: &str, hash: &str) -> Vec<(&String, &Present)> {
        let mut own: Vec<_> =
            self.workloads.iter().filter(|(_, present)| present.service.as_ref() == Some(id)).collect();
        own.sort_by_key(|(name, present)| {
            let is_the_new_one = present.runs() && !hash.is_empty() && present.spec_hash == hash;
            (present.is_in_the_making, !is_the_new_one, name.as_str() != wanted, !present.runs())
        });
        own
    }
}

/// The name that a replacement is created under.
pub(super) fn temporary_name(old_id: &str, name: &str) -> String {
    let digits: String = old_id.chars().take(TEMPORARY_DIGITS).collect();
    format!("{digits}_{name}")
}

/// Seats in the order of the nodes.
pub(super) fn seats<'a>(order: &Order<'_>, snapshot: &'a Snapshot, adopt: bool) -> Vec<Seat<'a>> {
    let of = |spec: &Spec| {
        let own = snapshot.containers_of(&spec.identity.service_id, &spec.name, &spec.identity.spec_hash);
        let holder = snapshot.workloads.get(&spec.name);
        if let Some(stranger) = holder.filter(|holder| adopt && holder.is_a_strangers()) {
            let leftovers = own.into_iter().map(|(name, _)| name.clone()).collect();
            return Seat { name: spec.name.clone(), present: Some(stranger), leftovers };
        }
        let mut own = own.into_iter();
        match own.next() {
            None => Seat { name: spec.name.clone(), present: None, leftovers: Vec::new() },
            Some((name, present)) => {
                // What an operation that still runs has made is that operation's to name or remove.
                let rest = own.filter(|(_, other)| !other.is_in_the_making);
                Seat {
                    name: name.clone(),
                    present: Some(present),
                    leftovers: rest.map(|(name, _)| name.clone()).collect(),
                }
            }
        }
    };
    order.nodes.iter().map(|node| of(&node.wanted.spec)).collect()
}

impl Planner<'_> {
    /// The service has a container under another name than the wanted one.
    pub(super) fn is_misnamed(&self, i: usize) -> bool {
        self.seats[i].is_ours() && self.seats[i].name != self.order.nodes[i].wanted.spec.name
    }

    /// What carries a service's labels, by name.
    pub(super) fn names_of(&self, service: &ServiceId, wanted: &str) -> Vec<String> {
        let own = self.snapshot.containers_of(service, wanted, "");
        own.into_iter().map(|(name, _)| name.clone()).collect()
    }

    /// It is what the service wants but for its name: an interrupted replacement was not done with it.
    pub(super) fn takes_its_name(&self, i: usize) -> bool {
        let hash = &self.order.nodes[i].wanted.spec.identity.spec_hash;
        self.is_misnamed(i) && self.seats[i].present.is_some_and(|present| present.spec_hash == *hash)
    }

    pub(super) fn name_it(&mut self, i: usize, needs: Vec<u32>) -> u32 {
        let node = &self.order.nodes[i];
        let (service, to) = (node.wanted.service, node.wanted.spec.name.clone());
        let from = std::mem::replace(&mut self.seats[i].name, to.clone());
        self.step(
            Some(service),
            Work::Rename { from, to },
            needs,
            vec![],
            "an interrupted replacement is finished".into(),
        )
    }

    /// The node whose container has this name and gives it up in this plan.
    pub(super) fn gives_up(&self, name: &str) -> Option<usize> {
        if !matches!(self.verb, Verb::Up | Verb::Recreate) {
            return None;
        }
        (0..self.seats.len())
            .find(|i| self.seats[*i].name == name && self.is_misnamed(*i) && !self.order.nodes[*i].along)
    }

    /// Removes what an interrupted replacement left beside a container.
    pub(super) fn clear(&mut self, i: usize) -> Vec<u32> {
        let node = &self.order.nodes[i];
        let (service, spec) = (node.wanted.service, &node.wanted.spec);
        let grace = self.grace(spec);
        let why = "left by an interrupted replacement";
        let mut removed = Vec::new();
        for name in self.seats[i].leftovers.clone() {
            let swap = Swap {
                old: self.seats[i].name.clone(),
                old_id: self.seats[i].present.map(|present| present.id.clone()).unwrap_or_default(),
                ran: self.seats[i].runs(),
                new: name.clone(),
                name: spec.name.clone(),
                spec_hash: spec.identity.spec_hash.clone(),
            };
            let mut needs = Vec::new();
            if self.runs(&name) {
                let stop = Work::Stop { name: name.clone(), grace };
                needs.push(self.swap_step(service, &swap, stop, vec![], vec![], why));
            }
            removed.push(self.swap_step(service, &swap, Work::Remove { name }, needs, vec![], why));
        }
        removed
    }

    /// A container whose name another one gets makes room for it.
    pub(super) fn park(&mut self, i: usize, needs: Vec<u32>) -> Vec<u32> {
        let node = &self.order.nodes[i];
        let service = node.wanted.service;
        let from = self.seats[i].name.clone();
        let takes = |other: &super::order::Node<'_>| other.wanted.spec.name == from;
        let Some(taker) = self.order.nodes.iter().find(|other| takes(other)) else { return needs };
        if self.gives_up(&from) != Some(i) {
            return needs;
        }
        let why = format!("{} gets its name", taker.wanted.service.resource());
        let id = self.seats[i].present.map(|present| present.id.as_str()).unwrap_or_default();
        let to = temporary_name(id, &from);
        self.seats[i].name.clone_from(&to);
        vec![self.step(Some(service), Work::Rename { from, to }, needs, vec![], why)]
    }
}
