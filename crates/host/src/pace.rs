//! The pace of an owner's guests: whether they compute for long at a stretch. All replicas and versions of one owner share it, so that a
//! new one is known from its first request.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

/// Guests that compute this long at a stretch wait for their turn before they begin: a fifth of a tick. What hello takes is a tenth of it.
const LONG_US: u32 = 200;
/// The mean goes half of the way to what is new in about this much computing, so that many short stretches don't hide a long one.
const MEMORY_US: u32 = 5_000;
/// A stretch counts for this at most, a tick: a guest is interrupted then, and what took longer was, as often as not, the system's doing.
const LONGEST_US: u32 = 1_000;
/// Stretches below half of what is long aren't noted while the mean is below it too: nearly all are, and the mean is shared by threads.
const SHORT_US: u32 = LONG_US / 2;

/// How long guests compute at a stretch: the mean over the time that they computed, microseconds.
#[derive(Debug, Default)]
pub(crate) struct Pace(AtomicU32);

impl Pace {
    /// Whether guests compute for long at a stretch.
    pub(crate) fn computes(&self) -> bool {
        self.0.load(Ordering::Relaxed) >= LONG_US
    }

    /// Takes a stretch of computing into the mean. Threads may overwrite each other's: each brings more.
    pub(crate) fn note(&self, stretch: Duration) {
        let stretch = u32::try_from(stretch.as_micros()).unwrap_or(u32::MAX).min(LONGEST_US);
        let mean = self.0.load(Ordering::Relaxed);
        if stretch.max(mean) >= SHORT_US {
            self.0.store(mixed(mean, stretch), Ordering::Relaxed);
        }
    }
}

/// The mean with a stretch more, which weighs as much as it lasted.
fn mixed(mean: u32, stretch: u32) -> u32 {
    let (mean, stretch, memory) = (u64::from(mean), u64::from(stretch), u64::from(MEMORY_US));
    // Below a microsecond, mean and stretch are the same.
    let weight = stretch.max(1);
    u32::try_from((mean * memory + stretch * weight) / (memory + weight)).unwrap_or(u32::MAX)
}

/// The paces of all owners with workloads on the host.
#[derive(Debug, Default)]
pub(crate) struct Paces(Mutex<HashMap<String, Weak<Pace>>>);

impl Paces {
    /// The pace of the owner's guests.
    pub(crate) fn of(&self, owner: &str) -> Arc<Pace> {
        let mut paces = self.0.lock().expect("no panic while held");
        if let Some(pace) = paces.get(owner).and_then(Weak::upgrade) {
            return pace;
        }
        // Seldom: an owner's first workload.
        if paces.len() == paces.capacity() {
            paces.retain(|_, pace| pace.strong_count() > 0);
        }
        let pace = Arc::new(Pace::default());
        paces.insert(owner.to_owned(), Arc::downgrade(&pace));
        pace
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(stretches: impl IntoIterator<Item = u64>) -> bool {
        let pace = Pace::default();
        stretches.into_iter().for_each(|us| pace.note(Duration::from_micros(us)));
        pace.computes()
    }

    #[test]
    fn l30_who_computes_for_most_of_a_tick_is_known_whatever_else_it_does() {
        assert!(after([900, 900]), "never interrupted");
        assert!(after(std::iter::repeat_n([5; 9].into_iter().chain([900]), 20).flatten()), "hidden among short ones");
        assert!(after([5_000, 5_000]), "slow host calls");
        assert!(!after([30; 10_000]) && !after([900]) && !after([5_000]) && !after([]));
    }

    #[test]
    fn who_stops_computing_is_forgotten() {
        assert!(!after([1_000; 100].into_iter().chain([30; 500])));
    }

    #[test]
    fn replicas_of_one_owner_share_a_pace_and_those_that_went_leave_none() {
        let paces = Paces::default();
        let (one, two) = (paces.of("default/a"), paces.of("default/a"));
        assert!(Arc::ptr_eq(&one, &two) && !Arc::ptr_eq(&one, &paces.of("default/b")));
        drop((one, two));
        for n in 0..1000 {
            paces.of(&n.to_string());
        }
        assert!(paces.0.lock().unwrap().len() < 100);
    }
}
