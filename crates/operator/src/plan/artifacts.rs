//! Artifacts: their status, and the images that deployments take from them.

use berth_model::condition::ConditionStatus::True;
use berth_model::resource::{Deployment, Resource, Template};

use super::conditions::Draft;
use super::contents::{ARTIFACT, Refusal};
use super::index::Index;
use super::snapshot::Objects;
use super::writes::Writes;
use crate::store::IMAGES_ANNOTATION;

/// Annotation of a template: what the local images of its artifacts held when those were applied.
const ARTIFACTS_ANNOTATION: &str = "berth.dev/artifacts";

/// Publishes each artifact's image in its status.
pub(super) fn plan<'a>(index: &Index<'a>, writes: &mut Writes<'a>) {
    for artifact in index.snapshot.objects.artifacts.iter() {
        let meta = &artifact.metadata;
        let mut draft = Draft::new(&artifact.status.conditions, meta.generation, index.snapshot.now);
        draft.set("Sync", True, "Synced", "the image reference is known");
        draft.set("Published", True, "Published", "deployments that refer to it get its image");
        draft.set("Ready", True, "Ready", "");
        let conditions = draft.finish();
        let status = &artifact.status;
        let same = status.artifact_url == artifact.spec.image && status.observed_generation == meta.generation;
        if same && conditions.is_none() {
            continue;
        }
        let mut changed = (**artifact).clone();
        changed.status.artifact_url.clone_from(&artifact.spec.image);
        changed.status.observed_generation = meta.generation;
        changed.status.conditions = conditions.unwrap_or_else(|| status.conditions.clone());
        writes.status(meta, Resource::Artifact(changed), Vec::new());
    }
}

/// The template that the deployment's workloads get: with the images of the artifacts it lists, and its own Kubernetes
/// service.
pub(super) fn template(objects: &Objects, deployment: &Deployment) -> Result<Template, Refusal> {
    let mut template = deployment.spec.template.clone();
    if deployment.spec.kubernetes.is_some() {
        template.spec.kubernetes.clone_from(&deployment.spec.kubernetes);
    }
    let mut contents = Vec::new();
    for component in &mut template.spec.components {
        contents.extend(resolve(objects, deployment, &mut component.image, &mut component.image_pull_secret)?);
    }
    if let Some(service) = &mut template.spec.service {
        contents.extend(resolve(objects, deployment, &mut service.image, &mut service.image_pull_secret)?);
    }
    if !contents.is_empty() {
        template.annotations.insert(ARTIFACTS_ANNOTATION.to_owned(), contents.join(","));
    }
    Ok(template)
}

/// Whether the template depends on objects other than the deployment.
pub(super) fn has_artifacts(deployment: &Deployment) -> bool {
    !deployment.spec.artifacts.is_empty()
}

/// Puts in the artifact's image; says what that held when the artifact was applied, if it is a local one.
fn resolve<'a>(
    objects: &'a Objects,
    deployment: &Deployment,
    image: &mut String,
    pull_secret: &mut Option<berth_model::resource::LocalObjectReference>,
) -> Result<Option<&'a str>, Refusal> {
    let listed = image.strip_prefix(ARTIFACT).and_then(|name| deployment.spec.artifacts.iter().find(|a| a.name == name));
    // An artifact that isn't listed is looked up by its own name when the workload is resolved.
    let Some(listed) = listed else { return Ok(None) };
    let namespace = &deployment.metadata.namespace;
    let found = objects.artifacts.get(namespace, &listed.artifact_from.name).ok_or_else(|| Refusal {
        reason: "ArtifactNotFound",
        message: format!("Artifact {namespace}/{} doesn't exist; {image} needs it: apply it", listed.artifact_from.name),
    })?;
    image.clone_from(&found.spec.image);
    if pull_secret.is_none() {
        pull_secret.clone_from(&found.spec.image_pull_secret);
    }
    Ok(found.metadata.annotations.get(IMAGES_ANNOTATION).map(String::as_str))
}
