//! Where services run: on the threads that answer requests, each service on the one that has the fewest.
//!
//! A service that waits costs its thread nothing, and one that computes takes turns with the requests' guests there, tick by tick
//! (`turn`): neither starves the other, for which threads of the system would need luck. A restart takes its place anew.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::runtime::Handle;

/// The threads of a host that run guests.
pub(crate) struct Threads(Vec<Arc<Thread>>);

struct Thread {
    runtime: Handle,
    services: AtomicUsize,
}

/// A service's place on a thread, until it is dropped.
pub(crate) struct Place(Arc<Thread>);

impl Threads {
    /// The threads of these runtimes, of which there is one at least.
    pub(crate) fn new(runtimes: Vec<Handle>) -> Threads {
        Threads(runtimes.into_iter().map(|runtime| Arc::new(Thread { runtime, services: AtomicUsize::new(0) })).collect())
    }

    /// A place where the fewest services run. Two that come at once may take the same.
    pub(crate) fn take(&self) -> Place {
        let fewest = self.0.iter().min_by_key(|thread| thread.services.load(Ordering::Relaxed));
        let thread = fewest.expect("a server has a thread at least").clone();
        thread.services.fetch_add(1, Ordering::Relaxed);
        Place(thread)
    }
}

impl Place {
    pub(crate) fn runtime(&self) -> &Handle {
        &self.0.runtime
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.services.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_spread_over_the_threads_and_give_their_places_back() {
        let runtimes: Vec<_> = (0..2).map(|_| tokio::runtime::Builder::new_current_thread().build().unwrap()).collect();
        let threads = Threads::new(runtimes.iter().map(|runtime| runtime.handle().clone()).collect());
        let on = || threads.0.iter().map(|thread| thread.services.load(Ordering::Relaxed)).collect::<Vec<_>>();
        let (one, two, three) = (threads.take(), threads.take(), threads.take());
        assert_eq!(on(), [2, 1]);
        drop(one);
        drop(three);
        assert_eq!(on(), [0, 1]);
        drop(two);
        assert_eq!(on(), [0, 0]);
    }
}
