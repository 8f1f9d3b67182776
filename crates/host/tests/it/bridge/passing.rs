//! What passes: heads, bodies, trailers, identity; streamed and held back.

use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Frame;

use super::{CALLEES, CALLERS, pair, pairs, through};
use crate::harness::{Bench, read, request, within};
use berth_model::workload::Reuse;

#[tokio::test]
async fn a_request_and_its_response_pass_between_all_pairs_of_versions() {
    let bench = Bench::start();
    for (caller, callee, reuse) in pairs() {
        let what = format!("{caller} calls {callee}, {reuse:?}");
        bench.run(pair(caller, callee, &reuse)).await;
        for _ in 0..3 {
            let mut echo = request("POST", &through(caller, "/echo"));
            echo.headers_mut().insert("content-type", "text/x-passed".parse().unwrap());
            *echo.body_mut() = Full::new(Bytes::from_static(b"over the bridge"));
            let answer = bench.send(echo).await;
            assert_eq!((answer.status, answer.body.as_str()), (StatusCode::OK, "over the bridge"), "{what}");
            assert_eq!(answer.headers["content-type"], "text/x-passed", "{what}");
        }
        let answer = bench.get(&through(caller, "/status/418")).await;
        assert_eq!((answer.status.as_u16(), answer.body.as_str()), (418, "status 418\n"), "{what}");
        if caller == "p3-middleware" {
            assert_eq!(answer.headers["x-passed"], "p3-middleware", "{what}");
        }
        bench.host.stop_workload(&"default-pair".parse().unwrap()).unwrap();
        bench.eventually("it is gone", || bench.host.statuses().is_empty() && bench.metric("berth_instances_live", "") == 0.0).await;
    }
}

#[tokio::test]
async fn a_callee_sees_who_it_is_called_for_and_no_host_but_its_own_name() {
    let bench = Bench::start();
    for (caller, callee) in [("p2", "p3"), ("p3", "p2"), ("p3-middleware", "p2"), ("p3-middleware", "p3")] {
        bench.run(pair(caller, callee, &Reuse::default())).await;
        let mut headers = request("GET", &through(caller, "/headers"));
        headers.headers_mut().insert("x-request-id", "req-9".parse().unwrap());
        let seen = bench.send(headers).await.body;
        assert!(seen.contains("\"x-request-id\":[\"req-9\"]"), "{caller} calls {callee}: {seen}");
        // A request that is handed on keeps its authority.
        let authority = if caller == "p3-middleware" { "localhost" } else { "back.workload.internal" };
        assert!(seen.contains(&format!("\":authority\":[\"{authority}\"]")), "{caller} calls {callee}: {seen}");
        assert_eq!(bench.get(&through(caller, "/log")).await.status, StatusCode::OK);
        let logged =
            || bench.host.logs().tail("default", Some("pair"), 100).iter().any(|line| line.component == "back" && line.request.is_some());
        bench.eventually("the callee's lines are its own", logged).await;
        bench.host.stop_workload(&"default-pair".parse().unwrap()).unwrap();
        bench.eventually("it is gone", || bench.host.statuses().is_empty()).await;
    }
}

#[tokio::test]
async fn sixteen_mebibytes_stream_both_ways_with_little_memory() {
    let bench = Bench::start();
    let chunk = Bytes::from(vec![b'x'; 64 << 10]);
    for (caller, callee, reuse) in pairs() {
        let what = format!("{caller} calls {callee}, {reuse:?}");
        bench.run(pair(caller, callee, &reuse)).await;
        let chunk = chunk.clone();
        let frames = futures::stream::iter((0..256).map(move |_| Ok::<_, std::io::Error>(Frame::data(chunk.clone()))));
        let mut sender = bench.connect_with().await;
        let echo = http::Request::post(through(caller, "/echo")).header("host", "localhost").body(StreamBody::new(frames)).unwrap();
        let mut response = within(sender.send_request(echo)).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK, "{what}");
        let (mut received, mut most) = (0, 0.0_f64);
        while let Some(frame) = within(response.body_mut().frame()).await {
            received += frame.unwrap_or_else(|e| panic!("{what}: after {received}: {e}")).data_ref().map_or(0, Bytes::len);
            most = most.max(bench.metric("berth_guest_memory_bytes", ""));
        }
        assert_eq!(received, 16 << 20, "{what}");
        assert!(most < 12e6, "{what}: {most} bytes for both guests");
        drop(sender);
        bench.host.stop_workload(&"default-pair".parse().unwrap()).unwrap();
        bench.eventually("it is gone", || bench.host.statuses().is_empty() && bench.metric("berth_instances_live", "") == 0.0).await;
    }
}

#[tokio::test]
async fn trailers_pass_between_all_pairs_of_versions() {
    let bench = Bench::start();
    for (caller, callee, reuse) in pairs() {
        bench.run(pair(caller, callee, &reuse)).await;
        let trailers = [("x-sum", "42")].into_iter().map(|(k, v)| (k.parse().unwrap(), v.parse().unwrap())).collect();
        let frames = [Ok::<_, std::io::Error>(Frame::data(Bytes::from_static(b"data"))), Ok(Frame::trailers(trailers))];
        let mut sender = bench.connect_http2().await;
        let echo = http::Request::post(format!("http://localhost{}", through(caller, "/echo"))).header("te", "trailers");
        let echo = echo.body(StreamBody::new(futures::stream::iter(frames))).unwrap();
        let answer = within(read(within(sender.send_request(echo)).await.unwrap())).await.unwrap();
        let sum = answer.trailers.get("x-sum").map(|v| v.to_str().unwrap());
        assert_eq!((answer.body.as_str(), sum), ("data", Some("42")), "{caller} calls {callee}, {reuse:?}");
        bench.host.stop_workload(&"default-pair".parse().unwrap()).unwrap();
        bench.eventually("it is gone", || bench.host.statuses().is_empty()).await;
    }
}

#[tokio::test]
async fn a_chunk_passes_before_the_next_is_written() {
    let bench = Bench::start();
    for caller in CALLERS {
        for callee in CALLEES {
            bench.run(pair(caller, callee, &Reuse::default())).await;
            let mut sender = bench.connect().await;
            let stream = request("GET", &through(caller, "/stream?chunks=2&size=4&ms=500"));
            let mut response = within(sender.send_request(stream)).await.unwrap();
            let first = within(response.body_mut().frame()).await.unwrap().unwrap();
            assert_eq!(first.into_data().unwrap().len(), 4, "{caller} calls {callee}");
            assert_eq!(within(response.into_body().collect()).await.unwrap().to_bytes().len(), 4);
            bench.host.stop_workload(&"default-pair".parse().unwrap()).unwrap();
            bench.eventually("it is gone", || bench.host.statuses().is_empty()).await;
        }
    }
}

#[tokio::test]
async fn l31_a_callee_is_held_back_by_its_callers_reader_and_goes_with_it() {
    let bench = Bench::with(|config| config.limits.request_timeout = Duration::from_secs(60));
    for caller in CALLERS {
        for callee in CALLEES {
            bench.run(pair(caller, callee, &Reuse::default())).await;
            let mut sender = bench.connect().await;
            let stream = request("GET", &through(caller, "/stream?chunks=100000&size=65536"));
            let response = within(sender.send_request(stream)).await.unwrap();
            // 6.5 GB would come; nothing is read, so next to nothing may be held.
            let mut tick = tokio::time::interval(Duration::from_millis(50));
            for _ in 0..6 {
                tick.tick().await;
            }
            assert!(bench.metric("berth_guest_memory_bytes", "") < 12e6, "{caller} calls {callee}");
            // The caller's instance is needed no more where it hands the body on as it is.
            let live = bench.metric("berth_instances_live", "");
            assert!(live == 2.0 || caller == "p3-middleware" && live == 1.0, "{caller} calls {callee}: {live}");
            drop((response, sender));
            bench.eventually("both are gone with their client", || bench.metric("berth_instances_live", "") == 0.0).await;
            bench.host.stop_workload(&"default-pair".parse().unwrap()).unwrap();
            bench.eventually("it is gone", || bench.host.statuses().is_empty()).await;
        }
    }
}

#[tokio::test]
async fn a_callee_may_work_on_after_its_answer_and_the_workload_waits_for_it() {
    let bench = Bench::start();
    for (caller, callee) in [("p2", "p2"), ("p2", "p3"), ("p3", "p2"), ("p3-middleware", "p3")] {
        bench.run(pair(caller, callee, &Reuse::default())).await;
        assert_eq!(bench.get(&through(caller, "/late?ms=300")).await.body, "answered\n", "{caller} calls {callee}");
        assert_eq!(bench.metric("berth_component_calls_in_flight", ""), 1.0, "{caller} calls {callee}");
        bench.host.stop_workload(&"default-pair".parse().unwrap()).unwrap();
        let mut lines = Vec::new();
        let worked_on = || {
            lines.extend(bench.host.logs().tail("default", Some("pair"), 10).into_iter().map(|line| line.text.clone()));
            lines.iter().any(|line| line == "worked on")
        };
        bench.eventually("it worked on", worked_on).await;
        bench.eventually("it is gone", || bench.host.statuses().is_empty()).await;
    }
}

#[tokio::test]
async fn a_callee_with_reuse_is_reused_for_calls_too() {
    let bench = Bench::start();
    for caller in CALLERS {
        for callee in CALLEES {
            let mut pair = pair(caller, callee, &Reuse::default());
            pair.components[1].reuse = Reuse { pool_size: 1, max_invocations: 0, max_concurrency: 0 };
            bench.run(pair).await;
            for count in 1..=3 {
                let answer = bench.get(&through(caller, "/count")).await;
                assert_eq!(answer.body, format!("{count}\n"), "{caller} calls {callee}");
            }
            bench.host.stop_workload(&"default-pair".parse().unwrap()).unwrap();
            bench.eventually("it is gone", || bench.host.statuses().is_empty()).await;
        }
    }
}
