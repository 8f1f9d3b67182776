//! The streams of a file and of a folder of WASI 0.3. What waits for the disk does so on a thread for that, and is done to its end: the
//! guest that breaks a stream off while it writes waits for it.

use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::BytesMut;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use wasmtime::component::{Destination, Source, StreamConsumer, StreamProducer, StreamResult};
use wasmtime::{AsContextMut as _, StoreContextMut};
use wasmtime_wasi::p3::bindings::filesystem::types::{DescriptorType, DirectoryEntry, ErrorCode};

use super::code;
use crate::guest::Guest;
use crate::volumes::calls::Held;
use crate::volumes::listing::{Entry, Kind, Listing};
use crate::volumes::tree::Location;

/// How a stream ended.
pub(super) type Outcome = Result<(), ErrorCode>;
type Polled = Poll<wasmtime::Result<StreamResult>>;

/// Bytes that are written or read at once, at most (L31).
const CHUNK_BYTES: usize = 64 << 10;

/// Tells how a stream ended, once.
struct Told(Option<oneshot::Sender<Outcome>>);

impl Told {
    fn tell(&mut self, outcome: Outcome) {
        if let Some(told) = self.0.take() {
            // The guest may have dropped its future, which is nobody's loss.
            let _ = told.send(outcome);
        }
    }
}

impl Drop for Told {
    fn drop(&mut self) {
        self.tell(Ok(()));
    }
}

/// Bytes that are written to a file.
pub(super) struct Writing {
    file: Held,
    to: Location,
    told: Told,
    busy: Option<JoinHandle<io::Result<usize>>>,
}

impl Writing {
    pub(super) fn new(file: Held, to: Location, told: oneshot::Sender<Outcome>) -> Writing {
        Writing { file, to, told: Told(Some(told)), busy: None }
    }
}

impl StreamConsumer<Guest> for Writing {
    type Item = u8;

    fn poll_consume(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        store: StoreContextMut<'_, Guest>,
        from: Source<'_, u8>,
        _finish: bool,
    ) -> Polled {
        let mut from = from.as_direct(store);
        let me = &mut *self;
        if me.busy.is_none() && from.remaining().is_empty() {
            return Poll::Ready(Ok(StreamResult::Completed));
        }
        let busy = me.busy.get_or_insert_with(|| {
            let (file, to) = (me.file.clone(), me.to);
            let bytes = from.remaining();
            let bytes = bytes[..bytes.len().min(CHUNK_BYTES)].to_vec();
            tokio::task::spawn_blocking(move || file.write_now(&bytes, to))
        });
        let written = ready!(Pin::new(busy).poll(cx));
        me.busy = None;
        match written.map_err(io::Error::other).flatten() {
            Ok(count) => {
                from.mark_read(count);
                if let Location::Offset(offset) = &mut me.to {
                    *offset = offset.saturating_add(count as u64);
                }
                Poll::Ready(Ok(StreamResult::Completed))
            }
            Err(error) => {
                me.told.tell(Err(code(&error)));
                Poll::Ready(Ok(StreamResult::Dropped))
            }
        }
    }
}

/// Bytes that are read of a file.
pub(super) struct Reading {
    file: Held,
    offset: u64,
    told: Told,
    busy: Option<JoinHandle<io::Result<BytesMut>>>,
}

impl Reading {
    pub(super) fn new(file: Held, offset: u64, told: oneshot::Sender<Outcome>) -> Reading {
        Reading { file, offset, told: Told(Some(told)), busy: None }
    }
}

impl StreamProducer<Guest> for Reading {
    type Item = u8;
    type Buffer = BytesMut;

    fn poll_produce<'a>(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut store: StoreContextMut<'a, Guest>,
        mut to: Destination<'a, Self::Item, Self::Buffer>,
        finish: bool,
    ) -> Polled {
        let most = to.remaining(store.as_context_mut()).unwrap_or(CHUNK_BYTES).min(CHUNK_BYTES);
        // Reading nothing asks whether there may be something.
        if most == 0 {
            return Poll::Ready(Ok(StreamResult::Completed));
        }
        let me = &mut *self;
        let busy = me.busy.get_or_insert_with(|| {
            let (file, offset) = (me.file.clone(), me.offset);
            tokio::task::spawn_blocking(move || file.read_now(offset, most))
        });
        let read = match Pin::new(busy).poll(cx) {
            Poll::Ready(read) => read.map_err(io::Error::other).flatten(),
            // What is read meanwhile is for the next time.
            Poll::Pending if finish => return Poll::Ready(Ok(StreamResult::Cancelled)),
            Poll::Pending => return Poll::Pending,
        };
        me.busy = None;
        match read {
            Ok(bytes) if !bytes.is_empty() => {
                me.offset = me.offset.saturating_add(bytes.len() as u64);
                to.set_buffer(bytes);
                Poll::Ready(Ok(StreamResult::Completed))
            }
            ended => {
                me.told.tell(ended.map(|_| ()).map_err(|error| code(&error)));
                Poll::Ready(Ok(StreamResult::Dropped))
            }
        }
    }
}

type Read = (io::Result<Vec<Entry>>, Listing);

/// What is in a folder.
pub(super) struct Entries {
    /// None while it is read, and when all was.
    listing: Option<Listing>,
    read: VecDeque<Entry>,
    busy: Option<JoinHandle<Read>>,
    told: Told,
}

impl Entries {
    pub(super) fn new(listing: Listing, told: oneshot::Sender<Outcome>) -> Entries {
        Entries { listing: Some(listing), read: VecDeque::new(), busy: None, told: Told(Some(told)) }
    }

    /// The next one; none: that were all.
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<Entry>>> {
        if self.read.is_empty() {
            if let Some(mut listing) = self.listing.take() {
                self.busy = Some(tokio::task::spawn_blocking(move || (listing.next(), listing)));
            }
            if let Some(busy) = &mut self.busy {
                let read = ready!(Pin::new(busy).poll(cx));
                self.busy = None;
                let (read, listing) = read.map_err(io::Error::other)?;
                self.read = read?.into();
                self.listing = (!self.read.is_empty()).then_some(listing);
            }
        }
        Poll::Ready(Ok(self.read.pop_front()))
    }
}

impl StreamProducer<Guest> for Entries {
    type Item = DirectoryEntry;
    type Buffer = Option<DirectoryEntry>;

    fn poll_produce<'a>(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut store: StoreContextMut<'a, Guest>,
        mut to: Destination<'a, Self::Item, Self::Buffer>,
        finish: bool,
    ) -> Polled {
        // Reading nothing asks whether there may be something.
        if to.remaining(store.as_context_mut()) == Some(0) {
            return Poll::Ready(Ok(StreamResult::Completed));
        }
        match self.poll_next(cx) {
            Poll::Ready(Ok(Some(entry))) => {
                to.set_buffer(Some(entry.into()));
                Poll::Ready(Ok(StreamResult::Completed))
            }
            Poll::Ready(ended) => {
                self.told.tell(ended.map(|_| ()).map_err(|error| code(&error)));
                Poll::Ready(Ok(StreamResult::Dropped))
            }
            Poll::Pending if finish => Poll::Ready(Ok(StreamResult::Cancelled)),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl From<Entry> for DirectoryEntry {
    fn from(Entry { kind, name }: Entry) -> DirectoryEntry {
        let type_ = match kind {
            Kind::Folder => DescriptorType::Directory,
            Kind::File => DescriptorType::RegularFile,
            Kind::Link => DescriptorType::SymbolicLink,
            Kind::BlockDevice => DescriptorType::BlockDevice,
            Kind::CharacterDevice => DescriptorType::CharacterDevice,
            Kind::Pipe => DescriptorType::Fifo,
            Kind::Socket => DescriptorType::Socket,
            Kind::Unknown => DescriptorType::Other(None),
        };
        DirectoryEntry { type_, name }
    }
}
