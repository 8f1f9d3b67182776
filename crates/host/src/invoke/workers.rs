//! Calls of WASI 0.3 handlers, and instances of them that serve several requests at once.
//!
//! A worker is a task that owns one instance and takes requests while its bounds allow. An instance that trapped, timed out or had
//! a call cancelled takes no more: those in it may finish, then it goes.

use std::collections::HashMap;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio::sync::mpsc;
use wasmtime::component::Accessor;
use wasmtime_wasi_http::p3::{self, bindings::Service};
use wasmtime_wasi_http::{Error, WasiBody, WasiHttpView};

use super::body::{GuestBody, Hold};
use super::failure::Failure;
use super::fate::Fate;
use super::fresh::report;
use super::{Entry, Handler, Head, Job};
use crate::admission::Permit;
use crate::component::Component;
use crate::guest::{self, Guest};
use crate::reuse::Bounds;
use crate::turn;

/// A guest that computes is cut this long after the first deadline in its instance, so that a call which only waits is cut alone, by
/// its own timer, and doesn't take its neighbours along.
const SLACK: Duration = Duration::from_millis(100);

type Sent = Pin<Box<dyn Future<Output = Result<(), Error>> + Send>>;

/// Calls a 0.3 handler and answers with what it returns; its body, and what it does afterwards, go on in the store's event loop.
pub(crate) async fn call(
    accessor: &Accessor<Guest>,
    service: &Service,
    request: http::Request<WasiBody>,
    head: &Head,
) -> wasmtime::Result<()> {
    let (request, transmitted) = accessor.with(|mut store| {
        let view = store.get().http();
        let (request, transmitted) = p3::Request::from_http(view.hooks, request);
        let transmitted: Sent = Box::pin(transmitted);
        wasmtime::error::Ok((view.table.push(request)?, transmitted))
    })?;
    let answer = match service.wasi_http_handler().call_handle(accessor, request).await? {
        Ok(response) => accessor.with(|mut store| {
            let response = store.get().table.delete(response)?;
            wasmtime::error::Ok(Ok(response.into_http(&mut store, transmitted)?))
        })?,
        Err(code) => Err(Failure::Code(format!("{code:?}"))),
    };
    head.answer(answer);
    Ok(())
}

/// Instances of one component that serve several requests at once.
pub(crate) struct Workers {
    bounds: Bounds,
    list: Arc<Mutex<Vec<Arc<Worker>>>>,
}

/// The outside of one worker.
struct Worker {
    jobs: mpsc::Sender<WorkerJob>,
    /// Requests it took.
    taken: AtomicU32,
    /// Requests in it, until their bodies are read.
    running: Arc<AtomicU32>,
    /// Takes no more.
    closed: Arc<AtomicBool>,
    fate: Fate,
}

struct WorkerJob {
    job: Job,
    head: Head,
    permit: Arc<Mutex<Option<Permit>>>,
}

impl Workers {
    pub(crate) fn new(bounds: Bounds) -> Workers {
        Workers { bounds, list: Arc::default() }
    }

    /// Runs the job in an instance that has room, or in a new one.
    pub(crate) async fn invoke(&self, entry: &Arc<Entry>, job: Job) -> Result<http::Response<GuestBody>, Failure> {
        let deadline = job.deadline;
        let worker = self.reserve(entry);
        let lease = Lease::new(&worker, deadline);
        let (head, answer) = Head::new();
        let (job, permit) = split(job);
        let sent = worker.jobs.try_send(WorkerJob { job, head, permit: permit.clone() });
        if sent.is_err() {
            return Err(Failure::Gone);
        }
        let (parts, body) = answer.await.unwrap_or(Err(Failure::Gone))?.into_parts();
        let hold = Hold { guard: None, lease: Some(lease.holding(permit)) };
        let body = GuestBody::gather(body, worker.fate.clone(), hold).await;
        Ok(http::Response::from_parts(parts, body))
    }

    fn reserve(&self, entry: &Arc<Entry>) -> Arc<Worker> {
        let mut list = self.list.lock().expect("no panic while held");
        if let Some(place) = list.iter().position(|w| w.reserve(&self.bounds)) {
            entry.component.metrics.reused.inc();
            let worker = list[place].clone();
            if !self.bounds.allows(worker.taken.load(Ordering::Relaxed)) {
                list.swap_remove(place);
            }
            return worker;
        }
        let (jobs, queue) = mpsc::channel(self.bounds.max_concurrency as usize);
        let worker = Arc::new(Worker {
            jobs,
            taken: AtomicU32::new(1),
            running: Arc::new(AtomicU32::new(1)),
            closed: Arc::default(),
            fate: Fate::default(),
        });
        if self.bounds.allows(1) {
            list.push(worker.clone());
        }
        entry.component.metrics.cold_starts.inc();
        let run = Run {
            list: Arc::downgrade(&self.list),
            keep: self.bounds.keep,
            closed: worker.closed.clone(),
            fate: worker.fate.clone(),
            me: Arc::downgrade(&worker),
        };
        // tidy: allow(spawn): owned by the list and its callers: when these let go, so does the sender, and the worker ends
        tokio::spawn(turn::shared(run.run(queue, entry.clone())));
        worker
    }
}

/// Takes the permit out of the job: it is held until the body is read.
fn split(job: Job) -> (Job, Arc<Mutex<Option<Permit>>>) {
    let Job { request, id, deadline, permit } = job;
    let shared = Arc::new(Mutex::new(permit));
    (Job { request, id, deadline, permit: None }, shared)
}

impl Worker {
    fn reserve(&self, bounds: &Bounds) -> bool {
        let full = self.running.load(Ordering::Relaxed) >= bounds.max_concurrency;
        if full || self.closed.load(Ordering::Relaxed) || !bounds.allows(self.taken.load(Ordering::Relaxed)) {
            return false;
        }
        // Only ever called under the list's lock, so that two can't take the last place.
        self.taken.fetch_add(1, Ordering::Relaxed);
        self.running.fetch_add(1, Ordering::Relaxed);
        true
    }
}

/// A request's place in a worker, from its reservation to the end of its body.
pub(crate) struct Lease {
    running: Arc<AtomicU32>,
    closed: Arc<AtomicBool>,
    deadline: Instant,
    timer: Option<Pin<Box<tokio::time::Sleep>>>,
    permit: Option<Arc<Mutex<Option<Permit>>>>,
    finished: bool,
}

impl Lease {
    fn new(worker: &Worker, deadline: Instant) -> Lease {
        Lease { running: worker.running.clone(), closed: worker.closed.clone(), deadline, timer: None, permit: None, finished: false }
    }

    fn holding(mut self, permit: Arc<Mutex<Option<Permit>>>) -> Lease {
        self.permit = Some(permit);
        self
    }

    /// The body was read to its end.
    pub(crate) fn finished(mut self) {
        self.finished = true;
    }

    /// Ready when the body took too long.
    pub(crate) fn poll_late(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let deadline = self.deadline;
        self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline.into()))).as_mut().poll(cx)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if !self.finished {
            // Cancelled, failed or late: the instance may hold half a call, so it takes no more.
            self.closed.store(true, Ordering::Relaxed);
        }
        self.running.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The inside of one worker.
struct Run {
    list: Weak<Mutex<Vec<Arc<Worker>>>>,
    keep: usize,
    closed: Arc<AtomicBool>,
    fate: Fate,
    me: Weak<Worker>,
}

/// Answers that are still owed, so that a trap can answer them all.
type Owed = Arc<Mutex<HashMap<u64, Head>>>;

impl Run {
    async fn run(self, mut queue: mpsc::Receiver<WorkerJob>, entry: Arc<Entry>) {
        let component = entry.component.clone();
        let owed = Owed::default();
        let result = self.serve(&mut queue, entry, &owed).await;
        self.closed.store(true, Ordering::Relaxed);
        self.leave();
        match result {
            Ok(()) => self.fate.done(),
            Err((error, hit)) => {
                self.fate.dead();
                let failure = Failure::of(&error, hit, component.limits.request_timeout);
                report(&component, &failure, None);
                for (_, head) in owed.lock().expect("no panic while held").drain() {
                    head.answer(Err(failure.clone()));
                }
            }
        }
        // Whoever reserved a place in the meantime is told, not left waiting.
        queue.close();
        while let Ok(job) = queue.try_recv() {
            job.head.answer(Err(Failure::Gone));
        }
    }

    async fn serve(
        &self,
        queue: &mut mpsc::Receiver<WorkerJob>,
        entry: Arc<Entry>,
        owed: &Owed,
    ) -> Result<(), (wasmtime::Error, Option<crate::limiter::Hit>)> {
        let far = Instant::now() + entry.component.limits.request_timeout;
        let mut store = guest::store(&entry.engine, &entry.component, None, far + SLACK);
        let handler = match super::timer::before(far, entry.pre.instantiate(&mut store)).await {
            Ok(Ok(handler)) => handler,
            Ok(Err(error)) => return Err(self.refuse_first(queue, owed, error, store.data().limiter.hit())),
            Err(passed) => return Err(self.refuse_first(queue, owed, passed.into(), None)),
        };
        // The entry would keep this worker's list, and so its own sender, alive.
        let component = entry.component.clone();
        drop(entry);
        let Handler::P3(service) = handler else { return Ok(()) };
        let result = store
            .run_concurrent(async |accessor| {
                self.accept(accessor, &service, &component, queue, owed).await?;
                poll_fn(|cx| accessor.poll_no_interesting_tasks(cx)).await;
                wasmtime::error::Ok(())
            })
            .await
            .and_then(|inner| inner);
        result.map_err(|error| (error, store.data().limiter.hit()))
    }

    /// The job that this worker was made for waits in the queue: its answer is owed too.
    fn refuse_first(
        &self,
        queue: &mut mpsc::Receiver<WorkerJob>,
        owed: &Owed,
        error: wasmtime::Error,
        hit: Option<crate::limiter::Hit>,
    ) -> (wasmtime::Error, Option<crate::limiter::Hit>) {
        let mut owed = owed.lock().expect("no panic while held");
        let mut next = u64::MAX;
        while let Ok(job) = queue.try_recv() {
            owed.insert(next, job.head);
            next -= 1;
        }
        (error, hit)
    }

    /// Takes requests until there are no more to come, and runs them side by side.
    async fn accept(
        &self,
        accessor: &Accessor<Guest>,
        service: &Service,
        component: &Arc<Component>,
        queue: &mut mpsc::Receiver<WorkerJob>,
        owed: &Owed,
    ) -> wasmtime::Result<()> {
        let deadlines = Deadlines::default();
        let mut calls = FuturesUnordered::new();
        loop {
            if calls.is_empty() {
                self.leave_if_done();
            }
            tokio::select! {
                job = queue.recv() => match job {
                    Some(job) => calls.push(self.one(accessor, service, component, job, owed, &deadlines)),
                    None if calls.is_empty() => return Ok(()),
                    None => { calls.next().await.transpose()?; }
                },
                Some(result) = calls.next(), if !calls.is_empty() => result?,
            }
        }
    }

    /// Leaves the list when it takes no more, or there are more workers than are kept. Jobs that were promised still come.
    fn leave_if_done(&self) {
        let (Some(list), Some(me)) = (self.list.upgrade(), self.me.upgrade()) else { return };
        let mut list = list.lock().expect("no panic while held");
        if self.closed.load(Ordering::Relaxed) || list.len() > self.keep {
            list.retain(|w| !Arc::ptr_eq(w, &me));
        }
    }

    fn leave(&self) {
        if let (Some(list), Some(me)) = (self.list.upgrade(), self.me.upgrade()) {
            list.lock().expect("no panic while held").retain(|w| !Arc::ptr_eq(w, &me));
        }
    }

    /// One request, until its answer.
    async fn one(
        &self,
        accessor: &Accessor<Guest>,
        service: &Service,
        component: &Arc<Component>,
        job: WorkerJob,
        owed: &Owed,
        deadlines: &Deadlines,
    ) -> wasmtime::Result<()> {
        let WorkerJob { job, head, permit } = job;
        let _permit = permit;
        let key = NEXT.fetch_add(1, Ordering::Relaxed);
        owed.lock().expect("no panic while held").insert(key, head.clone());
        set_deadline(accessor, deadlines.add(key, job.deadline));
        let mut call = pin!(super::timer::before(job.deadline, call(accessor, service, job.request, &head)));
        let ended = poll_fn(|cx| match call.as_mut().poll(cx) {
            Poll::Ready(result) => Poll::Ready(Some(result)),
            Poll::Pending => head.poll_abandoned(cx).map(|()| None),
        })
        .await;
        owed.lock().expect("no panic while held").remove(&key);
        set_deadline(accessor, deadlines.remove(key));
        match ended {
            Some(Ok(result)) => result,
            Some(Err(_)) => {
                self.closed.store(true, Ordering::Relaxed);
                let failure = Failure::Deadline(component.limits.request_timeout);
                report(component, &failure, Some(&job.id));
                head.answer(Err(failure));
                Ok(())
            }
            None => {
                self.closed.store(true, Ordering::Relaxed);
                component.metrics.ended(crate::metrics::Ended::Cancelled);
                Ok(())
            }
        }
    }
}

static NEXT: AtomicU64 = AtomicU64::new(0);

/// Deadlines of the calls in one instance.
#[derive(Default)]
struct Deadlines(Mutex<HashMap<u64, Instant>>);

impl Deadlines {
    fn add(&self, key: u64, deadline: Instant) -> Option<Instant> {
        let mut all = self.0.lock().expect("no panic while held");
        all.insert(key, deadline);
        all.values().min().copied()
    }

    fn remove(&self, key: u64) -> Option<Instant> {
        let mut all = self.0.lock().expect("no panic while held");
        all.remove(&key);
        all.values().min().copied()
    }
}

/// What the guest does between calls is bounded like a call.
fn set_deadline(accessor: &Accessor<Guest>, first: Option<Instant>) {
    accessor.with(|mut store| {
        let guest = store.get();
        guest.deadline = first.unwrap_or_else(|| Instant::now() + guest.request_timeout()) + SLACK;
    });
}
