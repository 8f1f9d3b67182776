//! The workload's own loopback: its components and its service talk on it, and nobody else.

use std::net::SocketAddr;

use berth_host::{HostConfig, State};
use berth_model::image::ImageRef;
use berth_model::resource::PullPolicy;
use berth_model::workload::{Resources, Reuse, Service, Workload};
use http::StatusCode;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};

use crate::harness::{Answer, Bench, reused, wanted, within, workload};

/// The workload with a service: the guest, which listens where `at` says.
pub fn with_service(mut workload: Workload, guest: &str, at: &str) -> Workload {
    let environment = if at.is_empty() { Default::default() } else { [("LISTEN".to_owned(), at.to_owned())].into() };
    workload.service = Some(Service {
        image: ImageRef::File(berth_testkit::guests::path(guest)),
        pull_policy: PullPolicy::IfNotPresent,
        pull_credentials: None,
        max_restarts: 5,
        resources: Resources { environment, ..Resources::default() },
        links: Vec::new(),
    });
    workload
}

fn bench_with(change: impl FnOnce(&mut HostConfig)) -> Bench {
    Bench::with(|config| {
        config.services.first_wait = std::time::Duration::from_millis(1);
        change(config);
    })
}

fn encoded(text: &str) -> String {
    text.bytes().map(|b| if b.is_ascii_alphanumeric() { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}

impl Bench {
    async fn tcp(&self, domain: &str, addr: &str, say: &str) -> Answer {
        self.get_from(domain, &format!("/tcp?addr={addr}&say={}", encoded(say))).await
    }

    /// Waits until somebody listens at `addr` of the workload's loopback.
    async fn listens(&self, domain: &str, addr: &str) {
        let wait = async {
            while self.get_from(domain, &format!("/connect?addr={addr}")).await.status != StatusCode::OK {
                tokio::task::yield_now().await;
            }
        };
        within(wait).await;
    }
}

#[tokio::test]
async fn components_of_both_versions_talk_to_services_of_both_by_tcp_and_udp() {
    let bench = bench_with(|_| {});
    for guest in ["p2", "p3"] {
        for service in ["echo", "echo-p3"] {
            let name = format!("{guest}-{service}");
            bench.run(with_service(workload(&name, guest, &[&name]), service, "")).await;
            let addrs: &[&str] = if service == "echo" { &["127.0.0.1:7000", "[::1]:7000"] } else { &["127.0.0.1:7000"] };
            for addr in addrs {
                bench.listens(&name, addr).await;
                let said = bench.tcp(&name, addr, "one\ntwo\n").await;
                assert_eq!((said.status, said.body.as_str()), (StatusCode::OK, "one\ntwo\n\n"), "{name} {addr}");
                let said = bench.get_from(&name, &format!("/udp?addr={addr}&say=three")).await;
                assert_eq!((said.status, said.body), (StatusCode::OK, format!("three from {addr}\n")), "{name}");
            }
            let much = "x".repeat(6000);
            let said = bench.get_from(&name, &format!("/tcp?addr=127.0.0.1:7000&times=5&say={much}%0A")).await;
            assert_eq!(said.body.lines().filter(|line| *line == much).count(), 5, "{name}: more than fits at once");
        }
    }
}

#[tokio::test]
async fn l40_another_workload_and_the_host_see_nothing_of_it() {
    let bench = bench_with(|config| config.network.loopback_ports = "1-65535".parse().unwrap());
    bench.run(with_service(workload("one", "p2", &["one"]), "echo", "0.0.0.0:7001")).await;
    bench.listens("one", "127.0.0.1:7001").await;
    assert_eq!(TcpStream::connect("127.0.0.1:7001").await.unwrap_err().kind(), std::io::ErrorKind::ConnectionRefused);
    for guest in ["p2", "p3"] {
        bench.run(workload(guest, guest, &[guest])).await;
        for addr in ["127.0.0.1:7001", "127.8.8.8:7001", "[::1]:7001"] {
            let answer = bench.get_from(guest, &format!("/connect?addr={addr}")).await;
            assert!(answer.body.contains("ConnectionRefused"), "{guest} {addr}: {}", answer.body);
        }
    }
    for addr in ["127.0.0.1:7001", "127.8.8.8:7001"] {
        assert_eq!(bench.get_from("one", &format!("/connect?addr={addr}")).await.status, StatusCode::OK, "{addr}");
    }
    // The same port is free in each.
    bench.run(with_service(workload("two", "p3", &["two"]), "echo", "127.0.0.1:7001")).await;
    bench.listens("two", "127.0.0.1:7001").await;
    let lines = async |name: &str| bench.tcp(name, "127.0.0.1:7001", "lines\nlines\n").await.body;
    assert_eq!((lines("one").await, lines("two").await), ("1\n2\n\n".to_owned(), "1\n2\n\n".to_owned()));
}

#[tokio::test]
async fn only_the_service_listens() {
    let bench = bench_with(|_| {});
    for guest in ["p2", "p3"] {
        bench.run(workload(guest, guest, &[guest])).await;
        for addr in ["127.0.0.1:8080", "0.0.0.0:8080", "0.0.0.0:0", "127.0.0.1:0", "[::]:80"] {
            let answer = bench.get_from(guest, &format!("/listen?addr={addr}")).await;
            assert!(answer.body.contains("AccessDenied"), "{guest} {addr}: {}", answer.body);
        }
        let log = bench.host.logs().tail("default", Some(guest), 10);
        assert!(log.iter().all(|line| line.text.contains("only a service can")) && log.len() == 5, "{log:?}");
    }
}

#[tokio::test]
async fn all_options_of_a_socket_are_set_and_read_on_the_loopback() {
    let bench = bench_with(|_| {});
    for guest in ["p2", "p3"] {
        bench.run(with_service(workload(guest, guest, &[guest]), "echo", "")).await;
        bench.listens(guest, "127.0.0.1:7000").await;
        let answer = bench.get_from(guest, "/options?addr=127.0.0.1:7000").await;
        assert_eq!(answer.body, "(true, 30000000000, 5000000000, 3) 9 (4096, 8192) false\n", "{guest}");
    }
}

#[tokio::test]
async fn each_request_has_a_connection_of_its_own_also_in_an_instance_that_is_reused() {
    let bench = bench_with(|_| {});
    for guest in ["p2", "p3"] {
        let reuse = Reuse { pool_size: 1, max_invocations: 0, max_concurrency: 1 };
        let one = with_service(reused(workload(guest, guest, &[guest]), reuse), "echo", "");
        bench.run(one).await;
        bench.listens(guest, "127.0.0.1:7000").await;
        let mut seen = std::collections::HashSet::new();
        for _ in 0..100 {
            let said = bench.tcp(guest, "127.0.0.1:7000", "lines\nwho\n").await.body;
            let (lines, who) = said.trim_end().split_once('\n').unwrap();
            assert_eq!(lines, "1", "{guest}: nobody spoke on it before");
            assert!(who.parse::<SocketAddr>().unwrap().ip().is_loopback() && seen.insert(who.to_owned()), "{guest}: {who} twice");
        }
        // The service finds out when it reads on.
        bench.eventually_says(guest, "open\n", "1").await;
    }
}

impl Bench {
    /// Asks the service at 127.0.0.1:7000 until it gives this answer.
    async fn eventually_says(&self, domain: &str, say: &str, answer: &str) {
        let wait = async {
            while self.tcp(domain, "127.0.0.1:7000", say).await.body.trim_end() != answer {
                tokio::task::yield_now().await;
            }
        };
        within(wait).await;
    }
}

#[tokio::test]
async fn a_service_that_dies_breaks_its_connections_off_and_its_address_is_free_for_the_next_run() {
    let bench = bench_with(|_| {});
    for guest in ["p2", "p3"] {
        bench.run(with_service(workload(guest, guest, &[guest]), "echo", "")).await;
        bench.listens(guest, "127.0.0.1:7000").await;
        let broken = bench.tcp(guest, "127.0.0.1:7000", "whole\ndie\n").await;
        assert_eq!(broken.status, StatusCode::BAD_GATEWAY, "{guest}: {}", broken.body);
        // The C library of WASI 0.2 doesn't ask which error of a stream it was.
        let error = if guest == "p2" { "" } else { "ConnectionReset" };
        assert!(broken.body.contains(&format!("{error} after whole\nhalf an ans")), "{guest}: {}", broken.body);
        bench.listens(guest, "127.0.0.1:7000").await;
        let status = bench.host.statuses().into_iter().find(|status| status.name == guest).unwrap();
        assert!(status.restarts >= 1, "{status:?}");
    }
}

#[tokio::test]
async fn an_outgoing_request_to_localhost_is_one_to_the_workload_itself() {
    let bench = bench_with(|_| {});
    for guest in ["p2", "p3"] {
        bench.run(with_service(workload(guest, guest, &[guest]), "echo", "")).await;
        bench.listens(guest, "127.0.0.1:7000").await;
        for authority in ["localhost:7000", "127.0.0.1:7000", "[::1]:7000", "db.localhost:7000"] {
            // What comes back is the request, which is no response.
            let answer = bench.get_from(guest, &format!("/fetch?url=http://{authority}/")).await;
            assert!(answer.status == StatusCode::BAD_GATEWAY && !answer.body.contains("Refused"), "{guest} {authority}: {}", answer.body);
        }
        let refused = bench.get_from(guest, "/fetch?url=http://localhost:7009/").await;
        assert!(refused.body.contains("ConnectionRefused"), "{guest}: {}", refused.body);
        assert!(bench.events.with_reason("Denied").is_empty(), "it needs no grant");
    }
}

/// Programs that were written for any system, and know nothing of WASI.
#[tokio::test]
async fn a_server_on_mio_holds_many_connections_and_one_of_a_real_crate_answers_http() {
    let bench = bench_with(|_| {});
    bench.run(with_service(workload("lines", "p2", &["lines"]), "service-mio", "")).await;
    bench.listens("lines", "127.0.0.1:7100").await;
    let asks = (1..=200_u64).map(|n| {
        let (bench, say) = (&bench, format!("{n}\n{n}\nsum\n"));
        async move { (n, bench.tcp("lines", "127.0.0.1:7100", &say).await) }
    });
    for (n, said) in futures::future::join_all(asks).await {
        assert_eq!((said.status, said.body.trim_end()), (StatusCode::OK, (2 * n).to_string().as_str()), "each has its own sum");
    }
    for guest in ["p2", "p3"] {
        bench.run(with_service(workload(guest, guest, &[guest]), "service-axum", "")).await;
        bench.listens(guest, "127.0.0.1:7200").await;
        let said = bench.get_from(guest, "/fetch?url=http://localhost:7200/greet/Ann").await;
        assert_eq!((said.status, said.body.as_str()), (StatusCode::OK, "Hello Ann, from axum!\n"), "{guest}");
    }
}

/// A port of the host that is free now.
fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

async fn says(addr: &str, say: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(addr).await?;
    stream.write_all(say.as_bytes()).await?;
    stream.shutdown().await?;
    let mut said = String::new();
    stream.read_to_string(&mut said).await?;
    Ok(said)
}

#[tokio::test]
async fn a_service_is_let_out_to_the_host_where_its_owner_allows_the_port() {
    let port = free_port();
    let bench = bench_with(|config| config.network.service_ports = port.to_string().parse().unwrap());
    let at = format!("0.0.0.0:{port}");
    bench.run(with_service(workload("out", "p2", &["out"]), "echo", &at)).await;
    let addr = format!("127.0.0.1:{port}");
    within(async {
        while TcpStream::connect(&addr).await.is_err() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let said = says(&addr, "one\nwho\n").await.unwrap();
    let (one, who) = said.trim_end().split_once('\n').unwrap();
    assert!(one == "one" && who.parse::<SocketAddr>().unwrap().ip().is_loopback(), "{said}");
    let much = format!("{}\n", "x".repeat(100_000)).repeat(10);
    let mut stream = TcpStream::connect(&addr).await.unwrap();
    let (mut reader, mut writer) = stream.split();
    let mut got = String::new();
    let (written, read) = tokio::join!(
        async {
            writer.write_all(much.as_bytes()).await?;
            writer.shutdown().await
        },
        reader.read_to_string(&mut got)
    );
    assert!(written.is_ok() && read.is_ok() && got == much);

    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let mut buf = [0; 100];
    let answered = async {
        let mut tick = tokio::time::interval(std::time::Duration::from_millis(50));
        loop {
            tokio::select! {
                _ = tick.tick() => { socket.send_to(b"hello", &addr).await.unwrap(); }
                got = socket.recv_from(&mut buf) => break got.unwrap(),
            }
        }
    };
    let (count, from) = within(answered).await;
    assert_eq!((&buf[..count], from.to_string()), (&b"hello"[..], addr.clone()));

    // Its own workload sees it as ever.
    assert_eq!(bench.tcp("out", &addr, "in\n").await.body, "in\n\n");
    let id = wanted(workload("out", "p2", &[])).id;
    bench.host.stop_workload(&id).unwrap();
    within(async {
        while TcpStream::connect(&addr).await.is_ok() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

/// As when a new version takes over from the old one.
#[tokio::test]
async fn a_port_that_somebody_else_has_is_taken_over_when_it_is_free() {
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = taken.local_addr().unwrap().port();
    let bench = bench_with(|config| config.network.service_ports = port.to_string().parse().unwrap());
    let status = bench.run(with_service(workload("next", "p2", &["next"]), "echo", &format!("0.0.0.0:{port}"))).await;
    assert_eq!(status.state, State::Running);
    bench.listens("next", &format!("127.0.0.1:{port}")).await;
    bench.eventually("it is told", || !bench.events.with_reason("PortUnavailable").is_empty()).await;
    drop(taken);
    let addr = format!("127.0.0.1:{port}");
    within(async {
        while says(&addr, "here\n").await.ok().as_deref() != Some("here\n") {
            tokio::task::yield_now().await;
        }
    })
    .await;
}
