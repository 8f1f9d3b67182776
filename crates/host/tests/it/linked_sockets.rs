//! Sockets of WASI 0.3 of components that are composed into one: each goes where its own grants lead, and a socket that one hands to
//! another is one thing to both.
//!
//! In `pair` the component that answers has sockets and so has the one that it calls; in `behind` both are composed into a middleware, so
//! that neither is the root.

use std::net::SocketAddr;
use std::time::Duration;

use berth_model::grants::Grants;
use berth_model::limits::Limits;
use berth_model::workload::{Component, Link, Workload};
use http::StatusCode;
use tokio::net::{TcpListener, UdpSocket};
use tokio::task::JoinSet;

use crate::harness::{Answer, Bench, within};
use crate::linking::{component, linked};
use crate::loopback::with_service;

/// What stands for the host's loopback.
const HOST: &str = "192.0.0.8";

/// A server for each of the two, by TCP and UDP, that says what it is told.
struct Servers {
    tcp: [SocketAddr; 2],
    udp: [SocketAddr; 2],
    _tasks: JoinSet<()>,
}

impl Servers {
    async fn start() -> Servers {
        let mut tasks = JoinSet::new();
        let (mut tcp, mut udp) = (Vec::new(), Vec::new());
        for _ in 0..2 {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            tcp.push(listener.local_addr().unwrap());
            tasks.spawn(async move {
                let mut connections = JoinSet::new();
                while let Ok((mut stream, _)) = listener.accept().await {
                    connections.spawn(async move {
                        let (mut from, mut to) = stream.split();
                        // Whoever breaks off has heard enough.
                        let _ = tokio::io::copy(&mut from, &mut to).await;
                    });
                }
            });
            let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
            udp.push(socket.local_addr().unwrap());
            tasks.spawn(async move {
                let mut buf = [0; 100];
                while let Ok((count, from)) = socket.recv_from(&mut buf).await {
                    socket.send_to(&buf[..count], from).await.unwrap();
                }
            });
        }
        Servers { tcp: tcp.try_into().unwrap(), udp: udp.try_into().unwrap(), _tasks: tasks }
    }

    /// What lets a component to the servers of this number, to an address and to a name that are nowhere.
    fn grants(&self, number: usize) -> Grants {
        let ports = [self.tcp[number].port().to_string(), format!("{}/udp", self.udp[number].port())];
        Grants {
            hosts: vec![format!("tcp://{}", nowhere(number)).parse().unwrap()],
            names: vec![unknown(number).parse().unwrap()],
            loopback_ports: ports.iter().map(|port| port.parse().unwrap()).collect(),
        }
    }

    fn tcp(&self, number: usize) -> String {
        format!("{HOST}:{}", self.tcp[number].port())
    }

    fn udp(&self, number: usize) -> String {
        format!("{HOST}:{}", self.udp[number].port())
    }
}

/// A private address that no network here has: who may go there finds nobody.
fn nowhere(number: usize) -> String {
    format!("[fd00::77:{number}]:9")
}

/// A name that nobody has (RFC 2606): who may ask for it learns just that.
fn unknown(number: usize) -> String {
    format!("nobody-{number}.invalid")
}

/// The component that answers, and the one that it calls.
const WHO: [&str; 2] = ["own", "flow"];

fn name_of(who: &str) -> &str {
    if who == "own" { "front" } else { who }
}

fn guests(grants: [Grants; 2]) -> Vec<Component> {
    let mut all = vec![component("front", "link-front-p3"), component("flow", "link-back-p3"), component("back", "link-back")];
    for (component, grants) in all.iter_mut().zip(grants) {
        component.resources.grants = grants;
    }
    all
}

/// `gate`, which passes requests on to `to`, composed with it.
fn before(to: &str) -> Component {
    let link = Link { import: "wasi:http/handler".parse().unwrap(), component: Some(to.to_owned()), fuse: true };
    Component { links: vec![link], ..component("gate", "p3-middleware") }
}

/// The front is the root.
fn pair(grants: [Grants; 2]) -> Workload {
    linked("pair", guests(grants))
}

/// Another is the root.
fn behind(grants: [Grants; 2]) -> Workload {
    let mut components = guests(grants);
    components.push(before("front"));
    linked("behind", components)
}

fn open_bench() -> Bench {
    Bench::with(|config| config.network.loopback_ports = "1-65535".parse().unwrap())
}

fn patient(mut workload: Workload, patience: Duration) -> Workload {
    for component in &mut workload.components {
        component.resources.limits = Limits { request_timeout: Some(patience), ..Limits::default() };
    }
    workload
}

/// Whether the answer says that there was no grant.
fn is_denied(answer: &Answer) -> bool {
    answer.status == StatusCode::BAD_GATEWAY && answer.body.contains("AccessDenied")
}

fn said(answer: &Answer) -> (StatusCode, &str) {
    (answer.status, answer.body.as_str())
}

/// How often it was said of the component that it may not do something, where the line has `text`.
fn denials(bench: &Bench, workload: &str, component: &str, text: &str) -> usize {
    let log = bench.host.logs().tail("default", Some(workload), 1000);
    log.iter().filter(|line| *line.component == *component && line.text.contains("denied") && line.text.contains(text)).count()
}

#[tokio::test]
async fn l38_each_member_reaches_by_sockets_of_03_what_it_was_granted_and_no_more() {
    let bench = open_bench();
    let servers = Servers::start().await;
    for workload in [pair as fn([Grants; 2]) -> Workload, behind] {
        let workload = workload([servers.grants(0), servers.grants(1)]);
        let name = workload.name.clone();
        bench.run(workload).await;
        let get = async |path: &str| bench.get_from(&name, path).await;
        for (number, who) in WHO.into_iter().enumerate() {
            let (own, other) = (number, 1 - number);
            let answer = get(&format!("/{who}/tcp?addr={}&say=hello", servers.tcp(own))).await;
            assert_eq!(said(&answer), (StatusCode::OK, "hello"), "{name} {who}");
            let answer = get(&format!("/{who}/udp?addr={}&say=hello", servers.udp(own))).await;
            assert_eq!(said(&answer), (StatusCode::OK, format!("hello from {}", servers.udp(own)).as_str()), "{name} {who}");
            let answer = get(&format!("/{who}/resolve?name={}", unknown(own))).await;
            assert_eq!(said(&answer), (StatusCode::BAD_GATEWAY, "NameUnresolvable"), "{name} {who}");

            for path in [
                format!("/{who}/tcp?addr={}&say=hello", servers.tcp(other)),
                format!("/{who}/udp?addr={}&say=hello", servers.udp(other)),
                format!("/{who}/resolve?name={}", unknown(other)),
            ] {
                let answer = get(&path).await;
                assert!(is_denied(&answer), "{name} {path}: {}", answer.body);
            }
            // Told of the one that tried, with the grant that it lacks.
            for grant in
                [format!("\"{}/tcp\"", servers.tcp[other].port()), format!("\"{}/udp\"", servers.udp[other].port()), unknown(other)]
            {
                assert_eq!(denials(&bench, &name, name_of(who), &grant), 1, "{name} {who} {grant}");
            }
            assert_eq!(denials(&bench, &name, name_of(WHO[other]), &unknown(other)), 0, "{name} {who}");
        }
    }
}

#[tokio::test]
async fn l38_hosts_that_one_member_is_allowed_another_is_denied() {
    let bench = Bench::start();
    let servers = Servers::start().await;
    // Where a network swallows what is sent to the address that is granted, the request ends by its deadline, which is no denial either.
    for workload in [pair as fn([Grants; 2]) -> Workload, behind] {
        let workload = patient(workload([servers.grants(0), servers.grants(1)]), Duration::from_secs(5));
        let name = workload.name.clone();
        bench.run(workload).await;
        for (number, who) in WHO.into_iter().enumerate() {
            let answer = bench.get_from(&name, &format!("/{who}/tcp?addr={}", nowhere(number))).await;
            assert!(answer.status != StatusCode::OK && !is_denied(&answer), "{name} {who}: {}", answer.body);
            let answer = bench.get_from(&name, &format!("/{who}/tcp?addr={}", nowhere(1 - number))).await;
            assert!(is_denied(&answer), "{name} {who}: {}", answer.body);
            assert_eq!(denials(&bench, &name, name_of(who), "allowedHosts"), 1, "{name} {who}");
        }
    }
}

/// What it may reach is its maker's, also in another's hands.
#[tokio::test]
async fn l38_a_socket_that_is_handed_over_goes_where_its_maker_may_go() {
    let bench = open_bench();
    let servers = Servers::start().await;
    for workload in [pair as fn([Grants; 2]) -> Workload, behind] {
        let workload = workload([servers.grants(0), servers.grants(1)]);
        let name = workload.name.clone();
        bench.run(workload).await;
        let get = async |path: &str| bench.get_from(&name, path).await;
        let answer = get(&format!("/own/lend?addr={}&say=hello", servers.tcp(0))).await;
        assert_eq!(said(&answer), (StatusCode::OK, "hello"), "{name}: made by the front, spoken on by the other");
        let answer = get(&format!("/flow/lend?addr={}&say=hello", servers.tcp(1))).await;
        assert_eq!(said(&answer), (StatusCode::OK, "hello"), "{name}: made by the other, connected by the front");
        let answer = get(&format!("/flow/lend?addr={}&say=hello", servers.tcp(0))).await;
        assert!(is_denied(&answer), "{name}: {}", answer.body);
        let port = format!("\"{}/tcp\"", servers.tcp[0].port());
        assert_eq!((denials(&bench, &name, "flow", &port), denials(&bench, &name, "front", &port)), (1, 0), "{name}");
    }
}

#[tokio::test]
async fn every_member_reaches_the_workloads_service_on_its_loopback_without_a_grant() {
    let bench = Bench::with(|config| config.services.first_wait = Duration::from_millis(1));
    for workload in [pair as fn([Grants; 2]) -> Workload, behind] {
        let workload = with_service(workload([Grants::default(), Grants::default()]), "echo-p3", "");
        let name = workload.name.clone();
        bench.run(workload).await;
        for who in WHO {
            let path = format!("/{who}/tcp?addr=127.0.0.1:7000&say=one%0A");
            let answer = within(async {
                loop {
                    let answer = bench.get_from(&name, &path).await;
                    // The service may not listen yet.
                    if answer.body != "ConnectionRefused" {
                        return answer;
                    }
                }
            })
            .await;
            assert_eq!((answer.status, answer.body.trim()), (StatusCode::OK, "one"), "{name} {who}");
            let answer = bench.get_from(&name, &format!("/{who}/udp?addr=127.0.0.1:7000&say=two")).await;
            assert_eq!(said(&answer), (StatusCode::OK, "two from 127.0.0.1:7000"), "{name} {who}");
            let answer = bench.get_from(&name, &format!("/{who}/resolve?name=localhost")).await;
            assert_eq!(said(&answer), (StatusCode::OK, "127.0.0.1\n::1"), "{name} {who}");
        }
    }
    assert!(bench.events.with_reason("Denied").is_empty());
}

/// The guest that has all of sockets, as the root's only member.
#[tokio::test]
async fn l38_a_member_has_all_that_sockets_do_within_bounds_of_its_own() {
    let bench = open_bench();
    let servers = Servers::start().await;
    let addr = servers.tcp(0);
    let mut guest = component("guest", "p3");
    guest.resources.grants = servers.grants(0);
    bench.run(linked("all", vec![before("guest"), guest])).await;
    let get = async |path: &str| bench.get_from("all", path).await;

    let answer = get(&format!("/options?addr={addr}")).await;
    assert_eq!(answer.body, "(true, 30000000000, 5000000000, 3) 9 (4096, 8192) false\n");
    let answer = get("/listen?addr=127.0.0.1:8080").await;
    assert!(is_denied(&answer), "only a service listens: {}", answer.body);
    let much = "x".repeat(6000);
    let answer = get(&format!("/tcp?addr={addr}&times=5&say={much}")).await;
    assert_eq!((answer.status, answer.body.len()), (StatusCode::OK, 30_001), "more than fits at once, and the end of a line");
    let closed = get(&format!("/streams?addr={addr}&n=100")).await;
    assert_eq!(closed.status, StatusCode::OK, "each gives its place back: {}", closed.body);
    let too_many = get(&format!("/streams?addr={addr}&n=65&keep=1")).await;
    assert!(too_many.status == StatusCode::BAD_GATEWAY && too_many.body.contains("too many sockets"), "{}", too_many.body);
    assert_eq!(bench.events.with_reason("ConnectionLimit").iter().filter(|event| event.message.contains("component guest")).count(), 1);
}

#[tokio::test]
async fn what_inspect_says_of_a_members_sockets_is_what_it_has() {
    let bench = Bench::start();
    let servers = Servers::start().await;
    let inspected = bench.host.inspect(pair([servers.grants(0), Grants::default()])).await;
    assert!(inspected.problems.is_empty(), "{:?}", inspected.problems);
    for (name, denied) in [("front", false), ("flow", true)] {
        let component = inspected.components.iter().find(|component| component.name == name).unwrap();
        let types = component.imports.iter().find(|import| import.name.starts_with("wasi:sockets/types@0.3")).unwrap();
        assert!(types.own, "{name}");
        assert_eq!(component.denied.iter().any(|denied| denied.what == "TCP sockets"), denied, "{name}: {:?}", component.denied);
    }
}
