//! One component's way to compiled code: from disk, or by compiling it, and then to disk. It blocks, and knows nothing of threads and queues.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use berth_model::digest::Digest;
use tracing::{debug, warn};
use wasmtime::Engine;

use super::recipe::{Made, Recipe};
use super::{CompileError, Compiled, Provides};
use crate::code::{CodeCache, Found, Told, Written};
use crate::engine::{Coming, EngineSet, Flavor, Tier};
use crate::intake::{self, Inspection};
use crate::metrics::HostMetrics;

/// What a job needs, of its own: it outlives who waits for it.
#[derive(Clone)]
pub(super) struct Job {
    pub(super) digest: Digest,
    pub(super) code: Option<Arc<CodeCache>>,
    pub(super) metrics: Arc<HostMetrics>,
    pub(super) recipe: Recipe,
    pub(super) p2: EngineSet,
    pub(super) p3: Option<Arc<Coming>>,
    pub(super) provides: Provides,
    /// The least that it is to come to.
    pub(super) tier: Tier,
    pub(super) asked: Arc<AtomicBool>,
}

impl Job {
    /// From disk, if the code is there and as good as it is to be.
    pub(super) fn load(self) -> Option<Result<Compiled, CompileError>> {
        let (start, cache) = (Instant::now(), self.code.as_ref()?);
        let Some((component, Told { inspection, spans }, flavor, tier)) = self.look_up(cache) else {
            self.metrics.code.misses.inc();
            return None;
        };
        self.metrics.code.hits.inc();
        let (took, asked) = (start.elapsed(), self.asked.clone());
        let checked = self.check(&inspection);
        Some(checked.map(|()| Compiled { component, inspection, flavor, spans, tier, took, from_disk: true, asked, optimized: None }))
    }

    /// The best code of the component that the cache has.
    fn look_up(&self, cache: &CodeCache) -> Option<(wasmtime::component::Component, Told, Flavor, Tier)> {
        // What is compiled for the first engine waits for no other.
        if let Some((code, told)) = self.look_for(cache, &self.p2.engine) {
            return Some((code, told, Flavor::P2, Tier::Optimized));
        }
        let (mut set, mut flavor) = (&self.p2, Flavor::P2);
        if let Some(p3) = self.p3.as_ref().filter(|_| self.recipe.uses_p3()) {
            (set, flavor) = (p3.get().as_ref().ok()?, Flavor::P3);
            if let Some((code, told)) = self.look_for(cache, &set.engine) {
                return Some((code, told, flavor, Tier::Optimized));
            }
        }
        if self.tier > Tier::Baseline {
            return None;
        }
        let (code, told) = self.look_for(cache, &set.tier(Tier::Baseline).ok()?.engine)?;
        Some((code, told, flavor, Tier::Baseline))
    }

    /// The component's code for this engine, if the cache has it.
    fn look_for(&self, cache: &CodeCache, engine: &Engine) -> Option<(wasmtime::component::Component, Told)> {
        match cache.load(&self.digest, engine) {
            Ok(Found::Code(component, told)) => return Some((component, told)),
            Ok(Found::Nothing) => {}
            Ok(Found::Foreign) => {
                self.metrics.code.foreign.inc();
            }
            Err(error) => warn!(error = %error, "compiled code can't be looked for on disk: the component is compiled anew"),
        }
        None
    }

    /// Compiles it: to optimized code where the hasty compiler can't do it, or to hear why neither can.
    pub(super) fn compile(self) -> Result<Compiled, CompileError> {
        if self.tier > Tier::Baseline {
            return self.compile_to();
        }
        match catch_unwind(AssertUnwindSafe(|| self.compile_to())) {
            Ok(Err(CompileError::Failed(error))) => debug!(component = %self.digest, error, "no baseline code: it is optimized at once"),
            Ok(compiled) => return compiled,
            Err(_panic) => debug!(component = %self.digest, "no baseline code, as its compiler panicked: it is optimized at once"),
        }
        Job { tier: Tier::Optimized, ..self }.compile_to()
    }

    fn compile_to(&self) -> Result<Compiled, CompileError> {
        // The engine validates what it compiles; what is wrong is looked for only when it refuses.
        let start = Instant::now();
        let made = self.recipe.make()?;
        if matches!(self.recipe, Recipe::Composed(_)) {
            self.metrics.code.composed.inc();
        }
        self.translate(&made, start).map_err(|error| intake::inspect(&made.bytes).map_or_else(CompileError::from, |_valid| error))
    }

    fn translate(&self, made: &Made, start: Instant) -> Result<Compiled, CompileError> {
        let inspection = intake::outline(&made.bytes)?;
        let flavor = if inspection.uses_p3() { Flavor::P3 } else { Flavor::P2 };
        let Some(set) = self.engine(flavor)? else {
            let import = inspection.imports.iter().chain(&inspection.exports).find(|name| name.contains("@0.3")).cloned();
            return Err(CompileError::P3Off(import.unwrap_or_default()));
        };
        self.check(&inspection)?;
        let engine = &set.tier(self.tier).map_err(CompileError::Failed)?.engine;
        let failed = |error: wasmtime::Error| CompileError::Failed(format!("{error:#}"));
        let component = wasmtime::component::Component::from_binary(engine, &made.bytes).map_err(failed)?;
        if self.tier == Tier::Baseline {
            // An engine without a pool takes whatever comes; that of the optimized code is asked too.
            Written::of(&component).and_then(|code| code.load(&set.engine)).map_err(failed)?;
        }
        let (spans, took, tier, asked) = (made.spans.clone(), start.elapsed(), self.tier, self.asked.clone());
        Ok(Compiled { component, inspection, flavor, spans, tier, took, from_disk: false, asked, optimized: None })
    }

    /// Optimized code of what is known by its baseline code, and the same written down; made by this thread alone.
    pub(super) fn optimize(&self, told: Told, flavor: Flavor) -> Result<(Compiled, Written), CompileError> {
        let start = Instant::now();
        let failed = |error: wasmtime::Error| CompileError::Failed(format!("{error:#}"));
        let set = self.engine(flavor)?.expect("its baseline code runs on it");
        let code = set.optimize(&self.recipe.make()?.bytes).map_err(failed)?;
        let component = code.load(&set.engine).map_err(failed)?;
        let (took, asked, Told { inspection, spans }) = (start.elapsed(), self.asked.clone(), told);
        let tier = Tier::Optimized;
        Ok((Compiled { component, inspection, flavor, spans, tier, took, from_disk: false, asked, optimized: None }, code))
    }

    /// None for 0.3 where that is off. Blocks until it is made; an error where that failed.
    fn engine(&self, flavor: Flavor) -> Result<Option<&EngineSet>, CompileError> {
        match (flavor, &self.p3) {
            (Flavor::P2, _) => Ok(Some(&self.p2)),
            (Flavor::P3, None) => Ok(None),
            (Flavor::P3, Some(p3)) => match p3.get() {
                Ok(set) => Ok(Some(set)),
                Err(error) => Err(CompileError::Failed(error.clone())),
            },
        }
    }

    /// Whether the host has what the component asks for.
    fn check(&self, inspection: &Inspection) -> Result<(), CompileError> {
        let missing = (self.provides.missing)(inspection);
        if !missing.is_empty() {
            return Err(CompileError::MissingImport(missing));
        }
        let (elements, largest) = (inspection.largest_table, self.provides.largest_table);
        if elements > u64::from(largest) {
            return Err(CompileError::TableTooLarge { elements, largest });
        }
        Ok(())
    }

    /// Keeps the code for the next start; optimized code in place of baseline code. A disk that fails costs that start its time, and nothing
    /// now.
    pub(super) fn keep(&self, compiled: &Compiled) {
        match Written::of(&compiled.component) {
            Ok(code) => self.store(compiled, code),
            Err(error) => {
                warn!(error = format!("{error:#}"), "compiled code can't be written: the next start compiles anew");
                self.metrics.code.unstored.inc();
            }
        }
    }

    /// The same of code that is written down.
    pub(super) fn store(&self, compiled: &Compiled, code: Written) {
        let Some(cache) = &self.code else { return };
        let stored = cache.store(&self.digest, compiled.component.engine(), code.into_bytes(), compiled.told());
        let stored = stored.unwrap_or_else(|error| {
            warn!(error = %error, "compiled code can't be kept on disk: the next start compiles anew");
            false
        });
        if !stored {
            self.metrics.code.unstored.inc();
        } else if compiled.tier == Tier::Optimized
            && let Ok(Some(set)) = self.engine(compiled.flavor)
            && let Some(baseline) = set.baseline()
        {
            cache.discard(&self.digest, &baseline.engine);
        }
    }
}
