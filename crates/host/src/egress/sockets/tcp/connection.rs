//! A connection on either network, and its two directions, which guests read and write. Each direction ends by itself when nobody has it
//! any more; both break off when the guest was ended.

use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use rustix::net::Shutdown;
use tokio::net::{TcpSocket as SystemSocket, TcpStream};

use crate::egress::permit::{Permit, SocketPermit};
use crate::egress::sockets::failure::SocketError;
use crate::egress::sockets::options::Options;
use crate::egress::sockets::{Family, Owner};
use crate::loopback::Stream;

/// The network that it is on.
pub(super) enum Io {
    Loopback(Stream),
    System(TcpStream),
}

/// A connection, as long as its socket or one of its streams lives.
pub(super) struct Connection {
    pub(super) io: Io,
    pub(super) local: SocketAddr,
    /// As the guest named it.
    pub(super) peer: SocketAddr,
    pub(super) owner: Owner,
    pub(super) _permit: Arc<SocketPermit>,
    pub(super) _file: Option<Permit>,
}

impl Connection {
    /// Ends one direction as the guest's dropping it does, or both as its death does.
    fn end(&self, how: Shutdown) {
        match (&self.io, how) {
            (Io::Loopback(stream), _) if self.owner.asker.is_dead() => stream.reset(),
            (Io::Loopback(stream), Shutdown::Read) => stream.shut_read(),
            (Io::Loopback(stream), _) => stream.shut_write(),
            (Io::System(stream), how) => {
                // Its peer may have ended the connection already.
                let _ = rustix::net::shutdown(stream, how);
            }
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if let (Io::Loopback(stream), true) = (&self.io, self.owner.asker.is_dead()) {
            stream.reset();
        }
    }
}

/// Reads from a connection. Dropped, nothing more is read.
pub(in crate::egress::sockets) struct Reader(pub(super) Arc<Connection>);

impl Reader {
    pub(in crate::egress::sockets) fn poll_ready(&self, cx: &mut Context<'_>) -> Poll<()> {
        match &self.0.io {
            Io::Loopback(stream) => stream.poll_readable(cx),
            Io::System(stream) => stream.poll_read_ready(cx).map(drop),
        }
    }

    /// 0 is the end, unless `buf` is empty.
    pub(in crate::egress::sockets) fn poll_read(&self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<Result<usize, SocketError>> {
        if buf.is_empty() {
            return Poll::Ready(Ok(0));
        }
        match &self.0.io {
            Io::Loopback(stream) => stream.poll_read_bytes(cx, buf).map_err(SocketError::from),
            Io::System(stream) => loop {
                match stream.try_read(buf) {
                    Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => ready!(stream.poll_read_ready(cx))?,
                    result => return Poll::Ready(result.map_err(SocketError::from)),
                }
            },
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.0.end(Shutdown::Read);
    }
}

/// Writes to a connection. Dropped, the peer reads the end.
pub(in crate::egress::sockets) struct Writer(pub(super) Arc<Connection>);

impl Writer {
    pub(in crate::egress::sockets) fn poll_ready(&self, cx: &mut Context<'_>) -> Poll<()> {
        match &self.0.io {
            Io::Loopback(stream) => stream.poll_writable(cx),
            Io::System(stream) => stream.poll_write_ready(cx).map(drop),
        }
    }

    /// At least a byte, unless there are none.
    pub(in crate::egress::sockets) fn poll_write(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize, SocketError>> {
        match &self.0.io {
            Io::Loopback(stream) => stream.poll_write_bytes(cx, bytes).map_err(SocketError::from),
            Io::System(stream) => loop {
                match stream.try_write(bytes) {
                    Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => ready!(stream.poll_write_ready(cx))?,
                    result => return Poll::Ready(result.map_err(SocketError::from)),
                }
            },
        }
    }

    /// Bytes that it takes at once, whatever comes between; none where that can't be said.
    pub(in crate::egress::sockets) fn room(&self) -> Option<usize> {
        match &self.0.io {
            Io::Loopback(stream) => Some(stream.room()),
            Io::System(_) => None,
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.0.end(Shutdown::Write);
    }
}

/// A connection of the system.
pub(super) async fn connect(to: SocketAddr, options: Options, family: Family) -> Result<TcpStream, SocketError> {
    let socket = match family {
        Family::V4 => SystemSocket::new_v4()?,
        Family::V6 => SystemSocket::new_v6()?,
    };
    if family == Family::V6 {
        rustix::net::sockopt::set_ipv6_v6only(&socket, true)?;
    }
    options.apply_tcp(&socket, family)?;
    Ok(socket.connect(to).await?)
}
