//! Containers that are made, replaced and started.

use std::collections::{BTreeMap, BTreeSet};

use super::change;
use super::seats::temporary_name;
use super::{Part, Planner, Swap, Work};
use crate::error::Reason;
use crate::operation::Verb;
use crate::problem::Problem;
use crate::service::{Condition, Service};
use crate::workload::{Spec, State};

/// What a node's steps are called by those that need it.
#[derive(Default, Clone)]
pub(super) struct Done {
    pub(super) start: Option<u32>,
    pub(super) wait: Option<u32>,
}

/// What has to happen to one workload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// It is as it should be.
    Keep,
    /// It is there and has to be started.
    Start,
    /// Somebody has paused it.
    Unpause,
    /// It is not there.
    Create,
    /// It is there and has to be replaced.
    Replace,
    /// It runs, and something it follows is replaced.
    Restart,
}

impl<'a> Planner<'a> {
    pub(super) fn bring_up(&mut self, parts: &[Part<'a>]) {
        let mut fates = Vec::with_capacity(self.order.nodes.len());
        let mut reasons = Vec::with_capacity(self.order.nodes.len());
        for i in 0..self.order.nodes.len() {
            let (fate, why) = self.fate(i);
            fates.push(fate);
            reasons.push(why);
        }
        let exchanges = self.exchanges(parts);
        self.exchange_fates(&exchanges, &mut fates, &mut reasons);
        for at in 0..self.order.start.len() {
            let i = self.order.start[at];
            if let Some((fate, why)) = self.guest_fate(i, &fates) {
                fates[i] = fate;
                reasons[i] = why;
            } else if matches!(fates[i], Fate::Keep | Fate::Unpause)
                && let Some(because) = self.followed(i, &fates).first()
            {
                reasons[i] = format!("follows {}", self.order.nodes[*because].wanted.service.definition.name);
                fates[i] = Fate::Restart;
            } else if self.conditions[i].is_none() {
                continue;
            }
            self.conditions[i] = self.condition(i, &fates);
            if self.conditions[i].is_none() && reasons[i].is_empty() {
                reasons[i] = "its image is rebuilt or pulled again".into();
            }
        }
        let images = self.images(&fates);
        let retired = self.retire(parts);
        let mut networks = self.networks(&fates, &exchanges, &retired.networks);
        let volumes = self.volumes(&fates);
        let mut orphans = retired.containers;
        orphans.extend(self.orphans(parts));
        orphans.extend(self.emptied(parts));
        let givers: BTreeMap<usize, usize> = (0..self.order.nodes.len())
            .filter_map(|i| Some((i, self.gives_up(&self.order.nodes[i].wanted.spec.name)?)))
            .collect();
        let mut done = vec![Done::default(); self.order.nodes.len()];
        let mut cleared = BTreeMap::new();
        for (i, fate) in fates.iter().enumerate() {
            let mut ready = self.clear(i);
            if *fate == Fate::Replace {
                ready = self.park(i, ready);
            } else if self.takes_its_name(i) {
                let named = self.name_it(i, ready);
                done[i].start = Some(named);
                ready = vec![named];
            }
            cleared.insert(i, ready);
        }
        let exchanged = self.exchange(&exchanges, &fates, &images, &cleared, &orphans);
        networks.extend(exchanged.steps.clone());
        let freed = self.free_ports(&fates, &images, &cleared, &exchanged.stops);

        let mut created: BTreeMap<usize, u32> = BTreeMap::new();
        for at in 0..self.order.start.len() {
            let i = self.order.start[at];
            let node = &self.order.nodes[i];
            let (service, spec) = (node.wanted.service, &node.wanted.spec);
            let name = self.seats[i].name.clone();
            let giver = givers.get(&i);
            let ready = cleared.get(&i).into_iter().chain(giver.and_then(|giver| cleared.get(giver)));
            let mut shared: Vec<u32> = ready.flatten().copied().collect();
            shared.extend(exchanged.of_node.get(&i).into_iter().flatten());
            let mut pulled = Vec::new();
            if matches!(fates[i], Fate::Create | Fate::Replace) {
                let image = self.image_step(&images, i);
                if self.can_do_without(i) {
                    pulled.extend(image);
                } else {
                    shared.extend(image);
                }
                let joins = spec.container().networks.iter().filter_map(|join| networks.get(&join.network));
                shared.extend(joins);
                let mounts = spec.container().mounts.iter().filter_map(|mount| mount.source.as_ref());
                shared.extend(mounts.filter_map(|source| volumes.get(source)));
                shared.extend(self.container_references(spec, &created));
            }
            shared.extend(self.deciding(&images, i));
            let first = self.steps.len();
            match fates[i] {
                Fate::Keep => {}
                Fate::Start => {
                    let (mut needs, mut after) = self.gates(i, &done);
                    needs.extend(shared);
                    needs.extend(self.freed_for(i, &fates, &freed));
                    after.extend(&orphans);
                    let why = self.start_reason(i, Fate::Start);
                    done[i].start = Some(self.step(Some(service), Work::Start { name }, needs, after, why));
                }
                Fate::Unpause => {
                    let (mut needs, after) = self.gates(i, &done);
                    needs.extend(shared);
                    let why = reasons[i].clone();
                    done[i].start = Some(self.step(Some(service), Work::Unpause { name }, needs, after, why));
                }
                Fate::Restart => {
                    let (mut needs, after) = self.gates(i, &done);
                    needs.extend(self.freed_for(i, &fates, &freed));
                    if let Some(stopped) = freed.get(&i) {
                        needs.push(*stopped);
                        needs.extend(shared);
                    } else if self.seats[i].runs() {
                        let work = Work::Stop { name: name.clone(), grace: self.grace(spec) };
                        let why = reasons[i].clone();
                        shared.extend(self.images_of(&images, i, &fates));
                        let mut ended = Vec::new();
                        // A guest of a process namespace dies with its owner, so it is stopped before; whoever
                        // only follows runs on until what it follows is there again.
                        if self.owners(i).is_empty() {
                            shared.extend(&needs);
                            ended.clone_from(&after);
                        }
                        needs.push(self.step(Some(service), work, shared, ended, why));
                    }
                    let why = self.start_reason(i, Fate::Restart);
                    done[i].start = Some(self.step(Some(service), Work::Start { name }, needs, after, why));
                    self.put_condition(i, first);
                }
                Fate::Create => {
                    let work = Work::Create(Box::new(self.inheriting(i)));
                    let after = orphans.iter().chain(&pulled).copied().collect();
                    let made = self.step(Some(service), work, shared, after, reasons[i].clone());
                    created.insert(i, made);
                    let (mut needs, after) = self.gates(i, &done);
                    needs.push(made);
                    needs.extend(self.freed_for(i, &fates, &freed));
                    let why = self.start_reason(i, Fate::Create);
                    done[i].start = Some(self.step(Some(service), Work::Start { name }, needs, after, why));
                }
                Fate::Replace => {
                    let (mut needs, mut after) = self.gates(i, &done);
                    needs.extend(shared);
                    after.extend(orphans.iter().chain(&pulled));
                    let own = freed.get(&i).copied();
                    let others = self.freed_for(i, &fates, &freed);
                    let last = self.replace(i, &reasons[i], needs, after, own, others);
                    self.seats[i].name.clone_from(&self.order.nodes[i].wanted.spec.name);
                    created.insert(i, last);
                    self.put_condition(i, first);
                    done[i].start = self.start_unreplaced(i, last).or(Some(last));
                }
            }
            self.wait(i, &mut done);
        }
        self.resume_others(&exchanges, &exchanged, &done);
        self.tell_renewed(&fates);
    }

    /// Replaces a container: the new one is created beside the old one, which is stopped only
    /// then, so that a fixed port has one holder, and removed only when the new one has started.
    /// Nothing begins before what the new one needs is there.
    /// `stopped` is the step that has stopped the old one already, `freed` those that free its ports.
    fn replace(
        &mut self,
        i: usize,
        why: &str,
        mut needs: Vec<u32>,
        after: Vec<u32>,
        stopped: Option<u32>,
        freed: Vec<u32>,
    ) -> u32 {
        let node = &self.order.nodes[i];
        let (service, spec) = (node.wanted.service, &self.inheriting(i));
        let seat = &self.seats[i];
        let old = seat.name.clone();
        let old_id = seat.present.map(|present| present.id.clone()).unwrap_or_default();
        let swap = Swap {
            ran: seat.runs(),
            new: temporary_name(&old_id, &spec.name),
            name: spec.name.clone(),
            spec_hash: spec.identity.spec_hash.clone(),
            old,
            old_id,
        };
        let grace = self.grace(spec);
        let made = Work::Create(Box::new(Spec { name: swap.new.clone(), ..spec.clone() }));
        needs.extend(stopped);
        let early = stopped.and_then(|stop| self.steps.iter_mut().find(|step| step.number == stop));
        let is_stopped = early.map(|step| step.swap = Some(Box::new(swap.clone()))).is_some();
        let mut last = self.swap_step(service, &swap, made, needs, after, why);
        if swap.ran && !is_stopped {
            let stop = Work::Stop { name: swap.old.clone(), grace };
            last = self.swap_step(service, &swap, stop, vec![last], vec![], "the new container takes over");
        }
        let start = Work::Start { name: swap.new.clone() };
        let started = self.start_reason(i, Fate::Replace);
        let mut needs = freed;
        needs.push(last);
        last = self.swap_step(service, &swap, start, needs, vec![], &started);
        let remove = Work::Remove { name: swap.old.clone() };
        last = self.swap_step(service, &swap, remove, vec![last], vec![], "replaced");
        let rename = Work::Rename { from: swap.new.clone(), to: swap.name.clone() };
        self.swap_step(service, &swap, rename, vec![last], vec![], "gets its final name")
    }

    /// The spec with the volumes without a name that the container had, or the one before it.
    fn inheriting(&self, i: usize) -> Spec {
        let spec = &self.order.nodes[i].wanted.spec;
        let inherited = if self.renews_volumes(i) { BTreeMap::new() } else { self.heirlooms(i) };
        Spec { inherited, ..spec.clone() }
    }

    /// The volumes without a name that the container has, or had before `down`, by target.
    fn heirlooms(&self, i: usize) -> BTreeMap<String, String> {
        let present = self.seats[i].present.map(|present| &present.anonymous_volumes);
        let kept = self.snapshot.anonymous_volumes.get(&self.order.nodes[i].wanted.service.id);
        let mut volumes = kept.cloned().unwrap_or_default();
        volumes.extend(present.cloned().unwrap_or_default());
        volumes
    }

    /// The volumes without a name that new ones would take the place of.
    fn renewed(&self, i: usize) -> BTreeMap<String, String> {
        match self.seats[i].present {
            Some(present) => present.anonymous_volumes.clone(),
            None => self.heirlooms(i),
        }
    }

    fn renews_volumes(&self, i: usize) -> bool {
        self.policy.renew_anon_volumes && !self.order.nodes[i].along
    }

    /// Names the volumes that new ones take the place of: they are nobody's from then on, and hold what was in them.
    fn tell_renewed(&mut self, fates: &[Fate]) {
        for (i, fate) in fates.iter().enumerate() {
            if !self.renews_volumes(i) || !matches!(fate, Fate::Create | Fate::Replace) {
                continue;
            }
            let service = self.order.nodes[i].wanted.service.resource();
            for (target, volume) in self.renewed(i) {
                if self.snapshot.volumes.contains_key(&volume) {
                    self.notes.push(format!(
                        "`{target}` of {service} gets a new volume; the old one is kept, `docker volume rm {volume}` removes it"
                    ));
                }
            }
        }
    }

    pub(super) fn swap_step(
        &mut self,
        service: &Service,
        swap: &Swap,
        work: Work,
        needs: Vec<u32>,
        after: Vec<u32>,
        why: &str,
    ) -> u32 {
        let number = self.step(Some(service), work, needs, after, why.to_owned());
        if let Some(step) = self.steps.last_mut() {
            step.swap = Some(Box::new(swap.clone()));
        }
        number
    }

    /// A service that shares another container's namespaces is made after that one.
    fn container_references(&self, spec: &Spec, created: &BTreeMap<usize, u32>) -> Vec<u32> {
        let container = spec.container();
        let wanted: BTreeSet<&str> =
            container.shared_with().into_iter().chain(container.mounted_from()).collect();
        created
            .iter()
            .filter(|(i, _)| wanted.contains(self.order.nodes[**i].wanted.spec.name.as_str()))
            .map(|(_, step)| *step)
            .collect()
    }

    fn fate(&mut self, i: usize) -> (Fate, String) {
        let node = &self.order.nodes[i];
        let (service, spec) = (node.wanted.service, &node.wanted.spec);
        if let Some(problem) = self.name_is_taken(i) {
            self.problems.push(problem);
            return (Fate::Create, "has no container".into());
        }
        let Some(present) = self.seats[i].present else {
            return (Fate::Create, "has no container".into());
        };
        if !present.is_ours() {
            return (Fate::Replace, "adopted: made by something else; volumes are kept".into());
        }
        let renews = self.verb == Verb::Up && !node.along;
        if !node.along && (self.verb == Verb::Recreate || self.policy.force_recreate) {
            return (Fate::Replace, "recreate was asked for".into());
        }
        if self.renews_volumes(i) && !self.renewed(i).is_empty() {
            return (Fate::Replace, "new anonymous volumes were asked for".into());
        }
        if present.spec_hash != spec.identity.spec_hash {
            if renews {
                let why = match self.snapshot.changes.get(&service.id) {
                    Some(changes) => {
                        self.changes.insert(service.id.clone(), changes.clone());
                        format!("its definition changed: {}", change::sentence(changes))
                    }
                    None => "its definition changed".into(),
                };
                return (Fate::Replace, why);
            }
            let how = self.snapshot.changes.get(&service.id);
            let how = how.map(|changes| format!(" ({})", change::sentence(changes))).unwrap_or_default();
            self.notes.push(format!(
                "{} differs from its container{how}; `up` or `recreate` would replace it",
                service.resource()
            ));
        }
        let image = &spec.container().image;
        if renews && (self.builds(i) || self.pulls(i)) {
            self.conditions[i] = self.own_condition(i);
            let why = if self.conditions[i].is_some() { "" } else { "its image is rebuilt or pulled again" };
            return (Fate::Replace, why.into());
        }
        if self.has_another_image(image, present) {
            if renews {
                return (Fate::Replace, format!("`{image}` is another image by now"));
            }
            self.notes.push(format!(
                "{} runs an older image than `{image}` is now; `up` or `recreate` would replace it",
                service.resource()
            ));
        }
        if let Some(network) = self.lost_network(present) {
            return (Fate::Replace, format!("its network `{network}` was removed"));
        }
        if renews && let Some(network) = self.left_network(spec, present) {
            return (Fate::Replace, format!("it is not on network `{network}` any more"));
        }
        match present.state {
            State::Running { .. } | State::Restarting => (Fate::Keep, String::new()),
            State::Paused => (Fate::Unpause, "is paused".into()),
            State::Created | State::Exited { .. } | State::Removing => (Fate::Start, "is not running".into()),
        }
    }

    /// Whoever has the name that a service needs and does not give it up in this plan.
    fn name_is_taken(&self, i: usize) -> Option<Problem> {
        let node = &self.order.nodes[i];
        let (service, spec) = (node.wanted.service, &node.wanted.spec);
        let holder = self.snapshot.workloads.get(&spec.name)?;
        // A container that keeps another name under this verb needs none.
        let needs_it = self.seats[i].present.is_none()
            || self.takes_its_name(i)
            || self.is_misnamed(i) && !node.along && matches!(self.verb, Verb::Up | Verb::Recreate);
        if !needs_it {
            return None;
        }
        let (message, hint) = match (&holder.service, &holder.of_another) {
            (None, Some(owner)) => {
                let (name, needs) = (&spec.name, service.resource());
                let message =
                    format!("container `{name}` belongs to `{owner}`, and `{needs}` needs that name");
                (message, "bring the other one down, change `container_name`, or use --instance NAME")
            }
            (Some(id), _) if *id == service.id || self.gives_up(&spec.name).is_some() => return None,
            (Some(id), _) => match self.orphans.iter().find(|orphan| orphan.id == *id) {
                Some(_) if self.policy.remove_orphans => return None,
                Some(orphan) => {
                    let (name, orphan, needs) = (&spec.name, orphan.resource(), service.resource());
                    let message = format!(
                        "container `{name}` is that of `{orphan}`, which is no longer in the files, and `{needs}` needs that name"
                    );
                    (message, "use --remove-orphans to remove it")
                }
                None => (
                    format!(
                        "container `{}` is another service's, and `{}` needs that name",
                        spec.name,
                        service.resource()
                    ),
                    "use `clos up`, which gives every container its own name",
                ),
            },
            (None, None) if self.policy.adopt => return None,
            (None, None) => (
                format!(
                    "`{}` needs the container name `{}`, which is in use by a container that clos does not manage",
                    service.resource(),
                    spec.name
                ),
                "clos up --adopt     replace it and keep its volumes; or rename or remove it",
            ),
        };
        Some(
            Problem::new(Reason::NameTaken, service.resource(), message, hint)
                .with("container", &spec.name)
                .with("service", service.resource()),
        )
    }

    /// The dependencies that are replaced or restarted and that this one, when it runs, follows.
    pub(super) fn followed(&self, i: usize, fates: &[Fate]) -> Vec<usize> {
        let service = self.order.nodes[i].wanted.service;
        let follows = service.definition.depends_on.iter().filter(|dependency| dependency.restart);
        let nodes = follows.filter_map(|dependency| {
            let mut needs = self.order.nodes[i].needs.iter().map(|(j, _, _)| *j);
            needs.find(|j| {
                let other = self.order.nodes[*j].wanted.service;
                other.group == service.group && other.definition.name == dependency.service
            })
        });
        nodes.filter(|j| matches!(fates[*j], Fate::Replace | Fate::Restart)).collect()
    }

    fn start_reason(&self, i: usize, fate: Fate) -> String {
        match fate {
            Fate::Start => "is not running".into(),
            Fate::Restart => "restarted".into(),
            _ => {
                let needs: Vec<String> = self.order.nodes[i]
                    .needs
                    .iter()
                    .map(|(need, condition, _)| {
                        let other = self.order.nodes[*need].wanted.service;
                        format!("{} {}", other.definition.name, condition.as_str())
                    })
                    .collect();
                if needs.is_empty() {
                    "its container is new".into()
                } else {
                    format!("needs {}", needs.join(", "))
                }
            }
        }
    }

    /// Steps that gate the start of a node: those that must succeed and those that must only end.
    pub(super) fn gates(&self, i: usize, done: &[Done]) -> (Vec<u32>, Vec<u32>) {
        let (mut needs, mut after) = (Vec::new(), Vec::new());
        for (need, condition, soft) in &self.order.nodes[i].needs {
            let step = match condition {
                Condition::Started => done[*need].start,
                Condition::Healthy | Condition::Completed => done[*need].wait.or(done[*need].start),
            };
            if *soft {
                after.extend(step);
            } else {
                needs.extend(step);
            }
        }
        (needs, after)
    }

    /// Adds the wait of a node, if anything is to be waited for.
    pub(super) fn wait(&mut self, i: usize, done: &mut [Done]) {
        let node = &self.order.nodes[i];
        let service = node.wanted.service;
        let name = self.seats[i].name.clone();
        let asked: BTreeSet<Condition> = node
            .needed_by
            .iter()
            .flat_map(|j| self.order.nodes[*j].needs.iter().filter(|(need, _, _)| *need == i))
            .map(|(_, condition, _)| *condition)
            .collect();
        let checked = service.definition.gate_check().is_some();
        let gate = if asked.contains(&Condition::Completed) {
            Condition::Completed
        } else if asked.contains(&Condition::Healthy) || (checked && !self.policy.no_wait) {
            Condition::Healthy
        } else if !self.policy.no_wait && (done[i].start.is_some() || self.is_in_doubt(i)) {
            // Nobody waits for this one: what needs it only started goes on at once.
            Condition::Started
        } else {
            return;
        };
        let is_there_already = done[i].start.is_none() && !self.is_in_doubt(i) && self.passed(i, gate);
        if is_there_already {
            return;
        }
        let needs: Vec<u32> = done[i].start.into_iter().collect();
        let why = match gate {
            Condition::Started => "until it stays up".to_owned(),
            Condition::Healthy | Condition::Completed => format!("until {}", gate.as_str()),
        };
        done[i].wait = Some(self.step(Some(service), Work::Wait { name, gate }, needs, vec![], why));
    }

    /// Its restart policy started it a moment ago, and it may end again at once.
    fn is_in_doubt(&self, i: usize) -> bool {
        let wanted = self.order.nodes[i].wanted;
        let present = self.seats[i].present;
        let was_restarted =
            matches!(wanted.service.status_reason, Some(Reason::Restarting | Reason::CrashLooping));
        match present.filter(|present| present.is_ours()).map(|present| &present.state) {
            Some(State::Restarting) => true,
            Some(State::Running { .. }) => was_restarted,
            _ => false,
        }
    }

    fn passed(&self, i: usize, gate: Condition) -> bool {
        use crate::health::Verdict;
        let service = self.order.nodes[i].wanted.service;
        let Some(present) = self.seats[i].present else { return false };
        match (gate, &present.state) {
            (Condition::Started, State::Running { .. }) => true,
            (Condition::Healthy, State::Running { health }) => {
                let seen =
                    if service.definition.probe.is_some() { service.observed.health() } else { *health };
                seen == Verdict::Healthy
            }
            (Condition::Completed, State::Exited { code: 0, .. }) => true,
            _ => false,
        }
    }

    /// Removes the containers of services that are scaled to 0, when every enabled service of the group takes part.
    fn emptied(&mut self, parts: &[Part<'_>]) -> Vec<u32> {
        let mut removed = Vec::new();
        let is_asked =
            |part: &&Part<'_>| !part.along && part.aside.iter().all(|service| !service.definition.enabled);
        if self.verb != Verb::Up {
            return removed;
        }
        let asked = parts.iter().filter(is_asked).flat_map(|part| &part.aside);
        for service in asked.filter(|service| service.definition.scale == Some(0)) {
            let containers = self.snapshot.workloads.iter();
            let own = containers.filter(|(_, present)| present.aside.as_ref() == Some(&service.id));
            let names: Vec<String> = own.map(|(name, _)| name.clone()).collect();
            for name in names {
                let mut needs = Vec::new();
                if self.runs(&name) {
                    let grace = self.policy.grace.unwrap_or_else(|| service.definition.stop.grace());
                    let work = Work::Stop { name: name.clone(), grace };
                    needs.push(self.step(Some(service), work, vec![], vec![], "scaled to 0".into()));
                }
                let work = Work::Remove { name };
                removed.push(self.step(Some(service), work, needs, vec![], "scaled to 0".into()));
            }
        }
        removed
    }

    /// Removes or names the services that the files no longer have.
    fn orphans(&mut self, parts: &[Part<'_>]) -> Vec<u32> {
        let mut removed = Vec::new();
        for part in parts {
            for orphan in &part.orphans {
                let names = self.names_of(&orphan.id, &orphan.workload_name());
                // Without a container its row goes in any case.
                if !self.policy.remove_orphans && !names.is_empty() {
                    self.notes.push(format!(
                        "{} is no longer in the files; --remove-orphans removes it",
                        orphan.resource()
                    ));
                    continue;
                }
                let why = "no longer in the files";
                for name in names {
                    let mut needs = Vec::new();
                    if self.runs(&name) {
                        let grace = self.policy.grace.unwrap_or_else(|| orphan.definition.stop.grace());
                        let work = Work::Stop { name: name.clone(), grace };
                        needs.push(self.step(Some(orphan), work, vec![], vec![], why.into()));
                    }
                    removed.push(self.step(Some(orphan), Work::Remove { name }, needs, vec![], why.into()));
                }
                let left = self.snapshot.anonymous_volumes.get(&orphan.id).into_iter().flatten();
                let left: Vec<&str> = left.map(|(_, volume)| volume.as_str()).collect();
                let (noun, verb, them) = match left.len() {
                    0 => continue,
                    1 => ("volume", "is", "it"),
                    _ => ("volumes", "are", "them"),
                };
                // Nobody knows whose they were once its row is gone.
                self.notes.push(format!(
                    "{} is no longer in the files; its anonymous {noun} {verb} kept, `docker volume rm {}` removes {them}",
                    orphan.resource(),
                    left.join(" ")
                ));
            }
        }
        removed
    }
}
