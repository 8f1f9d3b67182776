//! What a store holds for its guest: its members, its limits and its deadline.

#[cfg(feature = "wasi-p3")]
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

#[cfg(feature = "wasi-p3")]
use wasmtime::component::GuestTaskId;
use wasmtime::component::ResourceTable;
use wasmtime::{Engine, Store, UpdateDeadline};
use wasmtime_wasi::{WasiCtxView, WasiView};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

use crate::bridge::chain::Call;
use crate::component::{Shared, Unit};
use crate::copied;
use crate::guest_store::GuestStore;
use crate::invoke::fate::Fate;
#[cfg(feature = "wasi-p3")]
use crate::invoke::lease::{Leases, SLACK};
use crate::limiter::Limiter;
use crate::member::{Member, Seat};
use crate::request_id::RequestId;
use crate::service::signal::UntilTold;
use crate::turn;
use crate::volumes::Handles;

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
/// Bytes that one call may copy out of the guest into the host (L31), unless it calls its service.
const HOSTCALL_BYTES: usize = 16 << 20;

/// The deadline of a request has passed while its guest computed.
#[derive(Debug, thiserror::Error)]
#[error("the request's deadline passed")]
pub(crate) struct DeadlinePassed;

/// Nobody waits any more for anything that the guest does.
#[cfg(feature = "wasi-p3")]
#[derive(Debug, thiserror::Error)]
#[error("nobody waits for the guest any more")]
pub(crate) struct Unwanted;

/// Data of one store.
pub(crate) struct Guest {
    pub(crate) table: ResourceTable,
    /// Files and folders that it has open.
    pub(crate) handles: Handles,
    http: WasiHttpCtx,
    pub(crate) limiter: Limiter,
    /// When a guest that computes is cut.
    pub(crate) deadline: Instant,
    root: Member,
    /// Those composed with the root, by their seats from 1 on; nearly always none.
    others: Vec<Member>,
    /// The request that it works for, as what it calls sees it; none for a service, and where it serves several at once.
    call: Option<Arc<Call>>,
    /// The requests that it serves at once, by the tasks they began: at most as many as there were tasks at once, for their numbers
    /// come again.
    #[cfg(feature = "wasi-p3")]
    calls: BTreeMap<GuestTaskId, Arc<Call>>,
    /// Who waits for what it does, where it serves several requests at once.
    #[cfg(feature = "wasi-p3")]
    leases: Option<Arc<Leases>>,
}

impl Guest {
    fn new(unit: &Unit, request: Option<RequestId>, deadline: Instant) -> Guest {
        let component = &unit.root;
        let mut table = ResourceTable::new();
        table.set_max_capacity(MAX_RESOURCES);
        component.host.metrics.instances_live.inc();
        let mut http = WasiHttpCtx::new();
        http.set_field_size_limit(FIELDS_BYTES);
        Guest {
            table,
            handles: Handles::default(),
            http,
            limiter: Limiter::new(&component.limits, component.host.memory.clone(), component.metrics.clone()),
            deadline,
            others: unit.others.iter().map(|member| Member::new(member, request.clone(), deadline)).collect(),
            root: Member::new(component, request, deadline),
            call: None,
            #[cfg(feature = "wasi-p3")]
            calls: BTreeMap::new(),
            #[cfg(feature = "wasi-p3")]
            leases: None,
        }
    }

    /// The host that it runs on.
    pub(crate) fn host(&self) -> &Arc<Shared> {
        &self.root.component().host
    }

    /// Makes a reused store ready for its next request.
    pub(crate) fn renew(&mut self, request: Option<RequestId>, deadline: Instant) {
        self.deadline = deadline;
        for member in self.members() {
            member.turn_to(request.clone());
            member.outgoing.set_deadline(deadline);
        }
    }

    /// Makes it the guest of a service, which works for no request and ends when it is told to: `stdin` says so, and each of its
    /// outgoing requests has a deadline of its own.
    pub(crate) fn serves_long(&mut self, stdin: UntilTold) {
        self.root.set_stdin(stdin);
        let patience = self.root.component().limits.request_timeout;
        self.members().for_each(|member| member.outgoing.set_patience(patience));
    }

    /// Says whose request the guest works for, to what it calls.
    pub(crate) fn works_for(&mut self, call: Call) {
        let call = Arc::new(call);
        self.members().for_each(|member| member.outgoing.works_for(call.clone()));
        self.call = Some(call);
    }

    /// The request that it works for, where it is one.
    #[cfg(feature = "wasi-p3")]
    pub(crate) fn call(&self) -> Option<&Arc<Call>> {
        self.call.as_ref()
    }

    /// Says which request a task serves that begins.
    #[cfg(feature = "wasi-p3")]
    pub(crate) fn begins(&mut self, task: GuestTaskId, call: Arc<Call>) {
        self.calls.insert(task, call);
    }

    /// Says who waits for what it does: a guest that computes is cut when that is nobody. (One that waits gets no further anyway.)
    #[cfg(feature = "wasi-p3")]
    pub(crate) fn wanted_by(&mut self, leases: Arc<Leases>) {
        self.leases = Some(leases);
    }

    #[cfg(feature = "wasi-p3")]
    fn is_unwanted(&self) -> bool {
        self.leases.as_ref().is_some_and(|leases| leases.is_deserted())
    }

    /// Who waits for what it does, where it serves several requests at once.
    #[cfg(feature = "wasi-p3")]
    pub(crate) fn leases(&self) -> Option<&Arc<Leases>> {
        self.leases.as_ref()
    }

    /// Whether it may serve several requests at once.
    #[cfg(feature = "wasi-p3")]
    pub(crate) fn is_shared(&self) -> bool {
        !self.calls.is_empty()
    }

    /// The request that a task serves which the host began.
    #[cfg(feature = "wasi-p3")]
    pub(crate) fn call_of(&self, task: GuestTaskId) -> Option<Arc<Call>> {
        self.calls.get(&task).cloned()
    }

    /// Says whose request the guest works for.
    #[cfg(feature = "wasi-p3")]
    pub(crate) fn set_request(&mut self, request: Option<RequestId>) {
        self.members().for_each(|member| member.turn_to(request.clone()));
    }

    /// Takes the time that it has from those who wait for it: it is cut soon after the first deadline of its requests, and what it asks of
    /// others may take until the last.
    #[cfg(feature = "wasi-p3")]
    pub(crate) fn keep_time(&mut self) {
        let Some(leases) = &self.leases else { return };
        let (first, last) = leases.deadlines().unwrap_or_else(|| {
            // What it does between requests is bounded like a request.
            let idle = Instant::now() + self.root.component().limits.request_timeout;
            (idle, idle)
        });
        self.deadline = first + SLACK;
        self.members().for_each(|member| member.outgoing.set_deadline(last));
    }

    /// Gives it the fate of its store to ask: what goes when the guest was ended isn't closed but broken off.
    pub(crate) fn fated(&mut self, fate: &Fate) {
        self.members().for_each(|member| member.lookups.asker().fated(fate.clone()));
    }

    fn members(&mut self) -> impl Iterator<Item = &mut Member> {
        std::iter::once(&mut self.root).chain(&mut self.others)
    }

    /// The member at `seat` and what all members share. A unit has as many members as its component was composed of.
    pub(crate) fn parts(&mut self, seat: Seat) -> (&mut Member, &mut ResourceTable) {
        let member = match seat.index().checked_sub(1) {
            None => &mut self.root,
            Some(other) => &mut self.others[other],
        };
        (member, &mut self.table)
    }

    pub(crate) fn wasi(&mut self, seat: Seat) -> WasiCtxView<'_> {
        let (member, table) = self.parts(seat);
        WasiCtxView { ctx: member.wasi(), table }
    }

    pub(crate) fn http_of(&mut self, seat: Seat) -> WasiHttpCtxView<'_> {
        let hooks = match seat.index().checked_sub(1) {
            None => &mut self.root.outgoing,
            Some(other) => &mut self.others[other].outgoing,
        };
        WasiHttpCtxView { ctx: &mut self.http, table: &mut self.table, hooks }
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.root.component().host.metrics.instances_live.dec();
    }
}

impl WasiView for Guest {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        self.wasi(Seat::ROOT)
    }
}

impl WasiHttpView for Guest {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        self.http_of(Seat::ROOT)
    }
}

/// A store for one instance of `unit`: limited, interrupted each tick, cut at `deadline`.
pub(crate) fn store(engine: &Engine, unit: &Unit, request: Option<RequestId>, deadline: Instant) -> GuestStore {
    let mut store = Store::new(engine, Guest::new(unit, request, deadline));
    store.limiter(|guest| &mut guest.limiter);
    store.set_hostcall_fuel(if unit.copies { copied::HOSTCALL_BYTES } else { HOSTCALL_BYTES });
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
        #[cfg(feature = "wasi-p3")]
        if guest.is_unwanted() {
            return Err(Unwanted.into());
        }
        Ok(UpdateDeadline::YieldCustom(1, turn::next(&guest.root.component().pace)))
    });
    store.set_epoch_deadline(1);
    GuestStore::new(store)
}
