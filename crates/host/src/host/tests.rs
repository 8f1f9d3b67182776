//! What a request needs of its host, and what it doesn't.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use berth_model::event::Event;
use berth_model::image::ImageRef;
use berth_model::resource::PullPolicy;
use berth_model::workload::{Component, HttpEntry, Resources, Reuse, Workload};
use berth_oci::{LocalLimits, LocalSource};

use super::*;
use crate::compile::Compiled;
use crate::engine::Tier;
use crate::status::State;

struct Nowhere;

impl EventSink for Nowhere {
    fn record(&self, _: Event) {}
}

fn wanted(guest: &str) -> WantedWorkload {
    let component = Component {
        name: guest.into(),
        image: ImageRef::File(berth_testkit::guests::path(guest)),
        pull_policy: PullPolicy::IfNotPresent,
        pull_credentials: None,
        reuse: Reuse::default(),
        resources: Resources::default(),
        links: Vec::new(),
    };
    let workload = Workload {
        namespace: "default".into(),
        name: guest.into(),
        annotations: BTreeMap::new(),
        components: vec![component],
        service: None,
        interfaces: Vec::new(),
        volumes: Vec::new(),
        http: Some(HttpEntry { domains: vec![guest.parse().unwrap()], component: None }),
    };
    WantedWorkload { id: guest.parse().unwrap(), owner: guest.into(), created: jiff::Timestamp::now(), workload }
}

fn start(config: HostConfig) -> Arc<Host> {
    let mut config = HostConfig { slots: 10, ..config };
    config.ingress.addr.set_port(0);
    Host::start(config, Arc::new(LocalSource::new(LocalLimits::default())), Arc::new(Nowhere)).unwrap()
}

fn tiered() -> HostConfig {
    HostConfig { tiered_compilation: true, ..HostConfig::default() }
}

/// What the workload of this domain runs.
fn code(host: &Host, domain: &str) -> Arc<Compiled> {
    let routes = host.supervisor.routes.load();
    let workload = routes.find(domain).expect("it serves");
    workload.entry.code.load().compiled.clone()
}

fn ask(addr: SocketAddr, domain: &str, path: &str) -> TcpStream {
    let mut stream = TcpStream::connect(addr).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nhost: {domain}\r\nconnection: close\r\n\r\n").unwrap();
    stream
}

/// Asks with a socket that blocks, so that the locks that this thread holds are held all the while.
fn status(addr: SocketAddr, domain: &str) -> String {
    status_of(ask(addr, domain, "/"))
}

fn status_of(mut stream: TcpStream) -> String {
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.lines().next().unwrap_or_default().to_owned()
}

#[test]
fn l37_a_request_takes_no_lock_that_workloads_share() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let _entered = runtime.enter();
    let host = start(HostConfig::default());
    for guest in ["p2", "p3"] {
        let started = runtime.block_on(host.start_workload(wanted(guest)));
        assert_eq!(started.state, State::Running, "{started:?}");
    }
    let _held = (host.supervisor.hold(), host.metrics.hold(), host.logs.hold(), host.supervisor.preparer.compiler.hold());
    for guest in ["p2", "p3"] {
        assert_eq!(status(host.http_addr(), guest), "HTTP/1.1 200 OK", "{guest}");
    }
}

#[test]
fn a_handler_goes_over_to_optimized_code_while_it_serves_and_lets_go_of_what_it_had() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let _entered = runtime.enter();
    let host = start(tiered());
    for guest in ["p2-hello", "p3-hello"] {
        runtime.block_on(host.start_workload(wanted(guest)));
        let baseline = Some(code(&host, guest)).filter(|code| code.tier == Tier::Baseline).as_ref().map(Arc::downgrade);
        let begin = std::time::Instant::now();
        while code(&host, guest).tier == Tier::Baseline || baseline.as_ref().is_some_and(|baseline| baseline.strong_count() > 0) {
            assert_eq!(status(host.http_addr(), guest), "HTTP/1.1 200 OK", "{guest}");
            assert!(begin.elapsed() < Duration::from_secs(60), "{guest}");
        }
        assert_eq!(status(host.http_addr(), guest), "HTTP/1.1 200 OK", "{guest}");
    }
}

#[test]
fn what_lasts_is_optimized_before_it_serves_and_where_tiers_are_off_all_is() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let _entered = runtime.enter();
    let reused = |guest| {
        let mut wanted = wanted(guest);
        wanted.workload.components[0].reuse.pool_size = 1;
        wanted
    };
    for (tiered_compilation, wanted) in [(true, reused("p2-hello")), (true, reused("p3-hello")), (false, wanted("p2-hello"))] {
        let host = start(HostConfig { tiered_compilation, ..HostConfig::default() });
        let name = wanted.workload.name.clone();
        runtime.block_on(host.start_workload(wanted));
        assert_eq!((code(&host, &name).tier, host.metrics.optimizations.get()), (Tier::Optimized, 0), "{name}");
    }
}

/// Waits until as many instances are taken.
fn until_taken(host: &Host, instances: u64) {
    let begin = std::time::Instant::now();
    while host.supervisor.preparer.engines.load().instances != instances {
        assert!(begin.elapsed() < Duration::from_secs(60), "{instances} are taken");
        std::thread::yield_now();
    }
}

#[test]
fn l31_baseline_code_keeps_to_the_bounds_on_instances_and_stacks() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let _entered = runtime.enter();
    for guest in ["p2", "p3"] {
        let host = start(HostConfig { instances: Some(2), ..tiered() });
        let _held = runtime.block_on(host.supervisor.preparer.compiler.hold_back());
        runtime.block_on(host.start_workload(wanted(guest)));
        assert_eq!(code(&host, guest).tier, Tier::Baseline);
        let addr = host.http_addr();
        let held = [ask(addr, guest, "/never"), ask(addr, guest, "/never")];
        until_taken(&host, 2);
        assert_eq!(status(addr, guest), "HTTP/1.1 503 Service Unavailable", "{guest}");
        drop(held);
        until_taken(&host, 0);
        assert_eq!(status_of(ask(addr, guest, "/recurse")), "HTTP/1.1 500 Internal Server Error", "{guest}");
        assert_eq!(status_of(ask(addr, guest, "/alloc?mb=1000")), "HTTP/1.1 500 Internal Server Error", "{guest}");
        assert_eq!(status(addr, guest), "HTTP/1.1 200 OK", "{guest}");
    }
}

#[test]
fn l30_baseline_code_that_computes_is_interrupted() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let _entered = runtime.enter();
    let host = start(tiered());
    let _held = runtime.block_on(host.supervisor.preparer.compiler.hold_back());
    for guest in ["p2", "p3"] {
        let mut wanted = wanted(guest);
        wanted.workload.components[0].resources.limits.request_timeout = Some(Duration::from_millis(300));
        runtime.block_on(host.start_workload(wanted));
        assert_eq!(code(&host, guest).tier, Tier::Baseline);
        assert_eq!(status_of(ask(host.http_addr(), guest, "/spin")), "HTTP/1.1 504 Gateway Timeout", "{guest}");
    }
}
