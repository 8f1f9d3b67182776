//! Which host takes a workload.

use std::collections::BTreeSet;
use std::time::Duration;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::world::*;
use crate::plan::PlanConfig;

fn app(spec_fields: &[(&str, Value)]) -> Value {
    spec_fields.iter().fold(workload("app", spec("file:///a.wasm")), |app, (key, value)| with(app, &format!("/spec/{key}"), value.clone()))
}

fn why(world: &World) -> (String, String) {
    let app = world.workload("app");
    let found = berth_model::condition::find(&app.status.conditions, "HostSelection").unwrap();
    assert_eq!(found.status.to_string(), "False");
    assert_eq!(ready(&app.status.conditions).1, found.reason);
    (found.reason.clone(), found.message.clone())
}

#[test]
fn l18_replicas_spread_over_hosts() {
    let mut world = World::new();
    let hosts = [world.host("one", &[]), world.host("two", &[]), world.host("three", &[])];
    world.apply(deployment("web", 6, "file:///a.wasm"));
    world.apply(deployment("api", 3, "file:///a.wasm"));
    world.settle();
    assert!(hosts.iter().all(|host| world.placed()[host].len() == 3), "{:?}", world.placed());
    assert!(hosts.iter().all(|host| world.placed()[host].iter().filter(|name| name.starts_with("api-")).count() == 1));
}

#[test]
fn l18_the_host_with_the_most_room_is_taken() {
    let mut world = World::new();
    world.host("small", &[("berth.dev/max-workloads", "5")]);
    let large = world.host("large", &[("berth.dev/max-workloads", "50")]);
    world.apply(app(&[]));
    world.settle();
    assert_eq!(world.placed()[&large], ["app"]);
}

#[test]
fn l18_a_full_host_takes_no_more() {
    let mut world = World::new();
    let one = world.host("one", &[("berth.dev/max-workloads", "2")]);
    world.apply(deployment("web", 2, "file:///a.wasm"));
    world.settle();
    world.apply(app(&[]));
    world.settle();
    assert_eq!(world.placed()[&one].len(), 2);
    assert_eq!(why(&world).0, "InsufficientCapacity");
}

#[test]
fn l10_a_pending_workload_takes_a_new_host_at_once() {
    let mut world = World::new();
    world.apply(app(&[("hostSelector", json!({ "gpu": "yes" }))]));
    world.settle();
    assert_eq!(why(&world).0, "NoHosts");
    world.host("one", &[]);
    world.settle();
    let (reason, message) = why(&world);
    assert_eq!(reason, "NoMatchingHost");
    assert!(message.contains("gpu=yes"), "{message}");
    let uid = world.workload("app").metadata.uid;
    let gpu = world.host("gpu", &[("gpu", "yes")]);
    world.pass();
    assert_eq!(world.placed()[&gpu], ["app"], "in the next plan, without waiting");
    assert_eq!(world.workload("app").metadata.uid, uid);
}

#[test]
fn environments_keep_tenants_apart_where_hosts_arent_shared() {
    let mut world = World::with(PlanConfig { shared_hosts: false, ..PlanConfig::default() });
    let other = world.host_in("other", "other", &[]);
    world.apply(app(&[]));
    world.settle();
    assert_eq!(why(&world).0, "NoMatchingHost");
    world.apply(app(&[("environment", json!("other"))]));
    world.settle();
    assert_eq!(why(&world).0, "CrossEnvironmentSchedulingDenied");
    world.apply(app(&[("environment", json!("default"))]));
    let own = world.host_in("default", "own", &[]);
    world.settle();
    assert_eq!(world.placed()[&own], ["app"]);
    assert!(!world.placed().contains_key(&other));
}

#[test]
fn l13_a_pinned_host_obeys_the_same_rules() {
    let mut world = World::with(PlanConfig { shared_hosts: false, ..PlanConfig::default() });
    let other = world.host_in("other", "other", &[]);
    let own = world.host_in("default", "own", &[("zone", "a")]);
    let pin = |host: &str| ("hostId", json!(host));
    world.apply(app(&[pin(&other.to_string())]));
    world.settle();
    assert_eq!(why(&world).0, "NoMatchingHost");
    world.apply(app(&[pin(&other.to_string()), ("environment", json!("other"))]));
    world.settle();
    assert_eq!(why(&world).0, "CrossEnvironmentSchedulingDenied");
    world.apply(app(&[pin(&own.to_string()), ("hostSelector", json!({ "zone": "b" }))]));
    world.settle();
    assert_eq!(why(&world).0, "NoMatchingHost");
    world.apply(app(&[pin("0b6d3a52-6e6c-4f2c-9c5e-0d4f3f1c2b1a")]));
    world.settle();
    assert_eq!(why(&world).0, "HostNotFound");
    world.apply(app(&[pin(&own.to_string())]));
    world.settle();
    assert_eq!(world.placed()[&own], ["app"]);
    world.silent.insert(own);
    world.advance(Duration::from_secs(4));
    world.settle();
    assert_eq!(why(&world).0, "HostNotReady");
}

fn labels() -> impl Strategy<Value = Vec<(&'static str, &'static str)>> {
    proptest::collection::vec((prop_oneof![Just("zone"), Just("gpu")], prop_oneof![Just("a"), Just("b")]), 0..3)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Whatever the hosts, selectors and failures: nothing runs where it must not, a plan that was carried out leads to one that
    /// is empty, and no host is given more than it takes.
    #[test]
    fn l13_l17_l18_placement_obeys_the_rules_and_comes_to_rest(
        shared in any::<bool>(),
        hosts in proptest::collection::vec((labels(), prop_oneof![Just(""), Just("default"), Just("other")], 0..4u32), 0..5),
        apps in proptest::collection::vec((labels(), prop_oneof![Just(None), Just(Some("default")), Just(Some("other"))], 0..4i32), 1..5),
        dies in any::<proptest::sample::Index>(),
    ) {
        let mut world = World::with(PlanConfig { shared_hosts: shared, ..PlanConfig::default() });
        let ids: Vec<_> = hosts.iter().enumerate().map(|(i, (labels, environment, most))| {
            let most = most.to_string();
            let mut labels = labels.clone();
            labels.push(("berth.dev/max-workloads", &most));
            world.host_in(environment, &format!("host-{i}"), &labels)
        }).collect();
        for (i, (labels, environment, replicas)) in apps.iter().enumerate() {
            let mut app = deployment(&format!("app-{i}"), *replicas, "file:///a.wasm");
            app["spec"]["template"]["spec"]["hostSelector"] = labels.iter().copied().collect();
            app["spec"]["template"]["spec"]["environment"] = json!(environment);
            world.apply(app);
        }
        world.settle();
        check(&world, shared)?;
        if !ids.is_empty() {
            world.silent.insert(ids[dies.index(ids.len())]);
            world.advance(Duration::from_secs(4));
            world.settle();
            check(&world, shared)?;
            let alive: BTreeSet<_> = ids.into_iter().filter(|id| !world.silent.contains(id)).collect();
            prop_assert!(world.placed().keys().all(|id| alive.contains(id)));
        }
    }
}

fn check(world: &World, shared: bool) -> Result<(), TestCaseError> {
    for workload in world.workloads() {
        let Some(id) = &workload.status.host_id else { continue };
        let host = &world.snapshot.hosts[&id.parse().unwrap()].heartbeat;
        prop_assert!(workload.spec.host_selector.iter().all(|(k, v)| host.labels.get(k) == Some(v)));
        match &workload.spec.environment {
            Some(environment) => prop_assert!(*environment == host.environment && (shared || environment == "default")),
            None => prop_assert!(shared || host.environment == "default"),
        }
    }
    for (id, placed) in world.placed() {
        let most: usize = world.snapshot.hosts[&id].heartbeat.labels["berth.dev/max-workloads"].parse().unwrap();
        prop_assert!(placed.len() <= most);
    }
    let again = crate::plan::plan(&world.snapshot);
    prop_assert!(again.writes.is_empty(), "{:?}", again.writes);
    Ok(())
}
