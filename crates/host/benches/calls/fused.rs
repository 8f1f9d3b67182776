//! Berth's side: a host whose workloads are fixture guests, and an HTTP client.

use std::sync::Arc;

use berth_host::{Host, HostConfig, State, WantedWorkload};
use berth_model::event::{Event, EventSink};
use berth_model::image::ImageRef;
use berth_model::resource::PullPolicy;
use berth_model::workload::{Component, HttpEntry, Resources, Reuse, Workload};
use berth_oci::LocalSource;
use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

struct Unheard;

impl EventSink for Unheard {
    fn record(&self, _: Event) {}
}

/// A host that runs the guests as one workload.
pub struct Fused(Arc<Host>);

impl Fused {
    /// Starts it, and waits until it answers.
    pub async fn start() -> Fused {
        let host = host();
        let guests = ["link-front", "link-middle", "link-back"];
        let status = host.start_workload(wanted("calls", guests.map(component).to_vec())).await;
        assert_eq!(status.state, State::Running, "{}", status.message);
        Fused(host)
    }

    /// What the front answers.
    pub async fn ask(&self, path: &str) -> String {
        let stream = TcpStream::connect(self.0.http_addr()).await.unwrap();
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        let asked = async {
            let request = Request::get(path).header("host", "calls").body(Empty::<Bytes>::new()).unwrap();
            let response = sender.send_request(request).await.unwrap();
            let (head, body) = response.into_parts();
            let body = body.collect().await.unwrap().to_bytes();
            assert_eq!(head.status, 200, "{}", String::from_utf8_lossy(&body));
            String::from_utf8(body.to_vec()).unwrap()
        };
        tokio::select! {
            answer = asked => answer,
            ended = connection => panic!("the connection ended without an answer: {ended:?}"),
        }
    }
}

/// A host with every default, on a free port.
pub fn host() -> Arc<Host> {
    let mut config = HostConfig::default();
    config.ingress.addr = ([127, 0, 0, 1], 0).into();
    Host::start(config, Arc::new(LocalSource::default()), Arc::new(Unheard)).unwrap()
}

/// A fixture guest under its own name.
pub fn component(guest: &str) -> Component {
    Component {
        name: guest.into(),
        image: ImageRef::File(berth_testkit::guests::path(guest)),
        pull_policy: PullPolicy::IfNotPresent,
        pull_credentials: None,
        reuse: Reuse::default(),
        resources: Resources::default(),
        links: Vec::new(),
    }
}

/// A workload for the domain of its name, of which the first component answers.
pub fn wanted(name: &str, components: Vec<Component>) -> WantedWorkload {
    let entry = components[0].name.clone();
    let workload = Workload {
        namespace: "default".into(),
        name: name.into(),
        annotations: Default::default(),
        components,
        service: None,
        interfaces: Vec::new(),
        volumes: Vec::new(),
        http: Some(HttpEntry { domains: vec![name.parse().unwrap()], component: Some(entry) }),
    };
    WantedWorkload { id: name.parse().unwrap(), workload, owner: name.into(), created: jiff::Timestamp::now() }
}
