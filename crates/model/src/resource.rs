//! The custom resources of group `runtime.wasmcloud.dev/v1alpha1`, field for field as users write them in manifests.
//!
//! These types are the wire form: optional fields stay optional, names are camelCase, and a `spec` refuses unknown fields.
//! What a spec *means* is decided once by [`crate::validate`], which turns it into [`crate::workload::Workload`].

mod artifact;
mod config_map;
mod deployment;
mod host;
mod meta;
mod replica_set;
mod secret;
mod wire;
mod workload;

pub use artifact::{ArtifactSpec, ArtifactStatus};
pub use config_map::ConfigMap;
pub use deployment::{ArtifactFrom, ArtifactReference, DeployPolicy, DeploymentSpec, DeploymentStatus};
pub use host::{HostFields, HostStatus};
pub use meta::{Labels, LocalObjectReference, ObjectMeta, OwnerReference};
pub use replica_set::{ReplicaCounts, ReplicaSetSpec, ReplicaSetStatus, Template};
pub use secret::{NotBase64, Secret, SecretData, SecretValue};
pub use workload::{
    ComponentSpec, ConfigLayer, Empty, HostInterfaceSpec, HostPathSpec, Kubernetes, KubernetesService, LimitsSpec, LinkSpec,
    LocalResources, PullPolicy, ServiceSpec, VolumeMountSpec, VolumeSpec, WorkloadSpec, WorkloadStatus,
};

use serde::{Deserialize, Serialize};

/// API group of every Berth kind.
pub const GROUP: &str = "runtime.wasmcloud.dev";
/// API version of every Berth kind.
pub const VERSION: &str = "v1alpha1";
/// `apiVersion` of every Berth kind: group and version.
pub const API_VERSION: &str = "runtime.wasmcloud.dev/v1alpha1";

/// The kinds that a store keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Kind {
    /// A process that runs workloads; written by the operator, never by users.
    Host,
    /// One placed set of components.
    Workload,
    /// A number of equal workloads.
    WorkloadReplicaSet,
    /// Replica sets over time: rollouts.
    WorkloadDeployment,
    /// An image under a name.
    Artifact,
    /// Kubernetes' core/v1 ConfigMap, which config layers refer to.
    ConfigMap,
    /// Kubernetes' core/v1 Secret, which config layers and image pulls refer to.
    Secret,
}

impl Kind {
    /// Every kind, in the order `get all` prints them.
    pub const ALL: [Kind; 7] =
        [Kind::WorkloadDeployment, Kind::WorkloadReplicaSet, Kind::Workload, Kind::Host, Kind::Artifact, Kind::ConfigMap, Kind::Secret];

    /// The `kind` in a manifest: `WorkloadDeployment`.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Host => "Host",
            Kind::Workload => "Workload",
            Kind::WorkloadReplicaSet => "WorkloadReplicaSet",
            Kind::WorkloadDeployment => "WorkloadDeployment",
            Kind::Artifact => "Artifact",
            Kind::ConfigMap => "ConfigMap",
            Kind::Secret => "Secret",
        }
    }

    /// The plural in URLs and on the command line: `workloaddeployments`.
    pub fn plural(self) -> &'static str {
        match self {
            Kind::Host => "hosts",
            Kind::Workload => "workloads",
            Kind::WorkloadReplicaSet => "workloadreplicasets",
            Kind::WorkloadDeployment => "workloaddeployments",
            Kind::Artifact => "artifacts",
            Kind::ConfigMap => "configmaps",
            Kind::Secret => "secrets",
        }
    }

    /// The `apiVersion` in a manifest.
    pub fn api_version(self) -> &'static str {
        if self.is_data() { "v1" } else { API_VERSION }
    }

    /// Whether objects of the kind hold values and nothing else: they have no generation and no status, and never become ready.
    pub fn is_data(self) -> bool {
        matches!(self, Kind::ConfigMap | Kind::Secret)
    }

    /// Reads a kind as a person types it: kind, singular, plural or short name (`wd`, `wrs`, `ww`, `cm`), any case.
    pub fn from_word(word: &str) -> Option<Kind> {
        let word = word.to_ascii_lowercase();
        let short = match word.as_str() {
            "wd" | "deployment" | "deployments" => Some(Kind::WorkloadDeployment),
            "wrs" | "replicaset" | "replicasets" => Some(Kind::WorkloadReplicaSet),
            "ww" => Some(Kind::Workload),
            "cm" => Some(Kind::ConfigMap),
            _ => None,
        };
        short.or_else(|| Kind::ALL.into_iter().find(|k| k.plural() == word || k.as_str().eq_ignore_ascii_case(&word)))
    }
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Identifies one object in a store: kind, namespace and name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ObjectKey {
    /// The object's kind.
    pub kind: Kind,
    /// The object's namespace; every kind here is namespaced.
    pub namespace: String,
    /// The object's name, a DNS subdomain of at most 253 characters.
    pub name: String,
}

impl std::fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}/{}", self.kind, self.namespace, self.name)
    }
}

/// An object of any kind that a store keeps. In JSON and YAML it is the usual `{apiVersion, kind, metadata, spec, status}`.
#[derive(Clone, Debug, PartialEq)]
pub enum Resource {
    /// See [`Kind::Host`].
    Host(Object<HostFields, HostStatus>),
    /// See [`Kind::Workload`].
    Workload(Object<WorkloadSpec, WorkloadStatus>),
    /// See [`Kind::WorkloadReplicaSet`].
    ReplicaSet(Object<ReplicaSetSpec, ReplicaSetStatus>),
    /// See [`Kind::WorkloadDeployment`].
    Deployment(Object<DeploymentSpec, DeploymentStatus>),
    /// See [`Kind::Artifact`].
    Artifact(Object<ArtifactSpec, ArtifactStatus>),
    /// See [`Kind::ConfigMap`].
    ConfigMap(ConfigMap),
    /// See [`Kind::Secret`].
    Secret(Secret),
}

/// Metadata, what is wanted, and what is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Object<S, T> {
    /// Name, namespace, labels, uid, generation.
    pub metadata: ObjectMeta,
    /// What the user wants.
    pub spec: S,
    /// What Berth saw last; only Berth writes it.
    pub status: T,
}

/// A [`Kind::Host`] object.
pub type Host = Object<HostFields, HostStatus>;
/// A [`Kind::Workload`] object.
pub type Workload = Object<WorkloadSpec, WorkloadStatus>;
/// A [`Kind::WorkloadReplicaSet`] object.
pub type ReplicaSet = Object<ReplicaSetSpec, ReplicaSetStatus>;
/// A [`Kind::WorkloadDeployment`] object.
pub type Deployment = Object<DeploymentSpec, DeploymentStatus>;
/// A [`Kind::Artifact`] object.
pub type Artifact = Object<ArtifactSpec, ArtifactStatus>;

impl Resource {
    /// The object's kind.
    pub fn kind(&self) -> Kind {
        match self {
            Resource::Host(_) => Kind::Host,
            Resource::Workload(_) => Kind::Workload,
            Resource::ReplicaSet(_) => Kind::WorkloadReplicaSet,
            Resource::Deployment(_) => Kind::WorkloadDeployment,
            Resource::Artifact(_) => Kind::Artifact,
            Resource::ConfigMap(_) => Kind::ConfigMap,
            Resource::Secret(_) => Kind::Secret,
        }
    }

    /// The object's metadata.
    pub fn metadata(&self) -> &ObjectMeta {
        match self {
            Resource::Host(o) => &o.metadata,
            Resource::Workload(o) => &o.metadata,
            Resource::ReplicaSet(o) => &o.metadata,
            Resource::Deployment(o) => &o.metadata,
            Resource::Artifact(o) => &o.metadata,
            Resource::ConfigMap(o) => &o.metadata,
            Resource::Secret(o) => &o.metadata,
        }
    }

    /// The object's metadata, to be changed.
    pub fn metadata_mut(&mut self) -> &mut ObjectMeta {
        match self {
            Resource::Host(o) => &mut o.metadata,
            Resource::Workload(o) => &mut o.metadata,
            Resource::ReplicaSet(o) => &mut o.metadata,
            Resource::Deployment(o) => &mut o.metadata,
            Resource::Artifact(o) => &mut o.metadata,
            Resource::ConfigMap(o) => &mut o.metadata,
            Resource::Secret(o) => &mut o.metadata,
        }
    }

    /// The spec of the workloads that the object is or makes, and the field it stands in: `spec`, `spec.template.spec`.
    pub fn workload_spec(&self) -> Option<(&'static str, &WorkloadSpec)> {
        match self {
            Resource::Workload(o) => Some(("spec", &o.spec)),
            Resource::ReplicaSet(o) => Some(("spec.template.spec", &o.spec.template.spec)),
            Resource::Deployment(o) => Some(("spec.template.spec", &o.spec.template.spec)),
            Resource::Host(_) | Resource::Artifact(_) | Resource::ConfigMap(_) | Resource::Secret(_) => None,
        }
    }

    /// Every image that the object names, each with its field: `spec.components[0].image`.
    pub fn images(&self) -> Vec<(String, &str)> {
        if let Resource::Artifact(artifact) = self {
            return vec![("spec.image".to_owned(), artifact.spec.image.as_str())];
        }
        let Some((at, spec)) = self.workload_spec() else { return Vec::new() };
        let components = spec.components.iter().enumerate();
        let components = components.map(|(index, component)| (format!("{at}.components[{index}].image"), component.image.as_str()));
        components.chain(spec.service.iter().map(|service| (format!("{at}.service.image"), service.image.as_str()))).collect()
    }

    /// The object's key in a store.
    pub fn key(&self) -> ObjectKey {
        let meta = self.metadata();
        ObjectKey { kind: self.kind(), namespace: meta.namespace.clone(), name: meta.name.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_is_found_by_every_word_a_person_types_for_it() {
        for kind in Kind::ALL {
            for word in [kind.as_str(), kind.plural(), &kind.as_str().to_uppercase(), &kind.as_str().to_lowercase()] {
                assert_eq!(Kind::from_word(word), Some(kind), "{word}");
            }
        }
        for (word, kind) in
            [("wd", Kind::WorkloadDeployment), ("wrs", Kind::WorkloadReplicaSet), ("WW", Kind::Workload), ("cm", Kind::ConfigMap)]
        {
            assert_eq!(Kind::from_word(word), Some(kind), "{word}");
        }
        assert_eq!(Kind::from_word("pods"), None);
    }
}
