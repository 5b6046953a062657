//! The planner: what an operation will do and why, before it does it.
//!
//! [`plan`] sees what is wanted and a snapshot of the engine and returns steps
//! with their needs; whoever runs them has no choices to make. The same
//! arguments give the same plan, to the letter of [`Plan::render`].

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::time::Duration;

use crate::error::{Error, Reason};
use crate::graph::Graph;
use crate::group::Group;
use crate::id::ServiceId;
use crate::name::ServiceRef;
use crate::operation::{Action, FailurePolicy, Verb};
use crate::port::Assignment;
use crate::service::{Condition, Service};
use crate::spec;
use crate::workload::{Build, Network, PullPolicy, Spec, State, Volume};

/// One group of what is wanted.
#[derive(Debug, Clone)]
pub struct Part<'a> {
    /// The group.
    pub group: &'a Group,
    /// Its services that take part, with their complete specs.
    pub services: Vec<Wanted<'a>>,
    /// Services of ours that the files no longer have.
    pub orphans: Vec<&'a Service>,
    /// It only comes along because the group that was asked for needs it: what runs is
    /// left as it is, whatever its definition says meanwhile.
    pub along: bool,
}

/// One service of what is wanted.
#[derive(Debug, Clone)]
pub struct Wanted<'a> {
    /// The row.
    pub service: &'a Service,
    /// Its complete spec, the hash filled in.
    pub spec: Spec,
}

/// What the engine has, by the engine's names.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// Workloads whose names matter.
    pub workloads: BTreeMap<String, Present>,
    /// Images that are there, by reference.
    pub images: BTreeSet<String>,
    /// Networks that are there; whether they are ours.
    pub networks: BTreeMap<String, bool>,
    /// Volumes that are there; whether they are ours.
    pub volumes: BTreeMap<String, bool>,
}

/// A workload that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Present {
    /// It carries our installation and this service.
    pub ours: bool,
    /// The hash of the spec that it was made from.
    pub spec_hash: String,
    /// What it does.
    pub state: State,
}

/// What was asked for, beyond the verb.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
#[derive(Default)]
pub struct Policy {
    /// Build even where the image is there.
    pub build: bool,
    /// When images are pulled, over what the definitions say; `Build` is said by `build`.
    pub pull: Option<PullPolicy>,
    /// Replace containers of the same spec too.
    pub force_recreate: bool,
    /// Replace a stranger's container that has the name.
    pub adopt: bool,
    /// Remove what the files no longer have.
    pub remove_orphans: bool,
    /// Remove volumes with `down`.
    pub remove_volumes: bool,
    /// Do not wait for gates that nothing depends on.
    pub no_wait: bool,
    /// Grace period of every stop; `None` is each service's own.
    pub grace: Option<Duration>,
    /// What happens on failure.
    pub failure: FailurePolicy,
}

/// What an operation will do.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// What was asked.
    pub verb: Verb,
    /// The group it is about.
    pub subject: String,
    /// What happens on failure.
    pub failure: FailurePolicy,
    /// What is done, in an order in which every need comes first.
    pub steps: Vec<Step>,
    /// Host ports as decided.
    pub ports: Vec<Assignment>,
    /// What is worth knowing.
    pub notes: Vec<String>,
}

/// One thing to do.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// Counts from 1.
    pub number: u32,
    /// The service it is for.
    pub service: Option<(ServiceId, ServiceRef)>,
    /// What to do.
    pub work: Work,
    /// Steps that must have succeeded.
    pub needs: Vec<u32>,
    /// Steps that must have ended, whatever their outcome.
    pub after: Vec<u32>,
    /// Why it is in the plan.
    pub why: String,
}

/// What to do, with everything needed to do it.
#[derive(Debug, Clone, PartialEq)]
pub enum Work {
    /// Fetch an image.
    Pull {
        /// Reference.
        image: String,
        /// `linux/amd64` and its like.
        platform: Option<String>,
    },
    /// Build an image.
    Build {
        /// Its name.
        image: String,
        /// How.
        build: Box<Build>,
    },
    /// Make a network.
    MakeNetwork(Box<Network>),
    /// Remove a network, if nobody is on it.
    RemoveNetwork(String),
    /// Make a volume.
    MakeVolume(Box<Volume>),
    /// Remove a volume and its data.
    RemoveVolume(String),
    /// Make a workload.
    Create(Box<Spec>),
    /// Start it.
    Start {
        /// The engine's name.
        name: String,
    },
    /// Wait until it is so far.
    Wait {
        /// The engine's name.
        name: String,
        /// How far.
        gate: Condition,
    },
    /// Stop it.
    Stop {
        /// The engine's name.
        name: String,
        /// Time before it is killed.
        grace: Duration,
    },
    /// Remove it.
    Remove {
        /// The engine's name.
        name: String,
    },
}

impl Work {
    /// The word of the step.
    pub const fn action(&self) -> Action {
        match self {
            Self::Pull { .. } => Action::Pull,
            Self::Build { .. } => Action::Build,
            Self::MakeNetwork(_) | Self::RemoveNetwork(_) => Action::Network,
            Self::MakeVolume(_) | Self::RemoveVolume(_) => Action::Volume,
            Self::Create(_) => Action::Create,
            Self::Start { .. } => Action::Start,
            Self::Wait { .. } => Action::Wait,
            Self::Stop { .. } => Action::Stop,
            Self::Remove { .. } => Action::Remove,
        }
    }

    /// What it touches, by the engine's name.
    pub fn subject(&self) -> &str {
        match self {
            Self::Pull { image, .. } | Self::Build { image, .. } => image,
            Self::MakeNetwork(network) => &network.name,
            Self::MakeVolume(volume) => &volume.name,
            Self::Create(spec) => &spec.name,
            Self::RemoveNetwork(name)
            | Self::RemoveVolume(name)
            | Self::Start { name }
            | Self::Wait { name, .. }
            | Self::Stop { name, .. }
            | Self::Remove { name } => name,
        }
    }

    /// What takes its effect back; `None` where nothing is left to take back.
    pub fn undo(&self, grace: Duration) -> Option<Self> {
        match self {
            Self::MakeNetwork(network) => Some(Self::RemoveNetwork(network.name.clone())),
            Self::MakeVolume(volume) => Some(Self::RemoveVolume(volume.name.clone())),
            Self::Create(spec) => Some(Self::Remove { name: spec.name.clone() }),
            Self::Start { name } => Some(Self::Stop { name: name.clone(), grace }),
            _ => None,
        }
    }
}

impl Plan {
    /// Nothing to do.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// What takes the completed steps back, in the exact reverse of the order in which they
    /// completed: `(the step that is undone, its work)`.
    pub fn undo(&self, completed: &[u32], grace: Duration) -> Vec<(u32, Work)> {
        let by_number: BTreeMap<u32, &Step> = self.steps.iter().map(|step| (step.number, step)).collect();
        let reversed = completed.iter().rev().filter_map(|number| by_number.get(number));
        reversed.filter_map(|step| step.work.undo(grace).map(|work| (step.number, work))).collect()
    }

    /// The plan as text: stable, a line a step.
    pub fn render(&self) -> String {
        let mut text = String::new();
        let failure = if self.failure == FailurePolicy::Undo { ", undone on failure" } else { "" };
        let _ = writeln!(text, "plan: {} {}{failure}", self.verb.as_str(), self.subject);
        if self.steps.is_empty() {
            text.push_str("  nothing to do\n");
        }
        let width = self.steps.iter().map(|step| step.work.subject().chars().count()).max().unwrap_or(0);
        for step in &self.steps {
            let needs: Vec<String> = step.needs.iter().chain(&step.after).map(ToString::to_string).collect();
            let after = if needs.is_empty() { String::new() } else { format!("  after {}", needs.join(" ")) };
            let _ = writeln!(
                text,
                "{:>4}  {:<7}  {:<width$}  {}{after}",
                step.number,
                step.work.action().as_str(),
                step.work.subject(),
                step.why,
            );
        }
        for port in &self.ports {
            let binding = &port.binding;
            let _ = writeln!(
                text,
                "port  {}:{} → {}:{}/{}  {}",
                binding.host_ip,
                binding.host_port,
                port.owner,
                binding.container_port,
                binding.protocol.as_str(),
                port.why
            );
        }
        for note in &self.notes {
            let _ = writeln!(text, "note  {note}");
        }
        text
    }
}

/// Plans a verb over one or more groups.
///
/// # Errors
/// A cycle among the services or groups; a stranger's container under a name
/// that is needed; an external network or volume that is not there; an image
/// that may be neither pulled nor built.
pub fn plan(
    verb: Verb,
    subject: impl Into<String>,
    parts: &[Part<'_>],
    snapshot: &Snapshot,
    policy: &Policy,
) -> Result<Plan, Error> {
    let order = Order::of(parts)?;
    let mut planner = Planner { verb, order, snapshot, policy, steps: Vec::new(), notes: Vec::new() };
    match verb {
        Verb::Up | Verb::Start | Verb::Recreate => planner.bring_up(parts)?,
        Verb::Restart => planner.restart(),
        Verb::Stop => planner.take_down(parts, false),
        Verb::Down => planner.take_down(parts, true),
    }
    Ok(Plan {
        verb,
        subject: subject.into(),
        failure: policy.failure,
        steps: planner.steps,
        ports: Vec::new(),
        notes: planner.notes,
    })
}

/// Every service that takes part, in start order, with what it needs.
struct Order<'a> {
    nodes: Vec<Node<'a>>,
    start: Vec<usize>,
}

struct Node<'a> {
    group: &'a Group,
    along: bool,
    wanted: &'a Wanted<'a>,
    /// (node, how far it must be, failing is only a warning)
    needs: Vec<(usize, Condition, bool)>,
    needed_by: Vec<usize>,
}

impl<'a> Order<'a> {
    fn of(parts: &'a [Part<'a>]) -> Result<Self, Error> {
        check_groups(parts)?;
        let mut nodes: Vec<Node<'a>> = Vec::new();
        for part in parts {
            let mut services: Vec<&Wanted<'a>> = part.services.iter().collect();
            services.sort_by(|a, b| sort_key(a.service).cmp(&sort_key(b.service)));
            nodes.extend(services.into_iter().map(|wanted| Node {
                group: part.group,
                along: part.along,
                wanted,
                needs: Vec::new(),
                needed_by: Vec::new(),
            }));
        }
        let names: BTreeMap<ServiceRef, usize> =
            nodes.iter().enumerate().map(|(i, node)| (node.wanted.service.resource(), i)).collect();
        for i in 0..nodes.len() {
            let needs = needs_of(&nodes, &names, i);
            for (need, _, _) in &needs {
                nodes[*need].needed_by.push(i);
            }
            nodes[i].needs = needs;
        }
        let keys: Vec<String> = nodes.iter().map(|node| node.wanted.service.resource().to_string()).collect();
        let edges = nodes.iter().enumerate().flat_map(|(i, node)| {
            let keys = &keys;
            node.needs.iter().map(move |(need, _, _)| (keys[i].clone(), keys[*need].clone()))
        });
        let graph = Graph::new(keys.iter().cloned(), edges).map_err(|cycle| {
            Error::new(Reason::DependencyCycle, format!("services depend on each other in a circle: {cycle}"))
                .with("path", &cycle)
        })?;
        let by_key: BTreeMap<&String, usize> = keys.iter().enumerate().map(|(i, key)| (key, i)).collect();
        let start = graph.start_order().into_iter().map(|key| by_key[key]).collect();
        Ok(Self { nodes, start })
    }
}

fn sort_key(service: &Service) -> (i32, &str) {
    (service.definition.start_order, service.definition.name.as_str())
}

/// Groups that need each other in a circle are refused before their services are looked at.
fn check_groups(parts: &[Part<'_>]) -> Result<(), Error> {
    let keys = parts.iter().map(|part| part.group.name.to_string());
    let edges = parts.iter().flat_map(|part| {
        let from = part.group.name.to_string();
        part.group.definition.depends_on.iter().map(move |need| (from.clone(), need.group.to_string()))
    });
    Graph::new(keys, edges).map(drop).map_err(|cycle| {
        Error::new(Reason::DependencyCycle, format!("groups depend on each other in a circle: {cycle}"))
            .with("path", &cycle)
    })
}

fn needs_of(
    nodes: &[Node<'_>],
    names: &BTreeMap<ServiceRef, usize>,
    i: usize,
) -> Vec<(usize, Condition, bool)> {
    let node = &nodes[i];
    let mut needs: BTreeMap<usize, (Condition, bool)> = BTreeMap::new();
    for dependency in &node.wanted.service.definition.depends_on {
        let key = ServiceRef { group: node.group.name.clone(), name: dependency.service.clone() };
        if let Some(&need) = names.get(&key) {
            needs.insert(need, (dependency.condition, !dependency.required));
        }
    }
    for dependency in &node.group.definition.depends_on {
        for (j, other) in nodes.iter().enumerate() {
            let is_meant = other.group.name == dependency.group
                && dependency
                    .service
                    .as_ref()
                    .is_none_or(|name| *name == other.wanted.service.definition.name);
            if is_meant && j != i {
                let service = &other.wanted.service.definition;
                let far =
                    if service.gate_check().is_some() { Condition::Healthy } else { Condition::Started };
                needs.entry(j).or_insert((far, false));
            }
        }
    }
    needs.into_iter().map(|(need, (condition, soft))| (need, condition, soft)).collect()
}

/// What a node's steps are called by those that need it.
#[derive(Default, Clone)]
struct Done {
    start: Option<u32>,
    wait: Option<u32>,
}

struct Planner<'a> {
    verb: Verb,
    order: Order<'a>,
    snapshot: &'a Snapshot,
    policy: &'a Policy,
    steps: Vec<Step>,
    notes: Vec<String>,
}

/// What has to happen to one workload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// It is as it should be.
    Keep,
    /// It is there and has to be started.
    Start,
    /// It is not there.
    Create,
    /// It is there and has to be replaced.
    Replace,
    /// It runs, and something it follows is replaced.
    Restart,
}

impl<'a> Planner<'a> {
    fn bring_up(&mut self, parts: &[Part<'_>]) -> Result<(), Error> {
        let mut fates = Vec::with_capacity(self.order.nodes.len());
        let mut reasons = Vec::with_capacity(self.order.nodes.len());
        for i in 0..self.order.nodes.len() {
            let (fate, why) = self.fate(i)?;
            fates.push(fate);
            reasons.push(why);
        }
        for at in 0..self.order.start.len() {
            let i = self.order.start[at];
            if let Some(because) = self.restarted_dependency(i, &fates) {
                fates[i] = Fate::Restart;
                reasons[i] = format!("follows {because}");
            }
        }
        let images = self.images(&fates)?;
        let networks = self.networks(&fates)?;
        let volumes = self.volumes(&fates)?;
        let orphans = self.orphans(parts);

        let mut done = vec![Done::default(); self.order.nodes.len()];
        let mut created: BTreeMap<usize, Option<u32>> = BTreeMap::new();
        for at in 0..self.order.start.len() {
            let i = self.order.start[at];
            let node = &self.order.nodes[i];
            let (service, spec) = (node.wanted.service, &node.wanted.spec);
            let name = spec.name.clone();
            let mut before: Vec<u32> = Vec::new();
            if matches!(fates[i], Fate::Replace | Fate::Restart) && self.runs(&name) {
                let work = Work::Stop { name: name.clone(), grace: self.grace(spec) };
                before.push(self.step(Some(service), work, images.clone(), vec![], reasons[i].clone()));
            }
            if fates[i] == Fate::Replace {
                let work = Work::Remove { name: name.clone() };
                let needs = if before.is_empty() { images.clone() } else { before.clone() };
                before = vec![self.step(Some(service), work, needs, vec![], reasons[i].clone())];
            }
            if matches!(fates[i], Fate::Create | Fate::Replace) {
                let mut needs = images.clone();
                needs.extend(&before);
                let joins = spec.container().networks.iter().filter_map(|join| networks.get(&join.network));
                needs.extend(joins);
                let mounts = spec.container().mounts.iter().filter_map(|mount| mount.source.as_ref());
                needs.extend(mounts.filter_map(|source| volumes.get(source)));
                needs.extend(self.container_references(spec, &created));
                let why = if fates[i] == Fate::Replace { "replaced".to_owned() } else { reasons[i].clone() };
                before = vec![self.step(
                    Some(service),
                    Work::Create(Box::new(spec.clone())),
                    needs,
                    orphans.clone(),
                    why,
                )];
            }
            created.insert(
                i,
                before.first().copied().filter(|_| matches!(fates[i], Fate::Create | Fate::Replace)),
            );
            if fates[i] != Fate::Keep {
                let (mut needs, after) = self.gates(i, &done);
                needs.extend(&before);
                let why = self.start_reason(i, fates[i]);
                done[i].start =
                    Some(self.step(Some(service), Work::Start { name: name.clone() }, needs, after, why));
            }
            self.wait(i, &mut done);
        }
        Ok(())
    }

    /// A service that shares another container's namespaces is made after that one.
    fn container_references(&self, spec: &Spec, created: &BTreeMap<usize, Option<u32>>) -> Vec<u32> {
        let container = spec.container();
        let shared = [&container.network_mode, &container.pid, &container.ipc];
        let shared = shared.into_iter().flatten().filter_map(|mode| mode.strip_prefix("container:"));
        let from = container.volumes_from.iter().map(|from| from.split(':').next().unwrap_or(from));
        let wanted: BTreeSet<&str> = shared.chain(from).collect();
        created
            .iter()
            .filter(|(i, _)| wanted.contains(self.order.nodes[**i].wanted.spec.name.as_str()))
            .filter_map(|(_, step)| *step)
            .collect()
    }

    fn restart(&mut self) {
        let mut stopped: BTreeMap<usize, u32> = BTreeMap::new();
        for at in (0..self.order.start.len()).rev() {
            let i = self.order.start[at];
            let node = &self.order.nodes[i];
            let (service, name) = (node.wanted.service, node.wanted.spec.name.clone());
            if !self.is_ours(&name) {
                self.notes.push(format!("{} has no container; use start", service.resource()));
                continue;
            }
            if self.runs(&name) {
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
            let (service, name) = (node.wanted.service, node.wanted.spec.name.clone());
            if !self.is_ours(&name) {
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

    fn take_down(&mut self, parts: &[Part<'_>], remove: bool) {
        let mut ended: BTreeMap<usize, u32> = BTreeMap::new();
        let mut removed: Vec<u32> = Vec::new();
        for at in (0..self.order.start.len()).rev() {
            let i = self.order.start[at];
            let node = &self.order.nodes[i];
            let (service, name) = (node.wanted.service, node.wanted.spec.name.clone());
            if !self.is_ours(&name) {
                continue;
            }
            let dependants: Vec<u32> = node.needed_by.iter().filter_map(|j| ended.get(j).copied()).collect();
            let mut needs = Vec::new();
            if self.runs(&name) {
                let work = Work::Stop { name: name.clone(), grace: self.grace(&node.wanted.spec) };
                let why = if remove { "down" } else { "stop" };
                let number = self.step(Some(service), work, vec![], dependants, why.into());
                ended.insert(i, number);
                needs.push(number);
            }
            if remove {
                removed.push(self.step(Some(service), Work::Remove { name }, needs, vec![], "down".into()));
            }
        }
        for part in parts {
            for orphan in &part.orphans {
                let name = orphan.workload_name();
                if remove && self.is_ours(&name) {
                    removed.push(self.step(
                        Some(orphan),
                        Work::Remove { name },
                        vec![],
                        vec![],
                        "no longer in the files".into(),
                    ));
                }
            }
        }
        if remove {
            self.remove_shared(parts, &removed);
        }
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
            if self.snapshot.networks.get(&name) == Some(&true) {
                let why = "down, if nobody is on it".to_owned();
                self.step(None, Work::RemoveNetwork(name), vec![], removed.to_vec(), why);
            }
        }
        for name in volumes {
            if self.policy.remove_volumes && self.snapshot.volumes.get(&name) == Some(&true) {
                self.step(
                    None,
                    Work::RemoveVolume(name),
                    removed.to_vec(),
                    vec![],
                    "down with volumes".into(),
                );
            }
        }
    }

    fn fate(&mut self, i: usize) -> Result<(Fate, String), Error> {
        let node = &self.order.nodes[i];
        let (service, spec) = (node.wanted.service, &node.wanted.spec);
        let Some(present) = self.snapshot.workloads.get(&spec.name) else {
            return Ok((Fate::Create, "has no container".into()));
        };
        if !present.ours {
            if self.policy.adopt {
                return Ok((Fate::Replace, "adopted: not ours, volumes are kept".into()));
            }
            return Err(Error::new(
                Reason::NameTaken,
                format!(
                    "container `{}` exists and is not ours, and `{}` needs that name; remove it, or use --adopt to replace it and keep its volumes",
                    spec.name,
                    service.resource()
                ),
            )
            .with("container", &spec.name)
            .with("service", service.resource()));
        }
        let renews = self.verb == Verb::Up && !node.along;
        if !node.along && (self.verb == Verb::Recreate || self.policy.force_recreate) {
            return Ok((Fate::Replace, "recreate was asked for".into()));
        }
        let image_is_renewed = spec.container().build.is_some() && self.builds(spec)
            || self.pulls(spec) && spec.container().build.is_none();
        if renews && image_is_renewed {
            return Ok((Fate::Replace, "its image is made anew".into()));
        }
        if present.spec_hash != spec.identity.spec_hash {
            if renews {
                return Ok((Fate::Replace, "its definition changed".into()));
            }
            self.notes.push(format!(
                "{} differs from its container; `up` or `recreate` would replace it",
                service.resource()
            ));
        }
        Ok(match present.state {
            State::Running { .. } | State::Restarting => (Fate::Keep, String::new()),
            State::Created | State::Exited { .. } | State::Paused | State::Removing => {
                (Fate::Start, "is not running".into())
            }
        })
    }

    /// The dependency that is replaced or restarted and that this one, which runs, follows.
    fn restarted_dependency(&self, i: usize, fates: &[Fate]) -> Option<String> {
        if fates[i] != Fate::Keep {
            return None;
        }
        let service = self.order.nodes[i].wanted.service;
        let follows = service.definition.depends_on.iter().filter(|dependency| dependency.restart);
        follows.map(|dependency| &dependency.service).find_map(|name| {
            let need = self.order.nodes[i].needs.iter().find(|(j, _, _)| {
                let other = self.order.nodes[*j].wanted.service;
                other.group == service.group && other.definition.name == *name
            })?;
            matches!(fates[need.0], Fate::Replace | Fate::Restart).then(|| name.to_string())
        })
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
                    "needs nothing first".into()
                } else {
                    format!("needs {}", needs.join(", "))
                }
            }
        }
    }

    /// Steps that gate the start of a node: those that must succeed and those that must only end.
    fn gates(&self, i: usize, done: &[Done]) -> (Vec<u32>, Vec<u32>) {
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
    fn wait(&mut self, i: usize, done: &mut [Done]) {
        let node = &self.order.nodes[i];
        let service = node.wanted.service;
        let name = node.wanted.spec.name.clone();
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
        } else {
            return;
        };
        let is_there_already = done[i].start.is_none() && self.passed(&name, gate, service);
        if is_there_already {
            return;
        }
        let needs: Vec<u32> = done[i].start.into_iter().collect();
        let why = format!("until {}", gate.as_str());
        done[i].wait = Some(self.step(Some(service), Work::Wait { name, gate }, needs, vec![], why));
    }

    fn passed(&self, name: &str, gate: Condition, service: &Service) -> bool {
        use crate::health::Verdict;
        let Some(present) = self.snapshot.workloads.get(name) else { return false };
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

    fn images(&mut self, fates: &[Fate]) -> Result<Vec<u32>, Error> {
        let mut planned: BTreeMap<String, u32> = BTreeMap::new();
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
            } else if !is_there {
                return Err(Error::new(
                    Reason::ImageNotFound,
                    format!(
                        "image `{image}` of `{}` is not on this engine and its pull_policy is never; pull or build it, or change the policy",
                        service.resource()
                    ),
                )
                .with("image", &image)
                .with("service", service.resource()));
            }
        }
        let mut numbers: Vec<u32> = planned.into_values().collect();
        numbers.sort_unstable();
        Ok(numbers)
    }

    fn builds(&self, spec: &Spec) -> bool {
        let container = spec.container();
        container.build.is_some()
            && (self.policy.build
                || container.pull == PullPolicy::Build
                || !self.snapshot.images.contains(&container.image))
    }

    fn pulls(&self, spec: &Spec) -> bool {
        let container = spec.container();
        let wanted = match self.policy.pull.unwrap_or(container.pull) {
            PullPolicy::Never | PullPolicy::Build => false,
            PullPolicy::Always => true,
            PullPolicy::Missing => !self.snapshot.images.contains(&container.image),
        };
        wanted && container.build.is_none()
    }

    fn networks(&mut self, fates: &[Fate]) -> Result<BTreeMap<String, u32>, Error> {
        let mut planned = BTreeMap::new();
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
                    return Err(missing_external("network", &join.network, group));
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
        Ok(planned)
    }

    fn volumes(&mut self, fates: &[Fate]) -> Result<BTreeMap<String, u32>, Error> {
        let mut planned = BTreeMap::new();
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
                    return Err(missing_external("volume", name, group));
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
        Ok(planned)
    }

    fn orphans(&mut self, parts: &[Part<'_>]) -> Vec<u32> {
        let mut removed = Vec::new();
        for part in parts {
            for orphan in &part.orphans {
                let name = orphan.workload_name();
                let is_there = self.is_ours(&name);
                if !self.policy.remove_orphans {
                    if is_there {
                        self.notes.push(format!(
                            "{} is no longer in the files; --remove-orphans removes it",
                            orphan.resource()
                        ));
                    }
                    continue;
                }
                if !is_there {
                    continue;
                }
                let why = "no longer in the files";
                let mut needs = Vec::new();
                if self.runs(&name) {
                    let grace = self.policy.grace.unwrap_or_else(|| orphan.definition.stop.grace());
                    let work = Work::Stop { name: name.clone(), grace };
                    needs.push(self.step(Some(orphan), work, vec![], vec![], why.into()));
                }
                removed.push(self.step(Some(orphan), Work::Remove { name }, needs, vec![], why.into()));
            }
        }
        removed
    }

    fn step(
        &mut self,
        service: Option<&Service>,
        work: Work,
        mut needs: Vec<u32>,
        mut after: Vec<u32>,
        why: String,
    ) -> u32 {
        let number = u32::try_from(self.steps.len() + 1).unwrap_or(u32::MAX);
        for list in [&mut needs, &mut after] {
            list.sort_unstable();
            list.dedup();
        }
        after.retain(|step| !needs.contains(step));
        let service = service.map(|service| (service.id.clone(), service.resource()));
        self.steps.push(Step { number, service, work, needs, after, why });
        number
    }

    fn is_ours(&self, name: &str) -> bool {
        self.snapshot.workloads.get(name).is_some_and(|present| present.ours)
    }

    fn runs(&self, name: &str) -> bool {
        self.snapshot.workloads.get(name).is_some_and(|present| {
            matches!(present.state, State::Running { .. } | State::Restarting | State::Paused)
        })
    }

    fn grace(&self, spec: &Spec) -> Duration {
        self.policy.grace.unwrap_or_else(|| spec.stop.grace())
    }
}

fn key_of<'k>(mut keys: impl Iterator<Item = &'k String>, is_it: impl Fn(&str) -> bool) -> &'k str {
    keys.find(|key| is_it(key)).map_or(spec::DEFAULT_NETWORK, String::as_str)
}

fn missing_external(noun: &str, name: &str, group: &Group) -> Error {
    Error::new(
        Reason::InvalidFile,
        format!("{noun} `{name}` of `{}` is external and does not exist; create it with `docker {noun} create {name}`", group.name),
    )
    .with(noun, name)
}

impl Plan {
    /// The services that take part, in the order of their first step.
    pub fn services(&self) -> Vec<&ServiceId> {
        let mut seen = BTreeSet::new();
        let ids = self.steps.iter().filter_map(|step| step.service.as_ref().map(|(id, _)| id));
        ids.filter(|id| seen.insert(*id)).collect()
    }
}

#[cfg(test)]
mod tests;
