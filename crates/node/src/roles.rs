//! Roles: what a process can be.

pub mod local;
