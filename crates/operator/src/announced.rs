//! What hosts said unasked while they were being asked: an answer that was on its way is older than that.

use std::collections::HashMap;

use berth_control::{Report, WorkloadState};
use berth_model::id::{HostId, WorkloadId};
use tokio::time::Instant;

use crate::plan::HostWants;

/// The last such report of each workload, and when it came, until the host answers to a set that was sent later.
#[derive(Debug, Default)]
pub(crate) struct Announced(HashMap<HostId, HashMap<WorkloadId, (Instant, Report)>>);

impl Announced {
    /// Notes what a host said unasked.
    pub(crate) fn note(&mut self, host: HostId, reports: &[Report]) {
        let now = Instant::now();
        self.0.entry(host).or_default().extend(reports.iter().map(|report| (report.id.clone(), (now, report.clone()))));
    }

    /// Puts into the answer to the set `to`, sent at `sent`, what the host said since then about what it is to run. Says whether
    /// that changes the answer, so that the host is to be asked again.
    pub(crate) fn amend(&mut self, host: HostId, sent: Instant, to: &HostWants, reports: &mut HashMap<WorkloadId, Report>) -> bool {
        let Some(said) = self.0.get_mut(&host) else { return false };
        said.retain(|_, (came, _)| *came > sent);
        let mut changes = false;
        for (id, (_, report)) in said.iter() {
            // What has gone, or is to go, shows when it is asked again.
            if report.state == WorkloadState::NotFound || to.get(id).is_none() || reports.get(id) == Some(report) {
                continue;
            }
            reports.insert(id.clone(), report.clone());
            changes = true;
        }
        changes
    }

    /// Forgets hosts that aren't known any more.
    pub(crate) fn retain(&mut self, is_known: impl Fn(&HostId) -> bool) {
        self.0.retain(|host, _| is_known(host));
    }
}
