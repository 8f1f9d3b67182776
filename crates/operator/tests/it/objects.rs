//! Objects for tests.

use berth_model::resource::{Kind, ObjectKey, Resource};
use serde_json::{Value, json};

pub(crate) fn resource(value: Value) -> Resource {
    serde_json::from_value(value).unwrap()
}

pub(crate) fn config_map(name: &str, value: &str) -> Resource {
    resource(json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": name }, "data": { "key": value } }))
}

pub(crate) fn deployment(name: &str, replicas: i32, image: &str) -> Resource {
    resource(json!({
        "apiVersion": "runtime.wasmcloud.dev/v1alpha1", "kind": "WorkloadDeployment", "metadata": { "name": name },
        "spec": { "replicas": replicas, "template": { "spec": { "components": [{ "name": "main", "image": image }] } } }
    }))
}

/// A workload; with an owner's uid, one that a replica set of that uid owns.
pub(crate) fn workload(name: &str, owner: Option<(&str, &str)>, finalizers: &[&str]) -> Resource {
    let owners = owner.map(|(name, uid)| {
        json!([{ "apiVersion": "runtime.wasmcloud.dev/v1alpha1", "kind": "WorkloadReplicaSet", "name": name, "uid": uid, "controller": true }])
    });
    resource(json!({
        "apiVersion": "runtime.wasmcloud.dev/v1alpha1", "kind": "Workload",
        "metadata": { "name": name, "finalizers": finalizers, "ownerReferences": owners.unwrap_or_else(|| json!([])) },
        "spec": { "components": [{ "name": "main", "image": "file:///a.wasm" }] }
    }))
}

pub(crate) fn replica_set(name: &str, owner: (&str, &str)) -> Resource {
    resource(json!({
        "apiVersion": "runtime.wasmcloud.dev/v1alpha1", "kind": "WorkloadReplicaSet",
        "metadata": { "name": name, "ownerReferences": [{
            "apiVersion": "runtime.wasmcloud.dev/v1alpha1", "kind": "WorkloadDeployment", "name": owner.0, "uid": owner.1, "controller": true
        }] },
        "spec": { "template": { "spec": { "components": [{ "name": "main", "image": "file:///a.wasm" }] } } }
    }))
}

pub(crate) fn key(kind: Kind, name: &str) -> ObjectKey {
    ObjectKey { kind, namespace: "default".to_owned(), name: name.to_owned() }
}
