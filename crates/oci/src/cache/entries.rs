//! What a person does with the cache: look at it, make it smaller, check it.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read as _};
use std::time::{Duration, SystemTime};

use berth_model::digest::Digest;

use super::Cache;
use super::error::CacheError;
use super::folder::Listed;
use super::record::Record;
use crate::hash::Hashing;

/// One file of the cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name and what its content hashes to.
    pub digest: Digest,
    /// Its size.
    pub bytes: u64,
    /// When it was written or last read.
    pub last_used: SystemTime,
    /// What it is.
    pub kind: EntryKind,
    /// The references that lead to it, sorted: `registry/repository:tag` and `registry/repository@digest`.
    pub references: Vec<String>,
}

/// What a file of the cache is, by the references that lead to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum EntryKind {
    /// A component.
    Component,
    /// A manifest or an index.
    Manifest,
    /// No reference leads to it any more.
    Unreferenced,
}

/// What to remove.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prune {
    /// Everything.
    All,
    /// What was used longest ago, until so many bytes are left.
    ToBytes(u64),
    /// What wasn't used for so long.
    UnusedFor(Duration),
}

/// What was removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Files removed.
    pub entries: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Files that should have been removed and are being read.
    pub in_use: u64,
}

/// What [`Cache::verify`] found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verified {
    /// Files that are what their names say.
    pub good: u64,
    /// Their bytes.
    pub good_bytes: u64,
    /// Names of the files that weren't, sorted; they were removed.
    pub removed: Vec<String>,
    /// Names of the files that couldn't be read, sorted, each with what the system said. They stay: it may be the disk, or a moment's want
    /// of something else.
    pub unreadable: Vec<(String, String)>,
}

impl Verified {
    /// Adds what checking one file gave: whether it is good, or that it is gone. Whether it is to be removed.
    pub fn add(&mut self, name: &str, bytes: u64, checked: Result<Option<bool>, CacheError>) -> bool {
        match &checked {
            // It was removed meanwhile.
            Ok(None) => {}
            Ok(Some(true)) => {
                self.good += 1;
                self.good_bytes += bytes;
            }
            Ok(Some(false)) => self.removed.push(name.to_owned()),
            Err(error) => self.unreadable.push((name.to_owned(), error.io().to_string())),
        }
        matches!(checked, Ok(Some(false)))
    }

    /// All of it, in order.
    #[must_use]
    pub fn sorted(mut self) -> Verified {
        self.removed.sort();
        self.unreadable.sort();
        self
    }
}

impl Cache {
    /// What is in the cache, the most recently used first.
    ///
    /// # Errors
    /// If the folder can't be read.
    pub fn entries(&self) -> Result<Vec<Entry>, CacheError> {
        let records = self.records()?;
        let entry = |file: Listed| Some(entry(digest_of(&file)?, &file, &records));
        let mut entries: Vec<_> = self.shared.blobs.list()?.into_iter().filter_map(entry).collect();
        entries.sort_by(|a, b| b.last_used.cmp(&a.last_used).then_with(|| a.digest.cmp(&b.digest)));
        Ok(entries)
    }

    /// How much the cache takes, in bytes, with what is being written.
    ///
    /// # Errors
    /// If the folder can't be listed.
    pub fn bytes(&self) -> Result<u64, CacheError> {
        Ok(self.shared.blobs.list()?.iter().map(|file| file.bytes).sum())
    }

    /// Removes what `prune` says, and the references that lead nowhere then. What is being read stays.
    ///
    /// # Errors
    /// If the folder can't be read or written.
    pub fn prune(&self, prune: Prune) -> Result<Pruned, CacheError> {
        let pruned = match prune {
            Prune::All => self.shrink(0)?.1,
            Prune::ToBytes(bytes) => self.shrink(bytes)?.1,
            Prune::UnusedFor(age) => self.remove_unused(age)?,
        };
        self.forget_dangling()?;
        Ok(pruned)
    }

    /// Hashes every file and removes those that aren't what their names say. One that can't be read is noted, and doesn't end it.
    ///
    /// # Errors
    /// If the folder can't be listed.
    pub fn verify(&self) -> Result<Verified, CacheError> {
        let mut verified = Verified::default();
        for file in self.shared.blobs.list()?.into_iter().filter(|file| !file.part) {
            if verified.add(&file.name, file.bytes, self.is_good(&file)) {
                self.shared.blobs.discard(&file.name);
                self.shared.metrics.corrupt.increment();
            }
        }
        self.forget_dangling()?;
        Ok(verified.sorted())
    }

    /// Whether a file is what its name says; none if it isn't there any more.
    fn is_good(&self, file: &Listed) -> Result<Option<bool>, CacheError> {
        let Some(handle) = self.shared.blobs.open_file(&file.name)? else { return Ok(None) };
        let actual = hash(handle).map_err(CacheError::at("reading", &self.shared.blobs.path_of(&file.name)))?;
        Ok(Some(digest_of(file) == Some(actual)))
    }

    /// Removes what was used longest ago until at most so many bytes are left; how many are, and what was removed.
    pub(super) fn shrink(&self, max_bytes: u64) -> Result<(u64, Pruned), CacheError> {
        let mut files = self.shared.blobs.list()?;
        let mut left_bytes: u64 = files.iter().map(|file| file.bytes).sum();
        let mut pruned = Pruned::default();
        if left_bytes <= max_bytes && max_bytes > 0 {
            return Ok((left_bytes, pruned));
        }
        files.retain(|file| !file.part);
        files.sort_by(|a, b| a.used.cmp(&b.used).then_with(|| a.name.cmp(&b.name)));
        for file in &files {
            if left_bytes <= max_bytes && max_bytes > 0 {
                break;
            }
            if self.evict(file, &mut pruned)? {
                left_bytes = left_bytes.saturating_sub(file.bytes);
            }
        }
        Ok((left_bytes, pruned))
    }

    fn remove_unused(&self, age: Duration) -> Result<Pruned, CacheError> {
        let mut pruned = Pruned::default();
        let Some(oldest) = SystemTime::now().checked_sub(age) else { return Ok(pruned) };
        for file in self.shared.blobs.list()?.iter().filter(|file| !file.part && file.used < oldest) {
            self.evict(file, &mut pruned)?;
        }
        Ok(pruned)
    }

    /// Removes one file unless it is in use; whether it is gone.
    fn evict(&self, file: &Listed, pruned: &mut Pruned) -> Result<bool, CacheError> {
        let gone = self.shared.blobs.remove(&file.name)?;
        if gone {
            pruned.entries += 1;
            pruned.bytes += file.bytes;
            self.shared.metrics.evictions.increment();
            self.shared.metrics.evicted_bytes.add(file.bytes);
        } else {
            pruned.in_use += 1;
        }
        Ok(gone)
    }

    /// Forgets the references whose content isn't there in whole.
    fn forget_dangling(&self) -> Result<(), CacheError> {
        let there: BTreeSet<String> = self.shared.blobs.list()?.into_iter().map(|file| file.name).collect();
        for file in self.shared.references.list()?.iter().filter(|file| !file.part) {
            let record = match self.record_in(&file.name) {
                Ok(record) => record,
                Err(error) => {
                    tracing::warn!(%error, "a reference in the image cache can't be read, and stays");
                    continue;
                }
            };
            let whole = record.is_some_and(|(record, _)| {
                [&record.root, &record.manifest, &record.component].iter().all(|digest| there.contains(digest.hex()))
            });
            if !whole {
                self.shared.references.remove(&file.name)?;
            }
        }
        Ok(())
    }

    fn records(&self) -> Result<Vec<Record>, CacheError> {
        let files = self.shared.references.list()?;
        let mut records = Vec::new();
        for file in files.iter().filter(|file| !file.part) {
            records.extend(self.record_in(&file.name)?.map(|(record, _)| record));
        }
        Ok(records)
    }
}

fn entry(digest: Digest, file: &Listed, records: &[Record]) -> Entry {
    let mut references: Vec<_> = records.iter().filter(|record| record.needs(&digest)).map(|record| record.reference.clone()).collect();
    references.sort();
    let kind = match references.is_empty() {
        true => EntryKind::Unreferenced,
        false if records.iter().any(|record| record.component == digest) => EntryKind::Component,
        false => EntryKind::Manifest,
    };
    Entry { digest, bytes: file.bytes, last_used: file.used, kind, references }
}

/// The digest that a file is named for, if it is.
fn digest_of(file: &Listed) -> Option<Digest> {
    if file.part { None } else { format!("sha256:{}", file.name).parse().ok() }
}

/// The digest of a file of any length, in little memory.
fn hash(mut file: File) -> io::Result<Digest> {
    let mut hashing = Hashing::default();
    let mut buffer = vec![0; 64 << 10];
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            return Ok(hashing.finish());
        }
        hashing.update(&buffer[..read]);
    }
}
