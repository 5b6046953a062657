//! A service: what it is (definition), what was asked for (desired), what the
//! engine last showed (observed), and the status that follows from these.

use std::time::Duration;

use indexmap::IndexMap;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::error::Reason;
use crate::health::{Check, Test, Verdict};
use crate::id::{GroupId, ServiceId};
use crate::name::{GroupRef, ServiceName, ServiceRef};
use crate::operation::Action;
use crate::port::{Binding, Wish};
use crate::workload::{ConfigHash, Container, Limits, Logging, Restart, Run, Stop};

/// What a service is, in the words of its file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Definition {
    /// Its name in its group.
    pub name: ServiceName,
    /// False when none of its profiles is active, or when it is scaled to 0.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// How many containers the file asks for; `None` is one.
    #[serde(default)]
    pub scale: Option<u32>,
    /// The profiles that enable it; empty is always.
    #[serde(default)]
    pub profiles: Vec<String>,
    /// Variables.
    #[serde(default)]
    pub environment: IndexMap<String, String>,
    /// Ports to publish.
    #[serde(default)]
    pub ports: Vec<Wish>,
    /// What it needs first.
    #[serde(default)]
    pub depends_on: Vec<Dependency>,
    /// The file's check, handed to the engine.
    #[serde(default)]
    pub health: Option<Check>,
    /// Our own check (`x-clos.health_check`, the API's `health_check`); it is the gate where both are.
    #[serde(default)]
    pub probe: Option<Check>,
    /// When the engine restarts it.
    #[serde(default)]
    pub restart: Restart,
    /// How it is asked to end.
    #[serde(default)]
    pub stop: Stop,
    /// What it may use.
    #[serde(default)]
    pub limits: Limits,
    /// Where its output goes.
    #[serde(default)]
    pub logging: Option<Logging>,
    /// Labels of the file.
    #[serde(default)]
    pub labels: IndexMap<String, String>,
    /// A fixed container name, honoured in the base instance.
    #[serde(default)]
    pub container_name: Option<String>,
    /// What runs, with the file's names for networks and volumes.
    pub run: Run,
    /// Lower first among equals of the graph.
    #[serde(default)]
    pub start_order: i32,
    /// Free words to find it by.
    #[serde(default)]
    pub tags: Vec<String>,
    /// For people.
    #[serde(default)]
    pub description: String,
    /// For people.
    #[serde(default)]
    pub owner: String,
    /// For people.
    #[serde(default)]
    pub version: String,
    /// The hash that docker compose knows this service of the file by; none once the API changed what runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_hash: Option<ConfigHash>,
}

fn yes() -> bool {
    true
}

impl Definition {
    /// Whether another definition differs only in words for people and in when the service takes part.
    pub fn runs_the_same(&self, other: &Self) -> bool {
        let compared = Self {
            enabled: self.enabled,
            profiles: self.profiles.clone(),
            start_order: self.start_order,
            tags: self.tags.clone(),
            description: self.description.clone(),
            owner: self.owner.clone(),
            version: self.version.clone(),
            config_hash: self.config_hash.clone(),
            ..other.clone()
        };
        *self == compared
    }

    /// A service that runs this image with nothing else said.
    pub fn of_image(name: ServiceName, image: impl Into<String>) -> Self {
        let container = Container { image: image.into(), ..Container::default() };
        Self {
            name,
            enabled: true,
            scale: None,
            profiles: Vec::new(),
            environment: IndexMap::new(),
            ports: Vec::new(),
            depends_on: Vec::new(),
            health: None,
            probe: None,
            restart: Restart::default(),
            stop: Stop::default(),
            limits: Limits::default(),
            logging: None,
            labels: IndexMap::new(),
            container_name: None,
            run: Run::Container(Box::new(container)),
            start_order: 0,
            tags: Vec::new(),
            description: String::new(),
            owner: String::new(),
            version: String::new(),
            config_hash: None,
        }
    }

    /// The container part.
    pub fn container(&self) -> &Container {
        let Run::Container(container) = &self.run;
        container
    }

    /// The container part, to change it.
    pub fn container_mut(&mut self) -> &mut Container {
        let Run::Container(container) = &mut self.run;
        container
    }

    /// The check that gates the start: ours before the file's; a disabled one is none.
    pub fn gate_check(&self) -> Option<&Check> {
        self.probe.as_ref().or(self.health.as_ref()).filter(|check| check.test != Test::Disabled)
    }

    /// It publishes a port or has a health check, so it is not meant to end by itself.
    pub fn is_server(&self) -> bool {
        !self.ports.is_empty() || self.gate_check().is_some()
    }
}

/// One thing a service needs first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dependency {
    /// A service of the same group.
    pub service: ServiceName,
    /// How far it must be.
    pub condition: Condition,
    /// A missing or failing one is only a warning when false.
    #[serde(default = "yes")]
    pub required: bool,
    /// This one is restarted after that one is.
    #[serde(default)]
    pub restart: bool,
}

/// How far a dependency must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Condition {
    /// Its container was started.
    Started,
    /// Its check has passed.
    Healthy,
    /// It ended with code 0.
    Completed,
}

impl Condition {
    /// The wire word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::Healthy => "healthy",
            Self::Completed => "completed",
        }
    }

    /// The condition of this word.
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Started, Self::Healthy, Self::Completed].into_iter().find(|c| c.as_str() == word)
    }
}

/// What was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Desired {
    /// It should run.
    Running,
    /// It should not run; its container stays.
    Stopped,
    /// It should have no container.
    Absent,
}

impl Desired {
    /// The wire word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Stopped => "stopped",
            Self::Absent => "absent",
        }
    }

    /// The state of this word.
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Running, Self::Stopped, Self::Absent].into_iter().find(|d| d.as_str() == word)
    }
}

/// What the engine last showed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Observed {
    /// No container.
    Absent,
    /// A container that has not run.
    Created,
    /// It runs.
    Running(Verdict),
    /// It runs, but is frozen; what its check said last.
    Paused(Verdict),
    /// It ended with this code (128 + signal for a signal).
    Exited(i32),
    /// The engine is about to start it again.
    Restarting,
    /// The engine was not asked yet.
    Unknown,
}

/// A change that the engine tells of one workload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It was made.
    Created,
    /// It was started.
    Started,
    /// It ended.
    Died {
        /// Exit code.
        code: i32,
    },
    /// The engine's check changed its mind, or ours did.
    Health(Verdict),
    /// It was removed.
    Removed,
    /// It was frozen.
    Paused,
    /// It goes on after it was frozen.
    Unpaused,
    /// It was sent this signal, by a stop or a kill.
    Signalled(i32),
    /// A stop has ended it.
    Stopped,
}

/// Numbers of the signals that ask for something else than an end, and of the one that does not ask.
mod signal {
    pub(super) const HUP: i32 = 1;
    pub(super) const KILL: i32 = 9;
    pub(super) const USR1: i32 = 10;
    pub(super) const USR2: i32 = 12;
    pub(super) const CHLD: i32 = 17;
    pub(super) const CONT: i32 = 18;
    pub(super) const STOP: i32 = 19;
    pub(super) const TSTP: i32 = 20;
}

/// Whether a process is expected to end in an orderly way when it gets this signal. Images choose theirs
/// freely (`SIGQUIT`, `SIGWINCH`, `SIGRTMIN+3`), so it is every one but those with another common meaning.
/// SIGKILL is not one: it is what a crash looks like, and a stop sends another one first.
pub const fn asks_to_end(number: i32) -> bool {
    use signal::{CHLD, CONT, HUP, KILL, STOP, TSTP, USR1, USR2};
    !matches!(number, HUP | KILL | USR1 | USR2 | CHLD | CONT | STOP | TSTP)
}

impl Observed {
    /// The state after a change, or `None` when the change is not one that this
    /// state can have (an event that came late, or twice).
    ///
    /// A start says nothing about health yet: `checked` tells whether somebody asks.
    pub fn after(self, change: Change, checked: bool) -> Option<Self> {
        let fresh = if checked { Verdict::Starting } else { Verdict::None };
        match (self, change) {
            (Self::Unknown, Change::Health(verdict)) => Some(Self::Running(verdict)),
            (Self::Absent | Self::Unknown, Change::Created) => Some(Self::Created),
            (Self::Running(_) | Self::Paused(_), Change::Started) => None,
            (_, Change::Started) => Some(Self::Running(fresh)),
            (Self::Running(verdict), Change::Paused) => Some(Self::Paused(verdict)),
            (Self::Unknown, Change::Paused) => Some(Self::Paused(fresh)),
            (Self::Paused(verdict), Change::Unpaused) => Some(Self::Running(verdict)),
            (
                Self::Running(_) | Self::Paused(_) | Self::Restarting | Self::Unknown | Self::Created,
                Change::Died { code },
            ) => Some(Self::Exited(code)),
            (Self::Running(before), Change::Health(now)) if before != now => Some(Self::Running(now)),
            (Self::Paused(before), Change::Health(now)) if before != now => Some(Self::Paused(now)),
            (Self::Absent, Change::Removed) => None,
            (_, Change::Removed) => Some(Self::Absent),
            _ => None,
        }
    }

    /// It runs, whatever its health, frozen or not.
    pub const fn is_running(self) -> bool {
        matches!(self, Self::Running(_) | Self::Paused(_))
    }

    /// It runs, but is frozen.
    pub const fn is_paused(self) -> bool {
        matches!(self, Self::Paused(_))
    }

    /// The word that is stored; what is paused runs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Absent => "absent",
            Self::Created => "created",
            Self::Running(_) | Self::Paused(_) => "running",
            Self::Exited(_) => "exited",
            Self::Restarting => "restarting",
            Self::Unknown => "unknown",
        }
    }

    /// The verdict of a running one; of a paused one that of before.
    pub const fn health(self) -> Verdict {
        match self {
            Self::Running(verdict) | Self::Paused(verdict) => verdict,
            _ => Verdict::None,
        }
    }

    /// The code of an ended one.
    pub const fn exit_code(self) -> Option<i32> {
        match self {
            Self::Exited(code) => Some(code),
            _ => None,
        }
    }

    /// Reads the stored parts back.
    pub fn from_parts(word: &str, health: Verdict, exit_code: Option<i32>, is_paused: bool) -> Option<Self> {
        Some(match word {
            "absent" => Self::Absent,
            "created" => Self::Created,
            "running" if is_paused => Self::Paused(health),
            "running" => Self::Running(health),
            "exited" => Self::Exited(exit_code?),
            "restarting" => Self::Restarting,
            "unknown" => Self::Unknown,
            _ => return None,
        })
    }
}

/// Who ended the last run of a workload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ended {
    /// An operation of ours; it will start it again where it should run.
    Clos,
    /// Somebody else, by a stop or a signal that asks for the end.
    Outside,
    /// Nobody: it was watched, and ended by itself.
    Itself,
}

impl Ended {
    /// The stored word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Clos => "clos",
            Self::Outside => "outside",
            Self::Itself => "itself",
        }
    }

    /// The value of this word.
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Clos, Self::Outside, Self::Itself].into_iter().find(|ended| ended.as_str() == word)
    }
}

/// A step of an operation that is in progress on a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenStep {
    /// What it does.
    pub action: Action,
}

/// The words of the API for a service's status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Up, and well as far as anybody asks.
    Running,
    /// Not up, and that is as it should be.
    Stopped,
    /// Not up though it should be.
    Failed,
    /// On its way up.
    Starting,
    /// On its way down.
    Stopping,
    /// Up and not well.
    Unhealthy,
}

impl Status {
    /// Every word.
    pub const ALL: [Self; 6] =
        [Self::Running, Self::Stopped, Self::Failed, Self::Starting, Self::Stopping, Self::Unhealthy];

    /// The wire word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Stopped => "stopped",
            Self::Failed => "failed",
            Self::Starting => "starting",
            Self::Stopping => "stopping",
            Self::Unhealthy => "unhealthy",
        }
    }

    /// The status of this word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == word)
    }
}

/// What [`status`] looks at.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// What was asked for.
    pub desired: Desired,
    /// What the engine last showed.
    pub observed: Observed,
    /// The step in progress.
    pub step: Option<OpenStep>,
    /// When the engine restarts it.
    pub restart: Restart,
    /// Starts by the engine within the last sixty seconds.
    pub restarts_in_a_minute: u32,
    /// The engine started it again within [`RESTART_SETTLES`].
    pub just_restarted: bool,
    /// The dependency that kept it from starting.
    pub skipped_because: Option<&'a str>,
    /// There was a container, and nobody of ours took it away.
    pub was_made: bool,
    /// Who ended its last run, where that is known.
    pub ended_by: Option<Ended>,
    /// It is not meant to end by itself, whatever its restart policy.
    pub is_server: bool,
}

impl Facts<'_> {
    /// Whether an end with 0 is the end of a job. A server may have been stopped while nobody watched.
    fn did_its_work(&self) -> bool {
        match self.ended_by {
            Some(Ended::Clos | Ended::Outside) => false,
            Some(Ended::Itself) => self.restart.is_one_shot(),
            None => self.restart.is_one_shot() && !self.is_server,
        }
    }
}

/// Starts by the engine within a minute from which on it is a crash loop.
pub const CRASH_LOOP_STARTS: u32 = 3;
/// The time in which the engine's starts are counted.
pub const CRASH_LOOP_WINDOW: Duration = Duration::from_secs(60);

/// What the engine restarted is on its way up for this long: a service that crashes again and
/// again is not well between two crashes.
pub const RESTART_SETTLES: Duration = Duration::from_secs(10);

/// The status of a service and the reason that the word cannot say, by the table of semantics.md.
pub fn status(facts: &Facts<'_>) -> (Status, Option<Reason>) {
    use Action::{Build, Create, Network, Pause, Pull, Remove, Rename, Start, Stop, Unpause, Volume, Wait};

    match facts.step.map(|step| step.action) {
        Some(Create | Start | Pull | Build | Network | Volume) => return (Status::Starting, None),
        Some(Stop | Remove) => return (Status::Stopping, None),
        Some(Wait | Rename | Pause | Unpause) | None => {}
    }
    let wants_to_run = facts.desired == Desired::Running;
    match facts.observed {
        Observed::Running(_) | Observed::Paused(_) if !wants_to_run => {
            (Status::Running, Some(Reason::Drifted))
        }
        Observed::Paused(_) => (Status::Running, Some(Reason::Paused)),
        Observed::Running(_) if facts.just_restarted && facts.restarts_in_a_minute >= CRASH_LOOP_STARTS => {
            (Status::Failed, Some(Reason::CrashLooping))
        }
        Observed::Running(Verdict::None | Verdict::Healthy) if facts.just_restarted => {
            (Status::Starting, Some(Reason::Restarting))
        }
        Observed::Running(Verdict::None | Verdict::Healthy) => (Status::Running, None),
        Observed::Running(Verdict::Starting) => (Status::Starting, None),
        Observed::Running(Verdict::Unhealthy) => (Status::Unhealthy, None),
        Observed::Restarting if facts.restarts_in_a_minute >= CRASH_LOOP_STARTS => {
            (Status::Failed, Some(Reason::CrashLooping))
        }
        Observed::Restarting => (Status::Starting, Some(Reason::Restarting)),
        Observed::Exited(_) | Observed::Absent | Observed::Created if !wants_to_run => {
            (Status::Stopped, None)
        }
        Observed::Exited(_) if facts.ended_by == Some(Ended::Clos) && facts.skipped_because.is_none() => {
            (Status::Stopped, None)
        }
        Observed::Exited(_) if facts.ended_by == Some(Ended::Outside) && facts.skipped_because.is_none() => {
            (Status::Stopped, Some(Reason::StoppedOutside))
        }
        Observed::Exited(0) if facts.did_its_work() => (Status::Stopped, Some(Reason::Completed)),
        _ if facts.skipped_because.is_some() => (Status::Stopped, Some(Reason::Skipped)),
        Observed::Exited(_) if facts.restarts_in_a_minute >= CRASH_LOOP_STARTS => {
            (Status::Failed, Some(Reason::CrashLooping))
        }
        Observed::Exited(_) => (Status::Failed, Some(Reason::Exited)),
        Observed::Absent if facts.was_made => (Status::Failed, Some(Reason::Gone)),
        // An operation that was just begun has yet to make it.
        Observed::Absent => (Status::Stopped, None),
        Observed::Created => (Status::Stopped, None),
        Observed::Unknown => (Status::Stopped, Some(Reason::EngineUnreachable)),
    }
}

/// A service as the store keeps it.
#[derive(Debug, Clone, PartialEq)]
pub struct Service {
    /// Its id for ever.
    pub id: ServiceId,
    /// Its group's id.
    pub group_id: GroupId,
    /// Its group's name and instance.
    pub group: GroupRef,
    /// What it is.
    pub definition: Definition,
    /// What was asked for.
    pub desired: Desired,
    /// What the engine last showed.
    pub observed: Observed,
    /// When the engine showed it.
    pub observed_at: Option<Timestamp>,
    /// The engine's id of its workload.
    pub container_id: Option<String>,
    /// The step in progress on it.
    pub step: Option<OpenStep>,
    /// The status as last derived.
    pub status: Status,
    /// What the status word cannot say.
    pub status_reason: Option<Reason>,
    /// For people: which dependency, which code, which error.
    pub status_detail: String,
    /// Starts by the engine within [`CRASH_LOOP_WINDOW`].
    pub restart_times: Vec<Timestamp>,
    /// Who ended its last run, where that is known; none while it runs.
    pub ended_by: Option<Ended>,
    /// Host ports it has.
    pub ports: Vec<Binding>,
    /// Counts the changes of the definition.
    pub generation: i64,
    /// Last start of its workload.
    pub started_at: Option<Timestamp>,
    /// Last end of its workload.
    pub stopped_at: Option<Timestamp>,
    /// When the row was made.
    pub created_at: Timestamp,
    /// When the row last changed.
    pub updated_at: Timestamp,
}

impl Service {
    /// Its resource name.
    pub fn resource(&self) -> ServiceRef {
        ServiceRef { group: self.group.clone(), name: self.definition.name.clone() }
    }

    /// The engine's name for its workload: a fixed name in the base instance, else `P-web-1`;
    /// a fixed name gets the instance as a suffix elsewhere.
    pub fn workload_name(&self) -> String {
        workload_name(&self.group, &self.definition)
    }

    /// The status that follows from the row as it is now.
    pub fn derive_status(&self, now: Timestamp) -> (Status, Option<Reason>) {
        let since = |span| now.checked_sub(span).unwrap_or(Timestamp::MIN);
        let (window_start, settled) = (since(CRASH_LOOP_WINDOW), since(RESTART_SETTLES));
        let recent = self.restart_times.iter().filter(|at| **at >= window_start).count();
        let skipped = (self.status_reason == Some(Reason::Skipped)).then_some(self.status_detail.as_str());
        status(&Facts {
            desired: self.desired,
            observed: self.observed,
            step: self.step,
            restart: self.definition.restart,
            restarts_in_a_minute: u32::try_from(recent).unwrap_or(u32::MAX),
            just_restarted: self.restart_times.iter().any(|at| *at > settled),
            skipped_because: skipped,
            was_made: self.container_id.is_some(),
            ended_by: self.ended_by,
            is_server: self.definition.is_server(),
        })
    }

    /// It is up and, as far as anybody asks, well; or a one-shot that did its work.
    pub fn counts_as_running(&self) -> bool {
        self.status == Status::Running || self.status_reason == Some(Reason::Completed)
    }
}

/// The engine's name for a service's workload.
pub fn workload_name(group: &GroupRef, definition: &Definition) -> String {
    match (&definition.container_name, &group.instance) {
        (Some(fixed), None) => fixed.clone(),
        (Some(fixed), Some(instance)) => format!("{fixed}__{instance}"),
        (None, _) => format!("{}-{}-1", group.engine_prefix(), definition.name),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn facts(desired: Desired, observed: Observed) -> Facts<'static> {
        Facts {
            desired,
            observed,
            step: None,
            restart: Restart::Always,
            restarts_in_a_minute: 0,
            just_restarted: false,
            skipped_because: None,
            was_made: true,
            ended_by: None,
            is_server: false,
        }
    }

    fn said(facts: Facts<'_>) -> String {
        let (status, reason) = status(&facts);
        format!("{}{}", status.as_str(), reason.map(|r| format!(" {}", r.as_str())).unwrap_or_default())
    }

    #[test]
    fn the_table_of_semantics_holds() {
        use Desired::{Absent, Running, Stopped};
        let one_shot = |code| Facts { restart: Restart::No, ..facts(Running, Observed::Exited(code)) };
        let looping = |observed| Facts { restarts_in_a_minute: 3, ..facts(Running, observed) };
        let again = |verdict| Facts { just_restarted: true, ..facts(Running, Observed::Running(verdict)) };
        let looping_now = Facts { just_restarted: true, ..looping(Observed::Running(Verdict::None)) };
        let step = |action, observed| Facts { step: Some(OpenStep { action }), ..facts(Running, observed) };
        let between = |code| Facts { ended_by: Some(Ended::Clos), ..one_shot(code) };
        let stopped =
            |code| Facts { ended_by: Some(Ended::Outside), ..facts(Running, Observed::Exited(code)) };
        let watched = |code| Facts { ended_by: Some(Ended::Itself), is_server: true, ..one_shot(code) };
        let skipped = Facts { skipped_because: Some("db"), ..facts(Running, Observed::Absent) };
        let table = [
            (said(step(Action::Create, Observed::Absent)), "starting"),
            (said(step(Action::Start, Observed::Exited(1))), "starting"),
            (said(step(Action::Stop, Observed::Running(Verdict::Healthy))), "stopping"),
            (said(step(Action::Remove, Observed::Exited(0))), "stopping"),
            (said(step(Action::Wait, Observed::Running(Verdict::Starting))), "starting"),
            (said(facts(Stopped, Observed::Running(Verdict::Healthy))), "running DRIFTED"),
            (said(facts(Absent, Observed::Running(Verdict::Unhealthy))), "running DRIFTED"),
            (said(facts(Running, Observed::Running(Verdict::None))), "running"),
            (said(facts(Running, Observed::Running(Verdict::Healthy))), "running"),
            (said(facts(Running, Observed::Running(Verdict::Starting))), "starting"),
            (said(facts(Running, Observed::Running(Verdict::Unhealthy))), "unhealthy"),
            (said(facts(Running, Observed::Restarting)), "starting RESTARTING"),
            (said(looping(Observed::Restarting)), "failed CRASH_LOOPING"),
            (said(looping(Observed::Exited(1))), "failed CRASH_LOOPING"),
            (said(looping_now), "failed CRASH_LOOPING"),
            (said(looping(Observed::Running(Verdict::None))), "running"),
            (said(again(Verdict::None)), "starting RESTARTING"),
            (said(again(Verdict::Healthy)), "starting RESTARTING"),
            (said(again(Verdict::Unhealthy)), "unhealthy"),
            (said(facts(Stopped, Observed::Exited(137))), "stopped"),
            (said(facts(Absent, Observed::Absent)), "stopped"),
            (said(one_shot(0)), "stopped COMPLETED"),
            (said(one_shot(2)), "failed EXITED"),
            (said(between(137)), "stopped"),
            (said(between(0)), "stopped"),
            (said(Facts { skipped_because: Some("db"), ..between(137) }), "stopped SKIPPED"),
            (said(facts(Running, Observed::Exited(0))), "failed EXITED"),
            (said(facts(Running, Observed::Paused(Verdict::Healthy))), "running PAUSED"),
            (
                said(Facts { just_restarted: true, ..facts(Running, Observed::Paused(Verdict::None)) }),
                "running PAUSED",
            ),
            (said(facts(Stopped, Observed::Paused(Verdict::None))), "running DRIFTED"),
            (said(step(Action::Stop, Observed::Paused(Verdict::None))), "stopping"),
            (said(step(Action::Unpause, Observed::Paused(Verdict::None))), "running PAUSED"),
            (said(stopped(0)), "stopped STOPPED_OUTSIDE"),
            (said(stopped(143)), "stopped STOPPED_OUTSIDE"),
            (said(Facts { restart: Restart::No, ..stopped(0) }), "stopped STOPPED_OUTSIDE"),
            (said(Facts { desired: Stopped, ..stopped(0) }), "stopped"),
            (said(Facts { skipped_because: Some("db"), ..stopped(0) }), "stopped SKIPPED"),
            (said(watched(0)), "stopped COMPLETED"),
            (said(watched(2)), "failed EXITED"),
            (said(Facts { is_server: true, ..one_shot(0) }), "failed EXITED"),
            (
                said(Facts { ended_by: Some(Ended::Itself), ..facts(Running, Observed::Exited(0)) }),
                "failed EXITED",
            ),
            (said(facts(Running, Observed::Absent)), "failed GONE"),
            (said(Facts { was_made: false, ..facts(Running, Observed::Absent) }), "stopped"),
            (said(skipped), "stopped SKIPPED"),
            (said(facts(Running, Observed::Unknown)), "stopped ENGINE_UNREACHABLE"),
        ];
        for (got, wanted) in table {
            assert_eq!(got, wanted);
        }
    }

    #[test]
    fn a_fixed_container_name_gets_the_instance_as_suffix() {
        let name = ServiceName::parse("name", "web").unwrap();
        let mut web = Definition::of_image(name, "web");
        let shop = GroupRef::parse("group", "shop").unwrap();
        let copy = GroupRef::parse("group", "shop~x").unwrap();
        assert_eq!(workload_name(&shop, &web), "shop-web-1");
        assert_eq!(workload_name(&copy, &web), "shop__x-web-1");
        web.container_name = Some("frontend".into());
        assert_eq!(workload_name(&shop, &web), "frontend");
        assert_eq!(workload_name(&copy, &web), "frontend__x");
    }

    #[test]
    fn words_read_back() {
        for status in Status::ALL {
            assert_eq!(Status::parse(status.as_str()), Some(status));
        }
        for desired in [Desired::Running, Desired::Stopped, Desired::Absent] {
            assert_eq!(Desired::parse(desired.as_str()), Some(desired));
        }
        for condition in [Condition::Started, Condition::Healthy, Condition::Completed] {
            assert_eq!(Condition::parse(condition.as_str()), Some(condition));
        }
        for ended in [Ended::Clos, Ended::Outside, Ended::Itself] {
            assert_eq!(Ended::parse(ended.as_str()), Some(ended));
        }
        assert_eq!(Observed::from_parts("exited", Verdict::None, None, false), None);
        assert_eq!(Observed::from_parts("frozen", Verdict::None, None, false), None);
    }

    #[test]
    fn a_server_has_a_port_or_a_check() {
        let mut web = Definition::of_image(ServiceName::parse("name", "web").unwrap(), "web");
        assert!(!web.is_server());
        web.health = Some(Check::new(Test::Disabled));
        assert!(!web.is_server());
        web.health = Some(Check::new(Test::Tcp { port: 80 }));
        assert!(web.is_server());
    }

    #[test]
    fn a_signal_that_reloads_or_kills_does_not_ask_for_the_end() {
        for (number, asks) in
            [(15, true), (2, true), (3, true), (28, true), (37, true), (9, false), (1, false), (10, false)]
        {
            assert_eq!(asks_to_end(number), asks, "{number}");
        }
    }

    fn any_change() -> impl Strategy<Value = Change> {
        prop_oneof![
            Just(Change::Created),
            Just(Change::Started),
            (0..3i32).prop_map(|code| Change::Died { code }),
            Just(Change::Health(Verdict::Healthy)),
            Just(Change::Health(Verdict::Unhealthy)),
            Just(Change::Removed),
            Just(Change::Paused),
            Just(Change::Unpaused),
            Just(Change::Signalled(15)),
            Just(Change::Stopped),
        ]
    }

    proptest! {
        #[test]
        fn observed_moves_only_along_legal_edges(changes in proptest::collection::vec(any_change(), 0..40), checked: bool) {
            let mut state = Observed::Absent;
            for change in changes {
                let Some(next) = state.after(change, checked) else { continue };
                let legal = match (state, next) {
                    (Observed::Absent, Observed::Created | Observed::Running(_)) => true,
                    (Observed::Created, Observed::Running(_) | Observed::Exited(_) | Observed::Absent) => true,
                    (Observed::Running(a), Observed::Running(b)) => a != b,
                    (Observed::Running(a), Observed::Paused(b)) | (Observed::Paused(a), Observed::Running(b)) => a == b,
                    (Observed::Paused(a), Observed::Paused(b)) => a != b,
                    (Observed::Running(_) | Observed::Paused(_), Observed::Exited(_) | Observed::Absent) => true,
                    (Observed::Exited(_), Observed::Running(_) | Observed::Absent) => true,
                    _ => false,
                };
                prop_assert!(legal, "{state:?} -> {next:?} by {change:?}");
                let parts = Observed::from_parts(next.as_str(), next.health(), next.exit_code(), next.is_paused());
                prop_assert_eq!(parts, Some(next));
                state = next;
            }
        }
    }
}
