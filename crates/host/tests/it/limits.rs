//! Limits that hold: time, memory, stack, slots - and the neighbours' peace.

use std::time::{Duration, Instant};

use berth_model::limits::Limits;
use http::StatusCode;

use crate::harness::{Bench, limited, request, within, workload};

fn quick(ms: u64) -> Limits {
    Limits { request_timeout: Some(Duration::from_millis(ms)), ..Limits::default() }
}

#[tokio::test]
async fn l30_a_guest_that_spins_is_cut_at_its_deadline_and_says_so() {
    let bench = Bench::start();
    for guest in ["p2", "p3"] {
        bench.run(limited(workload(guest, guest, &[guest]), quick(300))).await;
        let start = Instant::now();
        let answer = bench.get_from(guest, "/spin").await;
        assert_eq!(answer.status, StatusCode::GATEWAY_TIMEOUT, "{}", answer.body);
        assert!(answer.body.contains("300 ms"), "{}", answer.body);
        assert!(start.elapsed() >= Duration::from_millis(300) && start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    }
    assert_eq!(bench.events.with_reason("DeadlineExceeded").len(), 2);
}

#[tokio::test]
async fn l30_a_guest_that_waits_is_cut_at_its_deadline_too() {
    let bench = Bench::start();
    for guest in ["p2", "p3"] {
        bench.run(limited(workload(guest, guest, &[guest]), quick(200))).await;
        for path in ["/never", "/sleep?ms=60000", "/stream?chunks=1000&ms=50"] {
            let mut sender = bench.connect().await;
            let mut get = request("GET", path);
            get.headers_mut().insert("host", guest.parse().unwrap());
            let ended = match within(sender.send_request(get)).await {
                Ok(response) => within(crate::harness::read(response)).await.map(|a| a.status),
                Err(error) => Err(error),
            };
            match ended {
                Ok(status) => assert_eq!(status, StatusCode::GATEWAY_TIMEOUT, "{guest} {path}"),
                Err(_) => assert!(path.starts_with("/stream"), "{guest} {path}: only an answer that began may be cut"),
            }
        }
        bench.eventually("no instance is left", || bench.metric("berth_instances_live", "") == 0.0).await;
    }
}

#[tokio::test]
async fn l30_a_client_that_leaves_ends_its_guest() {
    let bench = Bench::start();
    for guest in ["p2", "p3"] {
        bench.run(workload(guest, guest, &[guest])).await;
        for path in ["/spin", "/never", "/sleep?ms=60000"] {
            let mut sender = bench.connect().await;
            let mut get = request("GET", path);
            get.headers_mut().insert("host", guest.parse().unwrap());
            let pending = tokio::spawn(async move { sender.send_request(get).await.is_ok() });
            bench.eventually("the guest runs", || bench.metric("berth_instances_live", "") == 1.0).await;
            pending.abort();
            bench.eventually("the guest is gone", || bench.metric("berth_instances_live", "") == 0.0).await;
        }
        assert_eq!(bench.metric("berth_requests_total", &format!("workload=\"{guest}\",ended=\"cancelled\"")), 3.0);
    }
}

#[tokio::test]
async fn l30_a_spinning_neighbour_leaves_others_their_turn() {
    let bench = Bench::start();
    bench.run(workload("spinner", "p2", &["spinner"])).await;
    bench.run(workload("good", "p3", &["good"])).await;
    let mut spinners = Vec::new();
    for _ in 0..4 {
        let mut sender = bench.connect().await;
        let mut spin = request("GET", "/spin");
        spin.headers_mut().insert("host", "spinner".parse().unwrap());
        spinners.push(tokio::spawn(async move { sender.send_request(spin).await.is_ok() }));
    }
    bench.eventually("four guests spin", || bench.metric("berth_slots_in_use", "") == 4.0).await;
    for _ in 0..20 {
        assert_eq!(bench.get_from("good", "/").await.status, StatusCode::OK);
    }
    spinners.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test]
async fn l31_memory_past_the_limit_ends_the_request_and_names_the_limit() {
    let bench = Bench::start();
    for guest in ["p2", "p3"] {
        let limits = Limits { memory_bytes: Some(32 << 20), ..Limits::default() };
        bench.run(limited(workload(guest, guest, &[guest]), limits)).await;
        assert_eq!(bench.get_from(guest, "/alloc?mb=8").await.status, StatusCode::OK);
        assert_eq!(bench.get_from(guest, "/alloc?mb=64&soft=1").await.status, StatusCode::INSUFFICIENT_STORAGE);
        let answer = bench.get_from(guest, "/alloc?mb=64").await;
        assert_eq!(answer.status, StatusCode::INTERNAL_SERVER_ERROR);
        assert!(answer.body.contains("memory limit of 32 MiB"), "{}", answer.body);
        assert_eq!(bench.get_from(guest, "/").await.status, StatusCode::OK);
    }
    assert_eq!(bench.events.with_reason("MemoryLimit").len(), 2);
    bench.eventually("all memory is given back", || bench.metric("berth_guest_memory_bytes", "") == 0.0).await;
}

#[tokio::test]
async fn l31_the_hosts_memory_budget_answers_503_and_the_host_lives() {
    let bench = Bench::with(|config| config.memory_budget_bytes = 48 << 20);
    bench.run_guest("p2").await;
    let answer = bench.get("/alloc?mb=100").await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{}", answer.body);
    assert_eq!(answer.headers["retry-after"], "1");
    assert_eq!(bench.get("/").await.status, StatusCode::OK);
}

#[tokio::test]
async fn l31_a_stack_that_overflows_ends_the_request() {
    let bench = Bench::start();
    for guest in ["p2", "p3"] {
        bench.run(workload(guest, guest, &[guest])).await;
        let answer = bench.get_from(guest, "/recurse").await;
        assert_eq!(answer.status, StatusCode::INTERNAL_SERVER_ERROR);
        assert!(answer.body.contains("stack"), "{}", answer.body);
        assert_eq!(bench.get_from(guest, "/").await.status, StatusCode::OK);
    }
}

#[tokio::test]
async fn l31_a_stack_that_was_used_up_leaves_no_more_than_is_counted_for_it() {
    // A size that no other thread's stack has.
    let (stack, host_frames, pool) = (448 << 10, 128 << 10, (448 + 1536) << 10);
    let bench = Bench::with(|config| (config.keep_resident_bytes, config.stack_bytes) = (Some(1 << 40), 448 << 10));
    for guest in ["p2", "p3"] {
        bench.run(workload(guest, guest, &[guest])).await;
        let used_up = || stacks(pool).into_iter().filter(|resident| *resident > stack / 2).collect::<Vec<_>>();
        let before = used_up().len();
        for _ in 0..3 {
            assert_eq!(bench.get_from(guest, "/recurse").await.status, StatusCode::INTERNAL_SERVER_ERROR);
        }
        let after = used_up();
        assert!(after.len() > before && after.iter().all(|resident| *resident <= stack + host_frames), "{guest}: {after:?}");
    }
}

/// Resident bytes of each writable mapping of `size` bytes that is of no file: the pools' stacks lie between guard pages.
fn stacks(size: u64) -> Vec<u64> {
    let maps = std::fs::read_to_string("/proc/self/smaps").unwrap();
    let (mut found, mut of_a_stack) = (Vec::new(), false);
    for line in maps.lines() {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let kib = |field: &str| field.parse::<u64>().unwrap() << 10;
        match fields[..] {
            // A range, its rights, and an inode.
            [_, rights, _, _, inode, ..] if rights.len() == 4 => of_a_stack = rights.starts_with("rw") && inode == "0",
            ["Size:", bytes, "kB"] => of_a_stack &= kib(bytes) == size,
            ["Rss:", bytes, "kB"] if of_a_stack => found.push(kib(bytes)),
            _ => {}
        }
    }
    found
}

#[tokio::test]
async fn l32_past_the_slots_requests_queue_and_past_the_queue_they_get_503() {
    let bench = Bench::start();
    let limits =
        Limits { max_in_flight: Some(1), max_queued: Some(1), queue_timeout: Some(Duration::from_millis(200)), ..Limits::default() };
    bench.run(limited(workload("small", "p2", &["small"]), limits)).await;
    bench.run(workload("other", "p2", &["other"])).await;
    let slow = bench.get_from("small", "/sleep?ms=1500");
    let rest = async {
        bench.eventually("the slot is taken", || bench.metric("berth_slots_in_use", "") == 1.0).await;
        let (queued, refused) = tokio::join!(bench.get_from("small", "/"), bench.get_from("small", "/"));
        for answer in [&queued, &refused] {
            assert_eq!((answer.status, answer.headers["retry-after"].to_str().unwrap()), (StatusCode::SERVICE_UNAVAILABLE, "1"));
        }
        assert_eq!(bench.get_from("other", "/").await.status, StatusCode::OK, "one workload's queue is its own");
    };
    let (slow, ()) = tokio::join!(slow, rest);
    assert_eq!(slow.status, StatusCode::OK);
    assert_eq!(bench.get_from("small", "/").await.status, StatusCode::OK);
    assert_eq!(bench.metric("berth_requests_total", "workload=\"small\",ended=\"refused\""), 2.0);
}

#[tokio::test]
async fn every_other_end_of_a_guest_is_a_500_that_says_which() {
    let bench = Bench::start();
    for guest in ["p2", "p3"] {
        bench.run(workload(guest, guest, &[guest])).await;
        for (path, words) in [("/trap", "trapped"), ("/exit?fail=1", "exited"), ("/error", "error"), ("/drop", "")] {
            let answer = bench.get_from(guest, path).await;
            assert_eq!(answer.status, StatusCode::INTERNAL_SERVER_ERROR, "{guest} {path}");
            assert!(answer.body.contains(words) && answer.body.contains(guest), "{guest} {path}: {}", answer.body);
        }
        assert_eq!(bench.get_from(guest, "/").await.status, StatusCode::OK);
    }
}
