//! What each host is to run: the whole set, so that host and operator agree again after any loss (D7, L06).

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use berth_control::Wanted;
use berth_model::id::{HostId, WorkloadId};
use berth_model::resource::ObjectMeta;
use berth_model::workload::Workload;
use jiff::Timestamp;

use super::edits::Edit;
use super::index::{Index, WorkloadFacts};
use super::snapshot::Memory;

/// The whole set of one host.
#[derive(Debug, Default, PartialEq)]
pub struct HostWants {
    /// What it is to run, sorted by id.
    pub run: Vec<Want>,
    /// What it is to stop because it is deleted, sorted. Peers that don't understand sets need it, and an answer to a set that
    /// holds an id here shows whether that has stopped.
    pub stop: Vec<WorkloadId>,
    /// What it may go on running though nobody knows any more what that is: the operator that knew is gone, and what it was
    /// made of has changed. While there is any, the host is told single steps instead of the set.
    pub held: Vec<WorkloadId>,
}

impl HostWants {
    /// What the host is to run under that id.
    pub fn get(&self, id: &WorkloadId) -> Option<&Want> {
        self.run.binary_search_by(|want| want.id.cmp(id)).ok().map(|i| &self.run[i])
    }

    /// What is new here or differs from `before`, and the ids of what `before` has beside it.
    pub fn changes_from(&self, before: &HostWants) -> (Vec<&Want>, Vec<WorkloadId>) {
        let (mut changed, mut gone) = (Vec::new(), Vec::new());
        let mut old = before.run.iter().peekable();
        for want in &self.run {
            gone.extend(std::iter::from_fn(|| old.next_if(|old| old.id < want.id)).map(|old| old.id.clone()));
            if old.next_if(|old| old.id == want.id).is_none_or(|old| old != want) {
                changed.push(want);
            }
        }
        gone.extend(old.map(|old| old.id.clone()));
        (changed, gone)
    }

    /// Whether the host is to stop that id for good.
    pub fn stops(&self, id: &WorkloadId) -> bool {
        self.stop.binary_search(id).is_ok()
    }
}

/// One workload of a host's set.
#[derive(Clone, Debug)]
pub struct Want {
    /// Its id.
    pub id: WorkloadId,
    /// Generation of its spec.
    pub generation: i64,
    /// What it is.
    pub workload: Arc<Workload>,
    /// `namespace/name` of the object at the root of it.
    pub owner: Arc<str>,
    /// When that was made.
    pub created: Timestamp,
}

impl Want {
    /// As it travels.
    pub fn to_wanted(&self) -> Wanted {
        Wanted { id: self.id.clone(), workload: (*self.workload).clone(), owner: self.owner.to_string(), created: self.created }
    }
}

/// Contents are shared and never change, so comparing pointers is enough, and cheap.
impl PartialEq for Want {
    fn eq(&self, other: &Want) -> bool {
        self.id == other.id
            && self.generation == other.generation
            && Arc::ptr_eq(&self.workload, &other.workload)
            && self.owner == other.owner
            && self.created == other.created
    }
}

/// The set of every host that isn't dead. An unchanged set is the same `Arc` as before.
pub(super) fn plan(index: &Index<'_>, memory: &Memory) -> BTreeMap<HostId, Arc<HostWants>> {
    let alive = index.hosts.iter().filter(|(_, host)| !host.is_dead());
    let mut wants: BTreeMap<HostId, HostWants> = alive.map(|(id, _)| (*id, HostWants::default())).collect();
    let mut owners = Owners::default();
    for facts in &index.workloads {
        let placed = memory.placed.get(&facts.id).copied().or(facts.host);
        let Some((id, host)) = placed.and_then(|id| Some((id, wants.get_mut(&id)?))) else { continue };
        if facts.is_terminating() {
            host.stop.push(facts.id.clone());
            continue;
        }
        if facts.is_orphan {
            // Under the owner it had: alone it would lose its domain to the others.
            host.run.extend(index.snapshot.memory.wants.get(&id).and_then(|wants| wants.get(&facts.id)).cloned());
            continue;
        }
        match memory.contents.get(&facts.id).and_then(|content| Some((content.generation(), content.to_run()?))) {
            Some((generation, workload)) => {
                let workload = memory.edits.get(&facts.id).and_then(Edit::told).unwrap_or(workload);
                let (owner, created) = owners.of(index, facts);
                host.run.push(Want { id: facts.id.clone(), generation, workload: workload.clone(), owner, created });
            }
            None => host.held.push(facts.id.clone()),
        }
    }
    let before = &index.snapshot.memory.wants;
    let keep = |(id, mut wants): (HostId, HostWants)| {
        wants.run.sort_unstable_by(|a, b| a.id.cmp(&b.id));
        wants.stop.sort_unstable();
        let same = before.get(&id).filter(|before| ***before == wants).cloned();
        (id, same.unwrap_or_else(|| Arc::new(wants)))
    };
    wants.into_iter().map(keep).collect()
}

/// Names of owners, each made once.
#[derive(Default)]
struct Owners<'a>(HashMap<&'a str, (Arc<str>, Timestamp)>);

impl<'a> Owners<'a> {
    /// Who stands at the root of a workload, and since when.
    fn of(&mut self, index: &Index<'a>, facts: &WorkloadFacts<'a>) -> (Arc<str>, Timestamp) {
        let set = index.set_of(facts.object);
        let nearest = set.map_or(&facts.object.metadata, |set| &set.metadata);
        let make = || {
            let deployment = set.and_then(|set| set.metadata.controller()).and_then(|owner| {
                let found = index.snapshot.objects.deployments.get(&nearest.namespace, &owner.name)?;
                (found.metadata.uid == owner.uid).then_some(&found.metadata)
            });
            let root: &ObjectMeta = deployment.unwrap_or(nearest);
            (format!("{}/{}", root.namespace, root.name).into(), root.creation_timestamp.unwrap_or(Timestamp::UNIX_EPOCH))
        };
        self.0.entry(&nearest.uid).or_insert_with(make).clone()
    }
}
