//! How often the log tells of callers who are refused: of each kind once a minute. Anybody can knock as often
//! as they like, and nobody may fill the disk with that.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The log tells of a kind this often.
const EVERY: Duration = Duration::from_secs(60);

#[derive(Debug, Default)]
pub(crate) struct Refusals(Mutex<HashMap<&'static str, Told>>);

#[derive(Debug)]
struct Told {
    at: Instant,
    omitted: u64,
}

impl Refusals {
    /// When the log should tell of this one: how many of the kind it has left out since it last did.
    pub(crate) fn one(&self, kind: &'static str, now: Instant) -> Option<u64> {
        let mut kinds = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match kinds.entry(kind) {
            Entry::Vacant(first) => {
                first.insert(Told { at: now, omitted: 0 });
                Some(0)
            }
            Entry::Occupied(mut known) => {
                let told = known.get_mut();
                if now.saturating_duration_since(told.at) < EVERY {
                    told.omitted += 1;
                    return None;
                }
                told.at = now;
                Some(std::mem::take(&mut told.omitted))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_is_told_once_a_minute_with_how_many_were_left_out() {
        let refusals = Refusals::default();
        let start = Instant::now();
        assert_eq!(refusals.one("host", start), Some(0));
        for _ in 0..1_000 {
            assert_eq!(refusals.one("host", start + Duration::from_secs(59)), None);
        }
        assert_eq!(refusals.one("origin", start), Some(0), "another kind");
        assert_eq!(refusals.one("host", start + Duration::from_secs(60)), Some(1_000));
        assert_eq!(refusals.one("host", start + Duration::from_secs(120)), Some(0));
    }
}
