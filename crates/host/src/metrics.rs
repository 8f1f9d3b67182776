//! Figures of a host and its workloads (L45): atomics that requests add to, read by `/metrics` and `berth top`.
//!
//! Labels are bounded: namespace and workload of what runs now, and fixed words. A workload's figures go with it.

use std::fmt;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use serde::{Deserialize, Serialize};

use crate::admission::HostSlots;
use crate::egress::Denied;
use crate::limiter::MemoryBudget;

/// Upper bounds of the latency histogram, seconds: a 1-2-5 series around what guests take.
const BOUNDS: [f64; 19] =
    [0.000_05, 0.000_1, 0.000_2, 0.000_5, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0];

/// A number that goes up and down.
#[derive(Default)]
pub(crate) struct Gauge(AtomicI64);

impl Gauge {
    pub(crate) fn inc(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn dec(&self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }

    pub(crate) fn add(&self, n: i64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A number that only grows.
#[derive(Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn inc(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Durations, counted by size.
#[derive(Default)]
pub(crate) struct Histogram {
    counts: [AtomicU64; BOUNDS.len() + 1],
    sum_micros: AtomicU64,
}

impl Histogram {
    pub(crate) fn observe(&self, took: Duration) {
        let seconds = took.as_secs_f64();
        let bucket = BOUNDS.partition_point(|bound| *bound < seconds);
        self.counts[bucket].fetch_add(1, Ordering::Relaxed);
        self.sum_micros.fetch_add(u64::try_from(took.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    fn counts(&self) -> Vec<u64> {
        self.counts.iter().map(|c| c.load(Ordering::Relaxed)).collect()
    }

    /// The upper bound of the bucket that holds the `q`th part of all durations.
    fn quantile(&self, q: f64) -> Duration {
        let counts = self.counts();
        let total: u64 = counts.iter().sum();
        let wanted = (total as f64 * q).ceil() as u64;
        let mut seen = 0;
        for (count, bound) in counts.iter().zip(BOUNDS) {
            seen += count;
            if seen >= wanted.max(1) {
                return Duration::from_secs_f64(bound);
            }
        }
        if total == 0 { Duration::ZERO } else { Duration::from_secs(60) }
    }

    fn sum_and_buckets(&self) -> (f64, u64, Vec<(f64, u64)>) {
        let counts = self.counts();
        let bounds = BOUNDS.into_iter().chain([f64::MAX]);
        let sum = self.sum_micros.load(Ordering::Relaxed) as f64 / 1e6;
        (sum, counts.iter().sum(), bounds.zip(counts).collect())
    }
}

/// How requests of a workload ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// With a guest's answer of this class: 2 for 2xx.
    Answered(u8),
    /// Not admitted.
    Refused,
    /// Past its deadline.
    Timeout,
    /// The guest trapped, or failed otherwise.
    Failed,
    /// The guest ran into a limit.
    Limit,
    /// The client went away.
    Cancelled,
}

const ENDINGS: [&str; 10] = ["1xx", "2xx", "3xx", "4xx", "5xx", "refused", "timeout", "failed", "limit", "cancelled"];

impl Ended {
    fn index(self) -> usize {
        match self {
            Ended::Answered(class) => usize::from(class.clamp(1, 5)) - 1,
            Ended::Refused => 5,
            Ended::Timeout => 6,
            Ended::Failed => 7,
            Ended::Limit => 8,
            Ended::Cancelled => 9,
        }
    }
}

/// Figures of one workload.
pub(crate) struct WorkloadMetrics {
    namespace: String,
    workload: String,
    ended: [Counter; ENDINGS.len()],
    denied: [Counter; 3],
    pub(crate) latency: Histogram,
    pub(crate) in_flight: Gauge,
    pub(crate) queued: Gauge,
    pub(crate) memory_bytes: Gauge,
    /// Instances made for a request.
    pub(crate) cold_starts: Counter,
    /// Requests served by an instance that had served before.
    pub(crate) reused: Counter,
    pub(crate) restarts: Counter,
}

impl WorkloadMetrics {
    pub(crate) fn ended(&self, how: Ended) {
        self.ended[how.index()].inc();
    }

    pub(crate) fn denied(&self, what: Denied) {
        self.denied[denied_index(what)].inc();
    }

    fn figures(&self) -> WorkloadFigures {
        let requests = self.ended.iter().map(Counter::get).sum();
        let errors = self.ended[4..9].iter().map(Counter::get).sum();
        WorkloadFigures {
            namespace: self.namespace.clone(),
            name: self.workload.clone(),
            requests,
            errors,
            in_flight: u32::try_from(self.in_flight.get()).unwrap_or(0),
            queued: u32::try_from(self.queued.get()).unwrap_or(0),
            memory_bytes: u64::try_from(self.memory_bytes.get()).unwrap_or(0),
            denials: self.denied.iter().map(Counter::get).sum(),
            p50: self.latency.quantile(0.5),
            p99: self.latency.quantile(0.99),
        }
    }
}

fn denied_index(what: Denied) -> usize {
    match what {
        Denied::Http => 0,
        Denied::Lookup => 1,
        Denied::Socket => 2,
    }
}

/// Figures of one workload, for a table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WorkloadFigures {
    /// Namespace of the workload.
    pub namespace: String,
    /// Name of the workload.
    pub name: String,
    /// Requests that ended, however they did.
    pub requests: u64,
    /// Requests that ended in a 5xx answer, refused, timed out or failed.
    pub errors: u64,
    /// Requests that run.
    pub in_flight: u32,
    /// Requests that wait for a slot.
    pub queued: u32,
    /// Linear memory of its instances, bytes.
    pub memory_bytes: u64,
    /// Denied ways out.
    pub denials: u64,
    /// Half of the requests took at most this long, to the next of a 1-2-5 series.
    pub p50: Duration,
    /// 99 of 100 requests took at most this long, to the next of a 1-2-5 series.
    pub p99: Duration,
}

/// Figures of a host.
#[derive(Default)]
pub(crate) struct HostMetrics {
    workloads: Mutex<Vec<Arc<WorkloadMetrics>>>,
    pub(crate) instances_live: Gauge,
    compiles: Counter,
    compile_time: Histogram,
    /// Requests for a domain that no workload serves.
    pub(crate) unrouted: Counter,
}

impl HostMetrics {
    pub(crate) fn compiled(&self, took: Duration) {
        self.compiles.inc();
        self.compile_time.observe(took);
    }

    /// Figures for a workload that starts.
    pub(crate) fn workload(&self, namespace: &str, workload: &str) -> Arc<WorkloadMetrics> {
        let metrics = Arc::new(WorkloadMetrics {
            namespace: namespace.to_owned(),
            workload: workload.to_owned(),
            ended: Default::default(),
            denied: Default::default(),
            latency: Histogram::default(),
            in_flight: Gauge::default(),
            queued: Gauge::default(),
            memory_bytes: Gauge::default(),
            cold_starts: Counter::default(),
            reused: Counter::default(),
            restarts: Counter::default(),
        });
        self.workloads.lock().expect("no panic while held").push(metrics.clone());
        metrics
    }

    /// Forgets a workload that is gone.
    pub(crate) fn forget(&self, metrics: &Arc<WorkloadMetrics>) {
        self.workloads.lock().expect("no panic while held").retain(|m| !Arc::ptr_eq(m, metrics));
    }

    pub(crate) fn figures(&self) -> Vec<WorkloadFigures> {
        self.all().iter().map(|m| m.figures()).collect()
    }

    fn all(&self) -> Vec<Arc<WorkloadMetrics>> {
        self.workloads.lock().expect("no panic while held").clone()
    }
}

/// Writes a host's figures at each scrape.
pub(crate) struct HostCollector {
    pub(crate) metrics: Arc<HostMetrics>,
    pub(crate) memory: Arc<MemoryBudget>,
    pub(crate) slots: Arc<HostSlots>,
}

impl fmt::Debug for HostCollector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HostCollector")
    }
}

impl Collector for HostCollector {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let workloads = self.metrics.all();
        self.encode_host(&mut encoder)?;
        encode_requests(&mut encoder, &workloads)?;
        encode_counters(&mut encoder, &workloads)?;
        encode_gauges(&mut encoder, &workloads)
    }
}

impl HostCollector {
    fn encode_host(&self, encoder: &mut DescriptorEncoder) -> fmt::Result {
        let m = &self.metrics;
        let gauges = [
            ("berth_instances_live", "component instances that exist", m.instances_live.get()),
            ("berth_guest_memory_bytes", "linear memory of all instances", i64::try_from(self.memory.used_bytes()).unwrap_or(i64::MAX)),
            ("berth_slots_in_use", "requests in flight on the host", i64::from(self.slots.in_use())),
        ];
        for (name, help, value) in gauges {
            encoder.encode_descriptor(name, help, None, MetricType::Gauge)?.encode_gauge(&value)?;
        }
        let counters = [
            ("berth_compiles", "components compiled", m.compiles.get()),
            ("berth_unrouted_requests", "requests for a domain that no workload serves", m.unrouted.get()),
        ];
        for (name, help, value) in counters {
            encoder.encode_descriptor(name, help, None, MetricType::Counter)?.encode_counter::<NoLabelSet, _, f64>(&value, None)?;
        }
        let (sum, count, buckets) = m.compile_time.sum_and_buckets();
        encoder
            .encode_descriptor("berth_compile_seconds", "time to compile a component", None, MetricType::Histogram)?
            .encode_histogram::<NoLabelSet>(sum, count, &buckets, None)
    }
}

fn encode_requests(encoder: &mut DescriptorEncoder, workloads: &[Arc<WorkloadMetrics>]) -> fmt::Result {
    let mut requests = encoder.encode_descriptor("berth_requests", "requests by how they ended", None, MetricType::Counter)?;
    for m in workloads {
        for (how, counter) in ENDINGS.iter().zip(&m.ended) {
            let labels = [("namespace", m.namespace.as_str()), ("workload", m.workload.as_str()), ("ended", how)];
            requests.encode_family(&labels)?.encode_counter::<NoLabelSet, _, f64>(&counter.get(), None)?;
        }
    }
    let mut latency = encoder.encode_descriptor("berth_request_seconds", "time from head to answer", None, MetricType::Histogram)?;
    for m in workloads {
        let (sum, count, buckets) = m.latency.sum_and_buckets();
        let labels = [("namespace", m.namespace.as_str()), ("workload", m.workload.as_str())];
        latency.encode_family(&labels)?.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)?;
    }
    Ok(())
}

fn encode_counters(encoder: &mut DescriptorEncoder, workloads: &[Arc<WorkloadMetrics>]) -> fmt::Result {
    let mut denied = encoder.encode_descriptor("berth_denials", "ways out that were not granted", None, MetricType::Counter)?;
    for m in workloads {
        for what in [Denied::Http, Denied::Lookup, Denied::Socket] {
            let labels = [("namespace", m.namespace.as_str()), ("workload", m.workload.as_str()), ("what", what.label())];
            denied.encode_family(&labels)?.encode_counter::<NoLabelSet, _, f64>(&m.denied[denied_index(what)].get(), None)?;
        }
    }
    type Read = fn(&WorkloadMetrics) -> u64;
    let counters: [(&str, &str, Read); 3] = [
        ("berth_cold_starts", "instances made for a request", |m| m.cold_starts.get()),
        ("berth_reused_instances", "requests served by an instance that had served before", |m| m.reused.get()),
        ("berth_restarts", "restarts of the service", |m| m.restarts.get()),
    ];
    for (name, help, read) in counters {
        let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        for m in workloads {
            let labels = [("namespace", m.namespace.as_str()), ("workload", m.workload.as_str())];
            metric.encode_family(&labels)?.encode_counter::<NoLabelSet, _, f64>(&read(m), None)?;
        }
    }
    Ok(())
}

fn encode_gauges(encoder: &mut DescriptorEncoder, workloads: &[Arc<WorkloadMetrics>]) -> fmt::Result {
    type Read = fn(&WorkloadMetrics) -> i64;
    let gauges: [(&str, &str, Read); 3] = [
        ("berth_requests_in_flight", "requests that run", |m| m.in_flight.get()),
        ("berth_requests_queued", "requests that wait for a slot", |m| m.queued.get()),
        ("berth_workload_memory_bytes", "linear memory of the workload's instances", |m| m.memory_bytes.get()),
    ];
    for (name, help, read) in gauges {
        let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for m in workloads {
            let labels = [("namespace", m.namespace.as_str()), ("workload", m.workload.as_str())];
            metric.encode_family(&labels)?.encode_gauge(&read(m))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn l45_quantiles_come_from_the_buckets() {
        let histogram = Histogram::default();
        assert_eq!(histogram.quantile(0.99), Duration::ZERO);
        for _ in 0..98 {
            histogram.observe(Duration::from_micros(900));
        }
        histogram.observe(Duration::from_millis(90));
        histogram.observe(Duration::from_secs(100));
        assert_eq!(histogram.quantile(0.5), Duration::from_millis(1));
        assert_eq!(histogram.quantile(0.99), Duration::from_millis(100));
        assert_eq!(histogram.quantile(1.0), Duration::from_secs(60));
    }

    #[test]
    fn l45_a_scrape_names_every_workload_and_forgets_those_that_are_gone() {
        let metrics = Arc::new(HostMetrics::default());
        let hello = metrics.workload("default", "hello");
        hello.ended(Ended::Answered(2));
        hello.denied(Denied::Http);
        let mut registry = prometheus_client::registry::Registry::default();
        let (memory, slots) = (Arc::new(MemoryBudget::new(1)), Arc::new(HostSlots::new(1)));
        registry.register_collector(Box::new(HostCollector { metrics: metrics.clone(), memory, slots }));
        let scrape = |registry: &_| {
            let mut text = String::new();
            prometheus_client::encoding::text::encode(&mut text, registry).unwrap();
            text
        };
        let text = scrape(&registry);
        assert!(text.contains(r#"berth_requests_total{namespace="default",workload="hello",ended="2xx"} 1"#), "{text}");
        assert!(text.contains(r#"berth_denials_total{namespace="default",workload="hello",what="http"} 1"#), "{text}");
        metrics.forget(&hello);
        assert!(!scrape(&registry).contains("hello"));
    }
}
