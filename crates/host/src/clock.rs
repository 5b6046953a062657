//! The wall clock.

use clos_domain::Timestamp;
use clos_domain::seams::Clock;

/// Tells the machine's wall time, in whole microseconds, which is what the
/// store keeps.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the door through which wall time comes in")]
    fn now(&self) -> Timestamp {
        let now = Timestamp::now();
        Timestamp::from_microsecond(now.as_microsecond()).unwrap_or(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_has_no_parts_below_a_microsecond() {
        let now = SystemClock.now();
        assert_eq!(now.as_nanosecond() % 1_000, 0);
        assert!(now.as_second() > 1_700_000_000, "{now}");
    }
}
