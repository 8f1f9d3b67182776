//! The host as the control protocol sees it.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use berth_control::{DomainConflict, Heartbeat, HostHandler, Report, Wanted, WorkloadState};
use berth_host::{Host, State, Status, WantedWorkload};
use berth_model::id::WorkloadId;
use berth_model::interface::HostInterface;
use berth_model::workload::Workload;
use berth_operator::plan::{CONTENT_ANNOTATION, DRAINING_LABEL};
use semver::{Prerelease, Version};

use crate::lifecycle::{Lifecycle, Phase};
use crate::notice::Belonging;
use crate::system::Machine;

/// What a host says about itself besides its figures.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    pub(crate) name: String,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) environment: String,
    pub(crate) started: jiff::Timestamp,
    pub(crate) wasi_p3: bool,
}

/// Answers the operator with what a [`Host`] does.
pub(crate) struct Adapter {
    host: Arc<Host>,
    identity: Identity,
    lifecycle: Arc<Lifecycle>,
    machine: Machine,
    belongings: Mutex<HashMap<WorkloadId, Belonging>>,
}

impl Adapter {
    pub(crate) fn new(host: Arc<Host>, identity: Identity, lifecycle: Arc<Lifecycle>) -> Adapter {
        Adapter { host, identity, lifecycle, machine: Machine::default(), belongings: Mutex::default() }
    }

    /// Who a workload belongs to, as the operator said; by itself, for one that the operator doesn't want any more.
    pub(crate) fn belonging(&self, status: &Status) -> Belonging {
        self.belongings()
            .get(&status.id)
            .cloned()
            .unwrap_or_else(|| Belonging { owner: format!("{}/{}", status.namespace, status.name), ..Belonging::default() })
    }

    fn reports(&self) -> Vec<Report> {
        self.host.statuses().iter().map(report).collect()
    }

    fn belongings(&self) -> MutexGuard<'_, HashMap<WorkloadId, Belonging>> {
        self.belongings.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What people are told of a workload, by its id.
fn belongings(wanted: &[Wanted]) -> impl Iterator<Item = (WorkloadId, Belonging)> {
    wanted.iter().map(|wanted| (wanted.id.clone(), belonging(&wanted.owner, &wanted.workload)))
}

fn belonging(owner: &str, workload: &Workload) -> Belonging {
    let domains = workload.http.iter().flat_map(|http| &http.domains).map(ToString::to_string).collect();
    let version = workload.annotations.get(CONTENT_ANNOTATION).cloned().unwrap_or_default();
    Belonging { owner: owner.into(), version, domains, http: workload.http.is_some() }
}

fn to_host(wanted: Vec<Wanted>) -> Vec<WantedWorkload> {
    let one = |w: Wanted| WantedWorkload { id: w.id, workload: w.workload, owner: w.owner, created: w.created };
    wanted.into_iter().map(one).collect()
}

#[async_trait]
impl HostHandler for Adapter {
    async fn heartbeat(&self) -> Heartbeat {
        let figures = self.machine.read();
        let statuses = self.host.statuses();
        let running = statuses.iter().filter(|s| s.state == State::Running);
        let addr = self.host.http_addr();
        let mut heartbeat = Heartbeat::new(self.host.id());
        // An address that stands for all of the machine's is no address to go to.
        heartbeat.hostname = if addr.ip().is_unspecified() { "127.0.0.1".into() } else { addr.ip().to_string() };
        heartbeat.friendly_name.clone_from(&self.identity.name);
        heartbeat.version = env!("CARGO_PKG_VERSION").into();
        heartbeat.labels.clone_from(&self.identity.labels);
        if self.lifecycle.phase() != Phase::Serving {
            heartbeat.labels.insert(DRAINING_LABEL.into(), "true".into());
        }
        heartbeat.started_at = Some(self.identity.started);
        heartbeat.os_arch = std::env::consts::ARCH.into();
        heartbeat.os_name = std::env::consts::OS.into();
        heartbeat.os_kernel = std::env::consts::FAMILY.into();
        heartbeat.system_cpu_usage = figures.cpu_percent;
        heartbeat.system_memory_total = figures.memory_total_bytes;
        heartbeat.system_memory_free = figures.memory_free_bytes;
        heartbeat.component_count = running.clone().map(|s| s.components.len() as u64).sum();
        heartbeat.workload_count = running.count() as u64;
        heartbeat.imports = imports(self.identity.wasi_p3);
        heartbeat.exports = exports(self.identity.wasi_p3);
        heartbeat.http_port = Some(addr.port());
        heartbeat.environment.clone_from(&self.identity.environment);
        heartbeat
    }

    async fn start(&self, id: WorkloadId, workload: Workload) -> Report {
        if self.host.status(&id).is_some() {
            return Report::already_exists(id);
        }
        // A peer that knows only single starts has no owners: each workload stands for itself.
        let owner = format!("{}/{}", workload.namespace, workload.name);
        let wanted = WantedWorkload { id, workload, owner, created: jiff::Timestamp::now() };
        report(&self.host.start_workload(wanted).await)
    }

    async fn status(&self, id: &WorkloadId) -> Report {
        self.host.status(id).map_or_else(|| Report::not_found(id.clone()), |status| report(&status))
    }

    async fn stop(&self, id: &WorkloadId) -> Report {
        self.host.stop_workload(id).map_or_else(|| Report::not_found(id.clone()), |status| report(&status))
    }

    async fn sync(&self, wanted: Vec<Wanted>) -> Vec<Report> {
        *self.belongings() = belongings(&wanted).collect();
        self.host.set_wanted(to_host(wanted));
        self.reports()
    }

    async fn change(&self, wanted: Vec<Wanted>, unwanted: Vec<WorkloadId>) -> Vec<Report> {
        {
            let mut known = self.belongings();
            unwanted.iter().for_each(|id| drop(known.remove(id)));
            known.extend(belongings(&wanted));
        }
        self.host.change_wanted(to_host(wanted), &unwanted);
        self.reports()
    }

    async fn drain(&self, on: bool) {
        if on {
            self.lifecycle.drain();
        } else {
            tracing::warn!("a host that drains can't go back to work: it ends, and a new process takes its place");
        }
    }
}

/// A status as it travels.
pub(crate) fn report(status: &Status) -> Report {
    let state = match status.state {
        State::Starting => WorkloadState::Starting,
        State::Running => WorkloadState::Running,
        State::Completed => WorkloadState::Completed,
        State::Stopping => WorkloadState::Stopping,
        State::Error => WorkloadState::Error,
    };
    let conflicts = status.conflicts.iter().map(|(domain, owner)| DomainConflict { domain: domain.to_string(), owner: owner.clone() });
    Report {
        reason: status.reason.clone(),
        message: status.message.clone(),
        conflicts: conflicts.collect(),
        restarts: status.restarts,
        ready: status.ready,
        took_ms: u64::try_from(status.took.as_millis()).unwrap_or(u64::MAX),
        ..Report::new(status.id.clone(), state)
    }
}

/// Versions of WASI that the host links: Wasmtime 48's own.
const P2: Version = Version::new(0, 2, 12);
const P3: Version = Version::new(0, 3, 0);

fn interface(package: &str, interfaces: &[&str], version: Version) -> HostInterface {
    HostInterface {
        namespace: "wasi".into(),
        package: package.into(),
        interfaces: interfaces.iter().map(|i| (*i).to_owned()).collect(),
        version: Some(version),
        name: None,
        config: BTreeMap::new(),
    }
}

/// What components may import.
fn imports(wasi_p3: bool) -> Vec<HostInterface> {
    let mut imports = vec![
        interface("cli", &["environment", "exit", "stdin", "stdout", "stderr"], P2),
        interface("clocks", &["monotonic-clock", "wall-clock"], P2),
        interface("config", &["store"], Version { pre: Prerelease::new("rc.1").unwrap_or(Prerelease::EMPTY), ..Version::new(0, 2, 0) }),
        interface("filesystem", &["preopens", "types"], P2),
        interface("http", &["outgoing-handler", "types"], P2),
        interface("io", &["error", "poll", "streams"], P2),
        interface("random", &["insecure", "insecure-seed", "random"], P2),
        interface(
            "sockets",
            &["instance-network", "ip-name-lookup", "network", "tcp", "tcp-create-socket", "udp", "udp-create-socket"],
            P2,
        ),
    ];
    if wasi_p3 {
        imports.extend([
            interface("cli", &["environment", "exit", "stdin", "stdout", "stderr"], P3),
            interface("clocks", &["monotonic-clock", "system-clock"], P3),
            interface("filesystem", &["preopens", "types"], P3),
            interface("http", &["client", "types"], P3),
            interface("random", &["insecure", "insecure-seed", "random"], P3),
            interface("sockets", &["ip-name-lookup", "types"], P3),
        ]);
    }
    imports
}

/// What the host calls.
fn exports(wasi_p3: bool) -> Vec<HostInterface> {
    let mut exports = vec![interface("http", &["incoming-handler"], P2), interface("cli", &["run"], P2)];
    if wasi_p3 {
        exports.extend([interface("http", &["handler"], P3), interface("cli", &["run"], P3)]);
    }
    exports
}
