//! Host objects: what people and routes see of the hosts that report.
//!
//! A host's figures change with every heartbeat; writing them each time would wear the disk and wake everybody who watches. They
//! are written when something else about the host changes, so a steady host costs no writes.

use std::collections::BTreeSet;

use berth_control::Heartbeat;
use berth_model::condition::ConditionStatus::{False, True};
use berth_model::event::Severity;
use berth_model::id::HostId;
use berth_model::resource::{Host, HostFields, HostStatus, Kind, ObjectKey, ObjectMeta, Resource};

use super::conditions::Draft;
use super::index::{HostFacts, Index};
use super::names;
use super::replica_sets::key;
use super::writes::Writes;

/// Makes, refreshes and removes Host objects.
pub(super) fn plan<'a>(index: &Index<'a>, writes: &mut Writes<'a>) {
    let mut taken = BTreeSet::new();
    for (id, host) in &index.hosts {
        match (host.heartbeat, host.object) {
            (Some(heartbeat), None) if !host.is_dead() => announce(index, *id, heartbeat, &mut taken, writes),
            (heartbeat, Some(object)) => refresh(index, host, heartbeat, object, writes),
            _ => {}
        }
    }
}

/// Makes the object of a host that is new here. It gets its friendly name; if a living host has that, its id is added.
fn announce<'a>(index: &Index<'a>, id: HostId, heartbeat: &Heartbeat, taken: &mut BTreeSet<String>, writes: &mut Writes<'a>) {
    let (namespace, text) = (&index.snapshot.config.namespace, id.to_string());
    let friendly = names::host(&heartbeat.friendly_name, &text);
    let holder = |name: &str| index.snapshot.objects.hosts.get(namespace, name);
    let is_dead = |host: &Host| host.spec.host_id.parse().ok().and_then(|id: HostId| index.hosts.get(&id)).is_none_or(HostFacts::is_dead);
    let unique = format!("{friendly}-{}", &text[..8]);
    let name = match holder(&friendly) {
        _ if taken.contains(&friendly) => unique,
        Some(other) if !is_dead(other) => unique,
        _ => friendly,
    };
    taken.insert(name.clone());
    let key = ObjectKey { kind: Kind::Host, namespace: namespace.clone(), name: name.clone() };
    let event = writes.event(key, Severity::Normal, "Registered", format!("host {id} reports from {}", heartbeat.hostname));
    match holder(&name) {
        Some(other) => {
            let mut changed = (**other).clone();
            (changed.spec, changed.metadata.labels) = (fields(heartbeat), heartbeat.labels.clone());
            writes.update(&other.metadata, Resource::Host(changed), vec![event]);
        }
        None => {
            let metadata = ObjectMeta { name, namespace: namespace.clone(), labels: heartbeat.labels.clone(), ..ObjectMeta::default() };
            writes.create(Resource::Host(Host { metadata, spec: fields(heartbeat), status: HostStatus::default() }), vec![event]);
        }
    }
}

fn refresh<'a>(index: &Index<'a>, host: &HostFacts<'a>, heartbeat: Option<&Heartbeat>, object: &'a Host, writes: &mut Writes<'a>) {
    let (meta, snapshot) = (&object.metadata, index.snapshot);
    if let Some(since) = host.dead_since {
        if snapshot.uptime.saturating_sub(since) >= snapshot.config.forget_hosts_after {
            return writes.delete(meta, key(Kind::Host, meta), Vec::new());
        }
    } else if let Some(heartbeat) = heartbeat
        && (object.spec != fields(heartbeat) || meta.labels != heartbeat.labels)
    {
        let mut changed = object.clone();
        (changed.spec, changed.metadata.labels) = (fields(heartbeat), heartbeat.labels.clone());
        return writes.update(meta, Resource::Host(changed), Vec::new());
    }
    // A host that was known before the operator started, and may yet report.
    if heartbeat.is_none() && !host.is_dead() {
        return;
    }
    status(index, host, heartbeat, object, writes);
}

fn fields(heartbeat: &Heartbeat) -> HostFields {
    HostFields {
        host_id: heartbeat.id.to_string(),
        hostname: heartbeat.hostname.clone(),
        http_port: i32::from(heartbeat.http_port.unwrap_or_default()),
        environment: heartbeat.environment.clone(),
    }
}

fn status<'a>(index: &Index<'a>, host: &HostFacts<'_>, heartbeat: Option<&Heartbeat>, object: &'a Host, writes: &mut Writes<'a>) {
    let (meta, snapshot) = (&object.metadata, index.snapshot);
    let mut draft = Draft::new(&object.status.conditions, meta.generation, snapshot.now);
    let silent = format!("not heard for {} s; its workloads go to other hosts", snapshot.config.lease.as_secs_f32());
    let reports = !host.is_dead();
    draft.set_if("Reporting", reports, ("HeartbeatReceived", ""), ("HeartbeatLost", &silent));
    match (reports, host.is_draining()) {
        (false, _) => draft.set("Ready", False, "HeartbeatLost", &silent),
        (true, true) => draft.set("Ready", False, "Draining", "it takes no new workloads, and those it has go elsewhere"),
        (true, false) => draft.set("Ready", True, "Ready", ""),
    }
    let mut status = HostStatus { conditions: draft.finish().unwrap_or_else(|| object.status.conditions.clone()), ..object.status.clone() };
    if let Some(heartbeat) = heartbeat {
        facts(&mut status, heartbeat);
    }
    if status == object.status {
        return;
    }
    let lost = !reports && object.status.conditions.iter().any(|c| c.kind == "Ready" && c.status == True);
    let events = if lost { vec![writes.event(key(Kind::Host, meta), Severity::Warning, "HostLost", silent)] } else { Vec::new() };
    if let Some((id, heartbeat)) = heartbeat.map(|h| (h.id, h)) {
        figures(&mut status, heartbeat);
        status.last_seen = snapshot.hosts.get(&id).map(|view| seen(index, view.heard)).or(status.last_seen);
    }
    writes.status(meta, Resource::Host(Host { status, ..object.clone() }), events);
}

/// What stays while a host does nothing new.
fn facts(status: &mut HostStatus, heartbeat: &Heartbeat) {
    status.version.clone_from(&heartbeat.version);
    status.os_name.clone_from(&heartbeat.os_name);
    status.os_arch.clone_from(&heartbeat.os_arch);
    status.os_kernel.clone_from(&heartbeat.os_kernel);
    status.system_memory_total = heartbeat.system_memory_total.try_into().unwrap_or(i64::MAX);
    status.component_count = heartbeat.component_count.try_into().unwrap_or(i32::MAX);
    status.workload_count = heartbeat.workload_count.try_into().unwrap_or(i32::MAX);
}

/// What changes with every heartbeat.
fn figures(status: &mut HostStatus, heartbeat: &Heartbeat) {
    status.system_cpu_usage = format!("{:.1}", heartbeat.system_cpu_usage);
    status.system_memory_free = heartbeat.system_memory_free.try_into().unwrap_or(i64::MAX);
}

/// The wall clock when the clock of the operator stood at `heard`.
fn seen(index: &Index<'_>, heard: std::time::Duration) -> jiff::Timestamp {
    let ago = index.snapshot.uptime.saturating_sub(heard);
    index.snapshot.now.checked_sub(ago).unwrap_or(index.snapshot.now)
}
