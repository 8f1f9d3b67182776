//! The workloads of a host and their states (those of the control protocol), driven towards the wanted set (D7).
//!
//! One table holds every workload. Routes are built from it whole: at once when a workload stops, so that nothing leads to it while it
//! drains, and by one task for all that became ready meanwhile; a workload is shown as running only when its routes are there.
//! Preparing and draining run in tasks of the control runtime, and a task that comes back finds out whether its workload is still
//! the one it left.

mod item;
mod leave;
mod services;

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use berth_model::event::{Event, Severity};
use berth_model::id::WorkloadId;
use berth_model::resource::Kind;
use berth_model::workload::Workload;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::item::Item;
use self::services::Down;
use crate::logs::Stream;
use crate::prepare::{Prepared, Preparer};
use crate::routes::{DEFAULT_DOMAIN, Routes};
use crate::service::Service;
use crate::service::threads::Threads;
use crate::status::{State, Status, WantedWorkload};

/// Longest preparation; the operator tries again. A pull may take 10 minutes, and both that and the compile may wait for others.
const PREPARE_TIMEOUT: Duration = Duration::from_secs(1800);

/// Drives workloads.
pub(crate) struct Supervisor {
    pub(crate) preparer: Preparer,
    pub(crate) routes: Arc<ArcSwap<Routes>>,
    items: Mutex<HashMap<WorkloadId, Item>>,
    /// Numbers items and preparations: no two are ever taken for each other, whatever their ids.
    serials: AtomicU64,
    /// Wakes the task that publishes routes.
    dirty: Notify,
    changed: watch::Sender<u64>,
    tasks: TaskTracker,
    /// The host ends: nothing starts any more.
    stop: CancellationToken,
    /// The host ends, and requests have had their time.
    late: CancellationToken,
    /// Services have had theirs too.
    hurry: CancellationToken,
    runtime: tokio::runtime::Handle,
    /// Where services run.
    threads: Arc<Threads>,
}

impl Supervisor {
    pub(crate) fn new(
        preparer: Preparer,
        routes: Arc<ArcSwap<Routes>>,
        runtime: tokio::runtime::Handle,
        threads: Threads,
    ) -> Arc<Supervisor> {
        let supervisor = Arc::new(Supervisor {
            preparer,
            routes,
            items: Mutex::default(),
            serials: AtomicU64::new(0),
            dirty: Notify::new(),
            changed: watch::channel(0).0,
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
            late: CancellationToken::new(),
            hurry: CancellationToken::new(),
            runtime,
            threads: Arc::new(threads),
        });
        supervisor.tasks.spawn_on(publish_when_dirty(supervisor.clone()), &supervisor.runtime);
        supervisor
    }

    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Makes `wanted` the whole set: starts what is missing, replaces what differs, stops what is not in it.
    pub(crate) fn set_wanted(self: &Arc<Self>, wanted: Vec<WantedWorkload>) {
        let mut items = self.lock();
        let ids: HashSet<&WorkloadId> = wanted.iter().map(|w| &w.id).collect();
        let unwanted: Vec<WorkloadId> = items.keys().filter(|id| !ids.contains(id)).cloned().collect();
        self.change(&mut items, wanted, &unwanted);
    }

    /// Starts what is new in `wanted`, replaces what differs, stops `unwanted`, and leaves all else.
    pub(crate) fn change_wanted(self: &Arc<Self>, wanted: Vec<WantedWorkload>, unwanted: &[WorkloadId]) {
        self.change(&mut self.lock(), wanted, unwanted);
    }

    fn change(self: &Arc<Self>, items: &mut HashMap<WorkloadId, Item>, wanted: Vec<WantedWorkload>, unwanted: &[WorkloadId]) {
        if self.stop.is_cancelled() {
            return;
        }
        for id in unwanted {
            if let Some(item) = items.get_mut(id) {
                item.next = None;
            }
        }
        let leaving = unwanted.iter().filter_map(|id| self.begin_stop(items, id)).collect();
        self.leave(items, leaving);
        for wanted in wanted {
            self.want(items, wanted);
        }
    }

    fn want(self: &Arc<Self>, items: &mut HashMap<WorkloadId, Item>, wanted: WantedWorkload) {
        match items.get_mut(&wanted.id) {
            None => drop(self.begin_start(items, wanted)),
            Some(item) if item.state == State::Stopping => item.next = Some(wanted),
            Some(item) if item.wanted.workload != wanted.workload => {
                item.edit(self.serial(), wanted);
                self.spawn_prepare(item);
                self.touch();
            }
            Some(item) => {
                if item.reown(wanted) {
                    self.dirty.notify_one();
                }
            }
        }
    }

    /// Starts one workload and waits until it runs or has failed. A failed one is forgotten: its id is free.
    pub(crate) async fn start(self: &Arc<Self>, wanted: WantedWorkload) -> Status {
        let id = wanted.id.clone();
        let (namespace, name) = (wanted.workload.namespace.clone(), wanted.workload.name.clone());
        let stopped = || Status::failed(&id, &namespace, &name, "Stopped", "the workload was stopped while it started");
        let mut changes = self.changes();
        let born = {
            let mut items = self.lock();
            if self.stop.is_cancelled() {
                return Status::failed(&id, &namespace, &name, "HostStopping", "the host is stopping and starts no workload");
            }
            if let Some(item) = items.get(&id).filter(|item| item.state != State::Error) {
                let message = format!("Workload ID [{id}] already exists");
                return Status { state: State::Error, reason: "AlreadyExists".into(), message, ..item.status() };
            }
            self.begin_start(&mut items, wanted)
        };
        loop {
            // The state of its start; a service's fate afterwards is another matter.
            let seen = self.lock().get(&id).filter(|item| item.born == born).map(|item| (item.state, item.status()));
            match seen {
                Some((State::Starting, _)) => {}
                Some((state, status)) => {
                    if state == State::Error {
                        self.forget(&mut self.lock(), &id, born);
                    }
                    return status;
                }
                None => return stopped(),
            }
            let changed = tokio::select! {
                changed = changes.changed() => changed.is_ok(),
                () = self.stop.cancelled() => false,
            };
            if !changed {
                return stopped();
            }
        }
    }

    /// Stops one workload: out of the routes at once, gone when its requests are done. None: there is no such workload.
    pub(crate) fn stop(self: &Arc<Self>, id: &WorkloadId) -> Option<Status> {
        let mut items = self.lock();
        items.get_mut(id)?.next = None;
        let leaving = self.begin_stop(&mut items, id);
        self.leave(&mut items, leaving.into_iter().collect());
        items.get(id).map(Item::status)
    }

    pub(crate) fn status(&self, id: &WorkloadId) -> Option<Status> {
        self.lock().get(id).map(Item::status)
    }

    pub(crate) fn statuses(&self) -> Vec<Status> {
        let mut all: Vec<Status> = self.lock().values().map(Item::status).collect();
        all.sort_by(|a, b| (&a.namespace, &a.name).cmp(&(&b.namespace, &b.name)));
        all
    }

    /// Takes the lock of all workloads, as long as the result lives.
    #[cfg(test)]
    pub(crate) fn hold(&self) -> impl Sized + '_ {
        self.lock()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<WorkloadId, Item>> {
        self.items.lock().expect("no panic while held")
    }

    fn serial(&self) -> u64 {
        self.serials.fetch_add(1, Ordering::Relaxed)
    }

    /// Starts a workload in place of one that has its id and serves no more. Returns what tells the new one from it.
    fn begin_start(self: &Arc<Self>, items: &mut HashMap<WorkloadId, Item>, wanted: WantedWorkload) -> u64 {
        let (namespace, name) = (&wanted.workload.namespace, &wanted.workload.name);
        // Opened before the old one's are let go, so that one name keeps its log and its figures.
        let metrics = self.preparer.shared.metrics.workload(namespace, name);
        let log = self.preparer.logs.open(namespace, name);
        let item = Item::new(self.serial(), wanted, metrics, log);
        let born = item.born;
        self.spawn_prepare(&item);
        if let Some(old) = items.insert(item.id().clone(), item) {
            self.release(&old);
        }
        self.touch();
        born
    }

    /// Prepares the wanted form, beside the one that serves.
    fn spawn_prepare(self: &Arc<Self>, item: &Item) {
        let (me, id, attempt) = (self.clone(), item.id().clone(), item.attempt);
        let (wanted, log, metrics) = (item.wanted.clone(), item.log.clone(), item.metrics.clone());
        let overtaken = item.overtaken();
        self.tasks.spawn_on(
            async move {
                let start = Instant::now();
                let prepare = tokio::time::timeout(PREPARE_TIMEOUT, me.preparer.prepare(&wanted.workload, &wanted.owner, &log, &metrics));
                let result = tokio::select! {
                    result = prepare => result,
                    () = me.stop.cancelled() => return,
                };
                let took = start.elapsed();
                match result {
                    Ok(Ok(mut prepared)) => {
                        let service = match prepared.service.take() {
                            Some(program) => match me.bring_up((&id, attempt), program, &overtaken).await {
                                Ok(service) => Some(service),
                                Err(Down::Overtaken) => return,
                                Err(Down::Failed(reason, message)) => {
                                    return me.service_failed(&id, attempt, (reason, message), start.elapsed());
                                }
                            },
                            None => None,
                        };
                        me.prepared(&id, attempt, (prepared, service), start.elapsed());
                    }
                    Ok(Err(error)) => me.failed(&id, attempt, (error.reason(), error.to_string()), took),
                    Err(_) => {
                        let message = format!("was not ready in {} s", PREPARE_TIMEOUT.as_secs());
                        me.failed(&id, attempt, ("StartTimeout", message), took);
                    }
                }
            },
            &self.runtime,
        );
    }

    fn prepared(self: &Arc<Self>, id: &WorkloadId, attempt: u64, (prepared, service): (Prepared, Option<Service>), took: Duration) {
        let mut items = self.lock();
        match current(&mut items, id, attempt) {
            Some(item) => {
                if let Some(overtaken) = item.prepared(prepared, service, took) {
                    self.drain(overtaken);
                }
                self.dirty.notify_one();
            }
            None => {
                if let Some(service) = service {
                    self.dismiss(prepared, service);
                }
            }
        }
    }

    fn failed(&self, id: &WorkloadId, attempt: u64, (reason, message): (&str, String), took: Duration) {
        let workload = {
            let mut items = self.lock();
            let Some(item) = current(&mut items, id, attempt) else { return };
            item.failed(reason, &message, took);
            item.log.write("", None, Stream::Host, &message);
            item.wanted.workload.clone()
        };
        self.touch();
        self.event(&workload, Severity::Warning, reason, message);
    }

    /// The same of a service, which told log and events itself.
    fn service_failed(&self, id: &WorkloadId, attempt: u64, (reason, message): (&str, String), took: Duration) {
        if let Some(item) = current(&mut self.lock(), id, attempt) {
            item.failed(reason, &message, took);
        }
        self.touch();
    }

    fn forget(&self, items: &mut HashMap<WorkloadId, Item>, id: &WorkloadId, born: u64) {
        if items.get(id).is_some_and(|item| item.born == born)
            && let Some(item) = items.remove(id)
        {
            self.release(&item);
            self.touch();
        }
    }

    fn release(&self, item: &Item) {
        self.preparer.shared.metrics.forget(&item.metrics);
        self.preparer.logs.release(&item.log);
    }

    /// Swaps in the routes of what runs, and tells who claims what another holds. Forms that were replaced begin to drain.
    fn publish(self: &Arc<Self>, items: &mut HashMap<WorkloadId, Item>) {
        let mut replaced = Vec::new();
        for item in items.values_mut().filter(|item| item.incoming.is_some()) {
            replaced.extend(item.promote());
            let workload = &item.wanted.workload;
            tracing::info!(namespace = workload.namespace, workload = workload.name, took_ms = item.took.as_millis(), "workload ready");
        }
        let (claiming, claimants): (Vec<_>, Vec<_>) = items.values_mut().filter_map(|i| i.claimant().map(|c| (i, c))).unzip();
        let (routes, lost) = Routes::build(&claimants);
        self.routes.store(Arc::new(routes));
        let mut conflicts = HashMap::<_, Vec<(String, String)>>::new();
        for conflict in lost {
            let domain = conflict.domain.unwrap_or_else(|| DEFAULT_DOMAIN.to_owned());
            conflicts.entry(Arc::as_ptr(&conflict.target)).or_default().push((domain, conflict.winner));
        }
        for (item, claimant) in claiming.into_iter().zip(&claimants) {
            item.conflicts = conflicts.remove(&Arc::as_ptr(&claimant.workload)).unwrap_or_default();
        }
        replaced.into_iter().for_each(|form| self.drain(form));
        self.touch();
    }

    fn touch(&self) {
        self.changed.send_modify(|n| *n += 1);
    }

    fn event(&self, workload: &Workload, severity: Severity, reason: &str, message: String) {
        self.preparer.shared.events.record(Event {
            time: jiff::Timestamp::now(),
            severity,
            reason: reason.to_owned(),
            kind: Kind::Workload,
            namespace: workload.namespace.clone(),
            name: workload.name.clone(),
            message,
            count: 1,
        });
    }
}

/// The workload that a preparation was for, unless it was overtaken: by an edit, a stop, or another workload of its id.
fn current<'a>(items: &'a mut HashMap<WorkloadId, Item>, id: &WorkloadId, attempt: u64) -> Option<&'a mut Item> {
    items.get_mut(id).filter(|item| item.attempt == attempt)
}

/// After a table of routes was built, the next isn't built for this many times as long as that took: else ten thousand starts
/// would build ten thousand tables of ten thousand routes.
const PUBLISH_PAUSE: u32 = 3;

/// Publishes routes once for all workloads that became ready since the last time: a start of many builds few tables.
async fn publish_when_dirty(supervisor: Arc<Supervisor>) {
    loop {
        tokio::select! {
            () = supervisor.dirty.notified() => {}
            () = supervisor.stop.cancelled() => return,
        }
        let begin = Instant::now();
        supervisor.publish(&mut supervisor.lock());
        let pause = begin.elapsed() * PUBLISH_PAUSE;
        // A small table waits for nothing.
        if pause > Duration::from_millis(2) {
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = supervisor.stop.cancelled() => return,
            }
        }
    }
}
