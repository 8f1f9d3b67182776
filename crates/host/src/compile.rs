//! Compiling: on a bounded pool off the request path (L19), once per component however many ask, shared by all who hold the result.
//!
//! Reading what a component is belongs to it: validating a large one takes as long as many requests, and happens on the same pool,
//! once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use berth_model::digest::Digest;
use bytes::Bytes;
use tokio::sync::{OnceCell, Semaphore};
use wasmtime::Engine;

use crate::engine::{Engines, Flavor};
use crate::intake::{self, Inspection, NotAComponent};
use crate::metrics::HostMetrics;

/// A component, compiled for the engine that it needs.
pub(crate) struct Compiled {
    pub(crate) component: wasmtime::component::Component,
    pub(crate) inspection: Inspection,
    pub(crate) flavor: Flavor,
    /// How long it took.
    pub(crate) took: Duration,
}

/// A component that couldn't be compiled.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CompileError {
    #[error(transparent)]
    NotAComponent(#[from] NotAComponent),
    #[error("it needs WASI 0.3 ({0}), which this host does not run")]
    P3Off(String),
    #[error("nothing provides its imports {}", .0.join(", "))]
    MissingImport(Vec<String>),
    #[error("{0}")]
    Failed(String),
}

type Cell = Arc<OnceCell<Arc<Compiled>>>;

/// Compiles components and remembers those in use.
pub(crate) struct Compiler {
    slots: Arc<Semaphore>,
    /// In use: kept by the workloads that run them.
    known: Mutex<HashMap<Digest, Weak<Compiled>>>,
    /// Being compiled: one compile per digest.
    running: Mutex<HashMap<Digest, Cell>>,
    metrics: Arc<HostMetrics>,
}

/// What a job needs, of its own: it outlives who waits for it.
struct Job {
    bytes: Bytes,
    p2: Option<Engine>,
    p3: Option<Engine>,
    missing: fn(&Inspection) -> Vec<String>,
}

impl Compiler {
    pub(crate) fn new(threads: usize, metrics: Arc<HostMetrics>) -> Compiler {
        let slots = Arc::new(Semaphore::new(threads.max(1)));
        Compiler { slots, known: Mutex::default(), running: Mutex::default(), metrics }
    }

    /// The compiled form of `bytes`, and whether it was known. What imports something that `missing` names isn't compiled.
    pub(crate) async fn compile(
        &self,
        digest: &Digest,
        bytes: Bytes,
        engines: &Engines,
        missing: fn(&Inspection) -> Vec<String>,
    ) -> Result<(Arc<Compiled>, bool), CompileError> {
        let cell = {
            let known = self.known.lock().expect("no panic while held");
            if let Some(compiled) = known.get(digest).and_then(Weak::upgrade) {
                return Ok((compiled, true));
            }
            self.running.lock().expect("no panic while held").entry(digest.clone()).or_default().clone()
        };
        let engine = |flavor| engines.get(flavor).map(|set| set.engine.clone());
        let job = Job { bytes, p2: engine(Flavor::P2), p3: engine(Flavor::P3), missing };
        let mut first = false;
        let compiled = cell
            .get_or_try_init(|| {
                first = true;
                self.run(job)
            })
            .await
            .cloned();
        let mut known = self.known.lock().expect("no panic while held");
        if let Ok(compiled) = &compiled {
            known.retain(|_, weak| weak.strong_count() > 0);
            known.insert(digest.clone(), Arc::downgrade(compiled));
        }
        self.running.lock().expect("no panic while held").remove(digest);
        compiled.map(|compiled| (compiled, !first))
    }

    async fn run(&self, job: Job) -> Result<Arc<Compiled>, CompileError> {
        let stopping = |_| CompileError::Failed("the host is stopping".into());
        let slot = self.slots.clone().acquire_owned().await.map_err(stopping)?;
        // A compile can't be stopped: it keeps its slot until it ends, even when nobody waits for it any more.
        let result = tokio::task::spawn_blocking(move || {
            let _slot = slot;
            job.run()
        });
        let crashed = |_| CompileError::Failed("the compiler failed on this component: please report it".into());
        let compiled = result.await.map_err(crashed)??;
        self.metrics.compiled(compiled.took);
        Ok(Arc::new(compiled))
    }
}

impl Job {
    fn run(self) -> Result<Compiled, CompileError> {
        let start = Instant::now();
        let inspection = intake::inspect(&self.bytes)?;
        let (flavor, engine) = if inspection.uses_p3() { (Flavor::P3, self.p3) } else { (Flavor::P2, self.p2) };
        let Some(engine) = engine else {
            let import = inspection.imports.iter().chain(&inspection.exports).find(|name| name.contains("@0.3")).cloned();
            return Err(CompileError::P3Off(import.unwrap_or_default()));
        };
        let missing = (self.missing)(&inspection);
        if !missing.is_empty() {
            return Err(CompileError::MissingImport(missing));
        }
        let component = wasmtime::component::Component::from_binary(&engine, &self.bytes);
        let component = component.map_err(|error| CompileError::Failed(format!("{error:#}")))?;
        Ok(Compiled { component, inspection, flavor, took: start.elapsed() })
    }
}
