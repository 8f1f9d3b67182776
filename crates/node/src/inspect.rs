//! `berth inspect`: what workloads come to on a host, of files without a running berth, or of what is applied.
//!
//! Objects are resolved by the operator's rules and seen by the host's. What is told holds names of variables and keys alone.

use std::collections::BTreeMap;

use berth_host::HostConfig;
use berth_host::inspect::{self, Inspected, Problem};
use berth_model::image::ImageRef;
use berth_model::resource::{ConfigLayer, Kind, LocalResources, PullPolicy, Resource, WorkloadSpec};
use berth_oci::{
    Cache, CacheError, CacheSettings, ImageSource, LocalLimits, LocalSource, RegistrySettings, RegistrySettingsError, RegistrySource,
    Source,
};
use berth_operator::plan::{Meaning, Meaningless, Objects, meaning};
use berth_operator::store::{Store, StoreError};
use serde::{Deserialize, Serialize};

use crate::caches::CachesConfig;
use crate::intake::Intake;

/// One object with a workload in it, and what that comes to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Inspection {
    /// The object's kind.
    pub kind: Kind,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// What it refers to and wasn't found: `ConfigMap settings`. Values from there are left out.
    pub missing: Vec<String>,
    /// What it comes to.
    #[serde(flatten)]
    pub inspected: Inspected,
}

/// Why files can't be inspected.
#[derive(Debug, thiserror::Error)]
pub enum InspectError {
    /// An image of a registry is asked for, and there is no folder to keep it in.
    #[error("there is neither XDG_CACHE_HOME nor HOME to find the image cache by: name its folder with --cache-dir")]
    NoCache,
    /// The image cache.
    #[error("can't use the cache of images: choose another folder with --cache-dir")]
    Cache(#[from] CacheError),
    /// How registries are reached.
    #[error("can't reach registries")]
    Registries(#[from] RegistrySettingsError),
}

/// Where images of files come from.
#[derive(Clone, Debug)]
pub struct Images {
    /// The cache for those of registries, which isn't opened where there are none.
    pub caches: CachesConfig,
    /// How registries are reached.
    pub registries: RegistrySettings,
}

/// What the workloads among `intake` come to on a host of `config`. ConfigMaps, Secrets and Artifacts are those of the same files. An image
/// of a registry that isn't cached is pulled, as a start would pull it.
///
/// # Errors
///
/// When there are images of a registry and they can't be asked for. What is wrong with a workload is told of it.
pub async fn files(intake: Intake, config: &HostConfig, images: Images) -> Result<Vec<Inspection>, InspectError> {
    let mut resources = intake.resources;
    let mut objects = Objects::default();
    for resource in &mut resources {
        let namespace = &mut resource.metadata_mut().namespace;
        if namespace.is_empty() {
            "default".clone_into(namespace);
        }
        objects.insert(resource.clone());
    }
    let source = source(&resources, images)?;
    let mut inspections = Vec::new();
    for resource in &resources {
        let Some(meant) = meaning(&objects, resource) else { continue };
        let inspected = |meaning: Meaning| async { inspect::inspect(meaning.workload, source.as_ref(), config).await };
        inspections.push(inspection(&objects, resource, meant, inspected).await);
    }
    Ok(inspections)
}

/// What `resource` of the store comes to on `host`; `None` if it is of a kind without a workload. Nothing is pulled that is cached.
///
/// # Errors
///
/// When the store can't be read.
pub(crate) async fn stored(store: &dyn Store, host: &berth_host::Host, resource: &Resource) -> Result<Option<Inspection>, StoreError> {
    let namespace = resource.metadata().namespace.as_str();
    let mut objects = Objects::default();
    for kind in [Kind::ConfigMap, Kind::Secret, Kind::Artifact] {
        for object in store.list(kind, Some(namespace)).await? {
            objects.insert(object);
        }
    }
    let Some(meant) = meaning(&objects, resource) else { return Ok(None) };
    let inspected = |mut meaning: Meaning| async {
        let components = meaning.workload.components.iter_mut().map(|component| &mut component.pull_policy);
        for policy in components.chain(meaning.workload.service.iter_mut().map(|service| &mut service.pull_policy)) {
            // What is cached is what was started, most likely; a registry may have another by now.
            if *policy == PullPolicy::Always {
                *policy = PullPolicy::IfNotPresent;
            }
        }
        host.inspect(meaning.workload).await
    };
    let mut inspection = inspection(&objects, resource, meant, inspected).await;
    for missing in &inspection.missing {
        let message = format!("{missing} doesn't exist in namespace {namespace}: nothing can be started until it does; apply it");
        inspection.inspected.problems.push(Problem { reason: "ReferenceNotFound".to_owned(), message });
    }
    Ok(Some(inspection))
}

async fn inspection<F: Future<Output = Inspected>>(
    objects: &Objects,
    resource: &Resource,
    meant: Result<Meaning, Meaningless>,
    inspect: impl FnOnce(Meaning) -> F,
) -> Inspection {
    let meta = resource.metadata();
    let (missing, inspected) = match meant {
        Ok(meaning) => {
            let missing = meaning.missing.iter().map(|(kind, name)| format!("{kind} {name}")).collect();
            let origins = origins(objects, &meta.namespace, &meaning.spec);
            let mut inspected = inspect(meaning).await;
            note_origins(&mut inspected, &origins);
            (missing, inspected)
        }
        Err(error) => {
            let problem = Problem { reason: error.reason.to_owned(), message: error.message };
            (Vec::new(), Inspected { problems: vec![problem], ..Inspected::default() })
        }
    };
    Inspection { kind: resource.kind(), namespace: meta.namespace.clone(), name: meta.name.clone(), missing, inspected }
}

/// Files alone, where no image is of a registry.
fn source(resources: &[Resource], images: Images) -> Result<Box<dyn Source>, InspectError> {
    let local = LocalSource::new(LocalLimits::default());
    let is_remote = |(_, image): (String, &str)| matches!(ImageRef::parse(image), Ok(ImageRef::Registry(_)));
    if !resources.iter().flat_map(Resource::images).any(is_remote) {
        return Ok(Box::new(local));
    }
    let Images { caches, registries } = images;
    let folder = caches.dir.ok_or(InspectError::NoCache)?.join("images");
    let cache = Cache::open(CacheSettings { max_bytes: caches.image_bytes, ..CacheSettings::in_folder(folder) })?;
    Ok(Box::new(ImageSource::new(local, RegistrySource::new(registries, cache)?)))
}

/// Where variables come from that the manifest doesn't write, by component's place and name; the service is the last.
fn origins(objects: &Objects, namespace: &str, spec: &WorkloadSpec) -> Vec<BTreeMap<String, String>> {
    let parts = spec.components.iter().map(|component| &component.local_resources);
    let parts = parts.chain(spec.service.iter().map(|service| &service.local_resources));
    let layer = |local: &'_ Option<LocalResources>| local.as_ref().and_then(|local| local.environment.clone()).unwrap_or_default();
    parts.map(|local| layer_origins(objects, namespace, &layer(local))).collect()
}

fn layer_origins(objects: &Objects, namespace: &str, layer: &ConfigLayer) -> BTreeMap<String, String> {
    let mut origins = BTreeMap::new();
    for reference in &layer.config_from {
        let found = objects.config_maps.get(namespace, &reference.name);
        let keys = found.iter().flat_map(|map| map.data.keys());
        origins.extend(keys.map(|key| (key.clone(), format!("ConfigMap {}", reference.name))));
    }
    for reference in &layer.secret_from {
        let found = objects.secrets.get(namespace, &reference.name);
        let keys = found.iter().flat_map(|secret| secret.data.keys());
        origins.extend(keys.map(|key| (key.clone(), format!("Secret {}", reference.name))));
    }
    origins
}

fn note_origins(inspected: &mut Inspected, origins: &[BTreeMap<String, String>]) {
    for (component, origins) in inspected.components.iter_mut().zip(origins) {
        for variable in &mut component.granted.environment {
            variable.from = origins.get(&variable.name).cloned();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resources(text: &str) -> Vec<Resource> {
        let read = |value: serde_json::Value| serde_json::from_value(value).unwrap();
        serde_json::from_str::<Vec<serde_json::Value>>(text).unwrap().into_iter().map(read).collect()
    }

    #[tokio::test]
    async fn variables_say_where_they_come_from_and_never_what_they_are() {
        let text = r#"[
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings"}, "data": {"LEVEL": "hidden-level", "A": "hidden-a"}},
            {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "db"}, "type": "Opaque", "data": {"A": "aGlkZGVuLXNlY3JldA=="}},
            {"apiVersion": "runtime.wasmcloud.dev/v1alpha1", "kind": "Workload", "metadata": {"name": "shop"}, "spec": {"components": [
                {"name": "shop", "image": "file:///nowhere/shop.wasm", "localResources": {"environment": {
                    "config": {"OWN": "hidden-own", "A": "0"}, "configFrom": [{"name": "settings"}, {"name": "gone"}], "secretFrom": [{"name": "db"}]
                }}}
            ]}}
        ]"#;
        let intake = Intake { resources: resources(text), ..Intake::default() };
        let images = Images { caches: CachesConfig::default(), registries: RegistrySettings::default() };
        let inspections = files(intake, &HostConfig::default(), images).await.unwrap();
        let [shop] = inspections.as_slice() else { panic!("{inspections:?}") };
        assert_eq!((shop.namespace.as_str(), shop.missing.as_slice()), ("default", &["ConfigMap gone".to_owned()][..]));
        let found: Vec<(&str, Option<&str>)> =
            shop.inspected.components[0].granted.environment.iter().map(|v| (v.name.as_str(), v.from.as_deref())).collect();
        assert_eq!(found, [("A", Some("Secret db")), ("LEVEL", Some("ConfigMap settings")), ("OWN", None)]);
        assert_eq!(shop.inspected.problems[0].reason, "ImagePullFailed");
        let told = format!("{shop:?} {}", serde_json::to_string(shop).unwrap());
        assert!(!told.contains("hidden"), "{told}");
    }
}
