//! Which addresses are taken, and by whom they are served: a pure table.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};

use super::{MAX_ADDRESSES, NetError};

/// Ports that are given out where none is asked for (RFC 6335, section 6).
const FIRST_FREE: u16 = 49_152;
const FREE: u16 = u16::MAX - FIRST_FREE;

/// The addresses of one protocol. `T` is who serves an address: those that are only taken have nobody.
pub(super) struct Ports<T> {
    /// By family and port; wildcards are equal to nothing, so the addresses of a port are searched.
    taken: HashMap<(bool, u16), Vec<Claim<T>>>,
    count: usize,
    /// Where the search for a free port goes on, so that a port which was given back isn't the next to be given out.
    next: u16,
    keys: u64,
}

struct Claim<T> {
    key: u64,
    ip: IpAddr,
    server: Option<T>,
}

impl<T> Default for Ports<T> {
    fn default() -> Ports<T> {
        Ports { taken: HashMap::new(), count: 0, next: 0, keys: 0 }
    }
}

impl<T: Clone> Ports<T> {
    /// Takes `addr`; port 0 takes a free one. The address that was taken, and the key to give it back with.
    pub(super) fn claim(&mut self, addr: SocketAddr) -> Result<(SocketAddr, u64), NetError> {
        if self.count >= MAX_ADDRESSES {
            return Err(NetError::Exhausted);
        }
        let addr = if addr.port() == 0 { self.free(addr.ip()).ok_or(NetError::AddressInUse)? } else { addr };
        if self.collides(addr) {
            return Err(NetError::AddressInUse);
        }
        self.keys += 1;
        self.count += 1;
        self.taken.entry(place(addr)).or_default().push(Claim { key: self.keys, ip: addr.ip(), server: None });
        Ok((addr, self.keys))
    }

    /// Says who serves an address that was taken.
    pub(super) fn serve(&mut self, addr: SocketAddr, key: u64, server: T) {
        let claims = self.taken.get_mut(&place(addr)).into_iter().flatten();
        claims.filter(|claim| claim.key == key).for_each(|claim| claim.server = Some(server.clone()));
    }

    pub(super) fn release(&mut self, addr: SocketAddr, key: u64) {
        let Some(claims) = self.taken.get_mut(&place(addr)) else { return };
        let before = claims.len();
        claims.retain(|claim| claim.key != key);
        self.count -= before - claims.len();
        if claims.is_empty() {
            self.taken.remove(&place(addr));
        }
    }

    /// Who serves `to`: who took this very address, else who took the wildcard.
    pub(super) fn find(&self, to: SocketAddr) -> Option<T> {
        let claims = self.taken.get(&place(to))?;
        let exact = claims.iter().find(|claim| claim.ip == to.ip());
        exact.or_else(|| claims.iter().find(|claim| claim.ip.is_unspecified())).and_then(|claim| claim.server.clone())
    }

    fn free(&mut self, ip: IpAddr) -> Option<SocketAddr> {
        let found =
            (0..=FREE).map(|step| SocketAddr::new(ip, FIRST_FREE + (self.next + step) % (FREE + 1))).find(|addr| !self.collides(*addr))?;
        self.next = (found.port() - FIRST_FREE + 1) % (FREE + 1);
        Some(found)
    }

    fn collides(&self, addr: SocketAddr) -> bool {
        let claims = self.taken.get(&place(addr)).into_iter().flatten();
        claims.into_iter().any(|claim| claim.ip == addr.ip() || claim.ip.is_unspecified() || addr.ip().is_unspecified())
    }
}

fn place(addr: SocketAddr) -> (bool, u16) {
    (addr.is_ipv6(), addr.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addr(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn an_address_is_taken_once_and_a_wildcard_takes_all_of_its_family() {
        let mut ports = Ports::<()>::default();
        let (_, key) = ports.claim(addr("127.0.0.1:80")).unwrap();
        assert_eq!(ports.claim(addr("127.0.0.1:80")), Err(NetError::AddressInUse));
        assert_eq!(ports.claim(addr("0.0.0.0:80")), Err(NetError::AddressInUse));
        ports.claim(addr("127.0.0.2:80")).unwrap();
        let (_, wild) = ports.claim(addr("[::]:80")).unwrap();
        assert_eq!(ports.claim(addr("[::1]:80")), Err(NetError::AddressInUse));
        ports.release(addr("127.0.0.1:80"), key);
        ports.release(addr("[::]:80"), wild);
        ports.claim(addr("127.0.0.1:80")).unwrap();
        ports.claim(addr("[::1]:80")).unwrap();
    }

    #[test]
    fn who_took_the_very_address_serves_it_before_who_took_all() {
        let mut ports = Ports::<u8>::default();
        let (exact, key) = ports.claim(addr("127.0.0.2:80")).unwrap();
        assert_eq!(ports.find(exact), None, "taken is not served");
        ports.serve(exact, key, 2);
        assert_eq!(ports.find(addr("127.0.0.2:80")), Some(2));
        assert_eq!(ports.find(addr("127.0.0.1:80")), None);
        let (all, key) = ports.claim(addr("0.0.0.0:81")).unwrap();
        ports.serve(all, key, 1);
        assert_eq!(ports.find(addr("127.9.9.9:81")), Some(1));
        assert_eq!(ports.find(addr("[::1]:81")), None, "families are apart");
    }

    #[test]
    fn a_free_port_is_one_that_nobody_has_and_not_the_one_just_given_back() {
        let mut ports = Ports::<()>::default();
        let (first, key) = ports.claim(addr("127.0.0.1:0")).unwrap();
        assert!(first.port() >= FIRST_FREE);
        ports.release(first, key);
        let (second, _) = ports.claim(addr("127.0.0.1:0")).unwrap();
        assert_ne!(first, second);
    }

    #[test]
    fn l31_a_workload_takes_so_many_addresses_and_no_more() {
        let mut ports = Ports::<()>::default();
        for _ in 0..MAX_ADDRESSES {
            ports.claim(addr("127.0.0.1:0")).unwrap();
        }
        assert_eq!(ports.claim(addr("127.0.0.1:0")), Err(NetError::Exhausted));
    }
}
