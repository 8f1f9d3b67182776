//! The fixture guests, built as tests build them.

#![allow(clippy::unwrap_used, reason = "a test that can't go on panics")]

mod guests;
