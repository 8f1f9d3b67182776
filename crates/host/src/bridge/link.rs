//! What the linkers of all workloads have for calls between components: which sibling is meant comes from the guest's own data, so one
//! linker serves them all.

use std::sync::Arc;

use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, Resource};
use wasmtime_wasi::p2::bindings::io::error::Error as IoError;

use super::chain::Call;
use super::code;
use crate::guest::Guest;
use crate::member::Seat;

/// By which import a request leaves a component.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum By {
    /// `outgoing-handler` of 0.2: its authority says where it goes.
    #[default]
    OutgoingHandler,
    /// `client` of 0.3: likewise.
    #[cfg(feature = "wasi-p3")]
    Client,
    /// `wasi:http/handler` of 0.3: it goes to the sibling that satisfies the import.
    Handler,
}

/// Says which request the member at `seat` works for, and by which import, just before it sends another on its behalf.
pub(crate) fn announce(store: &mut StoreContextMut<'_, Guest>, seat: Seat, by: By) {
    let call = working_for(store);
    store.data_mut().parts(seat).0.outgoing.announce(call, by);
}

/// The request whose task calls the host now, where the instance serves several at once.
#[cfg(feature = "wasi-p3")]
pub(crate) fn working_for(store: &mut StoreContextMut<'_, Guest>) -> Option<Arc<Call>> {
    if !store.data().is_shared() {
        return None;
    }
    let task = store.async_call_stack().ok()?.last()?;
    store.data().call_of(task)
}

#[cfg(not(feature = "wasi-p3"))]
pub(crate) fn working_for(_: &mut StoreContextMut<'_, Guest>) -> Option<Arc<Call>> {
    None
}

/// Links over the engine's own: its `http-error-code` knows an error of 0.2 alone, so a reader would learn nothing of a body that broke off
/// in another version, or on the network.
pub(crate) fn link_p2(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    linker
        .instance("wasi:http/types@0.2.12")?
        .func_wrap("http-error-code", |store: StoreContextMut<'_, Guest>, (error,): (Resource<IoError>,)| {
            Ok((code::in_stream_error(store.data().table.get(&error)?),))
        })
}

#[cfg(feature = "wasi-p3")]
pub(crate) use p3::link_handler;

#[cfg(feature = "wasi-p3")]
mod p3 {
    use http::uri::{Authority, PathAndQuery, Scheme};
    use wasmtime::AsContextMut;
    use wasmtime::component::Accessor;
    use wasmtime_wasi_http::WasiHttp;
    use wasmtime_wasi_http::p3::bindings::http::client::HostWithStore;
    use wasmtime_wasi_http::p3::bindings::http::types::ErrorCode;
    use wasmtime_wasi_http::p3::{Request, Response};

    use super::{By, Guest, Linker, Resource, Seat, announce};
    use crate::bridge::names::DOMAIN;
    use crate::member;

    /// Links the import `wasi:http/handler` of the member at `seat`. Its one function has the signature of the client's, whose
    /// implementation turns bodies, trailers and errors into the host's and back; only where the request goes differs.
    pub(crate) fn link_handler(linker: &mut Linker<Guest>, seat: Seat) -> wasmtime::Result<()> {
        let view = member::http_view(seat);
        linker.instance(&seat.import("wasi:http/handler@0.3.0"))?.func_wrap_concurrent(
            "handle",
            move |accessor: &Accessor<Guest>, (request,): (Resource<Request>,)| {
                Box::pin(async move {
                    accessor.with(|mut access| {
                        complete(access.get().table.get_mut(&request)?);
                        announce(&mut access.as_context_mut(), seat, By::Handler);
                        wasmtime::error::Ok(())
                    })?;
                    let accessor = accessor.with_getter::<WasiHttp>(view);
                    let handled: Result<Resource<Response>, ErrorCode> =
                        match <WasiHttp as HostWithStore<Guest>>::send(&accessor, request).await {
                            Ok(response) => Ok(response),
                            Err(error) => Err(error.downcast()?),
                        };
                    Ok((handled,))
                })
            },
        )
    }

    /// A request may be handed on without what says where it goes, but none becomes an absolute URI without that.
    fn complete(request: &mut Request) {
        request.scheme.get_or_insert(Scheme::HTTP);
        request.authority.get_or_insert(Authority::from_static(DOMAIN));
        request.path_with_query.get_or_insert(PathAndQuery::from_static("/"));
    }
}
