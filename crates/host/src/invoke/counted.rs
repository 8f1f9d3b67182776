//! One request in the figures: counted once, by how it ended, when its answer's body was read or nobody reads it any more.

use std::sync::Arc;
use std::time::Instant;

use crate::metrics::{Ended, WorkloadMetrics};

/// A request that is under way. Dropped without a word, its client went away.
pub(crate) struct Counted {
    metrics: Arc<WorkloadMetrics>,
    start: Instant,
    ended: Ended,
}

impl Counted {
    pub(crate) fn new(metrics: &Arc<WorkloadMetrics>) -> Counted {
        Counted { metrics: metrics.clone(), start: Instant::now(), ended: Ended::Cancelled }
    }

    /// When the request came.
    pub(crate) fn start(&self) -> Instant {
        self.start
    }

    /// The request is over, and this is how.
    pub(crate) fn end(mut self, how: Ended) {
        self.ended = how;
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.metrics.ended(self.ended);
        // A refusal takes no time, and would make a busy workload look fast.
        if self.ended != Ended::Refused {
            self.metrics.latency.observe(self.start.elapsed());
        }
    }
}
