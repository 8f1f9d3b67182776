//! A well-behaved workload alone, and beside one that spins, leaks, floods its log or traps: `cargo bench -p berth-benches`.
//!
//! Names of rows, or parts of them, measure these alone: `cargo bench -p berth-benches --bench neighbours -- spins leaks`.
//!
//! The first rows are what to hold the others against: what it costs to share the cores at all, with a workload that is as busy and
//! behaves, and with threads of another program that compute.

#![allow(clippy::print_stdout, reason = "a benchmark's table is its output")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use berth_benches::{bother, host, latencies, percentile, run};
use berth_model::limits::Limits;
use tokio_util::sync::CancellationToken;

const ROUNDS: usize = 3;
const TIME: Duration = Duration::from_secs(3);
/// Each client waits this long between two requests, so that the good workload alone leaves the machine mostly idle.
const PAUSE: Duration = Duration::from_millis(2);
const CLIENTS: usize = 8;

/// Who shares the cores.
#[derive(Clone, Copy)]
enum Neighbour {
    /// A workload that is asked for a path without pause.
    Workload(&'static str, &'static str),
    /// A thread per core that computes and is no part of the host.
    Threads,
}

const NEIGHBOURS: [(&str, Neighbour); 6] = [
    ("busy, well-behaved", Neighbour::Workload("busy", "/")),
    ("another program", Neighbour::Threads),
    ("spins", Neighbour::Workload("bad", "/spin")),
    ("leaks", Neighbour::Workload("bad", "/alloc?mb=64")),
    ("floods its log", Neighbour::Workload("bad", "/logflood?mb=16")),
    ("traps", Neighbour::Workload("bad", "/trap")),
];

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let host = host();
    let bounds = Limits {
        memory_bytes: Some(32 << 20),
        request_timeout: Some(Duration::from_secs(1)),
        max_in_flight: Some(4),
        max_queued: Some(4),
        ..Limits::default()
    };
    run(&host, "good", "p2-hello", Limits::default()).await;
    run(&host, "busy", "p2-hello", Limits::default()).await;
    run(&host, "bad", "p2", bounds).await;
    let good = async || latencies(host.http_addr(), "good", "/", CLIENTS, PAUSE, TIME).await;
    good().await;
    println!("{:<20} {:>12} {:>12} {:>12} {:>12}", "neighbour", "p50 alone", "p50 beside", "p99 alone", "p99 beside");
    let only: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with("--")).collect();
    for (name, neighbour) in NEIGHBOURS {
        if !only.is_empty() && !only.iter().any(|part| name.contains(part.as_str())) {
            continue;
        }
        for _ in 0..ROUNDS {
            let alone = good().await;
            let beside = while_busy(neighbour, host.http_addr(), &good).await;
            let cells = [0.5, 0.99].map(|part| (percentile(&alone, part), percentile(&beside, part)));
            let [(p50, p50_beside), (p99, p99_beside)] = cells;
            println!("{name:<20} {p50:>12.1?} {p50_beside:>12.1?} {p99:>12.1?} {p99_beside:>12.1?}");
        }
    }
}

/// Measures while the neighbour is busy.
async fn while_busy(neighbour: Neighbour, addr: SocketAddr, good: &impl AsyncFn() -> Vec<Duration>) -> Vec<Duration> {
    match neighbour {
        Neighbour::Workload(domain, path) => {
            let stop = CancellationToken::new();
            let stopped = stop.clone();
            let load = tokio::spawn(async move { bother(addr, domain, path, CLIENTS, stopped).await });
            let measured = good().await;
            stop.cancel();
            let _ = load.await;
            measured
        }
        Neighbour::Threads => {
            let stop = Arc::new(AtomicBool::new(false));
            let cores = std::thread::available_parallelism().map_or(1, usize::from);
            let spin = |stop: Arc<AtomicBool>| move || while !stop.load(Ordering::Relaxed) {};
            let threads: Vec<_> = (0..cores).map(|_| std::thread::spawn(spin(stop.clone()))).collect();
            let measured = good().await;
            stop.store(true, Ordering::Relaxed);
            threads.into_iter().for_each(|thread| thread.join().unwrap_or_default());
            measured
        }
    }
}
