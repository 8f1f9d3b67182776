//! A fresh instance per request: made for it, gone with it (D3).

use std::sync::Arc;
use std::time::Instant;

use wasmtime::Store;
use wasmtime_wasi_http::WasiHttpView;
use wasmtime_wasi_http::p2;

use super::failure::Failure;
use super::fate::Fate;
use super::timer::before;
use super::{Entry, Handler, Head, Job};
use crate::component::Component;
use crate::guest::{self, Guest};
use crate::limiter::Hit;
use crate::logs::Stream;
use crate::metrics::Ended;
use crate::request_id::RequestId;

/// Runs the job in an instance of its own.
pub(crate) async fn run(entry: Arc<Entry>, job: Job, head: Head, fate: Fate) {
    let Job { request, id, deadline, permit } = job;
    entry.component.metrics.cold_starts.inc();
    let store = guest::store(&entry.engine, &entry.component, Some(id.clone()), deadline);
    let mut owned = Owned::new(store, entry.component.clone(), fate);
    let call = async {
        let store = owned.store();
        let handler = entry.pre.instantiate(store).await?;
        call(store, &handler, request, &head).await
    };
    let result = before(deadline, call).await;
    owned.end(flatten(result), &head, &id);
    drop(permit);
}

/// A deadline outside of the guest is the same error as one inside.
pub(crate) fn flatten<T>(result: Result<wasmtime::Result<T>, guest::DeadlinePassed>) -> wasmtime::Result<T> {
    result.unwrap_or_else(|passed| Err(passed.into()))
}

/// Runs one request to its end, with what the guest does after its answer.
pub(crate) async fn call(
    store: &mut Store<Guest>,
    handler: &Handler,
    request: http::Request<wasmtime_wasi_http::WasiBody>,
    head: &Head,
) -> wasmtime::Result<()> {
    match handler {
        Handler::P2(proxy) => call_p2(store, proxy, request, head).await,
        #[cfg(feature = "wasi-p3")]
        Handler::P3(service) => {
            store
                .run_concurrent(async |accessor| {
                    super::workers::call(accessor, service, request, head).await?;
                    std::future::poll_fn(|cx| accessor.poll_no_interesting_tasks(cx)).await;
                    Ok(())
                })
                .await?
        }
    }
}

async fn call_p2(
    store: &mut Store<Guest>,
    proxy: &p2::bindings::Proxy,
    request: http::Request<wasmtime_wasi_http::WasiBody>,
    head: &Head,
) -> wasmtime::Result<()> {
    use p2::bindings::http::types::Scheme;
    let scheme = if request.uri().scheme() == Some(&http::uri::Scheme::HTTPS) { Scheme::Https } else { Scheme::Http };
    let mut http = store.data_mut().http();
    let request = http.new_incoming_request(scheme, request)?;
    let answer = head.clone();
    let out = http.new_response_outparam_from_callback(move |response| {
        answer.answer(response.map_err(|code| Failure::Code(format!("{code:?}"))));
    })?;
    proxy.wasi_http_incoming_handler().call_handle(store, request, out).await
}

/// A store with its fate: whoever drops it first says how it ended.
pub(crate) struct Owned {
    store: Option<Store<Guest>>,
    component: Arc<Component>,
    fate: Fate,
    since: Instant,
}

impl Owned {
    pub(crate) fn new(store: Store<Guest>, component: Arc<Component>, fate: Fate) -> Owned {
        Owned { store: Some(store), component, fate, since: Instant::now() }
    }

    pub(crate) fn store(&mut self) -> &mut Store<Guest> {
        self.store.as_mut().expect("taken only at the end")
    }

    /// Ends the request: answers if the guest did not, and tells what went wrong. Gives the store back when all went well.
    pub(crate) fn end(mut self, result: wasmtime::Result<()>, head: &Head, id: &RequestId) -> Option<Store<Guest>> {
        let mut store = self.store.take().expect("taken only here");
        let hit = store.data_mut().limiter.hit();
        match conclude(&result, hit, head.answered(), self.component.limits.request_timeout) {
            None => {
                self.fate.done();
                Some(store)
            }
            Some(failure) => {
                self.fate.dead();
                report(&self.component, &failure, Some(id));
                head.answer(Err(failure));
                None
            }
        }
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        if self.store.is_some() {
            // The client went away: the task was aborted.
            self.fate.dead();
            self.component.metrics.ended(Ended::Cancelled);
            tracing::debug!(component = %self.component.name, elapsed = ?self.since.elapsed(), "request cancelled by its client");
        }
    }
}

/// Whether a call failed, and how. A guest may exit with status 0 once it has answered.
fn conclude(result: &wasmtime::Result<()>, hit: Option<Hit>, answered: bool, timeout: std::time::Duration) -> Option<Failure> {
    match result {
        Ok(()) => (!answered).then_some(Failure::NoAnswer),
        Err(error) => Some(Failure::of(error, hit, timeout)).filter(|f| !(answered && *f == Failure::Exit(0))),
    }
}

/// Tells a failure where people look: the workload's log, with the backtrace (L43), and its events.
pub(crate) fn report(component: &Component, failure: &Failure, id: Option<&RequestId>) {
    let request = id.map(ToString::to_string);
    component.log.write(&component.name, request.clone(), Stream::Host, &format!("component {} {failure}", component.name));
    for line in failure.detail().into_iter().flat_map(str::lines).filter(|line| !line.is_empty()) {
        component.log.write(&component.name, request.clone(), Stream::Host, line);
    }
    if let Some(reason) = failure.event() {
        let cause = failure.detail().and_then(cause_line).map(|line| format!(": {line}")).unwrap_or_default();
        component.warn(reason, format!("component {} {failure}{cause}", component.name));
    }
}

/// The line of an error chain that names the cause: the last that is no frame of the backtrace.
fn cause_line(detail: &str) -> Option<&str> {
    detail.lines().map(str::trim).rfind(|line| line.contains("wasm trap") || line.contains("wasm `unreachable`"))
}
