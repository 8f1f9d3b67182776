//! The bounds that all workloads of a host share: past each a client is told so, by the setting's name, and the host goes on.

use berth_host::Bound;
use http::StatusCode;

use crate::harness::{Answer, Bench, request, workload};

fn bound(bench: &Bench, setting: &str) -> Bound {
    bench.host.bounds().into_iter().find(|bound| bound.setting == setting).unwrap()
}

/// Sends a request to `domain` that isn't answered before its client leaves.
async fn hold(bench: &Bench, domain: &str) -> tokio::task::JoinHandle<bool> {
    let mut sender = bench.connect().await;
    let mut get = request("GET", "/never");
    get.headers_mut().insert("host", domain.parse().unwrap());
    tokio::spawn(async move { sender.send_request(get).await.is_ok() })
}

fn assert_refused(answer: &Answer, setting: &str) {
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{answer:?}");
    assert_eq!(answer.headers["retry-after"], "1");
    assert!(answer.body.contains(&format!("({setting})")), "{}", answer.body);
}

#[tokio::test]
async fn l31_past_the_hosts_instances_a_request_gets_503_with_the_settings_name() {
    for guest in ["p2", "p3"] {
        let bench = Bench::with(|config| config.instances = Some(2));
        bench.run(workload(guest, guest, &[guest])).await;
        let held = [hold(&bench, guest).await, hold(&bench, guest).await];
        bench.eventually("both instances are taken", || bound(&bench, "instances").used == 2).await;
        assert_refused(&bench.get_from(guest, "/").await, "instances");
        let full = bound(&bench, "instances");
        assert_eq!(full, Bound { setting: "instances", used: 2, most: 2, reached: Some(1) });
        assert_eq!(bench.events.with_reason("NoInstance").len(), 1);
        held.iter().for_each(tokio::task::JoinHandle::abort);
        bench.eventually("the instances are back", || bound(&bench, "instances").used == 0).await;
        assert_eq!(bench.get_from(guest, "/").await.status, StatusCode::OK);
    }
}

#[tokio::test]
async fn l32_past_the_hosts_slots_a_request_gets_503_with_the_settings_name() {
    let bench = Bench::with(|config| config.slots = 2);
    bench.run(workload("a", "p2", &["a"])).await;
    let held = hold(&bench, "a").await;
    bench.eventually("a slot is taken", || bound(&bench, "slots").used == 1).await;
    let second = hold(&bench, "a").await;
    bench.eventually("both are", || bound(&bench, "slots").used == 2).await;
    assert_refused(&bench.get_from("a", "/").await, "slots");
    assert_eq!(bound(&bench, "slots"), Bound { setting: "slots", used: 2, most: 2, reached: Some(1) });
    held.abort();
    second.abort();
}

#[tokio::test]
async fn l31_past_the_hosts_memory_a_request_gets_503_with_the_settings_name() {
    let bench = Bench::with(|config| config.memory_budget_bytes = 48 << 20);
    bench.run_guest("p2").await;
    assert_refused(&bench.get("/alloc?mb=100").await, "memory-budget");
    let memory = bound(&bench, "memory-budget");
    assert!(memory.most == 48 << 20 && memory.reached >= Some(1), "{memory:?}");
}

#[tokio::test]
async fn l31_what_instances_leave_resident_stays_within_its_bound() {
    let bench = Bench::with(|config| (config.slots, config.keep_resident_bytes) = (20, Some(64 << 20)));
    bench.run_guest("p2").await;
    for _ in 0..5 {
        assert_eq!(bench.get("/alloc?mb=8").await.status, StatusCode::OK);
    }
    let kept = bound(&bench, "keep-resident");
    assert!(kept.used <= kept.most && kept.most == 64 << 20, "{kept:?}");
}
