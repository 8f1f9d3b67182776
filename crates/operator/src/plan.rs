//! What to do next: a pure function from what is so to what is to be written and what each host is to run.
//!
//! Nothing here waits, writes or asks for the time. A plan holds at most one write per object, so its writes can be made in any
//! order and at once; what follows from them comes with the next plan. Planning is level-triggered: a plan of an unchanged world
//! is empty, and whatever part of a plan failed is planned again.

mod artifacts;
mod conditions;
mod contents;
mod deployments;
mod edits;
mod hash;
mod hosts;
mod index;
mod liveness;
mod meaning;
mod names;
mod placement;
mod removal;
mod replica_sets;
mod rollout;
mod snapshot;
mod status;
mod wanted;
mod workloads;
mod writes;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use berth_model::id::HostId;

pub use contents::Content;
pub use deployments::{DEPLOYMENT_LABEL, REVISION_ANNOTATION, TEMPLATE_HASH_LABEL};
pub use edits::Edit;
pub use hash::MarkKey;
pub use index::{DRAINING_LABEL, HOST_GROUP_LABEL};
pub use liveness::is_dead;
pub use meaning::{Meaning, Meaningless, meaning};
pub use placement::MAX_WORKLOADS_LABEL;
pub use replica_sets::CONTENT_ANNOTATION;
pub use snapshot::{Answer, Failure, HostView, Memory, Objects, PlanConfig, Snapshot, Table};
pub use wanted::{HostWants, Want};
pub use writes::{Action, Write};

use index::Index;
use writes::Writes;

/// What to do next.
#[derive(Debug, Default)]
pub struct Plan {
    /// Writes to the store, at most one per object; safe to make in any order.
    pub writes: Vec<Write>,
    /// What each host that may be alive is to run. An `Arc` of the last plan stands for an unchanged set.
    pub wants: BTreeMap<HostId, Arc<HostWants>>,
    /// What the next plan needs to know of this one; goes into [`Snapshot::memory`].
    pub memory: Memory,
    /// When to plan again though nothing changes, on the clock of [`Snapshot::uptime`].
    pub next: Option<Duration>,
}

/// Decides what to do next.
pub fn plan(snapshot: &Snapshot) -> Plan {
    let index = Index::new(snapshot);
    let mut writes = Writes::new(snapshot.now);
    let mut memory = Memory { dead: index.dead(), ..Memory::default() };

    hosts::plan(&index, &mut writes);
    artifacts::plan(&index, &mut writes);
    let deployments = deployments::plan(&index, &mut writes, &mut memory);
    let today = replica_sets::plan(&index, &deployments, &mut writes, &mut memory);
    let next = workloads::plan(&index, &today, &mut writes, &mut memory);
    let wants = wanted::plan(&index, &memory);

    memory.wants = wants.clone();
    Plan { writes: writes.into_list(), wants, memory, next }
}
