//! The ways out of a guest: HTTP, name lookups and sockets, all decided by the component's grants (L40). What isn't granted is
//! denied, and a denial names the grant that would allow it (L39).

pub(crate) mod http;
pub(crate) mod lookup;
pub(crate) mod names;
pub(crate) mod permit;
pub(crate) mod policy;
pub(crate) mod sockets;

use std::sync::{Arc, Mutex, OnceLock};

use tokio::sync::Semaphore;

use self::policy::Policy;
use crate::component::Component;
use crate::invoke::fate::Fate;
use crate::logs::Stream;
use crate::request_id::RequestId;

/// What a guest tried without being granted it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Denied {
    /// An outgoing HTTP request.
    Http,
    /// A name lookup.
    Lookup,
    /// A TCP or UDP address.
    Socket,
}

impl Denied {
    /// The name in metrics.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Denied::Http => "http",
            Denied::Lookup => "lookup",
            Denied::Socket => "socket",
        }
    }
}

/// A guest as its ways out see it: whose it is, the request it serves, and the connections it holds.
pub(crate) struct Asker {
    pub(crate) component: Arc<Component>,
    /// None while it serves none, or several at once.
    request: Mutex<Option<RequestId>>,
    /// Sockets it may still have; made at the first.
    sockets: OnceLock<Arc<Semaphore>>,
    /// Connections on the host's network it may still open; made at the first.
    open: OnceLock<Arc<Semaphore>>,
    /// How its store ends, where somebody says so.
    fate: Mutex<Option<Fate>>,
}

impl Asker {
    pub(crate) fn new(component: Arc<Component>, request: Option<RequestId>) -> Arc<Asker> {
        Arc::new(Asker { component, request: Mutex::new(request), sockets: OnceLock::new(), open: OnceLock::new(), fate: Mutex::default() })
    }

    /// What decides where it may go.
    pub(crate) fn policy(&self) -> Policy<'_> {
        Policy::of(&self.component)
    }

    /// Gives it a store's fate to ask, from now on.
    pub(crate) fn fated(&self, fate: Fate) {
        *self.fate.lock().expect("no panic while held") = Some(fate);
    }

    /// How its store ends.
    pub(crate) fn fate(&self) -> Fate {
        self.fate.lock().expect("no panic while held").clone().unwrap_or_default()
    }

    /// Whether its store goes before the guest finished: what is dropped then wasn't closed by the guest.
    pub(crate) fn is_dead(&self) -> bool {
        self.fate.lock().expect("no panic while held").as_ref().is_some_and(Fate::is_dead)
    }

    /// Says which request is served from now on.
    pub(crate) fn serves(&self, request: Option<RequestId>) {
        *self.request.lock().expect("no panic while held") = request;
    }

    /// The request that is served, as log lines carry it.
    pub(crate) fn request(&self) -> Option<String> {
        self.request.lock().expect("no panic while held").as_ref().map(ToString::to_string)
    }

    /// Makes a denial seen: always counted; a log line and an event as often as the workload may speak.
    pub(crate) fn deny(&self, what: Denied, message: &str) {
        let component = &self.component;
        component.metrics.denied(what);
        if component.warn("Denied", format!("component {}: {message}", component.name)) {
            component.log.write(&component.name, self.request(), Stream::Host, message);
        }
    }
}
