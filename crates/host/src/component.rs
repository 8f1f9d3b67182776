//! A component as its guests see it: who it is, and what it may do.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, Weak};
use std::time::Instant;

use berth_model::event::{Event, EventSink, Severity};
use berth_model::grants::Grants;
use berth_model::limits::Effective;
use berth_model::resource::Kind;
use tokio::sync::Semaphore;
use wasmtime::{FrameInfo, WasmBacktrace};

use crate::bridge::Siblings;
use crate::config::NetworkConfig;
use crate::egress::permit::GuestConnections;
use crate::guest_store::Spent;
use crate::later::Later;
use crate::limiter::MemoryBudget;
use crate::logs::{Stream, WorkloadLog};
use crate::loopback::Loopback;
use crate::metrics::{HostMetrics, WorkloadMetrics};
use crate::pace::{Pace, Paces};
use crate::reclaim::Reclaim;
use crate::ticker::Pulse;
use crate::volumes::Mount;

/// Longest message of an event, bytes; the rest is cut.
const MAX_MESSAGE_BYTES: usize = 1 << 10;
/// Denials and failures per second that a workload may have told; more are counted (L44).
const TOLD_PER_SECOND: f64 = 5.0;
/// Denials and failures told at once after a quiet time.
const TOLD_AT_ONCE: f64 = 20.0;

/// What all components of a host share.
pub(crate) struct Shared {
    pub(crate) memory: Arc<MemoryBudget>,
    /// Sockets and connections of all guests.
    pub(crate) connections: GuestConnections,
    pub(crate) metrics: Arc<HostMetrics>,
    pub(crate) events: Arc<dyn EventSink>,
    /// What the host's owner allows of the host's own loopback and ports.
    pub(crate) network: NetworkConfig,
    /// For outgoing TLS.
    pub(crate) tls: Arc<Later<Arc<rustls::ClientConfig>>>,
    /// Whether guests run.
    pub(crate) pulse: Arc<Pulse>,
    pub(crate) paces: Paces,
    /// Takes stores that end.
    pub(crate) reclaim: Reclaim<Spent>,
}

/// Identity and authority of one component of one workload.
pub(crate) struct Component {
    pub(crate) namespace: Arc<str>,
    pub(crate) workload: Arc<str>,
    pub(crate) name: Arc<str>,
    pub(crate) environment: Vec<(String, String)>,
    /// What it reads by `wasi:config/store`.
    pub(crate) config: BTreeMap<String, String>,
    pub(crate) grants: Grants,
    /// The volumes that it sees, its own only.
    pub(crate) mounts: Arc<[Mount]>,
    /// Whether it may listen: it is its workload's service.
    pub(crate) listens: bool,
    /// The network that it shares with the other components of its workload.
    pub(crate) loopback: Arc<Loopback>,
    pub(crate) limits: Effective,
    pub(crate) log: Arc<WorkloadLog>,
    pub(crate) metrics: Arc<WorkloadMetrics>,
    /// Name lookups that may run.
    pub(crate) lookups: Arc<Semaphore>,
    /// Shared by the workload's components.
    pub(crate) voice: Arc<Voice>,
    /// Shared by all workloads of the owner.
    pub(crate) pace: Arc<Pace>,
    /// The components of its workload that it may call; gone with the workload.
    pub(crate) siblings: Weak<Siblings>,
    pub(crate) host: Arc<Shared>,
}

/// What one store runs: a component, or several that were composed into one.
pub(crate) struct Unit {
    /// The member that answers. Of a composed one its limits are those of all members together, for they share a store.
    pub(crate) root: Arc<Component>,
    /// The other members, by their seats from 1 on.
    pub(crate) others: Vec<Arc<Component>>,
    /// Where the binaries of the members lie in the composed one, with the members' seats.
    pub(crate) spans: Vec<(Range<u64>, usize)>,
    /// Whether values are copied between its store and another: it calls its workload's service, or is it.
    pub(crate) copies: bool,
}

impl Unit {
    /// A component by itself.
    #[cfg(test)]
    pub(crate) fn single(component: Arc<Component>) -> Unit {
        Unit { root: component, others: Vec::new(), spans: Vec::new(), copies: false }
    }

    /// The member in whose code a trap arose, if that isn't the root.
    pub(crate) fn blamed(&self, error: &wasmtime::Error) -> Option<&Arc<Component>> {
        if self.others.is_empty() {
            return None;
        }
        // Adapters between members come from no binary, and have no offsets.
        let offset = error.downcast_ref::<WasmBacktrace>()?.frames().iter().find_map(FrameInfo::module_offset)?;
        let (_, seat) = self.spans.iter().find(|(span, _)| span.contains(&(offset as u64)))?;
        self.others.get(seat.checked_sub(1)?)
    }
}

impl Component {
    /// Records something that a person should look at, on the component's workload; false, and only counted, when the workload
    /// has had as much told as it may for now. What goes with it, log lines above all, should go untold too then.
    pub(crate) fn warn(&self, reason: &str, message: String) -> bool {
        let Some(untold) = self.voice.speak(Instant::now()) else { return false };
        if untold > 0 {
            let summary = format!("{untold} more denials and failures of this workload were counted and not told");
            self.log.write(&self.name, None, Stream::Host, &summary);
            self.record(reason, summary);
        }
        self.record(reason, message);
        true
    }

    fn record(&self, reason: &str, mut message: String) {
        message.truncate(message.floor_char_boundary(MAX_MESSAGE_BYTES));
        self.host.events.record(Event {
            time: jiff::Timestamp::now(),
            severity: Severity::Warning,
            reason: reason.into(),
            kind: Kind::Workload,
            namespace: self.namespace.to_string(),
            name: self.workload.to_string(),
            message,
            count: 1,
        });
    }
}

/// How often a workload's denials and failures are told: a guest decides how often they happen, and must not decide how much of
/// the host's log and memory they take.
pub(crate) struct Voice(Mutex<Breath>);

struct Breath {
    tokens: f64,
    filled: Instant,
    untold: u64,
}

impl Voice {
    pub(crate) fn new() -> Arc<Voice> {
        Arc::new(Voice(Mutex::new(Breath { tokens: TOLD_AT_ONCE, filled: Instant::now(), untold: 0 })))
    }

    /// Whether one more may be told, and how many before it were not.
    fn speak(&self, now: Instant) -> Option<u64> {
        let mut breath = self.0.lock().expect("no panic while held");
        let passed = now.saturating_duration_since(breath.filled).as_secs_f64();
        breath.tokens = (breath.tokens + passed * TOLD_PER_SECOND).min(TOLD_AT_ONCE);
        breath.filled = now;
        if breath.tokens < 1.0 {
            breath.untold += 1;
            return None;
        }
        breath.tokens -= 1.0;
        Some(std::mem::take(&mut breath.untold))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use std::time::Duration;

    use crate::config::ReclaimConfig;
    use crate::logs::LogBook;

    struct Nowhere;

    impl EventSink for Nowhere {
        fn record(&self, _: Event) {}
    }

    /// A component that is granted nothing, and the log that it writes to.
    pub(crate) fn component() -> (Arc<Component>, LogBook) {
        component_of("test")
    }

    /// The same of another workload.
    pub(crate) fn component_of(workload: &str) -> (Arc<Component>, LogBook) {
        let logs = LogBook::new(1000, 1000);
        let metrics = Arc::new(HostMetrics::default());
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let tls = Arc::new(tls.with_root_certificates(rustls::RootCertStore::empty()).with_no_client_auth());
        let config = ReclaimConfig { threads: 0, ..ReclaimConfig::default() };
        let memory = Arc::new(MemoryBudget::new(1 << 30));
        let (reclaim, _) = Reclaim::start(&config, 1000, memory.clone(), metrics.clone());
        let component = Component {
            namespace: "default".into(),
            workload: workload.into(),
            name: "test".into(),
            environment: Vec::new(),
            config: BTreeMap::new(),
            grants: Grants::default(),
            mounts: Arc::default(),
            listens: false,
            loopback: Loopback::new(),
            limits: Effective::default(),
            log: logs.open("default", workload),
            metrics: metrics.workload("default", workload),
            lookups: crate::egress::lookup::bound(),
            voice: Voice::new(),
            pace: Arc::default(),
            siblings: Weak::new(),
            host: Arc::new(Shared {
                memory,
                connections: GuestConnections::new(100),
                metrics,
                events: Arc::new(Nowhere),
                network: NetworkConfig::default(),
                tls: Arc::new(Later::new(move || tls)),
                pulse: Arc::default(),
                paces: Paces::default(),
                reclaim,
            }),
        };
        (Arc::new(component), logs)
    }

    #[test]
    fn l44_a_workload_has_a_few_failures_told_a_second_and_the_rest_summed_up() {
        let voice = Voice::new();
        let start = Instant::now();
        let told = (0..1000).filter(|_| voice.speak(start).is_some()).count();
        assert_eq!(told, 20);
        assert_eq!(voice.speak(start + Duration::from_secs(1)), Some(980));
        assert_eq!(voice.speak(start + Duration::from_secs(1)), Some(0));
    }
}
