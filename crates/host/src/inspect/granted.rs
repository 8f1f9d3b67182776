//! What a component was given, by names: never a value of its environment or configuration.

use berth_model::limits::Effective;
use berth_model::quantity::write_duration;
use berth_model::workload::{Resources, Volume, VolumeSource};
use serde::{Deserialize, Serialize};

/// What a component was given.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Granted {
    /// Its environment variables.
    pub environment: Vec<Variable>,
    /// Keys of what it reads by `wasi:config/store`.
    pub config: Vec<String>,
    /// Where it may send HTTP and connect.
    pub allowed_hosts: Vec<String>,
    /// Names it may look up.
    pub allowed_ip_name_lookups: Vec<String>,
    /// Ports of the host's loopback that it may reach.
    pub allowed_host_loopback_ports: Vec<String>,
    /// Volumes it sees, without those that the host's owner doesn't allow.
    pub volumes: Vec<GrantedVolume>,
    /// Its limits: its own, and the host's where it has none.
    pub limits: GrantedLimits,
}

/// One environment variable, without its value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Variable {
    /// Its name.
    pub name: String,
    /// Where its value comes from, if not from the manifest: `ConfigMap settings`, `Secret db`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
}

/// A volume, as a component sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GrantedVolume {
    /// Its name.
    pub name: String,
    /// Where the component sees it.
    pub mount_path: String,
    /// Whether writes are refused.
    pub read_only: bool,
    /// The folder of the host; none: an ephemeral one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_path: Option<String>,
}

/// Limits, with every value decided.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GrantedLimits {
    /// Linear memory per instance, bytes.
    pub memory_bytes: u64,
    /// Time per request: `30s`.
    pub request_timeout: String,
    /// Requests in flight.
    pub max_in_flight: u32,
    /// Requests that wait for a slot.
    pub max_queued: u32,
    /// How long one waits: `1s`.
    pub queue_timeout: String,
    /// Request body, bytes.
    pub max_request_body_bytes: u64,
    /// Elements of all tables of an instance.
    pub table_elements: u32,
}

/// What `resources` give, with the host's limits where they say nothing.
pub(super) fn granted(resources: &Resources, volumes: &[Volume], limits: &Effective) -> Granted {
    let Resources { environment, config, mounts, grants, limits: own } = resources;
    let host_path = |name: &str| match &volumes.iter().find(|volume| volume.name == name)?.source {
        VolumeSource::HostPath(path) => Some(path.display().to_string()),
        VolumeSource::Ephemeral => None,
    };
    let volumes = mounts.iter().map(|mount| GrantedVolume {
        name: mount.volume.clone(),
        mount_path: mount.path.clone(),
        read_only: mount.read_only,
        host_path: host_path(&mount.volume),
    });
    Granted {
        environment: environment.keys().map(|name| Variable { name: name.clone(), from: None }).collect(),
        config: config.keys().cloned().collect(),
        allowed_hosts: texts(&grants.hosts),
        allowed_ip_name_lookups: texts(&grants.names),
        allowed_host_loopback_ports: texts(&grants.loopback_ports),
        volumes: volumes.collect(),
        limits: in_words(&own.over(limits)),
    }
}

fn texts<T: ToString>(of: &[T]) -> Vec<String> {
    of.iter().map(T::to_string).collect()
}

fn in_words(limits: &Effective) -> GrantedLimits {
    GrantedLimits {
        memory_bytes: limits.memory_bytes,
        request_timeout: write_duration(limits.request_timeout),
        max_in_flight: limits.max_in_flight,
        max_queued: limits.max_queued,
        queue_timeout: write_duration(limits.queue_timeout),
        max_request_body_bytes: limits.max_request_body_bytes,
        table_elements: limits.table_elements,
    }
}
