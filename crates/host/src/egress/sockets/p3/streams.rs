//! The streams of a socket of WASI 0.3. Each holds its part of the connection, and so the socket's permits, until it ends.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::BytesMut;
use tokio::sync::oneshot;
use wasmtime::component::{Destination, Resource, Source, StreamConsumer, StreamProducer, StreamResult};
use wasmtime::{AsContextMut as _, StoreContextMut};
use wasmtime_wasi::p3::bindings::sockets::types::ErrorCode;

use crate::egress::sockets::tcp::{Listening, Reader, TcpSocket, Writer};
use crate::guest::Guest;

/// How a stream ended.
pub(super) type Outcome = Result<(), ErrorCode>;
type Produced = Poll<wasmtime::Result<StreamResult>>;

/// Bytes that are read at once where the guest takes any number (L31).
const CHUNK_BYTES: usize = 8 << 10;

/// What `finish` makes of a wait: the guest asked to end it.
fn waits(finish: bool) -> Produced {
    if finish { Poll::Ready(Ok(StreamResult::Cancelled)) } else { Poll::Pending }
}

/// Connections that are accepted.
pub(super) struct Connections(pub(super) Arc<Listening>);

impl StreamProducer<Guest> for Connections {
    type Item = Resource<TcpSocket>;
    type Buffer = Option<Self::Item>;

    fn poll_produce<'a>(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut store: StoreContextMut<'a, Guest>,
        mut to: Destination<'a, Self::Item, Self::Buffer>,
        finish: bool,
    ) -> Produced {
        // Reading nothing asks whether there is something.
        if to.remaining(store.as_context_mut()) == Some(0) {
            return match self.0.poll_ready(cx) {
                Poll::Ready(()) => Poll::Ready(Ok(StreamResult::Completed)),
                Poll::Pending => waits(finish),
            };
        }
        let Poll::Ready(socket) = self.0.poll_accept(cx) else { return waits(finish) };
        to.set_buffer(Some(store.data_mut().table.push(socket)?));
        Poll::Ready(Ok(StreamResult::Completed))
    }
}

/// Bytes that are received.
pub(super) struct Receiving(Option<(Reader, oneshot::Sender<Outcome>)>);

impl Receiving {
    pub(super) fn new(reader: Reader, told: oneshot::Sender<Outcome>) -> Receiving {
        Receiving(Some((reader, told)))
    }

    fn end(&mut self, outcome: Outcome) {
        if let Some((_, told)) = self.0.take() {
            // The guest may have dropped its future, which is nobody's loss.
            let _ = told.send(outcome);
        }
    }
}

impl Drop for Receiving {
    fn drop(&mut self) {
        self.end(Ok(()));
    }
}

impl StreamProducer<Guest> for Receiving {
    type Item = u8;
    type Buffer = BytesMut;

    fn poll_produce<'a>(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut store: StoreContextMut<'a, Guest>,
        to: Destination<'a, u8, BytesMut>,
        finish: bool,
    ) -> Produced {
        let Some((reader, _)) = &self.0 else { return Poll::Ready(Ok(StreamResult::Dropped)) };
        if to.remaining(store.as_context_mut()) == Some(0) {
            return match reader.poll_ready(cx) {
                Poll::Ready(()) => Poll::Ready(Ok(StreamResult::Completed)),
                Poll::Pending => waits(finish),
            };
        }
        let mut to = to.as_direct(store, CHUNK_BYTES);
        match reader.poll_read(cx, to.remaining()) {
            Poll::Ready(Ok(0)) => self.end(Ok(())),
            Poll::Ready(Ok(count)) => {
                to.mark_written(count);
                return Poll::Ready(Ok(StreamResult::Completed));
            }
            Poll::Ready(Err(error)) => self.end(Err(error.p3())),
            Poll::Pending => return waits(finish),
        }
        Poll::Ready(Ok(StreamResult::Dropped))
    }
}

/// Bytes that are sent.
pub(super) struct Sending(Option<(Writer, oneshot::Sender<Outcome>)>);

impl Sending {
    pub(super) fn new(writer: Writer, told: oneshot::Sender<Outcome>) -> Sending {
        Sending(Some((writer, told)))
    }

    fn end(&mut self, outcome: Outcome) {
        if let Some((_, told)) = self.0.take() {
            // As above.
            let _ = told.send(outcome);
        }
    }
}

impl Drop for Sending {
    fn drop(&mut self) {
        self.end(Ok(()));
    }
}

impl StreamConsumer<Guest> for Sending {
    type Item = u8;

    fn poll_consume(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        store: StoreContextMut<'_, Guest>,
        from: Source<'_, u8>,
        finish: bool,
    ) -> Produced {
        let Some((writer, _)) = &self.0 else { return Poll::Ready(Ok(StreamResult::Dropped)) };
        let mut from = from.as_direct(store);
        if from.remaining().is_empty() {
            return match writer.poll_ready(cx) {
                Poll::Ready(()) => Poll::Ready(Ok(StreamResult::Completed)),
                Poll::Pending => waits(finish),
            };
        }
        match writer.poll_write(cx, from.remaining()) {
            Poll::Ready(Ok(count)) => {
                from.mark_read(count);
                Poll::Ready(Ok(StreamResult::Completed))
            }
            Poll::Ready(Err(error)) => {
                self.end(Err(error.p3()));
                Poll::Ready(Ok(StreamResult::Dropped))
            }
            Poll::Pending => waits(finish),
        }
    }
}
