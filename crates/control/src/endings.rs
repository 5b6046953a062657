//! Who ended a run. A stop or a kill by hand shows first as a signal and a moment later as an end; what
//! lies between them is kept here, in memory: it is of use only to who watches.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use clos_domain::Timestamp;
use clos_domain::service::{Ended, Service, asks_to_end};

/// An end that comes this much later than the grace period is no answer to the signal any more.
const SLACK: Duration = Duration::from_secs(5);
/// A signal is forgotten after this time; who takes longer to end is known by the engine's word about the stop.
const KEPT: Duration = Duration::from_secs(600);

/// When each container was last asked to end.
#[derive(Debug, Default)]
pub(crate) struct Endings {
    asked: Mutex<HashMap<String, Timestamp>>,
}

impl Endings {
    /// A container was sent a signal.
    pub(crate) fn signalled(&self, container: &str, signal: i32, at: Timestamp) {
        if asks_to_end(signal) {
            self.stopped(container, at);
        }
    }

    /// A container was stopped by somebody.
    pub(crate) fn stopped(&self, container: &str, at: Timestamp) {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        asked.retain(|_, then| elapsed(*then, at) < KEPT);
        asked.insert(container.to_owned(), at);
    }

    /// Who ended the run that this row has just shown, at that time.
    pub(crate) fn of(&self, row: &Service, at: Timestamp) -> Ended {
        let asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        let asked = row.container_id.as_deref().and_then(|id| asked.get(id)).copied();
        let patience = row.definition.stop.grace() + SLACK;
        let is_answer = |then: &Timestamp| {
            row.started_at.is_none_or(|start| start <= *then) && elapsed(*then, at) <= patience
        };
        if asked.as_ref().is_some_and(is_answer) { Ended::Outside } else { Ended::Itself }
    }
}

fn elapsed(from: Timestamp, to: Timestamp) -> Duration {
    to.duration_since(from).unsigned_abs()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sight::tests::row;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    #[test]
    fn an_end_answers_a_signal_of_its_own_run_and_soon() {
        let endings = Endings::default();
        let mut web = row("web");
        web.container_id = Some("c1".into());
        web.started_at = Some(at(100));
        assert_eq!(endings.of(&web, at(200)), Ended::Itself);
        endings.signalled("c1", 1, at(199));
        endings.signalled("c1", 9, at(199));
        endings.signalled("c2", 15, at(199));
        assert_eq!(endings.of(&web, at(200)), Ended::Itself, "a reload, a kill, another one's");
        endings.signalled("c1", 15, at(199));
        assert_eq!(endings.of(&web, at(209)), Ended::Outside);
        assert_eq!(endings.of(&web, at(250)), Ended::Itself, "too late");
        web.started_at = Some(at(205));
        assert_eq!(endings.of(&web, at(209)), Ended::Itself, "of the run before");
    }

    #[test]
    fn old_signals_are_forgotten() {
        let endings = Endings::default();
        endings.signalled("c1", 15, at(0));
        endings.signalled("c2", 15, at(3600));
        assert_eq!(endings.asked.lock().unwrap().len(), 1);
    }
}
