//! HTTP between the components of one workload, whatever version of WASI each speaks (D5).
//!
//! A call reaches a sibling by its name, `http://<component>.workload.internal`, with 0.2 `outgoing-handler` or 0.3 `client`, or by an
//! import of 0.3 `wasi:http/handler`. The host carries it to the sibling's handler of either version: both speak the same types of
//! requests and responses here. The callee runs like any request, in a store and a task of its own on the caller's thread, or in an
//! instance that its reuse allows. Bodies pass frame by frame, each side held back by the other; no network is used.
//!
//! What comes of one request is bounded together: its calls share its deadline, the chain of callers is at most [`chain::MAX_DEPTH`] long,
//! [`chain::MAX_AT_ONCE`] calls are in flight, and all calls of a host have slots of their own ([`calls`]).

pub(crate) mod body;
pub(crate) mod calls;
pub(crate) mod chain;
pub(crate) mod code;
pub(crate) mod counted;
pub(crate) mod link;
pub(crate) mod names;
pub(crate) mod send;

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use wasmtime_wasi_http::Error;

use self::calls::Calls;
use crate::invoke::Entry;

/// What a request to a sibling, or to whoever serves an import, gives back besides the response: when the callee is done with the request.
pub(crate) type Processed = Box<dyn Future<Output = Result<(), Error>> + Send>;
/// What a call gives.
pub(crate) type Sent = Result<(http::Response<wasmtime_wasi_http::WasiBody>, Processed), Error>;

/// The components of a workload as they reach each other. Owned by the prepared workload; components know it weakly, so that it goes
/// with the workload.
pub(crate) struct Siblings {
    pub(crate) calls: Arc<Calls>,
    /// Set once, when all are prepared.
    met: OnceLock<Met>,
}

struct Met {
    /// All components, by name; those that answer HTTP with how.
    entries: BTreeMap<Arc<str>, Option<Arc<Entry>>>,
    /// Who satisfies a component's import of `wasi:http/handler`, by the importer.
    handlers: BTreeMap<Arc<str>, Arc<str>>,
}

impl Siblings {
    pub(crate) fn new(calls: Arc<Calls>) -> Arc<Siblings> {
        Arc::new(Siblings { calls, met: OnceLock::new() })
    }

    /// Makes the components known to each other; before that, none reaches any. Called once.
    pub(crate) fn meet(
        &self,
        entries: impl IntoIterator<Item = (Arc<str>, Option<Arc<Entry>>)>,
        handlers: impl IntoIterator<Item = (Arc<str>, Arc<str>)>,
    ) {
        let met = Met { entries: entries.into_iter().collect(), handlers: handlers.into_iter().collect() };
        assert!(self.met.set(met).is_ok(), "a workload's components meet once");
    }

    /// The component that a name leads to: case matters only where it tells two apart.
    pub(crate) fn named(&self, name: &str) -> Option<&Arc<Entry>> {
        let entries = &self.met.get()?.entries;
        let found = match entries.get(name) {
            Some(found) => found,
            None => entries.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, entry)| entry)?,
        };
        found.as_ref()
    }

    /// The component that satisfies the importer's `wasi:http/handler`.
    pub(crate) fn handler_of(&self, importer: &str) -> Option<&Arc<Entry>> {
        let met = self.met.get()?;
        met.entries.get(met.handlers.get(importer)?)?.as_ref()
    }

    /// Those that answer HTTP, and those that don't.
    pub(crate) fn list(&self) -> (Vec<&str>, Vec<&str>) {
        let Some(met) = self.met.get() else { return Default::default() };
        let names = |answers: bool| met.entries.iter().filter(|(_, entry)| entry.is_some() == answers).map(|(name, _)| &**name).collect();
        (names(true), names(false))
    }
}
