//! The local API: how `berth get`, `apply`, `logs` and the rest talk to a running `berth up`.
//!
//! HTTP/1 with JSON over a Unix socket in the data folder, which only its user can open; the server checks the peer's uid as well.
//! Streams (`watch`, `follow`, `stop`) are JSON lines. Not meant for other programs: both ends are of one version, or the
//! client says so.
//!
//! | request | answer |
//! |---|---|
//! | `GET /v1/version` | [`Version`] |
//! | `POST /v1/apply` | body [`Apply`], answer [`Applied`] |
//! | `GET /v1/resources/{plural}?namespace&name&watch` | [`List`], or lines of [`WatchEvent`] |
//! | `DELETE /v1/resources/{plural}/{namespace}/{name}` | `{}` |
//! | `GET /v1/inspect/{plural}/{namespace}/{name}` | [`Inspection`](crate::inspect::Inspection) |
//! | `POST /v1/values/{plural}/{namespace}/{name}` | body [`EditValues`], answer [`Change`] |
//! | `GET /v1/values/{plural}/{namespace}/{name}/{key}` | [`Revealed`] |
//! | `GET /v1/logs/{namespace}/{name}?follow&tail` | lines of [`LogLine`](berth_host::logs::LogLine) |
//! | `GET /v1/events?follow` | lines of [`Event`](berth_model::event::Event) |
//! | `GET /v1/top` | [`Top`] |
//! | `POST /v1/drain`, `POST /v1/stop` | lines of [`Progress`] |
//!
//! Values of Secrets are withheld, wherever a resource is shown; one that is asked for by its key is told.
//!
//! Errors are [`ApiError`] with a fitting HTTP status.

mod client;
mod error;
mod escape;
mod process;
mod routes;
mod stream;
mod types;
mod values;

pub use client::{ANSWER_TIMEOUT, Client, ClientError, Lines};
pub use error::{ApiError, Code};
pub use process::Process;
pub(crate) use routes::{About, Api, MAX_STREAMS, apply_all};
pub use types::{
    Applied, Apply, Change, EditValues, Figures, List, Outcome, Progress, ResourceRef, Revealed, Top, Version, WatchEvent, WatchKind,
};
