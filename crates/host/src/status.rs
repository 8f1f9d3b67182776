//! What a host says about its workloads.

use std::time::Duration;

use berth_model::digest::Digest;
use berth_model::id::WorkloadId;
use berth_model::workload::Workload;

/// A workload that the host should run.
#[derive(Clone, Debug)]
pub struct WantedWorkload {
    /// Its id, unique on the host.
    pub id: WorkloadId,
    /// What it is.
    pub workload: Workload,
    /// Who stands behind it, `namespace/name`: equal owners share their domains, as replicas and versions of one deployment do.
    pub owner: String,
    /// When the owner was made: of two owners that claim a domain the older keeps it.
    pub created: jiff::Timestamp,
}

/// State of a workload (those of the control protocol).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It is being fetched, compiled and linked.
    Starting,
    /// It can serve.
    Running,
    /// It ended by itself, well.
    Completed,
    /// It finishes its requests.
    Stopping,
    /// It could not start, or ended badly.
    Error,
}

/// One workload's status.
#[derive(Clone, Debug, PartialEq)]
pub struct Status {
    /// Its id.
    pub id: WorkloadId,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its state.
    pub state: State,
    /// Why, in one CamelCase word; empty when all is well.
    pub reason: String,
    /// Why, for a person; empty when all is well.
    pub message: String,
    /// Domains it claims and doesn't get (`*`: what nobody else claims), with the owner that holds each.
    pub conflicts: Vec<(String, String)>,
    /// Restarts of its service.
    pub restarts: u32,
    /// Whether requests reach it.
    pub ready: bool,
    /// How long its start took.
    pub took: Duration,
    /// Its components.
    pub components: Vec<ComponentStatus>,
}

impl Status {
    /// A workload that the host doesn't run, and why.
    pub(crate) fn failed(id: &WorkloadId, namespace: &str, name: &str, reason: &str, message: &str) -> Status {
        Status {
            id: id.clone(),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            state: State::Error,
            reason: reason.to_owned(),
            message: message.to_owned(),
            conflicts: Vec::new(),
            restarts: 0,
            ready: false,
            took: Duration::ZERO,
            components: Vec::new(),
        }
    }
}

/// One component's status.
#[derive(Clone, Debug, PartialEq)]
pub struct ComponentStatus {
    /// Its name in the workload.
    pub name: String,
    /// Digest of its bytes.
    pub digest: Digest,
    /// How long compiling took; zero when it was compiled before.
    pub compiled: Duration,
    /// Whether it was compiled before: for another workload, or in an earlier start.
    pub cached: bool,
}
