//! Figures of a host and its workloads (L45): atomics that requests add to, read by `/metrics` and `berth top`.
//!
//! Labels are bounded: namespace and workload of what runs now, and fixed words. A workload's figures go with it.

mod scrape;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub(crate) use self::scrape::HostCollector;
use crate::egress::Denied;
use crate::volumes::VolumeBytes;

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
    /// How calls between its components ended.
    calls: [Counter; ENDINGS.len()],
    denied: [Counter; 3],
    pub(crate) latency: Histogram,
    /// Requests that hold a slot.
    pub(crate) in_flight: Gauge,
    /// Requests that wait for one.
    pub(crate) queued: Gauge,
    /// Calls between its components that hold a slot of theirs.
    pub(crate) calls_in_flight: Gauge,
    pub(crate) memory_bytes: Gauge,
    /// What is in its ephemeral volumes.
    pub(crate) volumes: VolumeBytes,
    /// Instances made for a request.
    pub(crate) cold_starts: Counter,
    /// Requests served by an instance that had served before.
    pub(crate) reused: Counter,
    pub(crate) restarts: Counter,
    /// Services that run.
    pub(crate) services: Gauge,
}

impl WorkloadMetrics {
    fn new(namespace: &str, workload: &str) -> WorkloadMetrics {
        WorkloadMetrics {
            namespace: namespace.to_owned(),
            workload: workload.to_owned(),
            ended: Default::default(),
            calls: Default::default(),
            denied: Default::default(),
            latency: Histogram::default(),
            in_flight: Gauge::default(),
            queued: Gauge::default(),
            calls_in_flight: Gauge::default(),
            memory_bytes: Gauge::default(),
            volumes: VolumeBytes::default(),
            cold_starts: Counter::default(),
            reused: Counter::default(),
            restarts: Counter::default(),
            services: Gauge::default(),
        }
    }

    pub(crate) fn ended(&self, how: Ended) {
        self.ended[how.index()].inc();
    }

    /// A call from one component of it to another ended.
    pub(crate) fn call_ended(&self, how: Ended) {
        self.calls[how.index()].inc();
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
    /// Requests that hold a slot.
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

/// Figures of workloads of one name, which share them when they overlap: a scrape must not hold two series with equal labels.
struct Registered {
    metrics: Arc<WorkloadMetrics>,
    holders: usize,
}

/// What became of looking for compiled code.
#[derive(Default)]
pub(crate) struct CodeMetrics {
    /// It was on disk.
    pub(crate) hits: Counter,
    /// It wasn't.
    pub(crate) misses: Counter,
    /// It was there, and wasn't authentic or was damaged.
    pub(crate) foreign: Counter,
    /// It was compiled and couldn't be kept.
    pub(crate) unstored: Counter,
    /// Components that were made of several, to be compiled.
    pub(crate) composed: Counter,
    /// Workloads whose links were worked out from their components' types.
    pub(crate) planned: Counter,
}

/// Figures of a host.
#[derive(Default)]
pub(crate) struct HostMetrics {
    workloads: Mutex<BTreeMap<(String, String), Registered>>,
    pub(crate) instances_live: Gauge,
    /// Requests that found no free instance.
    pub(crate) no_instance: Counter,
    /// Services that found as many as there may be.
    pub(crate) no_service: Counter,
    compiles: Counter,
    /// Components that found the queue of compiles full.
    pub(crate) compiles_refused: Counter,
    compile_time: Histogram,
    /// Components whose baseline code was replaced by optimized code.
    pub(crate) optimizations: Counter,
    pub(crate) code: CodeMetrics,
    /// Requests for a domain that no workload serves.
    pub(crate) unrouted: Counter,
    /// Memory of instances that ended, which isn't given back yet, bytes.
    pub(crate) reclaim_bytes: Gauge,
    /// Instances whose memory was handed to those who give it back.
    pub(crate) reclaimed: Counter,
    /// Instances whose memory was given back where they ended, because too much waited.
    pub(crate) reclaimed_in_place: Counter,
}

impl HostMetrics {
    pub(crate) fn compiled(&self, took: Duration) {
        self.compiles.inc();
        self.compile_time.observe(took);
    }

    /// Figures for a workload that starts. Whoever asks for them gives them back with [`HostMetrics::forget`].
    pub(crate) fn workload(&self, namespace: &str, workload: &str) -> Arc<WorkloadMetrics> {
        let mut workloads = self.workloads.lock().expect("no panic while held");
        let registered = workloads
            .entry((namespace.to_owned(), workload.to_owned()))
            .or_insert_with(|| Registered { metrics: Arc::new(WorkloadMetrics::new(namespace, workload)), holders: 0 });
        registered.holders += 1;
        registered.metrics.clone()
    }

    /// A workload is gone: with the last that holds them, its figures go too.
    pub(crate) fn forget(&self, metrics: &Arc<WorkloadMetrics>) {
        let mut workloads = self.workloads.lock().expect("no panic while held");
        let key = (metrics.namespace.clone(), metrics.workload.clone());
        if let Some(registered) = workloads.get_mut(&key).filter(|r| Arc::ptr_eq(&r.metrics, metrics)) {
            registered.holders -= 1;
            if registered.holders == 0 {
                workloads.remove(&key);
            }
        }
    }

    pub(crate) fn figures(&self) -> Vec<WorkloadFigures> {
        self.all().iter().map(|m| m.figures()).collect()
    }

    /// Takes the lock of all workloads' figures, as long as the result lives.
    #[cfg(test)]
    pub(crate) fn hold(&self) -> impl Sized + '_ {
        self.workloads.lock().expect("no panic while held")
    }

    fn all(&self) -> Vec<Arc<WorkloadMetrics>> {
        self.workloads.lock().expect("no panic while held").values().map(|registered| registered.metrics.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Weak;

    use super::*;
    use crate::admission::HostSlots;
    use crate::limiter::MemoryBudget;

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
        registry.register_collector(Box::new(HostCollector { metrics: metrics.clone(), memory, slots, ingress: Weak::new() }));
        let scrape = |registry: &_| {
            let mut text = String::new();
            prometheus_client::encoding::text::encode(&mut text, registry).unwrap();
            text
        };
        let text = scrape(&registry);
        assert!(text.contains(r#"berth_requests_total{namespace="default",workload="hello",ended="2xx"} 1"#), "{text}");
        assert!(text.contains(r#"berth_denials_total{namespace="default",workload="hello",what="http"} 1"#), "{text}");
        let again = metrics.workload("default", "hello");
        assert_eq!(
            scrape(&registry).matches(r#"berth_requests_total{namespace="default",workload="hello",ended="2xx""#).count(),
            1,
            "one series per name"
        );
        metrics.forget(&hello);
        assert!(scrape(&registry).contains("hello"));
        metrics.forget(&again);
        assert!(!scrape(&registry).contains("hello"));
    }
}
