//! The ways out of a guest: HTTP, name lookups and sockets, all decided by the component's grants (L40). What isn't granted is
//! denied, and a denial names the grant that would allow it (L39).

pub(crate) mod http;
pub(crate) mod names;
pub(crate) mod sockets;

use crate::component::Component;
use crate::logs::Stream;

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

/// Makes a denial seen: a log line, an event and a counter.
pub(crate) fn deny(component: &Component, what: Denied, message: String) {
    component.metrics.denied(what);
    component.log.write(&component.name, None, Stream::Host, &message);
    component.warn("Denied", format!("component {}: {message}", component.name));
}
