//! The key that authenticates compiled code: random, made at the first start, readable by its user alone.

use std::fs::{DirBuilder, File, Permissions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use berth_oci::CacheError;
use ring::hmac;
use ring::rand::SecureRandom as _;
use tracing::warn;

const KEY_BYTES: usize = 32;
/// Bytes of an authentication code.
pub(super) const TAG_BYTES: usize = 32;

/// An HMAC-SHA-256 key.
pub(super) struct Key(hmac::Key);

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key(..)")
    }
}

impl Key {
    pub(super) fn of(bytes: [u8; KEY_BYTES]) -> Key {
        Key(hmac::Key::new(hmac::HMAC_SHA256, &bytes))
    }

    /// The key in `folder`, made if there is none. One that others may have read or written is replaced: what it made is no longer
    /// authentic.
    pub(super) fn open(folder: &Path) -> Result<Key, CacheError> {
        let path = folder.join("key");
        let failed = |action| CacheError::at(action, &path);
        for _ in 0..2 {
            match read(&path).map_err(failed("reading"))? {
                Some(Some(bytes)) => return Ok(Key::of(bytes)),
                Some(None) => {
                    warn!(key = %path.display(), "the key of the compiled code's cache was open to others or damaged: it is replaced");
                    match std::fs::remove_file(&path) {
                        // Another process that starts was faster.
                        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed("removing")(error)),
                        _ => {}
                    }
                }
                None => {}
            }
            make(folder, &path).map_err(failed("making"))?;
        }
        let bytes = read(&path).map_err(failed("reading"))?.flatten();
        bytes.map(Key::of).ok_or_else(|| failed("making")(io::Error::other("another program keeps changing it")))
    }

    /// Whether `folder` has a key.
    pub(super) fn is_there(folder: &Path) -> bool {
        folder.join("key").exists()
    }

    pub(super) fn tag(&self, name: &str, content: &[u8]) -> [u8; TAG_BYTES] {
        let mut context = hmac::Context::with_key(&self.0);
        context.update(prefix(name).as_slice());
        context.update(content);
        context.sign().as_ref().try_into().expect("SHA-256 gives 32 bytes")
    }

    /// Whether this key made `tag`; takes the same time wherever they differ.
    pub(super) fn made(&self, tag: &[u8; TAG_BYTES], name: &str, content: &[u8]) -> bool {
        let actual = self.tag(name, content);
        actual.iter().zip(tag).fold(0, |differs, (a, b)| differs | (a ^ b)) == 0
    }
}

/// The name with its length before it, so that no name and content read as others.
fn prefix(name: &str) -> Vec<u8> {
    [&(name.len() as u64).to_le_bytes(), name.as_bytes()].concat()
}

/// The key in the file: none if there is no file, `Some(None)` if it isn't to be trusted.
fn read(path: &Path) -> io::Result<Option<Option<[u8; KEY_BYTES]>>> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let metadata = file.metadata()?;
    let (owner, user) = (metadata.uid(), rustix::process::geteuid().as_raw());
    if owner != user {
        // Somebody's good key: who runs this as another user, root above all, must not take it away.
        return Err(io::Error::other(format!("it belongs to user {owner}, and this is user {user}")));
    }
    let own = metadata.mode() & 0o077 == 0;
    let mut bytes = [0; KEY_BYTES];
    let whole = metadata.is_file() && metadata.len() == KEY_BYTES as u64 && file.read_exact(&mut bytes).is_ok();
    Ok(Some((own && whole).then_some(bytes)))
}

/// Puts a new key in place unless another process was faster.
fn make(folder: &Path, path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let mut bytes = [0; KEY_BYTES];
    ring::rand::SystemRandom::new().fill(&mut bytes).map_err(|_| io::Error::other("the system gives no random bytes"))?;
    let mut file = tempfile::Builder::new().prefix(".key-").permissions(Permissions::from_mode(0o600)).tempfile_in(folder)?;
    file.write_all(&bytes)?;
    file.as_file().sync_all()?;
    match file.persist_noclobber(path) {
        Err(failed) if failed.error.kind() != io::ErrorKind::AlreadyExists => Err(failed.error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn l36_the_key_is_its_users_alone_and_stays() {
        let folder = tempfile::tempdir().unwrap();
        let tag = Key::open(folder.path()).unwrap().tag("name", b"content");
        let path = folder.path().join("key");
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(Key::open(folder.path()).unwrap().tag("name", b"content"), tag);
    }

    #[test]
    fn l36_a_key_that_others_could_read_or_that_is_cut_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        let tag = || Key::open(folder.path()).unwrap().tag("name", b"content");
        let first = tag();
        std::fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        let second = tag();
        assert_ne!(first, second);
        std::fs::write(&path, b"short").unwrap();
        assert_ne!(second, tag());
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
    }
}
