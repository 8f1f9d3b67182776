//! Replica sets and what their workloads are made of.

use std::collections::BTreeSet;

use berth_model::condition;
use berth_model::resource::{Kind, Resource};
use serde_json::{Value, json};

use super::world::*;
use crate::plan::{Action, Plan};

fn replica_set(name: &str, replicas: i32, spec: Value) -> Value {
    json!({
        "apiVersion": "runtime.wasmcloud.dev/v1alpha1", "kind": "WorkloadReplicaSet", "metadata": { "name": name },
        "spec": { "replicas": replicas, "template": { "spec": spec } }
    })
}

fn environments(world: &World) -> Vec<String> {
    let contents = world.snapshot.memory.wants.values().flat_map(|wants| &wants.run);
    contents.map(|want| want.workload.components[0].resources.environment.get("key").cloned().unwrap_or_default()).collect()
}

/// How many workloads a plan makes.
fn creates(plan: &Plan) -> usize {
    plan.writes.iter().filter(|w| matches!(&w.action, Action::Create(Resource::Workload(_)))).count()
}

/// As a store holds it that took it before there was a bound.
fn with_stored_replicas(world: &mut World, replicas: i32) {
    for set in world.sets() {
        let mut set = set;
        set.spec.replicas = Some(replicas);
        world.snapshot.objects.insert(Resource::ReplicaSet(set));
    }
}

#[test]
fn a_stored_set_of_two_billion_replicas_is_made_in_bounded_steps_and_up_to_the_bound() {
    let mut world = World::new();
    world.apply(replica_set("web", 1, spec("file:///a.wasm")));
    world.settle();
    for made in [257, 513] {
        with_stored_replicas(&mut world, 2_000_000_000);
        let (plan, failed) = world.pass();
        assert_eq!((creates(&plan), failed, world.names().len()), (256, 0, made));
    }
    with_stored_replicas(&mut world, 2_000_000_000);
    world.pass();
    assert_eq!(world.sets()[0].status.replicas.unwrap().expected, 10_000);
}

#[test]
fn a_stored_deployment_of_two_billion_replicas_gets_as_many_as_the_bound_allows() {
    let mut world = World::new();
    world.apply(deployment("web", 1, "file:///a.wasm"));
    world.read();
    let mut huge = world.deployment("web");
    huge.spec.replicas = Some(2_000_000_000);
    world.snapshot.objects.insert(Resource::Deployment(huge));
    let (_, failed) = world.pass();
    assert_eq!(failed, 0);
    assert_eq!(world.sets()[0].spec.replicas, Some(10_000));
}

#[test]
fn what_is_missing_beyond_one_plan_is_made_by_the_next() {
    let mut world = World::new();
    world.apply(replica_set("web", 600, spec("file:///a.wasm")));
    let made: Vec<_> = (0..4).map(|_| creates(&world.pass().0)).collect();
    assert_eq!(made, [256, 256, 88, 0]);
}

#[test]
fn l11_scaling_down_removes_what_doesnt_serve_then_what_is_crowded() {
    let mut world = World::new();
    let (one, two) = (world.host("one", &[("zone", "a")]), world.host("two", &[("zone", "a")]));
    world.apply(replica_set("web", 4, spec("file:///a.wasm")));
    world.settle();
    let down = world.placed()[&one][0].clone();
    let down_id = world.workload(&down).metadata.uid;
    world.behaviour = Box::new(move |_, want| if want.id.as_str() == down_id { starting(want) } else { running(want) });
    world.settle();

    world.apply(replica_set("web", 3, spec("file:///a.wasm")));
    world.settle();
    assert!(!world.names().contains(&down), "the one that doesn't serve goes first");
    world.apply(replica_set("web", 2, spec("file:///a.wasm")));
    world.settle();
    let left = world.placed();
    assert_eq!((left[&one].len(), left[&two].len()), (1, 1), "then one of the crowded host");
}

#[test]
fn l11_zero_replicas_are_valid() {
    let mut world = World::new();
    world.host("one", &[]);
    world.apply(replica_set("web", 2, spec("file:///a.wasm")));
    world.settle();
    world.apply(replica_set("web", 0, spec("file:///a.wasm")));
    world.settle();
    assert!(world.names().is_empty());
    let status = world.sets().remove(0).status;
    assert!(["ScaleUp", "ScaleDown", "Ready"].iter().all(|kind| condition::is_true(&status.conditions, kind)), "{status:?}");
}

#[test]
fn l12_editing_the_template_of_a_replica_set_replaces_its_workloads_one_by_one() {
    let mut world = World::new();
    world.host("one", &[]);
    world.apply(replica_set("web", 2, spec("file:///a.wasm")));
    world.settle();
    let before: BTreeSet<_> = world.workloads().into_iter().map(|w| w.metadata.uid).collect();
    world.apply(replica_set("web", 2, spec("file:///b.wasm")));
    for _ in 0..30 {
        world.pass();
        let ready = world.workloads().iter().filter(|w| condition::is_true(&w.status.conditions, "Ready")).count();
        assert!(ready >= 2);
    }
    world.settle();
    assert!(world.workloads().iter().all(|w| w.spec.components[0].image == "file:///b.wasm" && !before.contains(&w.metadata.uid)));
    assert_eq!(world.names().len(), 2);
}

#[test]
fn l12_editing_a_config_map_replaces_workloads_that_read_it() {
    let mut world = World::new();
    world.host("one", &[]);
    world.apply(config_map("settings", "old"));
    world.apply(deployment_of("web", 2, configured_spec()));
    world.settle();
    assert_eq!(environments(&world), ["old", "old"]);

    world.apply(config_map("settings", "new"));
    for _ in 0..30 {
        let before: Vec<_> = world.workloads().into_iter().map(|w| w.metadata.uid).collect();
        world.pass();
        let ready = world.workloads().iter().filter(|w| condition::is_true(&w.status.conditions, "Ready")).count();
        assert!(ready >= 2, "{before:?}");
    }
    world.settle();
    assert_eq!(environments(&world), ["new", "new"]);
    assert_eq!(world.sets().len(), 1);
}

#[test]
fn l12_a_workload_that_awaits_its_replacement_keeps_the_content_it_has() {
    let mut world = World::new();
    world.host("one", &[]);
    world.apply(config_map("settings", "old"));
    world.apply(deployment_of("web", 1, configured_spec()));
    world.settle();
    world.behaviour = Box::new(|_, want| {
        let old = want.workload.components[0].resources.environment["key"] == "old";
        if old { running(want) } else { starting(want) }
    });
    world.apply(config_map("settings", "new"));
    world.settle();
    let mut environments = environments(&world);
    environments.sort();
    assert_eq!(environments, ["new", "old"]);
}

#[test]
fn l12_after_a_restart_of_the_operator_a_workload_of_unknown_content_is_held_until_it_is_replaced() {
    let mut world = World::new();
    let host = world.host("one", &[]);
    world.apply(config_map("settings", "old"));
    world.apply(deployment_of("web", 1, configured_spec()));
    world.settle();
    let old = world.workload(&world.names()[0]);

    world.snapshot.memory = Default::default();
    world.snapshot.hosts.get_mut(&host).unwrap().answer = None;
    world.apply(config_map("settings", "new"));
    let (plan, _) = world.pass();
    let held: Vec<_> = plan.wants[&host].held.iter().map(|id| id.as_str().to_owned()).collect();
    assert_eq!(held, std::slice::from_ref(&old.metadata.uid));
    world.settle();
    assert_eq!(environments(&world), ["new"]);
    assert_ne!(world.workload(&world.names()[0]).metadata.uid, old.metadata.uid);
}

#[test]
fn l10_a_config_map_that_comes_late_starts_the_workloads_that_wait_for_it() {
    let mut world = World::new();
    world.host("one", &[]);
    world.apply(deployment_of("web", 1, configured_spec()));
    world.settle();
    let waiting = world.workload(&world.names()[0]);
    let config = condition::find(&waiting.status.conditions, "Config").unwrap();
    assert_eq!((config.status.to_string().as_str(), config.reason.as_str()), ("False", "ReferenceNotFound"));
    assert!(config.message.contains("settings"), "{}", config.message);
    assert_eq!(ready(&world.deployment("web").status.conditions).1, "ReferenceNotFound");

    world.apply(config_map("settings", "late"));
    world.settle();
    assert_eq!(environments(&world), ["late"]);
    assert_eq!(world.workload(&world.names()[0]).metadata.uid, waiting.metadata.uid, "it wasn't made anew");
}

#[test]
fn a_draining_host_loses_its_replicas_without_a_gap() {
    let mut world = World::new();
    let one = world.host("one", &[]);
    world.apply(deployment("web", 2, "file:///a.wasm"));
    world.settle();
    world.label(one, "berth.dev/draining", "true");
    world.settle();
    assert_eq!(world.placed()[&one].len(), 2, "there is no other host yet");
    let two = world.host("two", &[]);
    for _ in 0..30 {
        world.pass();
        let ready = world.workloads().iter().filter(|w| condition::is_true(&w.status.conditions, "Ready")).count();
        assert!(ready >= 2);
    }
    world.settle();
    assert_eq!(world.placed().keys().copied().collect::<Vec<_>>(), [two]);
}

#[test]
fn recreate_holds_for_a_config_map_too() {
    let mut world = World::new();
    let host = world.host("one", &[]);
    world.apply(config_map("settings", "old"));
    world.apply(with(deployment_of("web", 1, configured_spec()), "/spec/deployPolicy", json!("Recreate")));
    world.settle();
    world.stuck.insert(host);
    world.apply(config_map("settings", "new"));
    world.settle();
    assert_eq!(world.names().len(), 1, "the old one hasn't ended");
    world.stuck.clear();
    world.settle();
    assert_eq!(environments(&world), ["new"]);
}

#[test]
fn l12_when_a_config_map_is_deleted_what_runs_goes_on_and_the_deployment_says_that_nothing_can_be_started() {
    let mut world = World::new();
    world.host("one", &[]);
    world.apply(config_map("settings", "old"));
    world.apply(deployment_of("web", 2, configured_spec()));
    world.settle();
    let before = world.names();
    world.delete(Kind::ConfigMap, "settings");
    world.settle();
    assert_eq!((world.names(), environments(&world)), (before.clone(), vec!["old".to_owned(); 2]), "nothing takes their place");
    let conditions = world.deployment("web").status.conditions;
    let sync = condition::find(&conditions, "Sync").unwrap();
    assert_eq!((sync.status.to_string().as_str(), sync.reason.as_str()), ("False", "ReferenceNotFound"));
    assert!(sync.message.contains("ConfigMap default/settings"), "{}", sync.message);
    let (status, _, message) = ready(&conditions);
    assert!(status == "True" && message.contains("2 of 2") && message.contains("nothing new can be started"), "{message}");
    assert!(world.happened("ReferenceNotFound"));
    let config = condition::find(&world.workload(&before[0]).status.conditions, "Config").unwrap().clone();
    assert_eq!((config.status.to_string().as_str(), config.reason.as_str()), ("False", "ReferenceNotFound"));

    world.apply(deployment_of("web", 3, configured_spec()));
    world.settle();
    assert_eq!((world.names().len(), environments(&world).len()), (3, 2), "a new one waits");
    world.apply(config_map("settings", "old"));
    world.settle();
    assert_eq!(environments(&world), ["old"; 3]);
    assert!(before.iter().all(|name| world.names().contains(name)), "those that ran go on");
    assert_eq!(condition::find(&world.deployment("web").status.conditions, "Sync").unwrap().reason, "Synced");
    assert_eq!(ready(&world.deployment("web").status.conditions).2, "3 of 3 workloads ready");
}

#[test]
fn l12_a_config_map_that_comes_back_different_replaces_what_ran_without_it() {
    let mut world = World::new();
    world.host("one", &[]);
    world.apply(config_map("settings", "old"));
    world.apply(deployment_of("web", 2, configured_spec()));
    world.settle();
    world.delete(Kind::ConfigMap, "settings");
    world.settle();
    world.apply(config_map("settings", "new"));
    world.settle();
    assert_eq!(environments(&world), ["new", "new"]);
}

#[test]
fn l12_an_artifact_whose_file_was_built_again_rolls_its_deployments() {
    let mut world = World::new();
    world.host("one", &[]);
    let artifact = |content: &str| {
        json!({
            "apiVersion": "runtime.wasmcloud.dev/v1alpha1", "kind": "Artifact",
            "metadata": { "name": "app", "annotations": { "berth.dev/images": content } }, "spec": { "image": "file:///a.wasm" }
        })
    };
    let listed =
        with(deployment("listed", 1, "artifact://own"), "/spec/artifacts", json!([{ "name": "own", "artifactFrom": { "name": "app" } }]));
    world.apply(artifact("one"));
    world.apply(listed);
    world.apply(deployment("direct", 1, "artifact://app"));
    world.settle();
    let uids = |world: &World| world.workloads().into_iter().map(|w| w.metadata.uid).collect::<BTreeSet<_>>();
    let before = uids(&world);
    world.apply(artifact("one"));
    world.settle();
    assert_eq!(uids(&world), before);
    world.apply(artifact("two"));
    world.settle();
    assert_eq!(uids(&world).len(), 2);
    assert!(uids(&world).is_disjoint(&before));
}

#[test]
fn workloads_whose_replica_set_is_gone_stay_as_they_are_until_they_are_deleted_too() {
    let mut world = World::new();
    let host = world.host("one", &[]);
    world.apply(replica_set("web", 600, spec("file:///a.wasm")));
    world.settle();
    let before = world.snapshot.memory.wants[&host].clone();
    // As the store says it while it collects: the set first.
    for set in world.sets() {
        world.snapshot.objects.remove(&Resource::ReplicaSet(set));
    }
    let plan = crate::plan::plan(&world.snapshot);
    assert!(plan.writes.is_empty(), "{:#?}", plan.writes);
    assert!(std::sync::Arc::ptr_eq(&before, &plan.wants[&host]), "they have the owner that they had");
}
