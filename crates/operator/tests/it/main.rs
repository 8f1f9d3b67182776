//! The operator's store and loop, against real files and a real bus.

#![allow(clippy::unwrap_used)]

mod fake_host;
mod objects;
mod run;
mod store;
mod store_file;
mod store_secrets;
