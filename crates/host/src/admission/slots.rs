//! The slots of a host, which all its workloads share: who may take one, and who is told when one comes free.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use tokio::sync::Notify;

use crate::metrics::Counter;

/// The host's slots.
pub(crate) struct HostSlots {
    slots: u32,
    free: AtomicU32,
    /// Workloads that wait for a slot: one request of each.
    pub(super) waiting: AtomicU32,
    freed: Notify,
    /// Requests that were refused for want of one.
    pub(super) refused: Counter,
}

impl HostSlots {
    pub(crate) fn new(slots: u32) -> HostSlots {
        HostSlots { slots, free: AtomicU32::new(slots), waiting: AtomicU32::new(0), freed: Notify::new(), refused: Counter::default() }
    }

    /// All slots.
    pub(crate) fn most(&self) -> u32 {
        self.slots
    }

    /// Requests that were refused for want of one.
    pub(crate) fn refused(&self) -> u64 {
        self.refused.get()
    }

    /// Slots in use.
    pub(crate) fn in_use(&self) -> u32 {
        self.slots - self.free.load(Ordering::Relaxed)
    }

    /// Takes a slot for a workload that holds `held` already.
    pub(super) fn take(self: &Arc<Self>, held: u32) -> Option<HostSlot> {
        self.take_while(|free| fair(held, free))
    }

    /// Takes a slot if `may` says so of those that are free; it is asked again when they change meanwhile.
    pub(crate) fn take_while(self: &Arc<Self>, may: impl Fn(u32) -> bool) -> Option<HostSlot> {
        let take = |free: u32| free.checked_sub(1).filter(|_| may(free));
        self.free.fetch_update(Ordering::SeqCst, Ordering::SeqCst, take).ok().map(|_| HostSlot(self.clone()))
    }

    /// Tries to take one each time that one comes free.
    ///
    /// No slot is missed: who waits says so before it tries, and who frees one looks for waiters after (both sequentially
    /// consistent), so either the try sees the slot or the waiter is woken.
    pub(crate) async fn wait<T>(&self, mut take: impl FnMut() -> Option<T>) -> T {
        let _waiting = Waiting::new(&self.waiting);
        loop {
            let freed = self.freed.notified();
            if let Some(taken) = take() {
                return taken;
            }
            freed.await;
        }
    }
}

/// Counts one that waits, as long as it does.
struct Waiting<'a>(&'a AtomicU32);

impl<'a> Waiting<'a> {
    fn new(waiting: &'a AtomicU32) -> Waiting<'a> {
        waiting.fetch_add(1, Ordering::SeqCst);
        Waiting(waiting)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Whether a workload that holds `held` slots may take one more of `free`.
fn fair(held: u32, free: u32) -> bool {
    free > 0 && held <= free
}

/// One of them, free again when it is dropped.
pub(crate) struct HostSlot(Arc<HostSlots>);

impl Drop for HostSlot {
    fn drop(&mut self) {
        self.0.free.fetch_add(1, Ordering::SeqCst);
        if self.0.waiting.load(Ordering::SeqCst) > 0 {
            self.0.freed.notify_waiters();
        }
    }
}
