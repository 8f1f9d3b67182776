//! `tcp-socket` of WASI 0.3.

use std::future::poll_fn;
use std::net::SocketAddr;

use tokio::sync::oneshot;
use wasmtime::component::{Accessor, FutureReader, LinkerInstance, Resource, ResourceType, StreamReader};
use wasmtime::{AsContextMut, StoreContextMut};
use wasmtime_wasi::p3::bindings::sockets::types::{IpAddressFamily, IpSocketAddress};

use super::streams::{Connections, Outcome, Receiving, Sending};
use super::{Answer, answer, ask, tell};
use crate::egress::sockets::Owner;
use crate::egress::sockets::failure::SocketError;
use crate::egress::sockets::tcp::TcpSocket;
use crate::guest::Guest;
use crate::member::Seat;

/// Links what makes sockets of the member at `seat`.
pub(super) fn link_create(types: &mut LinkerInstance<'_, Guest>, seat: Seat) -> wasmtime::Result<()> {
    let create = seat.function("[static]tcp-socket.create");
    types.func_wrap(&create, move |mut store: StoreContextMut<'_, Guest>, (family,): (IpAddressFamily,)| {
        let guest = store.data_mut();
        match TcpSocket::new(Owner::of(guest, seat), family.into()) {
            Ok(socket) => answer(Ok(guest.table.push(socket)?)),
            Err(error) => answer(Err::<Resource<TcpSocket>, _>(error)),
        }
    })
}

/// Links what is done with sockets, whosever they are.
pub(super) fn link(types: &mut LinkerInstance<'_, Guest>) -> wasmtime::Result<()> {
    types.resource("tcp-socket", ResourceType::host::<TcpSocket>(), |mut store, rep| {
        let guest: &mut Guest = store.data_mut();
        guest.table.delete(Resource::<TcpSocket>::new_own(rep))?;
        Ok(())
    })?;
    tell!(types, TcpSocket, "[method]tcp-socket.bind", IpSocketAddress, |s, addr| s.bind(addr.into()));
    link_connections(types)?;
    link_streams(types)?;
    link_options(types)
}

fn link_connections(types: &mut LinkerInstance<'_, Guest>) -> wasmtime::Result<()> {
    type Connect = (Resource<TcpSocket>, IpSocketAddress);
    types.func_wrap_concurrent("[method]tcp-socket.connect", |accessor: &Accessor<Guest>, (socket, addr): Connect| {
        Box::pin(async move {
            let addr = SocketAddr::from(addr);
            let started = accessor.with(|mut store| Ok::<_, wasmtime::Error>(store.get().table.get_mut(&socket)?.start_connect(addr)))?;
            if let Err(error) = started {
                return answer(Err(error));
            }
            let connected = poll_fn(|cx| {
                accessor.with(|mut store| match store.get().table.get_mut(&socket) {
                    Ok(socket) => socket.poll_connected(cx).map(Ok),
                    Err(error) => std::task::Poll::Ready(Err(error)),
                })
            });
            answer(connected.await?)
        })
    })?;
    types.func_wrap("[method]tcp-socket.listen", |mut store: StoreContextMut<'_, Guest>, (socket,): (Resource<TcpSocket>,)| {
        let listening = store.data_mut().table.get_mut(&socket)?.listen();
        let connections: Answer<StreamReader<Resource<TcpSocket>>> = match listening {
            Ok(listening) => (Ok(StreamReader::new(&mut store, Connections(listening))?),),
            Err(error) => (Err(error.p3()),),
        };
        Ok(connections)
    })?;
    types.func_wrap("[method]tcp-socket.get-is-listening", |mut store: StoreContextMut<'_, Guest>, (socket,): (Resource<TcpSocket>,)| {
        Ok((store.data_mut().table.get(&socket)?.listening().is_some(),))
    })
}

fn link_streams(types: &mut LinkerInstance<'_, Guest>) -> wasmtime::Result<()> {
    type Send = (Resource<TcpSocket>, StreamReader<u8>);
    types.func_wrap("[method]tcp-socket.send", |mut store: StoreContextMut<'_, Guest>, (socket, mut bytes): Send| {
        let ended: FutureReader<Outcome> = match store.data_mut().table.get_mut(&socket)?.take_writer() {
            Ok(writer) => {
                let (told, outcome) = oneshot::channel();
                bytes.pipe(&mut store, Sending::new(writer, told))?;
                FutureReader::new(&mut store, outcome)?
            }
            Err(error) => {
                bytes.close(&mut store)?;
                failed(&mut store, error)?
            }
        };
        Ok((ended,))
    })?;
    types.func_wrap("[method]tcp-socket.receive", |mut store: StoreContextMut<'_, Guest>, (socket,): (Resource<TcpSocket>,)| {
        let received: (StreamReader<u8>, FutureReader<Outcome>) = match store.data_mut().table.get_mut(&socket)?.take_reader() {
            Ok(reader) => {
                let (told, outcome) = oneshot::channel();
                let bytes = StreamReader::new(&mut store, Receiving::new(reader, told))?;
                (bytes, FutureReader::new(&mut store, outcome)?)
            }
            Err(error) => (StreamReader::new(&mut store, std::iter::empty())?, failed(&mut store, error)?),
        };
        Ok((received,))
    })
}

/// A stream's outcome that was known before there was a stream.
fn failed(store: impl AsContextMut<Data = Guest>, error: SocketError) -> wasmtime::Result<FutureReader<Outcome>> {
    FutureReader::new(store, async move { wasmtime::error::Ok(Err(error.p3())) })
}

fn link_options(types: &mut LinkerInstance<'_, Guest>) -> wasmtime::Result<()> {
    ask!(types, TcpSocket, "[method]tcp-socket.get-local-address", |s| s.local_address().map(IpSocketAddress::from));
    ask!(types, TcpSocket, "[method]tcp-socket.get-remote-address", |s| s.remote_address().map(IpSocketAddress::from));
    types.func_wrap(
        "[method]tcp-socket.get-address-family",
        |mut store: StoreContextMut<'_, Guest>, (socket,): (Resource<TcpSocket>,)| {
            Ok((IpAddressFamily::from(store.data_mut().table.get(&socket)?.family()),))
        },
    )?;
    tell!(types, TcpSocket, "[method]tcp-socket.set-listen-backlog-size", u64, |s, n| s.set_backlog(n));
    ask!(types, TcpSocket, "[method]tcp-socket.get-keep-alive-enabled", |s| Ok(s.options.keep_alive()));
    tell!(types, TcpSocket, "[method]tcp-socket.set-keep-alive-enabled", bool, |s, on| s.set(|o| o.set_keep_alive(on)));
    ask!(types, TcpSocket, "[method]tcp-socket.get-keep-alive-idle-time", |s| Ok(s.options.idle()));
    tell!(types, TcpSocket, "[method]tcp-socket.set-keep-alive-idle-time", u64, |s, time| s.set(|o| o.set_idle(time)));
    ask!(types, TcpSocket, "[method]tcp-socket.get-keep-alive-interval", |s| Ok(s.options.interval()));
    tell!(types, TcpSocket, "[method]tcp-socket.set-keep-alive-interval", u64, |s, time| s.set(|o| o.set_interval(time)));
    ask!(types, TcpSocket, "[method]tcp-socket.get-keep-alive-count", |s| Ok(s.options.count()));
    tell!(types, TcpSocket, "[method]tcp-socket.set-keep-alive-count", u32, |s, n| s.set(|o| o.set_count(n)));
    ask!(types, TcpSocket, "[method]tcp-socket.get-hop-limit", |s| Ok(s.options.hop_limit()));
    tell!(types, TcpSocket, "[method]tcp-socket.set-hop-limit", u8, |s, n| s.set(|o| o.set_hop_limit(n)));
    ask!(types, TcpSocket, "[method]tcp-socket.get-receive-buffer-size", |s| Ok(s.options.receive_buffer()));
    tell!(types, TcpSocket, "[method]tcp-socket.set-receive-buffer-size", u64, |s, n| s.set(|o| o.set_receive_buffer(n)));
    ask!(types, TcpSocket, "[method]tcp-socket.get-send-buffer-size", |s| Ok(s.options.send_buffer()));
    tell!(types, TcpSocket, "[method]tcp-socket.set-send-buffer-size", u64, |s, n| s.set(|o| o.set_send_buffer(n)));
    Ok(())
}
