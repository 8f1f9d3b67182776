//! Control protocol of Berth: messages, subjects, a typed client and server over a small bus.
//!
//! Operator and host talk over a [`Bus`]: core NATS between machines, [`MemoryBus`] within a process. Subjects, messages and
//! their JSON form are those of wasmCloud v2, so that either end may be an upstream peer; what Berth adds has subjects and
//! messages of its own, used only with peers that announce it ([`Heartbeat::speaks_berth`]).
//!
//! The public API speaks `berth-model`'s types; wire types and their checks stay inside. The crate knows how messages
//! travel and what they mean, not how a host runs workloads or how an operator places them.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod bus;
mod client;
mod convert;
mod generated;
mod handler;
mod heartbeat;
mod memory;
mod parts;
mod report;
mod server;
mod streams;
pub mod subjects;
mod wanted;
mod wire;

pub use bus::{Bus, BusError, LostCount, Message, Subscription};
pub use client::{Agreement, CallError, DEADLINES, Deadlines, HostClient};
pub use convert::ConvertError;
pub use handler::HostHandler;
pub use heartbeat::{Heartbeat, PROTOCOL_LABEL, PROTOCOL_VERSION};
pub use memory::{MemoryBus, MemoryBusConfig};
pub use report::{DomainConflict, Report, WorkloadState};
pub use server::{HostServer, LaneConfig, ServerConfig};
pub use streams::{Heartbeats, Reports, announce, heartbeats, reports};
pub use wanted::Wanted;
pub use wire::DecodeError;
