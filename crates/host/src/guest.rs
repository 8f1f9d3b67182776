//! What a store holds for its guest: WASI's contexts, the way out, its limits and its deadline.

use std::sync::Arc;
use std::time::Instant;

use wasmtime::component::ResourceTable;
use wasmtime::{Engine, Store, UpdateDeadline};
use wasmtime_wasi::{WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

use crate::component::Component;
use crate::egress::Asker;
use crate::egress::http::Outgoing;
use crate::egress::names::Lookups;
use crate::limiter::Limiter;
use crate::logs::Stream;
use crate::request_id::RequestId;
use crate::stdio::GuestOutput;
use crate::turn;

/// Resources of WASI that a guest may hold at once (L31). A request takes about ten, and as many for each it sends.
const MAX_RESOURCES: usize = 4096;
/// Handles that a guest may hold at once, its own resources among them (L31).
const MAX_HANDLES: usize = 16_384;
/// Tasks, streams, futures and the like of WASI 0.3 in one store at once (L31). A request takes some fifteen.
#[cfg(feature = "wasi-p3")]
const MAX_CONCURRENT: usize = 16_384;
/// Bytes of the header fields that a guest makes, as they lie in memory: their text and 72 bytes for each (L31). The largest head that
/// the ingress takes by default, 64 KiB of 100 fields, has room with a third to spare.
const FIELDS_BYTES: usize = 96 << 10;
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
    asker: Arc<Asker>,
    /// Where unfinished lines wait; empty until the guest's WASI is made.
    outputs: Vec<GuestOutput>,
}

impl Guest {
    fn new(component: &Arc<Component>, request: Option<RequestId>, deadline: Instant) -> Guest {
        let mut table = ResourceTable::new();
        table.set_max_capacity(MAX_RESOURCES);
        component.host.metrics.instances_live.inc();
        let asker = Asker::new(component.clone(), request);
        let mut http = WasiHttpCtx::new();
        http.set_field_size_limit(FIELDS_BYTES);
        Guest {
            table,
            wasi: None,
            http,
            outgoing: Outgoing::new(asker.clone()),
            lookups: Lookups::new(asker.clone()),
            limiter: Limiter::new(&component.limits, component.host.memory.clone(), component.metrics.clone()),
            deadline,
            asker,
            outputs: Vec::new(),
        }
    }

    /// Makes a reused store ready for its next request.
    pub(crate) fn renew(&mut self, request: Option<RequestId>, deadline: Instant) {
        self.turn_to(request);
        self.deadline = deadline;
        self.outgoing.set_deadline(deadline);
    }

    /// Says whose request the guest works for.
    #[cfg(feature = "wasi-p3")]
    pub(crate) fn set_request(&mut self, request: Option<RequestId>) {
        self.turn_to(request);
    }

    /// A line that the last request left unfinished is its own.
    fn turn_to(&self, request: Option<RequestId>) {
        self.outputs.iter().for_each(GuestOutput::end_line);
        self.asker.serves(request);
    }

    /// Cuts the guest at `cut` while it computes; what it asks of others may take until `outgoing`.
    #[cfg(feature = "wasi-p3")]
    pub(crate) fn set_deadlines(&mut self, cut: Instant, outgoing: Instant) {
        self.deadline = cut;
        self.outgoing.set_deadline(outgoing);
    }

    /// Without sockets and lookups: each of them is allowed by itself, in `egress`.
    fn build_wasi(&mut self) -> WasiCtx {
        let output = |stream| GuestOutput::new(self.asker.clone(), stream);
        let (stdout, stderr) = (output(Stream::Stdout), output(Stream::Stderr));
        self.outputs = vec![stdout.clone(), stderr.clone()];
        let mut builder = WasiCtxBuilder::new();
        builder.stdout(stdout).stderr(stderr).max_random_size(MAX_RANDOM_BYTES);
        for (key, value) in &self.asker.component.environment {
            builder.env(key, value);
        }
        builder.build()
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.asker.component.host.metrics.instances_live.dec();
    }
}

impl WasiView for Guest {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        if self.wasi.is_none() {
            let wasi = self.build_wasi();
            self.wasi = Some(Box::new(wasi));
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
    store.set_max_component_handles(MAX_HANDLES);
    #[cfg(feature = "wasi-p3")]
    if let Some(table) = store.concurrent_resource_table() {
        table.set_max_capacity(MAX_CONCURRENT);
    }
    store.epoch_deadline_callback(|store| {
        let guest = store.data();
        if Instant::now() >= guest.deadline {
            return Err(DeadlinePassed.into());
        }
        Ok(UpdateDeadline::YieldCustom(1, turn::next(&guest.asker.component.pace)))
    });
    store.set_epoch_deadline(1);
    store
}
