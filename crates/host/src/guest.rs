//! What a store holds for its guest: WASI's contexts, the way out, its limits and its deadline.

use std::sync::{Arc, Mutex};
use std::time::Instant;

use wasmtime::component::ResourceTable;
use wasmtime::{Engine, Store, UpdateDeadline};
use wasmtime_wasi::sockets::WasiSocketsCtxView;
use wasmtime_wasi::{WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

use crate::component::Component;
use crate::egress::http::Outgoing;
use crate::egress::names::Lookups;
use crate::egress::sockets;
use crate::limiter::Limiter;
use crate::logs::Stream;
use crate::request_id::RequestId;
use crate::stdio::GuestOutput;
use crate::turn;

/// Resources that a guest may hold in its table at once (L31).
const MAX_RESOURCES: usize = 100_000;
/// Bytes that one call may copy out of the guest into the host (L31).
const HOSTCALL_BYTES: usize = 16 << 20;
/// Random bytes per call (L31).
const MAX_RANDOM_BYTES: u64 = 1 << 20;

/// The deadline of a request has passed while its guest computed.
#[derive(Debug, thiserror::Error)]
#[error("the request's deadline passed")]
pub(crate) struct DeadlinePassed;

/// Data of one store.
pub(crate) struct Guest {
    pub(crate) table: ResourceTable,
    /// Made at its first use: most handlers never touch a file, a clock or a variable.
    wasi: Option<Box<WasiCtx>>,
    http: WasiHttpCtx,
    outgoing: Outgoing,
    pub(crate) lookups: Lookups,
    pub(crate) limiter: Limiter,
    /// When a guest that computes is cut.
    pub(crate) deadline: Instant,
    component: Arc<Component>,
    request: Arc<Mutex<Option<RequestId>>>,
}

impl Guest {
    fn new(component: &Arc<Component>, request: Option<RequestId>, deadline: Instant) -> Guest {
        let mut table = ResourceTable::new();
        table.set_max_capacity(MAX_RESOURCES);
        component.host.metrics.instances_live.inc();
        Guest {
            table,
            wasi: None,
            http: WasiHttpCtx::new(),
            outgoing: Outgoing::new(component.clone()),
            lookups: Lookups::new(component.clone()),
            limiter: Limiter::new(&component.limits, component.host.memory.clone(), component.metrics.clone()),
            deadline,
            component: component.clone(),
            request: Arc::new(Mutex::new(request)),
        }
    }

    /// Makes a reused store ready for its next request.
    pub(crate) fn renew(&mut self, request: Option<RequestId>, deadline: Instant) {
        *self.request.lock().expect("no panic while held") = request;
        self.deadline = deadline;
        self.outgoing.set_deadline(deadline);
    }

    /// Says whose request the guest works for.
    #[cfg(feature = "wasi-p3")]
    pub(crate) fn set_request(&mut self, request: Option<RequestId>) {
        *self.request.lock().expect("no panic while held") = request;
    }

    /// Cuts the guest at `cut` while it computes; what it asks of others may take until `outgoing`.
    #[cfg(feature = "wasi-p3")]
    pub(crate) fn set_deadlines(&mut self, cut: Instant, outgoing: Instant) {
        self.deadline = cut;
        self.outgoing.set_deadline(outgoing);
    }

    /// Two views of distinct fields at once, for name lookups.
    pub(crate) fn sockets_and_lookups(&mut self) -> (WasiSocketsCtxView<'_>, &mut Lookups) {
        if self.wasi.is_none() {
            self.wasi = Some(Box::new(self.build_wasi()));
        }
        let wasi = self.wasi.as_mut().expect("made above");
        (WasiSocketsCtxView { ctx: wasi.sockets(), table: &mut self.table }, &mut self.lookups)
    }

    fn build_wasi(&self) -> WasiCtx {
        let output = |stream| GuestOutput::new(self.component.log.clone(), self.component.name.clone(), self.request.clone(), stream);
        let mut builder = WasiCtxBuilder::new();
        builder.stdout(output(Stream::Stdout)).stderr(output(Stream::Stderr)).max_random_size(MAX_RANDOM_BYTES);
        for (key, value) in &self.component.environment {
            builder.env(key, value);
        }
        sockets::allow(&mut builder, self.component.clone(), self.lookups.resolved());
        builder.build()
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.component.host.metrics.instances_live.dec();
    }
}

impl WasiView for Guest {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        if self.wasi.is_none() {
            self.wasi = Some(Box::new(self.build_wasi()));
        }
        WasiCtxView { ctx: self.wasi.as_mut().expect("made above"), table: &mut self.table }
    }
}

impl WasiHttpView for Guest {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView { ctx: &mut self.http, table: &mut self.table, hooks: &mut self.outgoing }
    }
}

/// A store for one instance of `component`: limited, interrupted each tick, cut at `deadline`.
pub(crate) fn store(engine: &Engine, component: &Arc<Component>, request: Option<RequestId>, deadline: Instant) -> Store<Guest> {
    let mut guest = Guest::new(component, request, deadline);
    guest.outgoing.set_deadline(deadline);
    let mut store = Store::new(engine, guest);
    store.limiter(|guest| &mut guest.limiter);
    store.set_hostcall_fuel(HOSTCALL_BYTES);
    store.epoch_deadline_callback(|store| {
        if Instant::now() >= store.data().deadline { Err(DeadlinePassed.into()) } else { Ok(UpdateDeadline::YieldCustom(1, turn::next())) }
    });
    store.set_epoch_deadline(1);
    store
}
