//! `wasi:http/handler` between two components of 0.3 that asked to be composed: one instance, one fate, and each its own authority.

use berth_model::workload::{Link, Reuse, Workload};
use bytes::Bytes;
use http::StatusCode;
use http_body_util::{BodyExt, Full};

use super::pair;
use crate::harness::{Bench, request, within};

/// The middleware before the handler of 0.3, in one unit.
fn fused() -> Workload {
    let mut pair = pair("p3-middleware", "p3", &Reuse::default());
    let import = "wasi:http/handler".parse().unwrap();
    pair.components[0].links = vec![Link { import, component: Some("back".into()), fuse: true }];
    pair
}

#[tokio::test]
async fn a_fused_handler_answers_in_the_instance_of_its_middleware() {
    let bench = Bench::start();
    bench.run(fused()).await;
    let mut echo = request("POST", "/echo");
    *echo.body_mut() = Full::new(Bytes::from_static(b"within one component"));
    let answer = bench.send(echo).await;
    assert_eq!((answer.status, answer.body.as_str()), (StatusCode::OK, "within one component"));
    assert_eq!(answer.headers["x-passed"], "p3-middleware");
    let mut sender = bench.connect().await;
    let mut response = within(sender.send_request(request("GET", "/stream?chunks=2&size=4&ms=500"))).await.unwrap();
    assert_eq!(within(response.body_mut().frame()).await.unwrap().unwrap().into_data().unwrap().len(), 4);
    assert_eq!(bench.metric("berth_instances_live", ""), 1.0, "one for both");
    assert_eq!(within(response.into_body().collect()).await.unwrap().to_bytes().len(), 4);
    assert_eq!(bench.metric("berth_component_calls_total", ""), 0.0, "nothing went over the bridge");
}

/// The price of fusing: where a bridged middleware would answer for its handler, a fused one goes with it.
#[tokio::test]
async fn l43_a_fused_handler_that_traps_takes_its_middleware_along_and_is_named() {
    let bench = Bench::start();
    bench.run(fused()).await;
    assert_eq!(bench.get("/trap").await.status, StatusCode::INTERNAL_SERVER_ERROR);
    let trapped = bench.events.with_reason("Trapped");
    assert!(trapped.iter().any(|event| event.message.contains("front failed in component back")), "{trapped:?}");
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
