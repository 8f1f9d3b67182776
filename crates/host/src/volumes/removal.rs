//! The folders of ephemeral volumes: each private and under a name of its own, and removed on a thread for that once nobody uses it. The
//! room of a volume is its folder's until that is gone. What a process that was killed left is removed at the next start, and has room
//! until then, too.
//!
//! ```text
//! FOLDER/         0700, one host's
//!   ID/           0700, one volume's
//!     files/      what guests see
//!     gone/       while it is removed: folders that lay in others
//! ```

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use tokio::sync::watch;

use super::budget::{Room, VolumeBudget};

/// What guests see of a volume's folder.
const FILES: &str = "files";
/// Where nested folders are moved to, so that removing takes no stack and no handles, however deep they are.
const GONE: &str = "gone";

/// Removes folders.
pub(super) struct Remover {
    queue: mpsc::Sender<Leaving>,
    /// Folders that are there.
    left: Arc<watch::Sender<usize>>,
}

/// A folder that is to be removed.
struct Leaving {
    place: PathBuf,
    room: Option<Room>,
}

impl Remover {
    /// Removes what is in `folder`, which is made if it isn't there, and from then on what is handed to it. The thread ends with it. Each
    /// folder that is there has as much room of `budget` as a volume has: `each` bytes.
    pub(super) fn start(folder: &Path, budget: &Arc<VolumeBudget>, each: u64) -> io::Result<Arc<Remover>> {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        let (queue, folders) = mpsc::channel::<Leaving>();
        let left = Arc::new(watch::channel(0).0);
        let remover = Arc::new(Remover { queue, left: left.clone() });
        for entry in folder.read_dir()? {
            let path = entry?.path();
            tracing::info!(folder = %path.display(), "removing an ephemeral volume that a killed berth left");
            remover.begun();
            remover.remove(path, Some(budget.found(each)));
        }
        std::thread::Builder::new().name("berth-volumes".into()).spawn(move || {
            for Leaving { place, room } in folders {
                match remove(&place) {
                    Err(error) if place.symlink_metadata().is_ok() => {
                        tracing::warn!(folder = %place.display(), %error, "the folder of an ephemeral volume can't be removed, and goes on counting (volume-budget); the next start tries again");
                        if let Some(room) = room {
                            room.keep();
                        }
                    }
                    _ => drop(room),
                }
                left.send_modify(|left| *left -= 1);
            }
        })?;
        Ok(remover)
    }

    fn begun(&self) {
        self.left.send_modify(|left| *left += 1);
    }

    fn remove(&self, place: PathBuf, room: Option<Room>) {
        // The thread lives as long as this sender.
        let _ = self.queue.send(Leaving { place, room });
    }

    /// Waits until no folder is left, for `patience` at most.
    pub(super) async fn settled(&self, patience: Duration) {
        let mut left = self.left.subscribe();
        // Whether it came true is seen at the next start.
        let _ = tokio::time::timeout(patience, left.wait_for(|left| *left == 0)).await;
    }
}

/// The folder of one volume; removed when dropped.
pub(super) struct Folder {
    place: PathBuf,
    /// None once it is being removed.
    room: Option<Room>,
    remover: Arc<Remover>,
}

impl Folder {
    /// Makes one in `folder`, which has this room.
    pub(super) fn make(folder: &Path, remover: &Arc<Remover>, room: Room) -> io::Result<Folder> {
        let name = format!("{:016x}{:016x}", fastrand::u64(..), fastrand::u64(..));
        let place = folder.join(name);
        let private = |path: &Path| DirBuilder::new().mode(0o700).create(path);
        private(&place)?;
        remover.begun();
        let made = Folder { place, room: Some(room), remover: remover.clone() };
        private(&made.files())?;
        Ok(made)
    }

    /// What guests see.
    pub(super) fn files(&self) -> PathBuf {
        self.place.join(FILES)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        self.remover.remove(std::mem::take(&mut self.place), self.room.take());
    }
}

/// Removes a volume's folder: each folder in it is moved up before what is in that is looked at. Links aren't followed.
fn remove(place: &Path) -> io::Result<()> {
    if !place.symlink_metadata()?.is_dir() {
        return std::fs::remove_file(place);
    }
    let gone = place.join(GONE);
    match std::fs::create_dir(&gone) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    let mut number = 0_u64;
    let mut lift = |folder: &Path| -> io::Result<()> {
        loop {
            number += 1;
            let to = gone.join(number.to_string());
            // An interrupted removal may have left one of that name.
            if to.symlink_metadata().is_err() {
                return std::fs::rename(folder, to);
            }
        }
    };
    for entry in place.read_dir()? {
        let entry = entry?;
        match entry.file_type()?.is_dir() {
            true if entry.file_name() == GONE => {}
            true => lift(&entry.path())?,
            false => std::fs::remove_file(entry.path())?,
        }
    }
    loop {
        let lifted: Vec<PathBuf> = gone.read_dir()?.map(|entry| Ok(entry?.path())).collect::<io::Result<_>>()?;
        if lifted.is_empty() {
            break;
        }
        for folder in lifted {
            for entry in folder.read_dir()? {
                let entry = entry?;
                if entry.file_type()?.is_dir() { lift(&entry.path())? } else { std::fs::remove_file(entry.path())? }
            }
            std::fs::remove_dir(folder)?;
        }
    }
    std::fs::remove_dir(&gone)?;
    std::fs::remove_dir(place)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt, symlink};

    use super::*;

    fn is_empty(folder: &Path) -> bool {
        folder.read_dir().unwrap().next().is_none()
    }

    #[tokio::test]
    async fn l33_a_volumes_folder_is_private_and_goes_with_it_however_deep_it_is() {
        let tmp = tempfile::tempdir().unwrap();
        let folder = tmp.path().join("volumes");
        let budget = VolumeBudget::new(100);
        let remover = Remover::start(&folder, &budget, 10).unwrap();
        let room = budget.take(10, 1).unwrap().remove(0);
        let volume = Folder::make(&folder, &remover, room).unwrap();
        assert_eq!(volume.files().metadata().unwrap().mode() & 0o777, 0o700);
        // Deeper than a path may be long: each is made in the one before, which is moved below it.
        let files = volume.files();
        for _ in 0..3000 {
            let (inner, outer) = (files.join("a-folder"), files.join("outer"));
            std::fs::create_dir(&outer).unwrap();
            if inner.exists() {
                std::fs::rename(&inner, outer.join("a-folder")).unwrap();
            }
            std::fs::rename(&outer, &inner).unwrap();
        }
        let outside = tmp.path().join("outside");
        std::fs::create_dir(&outside).unwrap();
        std::fs::write(outside.join("kept"), "").unwrap();
        symlink(&outside, files.join("a-folder/link")).unwrap();
        assert_eq!(budget.taken_bytes(), 10);
        drop(volume);
        remover.settled(Duration::from_secs(60)).await;
        assert!(is_empty(&folder) && outside.join("kept").exists());
        assert_eq!(budget.taken_bytes(), 0);
    }

    #[tokio::test]
    async fn l33_what_a_killed_process_left_goes_at_the_next_start_also_if_it_was_being_removed() {
        let tmp = tempfile::tempdir().unwrap();
        for path in ["a/files/x/y", "b/gone/1/z", "b/files/1", "c"] {
            std::fs::create_dir_all(tmp.path().join(path)).unwrap();
        }
        std::fs::write(tmp.path().join("a/files/x/file"), "text").unwrap();
        let budget = VolumeBudget::new(100);
        let remover = Remover::start(tmp.path(), &budget, 10).unwrap();
        remover.settled(Duration::from_secs(60)).await;
        assert!(is_empty(tmp.path()));
        assert_eq!(budget.taken_bytes(), 0);
    }

    #[tokio::test]
    async fn l31_a_folder_that_is_still_on_the_disk_keeps_its_room() {
        let tmp = tempfile::tempdir().unwrap();
        let budget = VolumeBudget::new(100);
        let remover = Remover::start(tmp.path(), &budget, 10).unwrap();
        let volume = Folder::make(tmp.path(), &remover, budget.take(10, 1).unwrap().remove(0)).unwrap();
        // Something else has the name that removing needs.
        std::fs::write(volume.place.join(GONE), "").unwrap();
        drop(volume);
        remover.settled(Duration::from_secs(60)).await;
        assert!(!is_empty(tmp.path()));
        assert_eq!(budget.taken_bytes(), 10);
    }
}
