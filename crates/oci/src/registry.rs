//! Images in OCI registries, through a cache on disk.
//!
//! Pulling is made of reqwest (what oci-client is made of): the crate oci-client itself reads manifests and tokens of any length, keeps one
//! set of credentials per registry, and hides `Retry-After` and why a token was refused.

mod backoff;
mod challenge;
mod error;
mod flight;
mod progress;
mod pull;
mod session;
mod settings;
mod transport;

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use berth_model::image::{ImageRef, RegistryRef};
use berth_model::resource::PullPolicy;
use berth_model::workload::PullCredentials;
use futures::FutureExt as _;
use tokio::sync::Semaphore;
use tracing::{info, warn};

pub use self::error::{CredentialsUsed, PullError, PullFailure};
use self::flight::{Flights, Shares, Turns};
use self::progress::Board;
pub use self::progress::{PullStage, Pulling, PullsWatch};
use self::pull::{Pull, blocking};
use self::session::Session;
pub use self::settings::{RegistryLimits, RegistrySettings};
use self::transport::Transport;
pub use self::transport::{RegistrySettingsError, system_authorities};
use crate::cache::{Cache, CacheError, key};
use crate::docker::Credentials;
use crate::error::FetchError;
use crate::manifest::{self, Root};
use crate::metrics::Metrics;
use crate::source::{Artifact, Source};

/// What two must ask for to share the work: the same image, in the same way, with the same rights.
type Wish = (RegistryRef, PullPolicy, Option<Credentials>);

/// What all who asked are told.
type Told = Result<Artifact, Arc<PullError>>;

/// Pulls images from registries and keeps them in a cache. Clones are the same source.
///
/// - `IfNotPresent` takes what is cached without a word to the registry, and `Never` takes nothing else (L35).
/// - `Always` asks the registry what the reference means, and transfers only what isn't cached.
/// - Who asks for the same image at the same time with the same credentials shares one pull, and one component is transferred once
///   whatever the images it is in. A pull ends when nobody waits for it any more.
#[derive(Clone)]
pub struct RegistrySource {
    shared: Arc<Shared>,
}

struct Shared {
    settings: RegistrySettings,
    transport: Transport,
    cache: Cache,
    board: Board,
    flights: Flights<Wish, Told>,
    downloads: Turns,
    /// Pulls at once, in all and per registry.
    pulls: Semaphore,
    shares: Shares,
    /// Readings of the cache at once. They wait for no pull: a registry that hangs doesn't hold up what is cached.
    reads: Arc<Semaphore>,
}

impl fmt::Debug for RegistrySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RegistrySource").field("settings", &self.shared.settings).finish_non_exhaustive()
    }
}

impl RegistrySource {
    /// A source with this cache. Reads the system's certificate authorities: blocks for some milliseconds.
    ///
    /// # Errors
    /// If the file of authorities can't be used.
    pub fn new(settings: RegistrySettings, cache: Cache) -> Result<Self, RegistrySettingsError> {
        let transport = Transport::new(&settings)?;
        let permits = |wanted: usize| Semaphore::new(wanted.clamp(1, Semaphore::MAX_PERMITS));
        let (pulls, reads) = (permits(settings.limits.concurrent_pulls), Arc::new(permits(settings.limits.concurrent_reads)));
        let shares = Shares::new(settings.limits.concurrent_pulls_per_registry);
        let (board, flights, downloads) = (Board::new(), Flights::new(), Turns::new());
        Ok(Self { shared: Arc::new(Shared { settings, transport, cache, board, flights, downloads, pulls, shares, reads }) })
    }

    /// Its cache.
    #[must_use]
    pub fn cache(&self) -> &Cache {
        &self.shared.cache
    }

    /// What it and its cache count.
    #[must_use]
    pub fn metrics(&self) -> &Arc<Metrics> {
        self.shared.cache.metrics()
    }

    /// Pulls under way, those that wait for their turn left out.
    #[must_use]
    pub fn running(&self) -> usize {
        self.shared.settings.limits.concurrent_pulls.max(1).saturating_sub(self.shared.pulls.available_permits())
    }

    /// Pulls under way from the registry that most come from, those left out that wait for its share.
    #[must_use]
    pub fn running_from_one(&self) -> usize {
        self.shared.shares.largest()
    }

    /// How registries are reached.
    #[must_use]
    pub fn settings(&self) -> &RegistrySettings {
        &self.shared.settings
    }

    /// What it is pulling, to watch.
    #[must_use]
    pub fn pulls(&self) -> PullsWatch {
        self.shared.board.watch()
    }

    /// The component of an image, whole and verified. Cancel safe.
    ///
    /// # Errors
    /// Why it can't be had, with the way out.
    pub async fn pull(
        &self,
        image: &RegistryRef,
        policy: PullPolicy,
        credentials: Option<Credentials>,
    ) -> Result<Artifact, Arc<PullError>> {
        let wish = (image.clone(), policy, credentials);
        let flight = self.shared.flights.join(wish.clone(), || {
            let shared = Arc::clone(&self.shared);
            async move {
                let (image, policy, credentials) = wish;
                let told = shared.fetch(&image, policy, credentials.as_ref()).await;
                told.map_err(|reason| Arc::new(PullError { image, reason }))
            }
            .boxed()
        });
        flight.await
    }
}

#[async_trait]
impl Source for RegistrySource {
    async fn fetch(&self, image: &ImageRef, policy: PullPolicy, credentials: Option<&PullCredentials>) -> Result<Artifact, FetchError> {
        let ImageRef::Registry(reference) = image else { return Err(FetchError::NotInRegistry { image: image.to_string() }) };
        let credentials = credentials.map(|given| Credentials::of(given.username.clone(), given.password.clone()));
        Ok(self.pull(reference, policy, credentials).await?)
    }
}

impl Shared {
    async fn fetch(&self, image: &RegistryRef, policy: PullPolicy, credentials: Option<&Credentials>) -> Result<Artifact, PullFailure> {
        match policy {
            PullPolicy::Never => match self.look_up(image).await {
                Some(found) => found?.ok_or(PullFailure::NotCached),
                None => Err(PullFailure::Interrupted),
            },
            PullPolicy::IfNotPresent => match self.cached(image).await {
                Some(artifact) => Ok(artifact),
                None => self.pull(image, credentials).await,
            },
            PullPolicy::Always => match self.pull(image, credentials).await {
                Err(reason) if reason.is_unreachable() => self.without_registry(image, reason).await,
                pulled => pulled,
            },
        }
    }

    async fn pull(&self, image: &RegistryRef, credentials: Option<&Credentials>) -> Result<Artifact, PullFailure> {
        let line = self.board.line(image.to_string());
        // The registry's share first: who waits for that takes no place of others.
        let share = self.shares.of(&image.registry);
        let _share = share.acquire().await.map_err(|_closed| PullFailure::Interrupted)?;
        let _permit = self.pulls.acquire().await.map_err(|_closed| PullFailure::Interrupted)?;
        let metrics = self.cache.metrics();
        metrics.pulls.increment();
        let place = (image.registry.as_str(), image.repository.as_str());
        let session = Session::new(&self.settings, &self.transport, metrics, &line, place, credentials);
        let pull = Pull { session, cache: &self.cache, reference: image, downloads: &self.downloads };
        let limit = self.settings.limits.pull;
        let pulled = match tokio::time::timeout(limit, pull.run()).await {
            Ok(pulled) => pulled,
            Err(_late) => Err(PullFailure::TooSlow { seconds: limit }),
        };
        match &pulled {
            Ok(artifact) => info!(%image, digest = %artifact.digest, bytes = artifact.bytes.len(), cached = artifact.cached, "pulled"),
            Err(_) => metrics.failures.increment(),
        }
        pulled
    }

    /// What policy `Always` does when the registry can't be asked.
    async fn without_registry(&self, image: &RegistryRef, reason: PullFailure) -> Result<Artifact, PullFailure> {
        match self.cached(image).await {
            Some(artifact) if self.settings.cached_when_unreachable => {
                warn!(%image, %reason, "the registry can't be asked whether this image is current: the cached one is used");
                Ok(artifact)
            }
            Some(_) => Err(PullFailure::NotRevalidated { reason: Box::new(reason) }),
            None => Err(reason),
        }
    }

    /// What the cache has for an image; a cache that can't be used has nothing.
    async fn cached(&self, image: &RegistryRef) -> Option<Artifact> {
        match self.look_up(image).await? {
            Ok(found) => found,
            Err(error) => {
                warn!(%error, "the image cache can't be used");
                None
            }
        }
    }

    async fn look_up(&self, image: &RegistryRef) -> Option<Result<Option<Artifact>, CacheError>> {
        let permit = self.reads.clone().acquire_owned().await.ok()?;
        let (image, limits) = (image.clone(), self.settings.limits);
        // The permit goes with the reading, which goes on when nobody waits for it any more.
        let found = blocking(&self.cache, move |cache| {
            let found = read(cache, &image, &limits);
            drop(permit);
            Ok(found)
        });
        let found = found.await?;
        if let Ok(Some(_)) = found {
            self.cache.metrics().hits.increment();
        }
        Some(found)
    }
}

/// Follows a reference through the cache, verifying each step: record, root, manifest, component. `None` where one is missing.
fn read(cache: &Cache, image: &RegistryRef, limits: &RegistryLimits) -> Result<Option<Artifact>, CacheError> {
    let layers = |content: &[u8]| match manifest::root(content) {
        Ok(Root::Manifest(layers)) => Some(layers),
        _ => None,
    };
    let Some(record) = cache.record(&key(image))? else { return Ok(None) };
    // Where the reference has a digest, that decides, and not what a record says about it.
    let root = image.digest.as_ref().unwrap_or(&record.root);
    let Some(content) = cache.read(root, limits.manifest_bytes)? else { return Ok(None) };
    let layers = match manifest::root(&content) {
        Ok(Root::Manifest(layers)) => Some(layers),
        Ok(Root::Index(images)) => match manifest::choose_platform(&images) {
            Ok(chosen) => cache.read(&chosen.digest, limits.manifest_bytes)?.as_deref().and_then(layers),
            Err(_) => None,
        },
        Err(_) => None,
    };
    let Some(layer) = layers.as_deref().and_then(|layers| manifest::component(layers).ok()) else { return Ok(None) };
    let Some(bytes) = cache.read(&layer.digest, limits.component_bytes)? else { return Ok(None) };
    Ok(Some(Artifact { digest: layer.digest.clone(), bytes: bytes.into(), cached: true }))
}
