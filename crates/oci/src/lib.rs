//! Where component images come from.
//!
//! A [`Source`] turns an image reference into the bytes of one component and their digest. [`LocalSource`] reads files and OCI image
//! layout folders. Whether the bytes are a component that can run is the host's to say: this crate knows no Wasm.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod error;
mod file;
mod layout;
mod local;
mod manifest;
mod source;

pub use error::FetchError;
pub use local::{LocalLimits, LocalSource};
pub use source::{Artifact, Source};
