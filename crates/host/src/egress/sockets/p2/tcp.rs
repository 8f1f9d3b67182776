//! `wasi:sockets/tcp` of WASI 0.2.

use std::future::poll_fn;
use std::task::{Context, Poll, Waker};

use wasmtime::StoreContextMut;
use wasmtime::component::{LinkerInstance, Resource, ResourceType};
use wasmtime_wasi::p2::bindings::sockets::network::{ErrorCode, IpAddressFamily, IpSocketAddress, Network};
use wasmtime_wasi::p2::bindings::sockets::tcp::ShutdownType;
use wasmtime_wasi::p2::{DynInputStream, DynOutputStream, DynPollable, Pollable, subscribe};

use super::streams::{Input, Output};
use super::{Answer, answer, ask, tell};
use crate::egress::sockets::failure::SocketError;
use crate::egress::sockets::tcp::TcpSocket;
use crate::egress::sockets::{Family, Owner};
use crate::guest::Guest;

/// The resource `tcp-socket`.
pub(super) struct Socket {
    inner: TcpSocket,
    /// What was started and not finished.
    started: Option<Started>,
    streams: Option<(Input, Output)>,
}

#[derive(Clone, Copy, PartialEq)]
enum Started {
    Bind,
    Connect,
    Listen,
}

type Streams = (Resource<DynInputStream>, Resource<DynOutputStream>);
type Accepted = (Resource<Socket>, Resource<DynInputStream>, Resource<DynOutputStream>);

impl Socket {
    pub(super) fn new(owner: Owner, family: Family) -> Result<Socket, SocketError> {
        Ok(Socket::of(TcpSocket::new(owner, family)?))
    }

    fn of(inner: TcpSocket) -> Socket {
        Socket { inner, started: None, streams: None }
    }

    /// Begins something that is finished by another call.
    fn start(&mut self, what: Started, start: impl FnOnce(&mut TcpSocket) -> Result<(), SocketError>) -> Result<(), ErrorCode> {
        if self.started.is_some() {
            return Err(ErrorCode::ConcurrencyConflict);
        }
        start(&mut self.inner).map_err(SocketError::p2)?;
        self.started = Some(what);
        Ok(())
    }

    fn finish(&mut self, what: Started) -> Result<(), ErrorCode> {
        if self.started != Some(what) {
            return Err(ErrorCode::NotInProgress);
        }
        if what == Started::Connect {
            let Poll::Ready(connected) = self.inner.poll_connected(&mut now()) else { return Err(ErrorCode::WouldBlock) };
            self.started = None;
            return connected.map_err(SocketError::p2);
        }
        self.started = None;
        Ok(())
    }

    fn open_streams(&mut self) -> Result<(DynInputStream, DynOutputStream), ErrorCode> {
        let reader = self.inner.take_reader().map_err(SocketError::p2)?;
        let writer = self.inner.take_writer().map_err(SocketError::p2)?;
        let (input, output) = (Input::new(reader), Output::new(writer));
        self.streams = Some((input.clone(), output.clone()));
        Ok((Box::new(input), Box::new(output)))
    }

    fn shut(&mut self, how: ShutdownType) -> Result<(), SocketError> {
        let (input, output) = self.streams.as_ref().ok_or(SocketError::INVALID_STATE)?;
        if let ShutdownType::Receive | ShutdownType::Both = how {
            input.shut();
        }
        if let ShutdownType::Send | ShutdownType::Both = how {
            output.shut();
        }
        Ok(())
    }
}

/// To ask how things are, without waiting.
fn now() -> Context<'static> {
    Context::from_waker(Waker::noop())
}

#[async_trait::async_trait]
impl Pollable for Socket {
    async fn ready(&mut self) {
        if self.inner.is_connecting() {
            let _ = poll_fn(|cx| self.inner.poll_connected(cx)).await;
        } else if let (None, Some(listening)) = (self.started, self.inner.listening()) {
            poll_fn(|cx| listening.poll_ready(cx)).await;
        }
    }
}

pub(super) fn link(tcp: &mut LinkerInstance<'_, Guest>) -> wasmtime::Result<()> {
    tcp.resource("tcp-socket", ResourceType::host::<Socket>(), |mut store, rep| {
        let guest: &mut Guest = store.data_mut();
        guest.table.delete(Resource::<Socket>::new_own(rep))?;
        Ok(())
    })?;
    link_start(tcp)?;
    link_connected(tcp)?;
    link_about(tcp)?;
    link_options(tcp)
}

fn link_start(tcp: &mut LinkerInstance<'_, Guest>) -> wasmtime::Result<()> {
    type Args = (Resource<Socket>, Resource<Network>, IpSocketAddress);
    tcp.func_wrap("[method]tcp-socket.start-bind", |mut store: StoreContextMut<'_, Guest>, (socket, network, addr): Args| {
        let table = &mut store.data_mut().table;
        // Holding the network is the right to use it.
        table.get(&network)?;
        Ok((table.get_mut(&socket)?.start(Started::Bind, |socket| socket.bind(addr.into())),))
    })?;
    tcp.func_wrap("[method]tcp-socket.start-connect", |mut store: StoreContextMut<'_, Guest>, (socket, network, addr): Args| {
        let table = &mut store.data_mut().table;
        table.get(&network)?;
        Ok((table.get_mut(&socket)?.start(Started::Connect, |socket| socket.start_connect(addr.into())),))
    })?;
    tcp.func_wrap("[method]tcp-socket.start-listen", |mut store: StoreContextMut<'_, Guest>, (socket,): (Resource<Socket>,)| {
        let socket = store.data_mut().table.get_mut(&socket)?;
        // In WASI 0.2 what listens was bound before.
        let bound = |socket: &mut TcpSocket| if socket.is_bound() { socket.listen().map(drop) } else { Err(SocketError::INVALID_STATE) };
        Ok((socket.start(Started::Listen, bound),))
    })?;
    tcp.func_wrap("[method]tcp-socket.finish-bind", |mut store: StoreContextMut<'_, Guest>, (socket,): (Resource<Socket>,)| {
        Ok((store.data_mut().table.get_mut(&socket)?.finish(Started::Bind),))
    })?;
    tcp.func_wrap("[method]tcp-socket.finish-listen", |mut store: StoreContextMut<'_, Guest>, (socket,): (Resource<Socket>,)| {
        Ok((store.data_mut().table.get_mut(&socket)?.finish(Started::Listen),))
    })
}

fn link_connected(tcp: &mut LinkerInstance<'_, Guest>) -> wasmtime::Result<()> {
    tcp.func_wrap("[method]tcp-socket.finish-connect", |mut store: StoreContextMut<'_, Guest>, (this,): (Resource<Socket>,)| {
        let table = &mut store.data_mut().table;
        let socket = table.get_mut(&this)?;
        let opened = socket.finish(Started::Connect).and_then(|()| socket.open_streams());
        let streams: Answer<Streams> = match opened {
            Ok((input, output)) => (Ok((table.push_child(input, &this)?, table.push_child(output, &this)?)),),
            Err(error) => (Err(error),),
        };
        Ok(streams)
    })?;
    tcp.func_wrap("[method]tcp-socket.accept", |mut store: StoreContextMut<'_, Guest>, (this,): (Resource<Socket>,)| {
        let table = &mut store.data_mut().table;
        let socket = table.get_mut(&this)?;
        let accepted: Answer<Accepted> = match socket.inner.listening().map(|listening| listening.poll_accept(&mut now())) {
            None => (Err(ErrorCode::InvalidState),),
            Some(Poll::Pending) => (Err(ErrorCode::WouldBlock),),
            Some(Poll::Ready(accepted)) => {
                let mut accepted = Socket::of(accepted);
                match accepted.open_streams() {
                    Ok((input, output)) => {
                        let accepted = table.push(accepted)?;
                        let (input, output) = (table.push_child(input, &accepted)?, table.push_child(output, &accepted)?);
                        (Ok((accepted, input, output)),)
                    }
                    Err(error) => (Err(error),),
                }
            }
        };
        Ok(accepted)
    })?;
    tcp.func_wrap("[method]tcp-socket.subscribe", |mut store: StoreContextMut<'_, Guest>, (socket,): (Resource<Socket>,)| {
        let pollable: Resource<DynPollable> = subscribe(&mut store.data_mut().table, socket)?;
        Ok((pollable,))
    })?;
    tell!(tcp, Socket, "[method]tcp-socket.shutdown", ShutdownType, Socket::shut);
    Ok(())
}

fn link_about(tcp: &mut LinkerInstance<'_, Guest>) -> wasmtime::Result<()> {
    ask!(tcp, Socket, "[method]tcp-socket.local-address", |s| s.inner.local_address().map(IpSocketAddress::from));
    ask!(tcp, Socket, "[method]tcp-socket.remote-address", |s| s.inner.remote_address().map(IpSocketAddress::from));
    tcp.func_wrap("[method]tcp-socket.is-listening", |mut store: StoreContextMut<'_, Guest>, (socket,): (Resource<Socket>,)| {
        Ok((store.data_mut().table.get(&socket)?.inner.listening().is_some(),))
    })?;
    tcp.func_wrap("[method]tcp-socket.address-family", |mut store: StoreContextMut<'_, Guest>, (socket,): (Resource<Socket>,)| {
        Ok((IpAddressFamily::from(store.data_mut().table.get(&socket)?.inner.family()),))
    })
}

fn link_options(tcp: &mut LinkerInstance<'_, Guest>) -> wasmtime::Result<()> {
    tell!(tcp, Socket, "[method]tcp-socket.set-listen-backlog-size", u64, |s, n| s.inner.set_backlog(n));
    ask!(tcp, Socket, "[method]tcp-socket.keep-alive-enabled", |s| Ok(s.inner.options.keep_alive()));
    tell!(tcp, Socket, "[method]tcp-socket.set-keep-alive-enabled", bool, |s, on| s.inner.set(|o| o.set_keep_alive(on)));
    ask!(tcp, Socket, "[method]tcp-socket.keep-alive-idle-time", |s| Ok(s.inner.options.idle()));
    tell!(tcp, Socket, "[method]tcp-socket.set-keep-alive-idle-time", u64, |s, time| s.inner.set(|o| o.set_idle(time)));
    ask!(tcp, Socket, "[method]tcp-socket.keep-alive-interval", |s| Ok(s.inner.options.interval()));
    tell!(tcp, Socket, "[method]tcp-socket.set-keep-alive-interval", u64, |s, time| s.inner.set(|o| o.set_interval(time)));
    ask!(tcp, Socket, "[method]tcp-socket.keep-alive-count", |s| Ok(s.inner.options.count()));
    tell!(tcp, Socket, "[method]tcp-socket.set-keep-alive-count", u32, |s, n| s.inner.set(|o| o.set_count(n)));
    ask!(tcp, Socket, "[method]tcp-socket.hop-limit", |s| Ok(s.inner.options.hop_limit()));
    tell!(tcp, Socket, "[method]tcp-socket.set-hop-limit", u8, |s, n| s.inner.set(|o| o.set_hop_limit(n)));
    ask!(tcp, Socket, "[method]tcp-socket.receive-buffer-size", |s| Ok(s.inner.options.receive_buffer()));
    tell!(tcp, Socket, "[method]tcp-socket.set-receive-buffer-size", u64, |s, n| s.inner.set(|o| o.set_receive_buffer(n)));
    ask!(tcp, Socket, "[method]tcp-socket.send-buffer-size", |s| Ok(s.inner.options.send_buffer()));
    tell!(tcp, Socket, "[method]tcp-socket.set-send-buffer-size", u64, |s, n| s.inner.set(|o| o.set_send_buffer(n)));
    Ok(())
}
