//! What Berth's benchmarks share: a host with guests, clients that ask, and percentiles.

#![allow(clippy::unwrap_used, reason = "a benchmark that can't go on ends with the reason")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use berth_host::{Host, HostConfig, State, WantedWorkload};
use berth_model::event::{Event, EventSink};
use berth_model::image::ImageRef;
use berth_model::limits::Limits;
use berth_model::resource::PullPolicy;
use berth_model::workload::{Component, HttpEntry, Resources, Reuse, Workload};
use berth_oci::LocalSource;
use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

struct Unheard;

impl EventSink for Unheard {
    fn record(&self, _: Event) {}
}

/// A host with every default, on a free port.
pub fn host() -> Arc<Host> {
    host_with(HostConfig::default())
}

/// A host with this configuration, on a free port.
pub fn host_with(mut config: HostConfig) -> Arc<Host> {
    config.ingress.addr = ([127, 0, 0, 1], 0).into();
    Host::start(config, Arc::new(LocalSource::default()), Arc::new(Unheard)).unwrap()
}

/// Runs a fixture guest for the domain of the same name as the workload.
pub async fn run(host: &Host, name: &str, guest: &str, limits: Limits) {
    let status = host.start_workload(wanted(name, guest, limits)).await;
    assert_eq!(status.state, State::Running, "{}", status.message);
}

/// A workload of a fixture guest, for the domain of the same name.
pub fn wanted(name: &str, guest: &str, limits: Limits) -> WantedWorkload {
    let workload = Workload {
        namespace: "default".into(),
        name: name.into(),
        annotations: Default::default(),
        components: vec![Component {
            name: name.into(),
            image: ImageRef::File(berth_testkit::guests::path(guest)),
            pull_policy: PullPolicy::IfNotPresent,
            pull_credentials: None,
            reuse: Reuse::default(),
            resources: Resources { limits, ..Resources::default() },
            links: Vec::new(),
        }],
        service: None,
        interfaces: Vec::new(),
        volumes: Vec::new(),
        http: Some(HttpEntry { domains: vec![name.parse().unwrap()], component: None }),
    };
    WantedWorkload { id: name.parse().unwrap(), workload, owner: name.into(), created: jiff::Timestamp::now() }
}

/// A connection to the host.
pub async fn connect(addr: SocketAddr) -> Option<SendRequest<Empty<Bytes>>> {
    let stream = TcpStream::connect(addr).await.ok()?;
    stream.set_nodelay(true).ok()?;
    let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.ok()?;
    tokio::spawn(connection);
    Some(sender)
}

/// One GET, read to its end; whether the answer was 200.
pub async fn get(sender: &mut SendRequest<Empty<Bytes>>, domain: &str, path: &str) -> Option<bool> {
    let request = Request::get(path).header("host", domain).body(Empty::new()).unwrap();
    let response = sender.send_request(request).await.ok()?;
    let ok = response.status() == 200;
    response.into_body().collect().await.ok()?;
    Some(ok)
}

/// Asks with `clients` connections, each `pause` after its last answer, for `time`; gives all latencies, sorted.
pub async fn latencies(addr: SocketAddr, domain: &str, path: &str, clients: usize, pause: Duration, time: Duration) -> Vec<Duration> {
    let end = Instant::now() + time;
    let client = async || {
        let mut sender = connect(addr).await.unwrap();
        let mut took = Vec::new();
        let mut tick = tokio::time::interval(pause.max(Duration::from_micros(1)));
        while Instant::now() < end {
            tick.tick().await;
            let start = Instant::now();
            assert_eq!(get(&mut sender, domain, path).await, Some(true), "{domain}{path}");
            took.push(start.elapsed());
        }
        took
    };
    let mut all: Vec<Duration> = futures::future::join_all((0..clients).map(|_| client())).await.concat();
    all.sort();
    all
}

/// Asks without pause, whatever the answers, until told to stop.
pub async fn bother(addr: SocketAddr, domain: &str, path: &str, clients: usize, stop: CancellationToken) {
    let client = async || {
        while !stop.is_cancelled() {
            let Some(mut sender) = connect(addr).await else { continue };
            while !stop.is_cancelled() && get(&mut sender, domain, path).await.is_some() {}
        }
    };
    tokio::select! {
        _ = futures::future::join_all((0..clients).map(|_| client())) => {}
        () = stop.cancelled() => {}
    }
}

/// The duration that `part` of all stay under, of a sorted list.
pub fn percentile(sorted: &[Duration], part: f64) -> Duration {
    let at = ((sorted.len() as f64 * part) as usize).min(sorted.len().saturating_sub(1));
    sorted.get(at).copied().unwrap_or_default()
}
