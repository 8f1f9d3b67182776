//! What a host is to run.

use berth_model::id::WorkloadId;
use berth_model::workload::Workload;

/// One workload of the set that a host is to run.
#[derive(Clone, Debug, PartialEq)]
pub struct Wanted {
    /// Its id.
    pub id: WorkloadId,
    /// What it is.
    pub workload: Workload,
    /// Who it belongs to: `namespace/name` of its deployment, or its own. Workloads of one owner share their domains.
    pub owner: String,
    /// When the owner was made: of two owners that claim one domain, the older keeps it.
    pub created: jiff::Timestamp,
}
