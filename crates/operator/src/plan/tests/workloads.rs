//! Single workloads: failures, edits, and what their conditions say.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use berth_control::{Report, WorkloadState};
use berth_model::condition;
use berth_model::resource::Kind;
use serde_json::json;

use super::world::*;
use crate::plan::Answer;

#[test]
fn a_workload_says_where_it_runs_and_that_it_is_ready() {
    let mut world = World::new();
    let host = world.host_in("prod", "one", &[]);
    world.apply(workload("app", spec("file:///a.wasm")));
    world.settle();
    let app = world.workload("app");
    assert_eq!(app.status.host_id, Some(host.to_string()));
    assert_eq!(app.status.environment.as_deref(), Some("prod"));
    assert_eq!(app.status.workload_id, Some(app.metadata.uid.clone()));
    for kind in ["Config", "HostSelection", "Placement", "Sync", "Ready"] {
        let found = condition::find(&app.status.conditions, kind).unwrap();
        assert_eq!((found.status.to_string().as_str(), found.observed_generation), ("True", 1), "{kind}");
    }
    assert_eq!(app.metadata.finalizers, ["runtime.wasmcloud.dev/workload-finalizer"]);
}

#[test]
fn a_workload_that_something_else_controls_is_placed_like_one_that_stands_alone() {
    for (api_version, kind) in [("apps/v1", "ReplicaSet"), ("example.test/v1", "WorkloadReplicaSet")] {
        let mut world = World::new();
        let host = world.host("one", &[]);
        let owner = json!([{ "apiVersion": api_version, "kind": kind, "name": "theirs", "uid": "elsewhere", "controller": true }]);
        world.apply(with(workload("app", spec("file:///a.wasm")), "/metadata/ownerReferences", owner));
        world.settle();
        let app = world.workload("app");
        assert_eq!(app.status.host_id, Some(host.to_string()), "{kind}");
        assert_eq!(ready(&app.status.conditions).0, "True", "{kind}");
    }
}

#[test]
fn l17_an_unchanged_world_is_planned_without_a_write() {
    let mut world = World::new();
    world.host("one", &[]);
    world.apply(deployment("web", 3, "file:///a.wasm"));
    world.apply(workload("app", spec("file:///a.wasm")));
    world.settle();
    for _ in 0..5 {
        world.advance(Duration::from_secs(1));
        let before = world.snapshot.memory.wants.clone();
        let (plan, _) = world.pass();
        assert!(plan.writes.is_empty(), "{:#?}", plan.writes);
        assert!(plan.wants.iter().all(|(id, wants)| std::sync::Arc::ptr_eq(wants, &before[id])));
    }
}

#[test]
fn l17_a_restarted_operator_keeps_what_it_finds() {
    let mut world = World::new();
    let host = world.host("one", &[]);
    world.apply(deployment("web", 2, "file:///a.wasm"));
    world.settle();
    world.snapshot.memory = Default::default();
    world.snapshot.hosts.get_mut(&host).unwrap().answer = None;
    for _ in 0..3 {
        let (plan, _) = world.pass();
        assert!(plan.writes.is_empty(), "{:#?}", plan.writes);
    }
}

#[test]
fn l05_a_start_that_failed_says_why_and_is_tried_elsewhere() {
    let mut world = World::new();
    let bad = world.host("a-bad", &[]);
    world.behaviour =
        Box::new(
            move |host, want| {
                if host == bad { Some(Report::failed(want.id.clone(), "PullFailed", "no such image")) } else { running(want) }
            },
        );
    world.apply(workload("app", spec("file:///a.wasm")));
    world.settle();
    let app = world.workload("app");
    assert_eq!(app.status.host_id, None);
    let (status, reason, message) = ready(&app.status.conditions);
    assert_eq!((status.as_str(), reason.as_str()), ("False", "PullFailed"));
    assert!(message.starts_with("no such image; try 2 follows at "), "{message}");
    assert!(world.happened("PullFailed"));

    let good = world.host("b-good", &[]);
    world.settle();
    assert_eq!(world.workload("app").status.host_id, None, "it waits for its next try");
    world.advance(Duration::from_secs(1));
    world.settle();
    assert_eq!(world.workload("app").status.host_id, Some(good.to_string()));
    assert_eq!(ready(&world.workload("app").status.conditions).0, "True");
}

#[test]
fn l05_tries_are_further_and_further_apart() {
    let mut world = World::new();
    world.host("one", &[]);
    world.behaviour = Box::new(|_, want| Some(Report::failed(want.id.clone(), "", "")));
    world.apply(workload("app", spec("file:///a.wasm")));
    let mut tries = Vec::new();
    for second in 0..200u64 {
        world.settle();
        let count = world.snapshot.memory.failures.values().next().unwrap().count;
        if tries.len() < count as usize {
            tries.push(second);
        }
        world.advance(Duration::from_secs(1));
    }
    assert_eq!(tries, [0, 1, 3, 7, 15, 31, 63, 123, 183]);
    assert_eq!(ready(&world.workload("app").status.conditions).1, "StartFailed");
}

#[test]
fn l05_each_failed_try_tells_the_same_event_so_that_they_merge() {
    let mut world = World::new();
    world.host("one", &[]);
    world.behaviour = Box::new(|_, want| Some(Report::failed(want.id.clone(), "PullFailed", "no such image")));
    world.apply(workload("app", spec("file:///a.wasm")));
    for _ in 0..4 {
        world.settle();
        world.advance(Duration::from_secs(60));
    }
    let told: Vec<_> = world.events.iter().filter(|e| e.reason == "PullFailed").map(|e| e.message.as_str()).collect();
    assert_eq!(told, ["no such image"; 4]);
    assert!(ready(&world.workload("app").status.conditions).2.contains("follows at"), "the condition says when");
}

#[test]
fn l05_the_next_try_is_when_the_plan_says() {
    let mut world = World::new();
    world.host("one", &[]);
    world.behaviour = Box::new(|_, want| Some(Report::failed(want.id.clone(), "", "")));
    world.apply(workload("app", spec("file:///a.wasm")));
    world.settle();
    let (plan, _) = world.pass();
    assert_eq!(plan.next, Some(world.snapshot.uptime + Duration::from_secs(1)));
}

#[test]
fn l12_editing_a_workload_that_runs_takes_effect_in_place() {
    let mut world = World::new();
    let host = world.host("one", &[]);
    world.apply(workload("app", spec("file:///a.wasm")));
    world.settle();
    let uid = world.workload("app").metadata.uid;
    world.apply(workload("app", spec("file:///b.wasm")));
    world.settle();
    let app = world.workload("app");
    assert_eq!(app.metadata.uid, uid);
    let wants = &world.snapshot.memory.wants[&host];
    assert_eq!(wants.run[0].workload.components[0].image.to_string(), "file:///b.wasm");
    assert_eq!(condition::find(&app.status.conditions, "Ready").unwrap().observed_generation, 2);
}

#[test]
fn l12_an_edit_that_fails_says_so_and_that_the_previous_version_serves() {
    let mut world = World::new();
    let host = world.host("one", &[]);
    world.apply(workload("app", spec("file:///a.wasm")));
    world.settle();
    world.behaviour = Box::new(|_, want| {
        let (reason, message) = ("PullFailed".to_owned(), "no such image".to_owned());
        Some(Report { reason, message, ..running(want)? })
    });
    world.apply(workload("app", spec("file:///b.wasm")));
    world.settle();
    let app = world.workload("app");
    let sync = condition::find(&app.status.conditions, "Sync").unwrap();
    assert_eq!((sync.status.to_string().as_str(), &*sync.reason, &*sync.message), ("False", "PullFailed", "no such image"));
    let (status, reason, message) = ready(&app.status.conditions);
    assert_eq!((status.as_str(), reason.as_str()), ("False", "PullFailed"));
    assert!(message.starts_with("the previous version still serves") && message.ends_with("no such image"), "{message}");
    assert_eq!(app.status.host_id, Some(host.to_string()), "it stays where it serves");
}

#[test]
fn l12_an_edit_that_moves_a_workload_moves_it() {
    let mut world = World::new();
    let (a, b) = (world.host("one", &[("zone", "a")]), world.host("two", &[("zone", "b")]));
    let zoned = |zone: &str| with(workload("app", spec("file:///a.wasm")), "/spec/hostSelector", json!({ "zone": zone }));
    world.apply(zoned("a"));
    world.settle();
    assert_eq!(world.workload("app").status.host_id, Some(a.to_string()));
    world.apply(zoned("b"));
    world.settle();
    assert_eq!(world.workload("app").status.host_id, Some(b.to_string()));
    assert!(world.snapshot.memory.wants[&a].run.is_empty());
}

#[test]
fn l12_what_runs_goes_on_when_its_config_map_is_deleted_and_says_so() {
    let mut world = World::new();
    let host = world.host("one", &[]);
    world.apply(config_map("settings", "old"));
    world.apply(workload("app", configured_spec()));
    world.settle();
    world.delete(Kind::ConfigMap, "settings");
    world.settle();
    let app = world.workload("app");
    assert_eq!(condition::find(&app.status.conditions, "Config").unwrap().reason, "ReferenceNotFound");
    assert_eq!(world.snapshot.memory.wants[&host].run.len(), 1);
    assert_eq!(ready(&app.status.conditions).0, "True");
}

#[test]
fn l15_a_stop_is_confirmed_though_the_set_has_changed_since() {
    let mut world = World::new();
    let host = world.host("one", &[]);
    world.apply(workload("app", spec("file:///a.wasm")));
    world.settle();
    world.stuck.insert(host);
    world.delete(Kind::Workload, "app");
    world.pass();
    let told = world.snapshot.memory.wants[&host].clone();
    world.apply(workload("other", spec("file:///a.wasm")));
    world.settle();
    assert!(!Arc::ptr_eq(&told, &world.snapshot.memory.wants[&host]), "it was told something newer");
    assert_eq!(world.names(), ["app", "other"]);
    world.snapshot.hosts.get_mut(&host).unwrap().answer = Some(Answer { to: told, reports: HashMap::new() });
    world.pass();
    assert_eq!(world.names(), ["other"]);
}

#[test]
fn l15_an_answer_from_before_a_workload_was_placed_doesnt_confirm_its_stop() {
    let mut world = World::new();
    let host = world.host("one", &[]);
    world.settle();
    world.stuck.insert(host);
    world.apply(workload("app", spec("file:///a.wasm")));
    world.settle();
    world.delete(Kind::Workload, "app");
    world.settle();
    assert_eq!(world.names(), ["app"]);
    world.stuck.clear();
    world.settle();
    assert!(world.names().is_empty());
}

#[test]
fn l33_a_workload_that_ended_by_itself_isnt_ready() {
    let mut world = World::new();
    world.host("one", &[]);
    world.behaviour = Box::new(|_, want| Some(Report::new(want.id.clone(), WorkloadState::Completed)));
    world.apply(workload("app", spec("file:///a.wasm")));
    world.settle();
    assert_eq!(ready(&world.workload("app").status.conditions).1, "Completed");
    assert!(world.workload("app").status.host_id.is_some());
}

#[test]
fn l33_a_workload_whose_service_is_started_again_says_so_and_stays() {
    let mut world = World::new();
    world.host("one", &[]);
    world.apply(workload("app", spec("file:///a.wasm")));
    world.settle();
    let host = world.workload("app").status.host_id;
    let message = "the service exited with status 1; restart 1 of 5 follows".to_owned();
    world.behaviour = Box::new(move |_, want| {
        let (reason, message) = ("ServiceRestarting".to_owned(), message.clone());
        Some(Report { reason, message, ..Report::new(want.id.clone(), WorkloadState::Starting) })
    });
    world.settle();
    let app = world.workload("app");
    let (status, reason, message) = ready(&app.status.conditions);
    assert_eq!((status.as_str(), reason.as_str()), ("False", "ServiceRestarting"));
    assert!(message.contains("restart 1 of 5") && app.status.host_id == host, "{message}");
    world.behaviour = Box::new(|_, want| running(want));
    world.settle();
    assert_eq!(ready(&world.workload("app").status.conditions).0, "True");
}

#[test]
fn l33_a_workload_whose_service_was_given_up_is_placed_again_with_back_off() {
    let mut world = World::new();
    let first = world.host("one", &[]);
    world.apply(workload("app", spec("file:///a.wasm")));
    world.settle();
    world.behaviour =
        Box::new(
            move |host, want| {
                if host == first { Some(Report::failed(want.id.clone(), "ServiceFailed", "the service trapped")) } else { running(want) }
            },
        );
    world.settle();
    let app = world.workload("app");
    assert_eq!((app.status.host_id, ready(&app.status.conditions).1), (None, "ServiceFailed".to_owned()));
    assert!(world.happened("ServiceFailed"));
    let second = world.host("two", &[]);
    world.advance(Duration::from_secs(1));
    world.settle();
    assert_eq!(world.workload("app").status.host_id, Some(second.to_string()), "where it didn't fail");
}

#[test]
fn l06_a_workload_that_its_host_lost_is_told_about_and_wanted_on() {
    let mut world = World::new();
    let host = world.host("one", &[]);
    world.apply(workload("app", spec("file:///a.wasm")));
    world.settle();
    world.behaviour = Box::new(|_, _| None);
    world.settle();
    assert_eq!(ready(&world.workload("app").status.conditions).1, "Missing");
    assert_eq!(world.snapshot.memory.wants[&host].run.len(), 1);
}

#[test]
fn l05_an_edit_that_failed_is_tried_again_with_back_off_while_the_previous_version_serves() {
    let mut world = World::new();
    let host = world.host("one", &[]);
    world.apply(workload("app", spec("file:///a.wasm")));
    world.settle();
    let told = |world: &World| world.snapshot.memory.wants[&host].run[0].workload.annotations.get("berth.dev/try").cloned();
    let broken: Behaviour =
        Box::new(|_, want| Some(Report { reason: "PullFailed".to_owned(), message: "no such image".to_owned(), ..running(want)? }));
    world.behaviour = broken;
    world.apply(workload("app", spec("file:///b.wasm")));
    let mut tries = Vec::new();
    for second in 0..20u32 {
        world.settle();
        if tries.last().map(|(_, t)| t) != Some(&told(&world)) {
            tries.push((second, told(&world)));
        }
        world.advance(Duration::from_secs(1));
    }
    let expected = [(0, None), (1, Some("2".to_owned())), (3, Some("3".to_owned())), (7, Some("4".to_owned())), (15, Some("5".to_owned()))];
    assert_eq!(tries, expected);
    let (_, reason, message) = ready(&world.workload("app").status.conditions);
    assert!(reason == "PullFailed" && message.contains("try 6 follows at"), "{message}");

    world.behaviour = Box::new(|_, want| running(want));
    world.settle();
    assert_eq!(ready(&world.workload("app").status.conditions).0, "True");
    let wants = world.snapshot.memory.wants[&host].clone();
    world.advance(Duration::from_secs(300));
    world.settle();
    assert!(Arc::ptr_eq(&wants, &world.snapshot.memory.wants[&host]), "what serves isn't touched again");
}

#[test]
fn l05_an_edit_that_is_being_made_isnt_tried_again_meanwhile() {
    let mut world = World::new();
    let host = world.host("one", &[]);
    world.apply(workload("app", spec("file:///a.wasm")));
    world.settle();
    world.behaviour =
        Box::new(|_, want| Some(Report { reason: "Updating".to_owned(), message: "it is being prepared".to_owned(), ..running(want)? }));
    world.apply(workload("app", spec("file:///b.wasm")));
    world.settle();
    let (status, reason, message) = ready(&world.workload("app").status.conditions);
    assert_eq!((status.as_str(), reason.as_str()), ("False", "Updating"), "it isn't what is wanted yet");
    assert!(message.starts_with("the previous version still serves"), "{message}");
    let wants = world.snapshot.memory.wants[&host].clone();
    world.advance(Duration::from_secs(100));
    world.settle();
    assert!(Arc::ptr_eq(&wants, &world.snapshot.memory.wants[&host]));
}

#[test]
fn l12_a_component_file_that_was_built_again_takes_effect_behind_a_bare_workload() {
    let mut world = World::new();
    let host = world.host("one", &[]);
    let built =
        |content: &str| with(workload("app", spec("file:///a.wasm")), "/metadata/annotations", json!({ "berth.dev/images": content }));
    world.apply(built("one"));
    world.settle();
    let before = world.snapshot.memory.wants[&host].run[0].workload.clone();
    world.apply(built("one"));
    world.settle();
    assert!(Arc::ptr_eq(&before, &world.snapshot.memory.wants[&host].run[0].workload));
    world.apply(built("two"));
    world.settle();
    let after = &world.snapshot.memory.wants[&host].run[0].workload;
    assert_ne!(before, *after, "its host prepares it again");
}
