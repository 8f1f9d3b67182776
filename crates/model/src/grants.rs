//! Grants: where a component may connect and what it may look up. Everything is denied that no entry allows (L39, L40).
//!
//! A decision has two steps. The first looks at the name a guest asked for and says how far that name may lead
//! ([`Reach`]); the second checks each address that the name resolved to ([`Reach::permits`]). So a name that anybody on the
//! internet controls can't lead into the host's own network.

mod address;
mod hosts;
mod loopback;
mod names;
mod ports;

use std::net::{IpAddr, SocketAddr};

pub use address::{AddressClass, Reach, classify};
pub use hosts::{AllowedHost, HostPattern};
pub use loopback::{LoopbackPort, Protocol};
pub use names::AllowedName;
pub use ports::PortSet;

use crate::domain::Domain;

/// The reserved name under which a guest reaches the host's own loopback, where [`Grants::loopback_ports`] allow it.
pub const LOOPBACK_NAME: &str = "host.wasmcloud.internal";

/// What one component may reach. The default is nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grants {
    /// Where it may send HTTP, and which literal addresses its sockets may connect to.
    pub hosts: Vec<AllowedHost>,
    /// Names it may resolve.
    pub names: Vec<AllowedName>,
    /// Ports of the host's own loopback it may reach.
    pub loopback_ports: Vec<LoopbackPort>,
}

impl Grants {
    /// Whether HTTP to `host` (a name, or a literal address with or without brackets) may be tried. A name's addresses must
    /// still pass [`Reach::permits`] of [`Grants::http_decision`].
    pub fn allows_http(&self, scheme: &str, host: &str, port: u16) -> bool {
        match (self.http_decision(scheme, host, port), literal(host)) {
            (Some(reach), Some(ip)) => reach.permits(ip),
            (reach, _) => reach.is_some(),
        }
    }

    /// How far HTTP to `host` may lead; `None` denies it. An entry that names this very host or address leads anywhere but to
    /// loopback, link-local and the like; `*` and `*.suffix` lead to public addresses only. [`LOOPBACK_NAME`] is never decided here
    /// but by [`Grants::allows_loopback`].
    pub fn http_decision(&self, scheme: &str, host: &str, port: u16) -> Option<Reach> {
        let ip = literal(host);
        let name = Domain::normalize(host);
        if name == LOOPBACK_NAME {
            return None;
        }
        let matching = self.hosts.iter().filter(|entry| match ip {
            Some(ip) => entry.matches_address(ip),
            None => entry.matches_name(&name),
        });
        matching.filter(|entry| entry.matches_scheme(scheme) && entry.matches_port(port)).map(AllowedHost::reach).max()
    }

    /// Whether `name` (or a literal address) may be resolved. [`LOOPBACK_NAME`] may wherever a loopback port is granted.
    pub fn allows_lookup(&self, name: &str) -> bool {
        let normal = Domain::normalize(name);
        if normal == LOOPBACK_NAME {
            return !self.loopback_ports.is_empty();
        }
        let ip = literal(name);
        self.names.iter().any(|entry| match ip {
            Some(ip) => entry.matches_address(ip),
            None => entry.matches_name(&normal),
        })
    }

    /// Whether a socket may connect or send to `addr`: by an `allowedHosts` entry that is `*`, or that is this literal
    /// address. An entry's scheme, if it has one, must be `tcp` or `udp`.
    pub fn allows_address(&self, addr: SocketAddr, protocol: Protocol) -> bool {
        let ip = address::unmapped(addr.ip());
        self.hosts.iter().any(|entry| {
            entry.matches_protocol(protocol) && entry.matches_port(addr.port()) && entry.matches_address(ip) && entry.reach().permits(ip)
        })
    }

    /// Whether port `port` of the host's own loopback is granted. The host must allow it too.
    pub fn allows_loopback(&self, port: u16, protocol: Protocol) -> bool {
        self.loopback_ports.contains(&LoopbackPort { port, protocol })
    }
}

/// `host` as a literal address, brackets or not; an IPv4-mapped one as IPv4.
fn literal(host: &str) -> Option<IpAddr> {
    let inner = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
    inner.parse().ok().map(address::unmapped)
}

/// A text that is no grant.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not {what}: {rule}")]
pub struct InvalidGrant {
    text: String,
    what: &'static str,
    rule: String,
}
