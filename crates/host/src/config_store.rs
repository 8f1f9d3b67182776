//! `wasi:config/store`: what a component's manifest gives it, by key. There is nothing to allow: it is the component's own.
//!
//! The interface is linked here rather than with `wasmtime-wasi-config`, which knows one name and one set of values per linker: each
//! member of a unit has values of its own (L38). Its WIT is `wasi:config@0.2.0-rc.1`; `0.2.0-draft`, which many components still import, was
//! tagged as that without a change. WASI 0.3 has published no version of it: its components import this one.

use wasmtime::component::{ComponentType, Lift, Linker, Lower};
use wasmtime::{Result, StoreContextMut};

use crate::guest::Guest;
use crate::member::Seat;

/// The interface's error. Values are in memory, so none ever comes.
#[derive(ComponentType, Lift, Lower)]
#[component(variant)]
enum Error {
    #[component(name = "upstream")]
    Upstream(String),
    #[component(name = "io")]
    Io(String),
}

type Pairs = Vec<(String, String)>;

/// Links the interface as the member at `seat` imports it.
pub(crate) fn link(linker: &mut Linker<Guest>, seat: Seat) -> Result<()> {
    for interface in ["wasi:config/store@0.2.0-rc.1", "wasi:config/store@0.2.0-draft"] {
        let mut store = linker.instance(&seat.import(interface))?;
        store.func_wrap("get", move |mut guest: StoreContextMut<'_, Guest>, (key,): (String,)| {
            let value = guest.data_mut().parts(seat).0.component().config.get(&key).cloned();
            Ok((Ok::<Option<String>, Error>(value),))
        })?;
        store.func_wrap("get-all", move |mut guest: StoreContextMut<'_, Guest>, (): ()| {
            let config = &guest.data_mut().parts(seat).0.component().config;
            let pairs = config.iter().map(|(key, value)| (key.clone(), value.clone())).collect();
            Ok((Ok::<Pairs, Error>(pairs),))
        })?;
    }
    Ok(())
}
