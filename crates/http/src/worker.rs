//! One serving thread: accepts from its own socket, serves what it accepted or was handed, and follows the server's phase.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinError, JoinSet};
use tokio_rustls::TlsAcceptor;
use tokio_util::task::TaskTracker;

use crate::connection::{Accepted, Stage};
use crate::listener::Acceptor;
use crate::service::Service;
use crate::shared::{Shared, Slot};
use crate::tls::Tls;

/// Connections on their way to one thread. When they are as many, their own threads serve them.
pub(crate) const HANDOVER_QUEUE: usize = 1_024;
/// Refused connections that one thread is answering; further ones are just closed.
const REFUSALS: usize = 64;

/// What a server is at, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    /// Accepting and serving.
    Serving,
    /// Serving what is open.
    NotAccepting,
    /// Ending connections as soon as they finished what they do.
    Draining,
    /// Ending connections at once.
    Cutting,
    /// Ending the thread.
    Over,
}

/// A connection on its way to another thread.
pub(crate) struct Handed {
    stream: std::net::TcpStream,
    peer: SocketAddr,
    id: u64,
    slot: Slot,
}

/// A count of threads that one of them is part of, until dropped.
pub(crate) struct Counted(Arc<watch::Sender<usize>>);

impl Counted {
    pub(crate) fn new(count: &Arc<watch::Sender<usize>>) -> Self {
        count.send_modify(|count| *count += 1);
        Self(Arc::clone(count))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}

/// One thread's part of a server.
pub(crate) struct Worker {
    pub(crate) index: usize,
    pub(crate) local: SocketAddr,
    /// Taken away when accepting ends. Counts as a listening thread.
    pub(crate) listener: Option<(Acceptor<TcpListener>, Counted)>,
    pub(crate) handed: mpsc::Receiver<Handed>,
    /// The way to each thread, this one included.
    pub(crate) threads: Arc<[mpsc::Sender<Handed>]>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) phase: watch::Receiver<Phase>,
    pub(crate) tls: Option<TlsAcceptor>,
    /// The one thread that keeps the certificate current has it.
    pub(crate) certificate: Option<Tls>,
}

/// The tasks that one thread owns. HTTP/2 streams are counted by the [`Stage`]; they end with their connections.
#[derive(Default)]
struct Tasks {
    connections: JoinSet<()>,
    refusals: JoinSet<()>,
    chores: JoinSet<()>,
}

impl Worker {
    /// Serves until the phase is over.
    pub(crate) async fn run<S: Service>(mut self, service: Arc<S>) {
        let stage = Arc::new(Stage::new(service, Arc::clone(&self.shared), self.local, self.tls.take(), TaskTracker::new()));
        let mut tasks = Tasks::default();
        if let Some(certificate) = self.certificate.take() {
            tasks.chores.spawn(certificate.keep_current());
        }
        loop {
            tokio::select! {
                changed = self.phase.changed() => {
                    let phase = *self.phase.borrow_and_update();
                    // A thread without its server has nobody to stop it.
                    if changed.is_err() || phase == Phase::Over {
                        return;
                    }
                    self.follow(phase, &stage, &mut tasks);
                }
                accepted = next(&mut self.listener) => match accepted {
                    Ok((stream, peer)) => self.admit(stream, peer, &stage, &mut tasks),
                    Err(_) => {
                        self.shared.counters.accept_errors.fetch_add(1, Relaxed);
                    }
                },
                Some(handed) = self.handed.recv() => self.take_over(handed, &stage, &mut tasks),
                Some(ended) = tasks.connections.join_next() => report(ended),
                Some(ended) = tasks.refusals.join_next() => report(ended),
            }
        }
    }

    fn follow<S: Service>(&mut self, phase: Phase, stage: &Arc<Stage<S>>, tasks: &mut Tasks) {
        if phase >= Phase::NotAccepting
            && let Some((acceptor, _listening)) = self.listener.take()
        {
            self.accept_last(acceptor.into_inner(), stage, tasks);
        }
        if phase >= Phase::Draining {
            stage.draining.cancel();
        }
        if phase >= Phase::Cutting {
            tasks.connections.abort_all();
            tasks.refusals.abort_all();
        }
    }

    /// Finds the connection a thread, or turns it away.
    fn admit<S: Service>(&self, stream: TcpStream, peer: SocketAddr, stage: &Arc<Stage<S>>, tasks: &mut Tasks) {
        let id = self.shared.counters.accepted.fetch_add(1, Relaxed) + 1;
        let Some(mut slot) = self.shared.take_slot(self.index) else {
            self.shared.counters.refused.fetch_add(1, Relaxed);
            if tasks.refusals.len() < REFUSALS {
                tasks.refusals.spawn(Arc::clone(stage).refuse(stream));
            }
            return;
        };
        if slot.thread() != self.index {
            if let Ok(place) = self.threads[slot.thread()].try_reserve() {
                match stream.into_std() {
                    Ok(stream) => {
                        self.shared.counters.handed_over.fetch_add(1, Relaxed);
                        place.send(Handed { stream, peer, id, slot });
                    }
                    Err(error) => tracing::warn!(%peer, %error, "can't hand a connection over; it is lost"),
                }
                return;
            }
            slot.move_to(self.index);
        }
        tasks.connections.spawn(Arc::clone(stage).serve(Accepted { stream, peer, id, slot }));
    }

    fn take_over<S: Service>(&self, handed: Handed, stage: &Arc<Stage<S>>, tasks: &mut Tasks) {
        let Handed { stream, peer, id, slot } = handed;
        // What `follow` cut didn't include what was still on its way.
        if *self.phase.borrow() >= Phase::Cutting {
            return;
        }
        match TcpStream::from_std(stream) {
            Ok(stream) => {
                tasks.connections.spawn(Arc::clone(stage).serve(Accepted { stream, peer, id, slot }));
            }
            Err(error) => tracing::warn!(%peer, %error, "can't take a connection over; it is lost"),
        }
    }

    /// Closes the listening socket, after serving those who had connected already: closing resets them.
    fn accept_last<S: Service>(&self, listener: TcpListener, stage: &Arc<Stage<S>>, tasks: &mut Tasks) {
        // The runtime's idea of whether somebody waits may be old; the socket itself knows.
        let Ok(listener) = listener.into_std() else { return };
        while let Ok((stream, peer)) = listener.accept() {
            match stream.set_nonblocking(true).and_then(|()| TcpStream::from_std(stream)) {
                Ok(stream) => self.admit(stream, peer, stage, tasks),
                Err(error) => tracing::debug!(%peer, %error, "the client left at once"),
            }
        }
    }
}

/// The next connection, never if there is no listener any more.
async fn next(listener: &mut Option<(Acceptor<TcpListener>, Counted)>) -> std::io::Result<(TcpStream, SocketAddr)> {
    match listener {
        Some((acceptor, _)) => acceptor.next().await,
        None => std::future::pending().await,
    }
}

/// A connection's task only fails if the service panicked, or if it was cut.
fn report(ended: Result<(), JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!(%error, "serving a connection panicked; the others go on");
    }
}
