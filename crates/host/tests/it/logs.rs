//! What guests write and how they fail, where people look for it.

use berth_host::logs::Stream;
use berth_model::resource::Kind;
use berth_model::workload::Reuse;

use crate::harness::{Bench, request, reused, workload};

#[tokio::test]
async fn l44_output_is_lines_with_workload_component_and_request() {
    let bench = Bench::start();
    for guest in ["p2", "p3"] {
        bench.run(workload(guest, guest, &[guest])).await;
        let mut log = request("GET", "/log?lines=2");
        log.headers_mut().insert("host", guest.parse().unwrap());
        log.headers_mut().insert("x-request-id", "req-7".parse().unwrap());
        bench.send(log).await;
        bench.eventually("four lines", || bench.host.logs().tail("default", Some(guest), 100).len() == 4).await;
        for line in bench.host.logs().tail("default", Some(guest), 100) {
            assert_eq!((line.workload.as_str(), line.component.as_str(), line.request.as_deref()), (guest, guest, Some("req-7")));
            let expected = if line.stream == Stream::Stdout { "stdout line" } else { "stderr line" };
            assert!(line.text.starts_with(expected), "{line:?}");
        }
    }
}

#[tokio::test]
async fn l44_a_flood_of_lines_is_bounded_and_the_guest_still_answers() {
    let bench = Bench::with(|config| config.log_lines_per_second = 100);
    bench.run_guest("p2").await;
    assert_eq!(bench.get("/logflood?mb=4").await.body, "flooded\n");
    assert_eq!(bench.get("/logflood?mb=4&oneline=1").await.body, "flooded\n");
    let lines = bench.host.logs().tail("default", Some("p2"), 100_000);
    assert!(lines.len() <= 1000 && lines.iter().all(|l| l.text.len() <= 8 << 10), "{}", lines.len());
}

#[tokio::test]
async fn l43_a_trap_reaches_the_log_with_its_backtrace_and_the_workloads_events() {
    let bench = Bench::start();
    for guest in ["p2", "p3"] {
        bench.run(workload(guest, guest, &[guest])).await;
        bench.get_from(guest, "/trap").await;
        let lines = bench.host.logs().tail("default", Some(guest), 1000);
        let text: Vec<&str> = lines.iter().map(|l| l.text.as_str()).collect();
        let text = text.join("\n");
        assert!(text.contains("trapped") && text.contains("unreachable") && text.contains("backtrace"), "{text}");
        let events = bench.events.with_reason("Trapped");
        let event = events.last().unwrap();
        assert_eq!((event.kind, event.name.as_str()), (Kind::Workload, guest));
        assert!(event.message.contains("unreachable"), "{}", event.message);
    }
}

#[tokio::test]
async fn l45_the_figures_count_what_happened() {
    let bench = Bench::start();
    bench.run_guest("p2").await;
    for path in ["/", "/", "/status/404", "/trap"] {
        bench.get(path).await;
    }
    let figures = bench.host.figures().pop().unwrap();
    assert_eq!((figures.requests, figures.errors, figures.in_flight), (4, 1, 0));
    assert!(figures.p99 > std::time::Duration::ZERO);
    for (ended, count) in [("2xx", 2.0), ("4xx", 1.0), ("failed", 1.0)] {
        assert_eq!(bench.metric("berth_requests_total", &format!("ended=\"{ended}\"")), count, "{ended}");
    }
    assert_eq!(bench.metric("berth_request_seconds_count", "p2"), 4.0);
    assert_eq!(bench.metric("berth_cold_starts_total", "p2"), 4.0);
}

#[tokio::test]
async fn l44_a_line_that_a_request_left_unfinished_is_its_own() {
    let bench = Bench::start();
    for guest in ["p2", "p3"] {
        let one = Reuse { pool_size: 1, max_invocations: 0, max_concurrency: 0 };
        bench.run(reused(workload(guest, guest, &[guest]), one)).await;
        for (path, id) in [("/logflood?mb=1&oneline=1", "req-1"), ("/log?lines=1", "req-2")] {
            let mut ask = request("GET", path);
            ask.headers_mut().insert("host", guest.parse().unwrap());
            ask.headers_mut().insert("x-request-id", id.parse().unwrap());
            bench.send(ask).await;
        }
        let lines = || bench.host.logs().tail("default", Some(guest), 100);
        bench.eventually("three lines", || lines().len() == 3).await;
        for line in lines() {
            let expected = if line.text.starts_with('x') { "req-1" } else { "req-2" };
            assert_eq!(line.request.as_deref(), Some(expected), "{guest}: {line:?}");
            assert!(line.text.starts_with('x') || line.text.starts_with("std"), "{line:?}");
        }
    }
}
