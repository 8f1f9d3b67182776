//! The data folder: what one `berth up` owns, where it is, and who holds it.
//!
//! ```text
//! DIR/            0700
//!   berth.lock    held (flock) while a `berth up` runs; says who holds it
//!   berth.sock    0600, the local API
//!   store.db      the resources; values of Secrets are sealed in it
//!   secrets.key   0600, what they are sealed with
//!   volumes/      0700, ephemeral volumes of what runs
//! ```
//! A folder whose path is too long for a socket keeps it in `$XDG_RUNTIME_DIR/berth` instead.

mod holder;
mod leftovers;

use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use berth_model::digest::Digest;
use rustix::fs::{FlockOperation, flock};

pub use holder::Holder;

/// Longest path of a Unix socket: `sun_path` has 108 bytes, one of them the closing zero (unix(7)).
const MAX_SOCKET_PATH: usize = 107;

/// A data folder that this process holds; let go when dropped.
#[derive(Debug)]
pub struct DataFolder {
    path: PathBuf,
    lock: File,
    ephemeral: bool,
}

/// Why a data folder can't be used.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// Another process holds it.
    #[error("the data folder {} is in use by another `berth up`: {holder}; stop it with `berth stop`, or give this one a folder of its own with --data-dir", path.display())]
    Held {
        /// The folder.
        path: PathBuf,
        /// Who holds it, in words.
        holder: String,
    },
    /// It is something else.
    #[error("{} is a file, and a data folder is wanted there: name a folder with --data-dir; it is made if it isn't there", path.display())]
    NotFolder {
        /// The file.
        path: PathBuf,
    },
    /// Others may read or change it, and it isn't clearly Berth's own to tighten.
    #[error("the data folder {} {why}; {remedy} (--data-dir)", path.display())]
    Open {
        /// The folder.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
        /// What to do.
        remedy: String,
    },
    /// No socket fits.
    #[error("the path {} is too long for a socket (107 bytes at most), and there is no XDG_RUNTIME_DIR to put it: choose a shorter --data-dir", path.display())]
    SocketPath {
        /// Where the socket would be.
        path: PathBuf,
    },
    /// The file system says no.
    #[error("can't {action} {}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// With what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> DataError {
    move |source| DataError::Io { action, path: path.into(), source }
}

impl DataFolder {
    /// Takes the folder at `path`, and makes it where there is none.
    pub fn open(path: &Path) -> Result<DataFolder, DataError> {
        make_private(path)?;
        let path = path.canonicalize().map_err(failed("open the data folder", path))?;
        let lock = take_lock(&path)?;
        Ok(DataFolder { path, lock, ephemeral: false })
    }

    /// Takes a new folder below the system's folder for temporary files; it is removed when dropped. Those that killed processes left there
    /// are removed now.
    pub fn ephemeral() -> Result<DataFolder, DataError> {
        DataFolder::ephemeral_in(&std::env::temp_dir())
    }

    fn ephemeral_in(parent: &Path) -> Result<DataFolder, DataError> {
        leftovers::clear(parent);
        let path = parent.join(leftovers::new_name());
        let mut folder = DataFolder::open(&path)?;
        folder.ephemeral = true;
        Ok(folder)
    }

    /// Writes who holds the folder into the lock file.
    pub fn note(&self, holder: &Holder) -> Result<(), DataError> {
        let text = serde_json::to_string(holder).expect("a holder is plain data");
        let write = || {
            let mut file = &self.lock;
            file.set_len(0)?;
            file.rewind()?;
            file.write_all(text.as_bytes())
        };
        write().map_err(failed("write the lock file of", &self.path))
    }

    /// The folder, absolute.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether it goes with this value.
    pub fn is_ephemeral(&self) -> bool {
        self.ephemeral
    }

    /// Where the resources are.
    pub fn store_path(&self) -> PathBuf {
        self.path.join("store.db")
    }

    /// Where ephemeral volumes are.
    pub fn volumes_path(&self) -> PathBuf {
        self.path.join("volumes")
    }

    /// Where the local API listens. The folder it is in exists afterwards and is private.
    pub fn socket_path(&self) -> Result<PathBuf, DataError> {
        let path = socket_path(&self.path)?;
        if let Some(parent) = path.parent().filter(|p| *p != self.path) {
            make_private(parent)?;
        }
        Ok(path)
    }
}

impl Drop for DataFolder {
    fn drop(&mut self) {
        abandon(&self.path, self.ephemeral);
    }
}

/// Where the local API of the `berth up` on `data_dir` listens, for both ends to agree. The folder must exist to be found
/// under its one true name; one that doesn't is taken as written.
pub fn socket_path(data_dir: &Path) -> Result<PathBuf, DataError> {
    socket_path_in(data_dir, std::env::var_os("XDG_RUNTIME_DIR").filter(|d| !d.is_empty()).map(PathBuf::from))
}

fn socket_path_in(data_dir: &Path, runtime_dir: Option<PathBuf>) -> Result<PathBuf, DataError> {
    let data_dir = data_dir.canonicalize().unwrap_or_else(|_| data_dir.into());
    let fits = |path: &Path| path.as_os_str().len() <= MAX_SOCKET_PATH;
    let path = data_dir.join("berth.sock");
    if fits(&path) {
        return Ok(path);
    }
    let name = Digest::of(data_dir.as_os_str().as_bytes());
    let short = runtime_dir.map(|dir| dir.join("berth").join(format!("{}.sock", &name.hex()[..16])));
    short.filter(|p| fits(p)).ok_or(DataError::SocketPath { path })
}

/// What a process that ends at once leaves as it should be: no socket, and no folder that was to go.
pub fn abandon(data_dir: &Path, ephemeral: bool) {
    if let Ok(socket) = socket_path(data_dir) {
        let _ = std::fs::remove_file(socket);
    }
    if ephemeral {
        // Nothing to be done about what can't be removed; the system clears its temporary folder.
        let _ = std::fs::remove_dir_all(data_dir);
    }
}

/// Waits until nobody holds the folder any more, at most `patience`. Whether that came true.
pub async fn released(data_dir: &Path, patience: std::time::Duration) -> bool {
    let lock = data_dir.join("berth.lock");
    let free = async {
        // A lock can't be awaited without a thread that nothing could end, so it is tried: two system calls each time.
        while File::open(&lock).is_ok_and(|file| flock(&file, FlockOperation::NonBlockingLockShared).is_err()) {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(patience, free).await.is_ok()
}

/// Fails when `path` is there and is no folder.
pub(crate) fn check_is_folder(path: &Path) -> Result<(), DataError> {
    match path.metadata() {
        Ok(meta) if !meta.is_dir() => Err(DataError::NotFolder { path: path.into() }),
        _ => Ok(()),
    }
}

/// Makes `path` a folder that only its user can enter.
fn make_private(path: &Path) -> Result<(), DataError> {
    check_is_folder(path)?;
    let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(failed("make the folder", path))?;
    let meta = path.metadata().map_err(failed("look at the folder", path))?;
    let me = rustix::process::geteuid().as_raw();
    if meta.uid() != me {
        return Err(DataError::Open {
            path: path.into(),
            why: format!("belongs to another user (uid {})", meta.uid()),
            remedy: format!("run berth as that user, or give it to uid {me}"),
        });
    }
    let mode = meta.mode() & 0o777;
    if mode & 0o077 == 0 {
        return Ok(());
    }
    // An empty folder, or one that Berth used before, may be tightened; anything else might be a home folder or /tmp.
    let ours = path.join("berth.lock").exists() || path.read_dir().is_ok_and(|mut entries| entries.next().is_none());
    if !ours {
        return Err(DataError::Open {
            path: path.into(),
            why: format!("is open to other users (mode {mode:04o}) and holds other files"),
            remedy: format!("use a folder of berth's own, such as {}", path.join("berth").display()),
        });
    }
    std::fs::set_permissions(path, Permissions::from_mode(0o700)).map_err(failed("close to other users the folder", path))
}

fn take_lock(folder: &Path) -> Result<File, DataError> {
    let path = folder.join("berth.lock");
    let open = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(&path);
    let mut file = open.map_err(failed("open the lock file", &path))?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::WOULDBLOCK) => {
            let mut text = String::new();
            let read = file.read_to_string(&mut text).ok().and_then(|_| serde_json::from_str::<Holder>(&text).ok());
            let holder = read.map_or_else(|| "a process that is just starting".to_owned(), |h| h.to_string());
            Err(DataError::Held { path: folder.into(), holder })
        }
        Err(error) => Err(failed("lock", &path)(error.into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        path.metadata().unwrap().mode() & 0o777
    }

    #[test]
    fn a_folder_is_made_private_and_names_its_holder_to_the_second() {
        let tmp = tempfile::tempdir().unwrap();
        let path = tmp.path().join("a/b");
        let folder = DataFolder::open(&path).unwrap();
        assert_eq!(mode(&path), 0o700);
        assert_eq!(mode(&path.join("berth.lock")), 0o600);
        assert!(DataFolder::open(&path).unwrap_err().to_string().contains("just starting"));
        folder.note(&Holder::this_process("127.0.0.1:8000".into())).unwrap();
        let error = DataFolder::open(&path).unwrap_err().to_string();
        assert!(error.contains(&format!("process {}", std::process::id())), "{error}");
        assert!(error.contains("127.0.0.1:8000") && error.contains("berth stop") && error.contains("--data-dir"), "{error}");
        drop(folder);
        DataFolder::open(&path).unwrap();
    }

    #[test]
    fn a_shorter_holder_replaces_a_longer_one_whole() {
        let tmp = tempfile::tempdir().unwrap();
        let folder = DataFolder::open(&tmp.path().join("d")).unwrap();
        folder.note(&Holder::this_process("[2001:db8::1]:65535".into())).unwrap();
        let short = Holder::this_process(String::new());
        folder.note(&short).unwrap();
        let text = std::fs::read_to_string(folder.path().join("berth.lock")).unwrap();
        assert_eq!(serde_json::from_str::<Holder>(&text).unwrap(), short);
    }

    #[test]
    fn an_empty_open_folder_is_closed_and_one_with_other_files_is_refused() {
        let tmp = tempfile::tempdir().unwrap();
        let path = tmp.path().join("d");
        std::fs::create_dir(&path).unwrap();
        std::fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
        drop(DataFolder::open(&path).unwrap());
        assert_eq!(mode(&path), 0o700);

        let other = tmp.path().join("home");
        std::fs::create_dir(&other).unwrap();
        std::fs::write(other.join("letter"), "").unwrap();
        std::fs::set_permissions(&other, Permissions::from_mode(0o755)).unwrap();
        let error = DataFolder::open(&other).unwrap_err().to_string();
        assert!(error.contains("0755") && error.contains("home/berth (--data-dir)"), "{error}");
        assert_eq!(mode(&other), 0o755);
    }

    #[test]
    fn an_ephemeral_folder_goes_when_dropped() {
        let folder = DataFolder::ephemeral().unwrap();
        let path = folder.path().to_owned();
        assert!(path.exists());
        drop(folder);
        assert!(!path.exists());
    }

    #[test]
    fn what_killed_processes_left_goes_with_the_next_start_and_nothing_else_does() {
        let tmp = tempfile::tempdir().unwrap();
        let killed = |holder: &str| {
            let path = tmp.path().join(leftovers::new_name());
            DirBuilder::new().mode(0o700).create(&path).unwrap();
            std::fs::write(path.join("berth.lock"), holder).unwrap();
            std::fs::write(path.join("berth.sock"), "").unwrap();
            path
        };
        let dead = killed(&serde_json::to_string(&Holder::this_process("127.0.0.1:1".into())).unwrap());
        // May be starting just now: it has no holder yet, and takes its lock in a moment.
        let starting = killed("");
        let live = DataFolder::ephemeral_in(tmp.path()).unwrap();
        live.note(&Holder::this_process("127.0.0.1:2".into())).unwrap();
        assert!(!dead.exists() && starting.exists());

        let noted = r#"{"pid":1,"started":"2024-01-01T00:00:00Z"}"#;
        let other = tmp.path().join("berth-data");
        std::fs::rename(killed(noted), &other).unwrap();
        let link = tmp.path().join(leftovers::new_name());
        std::os::unix::fs::symlink(&other, &link).unwrap();
        let open = killed(noted);
        std::fs::set_permissions(&open, Permissions::from_mode(0o755)).unwrap();
        let second = DataFolder::ephemeral_in(tmp.path()).unwrap();
        for kept in [live.path(), second.path(), &starting, &other, &link, &open] {
            assert!(kept.join("berth.lock").exists(), "{}", kept.display());
        }
    }

    #[test]
    fn a_file_where_the_folder_should_be_is_called_one() {
        let tmp = tempfile::tempdir().unwrap();
        let path = tmp.path().join("d");
        std::fs::write(&path, "").unwrap();
        let error = DataFolder::open(&path).unwrap_err().to_string();
        assert!(error.contains("d is a file") && error.contains("--data-dir"), "{error}");
        assert!(DataFolder::open(&path.join("below")).is_err());
    }

    #[test]
    fn a_long_path_puts_the_socket_into_the_runtime_folder_or_says_what_to_do() {
        let short = socket_path_in(Path::new("/srv/berth"), None).unwrap();
        assert_eq!(short, Path::new("/srv/berth/berth.sock"));
        let long = PathBuf::from(format!("/{}", "x".repeat(120)));
        let fallback = socket_path_in(&long, Some("/run/user/1000".into())).unwrap();
        assert!(fallback.starts_with("/run/user/1000/berth"), "{fallback:?}");
        assert_eq!(fallback, socket_path_in(&long, Some("/run/user/1000".into())).unwrap());
        let error = socket_path_in(&long, None).unwrap_err().to_string();
        assert!(error.contains("--data-dir"), "{error}");
    }

    #[tokio::test]
    async fn a_folder_that_is_let_go_is_seen_as_free() {
        let tmp = tempfile::tempdir().unwrap();
        let folder = DataFolder::open(&tmp.path().join("d")).unwrap();
        let path = folder.path().to_owned();
        assert!(!released(&path, std::time::Duration::from_millis(30)).await);
        drop(folder);
        assert!(released(&path, std::time::Duration::from_secs(5)).await);
    }
}
