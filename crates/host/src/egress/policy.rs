//! The policy of ways out: which address, name or URL leads where, for HTTP, TCP, UDP and lookups alike (L40). Pure: what a name
//! resolved to is asked again here, whoever resolved it.
//!
//! An address leads to one of three networks. Loopback addresses are the workload's own ([`crate::loopback`]), and need no grant. The
//! host's own loopback has a name, `host.wasmcloud.internal`, and addresses that stand for it here; it is open where a port is granted
//! to the component and allowed by the host's owner. All else is the host's network, under `allowedHosts`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use berth_model::grants::{Grants, LOOPBACK_NAME, Protocol, Reach};

use crate::component::Component;
use crate::config::NetworkConfig;
use crate::loopback::{is_loopback, plain};

/// What `host.wasmcloud.internal` resolves to for guests. Both addresses are routed nowhere: the dummy address of RFC 7600, and one for
/// discarding (RFC 6666). They mean the host's loopback here, of either family.
pub(crate) const HOST_ADDRESSES: [IpAddr; 2] =
    [IpAddr::V4(Ipv4Addr::new(192, 0, 0, 8)), IpAddr::V6(Ipv6Addr::new(0x100, 0, 0, 0, 0, 0, 0, 8))];
/// A loopback's own addresses, in the order in which they are tried.
pub(crate) const LOCAL_ADDRESSES: [IpAddr; 2] = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
/// The name of a loopback; names below it are names of it too (RFC 6761, section 6.3).
const LOCAL_NAME: &str = "localhost";

/// Names that a guest looked up, each with an address that it led to.
pub(crate) type Known = [(Arc<str>, IpAddr)];

/// What decides where one component may go: its grants, whether it is the workload's service, and what the host's owner allows.
#[derive(Clone, Copy)]
pub(crate) struct Policy<'a> {
    pub(crate) grants: &'a Grants,
    pub(crate) listens: bool,
    pub(crate) network: &'a NetworkConfig,
}

/// Where an address leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// To the workload's own loopback.
    Loopback(SocketAddr),
    /// To the host's loopback, at this address of the host.
    Host(SocketAddr),
    /// To this address on the host's network.
    Network(SocketAddr),
}

/// Where a URL leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Destination {
    /// To one of these, which need no lookup.
    Ways(Vec<Way>),
    /// To what the name resolves to, as far as this.
    Name(Reach),
}

/// What a name that is looked up leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Lookup {
    /// These addresses, whatever name servers say.
    Fixed(Vec<IpAddr>),
    /// What name servers say.
    Network,
}

/// The way out of a denial that has none: link-local, metadata, multicast and reserved addresses.
const NO_GRANT: &str = "no grant leads to such an address";

/// Why not, and what would help.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Denial(String);

impl<'a> Policy<'a> {
    pub(crate) fn of(component: &'a Component) -> Policy<'a> {
        Policy { grants: &component.grants, listens: component.listens, network: &component.host.network }
    }

    /// Whether `name`, normalized, may be looked up, and where the answer comes from.
    pub(crate) fn lookup(&self, name: &str) -> Result<Lookup, Denial> {
        if is_local(name) {
            return Ok(Lookup::Fixed(LOCAL_ADDRESSES.into()));
        }
        if name == LOOPBACK_NAME {
            if self.grants.loopback_ports.is_empty() {
                let way = "add the port to the component's localResources.allowedHostLoopbackPorts";
                return Err(Denial(format!("lookup of {name:?} denied: {way}")));
            }
            return Ok(Lookup::Fixed(HOST_ADDRESSES.into()));
        }
        match name.parse::<IpAddr>() {
            Ok(ip) if is_loopback(ip) => return Ok(Lookup::Fixed(vec![ip])),
            _ => {}
        }
        if self.grants.allows_lookup(name) {
            return Ok(Lookup::Network);
        }
        Err(Denial(format!("lookup of {name:?} denied: add it to the component's localResources.allowedIpNameLookups")))
    }

    /// Where a socket gets that connects or sends to `addr`. A grant by name covers the addresses that the name led to.
    pub(crate) fn socket(&self, addr: SocketAddr, protocol: Protocol, known: &Known) -> Result<Way, Denial> {
        let to = plain(addr);
        if is_loopback(to.ip()) {
            return Ok(Way::Loopback(to));
        }
        if HOST_ADDRESSES.contains(&to.ip()) {
            return self.host(to, protocol);
        }
        let by_name = || {
            known.iter().any(|(name, ip)| {
                let reach = || self.grants.http_decision(protocol.as_str(), name, to.port());
                plain(SocketAddr::new(*ip, 0)).ip() == to.ip() && reach().is_some_and(|reach| reach.permits(to.ip()))
            })
        };
        // A zone picks an interface of the host, for addresses of one link; those are never granted.
        if self.grants.allows_address(to, protocol) || by_name() {
            return Ok(Way::Network(to));
        }
        let way = match Reach::Anywhere.permits(to.ip()) {
            true => format!("add \"{to}\" to the component's localResources.allowedHosts"),
            false => NO_GRANT.to_owned(),
        };
        Err(Denial(format!("socket to {to} denied: {way}")))
    }

    /// Whether a datagram from `from`, which came over the host's network, is for the guest, and what it calls its sender.
    pub(crate) fn sender(&self, from: SocketAddr, known: &Known) -> Option<SocketAddr> {
        let from = plain(from);
        if is_loopback(from.ip()) {
            // It came from the host's loopback, as that of the workload is no network of the host's.
            let seen = if from.is_ipv4() { HOST_ADDRESSES[0] } else { HOST_ADDRESSES[1] };
            let seen = SocketAddr::new(seen, from.port());
            return self.host(seen, Protocol::Udp).is_ok().then_some(seen);
        }
        self.socket(from, Protocol::Udp, known).is_ok_and(|way| way == Way::Network(from)).then_some(from)
    }

    /// Where a request of HTTP gets. `host` is a name without its final dot, in lower case, or a literal address without brackets.
    pub(crate) fn http(&self, scheme: &str, host: &str, port: u16) -> Result<Destination, Denial> {
        let literal = host.parse::<IpAddr>().ok().map(|ip| plain(SocketAddr::new(ip, port)));
        let all = |ips: [IpAddr; 2]| ips.map(|ip| SocketAddr::new(ip, port));
        if is_local(host) {
            return Ok(Destination::Ways(all(LOCAL_ADDRESSES).map(Way::Loopback).into()));
        }
        if host == LOOPBACK_NAME {
            return all(HOST_ADDRESSES).into_iter().map(|to| self.host(to, Protocol::Tcp)).collect::<Result<_, _>>().map(Destination::Ways);
        }
        match literal {
            Some(to) if is_loopback(to.ip()) => return Ok(Destination::Ways(vec![Way::Loopback(to)])),
            Some(to) if HOST_ADDRESSES.contains(&to.ip()) => return self.host(to, Protocol::Tcp).map(|way| Destination::Ways(vec![way])),
            _ => {}
        }
        let Some(reach) = self.grants.http_decision(scheme, host, port) else {
            let way = match literal {
                Some(to) if !Reach::Anywhere.permits(to.ip()) => NO_GRANT.to_owned(),
                _ => format!("add \"{host}\" to the component's localResources.allowedHosts"),
            };
            return Err(Denial(format!("request to {scheme}://{host}:{port} denied: {way}")));
        };
        match literal {
            Some(to) => self.resolved(host, &[to.ip()], port, reach).map(Destination::Ways),
            None => Ok(Destination::Name(reach)),
        }
    }

    /// Which of the addresses that the name of a URL resolved to may be tried; an error when it has only others.
    pub(crate) fn resolved(&self, host: &str, found: &[IpAddr], port: u16, reach: Reach) -> Result<Vec<Way>, Denial> {
        let plain = |ip: &IpAddr| plain(SocketAddr::new(*ip, port));
        let (good, bad): (Vec<_>, Vec<_>) = found.iter().map(plain).partition(|to| reach.permits(to.ip()));
        match bad.first() {
            Some(to) if good.is_empty() && Reach::Anywhere.permits(to.ip()) => Err(Denial(format!(
                "request to {host} denied: it leads to {}, which only an entry that names the host exactly can lead to; add \"{host}\" to allowedHosts",
                to.ip()
            ))),
            Some(to) if good.is_empty() => Err(Denial(format!("request to {host} denied: it leads to {}, where no grant leads", to.ip()))),
            _ => Ok(good.into_iter().map(Way::Network).collect()),
        }
    }

    /// Whether a socket may take `addr` of the workload's loopback. Connecting needs no more than any free port.
    pub(crate) fn bind(&self, addr: SocketAddr) -> Result<(), Denial> {
        let ip = addr.ip().to_canonical();
        if !ip.is_unspecified() && !is_loopback(ip) {
            let way = "a workload has its own loopback alone: 127.0.0.1, ::1, or 0.0.0.0 and ::, which mean all of it";
            return Err(Denial(format!("binding {addr} denied: {way}")));
        }
        if addr.port() != 0 && !self.listens {
            return Err(Denial(format!("binding {addr} denied: a component can't listen; only a service can")));
        }
        Ok(())
    }

    /// Whether a socket may listen at `addr`, which it may have taken.
    pub(crate) fn listen(&self, addr: SocketAddr) -> Result<(), Denial> {
        if self.listens {
            return Ok(());
        }
        Err(Denial(format!("listening at {addr} denied: a component can't listen; only a service can")))
    }

    /// Where on the host it is seen too that a service listens at `addr`: at the port of a wildcard that the host's owner allows.
    pub(crate) fn published(&self, addr: SocketAddr, protocol: Protocol) -> Option<SocketAddr> {
        let allowed = self.network.service_ports.contains(addr.port(), protocol);
        let at = SocketAddr::new(self.network.service_addr, addr.port());
        (self.listens && allowed && addr.ip().is_unspecified() && addr.is_ipv4() == at.is_ipv4()).then_some(at)
    }

    /// A port of the host's loopback, by the address that stands for it.
    fn host(&self, to: SocketAddr, protocol: Protocol) -> Result<Way, Denial> {
        let port = to.port();
        if !self.grants.allows_loopback(port, protocol) {
            let way = format!("add \"{port}/{protocol}\" to the component's localResources.allowedHostLoopbackPorts");
            return Err(Denial(format!("connection to {LOOPBACK_NAME}:{port} denied: {way}")));
        }
        if !self.network.loopback_ports.contains(port, protocol) {
            let way =
                format!("it is granted, but the host's owner doesn't open it; start the host with --host-loopback-ports {port}/{protocol}");
            return Err(Denial(format!("connection to {LOOPBACK_NAME}:{port} denied: {way}")));
        }
        Ok(Way::Host(SocketAddr::new(if to.is_ipv4() { LOCAL_ADDRESSES[0] } else { LOCAL_ADDRESSES[1] }, port)))
    }
}

fn is_local(name: &str) -> bool {
    name.strip_suffix(LOCAL_NAME).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

#[cfg(test)]
mod tests;
