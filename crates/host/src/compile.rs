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
    #[error("a table of {elements} elements is larger than the host's largest of {largest}")]
    TableTooLarge { elements: u64, largest: u32 },
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

/// What a host asks of a component before it compiles it.
#[derive(Clone, Copy)]
pub(crate) struct Provides {
    /// The component's imports that nothing provides.
    pub(crate) missing: fn(&Inspection) -> Vec<String>,
    /// Elements of the largest table that there is room for.
    pub(crate) largest_table: u32,
}

/// What a job needs, of its own: it outlives who waits for it.
struct Job {
    bytes: Bytes,
    p2: Option<Engine>,
    p3: Option<Engine>,
    provides: Provides,
}

impl Compiler {
    pub(crate) fn new(threads: usize, metrics: Arc<HostMetrics>) -> Compiler {
        let slots = Arc::new(Semaphore::new(threads.max(1)));
        Compiler { slots, known: Mutex::default(), running: Mutex::default(), metrics }
    }

    /// The compiled form of `bytes`, and whether it was known. What asks for more than the host provides isn't compiled.
    pub(crate) async fn compile(
        &self,
        digest: &Digest,
        bytes: Bytes,
        engines: &Engines,
        provides: Provides,
    ) -> Result<(Arc<Compiled>, bool), CompileError> {
        let cell = {
            let known = self.known.lock().expect("no panic while held");
            if let Some(compiled) = known.get(digest).and_then(Weak::upgrade) {
                return Ok((compiled, true));
            }
            self.running.lock().expect("no panic while held").entry(digest.clone()).or_default().clone()
        };
        let engine = |flavor| engines.get(flavor).map(|set| set.engine.clone());
        let job = Job { bytes, p2: engine(Flavor::P2), p3: engine(Flavor::P3), provides };
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
        let mut running = self.running.lock().expect("no panic while held");
        if running.get(digest).is_some_and(|current| Arc::ptr_eq(current, &cell)) {
            running.remove(digest);
        }
        drop(running);
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
        let missing = (self.provides.missing)(&inspection);
        if !missing.is_empty() {
            return Err(CompileError::MissingImport(missing));
        }
        let (elements, largest) = (inspection.largest_table, self.provides.largest_table);
        if elements > u64::from(largest) {
            return Err(CompileError::TableTooLarge { elements, largest });
        }
        let component = wasmtime::component::Component::from_binary(&engine, &self.bytes);
        let component = component.map_err(|error| CompileError::Failed(format!("{error:#}")))?;
        Ok(Compiled { component, inspection, flavor, took: start.elapsed() })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::config::HostConfig;

    /// A component that does nothing, one of many.
    fn component(number: u8) -> (Digest, Bytes) {
        // A custom section of one name, `n`, and one byte.
        let bytes = [b"\0asm\x0d\0\x01\0".as_slice(), &[0, 3, 1, b'n', number]].concat();
        (Digest::of(&bytes), bytes.into())
    }

    fn engines() -> Engines {
        Engines::new(&HostConfig { slots: 1, ..HostConfig::default() }, Arc::default()).unwrap()
    }

    #[tokio::test]
    async fn l19_no_more_compiles_run_at_once_than_configured_and_that_many_do() {
        static RUNNING: AtomicUsize = AtomicUsize::new(0);
        static MOST: AtomicUsize = AtomicUsize::new(0);
        static PAIR: std::sync::LazyLock<Barrier> = std::sync::LazyLock::new(|| Barrier::new(2));
        /// Asked by each job while it has its slot.
        fn count(_: &Inspection) -> Vec<String> {
            MOST.fetch_max(RUNNING.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            // Goes on when two are here.
            PAIR.wait();
            RUNNING.fetch_sub(1, Ordering::SeqCst);
            Vec::new()
        }
        let (engines, compiler) = (engines(), Compiler::new(2, Arc::default()));
        let provides = Provides { missing: count, largest_table: 0 };
        let compiles = (0..12).map(|number| {
            let (digest, bytes) = component(number);
            let (engines, compiler) = (&engines, &compiler);
            async move { compiler.compile(&digest, bytes, engines, provides).await.map(drop) }
        });
        let all = tokio::time::timeout(Duration::from_secs(60), futures::future::join_all(compiles)).await.unwrap();
        assert!(all.iter().all(Result::is_ok), "{all:?}");
        assert_eq!(MOST.load(Ordering::SeqCst), 2);
    }

    #[tokio::test]
    async fn a_component_that_several_ask_for_is_compiled_once_also_after_one_that_failed() {
        let (engines, compiler) = (engines(), Compiler::new(2, Arc::default()));
        let (digest, bytes) = component(0);
        let compile = |missing| compiler.compile(&digest, bytes.clone(), &engines, Provides { missing, largest_table: 0 });
        let failed = compile(|_| vec!["a:b/c".into()]).await;
        assert_eq!(failed.err(), Some(CompileError::MissingImport(vec!["a:b/c".into()])));
        let (one, two) = tokio::join!(compile(|_| Vec::new()), compile(|_| Vec::new()));
        let (one, two) = (one.unwrap(), two.unwrap());
        assert!(Arc::ptr_eq(&one.0, &two.0) && one.1 != two.1);
        assert!(compiler.running.lock().unwrap().is_empty());
    }
}
