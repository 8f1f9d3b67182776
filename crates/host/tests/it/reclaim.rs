//! Memory of instances that end is given back away from the threads that serve, however they end, and is counted until then.

use std::time::Duration;

use berth_host::ReclaimConfig;
use berth_model::limits::Limits;
use berth_model::workload::Reuse;
use http::StatusCode;
use tokio_util::sync::CancellationToken;

use crate::harness::{Bench, limited, request, reused, within, workload};

const WARM: Reuse = Reuse { pool_size: 1, max_invocations: 0, max_concurrency: 0 };

fn reclaimed(bench: &Bench) -> f64 {
    bench.metric("berth_reclaimed_instances_total", "")
}

async fn nothing_is_left(bench: &Bench) {
    bench.eventually("nothing waits", || bench.metric("berth_reclaim_waiting_bytes", "") == 0.0).await;
    bench.eventually("no memory is counted", || bench.metric("berth_guest_memory_bytes", "") == 0.0).await;
    bench.eventually("nothing lives", || bench.metric("berth_instances_live", "") == 0.0 && bench.host.in_flight() == 0).await;
}

/// Asks for a path and leaves once the guest works for it.
async fn leave(bench: &Bench, domain: &str, path: &str) {
    // A slot is free a little after its answer.
    bench.eventually("the last one is done", || bench.metric("berth_requests_in_flight", domain) == 0.0).await;
    let mut sender = bench.connect().await;
    let mut get = request("GET", path);
    get.headers_mut().insert("host", domain.parse().unwrap());
    let pending = tokio::spawn(async move { sender.send_request(get).await.is_ok() });
    bench.eventually("it runs", || bench.metric("berth_requests_in_flight", domain) == 1.0).await;
    pending.abort();
    bench.eventually("it is cancelled", || bench.metric("berth_requests_in_flight", domain) == 0.0).await;
}

#[tokio::test]
async fn l31_memory_goes_away_from_the_serving_threads_however_its_instance_ends() {
    let bench = Bench::start();
    let limits = Limits { memory_bytes: Some(32 << 20), ..Limits::default() };
    for guest in ["p2", "p3"] {
        let warm = format!("{guest}-warm");
        bench.run(limited(workload(guest, guest, &[guest]), limits)).await;
        let before = reclaimed(&bench);
        assert_eq!(bench.get_from(guest, "/").await.status, StatusCode::OK);
        assert_eq!(reclaimed(&bench), before, "{guest}: little memory is given back at once");
        assert_eq!(bench.get_from(guest, "/alloc?mb=16").await.status, StatusCode::OK);
        bench.eventually("the end of a request", || reclaimed(&bench) == before + 1.0).await;
        assert_eq!(bench.get_from(guest, "/alloc?mb=64").await.status, StatusCode::INTERNAL_SERVER_ERROR);
        bench.eventually("a trap", || reclaimed(&bench) == before + 2.0).await;
        bench.run(limited(reused(workload(&warm, guest, &[&warm]), WARM), limits)).await;
        assert_eq!(bench.get_from(&warm, "/alloc?mb=16&keep=1").await.status, StatusCode::OK);
        leave(&bench, &warm, "/never").await;
        bench.eventually("a client that left", || reclaimed(&bench) == before + 3.0).await;
        assert_eq!(bench.get_from(&warm, "/alloc?mb=16&keep=1").await.status, StatusCode::OK);
        bench.host.stop_workload(&format!("default-{warm}").parse().unwrap()).unwrap();
        bench.eventually("a warm instance that retired", || reclaimed(&bench) == before + 4.0).await;
    }
    nothing_is_left(&bench).await;
    assert_eq!(bench.metric("berth_reclaimed_in_place_total", ""), 0.0);
}

#[tokio::test]
async fn l31_l32_guests_that_fill_memory_request_after_request_never_pass_the_budget_and_starve_nobody() {
    const BUDGET: u64 = 128 << 20;
    let bench = Bench::with(|config| {
        config.memory_budget_bytes = BUDGET;
        config.reclaim = ReclaimConfig { threads: 1, most_waiting: 2, ..ReclaimConfig::default() };
    });
    let limits = Limits { memory_bytes: Some(24 << 20), max_in_flight: Some(3), max_queued: Some(2), ..Limits::default() };
    bench.run(limited(workload("bad", "p2", &["bad"]), limits)).await;
    bench.run(workload("good", "p2-hello", &["good"])).await;
    let stop = CancellationToken::new();
    let load = tokio::spawn(crate::harness::count_answers(bench.host.http_addr(), "bad", "/alloc?mb=64", 8, stop.clone()));
    let ended = || reclaimed(&bench) + bench.metric("berth_reclaimed_in_place_total", "");
    bench
        .eventually("many instances end", || {
            let (used, waits) = (bench.metric("berth_guest_memory_bytes", ""), bench.metric("berth_reclaim_waiting_bytes", ""));
            assert!(used <= BUDGET as f64, "{used} bytes");
            assert!(waits <= 24.0 * f64::from(1 << 20) * 3.0, "{waits} bytes wait");
            ended() >= 100.0
        })
        .await;
    for _ in 0..20 {
        assert_eq!(bench.get_from("good", "/").await.status, StatusCode::OK);
    }
    stop.cancel();
    let answers = within(load).await.unwrap();
    // Each filled its memory and was told so, or was asked to come again.
    assert!(answers.keys().all(|status| [500, 503].contains(status)), "{answers:?}");
    assert!(answers.get(&500).copied().unwrap_or(0) >= 100, "{answers:?}");
    nothing_is_left(&bench).await;
}

#[tokio::test]
async fn l34_a_host_that_ends_gives_back_what_waits() {
    let bench = Bench::start();
    bench.run(workload("p2", "p2", &["p2"])).await;
    for _ in 0..4 {
        assert_eq!(bench.get_from("p2", "/alloc?mb=32").await.status, StatusCode::OK);
    }
    let mut registry = prometheus_client::registry::Registry::default();
    bench.host.register_metrics(&mut registry);
    within(bench.host.drain(Duration::from_secs(5))).await;
    drop(bench);
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
    for gone in
        ["berth_reclaim_waiting_bytes 0", "berth_guest_memory_bytes 0", "berth_instances_live 0", "berth_reclaimed_instances_total 4"]
    {
        assert!(text.contains(gone), "{gone}: {text}");
    }
}
