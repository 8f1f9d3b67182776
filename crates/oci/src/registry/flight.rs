//! One piece of work for all who ask for the same at once, and one at a time for what mustn't be done twice.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use berth_model::digest::Digest;
use futures::FutureExt as _;
use futures::future::{BoxFuture, Shared, WeakShared};

/// What is under way, by what it was asked for. Each piece of work is driven by those who wait for it: it goes on when one of them goes
/// away, and ends with the last. There is one entry per piece of work under way, so whoever bounds the askers bounds this.
pub struct Flights<K, T: Clone> {
    under_way: Mutex<HashMap<K, WeakShared<BoxFuture<'static, T>>>>,
}

impl<K: Eq + Hash, T: Clone> Flights<K, T> {
    pub fn new() -> Self {
        Self { under_way: Mutex::default() }
    }

    /// The result of what is under way for `key`, else of what `start` makes. Cancel safe.
    pub fn join(&self, key: K, start: impl FnOnce() -> BoxFuture<'static, T>) -> Shared<BoxFuture<'static, T>> {
        let mut under_way = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        // What has ended is no answer to who asks now, even if somebody still holds it.
        under_way.retain(|_, flight| flight.upgrade().is_some_and(|flight| flight.peek().is_none()));
        if let Some(flight) = under_way.get(&key).and_then(WeakShared::upgrade) {
            return flight;
        }
        let flight = start().shared();
        if let Some(weak) = flight.downgrade() {
            under_way.insert(key, weak);
        }
        flight
    }
}

/// One at a time, per digest.
#[derive(Default)]
pub struct Turns {
    by_digest: Mutex<HashMap<Digest, Weak<tokio::sync::Mutex<()>>>>,
}

impl Turns {
    pub fn new() -> Self {
        Self::default()
    }

    /// What to lock while something is done with that digest.
    pub fn of(&self, digest: &Digest) -> Arc<tokio::sync::Mutex<()>> {
        let mut by_digest = self.by_digest.lock().unwrap_or_else(PoisonError::into_inner);
        by_digest.retain(|_, turn| turn.strong_count() > 0);
        if let Some(turn) = by_digest.get(digest).and_then(Weak::upgrade) {
            return turn;
        }
        let turn = Arc::default();
        by_digest.insert(digest.clone(), Arc::downgrade(&turn));
        turn
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
