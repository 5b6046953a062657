//! Steps that depend on what a build or a pull makes of an image. Whether that is another image than
//! before cannot be known while planning, so the plan states the condition and the run looks it up.

use std::collections::BTreeSet;

use super::images::Images;
use super::up::Fate;
use super::{Planner, Work};
use crate::workload::{Spec, State};

/// When a step is done; when its condition does not hold, it is passed over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OnlyIf {
    /// Names of images, each with the id of the image that a container was created from.
    pub images: BTreeSet<(String, String)>,
    /// Done if one of the names means another image by then; else if none does.
    pub changed: bool,
}

impl OnlyIf {
    /// What is said of a step that was passed over.
    pub const fn passed_over(&self) -> &'static str {
        if self.changed { "unchanged" } else { "replaced" }
    }
}

impl Planner<'_> {
    /// What the replacement of a container depends on when nothing but a build or a pull asks for it.
    pub(super) fn own_condition(&self, i: usize) -> Option<BTreeSet<(String, String)>> {
        let spec = &self.order.nodes[i].wanted.spec;
        let present = self.seats[i].present?;
        let keeps_its_ports =
            present.ports.iter().all(|held| spec.ports.iter().any(|port| port.host_port == held.host_port));
        let can_stay =
            present.spec_hash == spec.identity.spec_hash && !self.is_misnamed(i) && keeps_its_ports;
        (can_stay && !present.image_id.is_empty())
            .then(|| BTreeSet::from([(spec.container().image.clone(), present.image_id.clone())]))
    }

    /// What the replacement or the restart of a node depends on: its own image and those of whatever it
    /// follows; nothing where one of them is replaced or started in any case.
    pub(super) fn condition(&self, i: usize, fates: &[Fate]) -> Option<BTreeSet<(String, String)>> {
        let spec = &self.order.nodes[i].wanted.spec;
        if self.is_left_behind(i) {
            return None;
        }
        let mut images = self.conditions[i].clone().unwrap_or_default();
        for followed in self.followed(i, fates) {
            images.extend(self.conditions[followed].clone()?);
        }
        for owner in self.owners(i) {
            match fates[owner] {
                Fate::Keep | Fate::Unpause => {}
                Fate::Start if self.is_stopped(i) => {}
                // It is started if it is not replaced, and who runs in its namespaces has to follow.
                Fate::Replace if self.is_stopped(owner) && !self.is_stopped(i) => return None,
                Fate::Start | Fate::Create | Fate::Replace | Fate::Restart => {
                    images.extend(self.conditions[owner].clone()?);
                }
            }
        }
        for owner in spec.container().mounted_from() {
            if let Some((owner, _)) = self.node_named(owner)
                && matches!(fates[owner], Fate::Create | Fate::Replace)
            {
                images.extend(self.conditions[owner].clone()?);
            }
        }
        (!images.is_empty()).then_some(images)
    }

    /// The steps that decide whether a node's condition holds.
    pub(super) fn deciding(&self, images: &Images, i: usize) -> Vec<u32> {
        let names = self.conditions[i].iter().flatten();
        names.filter_map(|(image, _)| images.step_of(image)).collect()
    }

    /// Puts a node's condition on its steps from the one at `first`.
    pub(super) fn put_condition(&mut self, i: usize, first: usize) {
        let Some(images) = self.conditions[i].clone() else { return };
        let condition = self.told(i, &images);
        for step in &mut self.steps[first..] {
            step.why = match step.why.as_str() {
                "" => format!("if {condition} changes"),
                why => format!("{why}, if {condition} changes"),
            };
            step.only_if = Some(Box::new(OnlyIf { images: images.clone(), changed: true }));
        }
    }

    /// Starts what is not running and is not replaced either, behind the steps of its replacement.
    pub(super) fn start_unreplaced(&mut self, i: usize, replaced: u32) -> Option<u32> {
        let is_paused = self.is_paused(i);
        let images = self.conditions[i].clone().filter(|_| is_paused || self.is_stopped(i))?;
        let spec: &Spec = &self.order.nodes[i].wanted.spec;
        let (service, name) = (self.order.nodes[i].wanted.service, spec.name.clone());
        let (work, how) = if is_paused {
            (Work::Unpause { name }, "is paused")
        } else {
            (Work::Start { name }, "is not running")
        };
        let why = format!("{how}, if {} does not change", self.told(i, &images));
        let number = self.step(Some(service), work, vec![replaced], vec![], why);
        if let Some(step) = self.steps.last_mut() {
            step.only_if = Some(Box::new(OnlyIf { images, changed: false }));
        }
        Some(number)
    }

    fn told(&self, i: usize, images: &BTreeSet<(String, String)>) -> String {
        let own = &self.order.nodes[i].wanted.spec.container().image;
        let names: BTreeSet<&String> = images.iter().map(|(image, _)| image).collect();
        if names.iter().all(|image| *image == own) {
            return "its image".into();
        }
        let names: Vec<String> = names.into_iter().map(|image| format!("`{image}`")).collect();
        format!("image {}", names.join(" or "))
    }

    fn is_stopped(&self, i: usize) -> bool {
        let state = self.seats[i].present.map(|present| &present.state);
        !matches!(state, Some(State::Running { .. } | State::Restarting | State::Paused))
    }

    fn is_paused(&self, i: usize) -> bool {
        self.seats[i].present.is_some_and(|present| present.state == State::Paused)
    }
}
