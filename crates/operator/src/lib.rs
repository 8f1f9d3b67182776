//! Places workloads on hosts: snapshot, plan, apply.
//!
//! [`store`] keeps what users want and what Berth saw. [`plan`] decides, as a pure function of a snapshot of both and of the
//! hosts' heartbeats and reports. [`Operator::run`] is the thin shell around it: it watches, plans, writes, and tells each host
//! the whole set of workloads that it is to run. The crate never runs a component and never knows how a host does.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod announced;
mod apply;
mod link;
pub mod plan;
mod run;
pub mod store;
mod watch;

pub use run::{Operator, OperatorConfig, OperatorError};

/// An error with its causes, on one line.
fn describe(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        text = format!("{text}: {next}");
        cause = next.source();
    }
    text
}
