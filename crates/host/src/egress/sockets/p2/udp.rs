//! `wasi:sockets/udp` of WASI 0.2.

use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use wasmtime::StoreContextMut;
use wasmtime::component::{LinkerInstance, Resource, ResourceTable, ResourceType};
use wasmtime_wasi::p2::bindings::sockets::network::{ErrorCode, IpAddressFamily, IpSocketAddress, Network};
use wasmtime_wasi::p2::bindings::sockets::udp::{IncomingDatagram, OutgoingDatagram};
use wasmtime_wasi::p2::{DynPollable, Pollable, subscribe};

use super::{Answer, answer, ask, tell};
use crate::egress::sockets::failure::SocketError;
use crate::egress::sockets::options::Options;
use crate::egress::sockets::udp::{Port, UdpSocket};
use crate::egress::sockets::{Family, Owner};
use crate::guest::Guest;

/// Datagrams that are received or sent by one call, at most.
const MAX_DATAGRAMS: usize = 16;
/// Bytes of datagrams after which one call receives no more (L31).
const MAX_BYTES: usize = 64 << 10;

/// The resource `udp-socket`.
pub(super) struct Socket {
    inner: UdpSocket,
    binding: bool,
}

/// The resource `incoming-datagram-stream`.
struct Incoming {
    port: Arc<Port>,
    only: Option<SocketAddr>,
    /// The next datagram, while it is waited for and until it is taken.
    next: Next,
}

enum Next {
    None,
    Awaited(Pin<Box<dyn Future<Output = Received> + Send>>),
    Here(Received),
}

type Received = Result<(Vec<u8>, SocketAddr), SocketError>;

/// The resource `outgoing-datagram-stream`.
struct Outgoing {
    /// The socket as it was when the stream was made, which is as long as it has streams.
    port: Arc<Port>,
    family: Family,
    remote: Option<SocketAddr>,
    options: Options,
    /// Datagrams that may be sent, as was last said.
    offered: usize,
}

type Streams = (Resource<Incoming>, Resource<Outgoing>);

impl Socket {
    pub(super) fn new(owner: Owner, family: Family) -> Result<Socket, SocketError> {
        Ok(Socket { inner: UdpSocket::new(owner, family)?, binding: false })
    }

    fn start_bind(&mut self, addr: SocketAddr) -> Result<(), ErrorCode> {
        if self.binding {
            return Err(ErrorCode::ConcurrencyConflict);
        }
        self.inner.bind(addr).map_err(SocketError::p2)?;
        self.binding = true;
        Ok(())
    }

    fn finish_bind(&mut self) -> Result<(), ErrorCode> {
        if std::mem::take(&mut self.binding) { Ok(()) } else { Err(ErrorCode::NotInProgress) }
    }

    fn open_streams(&mut self, remote: Option<SocketAddr>) -> Result<(Incoming, Outgoing), SocketError> {
        if !self.inner.is_bound() {
            return Err(SocketError::INVALID_STATE);
        }
        match remote {
            Some(remote) => self.inner.connect(remote)?,
            None => {
                // It may not be connected, which is what is asked for.
                let _ = self.inner.disconnect();
            }
        }
        let port = self.inner.port()?;
        let incoming = Incoming { port: port.clone(), only: remote, next: Next::None };
        Ok((incoming, Outgoing { port, family: self.inner.family(), remote, options: self.inner.options, offered: 0 }))
    }
}

impl Incoming {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Next::None = self.next {
            let (port, only) = (self.port.clone(), self.only);
            self.next = Next::Awaited(Box::pin(async move { port.receive(only).await }));
        }
        if let Next::Awaited(awaited) = &mut self.next {
            self.next = Next::Here(std::task::ready!(awaited.as_mut().poll(cx)));
        }
        Poll::Ready(())
    }

    fn take_next(&mut self) -> Option<Received> {
        if self.poll_next(&mut Context::from_waker(Waker::noop())).is_pending() {
            return None;
        }
        match std::mem::replace(&mut self.next, Next::None) {
            Next::Here(received) => Some(received),
            Next::None | Next::Awaited(_) => None,
        }
    }

    fn receive(&mut self, max: u64) -> Result<Vec<IncomingDatagram>, SocketError> {
        let max = usize::try_from(max).unwrap_or(usize::MAX).min(MAX_DATAGRAMS);
        let (mut datagrams, mut bytes) = (Vec::new(), 0);
        while datagrams.len() < max && bytes < MAX_BYTES {
            match self.take_next() {
                None => break,
                Some(Ok((data, from))) => {
                    bytes += data.len() + 1;
                    datagrams.push(IncomingDatagram { data, remote_address: from.into() });
                }
                Some(Err(_)) if !datagrams.is_empty() => break,
                Some(Err(error)) => return Err(error),
            }
        }
        Ok(datagrams)
    }
}

impl Outgoing {
    fn target(&self, to: Option<SocketAddr>) -> Result<SocketAddr, SocketError> {
        crate::egress::sockets::udp::target(self.family, to, self.remote)
    }
}

#[async_trait::async_trait]
impl Pollable for Socket {
    async fn ready(&mut self) {}
}

#[async_trait::async_trait]
impl Pollable for Incoming {
    async fn ready(&mut self) {
        poll_fn(|cx| self.poll_next(cx)).await;
    }
}

#[async_trait::async_trait]
impl Pollable for Outgoing {
    async fn ready(&mut self) {}
}

pub(super) fn link(udp: &mut LinkerInstance<'_, Guest>) -> wasmtime::Result<()> {
    fn delete<T: 'static>(table: &mut ResourceTable, rep: u32) -> wasmtime::Result<()> {
        table.delete(Resource::<T>::new_own(rep))?;
        Ok(())
    }
    udp.resource("udp-socket", ResourceType::host::<Socket>(), |mut s, rep| delete::<Socket>(&mut s.data_mut().table, rep))?;
    udp.resource("incoming-datagram-stream", ResourceType::host::<Incoming>(), |mut s, rep| {
        delete::<Incoming>(&mut s.data_mut().table, rep)
    })?;
    udp.resource("outgoing-datagram-stream", ResourceType::host::<Outgoing>(), |mut s, rep| {
        delete::<Outgoing>(&mut s.data_mut().table, rep)
    })?;
    link_socket(udp)?;
    link_incoming(udp)?;
    link_outgoing(udp)
}

fn link_socket(udp: &mut LinkerInstance<'_, Guest>) -> wasmtime::Result<()> {
    type Bind = (Resource<Socket>, Resource<Network>, IpSocketAddress);
    udp.func_wrap("[method]udp-socket.start-bind", |mut store: StoreContextMut<'_, Guest>, (socket, network, addr): Bind| {
        let table = &mut store.data_mut().table;
        // Holding the network is the right to use it.
        table.get(&network)?;
        Ok((table.get_mut(&socket)?.start_bind(addr.into()),))
    })?;
    udp.func_wrap("[method]udp-socket.finish-bind", |mut store: StoreContextMut<'_, Guest>, (socket,): (Resource<Socket>,)| {
        Ok((store.data_mut().table.get_mut(&socket)?.finish_bind(),))
    })?;
    type Open = (Resource<Socket>, Option<IpSocketAddress>);
    udp.func_wrap("[method]udp-socket.stream", |mut store: StoreContextMut<'_, Guest>, (socket, remote): Open| {
        let table = &mut store.data_mut().table;
        if table.iter_children(&socket)?.any(|child| child.is::<Incoming>() || child.is::<Outgoing>()) {
            return Err(wasmtime::format_err!("the streams of a UDP socket are dropped before there are others"));
        }
        let streams: Answer<Streams> = match table.get_mut(&socket)?.open_streams(remote.map(SocketAddr::from)) {
            Ok((incoming, outgoing)) => (Ok((table.push_child(incoming, &socket)?, table.push_child(outgoing, &socket)?)),),
            Err(error) => (Err(error.p2()),),
        };
        Ok(streams)
    })?;
    udp.func_wrap("[method]udp-socket.subscribe", |mut store: StoreContextMut<'_, Guest>, (socket,): (Resource<Socket>,)| {
        let pollable: Resource<DynPollable> = subscribe(&mut store.data_mut().table, socket)?;
        Ok((pollable,))
    })?;
    udp.func_wrap("[method]udp-socket.address-family", |mut store: StoreContextMut<'_, Guest>, (socket,): (Resource<Socket>,)| {
        Ok((IpAddressFamily::from(store.data_mut().table.get(&socket)?.inner.family()),))
    })?;
    ask!(udp, Socket, "[method]udp-socket.local-address", |s| s.inner.local_address().map(IpSocketAddress::from));
    ask!(udp, Socket, "[method]udp-socket.remote-address", |s| s.inner.remote_address().map(IpSocketAddress::from));
    ask!(udp, Socket, "[method]udp-socket.unicast-hop-limit", |s| Ok(s.inner.options.hop_limit()));
    tell!(udp, Socket, "[method]udp-socket.set-unicast-hop-limit", u8, |s, n| s.inner.set(|o| o.set_hop_limit(n)));
    ask!(udp, Socket, "[method]udp-socket.receive-buffer-size", |s| Ok(s.inner.options.receive_buffer()));
    tell!(udp, Socket, "[method]udp-socket.set-receive-buffer-size", u64, |s, n| s.inner.set(|o| o.set_receive_buffer(n)));
    ask!(udp, Socket, "[method]udp-socket.send-buffer-size", |s| Ok(s.inner.options.send_buffer()));
    tell!(udp, Socket, "[method]udp-socket.set-send-buffer-size", u64, |s, n| s.inner.set(|o| o.set_send_buffer(n)));
    Ok(())
}

fn link_incoming(udp: &mut LinkerInstance<'_, Guest>) -> wasmtime::Result<()> {
    type Receive = (Resource<Incoming>, u64);
    udp.func_wrap("[method]incoming-datagram-stream.receive", |mut store: StoreContextMut<'_, Guest>, (stream, max): Receive| {
        answer(store.data_mut().table.get_mut(&stream)?.receive(max))
    })?;
    udp.func_wrap(
        "[method]incoming-datagram-stream.subscribe",
        |mut store: StoreContextMut<'_, Guest>, (stream,): (Resource<Incoming>,)| {
            let pollable: Resource<DynPollable> = subscribe(&mut store.data_mut().table, stream)?;
            Ok((pollable,))
        },
    )
}

fn link_outgoing(udp: &mut LinkerInstance<'_, Guest>) -> wasmtime::Result<()> {
    udp.func_wrap(
        "[method]outgoing-datagram-stream.check-send",
        |mut store: StoreContextMut<'_, Guest>, (stream,): (Resource<Outgoing>,)| {
            store.data_mut().table.get_mut(&stream)?.offered = MAX_DATAGRAMS;
            let offered: Answer<u64> = (Ok(MAX_DATAGRAMS as u64),);
            Ok(offered)
        },
    )?;
    udp.func_wrap(
        "[method]outgoing-datagram-stream.subscribe",
        |mut store: StoreContextMut<'_, Guest>, (stream,): (Resource<Outgoing>,)| {
            let pollable: Resource<DynPollable> = subscribe(&mut store.data_mut().table, stream)?;
            Ok((pollable,))
        },
    )?;
    type Send = (Resource<Outgoing>, Vec<OutgoingDatagram>);
    // A socket of the system takes a datagram at once, or as soon as its buffer has room.
    udp.func_wrap_async("[method]outgoing-datagram-stream.send", |mut store: StoreContextMut<'_, Guest>, (stream, datagrams): Send| {
        Box::new(async move {
            let outgoing = store.data_mut().table.get_mut(&stream)?;
            if datagrams.len() > outgoing.offered {
                return Err(wasmtime::format_err!("more datagrams are sent than were offered"));
            }
            outgoing.offered = 0;
            answer(send_all(outgoing, datagrams).await)
        })
    })
}

/// How many were sent; an error only where that is none.
async fn send_all(outgoing: &Outgoing, datagrams: Vec<OutgoingDatagram>) -> Result<u64, SocketError> {
    let mut sent = 0;
    for datagram in datagrams {
        let to = outgoing.target(datagram.remote_address.map(SocketAddr::from));
        let result = match to {
            Ok(to) => outgoing.port.send(datagram.data, to, outgoing.options).await,
            Err(error) => Err(error),
        };
        match result {
            Ok(()) => sent += 1,
            Err(error) if sent == 0 => return Err(error),
            Err(_) => break,
        }
    }
    Ok(sent)
}
