//! How to reach a workload from this machine: the command a person can paste.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Where an ingress answers, as a client on this machine writes it: an address that stands for all of them becomes loopback.
pub fn base(addr: SocketAddr, tls: bool) -> String {
    let scheme = if tls { "https" } else { "http" };
    format!("{scheme}://{}", local(addr))
}

/// The curl command for a domain; without one, for whatever host.
pub fn curl(addr: SocketAddr, tls: bool, domain: Option<&str>) -> String {
    let scheme = if tls { "https" } else { "http" };
    // A certificate of one's own is what there is on a developer's machine.
    let insecure = if tls { "-k " } else { "" };
    match domain {
        None => format!("curl {insecure}{}", base(addr, tls)),
        // curl takes every name below localhost for this machine (RFC 6761 section 6.3), so the URL needs no header.
        Some(name) if local(addr).ip().is_loopback() && is_localhost(name) => {
            format!("curl {insecure}{scheme}://{name}:{}", addr.port())
        }
        // The name in TLS must be the domain, so a header alone won't do.
        Some(name) if tls => {
            let to = local(addr);
            format!("curl -k --connect-to {name}:443:{to} https://{name}")
        }
        Some(name) => format!("curl -H 'Host: {name}' {}", base(addr, tls)),
    }
}

fn is_localhost(name: &str) -> bool {
    name == "localhost" || name.ends_with(".localhost")
}

fn local(addr: SocketAddr) -> SocketAddr {
    let ip = match addr.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, addr.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_reaches_the_domain_whether_or_not_its_name_resolves() {
        let addr: SocketAddr = "127.0.0.1:8000".parse().unwrap();
        assert_eq!(curl(addr, false, None), "curl http://127.0.0.1:8000");
        assert_eq!(curl(addr, false, Some("hello.localhost")), "curl http://hello.localhost:8000");
        assert_eq!(curl(addr, false, Some("example.com")), "curl -H 'Host: example.com' http://127.0.0.1:8000");
        assert_eq!(curl(addr, true, None), "curl -k https://127.0.0.1:8000");
        assert_eq!(curl(addr, true, Some("example.com")), "curl -k --connect-to example.com:443:127.0.0.1:8000 https://example.com");
    }

    #[test]
    fn an_address_that_stands_for_all_is_reached_on_loopback() {
        assert_eq!(base("0.0.0.0:80".parse().unwrap(), false), "http://127.0.0.1:80");
        assert_eq!(base("[::]:80".parse().unwrap(), false), "http://[::1]:80");
        let other = "192.0.2.1:80".parse().unwrap();
        assert_eq!(curl(other, false, Some("hello.localhost")), "curl -H 'Host: hello.localhost' http://192.0.2.1:80");
    }
}
