//! Images on this machine's disk: files and OCI image layout folders.

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use berth_model::digest::Digest;
use berth_model::image::ImageRef;
use berth_model::resource::PullPolicy;
use berth_model::workload::PullCredentials;
use tokio::sync::Semaphore;

use crate::error::FetchError;
use crate::source::{Artifact, Source};
use crate::{file, layout};

/// How much a [`LocalSource`] reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LocalLimits {
    /// The largest component, in bytes. Default 256 MiB: ten times the largest that the language toolchains make today.
    pub component_bytes: u64,
    /// The largest `oci-layout`, index or manifest, in bytes. Default 4 MiB, the limit that registries set for manifests.
    pub metadata_bytes: u64,
    /// Images read at once, at least 1; the others wait. Default 4. With `component_bytes` it bounds the memory that reading takes.
    pub concurrent_reads: usize,
}

impl Default for LocalLimits {
    fn default() -> Self {
        Self { component_bytes: 256 << 20, metadata_bytes: 4 << 20, concurrent_reads: 4 }
    }
}

/// Reads component files and OCI image layout folders. Every fetch reads afresh, so a rebuilt component is seen at once; pull policies
/// and credentials don't matter.
#[derive(Clone, Debug)]
pub struct LocalSource {
    limits: LocalLimits,
    reads: Arc<Semaphore>,
}

impl LocalSource {
    /// A source with these bounds.
    #[must_use]
    pub fn new(limits: LocalLimits) -> Self {
        let permits = limits.concurrent_reads.clamp(1, Semaphore::MAX_PERMITS);
        Self { limits, reads: Arc::new(Semaphore::new(permits)) }
    }
}

impl Default for LocalSource {
    fn default() -> Self {
        Self::new(LocalLimits::default())
    }
}

#[async_trait]
impl Source for LocalSource {
    async fn fetch(&self, image: &ImageRef, _policy: PullPolicy, _credentials: Option<&PullCredentials>) -> Result<Artifact, FetchError> {
        let interrupted = || FetchError::Interrupted { image: image.to_string() };
        let permit = self.reads.clone().acquire_owned().await.map_err(|_closed| interrupted())?;
        let (limits, wanted) = (self.limits, image.clone());
        let read = tokio::task::spawn_blocking(move || {
            // Held until the reading ends, also when nobody waits for it any more.
            let _permit = permit;
            read(&wanted, &limits)
        });
        // The task can only fail to finish when its runtime shuts down.
        let (digest, bytes) = read.await.map_err(|_cancelled| interrupted())??;
        Ok(Artifact { digest, bytes: bytes.into(), cached: false })
    }
}

fn read(image: &ImageRef, limits: &LocalLimits) -> Result<(Digest, Vec<u8>), FetchError> {
    match image {
        ImageRef::File(path) => component_file(path, limits),
        ImageRef::OciLayout { path, reference } => layout::component(path, reference.as_deref(), limits),
        ImageRef::Registry(reference) => Err(FetchError::NoRegistry { image: reference.to_string() }),
        ImageRef::Artifact(name) => Err(FetchError::Unresolved { name: name.clone() }),
    }
}

/// A component's file, or a folder that turns out to be an OCI image layout.
fn component_file(path: &Path, limits: &LocalLimits) -> Result<(Digest, Vec<u8>), FetchError> {
    if path.is_dir() {
        return layout::component(path, None, limits);
    }
    let bytes = file::read(path, limits.component_bytes)?;
    Ok((Digest::of(&bytes), bytes))
}
