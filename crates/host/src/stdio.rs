//! A guest's standard output and error as log lines.

use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::io::AsyncWrite;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamResult};

use crate::logs::{MAX_LINE_BYTES, Stream, WorkloadLog};
use crate::request_id::RequestId;

/// Bytes a guest may write at once.
const WRITE_BYTES: usize = 64 << 10;

/// One output of one instance. Never blocks: lines beyond the workload's rate are counted and dropped.
#[derive(Clone)]
pub(crate) struct GuestOutput {
    lines: Arc<Lines>,
}

struct Lines {
    log: Arc<WorkloadLog>,
    component: Arc<str>,
    request: Arc<Mutex<Option<RequestId>>>,
    stream: Stream,
    /// The line that has not ended yet.
    partial: Mutex<Vec<u8>>,
}

impl GuestOutput {
    pub(crate) fn new(log: Arc<WorkloadLog>, component: Arc<str>, request: Arc<Mutex<Option<RequestId>>>, stream: Stream) -> GuestOutput {
        GuestOutput { lines: Arc::new(Lines { log, component, request, stream, partial: Mutex::default() }) }
    }
}

impl Lines {
    fn write(&self, bytes: &[u8]) {
        let mut partial = self.partial.lock().expect("no panic while held");
        let mut rest = bytes;
        while let Some(end) = rest.iter().position(|b| *b == b'\n') {
            keep(&mut partial, &rest[..end]);
            self.emit(&partial);
            partial.clear();
            rest = &rest[end + 1..];
        }
        keep(&mut partial, rest);
    }

    fn emit(&self, line: &[u8]) {
        let request = self.request.lock().expect("no panic while held").as_ref().map(ToString::to_string);
        let text = String::from_utf8_lossy(line);
        self.log.write(&self.component, request, self.stream, text.trim_end_matches('\r'));
    }
}

/// Adds to an unfinished line what still fits; the rest of a line that is too long is lost.
fn keep(partial: &mut Vec<u8>, bytes: &[u8]) {
    let room = MAX_LINE_BYTES.saturating_sub(partial.len());
    partial.extend_from_slice(&bytes[..bytes.len().min(room)]);
}

impl Drop for Lines {
    fn drop(&mut self) {
        let partial = std::mem::take(self.partial.get_mut().expect("no panic while held"));
        if !partial.is_empty() {
            self.emit(&partial);
        }
    }
}

impl IsTerminal for GuestOutput {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for GuestOutput {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

#[async_trait::async_trait]
impl Pollable for GuestOutput {
    async fn ready(&mut self) {}
}

impl OutputStream for GuestOutput {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.lines.write(&bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(WRITE_BYTES)
    }
}

impl AsyncWrite for GuestOutput {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        self.lines.write(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
