//! What an object with a workload in it comes to, for who wants to see that and run nothing.
//!
//! The same rules as planning's. Where that would stop at a ConfigMap or a Secret that isn't there, this goes on without it and says so.

use berth_model::resource::{ConfigMap, Kind, ObjectMeta, Resource, Secret, WorkloadSpec};
use berth_model::validate;
use berth_model::workload::Workload;

use super::contents::{Lookup, Reference, references};
use super::snapshot::Objects;
use super::{artifacts, contents};

/// A workload, and what it was resolved without.
#[derive(Clone, Debug, PartialEq)]
pub struct Meaning {
    /// What a host would be told to run.
    pub workload: Workload,
    /// The spec it was made from, with the images of artifacts in it.
    pub spec: WorkloadSpec,
    /// ConfigMaps and Secrets that it refers to and that aren't there.
    pub missing: Vec<(Kind, String)>,
}

/// Why an object comes to no workload.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Meaningless {
    /// In one CamelCase word.
    pub reason: &'static str,
    /// For a person: every fault.
    pub message: String,
}

/// What `resource`, a deployment, a replica set or a workload, comes to with what it refers to among `objects`; `None` for other kinds.
///
/// # Errors
///
/// Every fault of its spec, or the artifact that isn't there.
pub fn meaning(objects: &Objects, resource: &Resource) -> Option<Result<Meaning, Meaningless>> {
    let meta = resource.metadata();
    let spec = match resource {
        Resource::Deployment(deployment) => match artifacts::template(objects, deployment) {
            Ok(template) => template.spec,
            Err(refusal) => return Some(Err(Meaningless { reason: refusal.reason, message: refusal.message })),
        },
        Resource::ReplicaSet(set) => set.spec.template.spec.clone(),
        Resource::Workload(workload) => workload.spec.clone(),
        Resource::Host(_) | Resource::Artifact(_) | Resource::ConfigMap(_) | Resource::Secret(_) => return None,
    };
    Some(resolved(objects, meta, spec))
}

fn resolved(objects: &Objects, meta: &ObjectMeta, mut spec: WorkloadSpec) -> Result<Meaning, Meaningless> {
    let namespace = meta.namespace.as_str();
    let (mut filled, mut missing) = (objects.clone(), Vec::new());
    for reference in references(objects, namespace, &spec).into_iter().filter(|reference| !reference.is_there(objects, namespace)) {
        let meta = |name: &str| ObjectMeta { name: name.to_owned(), namespace: namespace.to_owned(), ..ObjectMeta::default() };
        let (kind, name) = match reference {
            Reference::ConfigMap(name) => {
                filled.insert(Resource::ConfigMap(ConfigMap { metadata: meta(name), ..ConfigMap::default() }));
                (Kind::ConfigMap, name)
            }
            Reference::Secret(name) => {
                filled.insert(Resource::Secret(Secret { metadata: meta(name), ..Secret::default() }));
                (Kind::Secret, name)
            }
            // Without its image there is nothing to see: the check of the spec says so.
            Reference::Artifact(_) => continue,
        };
        if !missing.iter().any(|known| *known == (kind, name.to_owned())) {
            missing.push((kind, name.to_owned()));
        }
    }
    without_credentials(&mut spec, &missing);
    let workload = validate::workload(meta, &spec, &Lookup(&filled));
    let workload = workload.map_err(|invalid| Meaningless { reason: contents::INVALID_SPEC, message: invalid.to_string() })?;
    Ok(Meaning { workload, spec, missing })
}

/// An image whose Secret isn't there is asked for without: it may be cached, or need none.
fn without_credentials(spec: &mut WorkloadSpec, missing: &[(Kind, String)]) {
    let secrets = spec.components.iter_mut().map(|component| &mut component.image_pull_secret);
    for secret in secrets.chain(spec.service.iter_mut().map(|service| &mut service.image_pull_secret)) {
        if secret.as_ref().is_some_and(|secret| missing.contains(&(Kind::Secret, secret.name.clone()))) {
            *secret = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read(value: Value) -> Resource {
        serde_json::from_value(value).unwrap()
    }

    fn deployment(component: Value, artifacts: Value) -> Resource {
        read(json!({
            "apiVersion": "runtime.wasmcloud.dev/v1alpha1", "kind": "WorkloadDeployment",
            "metadata": { "name": "web", "namespace": "default" },
            "spec": { "template": { "spec": { "components": [component] } }, "artifacts": artifacts }
        }))
    }

    #[test]
    fn what_is_not_there_is_named_and_the_rest_is_seen() {
        let component = json!({
            "name": "main", "image": "file:///a.wasm", "localResources": { "environment": {
                "config": { "A": "1" }, "configFrom": [{ "name": "there" }, { "name": "gone" }], "secretFrom": [{ "name": "db" }]
            } }
        });
        let mut objects = Objects::default();
        objects.insert(read(json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "there", "namespace": "default" }, "data": { "B": "2" }
        })));
        let meaning = meaning(&objects, &deployment(component, json!([]))).unwrap().unwrap();
        assert_eq!(meaning.missing, [(Kind::ConfigMap, "gone".to_owned()), (Kind::Secret, "db".to_owned())]);
        let environment = &meaning.workload.components[0].resources.environment;
        assert_eq!(environment.keys().collect::<Vec<_>>(), ["A", "B"]);
    }

    #[test]
    fn artifacts_of_a_deployment_are_what_they_stand_for() {
        let listed = json!([{ "name": "it", "artifactFrom": { "name": "image" } }]);
        let web = deployment(json!({ "name": "main", "image": "artifact://it" }), listed);
        let error = meaning(&Objects::default(), &web).unwrap().unwrap_err();
        assert_eq!(error.reason, "ArtifactNotFound");
        let mut objects = Objects::default();
        objects.insert(read(json!({
            "apiVersion": "runtime.wasmcloud.dev/v1alpha1", "kind": "Artifact", "metadata": { "name": "image", "namespace": "default" },
            "spec": { "image": "file:///b.wasm" }
        })));
        let found = meaning(&objects, &web).unwrap().unwrap();
        assert_eq!(found.workload.components[0].image.to_string(), "file:///b.wasm");
    }
}
