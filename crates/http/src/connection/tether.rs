//! Ties an upgraded connection (WebSocket) to the task that served it: hyper gives the socket to whoever asked for the upgrade, but
//! the server must still count it, and be able to cut it.

use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use futures::task::AtomicWaker;

use super::pulse::Pulse;

/// See the module. One end is the connection's task, the other its [`Io`](super::io::Io).
#[derive(Debug, Default)]
pub(super) struct Tether {
    cut: AtomicBool,
    released: AtomicBool,
    /// The connection's task, waiting for the other end to be dropped.
    server: AtomicWaker,
    reader: AtomicWaker,
    writer: AtomicWaker,
}

/// Which half of a connection asks.
#[derive(Clone, Copy)]
pub(super) enum Half {
    Read,
    Write,
}

impl Tether {
    /// Waits until the other end is dropped.
    pub(super) async fn released(&self) {
        poll_fn(|cx| {
            self.server.register(cx.waker());
            if self.released.load(Ordering::SeqCst) { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    pub(super) fn release(&self) {
        self.released.store(true, Ordering::SeqCst);
        self.server.wake();
    }

    fn cut(&self) {
        self.cut.store(true, Ordering::SeqCst);
        self.reader.wake();
        self.writer.wake();
    }

    /// Fails once the connection is cut.
    pub(super) fn check(&self) -> io::Result<()> {
        if self.cut.load(Ordering::Relaxed) { Err(aborted()) } else { Ok(()) }
    }

    /// What a half returns that would wait: `Pending`, with its waker left here, or the error if the cut came meanwhile.
    pub(super) fn pending<T>(&self, half: Half, cx: &Context<'_>) -> Poll<io::Result<T>> {
        match half {
            Half::Read => self.reader.register(cx.waker()),
            Half::Write => self.writer.register(cx.waker()),
        }
        if self.cut.load(Ordering::SeqCst) { Poll::Ready(Err(aborted())) } else { Poll::Pending }
    }
}

fn aborted() -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionAborted, "the server ended the connection")
}

/// Cuts the connection when the task that owns it ends, however it ends.
pub(super) struct CutOnDrop(pub(super) Arc<Pulse>);

impl Drop for CutOnDrop {
    fn drop(&mut self) {
        self.0.tether.cut();
    }
}
