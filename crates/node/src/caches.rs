//! The caches of one user: images that were pulled, and code that was compiled. Several processes share them.
//!
//! ```text
//! DIR/images/   components as registries have them (berth-oci)
//! DIR/code/     compiled components, authenticated (berth-host)
//! ```

use std::path::{Path, PathBuf};
use std::sync::Arc;

use berth_host::{CodeCache, CodeSettings};
use berth_oci::{
    Cache, CacheError, CacheSettings, ImageSource, LocalLimits, LocalSource, RegistrySettings, RegistrySettingsError, RegistrySource,
};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;

use crate::chain;

/// Where the caches are, and how large they get.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CachesConfig {
    /// The folder of both; `None`: `cache` in the data folder, and gone with it.
    pub dir: Option<PathBuf>,
    /// Whether it must be that folder, because a person named it; else the one in the data folder serves where it can't be used.
    pub required: bool,
    /// The most that images take, bytes. Default 4 GiB.
    pub image_bytes: u64,
    /// The most that compiled code takes, bytes. Default 8 GiB.
    pub code_bytes: u64,
}

impl Default for CachesConfig {
    fn default() -> CachesConfig {
        let (images, code) = (CacheSettings::in_folder(PathBuf::new()), CodeSettings::in_folder(PathBuf::new()));
        CachesConfig { dir: None, required: false, image_bytes: images.max_bytes, code_bytes: code.max_bytes }
    }
}

/// Both caches, open.
#[derive(Clone, Debug)]
pub struct Caches {
    /// Images.
    pub images: Cache,
    /// Compiled code.
    pub code: Arc<CodeCache>,
}

/// What the caches hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CachesSummary {
    /// Their folder.
    pub dir: PathBuf,
    /// Bytes of images.
    pub image_bytes: u64,
    /// Compiled components.
    pub compiled: u64,
    /// Bytes of those.
    pub code_bytes: u64,
}

impl Caches {
    /// Opens both below `config.dir`, or else `otherwise`; what is over a bound is removed. Blocks for as long as the disk takes.
    ///
    /// # Errors
    ///
    /// When the folder can't be made, read or written, and it is required or the other one can't either.
    pub fn open(config: &CachesConfig, otherwise: &Path) -> Result<Caches, CacheError> {
        let Some(dir) = &config.dir else { return Caches::open_in(otherwise, config) };
        match Caches::open_in(dir, config) {
            Err(error) if !config.required => {
                let (dir, instead) = (dir.display(), otherwise.display());
                tracing::warn!(%dir, %instead, error = chain(&error), "the caches' folder can't be used, so another is: name one with --cache-dir");
                Caches::open_in(otherwise, config)
            }
            opened => opened,
        }
    }

    fn open_in(dir: &Path, config: &CachesConfig) -> Result<Caches, CacheError> {
        let images = CacheSettings { max_bytes: config.image_bytes, ..CacheSettings::in_folder(dir.join("images")) };
        let code = CodeSettings { max_bytes: config.code_bytes, ..CodeSettings::in_folder(dir.join("code")) };
        Ok(Caches { images: Cache::open(images)?, code: Arc::new(CodeCache::open(code)?) })
    }

    /// What they hold now.
    ///
    /// # Errors
    ///
    /// When a folder can't be read.
    pub fn summary(&self) -> Result<CachesSummary, CacheError> {
        let folder = &self.images.settings().folder;
        let code = self.code.bytes()?;
        let dir = folder.parent().unwrap_or(folder).to_owned();
        Ok(CachesSummary { dir, image_bytes: self.images.bytes()?, compiled: code.entries, code_bytes: code.bytes })
    }

    /// Where a host's images come from: files, layout folders, and registries through the cache.
    ///
    /// # Errors
    ///
    /// When the registries' certificate authorities can't be used.
    pub(crate) fn source(&self, registries: RegistrySettings) -> Result<ImageSource, RegistrySettingsError> {
        let local = LocalSource::new(LocalLimits::default());
        Ok(ImageSource::new(local, RegistrySource::new(registries, self.images.clone())?))
    }
}

/// What the caches hold and the image cache counts, for `/metrics`.
#[derive(Debug)]
pub(crate) struct CachesCollector(pub(crate) Caches);

impl Collector for CachesCollector {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), std::fmt::Error> {
        // A folder that can't be read has no size to tell.
        if let Ok(held) = self.0.summary() {
            let gauges = [
                ("berth_image_cache_bytes", "what images take on disk", held.image_bytes),
                ("berth_code_cache_bytes", "what compiled code takes on disk", held.code_bytes),
            ];
            for (name, help, value) in gauges {
                encoder.encode_descriptor(name, help, None, MetricType::Gauge)?.encode_gauge(&value)?;
            }
        }
        let m = self.0.images.metrics();
        let counters = [
            ("berth_image_cache_hits", "images that the cache had", m.hits.get()),
            ("berth_image_cache_misses", "images that the cache lacked, in whole or in part", m.misses.get()),
            ("berth_image_cache_rejected", "files of the image cache that were damaged, and removed", m.corrupt.get()),
            ("berth_image_cache_unstored", "images that were pulled and couldn't be kept", m.unstored.get()),
            ("berth_image_cache_evicted_bytes", "bytes that left the image cache", m.evicted_bytes.get()),
            ("berth_image_pulls", "pulls from registries that were begun", m.pulls.get()),
            ("berth_image_pull_failures", "pulls from registries that failed", m.failures.get()),
            ("berth_image_pull_retries", "requests to registries that were tried again", m.retries.get()),
            ("berth_image_pulled_bytes", "bytes of components that came from registries", m.transferred_bytes.get()),
        ];
        for (name, help, value) in counters {
            encoder.encode_descriptor(name, help, None, MetricType::Counter)?.encode_counter::<NoLabelSet, _, f64>(&value, None)?;
        }
        Ok(())
    }
}
