//! The ways out of a guest: HTTP, name lookups and sockets, all decided by the component's grants (L40). What isn't granted is
//! denied, and a denial names the grant that would allow it (L39).

pub(crate) mod http;
pub(crate) mod lookup;
pub(crate) mod names;
pub(crate) mod permit;
pub(crate) mod sockets;

#[cfg(feature = "wasi-p3")]
use std::collections::HashMap;
#[cfg(feature = "wasi-p3")]
use std::sync::Weak;
use std::sync::{Arc, Mutex, OnceLock};

use tokio::sync::Semaphore;

use crate::component::Component;
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
    /// Sockets and connections it may still open; made at the first.
    open: OnceLock<Arc<Semaphore>>,
    /// The permits of its TCP sockets of WASI 0.3, by their handles: the streams of a connection need them.
    #[cfg(feature = "wasi-p3")]
    sockets: Mutex<HashMap<u32, Weak<permit::Permit>>>,
}

impl Asker {
    pub(crate) fn new(component: Arc<Component>, request: Option<RequestId>) -> Arc<Asker> {
        Arc::new(Asker {
            component,
            request: Mutex::new(request),
            open: OnceLock::new(),
            #[cfg(feature = "wasi-p3")]
            sockets: Mutex::default(),
        })
    }

    /// Remembers the permit of a socket, as long as the socket or one of its streams holds it.
    #[cfg(feature = "wasi-p3")]
    pub(crate) fn holds(&self, socket: u32, permit: &Arc<permit::Permit>) {
        let mut sockets = self.sockets.lock().expect("no panic while held");
        sockets.retain(|_, held| held.strong_count() > 0);
        sockets.insert(socket, Arc::downgrade(permit));
    }

    /// The permit of a socket that is open.
    #[cfg(feature = "wasi-p3")]
    pub(crate) fn permit_of(&self, socket: u32) -> Option<Arc<permit::Permit>> {
        self.sockets.lock().expect("no panic while held").get(&socket).and_then(Weak::upgrade)
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
