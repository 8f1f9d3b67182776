//! Secrets that workloads refer to: they decide what runs as ConfigMaps do, and nothing that is stored or told shows a value.

use berth_model::condition::{self, ConditionStatus};
use berth_model::resource::Kind;
use serde_json::{Value, json};

use super::world::{World, deployment_of, ready, workload};
use crate::plan::CONTENT_ANNOTATION;

/// base64 of "hunter2" and "hunter3".
const OLD: &str = "aHVudGVyMg==";
const NEW: &str = "aHVudGVyMw==";

fn secret(name: &str, value: &str) -> Value {
    json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": name }, "data": { "PASSWORD": value } })
}

/// A spec whose environment comes from the Secret `db`.
fn spec() -> Value {
    json!({ "components": [{
        "name": "main", "image": "file:///a.wasm", "localResources": { "environment": { "secretFrom": [{ "name": "db" }] } }
    }] })
}

/// The environments that hosts are told, each once.
fn told(world: &World) -> Vec<String> {
    let wants = world.snapshot.memory.wants.values().flat_map(|wants| wants.run.iter());
    let mut all: Vec<String> = wants.map(|want| format!("{:?}", want.workload.components[0].resources.environment)).collect();
    all.dedup();
    all
}

fn contents(world: &World) -> Vec<String> {
    let mut all: Vec<String> = world.workloads().into_iter().map(|w| w.metadata.annotations[CONTENT_ANNOTATION].clone()).collect();
    all.dedup();
    all
}

#[test]
fn l12_editing_a_secret_replaces_workloads_that_read_it() {
    let mut world = World::new();
    world.host("one", &[]);
    world.apply(secret("db", OLD));
    world.apply(deployment_of("web", 2, spec()));
    world.settle();
    assert_eq!(told(&world), [r#"{"PASSWORD": "hunter2"}"#]);
    let before = contents(&world);
    world.apply(secret("db", NEW));
    world.settle();
    assert_eq!(told(&world), [r#"{"PASSWORD": "hunter3"}"#]);
    assert_ne!(contents(&world), before);
    assert_eq!(world.sets().len(), 1, "the template is as it was");
    world.apply(secret("db", OLD));
    world.settle();
    assert_eq!(contents(&world), before, "the mark depends on the values alone");
}

#[test]
fn l12_editing_a_secret_changes_a_workload_that_stands_alone_in_place() {
    let mut world = World::new();
    world.host("one", &[]);
    world.apply(secret("db", OLD));
    world.apply(workload("bare", spec()));
    world.settle();
    world.apply(secret("db", NEW));
    world.settle();
    assert_eq!((told(&world), world.names()), (vec![r#"{"PASSWORD": "hunter3"}"#.to_owned()], vec!["bare".to_owned()]));
}

#[test]
fn l10_a_secret_that_comes_late_starts_what_waits_for_it_and_its_absence_is_named() {
    let mut world = World::new();
    world.host("one", &[]);
    world.apply(workload("bare", spec()));
    world.apply(deployment_of("web", 2, spec()));
    world.settle();
    let bare = world.workload("bare");
    let config = condition::find(&bare.status.conditions, "Config").unwrap();
    assert_eq!((config.status, config.reason.as_str()), (ConditionStatus::False, "ReferenceNotFound"));
    assert!(config.message.contains("Secret `db` doesn't exist in namespace `default`"), "{}", config.message);
    assert_eq!(ready(&world.deployment("web").status.conditions).1, "ReferenceNotFound");
    world.apply(secret("db", OLD));
    world.settle();
    assert_eq!(ready(&world.deployment("web").status.conditions).0, "True");
    assert_eq!(ready(&world.workload("bare").status.conditions).0, "True");
}

#[test]
fn l12_what_runs_goes_on_when_its_secret_is_deleted() {
    let mut world = World::new();
    world.host("one", &[]);
    world.apply(secret("db", OLD));
    world.apply(deployment_of("web", 2, spec()));
    world.settle();
    let names = world.names();
    world.delete(Kind::Secret, "db");
    world.settle();
    assert_eq!((world.names(), told(&world)), (names, vec![r#"{"PASSWORD": "hunter2"}"#.to_owned()]));
}

#[test]
fn credentials_come_from_the_pull_secret_of_the_component_or_of_its_artifact() {
    let mut world = World::new();
    world.host("one", &[]);
    // base64 of "me".
    let login = |password: &str| json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "pull" }, "data": { "username": "bWU=", "password": password } });
    let artifact = json!({
        "apiVersion": "runtime.wasmcloud.dev/v1alpha1", "kind": "Artifact", "metadata": { "name": "hello" },
        "spec": { "image": "ghcr.io/acme/hello:1", "imagePullSecret": { "name": "pull" } }
    });
    let own = json!({ "components": [{ "name": "main", "image": "ghcr.io/acme/hello:1", "imagePullSecret": { "name": "pull" } }] });
    let of_artifact = json!({ "components": [{ "name": "main", "image": "artifact://hello" }] });
    let file = json!({ "components": [{ "name": "main", "image": "file:///a.wasm", "imagePullSecret": { "name": "none" } }] });
    for object in [artifact, deployment_of("own", 1, own), deployment_of("of-artifact", 1, of_artifact), deployment_of("file", 1, file)] {
        world.apply(object);
    }
    world.settle();
    for waiting in ["own", "of-artifact"] {
        let (_, reason, message) = ready(&world.deployment(waiting).status.conditions);
        assert!(reason == "ReferenceNotFound" && message.contains("Secret"), "{waiting}: {reason}: {message}");
    }
    assert_eq!(ready(&world.deployment("file").status.conditions).0, "True", "a file needs no credentials");
    let passwords = |world: &World| {
        let wants = world.snapshot.memory.wants.values().flat_map(|wants| wants.run.iter());
        let found = wants.filter_map(|want| want.workload.components[0].pull_credentials.clone());
        found.map(|credentials| format!("{}:{}", credentials.username, credentials.password)).collect::<Vec<_>>()
    };
    world.apply(login(OLD));
    world.settle();
    assert_eq!(passwords(&world), ["me:hunter2", "me:hunter2"]);
    world.apply(login(NEW));
    world.settle();
    assert_eq!(passwords(&world), ["me:hunter3", "me:hunter3"], "L12");
}

#[test]
fn l14_no_value_is_in_what_is_stored_or_told_or_printed() {
    let mut world = World::new();
    world.host("one", &[]);
    world.apply(secret("db", OLD));
    world.apply(deployment_of("web", 2, spec()));
    world.settle();
    let mut text = format!("{:?} {:?} {:?}", world.snapshot, world.events, world.snapshot.memory.contents);
    for object in world.workloads() {
        text.push_str(&serde_json::to_string(&berth_model::resource::Resource::Workload(object)).unwrap());
    }
    for value in ["hunter2", OLD, "68756e74657232", "104, 117, 110"] {
        assert!(!text.contains(value), "{value} shows");
    }
    assert!(text.contains("PASSWORD"));
}
