//! A host for one test: an ingress on a free port, workloads by name of their guest, an HTTP client, and what was recorded.

use std::collections::BTreeMap;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use berth_host::{Host, HostConfig, State, Status, WantedWorkload};
use berth_model::domain::Domain;
use berth_model::event::{Event, EventSink};
use berth_model::grants::Grants;
use berth_model::image::ImageRef;
use berth_model::limits::Limits;
use berth_model::resource::PullPolicy;
use berth_model::workload::{Component, HttpEntry, Resources, Reuse, Workload};
use berth_oci::{LocalLimits, LocalSource};
use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Incoming};
use hyper::client::conn::http1::SendRequest;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

/// Long enough for a compile on a busy machine.
const DEADLINE: Duration = Duration::from_secs(120);

/// A host under test.
pub struct Bench {
    pub host: Arc<Host>,
    pub events: Arc<Events>,
}

/// Events that the host recorded.
#[derive(Default)]
pub struct Events(Mutex<Vec<Event>>);

impl EventSink for Events {
    fn record(&self, event: Event) {
        self.0.lock().unwrap().push(event);
    }
}

impl Events {
    pub fn with_reason(&self, reason: &str) -> Vec<Event> {
        self.0.lock().unwrap().iter().filter(|e| e.reason == reason).cloned().collect()
    }
}

/// An answer, read to its end.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: String,
    pub trailers: HeaderMap,
}

impl Bench {
    /// A host with the defaults, on a free port, with two threads.
    pub fn start() -> Bench {
        Bench::with(|_| {})
    }

    pub fn with(change: impl FnOnce(&mut HostConfig)) -> Bench {
        let mut config = HostConfig::default();
        config.ingress.addr = ([127, 0, 0, 1], 0).into();
        config.ingress.threads = 2;
        // Reserving little address space keeps many hosts in one test process cheap.
        config.slots = 200;
        change(&mut config);
        let events = Arc::new(Events::default());
        let host = Host::start(config, Arc::new(LocalSource::new(LocalLimits::default())), events.clone()).unwrap();
        Bench { host, events }
    }

    /// Runs `workload` beside those that run, and waits until it serves.
    pub async fn run(&self, workload: Workload) -> Status {
        let status = self.host.start_workload(wanted(workload)).await;
        assert_eq!(status.state, State::Running, "{status:?}");
        status
    }

    /// Runs the guest for every domain that nobody claims.
    pub async fn run_guest(&self, guest: &str) -> Status {
        self.run(workload(guest, guest, &[])).await
    }

    pub async fn connect(&self) -> SendRequest<Full<Bytes>> {
        self.connect_with().await
    }

    pub async fn connect_with<B>(&self) -> SendRequest<B>
    where
        B: Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Send + 'static,
    {
        let stream = TcpStream::connect(self.host.http_addr()).await.unwrap();
        let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        sender
    }

    /// HTTP/2 by prior knowledge.
    pub async fn connect_http2<B>(&self) -> http2::SendRequest<B>
    where
        B: Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Send + Unpin + 'static,
    {
        let stream = TcpStream::connect(self.host.http_addr()).await.unwrap();
        let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        sender
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send(request("GET", path)).await
    }

    pub async fn get_from(&self, domain: &str, path: &str) -> Answer {
        let mut request = request("GET", path);
        request.headers_mut().insert("host", domain.parse().unwrap());
        self.send(request).await
    }

    pub async fn send(&self, request: Request<Full<Bytes>>) -> Answer {
        let mut sender = self.connect().await;
        let response = within(sender.send_request(request)).await.unwrap();
        within(read(response)).await.unwrap()
    }

    /// Waits until `condition` holds.
    pub async fn eventually(&self, what: &str, mut condition: impl FnMut() -> bool) {
        let wait = async {
            let mut tick = tokio::time::interval(Duration::from_millis(5));
            while !condition() {
                tick.tick().await;
            }
        };
        assert!(tokio::time::timeout(DEADLINE, wait).await.is_ok(), "never so: {what}");
    }

    /// A counter or gauge as a scrape shows it; the sum of all lines that contain `part`.
    pub fn metric(&self, name: &str, part: &str) -> f64 {
        let mut registry = prometheus_client::registry::Registry::default();
        self.host.register_metrics(&mut registry);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        text.lines()
            .filter(|line| line.starts_with(name) && line.contains(part))
            .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
            .sum()
    }
}

/// `future`, unless the deadline of the tests passes.
pub async fn within<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(DEADLINE, future).await.expect("no answer within the deadline of the tests")
}

pub async fn read(response: Response<Incoming>) -> Result<Answer, hyper::Error> {
    let (parts, body) = response.into_parts();
    let collected = body.collect().await?;
    let trailers = collected.trailers().cloned().unwrap_or_default();
    let body = String::from_utf8_lossy(&collected.to_bytes()).into_owned();
    Ok(Answer { status: parts.status, headers: parts.headers, body, trailers })
}

pub fn request(method: &str, path: &str) -> Request<Full<Bytes>> {
    Request::builder().method(method).uri(path).header("host", "localhost").body(Full::default()).unwrap()
}

pub fn wanted(workload: Workload) -> WantedWorkload {
    WantedWorkload {
        id: format!("{}-{}", workload.namespace, workload.name).parse().unwrap(),
        owner: format!("{}/{}", workload.namespace, workload.name),
        created: jiff::Timestamp::now(),
        workload,
    }
}

/// A workload of one component: a fixture guest. Without domains it serves what nobody else claims.
pub fn workload(name: &str, guest: &str, domains: &[&str]) -> Workload {
    workload_of(name, ImageRef::File(berth_testkit::guests::path(guest)), domains)
}

pub fn workload_of(name: &str, image: ImageRef, domains: &[&str]) -> Workload {
    Workload {
        namespace: "default".into(),
        name: name.into(),
        annotations: BTreeMap::new(),
        components: vec![Component {
            name: name.into(),
            image,
            pull_policy: PullPolicy::IfNotPresent,
            pull_credentials: None,
            reuse: Reuse::default(),
            resources: Resources::default(),
            links: Vec::new(),
        }],
        service: None,
        interfaces: Vec::new(),
        volumes: Vec::new(),
        http: Some(HttpEntry { domains: domains.iter().map(|d| d.parse::<Domain>().unwrap()).collect(), component: None }),
    }
}

/// The workload with other limits.
pub fn limited(mut workload: Workload, limits: Limits) -> Workload {
    workload.components[0].resources.limits = limits;
    workload
}

/// The workload with instance reuse.
pub fn reused(mut workload: Workload, reuse: Reuse) -> Workload {
    workload.components[0].reuse = reuse;
    workload
}

/// The workload with ways out.
pub fn granted(mut workload: Workload, hosts: &[&str], names: &[&str]) -> Workload {
    workload.components[0].resources.grants = Grants {
        hosts: hosts.iter().map(|h| h.parse().unwrap()).collect(),
        names: names.iter().map(|n| n.parse().unwrap()).collect(),
        ..Grants::default()
    };
    workload
}

/// Sends requests, `clients` at once, until told to stop.
pub async fn keep_asking(addr: SocketAddr, domain: &'static str, path: &'static str, clients: usize, stop: CancellationToken) {
    let client = async || {
        while !stop.is_cancelled() {
            let Ok(stream) = TcpStream::connect(addr).await else { continue };
            let Ok((mut sender, connection)) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await else { continue };
            let connection = tokio::spawn(connection);
            let mut get = request("GET", path);
            get.headers_mut().insert("host", domain.parse().unwrap());
            tokio::select! {
                _ = async { if let Ok(response) = sender.send_request(get).await { let _ = read(response).await; } } => {}
                () = stop.cancelled() => {}
            }
            connection.abort();
        }
    };
    futures::future::join_all((0..clients).map(|_| client())).await;
}

/// Asks like [`keep_asking`] and counts the answers by status.
pub async fn count_answers(
    addr: SocketAddr,
    domain: &'static str,
    path: &'static str,
    clients: usize,
    stop: CancellationToken,
) -> BTreeMap<u16, u32> {
    let client = async || {
        let mut counts = BTreeMap::<u16, u32>::new();
        while !stop.is_cancelled() {
            let stream = TcpStream::connect(addr).await.unwrap();
            let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
            let connection = tokio::spawn(connection);
            for _ in 0..20 {
                let mut get = request("GET", path);
                get.headers_mut().insert("host", domain.parse().unwrap());
                sender.ready().await.unwrap();
                let answer = within(read(within(sender.send_request(get)).await.unwrap())).await.unwrap();
                *counts.entry(answer.status.as_u16()).or_default() += 1;
            }
            connection.abort();
        }
        counts
    };
    let mut all = BTreeMap::<u16, u32>::new();
    for counts in futures::future::join_all((0..clients).map(|_| client())).await {
        counts.into_iter().for_each(|(status, n)| *all.entry(status).or_default() += n);
    }
    all
}
