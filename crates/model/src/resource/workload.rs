//! `Workload`: components, an optional service, the host's interfaces they use, and their volumes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::meta::LocalObjectReference;
use crate::condition::Condition;
use crate::workload::Reuse;

/// Spec of a Workload, as written.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WorkloadSpec {
    /// Labels that a host must carry, by equality; empty matches every host.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub host_selector: BTreeMap<String, String>,
    /// Pins the workload to one host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_id: Option<String>,
    /// Name of the environment (tenant) whose hosts may run this workload.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<String>,
    /// Components, each under a name of its own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub components: Vec<ComponentSpec>,
    /// The one long-running component.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<ServiceSpec>,
    /// Interfaces that the host provides or calls, with their configuration; at most 64.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub host_interfaces: Vec<HostInterfaceSpec>,
    /// Volumes that components mount.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub volumes: Vec<VolumeSpec>,
    /// How the workload appears to Kubernetes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kubernetes: Option<Kubernetes>,
}

impl WorkloadSpec {
    /// Whether there are instances that last longer than a request: a service's, or those that are used again.
    pub fn has_lasting_instances(&self) -> bool {
        let is_used_again = |component: &ComponentSpec| {
            let ComponentSpec { pool_size, max_invocations, max_concurrency, .. } = component;
            // What isn't a count is refused elsewhere.
            let [pool_size, max_invocations, max_concurrency] =
                [pool_size, max_invocations, max_concurrency].map(|count| count.and_then(|n| u32::try_from(n).ok()).unwrap_or(0));
            Reuse { pool_size, max_invocations, max_concurrency }.is_on()
        };
        self.service.is_some() || self.components.iter().any(is_used_again)
    }
}

/// A component, as written.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ComponentSpec {
    /// Name, unique in the workload.
    pub name: String,
    /// Image reference: registry reference, `file://` path, OCI layout folder or `artifact://NAME`.
    pub image: String,
    /// Secret with the registry's credentials.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_pull_secret: Option<LocalObjectReference>,
    /// When to ask the registry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_pull_policy: Option<PullPolicy>,
    /// Warm instances kept per replica, 0 or more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool_size: Option<i32>,
    /// Calls after which an instance retires, 0 or more; 0 means no such bound.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_invocations: Option<i32>,
    /// Calls at once on one WASI 0.3 instance, 0 or more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_concurrency: Option<i32>,
    /// What the component is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub local_resources: Option<LocalResources>,
    /// Berth's own: who satisfies an import of it, where that isn't clear; at most 64.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub links: Vec<LinkSpec>,
}

/// Who satisfies one import of a component, as written. See [`crate::workload::Link`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LinkSpec {
    /// The import: an interface, with or without its version, or a function.
    pub import: String,
    /// The component that provides it; absent: the only one that can.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub component: Option<String>,
    /// Whether the two are compiled into one also where they needn't be.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub fuse: bool,
}

/// The service, as written.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ServiceSpec {
    /// Image reference, as a component's.
    pub image: String,
    /// Secret with the registry's credentials.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_pull_secret: Option<LocalObjectReference>,
    /// When to ask the registry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_pull_policy: Option<PullPolicy>,
    /// Restarts within a window before the service is given up, 0 or more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_restarts: Option<i32>,
    /// What the service is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub local_resources: Option<LocalResources>,
    /// Berth's own: who satisfies an import of it, as a component's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub links: Vec<LinkSpec>,
}

/// When to ask the registry for an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum PullPolicy {
    /// At each start.
    Always,
    /// Only when the cache lacks it.
    IfNotPresent,
    /// Never: the cache has it, or the start fails.
    Never,
}

/// What a component or service is given. An empty or absent list denies.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LocalResources {
    /// Volumes it sees.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub volume_mounts: Vec<VolumeMountSpec>,
    /// Its environment variables.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<ConfigLayer>,
    /// Its `wasi:config` values.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub config: BTreeMap<String, String>,
    /// Where it may send HTTP: `*`, or `[scheme://](host | *.suffix)[:port][/]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allowed_hosts: Vec<String>,
    /// Names it may resolve: `*`, `*.suffix`, a host name, or a literal IP.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allowed_ip_name_lookups: Vec<String>,
    /// The host's own loopback ports it may reach: `PORT[/tcp|/udp]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allowed_host_loopback_ports: Vec<String>,
    /// Berth's own: limits of this component, where the defaults don't fit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<LimitsSpec>,
}

/// Limits of one component, as written; what is absent takes the host's default. See [`crate::limits::Limits`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LimitsSpec {
    /// Linear memory per instance, a quantity: `64Mi`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<String>,
    /// Time per request, a duration: `30s`, `500ms`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_timeout: Option<String>,
    /// Requests in flight per replica.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_in_flight: Option<u32>,
    /// Requests that wait for a free slot, per replica.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_queued: Option<u32>,
    /// How long a request waits for a free slot, a duration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue_timeout: Option<String>,
    /// Request body, a quantity: `16Mi`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_request_body: Option<String>,
    /// Elements of all tables of an instance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table_elements: Option<u32>,
}

/// Values from three sources, merged in this order; the last wins.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ConfigLayer {
    /// Values written here.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub config: BTreeMap<String, String>,
    /// ConfigMaps.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub config_from: Vec<LocalObjectReference>,
    /// Secrets.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secret_from: Vec<LocalObjectReference>,
}

/// An interface that the host provides to, or calls on, the workload.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HostInterfaceSpec {
    /// WIT namespace: `wasi`.
    pub namespace: String,
    /// WIT package: `http`.
    pub package: String,
    /// Interfaces of the package, one at least: `incoming-handler`.
    pub interfaces: Vec<String>,
    /// WIT version: `0.2.3`; absent matches any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Tells several entries of one package apart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Values written here.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub config: BTreeMap<String, String>,
    /// ConfigMaps.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub config_from: Vec<LocalObjectReference>,
    /// Secrets.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secret_from: Vec<LocalObjectReference>,
}

/// A volume, as written: exactly one source.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct VolumeSpec {
    /// Name, unique in the workload.
    pub name: String,
    /// A private folder that goes with the workload.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ephemeral: Option<Empty>,
    /// A folder of the host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_path: Option<HostPathSpec>,
}

/// `{}`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Empty {}

/// A folder of the host.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HostPathSpec {
    /// Absolute path on the host.
    pub path: String,
}

/// Where a component sees a volume.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct VolumeMountSpec {
    /// The volume's name.
    pub name: String,
    /// Absolute path inside the component.
    pub mount_path: String,
    /// Whether writes are refused.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub read_only: bool,
}

/// How a workload appears to Kubernetes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kubernetes {
    /// The Service that leads to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<KubernetesService>,
}

/// A Kubernetes Service by name.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KubernetesService {
    /// Name of a Service in the workload's namespace; its DNS names become aliases of the workload's domain.
    pub name: String,
}

/// Status of a Workload.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct WorkloadStatus {
    /// Host that runs it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host_id: Option<String>,
    /// That host's environment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub environment: Option<String>,
    /// Its id on the wire: the Workload's uid.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workload_id: Option<String>,
    /// Config, HostSelection, Placement, Sync, Ready.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
}
