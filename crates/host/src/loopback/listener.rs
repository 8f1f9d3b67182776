//! Listening: a bounded backlog of connections that wait to be accepted.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::stream::{Stream, pair};
use super::{Bound, Loopback, MAX_BACKLOG, NetError};

/// Accepts connections to one address, until it is dropped. Those that it did not accept are reset then.
pub(crate) struct Listener {
    bound: Bound,
    queue: Arc<Queue>,
}

/// Connections that wait at one listener.
pub(super) struct Queue {
    state: Mutex<Waiting>,
    /// Room for more of them.
    room: Arc<Semaphore>,
}

#[derive(Default)]
struct Waiting {
    streams: VecDeque<(Stream, OwnedSemaphorePermit)>,
    acceptor: Option<Waker>,
    closed: bool,
}

impl Listener {
    /// Listens at an address of TCP that was taken; `backlog` connections wait, 1 to 128.
    pub(crate) fn new(bound: Bound, backlog: usize) -> Listener {
        let room = Arc::new(Semaphore::new(backlog.clamp(1, MAX_BACKLOG)));
        let queue = Arc::new(Queue { state: Mutex::default(), room });
        bound.net.lock().listeners.serve(bound.addr, bound.key, queue.clone());
        Listener { bound, queue }
    }

    pub(crate) fn local_addr(&self) -> SocketAddr {
        self.bound.addr
    }

    /// Ready when there is a connection to accept. Polled by one task at a time.
    pub(crate) fn poll_waiting(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut waiting = self.queue.lock();
        if !waiting.streams.is_empty() {
            return Poll::Ready(());
        }
        waiting.acceptor = Some(cx.waker().clone());
        Poll::Pending
    }

    /// The next connection. Polled by one task at a time.
    pub(crate) fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<Stream> {
        let mut waiting = self.queue.lock();
        if let Some((stream, _room)) = waiting.streams.pop_front() {
            return Poll::Ready(stream);
        }
        waiting.acceptor = Some(cx.waker().clone());
        Poll::Pending
    }

    /// A way in for connections that come from elsewhere.
    pub(crate) fn entrance(&self) -> Entrance {
        Entrance { queue: self.queue.clone(), connections: self.bound.net.connections.clone(), addr: self.bound.addr }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.queue.room.close();
        let mut waiting = self.queue.lock();
        waiting.closed = true;
        let left = std::mem::take(&mut waiting.streams);
        drop(waiting);
        left.iter().for_each(|(stream, _)| stream.reset());
    }
}

/// Where connections that come from outside of the loopback enter a listener.
pub(crate) struct Entrance {
    queue: Arc<Queue>,
    connections: Arc<Semaphore>,
    addr: SocketAddr,
}

impl Entrance {
    /// A connection of a client at `client`, as if it had come over the loopback. Waits while the backlog is full.
    pub(crate) async fn enter(&self, client: SocketAddr) -> Result<Stream, NetError> {
        self.queue.enter(&self.connections, client, self.addr, None).await
    }
}

impl Queue {
    /// The near end of a new connection, whose far end waits to be accepted.
    pub(super) async fn enter(
        &self,
        connections: &Arc<Semaphore>,
        near: SocketAddr,
        far: SocketAddr,
        claim: Option<Bound>,
    ) -> Result<Stream, NetError> {
        let counted = connections.clone().try_acquire_owned().map_err(|_| NetError::Exhausted)?;
        let room = self.room.clone().acquire_owned().await.map_err(|_| NetError::Refused)?;
        let (near, far) = pair(near, far, claim, counted);
        let mut waiting = self.lock();
        if waiting.closed {
            return Err(NetError::Refused);
        }
        waiting.streams.push_back((far, room));
        waiting.acceptor.take().into_iter().for_each(Waker::wake);
        Ok(near)
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.state.lock().expect("no panic while held")
    }
}

impl Loopback {
    /// Whether anybody listens at `to`.
    #[cfg(test)]
    pub(super) fn listens(&self, to: SocketAddr) -> bool {
        self.lock().listeners.find(to).is_some()
    }
}
