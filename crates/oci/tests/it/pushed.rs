//! Images in a real registry, and sources that pull them.

use std::path::Path;
use std::time::Duration;

use berth_model::digest::Digest;
use berth_model::image::{ImageRef, RegistryRef};
use berth_oci::{Cache, CacheSettings, RegistryLimits, RegistrySettings, RegistrySource};
use berth_testkit::registry::{PASSWORD, USER};
use oci_client::client::{Certificate, CertificateEncoding, ClientConfig, ClientProtocol, Config, ImageLayer};
use oci_client::manifest::{ImageIndexEntry, OciImageIndex, OciImageManifest, OciManifest};
use oci_client::secrets::RegistryAuth;
use oci_client::{Client, Reference};

pub use crate::folder::WASM;

/// Content that no other seed has, with an end that matters.
pub fn component(seed: u8, len: usize) -> Vec<u8> {
    (0..len).map(|at| (at % 251) as u8 ^ seed).collect()
}

/// Who pushes.
pub struct Pusher {
    client: Client,
    auth: RegistryAuth,
}

impl Pusher {
    /// Into a registry in plain HTTP that lets in everybody.
    pub fn plain() -> Self {
        Self::new(ClientConfig { protocol: ClientProtocol::Http, ..ClientConfig::default() }, RegistryAuth::Anonymous)
    }

    /// Into one that lets in the test's user.
    pub fn user() -> Self {
        let auth = RegistryAuth::Basic(USER.to_owned(), PASSWORD.to_owned());
        Self::new(ClientConfig { protocol: ClientProtocol::Http, ..ClientConfig::default() }, auth)
    }

    /// Into one with a certificate of that authority.
    pub fn tls(ca_pem: &str) -> Self {
        let authority = Certificate { encoding: CertificateEncoding::Pem, data: ca_pem.into() };
        Self::new(ClientConfig { extra_root_certificates: vec![authority], ..ClientConfig::default() }, RegistryAuth::Anonymous)
    }

    fn new(config: ClientConfig, auth: RegistryAuth) -> Self {
        // The client takes what the process has; another test of this process may have said it already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        Self { client: Client::try_from(config).unwrap(), auth }
    }

    /// Pushes an image with these layers; the manifest's digest.
    pub async fn push(&self, image: &str, layers: &[(&str, &[u8])]) -> Digest {
        let reference: Reference = image.parse().unwrap();
        let layers: Vec<_> =
            layers.iter().map(|(media_type, content)| ImageLayer::new(content.to_vec(), (*media_type).to_owned(), None)).collect();
        let config = Config::new(&b"{}"[..], "application/vnd.wasm.config.v0+json".to_owned(), None);
        let mut manifest = OciImageManifest::build(&layers, &config, None);
        manifest.media_type = Some(crate::folder::MANIFEST.to_owned());
        self.client.push(&reference, &layers, config, &self.auth, Some(manifest)).await.unwrap();
        self.digest(&reference).await
    }

    /// Pushes an index of images that are there, each with its platform; the index's digest.
    pub async fn push_index(&self, image: &str, images: &[(&Digest, &str, &str)]) -> Digest {
        let reference: Reference = image.parse().unwrap();
        let entry = |(digest, os, architecture): &(&Digest, &str, &str)| -> ImageIndexEntry {
            let platform = serde_json::json!({"os": os, "architecture": architecture});
            let entry = serde_json::json!({"mediaType": crate::folder::MANIFEST, "digest": digest, "size": 1, "platform": platform});
            serde_json::from_value(entry).unwrap()
        };
        let index = OciImageIndex {
            schema_version: 2,
            media_type: Some("application/vnd.oci.image.index.v1+json".to_owned()),
            manifests: images.iter().map(entry).collect(),
            artifact_type: None,
            annotations: None,
        };
        self.client.push_manifest(&reference, &OciManifest::ImageIndex(index)).await.unwrap();
        self.digest(&reference).await
    }

    async fn digest(&self, reference: &Reference) -> Digest {
        self.client.fetch_manifest_digest(reference, &self.auth).await.unwrap().parse().unwrap()
    }
}

/// The reference in a registry's notation.
pub fn image(text: &str) -> RegistryRef {
    match ImageRef::parse(text).unwrap() {
        ImageRef::Registry(reference) => reference,
        other => panic!("{other} is in no registry"),
    }
}

/// Settings with which tests don't wait: short pauses, and plain HTTP with these registries.
pub fn settings(insecure: &[&str]) -> RegistrySettings {
    RegistrySettings {
        insecure: insecure.iter().map(|&name| name.to_owned()).collect(),
        environment_proxies: false,
        limits: RegistryLimits {
            attempts: 3,
            first_pause: Duration::from_millis(5),
            longest_pause: Duration::from_millis(20),
            stall: Duration::from_secs(20),
            ..RegistryLimits::default()
        },
        ..RegistrySettings::default()
    }
}

/// A source with a cache in that folder.
pub fn source(folder: &Path, settings: RegistrySettings) -> RegistrySource {
    let cache = Cache::open(CacheSettings::in_folder(folder.join("images"))).unwrap();
    RegistrySource::new(settings, cache).unwrap()
}
