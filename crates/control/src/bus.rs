//! The bus: what the protocol needs of a message system, no more than core NATS gives.
//!
//! Messages arrive at most once, in order per sender and subject, and are lost while nobody listens, while the connection is
//! down, and when a listener is too slow. Nothing here repairs that: state is compared again and again instead (L06).

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{Stream, StreamExt};
use tokio::sync::watch;

use crate::subjects::InvalidSubject;

/// A connection to a message system.
#[async_trait]
pub trait Bus: Send + Sync + 'static {
    /// Sends `payload` to everybody who listens to `subject`. Success means that the bus took it, not that anybody got it.
    async fn publish(&self, subject: &str, payload: Bytes) -> Result<(), BusError>;

    /// Sends `payload` and waits for the first reply, at most for `deadline`.
    async fn request(&self, subject: &str, payload: Bytes, deadline: Duration) -> Result<Bytes, BusError>;

    /// Listens to all subjects that match `pattern` ([`crate::subjects::matches`]) from now on, until the subscription is
    /// dropped. It lives through outages of the connection.
    async fn subscribe(&self, pattern: &str) -> Result<Subscription, BusError>;

    /// Whether the bus can be reached. While it is `false`, silence says nothing about anybody (L01).
    fn connected(&self) -> watch::Receiver<bool>;

    /// Largest payload that the bus takes, bytes; 64 KiB at least. NATS servers default to 1 MiB.
    fn max_payload(&self) -> usize;
}

/// A message that arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Where it was sent to.
    pub subject: String,
    /// Where the sender waits for a reply, if it does; answer with [`Bus::publish`].
    pub reply: Option<String>,
    /// What was sent.
    pub payload: Bytes,
}

/// Messages that match a pattern, as they arrive; dropping it ends the subscription.
pub struct Subscription {
    messages: BoxStream<'static, Message>,
    lost: LostCount,
}

impl Subscription {
    /// A subscription over a bus's own stream; `lost` is what the bus counts dropped messages in.
    pub fn new(messages: impl Stream<Item = Message> + Send + 'static, lost: LostCount) -> Subscription {
        Subscription { messages: messages.boxed(), lost }
    }

    /// The next message; `None` when the bus has closed. Cancel safe: a message is either returned or still there.
    pub async fn next(&mut self) -> Option<Message> {
        self.messages.next().await
    }

    /// How many messages were dropped since the last call, because the queue was full.
    pub fn take_lost(&mut self) -> u64 {
        self.lost.0.swap(0, Ordering::Relaxed)
    }
}

impl Stream for Subscription {
    type Item = Message;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Message>> {
        self.messages.poll_next_unpin(cx)
    }
}

impl std::fmt::Debug for Subscription {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Subscription").field("lost", &self.lost).finish_non_exhaustive()
    }
}

/// Counts messages that a subscription lost; shared between the bus that drops them and the subscription that tells.
#[derive(Clone, Debug, Default)]
pub struct LostCount(Arc<AtomicU64>);

impl LostCount {
    /// Counts one more.
    pub fn add_one(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// Why the bus didn't do it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BusError {
    /// Nobody listens to the subject.
    #[error("nobody answers on `{subject}`")]
    NoResponders {
        /// Where the request went.
        subject: String,
    },
    /// No reply came in time.
    #[error("no reply from `{subject}` within {deadline:?}")]
    Timeout {
        /// Where the request went.
        subject: String,
        /// How long the reply was waited for.
        deadline: Duration,
    },
    /// The connection is down.
    #[error("the bus is not connected")]
    Disconnected,
    /// The bus has closed a subscription.
    #[error("the bus closed the subscription to `{pattern}`")]
    Closed {
        /// What was listened to.
        pattern: String,
    },
    /// The payload is larger than the bus takes.
    #[error("a message of {bytes} bytes to `{subject}` is larger than the bus takes ({limit} bytes)")]
    TooLarge {
        /// Where it was to go.
        subject: String,
        /// Size of the payload.
        bytes: usize,
        /// Largest payload that the bus takes.
        limit: usize,
    },
    /// The subject or pattern isn't one.
    #[error(transparent)]
    InvalidSubject(#[from] InvalidSubject),
}
