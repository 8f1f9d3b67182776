//! Sockets of both versions of WASI: on the workload's loopback, and on the host's network as far as the grants lead (see
//! [`policy`](super::policy)).
//!
//! A socket is made before anybody knows which network it is for, and a guest may wait for it, or set its options, from the start.
//! Wasmtime's own sockets are the system's from the start too, so they can't become anything else; hence Berth's are its own: [`tcp`]
//! and [`udp`] hold what both versions share, and `p2` and `p3` are what guests of each version call. A TCP socket is on one network,
//! from when it connects; a UDP socket can send to both. What listens does so on the loopback, and is let out to the host's ports by
//! [`publish`] where the host's owner allows it.
//!
//! A socket that is dropped with its store, because the guest was ended, breaks its connections off on the loopback; one that the
//! guest dropped closes them.

mod failure;
mod options;
mod p2;
#[cfg(feature = "wasi-p3")]
mod p3;
mod publish;
mod tcp;
mod udp;

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};

pub(crate) use self::p2::link_p2;
#[cfg(feature = "wasi-p3")]
pub(crate) use self::p3::link_p3;
use super::Asker;
use crate::guest::Guest;
use crate::member::Seat;

/// Names that a guest resolved, with what they led to: a grant by name covers the addresses of that name.
pub(crate) type Resolved = Arc<Mutex<Vec<(Arc<str>, IpAddr)>>>;

/// Whose a socket is.
#[derive(Clone)]
struct Owner {
    asker: Arc<Asker>,
    resolved: Resolved,
}

impl Owner {
    fn of(guest: &mut Guest, seat: Seat) -> Owner {
        let (member, _) = guest.parts(seat);
        Owner { asker: member.lookups.asker().clone(), resolved: member.lookups.resolved() }
    }
}

/// IPv4 or IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Family {
    V4,
    V6,
}

impl Family {
    /// Whether a socket of this family can have or reach `ip`. IPv4-mapped and IPv4-compatible addresses are of neither family (WASI:
    /// sockets of IPv6 are for IPv6 only).
    fn fits(self, ip: IpAddr) -> bool {
        match (self, ip) {
            (Family::V4, IpAddr::V4(_)) => true,
            (Family::V6, IpAddr::V6(ip)) => {
                let compatible = matches!(ip.segments(), [0, 0, 0, 0, 0, 0, _, _]) && !ip.is_unspecified() && !ip.is_loopback();
                ip.to_ipv4_mapped().is_none() && !compatible
            }
            _ => false,
        }
    }

    /// Any address of it, and any port.
    fn any(self) -> SocketAddr {
        match self {
            Family::V4 => SocketAddr::from(([0; 4], 0)),
            Family::V6 => SocketAddr::from(([0; 16], 0)),
        }
    }
}

/// Whether a socket can connect or send to `addr` at all.
fn is_remote(addr: SocketAddr) -> bool {
    !addr.ip().is_unspecified() && addr.port() != 0
}

/// Whether `ip` is of one machine.
fn is_unicast(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => !ip.is_multicast() && !ip.is_broadcast(),
        IpAddr::V6(ip) => !ip.is_multicast(),
    }
}
