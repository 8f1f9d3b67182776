//! A well-behaved workload alone, and beside one that spins, leaks, floods its log or traps: `cargo bench -p berth-benches`.

#![allow(clippy::print_stdout, reason = "a benchmark's table is its output")]

use std::time::Duration;

use berth_benches::{bother, host, latencies, percentile, run};
use berth_model::limits::Limits;
use tokio_util::sync::CancellationToken;

const ROUNDS: usize = 3;
const TIME: Duration = Duration::from_secs(3);
/// Each client waits this long between two requests, so that the good workload alone leaves the machine mostly idle.
const PAUSE: Duration = Duration::from_millis(2);
const CLIENTS: usize = 8;
const BAD: [&str; 4] = ["/spin", "/alloc?mb=64", "/logflood?mb=16", "/trap"];

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
    run(&host, "bad", "p2", bounds).await;
    let good = async || latencies(host.http_addr(), "good", "/", CLIENTS, PAUSE, TIME).await;
    good().await;
    println!("{:<20} {:>12} {:>12} {:>12} {:>12}", "neighbour", "p50 alone", "p50 beside", "p99 alone", "p99 beside");
    for path in BAD {
        for _ in 0..ROUNDS {
            let alone = good().await;
            let stop = CancellationToken::new();
            let load = tokio::spawn(bother_owned(host.http_addr(), path, stop.clone()));
            let beside = good().await;
            stop.cancel();
            let _ = load.await;
            let cells = [0.5, 0.99].map(|part| (percentile(&alone, part), percentile(&beside, part)));
            let [(p50, p50_beside), (p99, p99_beside)] = cells;
            println!("{path:<20} {p50:>12.1?} {p50_beside:>12.1?} {p99:>12.1?} {p99_beside:>12.1?}");
        }
    }
}

async fn bother_owned(addr: std::net::SocketAddr, path: &'static str, stop: CancellationToken) {
    bother(addr, "bad", path, 8, stop).await;
}
