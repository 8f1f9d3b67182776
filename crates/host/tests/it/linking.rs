//! Components of one workload that call each other: composed into units, each with an authority of its own.

use std::collections::BTreeMap;

use berth_host::State;
use berth_model::grants::Grants;
use berth_model::image::ImageRef;
use berth_model::resource::PullPolicy;
use berth_model::workload::{Component, Resources, Reuse, Workload};
use http::StatusCode;

use crate::harness::{Bench, wanted, workload};

/// A component of a fixture guest, with a variable that says whose it is.
pub fn component(name: &str, guest: &str) -> Component {
    Component {
        name: name.into(),
        image: ImageRef::File(berth_testkit::guests::path(guest)),
        pull_policy: PullPolicy::IfNotPresent,
        pull_credentials: None,
        reuse: Reuse::default(),
        resources: Resources { environment: BTreeMap::from([("WHO".into(), name.into())]), ..Resources::default() },
        links: Vec::new(),
    }
}

pub fn linked(name: &str, components: Vec<Component>) -> Workload {
    Workload { components, ..workload(name, "p2-hello", &[name]) }
}

/// A front of WASI 0.2 with what it needs.
pub fn front() -> Workload {
    linked("two", vec![component("back", "link-back"), component("front", "link-front"), component("middle", "link-middle")])
}

/// A front of WASI 0.3 that calls a component of each version.
pub fn front_p3() -> Workload {
    linked("three", vec![component("front", "link-front-p3"), component("back", "link-back"), component("flow", "link-back-p3")])
}

#[tokio::test]
async fn every_kind_of_value_crosses_from_one_component_to_another() {
    let bench = Bench::start();
    let status = bench.run(front()).await;
    assert_eq!(status.components.iter().map(|c| c.name.as_str()).collect::<Vec<_>>(), ["back", "front", "middle"]);
    let answer = bench.get_from("two", "/types?size=70000").await;
    assert_eq!((answer.status, answer.body.as_str()), (StatusCode::OK, "-7 seven 3 70000 41 41 42"));
}

/// The benchmark `calls` measures these.
#[tokio::test]
async fn calls_in_a_loop_are_timed_by_the_caller_s_clock() {
    let bench = Bench::start();
    bench.run(front()).await;
    for (what, last) in [("u32", "3"), ("string", "64"), ("list", "65536"), ("method", "3")] {
        let answer = bench.get_from("two", &format!("/calls?what={what}&n=3")).await;
        let (nanoseconds, given) = answer.body.split_once(' ').unwrap_or_default();
        assert!(answer.status == StatusCode::OK && nanoseconds.parse::<u64>().is_ok(), "{what}: {}", answer.body);
        assert_eq!(given, last, "{what}");
    }
}

#[tokio::test]
async fn two_ways_to_a_component_lead_to_one_instance_and_the_next_request_gets_another() {
    let bench = Bench::start();
    bench.run(front()).await;
    for _ in 0..2 {
        assert_eq!(bench.get_from("two", "/diamond").await.body, "1 11");
    }
}

#[tokio::test]
async fn components_of_both_versions_of_wasi_call_each_other_with_streams_and_futures() {
    let bench = Bench::start();
    bench.run(front_p3()).await;
    let get = async |path: &str| bench.get_from("three", path).await.body;
    assert_eq!(get("/flow/length?size=3000000").await, "3000000");
    assert_eq!(get("/flow/numbers?count=5").await, "0 1 2 3 4");
    assert_eq!(get("/flow/twice").await, "42");
    assert_eq!(get("/flow/wait?ms=5").await, "waited");
    for who in ["own", "back", "flow"] {
        let expected = if who == "own" { "front" } else { who };
        assert_eq!(get(&format!("/{who}/env")).await.trim(), format!("{{\"WHO\":\"{expected}\"}}"), "{who}");
    }
}

#[tokio::test]
async fn l38_linked_components_keep_their_own_environment_ways_out_and_log_identity() {
    let bench = Bench::start();
    // A name that leads nowhere: who may ask for it learns just that.
    let nowhere = "nowhere.invalid";
    // The front may go there, which gives the back nothing; in the second workload it is the other way round.
    let granted = Grants { hosts: vec![nowhere.parse().unwrap()], ..Grants::default() };
    let mut first = front();
    first.components[1].resources.grants = granted.clone();
    let mut second = Workload { name: "other".into(), ..linked("other", front().components) };
    second.components[0].resources.grants = granted;
    bench.run(first).await;
    bench.run(second).await;

    for who in ["own", "back", "middle"] {
        let expected = if who == "own" { "front" } else { who };
        let answer = bench.get_from("two", &format!("/{who}/env")).await;
        assert_eq!(answer.body.trim(), format!("{{\"WHO\":\"{expected}\"}}"), "{who}");
    }
    for who in ["own", "back"] {
        bench.get_from("two", &format!("/{who}/say?line=I%20am%20{who}")).await;
    }
    let log = bench.host.logs().tail("default", Some("two"), 100);
    for (who, text) in [("front", "I am own"), ("back", "I am back")] {
        assert!(log.iter().any(|line| *line.component == *who && line.text == text && line.request.is_some()), "{who}: {log:?}");
    }

    let refused = bench.get_from("two", &format!("/back/fetch?authority={nowhere}")).await;
    assert_eq!((refused.status, refused.body.as_str()), (StatusCode::BAD_GATEWAY, "HttpRequestDenied"));
    let refused = bench.get_from("two", "/back/connect?address=93.184.216.34:80").await;
    assert_eq!((refused.status, refused.body.as_str()), (StatusCode::BAD_GATEWAY, "permission denied"));
    let log = bench.host.logs().tail("default", Some("two"), 100);
    assert!(log.iter().any(|line| *line.component == *"back" && line.text.contains("denied")), "{log:?}");
    let allowed = bench.get_from("other", &format!("/back/fetch?authority={nowhere}")).await;
    assert!(allowed.status == StatusCode::BAD_GATEWAY && allowed.body.starts_with("DnsError"), "{}", allowed.body);
}

#[tokio::test]
async fn l38_a_component_of_wasi_03_keeps_its_own_authority_too() {
    let bench = Bench::start();
    bench.run(front_p3()).await;
    for who in ["back", "flow"] {
        let refused = bench.get_from("three", &format!("/{who}/fetch?authority=example.com")).await;
        assert_eq!((refused.status, refused.body.as_str()), (StatusCode::BAD_GATEWAY, "HttpRequestDenied"), "{who}");
        bench.get_from("three", &format!("/{who}/say?line=I%20am%20{who}")).await;
        let log = bench.host.logs().tail("default", Some("three"), 100);
        assert!(log.iter().any(|line| *line.component == *who && line.text.contains("allowedHosts")), "{who}: {log:?}");
        assert!(log.iter().any(|line| *line.component == *who && line.text == format!("I am {who}")), "{who}: {log:?}");
    }
}

#[tokio::test]
async fn l43_a_trap_names_the_component_in_whose_code_it_arose_and_its_instance_is_gone() {
    let bench = Bench::start();
    bench.run(front()).await;
    bench.run(front_p3()).await;
    for (domain, path, expected) in [
        ("two", "/back/fail", "component front failed in component back, which trapped"),
        ("two", "/middle/fail", "component front failed in component back, which trapped"),
        ("two", "/own/fail", "component front trapped"),
        ("three", "/flow/wait?fail=1", "component front failed in component flow, which trapped"),
    ] {
        let answer = bench.get_from(domain, path).await;
        assert_eq!(answer.status, StatusCode::INTERNAL_SERVER_ERROR, "{path}: {}", answer.body);
        assert!(answer.body.contains(expected), "{path}: {}", answer.body);
    }
    let log = bench.host.logs().tail("default", Some("two"), 100);
    assert!(log.iter().any(|line| *line.component == *"back" && line.text.contains("wasm backtrace")), "{log:?}");
    // The next request gets another instance.
    assert_eq!(bench.get_from("two", "/diamond").await.body, "1 11");
}

#[tokio::test]
async fn instances_of_linked_components_are_reused_together() {
    let bench = Bench::start();
    let mut workload = front();
    workload.components[1].reuse = Reuse { pool_size: 1, max_invocations: 100, max_concurrency: 1 };
    bench.run(workload).await;
    // An instance is free for the next request a little after its answer.
    let diamond = async || {
        let counts = bench.get_from("two", "/diamond").await.body;
        bench.eventually("its instance is free", || bench.metric("berth_requests_in_flight", "two") == 0.0).await;
        counts
    };
    assert_eq!(diamond().await, "1 11");
    assert_eq!(diamond().await, "12 22");
    // One that trapped is never used again.
    bench.get_from("two", "/back/fail").await;
    assert_eq!(diamond().await, "1 11");
}

#[tokio::test]
async fn what_nobody_provides_is_said_with_the_component_that_needs_it() {
    let bench = Bench::start();
    let lonely = linked("lonely", vec![component("front", "link-front"), component("back", "link-back")]);
    let status = bench.host.start_workload(wanted(lonely)).await;
    assert_eq!((status.state, status.reason.as_str()), (State::Error, "MissingImport"), "{status:?}");
    assert!(status.message.contains("front") && status.message.contains("test:link/relay@1.2.0"), "{}", status.message);

    let mut twice = front();
    twice.components.push(component("back-two", "link-back"));
    let status = bench.host.start_workload(wanted(twice)).await;
    assert_eq!(status.reason, "AmbiguousImport", "{status:?}");
    assert!(status.message.contains("back-two") && status.message.contains("links"), "{}", status.message);
}
