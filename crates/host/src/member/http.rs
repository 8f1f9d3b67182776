//! Outgoing HTTP of a member, in both versions of WASI.

use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, Resource};
use wasmtime_wasi_http::RequestOptions;
use wasmtime_wasi_http::p2::bindings::http::outgoing_handler;
use wasmtime_wasi_http::p2::bindings::http::types::ErrorCode;
use wasmtime_wasi_http::p2::types::{HostFutureIncomingResponse, HostOutgoingRequest};

use super::Seat;
use crate::bridge::link::{By, announce};
use crate::guest::Guest;

type Handled = Result<Resource<HostFutureIncomingResponse>, ErrorCode>;

pub(super) fn link_p2(linker: &mut Linker<Guest>, seat: Seat) -> wasmtime::Result<()> {
    linker.instance(&seat.import("wasi:http/outgoing-handler@0.2.12"))?.func_wrap(
        "handle",
        move |mut store: StoreContextMut<'_, Guest>,
              (request, options): (Resource<HostOutgoingRequest>, Option<Resource<RequestOptions>>)| {
            announce(&mut store, seat, By::OutgoingHandler);
            let handled: Handled = match outgoing_handler::Host::handle(&mut store.data_mut().http_of(seat), request, options) {
                Ok(response) => Ok(response),
                Err(error) => Err(error.downcast()?),
            };
            Ok((handled,))
        },
    )
}

#[cfg(feature = "wasi-p3")]
pub(super) use p3::link as link_p3;
#[cfg(feature = "wasi-p3")]
pub(crate) use p3::view;

#[cfg(feature = "wasi-p3")]
mod p3 {
    use wasmtime::AsContextMut;
    use wasmtime::component::{Accessor, Linker, Resource};
    use wasmtime_wasi_http::p3::bindings::http::client::HostWithStore;
    use wasmtime_wasi_http::p3::bindings::http::types::ErrorCode;
    use wasmtime_wasi_http::p3::{Request, Response};
    use wasmtime_wasi_http::{WasiHttp, WasiHttpCtxView};

    use super::super::{MAX_MEMBERS, Seat, per_seat};
    use crate::bridge::link::{By, announce};
    use crate::guest::Guest;

    type View = fn(&mut Guest) -> WasiHttpCtxView<'_>;

    fn view_of<const SEAT: usize>(guest: &mut Guest) -> WasiHttpCtxView<'_> {
        guest.http_of(Seat(SEAT))
    }

    const VIEWS: [View; MAX_MEMBERS] = per_seat!(view_of);

    /// A guest as the member at `seat` sends requests from it.
    pub(crate) fn view(seat: Seat) -> fn(&mut Guest) -> WasiHttpCtxView<'_> {
        VIEWS[seat.index()]
    }

    pub(in crate::member) fn link(linker: &mut Linker<Guest>, seat: Seat) -> wasmtime::Result<()> {
        let view = VIEWS[seat.index()];
        linker.instance(&seat.import("wasi:http/client@0.3.0"))?.func_wrap_concurrent(
            "send",
            move |accessor: &Accessor<Guest>, (request,): (Resource<Request>,)| {
                Box::pin(async move {
                    accessor.with(|mut access| announce(&mut access.as_context_mut(), seat, By::Client));
                    let accessor = accessor.with_getter::<WasiHttp>(view);
                    let sent: Result<Resource<Response>, ErrorCode> =
                        match <WasiHttp as HostWithStore<Guest>>::send(&accessor, request).await {
                            Ok(response) => Ok(response),
                            Err(error) => Err(error.downcast()?),
                        };
                    Ok((sent,))
                })
            },
        )
    }
}
