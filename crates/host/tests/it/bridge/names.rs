//! Who answers, who is reached by which name, and what is refused.

use berth_host::State;
use berth_model::workload::{Reuse, Workload};
use http::StatusCode;

use super::{pair, through};
use crate::harness::{Bench, granted, wanted, workload};

async fn refused(bench: &Bench, workload: Workload) -> (String, String) {
    let status = bench.host.start_workload(wanted(workload)).await;
    assert_eq!(status.state, State::Error, "{status:?}");
    (status.reason, status.message)
}

fn unnamed(mut pair: Workload) -> Workload {
    pair.http.as_mut().unwrap().component = None;
    pair
}

#[tokio::test]
async fn the_entry_is_the_only_http_exporter_that_no_sibling_imports_or_the_named_one() {
    let bench = Bench::start();
    bench.run(unnamed(pair("p3-middleware", "p2", &Reuse::default()))).await;
    assert_eq!(bench.get("/").await.headers["x-passed"], "p3-middleware", "what imports the other is in front");
    bench.host.stop_workload(&"default-pair".parse().unwrap()).unwrap();
    bench.eventually("it is gone", || bench.host.statuses().is_empty()).await;

    let (reason, message) = refused(&bench, unnamed(pair("p2", "p3", &Reuse::default()))).await;
    assert_eq!(reason, "NoEntry");
    assert!(message.contains("front") && message.contains("back") && message.contains("`config` of the wasi:http"), "{message}");

    let mut misnamed = pair("p2", "p3", &Reuse::default());
    misnamed.http.as_mut().unwrap().component = Some("middle".into());
    let (reason, message) = refused(&bench, misnamed).await;
    assert_eq!(reason, "NoEntry");
    assert!(message.contains("`middle`") && message.contains("front") && message.contains("back"), "{message}");
}

#[tokio::test]
async fn a_handler_that_nobody_exports_or_several_do_is_an_error_that_names_them() {
    let bench = Bench::start();
    let (reason, message) = refused(&bench, workload("alone", "p3-middleware", &[])).await;
    assert_eq!(reason, "MissingImport");
    assert!(message.contains("alone") && message.contains("wasi:http/handler"), "{message}");

    // Also where it runs for a workload whose sibling is its handler.
    bench.run(unnamed(pair("p3-middleware", "p2", &Reuse::default()))).await;
    let (reason, _) = refused(&bench, workload("late", "p3-middleware", &[])).await;
    assert_eq!(reason, "MissingImport");
    bench.host.stop_workload(&"default-pair".parse().unwrap()).unwrap();
    bench.eventually("the pair is gone", || bench.host.statuses().iter().all(|status| status.id.to_string() != "default-pair")).await;

    let mut three = pair("p3-middleware", "p2", &Reuse::default());
    three.components.extend(workload("other", "p3", &[]).components);
    let (reason, message) = refused(&bench, three).await;
    assert_eq!(reason, "AmbiguousImport");
    assert!(["`front`", "back", "other", "links"].iter().all(|part| message.contains(part)), "{message}");
}

#[tokio::test]
async fn a_sibling_is_reached_by_its_name_in_any_case_without_a_grant_or_a_network() {
    let bench = Bench::start();
    for (caller, callee) in [("p2", "p3"), ("p3", "p2")] {
        bench.run(pair(caller, callee, &Reuse::default())).await;
        for host in ["back.workload.internal", "BACK.Workload.Internal", "back.workload.internal.", "back.workload.internal:80"] {
            let answer = bench.get(&format!("/fetch?url=http://{host}/")).await;
            assert_eq!(answer.status, StatusCode::OK, "{caller} fetches {host}: {}", answer.body);
        }
        assert_eq!(bench.metric("berth_denials_total", ""), 0.0);
        bench.host.stop_workload(&"default-pair".parse().unwrap()).unwrap();
        bench.eventually("it is gone", || bench.host.statuses().is_empty()).await;
    }
}

#[tokio::test]
async fn l39_a_name_that_is_no_siblings_is_denied_and_the_denial_lists_those_there_are() {
    let bench = Bench::start();
    for caller in ["p2", "p3"] {
        // A grant for all hosts leads nowhere below the workload's own domain.
        bench.run(granted(pair(caller, "p2", &Reuse::default()), &["*"], &[])).await;
        let urls = [
            "http://nobody.workload.internal/",
            "http://workload.internal/",
            "https://back.workload.internal/",
            "http://back.workload.internal:81/",
        ];
        for url in urls {
            let answer = bench.get(&format!("/fetch?url={url}")).await;
            assert_eq!((answer.status, answer.body.trim()), (StatusCode::BAD_GATEWAY, "HttpRequestDenied"), "{caller} fetches {url}");
        }
        let events: Vec<String> = bench.events.with_reason("Denied").into_iter().map(|event| event.message).collect();
        assert!(events.iter().any(|m| m.contains("no component \"nobody\"") && m.contains("back, front")), "{events:?}");
        assert!(events.iter().any(|m| m.contains("without a port")), "{events:?}");
        bench.host.stop_workload(&"default-pair".parse().unwrap()).unwrap();
        bench.eventually("it is gone", || bench.host.statuses().is_empty()).await;
    }
}

#[tokio::test]
async fn another_workloads_components_are_out_of_reach() {
    let bench = Bench::start();
    bench.run(workload("other", "p2", &["other"])).await;
    bench.run(pair("p3", "p2", &Reuse::default())).await;
    let answer = bench.get("/via?to=other&path=/").await;
    assert_eq!(answer.status, StatusCode::BAD_GATEWAY, "{}", answer.body);
    assert!(answer.body.contains("HttpRequestDenied"), "{}", answer.body);
}

#[tokio::test]
async fn with_0_3_off_a_component_that_needs_it_is_refused_by_name_and_0_2_calls_0_2() {
    let bench = Bench::with(|config| config.wasi_p3 = false);
    for workload in [pair("p2", "p3", &Reuse::default()), pair("p3-middleware", "p2", &Reuse::default())] {
        let (reason, message) = refused(&bench, workload).await;
        assert_eq!(reason, "WasiP3Disabled");
        assert!(
            message.contains("needs WASI 0.3") && (message.contains("component back") || message.contains("component front")),
            "{message}"
        );
    }
    bench.run(pair("p2", "p2", &Reuse::default())).await;
    assert_eq!(bench.get(&through("p2", "/")).await.body, "Hello from WASI 0.2!\n");
}
