//! Images on this machine's disk: content under its digest, and what references meant when they were last resolved.
//!
//! ```text
//! FOLDER/blobs/sha256/HEX      components, manifests and indexes, each named for its digest
//! FOLDER/references/HEX.json   records: what a reference led to; named for the digest of the reference's text
//! ```
//!
//! Every content is verified when it is read, so neither a power cut, a failing disk nor another program can make a component run that
//! isn't the one that was asked for. All methods block for as long as the disk takes.

mod entries;
mod error;
mod folder;
mod record;

use std::fs::File;
use std::io::Read as _;
use std::path::PathBuf;
use std::sync::Arc;

use berth_model::digest::Digest;
use tracing::warn;

pub use self::entries::{Entry, EntryKind, Prune, Pruned, Verified};
pub use self::error::CacheError;
pub use self::folder::{Folder, Listed, touch};
pub(crate) use self::record::{Record, key, of_digest};
use crate::metrics::Metrics;

/// Where the cache is and how large it gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheSettings {
    /// Its folder, which is made if need be. Several processes may share it.
    pub folder: PathBuf,
    /// The most that components and manifests take, in bytes. Default 4 GiB: some thousand components. What was used longest ago goes
    /// first; what is being read stays.
    pub max_bytes: u64,
    /// The most references that are remembered. Default 10,000, the workloads of a full host; each takes a file of half a KiB.
    pub max_references: usize,
}

impl CacheSettings {
    /// The defaults, in this folder.
    #[must_use]
    pub fn in_folder(folder: PathBuf) -> Self {
        Self { folder, max_bytes: 4 << 30, max_references: 10_000 }
    }
}

/// A cache of images. Clones are the same cache.
#[derive(Clone, Debug)]
pub struct Cache {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    settings: CacheSettings,
    blobs: Folder,
    references: Folder,
    metrics: Arc<Metrics>,
}

/// Whether new content was kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stored {
    Kept,
    /// It is larger than the whole cache, or all that is in the cache is in use.
    NoRoom,
}

impl Cache {
    /// Opens the cache, removes what killed writers left, and makes it as small as it may be.
    ///
    /// # Errors
    /// If the folder can't be made, listed or written.
    pub fn open(settings: CacheSettings) -> Result<Self, CacheError> {
        let blobs = Folder::open(settings.folder.join("blobs").join("sha256"))?;
        let references = Folder::open(settings.folder.join("references"))?;
        let cache = Self { shared: Arc::new(Shared { settings, blobs, references, metrics: Arc::default() }) };
        cache.make_room(0)?;
        cache.bound_references()?;
        Ok(cache)
    }

    /// What happened to it since it was opened.
    #[must_use]
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.shared.metrics
    }

    /// Where it is and how large it gets.
    #[must_use]
    pub fn settings(&self) -> &CacheSettings {
        &self.shared.settings
    }

    /// The content of that digest, verified; `None` if it isn't there. What isn't what its name says, or is longer than `limit_bytes`,
    /// is removed and isn't there.
    pub(crate) fn read(&self, digest: &Digest, limit_bytes: u64) -> Result<Option<Vec<u8>>, CacheError> {
        let name = digest.hex();
        let Some(file) = self.shared.blobs.open_file(name)? else { return Ok(None) };
        let content = whole(&file, limit_bytes).map_err(CacheError::at("reading", &self.shared.blobs.path_of(name)))?;
        match content {
            Some(content) if Digest::of(&content) == *digest => {
                touch(&file);
                Ok(Some(content))
            }
            _ => {
                warn!(%digest, "a file in the image cache was damaged: it is removed, and fetched again when it is needed");
                self.shared.metrics.corrupt.increment();
                self.shared.blobs.discard(name);
                Ok(None)
            }
        }
    }

    /// Keeps content under its digest, which the caller has verified.
    pub(crate) fn write(&self, digest: &Digest, content: &[u8]) -> Result<Stored, CacheError> {
        let bytes = u64::try_from(content.len()).unwrap_or(u64::MAX);
        if !self.make_room(bytes)? {
            return Ok(Stored::NoRoom);
        }
        self.shared.blobs.write(digest.hex(), content)?;
        // Others may have written at the same time.
        self.make_room(0)?;
        Ok(Stored::Kept)
    }

    /// What the reference of that key led to when it was last resolved.
    pub(crate) fn record(&self, key: &str) -> Result<Option<Record>, CacheError> {
        let found = self.record_in(&record::file_name(key))?.filter(|(record, _)| record.reference == key);
        Ok(found.map(|(record, file)| {
            touch(&file);
            record
        }))
    }

    /// The record in a file; one that can't be read as a record is removed.
    fn record_in(&self, name: &str) -> Result<Option<(Record, File)>, CacheError> {
        /// No record is that long: a reference has at most 512 characters, and a digest 71.
        const LIMIT_BYTES: u64 = 16 << 10;
        let Some(file) = self.shared.references.open_file(name)? else { return Ok(None) };
        let content = whole(&file, LIMIT_BYTES).map_err(CacheError::at("reading", &self.shared.references.path_of(name)))?;
        let record = content.and_then(|content| serde_json::from_slice(&content).ok());
        if record.is_none() {
            self.shared.references.discard(name);
        }
        Ok(record.map(|record| (record, file)))
    }

    pub(crate) fn remember(&self, record: &Record) -> Result<(), CacheError> {
        let text = serde_json::to_vec(record).expect("a record is text alone");
        self.shared.references.write(&record::file_name(&record.reference), &text)?;
        self.bound_references()
    }

    /// Removes what was used longest ago until so many bytes more fit; whether they do.
    fn make_room(&self, incoming_bytes: u64) -> Result<bool, CacheError> {
        let room = self.shared.settings.max_bytes.checked_sub(incoming_bytes);
        let Some(room) = room else { return Ok(false) };
        self.shrink(room).map(|(left_bytes, _)| left_bytes <= room)
    }

    /// Forgets the references used longest ago beyond the most that are kept.
    fn bound_references(&self) -> Result<(), CacheError> {
        let mut records = self.shared.references.list()?;
        let Some(excess) = records.len().checked_sub(self.shared.settings.max_references) else { return Ok(()) };
        records.sort_by_key(|record| record.used);
        for record in records.iter().filter(|record| !record.part).take(excess) {
            self.shared.references.remove(&record.name)?;
        }
        Ok(())
    }
}

/// The whole of a file; `None` if it is longer than that.
fn whole(file: &File, limit_bytes: u64) -> std::io::Result<Option<Vec<u8>>> {
    let bytes = file.metadata()?.len();
    if bytes > limit_bytes {
        return Ok(None);
    }
    let mut content = Vec::with_capacity(usize::try_from(bytes).unwrap_or(0));
    file.take(limit_bytes.saturating_add(1)).read_to_end(&mut content)?;
    Ok((u64::try_from(content.len()).unwrap_or(u64::MAX) <= limit_bytes).then_some(content))
}

#[cfg(test)]
mod tests;
