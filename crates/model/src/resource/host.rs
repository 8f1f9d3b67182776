//! `Host`: a process that runs workloads, as the operator sees it.

use serde::{Deserialize, Serialize};

use crate::condition::Condition;

/// A Host has no spec: these fields stand beside `metadata`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HostFields {
    /// The host's id, a UUID.
    pub host_id: String,
    /// The host's routable address.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub hostname: String,
    /// Port of its HTTP ingress; 0 without one.
    pub http_port: i32,
    /// The tenant it belongs to.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub environment: String,
}

/// Status of a Host, from its heartbeats.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HostStatus {
    /// Berth's version there.
    pub version: String,
    /// Operating system: `linux`.
    pub os_name: String,
    /// Architecture: `x86_64`.
    pub os_arch: String,
    /// Kernel or family: `unix`.
    pub os_kernel: String,
    /// CPU in use, percent, as text.
    #[serde(rename = "systemCPUUsage")]
    pub system_cpu_usage: String,
    /// Memory of the machine, bytes.
    pub system_memory_total: i64,
    /// Memory free, bytes.
    pub system_memory_free: i64,
    /// Components that run.
    pub component_count: i32,
    /// Workloads that run.
    pub workload_count: i32,
    /// When it was heard last, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_seen: Option<jiff::Timestamp>,
    /// Reporting, Ready.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
}
