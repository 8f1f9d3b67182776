//! The one thing a host asks of a place that keeps images.

use async_trait::async_trait;
use berth_model::digest::Digest;
use berth_model::image::ImageRef;
use berth_model::resource::PullPolicy;
use berth_model::workload::PullCredentials;
use bytes::Bytes;

use crate::error::FetchError;

/// The bytes of one component.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Artifact {
    /// The digest of `bytes`, computed or verified by the source.
    pub digest: Digest,
    /// The component, as it was stored. Not checked to be one.
    pub bytes: Bytes,
    /// Whether a cache had it, so that nothing was transferred.
    pub cached: bool,
}

/// A place that component images come from.
#[async_trait]
pub trait Source: Send + Sync + 'static {
    /// The bytes of `image`, whole and verified. Cancel safe: a dropped call leaves nothing behind that a later one would trip over.
    ///
    /// `policy` says whether a cached copy will do, and `credentials` open a registry; a source without either ignores them.
    ///
    /// # Errors
    /// What stood in the way, naming the image's path or reference.
    async fn fetch(&self, image: &ImageRef, policy: PullPolicy, credentials: Option<&PullCredentials>) -> Result<Artifact, FetchError>;
}
