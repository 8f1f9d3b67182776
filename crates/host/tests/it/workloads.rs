//! The life of workloads: what can't start says why, what stops finishes, and the wanted set is reached.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use berth_host::{State, Status, WantedWorkload};
use berth_model::image::ImageRef;
use http::StatusCode;

use crate::harness::{Bench, wanted, within, workload, workload_of};

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
    assert!(message.contains("wasi:http") && message.contains("add a component that exports it"), "{message}");
}

#[tokio::test]
async fn l31_a_table_that_begins_larger_than_the_hosts_largest_is_refused_with_the_flag_that_allows_it() {
    // A component of one core module of one table: 30,000 elements, in LEB128.
    let module = [b"\0asm\x01\0\0\0".as_slice(), &[4, 6, 1, 0x70, 0, 0xb0, 0xea, 0x01]].concat();
    let size = u8::try_from(module.len()).unwrap();
    let component = [b"\0asm\x0d\0\x01\0".as_slice(), &[1, size], &module].concat();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("table.wasm");
    std::fs::write(&file, component).unwrap();
    let bench = Bench::with(|config| config.limits.table_elements = 10);
    let (reason, message) = refused(&bench, &file).await;
    assert_eq!(reason, "TableLimit", "{message}");
    for words in ["30000 elements", "largest is 20000", "--table-elements 30000"] {
        assert!(message.contains(words), "{words}: {message}");
    }
    let bench = Bench::with(|config| config.limits.table_elements = 30_000);
    assert_eq!(refused(&bench, &file).await.0, "NoHttpExport", "the flag helps");
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
    // Replicas are drawn, so that one of five gets none of 100 requests about once in a thousand million times.
    for _ in 0..100 {
        bench.get("/").await;
    }
    let figures = bench.host.figures();
    assert!(figures.iter().all(|f| f.requests > 0), "each replica gets requests: {figures:?}");
}

/// The only workload's status.
fn only(bench: &Bench) -> Option<Status> {
    let mut all = bench.host.statuses();
    assert!(all.len() <= 1, "{all:?}");
    all.pop()
}

fn missing(name: &str, domains: &[&str]) -> WantedWorkload {
    wanted(workload_of(name, ImageRef::File("/nowhere/missing.wasm".into()), domains))
}

#[tokio::test]
async fn l12_an_edit_of_domains_takes_effect_with_its_image_or_not_at_all() {
    let bench = Bench::start();
    let of = |guest: &str, domain: &str| vec![wanted(workload("w", guest, &[domain]))];
    bench.host.set_wanted(of("p2", "old"));
    bench.eventually("it serves", || only(&bench).is_some_and(|s| s.ready)).await;

    bench.host.set_wanted(of("p2-no-http", "new"));
    bench.eventually("the failure is told", || only(&bench).is_some_and(|s| s.reason == "NoHttpExport")).await;
    assert_eq!(bench.get_from("old", "/").await.headers["x-guest"], "p2");
    assert_eq!(bench.get_from("new", "/").await.status, StatusCode::NOT_FOUND);

    let mut without = missing("w", &[]);
    without.workload.http = None;
    bench.host.set_wanted(vec![without]);
    bench.eventually("the failure is told", || only(&bench).is_some_and(|s| s.reason == "ImagePullFailed")).await;
    bench.run(workload("other", "p2-hello", &["other"])).await;
    assert_eq!(bench.get_from("old", "/").await.status, StatusCode::OK);
    assert_eq!(bench.get_from("new", "/").await.status, StatusCode::NOT_FOUND, "what claims nothing doesn't claim the default");
    let id = "default-w".parse().unwrap();
    assert!(bench.host.status(&id).unwrap().ready);

    bench.host.set_wanted(of("p3", "new"));
    bench.eventually("the edit serves", || bench.host.status(&id).is_some_and(|s| s.reason.is_empty())).await;
    assert_eq!(bench.get_from("new", "/").await.headers["x-guest"], "p3");
    assert_eq!(bench.get_from("old", "/").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn l12_a_host_that_is_its_own_alias_is_one_claim() {
    let bench = Bench::start();
    bench.run(workload("first", "p2-hello", &["a", "a"])).await;
    let second = bench.run(workload("second", "p2-hello", &["a", "b", "a"])).await;
    let second = bench.host.status(&second.id).unwrap();
    assert_eq!(second.conflicts, [("a".to_owned(), "default/first".to_owned())]);
    assert!(second.ready, "b leads to it");
}

#[tokio::test]
async fn l06_a_workload_that_is_wanted_again_while_it_stops_starts_again() {
    let bench = Bench::start();
    let set = || vec![wanted(workload("w", "p2", &[]))];
    bench.host.set_wanted(set());
    bench.eventually("it serves", || only(&bench).is_some_and(|s| s.ready)).await;
    for again in [true, false] {
        let slow = bench.get("/sleep?ms=800");
        let change = async {
            bench.eventually("it runs", || bench.host.in_flight() == 1).await;
            bench.host.set_wanted(Vec::new());
            assert_eq!(only(&bench).unwrap().state, State::Stopping);
            bench.host.set_wanted(set());
            assert_eq!(only(&bench).unwrap().state, State::Stopping, "first it finishes its request");
            if !again {
                bench.host.set_wanted(Vec::new());
            }
        };
        let (slow, ()) = tokio::join!(slow, change);
        assert_eq!(slow.status, StatusCode::OK);
        if again {
            bench.eventually("it serves again", || only(&bench).is_some_and(|s| s.ready)).await;
        } else {
            bench.eventually("it is gone", || only(&bench).is_none()).await;
        }
    }
}

#[tokio::test]
async fn l44_a_workload_applied_again_under_its_name_keeps_its_log_when_the_old_one_goes() {
    let bench = Bench::start();
    let of = |id: &str, domain: &str| WantedWorkload { id: id.parse().unwrap(), ..wanted(workload("w", "p2", &[domain])) };
    bench.host.set_wanted(vec![of("uid-1", "one")]);
    bench.eventually("it serves", || only(&bench).is_some_and(|s| s.ready)).await;
    let slow = bench.get_from("one", "/sleep?ms=1500");
    let change = async {
        bench.eventually("it runs", || bench.host.in_flight() == 1).await;
        bench.host.set_wanted(vec![of("uid-2", "two")]);
        bench.eventually("the new one serves", || bench.host.statuses().iter().any(|s| s.ready)).await;
        assert_eq!(bench.get_from("two", "/log?lines=1").await.status, StatusCode::OK);
        assert_eq!(bench.host.statuses().len(), 2, "the old one still stops");
        assert_eq!(bench.host.figures().len(), 1, "one series per name");
    };
    let (slow, ()) = tokio::join!(slow, change);
    assert_eq!(slow.status, StatusCode::OK);
    bench.eventually("the old one is gone", || bench.host.statuses().len() == 1).await;
    assert!(!bench.host.logs().tail("default", Some("w"), 100).is_empty());
    assert_eq!(bench.metric("berth_requests_total", r#"workload="w",ended="2xx""#), 2.0);
    bench.host.set_wanted(Vec::new());
    bench.eventually("both are gone", || bench.host.statuses().is_empty()).await;
    assert!(bench.host.figures().is_empty());
    assert!(!bench.host.logs().tail("default", Some("w"), 100).is_empty(), "the last lines stay for who asks why");
}

#[tokio::test]
async fn l34_what_runs_past_the_grace_period_is_cut() {
    let bench = Bench::with(|config| config.drain_grace = Duration::from_millis(200));
    for guest in ["p2", "p3"] {
        bench.run_guest(guest).await;
        let start = Instant::now();
        let slow = bench.get("/sleep?ms=60000");
        let stop = async {
            bench.eventually("it runs", || bench.host.in_flight() == 1).await;
            bench.host.stop_workload(&format!("default-{guest}").parse().unwrap()).unwrap();
        };
        let (slow, ()) = tokio::join!(slow, stop);
        assert!(slow.status.is_server_error() && start.elapsed() < Duration::from_secs(20), "{slow:?}");
        bench.eventually("it is gone", || bench.host.statuses().is_empty() && bench.host.in_flight() == 0).await;
    }
}

#[tokio::test]
async fn l34_an_edit_cuts_the_requests_of_the_old_form_after_the_grace_period() {
    let bench = Bench::with(|config| config.drain_grace = Duration::from_millis(200));
    let of = |guest: &str| vec![wanted(workload("w", guest, &[]))];
    bench.host.set_wanted(of("p2"));
    bench.eventually("p2 serves", || only(&bench).is_some_and(|s| s.ready)).await;
    let slow = bench.get("/sleep?ms=60000");
    let edit = async {
        bench.eventually("it runs", || bench.host.in_flight() == 1).await;
        bench.host.set_wanted(of("p3"));
    };
    let (slow, ()) = tokio::join!(slow, edit);
    assert!(slow.status.is_server_error(), "{slow:?}");
    assert_eq!(bench.get("/").await.headers["x-guest"], "p3");
}

#[tokio::test]
async fn l05_why_a_workload_failed_is_in_its_log_also_when_it_is_gone() {
    let bench = Bench::start();
    bench.host.set_wanted(vec![missing("w-1", &[])]);
    bench.eventually("it failed", || only(&bench).is_some_and(|s| s.state == State::Error)).await;
    bench.host.set_wanted(Vec::new());
    bench.eventually("it is gone", || only(&bench).is_none()).await;
    let status = bench.host.start_workload(missing("w-2", &[])).await;
    assert_eq!(status.state, State::Error);
    for name in ["w-1", "w-2", "w"] {
        let lines = bench.host.logs().tail("default", Some(name), 100);
        assert!(lines.iter().any(|line| line.text.contains("/nowhere/missing.wasm")), "{name}: {lines:?}");
    }
}

#[tokio::test]
async fn a_failed_workload_is_replaced_by_one_that_is_started_under_its_id() {
    let bench = Bench::start();
    bench.host.set_wanted(vec![missing("w", &[])]);
    bench.eventually("it failed", || only(&bench).is_some_and(|s| s.state == State::Error)).await;
    bench.run(workload("w", "p2-hello", &[])).await;
    assert_eq!(bench.get("/").await.status, StatusCode::OK);
    assert_eq!(bench.host.figures().len(), 1);
}

#[tokio::test]
async fn a_host_that_has_ended_starts_nothing_and_says_so() {
    let (drained, killed) = (Bench::start(), Bench::start());
    killed.run_guest("p2-hello").await;
    drained.host.drain(Duration::from_secs(1)).await;
    killed.host.kill();
    for bench in [drained, killed] {
        assert!(bench.host.statuses().is_empty());
        let status = within(bench.host.start_workload(wanted(workload("late", "p2-hello", &[])))).await;
        assert_eq!((status.state, status.reason.as_str()), (State::Error, "HostStopping"));
    }
}

#[tokio::test]
async fn a_host_that_is_dropped_leaves_no_task_behind() {
    let bench = Bench::start();
    bench.run_guest("p2").await;
    bench.host.set_wanted(vec![wanted(workload("p2", "p2", &[])), missing("broken", &[])]);
    let Bench { host, events } = bench;
    drop(host);
    let gone = async {
        let mut tick = tokio::time::interval(Duration::from_millis(5));
        while Arc::strong_count(&events) > 1 {
            tick.tick().await;
        }
    };
    within(gone).await;
}
