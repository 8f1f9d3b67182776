//! What Berth's parts talk about: resources, ids, digests, domains, images, grants and limits.
//!
//! Everything here is a value: parsed once at the edge, valid from then on. The crate knows no runtime, no network, no
//! Kubernetes client and no Wasm engine.

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod condition;
pub mod digest;
pub mod domain;
pub mod event;
pub mod grants;
pub mod id;
pub mod image;
pub mod import;
pub mod interface;
pub mod limits;
pub mod manifest;
mod path;
pub mod quantity;
pub mod resource;
pub mod suggest;
mod text;
pub mod validate;
pub mod workload;
