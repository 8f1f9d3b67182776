//! The store of one process: all objects in memory, every write in SQLite before it is acknowledged.
//!
//! One thread of its own writes. It takes what has queued up and commits it as one transaction, so that a burst of writes costs
//! few syncs of the disk. Readers see only what is committed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{JoinHandle, Thread};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use berth_model::resource::{Kind, ObjectKey, Resource};
use jiff::Timestamp;
use tokio::sync::mpsc::error::TryRecvError;
use tokio::sync::{broadcast, mpsc, oneshot};

use super::database::Database;
use super::semantics::{Delta, Outcome, State, Write};
use super::{Applied, Change, Store, StoreError, Watch};
use crate::plan::MarkKey;

/// Writes that may wait for the writer; more wait at the caller.
const QUEUE: usize = 1024;
/// Writes in one transaction.
const BATCH: usize = 256;
/// Changes a watcher may be behind before it has to list again.
const WATCH: usize = 8192;
/// Time until what deleted objects owned is collected again, when that failed; it doubles up to [`COLLECT_MAX`], each time that it fails.
const COLLECT_FIRST: Duration = Duration::from_secs(1);
/// See [`COLLECT_FIRST`].
const COLLECT_MAX: Duration = Duration::from_secs(60);

type Objects = Arc<RwLock<BTreeMap<ObjectKey, Arc<Resource>>>>;
type Reply = oneshot::Sender<Result<Outcome, StoreError>>;

/// The key of a database's Secrets.
fn key_file(path: &Path) -> PathBuf {
    path.with_file_name("secrets.key")
}

/// See the module. Dropping it waits for the commit in progress and closes the file.
#[derive(Debug)]
pub struct EmbeddedStore {
    objects: Objects,
    changes: broadcast::Sender<Change>,
    mark_key: MarkKey,
    /// `None` only while it is dropped.
    writes: Option<mpsc::Sender<(Write, Reply)>>,
    writer: Option<JoinHandle<()>>,
}

impl EmbeddedStore {
    /// Opens the database file at `path`, or makes it and the folders above it. Blocks for as long as reading all objects
    /// takes.
    ///
    /// Values of Secrets are sealed with a key in a file of its own beside it, `secrets.key`, which is made where there is none. Without
    /// that key the Secrets can't be read, and nothing is opened ([`StoreError::KeyMissing`]).
    pub fn open(path: &Path) -> Result<EmbeddedStore, StoreError> {
        let (database, loaded) = Database::open(path, &key_file(path))?;
        EmbeddedStore::start(database, State::new(loaded.objects, loaded.version))
    }

    /// A store that keeps nothing after the process.
    pub fn in_memory() -> Result<EmbeddedStore, StoreError> {
        let (database, loaded) = Database::in_memory()?;
        EmbeddedStore::start(database, State::new(loaded.objects, loaded.version))
    }

    /// Removes the Secrets that the key beside the database file doesn't open, because it was lost or something was changed. Nothing else
    /// is touched. Returns their keys. No store may have the file open.
    pub fn discard_unopened(path: &Path) -> Result<Vec<ObjectKey>, StoreError> {
        Database::discard_unopened(path, &key_file(path))
    }

    /// What stands for values of Secrets in plans, as long as the store keeps its key.
    pub fn mark_key(&self) -> MarkKey {
        self.mark_key.clone()
    }

    fn start(database: Database, state: State) -> Result<EmbeddedStore, StoreError> {
        let objects: Objects = Arc::new(RwLock::new(state.objects().clone()));
        let mark_key = database.key().marks();
        let changes = broadcast::Sender::new(WATCH);
        let (writes, queue) = mpsc::channel(QUEUE);
        let writer = Writer { queue, state, database, objects: objects.clone(), changes: changes.clone() };
        let writer = std::thread::Builder::new()
            .name("berth-store".to_owned())
            .spawn(move || writer.run())
            .map_err(|source| StoreError::Io { path: "the store's thread".into(), source: Arc::new(source) })?;
        Ok(EmbeddedStore { objects, changes, mark_key, writes: Some(writes), writer: Some(writer) })
    }

    async fn write(&self, write: Write) -> Result<Outcome, StoreError> {
        let (reply, outcome) = oneshot::channel();
        let writes = self.writes.as_ref().ok_or(StoreError::Closed)?;
        writes.send((write, reply)).await.map_err(|_| StoreError::Closed)?;
        outcome.await.map_err(|_| StoreError::Closed)?
    }

    async fn written(&self, write: Write) -> Result<(Resource, Applied), StoreError> {
        match self.write(write).await? {
            Outcome::Written(resource, applied) => Ok(((*resource).clone(), applied)),
            Outcome::Deleted(_) => Err(StoreError::Closed),
        }
    }
}

impl Drop for EmbeddedStore {
    fn drop(&mut self) {
        self.writes = None;
        if let Some(writer) = self.writer.take() {
            // A writer that panicked has nothing left to wait for.
            let _ = writer.join();
        }
    }
}

#[async_trait]
impl Store for EmbeddedStore {
    async fn get(&self, key: &ObjectKey) -> Result<Option<Resource>, StoreError> {
        let found = self.objects.read().unwrap_or_else(PoisonError::into_inner).get(key).cloned();
        Ok(found.map(|object| (*object).clone()))
    }

    async fn list(&self, kind: Kind, namespace: Option<&str>) -> Result<Vec<Resource>, StoreError> {
        let from = ObjectKey { kind, namespace: namespace.unwrap_or_default().to_owned(), name: String::new() };
        let found: Vec<Arc<Resource>> = {
            let objects = self.objects.read().unwrap_or_else(PoisonError::into_inner);
            let within = |key: &ObjectKey| key.kind == kind && namespace.is_none_or(|n| n == key.namespace);
            objects.range(from..).take_while(|(key, _)| within(key)).map(|(_, object)| object.clone()).collect()
        };
        Ok(found.iter().map(|object| (**object).clone()).collect())
    }

    async fn apply(&self, resource: Resource) -> Result<(Resource, Applied), StoreError> {
        self.written(Write::Apply(resource)).await
    }

    async fn create(&self, resource: Resource) -> Result<Resource, StoreError> {
        Ok(self.written(Write::Create(resource)).await?.0)
    }

    async fn update(&self, resource: Resource) -> Result<Resource, StoreError> {
        Ok(self.written(Write::Update(resource)).await?.0)
    }

    async fn update_status(&self, resource: Resource) -> Result<Resource, StoreError> {
        Ok(self.written(Write::UpdateStatus(resource)).await?.0)
    }

    async fn delete(&self, key: &ObjectKey) -> Result<bool, StoreError> {
        match self.write(Write::Delete(key.clone())).await? {
            Outcome::Deleted(there) => Ok(there),
            Outcome::Written(..) => Err(StoreError::Closed),
        }
    }

    fn watch(&self) -> Watch {
        Watch::new(self.changes.subscribe())
    }
}

/// The writing thread's own.
struct Writer {
    queue: mpsc::Receiver<(Write, Reply)>,
    state: State,
    database: Database,
    objects: Objects,
    changes: broadcast::Sender<Change>,
}

/// When collecting that failed is tried again.
#[derive(Default)]
struct Retry {
    /// `None`: at once.
    at: Option<Instant>,
    /// The last wait; zero if it didn't fail.
    wait: Duration,
}

impl Retry {
    /// Time until it is due.
    fn left(&self, now: Instant) -> Duration {
        self.at.map_or(Duration::ZERO, |at| at.saturating_duration_since(now))
    }

    fn succeeded(&mut self) {
        *self = Retry::default();
    }

    fn failed(&mut self, now: Instant) {
        self.wait = (self.wait * 2).clamp(COLLECT_FIRST, COLLECT_MAX);
        self.at = Some(now + self.wait);
    }
}

impl Writer {
    fn run(mut self) {
        let mut retry = Retry::default();
        loop {
            let patience = self.state.has_orphans().then(|| retry.left(Instant::now()));
            let Some(batch) = self.batch(patience) else { return };
            if !batch.is_empty() && self.perform(batch) {
                // The disk is well again.
                retry.at = None;
            }
            if self.state.has_orphans() && retry.left(Instant::now()).is_zero() {
                if self.collect() { retry.succeeded() } else { retry.failed(Instant::now()) }
            }
        }
    }

    /// The next writes: none if none came within `patience`, which is for ever if it isn't given. `None` when the store is dropped.
    fn batch(&mut self, patience: Option<Duration>) -> Option<Vec<(Write, Reply)>> {
        let mut batch = Vec::new();
        match patience {
            None => batch.push(self.queue.blocking_recv()?),
            Some(Duration::ZERO) => {}
            Some(patience) => match recv_within(&mut self.queue, patience) {
                Poll::Ready(first) => batch.push(first?),
                Poll::Pending => return Some(batch),
            },
        }
        while batch.len() < BATCH {
            match self.queue.try_recv() {
                Ok(next) => batch.push(next),
                Err(TryRecvError::Empty) => break,
                // What is left to collect is found when the file is opened again.
                Err(TryRecvError::Disconnected) if batch.is_empty() => return None,
                Err(TryRecvError::Disconnected) => break,
            }
        }
        Some(batch)
    }

    /// A step of deleting what has lost its owner. Says whether it succeeded.
    fn collect(&mut self) -> bool {
        let mut deltas = Vec::new();
        self.state.collect(Timestamp::now(), &mut deltas);
        let committed = self.commit(&deltas);
        if let Err(error) = &committed {
            tracing::warn!(error = crate::describe(error), "what deleted objects owned can't be deleted; it is tried again");
        }
        committed.is_ok()
    }

    /// Makes steps durable and shows them, or takes them back.
    fn commit(&mut self, deltas: &[Delta]) -> Result<(), StoreError> {
        let committed = if deltas.is_empty() { Ok(()) } else { self.database.commit(deltas, self.state.version()) };
        match &committed {
            Ok(()) => self.publish(deltas),
            Err(_) => self.state.undo(deltas),
        }
        committed
    }

    /// Says whether something was made durable.
    fn perform(&mut self, batch: Vec<(Write, Reply)>) -> bool {
        let now = Timestamp::now();
        let mut deltas = Vec::new();
        let done: Vec<_> = batch.into_iter().map(|(write, reply)| (self.state.perform(write, now, &mut deltas), reply)).collect();
        let committed = self.commit(&deltas);
        for (outcome, reply) in done {
            // Also a write that was refused may have been so because of one that isn't kept.
            let outcome = committed.clone().and(outcome);
            // A caller that has gone away needs no answer.
            let _ = reply.send(outcome);
        }
        committed.is_ok() && !deltas.is_empty()
    }

    /// Shows what is committed to readers, then tells watchers.
    fn publish(&self, deltas: &[Delta]) {
        {
            let mut objects = self.objects.write().unwrap_or_else(PoisonError::into_inner);
            for delta in deltas {
                match &delta.after {
                    Some(object) => objects.insert(delta.key(), object.clone()),
                    None => objects.remove(&delta.key()),
                };
            }
        }
        for delta in deltas {
            // Without watchers nobody hears it.
            let _ = self.changes.send(change(delta));
        }
    }
}

/// What comes within `patience`; blocks this thread. `Pending` if nothing did.
fn recv_within<T>(queue: &mut mpsc::Receiver<T>, patience: Duration) -> Poll<Option<T>> {
    let due = Instant::now() + patience;
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    loop {
        let next = queue.poll_recv(&mut Context::from_waker(&waker));
        let left = due.saturating_duration_since(Instant::now());
        if next.is_ready() || left.is_zero() {
            return next;
        }
        std::thread::park_timeout(left);
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

fn change(delta: &Delta) -> Change {
    match (&delta.before, &delta.after) {
        (None, Some(object)) => Change::Added(object.clone()),
        (_, Some(object)) => Change::Modified(object.clone()),
        (before, None) => {
            let mut last = before.as_deref().cloned().expect("what goes was there");
            last.metadata_mut().resource_version = delta.version.to_string();
            Change::Deleted(Arc::new(last))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn collecting_that_fails_is_tried_again_after_a_second_and_after_a_minute_at_most() {
        let (mut retry, now) = (Retry::default(), Instant::now());
        assert_eq!(retry.left(now), Duration::ZERO);
        let waits: Vec<u64> = (0..9)
            .map(|_| {
                retry.failed(now);
                retry.left(now).as_secs()
            })
            .collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
        retry.succeeded();
        retry.failed(now);
        assert_eq!(retry.left(now), COLLECT_FIRST);
    }

    #[test]
    fn a_write_ends_the_wait_for_it_and_so_does_its_time() {
        let (sender, mut queue) = mpsc::channel(1);
        assert_eq!(recv_within(&mut queue, Duration::from_millis(1)), Poll::Pending);
        let writer = std::thread::spawn(move || sender.blocking_send(1));
        assert_eq!(recv_within(&mut queue, COLLECT_MAX), Poll::Ready(Some(1)));
        writer.join().unwrap().unwrap();
        assert_eq!(recv_within(&mut queue, COLLECT_MAX), Poll::Ready(None));
    }
}
