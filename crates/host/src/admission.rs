//! Admission: how many requests may be in flight, and how long one waits (L32).
//!
//! Each workload has slots of its own and a bounded queue before them. Over all of them, a workload gets a host slot only while it
//! holds no more than what is free (a dynamic threshold: one workload alone takes at most half of the host, and there is always
//! room for the next). Both decisions are a few atomic operations; nothing is locked.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use berth_model::limits::Effective;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::metrics::{Gauge, WorkloadMetrics};

/// The host's slots.
pub(crate) struct HostSlots {
    slots: u32,
    free: AtomicU32,
}

impl HostSlots {
    pub(crate) fn new(slots: u32) -> HostSlots {
        HostSlots { slots, free: AtomicU32::new(slots) }
    }

    /// Slots in use.
    pub(crate) fn in_use(&self) -> u32 {
        self.slots - self.free.load(Ordering::Relaxed)
    }

    /// Takes a slot for a workload that holds `held` already.
    fn take(self: &Arc<Self>, held: u32) -> Option<HostSlot> {
        self.free
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |free| fair(held, free).then(|| free - 1))
            .ok()
            .map(|_| HostSlot(self.clone()))
    }
}

/// Whether a workload that holds `held` slots may take one more of `free`.
fn fair(held: u32, free: u32) -> bool {
    free > 0 && held <= free
}

struct HostSlot(Arc<HostSlots>);

impl Drop for HostSlot {
    fn drop(&mut self) {
        self.0.free.fetch_add(1, Ordering::Relaxed);
    }
}

/// Why a request was not admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refused {
    /// All slots are taken and the queue is full.
    #[error("too many requests: all {in_flight} slots are taken and {queued} requests wait")]
    QueueFull { in_flight: u32, queued: u32 },
    /// It waited as long as it may.
    #[error("too many requests: no slot came free in {} ms", .0.as_millis())]
    Waited(Duration),
    /// The host has no slot that this workload may take.
    #[error("the host is full: all its slots are taken")]
    HostFull,
    /// The workload stops.
    #[error("the workload is stopping")]
    Stopping,
}

/// The slots of one workload.
pub(crate) struct Admission {
    host: Arc<HostSlots>,
    slots: Arc<Semaphore>,
    max_in_flight: u32,
    max_queued: u32,
    queue_timeout: Duration,
    in_flight: Arc<AtomicU32>,
    queued: AtomicU32,
    metrics: Arc<WorkloadMetrics>,
}

/// A request's right to run; its end frees the slots.
pub(crate) struct Permit {
    _slot: OwnedSemaphorePermit,
    _host: HostSlot,
    _held: Held,
}

struct Held(Arc<AtomicU32>);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Admission {
    pub(crate) fn new(host: Arc<HostSlots>, limits: &Effective, metrics: Arc<WorkloadMetrics>) -> Admission {
        Admission {
            host,
            slots: Arc::new(Semaphore::new(limits.max_in_flight as usize)),
            max_in_flight: limits.max_in_flight,
            max_queued: limits.max_queued,
            queue_timeout: limits.queue_timeout,
            in_flight: Arc::default(),
            queued: AtomicU32::new(0),
            metrics,
        }
    }

    /// Requests that run or wait.
    pub(crate) fn load(&self) -> u32 {
        self.in_flight.load(Ordering::Relaxed) + self.queued.load(Ordering::Relaxed)
    }

    /// Waits for a slot, as long and in as large a queue as the limits say. Dropping the future leaves the queue.
    pub(crate) async fn admit(&self) -> Result<Permit, Refused> {
        let slot = match self.slots.clone().try_acquire_owned() {
            Ok(slot) => slot,
            Err(tokio::sync::TryAcquireError::Closed) => return Err(Refused::Stopping),
            Err(tokio::sync::TryAcquireError::NoPermits) => self.wait().await?,
        };
        let held = self.in_flight.fetch_add(1, Ordering::Relaxed);
        let held_guard = Held(self.in_flight.clone());
        let host = self.host.take(held).ok_or(Refused::HostFull)?;
        Ok(Permit { _slot: slot, _host: host, _held: held_guard })
    }

    async fn wait(&self) -> Result<OwnedSemaphorePermit, Refused> {
        let place = Place::take(&self.queued, self.max_queued, &self.metrics.queued)
            .ok_or(Refused::QueueFull { in_flight: self.max_in_flight, queued: self.max_queued })?;
        let slot = tokio::time::timeout(self.queue_timeout, self.slots.clone().acquire_owned()).await;
        drop(place);
        match slot {
            Ok(Ok(slot)) => Ok(slot),
            Ok(Err(_)) => Err(Refused::Stopping),
            Err(_) => Err(Refused::Waited(self.queue_timeout)),
        }
    }

    /// Waits until nothing runs or waits, for `grace` at most. Says whether that came.
    pub(crate) async fn drained(&self, grace: Duration) -> bool {
        // All slots back means that nobody holds one; who asks now stands in line behind.
        tokio::time::timeout(grace, self.slots.acquire_many(self.max_in_flight)).await.is_ok()
    }

    /// Admits no more; those that wait are refused.
    pub(crate) fn close(&self) {
        self.slots.close();
    }
}

/// A place in the queue.
struct Place<'a> {
    queued: &'a AtomicU32,
    gauge: &'a Gauge,
}

impl<'a> Place<'a> {
    fn take(queued: &'a AtomicU32, max: u32, gauge: &'a Gauge) -> Option<Place<'a>> {
        queued.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| (n < max).then(|| n + 1)).ok()?;
        gauge.inc();
        Some(Place { queued, gauge })
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.queued.fetch_sub(1, Ordering::Relaxed);
        self.gauge.dec();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::HostMetrics;

    fn admission(host: &Arc<HostSlots>, max_in_flight: u32, max_queued: u32) -> Admission {
        let limits = Effective { max_in_flight, max_queued, queue_timeout: Duration::from_millis(20), ..Effective::default() };
        Admission::new(host.clone(), &limits, HostMetrics::default().workload("default", "test"))
    }

    #[tokio::test]
    async fn l32_past_the_slots_a_request_waits_and_past_the_queue_it_is_refused() {
        let a = admission(&Arc::new(HostSlots::new(100)), 1, 1);
        let first = a.admit().await.unwrap();
        let (second, third) = tokio::join!(a.admit(), a.admit());
        let refused = [second.err(), third.err()];
        assert!(refused.contains(&Some(Refused::QueueFull { in_flight: 1, queued: 1 })), "{refused:?}");
        assert!(refused.contains(&Some(Refused::Waited(Duration::from_millis(20)))), "{refused:?}");
        drop(first);
        assert!(a.admit().await.is_ok());
        assert_eq!(a.load(), 0);
    }

    #[tokio::test]
    async fn l32_a_freed_slot_goes_to_who_waits() {
        let a = admission(&Arc::new(HostSlots::new(100)), 1, 1);
        let first = a.admit().await.unwrap();
        let (second, ()) = tokio::join!(a.admit(), async move { drop(first) });
        assert!(second.is_ok());
    }

    #[tokio::test]
    async fn l32_one_workload_takes_at_most_half_of_a_host() {
        let host = Arc::new(HostSlots::new(100));
        let (greedy, modest) = (admission(&host, 1000, 0), admission(&host, 1000, 0));
        let mut held = Vec::new();
        while let Ok(permit) = greedy.admit().await {
            held.push(permit);
        }
        assert!((50..=51).contains(&held.len()), "{}", held.len());
        assert!(modest.admit().await.is_ok());
        assert_eq!(host.in_use(), held.len() as u32);
    }

    #[tokio::test]
    async fn l34_a_closed_workload_refuses_those_who_wait() {
        let a = admission(&Arc::new(HostSlots::new(10)), 1, 10);
        let _first = a.admit().await.unwrap();
        let (waiting, ()) = tokio::join!(a.admit(), async { a.close() });
        assert_eq!(waiting.err(), Some(Refused::Stopping));
    }
}
