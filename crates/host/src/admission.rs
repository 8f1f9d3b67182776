//! Admission: how many requests may be in flight, and how long one waits (L32).
//!
//! Each workload has slots of its own and a bounded queue before them. Over all of them, a workload gets a host slot only while it
//! holds no more than what is free (a dynamic threshold: one workload alone takes at most half of the host, and there is always
//! room for the next); until then it waits in the same queue. Both decisions are a few atomic operations, and nothing is locked
//! unless somebody waits.

mod slots;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use berth_model::limits::Effective;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError};
use tokio::time::Instant;

pub(crate) use self::slots::{HostSlot, HostSlots};
use crate::bridge::calls::CallPermit;
use crate::metrics::{Gauge, WorkloadMetrics};

/// Why a request was not admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refused {
    /// All slots are taken and the queue is full.
    #[error("too many requests: all {in_flight} slots are taken (limits.maxInFlight) and {queued} requests wait (limits.maxQueued)")]
    QueueFull { in_flight: u32, queued: u32 },
    /// It waited as long as it may.
    #[error("too many requests: no slot came free in {} ms (limits.queueTimeout)", .0.as_millis())]
    Waited(Duration),
    /// The host had no slot that this workload may take, as long as the request might wait.
    #[error("the host is full: its slots are taken (slots)")]
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
    in_flight: Arc<InFlight>,
    queued: AtomicU32,
    /// The one turn to wait for a slot of the host: others of the workload stand behind.
    turn: Semaphore,
    /// It drains: who comes now is refused.
    stopping: AtomicBool,
    metrics: Arc<WorkloadMetrics>,
}

/// A request's right to run, as long as it is held.
pub(crate) enum Permit {
    /// Of one that came from outside.
    Request { _slots: Slots },
    /// Of one that another component of the workload sent.
    Call { _permit: CallPermit },
}

/// A request's slots; its end frees them, in the order of the fields. The workload's share must be smaller before the
/// host's slot is free, for the waiter that is woken by that slot looks at both; and the workload's slot comes last, so that who
/// waits for it finds the host's, and a workload that has all its slots back holds none of the host.
pub(crate) struct Slots {
    _held: Held,
    _host: HostSlot,
    _slot: OwnedSemaphorePermit,
}

/// Requests of one workload that have all they need to run.
struct InFlight {
    count: AtomicU32,
    metrics: Arc<WorkloadMetrics>,
}

/// One more that asks for a slot of the host, and that has it once it is `shown`.
struct Held {
    workload: Arc<InFlight>,
    shown: bool,
}

impl Held {
    fn show(&mut self) {
        self.shown = true;
        self.workload.metrics.in_flight.inc();
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if self.shown {
            self.workload.metrics.in_flight.dec();
        }
        self.workload.count.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Admission {
    pub(crate) fn new(host: Arc<HostSlots>, limits: &Effective, metrics: Arc<WorkloadMetrics>) -> Admission {
        Admission {
            host,
            slots: Arc::new(Semaphore::new(limits.max_in_flight as usize)),
            max_in_flight: limits.max_in_flight,
            max_queued: limits.max_queued,
            // Who waited as long as its request may last would be cut as soon as it runs.
            queue_timeout: limits.queue_timeout.min(limits.request_timeout),
            in_flight: Arc::new(InFlight { count: AtomicU32::new(0), metrics: metrics.clone() }),
            queued: AtomicU32::new(0),
            turn: Semaphore::new(1),
            stopping: AtomicBool::new(false),
            metrics,
        }
    }

    /// Requests that run or wait.
    pub(crate) fn load(&self) -> u32 {
        self.in_flight.count.load(Ordering::Relaxed) + self.queued.load(Ordering::Relaxed)
    }

    /// Waits for a slot, as long and in as large a queue as the limits say. Dropping the future leaves the queue.
    pub(crate) async fn admit(&self) -> Result<Permit, Refused> {
        let (slot, place) = match self.slots.clone().try_acquire_owned() {
            Ok(slot) => (slot, None),
            Err(TryAcquireError::Closed) => return Err(Refused::Stopping),
            Err(TryAcquireError::NoPermits) => self.wait().await.map(|(slot, place)| (slot, Some(place)))?,
        };
        // Who comes doesn't overtake those of its workload that wait for the host.
        let direct = if self.turn.available_permits() > 0 { self.take_host() } else { None };
        let (held, host) = match direct {
            Some(taken) => taken,
            None => self.wait_for_host(place).await?,
        };
        Ok(Permit::Request { _slots: Slots { _held: held, _host: host, _slot: slot } })
    }

    /// Waits for one of the workload's own slots.
    async fn wait(&self) -> Result<(OwnedSemaphorePermit, Place<'_>), Refused> {
        if self.stopping() {
            return Err(Refused::Stopping);
        }
        let place = self.place().ok_or(Refused::QueueFull { in_flight: self.max_in_flight, queued: self.max_queued })?;
        match tokio::time::timeout_at(place.until, self.slots.clone().acquire_owned()).await {
            Ok(Ok(slot)) => Ok((slot, place)),
            Ok(Err(_)) => Err(Refused::Stopping),
            Err(_) if self.stopping() => Err(Refused::Stopping),
            Err(_) => Err(Refused::Waited(self.queue_timeout)),
        }
    }

    /// Waits for one of the host's slots, with what is left of the time in the queue.
    async fn wait_for_host(&self, place: Option<Place<'_>>) -> Result<(Held, HostSlot), Refused> {
        let place = place.or_else(|| self.place()).ok_or_else(|| self.host_full())?;
        let wait = async {
            let _turn = self.turn.acquire().await.map_err(|_| Refused::Stopping)?;
            Ok(self.host.wait(|| self.take_host()).await)
        };
        match tokio::time::timeout_at(place.until, wait).await {
            Ok(Ok(_)) if self.slots.is_closed() => Err(Refused::Stopping),
            Ok(taken) => taken,
            Err(_) => Err(self.host_full()),
        }
    }

    fn host_full(&self) -> Refused {
        self.host.refused.inc();
        Refused::HostFull
    }

    fn take_host(&self) -> Option<(Held, HostSlot)> {
        let held = self.in_flight.count.fetch_add(1, Ordering::SeqCst);
        let mut guard = Held { workload: self.in_flight.clone(), shown: false };
        let slot = self.host.take(held)?;
        guard.show();
        Some((guard, slot))
    }

    fn place(&self) -> Option<Place<'_>> {
        Place::take(&self.queued, self.max_queued, &self.metrics.queued, Instant::now() + self.queue_timeout)
    }

    fn stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    /// Waits until nothing runs or waits. Who comes meanwhile is refused, also when this is dropped.
    pub(crate) async fn drained(&self) {
        self.stopping.store(true, Ordering::Release);
        // All slots back means that nobody holds one; those that waited for one before stand in line before this. An error: it is closed.
        let _ = self.slots.acquire_many(self.max_in_flight).await;
    }

    /// Admits no more; those that wait are refused.
    pub(crate) fn close(&self) {
        self.stopping.store(true, Ordering::Release);
        self.slots.close();
        self.turn.close();
    }
}

/// A place in the queue.
struct Place<'a> {
    queued: &'a AtomicU32,
    gauge: &'a Gauge,
    /// When the wait is over.
    until: Instant,
}

impl<'a> Place<'a> {
    fn take(queued: &'a AtomicU32, max: u32, gauge: &'a Gauge, until: Instant) -> Option<Place<'a>> {
        queued.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| (n < max).then(|| n + 1)).ok()?;
        gauge.inc();
        Some(Place { queued, gauge, until })
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
    async fn l45_in_flight_is_who_holds_a_slot_and_queued_who_waits_for_one() {
        let a = admission(&Arc::new(HostSlots::new(1)), 2, 5);
        let figures = || (a.metrics.in_flight.get(), a.metrics.queued.get());
        let running = a.admit().await.unwrap();
        let look = async { figures() };
        let (waited, during) = tokio::join!(a.admit(), look);
        assert_eq!((waited.err(), during), (Some(Refused::HostFull), (1, 1)));
        assert_eq!(figures(), (1, 0));
        drop(running);
        assert_eq!(figures(), (0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn l32_nobody_waits_longer_than_its_request_may_last() {
        let (queue_timeout, request_timeout) = (Duration::from_secs(3600), Duration::from_secs(5));
        let limits = Effective { max_in_flight: 1, max_queued: 1, queue_timeout, request_timeout, ..Effective::default() };
        let a = Admission::new(Arc::new(HostSlots::new(10)), &limits, HostMetrics::default().workload("default", "test"));
        let _running = a.admit().await.unwrap();
        assert_eq!(a.admit().await.err(), Some(Refused::Waited(request_timeout)));
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
    async fn l32_a_request_waits_for_a_slot_of_a_full_host() {
        let host = Arc::new(HostSlots::new(4));
        let (greedy, modest) = (admission(&host, 10, 1), admission(&host, 10, 1));
        let mut held = vec![greedy.admit().await.unwrap(), greedy.admit().await.unwrap()];
        held.extend([modest.admit().await.unwrap()]);
        let start = Instant::now();
        let (waits, no_room) = tokio::join!(greedy.admit(), greedy.admit());
        assert_eq!(waits.err().zip(no_room.err()), Some((Refused::HostFull, Refused::HostFull)));
        assert!(start.elapsed() >= Duration::from_millis(20), "one of them waited");
        let freed = async { drop(held.remove(0)) };
        let (waits, ()) = tokio::join!(greedy.admit(), freed);
        assert!(waits.is_ok(), "{:?}", waits.err());
        drop((waits, held));
        assert_eq!((host.in_use(), greedy.load(), host.waiting.load(Ordering::SeqCst)), (0, 0, 0));
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn l32_no_freed_slot_is_missed_by_those_who_wait() {
        let host = Arc::new(HostSlots::new(4));
        let limits = Effective { max_in_flight: 8, max_queued: 100, queue_timeout: Duration::from_secs(60), ..Effective::default() };
        let metrics = HostMetrics::default();
        let workloads: Vec<_> =
            (0..4).map(|n| Arc::new(Admission::new(host.clone(), &limits, metrics.workload("default", &n.to_string())))).collect();
        let mut clients = tokio::task::JoinSet::new();
        for n in 0..32 {
            let workload = workloads[n % 4].clone();
            clients.spawn(async move {
                for _ in 0..500 {
                    let permit = workload.admit().await.unwrap();
                    tokio::task::yield_now().await;
                    drop(permit);
                }
            });
        }
        let all = tokio::time::timeout(Duration::from_secs(50), clients.join_all());
        assert_eq!(all.await.expect("nobody waits for ever").len(), 32);
        assert_eq!(host.in_use(), 0);
    }

    #[tokio::test]
    async fn l08_who_comes_while_a_workload_drains_is_sent_elsewhere_at_once() {
        let a = admission(&Arc::new(HostSlots::new(10)), 2, 0);
        let running = a.admit().await.unwrap();
        let late = async {
            let refused = a.admit().await.err();
            drop(running);
            refused
        };
        let ((), refused) = tokio::join!(a.drained(), late);
        assert_eq!(refused, Some(Refused::Stopping));
    }

    #[tokio::test]
    async fn l34_a_closed_workload_refuses_those_who_wait() {
        let a = admission(&Arc::new(HostSlots::new(10)), 1, 10);
        let _first = a.admit().await.unwrap();
        let (waiting, ()) = tokio::join!(a.admit(), async { a.close() });
        assert_eq!(waiting.err(), Some(Refused::Stopping));
    }
}
