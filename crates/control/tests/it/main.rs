//! Tests of the control protocol over the in-process bus, through the public API and as raw messages.

#![allow(clippy::unwrap_used, reason = "a test that can't go on panics")]

mod bus;
mod golden;
mod round_trip;
mod server;
mod streams;
mod support;
mod sync;
