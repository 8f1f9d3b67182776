//! The signal to end, as a guest can notice it.
//!
//! WASI has no signals. What a service can wait for and see end is its standard input: nothing ever comes in on it, and it reaches its
//! end when the service is to end.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::io::{AsyncRead, ReadBuf};
use tokio_util::sync::CancellationToken;
use wasmtime_wasi::cli::{IsTerminal, StdinStream};
use wasmtime_wasi::p2::{InputStream, Pollable, StreamError, StreamResult};

/// A service's standard input.
#[derive(Clone)]
pub(crate) struct UntilTold(CancellationToken);

impl UntilTold {
    /// Ends when `told` is cancelled.
    pub(crate) fn new(told: CancellationToken) -> UntilTold {
        UntilTold(told)
    }
}

impl IsTerminal for UntilTold {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdinStream for UntilTold {
    fn async_stream(&self) -> Box<dyn AsyncRead + Send + Sync> {
        Box::new(Reading(Box::pin(self.0.clone().cancelled_owned())))
    }

    fn p2_stream(&self) -> Box<dyn InputStream> {
        Box::new(self.clone())
    }
}

#[async_trait::async_trait]
impl Pollable for UntilTold {
    async fn ready(&mut self) {
        self.0.cancelled().await;
    }
}

impl InputStream for UntilTold {
    fn read(&mut self, _: usize) -> StreamResult<Bytes> {
        if self.0.is_cancelled() { Err(StreamError::Closed) } else { Ok(Bytes::new()) }
    }
}

/// The same as WASI 0.3 reads it.
struct Reading(Pin<Box<dyn Future<Output = ()> + Send + Sync>>);

impl AsyncRead for Reading {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        // Nothing read is the end.
        self.0.as_mut().poll(cx).map(Ok)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncReadExt;

    #[tokio::test]
    async fn standard_input_ends_when_the_service_is_told_to_end_and_not_before() {
        let told = CancellationToken::new();
        let input = UntilTold::new(told.clone());
        let (mut by_stream, mut by_poll) = (Box::into_pin(input.async_stream()), input.p2_stream());
        assert!(matches!(by_poll.read(10), Ok(bytes) if bytes.is_empty()));
        let mut text = Vec::new();
        assert!(futures::poll!(Box::pin(by_stream.read_to_end(&mut text))).is_pending());
        assert!(futures::poll!(by_poll.ready()).is_pending());
        told.cancel();
        by_poll.ready().await;
        assert!(matches!(by_poll.read(10), Err(StreamError::Closed)));
        assert_eq!(by_stream.read_to_end(&mut text).await.unwrap(), 0);
    }
}
