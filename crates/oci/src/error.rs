//! Why an image couldn't be fetched.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use berth_model::digest::Digest;

use crate::registry::PullError;

/// Why an image couldn't be fetched. The text names the file or reference and, where there is one, the way out.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// Nothing lies at the path.
    #[error("{} does not exist", path.display())]
    NotFound {
        /// The file or folder looked for.
        path: PathBuf,
    },
    /// The system refused to read the path.
    #[error("reading {}", path.display())]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A folder, device, socket or pipe where a file belongs.
    #[error("{} is not a regular file", path.display())]
    NotAFile {
        /// What was found.
        path: PathBuf,
    },
    /// A folder that holds no OCI image layout.
    #[error(
        "{} is a folder without an `oci-layout` file, so it is no OCI image layout; name a component's file as file://PATH or the layout's own folder",
        path.display()
    )]
    NotALayout {
        /// The folder.
        path: PathBuf,
    },
    /// A file where an OCI image layout's folder belongs.
    #[error("{} is a file, not the folder of an OCI image layout; name a component's file as file://PATH, unpack an archive first", path.display())]
    LayoutIsFile {
        /// The file.
        path: PathBuf,
    },
    /// A file is larger than this source reads.
    #[error("{} has {actual_bytes} bytes; at most {limit_bytes} are read", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its size, as found or as its descriptor claims.
        actual_bytes: u64,
        /// The most that is allowed.
        limit_bytes: u64,
    },
    /// A file of the layout is a symbolic link to somewhere outside of it.
    #[error("{} leads out of the OCI image layout", path.display())]
    Escapes {
        /// The link.
        path: PathBuf,
    },
    /// `oci-layout`, an index or a manifest is not what the specification says.
    #[error("{} is malformed: {problem}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The layout has no manifest of that name or digest.
    #[error("{} has no image {reference}; it has {}", path.display(), list(names))]
    NoSuchImage {
        /// The layout's folder.
        path: PathBuf,
        /// The tag or digest asked for.
        reference: String,
        /// The names (or digests, where unnamed) of the images it has.
        names: Vec<String>,
    },
    /// The layout holds several images, or several of one name, and the reference doesn't choose.
    #[error("{} has several images: {}; choose one as oci:PATH:NAME or oci:PATH@DIGEST", path.display(), list(names))]
    Ambiguous {
        /// The layout's folder.
        path: PathBuf,
        /// The names (or digests, where unnamed) to choose from.
        names: Vec<String>,
    },
    /// The layout is valid and has no image at all.
    #[error("{} holds no image", path.display())]
    Empty {
        /// The layout's folder.
        path: PathBuf,
    },
    /// The image is no component: it must have exactly one layer, of a Wasm media type.
    #[error("{} is not a component's image: it must have exactly one layer, of type application/wasm, and has {}", path.display(), list(layers))]
    NotAComponent {
        /// The manifest's file.
        path: PathBuf,
        /// The media types of its layers.
        layers: Vec<String>,
    },
    /// A file is longer or shorter than its descriptor says.
    #[error("{} has {actual_bytes} bytes and should have {expected_bytes}; it was cut off or changed", path.display())]
    WrongSize {
        /// The file.
        path: PathBuf,
        /// The size in its descriptor.
        expected_bytes: u64,
        /// The size found.
        actual_bytes: u64,
    },
    /// A file's content is not what its descriptor says.
    #[error("{} was changed: its content has digest {actual}", path.display())]
    WrongDigest {
        /// The file, named for the digest it should have.
        path: PathBuf,
        /// The digest it has.
        actual: Digest,
    },
    /// The image couldn't be pulled.
    #[error(transparent)]
    Pull(#[from] Arc<PullError>),
    /// The image lies on a disk, which this source doesn't read.
    #[error("{image} is in no registry")]
    NotInRegistry {
        /// The reference.
        image: String,
    },
    /// The image lies in a registry, which this source can't reach.
    #[error(
        "{image} is in a registry, and registries are not available here; use file://PATH for a component's file or oci:PATH for an OCI image layout folder"
    )]
    NoRegistry {
        /// The reference.
        image: String,
    },
    /// The image is the name of an artifact, which should have been resolved to an image before.
    #[error("artifact://{name} was not resolved to an image; list it under the deployment's `artifacts`")]
    Unresolved {
        /// The artifact's name.
        name: String,
    },
    /// The process is shutting down.
    #[error("reading {image} was interrupted by shutdown")]
    Interrupted {
        /// The image.
        image: String,
    },
}

/// `a, b and 3 more`, or `none`: an error stays readable whatever a layout holds.
pub(crate) fn list(names: &[String]) -> String {
    const SHOWN: usize = 10;
    match names {
        [] => "none".to_owned(),
        names if names.len() <= SHOWN => names.join(", "),
        names => format!("{} and {} more", names[..SHOWN].join(", "), names.len() - SHOWN),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lists_are_cut() {
        let names: Vec<_> = (0..12).map(|n| n.to_string()).collect();
        assert_eq!(list(&names), "0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 2 more");
        assert_eq!(list(&names[..2]), "0, 1");
        assert_eq!(list(&[]), "none");
    }
}
