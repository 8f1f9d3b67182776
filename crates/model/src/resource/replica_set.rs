//! `WorkloadReplicaSet`: a number of equal workloads.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::meta::Labels;
use super::workload::WorkloadSpec;
use crate::condition::Condition;

/// Spec of a WorkloadReplicaSet.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ReplicaSetSpec {
    /// Workloads wanted, 0 or more; 1 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<i32>,
    /// What each of them is.
    pub template: Template,
}

/// What each workload of a set is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Template {
    /// Labels of each workload.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: Labels,
    /// Annotations of each workload.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: Labels,
    /// Spec of each workload.
    pub spec: WorkloadSpec,
}

/// Status of a WorkloadReplicaSet.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ReplicaSetStatus {
    /// Its workloads, counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replicas: Option<ReplicaCounts>,
    /// ScaleUp, ScaleDown, Ready.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
}

/// Workloads of a set, counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ReplicaCounts {
    /// Wanted.
    pub expected: i32,
    /// There.
    pub current: i32,
    /// There and ready.
    pub ready: i32,
    /// Wanted and not ready.
    pub unavailable: i32,
}
