//! How much memory may wait to be given back.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crate::config::ReclaimConfig;
use crate::limiter::MemoryBudget;
use crate::metrics::HostMetrics;

/// The part of all instances that may wait: one in this many.
const INSTANCES_PART: u32 = 8;

/// What may wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bounds {
    /// What holds less doesn't wait, bytes.
    pub(super) threshold: u64,
    /// How many may wait at once.
    pub(super) most: usize,
}

impl Bounds {
    /// The bounds where there may be so many instances at once: those that wait are among them.
    pub(super) fn of(config: &ReclaimConfig, instances: u32) -> Bounds {
        Bounds { threshold: config.threshold_bytes, most: config.most_waiting.min(instances / INSTANCES_PART) as usize }
    }

    /// Whether one more of so many bytes may wait beside others. What waits is still counted, and nobody can have it: so it may be no more
    /// than is free beside it, and where memory is scarce it is given back at once.
    fn allow(&self, bytes: u64, others: usize, others_bytes: u64, free_bytes: u64) -> bool {
        others < self.most && others_bytes.saturating_add(bytes) <= free_bytes
    }
}

/// What waits, on all threads together.
pub(super) struct Backlog {
    bounds: Bounds,
    budget: Arc<MemoryBudget>,
    metrics: Arc<HostMetrics>,
    count: AtomicUsize,
    bytes: AtomicU64,
    entered: AtomicUsize,
}

/// A place in the backlog, given up when it is dropped.
pub(super) struct Waiting {
    backlog: Arc<Backlog>,
    bytes: u64,
    number: usize,
}

impl Backlog {
    pub(super) fn new(bounds: Bounds, budget: Arc<MemoryBudget>, metrics: Arc<HostMetrics>) -> Backlog {
        Backlog { bounds, budget, metrics, count: AtomicUsize::new(0), bytes: AtomicU64::new(0), entered: AtomicUsize::new(0) }
    }

    /// Whether giving back so many bytes takes long enough to be done elsewhere.
    pub(super) fn is_much(&self, bytes: u64) -> bool {
        bytes >= self.bounds.threshold
    }

    /// A place for so many bytes, if the bounds leave one.
    pub(super) fn enter(self: &Arc<Self>, bytes: u64) -> Option<Waiting> {
        // Counted before it looks, so that several at once can only find too little room.
        let others = self.count.fetch_add(1, Ordering::SeqCst);
        let others_bytes = self.bytes.fetch_add(bytes, Ordering::SeqCst);
        self.metrics.reclaim_bytes.add(bytes as i64);
        let waiting = Waiting { backlog: self.clone(), bytes, number: self.entered.fetch_add(1, Ordering::Relaxed) };
        self.bounds.allow(bytes, others, others_bytes, self.budget.free_bytes()).then_some(waiting)
    }
}

impl Waiting {
    /// Counts places from 0 on.
    pub(super) fn number(&self) -> usize {
        self.number
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.backlog.metrics.reclaim_bytes.add(-(self.bytes as i64));
        self.backlog.bytes.fetch_sub(self.bytes, Ordering::SeqCst);
        self.backlog.count.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const BOUNDS: Bounds = Bounds { threshold: 4, most: 3 };

    #[test]
    fn l31_what_waits_leaves_most_instances_to_requests() {
        let most = |instances| Bounds::of(&ReclaimConfig::default(), instances).most;
        assert_eq!([2000, 100, 8, 7, 1].map(most), [64, 12, 1, 0, 0]);
    }

    #[test]
    fn l31_what_waits_leaves_as_much_of_the_budget_free() {
        assert!(BOUNDS.allow(50, 0, 0, 50) && !BOUNDS.allow(51, 0, 0, 50));
        assert!(BOUNDS.allow(20, 1, 30, 50) && !BOUNDS.allow(21, 1, 30, 50));
        assert!(!BOUNDS.allow(1, 3, 3, 50), "too many");
    }

    proptest! {
        #[test]
        fn l31_what_waits_never_passes_its_bounds_and_is_counted_to_the_last_byte(
            steps in proptest::collection::vec((any::<bool>(), 4_u64..200), 0..100),
        ) {
            let metrics = Arc::new(HostMetrics::default());
            let backlog = Arc::new(Backlog::new(BOUNDS, Arc::new(MemoryBudget::new(100)), metrics.clone()));
            let mut waiting = Vec::new();
            for (enter, bytes) in steps {
                if enter {
                    waiting.extend(backlog.enter(bytes));
                } else if !waiting.is_empty() {
                    waiting.swap_remove(bytes as usize % waiting.len());
                }
                let sum: u64 = waiting.iter().map(|w: &Waiting| w.bytes).sum();
                prop_assert!(waiting.len() <= BOUNDS.most);
                prop_assert!(sum <= 100);
                prop_assert_eq!(metrics.reclaim_bytes.get(), sum as i64);
            }
            drop(waiting);
            prop_assert_eq!((metrics.reclaim_bytes.get(), backlog.count.load(Ordering::SeqCst)), (0, 0));
        }
    }
}
