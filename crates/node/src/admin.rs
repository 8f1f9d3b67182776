//! The admin address: `/livez`, `/readyz` and `/metrics`, for whatever watches the process.

use std::fmt;
use std::sync::Arc;

use berth_host::Host;
use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

use crate::bounds::Bounds;
use crate::caches::CachesCollector;
use crate::lifecycle::{Lifecycle, Phase};
use crate::server::{Body, Handler, respond, whole};
use crate::system::ProcessFigures;

const TEXT: &str = "text/plain; charset=utf-8";
/// The format of Prometheus' text encoder (OpenMetrics 1.0).
const METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Answers on the admin address.
pub(crate) struct Admin {
    registry: Registry,
    lifecycle: Arc<Lifecycle>,
}

impl Admin {
    pub(crate) fn new(host: &Host, bounds: Bounds, lifecycle: Arc<Lifecycle>) -> Admin {
        let mut registry = Registry::default();
        let version = [("version", env!("CARGO_PKG_VERSION"))];
        registry.register("berth_build", "what runs here", Info::new(version));
        registry.register_collector(Box::new(ProcessCollector));
        host.register_metrics(&mut registry);
        registry.register_collector(Box::new(CachesCollector(bounds.caches.clone())));
        registry.register_collector(Box::new(bounds));
        Admin { registry, lifecycle }
    }

    fn metrics(&self) -> Response<Body> {
        let mut text = String::new();
        match encode(&mut text, &self.registry) {
            Ok(()) => respond(StatusCode::OK, METRICS, whole(text)),
            Err(fmt::Error) => respond(StatusCode::INTERNAL_SERVER_ERROR, TEXT, whole("the metrics can't be encoded\n")),
        }
    }
}

impl Handler for Admin {
    async fn handle(self: Arc<Self>, request: Request<Incoming>) -> Response<Body> {
        if request.method() != Method::GET && request.method() != Method::HEAD {
            return respond(StatusCode::METHOD_NOT_ALLOWED, TEXT, whole("only GET\n"));
        }
        match request.uri().path() {
            "/livez" => respond(StatusCode::OK, TEXT, whole("ok\n")),
            // The host takes requests from the moment that it is bound, which is before this server is.
            "/readyz" => match self.lifecycle.phase() {
                Phase::Serving => respond(StatusCode::OK, TEXT, whole("ok\n")),
                Phase::Draining | Phase::Drained => respond(StatusCode::SERVICE_UNAVAILABLE, TEXT, whole("draining\n")),
            },
            "/metrics" => self.metrics(),
            _ => respond(StatusCode::NOT_FOUND, TEXT, whole("here are /livez, /readyz and /metrics\n")),
        }
    }
}

/// Figures of the process, under the names that Prometheus' client libraries agree on.
#[derive(Debug)]
struct ProcessCollector;

impl Collector for ProcessCollector {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), fmt::Error> {
        let figures = ProcessFigures::read();
        let gauges = [
            ("process_resident_memory_bytes", "memory in RAM", figures.resident_bytes),
            ("process_virtual_memory_bytes", "address space, most of it reserved for instances", figures.virtual_bytes),
            ("process_open_fds", "file descriptors open", figures.open_fds),
            ("process_threads", "threads", figures.threads),
        ];
        for (name, help, value) in gauges {
            let value = i64::try_from(value).unwrap_or(i64::MAX);
            encoder.encode_descriptor(name, help, None, MetricType::Gauge)?.encode_gauge(&value)?;
        }
        let cpu = encoder.encode_descriptor("process_cpu_seconds", "CPU time used, user and system", None, MetricType::Counter);
        cpu?.encode_counter::<prometheus_client::encoding::NoLabelSet, _, u64>(&figures.cpu.as_secs_f64(), None)
    }
}
