//! An event: a committed fact with a sequence number.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::id::{OperationId, ServiceId};
use crate::name::GroupRef;

/// Position in the journal; the first event has 1.
pub type Sequence = i64;

/// The dotted words of events.
pub mod types {
    /// A service row was made.
    pub const SERVICE_CREATED: &str = "service.created";
    /// A service row changed.
    pub const SERVICE_UPDATED: &str = "service.updated";
    /// A service row is gone.
    pub const SERVICE_DELETED: &str = "service.deleted";
    /// A service has another status or another reason for it.
    pub const SERVICE_STATUS_CHANGED: &str = "service.status_changed";
    /// A service has another health verdict.
    pub const SERVICE_HEALTH_CHANGED: &str = "service.health_changed";
    /// A group row was made.
    pub const GROUP_CREATED: &str = "group.created";
    /// A group row changed.
    pub const GROUP_UPDATED: &str = "group.updated";
    /// A group row is gone.
    pub const GROUP_DELETED: &str = "group.deleted";
    /// An operation on a group was accepted.
    pub const GROUP_OPERATION_STARTED: &str = "group.operation_started";
    /// An operation on a group ended, whatever its outcome.
    pub const GROUP_OPERATION_COMPLETED: &str = "group.operation_completed";
    /// A step of an operation began or ended.
    pub const OPERATION_PROGRESS: &str = "operation.progress";
    /// A service got a host port.
    pub const PORT_ALLOCATED: &str = "port.allocated";
    /// A service lost a host port.
    pub const PORT_RELEASED: &str = "port.released";
    /// A wanted port was taken.
    pub const PORT_CONFLICT_DETECTED: &str = "port.conflict_detected";
    /// The engine stopped answering, or answers again.
    pub const ENGINE_CHANGED: &str = "system.engine_changed";
    /// The daemon listens on another port from now on.
    pub const ENDPOINT_CHANGED: &str = "system.endpoint_changed";
    /// Position of an idle stream; not in the journal.
    pub const BOOKMARK: &str = "watch.bookmark";
    /// The position fell out of history; not in the journal.
    pub const RESYNC: &str = "watch.resync";
    /// Bytes of a pull or build; not in the journal, no sequence.
    pub const PULL_PROGRESS: &str = "operation.pull_progress";

    /// Words that the journal may hold.
    pub const JOURNALED: [&str; 16] = [
        SERVICE_CREATED,
        SERVICE_UPDATED,
        SERVICE_DELETED,
        SERVICE_STATUS_CHANGED,
        SERVICE_HEALTH_CHANGED,
        GROUP_CREATED,
        GROUP_UPDATED,
        GROUP_DELETED,
        GROUP_OPERATION_STARTED,
        GROUP_OPERATION_COMPLETED,
        OPERATION_PROGRESS,
        PORT_ALLOCATED,
        PORT_RELEASED,
        PORT_CONFLICT_DETECTED,
        ENGINE_CHANGED,
        ENDPOINT_CHANGED,
    ];
}

/// How much an event matters.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// For those who look closely.
    Debug,
    /// As expected.
    #[default]
    Info,
    /// Worth a look.
    Warning,
    /// Something failed.
    Error,
    /// Somebody should come.
    Critical,
}

impl Severity {
    /// Every severity, least first.
    pub const ALL: [Self; 5] = [Self::Debug, Self::Info, Self::Warning, Self::Error, Self::Critical];

    /// The wire word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
            Self::Critical => "critical",
        }
    }

    /// The severity of this word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|severity| severity.as_str() == word)
    }
}

/// The facts of an event; a field is there when it means something.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "every field is the word of the same name in semantics.md")]
pub struct Data {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub old_status: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub new_status: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status_reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub old_health: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub new_health: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verb: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub action: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub progress_current: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub progress_total: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub holder: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oldest_seq: Option<Sequence>,
}

/// A fact that is about to be committed.
#[derive(Debug, Clone, PartialEq)]
pub struct Draft {
    /// The dotted word.
    pub kind: &'static str,
    /// How much it matters.
    pub severity: Severity,
    /// The service it is about.
    pub service: Option<ServiceId>,
    /// The group it is about.
    pub group: Option<GroupRef>,
    /// The operation it belongs to.
    pub operation: Option<OperationId>,
    /// Its facts.
    pub data: Data,
    /// When it happened.
    pub at: Timestamp,
}

impl Draft {
    /// A fact of severity info about nothing yet.
    pub fn new(kind: &'static str, at: Timestamp) -> Self {
        Self {
            kind,
            severity: Severity::Info,
            service: None,
            group: None,
            operation: None,
            data: Data::default(),
            at,
        }
    }
}

/// A committed fact.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// Its position; 0 for what is not in the journal.
    pub seq: Sequence,
    /// The dotted word.
    pub kind: String,
    /// How much it matters.
    pub severity: Severity,
    /// The service it is about.
    pub service: Option<ServiceId>,
    /// The group it is about.
    pub group: Option<GroupRef>,
    /// The operation it belongs to.
    pub operation: Option<OperationId>,
    /// Its facts.
    pub data: Data,
    /// When it happened.
    pub at: Timestamp,
}

/// Which events somebody wants. Empty means every one.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Filter {
    /// Words, or `service.*`; any of them.
    pub types: Vec<Pattern>,
    /// About this service.
    pub service: Option<ServiceId>,
    /// About these groups.
    pub group: Option<crate::name::GroupFilter>,
    /// Of this operation.
    pub operation: Option<OperationId>,
    /// At least this much.
    pub at_least: Option<Severity>,
    /// Not before.
    pub since: Option<Timestamp>,
    /// Before.
    pub until: Option<Timestamp>,
}

/// A word, or a family of words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pattern {
    /// Exactly this word.
    Word(String),
    /// Every word that begins so, the dot included: `service.`.
    Family(String),
}

impl Pattern {
    /// Reads `service.created` and `service.*`.
    pub fn parse(field: &str, raw: &str) -> Result<Self, Error> {
        let pattern = match raw.strip_suffix('*') {
            Some(family) if family.ends_with('.') => Self::Family(family.to_owned()),
            Some(_) => {
                return Err(Error::field(
                    field,
                    format!("`{}`: a `*` stands only after a dot, like `service.*`", crate::name::shown(raw)),
                ));
            }
            None => Self::Word(raw.to_owned()),
        };
        let known = types::JOURNALED.iter().any(|word| pattern.matches(word));
        if known {
            return Ok(pattern);
        }
        Err(Error::field(
            field,
            format!(
                "`{}` is not an event type; there are {}",
                crate::name::shown(raw),
                types::JOURNALED.join(", ")
            ),
        ))
    }

    /// Whether a word is meant.
    pub fn matches(&self, word: &str) -> bool {
        match self {
            Self::Word(exact) => word == exact,
            Self::Family(family) => word.starts_with(family.as_str()),
        }
    }
}

impl Filter {
    /// Whether an event is wanted.
    pub fn matches(&self, event: &Event) -> bool {
        use crate::name::GroupFilter;

        let type_fits =
            self.types.is_empty() || self.types.iter().any(|pattern| pattern.matches(&event.kind));
        let group_fits = match (&self.group, &event.group) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(GroupFilter::One(wanted)), Some(group)) => wanted == group,
            (Some(GroupFilter::AllInstances(name)), Some(group)) => *name == group.name,
        };
        type_fits
            && group_fits
            && self.service.as_ref().is_none_or(|wanted| event.service.as_ref() == Some(wanted))
            && self.operation.as_ref().is_none_or(|wanted| event.operation.as_ref() == Some(wanted))
            && self.at_least.is_none_or(|least| event.severity >= least)
            && self.since.is_none_or(|since| event.at >= since)
            && self.until.is_none_or(|until| event.at < until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::GroupFilter;

    fn event(kind: &str) -> Event {
        Event {
            seq: 1,
            kind: kind.into(),
            severity: Severity::Warning,
            service: Some(ServiceId::trusted("svc_a")),
            group: Some(GroupRef::parse("group", "shop~x").unwrap()),
            operation: None,
            data: Data::default(),
            at: Timestamp::UNIX_EPOCH,
        }
    }

    #[test]
    fn a_family_takes_every_word_under_its_dot() {
        let family = Pattern::parse("event_type", "service.*").unwrap();
        assert!(family.matches("service.created") && !family.matches("services.created"));
        for bad in ["service*", "*", "nothing.*", "service.exploded"] {
            assert!(Pattern::parse("event_type", bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_filter_asks_for_all_its_parts() {
        let filter = Filter {
            types: vec![Pattern::parse("t", "service.*").unwrap()],
            service: Some(ServiceId::trusted("svc_a")),
            group: Some(GroupFilter::parse("group", "shop~*").unwrap()),
            at_least: Some(Severity::Info),
            since: Some(Timestamp::UNIX_EPOCH),
            ..Filter::default()
        };
        assert!(filter.matches(&event("service.created")));
        assert!(!filter.matches(&event("group.created")));
        let stricter = Filter { at_least: Some(Severity::Error), ..filter.clone() };
        assert!(!stricter.matches(&event("service.created")));
        let base_only =
            Filter { group: Some(GroupFilter::parse("group", "shop").unwrap()), ..filter.clone() };
        assert!(!base_only.matches(&event("service.created")));
        let over = Filter { until: Some(Timestamp::UNIX_EPOCH), ..filter };
        assert!(!over.matches(&event("service.created")));
    }

    #[test]
    fn severity_words_read_back_in_order() {
        for pair in Severity::ALL.windows(2) {
            assert!(pair[0] < pair[1]);
        }
        for severity in Severity::ALL {
            assert_eq!(Severity::parse(severity.as_str()), Some(severity));
        }
    }
}
