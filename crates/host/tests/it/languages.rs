//! Components from five languages answer with their own headers, bodies and status.

use http::StatusCode;

use crate::harness::{Bench, workload};

async fn answers(guest: &str, language: &str) {
    let bench = Bench::start();
    bench.run(workload(guest, guest, &[])).await;
    let hello = bench.get("/").await;
    assert_eq!((hello.status, hello.headers["x-guest"].to_str().unwrap()), (StatusCode::OK, guest), "{}", hello.body);
    assert_eq!(hello.body, format!("Hello from {language}!\n"));
    let json = bench.get("/json").await;
    assert!(json.headers["content-type"].to_str().unwrap().starts_with("application/json"), "{:?}", json.headers);
    assert!(json.body.trim_start().starts_with('{'), "{}", json.body);
    assert_eq!(bench.get("/status/418").await.status, StatusCode::IM_A_TEAPOT);
}

#[tokio::test]
async fn javascript_answers() {
    answers("js", "JavaScript").await;
}

#[tokio::test]
async fn javascript_on_wasi_03_answers() {
    answers("js-p3", "JavaScript").await;
}

#[tokio::test]
async fn python_answers() {
    answers("py", "Python").await;
}

#[tokio::test]
async fn python_on_wasi_03_answers() {
    answers("py-p3", "Python").await;
}

#[tokio::test]
async fn go_answers() {
    answers("go", "Go").await;
}

#[tokio::test]
async fn c_answers() {
    answers("c", "C").await;
}
