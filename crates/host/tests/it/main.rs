//! The host over HTTP, with guests built from source: what a request sees, and what the host survives.

#![allow(clippy::unwrap_used, reason = "a test that unwraps fails where it should")]

mod bodies;
mod bounds;
mod bridge;
mod config;
mod copied;
mod egress;
mod harness;
mod known;
mod languages;
mod limits;
mod linked_sockets;
mod linking;
mod logs;
mod loopback;
mod neighbours;
mod reclaim;
mod requests;
mod reuse;
mod services;
mod swaps;
mod traces;
mod uploads;
mod volumes;
mod workloads;
