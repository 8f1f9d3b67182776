//! Reports: where a workload stands on a host.

use std::fmt;

use berth_model::id::WorkloadId;

/// Where a workload stands. The states of the wire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum WorkloadState {
    /// Not known.
    #[default]
    Unspecified,
    /// Being prepared.
    Starting,
    /// Serving.
    Running,
    /// Its service has ended by itself.
    Completed,
    /// On its way out.
    Stopping,
    /// Failed; reason and message say why.
    Error,
    /// The host doesn't have it.
    NotFound,
}

impl WorkloadState {
    /// Every state.
    pub const ALL: [WorkloadState; 7] = [
        WorkloadState::Unspecified,
        WorkloadState::Starting,
        WorkloadState::Running,
        WorkloadState::Completed,
        WorkloadState::Stopping,
        WorkloadState::Error,
        WorkloadState::NotFound,
    ];

    /// The state in one word, as people read it.
    pub fn as_str(self) -> &'static str {
        match self {
            WorkloadState::Unspecified => "Unspecified",
            WorkloadState::Starting => "Starting",
            WorkloadState::Running => "Running",
            WorkloadState::Completed => "Completed",
            WorkloadState::Stopping => "Stopping",
            WorkloadState::Error => "Error",
            WorkloadState::NotFound => "NotFound",
        }
    }
}

impl fmt::Display for WorkloadState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Where one workload stands on a host. Upstream peers know only id, state and message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The workload.
    pub id: WorkloadId,
    /// Where it stands.
    pub state: WorkloadState,
    /// Why, in one CamelCase word; empty if nothing is wrong, and from upstream peers.
    pub reason: String,
    /// Why, for a person; empty for what the state says by itself. At most 4 KiB travel.
    pub message: String,
    /// Domains that it asked for and didn't get. At most 32 travel.
    pub conflicts: Vec<DomainConflict>,
    /// How often the host started it again by itself.
    pub restarts: u32,
    /// Whether it is in the route and serves. From an upstream peer: whether it runs.
    pub ready: bool,
    /// How long its start took, ms; 0 while it hasn't ended.
    pub took_ms: u64,
}

/// A domain that another owner's workload serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DomainConflict {
    /// The domain.
    pub domain: String,
    /// `namespace/name` of who serves it.
    pub owner: String,
}

impl Report {
    /// A report of `state` that says nothing else.
    pub fn new(id: WorkloadId, state: WorkloadState) -> Report {
        let ready = state == WorkloadState::Running;
        Report { id, state, reason: String::new(), message: String::new(), conflicts: Vec::new(), restarts: 0, ready, took_ms: 0 }
    }

    /// A failure, with its reason in one CamelCase word and its message for a person.
    pub fn failed(id: WorkloadId, reason: impl Into<String>, message: impl Into<String>) -> Report {
        Report { reason: reason.into(), message: message.into(), ..Report::new(id, WorkloadState::Error) }
    }

    /// The host doesn't have it.
    pub fn not_found(id: WorkloadId) -> Report {
        Report::new(id, WorkloadState::NotFound)
    }

    /// The answer to a start under an id that is taken: peers look for this message (docs/compatibility.md).
    pub fn already_exists(id: WorkloadId) -> Report {
        let message = format!("{}: stop that workload before starting another under its id", taken(&id));
        Report::failed(id, "AlreadyExists", message)
    }

    /// Whether this is the answer to a start under an id that is taken, from whatever peer.
    pub fn is_already_exists(&self) -> bool {
        self.state == WorkloadState::Error && self.message.contains(&taken(&self.id))
    }
}

fn taken(id: &WorkloadId) -> String {
    format!("Workload ID [{id}] already exists")
}
