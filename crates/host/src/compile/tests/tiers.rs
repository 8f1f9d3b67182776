//! Baseline code, and the optimized code that takes its place.

use super::*;

fn anything() -> Provides {
    Provides { missing: |_| Vec::new(), largest_table: 0 }
}

/// The optimized code in place of `compiled`, once it is there.
async fn optimized(compiler: &Compiler, compiled: &Compiled) -> Arc<Compiled> {
    let (tell, told) = tokio::sync::oneshot::channel();
    compiler.once_optimized(compiled, move |optimized| drop(tell.send(optimized)));
    tokio::time::timeout(PATIENCE, told).await.expect("it comes").expect("it is optimized")
}

#[tokio::test]
async fn what_may_be_baseline_code_is_and_optimized_code_takes_its_place() {
    let (engines, metrics) = (engines(), Arc::<HostMetrics>::default());
    let compiler = Compiler::new(bounds(1), None, metrics.clone());
    let (digest, bytes) = component(0);
    let compile = async |tier| compiler.compile(&digest, bytes.clone(), &engines, anything(), tier).await.unwrap().0;
    let baseline = compile(Tier::Baseline).await;
    assert_eq!(baseline.tier, Tier::Baseline);
    let better = optimized(&compiler, &baseline).await;
    assert_eq!((better.tier, metrics.optimizations.get()), (Tier::Optimized, 1));
    for tier in [Tier::Baseline, Tier::Optimized] {
        assert!(Arc::ptr_eq(&compile(tier).await, &better), "whoever comes later has it too");
    }
}

#[tokio::test]
async fn what_must_be_optimized_waits_for_no_thread_that_gives_way_and_who_has_baseline_code_gains_by_it() {
    let (engines, metrics) = (engines(), Arc::<HostMetrics>::default());
    let compiler = Compiler::new(bounds(1), None, metrics.clone());
    let (digest, bytes) = component(0);
    let compile = async |tier| compiler.compile(&digest, bytes.clone(), &engines, anything(), tier).await.unwrap().0;
    let turn = compiler.pool.backlog.hold().await;
    let baseline = compile(Tier::Baseline).await;
    let best = compile(Tier::Optimized).await;
    assert_eq!((baseline.tier, best.tier), (Tier::Baseline, Tier::Optimized));
    drop(turn);
    assert!(Arc::ptr_eq(&optimized(&compiler, &baseline).await, &best));
    assert_eq!(metrics.optimizations.get(), 0, "it was there");
}

#[tokio::test]
async fn code_that_nobody_runs_any_more_is_not_optimized() {
    let (engines, metrics) = (engines(), Arc::<HostMetrics>::default());
    let compiler = Compiler::new(bounds(1), None, metrics.clone());
    let (digest, bytes) = component(0);
    let turn = compiler.pool.backlog.hold().await;
    let baseline = compiler.compile(&digest, bytes, &engines, anything(), Tier::Baseline).await.unwrap();
    drop(baseline);
    drop(turn);
    until(|| compiler.tasks.is_empty()).await;
    assert_eq!(metrics.optimizations.get(), 0);
}

#[tokio::test]
async fn where_too_much_waits_to_be_optimized_the_next_is_optimized_at_once() {
    let (engines, compiler) = (engines(), Compiler::new(bounds(1), None, Arc::default()));
    let full = compiler.pool.backlog.fill();
    let compile = async |number| {
        let (digest, bytes) = component(number);
        compiler.compile(&digest, bytes, &engines, anything(), Tier::Baseline).await.unwrap().0
    };
    assert_eq!(compile(0).await.tier, Tier::Optimized);
    drop(full);
    let baseline = compile(1).await;
    assert_eq!(baseline.tier, Tier::Baseline);
    optimized(&compiler, &baseline).await;
    until(|| compiler.tasks.is_empty()).await;
    assert!(compiler.pool.backlog.is_empty());
}

#[tokio::test]
async fn l36_a_start_loads_what_the_last_one_came_to_and_optimizes_what_that_one_had_no_time_for() {
    let folder = tempfile::tempdir().unwrap();
    let (digest, bytes) = component(0);
    let new = || {
        let code = CodeCache::open(CodeSettings::in_folder(folder.path().into())).unwrap();
        Compiler::new(bounds(1), Some(Arc::new(code)), Arc::default())
    };
    let first = new();
    let engines = engines();
    let turn = first.pool.backlog.hold().await;
    let compiled = first.compile(&digest, bytes.clone(), &engines, anything(), Tier::Baseline).await.unwrap().0;
    first.settled(PATIENCE).await;
    assert_eq!((compiled.tier, compiled.from_disk), (Tier::Baseline, false));
    drop(turn);
    drop((compiled, first));
    let second = new();
    let compiled = second.compile(&digest, bytes.clone(), &engines, anything(), Tier::Baseline).await.unwrap().0;
    assert_eq!((compiled.tier, compiled.from_disk), (Tier::Baseline, true));
    optimized(&second, &compiled).await;
    until(|| second.tasks.len() == 1).await;
    let third = new();
    let compiled = third.compile(&digest, bytes.clone(), &engines, anything(), Tier::Baseline).await.unwrap().0;
    assert_eq!((compiled.tier, compiled.from_disk), (Tier::Optimized, true));
    only_entry(folder.path());
}

#[tokio::test]
async fn l36_baseline_code_on_disk_is_not_enough_for_who_needs_optimized_code() {
    let folder = tempfile::tempdir().unwrap();
    let cache = Arc::new(CodeCache::open(CodeSettings::in_folder(folder.path().into())).unwrap());
    let (engines, compiler) = (engines(), Compiler::new(bounds(1), Some(cache), Arc::default()));
    let (digest, bytes) = component(0);
    let turn = compiler.pool.backlog.hold().await;
    let compile = async |tier| compiler.compile(&digest, bytes.clone(), &engines, anything(), tier).await.unwrap().0;
    drop(compile(Tier::Baseline).await);
    until(|| folder.path().join("entries").read_dir().unwrap().count() == 1).await;
    let best = compile(Tier::Optimized).await;
    assert_eq!((best.tier, best.from_disk), (Tier::Optimized, false));
    drop(turn);
}

#[tokio::test]
async fn l31_what_fits_no_pool_is_refused_though_baseline_code_runs_without_one() {
    let (engines, compiler) = (engines(), Compiler::new(bounds(1), None, Arc::default()));
    let text = format!("(component (core module $m {}) (core instance (instantiate $m)))", "(memory 0)".repeat(9));
    let bytes: Bytes = wat::parse_str(text).unwrap().into();
    for tier in [Tier::Baseline, Tier::Optimized] {
        let refused = compiler.compile(&Digest::of(&bytes), bytes.clone(), &engines, anything(), tier).await.err();
        assert!(matches!(&refused, Some(CompileError::Failed(error)) if error.contains("memories")), "{refused:?}");
    }
    until(|| compiler.tasks.is_empty()).await;
    assert!(compiler.pool.backlog.is_empty());
}
