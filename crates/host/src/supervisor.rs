//! The workloads of a host and their states (those of the control protocol), driven towards the wanted set (D7).
//!
//! One table holds every workload; whoever changes it publishes new routes before anybody else can see the change. Preparing and
//! draining run in tasks of the control runtime, and a task that comes back finds out whether its workload is still wanted.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use berth_model::event::{Event, Severity};
use berth_model::id::WorkloadId;
use berth_model::resource::Kind;
use berth_model::workload::Workload;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::logs::Stream;
use crate::metrics::WorkloadMetrics;
use crate::prepare::{PrepareError, Prepared, Preparer};
use crate::routes::{Claimant, DEFAULT_DOMAIN, Routes};
use crate::status::{State, Status, WantedWorkload};

/// Longest preparation: a slow registry and a large component; the operator tries again.
const PREPARE_TIMEOUT: Duration = Duration::from_secs(300);

/// Drives workloads.
pub(crate) struct Supervisor {
    pub(crate) preparer: Preparer,
    pub(crate) routes: Arc<ArcSwap<Routes>>,
    items: Mutex<HashMap<WorkloadId, Item>>,
    changed: watch::Sender<u64>,
    tasks: TaskTracker,
    stop: CancellationToken,
    runtime: tokio::runtime::Handle,
}

/// One workload.
struct Item {
    wanted: WantedWorkload,
    state: State,
    reason: String,
    message: String,
    took: Duration,
    prepared: Option<Arc<Prepared>>,
    conflicts: Vec<(String, String)>,
    metrics: Arc<WorkloadMetrics>,
    /// Counts preparations, so that one that was overtaken is dropped.
    attempt: u64,
}

impl Supervisor {
    pub(crate) fn new(preparer: Preparer, routes: Arc<ArcSwap<Routes>>, runtime: tokio::runtime::Handle) -> Arc<Supervisor> {
        Arc::new(Supervisor {
            preparer,
            routes,
            items: Mutex::default(),
            changed: watch::channel(0).0,
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
            runtime,
        })
    }

    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Makes `wanted` the whole set: starts what is missing, replaces what differs, stops what is not in it.
    pub(crate) fn set_wanted(self: &Arc<Self>, wanted: Vec<WantedWorkload>) {
        if self.stop.is_cancelled() {
            return;
        }
        let mut items = self.lock();
        let ids: std::collections::HashSet<_> = wanted.iter().map(|w| w.id.clone()).collect();
        let unwanted: Vec<_> =
            items.iter().filter(|(id, item)| !ids.contains(id) && item.state != State::Stopping).map(|(id, _)| id.clone()).collect();
        for id in unwanted {
            self.begin_stop(&mut items, &id);
        }
        for wanted in wanted {
            match items.get_mut(&wanted.id) {
                None => self.begin_start(&mut items, wanted),
                Some(item) if item.state == State::Stopping => {}
                Some(item) if item.wanted.workload != wanted.workload => self.begin_replace(item, wanted),
                Some(item) => {
                    item.wanted.owner = wanted.owner;
                    item.wanted.created = wanted.created;
                }
            }
        }
        self.publish(&mut items);
    }

    /// Starts one workload and waits until it runs or has failed. A failed one is forgotten: its id is free.
    pub(crate) async fn start(self: &Arc<Self>, wanted: WantedWorkload) -> Status {
        let id = wanted.id.clone();
        let mut changes = self.changes();
        {
            let mut items = self.lock();
            if let Some(item) = items.get(&id) {
                let mut status = item.status();
                status.state = State::Error;
                status.reason = "AlreadyExists".into();
                status.message = format!("Workload ID [{id}] already exists");
                return status;
            }
            self.begin_start(&mut items, wanted);
        }
        loop {
            let status = self.status(&id);
            match status {
                Some(status) if status.state == State::Starting => {}
                Some(status) => {
                    if status.state == State::Error {
                        self.forget(&mut self.lock(), &id);
                    }
                    return status;
                }
                None => return gone(id),
            }
            if changes.changed().await.is_err() {
                return gone(id);
            }
        }
    }

    /// Stops one workload: out of the routes at once, gone when its requests are done. None: there is no such workload.
    pub(crate) fn stop(self: &Arc<Self>, id: &WorkloadId) -> Option<Status> {
        let mut items = self.lock();
        if items.get(id)?.state != State::Stopping {
            self.begin_stop(&mut items, id);
            self.publish(&mut items);
        }
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

    /// Stops all workloads and waits for their tasks, for `grace` at most.
    pub(crate) async fn shutdown(self: &Arc<Self>, grace: Duration) {
        self.stop.cancel();
        {
            let mut items = self.lock();
            let ids: Vec<_> = items.iter().filter(|(_, i)| i.state != State::Stopping).map(|(id, _)| id.clone()).collect();
            ids.iter().for_each(|id| self.begin_stop(&mut items, id));
            self.publish(&mut items);
        }
        self.tasks.close();
        let _ = tokio::time::timeout(grace, self.tasks.wait()).await;
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<WorkloadId, Item>> {
        self.items.lock().expect("no panic while held")
    }

    fn begin_start(self: &Arc<Self>, items: &mut HashMap<WorkloadId, Item>, wanted: WantedWorkload) {
        let metrics = self.preparer.shared.metrics.workload(&wanted.workload.namespace, &wanted.workload.name);
        let item = Item {
            wanted: wanted.clone(),
            state: State::Starting,
            reason: String::new(),
            message: String::new(),
            took: Duration::ZERO,
            prepared: None,
            conflicts: Vec::new(),
            metrics,
            attempt: 1,
        };
        self.spawn_prepare(wanted.id.clone(), &item);
        items.insert(wanted.id, item);
        self.touch();
    }

    /// Prepares the new form beside the old one, which serves until then.
    fn begin_replace(self: &Arc<Self>, item: &mut Item, wanted: WantedWorkload) {
        item.wanted = wanted;
        item.attempt += 1;
        if item.prepared.is_none() {
            item.state = State::Starting;
        }
        self.spawn_prepare(item.wanted.id.clone(), item);
        self.touch();
    }

    fn spawn_prepare(self: &Arc<Self>, id: WorkloadId, item: &Item) {
        let (me, workload, metrics, attempt) = (self.clone(), item.wanted.workload.clone(), item.metrics.clone(), item.attempt);
        self.tasks.spawn_on(
            async move {
                let start = Instant::now();
                let log = me.preparer.logs.open(&workload.namespace, &workload.name);
                let prepare = tokio::time::timeout(PREPARE_TIMEOUT, me.preparer.prepare(&workload, &log, &metrics));
                let result = tokio::select! {
                    result = prepare => result,
                    () = me.stop.cancelled() => return,
                };
                me.prepared(&id, attempt, &workload, start.elapsed(), result);
            },
            &self.runtime,
        );
    }

    fn prepared(
        self: &Arc<Self>,
        id: &WorkloadId,
        attempt: u64,
        workload: &Workload,
        took: Duration,
        result: Result<Result<Prepared, PrepareError>, tokio::time::error::Elapsed>,
    ) {
        let mut items = self.lock();
        let Some(item) = items.get_mut(id).filter(|i| i.attempt == attempt && i.state != State::Stopping) else { return };
        let (reason, message) = match result {
            Ok(Ok(prepared)) => {
                let old = item.prepared.replace(Arc::new(prepared));
                (item.state, item.reason, item.message, item.took) = (State::Running, String::new(), String::new(), took);
                self.publish(&mut items);
                drop(items);
                self.drain(old);
                tracing::info!(namespace = workload.namespace, workload = workload.name, took_ms = took.as_millis(), "workload ready");
                return;
            }
            Ok(Err(error)) => (error.reason(), error.to_string()),
            Err(_) => ("StartTimeout", format!("was not ready in {} s", PREPARE_TIMEOUT.as_secs())),
        };
        // What serves goes on serving: a broken replacement takes nothing away.
        if item.prepared.is_none() {
            item.state = State::Error;
        }
        (item.reason, item.message, item.took) = (reason.to_owned(), message.clone(), took);
        self.touch();
        drop(items);
        self.preparer.logs.open(&workload.namespace, &workload.name).write("", None, Stream::Host, &message);
        self.event(workload, Severity::Warning, reason, message);
    }

    fn begin_stop(self: &Arc<Self>, items: &mut HashMap<WorkloadId, Item>, id: &WorkloadId) {
        let Some(item) = items.get_mut(id) else { return };
        item.state = State::Stopping;
        item.attempt += 1;
        let prepared = item.prepared.take();
        let (me, id) = (self.clone(), id.clone());
        let grace = self.preparer.config.drain_grace;
        self.tasks.spawn_on(
            async move {
                if let Some(http) = prepared.as_ref().and_then(|p| p.http.as_ref()) {
                    if !http.admission.drained(grace).await {
                        tracing::warn!(workload = %id, "requests were still running when the workload's grace period ended");
                    }
                    http.admission.close();
                }
                let mut items = me.lock();
                me.forget(&mut items, &id);
            },
            &self.runtime,
        );
        self.touch();
    }

    fn forget(&self, items: &mut HashMap<WorkloadId, Item>, id: &WorkloadId) {
        if let Some(item) = items.remove(id) {
            self.preparer.shared.metrics.forget(&item.metrics);
            self.preparer.logs.forget(&item.wanted.workload.namespace, &item.wanted.workload.name);
            self.touch();
        }
    }

    /// Lets the requests of a replaced form finish.
    fn drain(self: &Arc<Self>, old: Option<Arc<Prepared>>) {
        let Some(http) = old.and_then(|p| p.http.clone()) else { return };
        let grace = self.preparer.config.drain_grace;
        self.tasks.spawn_on(
            async move {
                let _ = http.admission.drained(grace).await;
                http.admission.close();
            },
            &self.runtime,
        );
    }

    /// Swaps in the routes of what runs, and tells who claims what another holds.
    fn publish(&self, items: &mut HashMap<WorkloadId, Item>) {
        let mut ids = Vec::new();
        let mut claimants = Vec::new();
        for (id, item) in items.iter() {
            let http = item.prepared.as_ref().and_then(|p| p.http.as_ref()).filter(|_| item.state == State::Running);
            let Some(workload) = http else { continue };
            ids.push(id.clone());
            claimants.push(Claimant {
                owner: item.wanted.owner.clone(),
                created: item.wanted.created,
                domains: item.wanted.workload.http.as_ref().map(|h| h.domains.clone()).unwrap_or_default(),
                workload: workload.clone(),
            });
        }
        let (routes, conflicts) = Routes::build(&claimants);
        self.routes.store(Arc::new(routes));
        for (id, claimant) in ids.iter().zip(&claimants) {
            let Some(item) = items.get_mut(id) else { continue };
            item.conflicts = conflicts
                .iter()
                .filter(|c| Arc::ptr_eq(&c.target, &claimant.workload))
                .map(|c| (c.domain.clone().unwrap_or_else(|| DEFAULT_DOMAIN.to_owned()), c.winner.clone()))
                .collect();
        }
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

fn gone(id: WorkloadId) -> Status {
    Status {
        id,
        namespace: String::new(),
        name: String::new(),
        state: State::Error,
        reason: "Stopped".into(),
        message: "the workload was stopped while it started".into(),
        conflicts: Vec::new(),
        restarts: 0,
        ready: false,
        took: Duration::ZERO,
        components: Vec::new(),
    }
}

impl Item {
    fn status(&self) -> Status {
        let claims = self.wanted.workload.http.as_ref().map_or(0, |h| h.domains.len().max(1));
        Status {
            id: self.wanted.id.clone(),
            namespace: self.wanted.workload.namespace.clone(),
            name: self.wanted.workload.name.clone(),
            state: self.state,
            reason: self.reason.clone(),
            message: self.message.clone(),
            conflicts: self.conflicts.clone(),
            restarts: 0,
            ready: self.state == State::Running && (claims == 0 || self.conflicts.len() < claims),
            took: self.took,
            components: self.prepared.as_ref().map(|p| p.components.clone()).unwrap_or_default(),
        }
    }
}
