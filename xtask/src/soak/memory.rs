//! Whether memory stays flat: each process is measured once a second under load, and its end compared with its own time after warm-up.

use std::time::Duration;

/// A process fills caches, rings and instance slots for so long after it begins to serve.
const WARM_UP: Duration = Duration::from_secs(20);
/// Measurements whose median counts, at either end.
const WINDOW: usize = 5;
/// Fewer measurements than this after warm-up say nothing.
const ENOUGH: usize = 2 * WINDOW;
/// Memory may grow by so much after warm-up, as a part of what it was then ...
const GROWTH_PART: u64 = 5;
/// ... and by so many bytes more: what one more large request in flight takes.
const GROWTH_BYTES: u64 = 32 << 20;

/// Memory of berth at one time.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// Which process, from 1.
    pub life: u32,
    /// How long it had served.
    pub age: Duration,
    /// Its memory in RAM, bytes.
    pub resident_bytes: u64,
}

/// Memory of one process after warm-up and at its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Growth {
    /// Which process, from 1.
    pub life: u32,
    /// After warm-up, bytes.
    pub warm_bytes: u64,
    /// At its end, bytes.
    pub end_bytes: u64,
}

impl Growth {
    /// What it may have at its end, bytes.
    pub fn bound_bytes(&self) -> u64 {
        self.warm_bytes + self.warm_bytes / GROWTH_PART + GROWTH_BYTES
    }

    /// Whether it stayed flat.
    pub fn is_flat(&self) -> bool {
        self.end_bytes <= self.bound_bytes()
    }
}

/// The growth of each process that lived long enough to tell.
pub fn growth(samples: &[Sample]) -> Vec<Growth> {
    let lives = samples.iter().map(|sample| sample.life).max().unwrap_or(0);
    let of_life = |life| {
        let warm = samples.iter().filter(|sample| sample.life == life && sample.age >= WARM_UP);
        let bytes: Vec<u64> = warm.map(|sample| sample.resident_bytes).collect();
        (bytes.len() >= ENOUGH).then(|| Growth {
            life,
            warm_bytes: median(&bytes[..WINDOW]),
            end_bytes: median(&bytes[bytes.len() - WINDOW..]),
        })
    };
    (1..=lives).filter_map(of_life).collect()
}

fn median(values: &[u64]) -> u64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    sorted[sorted.len() / 2]
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn life(life: u32, seconds: u64, mib: impl Fn(u64) -> u64) -> Vec<Sample> {
        (0..seconds).map(|n| Sample { life, age: Duration::from_secs(n), resident_bytes: mib(n) * MIB }).collect()
    }

    #[test]
    fn warming_up_is_no_growth_and_one_peak_is_not_either() {
        let samples = life(1, 60, |n| if n == 58 { 900 } else { 50 + 5 * n.min(20) });
        assert_eq!(growth(&samples), [Growth { life: 1, warm_bytes: 150 * MIB, end_bytes: 150 * MIB }]);
        assert!(growth(&samples)[0].is_flat());
    }

    #[test]
    fn a_leak_is_growth() {
        let growth = growth(&life(1, 60, |n| 100 + 3 * n));
        assert_eq!(growth[0].warm_bytes, 166 * MIB);
        assert!(!growth[0].is_flat(), "{growth:?}");
    }

    #[test]
    fn processes_are_compared_with_themselves_and_short_ones_not_at_all() {
        let mut samples = life(1, 25, |_| 100);
        samples.extend(life(2, 60, |_| 300));
        assert_eq!(growth(&samples), [Growth { life: 2, warm_bytes: 300 * MIB, end_bytes: 300 * MIB }]);
        assert_eq!(growth(&[]), []);
    }

    #[test]
    fn the_bound_is_a_fifth_and_32_mib() {
        let growth = Growth { life: 1, warm_bytes: 100 * MIB, end_bytes: 152 * MIB };
        assert!(growth.is_flat());
        assert!(!Growth { end_bytes: 152 * MIB + 1, ..growth }.is_flat());
    }
}
