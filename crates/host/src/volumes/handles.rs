//! The files and folders that one store's guest has open: which volume each is of, and for which member it was opened.
//!
//! A handle is known by its address, which no other has while it is in this table: what is held weakly keeps its place in memory. So it is
//! known as long as anything holds the file, be it a descriptor or a stream of it, and is forgotten when looked at afterwards.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::sync::{Arc, Weak};

use rustix::io::Errno;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use wasmtime::component::Resource;
use wasmtime_wasi::filesystem::Descriptor;

use super::Volume;
use crate::egress::Asker;
use crate::guest::Guest;
use crate::logs::Stream;
use crate::member::Seat;

/// Files and folders that one instance may have open at once (L31).
const FILES_PER_STORE: usize = 256;

/// The open files and folders of one store.
#[derive(Default)]
pub(crate) struct Handles {
    known: HashMap<usize, Handle>,
    /// Those it may still open; made at the first.
    free: Option<Arc<Semaphore>>,
}

struct Handle {
    file: Weak<File>,
    whose: Whose,
    _permit: Option<FilePermit>,
}

/// Of which volume something is, and for whom it was opened.
#[derive(Clone)]
pub(super) struct Whose {
    pub(super) volume: Arc<Volume>,
    pub(super) asker: Arc<Asker>,
}

/// The right to have one file open, given back when dropped.
pub(super) struct FilePermit {
    _store: OwnedSemaphorePermit,
    _all: OwnedSemaphorePermit,
}

impl Handles {
    /// Forgets what isn't held any more.
    pub(super) fn prune(&mut self) {
        self.known.retain(|_, handle| handle.file.strong_count() > 0);
    }

    pub(super) fn enter(&mut self, file: &Arc<File>, whose: Whose, permit: Option<FilePermit>) {
        self.known.insert(address(file), Handle { file: Arc::downgrade(file), whose, _permit: permit });
    }

    /// None: nothing that was opened in a volume.
    pub(super) fn whose(&self, file: &Arc<File>) -> Option<Whose> {
        Some(self.known.get(&address(file))?.whose.clone())
    }

    /// The right to open one more. Without it, the workload's log and events say why.
    pub(super) fn permit(&mut self, asker: &Asker) -> io::Result<FilePermit> {
        self.prune();
        let free = self.free.get_or_insert_with(|| Arc::new(Semaphore::new(FILES_PER_STORE)));
        let Ok(store) = free.clone().try_acquire_owned() else {
            return Err(refused(asker, &format!("has {FILES_PER_STORE} files open, as many as one instance may")));
        };
        let all = &asker.component.host.connections;
        match all.try_file() {
            Some(permit) => Ok(FilePermit { _store: store, _all: permit }),
            None => Err(refused(
                asker,
                &format!("finds all {} of the host's sockets, connections and files for guests taken (guest-connections)", all.most()),
            )),
        }
    }
}

fn address(file: &Arc<File>) -> usize {
    Arc::as_ptr(file) as usize
}

/// WASI has no code for too many open files; this one says that it may go another time.
fn refused(asker: &Asker, what: &str) -> io::Error {
    let component = &asker.component;
    let message = format!("component {} {what}: a file isn't opened then", component.name);
    if component.warn("FileLimit", message.clone()) {
        component.log.write(&component.name, asker.request(), Stream::Host, &message);
    }
    Errno::NOMEM.into()
}

/// The folders that the member at `seat` was given, as descriptors, with where it sees them.
pub(super) fn preopens(guest: &mut Guest, seat: Seat) -> wasmtime::Result<Vec<(Resource<Descriptor>, String)>> {
    let asker = guest.parts(seat).0.asker().clone();
    let mut given = Vec::with_capacity(asker.component.mounts.len());
    for mount in asker.component.mounts.iter() {
        guest.handles.enter(&mount.dir.dir, Whose { volume: mount.volume.clone(), asker: asker.clone() }, None);
        given.push((guest.table.push(Descriptor::Dir(mount.dir.clone()))?, mount.path.clone()));
    }
    Ok(given)
}

/// Drops a descriptor.
pub(super) fn close(guest: &mut Guest, rep: u32) -> wasmtime::Result<()> {
    guest.table.delete(Resource::<Descriptor>::new_own(rep))?;
    guest.handles.prune();
    Ok(())
}
