//! Latencies, counted by size: bounded memory however long a soak is, quantiles to a sixteenth.

use std::time::Duration;

/// Buckets per doubling.
const PARTS: u64 = 16;

/// How long things took.
#[derive(Default)]
pub struct Latencies {
    counts: Vec<u64>,
    total: u64,
}

impl Latencies {
    /// Counts one in.
    pub fn add(&mut self, took: Duration) {
        let bucket = bucket(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
        if self.counts.len() <= bucket {
            self.counts.resize(bucket + 1, 0);
        }
        self.counts[bucket] += 1;
        self.total += 1;
    }

    /// The time that the part `q` (0 to 1) of all took at most, rounded up by at most a sixteenth; `None` if there are none.
    pub fn quantile(&self, q: f64) -> Option<Duration> {
        let wanted = ((self.total as f64 * q).ceil() as u64).max(1);
        let mut seen = 0;
        let found = self.counts.iter().position(|count| {
            seen += count;
            seen >= wanted
        });
        found.map(|bucket| Duration::from_micros(longest(bucket as u64)))
    }
}

/// The bucket of so many microseconds: one each below 16, then 16 per doubling.
fn bucket(micros: u64) -> usize {
    if micros < PARTS {
        return micros as usize;
    }
    let doublings = u64::from(micros.ilog2() - PARTS.ilog2());
    ((doublings + 1) * PARTS + ((micros >> doublings) - PARTS)) as usize
}

/// The most microseconds that fall into a bucket.
fn longest(bucket: u64) -> u64 {
    if bucket < PARTS {
        return bucket;
    }
    let (doublings, part) = (bucket / PARTS - 1, bucket % PARTS);
    (((u128::from(PARTS + part) + 1) << doublings) - 1).min(u128::from(u64::MAX)) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_time_falls_into_a_bucket_that_is_at_most_a_sixteenth_too_long() {
        let mut last = 0;
        for micros in (0..5000).chain([1 << 20, (1 << 20) + 1, 3_600_000_000, u64::MAX]) {
            let upper = longest(bucket(micros) as u64);
            assert!(micros <= upper && upper - micros <= micros / 16, "{micros}: {upper}");
            assert!(bucket(micros) >= last, "{micros}");
            last = bucket(micros);
        }
    }

    #[test]
    fn quantiles_are_those_of_what_was_counted() {
        let mut latencies = Latencies::default();
        assert_eq!(latencies.quantile(0.5), None);
        for micros in 1..=10 {
            latencies.add(Duration::from_micros(micros));
        }
        assert_eq!(latencies.quantile(0.5), Some(Duration::from_micros(5)));
        assert_eq!(latencies.quantile(0.99), Some(Duration::from_micros(10)));
        assert_eq!(latencies.quantile(0.0), Some(Duration::from_micros(1)));
    }
}
