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

/// Asks with a socket that blocks, so that the locks that this thread holds are held all the while.
fn status(addr: SocketAddr, domain: &str) -> String {
    let mut stream = TcpStream::connect(addr).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    write!(stream, "GET / HTTP/1.1\r\nhost: {domain}\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.lines().next().unwrap_or_default().to_owned()
}

#[test]
fn l37_a_request_takes_no_lock_that_workloads_share() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let _entered = runtime.enter();
    let mut config = HostConfig { slots: 10, ..HostConfig::default() };
    config.ingress.addr.set_port(0);
    let host = Host::start(config, Arc::new(LocalSource::new(LocalLimits::default())), Arc::new(Nowhere)).unwrap();
    for guest in ["p2", "p3"] {
        let started = runtime.block_on(host.start_workload(wanted(guest)));
        assert_eq!(started.state, State::Running, "{started:?}");
    }
    let _held = (host.supervisor.hold(), host.metrics.hold(), host.logs.hold(), host.supervisor.preparer.compiler.hold());
    for guest in ["p2", "p3"] {
        assert_eq!(status(host.http_addr(), guest), "HTTP/1.1 200 OK", "{guest}");
    }
}
