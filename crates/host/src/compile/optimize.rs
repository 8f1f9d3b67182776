//! Optimizing: what was compiled in haste is compiled once more, well, while the baseline code answers.
//!
//! One component at a time, by one thread that gives way to those that work for somebody, and only while the code is in use.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use berth_model::digest::Digest;
use futures::FutureExt;
use tokio::sync::{Semaphore, oneshot};
use tokio_util::task::TaskTracker;
use tracing::{debug, warn};

use super::job::Job;
use super::{CompileError, Compiled, Compiler, Pool, on_pool};
use crate::engine::Tier;

/// What the components that wait to be optimized take in memory, at most, bytes. One past that is optimized before anybody gets it.
const MOST_WAITING: usize = 256 << 20;
/// How far the thread that optimizes gives way: `nice`, of -20 to 19. Where all cores are busy it gets a tenth of one, so that load doesn't keep
/// a host from the faster code.
const NICE: i32 = 10;

/// What there is to optimize.
pub(super) struct Backlog {
    turn: Arc<Semaphore>,
    waiting: Arc<AtomicUsize>,
}

impl Default for Backlog {
    fn default() -> Backlog {
        Backlog { turn: Arc::new(Semaphore::new(1)), waiting: Arc::default() }
    }
}

impl Backlog {
    /// Room for a component of so many bytes to wait; none where too much waits.
    pub(super) fn room(&self, bytes: usize) -> Option<Room> {
        let fits = |waiting: usize| waiting.checked_add(bytes).filter(|all| *all <= MOST_WAITING);
        self.waiting.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).ok()?;
        Some(Room { waiting: self.waiting.clone(), bytes })
    }
}

#[cfg(test)]
impl Backlog {
    /// Has nothing optimized as long as the result lives.
    pub(super) async fn hold(&self) -> impl Sized + use<> {
        self.turn.clone().acquire_owned().await.expect("nobody closes it")
    }

    /// Takes all the room there is.
    pub(super) fn fill(&self) -> Room {
        self.room(MOST_WAITING).expect("it is empty")
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) == 0
    }
}

/// Room in the backlog, given back when dropped.
pub(super) struct Room {
    waiting: Arc<AtomicUsize>,
    bytes: usize,
}

impl Drop for Room {
    fn drop(&mut self) {
        self.waiting.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

impl Compiler {
    /// Has nothing optimized as long as the result lives.
    #[cfg(test)]
    pub(crate) async fn hold_back(&self) -> impl Sized + use<> {
        self.pool.backlog.hold().await
    }

    /// Does `work` once there is optimized code in place of `compiled`; never, where that is optimized. Nobody waits for it.
    pub(crate) fn once_optimized(&self, compiled: &Compiled, work: impl FnOnce(Arc<Compiled>) + Send + 'static) {
        let Some(optimized) = compiled.optimized.clone() else { return };
        let work = async move {
            if let Some(optimized) = optimized.await {
                work(optimized);
            }
        };
        drop(self.tasks.spawn(self.pool.over.clone().run_until_cancelled_owned(work)));
    }
}

impl Pool {
    /// Hands out what was loaded or compiled. Keeping it on disk and optimizing it is left to a task.
    pub(super) fn hand_out(self: &Arc<Pool>, mut compiled: Compiled, job: Job, tasks: &TaskTracker, room: Option<Room>) -> Arc<Compiled> {
        let (keep, optimize) = (!compiled.from_disk && job.code.is_some(), compiled.tier == Tier::Baseline);
        let (tell, optimized) = oneshot::channel();
        compiled.optimized = optimize.then(|| optimized.map(Result::ok).boxed().shared());
        let compiled = Arc::new(compiled);
        if keep || optimize {
            let (pool, kept) = (self.clone(), compiled.clone());
            tasks.spawn(async move {
                if keep {
                    let (job, kept) = (job.clone(), kept.clone());
                    let _ = on_pool(&pool.loads, job, move |job| job.keep(&kept)).await;
                }
                let baseline = Arc::downgrade(&kept);
                drop(kept);
                if optimize {
                    pool.over.clone().run_until_cancelled(pool.optimize(&baseline, job, tell)).await;
                }
                drop(room);
            });
        }
        compiled
    }

    /// Makes optimized code in place of `baseline`, or finds it, and tells of it.
    async fn optimize(&self, baseline: &Weak<Compiled>, job: Job, tell: oneshot::Sender<Arc<Compiled>>) {
        let Ok(_turn) = self.backlog.turn.acquire().await else { return };
        // Nobody runs it any more.
        let Some((told, flavor)) = baseline.upgrade().map(|baseline| (baseline.told(), baseline.flavor)) else { return };
        let digest = job.digest.clone();
        if let Some(known) = self.optimized(&digest) {
            let _ = tell.send(known);
            return;
        }
        let work = job.clone();
        let made = match alone(move || work.optimize(told, flavor)).await {
            Ok(made) => made,
            Err(error) => return warn!(component = %digest, %error, "a component can't be optimized: its baseline code goes on"),
        };
        let (optimized, code) = made;
        let optimized = Arc::new(optimized);
        debug!(component = %digest, took_ms = optimized.took.as_millis(), "optimized");
        self.metrics.optimizations.inc();
        self.know(&digest, &optimized);
        let _ = tell.send(optimized.clone());
        let _ = on_pool(&self.loads, job, move |job| job.store(&optimized, code)).await;
    }

    fn optimized(&self, digest: &Digest) -> Option<Arc<Compiled>> {
        let known = self.known.lock().expect("no panic while held");
        known.get(digest).and_then(Weak::upgrade).filter(|known| known.tier == Tier::Optimized)
    }
}

/// Runs work on a thread of its own, which gives way to others. Nothing stops it: where nobody waits for it any more, its result is lost.
async fn alone<T: Send + 'static>(work: impl FnOnce() -> Result<T, CompileError> + Send + 'static) -> Result<T, CompileError> {
    let (tell, told) = oneshot::channel();
    let work = move || {
        // Of this thread alone, as Linux has it. Where it isn't allowed, the thread is as good as others.
        let _ = rustix::process::setpriority_process(None, NICE);
        let _ = tell.send(work());
    };
    let thread = std::thread::Builder::new().name("berth-optimize".into()).spawn(work);
    thread.map_err(|error| CompileError::Failed(format!("there is no thread for it: {error}")))?;
    told.await.unwrap_or_else(|_| Err(CompileError::Failed("the compiler failed on it: please report it".into())))
}
