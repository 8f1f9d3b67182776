//! What serves changes, and what is new is compiled, while requests come.

use std::time::{Duration, Instant};

use berth_host::WantedWorkload;
use berth_model::image::ImageRef;
use http::StatusCode;
use tokio_util::sync::CancellationToken;

use crate::harness::{Bench, count_answers, wanted, within, workload, workload_of};

/// On several threads, as a drain could begin before the routes are there only on another one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l08_a_rolling_update_under_load_refuses_nobody() {
    let bench = Bench::start();
    let replica = |name: &str| {
        let mut replica = wanted(workload(name, "p2-hello", &["r"]));
        replica.owner = "default/r".into();
        replica
    };
    let ready = |names: [&str; 2]| {
        let statuses = bench.host.statuses();
        statuses.len() == 2 && statuses.iter().zip(names).all(|(status, name)| status.ready && status.name == name)
    };
    bench.host.set_wanted(vec![replica("r0"), replica("r1")]);
    bench.eventually("both replicas serve", || ready(["r0", "r1"])).await;
    let stop = CancellationToken::new();
    let roll = async {
        for _ in 0..10 {
            for (pair, rest) in [(["r1", "r2"], "r1"), (["r0", "r1"], "r1")] {
                bench.host.set_wanted(vec![replica(rest)]);
                bench.host.set_wanted(pair.map(replica).into());
                bench.eventually("the next replica serves", || ready(pair)).await;
            }
        }
        stop.cancel();
    };
    let (answers, ()) = tokio::join!(count_answers(bench.host.http_addr(), "r", "/", 8, stop.clone()), roll);
    assert_eq!(answers.keys().collect::<Vec<_>>(), [&200], "{answers:?}");
}

/// The requests for a domain find a workload at every moment while others come and go and while what serves it changes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l54_while_tables_are_swapped_no_request_finds_its_domain_missing() {
    let bench = Bench::start();
    let of = |name: &str, guest: &str, domains: &[&str]| {
        let mut workload = wanted(workload(name, guest, domains));
        workload.owner = "default/steady".into();
        workload
    };
    let serves = |name: &str| bench.host.statuses().iter().any(|s| s.name == name && s.ready && s.reason.is_empty());
    bench.host.set_wanted(vec![of("a", "p2", &["steady"])]);
    bench.eventually("it serves", || serves("a")).await;
    let stop = CancellationToken::new();
    let swap = async {
        for round in 0..10 {
            // An edit in place, a neighbour with other domains that comes and goes, and a successor that takes over.
            let guest = if round % 2 == 0 { "p2-hello" } else { "p2" };
            let (old, new) = if round % 2 == 0 { ("a", "b") } else { ("b", "a") };
            let neighbour = wanted(workload("neighbour", "p2-hello", &["one", "two", "three"]));
            bench.host.set_wanted(vec![of(old, guest, &["steady", "alias"]), neighbour.clone()]);
            bench.eventually("the edit and the neighbour serve", || serves(old) && serves("neighbour")).await;
            bench.host.set_wanted(vec![of(old, guest, &["steady", "alias"]), of(new, guest, &["steady"])]);
            bench.eventually("the successor serves, too", || serves(new)).await;
            bench.host.set_wanted(vec![of(new, guest, &["steady"])]);
            bench.eventually("the old one is gone", || bench.host.statuses().len() == 1).await;
        }
        stop.cancel();
    };
    let (answers, ()) = tokio::join!(count_answers(bench.host.http_addr(), "steady", "/", 8, stop.clone()), swap);
    assert_eq!(answers.keys().collect::<Vec<_>>(), [&200], "{answers:?}");
    assert_eq!(bench.metric("berth_unrouted_requests_total", ""), 0.0);
}

/// Compiles take their threads and no others: not those of requests, not that of heartbeats.
#[tokio::test]
async fn l19_while_many_components_compile_requests_and_control_go_on() {
    const COMPILES: usize = 6;
    let bench = Bench::with(|config| config.compile_threads = 1);
    bench.run(workload("good", "p2-hello", &["good"])).await;
    let dir = tempfile::tempdir().unwrap();
    let whole = berth_testkit::guests::bytes("p2");
    let component = |n: usize| {
        // Equal but for a custom section, so that each is compiled.
        let file = dir.path().join(format!("{n}.wasm"));
        std::fs::write(&file, [whole.as_slice(), &[0, 3, 1, b'n', u8::try_from(n).unwrap()]].concat()).unwrap();
        wanted(workload_of(&format!("new{n}"), ImageRef::File(file), &[&format!("new{n}")]))
    };
    let mut set: Vec<WantedWorkload> = (0..COMPILES).map(component).collect();
    set.push(wanted(workload("good", "p2-hello", &["good"])));
    bench.host.set_wanted(set);
    let ready = || bench.host.statuses().iter().filter(|s| s.ready).count();
    let (mut during, mut slowest_answer, mut slowest_beat) = (0, Duration::ZERO, Duration::ZERO);
    let busy = async {
        while ready() <= COMPILES {
            let start = Instant::now();
            assert_eq!(bench.get_from("good", "/").await.status, StatusCode::OK);
            slowest_answer = slowest_answer.max(start.elapsed());
            during += 1;
        }
    };
    // Preparing runs on this test's runtime, which has one thread, as heartbeats do.
    let beats = async {
        let mut tick = tokio::time::interval(Duration::from_millis(5));
        let mut last = Instant::now();
        while ready() <= COMPILES {
            tick.tick().await;
            slowest_beat = slowest_beat.max(last.elapsed());
            last = Instant::now();
        }
    };
    within(async { tokio::join!(busy, beats) }).await;
    assert_eq!(bench.metric("berth_compiles_total", ""), (COMPILES + 1) as f64);
    let compiling = bench.metric("berth_compile_seconds_sum", "");
    assert!(during > 10, "{during} requests were answered in {compiling} s of compiling");
    // A heartbeat is due each second. Whatever waited for one compile to end would wait for all of them, one after the other.
    assert!(slowest_answer < Duration::from_secs(1) && slowest_beat < Duration::from_secs(1), "{slowest_answer:?}, {slowest_beat:?}");
}
