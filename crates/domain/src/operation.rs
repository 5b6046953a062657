//! An operation: a durable action with steps, and the machine that they follow.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::error::Reason;
use crate::group::Direction;
use crate::id::{GroupId, OperationId, ServiceId};
use crate::name::{GroupRef, ServiceRef};

/// What was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verb {
    /// Rows, then containers, as the files say.
    Up,
    /// Containers as the rows say.
    Start,
    /// Reverse order, containers stay.
    Stop,
    /// The same containers, in order.
    Restart,
    /// New containers of the same definition.
    Recreate,
    /// Stop, then remove.
    Down,
}

impl Verb {
    /// Every verb.
    pub const ALL: [Self; 6] = [Self::Up, Self::Start, Self::Stop, Self::Restart, Self::Recreate, Self::Down];

    /// The wire word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Restart => "restart",
            Self::Recreate => "recreate",
            Self::Down => "down",
        }
    }

    /// The verb of this word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|verb| verb.as_str() == word)
    }

    /// Which way it moves what it touches.
    pub const fn direction(self) -> Direction {
        match self {
            Self::Up | Self::Start | Self::Restart | Self::Recreate => Direction::Up,
            Self::Stop | Self::Down => Direction::Down,
        }
    }
}

/// What a step does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Fetches an image.
    Pull,
    /// Builds an image.
    Build,
    /// Makes or removes a network.
    Network,
    /// Makes or removes a volume.
    Volume,
    /// Makes a container.
    Create,
    /// Starts it.
    Start,
    /// Waits for its gate.
    Wait,
    /// Stops it.
    Stop,
    /// Removes it.
    Remove,
    /// Gives it another name.
    Rename,
    /// Freezes it.
    Pause,
    /// Lets it go on.
    Unpause,
}

impl Action {
    /// Every action.
    pub const ALL: [Self; 12] = [
        Self::Pull,
        Self::Build,
        Self::Network,
        Self::Volume,
        Self::Create,
        Self::Start,
        Self::Wait,
        Self::Stop,
        Self::Remove,
        Self::Rename,
        Self::Pause,
        Self::Unpause,
    ];

    /// The wire word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pull => "pull",
            Self::Build => "build",
            Self::Network => "network",
            Self::Volume => "volume",
            Self::Create => "create",
            Self::Start => "start",
            Self::Wait => "wait",
            Self::Stop => "stop",
            Self::Remove => "remove",
            Self::Rename => "rename",
            Self::Pause => "pause",
            Self::Unpause => "unpause",
        }
    }

    /// The action of this word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|action| action.as_str() == word)
    }

    /// Which way it moves a service; `None` for what serves several.
    pub const fn direction(self) -> Option<Direction> {
        match self {
            Self::Create | Self::Start | Self::Wait | Self::Rename | Self::Unpause => Some(Direction::Up),
            Self::Stop | Self::Remove | Self::Pause => Some(Direction::Down),
            Self::Pull | Self::Build | Self::Network | Self::Volume => None,
        }
    }
}

/// The words of operations and of steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Not begun.
    Pending,
    /// Being done.
    InProgress,
    /// Done.
    Completed,
    /// Ended without success.
    Failed,
    /// Not done, or not to its end, because somebody said so or something else failed.
    Cancelled,
}

impl State {
    /// Every state.
    pub const ALL: [Self; 5] =
        [Self::Pending, Self::InProgress, Self::Completed, Self::Failed, Self::Cancelled];

    /// The wire word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::InProgress => "in_progress",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// The state of this word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == word)
    }

    /// Nothing comes after it.
    pub const fn is_terminal(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Cancelled)
    }

    /// Whether `next` may follow.
    pub const fn can_become(self, next: Self) -> bool {
        matches!(
            (self, next),
            (Self::Pending, Self::InProgress | Self::Cancelled | Self::Failed)
                | (Self::InProgress, Self::Completed | Self::Failed | Self::Cancelled)
        )
    }
}

/// What happens with what was done when something fails.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailurePolicy {
    /// What runs stays, the failed container stays for its logs.
    #[default]
    Leave,
    /// Everything that this operation started or created is undone in reverse.
    Undo,
}

impl FailurePolicy {
    /// The wire word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Leave => "leave",
            Self::Undo => "undo",
        }
    }

    /// The policy of this word.
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Leave, Self::Undo].into_iter().find(|policy| policy.as_str() == word)
    }
}

/// A durable action.
#[derive(Debug, Clone, PartialEq)]
pub struct Operation {
    /// Its id for ever.
    pub id: OperationId,
    /// What was asked.
    pub verb: Verb,
    /// The group that it is about.
    pub group_id: GroupId,
    /// That group's name.
    pub group: GroupRef,
    /// The one service that was asked for, when it was one.
    pub service: Option<ServiceId>,
    /// Where it stands.
    pub state: State,
    /// Why it did not complete.
    pub reason: Option<Reason>,
    /// For people.
    pub message: String,
    /// What happens on failure.
    pub policy: FailurePolicy,
    /// Somebody asked to cancel it.
    pub cancel_requested: bool,
    /// Its steps, by number.
    pub steps: Vec<Step>,
    /// What an undo could not remove.
    pub leftovers: Vec<String>,
    /// The request that began it.
    pub request_id: String,
    /// When it was accepted.
    pub created_at: Timestamp,
    /// When its first step began.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
}

impl Operation {
    /// The share of its steps that ended.
    pub fn progress(&self) -> f64 {
        if self.steps.is_empty() {
            return if self.state.is_terminal() { 1.0 } else { 0.0 };
        }
        let ended = self.steps.iter().filter(|step| step.state.is_terminal()).count();
        f64::from(u32::try_from(ended).unwrap_or(u32::MAX))
            / f64::from(u32::try_from(self.steps.len()).unwrap_or(u32::MAX))
    }
}

/// One thing that an operation does.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// Counts from 1 within the operation.
    pub number: u32,
    /// The service it is for; `None` for networks, volumes and images.
    pub service: Option<ServiceId>,
    /// That service's resource name.
    pub service_name: Option<ServiceRef>,
    /// What it touches: a container, network, volume or image by the engine's name.
    pub subject: String,
    /// What it does.
    pub action: Action,
    /// Why it is in the plan.
    pub why: String,
    /// Numbers of the steps that must have succeeded before.
    pub needs: Vec<u32>,
    /// Where it stands.
    pub state: State,
    /// Why it did not complete.
    pub reason: Option<Reason>,
    /// For people.
    pub message: String,
    /// When it began.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_follows_a_terminal_state_and_every_state_can_end() {
        for state in State::ALL {
            assert_eq!(State::parse(state.as_str()), Some(state));
            let followers = State::ALL.into_iter().filter(|next| state.can_become(*next)).count();
            assert_eq!(followers == 0, state.is_terminal(), "{state:?}");
            assert!(!state.can_become(state));
        }
        assert!(!State::Pending.can_become(State::Completed), "a step completes only after it began");
    }

    #[test]
    fn words_read_back() {
        for action in Action::ALL {
            assert_eq!(Action::parse(action.as_str()), Some(action));
        }
        for verb in Verb::ALL {
            assert_eq!(Verb::parse(verb.as_str()), Some(verb));
        }
        for policy in [FailurePolicy::Leave, FailurePolicy::Undo] {
            assert_eq!(FailurePolicy::parse(policy.as_str()), Some(policy));
        }
    }

    #[test]
    fn verbs_and_actions_know_their_direction() {
        assert_eq!(Verb::Restart.direction(), Direction::Up);
        assert_eq!(Verb::Down.direction(), Direction::Down);
        assert_eq!(Action::Wait.direction(), Some(Direction::Up));
        assert_eq!(Action::Remove.direction(), Some(Direction::Down));
        assert_eq!(Action::Pull.direction(), None);
    }
}
