//! A host's end of the protocol that runs nothing: it does what its script says. The real host is tested in its own crate.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use berth_control::{
    Bus, BusError, Heartbeat, HostHandler, HostServer, MemoryBus, PROTOCOL_LABEL, Report, Subscription, Wanted, WorkloadState,
};
use berth_model::id::{HostId, WorkloadId};
use berth_model::workload::Workload;
use bytes::Bytes;
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};

/// How a host behaves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Script {
    /// Runs what it is told to.
    #[default]
    Obeys,
    /// Fails every start.
    Fails,
    /// Never answers a command.
    Hangs,
}

/// A host on a bus, until it is dropped.
pub(crate) struct FakeHost {
    pub(crate) id: HostId,
    pub(crate) bus: MemoryBus,
    inner: Arc<Inner>,
    _end: DropGuard,
}

struct Inner {
    id: HostId,
    name: String,
    script: Mutex<Script>,
    workloads: watch::Sender<BTreeMap<WorkloadId, Workload>>,
}

impl FakeHost {
    pub(crate) fn start(bus: &MemoryBus, name: &str, script: Script) -> FakeHost {
        FakeHost::serve(bus, name, script, |bus| Arc::new(bus))
    }

    /// A host that knows only the upstream protocol.
    pub(crate) fn start_upstream(bus: &MemoryBus, name: &str) -> FakeHost {
        FakeHost::serve(bus, name, Script::Obeys, |bus| Arc::new(Upstream(bus)))
    }

    fn serve(bus: &MemoryBus, name: &str, script: Script, wrap: impl FnOnce(MemoryBus) -> Arc<dyn Bus>) -> FakeHost {
        let (id, bus, end) = (HostId::random(), bus.connect(), CancellationToken::new());
        let inner = Inner { id, name: name.to_owned(), script: Mutex::new(script), workloads: watch::Sender::default() };
        let inner = Arc::new(inner);
        let (connection, handler, shutdown) = (wrap(bus.clone()), inner.clone(), end.clone());
        tokio::spawn(async move { HostServer::serve(connection, id, handler, Duration::from_millis(50), shutdown).await });
        FakeHost { id, bus, inner, _end: end.drop_guard() }
    }

    pub(crate) fn script(&self, script: Script) {
        *self.inner.script.lock().unwrap() = script;
    }

    /// What it runs.
    pub(crate) fn workloads(&self) -> watch::Receiver<BTreeMap<WorkloadId, Workload>> {
        self.inner.workloads.subscribe()
    }

    /// Waits until it runs that many workloads.
    pub(crate) async fn runs(&self, count: usize) {
        let mut workloads = self.workloads();
        let wait = workloads.wait_for(|w| w.len() == count);
        tokio::time::timeout(Duration::from_secs(20), wait).await.expect("the host should have run that many by now").unwrap();
    }

    /// Stops something by itself, without a word.
    pub(crate) fn lose_everything(&self) {
        self.inner.workloads.send_modify(BTreeMap::clear);
    }

    /// Says unasked that everything has failed.
    pub(crate) async fn announce_failure(&self) {
        let reports: Vec<_> = self.workloads().borrow().keys().map(|id| Report::failed(id.clone(), "Trapped", "it trapped")).collect();
        let bus: Arc<dyn Bus> = Arc::new(self.bus.clone());
        berth_control::announce(&bus, self.id, &reports).await.unwrap();
    }
}

impl Inner {
    async fn obey(&self) -> bool {
        let script = *self.script.lock().unwrap();
        if script == Script::Hangs {
            std::future::pending::<()>().await;
        }
        script == Script::Obeys
    }
}

#[async_trait]
impl HostHandler for Inner {
    async fn heartbeat(&self) -> Heartbeat {
        Heartbeat { friendly_name: self.name.clone(), hostname: "127.0.0.1".to_owned(), ..Heartbeat::new(self.id) }
    }

    async fn start(&self, id: WorkloadId, workload: Workload) -> Report {
        if !self.obey().await {
            return Report::failed(id, "CompileFailed", "not a component");
        }
        if self.workloads.borrow().contains_key(&id) {
            return Report::already_exists(id);
        }
        self.workloads.send_modify(|all| drop(all.insert(id.clone(), workload)));
        Report::new(id, WorkloadState::Running)
    }

    async fn status(&self, id: &WorkloadId) -> Report {
        self.obey().await;
        let state = if self.workloads.borrow().contains_key(id) { WorkloadState::Running } else { WorkloadState::NotFound };
        Report::new(id.clone(), state)
    }

    async fn stop(&self, id: &WorkloadId) -> Report {
        self.obey().await;
        let mut there = false;
        self.workloads.send_modify(|all| there = all.remove(id).is_some());
        Report::new(id.clone(), if there { WorkloadState::Stopping } else { WorkloadState::NotFound })
    }

    async fn sync(&self, wanted: Vec<Wanted>) -> Vec<Report> {
        if !self.obey().await {
            self.workloads.send_modify(BTreeMap::clear);
            return wanted.into_iter().map(|w| Report::failed(w.id, "CompileFailed", "not a component")).collect();
        }
        let all: BTreeMap<_, _> = wanted.into_iter().map(|w| (w.id, w.workload)).collect();
        let reports = all.keys().map(|id| Report::new(id.clone(), WorkloadState::Running)).collect();
        self.workloads.send_if_modified(|now| std::mem::replace(now, all.clone()) != all);
        reports
    }

    async fn change(&self, wanted: Vec<Wanted>, unwanted: Vec<WorkloadId>) -> Vec<Report> {
        if !self.obey().await {
            self.workloads.send_modify(BTreeMap::clear);
            return wanted.into_iter().map(|w| Report::failed(w.id, "CompileFailed", "not a component")).collect();
        }
        self.workloads.send_if_modified(|now| {
            unwanted.iter().for_each(|id| drop(now.remove(id)));
            let changed = !wanted.is_empty() || !unwanted.is_empty();
            now.extend(wanted.into_iter().map(|w| (w.id, w.workload)));
            changed
        });
        self.workloads.borrow().keys().map(|id| Report::new(id.clone(), WorkloadState::Running)).collect()
    }

    async fn drain(&self, _on: bool) {}
}

/// A connection over which Berth's extension doesn't pass: hosts don't announce it, and hear nothing of it.
struct Upstream(MemoryBus);

#[async_trait]
impl Bus for Upstream {
    async fn publish(&self, subject: &str, payload: Bytes) -> Result<(), BusError> {
        let text = String::from_utf8(payload.to_vec()).unwrap().replace(PROTOCOL_LABEL, "not.announced");
        self.0.publish(subject, text.into()).await
    }

    async fn request(&self, subject: &str, payload: Bytes, deadline: Duration) -> Result<Bytes, BusError> {
        self.0.request(subject, payload, deadline).await
    }

    async fn subscribe(&self, pattern: &str) -> Result<Subscription, BusError> {
        let pattern = if pattern.starts_with("berth.") { "nothing.is.sent.here" } else { pattern };
        self.0.subscribe(pattern).await
    }

    fn connected(&self) -> watch::Receiver<bool> {
        self.0.connected()
    }

    fn max_payload(&self) -> usize {
        self.0.max_payload()
    }
}
