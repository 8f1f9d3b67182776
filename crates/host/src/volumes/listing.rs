//! What is in a folder, read some at a time: however many names there are, few are in memory, and no thread waits for who reads them (L31).

use std::fs::File;
use std::io;
use std::sync::Arc;

use cap_primitives::fs::{self as beneath, FileType, FileTypeExt, ReadDir};
use rustix::io::Errno;

use super::handles::{FilePermit, Whose};

/// Names that are read at once.
const CHUNK: usize = 64;

/// A folder that is read.
pub(super) struct Listing {
    folder: Arc<File>,
    entries: Option<ReadDir>,
    _whose: Whose,
    _permit: FilePermit,
}

/// What something in a folder is.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    Folder,
    File,
    Link,
    BlockDevice,
    CharacterDevice,
    Pipe,
    Socket,
    Unknown,
}

/// A name in a folder.
pub(super) struct Entry {
    pub(super) kind: Kind,
    pub(super) name: String,
}

impl Listing {
    pub(super) fn new(folder: Arc<File>, whose: Whose, permit: FilePermit) -> Listing {
        Listing { folder, entries: None, _whose: whose, _permit: permit }
    }

    /// Reads the next names; none: that were all. Blocks.
    pub(super) fn next(&mut self) -> io::Result<Vec<Entry>> {
        let entries = match &mut self.entries {
            Some(entries) => entries,
            None => self.entries.insert(beneath::read_base_dir(&self.folder)?),
        };
        entries
            .take(CHUNK)
            .map(|entry| {
                let entry = entry?;
                let name = entry.file_name().into_string().map_err(|_| Errno::ILSEQ)?;
                Ok(Entry { kind: kind(entry.file_type()?), name })
            })
            .collect()
    }
}

fn kind(of: FileType) -> Kind {
    match of {
        of if of.is_dir() => Kind::Folder,
        of if of.is_file() => Kind::File,
        of if of.is_symlink() => Kind::Link,
        of if of.is_block_device() => Kind::BlockDevice,
        of if of.is_char_device() => Kind::CharacterDevice,
        of if of.is_fifo() => Kind::Pipe,
        of if of.is_socket() => Kind::Socket,
        _ => Kind::Unknown,
    }
}
