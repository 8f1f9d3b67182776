//! Sockets: a guest may connect where its grants lead, and bind nothing but the wildcard that connecting needs.
//!
//! WASI's context as guests have it allows no sockets at all. Each socket is made with a context of its own, whose check of addresses
//! holds the socket's permit: the socket keeps the check for as long as it lives, and so the permit too. Of WASI 0.2 nothing outlives
//! its socket; of WASI 0.3 the streams of a connection may, and each keeps the permit until it ends (see `streams`).

#[cfg(feature = "wasi-p3")]
mod streams;

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};

use berth_model::grants::{Grants, Protocol};
use wasmtime::component::{Linker, Resource, ResourceTable};
use wasmtime_wasi::p2::bindings::sockets::network::{ErrorCode, IpAddressFamily};
use wasmtime_wasi::p2::bindings::sockets::{tcp_create_socket, udp_create_socket};
use wasmtime_wasi::sockets::{SocketAddrUse, WasiSocketsCtxView};
use wasmtime_wasi::{TrappableError, WasiCtx, WasiCtxBuilder};

use super::permit::Permit;
use super::{Asker, Denied};
use crate::guest::Guest;
use crate::member::Seat;

/// Names that a guest resolved, with what they led to: a grant by name covers the addresses of that name.
pub(crate) type Resolved = Arc<Mutex<Vec<(Arc<str>, IpAddr)>>>;

/// Why there is no socket.
enum NoSocket {
    /// No grant leads to one.
    Denied,
    /// There are as many as there may be.
    TooMany,
}

/// The context for one new socket, which goes as far as the component's grants, and the permit that the socket will hold.
fn context(asker: &Arc<Asker>, resolved: Resolved, protocol: Protocol) -> Result<(WasiCtx, Arc<Permit>), NoSocket> {
    let scheme = scheme(protocol);
    if !asker.component.grants.hosts.iter().any(|host| host.matches_scheme(scheme)) {
        let message = format!("{scheme} socket denied: add the address that it is to reach to the component's localResources.allowedHosts");
        asker.deny(Denied::Socket, &message);
        return Err(NoSocket::Denied);
    }
    let permit = Arc::new(Permit::try_take(asker).ok_or(NoSocket::TooMany)?);
    let (asker, held) = (asker.clone(), permit.clone());
    let mut builder = WasiCtxBuilder::new();
    builder.allow_tcp(true).allow_udp(true).socket_addr_check(move |addr, usage| {
        let _held_with_the_check = &held;
        let allowed = decide(&asker.component.grants, &resolved.lock().expect("no panic while held"), addr, usage);
        if !allowed && tells(usage) {
            asker.deny(Denied::Socket, &denial(addr, usage));
        }
        Box::pin(std::future::ready(allowed))
    });
    Ok((builder.build(), permit))
}

fn scheme(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Tcp => "tcp",
        Protocol::Udp => "udp",
    }
}

/// What making a socket takes of its guest.
struct Parts<'a> {
    table: &'a mut ResourceTable,
    asker: Arc<Asker>,
    resolved: Resolved,
}

fn parts(guest: &mut Guest, seat: Seat) -> Parts<'_> {
    let (member, table) = guest.parts(seat);
    Parts { table, asker: member.lookups.asker().clone(), resolved: member.lookups.resolved() }
}

type Answer<T, E> = (Result<Resource<T>, E>,);

fn answer<T, E>(made: Result<Resource<T>, TrappableError<E>>) -> wasmtime::Result<Answer<T, E>>
where
    T: 'static,
    E: std::error::Error + Send + Sync + 'static,
{
    match made {
        Ok(socket) => Ok((Ok(socket),)),
        Err(error) => Ok((Err(error.downcast()?),)),
    }
}

// Only how sockets are made is replaced. Should a later Wasmtime name these interfaces by another version, guests would have no
// sockets, not uncounted ones: the context that the other functions use allows none.

pub(crate) fn link_p2(linker: &mut Linker<Guest>, seat: Seat) -> wasmtime::Result<()> {
    let mut tcp = linker.instance(&seat.import("wasi:sockets/tcp-create-socket@0.2.12"))?;
    tcp.func_wrap("create-tcp-socket", move |mut store, (family,): (IpAddressFamily,)| {
        let guest = parts(store.data_mut(), seat);
        let (mut wasi, _) = match context(&guest.asker, guest.resolved, Protocol::Tcp) {
            Ok(made) => made,
            Err(error) => return Ok((Err(p2_error(error)),)),
        };
        let mut sockets = WasiSocketsCtxView { ctx: wasi.sockets(), table: guest.table };
        answer(tcp_create_socket::Host::create_tcp_socket(&mut sockets, family))
    })?;
    let mut udp = linker.instance(&seat.import("wasi:sockets/udp-create-socket@0.2.12"))?;
    udp.func_wrap_async("create-udp-socket", move |mut store, (family,): (IpAddressFamily,)| {
        Box::new(async move {
            let guest = parts(store.data_mut(), seat);
            let (mut wasi, _) = match context(&guest.asker, guest.resolved, Protocol::Udp) {
                Ok(made) => made,
                Err(error) => return Ok((Err(p2_error(error)),)),
            };
            let mut sockets = WasiSocketsCtxView { ctx: wasi.sockets(), table: guest.table };
            answer(udp_create_socket::Host::create_udp_socket(&mut sockets, family).await)
        })
    })
}

fn p2_error(error: NoSocket) -> ErrorCode {
    match error {
        NoSocket::Denied => ErrorCode::AccessDenied,
        NoSocket::TooMany => ErrorCode::NewSocketLimit,
    }
}

#[cfg(feature = "wasi-p3")]
mod p3 {
    use berth_model::grants::Protocol;
    use wasmtime::component::Linker;
    use wasmtime_wasi::p3::bindings::sockets::types::{ErrorCode, HostTcpSocket, HostUdpSocket, IpAddressFamily};
    use wasmtime_wasi::sockets::WasiSocketsCtxView;

    use super::{NoSocket, answer, context, parts, streams};
    use crate::guest::Guest;
    use crate::member::Seat;

    pub(crate) fn link_p3(linker: &mut Linker<Guest>, seat: Seat) -> wasmtime::Result<()> {
        let mut types = linker.instance(&seat.import("wasi:sockets/types@0.3.0"))?;
        types.func_wrap("[static]tcp-socket.create", move |mut store, (family,): (IpAddressFamily,)| {
            let guest = parts(store.data_mut(), seat);
            let (mut wasi, permit) = match context(&guest.asker, guest.resolved, Protocol::Tcp) {
                Ok(made) => made,
                Err(error) => return Ok((Err(p3_error(error)),)),
            };
            let mut sockets = WasiSocketsCtxView { ctx: wasi.sockets(), table: guest.table };
            let made = answer(HostTcpSocket::create(&mut sockets, family))?;
            if let (Ok(socket),) = &made {
                guest.asker.holds(socket.rep(), &permit);
            }
            Ok(made)
        })?;
        streams::link(&mut types, seat)?;
        types.func_wrap_async("[static]udp-socket.create", move |mut store, (family,): (IpAddressFamily,)| {
            Box::new(async move {
                let guest = parts(store.data_mut(), seat);
                let (mut wasi, _) = match context(&guest.asker, guest.resolved, Protocol::Udp) {
                    Ok(made) => made,
                    Err(error) => return Ok((Err(p3_error(error)),)),
                };
                let mut sockets = WasiSocketsCtxView { ctx: wasi.sockets(), table: guest.table };
                answer(HostUdpSocket::create(&mut sockets, family).await)
            })
        })
    }

    fn p3_error(error: NoSocket) -> ErrorCode {
        match error {
            NoSocket::Denied => ErrorCode::AccessDenied,
            NoSocket::TooMany => ErrorCode::Other(Some("too many sockets are open".into())),
        }
    }
}
#[cfg(feature = "wasi-p3")]
pub(crate) use p3::link_p3;

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
    let scheme = scheme(protocol);
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
