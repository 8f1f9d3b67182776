//! A component as its guests see it: who it is, and what it may do.

use std::sync::Arc;

use berth_model::event::{Event, EventSink, Severity};
use berth_model::grants::Grants;
use berth_model::limits::Effective;
use berth_model::resource::Kind;

use crate::limiter::MemoryBudget;
use crate::logs::WorkloadLog;
use crate::metrics::{HostMetrics, WorkloadMetrics};

/// What all components of a host share.
pub(crate) struct Shared {
    pub(crate) memory: Arc<MemoryBudget>,
    pub(crate) metrics: Arc<HostMetrics>,
    pub(crate) events: Arc<dyn EventSink>,
    /// For outgoing TLS.
    pub(crate) tls: Arc<rustls::ClientConfig>,
}

/// Identity and authority of one component of one workload.
pub(crate) struct Component {
    pub(crate) namespace: Arc<str>,
    pub(crate) workload: Arc<str>,
    pub(crate) name: Arc<str>,
    pub(crate) environment: Vec<(String, String)>,
    pub(crate) grants: Grants,
    pub(crate) limits: Effective,
    pub(crate) log: Arc<WorkloadLog>,
    pub(crate) metrics: Arc<WorkloadMetrics>,
    pub(crate) host: Arc<Shared>,
}

impl Component {
    /// Records something that a person should look at, on the component's workload.
    pub(crate) fn warn(&self, reason: &str, message: String) {
        self.host.events.record(Event {
            time: jiff::Timestamp::now(),
            severity: Severity::Warning,
            reason: reason.into(),
            kind: Kind::Workload,
            namespace: self.namespace.to_string(),
            name: self.workload.to_string(),
            message,
            count: 1,
        });
    }
}
