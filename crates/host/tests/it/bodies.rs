//! Bodies and trailers: streamed both ways, bounded, and cut when they should be.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http::StatusCode;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Frame;

use crate::harness::{Bench, limited, read, request, reused, within, workload};
use berth_model::limits::Limits;
use berth_model::workload::Reuse;

#[tokio::test]
async fn sixteen_mebibytes_are_echoed_in_both_versions() {
    let bench = Bench::start();
    let sent = Bytes::from(vec![b'x'; 16 << 20]);
    for guest in ["p2", "p3"] {
        bench.run(workload(guest, guest, &[guest])).await;
        let mut echo = request("POST", "/echo");
        echo.headers_mut().insert("host", guest.parse().unwrap());
        *echo.body_mut() = Full::new(sent.clone());
        let answer = bench.send(echo).await;
        assert_eq!((answer.status, answer.body.len()), (StatusCode::OK, sent.len()), "{guest}");
    }
}

#[tokio::test]
async fn trailers_pass_through_a_guest() {
    let bench = Bench::start();
    for guest in ["p2", "p3"] {
        bench.run(workload(guest, guest, &[guest])).await;
        let trailers = [("x-sum", "42")].into_iter().map(|(k, v)| (k.parse().unwrap(), v.parse().unwrap())).collect();
        let frames = [Ok::<_, std::io::Error>(Frame::data(Bytes::from_static(b"data"))), Ok(Frame::trailers(trailers))];
        let body = StreamBody::new(futures::stream::iter(frames));
        let mut sender = bench.connect_http2().await;
        let echo = http::Request::post(format!("http://{guest}/echo")).header("te", "trailers");
        let answer = within(read(within(sender.send_request(echo.body(body).unwrap())).await.unwrap())).await.unwrap();
        assert_eq!((answer.body.as_str(), answer.trailers.get("x-sum").map(|v| v.to_str().unwrap())), ("data", Some("42")), "{guest}");
    }
}

#[tokio::test]
async fn an_answer_streams_before_it_is_complete() {
    let bench = Bench::start();
    for guest in ["p2", "p3"] {
        bench.run(workload(guest, guest, &[guest])).await;
        let mut sender = bench.connect().await;
        let mut stream = request("GET", "/stream?chunks=3&size=4&ms=300");
        stream.headers_mut().insert("host", guest.parse().unwrap());
        let mut response = within(sender.send_request(stream)).await.unwrap();
        let first = within(response.body_mut().frame()).await.unwrap().unwrap();
        assert_eq!(first.into_data().unwrap().len(), 4, "{guest}: a chunk by itself");
        assert_eq!(within(response.into_body().collect()).await.unwrap().to_bytes().len(), 8);
    }
}

#[tokio::test]
async fn l43_a_trap_after_the_head_is_no_clean_end() {
    let bench = Bench::start();
    for guest in ["p2", "p3"] {
        bench.run(workload(guest, guest, &[guest])).await;
        let mut sender = bench.connect().await;
        let mut trap = request("GET", "/trap-after-head");
        trap.headers_mut().insert("host", guest.parse().unwrap());
        let cut = match within(sender.send_request(trap)).await {
            Ok(response) => within(read(response)).await.is_err(),
            Err(_) => true,
        };
        assert!(cut, "{guest}: the client must see that the answer is not whole");
    }
    bench.eventually("both traps are events", || bench.events.with_reason("Trapped").len() == 2).await;
}

#[tokio::test]
async fn l31_a_body_beyond_its_limit_is_refused_with_413_or_cut() {
    let bench = Bench::start();
    let limits = Limits { max_request_body_bytes: Some(1000), ..Limits::default() };
    bench.run(limited(workload("p2", "p2", &[]), limits)).await;
    let mut large = request("POST", "/echo");
    *large.body_mut() = Full::new(Bytes::from(vec![0; 1001]));
    let answer = bench.send(large).await;
    assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert!(answer.body.contains("limits.maxRequestBody"), "{}", answer.body);

    // Without a length it is cut on the way.
    let frames = futures::stream::repeat_with(|| Ok::<_, std::io::Error>(Frame::data(Bytes::from(vec![0; 600]))));
    let body = StreamBody::new(futures::StreamExt::take(frames, 10));
    let mut sender = bench.connect_with().await;
    let endless = http::Request::post("/slow-read?size=100&ms=0").header("host", "x").body(body).unwrap();
    if let Ok(response) = within(sender.send_request(endless)).await {
        assert_ne!(within(read(response)).await.map(|a| a.status).unwrap_or(StatusCode::BAD_REQUEST), StatusCode::OK);
    }
}

#[tokio::test]
async fn l31_a_guest_is_held_back_by_a_slow_reader() {
    let bench = Bench::with(|config| config.limits.request_timeout = Duration::from_secs(60));
    for guest in ["p2", "p3"] {
        bench.run(workload(guest, guest, &[guest])).await;
        let mut sender = bench.connect().await;
        let mut stream = request("GET", "/stream?chunks=100000&size=65536");
        stream.headers_mut().insert("host", guest.parse().unwrap());
        let response = within(sender.send_request(stream)).await.unwrap();
        // 6.5 GB would come; nothing is read, so next to nothing may be held: the guest waits, alive.
        let mut tick = tokio::time::interval(Duration::from_millis(50));
        for _ in 0..10 {
            tick.tick().await;
        }
        assert!(bench.metric("berth_guest_memory_bytes", "") < 64e6);
        assert_eq!(bench.metric("berth_instances_live", ""), 1.0, "{guest}");
        drop(response);
        drop(sender);
        bench.eventually("the guest is gone with its client", || bench.metric("berth_instances_live", "") == 0.0).await;
    }
}

/// A client that sends a byte of its body from time to time, and its response.
#[tokio::test]
async fn l31_a_body_that_comes_byte_by_byte_holds_its_slot_no_longer_than_the_request_may_last() {
    let bench = Bench::start();
    for guest in ["p2", "p3"] {
        let limits = Limits { request_timeout: Some(Duration::from_millis(400)), ..Limits::default() };
        bench.run(limited(workload(guest, guest, &[guest]), limits)).await;
        let bytes = futures::stream::unfold(tokio::time::interval(Duration::from_millis(20)), |mut tick| async {
            tick.tick().await;
            Some((Ok::<_, std::io::Error>(Frame::data(Bytes::from_static(b"x"))), tick))
        });
        let mut sender = bench.connect_with().await;
        let slow = http::Request::post("/slow-read?ms=0").header("host", guest).body(StreamBody::new(Box::pin(bytes))).unwrap();
        if let Ok(response) = within(sender.send_request(slow)).await {
            assert_eq!(response.status(), StatusCode::GATEWAY_TIMEOUT, "{guest}");
        }
        bench.eventually("its slot is free", || bench.host.in_flight() == 0).await;
        assert_eq!(bench.metric("berth_requests_total", &format!("workload=\"{guest}\",ended=\"timeout\"")), 1.0, "{guest}");
    }
}

/// A finished guest needs no reader, and one that writes on is cut at its deadline.
#[tokio::test]
async fn l31_a_client_that_reads_nothing_holds_a_slot_no_longer_than_its_request_may_last() {
    let bench = Bench::start();
    for (guest, reuse) in [("p2", 0), ("p2", 1), ("p3", 0), ("p3", 1)] {
        let name = format!("{guest}-{reuse}");
        let limits = Limits { request_timeout: Some(Duration::from_millis(400)), ..Limits::default() };
        let reuse = Reuse { pool_size: reuse, ..Reuse::default() };
        bench.run(reused(limited(workload(&name, guest, &[&name]), limits), reuse)).await;
        let (mut held, start) = (Vec::new(), Instant::now());
        for path in ["/stream?chunks=100000&size=65536", "/stream?chunks=2&size=65536", "/"] {
            let (mut http1, mut http2) = (bench.connect().await, bench.connect_http2::<Full<Bytes>>().await);
            let mut get = request("GET", path);
            get.headers_mut().insert("host", name.parse().unwrap());
            let first = within(http1.send_request(get)).await.unwrap();
            let get = http::Request::get(format!("http://{name}{path}")).body(Full::default()).unwrap();
            let second = within(http2.send_request(get)).await.unwrap();
            held.push((http1, http2, first, second));
        }
        bench.eventually("all slots are free", || bench.host.in_flight() == 0).await;
        // The ingress cuts such a client after 60 s.
        assert!(start.elapsed() < Duration::from_secs(30), "{name}: {:?}", start.elapsed());
    }
}

#[tokio::test]
async fn l45_a_request_whose_client_leaves_is_counted_once_and_in_flight_until_then() {
    let bench = Bench::start();
    for guest in ["p2", "p3"] {
        bench.run(workload(guest, guest, &[guest])).await;
        let mut sender = bench.connect().await;
        let mut stream = request("GET", "/stream?chunks=100000&size=65536");
        stream.headers_mut().insert("host", guest.parse().unwrap());
        let response = within(sender.send_request(stream)).await.unwrap();
        assert_eq!(bench.metric("berth_requests_in_flight", guest), 1.0, "{guest}: its body still streams");
        drop((response, sender));
        let counted = |ended: &str| bench.metric("berth_requests_total", &format!("workload=\"{guest}\",ended=\"{ended}\""));
        bench.eventually("it is counted", || counted("cancelled") == 1.0).await;
        assert_eq!(counted("2xx"), 0.0, "{guest}");
        bench.eventually("its slot is free", || bench.metric("berth_requests_in_flight", guest) == 0.0).await;
        bench.get_from(guest, "/").await;
        assert_eq!(counted("2xx"), 1.0, "{guest}");
    }
}
