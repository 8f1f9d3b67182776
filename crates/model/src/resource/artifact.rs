//! `Artifact`: an image under a name.

use serde::{Deserialize, Serialize};

use super::meta::LocalObjectReference;
use crate::condition::Condition;

/// Spec of an Artifact.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ArtifactSpec {
    /// Image reference, as a component's.
    pub image: String,
    /// Secret with the registry's credentials.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_pull_secret: Option<LocalObjectReference>,
}

/// Status of an Artifact.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ArtifactStatus {
    /// The image that users of the artifact get.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub artifact_url: String,
    /// The generation that this status is about.
    pub observed_generation: i64,
    /// Sync, Published, Ready.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
}
