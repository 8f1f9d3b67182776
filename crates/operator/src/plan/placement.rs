//! On which host a workload goes.
//!
//! A host has to be alive, match the selector, belong to the right environment and have room; a pinned host has to do the same
//! (L13). Of those that do, the one with the fewest replicas of the same owner is taken, then the one with the most room (L18).

use std::collections::HashMap;
use std::rc::Rc;

use berth_model::id::HostId;
use berth_model::resource::{Labels, Workload};

use super::index::{HostFacts, Index, WorkloadFacts};

/// Label of a host: how many workloads it takes at most.
pub const MAX_WORKLOADS_LABEL: &str = "berth.dev/max-workloads";

/// Why no host can take a workload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Unplaceable {
    /// In one CamelCase word.
    pub(super) reason: &'static str,
    /// For a person, with what would help.
    pub(super) message: String,
}

/// The one reason that passes within moments, by itself.
const WAITING: &str = "Waiting";

impl Unplaceable {
    /// Whether it is over in a moment, and nothing to tell anybody.
    pub(super) fn passes(&self) -> bool {
        self.reason == WAITING
    }
}

/// What of a workload decides which hosts may run it.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Needs<'a> {
    selector: &'a Labels,
    pin: Option<&'a str>,
    environment: Option<&'a str>,
    namespace: &'a str,
}

impl<'a> Needs<'a> {
    fn of(workload: &'a Workload) -> Needs<'a> {
        let spec = &workload.spec;
        Needs {
            selector: &spec.host_selector,
            pin: spec.host_id.as_deref().filter(|id| !id.is_empty()),
            environment: spec.environment.as_deref().filter(|e| !e.is_empty()),
            namespace: &workload.metadata.namespace,
        }
    }

    /// Whether a namespace may ask for that environment at all.
    fn crosses_tenants(&self, shared_hosts: bool) -> bool {
        !shared_hosts && self.environment.is_some_and(|e| e != self.namespace)
    }

    fn permits_environment(&self, host: &str, shared_hosts: bool) -> bool {
        match self.environment {
            Some(wanted) => wanted == host && !self.crosses_tenants(shared_hosts),
            None => shared_hosts || host == self.namespace,
        }
    }

    fn selects(&self, labels: &Labels) -> bool {
        self.selector.iter().all(|(key, value)| labels.get(key) == Some(value))
    }

    fn permits(&self, id: HostId, host: &HostFacts<'_>, shared_hosts: bool) -> bool {
        let Some(heartbeat) = host.heartbeat else { return false };
        self.pin.is_none_or(|pin| pin.parse().is_ok_and(|pin: HostId| pin == id))
            && self.selects(&heartbeat.labels)
            && self.permits_environment(&heartbeat.environment, shared_hosts)
    }
}

/// Whether a workload that runs is to leave its host: the host drains and another one could take it, or the host isn't one that
/// the workload may run on any more.
pub(super) fn must_leave(index: &Index<'_>, facts: &WorkloadFacts<'_>) -> bool {
    let Some((id, host)) = facts.host.and_then(|id| Some((id, index.hosts.get(&id)?))) else { return false };
    if host.heartbeat.is_none() {
        return false;
    }
    let (needs, shared) = (Needs::of(facts.object), index.snapshot.config.shared_hosts);
    if !needs.permits(id, host, shared) {
        return true;
    }
    let could_take = |(other, host): (&HostId, &HostFacts<'_>)| *other != id && is_open(host) && needs.permits(*other, host, shared);
    host.is_draining() && index.hosts.iter().any(could_take)
}

/// Whether the host takes new workloads.
fn is_open(host: &HostFacts<'_>) -> bool {
    host.heartbeat.is_some() && !host.is_dead() && !host.is_draining()
}

/// Places workloads one after the other, each knowing of those before.
pub(super) struct Placer<'i, 'a> {
    index: &'i Index<'a>,
    slots: Vec<Slot<'i, 'a>>,
    /// Replicas per owner and slot.
    replicas: HashMap<(&'a str, usize), u32>,
    /// Slots that fit, by what is needed.
    fitting: HashMap<Needs<'a>, Rc<[usize]>>,
}

/// A host that takes workloads.
struct Slot<'i, 'a> {
    id: HostId,
    host: &'i HostFacts<'a>,
    placed: u32,
    capacity: u32,
}

impl<'i, 'a> Placer<'i, 'a> {
    pub(super) fn new(index: &'i Index<'a>) -> Placer<'i, 'a> {
        let default = index.snapshot.config.workloads_per_host;
        let open = index.hosts.iter().filter(|(_, host)| is_open(host));
        let slots: Vec<_> = open.map(|(id, host)| Slot { id: *id, host, placed: 0, capacity: capacity(host, default) }).collect();
        let by_id: HashMap<HostId, usize> = slots.iter().enumerate().map(|(i, slot)| (slot.id, i)).collect();
        let mut placer = Placer { index, slots, replicas: HashMap::new(), fitting: HashMap::new() };
        for workload in index.workloads.iter().filter(|w| !w.is_terminating()) {
            if let Some(&slot) = workload.host.and_then(|id| by_id.get(&id)) {
                placer.count(root(index, workload.object), slot);
            }
        }
        placer
    }

    fn count(&mut self, owner: &'a str, slot: usize) {
        self.slots[slot].placed += 1;
        *self.replicas.entry((owner, slot)).or_default() += 1;
    }

    /// The best host for `facts`, which is counted there. Hosts in `avoid` are taken only when no other is left.
    pub(super) fn place(&mut self, facts: &WorkloadFacts<'a>, avoid: &[HostId]) -> Result<HostId, Unplaceable> {
        let owner = root(self.index, facts.object);
        let fitting = self.fitting(facts.object);
        // A host that still lists the workload has to let it go first, or its old report would be taken for a new one.
        let can_take = |slot: &Slot<'_, '_>| {
            let listed = slot.host.answer.is_some_and(|a| a.reports.contains_key(&facts.id) || a.to.get(&facts.id).is_some());
            slot.placed < slot.capacity && !listed && facts.host != Some(slot.id)
        };
        let rank = |&i: &usize| {
            let slot = &self.slots[i];
            let replicas = self.replicas.get(&(owner, i)).copied().unwrap_or_default();
            (avoid.contains(&slot.id), replicas, std::cmp::Reverse(slot.capacity - slot.placed), slot.placed)
        };
        let best = fitting.iter().copied().filter(|&i| can_take(&self.slots[i])).min_by_key(rank);
        let Some(best) = best else { return Err(self.explain(facts.object, &fitting)) };
        self.count(owner, best);
        Ok(self.slots[best].id)
    }

    fn fitting(&mut self, workload: &'a Workload) -> Rc<[usize]> {
        let (needs, shared) = (Needs::of(workload), self.index.snapshot.config.shared_hosts);
        if let Some(known) = self.fitting.get(&needs) {
            return known.clone();
        }
        let fits = |(_, slot): &(usize, &Slot<'_, '_>)| needs.permits(slot.id, slot.host, shared);
        let found: Rc<[usize]> = self.slots.iter().enumerate().filter(fits).map(|(i, _)| i).collect();
        self.fitting.insert(needs, found.clone());
        found
    }

    /// Why no host was found, in the order in which a person would look.
    fn explain(&self, workload: &Workload, fitting: &[usize]) -> Unplaceable {
        let (needs, config) = (Needs::of(workload), &self.index.snapshot.config);
        let no = |reason, message| Unplaceable { reason, message };
        if needs.crosses_tenants(config.shared_hosts) {
            let (environment, namespace) = (needs.environment.unwrap_or_default(), needs.namespace);
            let message = format!(
                "hosts aren't shared between tenants here: a workload of namespace {namespace} can't run in environment {environment}; \
                 leave spec.environment out or make it {namespace}"
            );
            return no("CrossEnvironmentSchedulingDenied", message);
        }
        if let Some(pin) = needs.pin.filter(|_| fitting.is_empty()) {
            return self.explain_pin(&needs, pin);
        }
        if self.slots.is_empty() {
            return no("NoHosts", "no host is ready to take workloads; it is placed as soon as one reports".to_owned());
        }
        let selected = self.slots.iter().filter(|s| s.host.heartbeat.is_some_and(|h| needs.selects(&h.labels))).count();
        if selected == 0 {
            let labels: Vec<_> = needs.selector.iter().map(|(k, v)| format!("{k}={v}")).collect();
            let message = format!("none of {} hosts has the labels of spec.hostSelector: {}", self.slots.len(), labels.join(", "));
            return no("NoMatchingHost", message);
        }
        if fitting.is_empty() {
            let environment = needs.environment.unwrap_or(needs.namespace);
            return no("NoMatchingHost", format!("none of the {selected} hosts with the right labels is of environment {environment}"));
        }
        if fitting.iter().all(|&i| self.slots[i].placed >= self.slots[i].capacity) {
            return no("InsufficientCapacity", format!("all {} hosts that match are full", fitting.len()));
        }
        no(WAITING, "the one host that matches has yet to let the last attempt go".to_owned())
    }

    fn explain_pin(&self, needs: &Needs<'_>, pin: &str) -> Unplaceable {
        let no = |reason, message| Unplaceable { reason, message };
        let known = pin.parse().ok().and_then(|id: HostId| self.index.hosts.get(&id));
        match known {
            None => no("HostNotFound", format!("spec.hostId names host {pin}, and no such host was heard")),
            Some(host) if !is_open(host) => no("HostNotReady", format!("spec.hostId names host {pin}, which isn't ready")),
            Some(host) if host.heartbeat.is_some_and(|h| needs.selects(&h.labels)) => {
                no("NoMatchingHost", format!("spec.hostId names host {pin}, which isn't of the workload's environment"))
            }
            Some(_) => no("NoMatchingHost", format!("spec.hostId names host {pin}, which doesn't have the labels of spec.hostSelector")),
        }
    }
}

fn capacity(host: &HostFacts<'_>, default: u32) -> u32 {
    let label = host.heartbeat.and_then(|h| h.labels.get(MAX_WORKLOADS_LABEL));
    label.and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// The uid of whom replicas are spread for: the deployment, else the replica set, else the workload itself.
fn root<'a>(index: &Index<'a>, workload: &'a Workload) -> &'a str {
    let Some(owner) = workload.metadata.controller() else { return &workload.metadata.uid };
    let set = index.set_by_uid.get(owner.uid.as_str()).copied();
    set.and_then(|set| set.metadata.controller()).map_or(owner.uid.as_str(), |deployment| deployment.uid.as_str())
}
