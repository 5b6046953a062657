//! Images that have to be there first: built by one service, pulled for another, and who waits for which.

use std::collections::{BTreeMap, BTreeSet};

use super::up::Fate;
use super::{Planner, Present, Work};
use crate::error::Reason;
use crate::problem::Problem;
use crate::workload::{Build, PullPolicy};

/// The step that makes an image available, by the image's full name.
pub(super) struct Images(BTreeMap<String, u32>);

impl Images {
    /// The step that an image comes from.
    pub(super) fn step_of(&self, image: &str) -> Option<u32> {
        self.0.get(&full_name(image)).copied()
    }
}

impl Planner<'_> {
    pub(super) fn images(&mut self, fates: &[Fate]) -> Images {
        let mut planned: BTreeMap<String, u32> = BTreeMap::new();
        let mut missing: BTreeSet<String> = BTreeSet::new();
        for at in 0..self.order.start.len() {
            let i = self.order.start[at];
            if !matches!(fates[i], Fate::Create | Fate::Replace) {
                continue;
            }
            let (service, container) =
                (self.order.nodes[i].wanted.service, self.order.nodes[i].wanted.spec.container());
            let image = container.image.clone();
            if planned.contains_key(&full_name(&image)) {
                continue;
            }
            let is_there = self.snapshot.images.contains_key(&image);
            if let Some(builder) = self.builder(i) {
                if !self.builds(i) {
                    continue;
                }
                let wanted = self.order.nodes[builder].wanted;
                let made = wanted.spec.container();
                let Some(build) = made.build.clone() else { continue };
                let why = if !is_there {
                    "not on this engine"
                } else if self.is_built_otherwise(i) {
                    "its build definition changed"
                } else {
                    "build was asked for"
                };
                let names: Vec<String> = names_of(&made.image, &build).map(full_name).collect();
                let work = Work::Build { image: made.image.clone(), build: Box::new(build) };
                let number = self.step(Some(wanted.service), work, vec![], vec![], why.into());
                planned.extend(names.into_iter().map(|name| (name, number)));
            } else if self.pulls(i) {
                let why = if is_there { "pull was asked for" } else { "not on this engine" };
                let work = Work::Pull { image: image.clone(), platform: container.platform.clone() };
                let number = self.step(Some(service), work, vec![], vec![], why.into());
                planned.insert(full_name(&image), number);
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
        Images(planned)
    }

    /// The step that a node's image comes from.
    pub(super) fn image_step(&self, images: &Images, i: usize) -> Option<u32> {
        images.step_of(&self.order.nodes[i].wanted.spec.container().image)
    }

    /// Another service has the image of this one pulled, and this one is content with what is there.
    pub(super) fn can_do_without(&self, i: usize) -> bool {
        let image = &self.order.nodes[i].wanted.spec.container().image;
        self.builder(i).is_none() && !self.pulls(i) && self.snapshot.images.contains_key(image)
    }

    /// The steps that the images of a node come from, or of what it is restarted with.
    pub(super) fn images_of(&self, images: &Images, i: usize, fates: &[Fate]) -> Vec<u32> {
        let (mut steps, mut seen, mut open) = (BTreeSet::new(), BTreeSet::new(), vec![i]);
        while let Some(i) = open.pop() {
            if !seen.insert(i) {
                continue;
            }
            match fates[i] {
                Fate::Create | Fate::Replace => steps.extend(self.image_step(images, i)),
                Fate::Restart => open.extend(self.followed(i, fates)),
                Fate::Keep | Fate::Start | Fate::Unpause => {}
            }
        }
        steps.into_iter().collect()
    }

    /// The node that builds the image of this one: itself, or another that gives its image that name.
    /// Of several the first does it for all.
    fn builder(&self, i: usize) -> Option<usize> {
        let container = self.order.nodes[i].wanted.spec.container();
        let name = full_name(&container.image);
        self.order.start.iter().copied().find(|other| {
            let made = self.order.nodes[*other].wanted.spec.container();
            let mut names = made.build.iter().flat_map(|build| names_of(&made.image, build));
            names.any(|other| full_name(other) == name)
        })
    }

    /// Whether the image of a node is built, by whichever service.
    pub(super) fn builds(&self, i: usize) -> bool {
        let Some(builder) = self.builder(i) else { return false };
        let pull = self.order.nodes[builder].wanted.spec.container().pull;
        let image = &self.order.nodes[i].wanted.spec.container().image;
        self.policy.build
            || pull == PullPolicy::Build
            || !self.snapshot.images.contains_key(image)
            || self.is_built_otherwise(i)
    }

    /// The image of a node was built by us from another definition than it has now. What others
    /// built is taken as it is.
    fn is_built_otherwise(&self, i: usize) -> bool {
        let image = &self.order.nodes[i].wanted.spec.container().image;
        let built = self.snapshot.images.get(image).and_then(|image| image.build_digest.as_ref());
        let builder = self.builder(i).map(|builder| self.order.nodes[builder].wanted.spec.container());
        let build = builder.and_then(|container| container.build.as_ref());
        match (built, build) {
            (Some(built), Some(build)) => !build.digest.is_empty() && *built != build.digest,
            _ => false,
        }
    }

    /// The name of the image that a container was created from means another one by now.
    pub(super) fn has_another_image(&self, image: &str, present: &Present) -> bool {
        let now = self.snapshot.images.get(image).map(|image| &image.id);
        now.is_some_and(|now| !now.is_empty() && !present.image_id.is_empty() && *now != present.image_id)
    }

    /// Whether the image of a node is pulled; no registry has what is built here.
    pub(super) fn pulls(&self, i: usize) -> bool {
        let container = self.order.nodes[i].wanted.spec.container();
        let wanted = match self.policy.pull.unwrap_or(container.pull) {
            PullPolicy::Never | PullPolicy::Build => false,
            PullPolicy::Always => true,
            PullPolicy::Missing => !self.snapshot.images.contains_key(&container.image),
        };
        wanted && self.builder(i).is_none()
    }
}

fn names_of<'b>(image: &'b str, build: &'b Build) -> impl Iterator<Item = &'b str> {
    std::iter::once(image).chain(build.tags.iter().map(String::as_str))
}

/// One name for what `app`, `app:latest` and `docker.io/library/app` mean.
fn full_name(image: &str) -> String {
    let image = image.strip_prefix("docker.io/").unwrap_or(image);
    let image = image.strip_prefix("library/").unwrap_or(image);
    let last = image.rsplit('/').next().unwrap_or(image);
    if last.contains([':', '@']) { image.to_owned() } else { format!("{image}:latest") }
}
