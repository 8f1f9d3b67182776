//! `wasi:http/handler` between two components of 0.3 that asked to be composed: one instance, one fate, and each its own authority.

use berth_model::workload::{Link, Reuse, Workload};
use http::StatusCode;
use http_body_util::BodyExt;

use super::pair;
use crate::harness::{Bench, request, within, workload};

/// Two middlewares and the handler of 0.3 behind them, in one unit.
fn fused() -> Workload {
    let mut fused = pair("p3-middleware", "p3-middleware", &Reuse::default());
    fused.components.extend(workload("end", "p3-hello", &[]).components);
    fused.components[2].name = "end".into();
    for (importer, exporter) in [(0, "back"), (1, "end")] {
        let import = "wasi:http/handler".parse().unwrap();
        fused.components[importer].links = vec![Link { import, component: Some(exporter.into()), fuse: true }];
    }
    fused
}

#[tokio::test]
async fn a_fused_handler_answers_in_the_instance_of_its_middleware() {
    let bench = Bench::start();
    bench.run(fused()).await;
    let mut response = within(bench.connect().await.send_request(request("GET", "/"))).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers().get_all("x-passed").iter().count(), 2, "both middlewares marked it");
    let body = within(response.body_mut().collect()).await.unwrap().to_bytes();
    assert_eq!(&body[..], b"Hello from WASI 0.3!\n");
    assert_eq!(bench.metric("berth_cold_starts_total", ""), 1.0, "one instance for all three");
    assert_eq!(bench.metric("berth_component_calls_total", ""), 0.0, "nothing went over the bridge");
}

/// The price of fusing: where a bridged middleware would answer for its handler, a fused one goes with it.
#[tokio::test]
async fn l43_a_fused_handler_that_traps_takes_its_middleware_along_and_is_named() {
    let bench = Bench::start();
    bench.run(fused()).await;
    let answer = bench.get("/trap").await;
    assert_eq!(answer.status, StatusCode::INTERNAL_SERVER_ERROR);
    assert!(answer.body.contains("component front failed in component back, which trapped"), "{}", answer.body);
    assert!(bench.events.with_reason("Trapped").iter().all(|event| event.message.starts_with("component back trapped")));
    assert_eq!(bench.get("/").await.status, StatusCode::OK, "the next request has an instance of its own");
}

/// An error that the handler returns is no trap: the middleware sees its code, fused or not.
#[tokio::test]
async fn a_fused_handler_s_error_reaches_its_middleware() {
    let bench = Bench::start();
    bench.run(fused()).await;
    let answer = bench.get("/error").await;
    assert_eq!(answer.status, StatusCode::BAD_GATEWAY);
    assert!(answer.body.contains("InternalError(Some(\"as asked\"))"), "{}", answer.body);
}
