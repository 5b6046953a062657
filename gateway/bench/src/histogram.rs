//! Times in buckets of equal relative width: under 1 % wrong, whatever the number of values.

use std::time::Duration;

/// Buckets for each doubling.
const FINE: u64 = 128;
/// log2 of it.
const BITS: u32 = FINE.trailing_zeros();
/// As many as 64 bits of nanoseconds need.
const BUCKETS: usize = ((64 - BITS as usize) + 1) * FINE as usize;

/// How often which time was seen.
#[derive(Debug, Clone)]
pub(crate) struct Histogram {
    counts: Vec<u64>,
    total: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: vec![0; BUCKETS], total: 0 }
    }
}

impl Histogram {
    pub(crate) fn record(&mut self, time: Duration) {
        self.counts[bucket(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX))] += 1;
        self.total += 1;
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        for (count, more) in self.counts.iter_mut().zip(&other.counts) {
            *count += more;
        }
        self.total += other.total;
    }

    /// How many values there are.
    pub(crate) const fn total(&self) -> u64 {
        self.total
    }

    /// The time that this share of the values does not exceed; zero when there are none.
    pub(crate) fn quantile(&self, share: f64) -> Duration {
        let rank = (self.total as f64 * share).ceil().max(1.0) as u64;
        let mut seen = 0;
        for (at, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return Duration::from_nanos(middle(at));
            }
        }
        Duration::ZERO
    }
}

/// Below `FINE` a bucket for each value, above it `FINE` of them for each doubling.
const fn bucket(value: u64) -> usize {
    if value < FINE {
        return value as usize;
    }
    let shift = value.ilog2() - BITS;
    ((shift as u64 + 1) * FINE + ((value >> shift) - FINE)) as usize
}

/// The value in the middle of a bucket.
const fn middle(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    if bucket < FINE {
        return bucket;
    }
    let shift = bucket / FINE - 1;
    ((FINE + bucket % FINE) << shift) + ((1 << shift) >> 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_is_near_the_middle_of_its_bucket() {
        let mut value = 0_u64;
        while value < u64::MAX / 3 {
            let middle = middle(bucket(value));
            let wrong = middle.abs_diff(value) as f64 / value.max(1) as f64;
            assert!(wrong <= 1.0 / FINE as f64, "{value} was taken for {middle}");
            value += 1 + value / 7;
        }
        assert!(bucket(u64::MAX) < BUCKETS);
    }

    #[test]
    fn a_quantile_is_the_value_that_its_share_does_not_exceed() {
        assert_eq!(Histogram::default().quantile(0.5), Duration::ZERO);
        let (mut low, mut high) = (Histogram::default(), Histogram::default());
        (1..=50).for_each(|value| low.record(Duration::from_nanos(value)));
        (51..=100).for_each(|value| high.record(Duration::from_nanos(value)));
        low.merge(&high);
        assert_eq!(low.total(), 100);
        for (share, value) in [(0.5, 50), (0.99, 99), (1.0, 100), (0.0, 1)] {
            assert_eq!(low.quantile(share), Duration::from_nanos(value));
        }
    }
}
