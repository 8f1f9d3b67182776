//! The host: runs workloads on Wasmtime and answers each HTTP request in a component instance.
//!
//! A workload is prepared once ([`prepare`](crate::Host::set_wanted)): its components are fetched, inspected, compiled, linked and
//! pre-instantiated. A request then does one lookup in an immutable route table, takes a slot, and runs in an instance of its own
//! on the thread that accepted it. The crate knows no control protocol and no Kubernetes: it takes checked
//! [`berth_model::workload::Workload`]s and reports [`Status`].

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod admission;
mod bridge;
mod code;
mod compile;
mod component;
mod config;
mod config_store;
mod copied;
mod egress;
mod engine;
mod guest;
mod guest_store;
mod host;
mod ingress;
pub mod inspect;
pub mod intake;
mod invoke;
mod later;
mod limiter;
pub mod logs;
mod loopback;
mod member;
mod metrics;
mod pace;
mod prepare;
mod reclaim;
mod request_id;
mod reuse;
mod routes;
mod service;
mod status;
mod stdio;
mod supervisor;
mod ticker;
mod turn;
mod volumes;

pub use code::{CodeCache, CodeEntry, CodeSettings, CodeSum};
pub use config::{Expected, HostConfig, IngressConfig, NetworkConfig, ReclaimConfig, ServiceConfig, VolumeConfig};
pub use host::{Bound, Host, StartError};
pub use metrics::WorkloadFigures;
pub use status::{ComponentStatus, State, Status, WantedWorkload};
