//! What a Workload means: its spec with every reference resolved, checked once and kept until spec or references change.
//!
//! The *mark* is a hash of all that a spec refers to. It decides replacement (L12): a placed workload whose mark isn't today's is
//! out of date. A replica of a set is then replaced by a new one; until that serves, the old one keeps the content it has, which is
//! why contents are kept here and not made anew each time.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use berth_model::image::ImageRef;
use berth_model::resource::{ConfigLayer, LocalObjectReference, ObjectMeta, SecretData, WorkloadSpec};
use berth_model::validate;
use berth_model::workload::Workload;

use super::hash;
use super::index::{Index, WorkloadFacts};
use super::replica_sets::{Today, content_annotation};
use super::snapshot::{Memory, Objects, Snapshot};
use crate::store::IMAGES_ANNOTATION;

/// Image scheme of an Artifact object.
pub(super) const ARTIFACT: &str = "artifact://";

/// Reason of a spec that refers to what isn't there.
const REFERENCE_NOT_FOUND: &str = "ReferenceNotFound";

/// Reason of a spec that can't be run as it stands.
pub(super) const INVALID_SPEC: &str = "InvalidSpec";

/// What a workload was resolved to.
#[derive(Debug)]
pub struct Content {
    /// Generation of the spec.
    generation: i64,
    /// Mark of the references.
    mark: String,
    /// The checked workload, or why there is none.
    pub(super) resolved: Result<Arc<Workload>, Refusal>,
    /// The last one that could be resolved: what runs goes on with it.
    last_good: Option<Arc<Workload>>,
}

impl Content {
    /// Generation of the spec that it was made from.
    pub(super) fn generation(&self) -> i64 {
        self.generation
    }

    /// What a host is to run of it; `None`: nobody knows any more what that was.
    pub(super) fn to_run(&self) -> Option<&Arc<Workload>> {
        self.resolved.as_ref().ok().or(self.last_good.as_ref())
    }
}

/// Why a spec can't be run.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Refusal {
    /// In one CamelCase word.
    pub(super) reason: &'static str,
    /// For a person: every fault.
    pub(super) message: String,
}

/// The content of a workload that stays, or is about to be placed. `None`: it was made of references that have changed since, by an
/// operator that is gone; a host that has it may keep it, and no other can get it.
pub(super) fn of(index: &Index<'_>, today: &Today<'_>, memory: &Memory, facts: &WorkloadFacts<'_>) -> Option<Arc<Content>> {
    let (objects, meta) = (&index.snapshot.objects, &facts.object.metadata);
    let today = mark_of_set(today, meta).unwrap_or_else(|| own_mark(index.snapshot, meta, &facts.object.spec).into());
    let wanted = match content_annotation(meta) {
        Some((_, placed_with)) if !facts.runs_nowhere() => placed_with,
        _ => &*today,
    };
    let kept = memory.contents.get(&facts.id).or_else(|| index.snapshot.memory.contents.get(&facts.id));
    if let Some(kept) = kept
        && kept.generation == meta.generation
        && kept.mark == wanted
    {
        return Some(kept.clone());
    }
    if wanted != today {
        return None;
    }
    let last_good = kept.and_then(|kept| kept.to_run()).cloned();
    Some(Arc::new(Content {
        generation: meta.generation,
        resolved: resolve(objects, meta, &facts.object.spec),
        mark: today.into_owned(),
        last_good,
    }))
}

/// The mark that was computed for the whole set already, if the workload is of the set's template.
fn mark_of_set<'t>(today: &'t Today<'_>, meta: &ObjectMeta) -> Option<Cow<'t, str>> {
    let (template, _) = content_annotation(meta)?;
    let (of_set, mark) = today.get(meta.controller()?.uid.as_str())?.content.split_once('.')?;
    (of_set == template).then_some(Cow::Borrowed(mark))
}

fn resolve(objects: &Objects, meta: &ObjectMeta, spec: &WorkloadSpec) -> Result<Arc<Workload>, Refusal> {
    let lookup = Lookup(objects);
    validate::workload(meta, spec, &lookup).map(Arc::new).map_err(|invalid| {
        let missing = references(objects, &meta.namespace, spec).iter().any(|r| !r.is_there(objects, &meta.namespace));
        Refusal { reason: if missing { REFERENCE_NOT_FOUND } else { INVALID_SPEC }, message: invalid.to_string() }
    })
}

/// Why nothing can be started of `spec`, if something that it refers to isn't there.
pub(super) fn missing(objects: &Objects, namespace: &str, spec: &WorkloadSpec) -> Option<Refusal> {
    let missing = references(objects, namespace, spec).into_iter().find(|reference| !reference.is_there(objects, namespace))?;
    let (kind, name) = (missing.kind(), missing.name());
    let message = format!("{kind} {namespace}/{name} doesn't exist: what runs goes on, and nothing new can be started; apply it");
    Some(Refusal { reason: REFERENCE_NOT_FOUND, message })
}

/// The mark of what `spec` refers to; empty if that is nothing.
pub(super) fn mark(snapshot: &Snapshot, namespace: &str, spec: &WorkloadSpec) -> String {
    let references = references(&snapshot.objects, namespace, spec);
    if references.is_empty() {
        return String::new();
    }
    let mut text = String::new();
    for reference in references {
        let found = reference.fingerprint(snapshot, namespace).unwrap_or_else(|| "missing".to_owned());
        // Lengths keep neighbours apart, whatever characters they have.
        for part in [reference.kind(), reference.name(), &found] {
            text.push_str(&part.len().to_string());
            text.push(':');
            text.push_str(part);
        }
    }
    hash::short(text.as_bytes())
}

/// The mark of a workload: also of what its local images held when it was applied, as far as that is known.
fn own_mark(snapshot: &Snapshot, meta: &ObjectMeta, spec: &WorkloadSpec) -> String {
    let references = mark(snapshot, &meta.namespace, spec);
    match meta.annotations.get(IMAGES_ANNOTATION) {
        // Replicas are made anew when their template's annotation changes.
        Some(images) if meta.controller().is_none() => format!("{references}{images}"),
        _ => references,
    }
}

/// One reference of a spec.
#[derive(Clone, Copy)]
pub(super) enum Reference<'a> {
    ConfigMap(&'a str),
    Secret(&'a str),
    Artifact(&'a str),
}

impl Reference<'_> {
    fn kind(&self) -> &'static str {
        match self {
            Reference::ConfigMap(_) => "ConfigMap",
            Reference::Secret(_) => "Secret",
            Reference::Artifact(_) => "Artifact",
        }
    }

    fn name(&self) -> &str {
        match self {
            Reference::ConfigMap(name) | Reference::Secret(name) | Reference::Artifact(name) => name,
        }
    }

    pub(super) fn is_there(&self, objects: &Objects, namespace: &str) -> bool {
        match self {
            Reference::ConfigMap(name) => objects.config_maps.get(namespace, name).is_some(),
            Reference::Secret(name) => objects.secrets.get(namespace, name).is_some(),
            Reference::Artifact(name) => objects.artifacts.get(namespace, name).is_some(),
        }
    }

    /// What is referred to, as text that differs when it does; `None` if it isn't there.
    fn fingerprint(&self, snapshot: &Snapshot, namespace: &str) -> Option<String> {
        let objects = &snapshot.objects;
        match self {
            Reference::ConfigMap(name) => objects.config_maps.get(namespace, name).map(|found| format!("{:?}", found.data)),
            // The mark that is made of this is stored where anybody may read it.
            Reference::Secret(name) => objects.secrets.get(namespace, name).map(|found| snapshot.config.mark_key.mark(found)),
            Reference::Artifact(name) => objects.artifacts.get(namespace, name).map(|found| {
                let secret = found.spec.image_pull_secret.as_ref().map_or("", |s| s.name.as_str());
                match found.metadata.annotations.get(IMAGES_ANNOTATION) {
                    Some(images) => format!("{:?}", (&found.spec.image, secret, images)),
                    None => format!("{:?}", (&found.spec.image, secret)),
                }
            }),
        }
    }
}

pub(super) fn references<'a>(objects: &'a Objects, namespace: &str, spec: &'a WorkloadSpec) -> Vec<Reference<'a>> {
    let mut found = Vec::new();
    for component in &spec.components {
        image(objects, namespace, (&component.image, component.image_pull_secret.as_ref()), &mut found);
        layer(component.local_resources.as_ref().and_then(|r| r.environment.as_ref()), &mut found);
    }
    if let Some(service) = &spec.service {
        image(objects, namespace, (&service.image, service.image_pull_secret.as_ref()), &mut found);
        layer(service.local_resources.as_ref().and_then(|r| r.environment.as_ref()), &mut found);
    }
    for interface in &spec.host_interfaces {
        found.extend(interface.config_from.iter().map(|r| Reference::ConfigMap(&r.name)));
        found.extend(interface.secret_from.iter().map(|r| Reference::Secret(&r.name)));
    }
    found
}

/// An image refers to an artifact, and to the Secret that it is pulled with: its own, or else its artifact's. What isn't pulled from a
/// registry needs none.
fn image<'a>(
    objects: &'a Objects,
    namespace: &str,
    (image, secret): (&'a str, Option<&'a LocalObjectReference>),
    found: &mut Vec<Reference<'a>>,
) {
    let name = image.strip_prefix(ARTIFACT);
    found.extend(name.map(Reference::Artifact));
    let artifact = name.and_then(|name| objects.artifacts.get(namespace, name));
    let (image, secret) = match (name, artifact) {
        (None, _) => (image, secret),
        (Some(_), Some(artifact)) => (artifact.spec.image.as_str(), secret.or(artifact.spec.image_pull_secret.as_ref())),
        (Some(_), None) => return,
    };
    if matches!(ImageRef::parse(image), Ok(ImageRef::Registry(_))) {
        found.extend(secret.map(|secret| Reference::Secret(&secret.name)));
    }
}

fn layer<'a>(layer: Option<&'a ConfigLayer>, found: &mut Vec<Reference<'a>>) {
    if let Some(layer) = layer {
        found.extend(layer.config_from.iter().map(|r| Reference::ConfigMap(&r.name)));
        found.extend(layer.secret_from.iter().map(|r| Reference::Secret(&r.name)));
    }
}

/// Looks references up in the snapshot.
pub(super) struct Lookup<'a>(pub(super) &'a Objects);

impl validate::Lookup for Lookup<'_> {
    fn config_map(&self, namespace: &str, name: &str) -> Option<&BTreeMap<String, String>> {
        self.0.config_maps.get(namespace, name).map(|found| &found.data)
    }

    fn secret(&self, namespace: &str, name: &str) -> Option<&SecretData> {
        self.0.secrets.get(namespace, name).map(|found| &found.data)
    }

    fn artifact(&self, namespace: &str, name: &str) -> Option<String> {
        self.0.artifacts.get(namespace, name).map(|found| found.spec.image.clone())
    }

    fn artifact_pull_secret(&self, namespace: &str, name: &str) -> Option<&str> {
        self.0.artifacts.get(namespace, name)?.spec.image_pull_secret.as_ref().map(|secret| secret.name.as_str())
    }
}
