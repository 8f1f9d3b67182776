//! The operator's loop: listen, keep the snapshot, plan, apply.
//!
//! One task owns the snapshot. Writes are made by another while it goes on listening, so that a slow store never makes it miss
//! heartbeats; the next plan waits for them, and so knows of them.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use berth_control::{Bus, BusError, Heartbeat, Report, WorkloadState};
use berth_model::event::EventSink;
use berth_model::id::HostId;
use berth_model::resource::Kind;
use jiff::Timestamp;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::announced::Announced;
use crate::apply::{Outcome, apply};
use crate::link::{Answered, Links};
use crate::plan::{self, Answer, HostView, Memory, Objects, PlanConfig, Snapshot};
use crate::store::{Change, Store, StoreError};
use crate::watch::{Event, Sources};

/// First wait after a plan of which writes failed; it doubles up to [`RETRY_MAX`].
const RETRY_FIRST: Duration = Duration::from_millis(5);
/// Longest such wait.
const RETRY_MAX: Duration = Duration::from_secs(1);

/// How long a shutdown waits for writes that are on their way.
const FINISH: Duration = Duration::from_secs(1);

/// How the operator works.
#[derive(Clone, Debug)]
pub struct OperatorConfig {
    /// Rules of planning.
    pub plan: PlanConfig,
    /// How often a host is told its whole set, and a plan is made, though nothing changed. 5 s: what was lost is found then.
    pub resync_every: Duration,
    /// How far plans are apart, at least; what happens meanwhile is gathered for the next. 500 us, which is less than a commit takes: of a burst the
    /// first event has a plan to itself and all others one together. When plans take longer than this, they are as far apart as they take.
    pub gather: Duration,
    /// Writes to the store at once. 64.
    pub writes_at_once: usize,
    /// Time for one write. 10 s.
    pub write_deadline: Duration,
}

impl Default for OperatorConfig {
    fn default() -> OperatorConfig {
        OperatorConfig {
            plan: PlanConfig::default(),
            resync_every: Duration::from_secs(5),
            gather: Duration::from_micros(500),
            writes_at_once: 64,
            write_deadline: Duration::from_secs(10),
        }
    }
}

/// Why the operator can't go on.
#[derive(Debug, thiserror::Error)]
pub enum OperatorError {
    /// The objects can't be listed at the start.
    #[error("the operator can't read the store")]
    Store(#[from] StoreError),
    /// Hosts can't be listened to.
    #[error("the operator can't listen to hosts")]
    Bus(#[from] BusError),
    /// The store has closed under the operator.
    #[error("the operator's store has closed")]
    StoreClosed,
    /// The bus has closed under the operator.
    #[error("the operator's bus has closed")]
    BusClosed,
}

/// Places workloads on hosts, drives rollouts, and tells each host what to run.
#[derive(Debug)]
pub struct Operator;

impl Operator {
    /// Runs until `shutdown`. Hosts go on running what they run. One operator at a time may run on a store.
    ///
    /// # Errors
    /// When the store can't be read or hosts can't be listened to at the start, or when either closes. Nothing that goes wrong
    /// later ends it: it tries again.
    pub async fn run(
        store: Arc<dyn Store>,
        bus: Arc<dyn Bus>,
        events: Arc<dyn EventSink>,
        config: OperatorConfig,
        shutdown: CancellationToken,
    ) -> Result<(), OperatorError> {
        let (links, answers) = Links::new(bus.clone(), config.resync_every);
        // Liveness is judged this often: a fraction of the lease, so that a death isn't noticed much later than the lease says.
        let tick = (config.plan.lease / 12).clamp(Duration::from_millis(10), Duration::from_millis(250));
        let mut sources = Sources::open(store.watch(), &bus, answers, tick).await?;
        let objects = list(&*store).await?;
        let mut operator = Running::new(store, events, config, links, objects);
        operator.connected(sources.is_connected());
        let result = operator.work(&mut sources, &shutdown).await;
        // What is being written is finished, so that its events are told, too.
        let finish = async { while operator.applying.join_next().await.is_some() {} };
        if tokio::time::timeout(FINISH, finish).await.is_err() {
            operator.applying.shutdown().await;
        }
        result
    }
}

async fn list(store: &dyn Store) -> Result<Objects, StoreError> {
    let mut objects = Objects::default();
    for kind in Kind::ALL {
        store.list(kind, None).await?.into_iter().for_each(|object| objects.insert(object));
    }
    Ok(objects)
}

/// The loop's state.
struct Running {
    store: Arc<dyn Store>,
    events: Arc<dyn EventSink>,
    config: OperatorConfig,
    links: Links,
    snapshot: Snapshot,
    announced: Announced,
    started: Instant,
    last_tick: Instant,
    last_plan: Instant,
    /// When to plan; `None` while there is no reason to.
    plan_at: Option<Instant>,
    /// When the last plan wants to be followed by another.
    next: Option<Duration>,
    /// How long the last plan took.
    took: Duration,
    /// The writes of the last plan, at most one task.
    applying: JoinSet<Outcome>,
    retry: Duration,
    must_list: bool,
}

impl Running {
    fn new(store: Arc<dyn Store>, events: Arc<dyn EventSink>, config: OperatorConfig, links: Links, objects: Objects) -> Running {
        let now = Instant::now();
        let snapshot = Snapshot {
            now: Timestamp::now(),
            uptime: Duration::ZERO,
            config: config.plan.clone(),
            objects,
            hosts: BTreeMap::new(),
            listening_since: None,
            memory: Memory::default(),
        };
        Running {
            store,
            events,
            config,
            links,
            snapshot,
            announced: Announced::default(),
            started: now,
            last_tick: now,
            last_plan: now,
            plan_at: Some(now),
            next: None,
            took: Duration::ZERO,
            applying: JoinSet::new(),
            retry: RETRY_FIRST,
            must_list: false,
        }
    }

    async fn work(&mut self, sources: &mut Sources, shutdown: &CancellationToken) -> Result<(), OperatorError> {
        loop {
            let may_plan = self.applying.is_empty();
            tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                event = sources.next() => self.handle(event).await?,
                Some(outcome) = self.applying.join_next() => self.applied(outcome.unwrap_or(Outcome { done: 0, failed: 1 })),
                () = tokio::time::sleep_until(self.plan_at.unwrap_or(self.last_tick)), if may_plan && self.plan_at.is_some() => {
                    // What the last plan wrote is known before the next is made.
                    while let Some(change) = sources.changes.try_next() {
                        self.change(change).await;
                    }
                    self.plan();
                }
            }
        }
    }

    async fn handle(&mut self, event: Event) -> Result<(), OperatorError> {
        self.snapshot.uptime = self.started.elapsed();
        match event {
            Event::Change(change) => self.change(change).await,
            Event::Heartbeat(heartbeat) => self.heartbeat(*heartbeat),
            Event::Reports(host, reports) => self.reports(host, reports),
            Event::Answered(answered) => self.answered(answered),
            Event::Connected(connected) => self.connected(connected),
            Event::Tick => self.tick().await,
            Event::StoreClosed => return Err(OperatorError::StoreClosed),
            Event::BusClosed => return Err(OperatorError::BusClosed),
        }
        Ok(())
    }

    /// Plans at once after a quiet time; else gathers events until it is time.
    fn plan_soon(&mut self) {
        let earliest = self.last_plan + self.took + self.config.gather.max(self.took);
        self.plan_at.get_or_insert_with(|| Instant::now().max(earliest));
    }

    async fn change(&mut self, change: Change) {
        match change {
            Change::Added(object) | Change::Modified(object) => self.snapshot.objects.insert(Arc::unwrap_or_clone(object)),
            Change::Deleted(object) => self.snapshot.objects.remove(&object),
            Change::Resync => self.must_list = true,
        }
        self.list_if_needed().await;
        self.plan_soon();
    }

    async fn list_if_needed(&mut self) {
        if !self.must_list {
            return;
        }
        match tokio::time::timeout(self.config.write_deadline, list(&*self.store)).await {
            Ok(Ok(objects)) => {
                self.snapshot.objects = objects;
                self.must_list = false;
                self.plan_soon();
            }
            Ok(Err(error)) => tracing::warn!(error = crate::describe(&error), "the objects can't be listed; it is tried again"),
            Err(_) => tracing::warn!("the store didn't list its objects in time; it is tried again"),
        }
    }

    fn heartbeat(&mut self, heartbeat: Heartbeat) {
        let (id, heard) = (heartbeat.id, self.snapshot.uptime);
        let was_dead = self.snapshot.memory.dead.contains_key(&id);
        let news = match self.snapshot.hosts.get_mut(&id) {
            Some(view) => {
                view.heard = heard;
                let news = differs(&view.heartbeat, &heartbeat);
                view.heartbeat = heartbeat;
                news
            }
            None => self.snapshot.hosts.insert(id, HostView { heartbeat, heard, answer: None }).is_none(),
        };
        if news || was_dead {
            self.plan_soon();
        }
    }

    /// Takes over what a host says unasked. What it says nothing about any more shows when it is asked.
    fn reports(&mut self, host: HostId, reports: Vec<Report>) {
        let Some(view) = self.snapshot.hosts.get_mut(&host) else { return };
        self.announced.note(host, &reports);
        let Some(answer) = view.answer.as_mut() else { return };
        for report in reports {
            match report.state {
                WorkloadState::NotFound => answer.reports.remove(&report.id),
                _ => answer.reports.insert(report.id.clone(), report),
            };
        }
        let wants = self.snapshot.memory.wants.get(&host);
        if answer.reports.keys().any(|id| wants.is_none_or(|w| w.get(id).is_none())) {
            self.links.nudge(host);
        }
        self.plan_soon();
    }

    fn answered(&mut self, answered: Answered) {
        let Some(view) = self.snapshot.hosts.get_mut(&answered.host) else { return };
        let mut reports = answered.reports;
        if self.announced.amend(answered.host, answered.sent, &answered.to, &mut reports) {
            self.links.nudge(answered.host);
        }
        let news = view.answer.as_ref().is_none_or(|before| before.reports != reports || !Arc::ptr_eq(&before.to, &answered.to));
        view.answer = Some(Answer { to: answered.to, reports });
        if news {
            self.plan_soon();
        }
    }

    /// Silence counts from now, or not at all (L01).
    fn connected(&mut self, connected: bool) {
        self.snapshot.listening_since = connected.then_some(self.snapshot.uptime);
        if !connected {
            tracing::warn!("the bus is not connected: until it is back, no host is taken for dead, and nothing is moved");
        }
        self.plan_soon();
    }

    /// When the operator itself stood still, whoever was silent meanwhile may just not have been heard. To be asked before any
    /// lease is judged, with today's `uptime`.
    fn notice_stall(&mut self) {
        if self.last_tick.elapsed() > self.snapshot.config.lease / 2 && self.snapshot.listening_since.is_some() {
            self.snapshot.listening_since = Some(self.snapshot.uptime);
        }
        self.last_tick = Instant::now();
    }

    async fn tick(&mut self) {
        self.notice_stall();
        self.list_if_needed().await;
        let Snapshot { hosts, memory, uptime, .. } = &self.snapshot;
        let turned = |id: &HostId| plan::is_dead(&self.snapshot, *id) != memory.dead.contains_key(id);
        let is_due = self.next.is_some_and(|next| *uptime >= next) || self.last_plan.elapsed() >= self.config.resync_every;
        if is_due || hosts.keys().chain(memory.wants.keys()).any(turned) {
            self.plan_soon();
        }
    }

    fn plan(&mut self) {
        self.plan_at = None;
        self.last_plan = Instant::now();
        self.snapshot.now = Timestamp::now();
        self.snapshot.uptime = self.started.elapsed();
        self.notice_stall();
        let plan = plan::plan(&self.snapshot);
        self.took = self.last_plan.elapsed();
        self.next = plan.next;
        self.snapshot.memory = plan.memory;
        self.forget_hosts();
        let hosts = &self.snapshot.hosts;
        self.links.publish(&plan.wants, |id| hosts.get(&id).map(|view| view.heartbeat.speaks_berth()));
        if !plan.writes.is_empty() {
            tracing::debug!(writes = plan.writes.len(), took = ?self.took, "planned");
            let (store, events) = (self.store.clone(), self.events.clone());
            self.applying.spawn(apply(store, events, plan.writes, self.config.writes_at_once, self.config.write_deadline));
        }
    }

    /// Drops hosts whose objects were removed because they have been dead for long.
    fn forget_hosts(&mut self) {
        let Snapshot { hosts, memory, uptime, config, .. } = &mut self.snapshot;
        hosts.retain(|id, _| memory.dead.get(id).is_none_or(|since| uptime.saturating_sub(*since) < config.forget_hosts_after * 2));
        self.announced.retain(|id| hosts.contains_key(id));
    }

    fn applied(&mut self, outcome: Outcome) {
        let now = Instant::now();
        if outcome.failed == 0 {
            self.retry = RETRY_FIRST;
            // What follows from the writes.
            self.plan_at = Some(now);
        } else {
            self.plan_at = Some(now + self.retry);
            self.retry = (self.retry * 2).min(RETRY_MAX);
        }
    }
}

/// Whether a heartbeat says more than that the host is alive and how busy it is. What it can run decides nothing here, and
/// upstream hosts list that in another order each time.
fn differs(before: &Heartbeat, now: &Heartbeat) -> bool {
    let of = |h: &Heartbeat| (h.http_port, h.component_count, h.workload_count, h.started_at);
    let texts = |h: &Heartbeat| [h.hostname.clone(), h.friendly_name.clone(), h.version.clone(), h.environment.clone()];
    of(before) != of(now) || before.labels != now.labels || texts(before) != texts(now)
}
