//! What is stored, and what runs: each rule of the API, and every fault with its field.

mod admission;
mod http;
mod interfaces;
mod links;
mod remarks;
mod resources;
mod secrets;

use std::collections::BTreeMap;

use berth_model::manifest::{self, Document};
use berth_model::resource::{Object, ObjectMeta, Resource, SecretData, WorkloadSpec};
use berth_model::validate::{self, InvalidSpec, Lookup};
use berth_model::workload::Workload;
use proptest::prelude::*;

use crate::arbitrary;

/// ConfigMaps, Secrets and artifacts of namespace `default`.
#[derive(Default)]
struct Objects {
    config_maps: BTreeMap<String, BTreeMap<String, String>>,
    secrets: BTreeMap<String, SecretData>,
    artifacts: BTreeMap<String, String>,
    artifact_secrets: BTreeMap<String, String>,
}

impl Objects {
    fn config_map(mut self, name: &str, values: &[(&str, &str)]) -> Objects {
        self.config_maps.insert(name.into(), owned(values));
        self
    }

    fn secret(mut self, name: &str, values: &[(&str, &str)]) -> Objects {
        self.secrets.insert(name.into(), secret_data(values));
        self
    }

    fn artifact(mut self, name: &str, image: &str) -> Objects {
        self.artifacts.insert(name.into(), image.into());
        self
    }
}

/// Has whatever is asked for.
struct Everything(BTreeMap<String, String>, SecretData);

impl Lookup for Everything {
    fn config_map(&self, _namespace: &str, _name: &str) -> Option<&BTreeMap<String, String>> {
        Some(&self.0)
    }

    fn secret(&self, _namespace: &str, _name: &str) -> Option<&SecretData> {
        Some(&self.1)
    }

    fn artifact(&self, _namespace: &str, _name: &str) -> Option<String> {
        Some("file:artifact.wasm".to_owned())
    }
}

fn owned(values: &[(&str, &str)]) -> BTreeMap<String, String> {
    values.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn secret_data(values: &[(&str, &str)]) -> SecretData {
    values.iter().map(|(key, value)| ((*key).to_owned(), (*value).into())).collect()
}

impl Lookup for Objects {
    fn config_map(&self, namespace: &str, name: &str) -> Option<&BTreeMap<String, String>> {
        self.config_maps.get(name).filter(|_| namespace == "default")
    }

    fn secret(&self, namespace: &str, name: &str) -> Option<&SecretData> {
        self.secrets.get(name).filter(|_| namespace == "default")
    }

    fn artifact(&self, namespace: &str, name: &str) -> Option<String> {
        self.artifacts.get(name).filter(|_| namespace == "default").cloned()
    }

    fn artifact_pull_secret(&self, namespace: &str, name: &str) -> Option<&str> {
        self.artifact_secrets.get(name).filter(|_| namespace == "default").map(String::as_str)
    }
}

fn meta() -> ObjectMeta {
    ObjectMeta { name: "hello".into(), namespace: "default".into(), ..ObjectMeta::default() }
}

/// A workload's spec from YAML.
fn spec(yaml: &str) -> WorkloadSpec {
    serde_saphyr::from_str(yaml).unwrap_or_else(|error| panic!("{error}"))
}

fn check_with(yaml: &str, objects: &Objects) -> Result<Workload, InvalidSpec> {
    validate::workload(&meta(), &spec(yaml), objects)
}

fn check(yaml: &str) -> Result<Workload, InvalidSpec> {
    check_with(yaml, &Objects::default())
}

/// The workload with a component of its own and `yaml` beside it.
fn with_component(yaml: &str) -> String {
    format!("components: [{{name: a, image: 'file:a.wasm'}}]\n{yaml}")
}

fn assert_invalid<T: std::fmt::Debug>(result: Result<T, InvalidSpec>, expected: &[(&str, &str)]) {
    let error = result.expect_err("must be refused");
    let fields: Vec<&str> = error.0.iter().map(|invalid| invalid.field.as_str()).collect();
    assert_eq!(fields, expected.iter().map(|(field, _)| *field).collect::<Vec<_>>(), "{error}");
    for (invalid, (_, message)) in error.0.iter().zip(expected) {
        assert!(invalid.message.contains(message), "{invalid} doesn't say {message}");
    }
}

/// The one resource of a manifest, in namespace `default`.
fn resource(yaml: &str) -> Resource {
    let documents = manifest::parse(yaml, "test").unwrap_or_else(|error| panic!("{error}"));
    let Some(Document::Resource(resource)) = documents.into_iter().next() else { panic!("no resource: {yaml}") };
    let mut resource = *resource;
    if resource.metadata().namespace.is_empty() {
        resource.metadata_mut().namespace = "default".into();
    }
    resource
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_resource_is_valid_or_has_named_faults(resource in arbitrary::resource()) {
        if let Err(error) = validate::resource(&resource) {
            prop_assert!(!error.0.is_empty());
            prop_assert!(error.0.iter().all(|invalid| !invalid.field.is_empty() && !invalid.message.is_empty()));
        }
    }

    #[test]
    fn admission_and_start_agree_where_every_reference_resolves(spec in arbitrary::workload_spec()) {
        let login = [("username", "user"), ("password", "secret")];
        let everything = Everything(owned(&login), secret_data(&login));
        let started = validate::workload(&meta(), &spec, &everything);
        let stored = validate::resource(&Resource::Workload(Object { metadata: meta(), spec, status: Default::default() }));
        prop_assert_eq!(started.map(|_| ()), stored);
    }
}
