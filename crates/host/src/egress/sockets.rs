//! Sockets: a guest may connect where its grants lead, and bind nothing but the wildcard that connecting needs.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};

use berth_model::grants::{Grants, Protocol};
use wasmtime_wasi::WasiCtxBuilder;
use wasmtime_wasi::sockets::SocketAddrUse;

use super::{Denied, deny};
use crate::component::Component;

/// Names that a guest resolved, with what they led to: a grant by name covers the addresses of that name.
pub(crate) type Resolved = Arc<Mutex<Vec<(Arc<str>, IpAddr)>>>;

/// Lets a guest use sockets as far as its component's grants go.
pub(crate) fn allow(builder: &mut WasiCtxBuilder, component: Arc<Component>, resolved: Resolved) {
    builder.allow_tcp(true).allow_udp(true).allow_ip_name_lookup(true).socket_addr_check(move |addr, usage| {
        let allowed = decide(&component.grants, &resolved.lock().expect("no panic while held"), addr, usage);
        if !allowed && tells(usage) {
            deny(&component, Denied::Socket, denial(addr, usage));
        }
        Box::pin(std::future::ready(allowed))
    });
}

/// Whether a denied use is worth telling: a refused bind says all, the datagrams that don't arrive say nothing.
fn tells(usage: SocketAddrUse) -> bool {
    !matches!(usage, SocketAddrUse::UdpReceive | SocketAddrUse::TcpAccept)
}

/// Whether `grants` let a guest use `addr`.
fn decide(grants: &Grants, resolved: &[(Arc<str>, IpAddr)], addr: SocketAddr, usage: SocketAddrUse) -> bool {
    let protocol = match usage {
        SocketAddrUse::TcpConnect => Protocol::Tcp,
        SocketAddrUse::UdpSend | SocketAddrUse::UdpReceive => Protocol::Udp,
        // Connecting binds the wildcard first; a port of one's own is the service's business.
        SocketAddrUse::TcpBind | SocketAddrUse::UdpBind => return addr.ip().is_unspecified() && addr.port() == 0,
        SocketAddrUse::TcpListen | SocketAddrUse::TcpAccept => return false,
    };
    let scheme = if protocol == Protocol::Tcp { "tcp" } else { "udp" };
    grants.allows_address(addr, protocol)
        || resolved.iter().any(|(name, ip)| {
            *ip == addr.ip() && grants.http_decision(scheme, name, addr.port()).is_some_and(|reach| reach.permits(addr.ip()))
        })
}

fn denial(addr: SocketAddr, usage: SocketAddrUse) -> String {
    match usage {
        SocketAddrUse::TcpBind | SocketAddrUse::UdpBind | SocketAddrUse::TcpListen => {
            format!("binding {addr} denied: a component can't listen; only a service can")
        }
        _ => format!("socket to {addr} denied: add \"{addr}\" to the component's localResources.allowedHosts"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use berth_model::grants::AllowedHost;

    fn grants(hosts: &[&str]) -> Grants {
        Grants { hosts: hosts.iter().map(|h| h.parse::<AllowedHost>().unwrap()).collect(), ..Grants::default() }
    }

    fn resolved(name: &str, ip: &str) -> Vec<(Arc<str>, IpAddr)> {
        vec![(name.into(), ip.parse().unwrap())]
    }

    #[test]
    fn l40_nothing_granted_connects_nowhere() {
        for usage in [SocketAddrUse::TcpConnect, SocketAddrUse::UdpSend, SocketAddrUse::TcpListen] {
            assert!(!decide(&grants(&[]), &[], "93.184.216.34:80".parse().unwrap(), usage));
        }
        assert!(decide(&grants(&[]), &[], "0.0.0.0:0".parse().unwrap(), SocketAddrUse::TcpBind));
        assert!(!decide(&grants(&[]), &[], "0.0.0.0:80".parse().unwrap(), SocketAddrUse::TcpBind));
    }

    #[test]
    fn l40_a_granted_name_covers_the_addresses_it_resolved_to() {
        let grants = grants(&["db.example.com:5432"]);
        let known = resolved("db.example.com", "10.1.2.3");
        let connect = |addr: &str| decide(&grants, &known, addr.parse().unwrap(), SocketAddrUse::TcpConnect);
        assert!(connect("10.1.2.3:5432"));
        assert!(!connect("10.1.2.3:5433"));
        assert!(!connect("10.1.2.4:5432"));
    }

    #[test]
    fn l40_a_wildcard_leads_to_no_private_or_metadata_address() {
        let grants = grants(&["*.example.com"]);
        for ip in ["10.0.0.1", "127.0.0.1", "169.254.169.254", "::ffff:169.254.169.254", "::1"] {
            let known = resolved("rebind.example.com", ip);
            let addr = SocketAddr::new(ip.parse().unwrap(), 80);
            assert!(!decide(&grants, &known, addr, SocketAddrUse::TcpConnect), "{ip}");
        }
    }
}
