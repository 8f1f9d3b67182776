//! What the local API says, as JSON.

use std::time::Duration;

use berth_host::WorkloadFigures;
use berth_model::resource::{Kind, Resource, SecretData, SecretValue};
use serde::{Deserialize, Serialize};

use super::error::ApiError;

/// The process that answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Version {
    /// Berth's version.
    pub version: String,
    /// Process id.
    pub pid: u32,
    /// Where it answers HTTP.
    pub http_addr: String,
    /// Where it answers `/livez`, `/readyz` and `/metrics`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub admin_addr: Option<String>,
    /// Its data folder.
    pub data_dir: String,
    /// The host's id.
    pub host_id: String,
    /// When it started.
    pub started: jiff::Timestamp,
    /// Whether it takes no requests any more.
    pub draining: bool,
}

/// Resources to apply, at most [`Apply::MAX`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Apply {
    /// In this order.
    pub resources: Vec<Resource>,
}

impl Apply {
    /// Resources in one request.
    pub const MAX: usize = 10_000;
}

/// What became of each.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Applied {
    /// In the order asked for.
    pub results: Vec<Change>,
}

/// What became of one resource.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// Which one.
    #[serde(flatten)]
    pub object: ResourceRef,
    /// What was done.
    pub outcome: Outcome,
    /// The generation it has now.
    #[serde(default)]
    pub generation: i64,
    /// Why it was refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<ApiError>,
}

/// Names one object.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ResourceRef {
    /// Its kind.
    pub kind: Kind,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// What applying did. Kubernetes' words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// It is new.
    Created,
    /// It was changed.
    Configured,
    /// It was so already.
    Unchanged,
    /// It isn't valid; nothing was changed.
    Refused,
}

/// A change of a ConfigMap's or a Secret's values; one that isn't there is made, if something is set.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EditValues {
    /// Values to set, by key; text for a ConfigMap.
    #[serde(default)]
    pub set: SecretData,
    /// Keys to remove.
    #[serde(default)]
    pub remove: Vec<String>,
    /// Whether a key to remove may be missing; else that makes the whole change fail.
    #[serde(default)]
    pub ignore_missing: bool,
    /// Whether those that aren't set go.
    #[serde(default)]
    pub replace: bool,
    /// A Secret's type, where it is to change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_type: Option<String>,
}

/// One value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Revealed {
    /// It.
    pub value: SecretValue,
}

/// Resources of one kind.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct List {
    /// By namespace and name.
    pub items: Vec<Resource>,
}

/// A line of a watch: first every object there is as [`WatchKind::Added`], then what changes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WatchEvent {
    /// What happened.
    #[serde(rename = "type")]
    pub kind: WatchKind,
    /// To what.
    pub object: Resource,
}

/// What happened to an object. Kubernetes' words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum WatchKind {
    /// It is there.
    Added,
    /// It changed.
    Modified,
    /// It is gone.
    Deleted,
}

/// Figures of every workload that runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Top {
    /// By namespace and name.
    pub workloads: Vec<Figures>,
}

/// Figures of one workload since it started.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Figures {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Requests that ended, however they did.
    pub requests: u64,
    /// Of these, answered with 5xx, refused, timed out or failed.
    pub errors: u64,
    /// Requests under way.
    pub in_flight: u32,
    /// Requests that wait for a slot.
    pub queued: u32,
    /// Linear memory of its instances, bytes.
    pub memory_bytes: u64,
    /// Ways out that its grants denied.
    pub denials: u64,
    /// Half of the requests took at most this long, microseconds.
    pub p50_us: u64,
    /// 99% of the requests took at most this long, microseconds.
    pub p99_us: u64,
}

impl From<WorkloadFigures> for Figures {
    fn from(figures: WorkloadFigures) -> Figures {
        let micros = |duration: Duration| u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        Figures {
            namespace: figures.namespace,
            name: figures.name,
            requests: figures.requests,
            errors: figures.errors,
            in_flight: figures.in_flight,
            queued: figures.queued,
            memory_bytes: figures.memory_bytes,
            denials: figures.denials,
            p50_us: micros(figures.p50),
            p99_us: micros(figures.p99),
        }
    }
}

/// A line of `drain` or `stop`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "lowercase")]
pub enum Progress {
    /// No new requests are taken; those under way finish.
    Draining,
    /// None is left, or the grace period is over; services have ended after them, or theirs is over too.
    Drained,
}
