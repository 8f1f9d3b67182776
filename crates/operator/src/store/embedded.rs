//! The store of one process: all objects in memory, every write in SQLite before it is acknowledged.
//!
//! One thread of its own writes. It takes what has queued up and commits it as one transaction, so that a burst of writes costs
//! few syncs of the disk. Readers see only what is committed.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};
use std::thread::JoinHandle;

use async_trait::async_trait;
use berth_model::resource::{Kind, ObjectKey, Resource};
use jiff::Timestamp;
use tokio::sync::mpsc::error::TryRecvError;
use tokio::sync::{broadcast, mpsc, oneshot};

use super::database::Database;
use super::semantics::{Delta, Outcome, State, Write};
use super::{Applied, Change, Store, StoreError, Watch};

/// Writes that may wait for the writer; more wait at the caller.
const QUEUE: usize = 1024;
/// Writes in one transaction.
const BATCH: usize = 256;
/// Changes a watcher may be behind before it has to list again.
const WATCH: usize = 8192;

type Objects = Arc<RwLock<BTreeMap<ObjectKey, Arc<Resource>>>>;
type Reply = oneshot::Sender<Result<Outcome, StoreError>>;

/// See the module. Dropping it waits for the commit in progress and closes the file.
#[derive(Debug)]
pub struct EmbeddedStore {
    objects: Objects,
    changes: broadcast::Sender<Change>,
    /// `None` only while it is dropped.
    writes: Option<mpsc::Sender<(Write, Reply)>>,
    writer: Option<JoinHandle<()>>,
}

impl EmbeddedStore {
    /// Opens the database file at `path`, or makes it and the folders above it. Blocks for as long as reading all objects
    /// takes.
    pub fn open(path: &Path) -> Result<EmbeddedStore, StoreError> {
        let (database, loaded) = Database::open(path)?;
        EmbeddedStore::start(database, State::new(loaded.objects, loaded.version))
    }

    /// A store that keeps nothing after the process.
    pub fn in_memory() -> Result<EmbeddedStore, StoreError> {
        let (database, loaded) = Database::in_memory()?;
        EmbeddedStore::start(database, State::new(loaded.objects, loaded.version))
    }

    fn start(database: Database, state: State) -> Result<EmbeddedStore, StoreError> {
        let objects: Objects = Arc::new(RwLock::new(state.objects().clone()));
        let changes = broadcast::Sender::new(WATCH);
        let (writes, queue) = mpsc::channel(QUEUE);
        let writer = Writer { queue, state, database, objects: objects.clone(), changes: changes.clone() };
        let writer = std::thread::Builder::new()
            .name("berth-store".to_owned())
            .spawn(move || writer.run())
            .map_err(|source| StoreError::Io { path: "the store's thread".into(), source: Arc::new(source) })?;
        Ok(EmbeddedStore { objects, changes, writes: Some(writes), writer: Some(writer) })
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

impl Writer {
    fn run(mut self) {
        // Until a write has been made again, when collecting failed.
        let mut may_collect = true;
        loop {
            let collects = may_collect && self.state.has_orphans();
            let mut batch = Vec::new();
            if !collects {
                let Some(first) = self.queue.blocking_recv() else { return };
                batch.push(first);
            }
            while batch.len() < BATCH {
                match self.queue.try_recv() {
                    Ok(next) => batch.push(next),
                    Err(TryRecvError::Empty) => break,
                    // What is left to collect is found when the file is opened again.
                    Err(TryRecvError::Disconnected) if batch.is_empty() => return,
                    Err(TryRecvError::Disconnected) => break,
                }
            }
            if !batch.is_empty() {
                self.perform(batch);
                may_collect = true;
            }
            if collects {
                may_collect = self.collect();
            }
        }
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

    fn perform(&mut self, batch: Vec<(Write, Reply)>) {
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
