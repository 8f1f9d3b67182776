//! UDP sockets, for both versions of WASI. One socket may send to the workload's loopback and to the host's network; it has a socket of
//! the system from its first datagram to the latter on.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use berth_model::grants::Protocol;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, socket_with, sockopt};
use tokio::net::UdpSocket as SystemSocket;
use tokio::sync::Notify;

use super::failure::SocketError;
use super::options::Options;
use super::publish::{self, Outside, Published};
use super::{Family, Owner, is_remote};
use crate::egress::Denied;
use crate::egress::permit::{Permit, SocketPermit};
use crate::egress::policy::Way;
use crate::loopback::{Datagrams, MAX_DATAGRAM_BYTES, is_loopback, plain};

/// A UDP socket of a guest.
pub(super) struct UdpSocket {
    owner: Owner,
    family: Family,
    pub(super) options: Options,
    port: Option<Arc<Port>>,
    /// The only address that it sends to and receives from, as the guest named it.
    remote: Option<SocketAddr>,
    permit: Arc<SocketPermit>,
}

/// A socket's port, as long as the socket or what it is used for lives.
pub(super) struct Port {
    owner: Owner,
    family: Family,
    near: Datagrams,
    /// On the host's network.
    far: Mutex<Option<Arc<Far>>>,
    /// Told when there is a socket on the host's network.
    opened: Notify,
    outside: Option<Arc<Outside>>,
    _published: Option<Published>,
    _permit: Arc<SocketPermit>,
}

struct Far {
    socket: SystemSocket,
    _file: Permit,
}

impl UdpSocket {
    pub(super) fn new(owner: Owner, family: Family) -> Result<UdpSocket, SocketError> {
        let permit = Arc::new(SocketPermit::try_take(&owner.asker).ok_or(SocketError::TooMany)?);
        Ok(UdpSocket { owner, family, options: Options::default(), port: None, remote: None, permit })
    }

    pub(super) fn bind(&mut self, addr: SocketAddr) -> Result<(), SocketError> {
        if self.port.is_some() {
            return Err(SocketError::INVALID_STATE);
        }
        if !self.family.fits(addr.ip()) {
            return Err(SocketError::INVALID_ARGUMENT);
        }
        let asker = &self.owner.asker;
        if let Err(denial) = asker.policy().bind(addr) {
            asker.deny(Denied::Socket, &denial.to_string());
            return Err(SocketError::DENIED);
        }
        let near = Datagrams::new(asker.component.loopback.bind(Protocol::Udp, addr)?);
        let at = asker.policy().published(near.local_addr(), Protocol::Udp);
        let outside = at.map(|_| Arc::new(Outside::default()));
        let published = at.zip(outside.clone()).map(|(at, outside)| publish::udp(asker.component.clone(), at, near.mailbox(), outside));
        self.port = Some(Arc::new(Port {
            owner: self.owner.clone(),
            family: self.family,
            near,
            far: Mutex::default(),
            opened: Notify::new(),
            outside,
            _published: published,
            _permit: self.permit.clone(),
        }));
        Ok(())
    }

    pub(super) fn is_bound(&self) -> bool {
        self.port.is_some()
    }

    /// Its port; taken, and any free one, if there is none yet.
    pub(super) fn port(&mut self) -> Result<Arc<Port>, SocketError> {
        if self.port.is_none() {
            self.bind(self.family.any())?;
        }
        self.port.clone().ok_or(SocketError::INVALID_STATE)
    }

    /// Sends to and receives from `addr` alone, from now on. Nothing is sent for that.
    pub(super) fn connect(&mut self, addr: SocketAddr) -> Result<(), SocketError> {
        if !self.family.fits(addr.ip()) || !is_remote(addr) {
            return Err(SocketError::INVALID_ARGUMENT);
        }
        self.port()?.way(addr)?;
        self.remote = Some(addr);
        Ok(())
    }

    pub(super) fn disconnect(&mut self) -> Result<(), SocketError> {
        self.remote.take().map(drop).ok_or(SocketError::INVALID_STATE)
    }

    pub(super) fn remote_address(&self) -> Result<SocketAddr, SocketError> {
        self.remote.ok_or(SocketError::INVALID_STATE)
    }

    pub(super) fn local_address(&self) -> Result<SocketAddr, SocketError> {
        let port = self.port.as_ref().ok_or(SocketError::INVALID_STATE)?;
        Ok(match self.remote {
            Some(remote) if is_loopback(remote.ip()) => port.near.local_addr_towards(remote),
            _ => port.near.local_addr(),
        })
    }

    pub(super) fn family(&self) -> Family {
        self.family
    }

    /// Where a datagram to `to` goes.
    #[cfg(feature = "wasi-p3")]
    pub(super) fn target(&self, to: Option<SocketAddr>) -> Result<SocketAddr, SocketError> {
        target(self.family, to, self.remote)
    }

    /// Changes an option, of the system's socket too if there is one.
    pub(super) fn set(&mut self, set: impl FnOnce(&mut Options) -> Result<(), SocketError>) -> Result<(), SocketError> {
        set(&mut self.options)?;
        match self.port.as_ref().and_then(|port| port.far()) {
            Some(far) => self.options.apply(&far.socket, self.family),
            None => Ok(()),
        }
    }
}

/// Where a datagram to `to` goes, or one to nobody in particular; `remote` is what the socket is connected to.
pub(super) fn target(family: Family, to: Option<SocketAddr>, remote: Option<SocketAddr>) -> Result<SocketAddr, SocketError> {
    match (to, remote) {
        (Some(to), None) if family.fits(to.ip()) && is_remote(to) => Ok(to),
        (Some(to), Some(remote)) if to == remote => Ok(to),
        (None, Some(remote)) => Ok(remote),
        _ => Err(SocketError::INVALID_ARGUMENT),
    }
}

impl Port {
    /// Where `to` leads; a denial is told.
    fn way(&self, to: SocketAddr) -> Result<Way, SocketError> {
        if self.outside.as_ref().is_some_and(|outside| outside.to(plain(to)).is_some()) {
            return Ok(Way::Network(to));
        }
        let asker = &self.owner.asker;
        let resolved = self.owner.resolved.lock().expect("no panic while held");
        asker.policy().socket(to, Protocol::Udp, &resolved).map_err(|denial| {
            asker.deny(Denied::Socket, &denial.to_string());
            SocketError::DENIED
        })
    }

    pub(super) async fn send(&self, bytes: Vec<u8>, to: SocketAddr, options: Options) -> Result<(), SocketError> {
        if bytes.len() > MAX_DATAGRAM_BYTES {
            return Err(SocketError::TOO_LARGE);
        }
        match self.way(to)? {
            Way::Loopback(to) => Ok(self.near.send(bytes, to)?),
            Way::Host(to) | Way::Network(to) => {
                if !self.near.local_addr().ip().is_unspecified() {
                    // An address of the loopback isn't one to leave it from.
                    return Err(SocketError::UNREACHABLE);
                }
                if let Some(outside) = self.outside.as_ref().and_then(|outside| outside.to(to)) {
                    outside.send_to(&bytes, to).await?;
                    return Ok(());
                }
                self.open_far(options)?.socket.send_to(&bytes, to).await?;
                Ok(())
            }
        }
    }

    /// The next datagram for the guest, from `only` if there is one, and who sent it.
    pub(super) async fn receive(&self, only: Option<SocketAddr>) -> Result<(Vec<u8>, SocketAddr), SocketError> {
        loop {
            let opened = self.opened.notified();
            let mut opened = std::pin::pin!(opened);
            opened.as_mut().enable();
            let far = self.far();
            let (bytes, from) = tokio::select! {
                got = poll_fn(|cx| self.near.poll_receive(cx)) => got,
                got = async { far.as_ref().expect("checked").receive().await }, if far.is_some() => {
                    let (bytes, from) = got?;
                    let resolved = self.owner.resolved.lock().expect("no panic while held");
                    match self.owner.asker.policy().sender(from, &resolved) {
                        Some(from) => (bytes, from),
                        None => continue,
                    }
                }
                () = opened, if far.is_none() => continue,
            };
            if only.is_none_or(|only| plain(only) == plain(from)) {
                return Ok((bytes, from));
            }
        }
    }

    fn far(&self) -> Option<Arc<Far>> {
        self.far.lock().expect("no panic while held").clone()
    }

    /// The socket on the host's network, made if there is none.
    fn open_far(&self, options: Options) -> Result<Arc<Far>, SocketError> {
        let mut far = self.far.lock().expect("no panic while held");
        if let Some(far) = &*far {
            return Ok(far.clone());
        }
        let file = Permit::try_take(&self.owner.asker).ok_or(SocketError::TooMany)?;
        let socket = system_socket(self.family, self.family.any())?;
        options.apply(&socket, self.family)?;
        let made = Arc::new(Far { socket, _file: file });
        *far = Some(made.clone());
        self.opened.notify_waiters();
        Ok(made)
    }
}

impl Far {
    async fn receive(&self) -> io::Result<(Vec<u8>, SocketAddr)> {
        loop {
            self.socket.readable().await?;
            // Made when there is something to put into it, as many calls may wait.
            let mut buf = vec![0; MAX_DATAGRAM_BYTES];
            match self.socket.try_recv_from(&mut buf) {
                Ok((count, from)) => {
                    buf.truncate(count);
                    return Ok((buf, from));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// A socket of the system at `at`; one of IPv6 is for IPv6 only.
pub(super) fn system_socket(family: Family, at: SocketAddr) -> io::Result<SystemSocket> {
    let domain = match family {
        Family::V4 => AddressFamily::INET,
        Family::V6 => AddressFamily::INET6,
    };
    let socket = socket_with(domain, SocketType::DGRAM, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK, None)?;
    if family == Family::V6 {
        sockopt::set_ipv6_v6only(&socket, true)?;
    }
    bind(&socket, &at)?;
    SystemSocket::from_std(std::net::UdpSocket::from(socket))
}
