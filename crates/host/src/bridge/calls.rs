//! How many calls between components run at once: slots of their own, as many as the host has for requests from outside.
//!
//! A caller holds its instance while it waits for its callee, so callers must never hold all that callees need. A workload may take one
//! more slot while it holds no more than a part of what is free, and that part grows with the depth of the call: whoever was let in last
//! finds room for its own next call, down to the depth where chains end. So calls that wait for slots end by themselves, without a
//! deadlock; the wait is bounded all the same. (With fewer than [`STEPS`] times two free slots the parts are too small to tell depths
//! apart, and the bounded wait is what ends it.)

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use tokio::sync::{Notify, Semaphore};
use tokio::time::Instant;

use super::chain::{Branch, MAX_DEPTH};
use crate::admission::{HostSlot, HostSlots};
use crate::metrics::WorkloadMetrics;

/// The part of the free slots that calls may hold, in so many parts: the deepest all of them, the first [`STEPS`] - [`MAX_DEPTH`] + 1.
const STEPS: u32 = 15;

/// The calls of one workload.
pub(crate) struct Calls {
    host: Arc<HostSlots>,
    held: Arc<InFlight>,
    /// The turn to wait for a slot of the host, for each depth: deeper calls don't stand behind others.
    turns: [Semaphore; MAX_DEPTH],
}

struct InFlight {
    count: AtomicU32,
    /// Told when there are none.
    none: Notify,
    metrics: Arc<WorkloadMetrics>,
}

/// A call's right to run, given back when dropped: the workload's part first, so that who is woken by the host's slot sees both.
pub(crate) struct CallPermit {
    _held: Held,
    _host: HostSlot,
    _branch: Branch,
}

struct Held(Arc<InFlight>);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.metrics.calls_in_flight.dec();
        if self.0.count.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.0.none.notify_waiters();
        }
    }
}

impl Calls {
    pub(crate) fn new(host: Arc<HostSlots>, metrics: Arc<WorkloadMetrics>) -> Arc<Calls> {
        let held = Arc::new(InFlight { count: AtomicU32::new(0), none: Notify::new(), metrics });
        Arc::new(Calls { host, held, turns: std::array::from_fn(|_| Semaphore::new(1)) })
    }

    /// Waits for a slot until `until`; none: there was none. Dropping the future gives up the place.
    pub(crate) async fn admit(&self, branch: Branch, depth: usize, until: Instant) -> Option<CallPermit> {
        let turn = &self.turns[depth.clamp(1, MAX_DEPTH) - 1];
        // Who comes doesn't overtake those of its depth.
        let direct = if turn.available_permits() > 0 { self.take(depth) } else { None };
        let (held, host) = match direct {
            Some(taken) => taken,
            None => {
                let wait = async {
                    let _turn = turn.acquire().await.ok()?;
                    Some(self.host.wait(|| self.take(depth)).await)
                };
                tokio::time::timeout_at(until, wait).await.ok().flatten()?
            }
        };
        Some(CallPermit { _held: held, _host: host, _branch: branch })
    }

    fn take(&self, depth: usize) -> Option<(Held, HostSlot)> {
        let before = self.held.count.fetch_add(1, Ordering::SeqCst);
        self.held.metrics.calls_in_flight.inc();
        let held = Held(self.held.clone());
        let host = self.host.take_while(|free| has_room(before, free, depth))?;
        Some((held, host))
    }

    /// Waits until no call runs.
    pub(crate) async fn idle(&self) {
        loop {
            let none = self.held.none.notified();
            if self.held.count.load(Ordering::SeqCst) == 0 {
                return;
            }
            none.await;
        }
    }
}

/// Whether a workload that holds `held` slots may take one more of `free` for a call at `depth`, 1 to [`MAX_DEPTH`].
fn has_room(held: u32, free: u32, depth: usize) -> bool {
    let part = STEPS - (MAX_DEPTH - depth.clamp(1, MAX_DEPTH)) as u32;
    free > 0 && u64::from(held) * u64::from(STEPS) <= u64::from(free) * u64::from(part)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    use crate::bridge::chain::tests::branch;
    use crate::metrics::HostMetrics;

    /// Calls as far as slots go: who holds how many at which depth, by workload.
    fn fill(slots: u32, workloads: usize, order: impl Iterator<Item = (usize, usize)>) -> (u32, Vec<Vec<u32>>) {
        let (mut free, mut held) = (slots, vec![vec![0; MAX_DEPTH + 1]; workloads]);
        for (workload, depth) in order {
            // A call at a depth comes of one that waits above it.
            let parent = depth == 1 || held[workload][depth - 1] > held[workload][depth];
            if parent && has_room(held[workload].iter().sum(), free, depth) {
                held[workload][depth] += 1;
                free -= 1;
            }
        }
        (free, held)
    }

    #[test]
    fn callers_never_hold_all_that_callees_need() {
        for slots in [300, 1000, 5000] {
            // Shallow calls come first, as many as can, from two workloads in turn; then each goes as deep as it may.
            let order = (1..=MAX_DEPTH).flat_map(|depth| (0..slots as usize).map(move |n| (n % 2, depth)));
            let (free, held) = fill(slots, 2, order);
            for of in &held {
                assert!(of[MAX_DEPTH] > 0, "the deepest go on, and end: {free} of {slots} free, {held:?}");
            }
        }
    }

    #[test]
    fn one_workload_takes_no_more_than_half_of_the_slots() {
        let (free, held) = fill(1000, 1, (0..1000).map(|_| (0, 1)));
        assert!(held[0][1] >= 300 && free >= 500, "{held:?}");
        assert!(has_room(0, free, 1), "another finds room");
    }

    #[tokio::test]
    async fn l32_a_call_waits_a_bounded_time_for_a_slot_and_takes_the_next_that_comes_free() {
        let host = Arc::new(HostSlots::new(1));
        let calls = Calls::new(host.clone(), HostMetrics::default().workload("default", "test"));
        let until = || Instant::now() + Duration::from_millis(20);
        let first = calls.admit(branch(), 1, until()).await.unwrap();
        assert!(calls.admit(branch(), 2, until()).await.is_none());
        let late = Instant::now() + Duration::from_secs(60);
        let (second, ()) = tokio::join!(calls.admit(branch(), 1, late), async { drop(first) });
        assert!(second.is_some());
        let ((), ()) = tokio::join!(calls.idle(), async { drop(second) });
        assert_eq!((host.in_use(), calls.held.metrics.calls_in_flight.get()), (0, 0));
    }
}
