//! What goes wrong at a callee, as its caller sees it, and callers that go away.

use std::time::{Duration, Instant};

use berth_model::limits::Limits;
use berth_model::workload::Reuse;
use http::StatusCode;
use http_body_util::BodyExt;

use super::{CALLEES, CALLERS, encoded, limited, pair, pairs, reuses, through};
use crate::harness::{Bench, read, request, within};

async fn stop(bench: &Bench) {
    bench.host.stop_workload(&"default-pair".parse().unwrap()).unwrap();
    bench.eventually("it is gone", || bench.host.statuses().is_empty() && bench.metric("berth_instances_live", "") == 0.0).await;
}

#[tokio::test]
async fn the_callers_see_what_became_of_their_callees_before_the_head() {
    let bench = Bench::start();
    for (caller, callee, reuse) in pairs() {
        bench.run(pair(caller, callee, &reuse)).await;
        let internal = "InternalError(Some(\"as asked\"))";
        let nothing = if callee == "p2" { "HttpResponseIncomplete" } else { "InternalError(Some(\"dropped\"))" };
        for (path, code) in
            [("/error", internal), ("/trap", "ConnectionTerminated"), ("/drop", nothing), ("/exit?fail=1", "ConnectionTerminated")]
        {
            let answer = bench.get(&through(caller, path)).await;
            let what = format!("{caller} asks {callee} for {path}, {reuse:?}: {}", answer.body);
            assert_eq!(answer.status, StatusCode::BAD_GATEWAY, "{what}");
            assert!(answer.body.contains(code), "{what}, not {code}");
        }
        assert_eq!(bench.get(&through(caller, "/")).await.status, StatusCode::OK, "{caller} calls {callee}, {reuse:?}: both live");
        assert!(bench.metric("berth_component_calls_total", "ended=\"failed\"") >= 4.0);
        stop(&bench).await;
    }
    let trapped = bench.events.with_reason("Trapped");
    assert!(!trapped.is_empty() && trapped.iter().all(|event| event.message.starts_with("component back ")), "{trapped:?}");
}

/// The pitfall: a store that goes closes its channels, which reads like the end of a body.
#[tokio::test]
async fn l43_a_callee_that_traps_after_its_head_leaves_a_broken_body() {
    let bench = Bench::start();
    for (caller, callee, reuse) in pairs() {
        let what = format!("{caller} calls {callee}, {reuse:?}");
        bench.run(pair(caller, callee, &reuse)).await;
        for path in ["/trap-after-head", "/broken"] {
            let mut sender = bench.connect().await;
            let whole = match within(sender.send_request(request("GET", &through(caller, path)))).await {
                Ok(response) => within(read(response)).await.ok(),
                Err(_) => None,
            };
            assert!(whole.is_none(), "{what}: {path} is not whole: {whole:?}");
        }
        if caller != "p3-middleware" {
            let read = bench.get(&format!("/read?to=back&path={}", encoded("/trap-after-head"))).await.body;
            assert!(read.starts_with("15 bytes, then") && read.contains("ConnectionTerminated"), "{what}: {read}");
            // An error of the other version keeps its name, also where 0.2 reads a stream.
            let read = bench.get(&format!("/read?to=back&path={}", encoded("/broken"))).await.body;
            let code = if callee == "p2" { "HttpProtocolError" } else { "InternalError(Some(\"midway\"))" };
            assert!(read.starts_with("6 bytes, then") && read.contains(code), "{what}: {read}");
        }
        stop(&bench).await;
    }
}

/// The pitfall: an upload that failed already when the head comes must not take the head with it.
#[tokio::test]
async fn a_response_is_not_lost_for_an_upload_that_fails() {
    let bench = Bench::start();
    bench.run(pair("p3", "p3", &Reuse::default())).await;
    let answer = bench.get(&format!("/upload?to=back&mb=1&path={}", encoded("/trap-after-head"))).await.body;
    assert!(answer.starts_with("15 bytes Err"), "the head and what was written came: {answer}");
    assert!(answer.contains("sent Err(ErrorCode::ConnectionTerminated)"), "{answer}");
    // One that goes well is told so, once it was read.
    let answer = bench.get(&format!("/upload?to=back&mb=2&path={}", encoded("/slow-read?size=65536&ms=0"))).await.body;
    assert!(answer.ends_with("sent Ok(())\n"), "{answer}");
}

/// A callee may be done before its caller has written: what wstd's client does with a GET whose callee was faster.
#[tokio::test]
async fn a_caller_that_writes_after_its_callee_answered_doesnt_fail_for_that() {
    let bench = Bench::start();
    for callee in CALLEES {
        for reuse in reuses() {
            bench.run(pair("p2", callee, &reuse)).await;
            let small = bench.get("/upload?to=back&path=/&kb=200&after=1").await.body;
            assert!(small.ends_with(" bytes, 200 KiB taken\n"), "{callee}, {reuse:?}: {small}");
            if callee == "p2" {
                let ended = bench.get("/upload?to=back&path=/exit-answered&kb=16&after=1").await.body;
                assert_eq!(ended, "9 bytes, 16 KiB taken\n", "a callee that ended by itself once it had answered, {reuse:?}");
            }
            // Not for ever, and the answer is there all the same.
            let large = bench.get("/upload?to=back&path=/&mb=8&after=1").await.body;
            let taken = large.strip_suffix(" KiB taken\n").and_then(|said| said.rsplit(' ').next()?.parse().ok());
            assert!(taken.is_some_and(|taken: u64| (256..512).contains(&taken)), "{callee}, {reuse:?}: {large}");
            stop(&bench).await;
        }
    }
}

/// Nor may it miss why its request failed for having been slower to write than the request was to fail.
#[tokio::test]
async fn a_caller_that_writes_after_its_request_failed_learns_why_it_did() {
    let bench = Bench::start();
    let ways = [
        ("to=nobody", "HttpRequestDenied"),
        ("authority=denied.example.com", "HttpRequestDenied"),
        ("authority=localhost:9", "ConnectionRefused"),
        ("to=back&path=/error", "InternalError(Some(\"as asked\"))"),
        ("to=back&path=/trap", "ConnectionTerminated"),
    ];
    for callee in CALLEES {
        for reuse in reuses() {
            bench.run(pair("p2", callee, &reuse)).await;
            for (way, code) in ways {
                let what = format!("{callee}, {reuse:?}, {way}");
                let small = bench.get(&format!("/upload?{way}&kb=200&after=1")).await.body;
                assert!(small.contains(code) && small.ends_with(", 200 KiB taken\n"), "{what}: {small}");
            }
            // Not for ever.
            let large = bench.get("/upload?to=nobody&mb=8&after=1").await.body;
            let taken = large.strip_suffix(" KiB taken\n").and_then(|said| said.rsplit(' ').next()?.parse().ok());
            assert!(taken.is_some_and(|taken: u64| (256..512).contains(&taken)), "{callee}, {reuse:?}: {large}");
            stop(&bench).await;
        }
    }
}

#[tokio::test]
async fn a_callers_deadline_is_its_callees_and_a_callees_own_may_be_sooner() {
    let bench = Bench::start();
    let soon = Limits { request_timeout: Some(Duration::from_millis(200)), ..Limits::default() };
    for (caller, callee, reuse) in pairs() {
        for path in ["/never", "/spin"] {
            let what = format!("{caller} asks {callee} for {path}, {reuse:?}");
            bench.run(limited(pair(caller, callee, &reuse), Limits::default(), soon)).await;
            let start = Instant::now();
            let answer = bench.get(&through(caller, path)).await;
            assert_eq!(answer.status, StatusCode::BAD_GATEWAY, "{what}");
            assert!(answer.body.contains("HttpResponseTimeout"), "{what}: {}", answer.body);
            assert!(start.elapsed() < Duration::from_secs(15), "{what}: {:?}", start.elapsed());
            stop(&bench).await;

            bench.run(limited(pair(caller, callee, &reuse), soon, Limits::default())).await;
            let start = Instant::now();
            assert_eq!(bench.get(&through(caller, path)).await.status, StatusCode::GATEWAY_TIMEOUT, "{what}");
            bench.eventually("no call runs", || bench.metric("berth_component_calls_in_flight", "") == 0.0).await;
            assert!(start.elapsed() < Duration::from_secs(15), "{what}: {:?}", start.elapsed());
            stop(&bench).await;
        }
    }
}

#[tokio::test]
async fn l30_a_client_that_leaves_ends_the_whole_chain_at_once() {
    let bench = Bench::with(|config| config.limits.request_timeout = Duration::from_secs(3600));
    for (caller, callee, reuse) in pairs() {
        for path in ["/never", "/spin", "/stream?chunks=100000&size=1000"] {
            bench.run(pair(caller, callee, &reuse)).await;
            let mut sender = bench.connect().await;
            let ask = request("GET", &through(caller, path));
            let pending = tokio::spawn(async move {
                let response = sender.send_request(ask).await;
                if let Ok(mut response) = response {
                    let _ = response.body_mut().frame().await;
                    std::future::pending::<()>().await;
                }
            });
            bench.eventually("the callee runs", || bench.metric("berth_component_calls_in_flight", "") == 1.0).await;
            pending.abort();
            let _ = pending.await;
            let start = Instant::now();
            let what = format!("{caller} asks {callee} for {path}, {reuse:?}");
            bench.eventually(&format!("all stores are gone: {what}"), || bench.metric("berth_instances_live", "") == 0.0).await;
            let took = start.elapsed();
            assert!(took < Duration::from_secs(5), "{what}: {took:?}");
            stop(&bench).await;
        }
    }
}

/// In an instance that serves several, what one request asked of others ends with that request, while its neighbours go on.
#[tokio::test]
async fn l30_a_client_that_leaves_a_shared_instance_ends_what_was_called_for_it_alone() {
    let bench = Bench::with(|config| config.limits.request_timeout = Duration::from_secs(3600));
    for callee in CALLEES {
        let mut pair = pair("p3", callee, &Reuse::default());
        pair.components[0].reuse = Reuse { pool_size: 1, max_invocations: 0, max_concurrency: 4 };
        bench.run(pair).await;
        let mut stays = bench.connect().await;
        let neighbour = request("GET", "/stream?chunks=3&size=1&ms=1000");
        let mut neighbour = within(stays.send_request(neighbour)).await.unwrap();
        let mut sender = bench.connect().await;
        let pending = tokio::spawn(async move { sender.send_request(request("GET", &through("p3", "/never"))).await.is_ok() });
        bench.eventually("both run", || bench.metric("berth_component_calls_in_flight", "") == 1.0).await;
        pending.abort();
        bench.eventually("the callee is gone", || bench.metric("berth_component_calls_in_flight", "") == 0.0).await;
        assert_eq!(bench.metric("berth_instances_live", ""), 1.0, "the neighbour's instance lives");
        assert!(within(neighbour.body_mut().frame()).await.unwrap().is_ok());
        drop((neighbour, stays));
        stop(&bench).await;
    }
}

/// The pitfall that is the guest's own: it reads nothing before all is sent, and so waits for itself. Bounded all the same.
#[tokio::test]
async fn a_guest_that_sends_all_before_it_reads_stalls_on_an_echo_until_its_deadline() {
    let bench = Bench::start();
    let soon = Limits { request_timeout: Some(Duration::from_millis(800)), ..Limits::default() };
    for callee in CALLEES {
        bench.run(limited(pair("p2", callee, &Reuse::default()), soon, Limits::default())).await;
        let small = bench.get("/upload?to=back&path=/slow-read%3Fms%3D0&mb=1").await;
        assert_eq!(small.status, StatusCode::OK, "{}", small.body);
        assert_eq!(bench.get("/upload?to=back&path=/echo&mb=16").await.status, StatusCode::GATEWAY_TIMEOUT, "{callee}");
        stop(&bench).await;
    }
}

#[tokio::test]
async fn a_callees_limit_on_bodies_holds_for_its_siblings_too() {
    let bench = Bench::start();
    let small = Limits { max_request_body_bytes: Some(1000), ..Limits::default() };
    for caller in CALLERS {
        for callee in CALLEES {
            bench.run(limited(pair(caller, callee, &Reuse::default()), Limits::default(), small)).await;
            let mut large = request("POST", &through(caller, "/slow-read?ms=0"));
            *large.body_mut() = vec![0; 2000].into();
            let answer = bench.send(large).await;
            assert_ne!(answer.status, StatusCode::OK, "{caller} calls {callee}: {}", answer.body);
            stop(&bench).await;
        }
    }
}
