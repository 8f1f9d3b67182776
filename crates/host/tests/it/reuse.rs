//! Instances that serve more than one request, and those that must not.

use std::time::Duration;

use berth_model::limits::Limits;
use berth_model::workload::Reuse;
use http::StatusCode;

use crate::harness::{Bench, limited, request, reused, within, workload};

fn pool(size: u32, invocations: u32) -> Reuse {
    Reuse { pool_size: size, max_invocations: invocations, max_concurrency: 0 }
}

/// Which call of its instance this is, from 1. An instance is free for the next a little after its answer: where the guest's tick ended
/// in between, a client may be faster.
async fn count(bench: &Bench, guest: &str) -> String {
    let count = bench.get_from(guest, "/count").await.body.trim().to_owned();
    bench.eventually("its instance is free", || bench.metric("berth_requests_in_flight", guest) == 0.0).await;
    count
}

#[tokio::test]
async fn a_warm_instance_serves_until_it_retires() {
    let bench = Bench::start();
    for guest in ["p2", "p3"] {
        bench.run(reused(workload(guest, guest, &[guest]), pool(1, 3))).await;
        let mut counts = Vec::new();
        for _ in 0..7 {
            counts.push(count(&bench, guest).await);
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
        let count = async || count(&bench, guest).await;
        for bad in ["/trap", "/spin", "/never", "/exit?fail=1", "/alloc?mb=300"] {
            assert_eq!((count().await, count().await), ("1".to_owned(), "2".to_owned()), "{guest} before {bad}");
            assert_ne!(bench.get_from(guest, bad).await.status, StatusCode::OK, "{guest} {bad}");
        }
        assert_eq!((count().await, count().await), ("1".to_owned(), "2".to_owned()));
        // A slot is free a little after its answer.
        bench.eventually("the last one is done", || bench.metric("berth_requests_in_flight", guest) == 0.0).await;
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

#[tokio::test]
async fn l30_nothing_is_left_of_a_shared_instance_whatever_ended_its_calls() {
    let bench = Bench::start();
    let reuse = Reuse { pool_size: 2, max_invocations: 0, max_concurrency: 4 };
    let quick = Limits { request_timeout: Some(Duration::from_millis(400)), ..Limits::default() };
    bench.run(limited(reused(workload("p3", "p3", &[]), reuse), quick)).await;
    for _ in 0..4 {
        // Late, and left: before the head, and in the middle of the body.
        assert_eq!(bench.get("/never").await.status, StatusCode::GATEWAY_TIMEOUT);
        for path in ["/never", "/stream?chunks=100000&size=65536"] {
            let begun = || bench.metric("berth_cold_starts_total", "p3") + bench.metric("berth_reused_instances_total", "p3");
            let (before, mut sender) = (begun(), bench.connect().await);
            let pending = tokio::spawn(async move { sender.send_request(request("GET", path)).await.map(drop).is_ok() });
            bench.eventually("it runs", || begun() > before).await;
            pending.abort();
            bench.eventually("its client is gone", || bench.metric("berth_requests_in_flight", "p3") == 0.0).await;
        }
    }
    assert_eq!(bench.get("/").await.status, StatusCode::OK);
    bench.eventually("only what is kept warm lives", || bench.metric("berth_instances_live", "") <= 2.0).await;
    bench.host.stop_workload(&"default-p3".parse().unwrap()).unwrap();
    bench.eventually("nothing lives", || bench.metric("berth_instances_live", "") == 0.0 && bench.host.in_flight() == 0).await;
    bench.eventually("no memory is held", || bench.metric("berth_guest_memory_bytes", "") == 0.0).await;
}

#[tokio::test]
async fn what_a_shared_instance_asks_of_others_has_the_time_of_its_own_request() {
    let bench = Bench::with(|config| config.network.loopback_ports = "1-65535".parse().unwrap());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let server = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let answer = hyper::service::service_fn(async |_| {
                Ok::<_, std::io::Error>(http::Response::new(http_body_util::Full::new(bytes::Bytes::from("inside"))))
            });
            let io = hyper_util::rt::TokioIo::new(stream);
            let _ = hyper::server::conn::http1::Builder::new().serve_connection(io, answer).await;
        }
    });
    let quick = Limits { request_timeout: Some(Duration::from_millis(700)), ..Limits::default() };
    let reuse = Reuse { pool_size: 1, max_invocations: 0, max_concurrency: 2 };
    let mut workload = workload("p3", "p3", &[]);
    workload.components[0].resources.grants.loopback_ports = vec![addr.port().to_string().parse().unwrap()];
    bench.run(limited(reused(workload, reuse), quick)).await;
    let start = std::time::Instant::now();
    while start.elapsed() < Duration::from_millis(1500) {
        let answer = bench.get(&format!("/fetch?url=http://host.wasmcloud.internal:{}/", addr.port())).await;
        assert_eq!(answer.status, StatusCode::OK, "after {:?}: {}", start.elapsed(), answer.body);
        assert_eq!(bench.get("/sleep?ms=100").await.status, StatusCode::OK);
    }
    server.abort();
}

#[tokio::test]
async fn l31_a_call_that_was_given_up_holds_nothing_once_its_neighbours_are_done() {
    let bench = Bench::start();
    let reuse = Reuse { pool_size: 1, max_invocations: 0, max_concurrency: 4 };
    bench.run(reused(workload("p3", "p3", &[]), reuse)).await;
    let slow = bench.get("/stream?chunks=20&size=1000&ms=25");
    let given_up = async {
        bench.eventually("the stream runs", || bench.metric("berth_requests_in_flight", "p3") == 1.0).await;
        let mut sender = bench.connect().await;
        let pending = tokio::spawn(async move { sender.send_request(request("GET", "/never")).await.is_ok() });
        bench.eventually("both run", || bench.metric("berth_reused_instances_total", "p3") == 1.0).await;
        pending.abort();
    };
    let start = std::time::Instant::now();
    let (slow, ()) = tokio::join!(slow, given_up);
    assert_eq!((slow.status, slow.body.len()), (StatusCode::OK, 20_000));
    bench.eventually("nothing lives", || bench.metric("berth_instances_live", "") == 0.0).await;
    assert!(start.elapsed() < Duration::from_secs(25), "the time of a request, 30 s, is not what ends it: {:?}", start.elapsed());
}
