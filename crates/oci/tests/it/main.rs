//! Images read from disk as a host reads them, and pulled from a real registry.

#![allow(clippy::unwrap_used, reason = "a test that can't go on panics")]

mod file;
mod folder;
mod killed;
mod layout;
mod pushed;
mod registry;
mod registry_access;
mod registry_faults;
