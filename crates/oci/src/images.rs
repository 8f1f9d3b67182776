//! Every place that images come from, by the form of the reference.

use async_trait::async_trait;
use berth_model::image::ImageRef;
use berth_model::resource::PullPolicy;
use berth_model::workload::PullCredentials;

use crate::error::FetchError;
use crate::local::LocalSource;
use crate::registry::RegistrySource;
use crate::source::{Artifact, Source};

/// Files and layout folders from this machine's disk, all else from registries through the cache.
#[derive(Clone, Debug)]
pub struct ImageSource {
    local: LocalSource,
    registry: RegistrySource,
}

impl ImageSource {
    /// A source of both.
    #[must_use]
    pub fn new(local: LocalSource, registry: RegistrySource) -> Self {
        Self { local, registry }
    }

    /// Where registries are pulled from.
    #[must_use]
    pub fn registry(&self) -> &RegistrySource {
        &self.registry
    }
}

#[async_trait]
impl Source for ImageSource {
    async fn fetch(&self, image: &ImageRef, policy: PullPolicy, credentials: Option<&PullCredentials>) -> Result<Artifact, FetchError> {
        match image {
            ImageRef::Registry(_) => self.registry.fetch(image, policy, credentials).await,
            ImageRef::File(_) | ImageRef::OciLayout { .. } | ImageRef::Artifact(_) => self.local.fetch(image, policy, credentials).await,
        }
    }
}
