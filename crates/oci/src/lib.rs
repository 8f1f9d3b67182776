//! Where component images come from.
//!
//! A [`Source`] turns an image reference into the bytes of one component and their digest. [`LocalSource`] reads files and OCI image
//! layout folders, [`RegistrySource`] pulls from OCI registries through a [`Cache`] on disk, and [`ImageSource`] is both. Whether the
//! bytes are a component that can run is the host's to say: this crate knows no Wasm.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod cache;
mod docker;
mod error;
mod file;
mod hash;
mod images;
mod layout;
mod local;
mod manifest;
mod metrics;
mod registry;
mod source;

pub use cache::{Cache, CacheError, CacheSettings, Entry, EntryKind, Folder, Listed, Prune, Pruned, Verified, touch};
pub use docker::{Credentials, DockerConfig, DockerError};
pub use error::FetchError;
pub use images::ImageSource;
pub use local::{LocalLimits, LocalSource};
pub use metrics::{Counter, Metrics};
pub use registry::{
    CredentialsUsed, PullError, PullFailure, PullStage, Pulling, PullsWatch, RegistryLimits, RegistrySettings, RegistrySettingsError,
    RegistrySource, system_authorities,
};
pub use source::{Artifact, Source};
