//! Rollouts.

use std::time::Duration;

use berth_control::{DomainConflict, Report, WorkloadState};
use berth_model::condition;
use berth_model::resource::Kind;
use serde_json::json;

use super::world::*;
use crate::store::StoreError;

/// Workloads by image, the ready ones.
fn ready_images(world: &World) -> Vec<String> {
    let ready = world.workloads().into_iter().filter(|w| condition::is_true(&w.status.conditions, "Ready"));
    ready.map(|w| w.spec.components[0].image.clone()).collect()
}

#[test]
fn a_deployment_becomes_a_replica_set_and_ready_workloads() {
    let mut world = World::new();
    world.host("one", &[]);
    world.apply(deployment("web", 2, "file:///a.wasm"));
    world.settle();

    let (set, deployment) = (world.sets().remove(0), world.deployment("web"));
    assert!(set.metadata.name.starts_with("web-"), "{}", set.metadata.name);
    assert_eq!(world.names(), [format!("{}-0", set.metadata.name), format!("{}-1", set.metadata.name)]);
    let status = &deployment.status;
    assert_eq!(status.current_replica_set.as_ref().unwrap().name, set.metadata.name);
    assert_eq!(status.previous_replica_set, None);
    let counts = status.replicas.unwrap();
    assert_eq!((counts.expected, counts.current, counts.ready, counts.unavailable), (2, 2, 2, 0));
    assert_eq!(status.current_replicas, 2);
    assert_eq!(status.selector, "berth.dev/deployment=web");
    assert_eq!(world.workloads()[0].metadata.labels["berth.dev/deployment"], "web");
    for kind in ["Artifact", "Sync", "Deploy", "Scale", "Ready"] {
        assert!(condition::is_true(&status.conditions, kind), "{kind}: {status:?}");
        assert_eq!(condition::find(&status.conditions, kind).unwrap().observed_generation, 1);
    }
    for reason in ["RolloutStarted", "ScaledUp", "Scheduled", "Started", "RolledOut", "Registered"] {
        assert!(world.happened(reason), "{reason}");
    }
}

#[test]
fn a_rolling_update_never_has_fewer_ready_workloads_than_wanted() {
    let mut world = World::new();
    world.host("one", &[]);
    world.apply(deployment("web", 3, "file:///a.wasm"));
    world.settle();
    world.apply(deployment("web", 3, "file:///b.wasm"));
    for _ in 0..40 {
        world.pass();
        assert!(ready_images(&world).len() >= 3);
        assert!(world.workloads().iter().filter(|w| w.metadata.deletion_timestamp.is_none()).count() <= 4);
    }
    world.settle();
    assert_eq!(ready_images(&world), ["file:///b.wasm"; 3]);
    assert_eq!(world.deployment("web").status.previous_replica_set, None);
}

#[test]
fn recreate_ends_the_old_version_before_the_new_one_starts() {
    let mut world = World::new();
    world.host("one", &[]);
    let recreate = |image| with(deployment("web", 2, image), "/spec/deployPolicy", json!("Recreate"));
    world.apply(recreate("file:///a.wasm"));
    world.settle();
    world.apply(recreate("file:///b.wasm"));
    for _ in 0..40 {
        world.pass();
        let mut images: Vec<_> = world.workloads().into_iter().map(|w| w.spec.components[0].image.clone()).collect();
        images.dedup();
        assert!(images.len() <= 1, "both versions at once: {images:?}");
    }
    world.settle();
    assert_eq!(ready_images(&world), ["file:///b.wasm"; 2]);
}

#[test]
fn l07_a_second_rollout_during_a_broken_first_one_keeps_what_serves() {
    let mut world = World::new();
    world.host("one", &[]);
    world.behaviour = Box::new(|_, want| {
        let broken = want.workload.components[0].image.to_string() != "file:///a.wasm";
        if broken { Some(Report::failed(want.id.clone(), "CompileFailed", "not a component")) } else { running(want) }
    });
    world.apply(deployment("web", 2, "file:///a.wasm"));
    world.settle();
    for image in ["file:///b.wasm", "file:///c.wasm", "file:///d.wasm"] {
        world.apply(deployment("web", 2, image));
        for _ in 0..30 {
            world.pass();
            world.advance(Duration::from_secs(1));
            assert_eq!(ready_images(&world), ["file:///a.wasm"; 2], "while {image} is rolled out");
        }
        let (status, reason, message) = ready(&world.deployment("web").status.conditions);
        assert_eq!((status.as_str(), reason.as_str()), ("False", "CompileFailed"));
        assert!(message.contains("not a component"), "{message}");
        assert!(world.deployment("web").status.previous_replica_set.is_some());
    }
}

#[test]
fn applying_the_older_template_again_rolls_back_to_its_replica_set() {
    let mut world = World::new();
    world.host("one", &[]);
    world.apply(deployment("web", 1, "file:///a.wasm"));
    world.settle();
    let first = world.sets()[0].metadata.clone();
    world.apply(deployment("web", 1, "file:///b.wasm"));
    world.settle();
    world.apply(deployment("web", 1, "file:///a.wasm"));
    world.settle();
    assert_eq!(world.deployment("web").status.current_replica_set.unwrap().name, first.name);
    assert_eq!(world.sets().len(), 2);
    let back = world.sets().into_iter().find(|s| s.metadata.name == first.name).unwrap();
    assert_eq!((back.metadata.uid, back.metadata.annotations["berth.dev/revision"].as_str()), (first.uid, "3"));
    assert_eq!(ready_images(&world), ["file:///a.wasm"]);
}

#[test]
fn three_empty_replica_sets_are_kept_for_rolling_back() {
    let mut world = World::new();
    world.host("one", &[]);
    for version in 0..6 {
        world.apply(deployment("web", 1, &format!("file:///{version}.wasm")));
        world.settle();
    }
    let mut images: Vec<_> = world.sets().into_iter().map(|s| s.spec.template.spec.components[0].image.clone()).collect();
    images.sort();
    assert_eq!(images, ["file:///2.wasm", "file:///3.wasm", "file:///4.wasm", "file:///5.wasm"]);
}

#[test]
fn scaling_makes_no_new_version() {
    let mut world = World::new();
    world.host("one", &[]);
    for replicas in [1, 4, 2, 0, 1] {
        world.apply(deployment("web", replicas, "file:///a.wasm"));
        world.settle();
        assert_eq!(world.sets().len(), 1);
        assert_eq!(world.workloads().len(), usize::try_from(replicas).unwrap());
        assert!(condition::is_true(&world.deployment("web").status.conditions, "Ready"), "{replicas}");
    }
}

#[test]
fn l11_negative_replicas_are_refused_at_admission() {
    let mut world = World::new();
    assert!(matches!(world.try_apply(deployment("web", -1, "file:///a.wasm")), Err(StoreError::Invalid(_))));
}

#[test]
fn a_deployment_takes_its_images_from_artifacts_and_follows_them() {
    let mut world = World::new();
    world.host("one", &[]);
    let with_artifact = with(
        deployment("web", 1, "artifact://app"),
        "/spec/artifacts",
        json!([{ "name": "app", "artifactFrom": { "name": "app-artifact" } }]),
    );
    world.apply(with_artifact);
    world.settle();
    let (_, reason, message) = ready(&world.deployment("web").status.conditions);
    assert_eq!(reason, "ArtifactNotFound");
    assert!(message.contains("default/app-artifact"), "{message}");
    assert!(world.sets().is_empty());

    let artifact = |image: &str| json!({ "apiVersion": "runtime.wasmcloud.dev/v1alpha1", "kind": "Artifact", "metadata": { "name": "app-artifact" }, "spec": { "image": image } });
    for image in ["file:///a.wasm", "file:///b.wasm"] {
        world.apply(artifact(image));
        world.settle();
        assert_eq!(ready_images(&world), [image]);
        let status = world.snapshot.objects.artifacts.get("default", "app-artifact").unwrap().status.clone();
        assert_eq!(status.artifact_url, image);
        assert!(condition::is_true(&status.conditions, "Ready"));
    }
}

#[test]
fn a_domain_conflict_is_told_on_workload_replica_set_and_deployment() {
    let mut world = World::new();
    world.host("one", &[]);
    world.behaviour = Box::new(|_, want| {
        let conflict = DomainConflict { domain: "a.example".to_owned(), owner: "default/older".to_owned() };
        Some(Report { conflicts: vec![conflict], ready: false, ..Report::new(want.id.clone(), WorkloadState::Running) })
    });
    world.apply(deployment("web", 1, "file:///a.wasm"));
    world.settle();
    let (set, workload) = (world.sets().remove(0), world.workloads().remove(0));
    for conditions in [&workload.status.conditions, &set.status.conditions, &world.deployment("web").status.conditions] {
        let (status, reason, message) = ready(conditions);
        assert_eq!((status.as_str(), reason.as_str()), ("False", "DomainConflict"));
        assert!(message.contains("a.example") && message.contains("default/older"), "{message}");
    }
    assert!(condition::is_true(&workload.status.conditions, "Sync"));
}

#[test]
fn deleting_a_deployment_stops_its_workloads_before_they_go() {
    let mut world = World::new();
    let host = world.host("one", &[]);
    world.apply(deployment("web", 2, "file:///a.wasm"));
    world.settle();
    world.delete(Kind::WorkloadDeployment, "web");
    world.stuck.insert(host);
    world.pass();
    world.pass();
    assert!(world.sets().is_empty());
    assert_eq!(world.names().len(), 2, "the host hasn't stopped them yet");
    world.stuck.clear();
    world.settle();
    assert!(world.names().is_empty());
}

#[test]
fn l15_a_host_that_never_answers_cant_hold_up_a_deletion_for_ever() {
    let mut world = World::new();
    let host = world.host("one", &[]);
    world.apply(deployment("web", 1, "file:///a.wasm"));
    world.settle();
    world.stuck.insert(host);
    world.delete(Kind::WorkloadDeployment, "web");
    world.settle();
    assert_eq!(world.names().len(), 1);
    world.advance(Duration::from_secs(61));
    world.settle();
    assert!(world.names().is_empty());
}

#[test]
fn a_deployment_that_is_made_anew_while_the_old_one_ends_gets_workloads_of_its_own() {
    let mut world = World::new();
    let host = world.host("one", &[]);
    world.apply(deployment("web", 1, "file:///a.wasm"));
    world.settle();
    world.stuck.insert(host);
    world.delete(Kind::WorkloadDeployment, "web");
    world.apply(deployment("web", 1, "file:///a.wasm"));
    world.settle();
    assert_eq!(world.names().len(), 2, "one that ends and one that begins");
    world.stuck.clear();
    world.settle();
    assert_eq!(world.names().len(), 1);
    assert!(condition::is_true(&world.deployment("web").status.conditions, "Ready"));
}

#[test]
fn l16_a_plan_made_twice_from_a_stale_view_makes_no_duplicates() {
    let mut world = World::new();
    world.host("one", &[]);
    world.apply(deployment("web", 3, "file:///a.wasm"));
    world.read();
    for _ in 0..4 {
        // The view doesn't follow: the same plan is made and carried out twice.
        let stale = world.snapshot.objects.clone();
        world.pass();
        world.snapshot.objects = stale;
        world.pass();
        world.list();
    }
    world.settle();
    assert_eq!((world.sets().len(), world.workloads().len()), (1, 3));
}

#[test]
fn what_somebody_changed_in_a_replica_set_of_a_deployment_is_taken_back() {
    let mut world = World::new();
    world.host("one", &[]);
    world.apply(deployment("web", 1, "file:///a.wasm"));
    world.settle();
    let mut set: serde_json::Value = serde_json::to_value(berth_model::resource::Resource::ReplicaSet(world.sets().remove(0))).unwrap();
    set["spec"]["template"]["spec"]["components"][0]["image"] = json!("file:///b.wasm");
    set["spec"]["replicas"] = json!(5);
    world.apply(set);
    world.settle();
    assert_eq!(ready_images(&world), ["file:///a.wasm"]);
}
