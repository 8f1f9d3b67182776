//! Compiles, counted and killed: how many at once, how often, and what is left of them.

use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::SystemTime;

use berth_link::{Link, LinkPlan, Way};
use berth_model::image::ImageRef;
use berth_model::resource::PullPolicy;
use berth_model::workload::{Component, PullCredentials, Resources, Reuse};
use berth_oci::{Artifact, FetchError, Prune, Source};
use bytes::Bytes;

use super::*;
use crate::code::CodeSettings;
use crate::config::HostConfig;
use crate::intake;
use crate::prepare::PrepareError;

mod tiers;

/// A component that does nothing, one of many.
fn component(number: u8) -> (Digest, Bytes) {
    // A custom section of one name, `n`, and one byte.
    let bytes = [b"\0asm\x0d\0\x01\0".as_slice(), &[0, 3, 1, b'n', number]].concat();
    (Digest::of(&bytes), bytes.into())
}

fn bounds(threads: usize) -> CompileBounds {
    CompileBounds { threads, queue: 100 }
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
    let (engines, compiler) = (engines(), Compiler::new(bounds(2), None, Arc::default()));
    let provides = Provides { missing: count, largest_table: 0 };
    let compiles = (0..12).map(|number| {
        let (digest, bytes) = component(number);
        let (engines, compiler) = (&engines, &compiler);
        async move { compiler.compile(&digest, bytes, engines, provides, Tier::Optimized).await.map(drop) }
    });
    let all = tokio::time::timeout(Duration::from_secs(60), futures::future::join_all(compiles)).await.unwrap();
    assert!(all.iter().all(Result::is_ok), "{all:?}");
    assert_eq!(MOST.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn l19_past_the_queue_a_compile_is_refused_with_the_settings_name_and_a_later_one_goes_on() {
    static GO: std::sync::LazyLock<Barrier> = std::sync::LazyLock::new(|| Barrier::new(2));
    fn wait(_: &Inspection) -> Vec<String> {
        GO.wait();
        Vec::new()
    }
    let (engines, metrics) = (engines(), Arc::<HostMetrics>::default());
    let compiler = Compiler::new(CompileBounds { threads: 1, queue: 1 }, None, metrics);
    let compile = |number, missing: fn(&Inspection) -> Vec<String>| {
        let (digest, bytes) = component(number);
        let (engines, compiler) = (&engines, &compiler);
        async move { compiler.compile(&digest, bytes, engines, Provides { missing, largest_table: 0 }, Tier::Optimized).await.map(drop) }
    };
    let (mut first, mut second) = (Box::pin(compile(0, wait)), Box::pin(compile(1, |_| Vec::new())));
    assert!(futures::poll!(first.as_mut()).is_pending());
    until(|| compiler.load().running == 1).await;
    assert!(futures::poll!(second.as_mut()).is_pending());
    until(|| compiler.load().waiting == 1).await;
    let refused = compile(2, |_| Vec::new()).await.unwrap_err();
    assert_eq!(refused, CompileError::QueueFull(1));
    assert!(refused.to_string().contains("(compile-queue)"), "{refused}");
    let go_on = tokio::task::spawn_blocking(|| GO.wait());
    let (first, second, _) = tokio::join!(first, second, go_on);
    assert_eq!((first, second), (Ok(()), Ok(())));
    assert_eq!(compile(2, |_| Vec::new()).await, Ok(()));
    let load = compiler.load();
    assert_eq!((load.running, load.waiting, load.refused), (0, 0, 1));
}

/// Lets other tasks go on until `condition` holds.
async fn until(condition: impl Fn() -> bool) {
    let wait = async {
        while !condition() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.expect("it comes true");
}

#[tokio::test]
async fn a_component_that_several_ask_for_is_compiled_once_also_after_one_that_failed() {
    let (engines, compiler) = (engines(), Compiler::new(bounds(2), None, Arc::default()));
    let (digest, bytes) = component(0);
    let compile = |missing| compiler.compile(&digest, bytes.clone(), &engines, Provides { missing, largest_table: 0 }, Tier::Optimized);
    let failed = compile(|_| vec!["a:b/c".into()]).await;
    assert_eq!(failed.err(), Some(CompileError::MissingImport(vec!["a:b/c".into()])));
    let (one, two) = tokio::join!(compile(|_| Vec::new()), compile(|_| Vec::new()));
    let (one, two) = (one.unwrap(), two.unwrap());
    assert!(Arc::ptr_eq(&one.0, &two.0) && one.1 != two.1);
    assert!(compiler.pool.running.lock().unwrap().is_empty());
}

#[tokio::test]
async fn who_lacks_an_import_that_a_sibling_of_another_provides_fails_alone() {
    let (engines, compiler) = (engines(), Compiler::new(bounds(1), None, Arc::default()));
    let (digest, bytes) = component(0);
    let compile = |missing| compiler.compile(&digest, bytes.clone(), &engines, Provides { missing, largest_table: 0 }, Tier::Optimized);
    let (mut lacks, mut has) = (Box::pin(compile(|_| vec!["a:b/c".into()])), Box::pin(compile(|_| Vec::new())));
    assert!(futures::poll!(lacks.as_mut()).is_pending() && futures::poll!(has.as_mut()).is_pending());
    assert_eq!(compiler.pool.running.lock().unwrap().len(), 1, "they wait for one compile");
    assert_eq!(lacks.await.err(), Some(CompileError::MissingImport(vec!["a:b/c".into()])));
    assert!(has.await.is_ok());
}

#[tokio::test]
async fn all_who_lack_the_same_hear_it_of_one_compile() {
    let (engines, compiler) = (engines(), Compiler::new(bounds(1), None, Arc::default()));
    let (digest, bytes) = component(0);
    let provides = Provides { missing: |_| vec!["a:b/c".into()], largest_table: 0 };
    let mut compiles: Vec<_> =
        (0..3).map(|_| Box::pin(compiler.compile(&digest, bytes.clone(), &engines, provides, Tier::Optimized))).collect();
    for compile in &mut compiles {
        assert!(futures::poll!(compile.as_mut()).is_pending());
    }
    let lacks = |ended: Result<_, CompileError>| assert_eq!(ended.err(), Some(CompileError::MissingImport(vec!["a:b/c".into()])));
    lacks(compiles.remove(0).await);
    for mut compile in compiles {
        // None has begun another.
        let Poll::Ready(ended) = futures::poll!(compile.as_mut()) else { panic!("it waits for another compile") };
        lacks(ended);
    }
}

#[tokio::test]
async fn without_an_engine_what_uses_wasi_03_fails_and_says_why() {
    let (engines, compiler) = (engines(), Compiler::new(bounds(1), None, Arc::default()));
    let bytes: Bytes = wat::parse_str(r#"(component (import "wasi:clocks/types@0.3.0" (instance)))"#).unwrap().into();
    let (digest, p3) = (Digest::of(&bytes), Coming::new(|| Err("no room (instances, slots)".to_owned())));
    let provides = Provides { missing: |_| Vec::new(), largest_table: 0 };
    let engines = (engines.handles().0, Some(Arc::new(p3)));
    let asked = Asked { digest: &digest, recipe: bytes.into(), engines, provides, tier: Tier::Optimized, ahead: false };
    let failed = compiler.pool.ask(&compiler.tasks, asked).compiling.await.err();
    assert_eq!(failed, Some(CompileError::Failed("no room (instances, slots)".to_owned())));
}

/// A unit of a front that is linked to a library, which asks for sockets in a way that can't be its own; at these places in its plan, among
/// `parts`. With the digest that stands for it, and the components of the plan.
fn uncomposable(front: usize, lib: usize, parts: usize) -> (Digest, Arc<Unit>, Vec<Component>) {
    let sockets = r#"(import "wasi:sockets/types@0.3.0" (instance
        (export "tcp-socket" (type $t (sub resource))) (export "[constructor]tcp-socket" (func (result (own $t))))))"#;
    let mut texts = vec!["(component)".to_owned(); parts];
    texts[front] = r#"(component (import "x:lib/api" (instance)))"#.to_owned();
    texts[lib] = format!(r#"(component {sockets} (instance $api) (export "x:lib/api" (instance $api)))"#);
    let bytes: Vec<Bytes> = texts.iter().map(|text| wat::parse_str(text).unwrap().into()).collect();
    let named = |part: usize| Component {
        name: if part == lib { "lib".to_owned() } else { format!("other-{part}") },
        image: ImageRef::File("/a.wasm".into()),
        pull_policy: PullPolicy::IfNotPresent,
        pull_credentials: None,
        reuse: Reuse::default(),
        resources: Resources::default(),
        links: Vec::new(),
    };
    let unit = berth_link::Unit { root: front, members: vec![front, lib] };
    let api = || "x:lib/api".to_owned();
    let link = Link { importer: front, import: api(), exporter: lib, export: api(), way: Way::Fused };
    let plan = LinkPlan { units: vec![unit.clone()], links: vec![link], entry: None };
    let digests: Vec<Digest> = bytes.iter().map(|bytes| Digest::of(bytes)).collect();
    let digest = berth_link::identity(&plan, &unit, &digests);
    (digest, Arc::new(Unit { plan: Arc::new(plan), unit, parts: bytes }), (0..parts).map(named).collect())
}

#[tokio::test]
async fn all_who_wait_for_what_cant_be_composed_hear_of_their_own_component() {
    let (engines, compiler) = (engines(), Compiler::new(bounds(1), None, Arc::default()));
    let provides = Provides { missing: |_| Vec::new(), largest_table: 0 };
    // The first has more components than the second, and others where the second has these two.
    let asked = [uncomposable(3, 2, 4), uncomposable(1, 0, 2), uncomposable(0, 1, 2)];
    let compiles =
        asked.iter().map(|(digest, unit, _)| compiler.compile(digest, Recipe::Composed(unit.clone()), &engines, provides, Tier::Optimized));
    let mut compiles: Vec<_> = compiles.map(Box::pin).collect();
    for compile in &mut compiles {
        assert!(futures::poll!(compile.as_mut()).is_pending());
    }
    assert_eq!(compiler.pool.running.lock().unwrap().len(), 1, "they wait for one compile");
    for (result, (_, unit, components)) in futures::future::join_all(compiles).await.into_iter().zip(&asked) {
        let error = PrepareError::of_unit(result.err().unwrap(), &unit.unit, &|part| &components[part]).to_string();
        assert!(error.starts_with("component lib can't be composed with those that it is linked to: it can't have sockets"), "{error}");
    }
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
    let (engines, compiler) = (engines(), Compiler::new(bounds(2), None, Arc::default()));
    let (digest, bytes) = component(0);
    let provides = Provides { missing: count, largest_table: 0 };
    let mut given_up = Box::pin(compiler.compile(&digest, bytes.clone(), &engines, provides, Tier::Optimized));
    assert!(futures::poll!(given_up.as_mut()).is_pending());
    drop(given_up);
    let waits = compiler.compile(&digest, bytes, &engines, provides, Tier::Optimized);
    let go_on = tokio::task::spawn_blocking(|| PAIR.wait());
    let (compiled, _) = tokio::join!(waits, go_on);
    assert!(compiled.unwrap().1, "it joined the first");
    assert_eq!(RUNS.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn what_is_compiled_ahead_is_new_to_the_first_workload_and_compiled_once() {
    struct Disk(Bytes);
    #[async_trait::async_trait]
    impl Source for Disk {
        async fn fetch(&self, _: &ImageRef, _: PullPolicy, _: Option<&PullCredentials>) -> Result<Artifact, FetchError> {
            Ok(Artifact { digest: Digest::of(&self.0), bytes: self.0.clone(), cached: false })
        }
    }
    static RUNS: AtomicUsize = AtomicUsize::new(0);
    fn count(_: &Inspection) -> Vec<String> {
        RUNS.fetch_add(1, Ordering::SeqCst);
        Vec::new()
    }
    let (engines, compiler) = (engines(), Compiler::new(bounds(2), None, Arc::default()));
    let (digest, bytes) = component(0);
    let provides = Provides { missing: count, largest_table: 0 };
    let source: Arc<dyn Source> = Arc::new(Disk(bytes.clone()));
    let local = ImageRef::File("/a.wasm".into());
    let pulled = ImageRef::parse("registry.example/a:1").unwrap();
    compiler.expect([(local, Tier::Optimized), (pulled, Tier::Optimized)].into_iter(), &source, &engines, provides);
    while compiler.pool.known.lock().unwrap().is_empty() {
        tokio::task::yield_now().await;
    }
    let compile = async || compiler.compile(&digest, bytes.clone(), &engines, provides, Tier::Optimized).await.unwrap();
    let (first, second) = (compile().await, compile().await);
    assert!(Arc::ptr_eq(&first.0, &second.0));
    assert_eq!((first.1, second.1, RUNS.load(Ordering::SeqCst)), (false, true, 1));
    // What is kept for nobody holds up no end.
    drop((first, second));
    compiler.settled(PATIENCE).await;
    assert!(compiler.tasks.is_empty());
}

#[tokio::test]
async fn a_component_that_isnt_valid_is_refused_with_words_though_the_engine_validates() {
    let (engines, compiler) = (engines(), Compiler::new(bounds(1), None, Arc::default()));
    let provides = Provides { missing: |_| Vec::new(), largest_table: 0 };
    // An import section that says of one import that it has one, and goes on.
    let bytes: Bytes = [b"\0asm\x0d\0\x01\0".as_slice(), &[7, 2, 1, 0x7f]].concat().into();
    let refused = compiler.compile(&Digest::of(&bytes), bytes.clone(), &engines, provides, Tier::Optimized).await.err();
    assert_eq!(refused, intake::inspect(&bytes).err().map(CompileError::NotAComponent));
    assert!(compiler.compile(&Digest::of(b""), Bytes::new(), &engines, provides, Tier::Optimized).await.is_err());
}

/// Compiles the first component with the code of `folder`: whether it came from disk.
async fn start(folder: &std::path::Path) -> bool {
    let code = CodeCache::open(CodeSettings::in_folder(folder.into())).unwrap();
    let (engines, compiler) = (engines(), Compiler::new(bounds(1), Some(Arc::new(code)), Arc::default()));
    let (digest, bytes) = component(0);
    let provides = Provides { missing: |_| Vec::new(), largest_table: 0 };
    let from_disk = compiler.compile(&digest, bytes, &engines, provides, Tier::Optimized).await.unwrap().0.from_disk;
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
    let settings = CodeSettings { max_bytes: 10, ..CodeSettings::in_folder(folder.path().join("full")) };
    let (full, failing) =
        (CodeCache::open(settings).unwrap(), CodeCache::open(CodeSettings::in_folder(folder.path().join("failing"))).unwrap());
    let entries = folder.path().join("failing/entries");
    std::fs::remove_dir(&entries).unwrap();
    std::fs::write(&entries, "no folder").unwrap();
    for code in [full, failing] {
        let (engines, metrics) = (engines(), Arc::new(HostMetrics::default()));
        let compiler = Compiler::new(bounds(1), Some(Arc::new(code)), metrics.clone());
        let provides = Provides { missing: |_| Vec::new(), largest_table: 0 };
        let (digest, bytes) = component(0);
        assert!(!compiler.compile(&digest, bytes, &engines, provides, Tier::Optimized).await.unwrap().0.from_disk);
        compiler.settled(PATIENCE).await;
        assert_eq!((metrics.code.unstored.get(), metrics.code.misses.get()), (1, 1));
    }
}

#[tokio::test]
async fn a_folder_that_somebody_removed_is_made_again_with_a_key() {
    let folder = tempfile::tempdir().unwrap();
    let code = folder.path().join("code");
    let cache = Arc::new(CodeCache::open(CodeSettings::in_folder(code.clone())).unwrap());
    std::fs::remove_dir_all(&code).unwrap();
    let (engines, compiler) = (engines(), Compiler::new(bounds(1), Some(cache), Arc::default()));
    let provides = Provides { missing: |_| Vec::new(), largest_table: 0 };
    let (digest, bytes) = component(0);
    compiler.compile(&digest, bytes, &engines, provides, Tier::Optimized).await.unwrap();
    compiler.settled(PATIENCE).await;
    assert!(start(&code).await, "what was kept afterwards is good for the next start");
}

#[tokio::test]
async fn code_in_use_counts_as_used_however_long_ago_it_was_loaded() {
    let folder = tempfile::tempdir().unwrap();
    let cache = Arc::new(CodeCache::open(CodeSettings::in_folder(folder.path().into())).unwrap());
    let (engines, compiler) = (engines(), Compiler::new(bounds(1), Some(cache.clone()), Arc::default()));
    let provides = Provides { missing: |_| Vec::new(), largest_table: 0 };
    let mut in_use = Vec::new();
    for number in 0..2 {
        let (digest, bytes) = component(number);
        in_use.push(compiler.compile(&digest, bytes, &engines, provides, Tier::Optimized).await.unwrap().0);
    }
    until(|| cache.entries().unwrap().len() == 2).await;
    // Who kept the code on disk holds it a moment longer.
    until(|| in_use.iter().all(|compiled| Arc::strong_count(compiled) == 1)).await;
    let long_ago = SystemTime::now() - Duration::from_secs(1_000_000);
    for entry in cache.entries().unwrap() {
        std::fs::File::open(folder.path().join("entries").join(entry.name)).unwrap().set_modified(long_ago).unwrap();
    }
    in_use.pop();
    compiler.pool.touch_used().await;
    cache.prune(Prune::UnusedFor(Duration::from_secs(3600))).unwrap();
    let left: Vec<_> = cache.entries().unwrap().into_iter().map(|entry| entry.component).collect();
    assert_eq!(left, [Some(component(0).0)]);
}

#[test]
fn only_what_is_wrong_with_an_entry_itself_costs_it_its_place() {
    use wasmtime::error::Context as _;
    let refused = |error: wasmtime::Error| crate::code::refused(&error).and_then(|io| io.raw_os_error());
    let system = Err::<(), _>(rustix::io::Errno::MFILE).context("mapping").context("loading").unwrap_err();
    assert_eq!(refused(system), Some(rustix::io::Errno::MFILE.raw_os_error()));
    let io = std::io::Error::from_raw_os_error(rustix::io::Errno::NOMEM.raw_os_error());
    assert_eq!(refused(Err::<(), _>(io).context("loading").unwrap_err()), Some(rustix::io::Errno::NOMEM.raw_os_error()));
    assert_eq!(refused(wasmtime::format_err!("compiled for another version")), None);
}

#[test]
fn the_cache_is_listed_checked_bounded_and_emptied() {
    let folder = tempfile::tempdir().unwrap();
    let cache = CodeCache::open(CodeSettings::in_folder(folder.path().into())).unwrap();
    let engines = engines();
    let engine = &engines.get(Flavor::P2).unwrap().engine;
    let inspection = Inspection { imports: Vec::new(), exports: Vec::new(), largest_table: 0, uses_async: false };
    let told = Told { inspection, spans: Vec::new() };
    for number in 0..3 {
        assert!(cache.store(&component(number).0, engine, vec![0; 1000], told.clone()).unwrap());
    }
    let entries = cache.entries().unwrap();
    assert_eq!(entries.len(), 3);
    assert!(entries.iter().all(|entry| entry.component.is_some()));
    std::fs::write(folder.path().join("entries").join(&entries[0].name), b"nonsense").unwrap();
    let verified = cache.verify().unwrap();
    assert_eq!((verified.good, verified.removed), (2, vec![entries[0].name.clone()]));
    let left = cache.bytes().unwrap().bytes;
    assert_eq!(cache.prune(Prune::ToBytes(left - 1)).unwrap().entries, 1);
    assert_eq!(cache.prune(Prune::UnusedFor(Duration::from_secs(3600))).unwrap().entries, 0);
    assert_eq!(cache.prune(Prune::All).unwrap().entries, 1);
    assert_eq!(cache.bytes().unwrap().entries, 0);
}
