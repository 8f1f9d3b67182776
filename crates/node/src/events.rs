//! The events of one process: the last thousand, merged, and live.
//!
//! An event that repeats an earlier one (same reason, object and message) doesn't take another place: its count grows and it
//! moves to the end, so that a workload which fails again and again can't push everything else out.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use berth_model::event::{Event, EventSink};
use berth_model::resource::Kind;
use tokio::sync::broadcast;

/// Events kept by default: what a person reads through, and a few hundred kilobytes.
pub const DEFAULT_CAPACITY: usize = 1000;

/// Events that a slow follower may lag behind before it misses some.
const FOLLOW_QUEUE: usize = 1024;

/// Keeps the latest events, merged, and hands each on to followers.
#[derive(Debug)]
pub struct EventRing {
    capacity: usize,
    kept: Mutex<Kept>,
    live: broadcast::Sender<Arc<Event>>,
}

#[derive(Debug, Default)]
struct Kept {
    next: u64,
    by_age: BTreeMap<u64, Arc<Event>>,
    places: HashMap<Identity, u64>,
}

/// What makes two events one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Identity {
    kind: Kind,
    namespace: String,
    name: String,
    reason: String,
    message: String,
}

impl Identity {
    fn of(event: &Event) -> Identity {
        Identity {
            kind: event.kind,
            namespace: event.namespace.clone(),
            name: event.name.clone(),
            reason: event.reason.clone(),
            message: event.message.clone(),
        }
    }
}

impl EventRing {
    /// A ring that keeps `capacity` different events, 1 at least.
    pub fn new(capacity: usize) -> EventRing {
        EventRing { capacity: capacity.max(1), kept: Mutex::default(), live: broadcast::Sender::new(FOLLOW_QUEUE) }
    }

    /// The events kept, the oldest first.
    pub fn recent(&self) -> Vec<Arc<Event>> {
        self.lock().by_age.values().cloned().collect()
    }

    /// The events kept, and every one from then on: none is missed between the two and none comes twice. A merged event comes
    /// again with its new count. A follower that lags more than 1,024 events behind is told so by its receiver.
    pub fn follow(&self) -> (Vec<Arc<Event>>, broadcast::Receiver<Arc<Event>>) {
        let kept = self.lock();
        (kept.by_age.values().cloned().collect(), self.live.subscribe())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Kept> {
        // A panic while the lock is held can't leave the maps half-changed in a way that matters: at worst one event is lost.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl EventSink for EventRing {
    fn record(&self, mut event: Event) {
        let identity = Identity::of(&event);
        let mut kept = self.lock();
        let place = kept.next;
        kept.next += 1;
        if let Some(old) = kept.places.insert(identity, place)
            && let Some(before) = kept.by_age.remove(&old)
        {
            event.count = event.count.saturating_add(before.count);
        }
        let event = Arc::new(event);
        kept.by_age.insert(place, event.clone());
        if kept.by_age.len() > self.capacity
            && let Some((_, oldest)) = kept.by_age.pop_first()
        {
            kept.places.remove(&Identity::of(&oldest));
        }
        // Sent under the lock, so that a follower sees the order of the ring. Nobody listening is no error.
        let _ = self.live.send(event);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use berth_model::event::Severity;

    fn event(name: &str, message: &str) -> Event {
        Event {
            time: jiff::Timestamp::UNIX_EPOCH,
            severity: Severity::Warning,
            reason: "Trapped".into(),
            kind: Kind::Workload,
            namespace: "default".into(),
            name: name.into(),
            message: message.into(),
            count: 1,
        }
    }

    #[test]
    fn an_event_that_repeats_takes_one_place_and_counts() {
        let ring = EventRing::new(10);
        ring.record(event("a", "trap"));
        ring.record(event("b", "trap"));
        ring.record(event("a", "trap"));
        let recent = ring.recent();
        let seen: Vec<_> = recent.iter().map(|e| (e.name.as_str(), e.count)).collect();
        assert_eq!(seen, [("b", 1), ("a", 2)]);
    }

    #[test]
    fn the_ring_forgets_the_oldest_first_and_stays_bounded() {
        let ring = EventRing::new(3);
        for i in 0..100 {
            ring.record(event("a", &i.to_string()));
        }
        let messages: Vec<_> = ring.recent().iter().map(|e| e.message.clone()).collect();
        assert_eq!(messages, ["97", "98", "99"]);
        assert_eq!(ring.lock().places.len(), 3);
    }

    #[test]
    fn a_follower_gets_what_was_and_what_comes_without_gap_or_repeat() {
        let ring = EventRing::new(10);
        ring.record(event("a", "one"));
        let (past, mut live) = ring.follow();
        ring.record(event("a", "two"));
        assert_eq!(past.len(), 1);
        assert_eq!(live.try_recv().unwrap().message, "two");
        assert!(live.try_recv().is_err());
    }
}
