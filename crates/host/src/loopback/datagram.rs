//! Datagrams: each socket has a mailbox, and what doesn't fit into it is lost, as with UDP.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};

use super::{Bound, MAX_DATAGRAM_BYTES, MAX_WAITING_DATAGRAMS, NetError, Waiting, plain};

/// Sends and receives datagrams at one address, until it is dropped.
pub(crate) struct Datagrams {
    bound: Bound,
    mailbox: Arc<Mailbox>,
}

/// Datagrams that wait at one socket.
pub(crate) struct Mailbox {
    state: Mutex<Waits>,
    /// Bytes that wait in the whole workload.
    all: Arc<AtomicUsize>,
}

#[derive(Default)]
struct Waits {
    datagrams: VecDeque<Datagram>,
    /// Several calls of a guest may wait for datagrams; whoever comes first gets the next.
    readers: Vec<Waker>,
}

struct Datagram {
    bytes: Vec<u8>,
    from: SocketAddr,
    _counted: Waiting,
}

impl Datagrams {
    /// Opens a mailbox at an address of UDP that was taken.
    pub(crate) fn new(bound: Bound) -> Datagrams {
        let mailbox = Arc::new(Mailbox { state: Mutex::default(), all: bound.net.waiting.clone() });
        bound.net.lock().mailboxes.serve(bound.addr, bound.key, mailbox.clone());
        Datagrams { bound, mailbox }
    }

    pub(crate) fn local_addr(&self) -> SocketAddr {
        self.bound.addr
    }

    /// The address that a peer at `peer` sees.
    pub(crate) fn local_addr_towards(&self, peer: SocketAddr) -> SocketAddr {
        self.bound.seen_from(peer)
    }

    /// Sends to a loopback address. Sent is not received: there may be nobody, or no room.
    pub(crate) fn send(&self, bytes: Vec<u8>, to: SocketAddr) -> Result<(), NetError> {
        let to = plain(to);
        if self.bound.addr.is_ipv4() != to.is_ipv4() {
            return Err(NetError::NotBindable);
        }
        if bytes.len() > MAX_DATAGRAM_BYTES {
            return Err(NetError::TooLarge);
        }
        let mailbox = self.bound.net.lock().mailboxes.find(to);
        if let Some(mailbox) = mailbox {
            mailbox.deliver(bytes, self.bound.seen_from(to));
        }
        Ok(())
    }

    /// The next datagram and who sent it.
    pub(crate) fn poll_receive(&self, cx: &mut Context<'_>) -> Poll<(Vec<u8>, SocketAddr)> {
        let mut waits = self.mailbox.lock();
        if let Some(datagram) = waits.datagrams.pop_front() {
            return Poll::Ready((datagram.bytes, datagram.from));
        }
        if !waits.readers.iter().any(|reader| reader.will_wake(cx.waker())) {
            waits.readers.push(cx.waker().clone());
        }
        Poll::Pending
    }

    /// The mailbox, for datagrams that come from elsewhere.
    pub(crate) fn mailbox(&self) -> Arc<Mailbox> {
        self.mailbox.clone()
    }
}

impl Mailbox {
    /// Puts a datagram in, if there is room.
    pub(crate) fn deliver(&self, bytes: Vec<u8>, from: SocketAddr) {
        let mut waits = self.lock();
        if waits.datagrams.len() >= MAX_WAITING_DATAGRAMS {
            return;
        }
        let Some(_counted) = Waiting::count(&self.all, bytes.len()) else { return };
        waits.datagrams.push_back(Datagram { bytes, from, _counted });
        waits.readers.drain(..).for_each(Waker::wake);
    }

    fn lock(&self) -> MutexGuard<'_, Waits> {
        self.state.lock().expect("no panic while held")
    }
}
