//! Kubernetes' object metadata, as far as Berth reads or keeps it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Labels or annotations: sorted, so that equal maps serialize equally.
pub type Labels = BTreeMap<String, String>;

/// Metadata of an object. Unknown fields (managedFields, selfLink, ...) are accepted and dropped, as users apply what
/// `kubectl get -o yaml` printed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ObjectMeta {
    /// Name, unique per kind and namespace: a DNS subdomain of at most 253 characters.
    pub name: String,
    /// Namespace, a DNS label; empty in a manifest means `default`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// Unique id of this incarnation, a UUID; given by the store.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub uid: String,
    /// Version of the whole object, given by the store; grows with each write.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub resource_version: String,
    /// Version of the spec, given by the store: 1 when made, one more with each change of the spec.
    #[serde(skip_serializing_if = "is_zero")]
    pub generation: i64,
    /// When the object was made, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub creation_timestamp: Option<jiff::Timestamp>,
    /// When deletion was asked for; the object goes when its finalizers are gone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deletion_timestamp: Option<jiff::Timestamp>,
    /// Labels, for selectors.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: Labels,
    /// Annotations.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: Labels,
    /// Who made this object; it goes with its owner.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub owner_references: Vec<OwnerReference>,
    /// Who has to act before the object may go.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub finalizers: Vec<String>,
}

fn is_zero(value: &i64) -> bool {
    *value == 0
}

impl ObjectMeta {
    /// The owner that controls this object.
    pub fn controller(&self) -> Option<&OwnerReference> {
        self.owner_references.iter().find(|o| o.controller)
    }
}

/// A reference to an owner in the same namespace.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OwnerReference {
    /// The owner's apiVersion.
    pub api_version: String,
    /// The owner's kind.
    pub kind: String,
    /// The owner's name.
    pub name: String,
    /// The owner's uid.
    pub uid: String,
    /// Whether this owner is the managing controller.
    #[serde(default)]
    pub controller: bool,
    /// Whether the owner waits for this object's end.
    #[serde(default)]
    pub block_owner_deletion: bool,
}

/// A reference by name within the namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LocalObjectReference {
    /// The referred object's name.
    pub name: String,
}
