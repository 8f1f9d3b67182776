//! `wasi:cli` of a member: its environment, and its standard input and output.

use wasmtime::StoreContextMut;
use wasmtime::component::Linker;
use wasmtime_wasi::cli::WasiCliCtxView;

use super::Seat;
use crate::guest::Guest;

fn view(guest: &mut Guest, seat: Seat) -> WasiCliCtxView<'_> {
    let wasi = guest.wasi(seat);
    WasiCliCtxView { ctx: wasi.ctx.cli(), table: wasi.table }
}

/// Links a function without parameters, which asks the member's view.
macro_rules! ask {
    ($linker:ident, $seat:ident, $interface:literal, $function:literal, $host:path, $method:ident) => {
        $linker.instance(&$seat.import($interface))?.func_wrap($function, move |mut store: StoreContextMut<'_, Guest>, (): ()| {
            use $host as Host;
            Ok((Host::$method(&mut view(store.data_mut(), $seat))?,))
        })?
    };
}

pub(super) fn link_p2(linker: &mut Linker<Guest>, seat: Seat) -> wasmtime::Result<()> {
    use wasmtime_wasi::p2::bindings::cli;
    let mut environment = linker.instance(&seat.import("wasi:cli/environment@0.2.12"))?;
    environment.func_wrap("get-environment", move |mut store: StoreContextMut<'_, Guest>, (): ()| {
        Ok((cli::environment::Host::get_environment(&mut view(store.data_mut(), seat))?,))
    })?;
    environment.func_wrap("get-arguments", move |mut store: StoreContextMut<'_, Guest>, (): ()| {
        Ok((cli::environment::Host::get_arguments(&mut view(store.data_mut(), seat))?,))
    })?;
    environment.func_wrap("initial-cwd", move |mut store: StoreContextMut<'_, Guest>, (): ()| {
        Ok((cli::environment::Host::initial_cwd(&mut view(store.data_mut(), seat))?,))
    })?;
    ask!(linker, seat, "wasi:cli/stdin@0.2.12", "get-stdin", cli::stdin::Host, get_stdin);
    ask!(linker, seat, "wasi:cli/stdout@0.2.12", "get-stdout", cli::stdout::Host, get_stdout);
    ask!(linker, seat, "wasi:cli/stderr@0.2.12", "get-stderr", cli::stderr::Host, get_stderr);
    ask!(linker, seat, "wasi:cli/terminal-stdin@0.2.12", "get-terminal-stdin", cli::terminal_stdin::Host, get_terminal_stdin);
    ask!(linker, seat, "wasi:cli/terminal-stdout@0.2.12", "get-terminal-stdout", cli::terminal_stdout::Host, get_terminal_stdout);
    ask!(linker, seat, "wasi:cli/terminal-stderr@0.2.12", "get-terminal-stderr", cli::terminal_stderr::Host, get_terminal_stderr);
    Ok(())
}

#[cfg(feature = "wasi-p3")]
pub(super) use p3::link as link_p3;

#[cfg(feature = "wasi-p3")]
mod p3 {
    use wasmtime::StoreContextMut;
    use wasmtime::component::{Access, Linker, StreamReader};
    use wasmtime_wasi::cli::{WasiCli, WasiCliCtxView};
    use wasmtime_wasi::p3::bindings::cli;

    use super::super::{MAX_MEMBERS, Seat, per_seat};
    use super::view;
    use crate::guest::Guest;

    type View = fn(&mut Guest) -> WasiCliCtxView<'_>;

    fn view_of<const SEAT: usize>(guest: &mut Guest) -> WasiCliCtxView<'_> {
        view(guest, Seat(SEAT))
    }

    const VIEWS: [View; MAX_MEMBERS] = per_seat!(view_of);

    pub(in crate::member) fn link(linker: &mut Linker<Guest>, seat: Seat) -> wasmtime::Result<()> {
        let mut environment = linker.instance(&seat.import("wasi:cli/environment@0.3.0"))?;
        environment.func_wrap("get-environment", move |mut store: StoreContextMut<'_, Guest>, (): ()| {
            Ok((cli::environment::Host::get_environment(&mut view(store.data_mut(), seat))?,))
        })?;
        environment.func_wrap("get-arguments", move |mut store: StoreContextMut<'_, Guest>, (): ()| {
            Ok((cli::environment::Host::get_arguments(&mut view(store.data_mut(), seat))?,))
        })?;
        environment.func_wrap("get-initial-cwd", move |mut store: StoreContextMut<'_, Guest>, (): ()| {
            Ok((cli::environment::Host::get_initial_cwd(&mut view(store.data_mut(), seat))?,))
        })?;
        ask!(linker, seat, "wasi:cli/terminal-stdin@0.3.0", "get-terminal-stdin", cli::terminal_stdin::Host, get_terminal_stdin);
        ask!(linker, seat, "wasi:cli/terminal-stdout@0.3.0", "get-terminal-stdout", cli::terminal_stdout::Host, get_terminal_stdout);
        ask!(linker, seat, "wasi:cli/terminal-stderr@0.3.0", "get-terminal-stderr", cli::terminal_stderr::Host, get_terminal_stderr);
        link_streams(linker, seat)
    }

    fn link_streams(linker: &mut Linker<Guest>, seat: Seat) -> wasmtime::Result<()> {
        let view = VIEWS[seat.index()];
        linker.instance(&seat.import("wasi:cli/stdin@0.3.0"))?.func_wrap(
            "read-via-stream",
            move |store: StoreContextMut<'_, Guest>, (): ()| {
                let access = Access::<Guest, WasiCli>::new(store, view);
                Ok((<WasiCli as cli::stdin::HostWithStore<Guest>>::read_via_stream(access)?,))
            },
        )?;
        linker.instance(&seat.import("wasi:cli/stdout@0.3.0"))?.func_wrap(
            "write-via-stream",
            move |store: StoreContextMut<'_, Guest>, (bytes,): (StreamReader<u8>,)| {
                let access = Access::<Guest, WasiCli>::new(store, view);
                Ok((<WasiCli as cli::stdout::HostWithStore<Guest>>::write_via_stream(access, bytes)?,))
            },
        )?;
        linker.instance(&seat.import("wasi:cli/stderr@0.3.0"))?.func_wrap(
            "write-via-stream",
            move |store: StoreContextMut<'_, Guest>, (bytes,): (StreamReader<u8>,)| {
                let access = Access::<Guest, WasiCli>::new(store, view);
                Ok((<WasiCli as cli::stderr::HostWithStore<Guest>>::write_via_stream(access, bytes)?,))
            },
        )
    }
}
