//! What Berth's tests share: guests built from source, a world of every role in one process, and a real OCI registry.

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod guests;
#[cfg(feature = "registry")]
pub mod registry;
#[cfg(feature = "world")]
pub mod world;
