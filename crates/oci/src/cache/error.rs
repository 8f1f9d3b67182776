//! Why the cache's folder can't be used.

use std::io;
use std::path::{Path, PathBuf};

/// A file or folder of the cache that couldn't be used. Display names what was tried; the source says why it failed.
#[derive(Debug, thiserror::Error)]
#[error("cache: {action} {}: {source}", path.display())]
pub struct CacheError {
    action: &'static str,
    path: PathBuf,
    /// What the system said. Part of the text, so that it isn't said twice.
    #[source]
    source: io::Error,
}

impl CacheError {
    /// Names the path in a system's error.
    pub fn at(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> CacheError {
        let path = path.to_owned();
        move |source| CacheError { action, path, source }
    }

    /// What the system said.
    pub fn io(&self) -> &io::Error {
        &self.source
    }
}
