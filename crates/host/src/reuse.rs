//! Instances that serve more than one request: opt-in by `poolSize`, `maxInvocations` and `maxConcurrency`.

use std::sync::Mutex;

use berth_model::workload;

use crate::guest_store::GuestStore;
use crate::invoke::Handler;
#[cfg(feature = "wasi-p3")]
use crate::invoke::workers::Workers;

/// Warm instances kept where reuse is on and `poolSize` says nothing.
const DEFAULT_POOL_SIZE: usize = 8;

/// How a component's instances are used again.
pub(crate) enum Reuse {
    /// Not at all.
    Off,
    /// One request at a time: WASI 0.2.
    Serial(WarmPool),
    /// Several requests at once: WASI 0.3.
    #[cfg(feature = "wasi-p3")]
    Concurrent(Workers),
}

/// Bounds on reuse, decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bounds {
    /// Warm instances kept.
    pub(crate) keep: usize,
    /// Calls per instance; none: no bound.
    pub(crate) max_calls: Option<u32>,
    /// Calls at once per instance.
    pub(crate) max_concurrency: u32,
}

impl Bounds {
    /// The bounds of a component; none where reuse is off.
    pub(crate) fn of(reuse: &workload::Reuse) -> Option<Bounds> {
        reuse.is_on().then(|| Bounds {
            keep: if reuse.pool_size == 0 { DEFAULT_POOL_SIZE } else { reuse.pool_size as usize },
            max_calls: (reuse.max_invocations > 0).then_some(reuse.max_invocations),
            max_concurrency: reuse.max_concurrency.max(1),
        })
    }

    /// Whether an instance that served `calls` may serve another.
    pub(crate) fn allows(&self, calls: u32) -> bool {
        self.max_calls.is_none_or(|max| calls < max)
    }
}

/// An instance between two requests.
pub(crate) struct Warm {
    pub(crate) store: GuestStore,
    pub(crate) handler: Handler,
    /// Requests it served.
    pub(crate) calls: u32,
}

/// Warm instances of one component of one workload.
pub(crate) struct WarmPool {
    bounds: Bounds,
    idle: Mutex<Vec<Warm>>,
}

impl WarmPool {
    pub(crate) fn new(bounds: Bounds) -> WarmPool {
        WarmPool { bounds, idle: Mutex::default() }
    }

    /// The instance that was used last, as its memory is still in the caches.
    pub(crate) fn take(&self) -> Option<Warm> {
        self.idle.lock().expect("no panic while held").pop()
    }

    /// Keeps an instance that served well, as far as the bounds allow, and frees the slot of its request.
    pub(crate) fn put(&self, mut warm: Warm) {
        if !self.bounds.allows(warm.calls) {
            return;
        }
        let mut idle = self.idle.lock().expect("no panic while held");
        if idle.len() < self.bounds.keep {
            let permit = warm.store.release();
            idle.push(warm);
            // Only now, so that who waits for the slot finds the instance.
            drop(idle);
            drop(permit);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_unset_means_a_fresh_instance_per_request() {
        assert_eq!(Bounds::of(&workload::Reuse::default()), None);
        assert_eq!(Bounds::of(&workload::Reuse { max_invocations: 1, ..Default::default() }), None);
    }

    #[test]
    fn an_instance_retires_after_its_calls() {
        let bounds = Bounds::of(&workload::Reuse { pool_size: 2, max_invocations: 3, max_concurrency: 0 }).unwrap();
        assert_eq!((bounds.keep, bounds.max_concurrency), (2, 1));
        assert!(bounds.allows(2) && !bounds.allows(3));
        let endless = Bounds::of(&workload::Reuse { pool_size: 2, ..Default::default() }).unwrap();
        assert!(endless.allows(u32::MAX));
    }
}
