//! The life of workloads: what can't start says why, what stops finishes, and the wanted set is reached.

use std::path::Path;
use std::time::Duration;

use berth_host::State;
use berth_model::image::ImageRef;
use http::StatusCode;

use crate::harness::{Bench, wanted, workload, workload_of};

async fn refused(bench: &Bench, image: &Path) -> (String, String) {
    let status = bench.host.start_workload(wanted(workload_of("bad", ImageRef::File(image.to_owned()), &[]))).await;
    assert_eq!(status.state, State::Error, "{status:?}");
    assert!(bench.host.statuses().is_empty(), "a failed start leaves its id free");
    (status.reason, status.message)
}

#[tokio::test]
async fn a_file_that_is_no_http_component_is_refused_by_what_it_is() {
    let bench = Bench::start();
    let dir = tempfile::tempdir().unwrap();
    let whole = berth_testkit::guests::bytes("p2-hello");
    for (name, bytes, words) in [
        ("empty", &b""[..], "empty"),
        ("module", b"\0asm\x01\0\0\0", "core WebAssembly module"),
        ("text", b"hello there", "not WebAssembly"),
        ("wat", b"(component)", "text"),
        ("truncated", &whole[..whole.len() / 2], "cut off"),
    ] {
        let file = dir.path().join(name);
        std::fs::write(&file, bytes).unwrap();
        let (reason, message) = refused(&bench, &file).await;
        assert_eq!(reason, "InvalidComponent", "{message}");
        assert!(message.contains(words) && message.contains(name), "{message}");
    }
    let (reason, message) = refused(&bench, &dir.path().join("missing.wasm")).await;
    assert!(reason == "ImagePullFailed" && message.contains("missing.wasm"), "{message}");
    let (reason, message) = refused(&bench, &berth_testkit::guests::path("p2-no-http")).await;
    assert!(reason == "NoHttpExport" && message.contains("wasi:cli/run"), "{message}");
    let (reason, message) = refused(&bench, &berth_testkit::guests::path("p2-missing-import")).await;
    assert!(reason == "MissingImport" && message.contains("acme:widgets/store@1.2.0"), "{message}");
}

#[tokio::test]
async fn with_wasi_03_off_a_03_component_is_refused_by_name_and_02_runs() {
    let bench = Bench::with(|config| config.wasi_p3 = false);
    let (reason, message) = refused(&bench, &berth_testkit::guests::path("p3-hello")).await;
    assert!(reason == "WasiP3Disabled" && message.contains("WASI 0.3") && message.contains("bad"), "{message}");
    bench.run_guest("p2").await;
    assert_eq!(bench.get("/").await.status, StatusCode::OK);
}

#[tokio::test]
async fn an_id_that_runs_is_not_started_again() {
    let bench = Bench::start();
    bench.run_guest("p2-hello").await;
    let again = bench.host.start_workload(wanted(workload("p2-hello", "p2-hello", &[]))).await;
    assert_eq!(again.state, State::Error);
    assert!(again.message.contains("Workload ID [default-p2-hello] already exists"), "{}", again.message);
    assert_eq!(bench.get("/").await.status, StatusCode::OK);
}

#[tokio::test]
async fn l08_a_workload_that_stops_gets_no_new_request_and_finishes_those_it_has() {
    let bench = Bench::start();
    bench.run_guest("p2").await;
    let slow = bench.get("/sleep?ms=800");
    let stop = async {
        bench.eventually("it runs", || bench.host.in_flight() == 1).await;
        let status = bench.host.stop_workload(&"default-p2".parse().unwrap()).unwrap();
        assert_eq!(status.state, State::Stopping);
        assert_eq!(bench.get("/").await.status, StatusCode::NOT_FOUND);
    };
    let (slow, ()) = tokio::join!(slow, stop);
    assert_eq!(slow.status, StatusCode::OK);
    bench.eventually("it is gone", || bench.host.statuses().is_empty()).await;
    assert!(bench.host.stop_workload(&"default-p2".parse().unwrap()).is_none());
}

#[tokio::test]
async fn l34_a_drain_finishes_requests_and_accepts_no_more() {
    let bench = Bench::start();
    bench.run_guest("p3").await;
    let addr = bench.host.http_addr();
    let slow = bench.get("/sleep?ms=800");
    let drain = async {
        bench.eventually("it runs", || bench.host.in_flight() == 1).await;
        bench.host.drain(Duration::from_secs(20)).await;
        assert!(tokio::net::TcpStream::connect(addr).await.is_err());
    };
    let (slow, ()) = tokio::join!(slow, drain);
    assert_eq!(slow.status, StatusCode::OK);
    assert!(bench.host.statuses().is_empty());
}

#[tokio::test]
async fn l06_the_wanted_set_is_reached_whatever_runs() {
    let bench = Bench::start();
    let set = |names: &[&str]| names.iter().map(|n| wanted(workload(n, "p2", &[n]))).collect::<Vec<_>>();
    let running = |bench: &Bench| -> Vec<String> {
        bench.host.statuses().into_iter().filter(|s| s.state == State::Running).map(|s| s.name).collect()
    };
    bench.host.set_wanted(set(&["a", "b"]));
    bench.eventually("a and b run", || running(&bench) == ["a", "b"]).await;
    bench.host.set_wanted(set(&["b", "c"]));
    bench.eventually("b and c run", || running(&bench) == ["b", "c"] && bench.host.statuses().len() == 2).await;
    assert_eq!(bench.get_from("a", "/").await.status, StatusCode::NOT_FOUND);
    assert_eq!(bench.get_from("c", "/").await.status, StatusCode::OK);
    bench.host.set_wanted(Vec::new());
    bench.eventually("nothing runs", || bench.host.statuses().is_empty()).await;
}

#[tokio::test]
async fn l12_a_changed_workload_is_replaced_without_a_gap_and_a_broken_change_takes_nothing_away() {
    let bench = Bench::start();
    let of = |guest: &str| vec![wanted(workload("w", guest, &[]))];
    bench.host.set_wanted(of("p2"));
    bench.eventually("p2 serves", || bench.host.statuses().iter().any(|s| s.ready)).await;
    let mut changes = bench.host.changes();
    bench.host.set_wanted(of("p3"));
    loop {
        let guest = bench.get("/").await.headers["x-guest"].clone();
        if guest == "p3" {
            break;
        }
        assert_eq!(guest, "p2");
        let _ = changes.has_changed();
    }
    bench.host.set_wanted(of("p2-no-http"));
    bench.eventually("the failure is told", || bench.host.statuses()[0].reason == "NoHttpExport").await;
    assert_eq!(bench.host.statuses()[0].state, State::Running);
    assert_eq!(bench.get("/").await.headers["x-guest"], "p3");
    changes.mark_unchanged();
}

#[tokio::test]
async fn l37_replicas_of_one_component_compile_it_once() {
    let bench = Bench::start();
    let set = (0..5).map(|n| wanted(workload(&format!("r{n}"), "p2-hello", &[]))).map(|mut w| {
        w.owner = "default/r".into();
        w
    });
    bench.host.set_wanted(set.collect());
    bench.eventually("all run", || bench.host.statuses().iter().filter(|s| s.ready).count() == 5).await;
    assert_eq!(bench.metric("berth_compiles_total", ""), 1.0);
    for _ in 0..20 {
        bench.get("/").await;
    }
    let figures = bench.host.figures();
    assert!(figures.iter().all(|f| f.requests > 0), "each replica gets requests: {figures:?}");
}
