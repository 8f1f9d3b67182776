//! `WorkloadDeployment`: replica sets over time.

use serde::{Deserialize, Serialize};

use super::meta::LocalObjectReference;
use super::replica_set::{ReplicaCounts, Template};
use super::workload::Kubernetes;
use crate::condition::Condition;

/// Spec of a WorkloadDeployment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DeploymentSpec {
    /// Workloads wanted, 0 or more; 1 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<i32>,
    /// What each of them is.
    pub template: Template,
    /// How one version follows another; RollingUpdate when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deploy_policy: Option<DeployPolicy>,
    /// Names for `artifact://NAME` images.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub artifacts: Vec<ArtifactReference>,
    /// Overrides the template's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kubernetes: Option<Kubernetes>,
}

/// How one version follows another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum DeployPolicy {
    /// The new version is ready before the old one goes.
    #[default]
    RollingUpdate,
    /// The old version is gone before the new one starts.
    Recreate,
}

/// A name for an image, resolved by an Artifact.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ArtifactReference {
    /// The NAME of `artifact://NAME`.
    pub name: String,
    /// Where its image comes from.
    pub artifact_from: ArtifactFrom,
}

/// Where an artifact's image comes from: an Artifact object of the same namespace.
pub type ArtifactFrom = LocalObjectReference;

/// Status of a WorkloadDeployment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DeploymentStatus {
    /// The replica set of today's template.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub current_replica_set: Option<LocalObjectReference>,
    /// The replica set it follows, while that has workloads.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub previous_replica_set: Option<LocalObjectReference>,
    /// Workloads of the deployment, counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replicas: Option<ReplicaCounts>,
    /// Workloads there, for the scale subresource.
    pub current_replicas: i32,
    /// Label selector of the workloads, for the scale subresource.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub selector: String,
    /// Artifact, Sync, Deploy, Scale, Ready.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
}
