//! How registries are reached, and how long and how much.

use std::path::PathBuf;
use std::time::Duration;

/// How registries are reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegistrySettings {
    /// PEM certificates of authorities that are trusted besides the system's.
    pub ca_file: Option<PathBuf>,
    /// Registries (host, with the port if it isn't 80) that are spoken to in plain HTTP; all others, localhost too, need TLS.
    pub insecure: Vec<String>,
    /// Docker's configuration, which is looked into for credentials when an image brings none and the registry wants some.
    pub docker_config: Option<PathBuf>,
    /// Whether `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY` of the process are obeyed. Default true, as other clients do.
    pub environment_proxies: bool,
    /// Whether pull policy `Always` takes what is cached while the registry can't be reached, with a warning. Default false: the start
    /// fails and is tried again, as on Kubernetes. A registry that answers and refuses is never passed over.
    pub cached_when_unreachable: bool,
    /// Bounds.
    pub limits: RegistryLimits,
}

impl Default for RegistrySettings {
    fn default() -> Self {
        Self {
            ca_file: None,
            insecure: Vec::new(),
            docker_config: None,
            environment_proxies: true,
            cached_when_unreachable: false,
            limits: RegistryLimits::default(),
        }
    }
}

/// How much is pulled, how long it may take, and how often it is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RegistryLimits {
    /// The largest component, in bytes. Default 256 MiB, as for files.
    pub component_bytes: u64,
    /// The largest manifest or index, in bytes. Default 4 MiB, the limit that registries set for them.
    pub manifest_bytes: u64,
    /// Pulls at once, at least 1; the others wait. Default 8. With `component_bytes` it bounds the memory that pulling takes.
    pub concurrent_pulls: usize,
    /// Pulls at once from one registry, at least 1; the others wait. Default 4, half of all: a registry that hangs leaves places for
    /// others.
    pub concurrent_pulls_per_registry: usize,
    /// Images read from the cache at once, at least 1; the others wait. Default 4, as for files.
    pub concurrent_reads: usize,
    /// How often one request is tried in all, at least once. Default 5: with the pauses some seconds, enough for a registry that is
    /// restarted behind a load balancer. After that the pull has failed, and its workload's own back-off applies.
    pub attempts: u32,
    /// The pause before the second try; it doubles with each more. Default 250 ms.
    pub first_pause: Duration,
    /// The longest pause. Default 5 s.
    pub longest_pause: Duration,
    /// The longest that a registry's `Retry-After` is waited for; one that asks for more ends the pull. Default 30 s.
    pub longest_retry_after: Duration,
    /// How long connecting may take. Default 10 s.
    pub connect: Duration,
    /// How long a registry may be silent, before its answer or within it. Default 30 s.
    pub stall: Duration,
    /// How long one pull may take from its first request, with all tries. Default 10 min: 256 MiB at 4 Mbit/s.
    pub pull: Duration,
    /// Redirects followed for one request. Default 5; registries need one, to the storage of their blobs.
    pub redirects: usize,
    /// How long a credential helper may take. Default 10 s.
    pub helper: Duration,
}

impl Default for RegistryLimits {
    fn default() -> Self {
        Self {
            component_bytes: 256 << 20,
            manifest_bytes: 4 << 20,
            concurrent_pulls: 8,
            concurrent_pulls_per_registry: 4,
            concurrent_reads: 4,
            attempts: 5,
            first_pause: Duration::from_millis(250),
            longest_pause: Duration::from_secs(5),
            longest_retry_after: Duration::from_secs(30),
            connect: Duration::from_secs(10),
            stall: Duration::from_secs(30),
            pull: Duration::from_secs(600),
            redirects: 5,
            helper: Duration::from_secs(10),
        }
    }
}
