//! `wasi:filesystem` of a member: the folders it was given.

use wasmtime::StoreContextMut;
use wasmtime::component::Linker;
use wasmtime_wasi::filesystem::WasiFilesystemCtxView;

use super::Seat;
use crate::guest::Guest;

fn view(guest: &mut Guest, seat: Seat) -> WasiFilesystemCtxView<'_> {
    let wasi = guest.wasi(seat);
    WasiFilesystemCtxView { ctx: wasi.ctx.filesystem(), table: wasi.table }
}

pub(super) fn link_p2(linker: &mut Linker<Guest>, seat: Seat) -> wasmtime::Result<()> {
    use wasmtime_wasi::p2::bindings::filesystem::preopens::Host;
    linker
        .instance(&seat.import("wasi:filesystem/preopens@0.2.12"))?
        .func_wrap("get-directories", move |mut store: StoreContextMut<'_, Guest>, (): ()| {
            Ok((Host::get_directories(&mut view(store.data_mut(), seat))?,))
        })
}

#[cfg(feature = "wasi-p3")]
pub(super) fn link_p3(linker: &mut Linker<Guest>, seat: Seat) -> wasmtime::Result<()> {
    use wasmtime_wasi::p3::bindings::filesystem::preopens::Host;
    linker
        .instance(&seat.import("wasi:filesystem/preopens@0.3.0"))?
        .func_wrap("get-directories", move |mut store: StoreContextMut<'_, Guest>, (): ()| {
            Ok((Host::get_directories(&mut view(store.data_mut(), seat))?,))
        })
}
