//! Images read from disk as a host reads them.

#![allow(clippy::unwrap_used, reason = "a test that can't go on panics")]

mod file;
mod folder;
mod layout;
