//! Reading one file within bounds.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use crate::error::FetchError;

/// Names the path in a system's error.
pub fn failed(path: &Path) -> impl FnOnce(io::Error) -> FetchError {
    let path = path.to_owned();
    move |source| match source.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => FetchError::NotFound { path },
        _ => FetchError::Read { path, source },
    }
}

/// The whole content of a regular file of at most `limit_bytes`. Looks before it opens, since opening a pipe would wait for a writer.
pub fn read(path: &Path, limit_bytes: u64) -> Result<Vec<u8>, FetchError> {
    let too_large = |actual_bytes| FetchError::TooLarge { path: path.to_owned(), actual_bytes, limit_bytes };
    let metadata = fs::metadata(path).map_err(failed(path))?;
    if !metadata.is_file() {
        return Err(FetchError::NotAFile { path: path.to_owned() });
    }
    if metadata.len() > limit_bytes {
        return Err(too_large(metadata.len()));
    }
    let mut content = Vec::with_capacity(usize::try_from(metadata.len()).map_err(|_| too_large(metadata.len()))?);
    let file = File::open(path).map_err(failed(path))?;
    // One byte more than allowed tells a file that grew since.
    file.take(limit_bytes.saturating_add(1)).read_to_end(&mut content).map_err(failed(path))?;
    let read = u64::try_from(content.len()).unwrap_or(u64::MAX);
    if read > limit_bytes { Err(too_large(read)) } else { Ok(content) }
}

/// The real path of `relative` below `root`, which must be a real path itself; a link that leads out of `root` is refused.
pub fn within(root: &Path, relative: &Path) -> Result<PathBuf, FetchError> {
    let path = root.join(relative);
    let real = path.canonicalize().map_err(failed(&path))?;
    if real.starts_with(root) { Ok(real) } else { Err(FetchError::Escapes { path }) }
}
