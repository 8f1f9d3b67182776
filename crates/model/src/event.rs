//! Events: what happened to an object, for a person who asks.

use serde::{Deserialize, Serialize};

use crate::resource::Kind;

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Event {
    /// When it happened last.
    pub time: jiff::Timestamp,
    /// Whether somebody should look.
    pub severity: Severity,
    /// What happened, in one CamelCase word: `Started`, `Trapped`, `Denied`.
    pub reason: String,
    /// Kind of the object it happened to.
    pub kind: Kind,
    /// Namespace of that object.
    pub namespace: String,
    /// Name of that object.
    pub name: String,
    /// What happened, to what, and what to do next.
    pub message: String,
    /// How often it happened in a row.
    pub count: u64,
}

/// Whether somebody should look at an event. Kubernetes' event types.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Severity {
    /// All is well.
    Normal,
    /// Something is off.
    Warning,
}

/// Takes events; must not block.
pub trait EventSink: Send + Sync + 'static {
    /// Takes one event. A sink may merge it into an equal one (same reason, object and message) by adding to its count.
    fn record(&self, event: Event);
}
