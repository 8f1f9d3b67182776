//! The host over HTTP, with guests built from source: what a request sees, and what the host survives.

mod bodies;
mod egress;
mod harness;
mod limits;
mod logs;
mod requests;
mod reuse;
mod workloads;
