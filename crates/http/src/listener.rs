//! Listening sockets, one per thread on one port, and accepting from them in a way that no error ends (L53).

use std::future::Future;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until};

/// Connections that wait to be accepted, per socket. Linux cuts it to `net.core.somaxconn`, 4,096 by default.
const BACKLOG: i32 = 1_024;
/// The wait after the first accept error that waiting can cure.
const FIRST_PAUSE: Duration = Duration::from_millis(5);
/// The longest wait: file descriptors come back one by one, and clients shouldn't wait much longer than that.
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// `count` sockets that listen on `addr`, and the address they got.
///
/// The first is bound exclusively, so that a port which anyone listens on already, also another Berth, is an error; only then is
/// the port shared, among these sockets. The kernel spreads connections over them by a hash of the client's address.
pub(crate) fn bind(addr: SocketAddr, count: usize) -> io::Result<(SocketAddr, Vec<TcpListener>)> {
    let first = socket(addr)?;
    first.bind(&addr.into())?;
    first.set_reuse_port(true)?;
    first.listen(BACKLOG)?;
    let first = TcpListener::from(first);
    let bound = first.local_addr()?;
    let mut sockets = vec![first];
    for _ in 1..count {
        let next = socket(bound)?;
        next.set_reuse_port(true)?;
        next.bind(&bound.into())?;
        next.listen(BACKLOG)?;
        sockets.push(next.into());
    }
    Ok((bound, sockets))
}

fn socket(addr: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    // A restarted server may bind while the connections of its predecessor still linger in TIME_WAIT.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// Where connections come from.
pub(crate) trait Listen {
    /// The next connection. Cancel safe: dropping the future loses none.
    fn accept(&self) -> impl Future<Output = io::Result<(TcpStream, SocketAddr)>>;
}

impl Listen for tokio::net::TcpListener {
    fn accept(&self) -> impl Future<Output = io::Result<(TcpStream, SocketAddr)>> {
        tokio::net::TcpListener::accept(self)
    }
}

/// What to do after an error of accepting.
#[derive(Debug, PartialEq, Eq)]
enum After {
    /// The error was that one connection's; the next may be fine.
    Go,
    /// The machine lacks something. Trying at once would only burn the processor.
    Pause(Duration),
}

/// `errors`: how many came in a row, this one included.
fn after(error: &io::Error, errors: u32) -> After {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    match error.kind() {
        ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted => After::Go,
        _ => After::Pause(FIRST_PAUSE.saturating_mul(1 << errors.saturating_sub(1).min(16)).min(LONGEST_PAUSE)),
    }
}

/// Accepts for ever.
#[derive(Debug)]
pub(crate) struct Acceptor<L> {
    listener: L,
    errors: u32,
    paused_until: Option<Instant>,
}

impl<L: Listen> Acceptor<L> {
    pub(crate) fn new(listener: L) -> Self {
        Self { listener, errors: 0, paused_until: None }
    }

    /// The listener, given back.
    pub(crate) fn into_inner(self) -> L {
        self.listener
    }

    /// The next connection, or an error to be counted; after either, call again. A pause that an error calls for is made before the
    /// next attempt. Cancel safe.
    pub(crate) async fn next(&mut self) -> io::Result<(TcpStream, SocketAddr)> {
        if let Some(until) = self.paused_until {
            sleep_until(until).await;
            self.paused_until = None;
        }
        let accepted = self.listener.accept().await;
        match &accepted {
            Ok(_) => self.errors = 0,
            Err(error) => {
                self.errors = self.errors.saturating_add(1);
                if let After::Pause(pause) = after(error, self.errors) {
                    if self.errors == 1 {
                        tracing::warn!(%error, "can't accept connections; trying again");
                    }
                    self.paused_until = Some(Instant::now() + pause);
                }
            }
        }
        accepted
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::collections::VecDeque;

    use super::*;

    /// Fails in the given way, then hands over a real connection.
    struct Failing {
        errors: RefCell<VecDeque<io::Error>>,
        then: tokio::net::TcpListener,
    }

    impl Listen for Failing {
        async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
            let error = self.errors.borrow_mut().pop_front();
            match error {
                Some(error) => Err(error),
                None => self.then.accept().await,
            }
        }
    }

    const EMFILE: i32 = 24;

    #[test]
    fn a_clients_own_error_causes_no_pause_and_a_lack_of_descriptors_a_bounded_one() {
        assert_eq!(after(&io::ErrorKind::ConnectionAborted.into(), 1), After::Go);
        assert_eq!(after(&io::Error::from_raw_os_error(EMFILE), 1), After::Pause(FIRST_PAUSE));
        assert_eq!(after(&io::Error::from_raw_os_error(EMFILE), 3), After::Pause(FIRST_PAUSE * 4));
        assert_eq!(after(&io::Error::from_raw_os_error(EMFILE), u32::MAX), After::Pause(LONGEST_PAUSE));
    }

    #[tokio::test]
    async fn errors_of_any_kind_never_end_accepting_l53() {
        let then = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let addr = then.local_addr().expect("bound");
        let aborted = || io::Error::from(io::ErrorKind::ConnectionAborted);
        let errors =
            RefCell::new([aborted(), io::Error::from_raw_os_error(EMFILE), io::Error::from_raw_os_error(EMFILE), aborted()].into());
        let mut acceptor = Acceptor::new(Failing { errors, then });
        let client = TcpStream::connect(addr).await.expect("connected");
        let mut failures = 0;
        let (_, peer) = loop {
            match acceptor.next().await {
                Ok(accepted) => break accepted,
                Err(_) => failures += 1,
            }
        };
        assert_eq!(failures, 4);
        assert_eq!(peer, client.local_addr().expect("connected"));
        assert_eq!(acceptor.errors, 0, "a success starts the count again");
    }

    #[tokio::test(start_paused = true)]
    async fn giving_up_waiting_for_the_next_connection_doesnt_shorten_the_pause_l53() {
        let then = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let mut acceptor = Acceptor::new(Failing { errors: RefCell::new([io::Error::from_raw_os_error(EMFILE)].into()), then });
        let start = Instant::now();
        assert!(acceptor.next().await.is_err());
        for _ in 0..10 {
            assert!(futures::future::FutureExt::now_or_never(acceptor.next()).is_none());
        }
        assert_eq!(acceptor.paused_until, Some(start + FIRST_PAUSE));
    }

    #[test]
    fn a_port_in_use_is_refused_although_threads_share_theirs() {
        let (bound, sockets) = bind("127.0.0.1:0".parse().expect("an address"), 3).expect("a free port");
        assert_eq!(sockets.len(), 3);
        let error = bind(bound, 1).expect_err("somebody listens");
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        drop(sockets);
        bind(bound, 2).expect("free again");
    }
}
