//! Berth's HTTP stack, shared by a host's ingress and by the gateway: listening and accepting, TLS, limits and deadlines,
//! draining, and the rules for what passes between hops (authority, domains, headers, error pages).
//!
//! It knows nothing of workloads or routes: a [`Service`] answers requests, everything else here keeps clients from hurting it
//! and each other. It depends on none of Berth's other crates.
//!
//! The shape is one single-threaded runtime per core, each with a listening socket of its own on the same port. A connection is
//! served where it was accepted, or handed over once to the least loaded thread, and never moves again; what a service spawns
//! with `tokio::spawn` stays on that thread. Read [`Server`] first, then `worker` and `connection`.

pub mod authority;
pub mod domains;
pub mod headers;
pub mod page;

mod config;
mod connection;
mod listener;
mod server;
mod service;
mod shared;
mod tls;
mod worker;

pub use config::{ServerConfig, ServerLimits, TlsConfig};
pub use server::{BindError, Drained, Running, Server};
pub use service::{BoxError, Connection, ResponseBody, Service};
pub use shared::Figures;
pub use tls::TlsError;
