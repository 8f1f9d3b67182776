//! How values of Secrets are kept on disk: sealed with a key that is in a file of its own.
//!
//! Each value is encrypted by itself with AES-256-GCM under a random nonce. Namespace, name and key are authenticated with it, so that a
//! value that was put in another's place doesn't open. What the file's 32 bytes are used for is derived by HMAC-SHA-256, each use from
//! a label of its own; a sealed value begins with an identifier of the key, so that another key is told from a damaged value.
//!
//! The key protects copies of the database, such as backups, that go without it. Who can read both files can read the values.

use std::fs::{File, Permissions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, MAX_TAG_LEN, NONCE_LEN, Nonce, UnboundKey};
use ring::hmac::{self, HMAC_SHA256};
use ring::rand::{SecureRandom as _, SystemRandom};

use super::StoreError;
use crate::plan::MarkKey;

const KEY_BYTES: usize = 32;
/// Begins every sealed value, and says by which rules it was sealed.
const PREFIX: &str = "sealed:v1:";

/// The key that values are sealed with. Its `Debug` doesn't show it.
pub(super) struct SealKey {
    seal: LessSafeKey,
    /// Eight hex digits that tell this key from others, and nothing of it.
    id: String,
    marks: [u8; KEY_BYTES],
}

/// Why a sealed value doesn't open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unopened {
    /// Another key sealed it.
    OtherKey,
    /// It isn't what was sealed for this key of this Secret.
    Damaged,
}

/// Where a value stands: namespace and name of its Secret, and its key.
pub(super) type Place<'a> = [&'a str; 3];

impl std::fmt::Debug for SealKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SealKey({})", self.id)
    }
}

impl SealKey {
    fn of(bytes: [u8; KEY_BYTES]) -> SealKey {
        let root = hmac::Key::new(HMAC_SHA256, &bytes);
        let derive =
            |label: &str| -> [u8; KEY_BYTES] { hmac::sign(&root, label.as_bytes()).as_ref().try_into().expect("SHA-256 gives 32 bytes") };
        let seal = UnboundKey::new(&AES_256_GCM, &derive("berth secrets: seal v1")).expect("AES-256 takes 32 bytes");
        let id = hex::encode(&derive("berth secrets: identifier v1")[..4]);
        SealKey { seal: LessSafeKey::new(seal), id, marks: derive("berth secrets: marks v1") }
    }

    /// A key that goes with the process.
    pub(super) fn random() -> io::Result<SealKey> {
        random().map(SealKey::of)
    }

    /// The key in the file; none if there is no file.
    pub(super) fn read(path: &Path) -> Result<Option<SealKey>, StoreError> {
        let unusable = |why: String| StoreError::KeyUnusable { path: path.to_owned(), why };
        let mut file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(failed(path, source)),
        };
        let metadata = file.metadata().map_err(|source| failed(path, source))?;
        if !metadata.is_file() || metadata.len() != KEY_BYTES as u64 {
            return Err(unusable(format!("is no key of {KEY_BYTES} bytes: put the one back that was there")));
        }
        if metadata.mode() & 0o077 != 0 {
            let mode = metadata.mode() & 0o777;
            return Err(unusable(format!("is open to other users (mode {mode:04o}): close it with `chmod 600 {}`", path.display())));
        }
        let mut bytes = [0; KEY_BYTES];
        file.read_exact(&mut bytes).map_err(|source| failed(path, source))?;
        Ok(Some(SealKey::of(bytes)))
    }

    /// Makes the file with a new key, for its user alone. It appears whole or not at all, and never replaces one.
    pub(super) fn make(path: &Path) -> Result<SealKey, StoreError> {
        let make = || -> io::Result<SealKey> {
            let bytes = random()?;
            let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
            let mut file = tempfile::Builder::new().prefix(".key-").permissions(Permissions::from_mode(0o600)).tempfile_in(folder)?;
            file.write_all(&bytes)?;
            file.as_file().sync_all()?;
            file.persist_noclobber(path).map_err(|failed| failed.error)?;
            // The name has to outlast a power cut as well: what it seals would be lost without it.
            File::open(folder)?.sync_all()?;
            Ok(SealKey::of(bytes))
        };
        make().map_err(|source| failed(path, source))
    }

    /// The value, sealed for its place.
    pub(super) fn seal(&self, place: Place<'_>, value: &[u8]) -> io::Result<String> {
        let mut nonce = [0; NONCE_LEN];
        SystemRandom::new().fill(&mut nonce).map_err(|_| no_random())?;
        let mut sealed = Vec::with_capacity(value.len() + MAX_TAG_LEN);
        sealed.extend_from_slice(value);
        let done = self.seal.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(named(place)), &mut sealed);
        done.map_err(|_| io::Error::other("it is too long to be sealed"))?;
        Ok(format!("{PREFIX}{}:{}", self.id, STANDARD.encode([nonce.as_slice(), &sealed].concat())))
    }

    /// The value that was sealed for this place.
    pub(super) fn open(&self, place: Place<'_>, sealed: &str) -> Result<Vec<u8>, Unopened> {
        let (id, text) = sealed.strip_prefix(PREFIX).and_then(|rest| rest.split_once(':')).ok_or(Unopened::Damaged)?;
        if id != self.id {
            return Err(Unopened::OtherKey);
        }
        let mut bytes = STANDARD.decode(text).map_err(|_| Unopened::Damaged)?;
        let (nonce, sealed) = bytes.split_at_mut_checked(NONCE_LEN).ok_or(Unopened::Damaged)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| Unopened::Damaged)?;
        let opened = self.seal.open_in_place(nonce, Aad::from(named(place)), sealed);
        opened.map(|value| value.to_vec()).map_err(|_| Unopened::Damaged)
    }

    /// The key of the marks that stand for values where these must not be shown.
    pub(super) fn marks(&self) -> MarkKey {
        MarkKey::of(&self.marks)
    }
}

/// A place with lengths, so that no two read alike.
fn named(place: Place<'_>) -> Vec<u8> {
    let mut name = b"berth secret".to_vec();
    for part in place {
        name.extend_from_slice(&(part.len() as u64).to_le_bytes());
        name.extend_from_slice(part.as_bytes());
    }
    name
}

fn random() -> io::Result<[u8; KEY_BYTES]> {
    let mut bytes = [0; KEY_BYTES];
    SystemRandom::new().fill(&mut bytes).map_err(|_| no_random())?;
    Ok(bytes)
}

fn no_random() -> io::Error {
    io::Error::other("the system gives no random bytes")
}

fn failed(path: &Path, source: io::Error) -> StoreError {
    StoreError::Io { path: PathBuf::from(path), source: Arc::new(source) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACE: Place<'_> = ["default", "db", "PASSWORD"];

    #[test]
    fn a_sealed_value_opens_in_its_own_place_alone() {
        let key = SealKey::of([7; KEY_BYTES]);
        let sealed = key.seal(PLACE, b"hunter2").unwrap();
        assert_ne!(sealed, key.seal(PLACE, b"hunter2").unwrap(), "equal values don't look equal");
        assert_eq!(key.open(PLACE, &sealed).unwrap(), b"hunter2");
        for place in
            [["other", "db", "PASSWORD"], ["default", "other", "PASSWORD"], ["default", "db", "USER"], ["default", "dbP", "ASSWORD"]]
        {
            assert_eq!(key.open(place, &sealed), Err(Unopened::Damaged), "{place:?}");
        }
    }

    #[test]
    fn another_key_is_told_from_a_damaged_value() {
        let (key, other) = (SealKey::of([7; KEY_BYTES]), SealKey::of([8; KEY_BYTES]));
        let sealed = key.seal(PLACE, b"hunter2").unwrap();
        assert_eq!(other.open(PLACE, &sealed), Err(Unopened::OtherKey));
        let mut damaged = sealed.clone().into_bytes();
        let last = damaged.len() - 5;
        damaged[last] = if damaged[last] == b'A' { b'B' } else { b'A' };
        assert_eq!(key.open(PLACE, std::str::from_utf8(&damaged).unwrap()), Err(Unopened::Damaged));
        for text in ["", "hunter2", "sealed:v1:", &sealed[..20], &format!("{PREFIX}{}:AAAA", key.id)] {
            assert_eq!(key.open(PLACE, text), Err(Unopened::Damaged), "{text}");
        }
    }

    #[test]
    fn a_key_is_made_once_for_its_user_alone_and_shows_nowhere() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secrets.key");
        assert!(SealKey::read(&path).unwrap().is_none());
        let key = SealKey::make(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        let sealed = key.seal(PLACE, b"hunter2").unwrap();
        assert_eq!(SealKey::read(&path).unwrap().unwrap().open(PLACE, &sealed).unwrap(), b"hunter2");
        assert!(SealKey::make(&path).is_err(), "a key is never replaced");
        assert_eq!(format!("{key:?}").len(), "SealKey(01234567)".len());
        std::fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        let error = SealKey::read(&path).unwrap_err().to_string();
        assert!(error.contains("secrets.key") && error.contains("chmod 600"), "{error}");
        std::fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        std::fs::write(&path, "x").unwrap();
        assert!(SealKey::read(&path).unwrap_err().to_string().contains("no key of 32 bytes"));
    }
}
