//! What is written to a file and read of it through a stream of WASI 0.2: one chunk at a time, each on a thread that may wait.

use std::io;

use bytes::{Bytes, BytesMut};
use tokio::task::JoinHandle;
use wasmtime_wasi::p2::{InputStream, OutputStream, Pollable, StreamError, StreamResult};

use crate::volumes::calls::Held;
use crate::volumes::tree::Location;

/// Bytes that are written or read at once, at most (L31).
const CHUNK_BYTES: usize = 64 << 10;
/// Bytes that are read for who asks whether there are some.
const AHEAD_BYTES: usize = 8 << 10;

/// The stream of what is written.
pub(super) struct Writing {
    file: Held,
    to: Location,
    state: State,
}

enum State {
    Open,
    /// How much is written is known when this ends.
    Busy(JoinHandle<(usize, io::Result<()>)>),
    /// Told once; then the stream is closed.
    Failed(io::Error),
    Closed,
}

impl Writing {
    pub(super) fn new(file: Held, to: Location) -> Writing {
        Writing { file, to, state: State::Open }
    }

    /// Waits for what is being written.
    async fn settle(&mut self) {
        let State::Busy(busy) = &mut self.state else { return };
        let (written, ended) = match busy.await {
            Ok(ended) => ended,
            Err(error) => (0, Err(io::Error::other(error))),
        };
        if let Location::Offset(offset) = &mut self.to {
            *offset = offset.saturating_add(written as u64);
        }
        self.state = match ended {
            Ok(()) => State::Open,
            Err(error) => State::Failed(error),
        };
    }

    /// An error is told once.
    fn failed(&mut self) -> StreamResult<()> {
        match std::mem::replace(&mut self.state, State::Closed) {
            State::Failed(error) => Err(StreamError::LastOperationFailed(error.into())),
            State::Closed => Err(StreamError::Closed),
            other => {
                self.state = other;
                Ok(())
            }
        }
    }
}

/// Writes all of `bytes`. How much was written, and how it ended.
fn write_all(file: &Held, mut bytes: Bytes, to: Location) -> (usize, io::Result<()>) {
    let mut written = 0;
    while !bytes.is_empty() {
        let to = match to {
            Location::Offset(offset) => Location::Offset(offset.saturating_add(written as u64)),
            Location::End => Location::End,
        };
        match file.write_now(&bytes, to) {
            Ok(0) => return (written, Err(io::ErrorKind::WriteZero.into())),
            Ok(count) => {
                written += count;
                drop(bytes.split_to(count));
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return (written, Err(error)),
        }
    }
    (written, Ok(()))
}

#[async_trait::async_trait]
impl OutputStream for Writing {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.failed()?;
        if !matches!(self.state, State::Open) || bytes.len() > CHUNK_BYTES {
            return Err(StreamError::trap("more is written than was offered"));
        }
        let (file, to) = (self.file.clone(), self.to);
        self.state = State::Busy(tokio::task::spawn_blocking(move || write_all(&file, bytes, to)));
        Ok(())
    }

    /// What was written is on its way to the system, flushed or not.
    fn flush(&mut self) -> StreamResult<()> {
        self.failed()
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        self.failed()?;
        Ok(if matches!(self.state, State::Open) { CHUNK_BYTES } else { 0 })
    }

    /// The guest drops it: what it wrote is written to the end.
    async fn cancel(&mut self) {
        self.settle().await;
        self.state = State::Closed;
    }
}

#[async_trait::async_trait]
impl Pollable for Writing {
    async fn ready(&mut self) {
        self.settle().await;
    }
}

/// The stream of what is read.
pub(super) struct Reading {
    file: Held,
    offset: u64,
    state: Read,
}

enum Read {
    Idle,
    Busy(JoinHandle<io::Result<BytesMut>>),
    /// Some that the guest hasn't taken yet.
    Ready(Bytes),
    /// Told once; then the stream is closed.
    Failed(io::Error),
    Closed,
}

impl Reading {
    pub(super) fn new(file: Held, offset: u64) -> Reading {
        Reading { file, offset, state: Read::Idle }
    }

    fn begin(&mut self, most: usize) {
        let (file, offset, most) = (self.file.clone(), self.offset, most.min(CHUNK_BYTES));
        self.state = Read::Busy(tokio::task::spawn_blocking(move || file.read_now(offset, most)));
    }

    /// Waits for what is being read.
    async fn settle(&mut self) {
        let Read::Busy(busy) = &mut self.state else { return };
        self.state = match busy.await.map_err(io::Error::other).flatten() {
            Ok(bytes) if bytes.is_empty() => Read::Closed,
            Ok(bytes) => Read::Ready(bytes.freeze()),
            Err(error) => Read::Failed(error),
        };
    }

    /// Some of what was read.
    fn take(&mut self, most: usize) -> Bytes {
        let Read::Ready(bytes) = &mut self.state else { return Bytes::new() };
        let taken = bytes.split_to(most.min(bytes.len()));
        if bytes.is_empty() {
            self.state = Read::Idle;
        }
        self.offset = self.offset.saturating_add(taken.len() as u64);
        taken
    }
}

#[async_trait::async_trait]
impl InputStream for Reading {
    fn read(&mut self, most: usize) -> StreamResult<Bytes> {
        match &self.state {
            Read::Idle if most > 0 => self.begin(most),
            Read::Idle | Read::Busy(_) | Read::Ready(_) => {}
            Read::Failed(_) | Read::Closed => {
                return Err(match std::mem::replace(&mut self.state, Read::Closed) {
                    Read::Failed(error) => StreamError::LastOperationFailed(error.into()),
                    _ => StreamError::Closed,
                });
            }
        }
        Ok(self.take(most))
    }

    /// Reads what is asked for, where a guest that asks first has it read ahead.
    async fn blocking_read(&mut self, most: usize) -> StreamResult<Bytes> {
        self.settle().await;
        if most > 0 && matches!(self.state, Read::Idle) {
            self.begin(most);
            self.settle().await;
        }
        self.read(most)
    }

    /// The guest drops it: what is being read is read to the end.
    async fn cancel(&mut self) {
        self.settle().await;
        self.state = Read::Closed;
    }
}

#[async_trait::async_trait]
impl Pollable for Reading {
    async fn ready(&mut self) {
        if matches!(self.state, Read::Idle) {
            self.begin(AHEAD_BYTES);
        }
        self.settle().await;
    }
}
