//! A workload that has been checked: what hosts run and control messages carry.
//!
//! [`crate::validate`] makes these values from what users wrote; nothing in them needs checking again.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::domain::Domain;
use crate::grants::Grants;
use crate::image::ImageRef;
use crate::import::ImportName;
use crate::interface::HostInterface;
use crate::limits::Limits;
use crate::resource::PullPolicy;

/// A checked workload.
#[derive(Clone, Debug, PartialEq)]
pub struct Workload {
    /// Namespace of the Workload object.
    pub namespace: String,
    /// Name of the Workload object.
    pub name: String,
    /// Annotations of the Workload object.
    pub annotations: BTreeMap<String, String>,
    /// Components, each name unique.
    pub components: Vec<Component>,
    /// The one long-running component.
    pub service: Option<Service>,
    /// Interfaces of the host, with their configuration merged.
    pub interfaces: Vec<HostInterface>,
    /// Volumes, each name unique.
    pub volumes: Vec<Volume>,
    /// How HTTP requests reach it; none without a `wasi:http` host interface.
    pub http: Option<HttpEntry>,
}

/// How HTTP requests reach a workload.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HttpEntry {
    /// Domains it serves, the main one first; empty: it serves what no other workload claims.
    pub domains: Vec<Domain>,
    /// The component that answers, where the manifest names one.
    pub component: Option<String>,
}

/// A checked component.
#[derive(Clone, Debug, PartialEq)]
pub struct Component {
    /// Name, unique in the workload.
    pub name: String,
    /// Where its bytes come from.
    pub image: ImageRef,
    /// When to ask the registry.
    pub pull_policy: PullPolicy,
    /// Credentials for the registry: user and password.
    pub pull_credentials: Option<PullCredentials>,
    /// How long an instance lives.
    pub reuse: Reuse,
    /// What it is given.
    pub resources: Resources,
    /// Who satisfies imports of it, where the manifest says so; no two for one import.
    pub links: Vec<Link>,
}

/// A checked service.
#[derive(Clone, Debug, PartialEq)]
pub struct Service {
    /// Where its bytes come from.
    pub image: ImageRef,
    /// When to ask the registry.
    pub pull_policy: PullPolicy,
    /// Credentials for the registry: user and password.
    pub pull_credentials: Option<PullCredentials>,
    /// Restarts within a window before it is given up.
    pub max_restarts: u64,
    /// What it is given.
    pub resources: Resources,
    /// Who satisfies imports of it, as a component's.
    pub links: Vec<Link>,
}

/// Who satisfies one import of a component.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Link {
    /// The import.
    pub import: ImportName,
    /// The component that provides it, another one of the workload; `None`: the only one that can.
    pub component: Option<String>,
    /// Whether the two are to be composed into one component also where the host would carry their calls: `wasi:http/handler`.
    pub fuse: bool,
}

/// User and password for a registry. Its `Debug` shows neither.
#[derive(Clone, PartialEq, Eq)]
pub struct PullCredentials {
    /// User name.
    pub username: String,
    /// Password or token.
    pub password: String,
}

impl std::fmt::Debug for PullCredentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PullCredentials(..)")
    }
}

/// What a component or the service is given; all of it is deny by default. Its `Debug` shows no values of `environment` and `config`, as
/// they may come from Secrets.
#[derive(Clone, Default, PartialEq)]
pub struct Resources {
    /// Environment variables, its only ones.
    pub environment: BTreeMap<String, String>,
    /// `wasi:config` values.
    pub config: BTreeMap<String, String>,
    /// Volumes it sees.
    pub mounts: Vec<Mount>,
    /// Where it may connect.
    pub grants: Grants,
    /// Limits that differ from the host's defaults.
    pub limits: Limits,
}

impl std::fmt::Debug for Resources {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Resources { environment, config, mounts, grants, limits } = self;
        f.debug_struct("Resources")
            .field("environment", &environment.keys())
            .field("config", &config.keys())
            .field("mounts", mounts)
            .field("grants", grants)
            .field("limits", limits)
            .finish()
    }
}

/// How long an instance lives (docs/compatibility.md). All zero: a fresh instance per request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reuse {
    /// Warm instances kept per replica.
    pub pool_size: u32,
    /// Calls after which an instance retires; 0: no such bound.
    pub max_invocations: u32,
    /// Calls at once on one WASI 0.3 instance; 0 counts as 1.
    pub max_concurrency: u32,
}

impl Reuse {
    /// Whether an instance may serve more than one request.
    pub fn is_on(&self) -> bool {
        self.pool_size > 0 || self.max_invocations > 1 || self.max_concurrency > 1
    }
}

/// Where a component sees a volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// The volume's name.
    pub volume: String,
    /// Absolute path inside the component.
    pub path: String,
    /// Whether writes are refused.
    pub read_only: bool,
}

/// A checked volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Volume {
    /// Name, unique in the workload.
    pub name: String,
    /// Where its files are.
    pub source: VolumeSource,
}

/// Where a volume's files are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VolumeSource {
    /// A private folder that goes with the workload.
    Ephemeral,
    /// A folder of the host, absolute and without `..`.
    HostPath(PathBuf),
}
