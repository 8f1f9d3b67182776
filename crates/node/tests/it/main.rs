//! Operator, host, bus, store and API together, in one process.

#![allow(clippy::unwrap_used)]

mod admin;
mod api;
mod failures;
mod life;
mod rollout;
mod secrets;
