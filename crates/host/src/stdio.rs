//! A guest's standard output and error as log lines.

use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::io::AsyncWrite;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamResult};

use crate::egress::Asker;
use crate::logs::{MAX_LINE_BYTES, Stream};

/// Bytes a guest may write at once; it comes back for the rest, and others get their turn between.
const WRITE_BYTES: usize = 64 << 10;

/// One output of one instance. Never blocks: lines beyond the workload's rate are counted and dropped.
#[derive(Clone)]
pub(crate) struct GuestOutput {
    lines: Arc<Lines>,
}

struct Lines {
    asker: Arc<Asker>,
    stream: Stream,
    /// The line that has not ended yet.
    partial: Mutex<Vec<u8>>,
}

impl GuestOutput {
    pub(crate) fn new(asker: Arc<Asker>, stream: Stream) -> GuestOutput {
        GuestOutput { lines: Arc::new(Lines { asker, stream, partial: Mutex::default() }) }
    }

    /// Ends the line that has not ended, for what follows is another request's.
    pub(crate) fn end_line(&self) {
        let partial = std::mem::take(&mut *self.lines.partial.lock().expect("no panic while held"));
        if !partial.is_empty() {
            self.lines.emit(&partial);
        }
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
        let text = String::from_utf8_lossy(line);
        let component = &self.asker.component;
        component.log.write(&component.name, self.asker.request(), self.stream, text.trim_end_matches('\r'));
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
        let taken = &bytes[..bytes.len().min(WRITE_BYTES)];
        self.lines.write(taken);
        Poll::Ready(Ok(taken.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn l44_one_write_takes_no_more_than_a_turn_is_worth() {
        let (component, _logs) = crate::component::tests::component();
        let mut output = GuestOutput::new(Asker::new(component, None), Stream::Stdout);
        let huge = vec![b'\n'; 16 << 20];
        let taken = std::future::poll_fn(|cx| Pin::new(&mut output).poll_write(cx, &huge)).await.unwrap();
        assert_eq!(taken, WRITE_BYTES);
        let taken = std::future::poll_fn(|cx| Pin::new(&mut output).poll_write(cx, b"last")).await.unwrap();
        assert_eq!(taken, 4);
    }
}
