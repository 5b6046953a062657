//! Host ports that change hands within one plan: whoever has one stops before its new owner starts.

use std::collections::BTreeMap;

use super::images::Images;
use super::up::Fate;
use super::{Planner, Work};

impl Planner<'_> {
    /// Stops, ahead of everything else, the workloads that are replaced and hold a port that another one
    /// gets; in the order of starts alone two services that swap ports would wait for each other. `stopped`
    /// are stopped already for another reason.
    pub(super) fn free_ports(
        &mut self,
        fates: &[Fate],
        images: &Images,
        cleared: &BTreeMap<usize, Vec<u32>>,
        stopped: &BTreeMap<usize, u32>,
    ) -> BTreeMap<usize, u32> {
        let mut freed = stopped.clone();
        for i in 0..fates.len() {
            let wanted = self.order.nodes[i].wanted;
            let is_stopped_anyway = self.conditions[i].is_some() || freed.contains_key(&i);
            if fates[i] != Fate::Replace || is_stopped_anyway || !self.seats[i].runs() {
                continue;
            }
            let takers: Vec<usize> =
                (0..fates.len()).filter(|taker| self.takes_port(*taker, i, fates)).collect();
            let Some(taker) = takers.first().copied() else { continue };
            let mut needs = self.images_of(images, i, fates);
            needs.extend(takers.into_iter().flat_map(|taker| self.images_of(images, taker, fates)));
            let why = format!("frees a port for {}", self.order.nodes[taker].wanted.service.resource());
            let work = Work::Stop { name: self.seats[i].name.clone(), grace: self.grace(&wanted.spec) };
            needs.extend(cleared.get(&i).into_iter().flatten());
            freed.insert(i, self.step(Some(wanted.service), work, needs, vec![], why));
        }
        freed
    }

    /// The stops that have to succeed before this one starts.
    pub(super) fn freed_for(&self, taker: usize, fates: &[Fate], freed: &BTreeMap<usize, u32>) -> Vec<u32> {
        let stops = freed.iter().filter(|(giver, _)| self.takes_port(taker, **giver, fates));
        stops.map(|(_, stop)| *stop).collect()
    }

    fn takes_port(&self, taker: usize, giver: usize, fates: &[Fate]) -> bool {
        if taker == giver || matches!(fates[taker], Fate::Keep | Fate::Unpause) {
            return false;
        }
        let wanted = &self.order.nodes[taker].wanted.spec.ports;
        let held = self.seats[giver].present;
        held.is_some_and(|held| held.ports.iter().any(|held| wanted.iter().any(|port| port.collides(held))))
    }
}
