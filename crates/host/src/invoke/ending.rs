//! How a guest's request ends: what became of its store, whether it may be used again, and who is told.

use std::sync::Arc;
use std::time::Duration;

use wasmtime_wasi_http::p2::body::HostOutgoingBody;

use super::failure::Failure;
use super::fate::Fate;
use super::head::Head;
use super::timer::Interrupted;
use crate::admission::Permit;
use crate::component::{Component, Unit};
use crate::guest::DeadlinePassed;
use crate::guest_store::GuestStore;
use crate::limiter::Hit;
use crate::logs::Stream;
use crate::request_id::RequestId;

/// The workload ended while its guest worked.
#[derive(Debug, thiserror::Error)]
#[error("the workload ended")]
pub(crate) struct WorkloadEnded;

/// What ends a guest from outside is the same error as what ends it from inside.
pub(crate) fn flatten<T>(result: Result<wasmtime::Result<T>, Interrupted>) -> wasmtime::Result<T> {
    result.unwrap_or_else(|interrupted| match interrupted {
        Interrupted::Late => Err(DeadlinePassed.into()),
        Interrupted::Cut => Err(WorkloadEnded.into()),
    })
}

/// A store with its fate: whoever drops it first says how it ended. The store holds the slot of its request.
pub(crate) struct Owned {
    store: Option<GuestStore>,
    unit: Arc<Unit>,
    fate: Fate,
    /// The time that the request has in all.
    time: Duration,
}

impl Owned {
    pub(crate) fn new(mut store: GuestStore, unit: Arc<Unit>, fate: Fate, time: Duration, permit: Option<Permit>) -> Owned {
        store.hold(permit);
        store.data_mut().fated(&fate);
        Owned { store: Some(store), unit, fate, time }
    }

    pub(crate) fn store(&mut self) -> &mut GuestStore {
        self.store.as_mut().expect("taken only at the end")
    }

    /// Ends the request: answers if the guest did not, and tells what went wrong. Gives the store back when all went well.
    pub(crate) fn end(mut self, result: wasmtime::Result<()>, head: &Head, id: &RequestId) -> Option<GuestStore> {
        let mut store = self.store.take().expect("taken only here");
        let hit = store.data().limiter.hit();
        let failure =
            conclude(&result, hit, head.answered(), self.time).or_else(|| is_unfinished(&mut store).then_some(Failure::Unfinished));
        match failure {
            None => {
                self.fate.done();
                Some(store)
            }
            Some(failure) => {
                self.fate.dead();
                let failure = told(&self.unit, result.err().as_ref(), failure, Some(id));
                head.answer(Err(failure));
                None
            }
        }
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        // Still there: the client went away and the task was ended. Its bodies must not look complete.
        if self.store.is_some() {
            self.fate.dead();
        }
    }
}

/// Tells a failure of a unit by the member in which it arose; how it is answered.
pub(crate) fn told(unit: &Unit, error: Option<&wasmtime::Error>, failure: Failure, id: Option<&RequestId>) -> Failure {
    match error.and_then(|error| unit.blamed(error)) {
        None => {
            report(&unit.root, &failure, id);
            failure
        }
        Some(member) => {
            report(member, &failure, id);
            Failure::In(member.name.clone(), Box::new(failure))
        }
    }
}

/// Whether a call failed, and how. A guest may exit with status 0 once it has answered.
fn conclude(result: &wasmtime::Result<()>, hit: Option<Hit>, answered: bool, timeout: Duration) -> Option<Failure> {
    match result {
        Ok(()) => (!answered).then_some(Failure::NoAnswer),
        Err(error) => Some(Failure::of(error, hit, timeout)).filter(|f| !(answered && *f == Failure::Exit(0))),
    }
}

/// Whether the guest left a body of 0.2 without finishing or dropping it: what was sent of it is not all there is.
fn is_unfinished(store: &mut GuestStore) -> bool {
    store.data_mut().table.iter_mut().any(|entry| entry.is::<HostOutgoingBody>())
}

/// Tells a failure where people look: the workload's events, and its log with the backtrace (L43). Past what a workload may have
/// told, it is only counted.
pub(crate) fn report(component: &Component, failure: &Failure, id: Option<&RequestId>) {
    if let Failure::NoInstance(_) = failure {
        component.host.metrics.no_instance.inc();
    }
    if let Some(reason) = failure.event() {
        let cause = failure.detail().and_then(cause_line).map(|line| format!(": {line}")).unwrap_or_default();
        if !component.warn(reason, format!("component {} {failure}{cause}", component.name)) {
            return;
        }
    }
    let request = id.map(ToString::to_string);
    component.log.write(&component.name, request.clone(), Stream::Host, &format!("component {} {failure}", component.name));
    for line in failure.detail().into_iter().flat_map(str::lines).filter(|line| !line.is_empty()) {
        component.log.write(&component.name, request.clone(), Stream::Host, line);
    }
}

/// The line of an error chain that names the trap.
fn cause_line(detail: &str) -> Option<&str> {
    detail.lines().map(str::trim).rfind(|line| line.contains("wasm trap") || line.contains("wasm `unreachable`"))
}
