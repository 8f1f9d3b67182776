//! The files and folders that one store's guest has open: which volume each is of, for which member it was opened, and its place among the
//! open files that there may be.
//!
//! A handle is known by its address, which no other has while its descriptor is there. Whoever holds the file otherwise, such as a stream of
//! it or a thread that works on it, holds its [`Whose`] too. So its place is free when the last of them goes, whatever the guest does then.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::sync::Arc;

use rustix::io::Errno;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use wasmtime::component::Resource;
use wasmtime_wasi::filesystem::Descriptor;

use super::Volume;
use super::tree::{Accounts, Failed};
use crate::egress::Asker;
use crate::guest::Guest;
use crate::logs::Stream;
use crate::member::Seat;

/// Files and folders that one instance may have open at once (L31).
const FILES_PER_STORE: usize = 256;

/// The open files and folders of one store.
#[derive(Default)]
pub(crate) struct Handles {
    known: HashMap<usize, Whose>,
    /// Those it may still open; made at the first.
    free: Option<Arc<Semaphore>>,
}

/// Of which volume something is, for whom it was opened, and its place among the open files: none of what was given and not opened.
#[derive(Clone)]
pub(super) struct Whose {
    pub(super) volume: Arc<Volume>,
    pub(super) asker: Arc<Asker>,
    pub(super) permit: Option<Arc<FilePermit>>,
}

/// The right to have one file open, given back when dropped.
pub(super) struct FilePermit {
    _store: OwnedSemaphorePermit,
    _all: OwnedSemaphorePermit,
}

impl Whose {
    /// Does something in the volume's folder, on a thread that may wait.
    ///
    /// Cancel safe: what was begun is done to its end, and accounted for.
    pub(super) async fn run<R: Send + 'static>(
        self,
        what: impl FnOnce(Accounts<'_>) -> Result<R, Failed> + Send + 'static,
    ) -> io::Result<R> {
        tokio::task::spawn_blocking(move || self.change(what)).await.map_err(io::Error::other)?
    }

    /// The same on this thread.
    pub(super) fn change<R>(&self, what: impl FnOnce(Accounts<'_>) -> Result<R, Failed>) -> io::Result<R> {
        self.volume.change(&self.asker, what)
    }
}

impl Handles {
    /// Keeps whose the file of a descriptor is.
    pub(super) fn enter(&mut self, file: &Arc<File>, whose: Whose) {
        self.known.insert(address(file), whose);
    }

    /// Its descriptor is gone. What was given stays known: a guest may ask for it as often as it likes.
    fn leave(&mut self, file: &Arc<File>) {
        if self.known.get(&address(file)).is_some_and(|whose| whose.permit.is_some()) {
            self.known.remove(&address(file));
        }
    }

    /// None: nothing that was opened in a volume.
    pub(super) fn whose(&self, file: &Arc<File>) -> Option<Whose> {
        self.known.get(&address(file)).cloned()
    }

    /// The right to open one more. Without it, the workload's log and events say why.
    pub(super) fn permit(&mut self, asker: &Asker) -> io::Result<FilePermit> {
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
        guest.handles.enter(&mount.dir.dir, Whose { volume: mount.volume.clone(), asker: asker.clone(), permit: None });
        given.push((guest.table.push(Descriptor::Dir(mount.dir.clone()))?, mount.path.clone()));
    }
    Ok(given)
}

/// Drops a descriptor.
pub(super) fn close(guest: &mut Guest, rep: u32) -> wasmtime::Result<()> {
    let descriptor = guest.table.delete(Resource::<Descriptor>::new_own(rep))?;
    guest.handles.leave(file_of(&descriptor));
    Ok(())
}

/// The file of a descriptor.
pub(super) fn file_of(descriptor: &Descriptor) -> &Arc<File> {
    match descriptor {
        Descriptor::File(file) => &file.file,
        Descriptor::Dir(dir) => &dir.dir,
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Instant;

    use wasmtime::Engine;

    use super::*;
    use crate::component::Unit;
    use crate::guest;
    use crate::guest_store::GuestStore;
    use crate::volumes::tree::How;
    use crate::volumes::{Mount, calls};

    /// The store of a guest that was given `folder`, and the descriptor of that.
    fn given(folder: &Path) -> (GuestStore, Resource<Descriptor>) {
        let (component, _logs) = crate::component::tests::component();
        let mut component = Arc::into_inner(component).expect("nobody else has it");
        let volume = Arc::new(Volume { name: "v".to_owned(), dir: File::open(folder).unwrap(), bound: None });
        component.mounts = [Mount::new(&volume, "/v", false).unwrap()].into();
        let mut store = guest::store(&Engine::default(), &Unit::single(Arc::new(component)), None, Instant::now());
        let (folder, _) = preopens(store.data_mut(), Seat::ROOT).unwrap().remove(0);
        (store, folder)
    }

    async fn open(guest: &mut Guest, folder: &Resource<Descriptor>, path: &str) -> Resource<Descriptor> {
        let folder = calls::folder(guest, folder).unwrap().unwrap();
        let permit = folder.permit(guest).unwrap();
        let how = How { create: !path.ends_with('.'), read: true, ..How::default() };
        folder.open(permit, path.to_owned(), how).await.unwrap().enter(guest).unwrap()
    }

    #[tokio::test]
    async fn l31_a_files_place_is_free_when_the_last_that_holds_it_goes_and_nobody_needs_to_ask() {
        let tmp = tempfile::tempdir().unwrap();
        let (mut store, folder) = given(tmp.path());
        let host = store.data().host().clone();
        let held = || host.connections.held();
        let guest = store.data_mut();
        let file = open(guest, &folder, "file").await;
        let inner = open(guest, &folder, ".").await;
        let (writes, reads) = (calls::writable(guest, &file).unwrap().unwrap(), calls::readable(guest, &file).unwrap().unwrap());
        let inside = calls::folder(guest, &inner).unwrap().unwrap();
        let permit = inside.permit(guest).unwrap();
        let listing = inside.list(permit);
        assert_eq!(held(), 3);
        close(guest, file.rep()).unwrap();
        close(guest, inner.rep()).unwrap();
        assert_eq!(held(), 3, "streams outlive their descriptors");
        drop(listing);
        assert_eq!(held(), 1);
        drop(writes);
        assert_eq!(held(), 1);
        drop(reads);
        assert_eq!(held(), 0);
        // What was given is known however often its descriptors come and go.
        let (again, _) = preopens(guest, Seat::ROOT).unwrap().remove(0);
        close(guest, folder.rep()).unwrap();
        let file = open(guest, &again, "file").await;
        close(guest, again.rep()).unwrap();
        assert_eq!(held(), 1);
        let reads = calls::readable(guest, &file).unwrap().unwrap();
        drop(store);
        assert_eq!(held(), 1, "a thread may still be at it");
        drop(reads);
        assert_eq!(held(), 0);
    }
}
