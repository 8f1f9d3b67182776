//! The streams of a connection of WASI 0.3, each of which keeps the socket's permit until it ends.
//!
//! The streams themselves can't be watched from outside, but each comes with a future of how it ended, which resolves when the host
//! lets go of its side. So that future is read here, and the guest gets another that passes on what came of it.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::sync::oneshot;
use wasmtime::StoreContextMut;
use wasmtime::component::{Access, FutureConsumer, FutureReader, LinkerInstance, Resource, Source, StreamReader};
use wasmtime_wasi::WasiView;
use wasmtime_wasi::p3::bindings::sockets::types::{ErrorCode, HostTcpSocketWithStore, TcpSocket};
use wasmtime_wasi::sockets::{WasiSockets, WasiSocketsCtxView};

use crate::egress::permit::Permit;
use crate::guest::Guest;
use crate::member::Seat;

/// How a stream ended.
type Outcome = Result<(), ErrorCode>;
type Received = (StreamReader<u8>, FutureReader<Outcome>);

pub(super) fn link(types: &mut LinkerInstance<'_, Guest>, seat: Seat) -> wasmtime::Result<()> {
    types.func_wrap("[method]tcp-socket.receive", move |mut store: StoreContextMut<'_, Guest>, (socket,): (Resource<TcpSocket>,)| {
        let permit = permit(&mut store, seat, &socket);
        let access = Access::<Guest, WasiSockets>::new(reborrow(&mut store), view);
        let (bytes, ended): Received = HostTcpSocketWithStore::receive(access, socket)?;
        let ended = held_until(store, ended, permit)?;
        Ok(((bytes, ended),))
    })?;
    types.func_wrap(
        "[method]tcp-socket.send",
        move |mut store: StoreContextMut<'_, Guest>, (socket, bytes): (Resource<TcpSocket>, StreamReader<u8>)| {
            let permit = permit(&mut store, seat, &socket);
            let access = Access::<Guest, WasiSockets>::new(reborrow(&mut store), view);
            let ended: FutureReader<Outcome> = HostTcpSocketWithStore::send(access, socket, bytes)?;
            Ok((held_until(store, ended, permit)?,))
        },
    )
}

fn view(guest: &mut Guest) -> WasiSocketsCtxView<'_> {
    let wasi = guest.ctx();
    WasiSocketsCtxView { ctx: wasi.ctx.sockets(), table: wasi.table }
}

fn reborrow<'a>(store: &'a mut StoreContextMut<'_, Guest>) -> StoreContextMut<'a, Guest> {
    wasmtime::AsContextMut::as_context_mut(store)
}

fn permit(store: &mut StoreContextMut<'_, Guest>, seat: Seat, socket: &Resource<TcpSocket>) -> Option<Arc<Permit>> {
    store.data_mut().parts(seat).0.lookups.asker().permit_of(socket.rep())
}

/// Holds `permit` until `ended` resolves; the future that passes its outcome on.
fn held_until(
    mut store: StoreContextMut<'_, Guest>,
    ended: FutureReader<Outcome>,
    permit: Option<Arc<Permit>>,
) -> wasmtime::Result<FutureReader<Outcome>> {
    let (told, outcome) = oneshot::channel();
    ended.pipe(&mut store, Holder(Some((permit, told))))?;
    FutureReader::new(&mut store, outcome)
}

/// Waits for the end of a stream, with its permit.
struct Holder(Option<(Option<Arc<Permit>>, oneshot::Sender<Outcome>)>);

impl FutureConsumer<Guest> for Holder {
    type Item = Outcome;

    fn poll_consume(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        store: StoreContextMut<'_, Guest>,
        mut source: Source<'_, Outcome>,
        _finish: bool,
    ) -> Poll<wasmtime::Result<()>> {
        let mut outcome = None;
        source.read(store, &mut outcome)?;
        if let (Some(outcome), Some((permit, told))) = (outcome, self.0.take()) {
            drop(permit);
            // The guest may have dropped its future, which is nobody's loss.
            let _ = told.send(outcome);
        }
        Poll::Ready(Ok(()))
    }
}
