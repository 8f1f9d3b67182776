//! `berth up`: operator, one host, in-process bus and embedded store on one machine.
//!
//! The same operator and host as on a cluster; only store and bus differ. Control tasks run where [`Local::start`] is called (see
//! [`crate::runtime`]), requests and guests on the host's own threads. The end comes in order (L34): not ready, no new requests, those under
//! way finish, workloads stop, control tasks stop, and the local API last, so that `berth stop` can watch.

mod hosting;
mod tasks;
mod waiting;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use berth_control::{Bus, HostServer, MemoryBus, MemoryBusConfig};
use berth_host::{Host, HostConfig, StartError};
use berth_model::event::EventSink;
use berth_model::resource::{ObjectKey, Resource};
use berth_oci::{CacheError, PullsWatch, RegistrySettings, RegistrySettingsError, RegistrySource};
use berth_operator::store::{EmbeddedStore, Store, StoreError};
use berth_operator::{Operator, OperatorConfig};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{Mutex, Semaphore, broadcast};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::hosting::Hosting;
use crate::adapter::{Adapter, Identity};
use crate::admin::Admin;
use crate::api::{About, Api, Applied, MAX_STREAMS, apply_all};
use crate::bounds::Bounds;
use crate::caches::{Caches, CachesConfig};
use crate::data::{DataError, DataFolder, Holder};
use crate::events::EventRing;
use crate::lifecycle::Lifecycle;
use crate::notice::Notice;
use crate::server::{OwnUser, serve};

/// Time between heartbeats: as on a cluster.
const HEARTBEAT_EVERY: Duration = Duration::from_secs(1);
/// Time for control tasks to end; they hold nothing that must be saved.
const TASKS_END: Duration = Duration::from_secs(5);
/// Notices that a slow reader may lag behind.
const NOTICE_QUEUE: usize = 4096;

/// What a local process is told. [`LocalConfig::default`] keeps nothing and takes a free port.
#[derive(Clone, Debug)]
pub struct LocalConfig {
    /// The host: address, limits, labels.
    pub host: HostConfig,
    /// The data folder; `None`: one of its own that goes at the end, and resources in memory.
    pub data_dir: Option<PathBuf>,
    /// Where `/livez`, `/readyz` and `/metrics` answer; `None`: nowhere.
    pub admin_addr: Option<SocketAddr>,
    /// The operator's pace.
    pub operator: OperatorConfig,
    /// Where images and compiled code are kept.
    pub caches: CachesConfig,
    /// How registries are reached.
    pub registries: RegistrySettings,
}

impl Default for LocalConfig {
    fn default() -> LocalConfig {
        let mut host = HostConfig::default();
        host.ingress.addr.set_port(0);
        LocalConfig {
            host,
            data_dir: None,
            admin_addr: None,
            operator: OperatorConfig::default(),
            caches: CachesConfig::default(),
            registries: RegistrySettings::default(),
        }
    }
}

/// Why a local process can't start.
#[derive(Debug, thiserror::Error)]
pub enum LocalError {
    /// The data folder.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The store.
    #[error("can't open the store of resources")]
    Store(#[from] StoreError),
    /// The caches.
    #[error("can't use the caches of images and compiled code: choose another folder for them with --cache-dir")]
    Caches(#[from] CacheError),
    /// How registries are reached.
    #[error("can't reach registries")]
    Registries(#[from] RegistrySettingsError),
    /// The host.
    #[error("can't start the host")]
    Host(#[from] StartError),
    /// The admin address.
    #[error("can't listen on the admin address {addr}: choose another with --admin-addr")]
    Admin {
        /// The address.
        addr: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// The socket of the local API.
    #[error("can't listen on the socket {}", path.display())]
    Socket {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

/// Removes the Secrets of a data folder that its key doesn't open, because it was lost or something was changed. Returns their keys.
///
/// # Errors
///
/// When another process holds the folder, or its store can't be read.
pub fn discard_unopened_secrets(data_dir: &Path) -> Result<Vec<ObjectKey>, LocalError> {
    let data = DataFolder::open(data_dir)?;
    Ok(EmbeddedStore::discard_unopened(&data.store_path())?)
}

/// A local process that runs.
pub struct Local {
    host: Arc<Host>,
    store: Arc<dyn Store>,
    events: Arc<EventRing>,
    caches: Caches,
    registry: RegistrySource,
    lifecycle: Arc<Lifecycle>,
    notices: broadcast::Sender<Notice>,
    /// Has all notices from the start; for the first who asks.
    first_reader: Option<broadcast::Receiver<Notice>>,
    admin_addr: Option<SocketAddr>,
    tls: bool,
    /// Operator, host server and observer: they end with the request to stop.
    control: JoinSet<&'static str>,
    /// Local API and admin address: they end last.
    edge: JoinSet<&'static str>,
    edge_shutdown: CancellationToken,
    control_shutdown: CancellationToken,
    data: DataFolder,
}

impl Local {
    /// Starts everything, and begins to compile what the host is to expect first of all; workloads of the data folder come up in the
    /// background. Call it inside a tokio runtime.
    ///
    /// # Errors
    ///
    /// When the data folder is held by another process, its store can't be read, or an address is taken. Nothing runs then.
    pub async fn start(mut config: LocalConfig) -> Result<Local, LocalError> {
        let data = match &config.data_dir {
            Some(path) => DataFolder::open(path)?,
            None => DataFolder::ephemeral()?,
        };
        data.note(&Holder::this_process(String::new()))?;
        config.host.volumes.folder.get_or_insert_with(|| data.volumes_path());
        // The store is opened while the host starts: a new one is made with several syncs of the disk.
        let file = (!data.is_ephemeral()).then(|| data.store_path());
        let opening = tokio::task::spawn_blocking(move || file.map_or_else(EmbeddedStore::in_memory, |path| EmbeddedStore::open(&path)));
        let started = Hosting::start(&config, &data).await;
        // Also when the host can't start: nothing of the folder is in use afterwards. It isn't cancelled while it is waited for.
        let opened = opening.await.unwrap_or_else(|ended| std::panic::resume_unwind(ended.into_panic()));
        let store = opened?;
        config.operator.plan.mark_key = store.mark_key();
        let store: Arc<dyn Store> = Arc::new(store);
        let Hosting { host, events, caches, registry, socket, admin } = started?;
        let admin_addr = admin.as_ref().and_then(|listener| listener.local_addr().ok());
        let holder = Holder::this_process(host.http_addr().to_string());
        data.note(&holder)?;

        let (notices, first_reader) = broadcast::channel(NOTICE_QUEUE);
        let mut local = Local {
            tls: config.host.ingress.tls.is_some(),
            host,
            store,
            events,
            caches,
            registry,
            lifecycle: Arc::default(),
            notices,
            first_reader: Some(first_reader),
            admin_addr,
            control: JoinSet::new(),
            edge: JoinSet::new(),
            edge_shutdown: CancellationToken::new(),
            control_shutdown: CancellationToken::new(),
            data,
        };
        local.start_edge(socket, admin, holder.started);
        local.start_control(config, holder.started);
        Ok(local)
    }

    fn start_edge(&mut self, socket: UnixListener, admin: Option<TcpListener>, started: jiff::Timestamp) {
        let about =
            About { admin_addr: self.admin_addr.map(|addr| addr.to_string()), data_dir: self.data.path().display().to_string(), started };
        let api = Arc::new(Api {
            store: self.store.clone(),
            host: self.host.clone(),
            events: self.events.clone(),
            lifecycle: self.lifecycle.clone(),
            about,
            streams: Arc::new(Semaphore::new(MAX_STREAMS)),
            inspecting: Mutex::default(),
            applies: TaskTracker::new(),
            shutdown: self.edge_shutdown.clone(),
        });
        let shutdown = self.edge_shutdown.clone();
        self.edge.spawn(async move {
            serve("api", OwnUser(socket), api.clone(), shutdown).await;
            api.applies.close();
            api.applies.wait().await;
            "local API"
        });
        if let Some(listener) = admin {
            let bounds = Bounds { host: Arc::downgrade(&self.host), registry: self.registry.clone(), caches: self.caches.clone() };
            let admin = Arc::new(Admin::new(&self.host, bounds, self.lifecycle.clone()));
            let shutdown = self.edge_shutdown.clone();
            self.edge.spawn(async move {
                serve("admin", listener, admin, shutdown).await;
                "admin address"
            });
        }
    }

    fn start_control(&mut self, config: LocalConfig, started: jiff::Timestamp) {
        let identity = Identity {
            name: config.host.name.clone(),
            labels: config.host.labels.clone(),
            environment: config.host.environment.clone(),
            started,
            wasi_p3: config.host.wasi_p3,
        };
        let bus: Arc<dyn Bus> = Arc::new(MemoryBus::new(MemoryBusConfig::default()));
        let adapter = Arc::new(Adapter::new(self.host.clone(), identity, self.lifecycle.clone()));
        let id = self.host.id();
        let shutdown = self.control_shutdown.clone();

        // The operator before the host, so that it hears the first heartbeat; missing it costs a second.
        let sink: Arc<dyn EventSink> = self.events.clone();
        let mut operator = config.operator;
        // The data folder's lock says that whatever ran here before is gone, so nothing waits for its lease.
        operator.plan.hosts_share_process = true;
        let operated = Operator::run(self.store.clone(), bus.clone(), sink, operator, shutdown.clone());
        self.control.spawn(tasks::reported("operator", operated));

        let served = HostServer::serve(bus.clone(), id, adapter.clone(), HEARTBEAT_EVERY, shutdown.clone());
        self.control.spawn(tasks::reported("host server", served));

        let observed = tasks::observe(self.host.clone(), adapter, bus, self.store.clone(), self.notices.clone(), shutdown.clone());
        self.control.spawn(observed);
        self.control.spawn(waiting::tell_what_waits(self.store.clone(), self.notices.clone(), shutdown));

        let (host, lifecycle) = (self.host.clone(), self.lifecycle.clone());
        self.edge.spawn(tasks::drain(host, lifecycle, config.host.drain_grace, self.edge_shutdown.clone()));
    }

    /// Applies resources, each for itself, as the local API does.
    pub async fn apply(&self, resources: Vec<Resource>) -> Applied {
        apply_all(self.store.as_ref(), resources).await
    }

    /// What happens, for a person: the first who asks gets all from the start, others what comes from now on. A reader that lags more
    /// than 4,096 notices behind misses some.
    pub fn notices(&mut self) -> broadcast::Receiver<Notice> {
        self.first_reader.take().unwrap_or_else(|| self.notices.subscribe())
    }

    /// The host.
    pub fn host(&self) -> &Arc<Host> {
        &self.host
    }

    /// The resources.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// The events.
    pub fn events(&self) -> &Arc<EventRing> {
        &self.events
    }

    /// Images and compiled code.
    pub fn caches(&self) -> &Caches {
        &self.caches
    }

    /// What is being pulled, to watch.
    pub fn pulls(&self) -> PullsWatch {
        self.registry.pulls()
    }

    /// Who asks for drain and end.
    pub fn lifecycle(&self) -> &Arc<Lifecycle> {
        &self.lifecycle
    }

    /// Where HTTP is answered.
    pub fn http_addr(&self) -> SocketAddr {
        self.host.http_addr()
    }

    /// Whether HTTP is answered with TLS.
    pub fn tls(&self) -> bool {
        self.tls
    }

    /// Where `/livez`, `/readyz` and `/metrics` answer.
    pub fn admin_addr(&self) -> Option<SocketAddr> {
        self.admin_addr
    }

    /// The data folder, where clients find the local API.
    pub fn data_dir(&self) -> &Path {
        self.data.path()
    }

    /// Whether the data folder goes at the end.
    pub fn is_ephemeral(&self) -> bool {
        self.data.is_ephemeral()
    }

    /// Waits until the end is asked for; `Some` names a task that ended by itself, which shouldn't be. Cancel safe.
    pub async fn ended(&mut self) -> Option<&'static str> {
        tokio::select! {
            () = self.lifecycle.stop_wanted() => None,
            Some(ended) = self.control.join_next() => Some(ended.unwrap_or("task that panicked")),
            Some(ended) = self.edge.join_next() => match self.lifecycle.phase() {
                // The drain is one of them, and ends with the drain.
                crate::lifecycle::Phase::Serving => Some(ended.unwrap_or("task that panicked")),
                _ => { self.lifecycle.stop_wanted().await; None }
            },
        }
    }

    /// Drains within the host's grace periods, the requests' and after it the services', and ends everything (L34). What was applied stays in
    /// the data folder.
    pub async fn shutdown(mut self) {
        self.lifecycle.stop();
        self.control_shutdown.cancel();
        end(&mut self.control).await;
        self.lifecycle.drained().await;
        self.edge_shutdown.cancel();
        end(&mut self.edge).await;
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        // After a drain there is nothing left to cut off.
        self.host.kill();
    }
}

/// Waits for tasks that were told to end; those that don't are cut.
async fn end(tasks: &mut JoinSet<&'static str>) {
    let all = async { while tasks.join_next().await.is_some() {} };
    if tokio::time::timeout(TASKS_END, all).await.is_err() {
        tracing::warn!(tasks = tasks.len(), "control tasks didn't end in time");
        tasks.shutdown().await;
    }
}
