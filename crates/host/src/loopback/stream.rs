//! One end of a connection: bytes both ways, each way bounded and shut by itself.
//!
//! An end that is dropped is closed: its peer reads what was sent, then the end, and can't write any more. An end whose owner died
//! before that is reset instead, so that what was sent of a message is never taken for the whole.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::OwnedSemaphorePermit;

use super::{BUFFER_BYTES, Bound, NetError};

/// What one direction carries.
#[derive(Default)]
struct Pipe {
    bytes: VecDeque<u8>,
    /// Its writer sends no more.
    ended: bool,
    reader: Reader,
    /// One of the ends was reset: what arrived is still read, then there is an error.
    reset: bool,
    /// Each end is polled by one task at a time in each direction.
    reads: Option<Waker>,
    writes: Option<Waker>,
}

#[derive(Default, PartialEq)]
enum Reader {
    #[default]
    Open,
    /// It reads no more: what is written is lost, as with any socket that is shut for reading.
    Shut,
    /// Its end is closed.
    Gone,
}

impl Pipe {
    fn wake(&mut self) {
        self.reads.take().into_iter().chain(self.writes.take()).for_each(Waker::wake);
    }

    fn can_read(&self) -> bool {
        !self.bytes.is_empty() || self.ended || self.reset || self.reader != Reader::Open
    }

    fn can_write(&self) -> bool {
        self.bytes.len() < BUFFER_BYTES || self.ended || self.reset || self.reader != Reader::Open
    }

    fn read(&mut self, buf: &mut [u8]) -> Result<usize, NetError> {
        let count = buf.len().min(self.bytes.len());
        if count == 0 && self.reset && !buf.is_empty() {
            return Err(NetError::Reset);
        }
        for (to, from) in buf.iter_mut().zip(self.bytes.drain(..count)) {
            *to = from;
        }
        self.writes.take().into_iter().for_each(Waker::wake);
        Ok(count)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<usize, NetError> {
        match self.reader {
            _ if self.reset => return Err(NetError::Reset),
            _ if self.ended => return Err(NetError::Broken),
            Reader::Gone => return Err(NetError::Broken),
            Reader::Shut => return Ok(bytes.len()),
            Reader::Open => {}
        }
        let count = bytes.len().min(BUFFER_BYTES - self.bytes.len());
        self.bytes.extend(&bytes[..count]);
        self.reads.take().into_iter().for_each(Waker::wake);
        Ok(count)
    }
}

/// Both directions of a connection.
struct Link {
    pipes: [Mutex<Pipe>; 2],
    _counted: OwnedSemaphorePermit,
}

/// One end of a connection.
pub(crate) struct Stream {
    link: Arc<Link>,
    /// The pipe that it writes to; it reads the other.
    side: usize,
    local: SocketAddr,
    peer: SocketAddr,
    /// The near end's port, which is free again when that end is.
    _claim: Option<Bound>,
}

/// The two ends of a connection between `near` and `far`. The near one holds `claim`, its address.
pub(super) fn pair(near: SocketAddr, far: SocketAddr, claim: Option<Bound>, counted: OwnedSemaphorePermit) -> (Stream, Stream) {
    let link = Arc::new(Link { pipes: Default::default(), _counted: counted });
    let other = Stream { link: link.clone(), side: 1, local: far, peer: near, _claim: None };
    (Stream { link, side: 0, local: near, peer: far, _claim: claim }, other)
}

impl Stream {
    pub(crate) fn local_addr(&self) -> SocketAddr {
        self.local
    }

    pub(crate) fn peer_addr(&self) -> SocketAddr {
        self.peer
    }

    /// Reads what has arrived; 0 is the end, unless `buf` is empty.
    pub(crate) fn poll_read_bytes(&self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<Result<usize, NetError>> {
        let mut pipe = self.incoming();
        if buf.is_empty() || pipe.can_read() {
            return Poll::Ready(pipe.read(buf));
        }
        pipe.reads = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Whether reading would tell anything: bytes, the end or an error.
    pub(crate) fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut pipe = self.incoming();
        if pipe.can_read() {
            return Poll::Ready(());
        }
        pipe.reads = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Writes as much as there is room for: at least a byte, unless there are none.
    pub(crate) fn poll_write_bytes(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize, NetError>> {
        let mut pipe = self.outgoing();
        if bytes.is_empty() || pipe.can_write() {
            return Poll::Ready(pipe.write(bytes));
        }
        pipe.writes = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Whether writing would do anything: take a byte, or tell why not.
    pub(crate) fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut pipe = self.outgoing();
        if pipe.can_write() {
            return Poll::Ready(());
        }
        pipe.writes = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Bytes that writing would take at once; not 0 where it would tell an error.
    pub(crate) fn room(&self) -> usize {
        let pipe = self.outgoing();
        (BUFFER_BYTES - pipe.bytes.len()).max(usize::from(pipe.can_write()))
    }

    /// Ready when the other end is closed or reset.
    pub(crate) fn poll_gone(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut pipe = self.outgoing();
        if pipe.reset || pipe.reader == Reader::Gone {
            return Poll::Ready(());
        }
        pipe.writes = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Sends no more.
    pub(crate) fn shut_write(&self) {
        let mut pipe = self.outgoing();
        pipe.ended = true;
        pipe.wake();
    }

    /// Reads no more.
    pub(crate) fn shut_read(&self) {
        let mut pipe = self.incoming();
        if pipe.reader == Reader::Open {
            pipe.reader = Reader::Shut;
        }
        pipe.bytes = VecDeque::new();
        pipe.wake();
    }

    /// Breaks the connection off: the other end reads what arrived, then an error, and writes no more. What this end had ended in
    /// good order before stays whole.
    pub(crate) fn reset(&self) {
        let broken = |mut pipe: MutexGuard<'_, Pipe>, reset: bool| {
            pipe.reset |= reset;
            pipe.wake();
        };
        let outgoing = self.outgoing();
        let ended = outgoing.ended;
        broken(outgoing, !ended);
        broken(self.incoming(), true);
    }

    fn outgoing(&self) -> MutexGuard<'_, Pipe> {
        self.link.pipes[self.side].lock().expect("no panic while held")
    }

    fn incoming(&self) -> MutexGuard<'_, Pipe> {
        self.link.pipes[1 - self.side].lock().expect("no panic while held")
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.shut_write();
        let mut pipe = self.incoming();
        pipe.reader = Reader::Gone;
        pipe.bytes = VecDeque::new();
        pipe.wake();
    }
}

// For shared ends, as one task may read while another writes.

impl AsyncRead for &Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let count = std::task::ready!(self.poll_read_bytes(cx, buf.initialize_unfilled()))?;
        buf.advance(count);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for &Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_bytes(cx, bytes).map_err(io::Error::from)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.shut_write();
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut &*self).poll_read(cx, buf)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut &*self).poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut &*self).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut &*self).poll_shutdown(cx)
    }
}
