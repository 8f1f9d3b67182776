//! How a store ended. A store that goes away closes its channels, which its bodies report as a clean end, so a reader has to ask.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

const LIVE: u8 = 0;
const DONE: u8 = 1;
const DEAD: u8 = 2;

/// Shared between the task that owns a store and those who read its bodies.
#[derive(Clone, Default)]
pub(crate) struct Fate(Arc<AtomicU8>);

impl Fate {
    /// The guest finished by itself.
    pub(crate) fn done(&self) {
        self.0.store(DONE, Ordering::Release);
    }

    /// The store goes before its guest finished. Said before the store is dropped; no effect on a guest that finished.
    pub(crate) fn dead(&self) {
        let _ = self.0.compare_exchange(LIVE, DEAD, Ordering::Release, Ordering::Relaxed);
    }

    /// Whether the store went before its guest finished.
    pub(crate) fn is_dead(&self) -> bool {
        self.0.load(Ordering::Acquire) == DEAD
    }
}

/// Says how a store ended before it is dropped, by being dropped itself.
#[cfg(feature = "wasi-p3")]
pub(crate) struct Dying<'a>(pub(crate) &'a Fate);

#[cfg(feature = "wasi-p3")]
impl Drop for Dying<'_> {
    fn drop(&mut self) {
        self.0.dead();
    }
}
