//! Prepare once (D2): everything a workload needs is fetched, inspected, compiled, linked and pre-instantiated before its
//! first request, and what is wrong is found here, named, with the way out.

mod known;
mod mounts;
pub(crate) mod service;
pub(crate) mod units;

use std::sync::Arc;
use std::time::Duration;

use berth_link::{ComposeError, LinkError, LinkPlan, ReadError, Role, Way};
use berth_model::interface::InterfaceName;
use berth_model::limits::Effective;
use berth_model::workload::{self, Workload};
use berth_oci::{FetchError, Source};
use tokio_util::sync::CancellationToken;
use wasmtime::component::InstancePre;

use crate::admission::{Admission, HostSlots};
use crate::bridge::Siblings;
use crate::bridge::calls::Calls;
use crate::compile::{CompileError, Compiled, Compiler, Provides};
use crate::component::{Component, Shared, Unit, Voice};
use crate::config::HostConfig;
use crate::copied::door::Door;
use crate::copied::link::{Calls as ServiceCalls, Copied};
use crate::egress;
use crate::engine::{self, Engines};
use crate::guest::Guest;
use crate::intake::{HttpExport, Inspection, NotAComponent};
use crate::invoke::{Entry, HandlerPre};
use crate::logs::{LogBook, WorkloadLog};
use crate::loopback::Loopback;
use crate::metrics::WorkloadMetrics;
use crate::pace::Pace;
use crate::reuse::{Bounds, Reuse, WarmPool};
use crate::service::Program;
use crate::service::room::Rooms;
use crate::status::ComponentStatus;
use crate::volumes::{VolumeError, Volumes};

pub(crate) use self::known::Known;
use self::units::Fetched;

/// Packages of WASI that the host provides.
const PROVIDED: [&str; 8] = ["cli", "clocks", "config", "filesystem", "http", "io", "random", "sockets"];

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

/// Why a workload can't be prepared.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PrepareError {
    #[error("component {component}: {source}")]
    Fetch { component: String, source: FetchError },
    #[error("component {component} ({image}): {source}")]
    Intake { component: String, image: String, source: NotAComponent },
    #[error(
        "component {component} needs WASI 0.3 ({import}), which this host does not run: start it without --no-wasi-p3, or build the component for WASI 0.2"
    )]
    P3Off { component: String, import: String },
    #[error("component {component} isn't compiled yet: {message}")]
    CompileQueueFull { component: String, message: String },
    #[error("component {component}: compiling failed: {message}")]
    Compile { component: String, message: String },
    #[error(
        "component {component} imports {}, and this host provides {}: add a component that exports it to the workload, or build this one without",
        imports.join(", "), provided_packages()
    )]
    MissingImport { component: String, imports: Vec<String> },
    #[error(
        "component {component} has a table of {elements} elements, and this host's largest is {largest}: start it with --table-elements {elements}, or more"
    )]
    TableTooLarge { component: String, elements: u64, largest: u32 },
    #[error("component {component} can't be linked: {message}")]
    Link { component: String, message: String },
    #[error("component {component}: {source}")]
    Unreadable { component: String, source: ReadError },
    #[error(transparent)]
    Linking(Box<LinkError>),
    #[error("component {component} can't be composed with those that it is linked to: {source}")]
    Compose { component: String, source: ComposeError },
    #[error(
        "no component exports HTTP: {} wasi:http/incoming-handler (0.2) or wasi:http/handler (0.3); {}", .expected, exported(.found)
    )]
    NoHttpExport { expected: &'static str, found: Vec<(String, Vec<String>)> },
    #[error("several components export HTTP ({}): name the one that answers with config.component of the wasi:http host interface", .0.join(", "))]
    SeveralEntries(Vec<String>),
    #[error("the wasi:http host interface names component {0:?} in config.component, and the workload has no HTTP component of that name")]
    NoSuchEntry(String),
    #[error(
        "the service exports no wasi:cli/run but {}: give a program, such as a Rust binary built for the target wasm32-wasip2, or list it under components",
        if .0.is_empty() { "nothing".into() } else { .0.join(", ") }
    )]
    NoRunExport(Vec<String>),
    #[error("this host runs {0} services already, which is as many as it may (services)")]
    ServiceLimit(u32),
    #[error("volume {volume}: {source}")]
    Volume { volume: String, source: VolumeError },
}

/// What a component may import.
fn provided_packages() -> String {
    PROVIDED.map(|package| format!("wasi:{package}")).join(", ")
}

fn exported(found: &[(String, Vec<String>)]) -> String {
    let list: Vec<String> = found
        .iter()
        .map(|(name, exports)| {
            format!("component {name} exports {}", if exports.is_empty() { "nothing".into() } else { exports.join(", ") })
        })
        .collect();
    list.join("; ")
}

impl PrepareError {
    pub(crate) fn of_compile(error: CompileError, spec: &workload::Component) -> PrepareError {
        let component = spec.name.clone();
        match error {
            CompileError::NotAComponent(source) => PrepareError::Intake { component, image: spec.image.to_string(), source },
            CompileError::P3Off(import) => PrepareError::P3Off { component, import },
            CompileError::MissingImport(imports) => PrepareError::MissingImport { component, imports },
            CompileError::TableTooLarge { elements, largest } => PrepareError::TableTooLarge { component, elements, largest },
            CompileError::QueueFull(_) => PrepareError::CompileQueueFull { component, message: error.to_string() },
            CompileError::Compose(source) => PrepareError::Compose { component, source },
            CompileError::Failed(message) => PrepareError::Compile { component, message },
        }
    }

    /// Why, in one CamelCase word.
    pub(crate) fn reason(&self) -> &'static str {
        match self {
            PrepareError::Fetch { .. } => "ImagePullFailed",
            PrepareError::Intake { .. } => "InvalidComponent",
            PrepareError::P3Off { .. } => "WasiP3Disabled",
            PrepareError::CompileQueueFull { .. } => "CompileQueueFull",
            PrepareError::Compile { .. } => "CompileFailed",
            PrepareError::MissingImport { .. } => "MissingImport",
            PrepareError::TableTooLarge { .. } => "TableLimit",
            PrepareError::Link { .. } | PrepareError::Compose { .. } => "LinkFailed",
            PrepareError::Unreadable { .. } => "InvalidComponent",
            PrepareError::Linking(error) => error.reason(),
            PrepareError::NoHttpExport { .. } => "NoHttpExport",
            PrepareError::SeveralEntries(_) | PrepareError::NoSuchEntry(_) => "AmbiguousEntry",
            PrepareError::NoRunExport(_) => "NoRunExport",
            PrepareError::ServiceLimit(_) => "ServiceLimit",
            PrepareError::Volume { source, .. } => source.reason(),
        }
    }
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
        let compiled = self.compiler.compile(&binary.digest, binary.recipe, &self.engines, provides).await;
        let (compiled, known) = compiled.map_err(|error| PrepareError::of_compile(error, spec))?;
        let set = self.engines.get(compiled.flavor).expect("it was compiled for this engine");
        let inspection = compiled.inspection.clone();
        let link_error = |error: wasmtime::Error| PrepareError::Link { component: spec.name.clone(), message: format!("{error:#}") };
        let mut linker = set.linker(unit.members.len()).map_err(link_error)?;
        let copied = copied(plan, unit);
        if !copied.is_empty() {
            let calls = ServiceCalls { door: whole.door.clone(), metrics: whole.metrics.clone() };
            // What leads to this workload's service is in no other's linker.
            calls.link(Arc::make_mut(&mut linker), &set.engine, &compiled.component, &copied).map_err(link_error)?;
        }
        let pre = linker.instantiate_pre(&compiled.component).map_err(link_error)?;
        let copies = !copied.is_empty() || fetched[unit.root].role == Role::Service;
        let runs = Arc::new(Unit { copies, ..self.unit(whole, unit, fetched, compiled.spans.clone()) });
        let entry = match inspection.http() {
            Some(export) => Some(Arc::new(Entry {
                component: runs.root.clone(),
                unit: runs.clone(),
                engine: set.engine.clone(),
                pre: handler(export, pre.clone()).map_err(link_error)?,
                reuse: reuse(export, &spec.reuse),
                cut: whole.cut.clone(),
                _compiled: compiled.clone(),
            })),
            None => None,
        };
        let cached = known || compiled.from_disk;
        let took = if cached { Duration::ZERO } else { compiled.took };
        let (engine, name) = (set.engine.clone(), spec.name.clone());
        Ok(Linked { root: unit.root, name, inspection, entry, runs, engine, pre, code: compiled, compiled: took, cached })
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

/// What this host provides.
pub(crate) fn provides(config: &HostConfig) -> Provides {
    Provides { missing, largest_table: engine::largest_table(config) }
}

/// Imports that nothing provides: known before anything is compiled.
pub(crate) fn missing(inspection: &Inspection) -> Vec<String> {
    inspection.imports.iter().filter(|import| !provided(import)).cloned().collect()
}

pub(crate) fn provided(import: &str) -> bool {
    // A handler of HTTP is a sibling's.
    let is_ours =
        |name: InterfaceName| name.namespace == "wasi" && PROVIDED.contains(&name.package.as_str()) && !name.is("wasi", "http", "handler");
    import.parse().is_ok_and(is_ours)
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
