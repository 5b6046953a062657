//! The planner: what an operation will do and why, before it does it.
//!
//! [`plan`] sees what is wanted and a snapshot of the engine and returns steps
//! with their needs; whoever runs them has no choices to make. The same
//! arguments give the same plan, to the letter of [`Plan::render`].

pub mod change;
mod conditions;
mod down;
mod followers;
mod guests;
mod handover;
mod images;
mod networks;
mod order;
mod renamed;
mod seats;
mod shared;
mod up;

pub use change::Change;
pub use conditions::OnlyIf;
pub use followers::restarted_with;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::time::Duration;

use self::order::Order;
use self::seats::Seat;
use crate::error::Error;
use crate::group::Group;
use crate::id::ServiceId;
use crate::name::{GroupRef, ServiceRef};
use crate::operation::{Action, FailurePolicy, Verb};
use crate::port::{Assignment, Binding};
use crate::problem::{self, Problem};
use crate::service::{Condition, Service};
use crate::workload::{Build, Image, Network, PullPolicy, Spec, State, Volume};

/// One group of what is wanted.
#[derive(Debug, Clone)]
pub struct Part<'a> {
    /// The group.
    pub group: &'a Group,
    /// Its services that take part, with their complete specs.
    pub services: Vec<Wanted<'a>>,
    /// Services of ours that the files no longer have.
    pub orphans: Vec<&'a Service>,
    /// Services of the group that take no part; what they are on may still change under them.
    pub aside: Vec<&'a Service>,
    /// Groups that the same files made under an earlier name.
    pub former: Vec<Former<'a>>,
    /// It only comes along because the group that was asked for needs it: what runs is
    /// left as it is, whatever its definition says meanwhile.
    pub along: bool,
    /// All services of the group take part.
    pub is_whole: bool,
}

/// What a project was before it was renamed.
#[derive(Debug, Clone)]
pub struct Former<'a> {
    /// The group.
    pub group: &'a Group,
    /// Its services that still have containers.
    pub services: Vec<&'a Service>,
}

impl<'a> Part<'a> {
    /// Services with containers that are no longer wanted.
    fn leaving(&self) -> impl Iterator<Item = &'a Service> {
        let former = self.former.iter().flat_map(|former| former.services.iter());
        self.orphans.iter().chain(former).copied()
    }
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
    pub images: BTreeMap<String, Image>,
    /// Networks that are there.
    pub networks: BTreeMap<String, PresentNetwork>,
    /// Volumes that are there; whether they are ours.
    pub volumes: BTreeMap<String, bool>,
    /// Containers that docker compose made for a project and that are no service's of the plan, by project.
    pub composed: BTreeMap<String, Vec<Beside>>,
    /// Those volumes of ours that docker compose made for a group whose containers were adopted.
    pub adopted_volumes: BTreeSet<String>,
    /// What differs between a service's container and its definition; absent where that is not known.
    pub changes: BTreeMap<ServiceId, Vec<Change>>,
    /// Volumes without a name that are there, by service and target.
    pub anonymous_volumes: BTreeMap<ServiceId, BTreeMap<String, String>>,
}

/// A container of docker compose's beside those of the plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Beside {
    /// Its name.
    pub name: String,
    /// It is of `docker compose run`.
    pub is_one_off: bool,
}

/// A network that is there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PresentNetwork {
    /// The engine's id.
    pub id: String,
    /// It is ours, or docker compose made it for a group that was adopted: `down` may remove it.
    pub is_ours: bool,
    /// The group that it was made for, by our labels or docker compose's.
    pub group: Option<GroupRef>,
    /// What differs between it and its definition in that group, for people.
    pub changes: Option<String>,
}

/// A workload that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Present {
    /// The engine's id.
    pub id: String,
    /// Its volumes without a name, by target.
    pub anonymous_volumes: BTreeMap<String, String>,
    /// The service of the plan that it belongs to, by our labels or because it was adopted.
    pub service: Option<ServiceId>,
    /// The resource name of the service outside the plan that it belongs to.
    pub of_another: Option<String>,
    /// The service of ours that it belongs to, when that one is not of the plan.
    pub aside: Option<ServiceId>,
    /// Ids of its networks by name; empty where it has not been on one yet.
    pub networks: BTreeMap<String, String>,
    /// An operation that has not ended made it.
    pub is_in_the_making: bool,
    /// Ids of the containers whose namespaces it shares.
    pub shares_with: BTreeSet<String>,
    /// The hash of the spec that it was made from.
    pub spec_hash: String,
    /// The id that its image's name meant when it was created; empty where that is not known.
    pub image_id: String,
    /// What it does.
    pub state: State,
    /// Host ports that it holds now.
    pub ports: Vec<Binding>,
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
    /// Give services new anonymous volumes instead of those that they have.
    pub renew_anon_volumes: bool,
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
    /// What stands in the way, in the order in which it was found; with any, nothing is done.
    pub problems: Vec<Problem>,
    /// What changed in the services whose containers are replaced for it.
    pub changes: BTreeMap<ServiceId, Vec<Change>>,
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
    /// The replacement that it is a part of.
    pub swap: Option<Box<Swap>>,
    /// What it depends on beyond its needs; without a condition it is done.
    pub only_if: Option<Box<OnlyIf>>,
}

impl Step {
    /// The container that shows how the service is once this step has ended so.
    pub fn shown(&self, succeeded: bool) -> &str {
        match (&self.work, &self.swap) {
            (Work::Create(_) | Work::Stop { .. }, Some(swap)) => &swap.old,
            (Work::Start { name }, Some(swap)) if *name == swap.new && !succeeded => &swap.old,
            (Work::Remove { name }, Some(swap)) => {
                if *name == swap.new {
                    &swap.old
                } else {
                    &swap.new
                }
            }
            (Work::Rename { from, .. }, _) if !succeeded => from,
            _ => self.work.subject(),
        }
    }
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
    /// Put a network in the place of the one of its name.
    ReplaceNetwork {
        /// The new one.
        network: Box<Network>,
        /// The containers that were on the old one and are joined to the new one; they have been stopped.
        members: Vec<Member>,
    },
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
    /// Give it another name.
    Rename {
        /// The name it has.
        from: String,
        /// The name it gets.
        to: String,
    },
    /// Freeze it.
    Pause {
        /// The engine's name.
        name: String,
    },
    /// Let it go on.
    Unpause {
        /// The engine's name.
        name: String,
    },
}

/// A container on a network that is replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its name.
    pub name: String,
    /// It ran, and runs again when the network cannot be replaced.
    pub ran: bool,
}

/// The replacement of one container by another. The old one is kept until the new one was
/// started, so that a call that fails takes nothing away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Swap {
    /// The name of the old container.
    pub old: String,
    /// Its id: the name alone may mean the new one by now.
    pub old_id: String,
    /// The old container was running.
    pub ran: bool,
    /// The name that the new container is created under.
    pub new: String,
    /// The name that it has in the end.
    pub name: String,
    /// The hash of its spec.
    pub spec_hash: String,
}

impl Work {
    /// The word of the step.
    pub const fn action(&self) -> Action {
        match self {
            Self::Pull { .. } => Action::Pull,
            Self::Build { .. } => Action::Build,
            Self::MakeNetwork(_) | Self::ReplaceNetwork { .. } | Self::RemoveNetwork(_) => Action::Network,
            Self::MakeVolume(_) | Self::RemoveVolume(_) => Action::Volume,
            Self::Create(_) => Action::Create,
            Self::Start { .. } => Action::Start,
            Self::Wait { .. } => Action::Wait,
            Self::Stop { .. } => Action::Stop,
            Self::Remove { .. } => Action::Remove,
            Self::Rename { .. } => Action::Rename,
            Self::Pause { .. } => Action::Pause,
            Self::Unpause { .. } => Action::Unpause,
        }
    }

    /// What it touches, by the engine's name.
    pub fn subject(&self) -> &str {
        match self {
            Self::Pull { image, .. } | Self::Build { image, .. } => image,
            Self::MakeNetwork(network) | Self::ReplaceNetwork { network, .. } => &network.name,
            Self::MakeVolume(volume) => &volume.name,
            Self::Create(spec) => &spec.name,
            Self::RemoveNetwork(name)
            | Self::RemoveVolume(name)
            | Self::Start { name }
            | Self::Wait { name, .. }
            | Self::Stop { name, .. }
            | Self::Remove { name }
            | Self::Pause { name }
            | Self::Unpause { name }
            | Self::Rename { to: name, .. } => name,
        }
    }

    /// What takes its effect back; `None` where nothing is left to take back.
    pub fn undo(&self, grace: Duration) -> Option<Self> {
        match self {
            Self::MakeNetwork(network) => Some(Self::RemoveNetwork(network.name.clone())),
            Self::MakeVolume(volume) => Some(Self::RemoveVolume(volume.name.clone())),
            Self::Create(spec) => Some(Self::Remove { name: spec.name.clone() }),
            Self::Start { name } => Some(Self::Stop { name: name.clone(), grace }),
            Self::Rename { from, to } => Some(Self::Rename { from: to.clone(), to: from.clone() }),
            Self::Unpause { name } => Some(Self::Pause { name: name.clone() }),
            _ => None,
        }
    }
}

impl Plan {
    /// Nothing to do.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// Why it cannot be done as it is, if anything stands in its way.
    pub fn refusal(&self) -> Option<Error> {
        problem::refusal(&self.problems)
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
        if self.steps.is_empty() && self.problems.is_empty() {
            let state = match self.verb {
                Verb::Up => "is up to date",
                Verb::Start | Verb::Restart | Verb::Recreate => "runs as it should",
                Verb::Stop => "is stopped already",
                Verb::Down => "is down already",
            };
            let _ = writeln!(text, "  nothing to do: {} {state}", self.subject);
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
        for assignment in &self.ports {
            let port = &assignment.port;
            let _ = writeln!(
                text,
                "port  {} → {}:{}/{}  {}",
                port.outside(),
                assignment.owner,
                port.container_port,
                port.protocol.as_str(),
                assignment.why
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
/// A cycle among the services or groups: then there is no order to plan in. Whatever
/// else stands in the way is in [`Plan::problems`].
pub fn plan(
    verb: Verb,
    subject: impl Into<String>,
    parts: &[Part<'_>],
    snapshot: &Snapshot,
    policy: &Policy,
) -> Result<Plan, Error> {
    let order = Order::of(parts)?;
    let mut planner = Planner {
        verb,
        seats: seats::seats(&order, snapshot, policy.adopt),
        conditions: vec![None; order.nodes.len()],
        order,
        orphans: parts.iter().flat_map(Part::leaving).collect(),
        snapshot,
        policy,
        steps: vec![],
        notes: vec![],
        problems: vec![],
        changes: BTreeMap::new(),
    };
    match verb {
        Verb::Up | Verb::Start | Verb::Recreate => planner.bring_up(parts),
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
        problems: planner.problems,
        changes: planner.changes,
    })
}

struct Planner<'a> {
    verb: Verb,
    order: Order<'a>,
    /// The container of each node.
    seats: Vec<Seat<'a>>,
    /// The images, with the ids that they had, that the replacement or restart of each node depends on.
    conditions: Vec<Option<BTreeSet<(String, String)>>>,
    orphans: Vec<&'a Service>,
    snapshot: &'a Snapshot,
    policy: &'a Policy,
    steps: Vec<Step>,
    notes: Vec<String>,
    problems: Vec<Problem>,
    changes: BTreeMap<ServiceId, Vec<Change>>,
}

impl Planner<'_> {
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
        self.steps.push(Step { number, service, work, needs, after, why, swap: None, only_if: None });
        number
    }

    fn runs(&self, name: &str) -> bool {
        self.snapshot.workloads.get(name).is_some_and(Present::runs)
    }

    fn grace(&self, spec: &Spec) -> Duration {
        self.policy.grace.unwrap_or_else(|| spec.stop.grace())
    }
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
