//! OCI image layout folders to read, whole and then broken.

use std::fs;
use std::path::{Path, PathBuf};

use berth_model::digest::Digest;
use berth_model::image::ImageRef;
use berth_model::resource::PullPolicy;
use berth_oci::{Artifact, FetchError, LocalLimits, LocalSource, Source as _};

pub const WASM: &str = "application/wasm";
pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// A layout folder that is removed at the end.
pub struct Folder {
    dir: tempfile::TempDir,
    images: Vec<String>,
}

impl Folder {
    /// A layout without images.
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("blobs/sha256")).unwrap();
        fs::write(dir.path().join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
        let folder = Self { dir, images: Vec::new() };
        folder.write_index();
        folder
    }

    /// A layout with one unnamed image of a component.
    pub fn of(component: &[u8]) -> Self {
        let mut folder = Self::new();
        folder.add(None, &[(WASM, component)]);
        folder
    }

    /// Adds an image with these layers; the manifest's digest.
    pub fn add(&mut self, name: Option<&str>, layers: &[(&str, &[u8])]) -> Digest {
        let layers: Vec<_> =
            layers.iter().map(|(media_type, content)| descriptor(media_type, &self.blob(content), content.len())).collect();
        let config = descriptor("application/vnd.wasm.config.v0+json", &self.blob(b"{}"), 2);
        self.add_manifest(
            name,
            &format!(r#"{{"schemaVersion":2,"mediaType":"{MANIFEST}","config":{config},"layers":[{}]}}"#, layers.join(",")),
        )
    }

    /// Adds an image with this manifest; the manifest's digest.
    pub fn add_manifest(&mut self, name: Option<&str>, manifest: &str) -> Digest {
        let digest = self.blob(manifest.as_bytes());
        let mut image = descriptor(MANIFEST, &digest, manifest.len());
        if let Some(name) = name {
            image.truncate(image.len() - 1);
            image += &format!(r#","annotations":{{"org.opencontainers.image.ref.name":"{name}"}}}}"#);
        }
        self.images.push(image);
        self.write_index();
        digest
    }

    fn write_index(&self) {
        self.write("index.json", &format!(r#"{{"schemaVersion":2,"manifests":[{}]}}"#, self.images.join(",")));
    }

    /// Stores content under its digest.
    pub fn blob(&self, content: &[u8]) -> Digest {
        let digest = Digest::of(content);
        fs::write(self.blob_path(&digest), content).unwrap();
        digest
    }

    pub fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.path().join("blobs/sha256").join(digest.hex())
    }

    pub fn write(&self, name: &str, content: &str) {
        fs::write(self.path().join(name), content).unwrap();
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Fetches from it by `oci:` with a reference or none.
    pub fn fetch(&self, reference: Option<&str>) -> Result<Artifact, FetchError> {
        self.fetch_within(LocalLimits::default(), reference)
    }

    pub fn fetch_within(&self, limits: LocalLimits, reference: Option<&str>) -> Result<Artifact, FetchError> {
        let image = ImageRef::OciLayout { path: self.path().to_owned(), reference: reference.map(str::to_owned) };
        fetch(limits, &image)
    }
}

pub fn descriptor(media_type: &str, digest: &Digest, size: usize) -> String {
    format!(r#"{{"mediaType":"{media_type}","digest":"{digest}","size":{size}}}"#)
}

/// Fetches on a runtime of its own.
pub fn fetch(limits: LocalLimits, image: &ImageRef) -> Result<Artifact, FetchError> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(LocalSource::new(limits).fetch(image, PullPolicy::IfNotPresent, None))
}
