//! One call in the figures: counted once, by how it ended, when its answer's body was read or nobody reads it any more.

use std::sync::Arc;

use crate::metrics::{Ended, WorkloadMetrics};

/// A call that is under way. Dropped without a word, its caller went away.
pub(crate) struct CountedCall {
    metrics: Arc<WorkloadMetrics>,
    ended: Ended,
}

impl CountedCall {
    pub(crate) fn new(metrics: &Arc<WorkloadMetrics>) -> CountedCall {
        CountedCall { metrics: metrics.clone(), ended: Ended::Cancelled }
    }

    /// The call is over, and this is how.
    pub(crate) fn end(mut self, how: Ended) {
        self.ended = how;
    }
}

impl Drop for CountedCall {
    fn drop(&mut self) {
        self.metrics.call_ended(self.ended);
    }
}
