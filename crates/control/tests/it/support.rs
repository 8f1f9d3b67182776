//! A host that does as a workload's name says, and a bus to reach it by.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use berth_control::{
    Bus, Heartbeat, HostClient, HostHandler, HostServer, MemoryBus, MemoryBusConfig, Report, ServerConfig, Wanted, WorkloadState, subjects,
};
use berth_model::id::{HostId, WorkloadId};
use berth_model::resource::{ComponentSpec, ObjectMeta, SecretData, WorkloadSpec};
use berth_model::validate::{self, Lookup};
use berth_model::workload::Workload;
use bytes::Bytes;
use serde_json::Value;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Longer than anything here takes on a busy machine.
pub const SOON: Duration = Duration::from_secs(20);

/// Name of a workload that never finishes starting.
pub const STUCK: &str = "stuck";
/// Name of a workload that panics the host's handler.
pub const PANICS: &str = "panics";

/// A host without an engine.
pub struct TestHost {
    pub heartbeat: Mutex<Heartbeat>,
    pub running: Mutex<BTreeMap<WorkloadId, Workload>>,
    /// How many starts came to [`STUCK`] workloads.
    pub stuck: watch::Sender<usize>,
    /// Every set that it was told, in order.
    pub sets: Mutex<Vec<Vec<Wanted>>>,
    /// Every change that it was told: ids of what is new or differs, and of what goes.
    pub changes: Mutex<Vec<(Vec<String>, Vec<WorkloadId>)>>,
    pub draining: watch::Sender<bool>,
    /// What `sync` adds to each of its reports.
    pub message: Mutex<String>,
}

#[async_trait]
impl HostHandler for TestHost {
    async fn heartbeat(&self) -> Heartbeat {
        self.heartbeat.lock().unwrap().clone()
    }

    async fn start(&self, id: WorkloadId, workload: Workload) -> Report {
        match workload.name.as_str() {
            STUCK => {
                self.stuck.send_modify(|count| *count += 1);
                std::future::pending().await
            }
            PANICS => panic!("as the test wants"),
            _ => {}
        }
        let mut running = self.running.lock().unwrap();
        if running.contains_key(&id) {
            return Report::already_exists(id);
        }
        running.insert(id.clone(), workload);
        Report::new(id, WorkloadState::Running)
    }

    async fn status(&self, id: &WorkloadId) -> Report {
        let running = self.running.lock().unwrap().contains_key(id);
        if running { Report::new(id.clone(), WorkloadState::Running) } else { Report::not_found(id.clone()) }
    }

    async fn stop(&self, id: &WorkloadId) -> Report {
        match self.running.lock().unwrap().remove(id) {
            Some(_) => Report::new(id.clone(), WorkloadState::Stopping),
            None => Report::not_found(id.clone()),
        }
    }

    async fn sync(&self, wanted: Vec<Wanted>) -> Vec<Report> {
        if wanted.iter().any(|wanted| wanted.workload.name == STUCK) {
            self.stuck.send_modify(|count| *count += 1);
            std::future::pending::<()>().await;
        }
        let message = self.message.lock().unwrap().clone();
        let starting = |wanted: &Wanted| Report { message: message.clone(), ..Report::new(wanted.id.clone(), WorkloadState::Starting) };
        let reports = wanted.iter().map(starting).collect();
        self.sets.lock().unwrap().push(wanted);
        reports
    }

    async fn change(&self, wanted: Vec<Wanted>, unwanted: Vec<WorkloadId>) -> Vec<Report> {
        self.changes.lock().unwrap().push((wanted.iter().map(|w| w.id.to_string()).collect(), unwanted.clone()));
        let mut set: Vec<Wanted> = self.sets.lock().unwrap().last().cloned().unwrap_or_default();
        set.retain(|one| !unwanted.contains(&one.id) && !wanted.iter().any(|w| w.id == one.id));
        set.extend(wanted);
        set.sort_by(|a, b| a.id.cmp(&b.id));
        self.sync(set).await
    }

    async fn drain(&self, on: bool) {
        self.draining.send_replace(on);
    }
}

/// A served [`TestHost`].
pub struct Served {
    pub bus: MemoryBus,
    pub host: Arc<TestHost>,
    pub id: HostId,
    pub client: HostClient,
    pub shutdown: CancellationToken,
    pub server: tokio::task::JoinHandle<Result<(), berth_control::BusError>>,
}

impl Drop for Served {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// Serves a host with long times between heartbeats.
pub async fn serve() -> Served {
    serve_with(ServerConfig { heartbeat_every: Duration::from_secs(3600), ..ServerConfig::default() }, MemoryBusConfig::default()).await
}

pub async fn serve_with(config: ServerConfig, bus: MemoryBusConfig) -> Served {
    let bus = MemoryBus::new(bus);
    let id = HostId::random();
    let host = Arc::new(TestHost {
        heartbeat: Mutex::new(Heartbeat::new(id)),
        running: Mutex::default(),
        stuck: watch::Sender::new(0),
        sets: Mutex::default(),
        changes: Mutex::default(),
        draining: watch::Sender::new(false),
        message: Mutex::default(),
    });
    let shutdown = CancellationToken::new();
    let mut first = bus.subscribe(&subjects::heartbeats_of(id)).await.unwrap();
    let serving = HostServer::serve_with(Arc::new(bus.connect()), id, Arc::clone(&host) as _, config, shutdown.clone());
    let server = tokio::spawn(serving);
    // The first heartbeat goes out when all subscriptions are there.
    tokio::time::timeout(SOON, first.next()).await.expect("a heartbeat").expect("an open bus");
    let client = HostClient::new(Arc::new(bus.connect()), id);
    Served { bus, host, id, client, shutdown, server }
}

impl Served {
    /// Sends a raw command, and reads the reply as JSON.
    pub async fn raw(&self, command: &str, payload: &str) -> Value {
        serde_json::from_str(&self.raw_text(command, payload).await).unwrap()
    }

    /// Sends a raw command to where upstream's go.
    pub async fn raw_text(&self, command: &str, payload: &str) -> String {
        self.request(&subjects::command(self.id, command), payload).await
    }

    /// Sends a raw request.
    pub async fn request(&self, subject: &str, payload: &str) -> String {
        let reply = self.bus.request(subject, Bytes::copy_from_slice(payload.as_bytes()), SOON).await.unwrap();
        String::from_utf8(reply.to_vec()).unwrap()
    }
}

/// Waits until a watched value is as it should be.
pub async fn until<T>(watched: &watch::Sender<T>, is_so: impl FnMut(&T) -> bool) {
    tokio::time::timeout(SOON, watched.subscribe().wait_for(is_so)).await.expect("the value in time").expect("an open watch");
}

/// Nothing to look up.
pub struct Nothing;

impl Lookup for Nothing {
    fn config_map(&self, _: &str, _: &str) -> Option<&BTreeMap<String, String>> {
        None
    }

    fn secret(&self, _: &str, _: &str) -> Option<&SecretData> {
        None
    }

    fn artifact(&self, _: &str, _: &str) -> Option<String> {
        None
    }
}

/// A small workload of this name.
pub fn workload(name: &str) -> Workload {
    let component = ComponentSpec { name: "c".into(), image: "ghcr.io/acme/hello:1".into(), ..ComponentSpec::default() };
    let meta = ObjectMeta { name: name.into(), namespace: "default".into(), ..ObjectMeta::default() };
    validate::workload(&meta, &WorkloadSpec { components: vec![component], ..WorkloadSpec::default() }, &Nothing).unwrap()
}

pub fn id(text: &str) -> WorkloadId {
    text.parse().unwrap()
}

/// One of a set, with this id as name, too.
pub fn wanted(text: &str) -> Wanted {
    Wanted { id: id(text), workload: workload(text), owner: "default/owner".into(), created: "2026-01-01T00:00:00Z".parse().unwrap() }
}
