//! Where resources are kept: one trait with Kubernetes' semantics, and the embedded store behind it.
//!
//! What every store promises: each write gives the object a new `resourceVersion` from one growing counter, and an update that
//! was made from an older version is refused ([`StoreError::Conflict`]); `generation` grows only when the spec changes; status is
//! written only by [`Store::update_status`]; a write that would change nothing writes nothing; an object with finalizers outlives its
//! deletion until they are gone; what an object owns goes with it.

mod body;
mod database;
mod embedded;
mod seal;
mod semantics;

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use berth_model::resource::{Kind, ObjectKey, Resource};
use berth_model::validate::InvalidSpec;
use tokio::sync::broadcast;

pub use embedded::EmbeddedStore;
pub(crate) use semantics::kind_of;

/// Finalizer of a Workload: its host stops it before the object goes.
pub const WORKLOAD_FINALIZER: &str = "runtime.wasmcloud.dev/workload-finalizer";

/// Labels and annotations under this prefix are Berth's own: applying a manifest leaves them alone.
pub const OWN_PREFIX: &str = "berth.dev/";

/// Annotation that says what the local images of an object held when it was applied. Whoever applies sets it, so that a file that was
/// built again takes effect although its path is the same.
pub const IMAGES_ANNOTATION: &str = "berth.dev/images";

/// Keeps resources. All calls are safe to make from many tasks at once.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// The object under `key`, if there is one.
    async fn get(&self, key: &ObjectKey) -> Result<Option<Resource>, StoreError>;

    /// All objects of a kind, in one namespace or in all, sorted by namespace and name.
    async fn list(&self, kind: Kind, namespace: Option<&str>) -> Result<Vec<Resource>, StoreError>;

    /// Creates the object, or replaces spec, labels and annotations of the one that is there. The status, uid and version in
    /// `resource` don't count, so that what `get -o yaml` printed can be applied again.
    async fn apply(&self, resource: Resource) -> Result<(Resource, Applied), StoreError>;

    /// Creates the object; [`StoreError::AlreadyExists`] if there is one of its name, [`StoreError::NotFound`] if the object
    /// that is to control it has gone.
    async fn create(&self, resource: Resource) -> Result<Resource, StoreError>;

    /// Replaces spec, labels, annotations, owners and finalizers. An empty `resourceVersion` means "whatever is there".
    async fn update(&self, resource: Resource) -> Result<Resource, StoreError>;

    /// Replaces the status alone.
    async fn update_status(&self, resource: Resource) -> Result<Resource, StoreError>;

    /// Asks for the object's end; false if there was none. With finalizers it stays, marked, until they are gone.
    async fn delete(&self, key: &ObjectKey) -> Result<bool, StoreError>;

    /// Every change from now on.
    fn watch(&self) -> Watch;
}

/// What [`Store::apply`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Applied {
    /// There was no such object.
    Created,
    /// Something changed.
    Configured,
    /// Nothing changed and nothing was written.
    Unchanged,
}

/// One change in a store.
#[derive(Clone, Debug)]
pub enum Change {
    /// An object was made.
    Added(Arc<Resource>),
    /// An object changed.
    Modified(Arc<Resource>),
    /// An object went; this is its last state, under a version of its own.
    Deleted(Arc<Resource>),
    /// The watcher was too slow and missed changes: it has to list again.
    Resync,
}

/// Changes of a store, in order. Bounded: who doesn't keep up gets one [`Change::Resync`] in place of what it missed.
#[derive(Debug)]
pub struct Watch {
    changes: broadcast::Receiver<Change>,
}

impl Watch {
    /// A watch over a store's own channel, for implementations of [`Store`].
    pub fn new(changes: broadcast::Receiver<Change>) -> Watch {
        Watch { changes }
    }

    /// The next change; `None` when the store has closed. Cancel safe.
    pub async fn next(&mut self) -> Option<Change> {
        match self.changes.recv().await {
            Ok(change) => Some(change),
            Err(broadcast::error::RecvError::Lagged(_)) => Some(self.restart()),
            Err(broadcast::error::RecvError::Closed) => None,
        }
    }

    /// The next change if there is one already.
    pub fn try_next(&mut self) -> Option<Change> {
        match self.changes.try_recv() {
            Ok(change) => Some(change),
            Err(broadcast::error::TryRecvError::Lagged(_)) => Some(self.restart()),
            Err(broadcast::error::TryRecvError::Empty | broadcast::error::TryRecvError::Closed) => None,
        }
    }

    /// What is still queued is older than the list that the watcher is about to make, so it is skipped too.
    fn restart(&mut self) -> Change {
        self.changes = self.changes.resubscribe();
        Change::Resync
    }
}

/// Why a store refused or failed. Cheap to clone: one failed commit fails every write in it.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// There is no such object.
    #[error("{0} doesn't exist")]
    NotFound(ObjectKey),
    /// There is one of that name already.
    #[error("{0} already exists")]
    AlreadyExists(ObjectKey),
    /// The object isn't what the writer thought.
    #[error("{key} can't be written: {detail}")]
    Conflict {
        /// The object.
        key: ObjectKey,
        /// What differs, and what to do.
        detail: String,
    },
    /// The object breaks a rule.
    #[error(transparent)]
    Invalid(#[from] InvalidSpec),
    /// What is on disk isn't what was written.
    #[error("{key} in {} is damaged: {detail}; restore the file from a copy, or move it away to start empty", path.display())]
    Corrupt {
        /// The damaged object, or "the database".
        key: String,
        /// The database file.
        path: PathBuf,
        /// What is wrong.
        detail: String,
    },
    /// Values of Secrets can't be opened without their key.
    #[error(
        "{secrets} in {} can't be opened: the key is in {}, {}; put back the one from a copy, or, if it is lost, remove those Secrets with \
         `berth secret discard` and set them again",
        path.display(), key.display(), if *there { "and the one that is there isn't theirs" } else { "which isn't there" }
    )]
    KeyMissing {
        /// The Secrets: `3 Secrets`.
        secrets: String,
        /// The database file.
        path: PathBuf,
        /// The file of the key.
        key: PathBuf,
        /// Whether it is there, with another key.
        there: bool,
    },
    /// The file that should have the key can't be used as one.
    #[error("the key of Secrets {} {why}", path.display())]
    KeyUnusable {
        /// The file.
        path: PathBuf,
        /// What is wrong, and what to do.
        why: String,
    },
    /// A newer Berth wrote the file.
    #[error(
        "{} was written by a newer berth (schema {found}; this one knows up to {known}): use that version, or another data folder",
        path.display()
    )]
    Newer {
        /// The database file.
        path: PathBuf,
        /// Schema version in the file.
        found: i64,
        /// Latest schema version this build knows.
        known: i64,
    },
    /// The file is a database of something else.
    #[error("{} is a database, but not one of berth's: choose another data folder", path.display())]
    Foreign {
        /// The database file.
        path: PathBuf,
    },
    /// Another process holds the file.
    #[error("{} is in use by another process", path.display())]
    InUse {
        /// The database file.
        path: PathBuf,
    },
    /// The file system failed.
    #[error("can't use {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: Arc<std::io::Error>,
    },
    /// The database failed, for instance because the disk is full; what was being written isn't kept.
    #[error("the store's database failed to {doing}")]
    Database {
        /// What it was about to do.
        doing: &'static str,
        /// What the database said.
        #[source]
        source: Arc<rusqlite::Error>,
    },
    /// The store has shut down.
    #[error("the store is closed")]
    Closed,
}
