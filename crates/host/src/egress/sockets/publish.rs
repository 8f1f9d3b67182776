//! What a service listens at, let out to ports of the host.
//!
//! The service itself listens on the workload's loopback and knows of nothing else: what comes to the port of the host is carried in, as
//! if it had come over the loopback. A port that somebody else has, such as the service that this one replaces, is tried again until it
//! is free.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::JoinSet;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::Family;
use super::udp::system_socket;
use crate::component::Component;
use crate::egress::permit::take_outside;
use crate::loopback::{Entrance, MAX_DATAGRAM_BYTES, Mailbox, Stream};

/// Time until a port that somebody else has is tried again, and until a failed accept is.
const AGAIN: Duration = Duration::from_millis(250);
/// Connections that wait at a port of the host.
const BACKLOG: u32 = 128;
/// Senders of datagrams that a service may answer: the last ones.
const MAX_PEERS: usize = 1024;

/// A port of the host, let go when dropped. Connections that it brought go on.
pub(super) struct Published {
    _over: DropGuard,
}

/// Carries connections from `addr` of the host to where they enter the loopback.
pub(super) fn tcp(component: Arc<Component>, addr: SocketAddr, entrance: Entrance) -> Published {
    let over = CancellationToken::new();
    let entrance = Arc::new(entrance);
    // tidy: allow(spawn): owned by its listener, whose end it ends with; what it carries ends with the ends it was carried to
    tokio::spawn(accept_all(component, addr, entrance, over.clone()));
    Published { _over: over.drop_guard() }
}

async fn accept_all(component: Arc<Component>, addr: SocketAddr, entrance: Arc<Entrance>, over: CancellationToken) {
    let listen = open(&component, addr, "tcp", || {
        let socket = if addr.is_ipv4() { tokio::net::TcpSocket::new_v4() } else { tokio::net::TcpSocket::new_v6() }?;
        socket.set_reuseaddr(true)?;
        socket.bind(addr)?;
        socket.listen(BACKLOG)
    });
    let Some(listener) = over.run_until_cancelled(listen).await else { return };
    let mut carried = JoinSet::new();
    loop {
        tokio::select! {
            () = over.cancelled() => break,
            (stream, peer, file) = accept(&component, &listener) => {
                carried.spawn(carry(stream, peer, entrance.clone(), file));
            }
            Some(_) = carried.join_next(), if !carried.is_empty() => {}
        }
    }
    drop((listener, entrance));
    while carried.join_next().await.is_some() {}
}

/// Tries to open a port of the host until that succeeds.
async fn open<T>(component: &Component, addr: SocketAddr, protocol: &str, open: impl Fn() -> io::Result<T>) -> T {
    let mut told = false;
    loop {
        match open() {
            Ok(opened) => return opened,
            Err(error) if !told => {
                let message = format!(
                    "port {addr}/{protocol} of the host can't be opened yet for what component {} listens at: {error}",
                    component.name
                );
                component.warn("PortUnavailable", message);
                told = true;
            }
            Err(_) => {}
        }
        tokio::time::sleep(AGAIN).await;
    }
}

/// The next connection, and the right to hold it.
async fn accept(component: &Component, listener: &TcpListener) -> (TcpStream, SocketAddr, OwnedSemaphorePermit) {
    loop {
        if let Some(file) = take_outside(component).await
            && let Ok((stream, peer)) = listener.accept().await
        {
            return (stream, peer, file);
        }
        tokio::time::sleep(AGAIN).await;
    }
}

/// Carries one connection in, until the guest's end of it is gone or both directions have ended.
async fn carry(mut stream: TcpStream, peer: SocketAddr, entrance: Arc<Entrance>, _file: OwnedSemaphorePermit) {
    let entered = entrance.enter(peer).await;
    drop(entrance);
    let Ok(inner) = entered else {
        // As a port does at which nobody listens.
        let _ = stream.set_zero_linger();
        return;
    };
    let _ = stream.set_nodelay(true);
    let whole = relay(&mut stream, &inner).await;
    if !whole {
        inner.reset();
        let _ = stream.set_zero_linger();
    }
}

/// False where a direction broke off.
async fn relay(stream: &mut TcpStream, inner: &Stream) -> bool {
    let (mut from_client, mut to_client) = stream.split();
    let inward = async {
        let (mut near, mut far) = (inner, &mut from_client);
        let copied = tokio::select! {
            copied = tokio::io::copy(&mut far, &mut near) => copied.is_ok(),
            // The guest is gone, so nobody hears what the client may still say.
            () = std::future::poll_fn(|cx| inner.poll_gone(cx)) => true,
        };
        if copied {
            inner.shut_write();
        } else {
            inner.reset();
        }
        copied
    };
    let outward = async {
        let mut near = inner;
        let copied = tokio::io::copy(&mut near, &mut to_client).await.is_ok();
        if copied {
            // The client may be gone already.
            let _ = to_client.shutdown().await;
        } else {
            inner.reset();
        }
        copied
    };
    let (inward, outward) = tokio::join!(inward, outward);
    inward && outward
}

/// The port of the host from which a service sends datagrams, to those who sent it some.
#[derive(Default)]
pub(super) struct Outside {
    socket: OnceLock<UdpSocket>,
    peers: Mutex<VecDeque<SocketAddr>>,
}

impl Outside {
    /// The socket, where `peer` sent something to it.
    pub(super) fn to(&self, peer: SocketAddr) -> Option<&UdpSocket> {
        self.peers.lock().expect("no panic while held").contains(&peer).then(|| self.socket.get()).flatten()
    }

    fn remember(&self, peer: SocketAddr) {
        let mut peers = self.peers.lock().expect("no panic while held");
        if peers.contains(&peer) {
            return;
        }
        if peers.len() >= MAX_PEERS {
            peers.pop_front();
        }
        peers.push_back(peer);
    }
}

/// Carries datagrams from `addr` of the host into a mailbox.
pub(super) fn udp(component: Arc<Component>, addr: SocketAddr, mailbox: Arc<Mailbox>, outside: Arc<Outside>) -> Published {
    let over = CancellationToken::new();
    let receive = receive_all(component, addr, mailbox, outside);
    let until = over.clone();
    // tidy: allow(spawn): owned by its socket, whose end it ends with
    tokio::spawn(async move { until.run_until_cancelled(receive).await });
    Published { _over: over.drop_guard() }
}

async fn receive_all(component: Arc<Component>, addr: SocketAddr, mailbox: Arc<Mailbox>, outside: Arc<Outside>) {
    let Some(_file) = take_outside(&component).await else { return };
    let family = if addr.is_ipv4() { Family::V4 } else { Family::V6 };
    let opened = open(&component, addr, "udp", || system_socket(family, addr)).await;
    let socket = outside.socket.get_or_init(|| opened);
    let mut buf = vec![0; MAX_DATAGRAM_BYTES];
    loop {
        match socket.recv_from(&mut buf).await {
            Ok((count, from)) => {
                outside.remember(from);
                mailbox.deliver(buf[..count].to_vec(), from);
            }
            // A datagram that was sent met nobody; the next one is received all the same.
            Err(_) => tokio::task::yield_now().await,
        }
    }
}
