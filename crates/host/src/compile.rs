//! Compiling: on a bounded pool off the request path (L19), once per component however many ask, shared by all who hold the result.
//!
//! What was compiled before, in this process or another, is loaded from disk instead, and waits behind no compile.
//!
//! Reading what a component is belongs to it: validating a large one takes as long as many requests, and happens on the same pool,
//! once.

mod ahead;
mod job;
mod optimize;
mod recipe;

use std::collections::HashMap;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use berth_link::ComposeError;
use berth_model::digest::Digest;
use futures::FutureExt;
use futures::future::{BoxFuture, Shared};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;
use wasmtime::Engine;

use crate::code::{CodeCache, Told};
use crate::engine::{Coming, EngineSet, Engines, Flavor, Tier};
use crate::intake::{Inspection, NotAComponent};
use crate::metrics::HostMetrics;
use job::Job;
use optimize::{Backlog, Room};
pub(crate) use recipe::{Recipe, Unit};

/// A component, compiled for the engine that it needs.
pub(crate) struct Compiled {
    pub(crate) component: wasmtime::component::Component,
    pub(crate) inspection: Inspection,
    pub(crate) flavor: Flavor,
    /// Of a composed one: where the binaries of its members lie in it, by their seats.
    pub(crate) spans: Vec<(Range<u64>, usize)>,
    /// How well it is compiled.
    pub(crate) tier: Tier,
    /// How long it took.
    pub(crate) took: Duration,
    /// Whether the code came from disk, and nothing was compiled.
    pub(crate) from_disk: bool,
    /// Whether a workload has asked for it; what was compiled ahead waits for the first.
    asked: Arc<AtomicBool>,
    /// Of baseline code: the optimized code to come, or none after all.
    optimized: Option<Shared<BoxFuture<'static, Option<Arc<Compiled>>>>>,
}

impl Compiled {
    /// What is kept of it beside its code.
    fn told(&self) -> Told {
        Told { inspection: self.inspection.clone(), spans: self.spans.clone() }
    }
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
    #[error("the host is compiling as many components as it may, and {0} more wait for it (compile-queue)")]
    QueueFull(usize),
    /// Told by seats: those who wait for one compile may be of several plans.
    #[error(transparent)]
    Compose(#[from] ComposeError),
    #[error("{0}")]
    Failed(String),
}

/// How much is compiled at once, and how much may wait for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CompileBounds {
    /// Components compiled at once.
    pub(crate) threads: usize,
    /// Components that wait for one of these threads, each with its bytes in memory.
    pub(crate) queue: usize,
}

/// What is compiled at the moment, of how much.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CompileLoad {
    pub(crate) bounds: CompileBounds,
    pub(crate) running: usize,
    pub(crate) waiting: usize,
    /// Components that found the queue full.
    pub(crate) refused: u64,
}

/// Components whose code is loaded from disk at once. Loading reads and hashes: some milliseconds for the largest.
const LOADS: usize = 4;

type Compiling = Shared<BoxFuture<'static, Result<Arc<Compiled>, CompileError>>>;

/// A compile that is under way.
struct Running {
    compiling: Compiling,
    /// Whether a workload asked for it.
    asked: Arc<AtomicBool>,
    /// How what is missing is judged for who began it.
    missing: fn(&Inspection) -> Vec<String>,
}

/// How often the code of what is in use is noted as used: well within the days after which unused code may be removed.
const TOUCH_EVERY: Duration = Duration::from_secs(3600);

/// Compiles components and remembers those in use.
pub(crate) struct Compiler {
    pool: Arc<Pool>,
    /// Ends the noting of what is in use, what is compiled ahead or kept of it, and what is optimized.
    over: DropGuard,
    /// The compiles, which go on when nobody waits for them any more: another may ask, and a compile can't be stopped.
    tasks: TaskTracker,
}

/// What a compile shares with others.
struct Pool {
    bounds: CompileBounds,
    slots: Arc<Semaphore>,
    waiting: AtomicUsize,
    loads: Arc<Semaphore>,
    code: Option<Arc<CodeCache>>,
    /// In use: kept by the workloads that run them.
    known: Mutex<HashMap<Digest, Weak<Compiled>>>,
    /// Being compiled: one compile per digest and tier. To be locked after `known`.
    running: Mutex<HashMap<(Digest, Tier), Running>>,
    backlog: Backlog,
    over: CancellationToken,
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

/// What a component that is asked for comes to.
struct Answer {
    compiling: Compiling,
    /// Whether a workload had asked for it before.
    known: bool,
    /// Whether it is under way for somebody who lacks what is missing by another measure.
    by_another: bool,
}

/// A component, as it is asked for.
struct Asked<'a> {
    digest: &'a Digest,
    recipe: Recipe,
    engines: (EngineSet, Option<Arc<Coming>>),
    provides: Provides,
    /// The least that it may be compiled to.
    tier: Tier,
    /// For nobody yet.
    ahead: bool,
}

impl Compiler {
    pub(crate) fn new(bounds: CompileBounds, code: Option<Arc<CodeCache>>, metrics: Arc<HostMetrics>) -> Compiler {
        let bounds = CompileBounds { threads: bounds.threads.max(1), ..bounds };
        let slots = Arc::new(Semaphore::new(bounds.threads));
        let (loads, waiting) = (Arc::new(Semaphore::new(LOADS)), AtomicUsize::new(0));
        let (known, running, backlog, over) = (Mutex::default(), Mutex::default(), Backlog::default(), CancellationToken::new());
        let pool = Pool { bounds, slots, waiting, loads, code, known, running, backlog, over: over.clone(), metrics };
        let (pool, tasks) = (Arc::new(pool), TaskTracker::new());
        if pool.code.is_some() {
            tasks.spawn(over.clone().run_until_cancelled_owned(Pool::keep_touching(pool.clone())));
        }
        Compiler { pool, over: over.drop_guard(), tasks }
    }

    /// Takes the locks of what is known and what is being compiled, as long as the result lives.
    #[cfg(test)]
    pub(crate) fn hold(&self) -> impl Sized + '_ {
        (self.pool.known.lock().expect("no panic while held"), self.pool.running.lock().expect("no panic while held"))
    }

    /// How much is being compiled, and waits for it.
    pub(crate) fn load(&self) -> CompileLoad {
        let Pool { bounds, slots, waiting, metrics, .. } = &*self.pool;
        let running = bounds.threads.saturating_sub(slots.available_permits());
        CompileLoad { bounds: *bounds, running, waiting: waiting.load(Ordering::Relaxed), refused: metrics.compiles_refused.get() }
    }

    /// The compiled form of what `recipe` makes, which `digest` stands for, and whether a workload had asked for it before. What asks for
    /// more than the host provides isn't compiled; what was compiled for others is given out whatever it asks for. Who asks for what is
    /// being compiled waits for that. Dropping the future leaves the compile as it is.
    ///
    /// Who takes [`Tier::Baseline`] hears of optimized code by [`Compiler::once_optimized`].
    pub(crate) async fn compile(
        &self,
        digest: &Digest,
        recipe: impl Into<Recipe>,
        engines: &Engines,
        provides: Provides,
        tier: Tier,
    ) -> Result<(Arc<Compiled>, bool), CompileError> {
        let recipe = recipe.into();
        loop {
            let asked = Asked { digest, recipe: recipe.clone(), engines: engines.handles(), provides, tier, ahead: false };
            let Answer { compiling, known, by_another } = self.pool.ask(&self.tasks, asked);
            match compiling.await {
                // Of whoever began it, who may lack what a sibling of this one provides.
                Err(CompileError::MissingImport(_)) if by_another => {}
                ended => return ended.map(|compiled| (compiled, known)),
            }
        }
    }

    /// Runs work on a component's bytes where it holds up nobody, within the bound on loads.
    pub(crate) async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, CompileError> {
        on_pool(&self.pool.loads, (), |()| work()).await
    }

    /// Runs work for which nobody waits, within the bound on loads; [`Compiler::settled`] does.
    pub(crate) fn aside(&self, work: impl FnOnce() + Send + 'static) {
        let loads = self.pool.loads.clone();
        drop(self.tasks.spawn(async move { on_pool(&loads, (), |()| work()).await }));
    }

    /// Waits until nothing is being compiled or kept, for `most` at most.
    pub(crate) async fn settled(&self, most: Duration) {
        self.over.token().cancel();
        self.tasks.close();
        let _ = tokio::time::timeout(most, self.tasks.wait()).await;
    }
}

impl Pool {
    /// What is known or being compiled of a component; else its compile begins.
    fn ask(self: &Arc<Pool>, tasks: &TaskTracker, component: Asked<'_>) -> Answer {
        let Asked { digest, recipe, engines: (p2, p3), provides, tier, ahead } = component;
        let ask = |asked: &AtomicBool| if ahead { asked.load(Ordering::Relaxed) } else { asked.swap(true, Ordering::Relaxed) };
        let known = self.known.lock().expect("no panic while held");
        if let Some(compiled) = known.get(digest).and_then(Weak::upgrade).filter(|compiled| compiled.tier >= tier) {
            let known = ask(&compiled.asked);
            return Answer { compiling: futures::future::ready(Ok(compiled)).boxed().shared(), known, by_another: false };
        }
        let mut running = self.running.lock().expect("no panic while held");
        let under_way = [Tier::Baseline, Tier::Optimized].into_iter().filter(|at| *at >= tier);
        if let Some(Running { compiling, asked, missing }) = under_way.into_iter().find_map(|at| running.get(&(digest.clone(), at))) {
            let by_another = !std::ptr::fn_addr_eq(*missing, provides.missing);
            return Answer { compiling: compiling.clone(), known: ask(asked), by_another };
        }
        let asked = Arc::new(AtomicBool::new(!ahead));
        let (code, metrics) = (self.code.clone(), self.metrics.clone());
        let room = (tier == Tier::Baseline).then(|| self.backlog.room(recipe.holds())).flatten();
        let tier = if room.is_some() { Tier::Baseline } else { Tier::Optimized };
        let job = Job { digest: digest.clone(), code, metrics, recipe, p2, p3, provides, tier, asked: asked.clone() };
        let compiling = self.start(tasks, job, room);
        running.insert((digest.clone(), tier), Running { compiling: compiling.clone(), asked, missing: provides.missing });
        Answer { compiling, known: false, by_another: false }
    }

    /// A compile as a task of its own, which ends by telling what it made.
    fn start(self: &Arc<Pool>, tasks: &TaskTracker, job: Job, room: Option<Room>) -> Compiling {
        let (pool, others) = (self.clone(), tasks.clone());
        let task = tasks.spawn(async move {
            let (digest, tier) = (job.digest.clone(), job.tier);
            let result = pool.run(job, &others, room).await;
            let mut known = pool.known.lock().expect("no panic while held");
            if let Ok(compiled) = &result {
                note(&mut known, &digest, compiled);
            }
            pool.running.lock().expect("no panic while held").remove(&(digest, tier));
            result
        });
        task.map(|ended| ended.unwrap_or_else(|_| Err(CompileError::stopping()))).boxed().shared()
    }

    fn know(&self, digest: &Digest, compiled: &Arc<Compiled>) {
        note(&mut self.known.lock().expect("no panic while held"), digest, compiled);
    }

    /// Notes from time to time what is in use.
    async fn keep_touching(self: Arc<Pool>) {
        loop {
            tokio::time::sleep(TOUCH_EVERY).await;
            self.touch_used().await;
        }
    }

    async fn touch_used(&self) {
        let Some(code) = self.code.clone() else { return };
        let used: Vec<(Digest, Engine)> = {
            let known = self.known.lock().expect("no panic while held");
            let engine = |compiled: Arc<Compiled>| compiled.component.engine().clone();
            known.iter().filter_map(|(digest, compiled)| Some((digest.clone(), engine(compiled.upgrade()?)))).collect()
        };
        // The runtime may be shutting down.
        let _ = tokio::task::spawn_blocking(move || used.iter().for_each(|(digest, engine)| code.touch(digest, engine))).await;
    }

    async fn run(self: &Arc<Pool>, job: Job, tasks: &TaskTracker, room: Option<Room>) -> Result<Arc<Compiled>, CompileError> {
        if job.code.is_some()
            && let Some(loaded) = on_pool(&self.loads, job.clone(), Job::load).await?
        {
            return Ok(self.hand_out(loaded?, job, tasks, room));
        }
        let slot = self.slot().await?;
        let compiled = within(slot, job.clone(), Job::compile).await??;
        self.metrics.compiled(compiled.took);
        Ok(self.hand_out(compiled, job, tasks, room))
    }

    /// The right to compile, at once or from the queue; an error where that is full: a start that failed is tried again.
    async fn slot(&self) -> Result<OwnedSemaphorePermit, CompileError> {
        if let Ok(slot) = self.slots.clone().try_acquire_owned() {
            return Ok(slot);
        }
        let Some(_place) = Place::take(&self.waiting, self.bounds.queue) else {
            self.metrics.compiles_refused.inc();
            return Err(CompileError::QueueFull(self.bounds.queue));
        };
        self.slots.clone().acquire_owned().await.map_err(|_closed| CompileError::stopping())
    }
}

/// Notes what a component is compiled to, unless better code of it is in use.
fn note(known: &mut HashMap<Digest, Weak<Compiled>>, digest: &Digest, compiled: &Arc<Compiled>) {
    known.retain(|_, weak| weak.strong_count() > 0);
    let better = |known: &Weak<Compiled>| known.upgrade().is_some_and(|known| known.tier > compiled.tier);
    if !known.get(digest).is_some_and(better) {
        known.insert(digest.clone(), Arc::downgrade(compiled));
    }
}

impl CompileError {
    fn stopping() -> CompileError {
        CompileError::Failed("the host is stopping".into())
    }
}

/// A place in a queue, given back when dropped.
struct Place<'a>(&'a AtomicUsize);

impl<'a> Place<'a> {
    fn take(taken: &'a AtomicUsize, most: usize) -> Option<Place<'a>> {
        taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |taken| (taken < most).then(|| taken + 1)).ok()?;
        Some(Place(taken))
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Runs a part of a job on a thread where it may block, within `slots`.
async fn on_pool<J: Send + 'static, T: Send + 'static>(
    slots: &Arc<Semaphore>,
    job: J,
    part: impl FnOnce(J) -> T + Send + 'static,
) -> Result<T, CompileError> {
    let slot = slots.clone().acquire_owned().await.map_err(|_closed| CompileError::stopping())?;
    within(slot, job, part).await
}

/// The same within a slot that is taken.
async fn within<J: Send + 'static, T: Send + 'static>(
    slot: OwnedSemaphorePermit,
    job: J,
    part: impl FnOnce(J) -> T + Send + 'static,
) -> Result<T, CompileError> {
    let done = tokio::task::spawn_blocking(move || {
        let _slot = slot;
        part(job)
    });
    done.await.map_err(|_| CompileError::Failed("the compiler failed on this component: please report it".into()))
}

#[cfg(test)]
mod tests;
