//! Instances of WASI 0.3 that serve several requests at once.
//!
//! A worker is a task that owns one instance and takes requests while its bounds allow. An instance that trapped, timed out or had
//! a call cancelled is doomed: it takes no more, those in it may finish, then its store is dropped, whatever still runs in it.
//!
//! Some calls of the host hold the whole store until they return, its event loop included: those that WASI 0.2 blocks in, and those of the
//! workload's service that aren't `async`. So deadlines are watched from outside the store.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::{Arc, Mutex, Weak};
use std::thread::ThreadId;
use std::time::Instant;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use wasmtime::component::Accessor;
use wasmtime_wasi_http::p3::bindings::Service;

use super::body::{GuestBody, Hold};
use super::call::{self, Served};
use super::ending::{WorkloadEnded, report, told};
use super::failure::Failure;
use super::fate::{Dying, Fate};
use super::lease::{Awaited, Lease, Leases, SLACK};
use super::timer::before;
use super::{Entry, Handler, Head, Job};
use crate::bridge::chain::Call;
use crate::component::{Component, Unit};
use crate::guest::{self, Guest, Unwanted};
use crate::limiter::Hit;
use crate::reuse::Bounds;
use crate::turn;

/// Instances of one component that serve several requests at once.
pub(crate) struct Workers {
    bounds: Bounds,
    list: Arc<List>,
}

/// Those that may be given requests, and for a while those that were doomed.
type List = Mutex<Vec<Arc<Worker>>>;

/// The outside of one worker.
struct Worker {
    /// The thread that it runs on.
    thread: ThreadId,
    jobs: mpsc::Sender<WorkerJob>,
    leases: Arc<Leases>,
    fate: Fate,
}

/// A job in a worker's queue. One that is never started comes back.
struct WorkerJob {
    job: Job,
    key: u64,
    head: Head,
    back: oneshot::Sender<Job>,
    /// The request as what is called on its behalf sees it.
    call: Arc<Call>,
    /// Cancelled when nobody waits for its answer any more.
    gone: CancellationToken,
}

impl Workers {
    pub(crate) fn new(bounds: Bounds) -> Workers {
        Workers { bounds, list: Arc::default() }
    }

    /// Runs the job in an instance that has room, or in a new one. A job that an instance could not begin goes to another,
    /// unless its time is over.
    pub(crate) async fn invoke(&self, entry: &Arc<Entry>, mut job: Job) -> Result<http::Response<GuestBody>, Failure> {
        loop {
            let (worker, mut lease) = self.reserve(entry, job.deadline);
            lease.hold(job.permit.take());
            let gone = lease.gone();
            let call = Call::new(job.id.clone(), job.deadline, worker.fate.clone(), job.chain.clone());
            let call = Arc::new(call.until(gone.clone()));
            let (head, answer) = Head::new();
            lease.awaits(Awaited { head: head.downgrade(), id: job.id.clone(), time: job.time });
            let (back, returned) = oneshot::channel();
            if let Err(unsent) = worker.jobs.try_send(WorkerJob { job, key: lease.key(), head, back, call, gone }) {
                job = again(&entry.component, unsent.into_inner().job, lease)?;
                continue;
            }
            let answer = tokio::select! {
                answer = answer => answer.unwrap_or(Err(Failure::Gone)),
                Ok(unstarted) = returned => {
                    job = again(&entry.component, unstarted, lease)?;
                    continue;
                }
            };
            let (parts, body) = match answer {
                Ok(response) => response.into_parts(),
                Err(failure) => {
                    // An error that the guest returned leaves its instance as good as any other answer.
                    if matches!(failure, Failure::Code(_) | Failure::Informational(_)) {
                        lease.finished();
                    }
                    return Err(failure);
                }
            };
            let body = GuestBody::gather(body, worker.fate.clone(), Hold::lease(lease)).await;
            return Ok(http::Response::from_parts(parts, body));
        }
    }

    /// A place in an instance of this thread, or of another once as many are kept as may be; else in a new one. Handing a request to
    /// another thread and its answer back costs more than most requests.
    fn reserve(&self, entry: &Arc<Entry>, deadline: Instant) -> (Arc<Worker>, Lease) {
        let mut list = self.list.lock().expect("no panic while held");
        let here = std::thread::current().id();
        let find = |own: bool| {
            let candidates = list.iter().enumerate().filter(|(_, worker)| (worker.thread == here) == own);
            candidates.into_iter().find_map(|(place, worker)| Some((place, worker.leases.reserve(&self.bounds, deadline)?)))
        };
        let found = find(true).or_else(|| if alive(&list) >= self.bounds.keep { find(false) } else { None });
        if let Some((place, lease)) = found {
            entry.component.metrics.reused.inc();
            let worker = list[place].clone();
            if !worker.leases.has_calls_left(&self.bounds) {
                list.swap_remove(place);
            }
            return (worker, lease);
        }
        let (jobs, queue) = mpsc::channel(self.bounds.max_concurrency as usize);
        let (leases, lease) = Leases::first(deadline);
        let worker = Arc::new(Worker { thread: here, jobs, leases: leases.clone(), fate: Fate::default() });
        if leases.has_calls_left(&self.bounds) {
            list.push(worker.clone());
        }
        entry.component.metrics.cold_starts.inc();
        let run = Run {
            unit: entry.unit.clone(),
            component: entry.component.clone(),
            list: Arc::downgrade(&self.list),
            bounds: self.bounds,
            leases,
            fate: worker.fate.clone(),
            me: Arc::downgrade(&worker),
        };
        // tidy: allow(spawn): owned by the list and its callers: when these let go, so does the sender, and the worker ends
        tokio::spawn(turn::shared(entry.component.clone(), run.run(queue, entry.clone())));
        (worker, lease)
    }
}

/// How many of the instances may go on: one that is doomed, or dead, stays in the list until its task comes to leave, and takes nobody's
/// place.
fn alive(list: &[Arc<Worker>]) -> usize {
    list.iter().filter(|worker| !worker.leases.is_doomed() && !worker.fate.is_dead()).count()
}

/// A job that came back unstarted, with its slot again, if there is still time for it.
fn again(component: &Component, mut job: Job, lease: Lease) -> Result<Job, Failure> {
    match lease.unused() {
        Ok(permit) => job.permit = permit,
        Err(_) => {
            let failure = Failure::Deadline(job.time);
            report(component, &failure, Some(&job.id));
            return Err(failure);
        }
    }
    Ok(job)
}

/// The inside of one worker.
struct Run {
    component: Arc<Component>,
    unit: Arc<Unit>,
    list: Weak<List>,
    bounds: Bounds,
    leases: Arc<Leases>,
    fate: Fate,
    me: Weak<Worker>,
}

/// How a worker's instance ends when nothing went wrong.
enum End {
    /// All its calls are done; what they left running may finish.
    Idle,
    /// It is doomed: what runs in it is of no use to anybody.
    Discard,
}

/// Answers that are still owed, with the request each is for.
type Owed = Mutex<Vec<(u64, Head)>>;

impl Run {
    async fn run(self, mut queue: mpsc::Receiver<WorkerJob>, entry: Arc<Entry>) {
        let owed = Owed::default();
        let result = tokio::select! {
            biased;
            result = self.serve(&mut queue, entry, &owed) => result,
            // Something holds the store, and nobody waits for it.
            () = self.watch() => Ok(()),
        };
        self.leases.doom();
        self.leave();
        if let Err((error, hit)) = result {
            let failure = Failure::of(&error, hit, self.component.limits.request_timeout);
            let failure = told(&self.unit, Some(&error), failure, None);
            for (_, head) in owed.lock().expect("no panic while held").drain(..) {
                head.answer(Err(failure.clone()));
            }
        }
        // What was never begun goes to another worker.
        queue.close();
        while let Ok(WorkerJob { job, back, .. }) = queue.try_recv() {
            let _ = back.send(job);
        }
    }

    /// Ends requests at their deadlines. Resolves when the instance is doomed and nobody is in it any more.
    async fn watch(&self) {
        loop {
            let stirred = self.leases.stirred();
            if self.leases.is_deserted() {
                return;
            }
            tokio::select! {
                () = stirred => {}
                // A reader that takes its time holds the instance no longer than its request may last.
                () = self.leases.late() => self.leases.expire().iter().for_each(|awaited| self.late(awaited)),
            }
        }
    }

    fn late(&self, Awaited { head, id, time }: &Awaited) {
        if let Some(head) = head.open() {
            let failure = Failure::Deadline(*time);
            report(&self.component, &failure, Some(id));
            head.answer(Err(failure));
        }
    }

    async fn serve(
        &self,
        queue: &mut mpsc::Receiver<WorkerJob>,
        entry: Arc<Entry>,
        owed: &Owed,
    ) -> Result<(), (wasmtime::Error, Option<Hit>)> {
        let ready_by = Instant::now() + self.component.limits.request_timeout;
        let code = entry.code.load_full();
        let mut store = guest::store(&code.engine, &entry.unit, None, ready_by + SLACK);
        store.data_mut().fated(&self.fate);
        store.data_mut().wanted_by(self.leases.clone());
        // Declared after the store, so dropped before it.
        let dying = Dying(&self.fate);
        let cut = entry.cut.clone();
        let instantiated = {
            let instantiate = pin!(async {
                turn::first(&self.component.pace).await;
                code.pre.instantiate(&mut store).await
            });
            before(ready_by, &cut, instantiate).await
        };
        let handler = match super::ending::flatten(instantiated) {
            Ok(handler) => handler,
            Err(error) => {
                self.owe_all(queue, owed);
                return Err((error, store.data().limiter.hit()));
            }
        };
        // The entry would keep the list, and so this worker's own sender, alive.
        drop(entry);
        let Handler::P3(service) = handler else { return Ok(()) };
        let serving = store.run_concurrent(async |accessor| {
            if let End::Idle = self.accept(accessor, &service, queue, owed).await? {
                let idle_by = Instant::now() + self.component.limits.request_timeout;
                let _ = before(idle_by, &cut, pin!(poll_fn(|cx| accessor.poll_no_interesting_tasks(cx)))).await;
            }
            wasmtime::error::Ok(())
        });
        let result = tokio::select! {
            result = serving => result.and_then(|inner| inner),
            () = cut.cancelled() => Err(WorkloadEnded.into()),
        };
        match result {
            Ok(()) => {
                self.fate.done();
                drop(dying);
                Ok(())
            }
            // Its clients left while it computed, which isn't its fault.
            Err(error) if error.is::<Unwanted>() => Ok(()),
            Err(error) => Err((error, store.data().limiter.hit())),
        }
    }

    /// An instance that can't be made can't be made for those who wait for it either: they are answered, not sent on.
    fn owe_all(&self, queue: &mut mpsc::Receiver<WorkerJob>, owed: &Owed) {
        let mut owed = owed.lock().expect("no panic while held");
        while let Ok(job) = queue.try_recv() {
            owed.push((job.key, job.head));
        }
    }

    /// Takes requests until there are no more to come, and runs them side by side.
    async fn accept(
        &self,
        accessor: &Accessor<Guest>,
        service: &Service,
        queue: &mut mpsc::Receiver<WorkerJob>,
        owed: &Owed,
    ) -> wasmtime::Result<End> {
        let mut calls = FuturesUnordered::new();
        let mut more = true;
        loop {
            let stirred = self.leases.stirred();
            accessor.with(|mut store| store.get().keep_time());
            if self.leases.is_doomed() || (calls.is_empty() && self.is_surplus()) {
                self.leave();
            }
            if calls.is_empty() && self.leases.is_doomed() && self.leases.is_empty() {
                return Ok(End::Discard);
            }
            if calls.is_empty() && !more && self.leases.is_empty() {
                return Ok(End::Idle);
            }
            tokio::select! {
                job = queue.recv(), if more => match job {
                    Some(job) => calls.push(self.one(accessor, service, job, owed)),
                    None => more = false,
                },
                Some(result) = calls.next(), if !calls.is_empty() => result?,
                () = stirred => {}
            }
        }
    }

    /// Whether there are more workers than are kept.
    fn is_surplus(&self) -> bool {
        self.list.upgrade().is_some_and(|list| {
            let list = list.lock().expect("no panic while held");
            list.len() > self.bounds.keep && alive(&list) > self.bounds.keep
        })
    }

    fn leave(&self) {
        if let (Some(list), Some(me)) = (self.list.upgrade(), self.me.upgrade()) {
            list.lock().expect("no panic while held").retain(|w| !Arc::ptr_eq(w, &me));
        }
    }

    /// One request, until its answer is given or nobody waits for it.
    async fn one(&self, accessor: &Accessor<Guest>, service: &Service, job: WorkerJob, owed: &Owed) -> wasmtime::Result<()> {
        let WorkerJob { job, key, head, back, call, gone } = job;
        drop(back);
        // Given up before its turn came.
        if gone.is_cancelled() {
            return Ok(());
        }
        owed.lock().expect("no panic while held").push((key, head.clone()));
        if self.bounds.max_concurrency == 1 {
            accessor.with(|mut store| store.get().set_request(Some(job.id.clone())));
        }
        let served = Served { request: job.request, wires: job.wires, call: Some(call) };
        tokio::select! {
            biased;
            // The trap is everybody's: it is told with the answers that are owed.
            result = call::run_p3(accessor, service, served, &head) => result?,
            () = gone.cancelled() => self.leases.doom(),
        }
        owed.lock().expect("no panic while held").retain(|(other, _)| *other != key);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instance_that_is_doomed_or_dead_takes_nobodys_place() {
        let workers: Vec<_> = (0..2)
            .map(|_| {
                let (leases, lease) = Leases::first(Instant::now());
                let worker = Worker { thread: std::thread::current().id(), jobs: mpsc::channel(1).0, leases, fate: Fate::default() };
                (Arc::new(worker), lease)
            })
            .collect();
        let (list, leases): (Vec<_>, Vec<_>) = workers.into_iter().unzip();
        assert_eq!(alive(&list), 2);
        let [given_up, finished] = <[Lease; 2]>::try_from(leases).ok().unwrap();
        drop(given_up);
        finished.finished();
        assert_eq!(alive(&list), 1);
        list[1].fate.dead();
        assert_eq!(alive(&list), 0);
    }
}
