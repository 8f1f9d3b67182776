//! TCP sockets, for both versions of WASI.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};

use berth_model::grants::Protocol;
use rustix::net::Shutdown;
use tokio::net::{TcpSocket as SystemSocket, TcpStream};

use super::failure::SocketError;
use super::options::Options;
use super::publish::{self, Published};
use super::{Family, Owner, is_remote, is_unicast};
use crate::egress::Denied;
use crate::egress::permit::{NextSocket, Permit, SocketPermit};
use crate::egress::policy::Way;
use crate::loopback::{Bound, Listener, Stream};

/// Connections that wait at a listener where the guest says nothing: Rust's standard library's.
const BACKLOG: usize = 128;

/// A TCP socket of a guest.
pub(super) struct TcpSocket {
    owner: Owner,
    family: Family,
    pub(super) options: Options,
    backlog: usize,
    state: State,
    permit: Arc<SocketPermit>,
}

type Connecting = Pin<Box<dyn Future<Output = Result<Connection, SocketError>> + Send>>;

enum State {
    New,
    Bound(Bound),
    Connecting(Connecting),
    Connected(Connected),
    Listening(Arc<Listening>),
    Closed(SocketError),
}

struct Connected {
    connection: Arc<Connection>,
    reader_taken: bool,
    writer_taken: bool,
}

impl TcpSocket {
    pub(super) fn new(owner: Owner, family: Family) -> Result<TcpSocket, SocketError> {
        let permit = Arc::new(SocketPermit::try_take(&owner.asker).ok_or(SocketError::TooMany)?);
        Ok(TcpSocket { owner, family, options: Options::default(), backlog: BACKLOG, state: State::New, permit })
    }

    /// Takes an address of the workload's loopback. On the host's network a socket has a free port of the host.
    pub(super) fn bind(&mut self, addr: SocketAddr) -> Result<(), SocketError> {
        if !matches!(self.state, State::New) {
            return Err(SocketError::INVALID_STATE);
        }
        if !is_unicast(addr.ip()) || !self.family.fits(addr.ip()) {
            return Err(SocketError::INVALID_ARGUMENT);
        }
        let asker = &self.owner.asker;
        if let Err(denial) = asker.policy().bind(addr) {
            asker.deny(Denied::Socket, &denial.to_string());
            return Err(SocketError::DENIED);
        }
        self.state = State::Bound(asker.component.loopback.bind(Protocol::Tcp, addr)?);
        Ok(())
    }

    /// Begins to connect; [`TcpSocket::poll_connected`] ends it.
    pub(super) fn start_connect(&mut self, addr: SocketAddr) -> Result<(), SocketError> {
        if !matches!(self.state, State::New | State::Bound(_)) {
            return Err(SocketError::INVALID_STATE);
        }
        if !is_unicast(addr.ip()) || !is_remote(addr) || !self.family.fits(addr.ip()) {
            return Err(SocketError::INVALID_ARGUMENT);
        }
        let bound = match std::mem::replace(&mut self.state, State::New) {
            State::Bound(bound) => Some(bound),
            _ => None,
        };
        let (owner, permit, options, family) = (self.owner.clone(), self.permit.clone(), self.options, self.family);
        self.state = State::Connecting(Box::pin(async move {
            let way = {
                let resolved = owner.resolved.lock().expect("no panic while held");
                owner.asker.policy().socket(addr, Protocol::Tcp, &resolved)
            };
            let (io, local, file) = match way {
                Ok(Way::Loopback(to)) => {
                    let stream = owner.asker.component.loopback.connect(bound, to).await?;
                    let local = stream.local_addr();
                    (Io::Loopback(stream), local, None)
                }
                Ok(Way::Host(to) | Way::Network(to)) => {
                    // An address of the loopback isn't one to leave it from.
                    if bound.is_some_and(|bound| !bound.addr().ip().is_unspecified()) {
                        return Err(SocketError::UNREACHABLE);
                    }
                    let file = Permit::try_take(&owner.asker).ok_or(SocketError::TooMany)?;
                    let stream = connect(to, options, family).await?;
                    let local = stream.local_addr()?;
                    (Io::System(stream), local, Some(file))
                }
                Err(denial) => {
                    owner.asker.deny(Denied::Socket, &denial.to_string());
                    return Err(SocketError::DENIED);
                }
            };
            Ok(Connection { io, local, peer: addr, owner, _permit: permit, _file: file })
        }));
        Ok(())
    }

    /// Ready when it is connected, or why it is not.
    pub(super) fn poll_connected(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SocketError>> {
        match &mut self.state {
            State::Connecting(connecting) => {
                let connected = ready!(connecting.as_mut().poll(cx));
                let result = connected.as_ref().map(|_| ()).map_err(|error| *error);
                self.state = match connected {
                    Ok(connection) => State::connected(connection),
                    Err(error) => State::Closed(error),
                };
                Poll::Ready(result)
            }
            State::Connected(_) => Poll::Ready(Ok(())),
            State::Closed(error) => Poll::Ready(Err(*error)),
            _ => Poll::Ready(Err(SocketError::INVALID_STATE)),
        }
    }

    pub(super) fn is_bound(&self) -> bool {
        !matches!(self.state, State::New)
    }

    /// Listens on the workload's loopback, and on the host where its owner allows it; at any free port unless one was taken.
    pub(super) fn listen(&mut self) -> Result<Arc<Listening>, SocketError> {
        let asker = &self.owner.asker;
        let at = match &self.state {
            State::New => self.family.any(),
            State::Bound(bound) => bound.addr(),
            _ => return Err(SocketError::INVALID_STATE),
        };
        if let Err(denial) = asker.policy().listen(at) {
            asker.deny(Denied::Socket, &denial.to_string());
            return Err(SocketError::DENIED);
        }
        let bound = match std::mem::replace(&mut self.state, State::New) {
            State::Bound(bound) => bound,
            _ => asker.component.loopback.bind(Protocol::Tcp, at)?,
        };
        let listener = Listener::new(bound, self.backlog);
        let outside = asker.policy().published(listener.local_addr(), Protocol::Tcp);
        let published = outside.map(|addr| publish::tcp(asker.component.clone(), addr, listener.entrance()));
        let listening = Arc::new(Listening {
            listener,
            next: Mutex::new(NextSocket::new(asker)),
            owner: self.owner.clone(),
            family: self.family,
            options: self.options,
            _published: published,
        });
        self.state = State::Listening(listening.clone());
        Ok(listening)
    }

    pub(super) fn listening(&self) -> Option<&Arc<Listening>> {
        if let State::Listening(listening) = &self.state { Some(listening) } else { None }
    }

    pub(super) fn is_connecting(&self) -> bool {
        matches!(self.state, State::Connecting(_))
    }

    pub(super) fn take_reader(&mut self) -> Result<Reader, SocketError> {
        match &mut self.state {
            State::Connected(connected) if !connected.reader_taken => {
                connected.reader_taken = true;
                Ok(Reader(connected.connection.clone()))
            }
            State::Closed(error) => Err(*error),
            _ => Err(SocketError::INVALID_STATE),
        }
    }

    pub(super) fn take_writer(&mut self) -> Result<Writer, SocketError> {
        match &mut self.state {
            State::Connected(connected) if !connected.writer_taken => {
                connected.writer_taken = true;
                Ok(Writer(connected.connection.clone()))
            }
            State::Closed(error) => Err(*error),
            _ => Err(SocketError::INVALID_STATE),
        }
    }

    pub(super) fn local_address(&self) -> Result<SocketAddr, SocketError> {
        match &self.state {
            State::Bound(bound) => Ok(bound.addr()),
            State::Connected(connected) => Ok(connected.connection.local),
            State::Listening(listening) => Ok(listening.listener.local_addr()),
            State::Closed(error) => Err(*error),
            State::New | State::Connecting(_) => Err(SocketError::INVALID_STATE),
        }
    }

    pub(super) fn remote_address(&self) -> Result<SocketAddr, SocketError> {
        match &self.state {
            State::Connected(connected) => Ok(connected.connection.peer),
            State::Closed(error) => Err(*error),
            _ => Err(SocketError::INVALID_STATE),
        }
    }

    pub(super) fn family(&self) -> Family {
        self.family
    }

    /// A hint, for the next listener.
    pub(super) fn set_backlog(&mut self, connections: u64) -> Result<(), SocketError> {
        match self.state {
            _ if connections == 0 => Err(SocketError::INVALID_ARGUMENT),
            State::New | State::Bound(_) => {
                self.backlog = usize::try_from(connections).unwrap_or(usize::MAX);
                Ok(())
            }
            // Once it listens its backlog stays: WASI lets hosts take the value for a hint.
            State::Listening(_) => Ok(()),
            State::Connecting(_) | State::Connected(_) | State::Closed(_) => Err(SocketError::INVALID_STATE),
        }
    }

    /// Changes an option, of the system's socket too if there is one.
    pub(super) fn set(&mut self, set: impl FnOnce(&mut Options) -> Result<(), SocketError>) -> Result<(), SocketError> {
        set(&mut self.options)?;
        match &self.state {
            State::Connected(connected) => match &connected.connection.io {
                Io::System(stream) => self.options.apply_tcp(stream, self.family),
                Io::Loopback(_) => Ok(()),
            },
            State::Closed(error) => Err(*error),
            _ => Ok(()),
        }
    }
}

impl State {
    fn connected(connection: Connection) -> State {
        State::Connected(Connected { connection: Arc::new(connection), reader_taken: false, writer_taken: false })
    }
}

/// A connection of the system.
async fn connect(to: SocketAddr, options: Options, family: Family) -> Result<TcpStream, SocketError> {
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

/// A socket that listens, as long as the socket or its stream of connections lives.
pub(super) struct Listening {
    listener: Listener,
    next: Mutex<NextSocket>,
    owner: Owner,
    family: Family,
    options: Options,
    _published: Option<Published>,
}

impl Listening {
    /// Ready when there is a connection to accept, and room for its socket.
    pub(super) fn poll_ready(&self, cx: &mut Context<'_>) -> Poll<()> {
        ready!(self.listener.poll_waiting(cx));
        self.next.lock().expect("no panic while held").poll_ready(cx)
    }

    pub(super) fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<TcpSocket> {
        ready!(self.poll_ready(cx));
        let stream = ready!(self.listener.poll_accept(cx));
        let permit = self.next.lock().expect("no panic while held").take().expect("it was ready");
        let permit = Arc::new(permit);
        let (owner, local, peer) = (self.owner.clone(), stream.local_addr(), stream.peer_addr());
        let io = Io::Loopback(stream);
        let connection = Connection { io, local, peer, owner: owner.clone(), _permit: permit.clone(), _file: None };
        let state = State::connected(connection);
        Poll::Ready(TcpSocket { owner, family: self.family, options: self.options, backlog: BACKLOG, state, permit })
    }
}

enum Io {
    Loopback(Stream),
    System(TcpStream),
}

/// A connection, as long as its socket or one of its streams lives.
struct Connection {
    io: Io,
    local: SocketAddr,
    /// As the guest named it.
    peer: SocketAddr,
    owner: Owner,
    _permit: Arc<SocketPermit>,
    _file: Option<Permit>,
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
pub(super) struct Reader(Arc<Connection>);

impl Reader {
    pub(super) fn poll_ready(&self, cx: &mut Context<'_>) -> Poll<()> {
        match &self.0.io {
            Io::Loopback(stream) => stream.poll_readable(cx),
            Io::System(stream) => stream.poll_read_ready(cx).map(drop),
        }
    }

    /// 0 is the end, unless `buf` is empty.
    pub(super) fn poll_read(&self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<Result<usize, SocketError>> {
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
pub(super) struct Writer(Arc<Connection>);

impl Writer {
    pub(super) fn poll_ready(&self, cx: &mut Context<'_>) -> Poll<()> {
        match &self.0.io {
            Io::Loopback(stream) => stream.poll_writable(cx),
            Io::System(stream) => stream.poll_write_ready(cx).map(drop),
        }
    }

    /// At least a byte, unless there are none.
    pub(super) fn poll_write(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize, SocketError>> {
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
    pub(super) fn room(&self) -> Option<usize> {
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
