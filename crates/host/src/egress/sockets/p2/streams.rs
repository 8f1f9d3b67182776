//! The streams of a connection, as WASI 0.2 has them.

use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker, ready};

use bytes::{Bytes, BytesMut};
use tokio::task::JoinHandle;
use wasmtime_wasi::p2::{InputStream, OutputStream, Pollable, StreamError, StreamResult};

use crate::egress::sockets::failure::SocketError;
use crate::egress::sockets::tcp::{Reader, Writer};
use crate::invoke::guard::AbortOnDrop;

/// Bytes that are read or written at once, at most (L31).
const CHUNK_BYTES: usize = 64 << 10;

fn failed(error: SocketError) -> StreamError {
    if error.is_closed() { StreamError::Closed } else { StreamError::LastOperationFailed(error.io().into()) }
}

/// What arrives. Shared by the stream and its socket, which may shut it; none: it has ended.
#[derive(Clone)]
pub(super) struct Input(Arc<Mutex<Option<Reader>>>);

impl Input {
    pub(super) fn new(reader: Reader) -> Input {
        Input(Arc::new(Mutex::new(Some(reader))))
    }

    pub(super) fn shut(&self) {
        *self.lock() = None;
    }

    fn lock(&self) -> MutexGuard<'_, Option<Reader>> {
        self.0.lock().expect("no panic while held")
    }
}

#[async_trait::async_trait]
impl InputStream for Input {
    fn read(&mut self, size: usize) -> StreamResult<Bytes> {
        let mut open = self.lock();
        let Some(reader) = &*open else { return Err(StreamError::Closed) };
        if size == 0 {
            return Ok(Bytes::new());
        }
        let mut now = Context::from_waker(Waker::noop());
        if reader.poll_ready(&mut now).is_pending() {
            return Ok(Bytes::new());
        }
        let mut buf = BytesMut::zeroed(size.min(CHUNK_BYTES));
        match reader.poll_read(&mut now, &mut buf) {
            Poll::Pending => Ok(Bytes::new()),
            Poll::Ready(Ok(0)) => {
                *open = None;
                Err(StreamError::Closed)
            }
            Poll::Ready(Ok(count)) => {
                buf.truncate(count);
                Ok(buf.freeze())
            }
            Poll::Ready(Err(error)) => {
                *open = None;
                Err(failed(error))
            }
        }
    }

    /// The guest drops it: its socket's part of it goes too.
    async fn cancel(&mut self) {
        self.shut();
    }
}

#[async_trait::async_trait]
impl Pollable for Input {
    async fn ready(&mut self) {
        poll_fn(|cx| self.lock().as_ref().map_or(Poll::Ready(()), |reader| reader.poll_ready(cx))).await;
    }
}

/// What is sent. Shared by the stream and its socket, which may shut it.
#[derive(Clone)]
pub(super) struct Output(Arc<Mutex<Sending>>);

enum Sending {
    /// As many bytes may be written as were last offered.
    Open(Writer, usize),
    /// The rest of what was written is on its way; afterwards it goes on, or is shut.
    Busy { rest: JoinHandle<Result<Option<Writer>, SocketError>>, _guard: AbortOnDrop, shut: Arc<AtomicBool> },
    /// Why nothing more is sent; none where it was shut.
    Closed(Option<SocketError>),
}

impl Output {
    pub(super) fn new(writer: Writer) -> Output {
        Output(Arc::new(Mutex::new(Sending::Open(writer, 0))))
    }

    /// What was written is still sent.
    pub(super) fn shut(&self) {
        let mut sending = self.lock();
        // The rest may have been sent since somebody looked.
        let _ = sending.poll_ready(&mut Context::from_waker(Waker::noop()));
        match &mut *sending {
            Sending::Busy { shut, .. } => shut.store(true, Ordering::Release),
            Sending::Open(..) => *sending = Sending::Closed(None),
            Sending::Closed(_) => {}
        }
    }

    fn lock(&self) -> MutexGuard<'_, Sending> {
        self.0.lock().expect("no panic while held")
    }
}

impl Sending {
    /// Ready when something can be written, or never again.
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Sending::Busy { rest, shut, .. } = self {
            let sent = ready!(std::pin::Pin::new(rest).poll(cx));
            *self = match sent {
                Ok(Ok(Some(writer))) if !shut.load(Ordering::Acquire) => Sending::Open(writer, 0),
                Ok(Ok(_)) | Err(_) => Sending::Closed(None),
                Ok(Err(error)) => Sending::Closed(Some(error)),
            };
        }
        match self {
            Sending::Open(writer, _) => writer.poll_ready(cx),
            Sending::Busy { .. } | Sending::Closed(_) => Poll::Ready(()),
        }
    }

    fn closed(&self) -> Option<StreamError> {
        match self {
            Sending::Closed(error) => Some(error.map_or(StreamError::Closed, failed)),
            _ => None,
        }
    }

    /// Writes all of `bytes`: what the connection doesn't take now is sent by a task.
    fn write(&mut self, mut bytes: Bytes) -> StreamResult<()> {
        match self {
            Sending::Closed(error) => return Err(error.map_or(StreamError::Closed, failed)),
            Sending::Open(_, offered) if bytes.len() <= *offered => *offered -= bytes.len(),
            _ => return Err(StreamError::trap("more is written than was offered")),
        }
        let Sending::Open(writer, _) = self else { return Ok(()) };
        while !bytes.is_empty() {
            match writer.poll_write(&mut Context::from_waker(Waker::noop()), &bytes) {
                Poll::Ready(Ok(count)) => drop(bytes.split_to(count)),
                Poll::Ready(Err(error)) => {
                    *self = Sending::Closed(Some(error));
                    return Err(failed(error));
                }
                Poll::Pending => {
                    let Sending::Open(writer, _) = std::mem::replace(self, Sending::Closed(None)) else { return Ok(()) };
                    let shut = Arc::new(AtomicBool::new(false));
                    let rest = tokio::spawn(send_all(writer, bytes, shut.clone()));
                    let _guard = AbortOnDrop::new(rest.abort_handle());
                    *self = Sending::Busy { rest, _guard, shut };
                    return Ok(());
                }
            }
        }
        Ok(())
    }
}

/// Sends the rest, then drops the writer if it was shut meanwhile.
async fn send_all(writer: Writer, mut bytes: Bytes, shut: Arc<AtomicBool>) -> Result<Option<Writer>, SocketError> {
    while !bytes.is_empty() {
        let count = poll_fn(|cx| writer.poll_write(cx, &bytes)).await?;
        drop(bytes.split_to(count));
    }
    Ok((!shut.load(Ordering::Acquire)).then_some(writer))
}

#[async_trait::async_trait]
impl OutputStream for Output {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.lock().write(bytes)
    }

    /// What was written is sent as soon as it can be, flushed or not.
    fn flush(&mut self) -> StreamResult<()> {
        self.lock().closed().map_or(Ok(()), Err)
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        let mut sending = self.lock();
        if sending.poll_ready(&mut Context::from_waker(Waker::noop())).is_pending() {
            return Ok(0);
        }
        match &mut *sending {
            Sending::Open(writer, offered) => {
                *offered = writer.room().unwrap_or(CHUNK_BYTES).min(CHUNK_BYTES);
                Ok(*offered)
            }
            Sending::Busy { .. } => Ok(0),
            Sending::Closed(error) => Err(error.map_or(StreamError::Closed, failed)),
        }
    }

    /// The guest drops it: what it wrote is sent to the end, then the connection is shut for writing.
    async fn cancel(&mut self) {
        poll_fn(|cx| {
            let mut sending = self.lock();
            match &*sending {
                Sending::Busy { .. } => sending.poll_ready(cx),
                _ => Poll::Ready(()),
            }
        })
        .await;
        self.shut();
    }
}

#[async_trait::async_trait]
impl Pollable for Output {
    async fn ready(&mut self) {
        poll_fn(|cx| self.lock().poll_ready(cx)).await;
    }
}
