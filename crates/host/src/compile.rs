//! Compiling: on a bounded pool off the request path (L19), once per component however many ask, shared by all who hold the result.
//!
//! What was compiled before, in this process or another, is loaded from disk instead, and waits behind no compile.
//!
//! Reading what a component is belongs to it: validating a large one takes as long as many requests, and happens on the same pool,
//! once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use berth_model::digest::Digest;
use bytes::Bytes;
use futures::FutureExt;
use futures::future::{BoxFuture, Shared};
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;
use tracing::warn;
use wasmtime::Engine;

use crate::code::{CodeCache, Found};
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
    /// Whether the code came from disk, and nothing was compiled.
    pub(crate) from_disk: bool,
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

/// Components whose code is loaded from disk at once. Loading reads and hashes: some milliseconds for the largest.
const LOADS: usize = 4;

type Compiling = Shared<BoxFuture<'static, Result<Arc<Compiled>, CompileError>>>;

/// Compiles components and remembers those in use.
pub(crate) struct Compiler {
    pool: Arc<Pool>,
    /// The compiles, which go on when nobody waits for them any more: another may ask, and a compile can't be stopped.
    tasks: TaskTracker,
}

/// What a compile shares with others.
struct Pool {
    slots: Arc<Semaphore>,
    loads: Arc<Semaphore>,
    code: Option<Arc<CodeCache>>,
    /// In use: kept by the workloads that run them.
    known: Mutex<HashMap<Digest, Weak<Compiled>>>,
    /// Being compiled: one compile per digest. To be locked after `known`.
    running: Mutex<HashMap<Digest, Compiling>>,
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
#[derive(Clone)]
struct Job {
    digest: Digest,
    code: Option<Arc<CodeCache>>,
    metrics: Arc<HostMetrics>,
    bytes: Bytes,
    p2: Option<Engine>,
    p3: Option<Engine>,
    provides: Provides,
}

impl Compiler {
    pub(crate) fn new(threads: usize, code: Option<Arc<CodeCache>>, metrics: Arc<HostMetrics>) -> Compiler {
        let slots = Arc::new(Semaphore::new(threads.max(1)));
        let loads = Arc::new(Semaphore::new(LOADS));
        let pool = Pool { slots, loads, code, known: Mutex::default(), running: Mutex::default(), metrics };
        Compiler { pool: Arc::new(pool), tasks: TaskTracker::new() }
    }

    /// The compiled form of `bytes`, and whether it was known. What asks for more than the host provides isn't compiled. Who asks for
    /// what is being compiled waits for that, and holds no bytes meanwhile. Dropping the future leaves the compile as it is.
    pub(crate) async fn compile(
        &self,
        digest: &Digest,
        bytes: Bytes,
        engines: &Engines,
        provides: Provides,
    ) -> Result<(Arc<Compiled>, bool), CompileError> {
        let (compiling, joined) = {
            let known = self.pool.known.lock().expect("no panic while held");
            if let Some(compiled) = known.get(digest).and_then(Weak::upgrade) {
                return Ok((compiled, true));
            }
            let mut running = self.pool.running.lock().expect("no panic while held");
            match running.get(digest) {
                Some(compiling) => {
                    drop(bytes);
                    (compiling.clone(), true)
                }
                None => {
                    let engine = |flavor| engines.get(flavor).map(|set| set.engine.clone());
                    let (code, metrics) = (self.pool.code.clone(), self.pool.metrics.clone());
                    let (p2, p3) = (engine(Flavor::P2), engine(Flavor::P3));
                    let job = Job { digest: digest.clone(), code, metrics, bytes, p2, p3, provides };
                    let compiling = self.start(job);
                    running.insert(digest.clone(), compiling.clone());
                    (compiling, false)
                }
            }
        };
        compiling.await.map(|compiled| (compiled, joined))
    }

    /// Runs work on a component's bytes where it holds up nobody, within the bound on loads.
    pub(crate) async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, CompileError> {
        on_pool(&self.pool.loads, (), |()| work()).await
    }

    /// Waits until nothing is being compiled or kept, for `most` at most.
    pub(crate) async fn settled(&self, most: Duration) {
        self.tasks.close();
        let _ = tokio::time::timeout(most, self.tasks.wait()).await;
    }

    /// A compile as a task of its own, which ends by telling what it made.
    fn start(&self, job: Job) -> Compiling {
        let (pool, tasks) = (self.pool.clone(), self.tasks.clone());
        let task = self.tasks.spawn(async move {
            let digest = job.digest.clone();
            let result = pool.run(job, &tasks).await;
            let mut known = pool.known.lock().expect("no panic while held");
            if let Ok(compiled) = &result {
                known.retain(|_, weak| weak.strong_count() > 0);
                known.insert(digest.clone(), Arc::downgrade(compiled));
            }
            pool.running.lock().expect("no panic while held").remove(&digest);
            result
        });
        task.map(|ended| ended.unwrap_or_else(|_| Err(CompileError::Failed("the host is stopping".into())))).boxed().shared()
    }
}

impl Pool {
    async fn run(&self, job: Job, tasks: &TaskTracker) -> Result<Arc<Compiled>, CompileError> {
        if job.code.is_some()
            && let Some(loaded) = on_pool(&self.loads, job.clone(), Job::load).await?
        {
            return Ok(Arc::new(loaded?));
        }
        let compiled = Arc::new(on_pool(&self.slots, job.clone(), Job::compile).await??);
        self.metrics.compiled(compiled.took);
        if job.code.is_some() {
            // Nobody waits for the disk.
            let (loads, kept) = (self.loads.clone(), compiled.clone());
            tasks.spawn(async move { on_pool(&loads, job, move |job| job.keep(&kept)).await });
        }
        Ok(compiled)
    }
}

/// Runs a part of a job on a thread where it may block, within `slots`.
async fn on_pool<J: Send + 'static, T: Send + 'static>(
    slots: &Arc<Semaphore>,
    job: J,
    part: impl FnOnce(J) -> T + Send + 'static,
) -> Result<T, CompileError> {
    let stopping = |_| CompileError::Failed("the host is stopping".into());
    let slot = slots.clone().acquire_owned().await.map_err(stopping)?;
    let done = tokio::task::spawn_blocking(move || {
        let _slot = slot;
        part(job)
    });
    done.await.map_err(|_| CompileError::Failed("the compiler failed on this component: please report it".into()))
}

impl Job {
    /// From disk, if the code is there.
    fn load(self) -> Option<Result<Compiled, CompileError>> {
        let (start, cache, counts) = (Instant::now(), self.code.as_ref()?, &self.metrics.code);
        for (flavor, engine) in [(Flavor::P2, &self.p2), (Flavor::P3, &self.p3)] {
            let Some(engine) = engine else { continue };
            match cache.load(&self.digest, engine) {
                Ok(Found::Code(component, inspection)) => {
                    counts.hits.inc();
                    let took = start.elapsed();
                    let checked = self.check(&inspection);
                    return Some(checked.map(|()| Compiled { component, inspection, flavor, took, from_disk: true }));
                }
                Ok(Found::Nothing) => {}
                Ok(Found::Foreign) => counts.foreign.inc(),
                Err(error) => warn!(error = %error, "compiled code can't be looked for on disk: the component is compiled anew"),
            }
        }
        counts.misses.inc();
        None
    }

    fn compile(self) -> Result<Compiled, CompileError> {
        let start = Instant::now();
        let inspection = intake::inspect(&self.bytes)?;
        let (flavor, engine) = if inspection.uses_p3() { (Flavor::P3, &self.p3) } else { (Flavor::P2, &self.p2) };
        let Some(engine) = engine else {
            let import = inspection.imports.iter().chain(&inspection.exports).find(|name| name.contains("@0.3")).cloned();
            return Err(CompileError::P3Off(import.unwrap_or_default()));
        };
        self.check(&inspection)?;
        let component = wasmtime::component::Component::from_binary(engine, &self.bytes);
        let component = component.map_err(|error| CompileError::Failed(format!("{error:#}")))?;
        Ok(Compiled { component, inspection, flavor, took: start.elapsed(), from_disk: false })
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

    /// Keeps the code for the next start. A disk that fails costs that start its time, and nothing now.
    fn keep(&self, compiled: &Compiled) {
        let engine = match compiled.flavor {
            Flavor::P2 => &self.p2,
            Flavor::P3 => &self.p3,
        };
        let (Some(cache), Some(engine)) = (&self.code, engine) else { return };
        let stored = match compiled.component.serialize() {
            Ok(code) => cache.store(&self.digest, engine, code, &compiled.inspection).unwrap_or_else(|error| {
                warn!(error = %error, "compiled code can't be kept on disk: the next start compiles anew");
                false
            }),
            Err(error) => {
                warn!(error = format!("{error:#}"), "compiled code can't be written: the next start compiles anew");
                false
            }
        };
        if !stored {
            self.metrics.code.unstored.inc();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::code::{CodePrune, CodeSettings};
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
        let (engines, compiler) = (engines(), Compiler::new(2, None, Arc::default()));
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
        let (engines, compiler) = (engines(), Compiler::new(2, None, Arc::default()));
        let (digest, bytes) = component(0);
        let compile = |missing| compiler.compile(&digest, bytes.clone(), &engines, Provides { missing, largest_table: 0 });
        let failed = compile(|_| vec!["a:b/c".into()]).await;
        assert_eq!(failed.err(), Some(CompileError::MissingImport(vec!["a:b/c".into()])));
        let (one, two) = tokio::join!(compile(|_| Vec::new()), compile(|_| Vec::new()));
        let (one, two) = (one.unwrap(), two.unwrap());
        assert!(Arc::ptr_eq(&one.0, &two.0) && one.1 != two.1);
        assert!(compiler.pool.running.lock().unwrap().is_empty());
    }

    #[tokio::test]
    async fn l19_a_compile_that_nobody_waits_for_any_more_is_still_the_only_one() {
        static RUNS: AtomicUsize = AtomicUsize::new(0);
        static PAIR: std::sync::LazyLock<Barrier> = std::sync::LazyLock::new(|| Barrier::new(2));
        fn count(_: &Inspection) -> Vec<String> {
            RUNS.fetch_add(1, Ordering::SeqCst);
            PAIR.wait();
            Vec::new()
        }
        let (engines, compiler) = (engines(), Compiler::new(2, None, Arc::default()));
        let (digest, bytes) = component(0);
        let provides = Provides { missing: count, largest_table: 0 };
        let mut given_up = Box::pin(compiler.compile(&digest, bytes.clone(), &engines, provides));
        assert!(futures::poll!(given_up.as_mut()).is_pending());
        drop(given_up);
        let waits = compiler.compile(&digest, bytes, &engines, provides);
        let go_on = tokio::task::spawn_blocking(|| PAIR.wait());
        let (compiled, _) = tokio::join!(waits, go_on);
        assert!(compiled.unwrap().1, "it joined the first");
        assert_eq!(RUNS.load(Ordering::SeqCst), 1);
    }

    /// Compiles the first component with the code of `folder`: whether it came from disk.
    async fn start(folder: &std::path::Path) -> bool {
        let code = CodeCache::open(CodeSettings::in_folder(folder.into())).unwrap();
        let (engines, compiler) = (engines(), Compiler::new(1, Some(Arc::new(code)), Arc::default()));
        let (digest, bytes) = component(0);
        let provides = Provides { missing: |_| Vec::new(), largest_table: 0 };
        let from_disk = compiler.compile(&digest, bytes, &engines, provides).await.unwrap().0.from_disk;
        compiler.settled(PATIENCE).await;
        from_disk
    }

    const PATIENCE: Duration = Duration::from_secs(60);

    fn only_entry(folder: &std::path::Path) -> std::path::PathBuf {
        let mut entries = std::fs::read_dir(folder.join("entries")).unwrap();
        let path = entries.next().unwrap().unwrap().path();
        assert!(entries.next().is_none());
        path
    }

    #[tokio::test]
    async fn l36_a_component_is_compiled_once_for_all_starts() {
        let folder = tempfile::tempdir().unwrap();
        assert!(!start(folder.path()).await);
        assert!(start(folder.path()).await);
    }

    #[tokio::test]
    async fn l36_code_that_was_changed_or_made_elsewhere_is_made_anew_and_never_run() {
        let (folder, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        start(folder.path()).await;
        let entry = only_entry(folder.path());
        let good = std::fs::read(&entry).unwrap();
        let mut changed = good.clone();
        changed[good.len() / 2] ^= 1;
        std::fs::write(&entry, changed).unwrap();
        assert!(!start(folder.path()).await, "changed");
        assert!(start(folder.path()).await, "and made anew");
        std::fs::write(&entry, &good[..good.len() / 2]).unwrap();
        assert!(!start(folder.path()).await, "cut");
        start(elsewhere.path()).await;
        std::fs::copy(only_entry(elsewhere.path()), &entry).unwrap();
        assert!(!start(folder.path()).await, "another key's");
        std::fs::remove_file(folder.path().join("key")).unwrap();
        assert!(!start(folder.path()).await, "a key that is lost");
        assert!(start(folder.path()).await);
    }

    #[tokio::test]
    async fn a_full_or_failing_disk_costs_the_next_start_its_time_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let settings = CodeSettings { max_bytes: 10, ..CodeSettings::in_folder(folder.path().into()) };
        let metrics = Arc::new(HostMetrics::default());
        let code = Arc::new(CodeCache::open(settings).unwrap());
        let (engines, compiler) = (engines(), Compiler::new(1, Some(code.clone()), metrics.clone()));
        let provides = Provides { missing: |_| Vec::new(), largest_table: 0 };
        for number in 0..2 {
            if number == 1 {
                compiler.settled(PATIENCE).await;
                std::fs::remove_dir_all(folder.path()).unwrap();
            }
            let (digest, bytes) = component(number);
            assert!(!compiler.compile(&digest, bytes, &engines, provides).await.unwrap().0.from_disk);
        }
        compiler.settled(PATIENCE).await;
        assert_eq!((metrics.code.unstored.get(), metrics.code.misses.get()), (2, 2));
    }

    #[test]
    fn the_cache_is_listed_checked_bounded_and_emptied() {
        let folder = tempfile::tempdir().unwrap();
        let cache = CodeCache::open(CodeSettings::in_folder(folder.path().into())).unwrap();
        let engines = engines();
        let engine = &engines.get(Flavor::P2).unwrap().engine;
        let inspection = Inspection { imports: Vec::new(), exports: Vec::new(), largest_table: 0, uses_async: false };
        for number in 0..3 {
            assert!(cache.store(&component(number).0, engine, vec![0; 1000], &inspection).unwrap());
        }
        let entries = cache.entries().unwrap();
        assert_eq!(entries.len(), 3);
        assert!(entries.iter().all(|entry| entry.component.is_some()));
        std::fs::write(folder.path().join("entries").join(&entries[0].name), b"nonsense").unwrap();
        let (good, removed) = cache.verify().unwrap();
        assert_eq!((good.entries, removed), (2, vec![entries[0].name.clone()]));
        let left = cache.bytes().unwrap().bytes;
        assert_eq!(cache.prune(CodePrune::ToBytes(left - 1)).unwrap().entries, 1);
        assert_eq!(cache.prune(CodePrune::UnusedFor(Duration::from_secs(3600))).unwrap().entries, 0);
        assert_eq!(cache.prune(CodePrune::All).unwrap().entries, 1);
        assert_eq!(cache.bytes().unwrap().entries, 0);
    }
}
