//! Composition root: what runs in one process, and how it is started, watched and ended.
//!
//! [`roles::local`] is `berth up`: operator, host, in-process bus and embedded store on one machine. Around it: the data folder it owns
//! ([`data`]), the local API by which `berth get` and the others talk to it ([`api`]), the caches it shares with others ([`caches`]), the admin address, the events it keeps
//! ([`events`]), its logs ([`telemetry`]), and how files become resources ([`intake`]). Nothing here prints: what a person should see is
//! a [`notice::Notice`].

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod adapter;
mod admin;
pub mod api;
mod bounds;
pub mod caches;
pub mod data;
pub mod events;
pub mod inspect;
pub mod intake;
pub mod lifecycle;
pub mod notice;
pub mod roles;
pub mod runtime;
mod server;
pub mod system;
pub mod telemetry;
pub mod url;

pub use berth_host as host;
pub use berth_http as http_stack;
pub use berth_model as model;
pub use berth_oci as oci;
pub use berth_operator::store;

/// An error and its causes in one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let said = error.to_string();
        // Some libraries repeat their source in their own words.
        if !text.ends_with(&said) {
            text.push_str(": ");
            text.push_str(&said);
        }
        cause = error.source();
    }
    text
}
