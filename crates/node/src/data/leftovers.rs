//! Ephemeral data folders that killed processes left behind.
//!
//! What is removed is certainly nobody's: a folder of this user that only this user can enter, under a name that only Berth gives, whose
//! lock was held by a process that noted itself there, and that nobody holds now. A folder without a note may belong to a process that
//! is about to take its lock, so it stays.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::{FlockOperation, OFlags, flock};

use super::abandon;

const PREFIX: &str = "berth-";

/// Entries of the folder that are looked at, so that a crowded one doesn't delay the start.
const MAX_LOOKED_AT: usize = 10_000;
/// Folders removed at one start; further ones go with the next.
const MAX_REMOVED: usize = 100;

/// A name that no other folder has.
pub(super) fn new_name() -> String {
    format!("{PREFIX}{}", uuid::Uuid::new_v4().simple())
}

/// Removes what killed processes left in `parent`. What can't be looked at or removed stays.
pub(super) fn clear(parent: &Path) {
    let Ok(entries) = parent.read_dir() else { return };
    let named = entries.take(MAX_LOOKED_AT).flatten().filter(|entry| entry.file_name().to_str().is_some_and(is_name));
    for path in named.map(|entry| entry.path()).filter(|path| is_private(path)).take(MAX_REMOVED) {
        // Held until the folder is gone, so that no two processes remove it.
        let Some(_lock) = lock_of_the_dead(&path) else { continue };
        tracing::info!(folder = %path.display(), "removing what a killed berth left");
        abandon(&path, true);
    }
}

fn is_name(name: &str) -> bool {
    name.strip_prefix(PREFIX).is_some_and(|id| id.len() == 32 && id.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')))
}

/// Whether `path` itself, not what it may lead to, is a folder that this user alone can enter.
fn is_private(path: &Path) -> bool {
    let me = rustix::process::geteuid().as_raw();
    path.symlink_metadata().is_ok_and(|meta| meta.is_dir() && meta.uid() == me && meta.mode() & 0o077 == 0)
}

/// The lock of a folder whose holder is gone.
fn lock_of_the_dead(folder: &Path) -> Option<File> {
    let flags = i32::try_from((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits()).ok()?;
    let lock = OpenOptions::new().read(true).custom_flags(flags).open(folder.join("berth.lock")).ok()?;
    let meta = lock.metadata().ok()?;
    let is_noted = meta.is_file() && meta.len() > 0;
    (is_noted && flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok()).then_some(lock)
}
