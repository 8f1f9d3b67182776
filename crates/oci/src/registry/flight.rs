//! One piece of work for all who ask for the same at once, and one at a time for what mustn't be done twice.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use berth_model::digest::Digest;
use futures::FutureExt as _;
use futures::future::{BoxFuture, Shared, WeakShared};
use tokio::sync::Semaphore;

/// What is under way, by what it was asked for. Each piece of work is driven by those who wait for it: it goes on when one of them goes
/// away, and ends with the last. There is one entry per piece of work under way, so whoever bounds the askers bounds this.
pub struct Flights<K, T: Clone> {
    under_way: Mutex<UnderWay<K, T>>,
}

struct UnderWay<K, T: Clone> {
    flights: HashMap<K, WeakShared<BoxFuture<'static, T>>>,
    /// How many there may be before those that ended are swept out: twice what the last sweep left, so that sweeping costs little.
    sweep_at: usize,
}

impl<K: Eq + Hash, T: Clone> Flights<K, T> {
    pub fn new() -> Self {
        Self { under_way: Mutex::new(UnderWay { flights: HashMap::new(), sweep_at: 16 }) }
    }

    /// The result of what is under way for `key`, else of what `start` makes. Cancel safe.
    pub fn join(&self, key: K, start: impl FnOnce() -> BoxFuture<'static, T>) -> Shared<BoxFuture<'static, T>> {
        let mut under_way = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        // What has ended is no answer to who asks now, even if somebody still holds it.
        let goes_on = |flight: &WeakShared<_>| flight.upgrade().filter(|flight: &Shared<_>| flight.peek().is_none());
        if let Some(flight) = under_way.flights.get(&key).and_then(goes_on) {
            return flight;
        }
        if under_way.flights.len() >= under_way.sweep_at {
            under_way.flights.retain(|_, flight| goes_on(flight).is_some());
            under_way.sweep_at = (2 * under_way.flights.len()).max(16);
        }
        let flight = start().shared();
        if let Some(weak) = flight.downgrade() {
            under_way.flights.insert(key, weak);
        }
        flight
    }
}

/// What is locked while something is done that mustn't be done twice.
type Turn = tokio::sync::Mutex<()>;

/// One at a time, per registry and digest: one that is slow holds up nobody who gets the same from another.
#[derive(Default)]
pub struct Turns {
    by_place: Mutex<HashMap<(String, Digest), Weak<Turn>>>,
}

impl Turns {
    pub fn new() -> Self {
        Self::default()
    }

    /// What to lock while something is done with that digest of that registry.
    pub fn of(&self, registry: &str, digest: &Digest) -> Arc<Turn> {
        let mut by_place = self.by_place.lock().unwrap_or_else(PoisonError::into_inner);
        by_place.retain(|_, turn| turn.strong_count() > 0);
        let place = (registry.to_owned(), digest.clone());
        if let Some(turn) = by_place.get(&place).and_then(Weak::upgrade) {
            return turn;
        }
        let turn = Arc::default();
        by_place.insert(place, Arc::downgrade(&turn));
        turn
    }
}

/// So many at once per registry, so that one that hangs can't take every place.
pub struct Shares {
    each: usize,
    by_registry: Mutex<HashMap<String, Weak<Semaphore>>>,
}

impl Shares {
    pub fn new(each: usize) -> Self {
        Self { each: each.clamp(1, Semaphore::MAX_PERMITS), by_registry: Mutex::default() }
    }

    /// What to acquire while something is done with that registry.
    pub fn of(&self, registry: &str) -> Arc<Semaphore> {
        let mut by_registry = self.by_registry.lock().unwrap_or_else(PoisonError::into_inner);
        by_registry.retain(|_, share| share.strong_count() > 0);
        if let Some(share) = by_registry.get(registry).and_then(Weak::upgrade) {
            return share;
        }
        let share = Arc::new(Semaphore::new(self.each));
        by_registry.insert(registry.to_owned(), Arc::downgrade(&share));
        share
    }

    /// How much the registry has of its share that has the most.
    pub fn largest(&self) -> usize {
        let by_registry = self.by_registry.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = |share: Arc<Semaphore>| self.each.saturating_sub(share.available_permits());
        by_registry.values().filter_map(Weak::upgrade).map(taken).max().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::sync::Notify;

    use super::*;

    /// Work that waits to be let go, counts its starts, and says which start it was.
    fn work(starts: &Arc<AtomicUsize>, go: &Arc<Notify>) -> BoxFuture<'static, usize> {
        let (starts, go) = (Arc::clone(starts), Arc::clone(go));
        async move {
            let start = starts.fetch_add(1, Ordering::Relaxed);
            go.notified().await;
            start
        }
        .boxed()
    }

    #[tokio::test]
    async fn l35_all_who_ask_at_once_share_one_flight_and_one_who_leaves_harms_nobody() {
        let (flights, starts, go) = (Flights::new(), Arc::default(), Arc::default());
        let ask = || flights.join("a", || work(&starts, &go));
        let (mut first, mut second, third) = (ask(), ask(), ask());
        // The first begins the work and leaves.
        assert!(futures::poll!(&mut first).is_pending());
        assert!(futures::poll!(&mut second).is_pending());
        drop(first);
        go.notify_one();
        assert_eq!((second.await, third.await), (0, 0));
        assert_eq!(starts.load(Ordering::Relaxed), 1);
    }

    #[tokio::test]
    async fn what_ended_is_swept_out() {
        let flights = Flights::new();
        for key in 0..1000 {
            assert_eq!(flights.join(key, || async move { key }.boxed()).await, key);
        }
        let going_on: Vec<_> = (0..40).map(|key| flights.join(key, || futures::future::pending().boxed())).collect();
        assert!(flights.under_way.lock().unwrap().flights.len() <= 80);
        drop(going_on);
    }

    #[tokio::test]
    async fn what_nobody_waits_for_is_not_done_and_what_ended_is_not_given_again() {
        let (flights, starts, go) = (Flights::new(), Arc::default(), Arc::<Notify>::default());
        let ask = || flights.join("a", || work(&starts, &go));
        let mut left = ask();
        assert!(futures::poll!(&mut left).is_pending());
        drop(left);
        go.notify_one();
        let ended = ask();
        assert_eq!(ended.clone().await, 1);
        go.notify_one();
        assert_eq!(ask().await, 2);
        drop(ended);
    }
}
