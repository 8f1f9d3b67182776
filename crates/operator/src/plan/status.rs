//! What replica sets and deployments say about their workloads: counts, and the one trouble that a person has to know.

use berth_model::condition::{self, ConditionStatus};
use berth_model::resource::ReplicaCounts;

use super::index::WorkloadFacts;

/// Workloads of a set, counted.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tally {
    /// There and not on their way out.
    pub(super) current: i32,
    /// Of those, the ready ones.
    pub(super) ready: i32,
    /// On their way out.
    pub(super) leaving: i32,
}

impl Tally {
    pub(super) fn of<'i, 'a: 'i>(workloads: impl IntoIterator<Item = &'i WorkloadFacts<'a>>) -> Tally {
        let mut tally = Tally::default();
        for workload in workloads {
            if workload.is_terminating() {
                tally.leaving += 1;
            } else {
                tally.current += 1;
                tally.ready += i32::from(workload.ready);
            }
        }
        tally
    }

    pub(super) fn plus(self, other: Tally) -> Tally {
        Tally { current: self.current + other.current, ready: self.ready + other.ready, leaving: self.leaving + other.leaving }
    }

    pub(super) fn counts(self, expected: i32) -> ReplicaCounts {
        ReplicaCounts { expected, current: self.current, ready: self.ready, unavailable: (expected - self.ready).max(0) }
    }
}

/// Reasons of a `Ready` that isn't `True` which pass by themselves; any other is a trouble.
const TRANSIENT: [&str; 6] = ["Pending", "Scheduled", "Starting", "Stopping", "Updating", "Waiting"];

/// The first trouble among `workloads`: reason, and message that names the workload.
pub(super) fn trouble<'i, 'a: 'i>(workloads: impl IntoIterator<Item = &'i WorkloadFacts<'a>>) -> Option<(String, String)> {
    workloads.into_iter().filter(|w| !w.is_terminating() && !w.ready).find_map(|workload| {
        let ready = condition::find(&workload.object.status.conditions, "Ready")?;
        let told = ready.status != ConditionStatus::True && !TRANSIENT.contains(&ready.reason.as_str());
        told.then(|| (ready.reason.clone(), format!("workload {}: {}", workload.object.metadata.name, ready.message)))
    })
}
