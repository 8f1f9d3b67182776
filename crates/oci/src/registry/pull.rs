//! One pull: from a reference to the root document, the manifest, the component; each bounded, verified, and kept.

use berth_model::digest::Digest;
use berth_model::image::RegistryRef;
use bytes::Bytes;
use http::Method;
use http::header::CONTENT_LENGTH;
use tracing::warn;

use super::error::PullFailure;
use super::flight::Turns;
use super::progress::PullStage;
use super::session::{Failed, Session, Tries};
use crate::cache::{Cache, Record, Stored, key, of_digest};
use crate::hash::Hashing;
use crate::manifest::{self, Descriptor, NoPlatform, Root};
use crate::source::Artifact;

/// What distinguishes a component's blob among what a registry serves; storage behind it doesn't care.
const ANY: &str = "*/*";
/// The header in which a registry says what a manifest's digest is.
const CONTENT_DIGEST: &str = "docker-content-digest";

/// One pull of one image.
pub struct Pull<'a> {
    pub session: Session<'a>,
    pub cache: &'a Cache,
    pub reference: &'a RegistryRef,
    /// One download per registry and digest: whoever holds it downloads, the others find it in the cache then.
    pub downloads: &'a Turns,
}

impl Pull<'_> {
    /// Asks the registry what the reference means, and gets what of it isn't cached.
    pub async fn run(mut self) -> Result<Artifact, PullFailure> {
        self.session.line.stage(PullStage::Resolving);
        let (root, content) = self.root().await?;
        let (manifest, layers) = self.manifest(&root, &content).await?;
        let layer =
            manifest::component(&layers).map_err(|layers| PullFailure::NotAComponent { found: manifest::well_known(&layers), layers })?;
        let limit_bytes = self.session.settings.limits.component_bytes;
        if layer.size > limit_bytes {
            return Err(PullFailure::TooLarge { what: "component", actual_bytes: Some(layer.size), limit_bytes });
        }
        let artifact = self.component(layer).await?;
        self.remember(root, manifest, artifact.digest.clone()).await;
        Ok(artifact)
    }

    /// The document that the reference leads to: what its record says, if the registry says that this still holds, else what it sends.
    async fn root(&mut self) -> Result<(Digest, Vec<u8>), PullFailure> {
        let key = key(self.reference);
        let known = blocking(self.cache, move |cache| cache.record(&key)).await.flatten().map(|record| record.root);
        if let Some(known) = known
            && let Some(content) = self.cached_document(&known).await
            && self.is_current(&known).await?
        {
            return Ok((known, content));
        }
        let expected = self.reference.digest.clone();
        let name = match (&expected, &self.reference.tag) {
            (Some(digest), _) => digest.to_string(),
            (None, tag) => tag.clone().unwrap_or_else(|| "latest".to_owned()),
        };
        self.document(&name, expected.as_ref()).await
    }

    /// Whether the registry still means that document by the reference. If it doesn't say, it isn't known.
    async fn is_current(&mut self, known: &Digest) -> Result<bool, PullFailure> {
        let name = match (&self.reference.digest, &self.reference.tag) {
            (Some(digest), _) => digest.to_string(),
            (None, tag) => tag.clone().unwrap_or_else(|| "latest".to_owned()),
        };
        let address = self.session.address(&format!("manifests/{name}"));
        let mut tries = Tries::default();
        loop {
            match self.session.request(Method::HEAD, &address, manifest::ACCEPT).await {
                Ok(response) => {
                    let said = response.headers().get(CONTENT_DIGEST).and_then(|value| value.to_str().ok());
                    return Ok(said == Some(known.as_str()));
                }
                // A refusal comes with its reason only when the document itself is asked for.
                Err(Failed::ForGood(failure)) if !matches!(failure, PullFailure::Unauthorized { .. }) => return Ok(false),
                Err(failed) => self.session.after(&mut tries, failed).await?,
            }
        }
    }

    /// The manifest and its layers: the root itself, or the one of that index.
    async fn manifest(&mut self, root: &Digest, content: &[u8]) -> Result<(Digest, Vec<Descriptor>), PullFailure> {
        let malformed = |problem| PullFailure::Malformed { problem };
        let images = match manifest::root(content).map_err(malformed)? {
            Root::Manifest(layers) => return Ok((root.clone(), layers)),
            Root::Index(images) => images,
        };
        let chosen = manifest::choose_platform(&images).map_err(|none| match none {
            NoPlatform::Missing(platforms) => PullFailure::OtherPlatforms { platforms },
            NoPlatform::Ambiguous(digests) => PullFailure::SeveralComponents { digests },
        })?;
        let limit_bytes = self.session.settings.limits.manifest_bytes;
        if chosen.size > limit_bytes {
            return Err(PullFailure::TooLarge { what: "manifest", actual_bytes: Some(chosen.size), limit_bytes });
        }
        let content = match self.cached_document(&chosen.digest).await {
            Some(content) => content,
            None => self.document(chosen.digest.as_str(), Some(&chosen.digest)).await?.1,
        };
        match manifest::root(&content).map_err(malformed)? {
            Root::Manifest(layers) => Ok((chosen.digest.clone(), layers)),
            Root::Index(_) => Err(malformed("the index has an index within".to_owned())),
        }
    }

    async fn cached_document(&self, digest: &Digest) -> Option<Vec<u8>> {
        let (digest, limit_bytes) = (digest.clone(), self.session.settings.limits.manifest_bytes);
        blocking(self.cache, move |cache| cache.read(&digest, limit_bytes)).await.flatten()
    }

    /// A manifest or index from the registry, verified and kept.
    async fn document(&mut self, name: &str, expected: Option<&Digest>) -> Result<(Digest, Vec<u8>), PullFailure> {
        let address = self.session.address(&format!("manifests/{name}"));
        let mut tries = Tries::default();
        let (digest, content) = loop {
            match self.try_document(&address, expected).await {
                Ok(document) => break document,
                Err(failed) => self.session.after(&mut tries, failed).await?,
            }
        };
        keep(self.cache, digest.clone(), content.clone().into()).await;
        Ok((digest, content))
    }

    async fn try_document(&mut self, address: &str, expected: Option<&Digest>) -> Result<(Digest, Vec<u8>), Failed> {
        let mut response = self.session.request(Method::GET, address, manifest::ACCEPT).await?;
        let registry = || self.session.registry.to_owned();
        let said = response.headers().get(CONTENT_DIGEST).and_then(|value| value.to_str().ok()).and_then(|text| text.parse().ok());
        let length = response.content_length();
        let limit_bytes = self.session.settings.limits.manifest_bytes;
        let limit = usize::try_from(limit_bytes).unwrap_or(usize::MAX);
        let too_large = |actual_bytes| PullFailure::TooLarge { what: "manifest", actual_bytes, limit_bytes };
        if length.is_some_and(|length| length > limit_bytes) {
            return Err(too_large(length).into());
        }
        let content = self.session.body(&mut response, limit).await?.ok_or_else(|| too_large(None))?;
        let actual = Digest::of(&content);
        match expected.or(said.as_ref()) {
            Some(expected) if *expected != actual => {
                Err(PullFailure::WrongDigest { what: "manifest", registry: registry(), expected: expected.clone(), actual }.into())
            }
            _ => Ok((actual, content)),
        }
    }

    /// The component: from the cache, else from the registry, once however many want it.
    async fn component(&mut self, layer: &Descriptor) -> Result<Artifact, PullFailure> {
        let turn = self.downloads.of(self.session.registry, &layer.digest);
        let _turn = turn.lock().await;
        let (digest, limit_bytes) = (layer.digest.clone(), self.session.settings.limits.component_bytes);
        if let Some(bytes) = blocking(self.cache, move |cache| cache.read(&digest, limit_bytes)).await.flatten() {
            self.session.metrics.hits.increment();
            return Ok(Artifact { digest: layer.digest.clone(), bytes: bytes.into(), cached: true });
        }
        self.session.metrics.misses.increment();
        let bytes = self.download(layer).await?;
        keep(self.cache, layer.digest.clone(), bytes.clone()).await;
        Ok(Artifact { digest: layer.digest.clone(), bytes, cached: false })
    }

    async fn download(&mut self, layer: &Descriptor) -> Result<Bytes, PullFailure> {
        let address = self.session.address(&format!("blobs/{}", layer.digest));
        let mut tries = Tries::default();
        loop {
            match self.try_download(&address, layer).await {
                Ok(bytes) => return Ok(bytes),
                Err(failed) => self.session.after(&mut tries, failed).await?,
            }
        }
    }

    /// One try to get the component, hashed as it comes. What comes after the size that the manifest says isn't read.
    async fn try_download(&mut self, address: &str, layer: &Descriptor) -> Result<Bytes, Failed> {
        let registry = self.session.registry.to_owned();
        let mut response = self.session.request(Method::GET, address, ANY).await.map_err(|failed| match failed {
            Failed::ForGood(PullFailure::NotFound { registry, .. }) => {
                PullFailure::BlobNotFound { registry, digest: layer.digest.clone() }.into()
            }
            failed => failed,
        })?;
        let overlong = || PullFailure::Overlong { registry: registry.clone(), expected_bytes: layer.size };
        let announced = response.headers().get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()).and_then(|text| text.parse().ok());
        if announced.is_some_and(|announced: u64| announced > layer.size) {
            return Err(overlong().into());
        }
        self.session.line.transferring(layer.size);
        // Memory is taken as it is written to, so a size that isn't true costs nothing.
        let mut content = Vec::with_capacity(usize::try_from(layer.size).unwrap_or(0));
        let (mut hashing, mut done_bytes) = (Hashing::default(), 0u64);
        let ended = loop {
            let piece = match self.session.piece(&mut response).await {
                Ok(Some(piece)) => piece,
                Ok(None) => break None,
                Err(failed) => break Some(failed),
            };
            let bytes = u64::try_from(piece.len()).unwrap_or(u64::MAX);
            self.session.metrics.transferred_bytes.add(bytes);
            done_bytes = done_bytes.saturating_add(bytes);
            if done_bytes > layer.size {
                return Err(overlong().into());
            }
            hashing.update(&piece);
            content.extend_from_slice(&piece);
            self.session.line.done(done_bytes);
        };
        if done_bytes < layer.size {
            let truncated = PullFailure::Truncated { what: "component", registry, expected_bytes: layer.size, actual_bytes: done_bytes };
            return Err(match ended {
                Some(Failed::ForNow(PullFailure::Unreachable { .. }, _)) | None => Failed::ForNow(truncated, None),
                Some(failed) => failed,
            });
        }
        let actual = hashing.finish();
        if actual != layer.digest {
            let expected = layer.digest.clone();
            return Err(PullFailure::WrongDigest { what: "component", registry, expected, actual }.into());
        }
        Ok(content.into())
    }

    /// Notes what the reference led to, also under its digest. Without that note the image is only pulled again.
    async fn remember(&self, root: Digest, manifest: Digest, component: Digest) {
        let RegistryRef { registry, repository, .. } = self.reference;
        let by_digest = |digest: &Digest| of_digest(registry, repository, digest);
        let mut references =
            vec![(key(self.reference), root.clone()), (by_digest(&root), root.clone()), (by_digest(&manifest), manifest.clone())];
        references.dedup();
        blocking(self.cache, move |cache| {
            for (reference, root) in references {
                let record = Record { reference, root, manifest: manifest.clone(), component: component.clone() };
                if cache.record(&record.reference)?.as_ref() != Some(&record) {
                    cache.remember(&record)?;
                }
            }
            Ok(())
        })
        .await;
    }
}

/// Keeps verified content. What can't be kept is only fetched again.
async fn keep(cache: &Cache, digest: Digest, content: Bytes) {
    let name = digest.clone();
    let stored = blocking(cache, move |cache| cache.write(&digest, &content)).await;
    if stored == Some(Stored::NoRoom) {
        warn!(digest = %name, "the image cache has no room for this: it is larger than the cache, or everything else is in use");
    }
    if stored != Some(Stored::Kept) {
        cache.metrics().unstored.increment();
    }
}

/// Work on the cache, off the threads that answer. Its failures are logged: they make a pull slower, not wrong.
pub async fn blocking<T: Send + 'static>(
    cache: &Cache,
    work: impl FnOnce(&Cache) -> Result<T, crate::cache::CacheError> + Send + 'static,
) -> Option<T> {
    let cache = cache.clone();
    match tokio::task::spawn_blocking(move || work(&cache)).await {
        Ok(Ok(value)) => Some(value),
        Ok(Err(error)) => {
            warn!(%error, "the image cache can't be used");
            None
        }
        // The runtime shuts down.
        Err(_cancelled) => None,
    }
}
