//! The snapshot, arranged for planning: one pass over all objects, so that no step searches.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use berth_control::{Heartbeat, Report, WorkloadState};
use berth_model::condition;
use berth_model::id::{HostId, WorkloadId};
use berth_model::resource::{Host, Kind, OwnerReference, ReplicaSet, Workload};

use super::liveness;
use super::snapshot::{Answer, Snapshot};
use crate::store::kind_of;

/// Label of a host that takes no more workloads and is to lose those it has.
pub const DRAINING_LABEL: &str = "berth.dev/draining";
/// Label with a host's group.
pub const HOST_GROUP_LABEL: &str = "hostgroup";

/// See the module.
pub(super) struct Index<'a> {
    pub(super) snapshot: &'a Snapshot,
    /// Hosts that were heard or have an object.
    pub(super) hosts: BTreeMap<HostId, HostFacts<'a>>,
    /// All workloads, by namespace and name.
    pub(super) workloads: Vec<WorkloadFacts<'a>>,
    /// Indexes of the workloads of a replica set, by its uid.
    pub(super) children: HashMap<&'a str, Vec<usize>>,
    /// Replica sets of a deployment, by its uid.
    pub(super) sets: HashMap<&'a str, Vec<&'a ReplicaSet>>,
    /// Replica sets by uid.
    pub(super) set_by_uid: HashMap<&'a str, &'a ReplicaSet>,
}

/// One host.
pub(super) struct HostFacts<'a> {
    /// Its latest heartbeat, if it was heard since the operator started.
    pub(super) heartbeat: Option<&'a Heartbeat>,
    /// What it said last about its workloads.
    pub(super) answer: Option<&'a Answer>,
    /// Its object.
    pub(super) object: Option<&'a Host>,
    /// When it was judged dead, if it was.
    pub(super) dead_since: Option<Duration>,
}

impl HostFacts<'_> {
    pub(super) fn is_dead(&self) -> bool {
        self.dead_since.is_some()
    }

    pub(super) fn is_draining(&self) -> bool {
        self.heartbeat.is_some_and(|h| h.labels.get(DRAINING_LABEL).is_some_and(|v| v == "true"))
            || self.object.is_some_and(|o| o.metadata.annotations.get(DRAINING_LABEL).is_some_and(|v| v == "true"))
    }

    /// The name that people know it by.
    pub(super) fn name(&self) -> &str {
        self.object.map(|o| o.metadata.name.as_str()).or(self.heartbeat.map(|h| h.friendly_name.as_str())).unwrap_or_default()
    }
}

/// One workload.
pub(super) struct WorkloadFacts<'a> {
    pub(super) object: &'a Workload,
    pub(super) id: WorkloadId,
    /// Where it was placed, by the last plan that did so.
    pub(super) host: Option<HostId>,
    pub(super) stand: Stand<'a>,
    /// Whether it serves, as far as is known.
    pub(super) ready: bool,
    /// Whether the replica set that made it is gone: it is about to be deleted, so it stays as it is until then.
    pub(super) is_orphan: bool,
}

/// Where a workload stands.
#[derive(Clone, Copy)]
pub(super) enum Stand<'a> {
    /// On no host.
    Unplaced,
    /// Its host is dead.
    Lost,
    /// Its host hasn't said yet what became of it.
    Unconfirmed,
    /// Its host was told to run it and doesn't have it.
    Missing,
    /// Its host says so.
    Reported(&'a Report),
}

impl WorkloadFacts<'_> {
    pub(super) fn is_terminating(&self) -> bool {
        self.object.metadata.deletion_timestamp.is_some()
    }

    /// Whether no host that is alive was told to run it.
    pub(super) fn runs_nowhere(&self) -> bool {
        matches!(self.stand, Stand::Unplaced | Stand::Lost)
    }
}

impl<'a> Index<'a> {
    pub(super) fn new(snapshot: &'a Snapshot) -> Index<'a> {
        let hosts = hosts(snapshot);
        let mut sets: HashMap<&str, Vec<&ReplicaSet>> = HashMap::new();
        let mut set_by_uid = HashMap::new();
        for set in snapshot.objects.replica_sets.iter() {
            set_by_uid.insert(set.metadata.uid.as_str(), &**set);
            if let Some(owner) = set.metadata.controller() {
                sets.entry(&owner.uid).or_default().push(set);
            }
        }
        let mut workloads = Vec::with_capacity(snapshot.objects.workloads.len());
        let mut children: HashMap<&str, Vec<usize>> = HashMap::new();
        for object in snapshot.objects.workloads.iter() {
            // An object without a usable uid didn't come from a store.
            let Ok(id) = object.metadata.uid.parse() else { continue };
            let owner = object.metadata.controller();
            if let Some(owner) = owner {
                children.entry(&owner.uid).or_default().push(workloads.len());
            }
            // A controller of another kind is kept elsewhere, and nothing here says whether it is gone.
            let is_set = |owner: &OwnerReference| kind_of(owner) == Some(Kind::WorkloadReplicaSet);
            let is_orphan = owner.is_some_and(|owner| is_set(owner) && !set_by_uid.contains_key(owner.uid.as_str()));
            let placed = snapshot.memory.placed.get(&id).copied();
            workloads.push(WorkloadFacts { is_orphan, ..facts(object, id, placed, &hosts) });
        }
        Index { snapshot, hosts, workloads, children, sets, set_by_uid }
    }

    /// The workloads of a replica set.
    pub(super) fn children_of(&self, uid: &str) -> impl Iterator<Item = &WorkloadFacts<'a>> {
        self.children.get(uid).into_iter().flatten().map(|&i| &self.workloads[i])
    }

    /// The replica set that controls a workload.
    pub(super) fn set_of(&self, workload: &Workload) -> Option<&'a ReplicaSet> {
        self.set_by_uid.get(workload.metadata.controller()?.uid.as_str()).copied()
    }

    /// Dead hosts, and since when.
    pub(super) fn dead(&self) -> BTreeMap<HostId, Duration> {
        self.hosts.iter().filter_map(|(id, host)| Some((*id, host.dead_since?))).collect()
    }
}

/// Hosts that were heard, that have an object, or that a workload was placed on.
fn hosts(snapshot: &Snapshot) -> BTreeMap<HostId, HostFacts<'_>> {
    let objects: HashMap<HostId, &Host> =
        snapshot.objects.hosts.iter().filter_map(|host| Some((host.spec.host_id.parse().ok()?, &**host))).collect();
    let placed: BTreeSet<&str> = snapshot.objects.workloads.iter().filter_map(|w| w.status.host_id.as_deref()).collect();
    let ids: BTreeSet<HostId> =
        snapshot.hosts.keys().copied().chain(objects.keys().copied()).chain(placed.into_iter().filter_map(|id| id.parse().ok())).collect();
    let facts = |id: HostId| {
        let view = snapshot.hosts.get(&id);
        let dead = liveness::is_dead(snapshot, id);
        HostFacts {
            heartbeat: view.map(|v| &v.heartbeat),
            answer: view.and_then(|v| v.answer.as_ref()),
            object: objects.get(&id).copied(),
            dead_since: dead.then(|| snapshot.memory.dead.get(&id).copied().unwrap_or(snapshot.uptime)),
        }
    };
    ids.into_iter().map(|id| (id, facts(id))).collect()
}

/// `placed`: on which host an earlier plan placed it, if its status didn't say so then.
fn facts<'a>(object: &'a Workload, id: WorkloadId, placed: Option<HostId>, hosts: &BTreeMap<HostId, HostFacts<'a>>) -> WorkloadFacts<'a> {
    let host = placed.or_else(|| status_host(object));
    let stand = match host.and_then(|id| hosts.get(&id)) {
        None => Stand::Unplaced,
        Some(facts) if facts.is_dead() => Stand::Lost,
        Some(facts) => facts.answer.map_or(Stand::Unconfirmed, |answer| said(answer, &id, object)),
    };
    let ready = match stand {
        Stand::Reported(report) => is_ready(report),
        // Nothing newer is known, for instance after a restart of the operator.
        Stand::Unconfirmed => condition::is_true(&object.status.conditions, "Ready"),
        Stand::Unplaced | Stand::Lost | Stand::Missing => false,
    };
    WorkloadFacts { object, id, host, stand, ready, is_orphan: false }
}

/// The host that the workload's status names.
pub(super) fn status_host(object: &Workload) -> Option<HostId> {
    object.status.host_id.as_deref().and_then(|id| id.parse().ok())
}

/// What the host said about the workload as it is today, not as it was before an edit.
fn said<'a>(answer: &'a Answer, id: &WorkloadId, object: &Workload) -> Stand<'a> {
    let told = answer.to.get(id).map(|want| want.generation);
    match (told, answer.reports.get(id)) {
        (Some(generation), _) if generation != object.metadata.generation => Stand::Unconfirmed,
        (Some(_), Some(report)) if report.state != WorkloadState::NotFound => Stand::Reported(report),
        (Some(_), _) => Stand::Missing,
        (None, Some(report)) if answer.to.held.contains(id) => Stand::Reported(report),
        (None, _) => Stand::Unconfirmed,
    }
}

/// Whether a workload serves all that it asked for, as it is today.
pub(super) fn is_ready(report: &Report) -> bool {
    report.state == WorkloadState::Running && report.ready && report.conflicts.is_empty() && !keeps_previous(report)
}

/// Whether the host runs the workload as it was before an edit, and says why it doesn't run it as it is today.
pub(super) fn keeps_previous(report: &Report) -> bool {
    report.state == WorkloadState::Running && !report.reason.is_empty()
}

/// Reason of a workload that runs as it was before an edit while its host prepares it as it is today.
pub(super) const UPDATING: &str = "Updating";

/// Whether the host runs the workload as it was before an edit, because the edit failed.
pub(super) fn edit_failed(report: &Report) -> bool {
    keeps_previous(report) && report.reason != UPDATING
}
