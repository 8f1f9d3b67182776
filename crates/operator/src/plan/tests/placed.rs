//! When a host is told of a placement: where it ends with the operator, before that is durable.

use berth_control::{Report, WorkloadState};
use berth_model::id::HostId;
use berth_model::resource::Kind;

use super::world::*;
use crate::plan::{Action, Plan, PlanConfig};
use crate::store::WORKLOAD_FINALIZER;

/// A workload that isn't placed yet, and a host that can take it.
fn world(hosts_share_process: bool) -> (World, HostId) {
    let mut world = World::with(PlanConfig { hosts_share_process, ..PlanConfig::default() });
    let host = world.host("local", &[]);
    world.settle();
    let finalizers = serde_json::json!([WORKLOAD_FINALIZER]);
    world.apply(with(workload("app", spec("file:///a.wasm")), "/metadata/finalizers", finalizers));
    (world, host)
}

fn runs(plan: &Plan, host: HostId) -> bool {
    !plan.wants[&host].run.is_empty()
}

fn statuses(plan: &Plan) -> usize {
    plan.writes.iter().filter(|write| matches!(write.action, Action::UpdateStatus(_))).count()
}

#[test]
fn a_host_that_ends_with_the_operator_is_told_while_the_placement_is_written() {
    let (mut world, host) = world(true);
    let (plan, _) = world.pass();
    assert!(runs(&plan, host) && statuses(&plan) == 1);
    world.settle();
    assert_eq!(world.placed()[&host], ["app"]);
    assert!(world.snapshot.memory.placed.is_empty(), "the status says it");
}

#[test]
fn any_other_host_is_told_when_the_placement_is_durable() {
    let (mut world, host) = world(false);
    let (plan, _) = world.pass();
    assert!(!runs(&plan, host) && statuses(&plan) == 1);
    assert!(runs(&world.pass().0, host));
}

#[test]
fn a_placement_that_couldnt_be_written_stands_and_is_written_again() {
    let (mut world, host) = world(true);
    assert!(runs(&world.pass_without_writes(), host));
    let told = world.pass_without_writes();
    assert!(runs(&told, host) && statuses(&told) == 1);
    world.settle();
    assert_eq!(world.placed()[&host], ["app"]);
    let status = world.workload("app").status;
    assert_eq!(ready(&status.conditions).0, "True");
    let told: Vec<_> = status.conditions.iter().map(|c| (c.kind.as_str(), c.reason.as_str())).collect();
    assert!(told.contains(&("HostSelection", "Selected")), "{told:?}");
}

#[test]
fn l15_what_is_deleted_while_its_placement_is_written_goes_when_its_host_has_stopped_it() {
    let (mut world, host) = world(true);
    assert!(runs(&world.pass_without_writes(), host));
    world.delete(Kind::Workload, "app");
    world.stuck.insert(host);
    world.settle();
    assert_eq!(world.names(), ["app"], "its host may have it still");
    assert!(!runs(&world.pass().0, host));
    world.stuck.clear();
    world.settle();
    assert!(world.names().is_empty() && world.snapshot.memory.placed.is_empty());
}

#[test]
fn l05_what_failed_before_its_placement_was_written_is_tried_again_later() {
    let (mut world, host) = world(true);
    world.behaviour = Box::new(|_, want| Some(Report { ready: false, ..Report::failed(want.id.clone(), "StartFailed", "no") }));
    assert!(runs(&world.pass_without_writes(), host));
    world.settle();
    assert!(!runs(&world.pass().0, host), "it waits");
    assert_eq!(ready(&world.workload("app").status.conditions).1, "StartFailed");
    world.behaviour = Box::new(|_, want| Some(Report::new(want.id.clone(), WorkloadState::Running)));
    world.advance(std::time::Duration::from_secs(2));
    world.settle();
    assert_eq!(world.placed()[&host], ["app"]);
}
