//! Components and the service: image, reuse, and what they are given.

use std::collections::HashSet;

use super::checker::Checker;
use super::{config, credentials, limits, links, volumes};
use crate::grants::Grants;
use crate::image::ImageRef;
use crate::path::Path;
use crate::resource::{ComponentSpec, LocalObjectReference, LocalResources, PullPolicy, ServiceSpec, WorkloadSpec};
use crate::text::quote;
use crate::workload::{Component, PullCredentials, Resources, Reuse, Service};

/// Restarts of a service within a window, where the manifest says nothing: enough to ride out a dependency that comes up
/// late, few enough that a broken service is reported as broken within minutes.
pub const DEFAULT_MAX_RESTARTS: u64 = 5;

/// Longest name of a component, characters.
const MAX_NAME: usize = 128;

/// `spec.components`: unique names.
pub(super) fn components(checker: &mut Checker<'_>, spec: &WorkloadSpec, spec_path: &Path<'_>) -> Vec<Component> {
    let list = spec_path.field("components");
    if spec.components.is_empty() && spec.service.is_none() {
        checker.wrong(&list, "a workload needs at least one component or a service");
    }
    let mut names = HashSet::new();
    let mut components = Vec::with_capacity(spec.components.len());
    for (index, component) in spec.components.iter().enumerate() {
        let path = list.index(index);
        let name = path.field("name");
        checker.demand(is_name(&component.name), &name, || name_message(&component.name));
        checker.demand(names.insert(&component.name), &name, || format!("another component is named `{}` too", quote(&component.name)));
        components.extend(one(checker, component, spec, &path));
    }
    components
}

/// Names appear in log lines, metrics and messages, so they have no spaces or control characters.
fn is_name(text: &str) -> bool {
    !text.is_empty() && text.chars().count() <= MAX_NAME && !text.chars().any(|c| c.is_control() || c.is_whitespace() || c == '/')
}

fn name_message(name: &str) -> String {
    match name {
        "" => "is missing".to_owned(),
        name => format!("`{}` is not a component's name: it must have at most {MAX_NAME} characters, without spaces and `/`", quote(name)),
    }
}

fn one(checker: &mut Checker<'_>, component: &ComponentSpec, spec: &WorkloadSpec, path: &Path<'_>) -> Option<Component> {
    let image = image(checker, &component.image, &path.field("image"));
    let reuse = Reuse {
        pool_size: checker.count(component.pool_size, &path.field("poolSize")),
        max_invocations: checker.count(component.max_invocations, &path.field("maxInvocations")),
        max_concurrency: checker.count(component.max_concurrency, &path.field("maxConcurrency")),
    };
    let pull_credentials = pull_credentials(checker, (&component.image, component.image_pull_secret.as_ref()), image.as_ref(), path);
    let resources = resources(checker, component.local_resources.as_ref(), spec, path);
    let links = links::check(checker, &component.links, Some(&component.name), spec, path);
    let image = image?;
    let pull_policy = component.image_pull_policy.unwrap_or_else(|| default_policy(&image));
    Some(Component { name: component.name.clone(), image, pull_policy, pull_credentials, reuse, resources, links })
}

/// `spec.service`.
pub(super) fn service(checker: &mut Checker<'_>, service: &ServiceSpec, spec: &WorkloadSpec, spec_path: &Path<'_>) -> Option<Service> {
    let path = &spec_path.field("service");
    let image = image(checker, &service.image, &path.field("image"));
    let max_restarts = match service.max_restarts {
        Some(_) => checker.count(service.max_restarts, &path.field("maxRestarts")).into(),
        None => DEFAULT_MAX_RESTARTS,
    };
    let pull_credentials = pull_credentials(checker, (&service.image, service.image_pull_secret.as_ref()), image.as_ref(), path);
    let resources = resources(checker, service.local_resources.as_ref(), spec, path);
    let links = links::check(checker, &service.links, None, spec, path);
    let image = image?;
    let pull_policy = service.image_pull_policy.unwrap_or_else(|| default_policy(&image));
    Some(Service { image, pull_policy, pull_credentials, max_restarts, resources, links })
}

/// Kubernetes' rule for containers: a tag that moves is asked for at each start, anything else only when the cache lacks it.
fn default_policy(image: &ImageRef) -> PullPolicy {
    match image {
        ImageRef::Registry(reference) if reference.digest.is_none() && reference.tag.as_deref() == Some("latest") => PullPolicy::Always,
        _ => PullPolicy::IfNotPresent,
    }
}

/// An image reference; an artifact's is resolved where there is a lookup.
pub(super) fn image(checker: &mut Checker<'_>, text: &str, path: &Path<'_>) -> Option<ImageRef> {
    if text.trim().is_empty() {
        checker.wrong(path, "is missing");
        return None;
    }
    let image: ImageRef = checker.parse(text, path)?;
    let (ImageRef::Artifact(name), Some(lookup)) = (&image, checker.lookup) else { return Some(image) };
    let Some(target) = lookup.artifact(checker.namespace, name) else {
        checker.wrong(path, format!("artifact `{}` doesn't exist in namespace `{}`, or isn't ready", quote(name), checker.namespace));
        return None;
    };
    match ImageRef::parse(&target) {
        Ok(ImageRef::Artifact(_)) => {
            checker.wrong(path, format!("artifact `{}` leads to another artifact; it must lead to an image", quote(name)));
            None
        }
        result => checker.keep(result.map_err(|error| format!("of artifact `{}`: {error}", quote(name))), path),
    }
}

/// Only registries ask for credentials: the Secret of another image need not exist. The Secret that is `written` beside the image goes
/// before that of the artifact that the image is of.
fn pull_credentials(
    checker: &mut Checker<'_>,
    (image, written): (&str, Option<&LocalObjectReference>),
    resolved: Option<&ImageRef>,
    path: &Path<'_>,
) -> Option<PullCredentials> {
    let ImageRef::Registry(reference) = resolved? else { return None };
    let of_artifact = || match ImageRef::parse(image) {
        Ok(ImageRef::Artifact(name)) => checker.lookup?.artifact_pull_secret(checker.namespace, &name),
        _ => None,
    };
    let secret = written.map(|secret| secret.name.as_str()).or_else(of_artifact)?;
    let path = path.field("imagePullSecret");
    let path = path.field("name");
    let values = config::secret(checker, secret, &path)?;
    let result = credentials::from_secret(values, &reference.registry);
    checker.keep(result.map_err(|lack| format!("Secret `{}` can't be used to pull: {lack}", quote(secret))), &path)
}

fn resources(checker: &mut Checker<'_>, local: Option<&LocalResources>, spec: &WorkloadSpec, path: &Path<'_>) -> Resources {
    let Some(local) = local else { return Resources::default() };
    let path = &path.field("localResources");
    let environment = match &local.environment {
        Some(layer) => {
            let path = path.field("environment");
            let values = config::merge(checker, &layer.config, &layer.config_from, &layer.secret_from, &path);
            config::environment(checker, &values, &path);
            values
        }
        None => Default::default(),
    };
    Resources {
        environment,
        config: local.config.clone(),
        mounts: volumes::mounts(checker, &local.volume_mounts, &spec.volumes, path),
        grants: Grants {
            hosts: each(checker, &local.allowed_hosts, &path.field("allowedHosts")),
            names: each(checker, &local.allowed_ip_name_lookups, &path.field("allowedIpNameLookups")),
            loopback_ports: each(checker, &local.allowed_host_loopback_ports, &path.field("allowedHostLoopbackPorts")),
        },
        limits: local.limits.as_ref().map(|spec| limits::check(checker, spec, &path.field("limits"))).unwrap_or_default(),
    }
}

fn each<T: std::str::FromStr<Err: std::fmt::Display>>(checker: &mut Checker<'_>, texts: &[String], list: &Path<'_>) -> Vec<T> {
    texts.iter().enumerate().filter_map(|(index, text)| checker.parse(text, &list.index(index))).collect()
}
