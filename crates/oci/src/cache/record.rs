//! What a reference meant when it was last resolved.

use berth_model::digest::Digest;
use berth_model::image::RegistryRef;
use serde::{Deserialize, Serialize};

/// A reference and what it led to. It is only a hint: what it names is content-addressed and verified when it is read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// The reference as [`key`] writes it.
    pub reference: String,
    /// What the registry says it is: the digest of a manifest or of an index.
    pub root: Digest,
    /// The manifest: `root`, or the one chosen from that index.
    pub manifest: Digest,
    /// The component.
    pub component: Digest,
}

impl Record {
    /// Whether it needs the file of this digest.
    pub fn needs(&self, digest: &Digest) -> bool {
        [&self.root, &self.manifest, &self.component].contains(&digest)
    }
}

/// How a reference is recorded: by its digest where it has one, since that decides, else by its tag.
pub fn key(reference: &RegistryRef) -> String {
    let RegistryRef { registry, repository, tag, digest } = reference;
    match (digest, tag) {
        (Some(digest), _) => of_digest(registry, repository, digest),
        (None, Some(tag)) => format!("{registry}/{repository}:{tag}"),
        (None, None) => format!("{registry}/{repository}:latest"),
    }
}

/// How what a repository has under a digest is recorded.
pub fn of_digest(registry: &str, repository: &str, digest: &Digest) -> String {
    format!("{registry}/{repository}@{digest}")
}

/// The name of a record's file: as safe and as short whatever the reference.
pub fn file_name(key: &str) -> String {
    format!("{}.json", Digest::of(key.as_bytes()).hex())
}

#[cfg(test)]
mod tests {
    use berth_model::image::ImageRef;

    use super::*;

    fn key_of(text: &str) -> String {
        match ImageRef::parse(text).unwrap() {
            ImageRef::Registry(reference) => key(&reference),
            other => panic!("{other}"),
        }
    }

    #[test]
    fn a_digest_decides_where_a_tag_stands_too() {
        let digest = Digest::of(b"x");
        assert_eq!(key_of("ghcr.io/a/b"), "ghcr.io/a/b:latest");
        assert_eq!(key_of("ghcr.io/a/b:1"), "ghcr.io/a/b:1");
        assert_eq!(key_of(&format!("ghcr.io/a/b:1@{digest}")), format!("ghcr.io/a/b@{digest}"));
        assert_eq!(key_of(&format!("ghcr.io/a/b@{digest}")), of_digest("ghcr.io", "a/b", &digest));
    }
}
