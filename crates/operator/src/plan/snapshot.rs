//! What a plan is made from.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use berth_control::{Heartbeat, Report};
use berth_model::id::{HostId, WorkloadId};
use berth_model::resource::{Artifact, ConfigMap, Deployment, Host, Object, ObjectMeta, ReplicaSet, Resource, Secret, Workload};
use jiff::Timestamp;

use super::contents::Content;
use super::edits::Edit;
use super::hash::MarkKey;
use super::wanted::HostWants;

/// Everything a plan depends on.
#[derive(Debug)]
pub struct Snapshot {
    /// The wall clock, for what people read.
    pub now: Timestamp,
    /// Time since the operator started, by a clock that never jumps, for leases and back-off.
    pub uptime: Duration,
    /// Rules.
    pub config: PlanConfig,
    /// The store's objects.
    pub objects: Objects,
    /// Hosts that were heard since the operator started.
    pub hosts: BTreeMap<HostId, HostView>,
    /// Since when hosts could have been heard without a gap, on the clock of `uptime`; `None` while they can't. Only silence
    /// since then says anything (L01).
    pub listening_since: Option<Duration>,
    /// What the last plan left.
    pub memory: Memory,
}

/// Rules of planning.
#[derive(Clone, Debug)]
pub struct PlanConfig {
    /// Namespace of the Host objects.
    pub namespace: String,
    /// Silence after which a host counts as dead. 3 s: three heartbeats.
    pub lease: Duration,
    /// Whether workloads that name no environment may run on any host (default), or only on hosts of their namespace.
    pub shared_hosts: bool,
    /// Whether hosts end when the operator does, as in `berth up`: then one that wasn't heard since the start is gone, and
    /// nothing waits for its lease; one that was heard since never counts as dead; and a placement is told at once, while it is
    /// written: what runs of it ends with whoever decided it. Any other host is told when the placement is durable.
    pub hosts_share_process: bool,
    /// Replica sets of earlier versions that are kept for rolling back. 3.
    pub history: usize,
    /// Wait before a failed start is tried again; it doubles with each failure. 1 s.
    pub retry_first: Duration,
    /// Longest such wait. 60 s.
    pub retry_max: Duration,
    /// How long a deleted Workload waits for a host that is alive but doesn't confirm that it stopped. 60 s.
    pub stop_patience: Duration,
    /// How long the object of a dead host is kept. 5 min.
    pub forget_hosts_after: Duration,
    /// Workloads that a host takes if its labels say nothing else. 10,000: what one host is built for.
    pub workloads_per_host: u32,
    /// What stands for the values of Secrets where anybody may read it. By default one that goes with the process.
    pub mark_key: MarkKey,
}

impl Default for PlanConfig {
    fn default() -> PlanConfig {
        PlanConfig {
            namespace: "default".to_owned(),
            lease: Duration::from_secs(3),
            shared_hosts: true,
            hosts_share_process: false,
            history: 3,
            retry_first: Duration::from_secs(1),
            retry_max: Duration::from_secs(60),
            stop_patience: Duration::from_secs(60),
            forget_hosts_after: Duration::from_secs(300),
            workloads_per_host: 10_000,
            mark_key: MarkKey::random(),
        }
    }
}

/// A host, as it was heard.
#[derive(Debug)]
pub struct HostView {
    /// Its latest heartbeat.
    pub heartbeat: Heartbeat,
    /// When that came, on the clock of [`Snapshot::uptime`].
    pub heard: Duration,
    /// What it said last about its workloads.
    pub answer: Option<Answer>,
}

/// What a host said about its workloads.
#[derive(Debug)]
pub struct Answer {
    /// What it was told before it said so.
    pub to: Arc<HostWants>,
    /// Every workload it has.
    pub reports: HashMap<WorkloadId, Report>,
}

/// What one plan leaves for the next.
#[derive(Debug, Default)]
pub struct Memory {
    /// Hosts that were judged dead, and when.
    pub dead: BTreeMap<HostId, Duration>,
    /// Workloads whose last start failed.
    pub failures: HashMap<WorkloadId, Failure>,
    /// Workloads whose last edit failed while the version before it serves.
    pub edits: HashMap<WorkloadId, Edit>,
    /// What each workload was resolved to.
    pub contents: HashMap<WorkloadId, Arc<Content>>,
    /// Where workloads were placed whose status doesn't say so yet: the write may be on its way, or have failed. Empty unless
    /// [`PlanConfig::hosts_share_process`].
    pub placed: HashMap<WorkloadId, HostId>,
    /// What each host was told last.
    pub wants: BTreeMap<HostId, Arc<HostWants>>,
    /// Hashes of templates, by uid of what has the template and generation.
    pub hashes: HashMap<String, (i64, String)>,
}

/// A start that failed, and when to try again (L05).
#[derive(Clone, Debug, PartialEq)]
pub struct Failure {
    /// Failures in a row.
    pub count: u32,
    /// When to try again, on the clock of [`Snapshot::uptime`].
    pub retry_at: Duration,
    /// The same moment on the wall clock.
    pub retry_time: Timestamp,
    /// Where it failed; other hosts are tried first.
    pub hosts: Vec<HostId>,
    /// Why, in one CamelCase word.
    pub reason: String,
    /// Why, for a person.
    pub message: String,
}

/// Objects of one kind, by namespace and name.
#[derive(Clone, Debug)]
pub struct Table<T> {
    namespaces: BTreeMap<String, BTreeMap<String, Arc<T>>>,
}

impl<T> Default for Table<T> {
    fn default() -> Table<T> {
        Table { namespaces: BTreeMap::new() }
    }
}

impl<T> Table<T> {
    /// The object of that name.
    pub fn get(&self, namespace: &str, name: &str) -> Option<&Arc<T>> {
        self.namespaces.get(namespace)?.get(name)
    }

    /// All objects, sorted by namespace and name.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<T>> {
        self.namespaces.values().flat_map(BTreeMap::values)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.namespaces.values().map(BTreeMap::len).sum()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.namespaces.values().all(BTreeMap::is_empty)
    }

    fn insert(&mut self, meta: &ObjectMeta, object: T) {
        self.namespaces.entry(meta.namespace.clone()).or_default().insert(meta.name.clone(), Arc::new(object));
    }

    fn remove(&mut self, meta: &ObjectMeta) {
        if let Some(names) = self.namespaces.get_mut(&meta.namespace) {
            names.remove(&meta.name);
        }
    }
}

/// The store's objects, by kind.
#[derive(Clone, Debug, Default)]
pub struct Objects {
    /// WorkloadDeployments.
    pub deployments: Table<Deployment>,
    /// WorkloadReplicaSets.
    pub replica_sets: Table<ReplicaSet>,
    /// Workloads.
    pub workloads: Table<Workload>,
    /// Hosts.
    pub hosts: Table<Host>,
    /// Artifacts.
    pub artifacts: Table<Artifact>,
    /// ConfigMaps.
    pub config_maps: Table<ConfigMap>,
    /// Secrets.
    pub secrets: Table<Secret>,
}

impl Objects {
    /// Puts in an object, unless a later version of it is there.
    pub fn insert(&mut self, resource: Resource) {
        if self.version_of(&resource).is_some_and(|there| there > version(resource.metadata())) {
            return;
        }
        let meta = resource.metadata().clone();
        match resource {
            Resource::Host(o) => self.hosts.insert(&meta, o),
            Resource::Workload(o) => self.workloads.insert(&meta, o),
            Resource::ReplicaSet(o) => self.replica_sets.insert(&meta, o),
            Resource::Deployment(o) => self.deployments.insert(&meta, o),
            Resource::Artifact(o) => self.artifacts.insert(&meta, o),
            Resource::ConfigMap(o) => self.config_maps.insert(&meta, o),
            Resource::Secret(o) => self.secrets.insert(&meta, o),
        }
    }

    /// Takes out an object, unless a later version of it is there.
    pub fn remove(&mut self, resource: &Resource) {
        if self.version_of(resource).is_some_and(|there| there > version(resource.metadata())) {
            return;
        }
        let meta = resource.metadata();
        match resource {
            Resource::Host(_) => self.hosts.remove(meta),
            Resource::Workload(_) => self.workloads.remove(meta),
            Resource::ReplicaSet(_) => self.replica_sets.remove(meta),
            Resource::Deployment(_) => self.deployments.remove(meta),
            Resource::Artifact(_) => self.artifacts.remove(meta),
            Resource::ConfigMap(_) => self.config_maps.remove(meta),
            Resource::Secret(_) => self.secrets.remove(meta),
        }
    }

    fn version_of(&self, resource: &Resource) -> Option<u64> {
        fn of<S, T>(object: &Arc<Object<S, T>>) -> u64 {
            version(&object.metadata)
        }
        let ObjectMeta { namespace, name, .. } = resource.metadata();
        match resource {
            Resource::Host(_) => self.hosts.get(namespace, name).map(of),
            Resource::Workload(_) => self.workloads.get(namespace, name).map(of),
            Resource::ReplicaSet(_) => self.replica_sets.get(namespace, name).map(of),
            Resource::Deployment(_) => self.deployments.get(namespace, name).map(of),
            Resource::Artifact(_) => self.artifacts.get(namespace, name).map(of),
            Resource::ConfigMap(_) => self.config_maps.get(namespace, name).map(|o| version(&o.metadata)),
            Resource::Secret(_) => self.secrets.get(namespace, name).map(|o| version(&o.metadata)),
        }
    }
}

/// A version as a number, so that an old event can't overwrite a newer object.
fn version(meta: &ObjectMeta) -> u64 {
    meta.resource_version.parse().unwrap_or_default()
}
