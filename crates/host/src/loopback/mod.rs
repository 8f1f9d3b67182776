//! The workload's loopback: the network on which its components and its service reach each other, by TCP and UDP on 127.0.0.0/8 and ::1.
//!
//! It is memory of the host, one network for each workload: no other workload, nobody on the host's own loopback and nobody on its
//! network sees anything of it. It behaves as the loopback of a machine would, as far as programs can tell: ports are taken and given
//! back, connections wait in a backlog, ends are shut one by one, a full mailbox loses datagrams.
//!
//! It knows no guests, no grants and no engine: who may listen or connect is decided before anybody comes here (`egress::policy`).
//! All that is made here goes when its owner drops it; nothing runs by itself.

mod datagram;
mod listener;
mod ports;
mod stream;

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use berth_model::grants::Protocol;
use tokio::sync::Semaphore;

pub(crate) use self::datagram::{Datagrams, Mailbox};
pub(crate) use self::listener::{Entrance, Listener};
use self::ports::Ports;
pub(crate) use self::stream::Stream;

/// Addresses that a workload may have taken at once, of each protocol: listeners, bound sockets and the near ends of connections.
const MAX_ADDRESSES: usize = 2048;
/// Connections of a workload at once.
const MAX_CONNECTIONS: usize = 1024;
/// Bytes that wait in one direction of a connection. All connections of a workload together hold 64 MiB at most.
const BUFFER_BYTES: usize = 32 << 10;
/// Connections that wait at one listener; those that come when it is full wait before it.
const MAX_BACKLOG: usize = 128;
/// Largest datagram, bytes: what UDP over IPv4 carries (65,535 less the headers).
pub(crate) const MAX_DATAGRAM_BYTES: usize = 65_507;
/// Datagrams that wait at one socket; more are lost.
const MAX_WAITING_DATAGRAMS: usize = 256;
/// Bytes of all datagrams that wait in a workload; more are lost.
const MAX_WAITING_BYTES: usize = 8 << 20;

/// Why something can't be done on a loopback.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NetError {
    #[error("the address is in use")]
    AddressInUse,
    #[error("the address isn't one of the loopback's")]
    NotBindable,
    #[error("nobody listens there")]
    Refused,
    #[error("the other end is gone")]
    Reset,
    #[error("the connection is closed for writing")]
    Broken,
    #[error("the datagram is larger than {MAX_DATAGRAM_BYTES} bytes")]
    TooLarge,
    #[error("the workload has as many sockets or connections as it may have")]
    Exhausted,
}

impl From<NetError> for io::Error {
    fn from(error: NetError) -> io::Error {
        let kind = match error {
            NetError::AddressInUse => io::ErrorKind::AddrInUse,
            NetError::NotBindable => io::ErrorKind::AddrNotAvailable,
            NetError::Refused => io::ErrorKind::ConnectionRefused,
            NetError::Reset => io::ErrorKind::ConnectionReset,
            NetError::Broken => io::ErrorKind::BrokenPipe,
            NetError::TooLarge => io::ErrorKind::InvalidInput,
            NetError::Exhausted => io::ErrorKind::OutOfMemory,
        };
        io::Error::new(kind, error)
    }
}

/// One workload's loopback.
pub(crate) struct Loopback {
    state: Mutex<State>,
    connections: Arc<Semaphore>,
    /// Bytes of datagrams that wait.
    waiting: Arc<AtomicUsize>,
}

#[derive(Default)]
struct State {
    listeners: Ports<Arc<listener::Queue>>,
    mailboxes: Ports<Arc<datagram::Mailbox>>,
}

impl Loopback {
    pub(crate) fn new() -> Arc<Loopback> {
        Arc::new(Loopback { state: Mutex::default(), connections: Arc::new(Semaphore::new(MAX_CONNECTIONS)), waiting: Arc::default() })
    }

    /// Takes `addr`, a loopback address or the wildcard of its family; port 0 takes a free one.
    pub(crate) fn bind(self: &Arc<Self>, protocol: Protocol, addr: SocketAddr) -> Result<Bound, NetError> {
        let addr = plain(addr);
        if !addr.ip().is_unspecified() && !is_loopback(addr.ip()) {
            return Err(NetError::NotBindable);
        }
        let mut state = self.lock();
        let (addr, key) = match protocol {
            Protocol::Tcp => state.listeners.claim(addr)?,
            Protocol::Udp => state.mailboxes.claim(addr)?,
        };
        Ok(Bound { net: self.clone(), protocol, addr, key })
    }

    /// Connects to `to`, from an address that was taken before or from a free port. Waits while the listener's backlog is full.
    pub(crate) async fn connect(self: &Arc<Self>, from: Option<Bound>, to: SocketAddr) -> Result<Stream, NetError> {
        let to = plain(to);
        let queue = self.lock().listeners.find(to).ok_or(NetError::Refused)?;
        let from = match from {
            Some(bound) if bound.addr.is_ipv4() == to.is_ipv4() => bound,
            Some(_) => return Err(NetError::NotBindable),
            None => self.bind(Protocol::Tcp, SocketAddr::new(nearest(to.ip()), 0))?,
        };
        let local = from.seen_from(to);
        queue.enter(&self.connections, local, to, Some(from)).await
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panic while held")
    }
}

/// An address that is taken, until this is dropped.
pub(crate) struct Bound {
    net: Arc<Loopback>,
    protocol: Protocol,
    addr: SocketAddr,
    key: u64,
}

impl Bound {
    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The address that a peer at `peer` sees.
    fn seen_from(&self, peer: SocketAddr) -> SocketAddr {
        if self.addr.ip().is_unspecified() { SocketAddr::new(nearest(peer.ip()), self.addr.port()) } else { self.addr }
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        let mut state = self.net.lock();
        match self.protocol {
            Protocol::Tcp => state.listeners.release(self.addr, self.key),
            Protocol::Udp => state.mailboxes.release(self.addr, self.key),
        }
    }
}

/// Bytes of a datagram that waits, counted until this is dropped.
struct Waiting {
    all: Arc<AtomicUsize>,
    bytes: usize,
}

impl Waiting {
    /// None: the workload has as many waiting as it may have.
    fn count(all: &Arc<AtomicUsize>, bytes: usize) -> Option<Waiting> {
        let within = |waiting: usize| Some(waiting + bytes).filter(|sum| *sum <= MAX_WAITING_BYTES);
        all.fetch_update(Ordering::Relaxed, Ordering::Relaxed, within).ok()?;
        Some(Waiting { all: all.clone(), bytes })
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.all.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// Whether `ip` is of a loopback, also where IPv6 only carries an IPv4 one (`::ffff:127.0.0.1`).
pub(crate) fn is_loopback(ip: IpAddr) -> bool {
    ip.to_canonical().is_loopback()
}

/// Without zone and flow, and an IPv4-mapped address as IPv4: what two addresses are compared by.
pub(crate) fn plain(addr: SocketAddr) -> SocketAddr {
    SocketAddr::new(addr.ip().to_canonical(), addr.port())
}

/// The loopback address of the family of `ip`.
fn nearest(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    }
}

#[cfg(test)]
mod tests;
