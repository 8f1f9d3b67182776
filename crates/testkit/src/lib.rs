//! What Berth's tests share: guests built from source, and a world of every role in one process.

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod guests;
#[cfg(feature = "world")]
pub mod world;
