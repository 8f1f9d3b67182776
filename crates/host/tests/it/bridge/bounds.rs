//! How deep, and how many: what keeps calls between components from taking the host.

use std::time::{Duration, Instant};

use berth_model::limits::Limits;
use berth_model::workload::Reuse;
use http::StatusCode;

use super::{CALLEES, encoded, pair, reuses, through};
use crate::harness::{Bench, workload};

/// A path that has two components call each other in turn, so often.
fn to_and_fro(times: usize) -> String {
    let path =
        |path: String, call: usize| format!("/via?to={}&path={}", if call.is_multiple_of(2) { "front" } else { "back" }, encoded(&path));
    (0..times).fold("/".to_owned(), path)
}

#[tokio::test]
async fn a_chain_that_is_too_long_is_cut_and_named() {
    let bench = Bench::start();
    for caller in ["p2", "p3"] {
        for reuse in reuses() {
            bench.run(pair(caller, "p3", &reuse)).await;
            assert_eq!(bench.get(&to_and_fro(8)).await.status, StatusCode::OK, "{caller}, {reuse:?}");
            let answer = bench.get(&to_and_fro(9)).await;
            assert_eq!(answer.status, StatusCode::BAD_GATEWAY, "{caller}, {reuse:?}");
            assert!(answer.body.contains("LoopDetected"), "{caller}, {reuse:?}: {}", answer.body);
            let events = bench.events.with_reason("CallDepth");
            let message = &events.last().unwrap().message;
            assert!(message.contains("front -> ") && message.contains(" -> back -> ") && message.contains("8 calls"), "{message}");
            bench.host.stop_workload(&"default-pair".parse().unwrap()).unwrap();
            bench.eventually("it is gone", || bench.host.statuses().is_empty() && bench.metric("berth_instances_live", "") == 0.0).await;
        }
    }
}

#[tokio::test]
async fn a_request_has_so_many_calls_in_flight_and_is_refused_the_next() {
    let bench = Bench::start();
    for caller in ["p2", "p3"] {
        for callee in CALLEES {
            bench.run(pair(caller, callee, &Reuse::default())).await;
            let answer = bench.get(&format!("/fan?to=back&n=40&path={}", encoded("/sleep?ms=1000"))).await;
            let said = answer.body.trim().split(',').collect::<Vec<_>>();
            let (served, refused): (Vec<&str>, Vec<&str>) = said.into_iter().partition(|said| *said == "200");
            assert_eq!((served.len(), refused.len()), (32, 8), "{caller} calls {callee}: {}", answer.body);
            assert!(refused.iter().all(|code| code.contains("ConnectionLimitReached")), "{refused:?}");
            let events = bench.events.with_reason("CallLimit");
            assert!(events.iter().any(|event| event.message.contains("32 calls in flight")), "{events:?}");
            bench.host.stop_workload(&"default-pair".parse().unwrap()).unwrap();
            bench.eventually("it is gone", || bench.host.statuses().is_empty()).await;
        }
    }
}

/// Callers hold what they have while they wait for their callees: with slots for a few, all of them could wait for each other.
#[tokio::test]
async fn l32_chains_that_hold_all_slots_end_without_waiting_for_each_other() {
    let bench = Bench::with(|config| config.slots = 8);
    let mut chain = pair("p3", "p3", &Reuse::default());
    chain.components.extend(workload("last", "p2", &[]).components);
    let waits = Limits { queue_timeout: Some(Duration::from_secs(2)), ..Limits::default() };
    chain.components.iter_mut().for_each(|component| component.resources.limits = waits);
    bench.run(chain).await;
    let inner = format!("/via?to=last&path={}", encoded("/sleep?ms=50"));
    let path = through("p3", &inner);
    let start = Instant::now();
    let answers = futures::future::join_all((0..24).map(|_| bench.get(&path))).await;
    let served = answers.iter().filter(|answer| answer.status == StatusCode::OK).count();
    assert!(served > 0, "{:?}", answers.iter().map(|answer| &answer.body).collect::<Vec<_>>());
    assert!(start.elapsed() < Duration::from_secs(25), "no deadline, 30 s, ended them: {:?}", start.elapsed());
    bench
        .eventually("all slots are free", || bench.host.in_flight() == 0 && bench.metric("berth_component_calls_in_flight", "") == 0.0)
        .await;
    assert_eq!(bench.get(&path).await.status, StatusCode::OK);
}

#[tokio::test]
async fn l45_calls_are_counted_by_how_they_ended_and_apart_from_requests() {
    let bench = Bench::start();
    bench.run(pair("p2", "p3", &Reuse::default())).await;
    for path in ["/", "/", "/status/404", "/trap"] {
        bench.get(&through("p2", path)).await;
    }
    let calls = |ended: &str| bench.metric("berth_component_calls_total", &format!("ended=\"{ended}\""));
    bench.eventually("all are counted", || calls("2xx") + calls("4xx") + calls("failed") == 4.0).await;
    assert_eq!((calls("2xx"), calls("4xx"), calls("failed")), (2.0, 1.0, 1.0));
    assert_eq!(bench.metric("berth_requests_total", ""), 4.0);
}
