//! Ways out: denied unless granted, checked where they lead, and told with the grant that would allow them.

use std::net::SocketAddr;

use berth_host::State;
use berth_model::workload::Reuse;
use bytes::Bytes;
use http::StatusCode;
use http_body_util::Full;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::harness::{Bench, granted, request, reused, wanted, workload};

/// A server on the loopback that answers everything with `inside`.
async fn server() -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let task = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let answer =
                hyper::service::service_fn(async |_| Ok::<_, std::io::Error>(http::Response::new(Full::new(Bytes::from("inside")))));
            tokio::spawn(async move { hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await });
        }
    });
    (addr, task)
}

#[tokio::test]
async fn l39_nothing_granted_means_denied_and_the_denial_names_the_grant() {
    let bench = Bench::start();
    let (addr, server) = server().await;
    for guest in ["p2", "p3"] {
        bench.run(workload(guest, guest, &[guest])).await;
        for (path, grant) in [
            (format!("/fetch?url=http://{addr}/"), "allowedHosts"),
            (format!("/connect?addr={addr}"), "allowedHosts"),
            ("/resolve?name=localhost".to_owned(), "allowedIpNameLookups"),
        ] {
            let answer = bench.get_from(guest, &path).await;
            assert_eq!(answer.status, StatusCode::BAD_GATEWAY, "{guest} {path}: {}", answer.body);
            let log = bench.host.logs().tail("default", Some(guest), 10);
            assert!(log.iter().any(|l| l.text.contains("denied") && l.text.contains(grant)), "{path}: {log:?}");
        }
        for what in ["http", "socket", "lookup"] {
            let labels = format!("workload=\"{guest}\",what=\"{what}\"");
            assert!(bench.metric("berth_denials_total", &labels) >= 1.0, "{labels}");
        }
    }
    assert!(bench.events.with_reason("Denied").len() >= 6);
    server.abort();
}

#[tokio::test]
async fn l40_an_exact_grant_opens_that_address_and_no_other() {
    let bench = Bench::start();
    let (addr, server) = server().await;
    let (other, other_server) = self::server().await;
    for guest in ["p2", "p3"] {
        bench.run(granted(workload(guest, guest, &[guest]), &[&addr.to_string()], &[])).await;
        let answer = bench.get_from(guest, &format!("/fetch?url=http://{addr}/")).await;
        assert!(answer.status == StatusCode::OK && answer.body.contains("inside"), "{guest}: {}", answer.body);
        assert_eq!(bench.get_from(guest, &format!("/connect?addr={addr}")).await.status, StatusCode::OK, "{guest}");
        assert_eq!(bench.get_from(guest, &format!("/fetch?url=http://{other}/")).await.status, StatusCode::BAD_GATEWAY);
        assert_eq!(bench.get_from(guest, &format!("/connect?addr={other}")).await.status, StatusCode::BAD_GATEWAY);
    }
    server.abort();
    other_server.abort();
}

#[tokio::test]
async fn l40_a_star_leads_to_public_addresses_only_also_through_a_name() {
    let bench = Bench::start();
    let (addr, server) = server().await;
    for guest in ["p2", "p3"] {
        bench.run(granted(workload(guest, guest, &[guest]), &["*"], &["*"])).await;
        for url in [
            format!("http://{addr}/"),
            format!("http://localhost:{}/", addr.port()),
            "http://169.254.169.254/latest/meta-data/".to_owned(),
            format!("http://[::ffff:127.0.0.1]:{}/", addr.port()),
        ] {
            let answer = bench.get_from(guest, &format!("/fetch?url={url}")).await;
            assert_eq!(answer.status, StatusCode::BAD_GATEWAY, "{guest} {url}: {}", answer.body);
            assert!(!answer.body.contains("inside"));
        }
        assert_eq!(bench.get_from(guest, &format!("/connect?addr={addr}")).await.status, StatusCode::BAD_GATEWAY);
        let resolved = bench.get_from(guest, "/resolve?name=localhost").await;
        assert!(
            resolved.status == StatusCode::OK && resolved.body.contains("127.0.0.1") || resolved.body.contains("::1"),
            "{}",
            resolved.body
        );
    }
    server.abort();
}

#[tokio::test]
async fn l40_a_name_granted_exactly_may_lead_inside() {
    let bench = Bench::start();
    let (addr, server) = server().await;
    for guest in ["p2", "p3"] {
        let grant = format!("localhost:{}", addr.port());
        bench.run(granted(workload(guest, guest, &[guest]), &[&grant], &["localhost"])).await;
        let answer = bench.get_from(guest, &format!("/fetch?url=http://localhost:{}/", addr.port())).await;
        assert!(answer.status == StatusCode::OK && answer.body.contains("inside"), "{guest}: {}", answer.body);
    }
    server.abort();
}

#[tokio::test]
async fn l44_denials_are_all_counted_and_few_are_told() {
    let bench = Bench::start();
    for guest in ["p2", "p3"] {
        bench.run(workload(guest, guest, &[guest])).await;
        for _ in 0..60 {
            assert_eq!(bench.get_from(guest, "/resolve?name=example.com").await.status, StatusCode::BAD_GATEWAY);
        }
        assert_eq!(bench.metric("berth_denials_total", &format!("workload=\"{guest}\",what=\"lookup\"")), 60.0);
        let told = bench.host.logs().tail("default", Some(guest), 1000).iter().filter(|l| l.text.contains("denied")).count();
        assert!((20..60).contains(&told), "{told}");
    }
}

#[tokio::test]
async fn l44_a_name_longer_than_any_is_refused_unread() {
    let bench = Bench::start();
    let name = "x".repeat(4000);
    for guest in ["p2", "p3"] {
        bench.run(granted(workload(guest, guest, &[guest]), &[], &["*"])).await;
        let answer = bench.get_from(guest, &format!("/resolve?name={name}")).await;
        assert!(answer.body.contains("InvalidArgument"), "{guest}: {}", answer.body);
        assert_eq!(bench.metric("berth_denials_total", &format!("workload=\"{guest}\"")), 0.0);
    }
}

#[tokio::test]
async fn l31_an_instance_looks_names_up_as_often_as_it_likes() {
    let bench = Bench::start();
    for guest in ["p2", "p3"] {
        bench.run(reused(granted(workload(guest, guest, &[guest]), &[], &["*"]), Reuse { pool_size: 1, ..Reuse::default() })).await;
        for _ in 0..100 {
            let answer = bench.get_from(guest, "/resolve?name=localhost").await;
            assert_eq!(answer.status, StatusCode::OK, "{guest}: a lookup that ended gives its place back: {}", answer.body);
        }
    }
}

#[tokio::test]
async fn l39_a_denial_carries_the_request_that_it_happened_in() {
    let bench = Bench::start();
    let (addr, server) = server().await;
    for guest in ["p2", "p3"] {
        bench.run(workload(guest, guest, &[guest])).await;
        for path in [format!("/fetch?url=http://{addr}/"), format!("/connect?addr={addr}"), "/resolve?name=a.com".to_owned()] {
            let mut ask = request("GET", &path);
            ask.headers_mut().insert("host", guest.parse().unwrap());
            ask.headers_mut().insert("x-request-id", "req-9".parse().unwrap());
            bench.send(ask).await;
        }
        let lines = bench.host.logs().tail("default", Some(guest), 100);
        assert!(lines.len() == 3 && lines.iter().all(|line| line.request.as_deref() == Some("req-9")), "{lines:?}");
    }
    server.abort();
}

#[tokio::test]
async fn l31_an_instance_connects_as_often_as_it_likes_if_it_closes_what_it_opened() {
    let bench = Bench::start();
    let (addr, server) = server().await;
    for guest in ["p2", "p3"] {
        let one = Reuse { pool_size: 1, max_invocations: 0, max_concurrency: 0 };
        bench.run(reused(granted(workload(guest, guest, &[guest]), &[&addr.to_string()], &[]), one)).await;
        for path in [format!("/connect?addr={addr}"), format!("/fetch?url=http://{addr}/")] {
            for n in 0..80 {
                let answer = bench.get_from(guest, &path).await;
                assert_eq!(answer.status, StatusCode::OK, "{guest} {path} {n}: {}", answer.body);
            }
        }
    }
    server.abort();
}

/// WASI 0.2 lets no socket go before its streams.
#[tokio::test]
async fn l31_the_streams_of_a_connection_count_as_long_as_they_live_also_without_their_socket() {
    let bench = Bench::start();
    let (addr, server) = server().await;
    let one = Reuse { pool_size: 1, max_invocations: 0, max_concurrency: 0 };
    bench.run(reused(granted(workload("p3", "p3", &["p3"]), &[&addr.to_string()], &[]), one)).await;
    let streams = async |n: u32, more: &str| bench.get_from("p3", &format!("/streams?addr={addr}&n={n}{more}")).await;
    let closed = streams(200, "").await;
    assert_eq!(closed.status, StatusCode::OK, "each gives its place back: {}", closed.body);
    let kept = streams(64, "&keep=1").await;
    assert_eq!(kept.status, StatusCode::OK, "{}", kept.body);
    let too_many = streams(65, "&keep=1").await;
    assert!(too_many.status == StatusCode::BAD_GATEWAY && too_many.body.contains("too many sockets"), "{}", too_many.body);
    server.abort();
}

#[tokio::test]
async fn ports_of_the_hosts_loopback_are_refused_by_name() {
    let bench = Bench::start();
    let mut workload = workload("local", "p2", &[]);
    workload.components[0].resources.grants.loopback_ports = vec!["5432".parse().unwrap()];
    let status = bench.host.start_workload(wanted(workload)).await;
    assert_eq!((status.state, status.reason.as_str()), (State::Error, "Unsupported"), "{status:?}");
    assert!(status.message.contains("allowedHostLoopbackPorts") && status.message.contains("allowedHosts"), "{}", status.message);
}
