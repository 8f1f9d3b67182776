//! A workload that spins, leaks, floods or traps leaves its neighbours in peace.

use std::time::{Duration, Instant};

use berth_model::limits::Limits;
use http::StatusCode;

use crate::harness::{Bench, limited, request, within, workload};

/// Requests per measurement.
const REQUESTS: usize = 150;

/// The 99th percentile of a good workload's answers.
async fn p99(bench: &Bench) -> Duration {
    let mut sender = bench.connect().await;
    let mut took = Vec::with_capacity(REQUESTS);
    for _ in 0..REQUESTS {
        let mut get = request("GET", "/");
        get.headers_mut().insert("host", "good".parse().unwrap());
        let start = Instant::now();
        let answer = within(crate::harness::read(within(sender.send_request(get)).await.unwrap())).await.unwrap();
        took.push(start.elapsed());
        assert_eq!(answer.status, StatusCode::OK);
    }
    took.sort();
    took[REQUESTS * 99 / 100]
}

#[tokio::test]
async fn l30_l31_l44_bad_neighbours_move_a_good_ones_p99_by_no_more_than_their_turns() {
    let bench = Bench::start();
    let bad = Limits {
        memory_bytes: Some(32 << 20),
        request_timeout: Some(Duration::from_secs(2)),
        max_in_flight: Some(4),
        max_queued: Some(4),
        ..Limits::default()
    };
    bench.run(workload("good", "p2-hello", &["good"])).await;
    bench.run(limited(workload("bad", "p2", &["bad"]), bad)).await;
    let alone = p99(&bench).await;
    for path in ["/spin", "/alloc?mb=64", "/logflood?mb=16", "/trap"] {
        let (addr, stop) = (bench.host.http_addr(), tokio_util::sync::CancellationToken::new());
        let load = tokio::spawn(crate::harness::keep_asking(addr, "bad", path, 4, stop.clone()));
        bench.eventually("the bad one runs", || bench.metric("berth_cold_starts_total", "bad") > 4.0).await;
        let beside = p99(&bench).await;
        stop.cancel();
        let _ = within(load).await;
        // A guest that computes has a tick of 1 ms between two steps of the good one; the rest is room for a machine that does other
        // things too, and a fifth of what plain yields give.
        assert!(beside < alone * 3 + Duration::from_millis(100), "{path}: p99 {beside:?} beside it, {alone:?} alone");
        bench.eventually("the bad one is done", || bench.metric("berth_requests_in_flight", "bad") == 0.0).await;
    }
}
