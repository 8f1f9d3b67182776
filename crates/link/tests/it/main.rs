//! Planning and composing, with components written as text.

#![allow(clippy::unwrap_used)]

mod compose;
mod identity;
mod plan;
mod property;
mod read;
mod support;
mod types;
