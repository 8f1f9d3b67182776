//! Instances that serve more than one request, and those that must not.

use std::time::Duration;

use berth_model::limits::Limits;
use berth_model::workload::Reuse;
use http::StatusCode;

use crate::harness::{Bench, limited, request, reused, within, workload};

fn pool(size: u32, invocations: u32) -> Reuse {
    Reuse { pool_size: size, max_invocations: invocations, max_concurrency: 0 }
}

#[tokio::test]
async fn a_warm_instance_serves_until_it_retires() {
    let bench = Bench::start();
    for guest in ["p2", "p3"] {
        bench.run(reused(workload(guest, guest, &[guest]), pool(1, 3))).await;
        let mut counts = Vec::new();
        for _ in 0..7 {
            counts.push(bench.get_from(guest, "/count").await.body.trim().to_owned());
        }
        assert_eq!(counts, ["1", "2", "3", "1", "2", "3", "1"], "{guest}");
        assert_eq!(bench.metric("berth_reused_instances_total", guest), 4.0);
    }
}

#[tokio::test]
async fn an_instance_that_trapped_timed_out_or_was_cancelled_is_never_used_again() {
    let bench = Bench::start();
    let quick = Limits { request_timeout: Some(Duration::from_millis(300)), ..Limits::default() };
    for guest in ["p2", "p3"] {
        bench.run(limited(reused(workload(guest, guest, &[guest]), pool(1, 0)), quick)).await;
        let count = async || bench.get_from(guest, "/count").await.body.trim().to_owned();
        for bad in ["/trap", "/spin", "/never", "/exit?fail=1", "/alloc?mb=300"] {
            assert_eq!((count().await, count().await), ("1".to_owned(), "2".to_owned()), "{guest} before {bad}");
            assert_ne!(bench.get_from(guest, bad).await.status, StatusCode::OK, "{guest} {bad}");
        }
        assert_eq!((count().await, count().await), ("1".to_owned(), "2".to_owned()));
        let mut sender = bench.connect().await;
        let mut get = request("GET", "/sleep?ms=250");
        get.headers_mut().insert("host", guest.parse().unwrap());
        let pending = tokio::spawn(async move { sender.send_request(get).await.is_ok() });
        bench.eventually("it runs", || bench.metric("berth_requests_in_flight", guest) == 1.0).await;
        pending.abort();
        bench.eventually("it is cancelled", || bench.metric("berth_requests_in_flight", guest) == 0.0).await;
        assert_eq!(count().await, "1", "{guest} after a cancelled call");
    }
}

#[tokio::test]
async fn an_instance_of_03_serves_several_requests_at_once_up_to_its_concurrency() {
    let bench = Bench::start();
    let reuse = Reuse { pool_size: 1, max_invocations: 0, max_concurrency: 4 };
    bench.run(reused(workload("p3", "p3", &[]), reuse)).await;
    assert_eq!(bench.get("/count").await.body.trim(), "1");
    let calls = (0..4).map(|_| bench.get("/concurrent?ms=400"));
    let overlaps: Vec<u32> = within(futures::future::join_all(calls)).await.iter().map(|a| a.body.trim().parse().unwrap()).collect();
    assert_eq!(overlaps.iter().max(), Some(&4), "{overlaps:?}");
    let calls = (0..6).map(|_| bench.get("/concurrent?ms=200"));
    let overlaps: Vec<u32> = within(futures::future::join_all(calls)).await.iter().map(|a| a.body.trim().parse().unwrap()).collect();
    assert!(overlaps.iter().all(|o| *o <= 4), "{overlaps:?}");
}

#[tokio::test]
async fn a_late_call_in_a_shared_instance_is_cut_alone() {
    let bench = Bench::start();
    let reuse = Reuse { pool_size: 1, max_invocations: 0, max_concurrency: 4 };
    let limits = Limits { request_timeout: Some(Duration::from_millis(600)), ..Limits::default() };
    bench.run(limited(reused(workload("p3", "p3", &[]), reuse), limits)).await;
    let late = bench.get("/never");
    let good = async {
        bench.eventually("the late one runs", || bench.metric("berth_requests_in_flight", "p3") == 1.0).await;
        bench.get("/sleep?ms=300").await
    };
    let (late, good) = tokio::join!(late, good);
    assert_eq!((late.status, good.status), (StatusCode::GATEWAY_TIMEOUT, StatusCode::OK));
    assert_eq!(bench.get("/count").await.body.trim(), "1", "the instance of the late call is gone");
}

#[tokio::test]
async fn bodies_stream_from_reused_instances_too() {
    let bench = Bench::start();
    for guest in ["p2", "p3"] {
        bench.run(reused(workload(guest, guest, &[guest]), Reuse { pool_size: 2, max_invocations: 0, max_concurrency: 2 })).await;
        for _ in 0..3 {
            let answer = bench.get_from(guest, "/stream?chunks=50&size=10000").await;
            assert_eq!((answer.status, answer.body.len()), (StatusCode::OK, 500_000), "{guest}");
        }
    }
}
