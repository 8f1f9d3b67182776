//! What a registry source and its cache count. Plain numbers: whoever serves metrics names and labels them.

use std::sync::atomic::{AtomicU64, Ordering};

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// The number so far.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    pub(crate) fn increment(&self) {
        self.add(1);
    }
}

/// Counts since the cache was opened.
#[derive(Debug, Default)]
pub struct Metrics {
    /// Images that came from the cache without a word to the registry, or after it said that the tag hasn't moved.
    pub hits: Counter,
    /// Images that the cache lacked, in whole or in part.
    pub misses: Counter,
    /// Pulls that were begun; several who ask for one image at once share one.
    pub pulls: Counter,
    /// Pulls that ended without the image.
    pub failures: Counter,
    /// Requests that were tried again, for whatever reason.
    pub retries: Counter,
    /// Bytes of components that came over the network, also in vain.
    pub transferred_bytes: Counter,
    /// Files that left the cache to make room or because they were asked to.
    pub evictions: Counter,
    /// Bytes of those.
    pub evicted_bytes: Counter,
    /// Files in the cache that weren't what their names say, and were removed.
    pub corrupt: Counter,
    /// Images that were fetched and couldn't be kept: no room, or a failing disk.
    pub unstored: Counter,
}
