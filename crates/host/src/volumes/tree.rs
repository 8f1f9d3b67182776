//! What is done in a volume's folder: by handle, below that handle, and accounted for where the volume is bounded. Everything here
//! blocks, and runs on threads for that.
//!
//! Paths are resolved by `cap-primitives`: neither `..`, nor absolute paths, nor links lead out of the folder that they begin at. All that
//! changes a bounded volume holds its ledger meanwhile, so what was looked at before a change is what is changed.

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::sync::Arc;

use cap_primitives::fs::{self as beneath, DirOptions, FollowSymlinks, OpenOptions};
use rustix::io::{Errno, ReadWriteFlags, pwritev2};
use wasmtime_wasi::filesystem::{Descriptor, Dir, File as OpenFile, FsPerms, OpenMode};

use super::ledger::{ENTRY_BYTES, Full, Ledger};

/// Why something wasn't done.
#[derive(Debug)]
pub(super) enum Failed {
    Io(io::Error),
    /// The volume's bound.
    Full(Full),
}

impl From<io::Error> for Failed {
    fn from(error: io::Error) -> Failed {
        Failed::Io(error)
    }
}

impl From<Errno> for Failed {
    fn from(error: Errno) -> Failed {
        Failed::Io(error.into())
    }
}

impl From<Full> for Failed {
    fn from(full: Full) -> Failed {
        Failed::Full(full)
    }
}

type Done<T> = Result<T, Failed>;

/// Accounts, where the volume is bounded.
pub(super) type Accounts<'a> = Option<&'a mut Ledger<File>>;

/// How a file or folder is opened.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct How {
    pub(super) follow: bool,
    pub(super) create: bool,
    pub(super) exclusive: bool,
    pub(super) truncate: bool,
    pub(super) directory: bool,
    pub(super) read: bool,
    pub(super) write: bool,
}

/// Where bytes are written to.
#[derive(Clone, Copy, Debug)]
pub(super) enum Location {
    Offset(u64),
    End,
}

impl How {
    fn changes(self) -> bool {
        self.create || self.truncate || self.write
    }

    fn mode(self) -> OpenMode {
        let read = if self.read || !self.write { OpenMode::READ } else { OpenMode::empty() };
        if self.changes() { read | OpenMode::WRITE } else { read }
    }
}

/// Opens a file or folder; anything else, such as a pipe, is refused.
pub(super) fn open(start: &File, path: &Path, how: How, perms: FsPerms, mut accounts: Accounts<'_>) -> Done<Descriptor> {
    if how.directory && (how.create || how.exclusive || how.truncate) {
        return Err(Errno::INVAL.into());
    }
    if perms.write_not_permitted() && how.changes() {
        return Err(Errno::PERM.into());
    }
    let mut options = OpenOptions::new();
    // A pipe that nobody writes to would hold the thread.
    options._cap_fs_ext_nonblock(true)._cap_fs_ext_follow(FollowSymlinks::follow(how.follow));
    options.read(how.read || !how.write).write(how.changes());
    let opened = match beneath::open(start, path, &options) {
        Ok(_) if how.create && how.exclusive => return Err(Errno::EXIST.into()),
        Err(error) if how.create && error.kind() == io::ErrorKind::NotFound => {
            if let Some(ledger) = &mut accounts {
                ledger.room(ENTRY_BYTES)?;
            }
            // A bounded volume doesn't change meanwhile, so that this makes a file or fails; in others somebody may have been quicker.
            options.create(!how.exclusive).create_new(how.exclusive);
            let made = beneath::open(start, path, &options)?;
            if let Some(ledger) = &mut accounts {
                ledger.named();
            }
            made
        }
        Err(error) if how.create && how.exclusive && !how.directory => {
            // Something is there that can't be opened this way, such as a link or a folder.
            let there = beneath::stat(start, path, FollowSymlinks::No).is_ok();
            return Err(if there { Errno::EXIST.into() } else { error.into() });
        }
        opened => opened?,
    };
    let meta = opened.metadata()?;
    if how.directory && !meta.is_dir() {
        return Err(Errno::NOTDIR.into());
    }
    if !meta.is_dir() && !meta.is_file() {
        return Err(Errno::NOTSUP.into());
    }
    if meta.is_dir() {
        return Ok(Descriptor::Dir(Dir::new(opened, perms, how.mode(), false)));
    }
    let opened = OpenFile::new(opened, perms, how.mode(), false);
    if let Some(ledger) = &mut accounts {
        ledger.opened(meta.ino(), meta.len(), Arc::downgrade(&opened.file));
    }
    if how.truncate {
        set_size(&opened.file, 0, accounts)?;
    }
    Ok(Descriptor::File(opened))
}

/// Writes what it can of `bytes`, of one call; nothing where not all fits.
pub(super) fn write(file: &File, bytes: &[u8], to: Location, mut accounts: Accounts<'_>) -> Done<usize> {
    let before = file.metadata()?;
    let from = match to {
        Location::Offset(offset) => offset,
        Location::End => before.len(),
    };
    let end = from.checked_add(bytes.len() as u64).ok_or(Errno::FBIG)?;
    if let Some(ledger) = &mut accounts {
        ledger.room(end.saturating_sub(before.len()))?;
    }
    let written = match to {
        Location::Offset(offset) => file.write_at(bytes, offset),
        Location::End => append(file, bytes),
    };
    settle(file, &before, accounts)?;
    Ok(written?)
}

/// Appends for good, whoever else does.
fn append(file: &File, bytes: &[u8]) -> io::Result<usize> {
    match pwritev2(file, &[io::IoSlice::new(bytes)], 0, ReadWriteFlags::APPEND) {
        // Where the file system knows no such flag.
        Err(Errno::NOSYS | Errno::NOTSUP) => file.write_at(bytes, file.metadata()?.len()),
        written => Ok(written?),
    }
}

pub(super) fn set_size(file: &File, size: u64, mut accounts: Accounts<'_>) -> Done<()> {
    let before = file.metadata()?;
    if let Some(ledger) = &mut accounts {
        ledger.room(size.saturating_sub(before.len()))?;
    }
    let done = file.set_len(size);
    settle(file, &before, accounts)?;
    Ok(done?)
}

/// Accounts for what a file has become.
fn settle(file: &File, before: &Metadata, accounts: Accounts<'_>) -> io::Result<()> {
    if let Some(ledger) = accounts {
        ledger.resized(before.ino(), before.len(), file.metadata()?.len());
    }
    Ok(())
}

pub(super) fn create_dir(start: &File, path: &Path, accounts: Accounts<'_>) -> Done<()> {
    named(accounts, || beneath::create_dir(start, path, &DirOptions::new()))
}

pub(super) fn symlink(start: &File, to: &Path, path: &Path, accounts: Accounts<'_>) -> Done<()> {
    named(accounts, || beneath::symlink(to, start, path))
}

pub(super) fn hard_link(start: &File, old: &Path, new_start: &File, new: &Path, accounts: Accounts<'_>) -> Done<()> {
    named(accounts, || beneath::hard_link(start, old, new_start, new))
}

/// Makes a name, if there is room for it.
fn named(mut accounts: Accounts<'_>, make: impl FnOnce() -> io::Result<()>) -> Done<()> {
    if let Some(ledger) = &mut accounts {
        ledger.room(ENTRY_BYTES)?;
    }
    make()?;
    if let Some(ledger) = accounts {
        ledger.named();
    }
    Ok(())
}

pub(super) fn remove_dir(start: &File, path: &Path, accounts: Accounts<'_>) -> Done<()> {
    beneath::remove_dir(start, path)?;
    if let Some(ledger) = accounts {
        ledger.unnamed();
    }
    Ok(())
}

pub(super) fn remove_file(start: &File, path: &Path, accounts: Accounts<'_>) -> Done<()> {
    let Some(ledger) = accounts else { return Ok(beneath::remove_file(start, path)?) };
    let meta = beneath::stat(start, path, FollowSymlinks::No)?;
    beneath::remove_file(start, path)?;
    removed(ledger, &meta);
    Ok(())
}

pub(super) fn rename(start: &File, old: &Path, new_start: &File, new: &Path, accounts: Accounts<'_>) -> Done<()> {
    let Some(ledger) = accounts else { return Ok(beneath::rename(start, old, new_start, new)?) };
    let moved = beneath::stat(start, old, FollowSymlinks::No)?;
    let replaced = beneath::stat(new_start, new, FollowSymlinks::No).ok();
    beneath::rename(start, old, new_start, new)?;
    // Two names of one file stay both (rename(2)).
    if let Some(replaced) = replaced.filter(|replaced| inode(replaced) != inode(&moved)) {
        removed(ledger, &replaced);
    }
    Ok(())
}

/// Accounts for a name that is gone.
fn removed(ledger: &mut Ledger<File>, meta: &beneath::Metadata) {
    if meta.is_file() && beneath::MetadataExt::nlink(meta) <= 1 {
        ledger.unlinked(inode(meta), meta.len());
    } else {
        ledger.unnamed();
    }
}

fn inode(meta: &beneath::Metadata) -> u64 {
    beneath::MetadataExt::ino(meta)
}
