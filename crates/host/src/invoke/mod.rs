//! One request in one instance.
//!
//! A guest runs as a task of its own on the thread that accepted its request (D11). The task owns the store; its caller
//! holds a guard that ends it when the client goes away. What the guest answers comes back through [`Head`]; how its store ended is
//! told by [`Fate`](fate::Fate), so that a trap after the head never looks like a clean end.

pub(crate) mod body;
mod call;
pub(crate) mod counted;
pub(crate) mod ending;
pub(crate) mod failure;
pub(crate) mod fate;
mod fresh;
pub(crate) mod guard;
mod head;
#[cfg(feature = "wasi-p3")]
pub(crate) mod lease;
mod serial;
mod timer;
#[cfg(feature = "wasi-p3")]
pub(crate) mod workers;

use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use wasmtime::Store;
use wasmtime_wasi_http::WasiBody;
use wasmtime_wasi_http::p2;
#[cfg(feature = "wasi-p3")]
use wasmtime_wasi_http::p3;

use self::body::{GuestBody, Hold};
use self::failure::Failure;
use self::fate::Fate;
use self::guard::AbortOnDrop;
pub(crate) use self::head::Head;
use crate::admission::Permit;
use crate::bridge::Processed;
use crate::bridge::chain::Chain;
use crate::compile::Compiled;
use crate::component::{Component, Unit};
use crate::engine::Places;
use crate::guest::Guest;
use crate::request_id::RequestId;
use crate::reuse::Reuse;
use crate::turn;

/// A component that answers HTTP, prepared: a request needs nothing else.
pub(crate) struct Entry {
    /// The component that answers.
    pub(crate) component: Arc<Component>,
    /// That one, and those that were composed with it.
    pub(crate) unit: Arc<Unit>,
    /// Replaced by better code while it serves; instances stay with the code that they were made of.
    pub(crate) code: ArcSwap<Code>,
    pub(crate) reuse: Reuse,
    /// Ends every guest of this entry, once the workload's grace period is over.
    pub(crate) cut: CancellationToken,
}

/// What a handler's instances are made of.
pub(crate) struct Code {
    pub(crate) engine: wasmtime::Engine,
    /// For its instances, where they come from no pool.
    pub(crate) places: Option<Arc<Places>>,
    pub(crate) pre: HandlerPre,
    /// Keeps the compiled code known to the compiler as long as somebody runs it.
    pub(crate) compiled: Arc<Compiled>,
}

/// A handler of either version, linked and ready to be instantiated.
pub(crate) enum HandlerPre {
    P2(p2::bindings::ProxyPre<Guest>),
    #[cfg(feature = "wasi-p3")]
    P3(p3::bindings::ServicePre<Guest>),
}

/// An instance of a handler.
pub(crate) enum Handler {
    P2(p2::bindings::Proxy),
    #[cfg(feature = "wasi-p3")]
    P3(p3::bindings::Service),
}

impl HandlerPre {
    async fn instantiate(&self, store: &mut Store<Guest>) -> wasmtime::Result<Handler> {
        Ok(match self {
            HandlerPre::P2(pre) => Handler::P2(pre.instantiate_async(store).await?),
            #[cfg(feature = "wasi-p3")]
            HandlerPre::P3(pre) => Handler::P3(pre.instantiate_async(store).await?),
        })
    }
}

/// A request on its way to a guest.
pub(crate) struct Job {
    /// The request, with an absolute URI.
    pub(crate) request: http::Request<WasiBody>,
    pub(crate) id: RequestId,
    pub(crate) deadline: Instant,
    /// The time it has in all, as a message says it.
    pub(crate) time: Duration,
    /// Held as long as the guest works for this request; elsewhere while the request is in a shared instance.
    pub(crate) permit: Option<Permit>,
    /// The components that call each other for it; none for one that came from outside.
    pub(crate) chain: Chain,
    /// What passes between it and its caller besides bodies, where that is a component.
    pub(crate) wires: Option<Wires>,
}

/// How two components learn what became of their bodies.
pub(crate) struct Wires {
    /// When the caller is done with the response, and how.
    #[cfg_attr(not(feature = "wasi-p3"), expect(dead_code, reason = "0.2 doesn't ask for it"))]
    pub(crate) processed: Pin<Processed>,
    /// Takes the same of the callee and the request, and how the callee's store ends. Dropped by one that was ended.
    pub(crate) received: oneshot::Sender<(Pin<Processed>, Fate)>,
}

/// Runs `job` in an instance of `entry`: a fresh one, or one that the component's reuse allows.
///
/// Cancel safe in the sense that matters here: dropping the future ends the guest.
pub(crate) async fn invoke(entry: &Arc<Entry>, job: Job) -> Result<http::Response<GuestBody>, Failure> {
    let id = job.id.clone();
    let result = match &entry.reuse {
        Reuse::Off => spawned(entry, |head, fate| fresh::run(entry.clone(), job, head, fate)).await,
        Reuse::Serial(_) => spawned(entry, |head, fate| serial::run(entry.clone(), job, head, fate)).await,
        #[cfg(feature = "wasi-p3")]
        Reuse::Concurrent(workers) => workers.invoke(entry, job).await,
    };
    // A guest that answers with an error ends well, so nobody has told of it yet.
    if let Err(failure @ (Failure::Code(_) | Failure::Informational(_))) = &result {
        ending::report(&entry.component, failure, Some(&id));
    }
    result
}

/// Runs a guest as a task of this thread, and gathers its answer. The task ends with its caller, or by itself.
async fn spawned<F>(entry: &Entry, run: impl FnOnce(Head, Fate) -> F) -> Result<http::Response<GuestBody>, Failure>
where
    F: Future<Output = ()> + Send + 'static,
{
    let (head, answer) = Head::new();
    let fate = Fate::default();
    // In a box, for a task's future is moved several times; made there, for moving it once takes a while too.
    let guest = Box::into_pin(Box::write(Box::new_uninit(), run(head, fate.clone())));
    let task = tokio::spawn(turn::shared(entry.component.clone(), guest));
    let guard = AbortOnDrop::new(task.abort_handle());
    let (parts, body) = answer.await.unwrap_or(Err(Failure::Gone))?.into_parts();
    let body = GuestBody::gather(body, fate, Hold::task(guard)).await;
    Ok(http::Response::from_parts(parts, body))
}
