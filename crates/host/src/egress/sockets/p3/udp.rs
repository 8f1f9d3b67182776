//! `udp-socket` of WASI 0.3.

use std::net::SocketAddr;

use wasmtime::StoreContextMut;
use wasmtime::component::{Accessor, LinkerInstance, Resource, ResourceType};
use wasmtime_wasi::p3::bindings::sockets::types::{IpAddressFamily, IpSocketAddress};

use super::{answer, ask, tell};
use crate::egress::sockets::Owner;
use crate::egress::sockets::failure::SocketError;
use crate::egress::sockets::udp::UdpSocket;
use crate::guest::Guest;
use crate::member::Seat;

/// Links what makes sockets of the member at `seat`.
pub(super) fn link_create(types: &mut LinkerInstance<'_, Guest>, seat: Seat) -> wasmtime::Result<()> {
    let create = seat.function("[static]udp-socket.create");
    types.func_wrap(&create, move |mut store: StoreContextMut<'_, Guest>, (family,): (IpAddressFamily,)| {
        let guest = store.data_mut();
        match UdpSocket::new(Owner::of(guest, seat), family.into()) {
            Ok(socket) => answer(Ok(guest.table.push(socket)?)),
            Err(error) => answer(Err::<Resource<UdpSocket>, _>(error)),
        }
    })
}

/// Links what is done with sockets, whosever they are.
pub(super) fn link(types: &mut LinkerInstance<'_, Guest>) -> wasmtime::Result<()> {
    types.resource("udp-socket", ResourceType::host::<UdpSocket>(), |mut store, rep| {
        let guest: &mut Guest = store.data_mut();
        guest.table.delete(Resource::<UdpSocket>::new_own(rep))?;
        Ok(())
    })?;
    link_datagrams(types)?;
    link_options(types)
}

fn link_datagrams(types: &mut LinkerInstance<'_, Guest>) -> wasmtime::Result<()> {
    type Send = (Resource<UdpSocket>, Vec<u8>, Option<IpSocketAddress>);
    types.func_wrap_concurrent("[method]udp-socket.send", |accessor: &Accessor<Guest>, (socket, bytes, to): Send| {
        Box::pin(async move {
            let prepared = accessor.with(|mut store| {
                let socket = store.get().table.get_mut(&socket)?;
                let target = socket.target(to.map(SocketAddr::from));
                Ok::<_, wasmtime::Error>(target.and_then(|to| Ok((socket.port()?, to, socket.options))))
            })?;
            answer(match prepared {
                Ok((port, to, options)) => port.send(bytes, to, options).await,
                Err(error) => Err(error),
            })
        })
    })?;
    types.func_wrap_concurrent("[method]udp-socket.receive", |accessor: &Accessor<Guest>, (socket,): (Resource<UdpSocket>,)| {
        Box::pin(async move {
            let port = accessor.with(|mut store| {
                let socket = store.get().table.get_mut(&socket)?;
                let bound = if socket.is_bound() { socket.port() } else { Err(SocketError::INVALID_STATE) };
                Ok::<_, wasmtime::Error>(bound.map(|port| (port, socket.remote_address().ok())))
            })?;
            answer(match port {
                Ok((port, only)) => port.receive(only).await.map(|(bytes, from)| (bytes, IpSocketAddress::from(from))),
                Err(error) => Err(error),
            })
        })
    })
}

fn link_options(types: &mut LinkerInstance<'_, Guest>) -> wasmtime::Result<()> {
    tell!(types, UdpSocket, "[method]udp-socket.bind", IpSocketAddress, |s, addr| s.bind(addr.into()));
    tell!(types, UdpSocket, "[method]udp-socket.connect", IpSocketAddress, |s, addr| s.connect(addr.into()));
    ask!(types, UdpSocket, "[method]udp-socket.disconnect", UdpSocket::disconnect);
    ask!(types, UdpSocket, "[method]udp-socket.get-local-address", |s| s.local_address().map(IpSocketAddress::from));
    ask!(types, UdpSocket, "[method]udp-socket.get-remote-address", |s| s.remote_address().map(IpSocketAddress::from));
    types.func_wrap(
        "[method]udp-socket.get-address-family",
        |mut store: StoreContextMut<'_, Guest>, (socket,): (Resource<UdpSocket>,)| {
            Ok((IpAddressFamily::from(store.data_mut().table.get(&socket)?.family()),))
        },
    )?;
    ask!(types, UdpSocket, "[method]udp-socket.get-unicast-hop-limit", |s| Ok(s.options.hop_limit()));
    tell!(types, UdpSocket, "[method]udp-socket.set-unicast-hop-limit", u8, |s, n| s.set(|o| o.set_hop_limit(n)));
    ask!(types, UdpSocket, "[method]udp-socket.get-receive-buffer-size", |s| Ok(s.options.receive_buffer()));
    tell!(types, UdpSocket, "[method]udp-socket.set-receive-buffer-size", u64, |s, n| s.set(|o| o.set_receive_buffer(n)));
    ask!(types, UdpSocket, "[method]udp-socket.get-send-buffer-size", |s| Ok(s.options.send_buffer()));
    tell!(types, UdpSocket, "[method]udp-socket.set-send-buffer-size", u64, |s, n| s.set(|o| o.set_send_buffer(n)));
    Ok(())
}
