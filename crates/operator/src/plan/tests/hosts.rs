//! Hosts that come, go and come back.

use std::time::Duration;

use berth_model::condition;
use berth_model::id::HostId;

use super::world::*;
use crate::plan::PlanConfig;

fn host_object(world: &World, id: HostId) -> Option<berth_model::resource::Host> {
    world.snapshot.objects.hosts.iter().find(|h| h.spec.host_id == id.to_string()).map(|h| (**h).clone())
}

#[test]
fn a_host_that_reports_gets_an_object_under_its_friendly_name() {
    let mut world = World::new();
    let id = world.host_in("prod", "Elastic_Invention-1", &[("hostgroup", "default")]);
    world.settle();
    let host = host_object(&world, id).unwrap();
    assert_eq!(host.metadata.name, "elastic-invention-1");
    assert_eq!(host.metadata.labels["hostgroup"], "default");
    assert_eq!(host.spec.environment, "prod");
    assert!(host.status.last_seen.is_some());
    assert!(condition::is_true(&host.status.conditions, "Reporting") && condition::is_true(&host.status.conditions, "Ready"));
}

#[test]
fn l17_figures_that_change_with_every_heartbeat_arent_written() {
    let mut world = World::new();
    let id = world.host("one", &[]);
    world.settle();
    for second in 1..10u16 {
        world.advance(Duration::from_secs(1));
        let heartbeat = &mut world.snapshot.hosts.get_mut(&id).unwrap().heartbeat;
        heartbeat.system_cpu_usage = f32::from(second);
        heartbeat.system_memory_free = second.into();
        assert!(world.pass().0.writes.is_empty());
    }
    world.snapshot.hosts.get_mut(&id).unwrap().heartbeat.workload_count = 7;
    world.settle();
    let status = host_object(&world, id).unwrap().status;
    assert_eq!((status.workload_count, status.system_memory_free, status.system_cpu_usage.as_str()), (7, 9, "9.0"));
}

#[test]
fn l09_what_a_dead_host_ran_starts_elsewhere_at_once() {
    let mut world = World::new();
    let one = world.host("one", &[]);
    world.apply(deployment("web", 2, "file:///a.wasm"));
    world.settle();
    let two = world.host("two", &[]);
    world.settle();
    world.silent.insert(one);
    world.advance(Duration::from_secs(3));
    world.settle();
    assert_eq!(world.placed()[&one].len(), 2, "within the lease");
    world.advance(Duration::from_millis(100));
    world.pass();
    assert_eq!(world.placed()[&two].len(), 2, "in one step");
    world.settle();
    let (status, reason, _) = ready(&host_object(&world, one).unwrap().status.conditions);
    assert_eq!((status.as_str(), reason.as_str()), ("False", "HeartbeatLost"));
    assert!(world.happened("HostLost"));
}

#[test]
fn l06_a_host_that_comes_back_is_told_to_stop_what_moved() {
    let mut world = World::new();
    let one = world.host("one", &[]);
    world.apply(workload("app", spec("file:///a.wasm")));
    world.settle();
    world.silent.insert(one);
    let two = world.host("two", &[]);
    world.advance(Duration::from_secs(4));
    world.settle();
    world.silent.clear();
    world.advance(Duration::from_secs(1));
    world.settle();
    assert!(world.snapshot.memory.wants[&one].run.is_empty());
    assert_eq!(world.placed()[&two], ["app"]);
    assert_eq!(ready(&host_object(&world, one).unwrap().status.conditions).0, "True");
}

#[test]
fn l01_losing_the_bus_moves_and_deletes_nothing() {
    let mut world = World::new();
    let hosts = [world.host("one", &[]), world.host("two", &[])];
    world.apply(deployment("web", 2, "file:///a.wasm"));
    world.settle();
    let before = world.placed();

    world.snapshot.listening_since = None;
    world.silent.extend(hosts);
    world.stuck.extend(hosts);
    for _ in 0..10 {
        world.advance(Duration::from_secs(60));
        assert!(world.pass().0.writes.is_empty());
    }
    // It is back, and hosts need a moment to be heard.
    world.snapshot.listening_since = Some(world.snapshot.uptime);
    world.advance(Duration::from_secs(2));
    assert!(world.pass().0.writes.is_empty());
    world.silent.remove(&hosts[0]);
    world.advance(Duration::from_secs(2));
    world.stuck.clear();
    world.settle();
    assert_eq!(world.placed()[&hosts[0]].len(), 2, "{before:?}: the other wasn't heard within a lease");
}

#[test]
fn l01_a_dead_host_stays_dead_while_the_bus_is_lost() {
    let mut world = World::new();
    let one = world.host("one", &[]);
    world.settle();
    world.silent.insert(one);
    world.advance(Duration::from_secs(4));
    world.settle();
    world.snapshot.listening_since = None;
    world.apply(workload("app", spec("file:///a.wasm")));
    world.settle();
    assert_eq!(world.workload("app").status.host_id, None);
}

#[test]
fn l02_a_restarted_operator_gives_hosts_one_lease_to_report() {
    let mut world = World::new();
    let one = world.host("one", &[]);
    world.apply(workload("app", spec("file:///a.wasm")));
    world.settle();
    // A new operator: its clock and its memory begin anew, and the host isn't heard.
    world.snapshot.hosts.clear();
    world.snapshot.memory = Default::default();
    world.snapshot.uptime = Duration::ZERO;
    world.host("two", &[]);
    world.settle();
    assert_eq!(world.placed()[&one], ["app"]);
    world.advance(Duration::from_secs(4));
    world.settle();
    assert!(!world.placed().contains_key(&one));
}

#[test]
fn where_hosts_end_with_the_operator_nothing_waits_for_those_of_before() {
    let mut world = World::with(PlanConfig { hosts_share_process: true, ..PlanConfig::default() });
    let before = world.host("local", &[]);
    world.apply(workload("app", spec("file:///a.wasm")));
    world.settle();
    world.snapshot.hosts.clear();
    world.snapshot.memory = Default::default();
    world.snapshot.uptime = Duration::ZERO;
    world.settle();
    assert_eq!(ready(&world.workload("app").status.conditions).1, "NoHosts");
    let now = world.host("local", &[]);
    world.settle();
    assert_eq!(world.placed()[&now], ["app"]);
    assert!(host_object(&world, before).is_none());
    assert_eq!(host_object(&world, now).unwrap().metadata.name, "local", "the object is taken over");
}

#[test]
fn a_host_in_the_operators_own_process_never_counts_as_dead() {
    let mut world = World::with(PlanConfig { hosts_share_process: true, ..PlanConfig::default() });
    let host = world.host("local", &[]);
    world.apply(workload("app", spec("file:///a.wasm")));
    world.settle();
    world.silent.insert(host);
    world.advance(Duration::from_secs(600));
    world.settle();
    assert_eq!(world.placed()[&host], ["app"]);
    assert!(!world.happened("HostLost"));
}

#[test]
fn two_living_hosts_of_one_name_get_an_object_each() {
    let mut world = World::new();
    let (one, two) = (world.host("same", &[]), world.host("same", &[]));
    world.settle();
    let three = world.host("same", &[]);
    world.settle();
    let mut names: Vec<_> = [one, two, three].iter().map(|id| host_object(&world, *id).unwrap().metadata.name).collect();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), 3, "{names:?}");
}

#[test]
fn the_object_of_a_host_that_stays_dead_goes() {
    let mut world = World::new();
    let one = world.host("one", &[]);
    world.settle();
    world.silent.insert(one);
    world.advance(Duration::from_secs(4));
    world.settle();
    world.advance(Duration::from_secs(301));
    world.settle();
    assert!(host_object(&world, one).is_none());
}
