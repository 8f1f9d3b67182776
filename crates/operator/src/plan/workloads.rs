//! Workloads, one by one: placed, moved, tried again, and told about in their conditions.

use std::time::Duration;

use berth_control::{Report, WorkloadState};
use berth_model::condition::ConditionStatus::{self, False, True, Unknown};
use berth_model::event::Severity;
use berth_model::id::HostId;
use berth_model::resource::{Kind, Resource, Workload, WorkloadStatus};
use jiff::Timestamp;

use super::conditions::Draft;
use super::contents::{self, Refusal};
use super::edits::{self, Edit};
use super::index::{self, Index, Stand, WorkloadFacts, is_ready};
use super::placement::{self, Placer, Unplaceable};
use super::replica_sets::{Today, key};
use super::snapshot::{Failure, Memory};
use super::writes::Writes;
use crate::store::WORKLOAD_FINALIZER;

/// Places, moves and reports on every workload. Returns when the first failed one is to be tried again.
pub(super) fn plan<'a>(index: &Index<'a>, today: &Today<'a>, writes: &mut Writes<'a>, memory: &mut Memory) -> Option<Duration> {
    let mut placer = Placer::new(index);
    let mut next: Option<Duration> = None;
    for facts in &index.workloads {
        if facts.is_terminating() || facts.is_orphan {
            if facts.is_terminating() {
                finish(index, facts, writes);
            }
            remember(index, facts, facts.host, memory);
            continue;
        }
        // Also of those that are written already: what runs is wanted on.
        if let Some(content) = contents::of(index, today, memory, facts) {
            memory.contents.insert(facts.id.clone(), content);
        }
        let edit = memory.contents.get(&facts.id).and_then(|content| edits::next(index, facts, content));
        if let Some(edit) = edit {
            next = earlier(next, edit.due());
            memory.edits.insert(facts.id.clone(), edit);
        }
        let mut failure = index.snapshot.memory.failures.get(&facts.id).cloned().filter(|f| !is_over(index, facts, f));
        let host = match writes.touches(&facts.object.metadata) {
            true => facts.host,
            false => step(index, facts, Known::of(today, memory, facts), &mut failure, &mut placer, writes),
        };
        remember(index, facts, host, memory);
        if let Some(failure) = failure {
            if failure.retry_at > index.snapshot.uptime {
                next = earlier(next, Some(failure.retry_at));
            }
            memory.failures.insert(facts.id.clone(), failure);
        }
    }
    next
}

/// Keeps a placement that the workload's status doesn't say yet, where that may be acted on before it is durable: hosts that end with
/// this process leave nothing running that the store doesn't know of.
fn remember(index: &Index<'_>, facts: &WorkloadFacts<'_>, host: Option<HostId>, memory: &mut Memory) {
    if !index.snapshot.config.hosts_share_process {
        return;
    }
    if let Some(host) = host.filter(|host| index::status_host(facts.object) != Some(*host)) {
        memory.placed.insert(facts.id.clone(), host);
    }
}

/// What is known of a workload's content.
#[derive(Clone, Copy, Default)]
struct Known<'m> {
    /// Why it can't be started, though it may run.
    refused: Option<&'m Refusal>,
    /// Its last edit, if that failed.
    edit: Option<&'m Edit>,
}

impl<'m> Known<'m> {
    fn of(today: &'m Today<'_>, memory: &'m Memory, facts: &WorkloadFacts<'_>) -> Known<'m> {
        let own = memory.contents.get(&facts.id).and_then(|content| content.resolved.as_ref().err());
        let set = || today.get(facts.object.metadata.controller()?.uid.as_str())?.missing.as_ref();
        Known { refused: own.or_else(set), edit: memory.edits.get(&facts.id) }
    }
}

fn earlier(a: Option<Duration>, b: Option<Duration>) -> Option<Duration> {
    a.into_iter().chain(b).min()
}

/// A workload that has served for as long as the longest back-off has left its failures behind.
fn is_over(index: &Index<'_>, facts: &WorkloadFacts<'_>, failure: &Failure) -> bool {
    facts.ready && index.snapshot.uptime >= failure.retry_at + index.snapshot.config.retry_max
}

/// What is to become of one workload.
enum Next<'f> {
    /// It can't run: its spec or a reference is at fault.
    Refused(&'f Refusal),
    /// It is to run on that host, from now on.
    Placed(HostId),
    /// No host can take it.
    Unplaced(Unplaceable),
    /// It failed, and waits for its next try.
    Failed(&'f Failure),
    /// It stays where it is.
    Stays,
}

/// The next step of one workload. Returns the host that it is placed on then.
fn step<'a>(
    index: &Index<'a>,
    facts: &WorkloadFacts<'a>,
    known: Known<'_>,
    failure: &mut Option<Failure>,
    placer: &mut Placer<'_, 'a>,
    writes: &mut Writes<'a>,
) -> Option<HostId> {
    let meta = &facts.object.metadata;
    if !meta.finalizers.iter().any(|f| f == WORKLOAD_FINALIZER) {
        let mut changed = facts.object.clone();
        changed.metadata.finalizers.push(WORKLOAD_FINALIZER.to_owned());
        writes.update(meta, Resource::Workload(changed), Vec::new());
        return facts.host;
    }
    let before = failure.clone();
    let next = decide(index, facts, known.refused, failure, placer);
    let host = match &next {
        Next::Placed(host) => Some(*host),
        Next::Stays => facts.host,
        Next::Refused(_) | Next::Unplaced(_) | Next::Failed(_) => None,
    };
    write(index, facts, known, (&next, host, before.as_ref()), writes);
    host
}

/// Decides, and records a failure that is new.
fn decide<'a, 'f>(
    index: &Index<'a>,
    facts: &WorkloadFacts<'a>,
    refused: Option<&'f Refusal>,
    failure: &'f mut Option<Failure>,
    placer: &mut Placer<'_, 'a>,
) -> Next<'f> {
    match facts.stand {
        Stand::Reported(report) if report.state == WorkloadState::Error => {
            let before = failure.take();
            return Next::Failed(failure.insert(failed(index, facts, report, before)));
        }
        Stand::Unplaced | Stand::Lost => {}
        // A replica of a set is replaced before it leaves; a workload that stands alone moves.
        _ if index.set_of(facts.object).is_none() && placement::must_leave(index, facts) => {}
        _ => return Next::Stays,
    }
    if let Some(refusal) = refused {
        return Next::Refused(refusal);
    }
    if let Some(failure) = &*failure
        && failure.retry_at > index.snapshot.uptime
    {
        return Next::Failed(failure);
    }
    let avoid = failure.as_ref().map_or(&[][..], |f| &f.hosts);
    match placer.place(facts, avoid) {
        Ok(host) => Next::Placed(host),
        Err(unplaceable) => Next::Unplaced(unplaceable),
    }
}

/// One more failure: the wait doubles (L05).
fn failed(index: &Index<'_>, facts: &WorkloadFacts<'_>, report: &Report, before: Option<Failure>) -> Failure {
    let (snapshot, config) = (index.snapshot, &index.snapshot.config);
    let (count, mut hosts) = before.map_or((1, Vec::new()), |f| (f.count.saturating_add(1), f.hosts));
    hosts.extend(facts.host.filter(|host| !hosts.contains(host)));
    let wait = edits::back_off(config, count);
    let reason = if report.reason.is_empty() { "StartFailed" } else { &report.reason };
    Failure {
        count,
        retry_at: snapshot.uptime + wait,
        retry_time: snapshot.now.checked_add(wait).unwrap_or(snapshot.now),
        hosts,
        reason: reason.to_owned(),
        message: report.message.clone(),
    }
}

/// Writes the status that follows, if it differs. While a workload is tried again it goes on saying why the last try failed.
fn write<'a>(
    index: &Index<'a>,
    facts: &WorkloadFacts<'a>,
    known: Known<'_>,
    (next, host, failure): (&Next<'_>, Option<HostId>, Option<&Failure>),
    writes: &mut Writes<'a>,
) {
    let (object, meta) = (facts.object, &facts.object.metadata);
    let written = index::status_host(object);
    let mut draft = Draft::new(&object.status.conditions, meta.generation, index.snapshot.now);
    match known.refused {
        Some(refusal) => draft.set("Config", False, refusal.reason, &refusal.message),
        None => draft.set("Config", True, "Resolved", ""),
    }
    match next {
        Next::Refused(refusal) => {
            draft.set("HostSelection", Unknown, "Pending", "");
            unstarted(&mut draft, False, refusal.reason, &refusal.message);
        }
        Next::Unplaced(why) => {
            draft.set("HostSelection", False, why.reason, &why.message);
            unstarted(&mut draft, False, why.reason, &why.message);
            if why.passes() {
                still_failing(failure, &mut draft);
            }
        }
        Next::Failed(failure) => unstarted(&mut draft, False, &failure.reason, &failure_message(failure)),
        Next::Placed(id) => selected(index, *id, failure, &mut draft),
        Next::Stays => {
            // Its status was refused when it was placed.
            if let Some(id) = host.filter(|id| written != Some(*id)) {
                selected(index, id, failure, &mut draft);
            }
            told(facts, failure, known.edit, &mut draft);
        }
    }
    let conditions = draft.finish();
    let host_text = host.map(|h| h.to_string());
    if conditions.is_none() && object.status.host_id == host_text {
        return;
    }
    let environment = match (host == written, host) {
        (true, _) => object.status.environment.clone(),
        (false, Some(id)) => index.hosts.get(&id).and_then(|h| h.heartbeat).map(|h| h.environment.clone()).filter(|e| !e.is_empty()),
        (false, None) => None,
    };
    let status = WorkloadStatus {
        environment,
        workload_id: host.map(|_| meta.uid.clone()),
        host_id: host_text,
        conditions: conditions.unwrap_or_else(|| object.status.conditions.clone()),
    };
    let events = event(index, facts, next, writes);
    writes.status(meta, Resource::Workload(Workload { status, ..object.clone() }), events);
}

/// What a failed workload says: why, and when it is tried again. Fixed per failure, so that waiting writes nothing.
fn failure_message(failure: &Failure) -> String {
    let at = failure.retry_time.round(jiff::Unit::Second).unwrap_or(failure.retry_time);
    let separator = if failure.message.is_empty() { "" } else { "; " };
    format!("{}{separator}try {} follows at {at}", failure.message, failure.count + 1)
}

/// What the event of a failure says: the same for each try, so that events merge instead of pushing out others.
fn cause(failure: &Failure) -> String {
    if failure.message.is_empty() { "its host didn't say why".to_owned() } else { failure.message.clone() }
}

/// Conditions of a workload that no host has accepted.
fn unstarted(draft: &mut Draft<'_>, placement: ConditionStatus, reason: &str, message: &str) {
    draft.set("Placement", placement, reason, message);
    draft.set("Sync", Unknown, "Pending", "");
    draft.set("Ready", False, reason, message);
}

/// Conditions of a workload that has just got a host.
fn selected(index: &Index<'_>, host: HostId, failure: Option<&Failure>, draft: &mut Draft<'_>) {
    draft.set("HostSelection", True, "Selected", index.hosts.get(&host).map_or("", |h| h.name()));
    unstarted(draft, Unknown, "Scheduled", "");
    still_failing(failure, draft);
}

fn still_failing(failure: Option<&Failure>, draft: &mut Draft<'_>) {
    if let Some(failure) = failure {
        draft.set("Ready", False, &failure.reason, &failure_message(failure));
    }
}

/// Conditions of a workload that its host was told to run.
fn told(facts: &WorkloadFacts<'_>, failure: Option<&Failure>, edit: Option<&Edit>, draft: &mut Draft<'_>) {
    let report = match facts.stand {
        Stand::Reported(report) => report,
        Stand::Missing => {
            draft.set("Placement", False, "Missing", "the host was told to run it and doesn't list it; it is told again");
            draft.set("Sync", False, "Missing", "");
            return draft.set("Ready", False, "Missing", "the host was told to run it and doesn't list it; it is told again");
        }
        // Nothing is known that isn't said already.
        Stand::Unconfirmed | Stand::Unplaced | Stand::Lost => return,
    };
    draft.set("Placement", True, "Accepted", "");
    let running = report.state == WorkloadState::Running;
    let reason = if report.reason.is_empty() { report.state.as_str() } else { &report.reason };
    draft.set_if("Sync", running && report.reason.is_empty(), ("Running", ""), (reason, &report.message));
    if index::keeps_previous(report) {
        match edit {
            Some(edit) => draft.set("Ready", False, &edit.reason, &edit.message()),
            None => draft.set("Ready", False, reason, &format!("the previous version still serves: {}", report.message)),
        }
    } else if is_ready(report) {
        draft.set("Ready", True, "Ready", "");
    } else if report.conflicts.is_empty() {
        let reason = if running { "NotServing" } else { reason };
        draft.set("Ready", False, reason, &report.message);
        if report.state == WorkloadState::Starting {
            still_failing(failure, draft);
        }
    } else {
        draft.set("Ready", False, "DomainConflict", &conflicts(report));
    }
}

/// Each domain, who has it, and the way out.
fn conflicts(report: &Report) -> String {
    let taken: Vec<_> = report.conflicts.iter().map(|c| format!("domain {} is served by {}", c.domain, c.owner)).collect();
    format!("{}; give one of them another domain, or delete it", taken.join(", "))
}

fn event<'a>(index: &Index<'a>, facts: &WorkloadFacts<'a>, next: &Next<'_>, writes: &Writes<'a>) -> Vec<berth_model::event::Event> {
    let was = |kind: &str, reason: &str| facts.object.status.conditions.iter().any(|c| c.kind == kind && c.reason == reason);
    let tell = |severity, reason: &str, message| vec![writes.event(key(Kind::Workload, &facts.object.metadata), severity, reason, message)];
    match next {
        Next::Placed(id) => tell(Severity::Normal, "Scheduled", format!("on host {}", index.hosts.get(id).map_or("", |h| h.name()))),
        Next::Failed(failure) if facts.host.is_some() => tell(Severity::Warning, &failure.reason, cause(failure)),
        Next::Unplaced(why) if !why.passes() && !was("HostSelection", why.reason) => {
            tell(Severity::Warning, why.reason, why.message.clone())
        }
        Next::Refused(refusal) if !was("Config", refusal.reason) => tell(Severity::Warning, refusal.reason, refusal.message.clone()),
        Next::Stays => match facts.stand {
            Stand::Reported(report) if is_ready(report) && !was("Ready", "Ready") => {
                tell(Severity::Normal, "Started", format!("ready after {} ms", report.took_ms))
            }
            Stand::Reported(report) if !report.conflicts.is_empty() && !was("Ready", "DomainConflict") => {
                tell(Severity::Warning, "DomainConflict", conflicts(report))
            }
            _ => Vec::new(),
        },
        _ => Vec::new(),
    }
}

/// Lets a deleted workload go once its host has stopped it, is dead, or has kept silent about it for too long (L15).
fn finish<'a>(index: &Index<'a>, facts: &WorkloadFacts<'a>, writes: &mut Writes<'a>) {
    let meta = &facts.object.metadata;
    if !meta.finalizers.iter().any(|f| f == WORKLOAD_FINALIZER) {
        return;
    }
    let deleted = meta.deletion_timestamp.unwrap_or(Timestamp::MIN);
    let waited = Duration::try_from(index.snapshot.now.duration_since(deleted)).unwrap_or_default();
    if !has_stopped(index, facts) && waited < index.snapshot.config.stop_patience {
        return;
    }
    let mut changed = facts.object.clone();
    changed.metadata.finalizers.retain(|f| f != WORKLOAD_FINALIZER);
    let event = writes.event(key(Kind::Workload, meta), Severity::Normal, "Stopped", "no host runs it any more".to_owned());
    writes.update(meta, Resource::Workload(changed), vec![event]);
}

/// Whether no living host has the workload, as far as its last answer tells. That answer has to be to a set that says to stop it:
/// every set since its deletion does, and none before, such as one from before it was placed. It need not be the latest set, for
/// that may change faster than the host answers.
fn has_stopped(index: &Index<'_>, facts: &WorkloadFacts<'_>) -> bool {
    let Some(host) = facts.host.and_then(|id| index.hosts.get(&id)) else { return true };
    if host.is_dead() {
        return true;
    }
    host.answer.is_some_and(|answer| answer.to.stops(&facts.id) && !answer.reports.contains_key(&facts.id))
}
