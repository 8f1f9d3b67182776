//! A request and its answer, in both versions of WASI.

use http::StatusCode;

use crate::harness::{Bench, request, workload};

#[tokio::test]
async fn both_versions_answer_side_by_side() {
    let bench = Bench::start();
    bench.run(workload("two", "p2", &["two.localhost"])).await;
    bench.run(workload("three", "p3", &["three.localhost"])).await;
    for (domain, guest) in [("two.localhost", "p2"), ("three.localhost:8000", "p3"), ("THREE.localhost", "p3")] {
        let answer = bench.get_from(domain, "/").await;
        assert_eq!((answer.status, answer.headers["x-guest"].to_str().unwrap()), (StatusCode::OK, guest));
        assert_eq!(bench.get_from(domain, "/status/418").await.status, 418);
    }
}

#[tokio::test]
async fn the_hello_guests_answer() {
    let bench = Bench::start();
    bench.run(workload("two", "p2-hello", &["two"])).await;
    bench.run(workload("three", "p3-hello", &["three"])).await;
    for domain in ["two", "three"] {
        let answer = bench.get_from(domain, "/").await;
        assert_eq!(answer.status, StatusCode::OK);
        assert!(answer.body.contains("Hello"), "{}", answer.body);
        assert_eq!(answer.headers["content-length"].to_str().unwrap(), answer.body.len().to_string());
    }
}

#[tokio::test]
async fn a_domain_that_nobody_serves_is_named_in_the_404() {
    let bench = Bench::start();
    bench.run(workload("one", "p2-hello", &["one.localhost"])).await;
    let answer = bench.get_from("other.localhost:8000", "/").await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND);
    assert!(answer.body.contains("other.localhost"), "{}", answer.body);
}

#[tokio::test]
async fn a_workload_without_a_domain_serves_the_rest() {
    let bench = Bench::start();
    bench.run(workload("rest", "p2", &[])).await;
    bench.run(workload("one", "p3", &["one.localhost", "alias.localhost"])).await;
    assert_eq!(bench.get_from("whatever", "/").await.headers["x-guest"], "p2");
    assert_eq!(bench.get_from("alias.localhost", "/").await.headers["x-guest"], "p3");
}

#[tokio::test]
async fn a_fresh_instance_answers_each_request() {
    let bench = Bench::start();
    for guest in ["p2", "p3"] {
        bench.run(workload(guest, guest, &[guest])).await;
        for _ in 0..3 {
            assert_eq!(bench.get_from(guest, "/count").await.body.trim(), "1");
        }
    }
}

#[tokio::test]
async fn l52_hop_by_hop_headers_end_at_the_host_and_forwarding_headers_are_written() {
    let bench = Bench::start();
    for guest in ["p2", "p3"] {
        bench.run(workload(guest, guest, &[guest])).await;
        let mut request = request("GET", "/headers");
        for (name, value) in [
            ("host", guest),
            ("connection", "x-secret-hop"),
            ("x-secret-hop", "1"),
            ("keep-alive", "timeout=5"),
            ("x-forwarded-for", "203.0.113.7"),
            ("x-kept", "yes"),
        ] {
            request.headers_mut().insert(name, value.parse().unwrap());
        }
        let body = bench.send(request).await.body;
        assert!(body.contains("x-kept") && body.contains("127.0.0.1"), "{body}");
        for gone in ["x-secret-hop", "keep-alive", "203.0.113.7"] {
            assert!(!body.contains(gone), "{gone} in {body}");
        }
        assert!(body.contains(r#"":authority""#) && body.contains(guest), "{body}");
    }
}

#[tokio::test]
async fn two_owners_of_one_domain_the_older_keeps_it_and_the_newer_is_told() {
    let bench = Bench::start();
    bench.run(workload("old", "p2", &["a.localhost"])).await;
    let status = bench.run(workload("new", "p3", &["a.localhost"])).await;
    assert_eq!(status.conflicts, [("a.localhost".to_owned(), "default/old".to_owned())]);
    assert!(!status.ready);
    assert_eq!(bench.get_from("a.localhost", "/").await.headers["x-guest"], "p2");
    bench.host.stop_workload(&"default-old".parse().unwrap()).unwrap();
    assert_eq!(bench.get_from("a.localhost", "/").await.headers["x-guest"], "p3");
}

#[tokio::test]
async fn environment_is_only_what_is_given_and_no_file_is_seen() {
    let bench = Bench::start();
    for guest in ["p2", "p3"] {
        let mut workload = workload(guest, guest, &[guest]);
        workload.components[0].resources.environment.insert("GREETING".into(), "ahoy".into());
        bench.run(workload).await;
        let env = bench.get_from(guest, "/env").await.body;
        assert!(env.contains("ahoy") && !env.contains("PATH"), "{env}");
        let files = bench.get_from(guest, "/files").await.body;
        assert!(files.contains(r#""preopens":[]"#) && !files.contains("root:"), "{files}");
    }
}
