//! Starting again what is known: linked components whose plan and code are in memory or on disk are neither planned nor composed.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use berth_host::{CodeCache, CodeSettings};
use berth_model::image::ImageRef;
use berth_model::workload::{HttpEntry, Link, Reuse, Workload};
use http::StatusCode;

use crate::harness::Bench;
use crate::linking::{component, front, front_p3, linked};

const GRACE: Duration = Duration::from_secs(10);

/// A host that keeps its code in `folder`.
fn bench(folder: &Path) -> Bench {
    let code = Arc::new(CodeCache::open(CodeSettings::in_folder(folder.to_owned())).unwrap());
    Bench::with(|config| config.code = Some(code))
}

/// How many components were composed, plans made, and components compiled.
fn work(bench: &Bench) -> (f64, f64, f64) {
    let count = |name: &str| bench.metric(name, "");
    (count("berth_compositions_total"), count("berth_link_plans_total"), count("berth_compiles_total"))
}

fn named(name: &str, workload: Workload) -> Workload {
    linked(name, workload.components)
}

#[tokio::test]
async fn l36_a_second_start_of_linked_components_plans_composes_and_compiles_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let first = bench(folder.path());
    first.run(front()).await;
    assert_eq!(work(&first), (1.0, 1.0, 1.0));
    // In the same process, by another workload of the same components.
    first.run(named("again", front())).await;
    assert_eq!(work(&first), (1.0, 1.0, 1.0));
    first.host.drain(GRACE).await;

    let second = bench(folder.path());
    let status = second.run(front()).await;
    assert_eq!(work(&second), (0.0, 0.0, 0.0));
    assert!(status.components.iter().all(|component| component.cached), "{status:?}");
    let answer = second.get_from("two", "/types?size=70000").await;
    assert_eq!((answer.status, answer.body.as_str()), (StatusCode::OK, "-7 seven 3 70000 41 41 42"));
    // Where the members' code lies is kept with it.
    let answer = second.get_from("two", "/middle/fail").await;
    assert!(answer.body.contains("component front failed in component back, which trapped"), "{}", answer.body);
    let answer = second.get_from("two", "/back/env").await;
    assert_eq!(answer.body.trim(), "{\"WHO\":\"back\"}");
}

/// Serving no HTTP and naming no component that serves it are two things: the entry is chosen for the one alone.
#[tokio::test]
async fn a_plan_of_a_workload_without_http_is_none_for_the_same_components_with_it() {
    let bench = Bench::start();
    let mut quiet = crate::bridge::pair("p3-middleware", "p2", &Reuse::default());
    let http = quiet.http.take().unwrap();
    bench.run(quiet.clone()).await;
    bench.host.stop_workload(&"default-pair".parse().unwrap()).unwrap();
    bench.eventually("it is gone", || bench.host.statuses().is_empty()).await;
    bench.run(Workload { http: Some(HttpEntry { component: None, ..http }), ..quiet }).await;
    assert_eq!(bench.get("/").await.status, StatusCode::OK);
    assert_eq!(bench.metric("berth_link_plans_total", ""), 2.0);
}

#[tokio::test]
async fn l36_components_of_both_versions_of_wasi_are_found_again_too() {
    let folder = tempfile::tempdir().unwrap();
    let first = bench(folder.path());
    first.run(front_p3()).await;
    assert_eq!(work(&first), (1.0, 1.0, 1.0));
    first.host.drain(GRACE).await;
    let second = bench(folder.path());
    second.run(front_p3()).await;
    assert_eq!(work(&second), (0.0, 0.0, 0.0));
    assert_eq!(second.get_from("three", "/flow/numbers?count=5").await.body, "0 1 2 3 4");
}

#[tokio::test]
async fn another_member_or_another_link_is_planned_and_composed_anew() {
    let folder = tempfile::tempdir().unwrap();
    let bench = bench(folder.path());
    bench.run(front()).await;
    assert_eq!((work(&bench).0, work(&bench).1), (1.0, 1.0));

    // One member's bytes differ, by a custom section of the name `n`.
    let mut other = named("other", front());
    let bytes = [std::fs::read(berth_testkit::guests::path("link-back")).unwrap().as_slice(), &[0, 2, 1, b'n']].concat();
    let file = folder.path().join("back.wasm");
    std::fs::write(&file, bytes).unwrap();
    other.components[0].image = ImageRef::File(file);
    bench.run(other).await;
    assert_eq!((work(&bench).0, work(&bench).1), (2.0, 2.0));

    // The same components, of which one is linked to its namesake's twin.
    let twins = |name: &str, of_middle: &str| {
        let mut twins = named(name, front());
        twins.components.push(component("twin", "link-back"));
        for (place, to) in [(1, "back"), (2, of_middle)] {
            twins.components[place].links =
                vec![Link { import: "test:link/probe".parse().unwrap(), component: Some(to.into()), fuse: false }];
        }
        twins
    };
    // The twin isn't part of what runs: it makes another plan of what is known.
    bench.run(twins("one", "back")).await;
    assert_eq!((work(&bench).0, work(&bench).1), (2.0, 3.0));
    assert_eq!(bench.get_from("one", "/diamond").await.body, "1 11");
    bench.run(twins("both", "twin")).await;
    assert_eq!((work(&bench).0, work(&bench).1), (3.0, 4.0));
    assert_eq!(bench.get_from("both", "/diamond").await.body, "1 10", "each has a probe of its own");
}

#[tokio::test]
async fn l36_what_was_tampered_with_is_thrown_away_and_made_anew() {
    let folder = tempfile::tempdir().unwrap();
    let first = bench(folder.path());
    first.run(front()).await;
    first.host.drain(GRACE).await;
    let entries: Vec<_> = std::fs::read_dir(folder.path().join("entries")).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(entries.len(), 2, "a plan and the code: {entries:?}");
    for entry in &entries {
        let mut bytes = std::fs::read(entry).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        std::fs::write(entry, bytes).unwrap();
    }
    let second = bench(folder.path());
    second.run(front()).await;
    assert_eq!(work(&second), (1.0, 1.0, 1.0));
    assert_eq!(second.metric("berth_code_cache_rejected_total", ""), 2.0);
    assert_eq!(second.get_from("two", "/diamond").await.body, "1 11");
    second.host.drain(GRACE).await;
    let third = bench(folder.path());
    third.run(front()).await;
    assert_eq!(work(&third), (0.0, 0.0, 0.0));
}

#[tokio::test]
async fn eight_known_components_cost_no_work_but_to_load_their_code() {
    let folder = tempfile::tempdir().unwrap();
    let eight = || {
        let guests = ["link-front", "link-middle", "link-back", "link-front-p3", "link-back-p3", "p2", "p3", "p2-hello"];
        let mut eight = linked("eight", guests.map(|guest| component(guest, guest)).into());
        eight.http = Some(HttpEntry { component: Some("link-front".into()), ..eight.http.unwrap_or_default() });
        eight
    };
    let first = bench(folder.path());
    first.run(eight()).await;
    assert_eq!(work(&first), (2.0, 1.0, 5.0));
    first.host.drain(GRACE).await;
    let second = bench(folder.path());
    second.run(eight()).await;
    assert_eq!(work(&second), (0.0, 0.0, 0.0));
    assert_eq!(second.get_from("eight", "/diamond").await.body, "1 11");
}
