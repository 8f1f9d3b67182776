//! One call of a handler, in either version of WASI.

#[cfg(feature = "wasi-p3")]
use std::{pin::Pin, sync::Arc};

use wasmtime::Store;
#[cfg(feature = "wasi-p3")]
use wasmtime::{AsContextMut, component::Accessor};
use wasmtime_wasi_http::p2;
#[cfg(feature = "wasi-p3")]
use wasmtime_wasi_http::p3::{self, bindings::Service};
use wasmtime_wasi_http::{WasiBody, WasiHttpView};

use super::failure::Failure;
use super::fate::Fate;
use super::{Handler, Head, Wires};
#[cfg(feature = "wasi-p3")]
use crate::bridge::{Processed, chain::Call};
use crate::guest::Guest;

/// Runs one request to its end, with what the guest does after its answer.
pub(crate) async fn run(
    store: &mut Store<Guest>,
    handler: &Handler,
    request: http::Request<WasiBody>,
    wires: Option<Wires>,
    head: &Head,
) -> wasmtime::Result<()> {
    match handler {
        Handler::P2(proxy) => {
            run_p2(store, proxy, request, head).await?;
            // It has no word for what became of the request; it ended well, so it had what it wanted.
            if let Some(wires) = wires {
                let _ = wires.received.send((Box::pin(async { Ok(()) }), Fate::default()));
            }
            Ok(())
        }
        #[cfg(feature = "wasi-p3")]
        Handler::P3(service) => {
            store
                .run_concurrent(async |accessor| {
                    run_p3(accessor, service, Served { request, wires, call: None }, head).await?;
                    std::future::poll_fn(|cx| accessor.poll_no_interesting_tasks(cx)).await;
                    Ok(())
                })
                .await?
        }
    }
}

async fn run_p2(
    store: &mut Store<Guest>,
    proxy: &p2::bindings::Proxy,
    request: http::Request<WasiBody>,
    head: &Head,
) -> wasmtime::Result<()> {
    use p2::bindings::http::types::Scheme;
    let scheme = if request.uri().scheme() == Some(&http::uri::Scheme::HTTPS) { Scheme::Https } else { Scheme::Http };
    let mut http = store.data_mut().http();
    let request = http.new_incoming_request(scheme, request)?;
    let answer = head.clone();
    let out = http.new_response_outparam_from_callback(move |response| {
        answer.answer(response.map_err(|code| Failure::Code(code.into())).and_then(Failure::final_only));
    })?;
    proxy.wasi_http_incoming_handler().call_handle(store, request, out).await
}

/// A request for a handler of 0.3.
#[cfg(feature = "wasi-p3")]
pub(crate) struct Served {
    pub(crate) request: http::Request<WasiBody>,
    pub(crate) wires: Option<Wires>,
    /// The request as what is called on its behalf sees it, where its instance serves others too; elsewhere the store knows it.
    pub(crate) call: Option<Arc<Call>>,
}

/// Calls a 0.3 handler and answers with what it returns; its body, and what it does afterwards, go on in the store's event loop.
#[cfg(feature = "wasi-p3")]
pub(crate) async fn run_p3(accessor: &Accessor<Guest>, service: &Service, served: Served, head: &Head) -> wasmtime::Result<()> {
    let Served { request, wires, call } = served;
    let handle = service.wasi_http_handler().func_handle();
    let (begun, transmitted) = accessor.with(|mut store| {
        let fate = call.clone().or_else(|| store.get().call().cloned()).map(|call| call.fate.clone());
        let view = store.get().http();
        let (request, transmitted) = p3::Request::from_http(view.hooks, request);
        let transmitted: Pin<Processed> = Box::pin(transmitted);
        let request = view.table.push(request)?;
        let begun = handle.start_call_concurrent(store.as_context_mut(), (request,))?;
        if let Some(call) = call {
            store.get().begins(begun.task(), call);
        }
        wasmtime::error::Ok((begun, told(transmitted, wires, fate)))
    })?;
    let (answered,) = handle.finish_call_concurrent(accessor, begun).await?;
    let answer = match answered {
        Ok(response) => accessor.with(|mut store| {
            let response = store.get().table.delete(response)?;
            wasmtime::error::Ok(Failure::final_only(response.into_http(&mut store, transmitted)?))
        })?,
        Err(code) => Err(Failure::Code(code.into())),
    };
    head.answer(answer);
    Ok(())
}

/// What tells the guest how its response was received: its caller, or, where there is none, how its request came through. A caller is told
/// that instead.
#[cfg(feature = "wasi-p3")]
fn told(transmitted: Pin<Processed>, wires: Option<Wires>, fate: Option<Fate>) -> Pin<Processed> {
    let Some(Wires { processed, received }) = wires else { return transmitted };
    // A caller that is gone wants to know nothing.
    let _ = received.send((transmitted, fate.unwrap_or_default()));
    processed
}
