//! A host's figures as Prometheus reads them, written at each scrape.

use std::fmt;
use std::sync::{Arc, Weak};

use berth_http::{Figures, Running};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;

use super::{ENDINGS, HostMetrics, WorkloadMetrics, denied_index};
use crate::admission::HostSlots;
use crate::egress::Denied;
use crate::limiter::MemoryBudget;

/// Writes a host's figures at each scrape.
pub(crate) struct HostCollector {
    pub(crate) metrics: Arc<HostMetrics>,
    pub(crate) memory: Arc<MemoryBudget>,
    pub(crate) slots: Arc<HostSlots>,
    /// The ingress, while it serves.
    pub(crate) ingress: Weak<Running>,
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
        if let Some(ingress) = self.ingress.upgrade() {
            encode_connections(&mut encoder, &ingress.figures())?;
        }
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
            ("berth_reclaim_waiting_bytes", "linear memory of instances that ended, not given back yet", m.reclaim_bytes.get()),
            ("berth_slots_in_use", "requests in flight on the host", i64::from(self.slots.in_use())),
        ];
        for (name, help, value) in gauges {
            encoder.encode_descriptor(name, help, None, MetricType::Gauge)?.encode_gauge(&value)?;
        }
        let counters = [
            ("berth_compiles", "components compiled", m.compiles.get()),
            ("berth_optimizations", "components whose baseline code was replaced by optimized code", m.optimizations.get()),
            ("berth_code_cache_hits", "components whose compiled code was on disk", m.code.hits.get()),
            ("berth_code_cache_misses", "components whose compiled code wasn't on disk", m.code.misses.get()),
            ("berth_code_cache_rejected", "entries of compiled code that weren't authentic or were damaged", m.code.foreign.get()),
            ("berth_code_cache_unstored", "components whose compiled code couldn't be kept on disk", m.code.unstored.get()),
            ("berth_compositions", "components that were composed of several", m.code.composed.get()),
            ("berth_link_plans", "workloads whose links were worked out anew", m.code.planned.get()),
            ("berth_reclaimed_instances", "instances with much memory that was given back on a thread for that", m.reclaimed.get()),
            ("berth_reclaimed_in_place", "instances with much memory that was given back where they ended", m.reclaimed_in_place.get()),
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

fn encode_connections(encoder: &mut DescriptorEncoder, figures: &Figures) -> fmt::Result {
    encoder
        .encode_descriptor("berth_connections_open", "connections to the ingress", None, MetricType::Gauge)?
        .encode_gauge(&figures.open)?;
    let counters = [
        ("berth_connections_accepted", "connections that came", figures.accepted),
        ("berth_connections_refused", "connections turned away because too many were open", figures.refused),
        ("berth_connections_timed_out", "connections ended because the client was too slow", figures.timed_out),
        ("berth_tls_failures", "TLS handshakes that failed", figures.tls_failures),
        ("berth_accept_errors", "errors of accepting", figures.accept_errors),
    ];
    for (name, help, value) in counters {
        encoder.encode_descriptor(name, help, None, MetricType::Counter)?.encode_counter::<NoLabelSet, _, f64>(&value, None)?;
    }
    Ok(())
}

fn encode_requests(encoder: &mut DescriptorEncoder, workloads: &[Arc<WorkloadMetrics>]) -> fmt::Result {
    let mut requests = encoder.encode_descriptor("berth_requests", "requests by how they ended", None, MetricType::Counter)?;
    for m in workloads {
        for (how, counter) in ENDINGS.iter().zip(&m.ended) {
            let labels = [("namespace", m.namespace.as_str()), ("workload", m.workload.as_str()), ("ended", how)];
            requests.encode_family(&labels)?.encode_counter::<NoLabelSet, _, f64>(&counter.get(), None)?;
        }
    }
    let mut calls = encoder.encode_descriptor(
        "berth_component_calls",
        "calls from one component of a workload to another that the host carried, by how they ended",
        None,
        MetricType::Counter,
    )?;
    for m in workloads {
        for (how, counter) in ENDINGS.iter().zip(&m.calls) {
            let labels = [("namespace", m.namespace.as_str()), ("workload", m.workload.as_str()), ("ended", how)];
            calls.encode_family(&labels)?.encode_counter::<NoLabelSet, _, f64>(&counter.get(), None)?;
        }
    }
    let mut latency = encoder.encode_descriptor(
        "berth_request_seconds",
        "time from a request's head to the end of its answer",
        None,
        MetricType::Histogram,
    )?;
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
    let gauges: [(&str, &str, Read); 6] = [
        ("berth_requests_in_flight", "requests that hold a slot", |m| m.in_flight.get()),
        ("berth_component_calls_in_flight", "HTTP calls between components that hold a slot of theirs", |m| m.calls_in_flight.get()),
        ("berth_requests_queued", "requests that wait for a slot", |m| m.queued.get()),
        ("berth_services_running", "services that run: none while one waits to be started again", |m| m.services.get()),
        ("berth_workload_memory_bytes", "linear memory of the workload's instances", |m| m.memory_bytes.get()),
        ("berth_volume_bytes", "what is in the workload's ephemeral volumes, as their bound counts it", |m| {
            i64::try_from(m.volumes.read()).unwrap_or(i64::MAX)
        }),
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
