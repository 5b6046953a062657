//! A clock that stands until somebody moves it.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use clos_domain::Timestamp;
use clos_domain::seams::Clock;
use jiff::SignedDuration;

/// Wall time that a test owns. It starts at 2026-01-01T00:00:00Z.
#[derive(Debug)]
pub struct FrozenClock(Mutex<Timestamp>);

impl Default for FrozenClock {
    fn default() -> Self {
        Self::at("2026-01-01T00:00:00Z".parse().expect("a timestamp in the form that is parsed"))
    }
}

impl FrozenClock {
    /// A clock that shows this.
    pub fn at(now: Timestamp) -> Self {
        Self(Mutex::new(now))
    }

    /// Moves it forward.
    pub fn advance(&self, by: Duration) {
        let by = SignedDuration::try_from(by).expect("a test moves time by less than an age");
        let mut now = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *now = now.checked_add(by).expect("a test stays within the calendar");
    }

    /// Sets it, backwards too: wall time does that.
    pub fn set(&self, to: Timestamp) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = to;
    }
}

impl Clock for FrozenClock {
    fn now(&self) -> Timestamp {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Moves on by a millisecond whenever it is asked, so that what happens later has a later time.
#[derive(Debug, Default)]
pub struct TickingClock(FrozenClock);

impl TickingClock {
    /// Moves it forward.
    pub fn advance(&self, by: Duration) {
        self.0.advance(by);
    }
}

impl Clock for TickingClock {
    fn now(&self) -> Timestamp {
        self.0.advance(Duration::from_millis(1));
        self.0.now()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_stands_until_it_is_moved() {
        let clock = FrozenClock::default();
        let before = clock.now();
        assert_eq!(clock.now(), before);
        clock.advance(Duration::from_secs(30));
        assert_eq!(clock.now().duration_since(before), SignedDuration::from_secs(30));
        clock.set(before);
        assert_eq!(clock.now(), before);
    }
    #[test]
    fn a_ticking_clock_never_says_the_same_twice() {
        let clock = TickingClock::default();
        assert!(clock.now() < clock.now());
    }
}
