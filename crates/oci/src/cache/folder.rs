//! One folder of the cache: files that appear whole or not at all, and that aren't removed while somebody reads them.
//!
//! Several processes may use the folder at once. What keeps them apart are locks on open files (flock), which end with the process
//! however it ends: a reader and a writer hold a shared lock on their file, and who removes one takes it for itself first.

use std::fs::{self, File, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::PathBuf;
use std::time::SystemTime;

use tempfile::NamedTempFile;

use super::error::CacheError;

/// How the names of files that are still being written start.
const PART: &str = ".part-";

/// A file as the folder lists it.
pub struct Listed {
    /// Its name.
    pub name: String,
    /// Its size.
    pub bytes: u64,
    /// When it was written or last read.
    pub used: SystemTime,
    /// Whether somebody is, or was, still writing it.
    pub part: bool,
}

/// One folder, named for what its files are.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
}

impl Folder {
    /// Makes the folder if need be, for its owner alone, and removes what killed writers left.
    pub fn open(path: PathBuf) -> Result<Self, CacheError> {
        let folder = Self { path };
        folder.make()?;
        for left in folder.list()?.iter().filter(|file| file.part) {
            // One that is locked belongs to a writer at work. One that can't be removed takes room, and nothing else.
            if let Err(error) = folder.remove(&left.name) {
                tracing::warn!(error = %error, "what a killed process left in a cache can't be removed");
            }
        }
        Ok(folder)
    }

    /// Makes the folder, if it isn't there.
    fn make(&self) -> Result<(), CacheError> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.path).map_err(CacheError::at("making", &self.path))
    }

    /// Where the file of that name is, or would be.
    pub fn path_of(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Every file; none if somebody removed the folder. One that disappears meanwhile is left out.
    pub fn list(&self) -> Result<Vec<Listed>, CacheError> {
        let failed = || CacheError::at("listing", &self.path);
        let mut files = Vec::new();
        let entries = match fs::read_dir(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(files),
            entries => entries.map_err(failed())?,
        };
        for entry in entries {
            let entry = entry.map_err(failed())?;
            let (Ok(metadata), Ok(name)) = (entry.metadata(), entry.file_name().into_string()) else { continue };
            if metadata.is_file() {
                let used = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
                files.push(Listed { part: name.starts_with(PART), name, bytes: metadata.len(), used });
            }
        }
        Ok(files)
    }

    /// Opens a file to read it; nobody removes it until the handle is dropped. `None` if it isn't there or is just being removed.
    pub fn open_file(&self, name: &str) -> Result<Option<File>, CacheError> {
        let path = self.path_of(name);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(CacheError::at("opening", &path)(error)),
        };
        match file.try_lock_shared() {
            Ok(()) => Ok(Some(file)),
            Err(TryLockError::WouldBlock) => Ok(None),
            // A file system without locks: reading is safe still, since what is removed stays readable through its handle.
            Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => Ok(Some(file)),
            Err(TryLockError::Error(error)) => Err(CacheError::at("locking", &path)(error)),
        }
    }

    /// Puts a file in place, or replaces it, in a folder that is made again if somebody removed it, such that every reader sees the old content or the new one, also after a power cut.
    pub fn write(&self, name: &str, content: &[u8]) -> Result<(), CacheError> {
        let path = self.path_of(name);
        let part = match self.part() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => self.make().map(|()| self.part())?,
            part => part,
        };
        let mut part = part.map_err(CacheError::at("writing", &path))?;
        let written = part.write_all(content).and_then(|()| part.as_file().sync_all());
        written.map_err(CacheError::at("writing", &path))?;
        // The handle keeps its shared lock through the renaming: readers may share it, and nobody may remove it before.
        let _locked = part.persist(&path).map_err(|failed| CacheError::at("writing", &path)(failed.error))?;
        File::open(&self.path).and_then(|folder| folder.sync_all()).map_err(CacheError::at("syncing", &self.path))
    }

    /// A new file under a name that says it isn't ready, locked.
    fn part(&self) -> io::Result<NamedTempFile> {
        loop {
            let part = tempfile::Builder::new().prefix(PART).tempfile_in(&self.path)?;
            match part.as_file().lock_shared() {
                Err(error) if error.kind() != io::ErrorKind::Unsupported => return Err(error),
                _ => {}
            }
            // Between making and locking it, a process that starts may have taken it for a leftover.
            if part.as_file().metadata()?.nlink() > 0 {
                return Ok(part);
            }
        }
    }

    /// Removes a file unless somebody reads or writes it; whether it is gone.
    pub fn remove(&self, name: &str) -> Result<bool, CacheError> {
        let path = self.path_of(name);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(true),
            Err(error) => return Err(CacheError::at("opening", &path)(error)),
        };
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => return Ok(false),
            Err(TryLockError::Error(error)) if error.kind() != io::ErrorKind::Unsupported => {
                return Err(CacheError::at("locking", &path)(error));
            }
            _ => {}
        }
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(CacheError::at("removing", &path)(error)),
            _ => Ok(true),
        }
    }

    /// Removes a file whoever reads it: for what nobody should read.
    pub fn discard(&self, name: &str) {
        // If it can't be removed, it is found to be bad again at the next reading.
        let _ = fs::remove_file(self.path_of(name));
    }
}

/// Notes that a file was used just now. Who may read it but not change its times only makes it look older.
pub fn touch(file: &File) {
    let _ = file.set_modified(SystemTime::now());
}
