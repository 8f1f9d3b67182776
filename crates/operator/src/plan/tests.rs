//! Plans, carried out against a real store and hosts that answer by rule.

mod deployments;
mod hosts;
mod placed;
mod placement;
mod replica_sets;
mod scale;
mod secrets;
mod workloads;
mod world;
