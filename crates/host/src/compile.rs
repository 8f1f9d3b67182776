//! Compiling: on a bounded pool off the request path (L19), once per component and engine however many ask, shared by all who
//! hold the result.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use berth_model::digest::Digest;
use bytes::Bytes;
use tokio::sync::{OnceCell, Semaphore};

use crate::engine::{EngineSet, Flavor};
use crate::metrics::HostMetrics;

/// A component, compiled for one engine.
pub(crate) struct Compiled {
    pub(crate) component: wasmtime::component::Component,
    /// How long it took.
    pub(crate) took: Duration,
}

/// A component that couldn't be compiled.
#[derive(Clone, Debug, thiserror::Error)]
#[error("compiling failed: {0}")]
pub(crate) struct CompileError(String);

type Cell = Arc<OnceCell<Arc<Compiled>>>;

/// Compiles components and remembers those in use.
pub(crate) struct Compiler {
    slots: Semaphore,
    /// In use: kept by the workloads that run them.
    known: Mutex<HashMap<(Digest, Flavor), Weak<Compiled>>>,
    /// Being compiled: one compile per key.
    running: Mutex<HashMap<(Digest, Flavor), Cell>>,
    metrics: Arc<HostMetrics>,
}

impl Compiler {
    pub(crate) fn new(threads: usize, metrics: Arc<HostMetrics>) -> Compiler {
        Compiler { slots: Semaphore::new(threads.max(1)), known: Mutex::default(), running: Mutex::default(), metrics }
    }

    /// The compiled form of `bytes`, and whether it was known.
    pub(crate) async fn compile(
        &self,
        digest: &Digest,
        bytes: Bytes,
        flavor: Flavor,
        engine: &EngineSet,
    ) -> Result<(Arc<Compiled>, bool), CompileError> {
        let key = (digest.clone(), flavor);
        let cell = {
            let known = self.known.lock().expect("no panic while held");
            if let Some(compiled) = known.get(&key).and_then(Weak::upgrade) {
                return Ok((compiled, true));
            }
            self.running.lock().expect("no panic while held").entry(key.clone()).or_default().clone()
        };
        let mut first = false;
        let compiled = cell
            .get_or_try_init(|| {
                first = true;
                self.run(bytes, engine.engine.clone())
            })
            .await
            .cloned();
        let mut known = self.known.lock().expect("no panic while held");
        if let Ok(compiled) = &compiled {
            known.retain(|_, weak| weak.strong_count() > 0);
            known.insert(key.clone(), Arc::downgrade(compiled));
        }
        self.running.lock().expect("no panic while held").remove(&key);
        compiled.map(|compiled| (compiled, !first))
    }

    async fn run(&self, bytes: Bytes, engine: wasmtime::Engine) -> Result<Arc<Compiled>, CompileError> {
        let _slot = self.slots.acquire().await.map_err(|_| CompileError("the host is stopping".into()))?;
        let start = Instant::now();
        let result = tokio::task::spawn_blocking(move || wasmtime::component::Component::from_binary(&engine, &bytes)).await;
        let took = start.elapsed();
        self.metrics.compiled(took);
        match result {
            Ok(Ok(component)) => Ok(Arc::new(Compiled { component, took })),
            Ok(Err(error)) => Err(CompileError(format!("{error:#}"))),
            Err(_) => Err(CompileError("the compiler failed on this component: please report it".into())),
        }
    }
}
