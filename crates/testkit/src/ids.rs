//! Ids that are the same in every run.

use std::sync::atomic::{AtomicU64, Ordering};

use clos_domain::seams::IdSource;
use data_encoding::BASE32_NOPAD;

/// Gives the first id, the second id and so on, in the form of real ones: a
/// UUIDv7 of one fixed moment whose random part is the count.
#[derive(Debug, Default)]
pub struct SeqIds(AtomicU64);

/// 2026-01-01T00:00:00Z in milliseconds, where a UUIDv7 has its time.
const MOMENT: u128 = 1_767_225_600_000;
const VERSION_7: u128 = 7 << 76;
const VARIANT: u128 = 2 << 62;

impl IdSource for SeqIds {
    fn unique(&self) -> String {
        let count = u128::from(self.0.fetch_add(1, Ordering::Relaxed) + 1);
        let uuid = MOMENT << 80 | VERSION_7 | VARIANT | count & ((1 << 62) - 1);
        BASE32_NOPAD.encode(&uuid.to_be_bytes()).to_ascii_lowercase()
    }

    fn secret(&self) -> String {
        format!("secret{}", self.unique())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use clos_domain::id::ServiceId;

    use super::*;

    #[test]
    fn ids_are_well_formed_different_and_the_same_in_every_run() {
        let (first, second) = (SeqIds::default(), SeqIds::default());
        let ids: Vec<String> = (0..100).map(|_| first.unique()).collect();
        assert_eq!(ids, (0..100).map(|_| second.unique()).collect::<Vec<_>>());
        assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len());
        for id in ids {
            let id = ServiceId::from_unique(&id);
            assert_eq!(ServiceId::parse(id.as_str()), Some(id));
        }
    }
}
