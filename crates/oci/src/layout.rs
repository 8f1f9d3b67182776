//! An OCI image layout folder: `oci-layout`, `index.json`, and blobs named for their digests, each verified when it is read.

use std::path::{Path, PathBuf};

use berth_model::digest::Digest;

use crate::error::FetchError;
use crate::file;
use crate::local::LocalLimits;
use crate::manifest::{self, Descriptor, NoChoice};

/// The file that makes a folder an OCI image layout.
const MARKER: &str = "oci-layout";

/// Whether a folder claims to be an OCI image layout.
pub fn is_layout(folder: &Path) -> bool {
    folder.join(MARKER).is_file()
}

/// The component that `reference` (a tag, a digest, or nothing where there is one image only) names in the layout at `folder`.
pub fn component(folder: &Path, reference: Option<&str>, limits: &LocalLimits) -> Result<(Digest, Vec<u8>), FetchError> {
    let layout = Layout::open(folder, limits)?;
    let image = layout.choose(reference)?;
    let (path, content) = layout.blob(&image, limits.metadata_bytes)?;
    let layers = manifest::layers(&content).map_err(|problem| FetchError::Malformed { path: path.clone(), problem })?;
    let layer = manifest::component(&layers).map_err(|layers| FetchError::NotAComponent { path, layers })?;
    let (_, bytes) = layout.blob(layer, limits.component_bytes)?;
    Ok((layer.digest.clone(), bytes))
}

struct Layout<'a> {
    /// As the user wrote it, for errors.
    folder: &'a Path,
    /// The folder's real path, which no file of it may lie outside of.
    root: PathBuf,
    limits: &'a LocalLimits,
}

impl<'a> Layout<'a> {
    fn open(folder: &'a Path, limits: &'a LocalLimits) -> Result<Self, FetchError> {
        let root = folder.canonicalize().map_err(file::failed(folder))?;
        if root.is_file() {
            return Err(FetchError::LayoutIsFile { path: folder.to_owned() });
        }
        if !is_layout(&root) {
            return Err(FetchError::NotALayout { path: folder.to_owned() });
        }
        let layout = Self { folder, root, limits };
        let (path, content) = layout.document(MARKER)?;
        manifest::check_layout(&content).map_err(|problem| FetchError::Malformed { path, problem })?;
        Ok(layout)
    }

    fn document(&self, name: &str) -> Result<(PathBuf, Vec<u8>), FetchError> {
        let path = file::within(&self.root, Path::new(name))?;
        let content = file::read(&path, self.limits.metadata_bytes)?;
        Ok((path, content))
    }

    fn choose(&self, reference: Option<&str>) -> Result<Descriptor, FetchError> {
        let (index_path, content) = self.document("index.json")?;
        let malformed = |problem| FetchError::Malformed { path: index_path, problem };
        let images = match manifest::index(&content) {
            Ok(images) => images,
            Err(problem) => return Err(malformed(problem)),
        };
        let path = self.folder.to_owned();
        manifest::choose(&images, reference).cloned().map_err(|none| match none {
            NoChoice::Empty => FetchError::Empty { path },
            NoChoice::NotFound(names) => FetchError::NoSuchImage { path, reference: reference.unwrap_or_default().to_owned(), names },
            NoChoice::Ambiguous(names) => FetchError::Ambiguous { path, names },
            NoChoice::NotAManifest(media_type) => {
                malformed(format!("the image is of type {media_type}, and a component's is application/vnd.oci.image.manifest.v1+json"))
            }
        })
    }

    /// A blob of the size and digest that its descriptor says. What the descriptor claims is checked before anything is read.
    fn blob(&self, descriptor: &Descriptor, limit_bytes: u64) -> Result<(PathBuf, Vec<u8>), FetchError> {
        let relative = Path::new("blobs/sha256").join(descriptor.digest.hex());
        if descriptor.size > limit_bytes {
            return Err(FetchError::TooLarge { path: self.folder.join(relative), actual_bytes: descriptor.size, limit_bytes });
        }
        let path = file::within(&self.root, &relative)?;
        let content = file::read(&path, limit_bytes)?;
        let actual_bytes = u64::try_from(content.len()).unwrap_or(u64::MAX);
        if actual_bytes != descriptor.size {
            return Err(FetchError::WrongSize { path, expected_bytes: descriptor.size, actual_bytes });
        }
        let actual = Digest::of(&content);
        if actual != descriptor.digest {
            return Err(FetchError::WrongDigest { path, actual });
        }
        Ok((path, content))
    }
}
