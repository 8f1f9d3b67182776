//! The bus within one process: `berth up`, and tests, which can also play outages with it.
//!
//! It behaves like core NATS: at most once, wildcards, replies to an inbox, an error when nobody listens, bounded queues whose
//! overflow is dropped and counted. Every handle made by [`MemoryBus::connect`] is a connection that can be cut by itself.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::Stream;
use tokio::sync::{mpsc, watch};

use crate::bus::{Bus, BusError, LostCount, Message, Subscription};
use crate::subjects::{check_pattern, check_subject, has_wildcard, matches};

/// Bounds of a [`MemoryBus`].
#[derive(Clone, Copy, Debug)]
pub struct MemoryBusConfig {
    /// Messages that wait in one subscription; more are dropped and counted. 4,096: heartbeats of that many hosts.
    pub queue: usize,
    /// Largest payload, bytes. 1 MiB: what NATS servers take by default, so that what works here works there.
    pub max_payload: usize,
}

impl Default for MemoryBusConfig {
    fn default() -> MemoryBusConfig {
        MemoryBusConfig { queue: 4096, max_payload: 1 << 20 }
    }
}

/// A connection to a bus that lives in this process. Clones are the same connection.
#[derive(Clone, Debug)]
pub struct MemoryBus {
    broker: Arc<Broker>,
    up: watch::Sender<bool>,
}

impl Default for MemoryBus {
    fn default() -> MemoryBus {
        MemoryBus::new(MemoryBusConfig::default())
    }
}

impl MemoryBus {
    /// A new bus, and a first connection to it.
    pub fn new(config: MemoryBusConfig) -> MemoryBus {
        let broker = Broker { config, last_id: AtomicU64::new(0), subscriptions: Mutex::default() };
        MemoryBus { broker: Arc::new(broker), up: watch::Sender::new(true) }
    }

    /// One more connection to the same bus.
    pub fn connect(&self) -> MemoryBus {
        MemoryBus { broker: Arc::clone(&self.broker), up: watch::Sender::new(true) }
    }

    /// Cuts this connection, or restores it. While it is cut it sends nothing, and what others send doesn't reach its
    /// subscriptions.
    pub fn set_connected(&self, connected: bool) {
        self.up.send_if_modified(|up| std::mem::replace(up, connected) != connected);
    }

    fn check(&self, subject: &str, payload: &Bytes) -> Result<(), BusError> {
        check_subject(subject)?;
        let limit = self.broker.config.max_payload;
        if payload.len() > limit {
            return Err(BusError::TooLarge { subject: subject.to_owned(), bytes: payload.len(), limit });
        }
        if !*self.up.borrow() {
            return Err(BusError::Disconnected);
        }
        Ok(())
    }

    fn open(&self, pattern: &str, queue: usize) -> Subscription {
        let (sender, receiver) = mpsc::channel(queue);
        let lost = LostCount::default();
        let id = self.broker.next_id();
        let entry = Entry { id, queue: sender, lost: lost.clone(), up: self.up.subscribe() };
        self.broker.lock().add(pattern, entry);
        let messages = Messages { receiver, broker: Arc::clone(&self.broker), id, pattern: pattern.to_owned() };
        Subscription::new(messages, lost)
    }
}

#[async_trait]
impl Bus for MemoryBus {
    async fn publish(&self, subject: &str, payload: Bytes) -> Result<(), BusError> {
        self.check(subject, &payload)?;
        self.broker.deliver(subject, None, &payload);
        Ok(())
    }

    async fn request(&self, subject: &str, payload: Bytes, deadline: Duration) -> Result<Bytes, BusError> {
        self.check(subject, &payload)?;
        let inbox = format!("_INBOX.{}", self.broker.next_id());
        let mut replies = self.open(&inbox, 1);
        if self.broker.deliver(subject, Some(&inbox), &payload) == 0 {
            return Err(BusError::NoResponders { subject: subject.to_owned() });
        }
        match tokio::time::timeout(deadline, replies.next()).await {
            Ok(Some(reply)) => Ok(reply.payload),
            Ok(None) | Err(_) => Err(BusError::Timeout { subject: subject.to_owned(), deadline }),
        }
    }

    async fn subscribe(&self, pattern: &str) -> Result<Subscription, BusError> {
        check_pattern(pattern)?;
        Ok(self.open(pattern, self.broker.config.queue))
    }

    fn connected(&self) -> watch::Receiver<bool> {
        self.up.subscribe()
    }

    fn max_payload(&self) -> usize {
        self.broker.config.max_payload
    }
}

/// What all connections share.
#[derive(Debug)]
struct Broker {
    config: MemoryBusConfig,
    last_id: AtomicU64,
    subscriptions: Mutex<Subscriptions>,
}

impl Broker {
    fn next_id(&self) -> u64 {
        self.last_id.fetch_add(1, Ordering::Relaxed)
    }

    fn lock(&self) -> MutexGuard<'_, Subscriptions> {
        // Nothing panics while it is held, and a map of subscriptions can't be half-changed.
        self.subscriptions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts the message into the queue of every connected subscription that matches; returns how many those are, also the
    /// ones whose queue was full.
    fn deliver(&self, subject: &str, reply: Option<&str>, payload: &Bytes) -> usize {
        let subscriptions = self.lock();
        let mut count = 0;
        for entry in subscriptions.matching(subject).filter(|entry| *entry.up.borrow()) {
            count += 1;
            let message = Message { subject: subject.to_owned(), reply: reply.map(str::to_owned), payload: payload.clone() };
            if entry.queue.try_send(message).is_err() {
                entry.lost.add_one();
            }
        }
        count
    }
}

/// Who listens to what. Most subjects are listened to by name, so only patterns are searched.
#[derive(Debug, Default)]
struct Subscriptions {
    exact: HashMap<String, Vec<Entry>>,
    patterns: Vec<(String, Entry)>,
}

impl Subscriptions {
    fn add(&mut self, pattern: &str, entry: Entry) {
        if has_wildcard(pattern) {
            self.patterns.push((pattern.to_owned(), entry));
        } else {
            self.exact.entry(pattern.to_owned()).or_default().push(entry);
        }
    }

    fn remove(&mut self, pattern: &str, id: u64) {
        if let Some(entries) = self.exact.get_mut(pattern) {
            entries.retain(|entry| entry.id != id);
            if entries.is_empty() {
                self.exact.remove(pattern);
            }
        }
        self.patterns.retain(|(_, entry)| entry.id != id);
    }

    fn matching(&self, subject: &str) -> impl Iterator<Item = &Entry> {
        let patterns = self.patterns.iter().filter(move |(pattern, _)| matches(pattern, subject)).map(|(_, entry)| entry);
        self.exact.get(subject).into_iter().flatten().chain(patterns)
    }
}

/// A listener's queue.
#[derive(Debug)]
struct Entry {
    id: u64,
    queue: mpsc::Sender<Message>,
    lost: LostCount,
    up: watch::Receiver<bool>,
}

/// The receiving end of a subscription; leaves the broker when dropped.
struct Messages {
    receiver: mpsc::Receiver<Message>,
    broker: Arc<Broker>,
    id: u64,
    pattern: String,
}

impl Stream for Messages {
    type Item = Message;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Message>> {
        self.receiver.poll_recv(cx)
    }
}

impl Drop for Messages {
    fn drop(&mut self) {
        self.broker.lock().remove(&self.pattern, self.id);
    }
}
