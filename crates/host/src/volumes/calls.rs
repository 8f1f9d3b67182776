//! What guests call, the same for both versions of WASI: a descriptor with whose it is, and what is done by it. Everything that waits for
//! the disk does so on a thread for that.

use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::BytesMut;
use rustix::io::Errno;
use wasmtime::component::Resource;
use wasmtime_wasi::filesystem::{Descriptor, Dir, File};

use super::handles::{self, FilePermit, Whose};
use super::listing::Listing;
use super::tree::{self, How, Location};
use crate::guest::Guest;

/// A folder that a guest holds.
pub(super) struct Folder {
    dir: Dir,
    whose: Whose,
}

/// A file that a guest holds.
#[derive(Clone)]
pub(super) struct Held {
    file: File,
    whose: Whose,
}

/// Something that was opened, not the guest's yet.
pub(super) struct Opened {
    descriptor: Descriptor,
    whose: Whose,
}

fn unknown() -> wasmtime::Error {
    wasmtime::format_err!("a descriptor that was opened in no volume")
}

/// The folder by its descriptor. The inner error is the guest's.
pub(super) fn folder(guest: &Guest, descriptor: &Resource<Descriptor>) -> wasmtime::Result<io::Result<Folder>> {
    match guest.table.get(descriptor)? {
        Descriptor::File(_) => Ok(Err(Errno::NOTDIR.into())),
        Descriptor::Dir(dir) => {
            let whose = guest.handles.whose(&dir.dir).ok_or_else(unknown)?;
            Ok(Ok(Folder { dir: dir.clone(), whose }))
        }
    }
}

/// The file by its descriptor, to change it.
pub(super) fn writable(guest: &Guest, descriptor: &Resource<Descriptor>) -> wasmtime::Result<io::Result<Held>> {
    match guest.table.get(descriptor)? {
        Descriptor::Dir(_) => Ok(Err(Errno::BADF.into())),
        Descriptor::File(file) if file.perms.write_not_permitted() => Ok(Err(Errno::PERM.into())),
        Descriptor::File(file) => held(guest, file).map(Ok),
    }
}

/// The file by its descriptor, to read it. One that wasn't opened for that says so when it is read.
pub(super) fn readable(guest: &Guest, descriptor: &Resource<Descriptor>) -> wasmtime::Result<io::Result<Held>> {
    match guest.table.get(descriptor)? {
        Descriptor::Dir(_) => Ok(Err(Errno::ISDIR.into())),
        Descriptor::File(file) => held(guest, file).map(Ok),
    }
}

fn held(guest: &Guest, file: &File) -> wasmtime::Result<Held> {
    let whose = guest.handles.whose(&file.file).ok_or_else(unknown)?;
    Ok(Held { file: file.clone(), whose })
}

impl Folder {
    /// The right to open one more file below it.
    pub(super) fn permit(&self, guest: &mut Guest) -> io::Result<FilePermit> {
        guest.handles.permit(&self.whose.asker)
    }

    pub(super) async fn open(self, permit: FilePermit, path: String, how: How) -> io::Result<Opened> {
        let Folder { dir, whose } = self;
        let opened = whose.clone().run(move |accounts| Ok((tree::open(&dir.dir, path.as_ref(), how, dir.perms, accounts)?, permit)));
        let (descriptor, permit) = opened.await?;
        Ok(Opened { descriptor, whose: Whose { permit: Some(Arc::new(permit)), ..whose } })
    }

    pub(super) async fn create_dir(self, path: String) -> io::Result<()> {
        let dir = self.to_change()?;
        self.whose.run(move |accounts| tree::create_dir(&dir, path.as_ref(), accounts)).await
    }

    pub(super) async fn remove_dir(self, path: String) -> io::Result<()> {
        let dir = self.to_change()?;
        self.whose.run(move |accounts| tree::remove_dir(&dir, path.as_ref(), accounts)).await
    }

    pub(super) async fn remove_file(self, path: String) -> io::Result<()> {
        let dir = self.to_change()?;
        self.whose.run(move |accounts| tree::remove_file(&dir, path.as_ref(), accounts)).await
    }

    /// Links are made as they are written, but for those to absolute paths, which lead nowhere here and elsewhere out.
    pub(super) async fn symlink(self, to: String, path: String) -> io::Result<()> {
        let dir = self.to_change()?;
        self.whose.run(move |accounts| tree::symlink(&dir, to.as_ref(), path.as_ref(), accounts)).await
    }

    /// Gives a file another name in the same volume.
    pub(super) async fn hard_link(self, follow: bool, path: String, new: Folder, new_path: String) -> io::Result<()> {
        if follow {
            return Err(Errno::INVAL.into());
        }
        let (dir, new) = self.with(&new)?;
        let (path, new_path) = (PathBuf::from(path), PathBuf::from(new_path));
        self.whose.run(move |accounts| tree::hard_link(&dir, &path, &new, &new_path, accounts)).await
    }

    /// Moves something within the volume.
    pub(super) async fn rename(self, path: String, new: Folder, new_path: String) -> io::Result<()> {
        let (dir, new) = self.with(&new)?;
        let (path, new_path) = (PathBuf::from(path), PathBuf::from(new_path));
        self.whose.run(move |accounts| tree::rename(&dir, &path, &new, &new_path, accounts)).await
    }

    /// What is in it. Opened when it is read.
    pub(super) fn list(self, permit: FilePermit) -> Listing {
        Listing::new(self.dir.dir, self.whose, permit)
    }

    fn to_change(&self) -> io::Result<Arc<std::fs::File>> {
        if self.dir.perms.write_not_permitted() {
            return Err(Errno::PERM.into());
        }
        Ok(self.dir.dir.clone())
    }

    /// Both folders, to change both. Two volumes are as two file systems, also where one lies in the other.
    fn with(&self, new: &Folder) -> io::Result<(Arc<std::fs::File>, Arc<std::fs::File>)> {
        let both = (self.to_change()?, new.to_change()?);
        if !Arc::ptr_eq(&self.whose.volume, &new.whose.volume) {
            return Err(Errno::XDEV.into());
        }
        Ok(both)
    }
}

impl Held {
    /// Writes some of `bytes`, or nothing where not all fits.
    pub(super) async fn write(self, bytes: Vec<u8>, offset: u64) -> io::Result<u64> {
        let Held { file, whose } = self;
        let write = whose.run(move |accounts| tree::write(&file.file, &bytes, Location::Offset(offset), accounts));
        Ok(write.await? as u64)
    }

    /// The same on this thread.
    pub(super) fn write_now(&self, bytes: &[u8], to: Location) -> io::Result<usize> {
        self.whose.change(|accounts| tree::write(&self.file.file, bytes, to, accounts))
    }

    pub(super) async fn set_size(self, size: u64) -> io::Result<()> {
        let Held { file, whose } = self;
        whose.run(move |accounts| tree::set_size(&file.file, size, accounts)).await
    }

    /// Reads up to `most` bytes on this thread; none: there are no more.
    pub(super) fn read_now(&self, offset: u64, most: usize) -> io::Result<BytesMut> {
        let mut bytes = BytesMut::zeroed(most);
        let count = loop {
            match self.file.file.read_at(&mut bytes, offset) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => break read?,
            }
        };
        bytes.truncate(count);
        Ok(bytes)
    }
}

impl Opened {
    /// Gives it to the guest.
    pub(super) fn enter(self, guest: &mut Guest) -> wasmtime::Result<Resource<Descriptor>> {
        let file = handles::file_of(&self.descriptor).clone();
        let descriptor = guest.table.push(self.descriptor)?;
        guest.handles.enter(&file, self.whose);
        Ok(descriptor)
    }
}
