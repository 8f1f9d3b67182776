//! A connection's bytes, in clear or through TLS, reporting to its [`Pulse`] what moves.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use super::pulse::Pulse;
use super::tether::Half;

/// The socket, with or without TLS: one type, so that hyper's state machines exist once.
pub(super) enum Transport {
    Plain { stream: TcpStream },
    Tls { stream: Box<TlsStream<TcpStream>> },
}

/// Calls the same method on either transport's stream.
macro_rules! either {
    ($transport:expr, $method:ident($($argument:expr),*)) => {
        match $transport {
            Transport::Plain { stream } => Pin::new(stream).$method($($argument),*),
            Transport::Tls { stream } => Pin::new(stream).$method($($argument),*),
        }
    };
}

/// See the module.
pub(super) struct Io {
    transport: Transport,
    /// Read already, to be read again.
    prefix: Bytes,
    pulse: Arc<Pulse>,
}

impl Io {
    pub(super) fn new(transport: Transport, pulse: Arc<Pulse>) -> Self {
        Self { transport, prefix: Bytes::new(), pulse }
    }

    /// Reads what there is into `room`; nothing at the end.
    pub(super) fn poll_more<'a>(&mut self, cx: &mut Context<'_>, room: &'a mut [u8]) -> Poll<io::Result<&'a [u8]>> {
        let mut buffer = ReadBuf::new(room);
        std::task::ready!(Pin::new(self).poll_read(cx, &mut buffer))?;
        let length = buffer.filled().len();
        Poll::Ready(Ok(&room[..length]))
    }

    /// Has `read` be read again.
    pub(super) fn put_back(&mut self, read: Bytes) {
        self.prefix = read;
    }

    /// Whether the client has sent something that wasn't read, without waiting for it.
    pub(super) async fn has_more(&mut self) -> bool {
        if self.pulse.read_closed() {
            return false;
        }
        std::future::poll_fn(|cx| {
            let mut room = [0; 512];
            let more = self.poll_more(cx, &mut room);
            Poll::Ready(matches!(more, Poll::Ready(Ok([_, ..]))))
        })
        .await
    }

    /// Reports a write's outcome.
    fn wrote<T>(&self, outcome: Poll<io::Result<T>>, cx: &Context<'_>) -> Poll<io::Result<T>> {
        match outcome {
            Poll::Pending => {
                self.pulse.stalled();
                self.pulse.tether.pending(Half::Write, cx)
            }
            done => {
                self.pulse.moving();
                done
            }
        }
    }
}

impl AsyncRead for Io {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if !self.prefix.is_empty() {
            let length = self.prefix.len().min(buffer.remaining());
            buffer.put_slice(&self.prefix[..length]);
            self.prefix.advance(length);
            return Poll::Ready(Ok(()));
        }
        self.pulse.tether.check()?;
        let before = buffer.filled().len();
        match either!(&mut self.transport, poll_read(cx, buffer)) {
            Poll::Ready(Ok(())) if buffer.filled().len() == before && buffer.remaining() > 0 => self.pulse.closed_by_client(),
            Poll::Ready(Ok(())) => self.pulse.received(),
            Poll::Ready(Err(error)) => {
                self.pulse.closed_by_client();
                return Poll::Ready(Err(error));
            }
            Poll::Pending => return self.pulse.tether.pending(Half::Read, cx),
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Io {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.pulse.tether.check()?;
        let outcome = either!(&mut self.transport, poll_write(cx, bytes));
        self.wrote(outcome, cx)
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, cx: &mut Context<'_>, slices: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        self.pulse.tether.check()?;
        let outcome = either!(&mut self.transport, poll_write_vectored(cx, slices));
        self.wrote(outcome, cx)
    }

    fn is_write_vectored(&self) -> bool {
        match &self.transport {
            Transport::Plain { stream } => stream.is_write_vectored(),
            Transport::Tls { stream } => stream.is_write_vectored(),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.pulse.tether.check()?;
        let outcome = either!(&mut self.transport, poll_flush(cx));
        self.wrote(outcome, cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = either!(&mut self.transport, poll_shutdown(cx));
        self.wrote(outcome, cx)
    }
}

impl Drop for Io {
    fn drop(&mut self) {
        self.pulse.tether.release();
    }
}
