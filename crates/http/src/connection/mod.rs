//! One connection, from the accepted socket to its end: TLS handshake, choice of protocol, HTTP/1 or HTTP/2, a clean close.
//!
//! hyper does the protocols; what it leaves open is here: deadlines that tell a slow head from an idle connection, an answer for a
//! client that ran out of time, and closing so that the last response isn't lost.

mod drive;
mod exchange;
mod io;
mod outgoing;
mod pulse;
mod sniff;
mod streams;
mod tether;

use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::drive::{Ended, bring_forward, drive};
use self::exchange::Exchange;
use self::io::{Io, Transport};
use self::outgoing::Unwatched;
use self::pulse::{Expiry, Pulse, Rules};
use self::sniff::{Sniffed, sniff};
use self::streams::Streams;
use self::tether::CutOnDrop;
use crate::config::ServerLimits;
use crate::service::{Connection, Service};
use crate::shared::{Shared, Slot};
use crate::tls::ALPN_HTTP2;

/// How long a closed connection waits for the client to take the last response and close as well.
const FAREWELL: Duration = Duration::from_secs(1);
/// Bytes a client may still send meanwhile.
const FAREWELL_BYTES: usize = 1024 * 1024;
/// Bytes of a connection read at once to tell HTTP/1 from HTTP/2: a usual request's head, so that it costs no extra system call.
const SNIFF_BYTES: usize = 2048;

const TIMED_OUT: &[u8] = b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-type: text/plain; charset=utf-8\r\n\
    content-length: 41\r\n\r\nthe request's head took too long to come\n";
const FULL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\nretry-after: 1\r\n\
    content-type: text/plain; charset=utf-8\r\ncontent-length: 66\r\n\r\nthis server has as many connections as it takes (max-connections)\n";

/// A connection as accepted.
pub(crate) struct Accepted {
    pub(crate) stream: TcpStream,
    pub(crate) peer: SocketAddr,
    pub(crate) id: u64,
    pub(crate) slot: Slot,
}

/// What the connections of one thread share.
pub(crate) struct Stage<S> {
    service: Arc<S>,
    shared: Arc<Shared>,
    local: SocketAddr,
    tls: Option<TlsAcceptor>,
    http1: http1::Builder,
    http2: http2::Builder<Streams>,
    http1_rules: Rules,
    http2_rules: Rules,
    /// Cancelled when connections are to end after what they are doing.
    pub(crate) draining: CancellationToken,
}

impl<S: Service> Stage<S> {
    pub(crate) fn new(service: Arc<S>, shared: Arc<Shared>, local: SocketAddr, tls: Option<TlsAcceptor>, streams: TaskTracker) -> Self {
        let limits = &shared.limits;
        Self {
            http1: http1_builder(limits),
            http2: http2_builder(limits, Streams::new(streams, limits.write_stall_timeout)),
            http1_rules: Rules::http1(limits),
            http2_rules: Rules::http2(limits),
            service,
            shared,
            local,
            tls,
            draining: CancellationToken::new(),
        }
    }

    /// Serves one connection to its end. Dropping the future cuts it.
    pub(crate) async fn serve(self: Arc<Self>, accepted: Accepted) {
        let Accepted { stream, peer, id, slot: _slot } = accepted;
        let local = stream.local_addr().unwrap_or(self.local);
        // Responses are written whole; waiting for more to send only delays them.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%peer, %error, "the client left at once");
            return;
        }
        let Some((transport, tls)) = self.secure(stream, peer).await else { return };
        let connection = Arc::new(Connection::new(peer, local, tls.is_some(), id));
        let pulse = Arc::new(Pulse::new());
        let _cut = CutOnDrop(Arc::clone(&pulse));
        let mut alarm = pin!(tokio::time::sleep(self.shared.limits.header_read_timeout));
        let mut io = Io::new(transport, Arc::clone(&pulse));
        let http2 = match tls {
            Some(alpn) => alpn.http2,
            None => match self.sniff(&mut io, alarm.as_mut()).await {
                Some(Sniffed::Http2) => true,
                Some(_) => false,
                None => return,
            },
        };
        let exchange = Arc::new(Exchange {
            service: Arc::clone(&self.service),
            connection,
            pulse,
            unwatched: Arc::new(Unwatched::new(self.shared.limits.http2_unwatched_bytes)),
            // hyper has counted an HTTP/1 request's.
            max_headers: if http2 { self.shared.limits.max_headers } else { usize::MAX },
        });
        if http2 {
            self.http2(io, exchange, alarm).await;
        } else {
            self.http1(io, exchange, alarm).await;
        }
    }

    /// Turns a connection away because the server is full.
    pub(crate) async fn refuse(self: Arc<Self>, stream: TcpStream) {
        // A client that expects TLS couldn't read an answer.
        if self.tls.is_none() {
            farewell(stream, FULL).await;
        }
    }

    /// Makes the TLS handshake, if there is one to make.
    async fn secure(&self, stream: TcpStream, peer: SocketAddr) -> Option<(Transport, Option<Alpn>)> {
        let Some(acceptor) = &self.tls else { return Some((Transport::Plain { stream }, None)) };
        let handshake = Box::pin(acceptor.accept(stream));
        let failure = match timeout(self.shared.limits.tls_handshake_timeout, handshake).await {
            Ok(Ok(stream)) => {
                let alpn = Alpn { http2: stream.get_ref().1.alpn_protocol() == Some(ALPN_HTTP2) };
                return Some((Transport::Tls { stream: Box::new(stream) }, Some(alpn)));
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => "it took too long".to_owned(),
        };
        self.shared.counters.tls_failures.fetch_add(1, Relaxed);
        tracing::debug!(%peer, failure, "TLS handshake failed");
        None
    }

    /// Reads as much as it takes to know the protocol, and puts it back. `None` if the connection ended before.
    async fn sniff(&self, io: &mut Io, mut alarm: Pin<&mut Sleep>) -> Option<Sniffed> {
        let mut draining = pin!(self.draining.cancelled());
        let mut read = Vec::new();
        let mut last_call = false;
        let sniffed = poll_fn(|cx| {
            loop {
                let mut room = [0; SNIFF_BYTES];
                match io.poll_more(cx, &mut room) {
                    Poll::Ready(Ok([])) | Poll::Ready(Err(_)) => return Poll::Ready(None),
                    Poll::Ready(Ok(more)) => read.extend_from_slice(more),
                    Poll::Pending if !last_call && read.is_empty() && draining.as_mut().poll(cx).is_ready() => {
                        last_call = true;
                        bring_forward(alarm.as_mut(), Instant::now() + self.http1_rules.last_call);
                        continue;
                    }
                    Poll::Pending if alarm.as_mut().poll(cx).is_ready() => return Poll::Ready(Some(Sniffed::More)),
                    Poll::Pending => return Poll::Pending,
                }
                match sniff(&read) {
                    Sniffed::More => {}
                    known => return Poll::Ready(Some(known)),
                }
            }
        })
        .await?;
        match sniffed {
            Sniffed::More if read.is_empty() => None,
            // What began like HTTP/2 and never went on gets HTTP/1's answer, as does a head that isn't complete in time.
            Sniffed::More => {
                self.shared.counters.timed_out.fetch_add(1, Relaxed);
                farewell(io, TIMED_OUT).await;
                None
            }
            known => {
                io.put_back(Bytes::from(read));
                Some(known)
            }
        }
    }

    async fn http1(&self, io: Io, exchange: Arc<Exchange<S>>, alarm: Pin<&mut Sleep>) {
        let pulse = Arc::clone(&exchange.pulse);
        let respond = service_fn(move |request| Exchange::respond(&exchange, request));
        let mut connection = self.http1.serve_connection(TokioIo::new(io), respond).with_upgrades();
        let ended = drive(&mut connection, &pulse, &self.http1_rules, &self.draining, alarm).await;
        let Some(parts) = connection.into_parts() else {
            // Whoever asked for the upgrade has the connection now; it still counts as open, and is cut with this task.
            pulse.tether.released().await;
            return;
        };
        let io = parts.io.into_inner();
        match ended {
            Ended::Done(Ok(())) => linger(io, false).await,
            Ended::Done(Err(error)) => {
                tracing::debug!(%error, "HTTP/1 connection failed");
                linger(io, error.is_parse()).await;
            }
            Ended::Expired(expiry) => {
                self.expired(expiry);
                if expiry == Expiry::SlowHead {
                    farewell(io, TIMED_OUT).await;
                }
            }
        }
    }

    async fn http2(&self, io: Io, exchange: Arc<Exchange<S>>, alarm: Pin<&mut Sleep>) {
        let pulse = Arc::clone(&exchange.pulse);
        let respond = service_fn(move |request| Exchange::respond(&exchange, request));
        let mut connection = Box::pin(self.http2.serve_connection(TokioIo::new(io), respond));
        match drive(&mut connection, &pulse, &self.http2_rules, &self.draining, alarm).await {
            Ended::Done(Ok(())) => {}
            Ended::Done(Err(error)) => tracing::debug!(%error, "HTTP/2 connection failed"),
            Ended::Expired(expiry) => self.expired(expiry),
        }
    }

    fn expired(&self, expiry: Expiry) {
        tracing::debug!(?expiry, "connection ended");
        if matches!(expiry, Expiry::SlowHead | Expiry::Stalled) {
            self.shared.counters.timed_out.fetch_add(1, Relaxed);
        }
    }
}

/// What the TLS handshake agreed on.
struct Alpn {
    http2: bool,
}

fn http1_builder(limits: &ServerLimits) -> http1::Builder {
    let max_bytes = limits.max_header_bytes.max(ServerLimits::MIN_HEADER_BYTES);
    let mut builder = http1::Builder::new();
    // `Pulse` keeps the deadlines; hyper's own would arm a timer per request and take idling for a slow head.
    builder.header_read_timeout(None).half_close(false).max_buf_size(max_bytes).max_header_size(max_bytes);
    if limits.max_headers != ServerLimits::MAX_HEADERS {
        builder.max_headers(limits.max_headers);
    }
    builder
}

fn http2_builder(limits: &ServerLimits, streams: Streams) -> http2::Builder<Streams> {
    let mut builder = http2::Builder::new(streams);
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.http2_max_concurrent_streams)
        .max_pending_accept_reset_streams(limits.http2_max_pending_reset_streams)
        .max_local_error_reset_streams(limits.http2_max_error_reset_streams)
        .max_header_list_size(u32::try_from(limits.max_header_bytes).unwrap_or(u32::MAX))
        .initial_stream_window_size(limits.http2_stream_window_bytes)
        .initial_connection_window_size(limits.http2_connection_window_bytes)
        .max_send_buf_size(limits.http2_send_buffer_bytes.min(u32::MAX as usize))
        .keep_alive_interval(limits.http2_ping_interval)
        .keep_alive_timeout(limits.http2_ping_timeout);
    builder
}

/// Sends a last response and closes.
async fn farewell(mut io: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin, response: &[u8]) {
    let say = async {
        io.write_all(response).await?;
        io.shutdown().await?;
        drain(&mut io).await
    };
    // The client was told as well as it let us; nothing follows from a failure.
    let _ = timeout(FAREWELL, say).await;
}

/// Lets a client that is still sending read the last response: closing a socket with unread bytes makes the kernel reset the
/// connection, which may reach the client before the response does.
async fn linger(mut io: Io, sending: bool) {
    if sending || io.has_more().await {
        let _ = timeout(FAREWELL, drain(&mut io)).await;
    }
}

async fn drain(io: &mut (impl tokio::io::AsyncRead + Unpin)) -> std::io::Result<()> {
    tokio::io::copy(&mut io.take(FAREWELL_BYTES as u64), &mut tokio::io::sink()).await.map(drop)
}
