//! The host: its parts put together.

mod bounds;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use berth_http::{BindError, Running, Server, ServerConfig};
use berth_model::event::EventSink;
use berth_model::id::{HostId, WorkloadId};
use berth_model::workload::Workload;
use berth_oci::Source;
use prometheus_client::registry::Registry;
use rustix::process::{Resource, getrlimit};
use rustls::RootCertStore;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use tokio::sync::watch;

pub use self::bounds::Bound;
use crate::admission::HostSlots;
use crate::compile::{CompileBounds, Compiler};
use crate::component::Shared;
use crate::config::{Expected, HostConfig};
use crate::egress::permit::GuestConnections;
use crate::engine::{Engines, WAY_OUT};
use crate::guest_store::Spent;
use crate::ingress::Ingress;
use crate::inspect::{self, Inspected};
use crate::later::{Afterwards, Come, Later};
use crate::limiter::MemoryBudget;
use crate::logs::LogBook;
use crate::metrics::{HostCollector, HostMetrics, WorkloadFigures};
use crate::pace::Paces;
use crate::prepare::{self, Preparer};
use crate::reclaim::{Reclaim, Reclaimer};
use crate::routes::Routes;
use crate::service::room::Rooms;
use crate::service::threads::Threads;
use crate::status::{Status, WantedWorkload};
use crate::supervisor::Supervisor;
use crate::ticker::Pulse;
use crate::volumes::Volumes;

/// Time that workloads have to stop, however long the drain took before.
const LEAST_GRACE: Duration = Duration::from_secs(1);
/// Time at the end for code that is being written to disk.
const SETTLE: Duration = Duration::from_secs(1);

/// When what no workload has asked for is made: once the first of them answer, if compiling them takes no longer than most do.
const LATER: Duration = Duration::from_millis(100);

/// Why a host can't start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The ingress has no socket.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The engine refuses its configuration.
    #[error("the WebAssembly engine can't start: {0}; {WAY_OUT}")]
    Engine(String),
    /// Ephemeral volumes can't be where they are to be.
    #[error("the folder of ephemeral volumes, {path}, can't be used: {message}")]
    Volumes {
        /// The folder.
        path: String,
        /// Why.
        message: String,
    },
    /// Certificates for outgoing TLS can't be read.
    #[error("certificates in {path} can't be read: {message}")]
    Certificates {
        /// The file.
        path: String,
        /// Why.
        message: String,
    },
}

/// Runs workloads. Dropping it ends everything at once; [`Host::drain`] ends it well.
pub struct Host {
    id: HostId,
    config: Arc<HostConfig>,
    supervisor: Arc<Supervisor>,
    slots: Arc<HostSlots>,
    logs: Arc<LogBook>,
    metrics: Arc<HostMetrics>,
    http_addr: SocketAddr,
    server: Mutex<Option<Arc<Running>>>,
    /// Goes with the host, after all that it ran was told to end.
    _reclaimer: Reclaimer<Spent>,
    /// Makes what the start left for later.
    _afterwards: Afterwards,
}

impl Host {
    /// Starts a host: binds its ingress and spawns its threads. Preparing runs on the tokio runtime this is called in; requests and
    /// guests never do.
    ///
    /// # Errors
    ///
    /// When the address is taken or not allowed, the engine can't be made, or a certificate file can't be read.
    pub fn start(config: HostConfig, source: Arc<dyn Source>, events: Arc<dyn EventSink>) -> Result<Arc<Host>, StartError> {
        let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        let config = Arc::new(within_files(config, files));
        let tls = Arc::new(client_tls(&config)?);
        let volumes = Volumes::start(config.volumes.clone()).map_err(|error| {
            let path = config.volumes.folder.as_ref().map(|path| path.display().to_string()).unwrap_or_default();
            StartError::Volumes { path, message: error.to_string() }
        })?;
        let pulse = Arc::new(Pulse::default());
        let engines = Engines::new(&config, pulse.clone()).map_err(|e| StartError::Engine(format!("{e:#}")))?;
        let metrics = Arc::new(HostMetrics::default());
        let compiler = Compiler::new(compile_bounds(&config), config.code.clone(), metrics.clone());
        // While all that follows is done.
        let expected = config.expected.iter().map(|Expected { image, lasting }| (image.clone(), prepare::tier(&config, *lasting)));
        compiler.expect(expected, &source, &engines, prepare::provides(&config));
        let slots = Arc::new(HostSlots::new(config.slots));
        let logs = Arc::new(LogBook::new(config.log_lines, config.log_lines_per_second));
        let memory = Arc::new(MemoryBudget::new(config.memory_budget_bytes));
        let (reclaim, reclaimer) = Reclaim::start(&config.reclaim, config.instances(), memory.clone(), metrics.clone());
        let shared = Arc::new(Shared {
            memory,
            connections: GuestConnections::new(config.guest_connections(files)),
            metrics: metrics.clone(),
            events,
            network: config.network.clone(),
            tls: tls.clone(),
            pulse,
            paces: Paces::default(),
            reclaim,
        });
        let preparer = Preparer {
            config: config.clone(),
            engines,
            compiler,
            source,
            shared,
            calls: Arc::new(HostSlots::new(config.slots)),
            slots: slots.clone(),
            services: Rooms::new(config.services.most),
            logs: logs.clone(),
            known: prepare::Known::default(),
            volumes: Arc::new(volumes),
        };
        let routes = Arc::new(ArcSwap::from_pointee(Routes::empty()));
        let server = Server::bind(server_config(&config))?;
        let http_addr = server.local_addr();
        let works = preparer.engines.handles().1.map(|p3| p3 as Arc<dyn Come>).into_iter().chain([tls as Arc<dyn Come>]);
        let afterwards = Afterwards::start(LATER, works.collect());
        let afterwards = afterwards.map_err(|error| StartError::Engine(format!("no thread could be made: {error}")))?;
        let threads = Threads::new(server.runtimes().to_vec());
        let supervisor = Supervisor::new(preparer, routes.clone(), tokio::runtime::Handle::current(), threads);
        let running = server.serve(Arc::new(Ingress { routes, metrics: metrics.clone() }));
        Ok(Arc::new(Host {
            id: HostId::random(),
            config,
            supervisor,
            slots,
            logs,
            metrics,
            http_addr,
            server: Mutex::new(Some(Arc::new(running))),
            _reclaimer: reclaimer,
            _afterwards: afterwards,
        }))
    }

    /// The host's id, made at its start.
    pub fn id(&self) -> HostId {
        self.id
    }

    /// What the host was told.
    pub fn config(&self) -> &HostConfig {
        &self.config
    }

    /// Where HTTP is answered.
    pub fn http_addr(&self) -> SocketAddr {
        self.http_addr
    }

    /// Makes `wanted` the whole set of workloads; returns at once, [`Host::statuses`] tells how it goes.
    pub fn set_wanted(&self, wanted: Vec<WantedWorkload>) {
        self.supervisor.set_wanted(wanted);
    }

    /// Changes the set of workloads: starts what is new in `wanted`, replaces what differs, stops `unwanted`, and leaves all else.
    pub fn change_wanted(&self, wanted: Vec<WantedWorkload>, unwanted: &[WorkloadId]) {
        self.supervisor.change_wanted(wanted, unwanted);
    }

    /// Starts one workload and waits until it runs or has failed; one that failed is forgotten. An id that is taken is an error and
    /// leaves its workload alone, unless that has failed: then it is replaced. A host that ends answers with an error.
    pub async fn start_workload(&self, wanted: WantedWorkload) -> Status {
        self.supervisor.start(wanted).await
    }

    /// Begins to stop one workload: it gets no new request, and goes when those it has are done. None: there is no such workload.
    pub fn stop_workload(&self, id: &WorkloadId) -> Option<Status> {
        self.supervisor.stop(id)
    }

    /// One workload's status.
    pub fn status(&self, id: &WorkloadId) -> Option<Status> {
        self.supervisor.status(id)
    }

    /// All workloads' statuses, by namespace and name.
    pub fn statuses(&self) -> Vec<Status> {
        self.supervisor.statuses()
    }

    /// Changes whenever a status may have.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.supervisor.changes()
    }

    /// What a workload would come to on this host: nothing is compiled, and nothing runs.
    pub async fn inspect(&self, workload: Workload) -> Inspected {
        inspect::inspect(workload, self.supervisor.preparer.source.as_ref(), &self.config).await
    }

    /// Guests' logs.
    pub fn logs(&self) -> &Arc<LogBook> {
        &self.logs
    }

    /// Workloads' figures.
    pub fn figures(&self) -> Vec<WorkloadFigures> {
        self.metrics.figures()
    }

    /// Requests in flight.
    pub fn in_flight(&self) -> u32 {
        self.slots.in_use()
    }

    /// Adds the host's metrics to a registry.
    pub fn register_metrics(&self, registry: &mut Registry) {
        let memory = self.supervisor.preparer.shared.memory.clone();
        let ingress = self.server.lock().expect("no panic while held").as_ref().map(Arc::downgrade).unwrap_or_default();
        let collector = HostCollector { metrics: self.metrics.clone(), memory, slots: self.slots.clone(), ingress };
        registry.register_collector(Box::new(collector));
    }

    /// Ends the host well: accepts no more, finishes requests within `grace`, cuts the rest, and stops all workloads (L34). Services have
    /// their own grace period, which begins for each when its workload's requests are done.
    pub async fn drain(&self, grace: Duration) {
        let deadline = Instant::now() + grace;
        let server = self.server.lock().expect("no panic while held").take();
        if let Some(server) = &server {
            let drained = server.drain(grace).await;
            tracing::info!(?drained, "ingress drained");
        }
        let left = deadline.saturating_duration_since(Instant::now());
        self.supervisor.shutdown(left.max(LEAST_GRACE)).await;
        // Its threads run the services, so they end after them.
        drop(server);
        // Code that was compiled a moment ago is kept for the next start; a long compile isn't waited for.
        self.supervisor.preparer.compiler.settled(SETTLE).await;
        // What is left of its volumes would wait for the next start.
        self.supervisor.preparer.volumes.settled(SETTLE).await;
    }

    /// Ends the host at once: connections and requests are cut, workloads forgotten, and nothing starts any more.
    pub fn kill(&self) {
        if let Some(server) = self.server.lock().expect("no panic while held").take() {
            server.kill();
        }
        self.supervisor.kill();
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.kill();
    }
}

/// As many connections as fit the files that the process may open.
fn within_files(mut config: HostConfig, files: u64) -> HostConfig {
    let (wanted, fits) = (config.ingress.limits.max_connections, config.max_connections(files));
    if fits < wanted {
        tracing::info!(wanted, fits, files, "fewer connections than configured (max-connections) fit the open files");
    }
    config.ingress.limits.max_connections = fits;
    config
}

fn compile_bounds(config: &HostConfig) -> CompileBounds {
    CompileBounds { threads: config.compile_threads, queue: config.compile_queue }
}

fn server_config(config: &HostConfig) -> ServerConfig {
    let mut server = ServerConfig::new(config.ingress.addr);
    if config.ingress.threads > 0 {
        server.threads = config.ingress.threads;
    }
    server.tls = config.ingress.tls.clone();
    server.limits = config.ingress.limits.clone();
    server.thread_name = "berth-http".to_owned();
    server
}

/// Trust in the system's authorities and in those of the configuration. The former, some hundred, are read later.
fn client_tls(config: &HostConfig) -> Result<Later<Arc<rustls::ClientConfig>>, StartError> {
    let mut extra = RootCertStore::empty();
    if let Some(path) = &config.extra_ca {
        let fail = |message: String| StartError::Certificates { path: path.display().to_string(), message };
        let certificates = CertificateDer::pem_file_iter(path).map_err(|e| fail(e.to_string()))?;
        for certificate in certificates {
            extra.add(certificate.map_err(|e| fail(e.to_string()))?).map_err(|e| fail(e.to_string()))?;
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.map_err(|e| StartError::Engine(e.to_string()))?;
    Ok(Later::new(move || {
        let mut roots = berth_oci::system_authorities().clone();
        roots.roots.append(&mut extra.roots);
        Arc::new(builder.with_root_certificates(roots).with_no_client_auth())
    }))
}

#[cfg(test)]
mod tests;
