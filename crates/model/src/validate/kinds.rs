//! The rules of each kind.

use std::collections::{BTreeMap, HashSet};

use super::checker::Checker;
use super::{component, credentials, http, interfaces, names, volumes};
use crate::id::HostId;
use crate::image::ImageRef;
use crate::interface::HostInterface;
use crate::path::Path;
use crate::resource::{
    ArtifactSpec, ConfigMap, DeploymentSpec, HostFields, Kubernetes, LocalObjectReference, ObjectMeta, Resource, Secret, SecretValue,
    Template, WorkloadSpec,
};
use crate::text::quote;
use crate::workload::{Resources, Workload};

/// All values of a ConfigMap or a Secret together, bytes: Kubernetes' bound.
pub const MAX_DATA: usize = 1 << 20;

/// Name, namespace, labels and annotations, as Kubernetes has them.
pub(super) fn metadata(checker: &mut Checker<'_>, meta: &ObjectMeta) {
    let path = Path::Root.field("metadata");
    names::object_name(checker, &meta.name, &path.field("name"));
    names::dns_label(checker, &meta.namespace, &path.field("namespace"));
    names::labels(checker, &meta.labels, &path.field("labels"));
    names::annotations(checker, &meta.annotations, &path.field("annotations"));
}

/// What follows the metadata.
pub(super) fn resource(checker: &mut Checker<'_>, resource: &Resource) {
    let spec_path = Path::Root.field("spec");
    match resource {
        Resource::Host(object) => host(checker, &object.spec),
        Resource::Workload(object) => {
            workload(checker, &object.metadata, &object.spec, &spec_path);
        }
        Resource::ReplicaSet(object) => {
            checker.replicas(object.spec.replicas, &spec_path.field("replicas"));
            template(checker, &object.metadata, &object.spec.template, &spec_path);
        }
        Resource::Deployment(object) => deployment(checker, &object.metadata, &object.spec, &spec_path),
        Resource::Artifact(object) => artifact(checker, &object.spec, &spec_path),
        Resource::ConfigMap(map) => config_map(checker, map),
        Resource::Secret(object) => secret(checker, object),
    }
}

/// A workload's spec at `path`.
pub(super) fn workload(checker: &mut Checker<'_>, meta: &ObjectMeta, spec: &WorkloadSpec, path: &Path<'_>) -> Workload {
    names::labels(checker, &spec.host_selector, &path.field("hostSelector"));
    if let Some(id) = spec.host_id.as_deref().filter(|id| !id.is_empty()) {
        let _: Option<HostId> = checker.parse(id, &path.field("hostId"));
    }
    if let Some(environment) = spec.environment.as_deref().filter(|text| !text.is_empty()) {
        let plain = environment.len() <= 253 && !environment.chars().any(|c| c.is_control() || c.is_whitespace());
        checker.demand(plain, &path.field("environment"), || {
            format!("`{}` is not an environment's name: it must have at most 253 characters, without spaces", quote(environment))
        });
    }
    let mut components = component::components(checker, spec, path);
    let mut service = spec.service.as_ref().and_then(|service| component::service(checker, service, spec, path));
    let volumes = volumes::check(checker, &spec.volumes, path);
    let mut interfaces = interfaces::check(checker, &spec.host_interfaces, path);
    let resources = components.iter_mut().map(|component| &mut component.resources);
    let resources = resources.chain(service.iter_mut().map(|service| &mut service.resources));
    resources.for_each(|resources| add_config(resources, interfaces.iter().map(|(_, interface)| interface)));
    let http = http::entry(checker, spec, &mut interfaces, path);
    if http.is_none() {
        // Otherwise the HTTP entry has checked it.
        kubernetes(checker, spec.kubernetes.as_ref(), path);
    }
    Workload {
        namespace: meta.namespace.clone(),
        name: meta.name.clone(),
        annotations: meta.annotations.clone(),
        components,
        service,
        interfaces: interfaces.into_iter().map(|(_, interface)| interface).collect(),
        volumes,
        http,
    }
}

/// Values of the workload's `wasi:config` entry are every component's; a component's own go before them.
fn add_config<'a>(resources: &mut Resources, interfaces: impl Iterator<Item = &'a HostInterface>) {
    for entry in interfaces.filter(|entry| entry.is_config_store()) {
        for (key, value) in &entry.config {
            resources.config.entry(key.clone()).or_insert_with(|| value.clone());
        }
    }
}

fn template(checker: &mut Checker<'_>, meta: &ObjectMeta, template: &Template, spec_path: &Path<'_>) {
    let path = spec_path.field("template");
    names::labels(checker, &template.labels, &path.field("labels"));
    names::annotations(checker, &template.annotations, &path.field("annotations"));
    workload(checker, meta, &template.spec, &path.field("spec"));
}

fn deployment(checker: &mut Checker<'_>, meta: &ObjectMeta, spec: &DeploymentSpec, path: &Path<'_>) {
    checker.replicas(spec.replicas, &path.field("replicas"));
    template(checker, meta, &spec.template, path);
    kubernetes(checker, spec.kubernetes.as_ref(), path);
    let list = path.field("artifacts");
    let mut seen = HashSet::new();
    for (index, artifact) in spec.artifacts.iter().enumerate() {
        let path = list.index(index);
        let name = path.field("name");
        let valid = matches!(ImageRef::parse(&format!("artifact://{}", artifact.name)), Ok(ImageRef::Artifact(_)));
        checker.demand(valid, &name, || format!("`{}` must be 1 to 253 letters, digits, `.`, `_` and `-`", quote(&artifact.name)));
        checker.demand(seen.insert(&artifact.name), &name, || format!("another artifact is named `{}` too", quote(&artifact.name)));
        reference(checker, &artifact.artifact_from, &path.field("artifactFrom"));
    }
}

fn kubernetes(checker: &mut Checker<'_>, kubernetes: Option<&Kubernetes>, path: &Path<'_>) {
    if let Some(service) = kubernetes.and_then(|kubernetes| kubernetes.service.as_ref()) {
        let path = path.field("kubernetes");
        let path = path.field("service");
        names::dns_label(checker, &service.name, &path.field("name"));
    }
}

fn reference(checker: &mut Checker<'_>, reference: &LocalObjectReference, path: &Path<'_>) {
    names::object_name(checker, &reference.name, &path.field("name"));
}

fn artifact(checker: &mut Checker<'_>, spec: &ArtifactSpec, path: &Path<'_>) {
    let image_path = path.field("image");
    if let Some(ImageRef::Artifact(_)) = component::image(checker, &spec.image, &image_path) {
        checker.wrong(&image_path, "an artifact must lead to an image, not to another artifact");
    }
    if let Some(secret) = &spec.image_pull_secret {
        reference(checker, secret, &path.field("imagePullSecret"));
    }
}

fn host(checker: &mut Checker<'_>, fields: &HostFields) {
    let _: Option<HostId> = checker.parse(&fields.host_id, &Path::Root.field("hostId"));
    let port = Path::Root.field("httpPort");
    checker.demand((0..=65_535).contains(&fields.http_port), &port, || format!("must be 0 to 65535, but is {}", fields.http_port));
}

fn config_map(checker: &mut Checker<'_>, map: &ConfigMap) {
    values(checker, &map.data, String::len);
}

fn secret(checker: &mut Checker<'_>, secret: &Secret) {
    let kind = Path::Root.field("type");
    let valid = !secret.kind.is_empty() && secret.kind.len() <= 253 && !secret.kind.chars().any(|c| c.is_control() || c.is_whitespace());
    checker.demand(valid, &kind, || format!("`{}` is not a type: 1 to 253 characters without spaces", quote(&secret.kind)));
    values(checker, &secret.data, |value| value.bytes().map_or(0, <[u8]>::len));
    let path = Path::Root.field("data");
    for (key, _) in secret.data.iter().filter(|(_, value)| **value == SecretValue::Withheld) {
        checker.wrong(&path.field(key), "has no value");
    }
    if let Some(lack) = credentials::lack(secret) {
        checker.wrong(&path, lack);
    }
}

fn values<T>(checker: &mut Checker<'_>, data: &BTreeMap<String, T>, bytes: impl Fn(&T) -> usize) {
    let path = Path::Root.field("data");
    for key in data.keys() {
        let valid = (1..=253).contains(&key.len()) && key.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'));
        checker.demand(valid, &path.field(key), || format!("`{}` is not a key: 1 to 253 letters, digits, `-`, `_` and `.`", quote(key)));
    }
    let size: usize = data.iter().map(|(key, value)| key.len() + bytes(value)).sum();
    checker.demand(size <= MAX_DATA, &path, || format!("must have at most {MAX_DATA} bytes together, but has {size}"));
}
