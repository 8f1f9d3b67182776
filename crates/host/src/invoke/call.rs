//! One call of a handler, in either version of WASI.

use wasmtime::Store;
use wasmtime_wasi_http::p2;
#[cfg(feature = "wasi-p3")]
use wasmtime_wasi_http::{
    Error,
    p3::{self, bindings::Service},
};
use wasmtime_wasi_http::{WasiBody, WasiHttpView};

use super::failure::Failure;
use super::{Handler, Head};
use crate::guest::Guest;

/// Runs one request to its end, with what the guest does after its answer.
pub(crate) async fn run(
    store: &mut Store<Guest>,
    handler: &Handler,
    request: http::Request<WasiBody>,
    head: &Head,
) -> wasmtime::Result<()> {
    match handler {
        Handler::P2(proxy) => run_p2(store, proxy, request, head).await,
        #[cfg(feature = "wasi-p3")]
        Handler::P3(service) => {
            store
                .run_concurrent(async |accessor| {
                    run_p3(accessor, service, request, head).await?;
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
        answer.answer(response.map_err(|code| Failure::code(&code)).and_then(Failure::final_only));
    })?;
    proxy.wasi_http_incoming_handler().call_handle(store, request, out).await
}

/// Calls a 0.3 handler and answers with what it returns; its body, and what it does afterwards, go on in the store's event loop.
#[cfg(feature = "wasi-p3")]
pub(crate) async fn run_p3(
    accessor: &wasmtime::component::Accessor<Guest>,
    service: &Service,
    request: http::Request<WasiBody>,
    head: &Head,
) -> wasmtime::Result<()> {
    type Sent = std::pin::Pin<Box<dyn Future<Output = Result<(), Error>> + Send>>;
    let (request, transmitted) = accessor.with(|mut store| {
        let view = store.get().http();
        let (request, transmitted) = p3::Request::from_http(view.hooks, request);
        let transmitted: Sent = Box::pin(transmitted);
        wasmtime::error::Ok((view.table.push(request)?, transmitted))
    })?;
    let answer = match service.wasi_http_handler().call_handle(accessor, request).await? {
        Ok(response) => accessor.with(|mut store| {
            let response = store.get().table.delete(response)?;
            wasmtime::error::Ok(Failure::final_only(response.into_http(&mut store, transmitted)?))
        })?,
        Err(code) => Err(Failure::code(&code)),
    };
    head.answer(answer);
    Ok(())
}
