//! Heartbeats: what a host says about itself.

use std::collections::BTreeMap;

use berth_model::id::HostId;
use berth_model::interface::HostInterface;

/// Label by which a host announces Berth's extension.
pub const PROTOCOL_LABEL: &str = "berth.dev/protocol";
/// Version of Berth's extension, the label's value.
pub const PROTOCOL_VERSION: &str = "1";

/// What a host says about itself.
#[derive(Clone, Debug, PartialEq)]
pub struct Heartbeat {
    /// The host's id.
    pub id: HostId,
    /// Address that reaches its HTTP port.
    pub hostname: String,
    /// Name of its Host object.
    pub friendly_name: String,
    /// Its version.
    pub version: String,
    /// Labels that selectors match. [`crate::HostServer`] adds [`PROTOCOL_LABEL`].
    pub labels: BTreeMap<String, String>,
    /// When its process started.
    pub started_at: Option<jiff::Timestamp>,
    /// Architecture: `x86_64`.
    pub os_arch: String,
    /// Operating system: `linux`.
    pub os_name: String,
    /// Kernel or family: `unix`.
    pub os_kernel: String,
    /// CPU in use, percent.
    pub system_cpu_usage: f32,
    /// Memory of the machine, bytes.
    pub system_memory_total: u64,
    /// Memory free, bytes.
    pub system_memory_free: u64,
    /// Components that run.
    pub component_count: u64,
    /// Workloads that run.
    pub workload_count: u64,
    /// Interfaces that components may import.
    pub imports: Vec<HostInterface>,
    /// Interfaces of components that the host calls.
    pub exports: Vec<HostInterface>,
    /// Port of its HTTP ingress; none without one.
    pub http_port: Option<u16>,
    /// The tenant it belongs to; may be empty.
    pub environment: String,
}

impl Heartbeat {
    /// A heartbeat with nothing but the id.
    pub fn new(id: HostId) -> Heartbeat {
        Heartbeat {
            id,
            hostname: String::new(),
            friendly_name: String::new(),
            version: String::new(),
            labels: BTreeMap::new(),
            started_at: None,
            os_arch: String::new(),
            os_name: String::new(),
            os_kernel: String::new(),
            system_cpu_usage: 0.0,
            system_memory_total: 0,
            system_memory_free: 0,
            component_count: 0,
            workload_count: 0,
            imports: Vec::new(),
            exports: Vec::new(),
            http_port: None,
            environment: String::new(),
        }
    }

    /// Whether the host understands Berth's extension: sync, drain and announcements.
    pub fn speaks_berth(&self) -> bool {
        self.labels.get(PROTOCOL_LABEL).is_some_and(|version| version == PROTOCOL_VERSION)
    }
}
