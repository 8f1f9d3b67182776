//! Prepare once (D2): everything a workload needs is fetched, inspected, compiled, linked and pre-instantiated before its
//! first request, and what is wrong is found here, named, with the way out.

mod error;
mod known;
mod mounts;
mod provided;
pub(crate) mod service;
pub(crate) mod units;

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use berth_link::{LinkPlan, Role, Way};
use berth_model::limits::Effective;
use berth_model::workload::{self, Workload};
use berth_oci::Source;
use tokio_util::sync::CancellationToken;
use tracing::warn;
use wasmtime::component::{InstancePre, Linker};

use crate::admission::{Admission, HostSlots};
use crate::bridge::Siblings;
use crate::bridge::calls::Calls;
use crate::compile::{CompileError, Compiled, Compiler, Provides};
use crate::component::{Component, Shared, Unit, Voice};
use crate::config::HostConfig;
use crate::copied::door::Door;
use crate::copied::link::{Calls as ServiceCalls, Copied};
use crate::egress;
use crate::engine::{Engines, Tier};
use crate::guest::Guest;
use crate::intake::{HttpExport, Inspection};
use crate::invoke::{Code, Entry, HandlerPre};
use crate::logs::{LogBook, WorkloadLog};
use crate::loopback::Loopback;
use crate::metrics::WorkloadMetrics;
use crate::pace::Pace;
use crate::reuse::{Bounds, Reuse, WarmPool};
use crate::service::Program;
use crate::service::room::Rooms;
use crate::status::ComponentStatus;
use crate::volumes::Volumes;

pub(crate) use self::error::PrepareError;
pub(crate) use self::known::Known;
pub(crate) use self::provided::{missing, provided, provides};
use self::units::Fetched;

/// What preparing needs of its host.
pub(crate) struct Preparer {
    pub(crate) config: Arc<HostConfig>,
    pub(crate) engines: Engines,
    pub(crate) compiler: Compiler,
    pub(crate) source: Arc<dyn Source>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) slots: Arc<HostSlots>,
    /// Room for services.
    pub(crate) services: Arc<Rooms>,
    /// Slots for calls between components.
    pub(crate) calls: Arc<HostSlots>,
    pub(crate) logs: Arc<LogBook>,
    /// Types and plans from before.
    pub(crate) known: Known,
    pub(crate) volumes: Arc<Volumes>,
}

/// A workload that can serve.
pub(crate) struct Prepared {
    pub(crate) http: Option<Arc<HttpWorkload>>,
    /// Its service, not started yet.
    pub(crate) service: Option<Program>,
    /// Its components as they reach each other: as long as it is prepared.
    pub(crate) _siblings: Arc<Siblings>,
    pub(crate) components: Vec<ComponentStatus>,
}

#[cfg(test)]
impl Prepared {
    /// A workload of no components.
    pub(crate) fn nothing() -> Prepared {
        let metrics = crate::metrics::HostMetrics::default().workload("default", "nothing");
        let calls = Calls::new(Arc::new(HostSlots::new(1)), metrics);
        Prepared { http: None, service: None, _siblings: Siblings::new(calls), components: Vec::new() }
    }
}

/// The part of a workload that answers HTTP: all that a request needs.
pub(crate) struct HttpWorkload {
    pub(crate) entry: Arc<Entry>,
    pub(crate) admission: Admission,
    pub(crate) siblings: Arc<Siblings>,
    pub(crate) metrics: Arc<WorkloadMetrics>,
}

/// A unit that is linked, before the workload's entry is chosen.
struct Linked {
    /// Its root, by its place among the components.
    root: usize,
    name: String,
    inspection: Inspection,
    entry: Option<Arc<Entry>>,
    runs: Arc<Unit>,
    engine: wasmtime::Engine,
    pre: InstancePre<Guest>,
    code: Arc<Compiled>,
    compiled: Duration,
    cached: bool,
}

/// What the components of a workload share.
struct Whole<'a> {
    workload: &'a Workload,
    log: &'a Arc<WorkloadLog>,
    metrics: &'a Arc<WorkloadMetrics>,
    voice: Arc<Voice>,
    pace: Arc<Pace>,
    loopback: Arc<Loopback>,
    siblings: Arc<Siblings>,
    /// Where the service is called.
    door: Arc<Door>,
    /// Ends all guests of the workload at once.
    cut: CancellationToken,
}

impl Preparer {
    pub(crate) async fn prepare(
        &self,
        workload: &Workload,
        owner: &str,
        log: &Arc<WorkloadLog>,
        metrics: &Arc<WorkloadMetrics>,
    ) -> Result<Prepared, PrepareError> {
        let whole = Whole {
            workload,
            log,
            metrics,
            voice: Voice::new(),
            pace: self.shared.paces.of(owner),
            loopback: Loopback::new(),
            siblings: Siblings::new(Calls::new(self.calls.clone(), metrics.clone())),
            door: Door::new(),
            cut: CancellationToken::new(),
        };
        let mut fetched = Vec::with_capacity(workload.components.len());
        for component in &workload.components {
            fetched.push(self.fetch(component.clone(), Role::Component).await?);
        }
        if let Some(service) = &workload.service {
            fetched.push(self.fetch(service::as_component(service), Role::Service).await?);
        }
        self.mount(workload, &mut fetched, metrics).await?;
        let plan = self.plan(workload, &fetched).await?;
        let mut linked = Vec::with_capacity(plan.units.len());
        for unit in &plan.units {
            linked.push(self.link(&whole, &fetched, &plan, unit).await?);
        }
        let components = statuses(&fetched, &plan, &linked);
        meet(&whole.siblings, &fetched, &plan, &linked);
        let service = match &workload.service {
            // It is the last part, and the root of a unit of its own.
            Some(spec) => {
                let unit = linked.iter().position(|unit| unit.root == workload.components.len());
                Some(self.program(linked.remove(unit.expect("the service is a root")), spec, (workload, owner), whole.door.clone())?)
            }
            None => None,
        };
        let http = match &workload.http {
            Some(entry) => Some(self.entry(&whole, linked, plan.entry, entry.component.as_deref())?),
            None => None,
        };
        Ok(Prepared { http, service, _siblings: whole.siblings, components })
    }

    async fn link(
        &self,
        whole: &Whole<'_>,
        fetched: &[Fetched],
        plan: &Arc<LinkPlan>,
        unit: &berth_link::Unit,
    ) -> Result<Linked, PrepareError> {
        let spec = &fetched[unit.root].spec;
        let binary = units::binary(plan, unit, fetched);
        // What a unit of several lacks, or one that siblings are to provide for, its plan would have said.
        let carried = plan.links.iter().any(|link| link.way != Way::Fused && unit.members.contains(&link.importer));
        let missing = if unit.members.len() == 1 && !carried { missing } else { |_: &Inspection| Vec::new() };
        let provides = Provides { missing, ..provides(&self.config) };
        let copied = copied(plan, unit);
        // What calls the service is linked to the very code.
        let lasting = fetched[unit.root].role == Role::Service || spec.reuse.is_on() || !copied.is_empty();
        let tier = tier(&self.config, lasting);
        let compiled = self.compiler.compile(&binary.digest, binary.recipe, &self.engines, provides, tier).await;
        let told = |error| PrepareError::of_unit(error, unit, &|part| &fetched[part].spec);
        let (compiled, known) = compiled.map_err(told)?;
        // Also where it was compiled for others, whose siblings provide it.
        let lacks = missing(&compiled.inspection);
        if !lacks.is_empty() {
            return Err(told(CompileError::MissingImport(lacks)));
        }
        let pooled = self.engines.get(compiled.flavor).expect("it was compiled for this engine");
        let set = pooled.tier(compiled.tier).expect("it was compiled for this engine");
        let inspection = compiled.inspection.clone();
        let link_error = |error: wasmtime::Error| PrepareError::Link { component: spec.name.clone(), message: format!("{error:#}") };
        let mut linker = set.linker(unit.members.len()).map_err(link_error)?;
        if !copied.is_empty() {
            let calls = ServiceCalls { door: whole.door.clone(), metrics: whole.metrics.clone() };
            // What leads to this workload's service is in no other's linker.
            calls.link(Arc::make_mut(&mut linker), &set.engine, &compiled.component, &copied).map_err(link_error)?;
        }
        let pre = linker.instantiate_pre(&compiled.component).map_err(link_error)?;
        let copies = !copied.is_empty() || fetched[unit.root].role == Role::Service;
        let runs = Arc::new(Unit { copies, ..self.unit(whole, unit, fetched, compiled.spans.clone()) });
        let entry = match inspection.http() {
            Some(export) => {
                let entry = Arc::new(Entry {
                    component: runs.root.clone(),
                    unit: runs.clone(),
                    code: ArcSwap::from_pointee(Code {
                        engine: set.engine.clone(),
                        places: set.places().cloned(),
                        pre: handler(export, pre.clone()).map_err(link_error)?,
                        compiled: compiled.clone(),
                    }),
                    reuse: reuse(export, &spec.reuse),
                    cut: whole.cut.clone(),
                });
                self.improve(&entry, pooled.linker(unit.members.len()).map_err(link_error)?, export);
                Some(entry)
            }
            None => None,
        };
        let cached = known || compiled.from_disk;
        let took = if cached { Duration::ZERO } else { compiled.took };
        let (engine, name) = (set.engine.clone(), spec.name.clone());
        Ok(Linked { root: unit.root, name, inspection, entry, runs, engine, pre, code: compiled, compiled: took, cached })
    }

    /// Has a handler whose code is baseline code go over to optimized code when that is there.
    fn improve(&self, entry: &Arc<Entry>, linker: Arc<Linker<Guest>>, export: HttpExport) {
        let served = Arc::downgrade(entry);
        self.compiler.once_optimized(&entry.code.load().compiled, move |optimized| {
            let Some(entry) = served.upgrade() else { return };
            match linker.instantiate_pre(&optimized.component).and_then(|pre| handler(export, pre)) {
                Ok(pre) => {
                    let engine = optimized.component.engine().clone();
                    entry.code.store(Arc::new(Code { engine, places: None, pre, compiled: optimized }));
                }
                Err(error) => warn!(
                    namespace = &*entry.component.namespace,
                    workload = &*entry.component.workload,
                    component = &*entry.component.name,
                    error = format!("{error:#}"),
                    "optimized code can't be linked: the baseline code goes on"
                ),
            }
        });
    }

    /// Who runs in a unit. Its members share a store, so the root's limits on memory are those of all together.
    fn unit(&self, whole: &Whole<'_>, unit: &berth_link::Unit, fetched: &[Fetched], spans: Vec<(std::ops::Range<u64>, usize)>) -> Unit {
        let limits = |part: &usize| fetched[*part].spec.resources.limits.over(&self.config.limits);
        let all = unit.members.iter().map(limits).reduce(together).unwrap_or_default();
        let others = unit.members.iter().skip(1).map(|part| self.identity(whole, &fetched[*part], limits(part))).collect();
        Unit { root: self.identity(whole, &fetched[unit.root], all), others, spans, copies: false }
    }

    fn identity(&self, whole: &Whole<'_>, of: &Fetched, limits: Effective) -> Arc<Component> {
        Arc::new(Component {
            namespace: whole.workload.namespace.as_str().into(),
            workload: whole.workload.name.as_str().into(),
            name: of.spec.name.as_str().into(),
            environment: of.spec.resources.environment.clone().into_iter().collect(),
            config: of.spec.resources.config.clone(),
            grants: of.spec.resources.grants.clone(),
            mounts: of.mounts.clone(),
            listens: of.role == Role::Service,
            loopback: whole.loopback.clone(),
            limits,
            log: whole.log.clone(),
            metrics: whole.metrics.clone(),
            lookups: egress::lookup::bound(),
            voice: whole.voice.clone(),
            pace: whole.pace.clone(),
            siblings: Arc::downgrade(&whole.siblings),
            host: self.shared.clone(),
        })
    }

    /// The component that answers: the named one, or the only one that exports HTTP.
    fn entry(
        &self,
        whole: &Whole<'_>,
        mut linked: Vec<Linked>,
        planned: Option<usize>,
        named: Option<&str>,
    ) -> Result<Arc<HttpWorkload>, PrepareError> {
        if let Some(planned) = planned {
            linked.retain(|unit| unit.root == planned);
        }
        let found = linked.iter().map(|l| (l.name.clone(), l.inspection.exports.clone())).collect();
        let mut entries: Vec<(String, Arc<Entry>)> = linked.into_iter().filter_map(|l| Some((l.name, l.entry?))).collect();
        if let Some(named) = named {
            entries.retain(|(name, _)| name == named);
            if entries.is_empty() {
                return Err(PrepareError::NoSuchEntry(named.to_owned()));
            }
        }
        if entries.len() > 1 {
            return Err(PrepareError::SeveralEntries(entries.into_iter().map(|(name, _)| name).collect()));
        }
        let Some((_, entry)) = entries.pop() else {
            return Err(PrepareError::NoHttpExport {
                expected: "a workload with the wasi:http host interface needs one that exports",
                found,
            });
        };
        let admission = Admission::new(self.slots.clone(), &entry.component.limits, whole.metrics.clone());
        Ok(Arc::new(HttpWorkload { entry, admission, siblings: whole.siblings.clone(), metrics: whole.metrics.clone() }))
    }
}

/// The least that a component may be compiled to: one whose instances last would run baseline code for as long as they do.
pub(crate) fn tier(config: &HostConfig, lasting: bool) -> Tier {
    if config.tiered_compilation && !lasting { Tier::Baseline } else { Tier::Optimized }
}

/// Makes the components known to each other: those that answer HTTP, each the root of a unit, and who handles what others import.
fn meet(siblings: &Siblings, fetched: &[Fetched], plan: &LinkPlan, linked: &[Linked]) {
    let name = |part: usize| -> Arc<str> { fetched[part].spec.name.as_str().into() };
    let entry = |part: usize| linked.iter().find(|unit| unit.root == part).and_then(|unit| unit.entry.clone());
    let components = (0..fetched.len()).filter(|part| fetched[*part].role == Role::Component);
    let bridged = plan.links.iter().filter(|link| link.way == Way::Bridged);
    siblings.meet(components.map(|part| (name(part), entry(part))), bridged.map(|link| (name(link.importer), name(link.exporter))));
}

/// What the members of a unit import of the service.
fn copied(plan: &LinkPlan, unit: &berth_link::Unit) -> Vec<Copied> {
    let links = plan.links.iter().filter(|link| link.way == Way::Copied);
    let copied = |link: &berth_link::Link| {
        let seat = unit.members.iter().position(|member| *member == link.importer)?;
        Some(Copied { import: berth_link::renamed(seat, &link.import), export: link.export.clone() })
    };
    links.filter_map(copied).collect()
}

/// Limits of two members that share a store: of memory and tables the sum, of all else the first's.
fn together(first: Effective, second: Effective) -> Effective {
    Effective {
        memory_bytes: first.memory_bytes.saturating_add(second.memory_bytes),
        table_elements: first.table_elements.saturating_add(second.table_elements),
        ..first
    }
}

/// Where each component stands: how long its units took to compile, together.
fn statuses(fetched: &[Fetched], plan: &LinkPlan, linked: &[Linked]) -> Vec<ComponentStatus> {
    let status = |(part, fetched): (usize, &Fetched)| {
        let units: Vec<&Linked> = plan.units.iter().zip(linked).filter(|(unit, _)| unit.members.contains(&part)).map(|(_, l)| l).collect();
        ComponentStatus {
            name: fetched.spec.name.clone(),
            digest: fetched.artifact.digest.clone(),
            compiled: units.iter().filter(|unit| unit.root == part).map(|unit| unit.compiled).sum(),
            cached: units.iter().all(|unit| unit.cached),
        }
    };
    fetched.iter().enumerate().map(status).collect()
}

fn handler(export: HttpExport, pre: wasmtime::component::InstancePre<crate::guest::Guest>) -> wasmtime::Result<HandlerPre> {
    match export {
        HttpExport::P2 => Ok(HandlerPre::P2(wasmtime_wasi_http::p2::bindings::ProxyPre::new(pre)?)),
        #[cfg(feature = "wasi-p3")]
        HttpExport::P3 => Ok(HandlerPre::P3(wasmtime_wasi_http::p3::bindings::ServicePre::new(pre)?)),
        #[cfg(not(feature = "wasi-p3"))]
        HttpExport::P3 => Err(wasmtime::format_err!("this build runs no WASI 0.3")),
    }
}

fn reuse(export: HttpExport, spec: &workload::Reuse) -> Reuse {
    match (Bounds::of(spec), export) {
        (None, _) => Reuse::Off,
        #[cfg(feature = "wasi-p3")]
        (Some(bounds), HttpExport::P3) => Reuse::Concurrent(crate::invoke::workers::Workers::new(bounds)),
        (Some(bounds), _) => Reuse::Serial(WarmPool::new(bounds)),
    }
}
