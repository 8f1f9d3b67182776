//! TCP sockets, for both versions of WASI: what state one is in, and what it may become.

mod connection;

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};

use berth_model::grants::Protocol;

use self::connection::{Connection, Io, connect};
pub(super) use self::connection::{Reader, Writer};
use super::failure::SocketError;
use super::options::Options;
use super::publish::{self, Published};
use super::{Family, Owner, is_remote, is_unicast};
use crate::egress::Denied;
use crate::egress::permit::{NextSocket, Permit, SocketPermit};
use crate::egress::policy::Way;
use crate::loopback::{Bound, Listener};

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
