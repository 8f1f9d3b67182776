//! What the host tells of single requests, for whoever listens at debug.

use std::fmt::{Debug, Write};
use std::sync::Mutex;

use http::StatusCode;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

use crate::harness::{Bench, request, within, workload};

/// Events of the ingress, as `name=value` in their order.
static HEARD: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Hears the ingress alone, so that other tests of the process aren't slowed.
struct Ear;

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        write!(self.0, "{}={value:?} ", field.name()).unwrap();
    }
}

impl Subscriber for Ear {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("berth_host::ingress")
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut line = Line(String::new());
        event.record(&mut line);
        HEARD.lock().unwrap().push(line.0);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

/// The event of the one request for `path`, once it is there.
async fn heard(bench: &Bench, path: &str) -> String {
    let find = || HEARD.lock().unwrap().iter().find(|line| line.contains(path)).cloned();
    bench.eventually("the request is told", || find().is_some()).await;
    find().unwrap()
}

#[tokio::test]
async fn each_request_is_told_at_debug_with_what_came_of_it_and_without_its_query() {
    tracing::subscriber::set_global_default(Ear).unwrap();
    let bench = Bench::start();
    bench.run(workload("told", "p2", &["told"])).await;
    let mut ask = request("GET", "/status/418?secret=1&mark=traces");
    ask.headers_mut().insert("host", "told".parse().unwrap());
    ask.headers_mut().insert("x-request-id", "told-7".parse().unwrap());
    assert_eq!(bench.send(ask).await.status, StatusCode::IM_A_TEAPOT);
    let line = heard(&bench, "told-7").await;
    for part in ["method=GET", r#"path="/status/418""#, "status=418", r#"namespace="default""#, r#"workload="told""#, "took_us="] {
        assert!(line.contains(part), "{part}: {line}");
    }
    assert!(!line.contains("secret"), "{line}");

    assert_eq!(bench.get_from("nobody", "/traces-nobody").await.status, StatusCode::NOT_FOUND);
    assert!(heard(&bench, "/traces-nobody").await.contains("status=404"));

    let mut sender = bench.connect().await;
    let mut ask = request("GET", "/never?traces");
    ask.headers_mut().insert("host", "told".parse().unwrap());
    ask.headers_mut().insert("x-request-id", "told-8".parse().unwrap());
    let pending = tokio::spawn(async move { sender.send_request(ask).await.is_ok() });
    bench.eventually("the guest runs", || bench.host.in_flight() == 1).await;
    pending.abort();
    let line = heard(&bench, "told-8").await;
    assert!(!line.contains("status="), "its client left before there was one: {line}");
    let _ = within(pending).await;
}
