//! Image references: where a component's bytes come from.

mod registry;

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

pub use registry::RegistryRef;

use crate::digest::Digest;
use crate::text::{quote, serde_as_text};

/// Where a component's bytes come from. `Display` writes the text form, which parses to the same value.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ImageRef {
    /// `file:///absolute/path`, `file://relative/path` or `file:relative/path`: a component's file. The path is taken as it
    /// stands, without percent decoding.
    File(PathBuf),
    /// `oci:PATH`, `oci:PATH:TAG` or `oci:PATH@DIGEST`, also with `//` after the colon: a folder in the OCI image layout.
    OciLayout {
        /// The folder.
        path: PathBuf,
        /// Tag (annotation `org.opencontainers.image.ref.name`) or digest of the manifest; may be absent where the folder
        /// holds just one.
        reference: Option<String>,
    },
    /// A reference into a registry: `ghcr.io/acme/hello:1.2`.
    Registry(RegistryRef),
    /// `artifact://NAME`: what the workload's deployment says NAME is.
    Artifact(String),
}

impl ImageRef {
    /// Reads the text form. White space around it is ignored.
    pub fn parse(text: &str) -> Result<ImageRef, InvalidImage> {
        let text = text.trim();
        let invalid = |rule| InvalidImage { text: quote(text), rule };
        if text.is_empty() {
            return Err(invalid("it is empty"));
        }
        if text.chars().any(char::is_control) {
            return Err(invalid("it has control characters"));
        }
        if let Some(path) = text.strip_prefix("file:") {
            return match path.strip_prefix("//").unwrap_or(path) {
                "" => Err(invalid("the path after `file:` is missing")),
                path => Ok(ImageRef::File(path.into())),
            };
        }
        if let Some(rest) = text.strip_prefix("oci:") {
            return parse_layout(rest.strip_prefix("//").unwrap_or(rest)).map_err(invalid);
        }
        if let Some(name) = text.strip_prefix("artifact://") {
            return match is_artifact_name(name) {
                true => Ok(ImageRef::Artifact(name.into())),
                false => Err(invalid("the name after `artifact://` must be 1 to 253 letters, digits, `.`, `_` and `-`")),
            };
        }
        if text.contains("://") {
            return Err(invalid(
                "the forms are REGISTRY/REPOSITORY:TAG, file://PATH, oci:FOLDER and artifact://NAME; registries have no scheme",
            ));
        }
        const PATH: &str = "write a file's path as file://PATH, and an OCI layout folder's as oci:FOLDER";
        if text.starts_with(['/', '.', '~']) {
            return Err(invalid(PATH));
        }
        RegistryRef::parse(text).map(ImageRef::Registry).map_err(|rule| invalid(if has_file_name(text) { PATH } else { rule }))
    }

    /// Whether this is read as a registry's, and is more likely a file whose `file://` was forgotten: `hello.wasm`, without a tag or digest.
    pub fn looks_like_file(text: &str) -> bool {
        has_file_name(text) && matches!(ImageRef::parse(text), Ok(ImageRef::Registry(_)))
    }

    /// The same image with its path, if it has a relative one, taken from `dir`: the folder of the manifest it stands in.
    pub fn relative_to(self, dir: &Path) -> ImageRef {
        match self {
            ImageRef::File(path) => ImageRef::File(dir.join(path)),
            ImageRef::OciLayout { path, reference } => ImageRef::OciLayout { path: dir.join(path), reference },
            other => other,
        }
    }
}

fn has_file_name(text: &str) -> bool {
    let text = text.trim();
    [".wasm", ".wat"].iter().any(|end| text.len() > end.len() && text.to_ascii_lowercase().ends_with(end))
}

fn is_artifact_name(name: &str) -> bool {
    (1..=253).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}

fn parse_layout(text: &str) -> Result<ImageRef, &'static str> {
    // Only the last segment can carry a reference: folders above may have `:` and `@` in their names.
    let segment = text.rfind('/').map_or(0, |slash| slash + 1);
    let (path, reference) = if let Some(at) = text[segment..].find("@sha256:") {
        let (path, digest) = (&text[..segment + at], &text[segment + at + 1..]);
        let digest: Digest = digest.parse().map_err(|_| "the digest after `@` must be `sha256:` and 64 lower-case hex digits")?;
        (path, Some(digest.to_string()))
    } else if let Some(colon) = text[segment..].rfind(':') {
        let (path, tag) = (&text[..segment + colon], &text[segment + colon + 1..]);
        if !registry::is_tag(tag) {
            return Err("the tag after the last `:` must be 1 to 128 letters, digits, `.`, `_` and `-`");
        }
        (path, Some(tag.to_owned()))
    } else {
        (text, None)
    };
    if path.is_empty() {
        return Err("the folder after `oci:` is missing");
    }
    Ok(ImageRef::OciLayout { path: path.into(), reference })
}

impl FromStr for ImageRef {
    type Err = InvalidImage;

    fn from_str(text: &str) -> Result<ImageRef, InvalidImage> {
        ImageRef::parse(text)
    }
}

impl fmt::Display for ImageRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ImageRef::File(path) => write!(f, "file://{}", path.display()),
            ImageRef::OciLayout { path, reference: None } => write!(f, "oci://{}", path.display()),
            ImageRef::OciLayout { path, reference: Some(reference) } => {
                let mark = if reference.contains(':') { '@' } else { ':' };
                write!(f, "oci://{}{mark}{reference}", path.display())
            }
            ImageRef::Registry(reference) => reference.fmt(f),
            ImageRef::Artifact(name) => write!(f, "artifact://{name}"),
        }
    }
}

serde_as_text!(ImageRef);

/// A text that is no image reference.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not an image reference: {rule}")]
pub struct InvalidImage {
    text: String,
    rule: &'static str,
}
