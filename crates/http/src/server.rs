//! A server's life: bind, serve, stop accepting, drain, end.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError, mpsc as std_mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::runtime::{Handle, Runtime};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, timeout, timeout_at};

use crate::config::ServerConfig;
use crate::listener::{Acceptor, bind};
use crate::service::Service;
use crate::shared::{Figures, Shared};
use crate::tls::{Tls, TlsError};
use crate::worker::{Counted, HANDOVER_QUEUE, Phase, Worker};

/// How long threads may take to notice a phase. They need microseconds, unless something blocks them.
const NOTICE: Duration = Duration::from_secs(5);

/// Tasks that a thread runs before it looks at its sockets again: half of tokio's default, since a task may be a guest's slice. Looking
/// costs a microsecond.
const EVENT_INTERVAL: u32 = 31;

/// Why a server can't start.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Somebody listens there already.
    #[error("{addr} is in use by another process; stop it or choose another address")]
    InUse {
        /// The address.
        addr: SocketAddr,
    },
    /// The address can't be listened on: not this machine's, or not allowed.
    #[error("can't listen on {addr}")]
    Listen {
        /// The address.
        addr: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The certificate can't be used.
    #[error("can't serve TLS on {addr}")]
    Tls {
        /// The address.
        addr: SocketAddr,
        /// Why.
        source: Box<TlsError>,
    },
    /// The machine has no room for another thread.
    #[error("can't start the server's threads for {addr}")]
    Thread {
        /// The address.
        addr: SocketAddr,
        /// Why.
        source: io::Error,
    },
}

/// What a thread runs once it is known.
type Job = Box<dyn FnOnce(&Runtime) + Send>;

/// A server whose sockets listen and whose threads wait for a service. Clients can connect already; dropping it turns them away.
pub struct Server {
    local: SocketAddr,
    workers: Vec<(Worker, std_mpsc::SyncSender<Job>)>,
    threads: Vec<JoinHandle<()>>,
    runtimes: Vec<Handle>,
    shared: Arc<Shared>,
    phase: watch::Sender<Phase>,
    listening: Arc<watch::Sender<usize>>,
    alive: Arc<watch::Sender<usize>>,
}

impl Server {
    /// Listens as told and starts the threads. Blocks for as long as reading a certificate takes.
    pub fn bind(config: ServerConfig) -> Result<Self, BindError> {
        let ServerConfig { addr, threads: count, tls, limits, thread_name } = config;
        let count = count.max(1);
        let mut certificate = tls.map(Tls::load).transpose().map_err(|source| BindError::Tls { addr, source: Box::new(source) })?;
        let tls = certificate.as_ref().map(Tls::acceptor);
        let (local, sockets) = bind(addr, count).map_err(|source| match source.kind() {
            io::ErrorKind::AddrInUse => BindError::InUse { addr },
            _ => BindError::Listen { addr, source },
        })?;

        let shared = Shared::new(limits, count);
        let (phase, _) = watch::channel(Phase::Serving);
        let (listening, alive) = (Arc::new(watch::Sender::new(0)), Arc::new(watch::Sender::new(0)));
        let (senders, receivers): (Vec<_>, Vec<_>) = (0..count).map(|_| mpsc::channel(HANDOVER_QUEUE)).unzip();
        let senders: Arc<[_]> = senders.into();
        let mut server = Self { local, workers: Vec::new(), threads: Vec::new(), runtimes: Vec::new(), shared, phase, listening, alive };
        for (index, (socket, handed)) in sockets.into_iter().zip(receivers).enumerate() {
            let failed = |source| BindError::Thread { addr, source };
            let runtime =
                tokio::runtime::Builder::new_current_thread().event_interval(EVENT_INTERVAL).enable_all().build().map_err(failed)?;
            let entered = runtime.enter();
            let listener = TcpListener::from_std(socket).map_err(failed)?;
            drop(entered);
            server.runtimes.push(runtime.handle().clone());
            let job = server.start_thread(format!("{thread_name}-{index}"), runtime).map_err(failed)?;
            let worker = Worker {
                index,
                local,
                listener: Some((Acceptor::new(listener), Counted::new(&server.listening))),
                handed,
                threads: Arc::clone(&senders),
                shared: Arc::clone(&server.shared),
                phase: server.phase.subscribe(),
                tls: tls.clone(),
                certificate: certificate.take(),
            };
            server.workers.push((worker, job));
        }
        Ok(server)
    }

    /// Starts a thread that waits for its job. Without one it ends.
    fn start_thread(&mut self, name: String, runtime: Runtime) -> io::Result<std_mpsc::SyncSender<Job>> {
        let (job, jobs) = std_mpsc::sync_channel::<Job>(1);
        let alive = Counted::new(&self.alive);
        let thread = std::thread::Builder::new().name(name).spawn(move || {
            let _alive = alive;
            if let Ok(job) = jobs.recv() {
                job(&runtime);
            }
            // Drops what still runs, without waiting for blocking calls that the service may have made.
            runtime.shutdown_background();
        })?;
        self.threads.push(thread);
        Ok(job)
    }

    /// The address it listens on, with the port that was free if port 0 was asked for.
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// The threads' runtimes, one at least: for what the service runs on them beside answering. What is spawned there runs once the
    /// server serves, and is dropped when it is killed; a drain leaves it.
    pub fn runtimes(&self) -> &[Handle] {
        &self.runtimes
    }

    /// Serves with `service` until the returned [`Running`] says otherwise.
    pub fn serve<S: Service>(self, service: Arc<S>) -> Running {
        let Self { local, workers, threads, runtimes: _, shared, phase, listening, alive } = self;
        for (worker, job) in workers {
            let service = Arc::clone(&service);
            // The thread waits for this very job, so there is nobody who could refuse it.
            let _ = job.send(Box::new(move |runtime| runtime.block_on(worker.run(service))));
        }
        Running { local, shared, phase, listening, alive, threads: Mutex::new(threads) }
    }
}

/// How a drain went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Drained {
    /// Connections that ended by themselves, their requests answered.
    pub finished: u64,
    /// Connections that had to be cut, with the requests they carried.
    pub cut: u64,
}

/// A server that serves. Dropping it ends it like [`Running::kill`].
pub struct Running {
    local: SocketAddr,
    shared: Arc<Shared>,
    phase: watch::Sender<Phase>,
    listening: Arc<watch::Sender<usize>>,
    alive: Arc<watch::Sender<usize>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Running {
    /// The address it listens on, or did.
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// The counters at this moment.
    pub fn figures(&self) -> Figures {
        self.shared.figures()
    }

    /// Gives the port up; connections that are open, or wait to be accepted, are served on. Returns before the threads have noticed,
    /// which takes them microseconds.
    pub fn stop_accepting(&self) {
        self.advance(Phase::NotAccepting);
    }

    /// Gives the port up and has every connection end once it answered what it was asked: HTTP/1 connections after their current
    /// response, HTTP/2 ones with a GOAWAY after their streams. Those left after `grace` are cut.
    ///
    /// The threads stay, for what the service runs on them besides answering, until [`Running::kill`] or drop. Cancel safe: what has
    /// begun goes on, except that nothing is cut.
    pub async fn drain(&self, grace: Duration) -> Drained {
        let deadline = Instant::now() + grace.min(Duration::from_secs(30 * 24 * 60 * 60));
        let before = self.figures();
        self.advance(Phase::Draining);
        // Those who wait to be accepted count as well, so the sockets are closed first.
        if timeout(NOTICE, self.listening.subscribe().wait_for(|threads| *threads == 0)).await.is_err() {
            tracing::warn!("a serving thread is blocked; the drain goes on without it");
        }
        let empty = timeout_at(deadline, self.empty()).await.is_ok();
        let cut = if empty { 0 } else { self.figures().open };
        if cut > 0 {
            self.advance(Phase::Cutting);
            if timeout(NOTICE, self.empty()).await.is_err() {
                tracing::warn!(connections = self.figures().open, "a serving thread is blocked; its connections end with it");
            }
        }
        let now = self.figures();
        let new = (now.accepted - before.accepted).saturating_sub(now.refused - before.refused);
        Drained { finished: (before.open + new).saturating_sub(cut), cut }
    }

    /// Ends everything at once: connections are reset, service futures and what they spawned are dropped. Returns before that is done;
    /// [`Running::ended`] waits for it.
    pub fn kill(&self) {
        self.advance(Phase::Over);
    }

    /// Waits until every thread has ended, which only [`Running::kill`] makes them do.
    pub async fn ended(&self) {
        // `self` holds a sender, so waiting can't fail.
        let _ = self.alive.subscribe().wait_for(|threads| *threads == 0).await;
        let threads = std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        for thread in threads {
            // Its last act was to say that it ends, so this doesn't wait; a panic has been reported by then.
            let _ = thread.join();
        }
    }

    async fn empty(&self) {
        loop {
            let told = self.shared.empty.notified();
            if self.shared.open() == 0 {
                return;
            }
            told.await;
        }
    }

    /// Phases only go forward.
    fn advance(&self, phase: Phase) {
        self.phase.send_if_modified(|current| {
            let forward = *current < phase;
            if forward {
                *current = phase;
            }
            forward
        });
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}
