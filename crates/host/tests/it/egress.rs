//! Ways out: denied unless granted, checked where they lead, and told with the grant that would allow them. Servers of the test are on
//! the host's loopback, which components reach as `host.wasmcloud.internal`, or by the addresses that this name has for them.

use std::net::SocketAddr;

use berth_model::workload::{Reuse, Workload};
use bytes::Bytes;
use http::StatusCode;
use http_body_util::Full;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::harness::{Bench, granted, request, reused, workload};

/// What `host.wasmcloud.internal` resolves to for guests.
const HOST: [&str; 2] = ["192.0.0.8", "100::8"];

/// A host whose owner opens the whole of its loopback.
fn open_bench() -> Bench {
    Bench::with(|config| config.network.loopback_ports = "1-65535".parse().unwrap())
}

/// Grants the workload's components these ports of the host's loopback.
fn opened(mut workload: Workload, ports: &[u16]) -> Workload {
    for component in &mut workload.components {
        component.resources.grants.loopback_ports = ports.iter().map(|port| port.to_string().parse().unwrap()).collect();
    }
    workload
}

fn at_host(addr: SocketAddr) -> String {
    format!("{}:{}", HOST[0], addr.port())
}

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
            (format!("/fetch?url=http://host.wasmcloud.internal:{}/", addr.port()), "allowedHostLoopbackPorts"),
            (format!("/connect?addr={}", at_host(addr)), "allowedHostLoopbackPorts"),
            ("/fetch?url=http://10.0.0.1/".to_owned(), "allowedHosts"),
            ("/connect?addr=10.0.0.1:80".to_owned(), "allowedHosts"),
            ("/resolve?name=example.com".to_owned(), "allowedIpNameLookups"),
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
async fn l40_a_granted_port_of_the_hosts_loopback_is_open_and_no_other() {
    let bench = open_bench();
    let (addr, server) = server().await;
    let (other, other_server) = self::server().await;
    for guest in ["p2", "p3"] {
        bench.run(opened(workload(guest, guest, &[guest]), &[addr.port()])).await;
        let fetch =
            async |addr: SocketAddr| bench.get_from(guest, &format!("/fetch?url=http://host.wasmcloud.internal:{}/", addr.port())).await;
        let answer = fetch(addr).await;
        assert!(answer.status == StatusCode::OK && answer.body.contains("inside"), "{guest}: {}", answer.body);
        assert_eq!(bench.get_from(guest, &format!("/connect?addr={}", at_host(addr))).await.status, StatusCode::OK, "{guest}");
        assert_eq!(fetch(other).await.status, StatusCode::BAD_GATEWAY);
        assert_eq!(bench.get_from(guest, &format!("/connect?addr={}", at_host(other))).await.status, StatusCode::BAD_GATEWAY);
        let resolved = bench.get_from(guest, "/resolve?name=host.wasmcloud.internal").await;
        assert_eq!(resolved.body, format!("{}\n{}\n", HOST[0], HOST[1]), "{guest}");
    }
    server.abort();
    other_server.abort();
}

/// A server may be done before its client has written, and close the connection.
#[tokio::test]
async fn a_caller_that_writes_after_a_server_answered_doesnt_fail_for_that() {
    let bench = open_bench();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let server = tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await.unwrap());
            }
            let answer = b"HTTP/1.1 413 Content Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
            stream.write_all(answer).await.unwrap();
            // The client has the answer when it begins to write.
            let _ = stream.read_u8().await;
        }
    });
    bench.run(opened(workload("p2", "p2", &["p2"]), &[addr.port()])).await;
    let answer = bench.get_from("p2", &format!("/upload?authority={}&kb=200&after=1", at_host(addr))).await.body;
    assert_eq!(answer, "0 bytes, 200 KiB taken\n");
    server.abort();
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
            format!("http://2130706433:{}/", addr.port()),
            format!("http://127.1:{}/", addr.port()),
            format!("http://0.0.0.0:{}/", addr.port()),
            format!("http://host.wasmcloud.internal:{}/", addr.port()),
            format!("http://{}:{}/", HOST[0], addr.port()),
            "http://2852039166/latest/meta-data/".to_owned(),
        ] {
            let answer = bench.get_from(guest, &format!("/fetch?url={url}")).await;
            assert_eq!(answer.status, StatusCode::BAD_GATEWAY, "{guest} {url}: {}", answer.body);
            assert!(!answer.body.contains("inside"));
        }
        assert_eq!(bench.get_from(guest, &format!("/connect?addr={addr}")).await.status, StatusCode::BAD_GATEWAY);
        let resolved = bench.get_from(guest, "/resolve?name=localhost").await;
        assert_eq!((resolved.status, resolved.body.as_str()), (StatusCode::OK, "127.0.0.1\n::1\n"));
    }
    server.abort();
}

/// What led to the host's loopback once, before a workload had one of its own.
#[tokio::test]
async fn l40_no_grant_of_a_loopback_address_leads_to_the_hosts() {
    let bench = open_bench();
    let (addr, server) = server().await;
    for guest in ["p2", "p3"] {
        let grants = [addr.to_string(), format!("localhost:{}", addr.port())];
        bench.run(granted(workload(guest, guest, &[guest]), &grants.each_ref().map(String::as_str), &["*"])).await;
        for path in
            [format!("/fetch?url=http://localhost:{}/", addr.port()), format!("/fetch?url=http://{addr}/"), format!("/connect?addr={addr}")]
        {
            let answer = bench.get_from(guest, &path).await;
            assert!(
                answer.status == StatusCode::BAD_GATEWAY && answer.body.contains("ConnectionRefused"),
                "{guest} {path}: {}",
                answer.body
            );
        }
    }
    assert!(bench.events.with_reason("Denied").is_empty(), "it is open, and nobody listens");
    server.abort();
}

#[tokio::test]
async fn l39_the_hosts_owner_is_asked_too_and_the_denial_names_the_setting() {
    let bench = Bench::with(|config| config.network.loopback_ports = "1-10".parse().unwrap());
    let (addr, server) = server().await;
    for guest in ["p2", "p3"] {
        bench.run(opened(workload(guest, guest, &[guest]), &[addr.port()])).await;
        for path in [format!("/fetch?url=http://host.wasmcloud.internal:{}/", addr.port()), format!("/connect?addr={}", at_host(addr))] {
            assert_eq!(bench.get_from(guest, &path).await.status, StatusCode::BAD_GATEWAY, "{guest} {path}");
        }
        let log = bench.host.logs().tail("default", Some(guest), 10);
        let way = format!("--host-loopback-ports {}/tcp", addr.port());
        assert_eq!(log.iter().filter(|line| line.text.contains(&way)).count(), 2, "{log:?}");
    }
    server.abort();
}

#[tokio::test]
async fn udp_reaches_a_granted_port_of_the_hosts_loopback_and_the_answer_comes_from_where_it_was_sent_to() {
    let bench = open_bench();
    let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let port = socket.local_addr().unwrap().port();
    let echo = tokio::spawn(async move {
        let mut buf = [0; 100];
        while let Ok((count, from)) = socket.recv_from(&mut buf).await {
            socket.send_to(&buf[..count], from).await.unwrap();
        }
    });
    for guest in ["p2", "p3"] {
        let mut workload = workload(guest, guest, &[guest]);
        workload.components[0].resources.grants.loopback_ports = vec![format!("{port}/udp").parse().unwrap()];
        bench.run(workload).await;
        let answer = bench.get_from(guest, &format!("/udp?addr={}:{port}&say=hello", HOST[0])).await;
        assert_eq!(answer.body, format!("hello from {}:{port}\n", HOST[0]), "{guest}");
        let answer = bench.get_from(guest, &format!("/connect?addr={}:{port}", HOST[0])).await;
        assert!(answer.body.contains("AccessDenied"), "TCP isn't granted: {}", answer.body);
    }
    echo.abort();
}

/// Through the standard library of 0.2, and by the calls of 0.3.
#[tokio::test]
async fn all_options_of_a_socket_are_set_and_read_on_the_hosts_network() {
    let bench = open_bench();
    let (addr, server) = server().await;
    for guest in ["p2", "p3"] {
        bench.run(opened(workload(guest, guest, &[guest]), &[addr.port()])).await;
        let answer = bench.get_from(guest, &format!("/options?addr={}", at_host(addr))).await;
        assert_eq!(answer.body, "(true, 30000000000, 5000000000, 3) 9 (4096, 8192) false\n", "{guest}");
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
        let denied =
            [format!("/fetch?url=http://{}/", at_host(addr)), format!("/connect?addr={}", at_host(addr)), "/resolve?name=a.com".to_owned()];
        for path in denied {
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
    let bench = open_bench();
    let (addr, server) = server().await;
    for guest in ["p2", "p3"] {
        let one = Reuse { pool_size: 1, max_invocations: 0, max_concurrency: 0 };
        bench.run(reused(opened(workload(guest, guest, &[guest]), &[addr.port()]), one)).await;
        for path in [format!("/connect?addr={}", at_host(addr)), format!("/fetch?url=http://{}/", at_host(addr))] {
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
    let bench = open_bench();
    let (addr, server) = server().await;
    let one = Reuse { pool_size: 1, max_invocations: 0, max_concurrency: 0 };
    bench.run(reused(opened(workload("p3", "p3", &["p3"]), &[addr.port()]), one)).await;
    let streams = async |n: u32, more: &str| bench.get_from("p3", &format!("/streams?addr={}&n={n}{more}", at_host(addr))).await;
    let closed = streams(200, "").await;
    assert_eq!(closed.status, StatusCode::OK, "each gives its place back: {}", closed.body);
    let kept = streams(64, "&keep=1").await;
    assert_eq!(kept.status, StatusCode::OK, "{}", kept.body);
    let too_many = streams(65, "&keep=1").await;
    assert!(too_many.status == StatusCode::BAD_GATEWAY && too_many.body.contains("too many sockets"), "{}", too_many.body);
    server.abort();
}
