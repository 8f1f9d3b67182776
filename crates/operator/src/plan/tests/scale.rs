//! Many workloads on many hosts.

use std::time::{Duration, Instant};

use super::world::*;

/// The design's target is 50 ms for a plan of this size in a release build; this is a debug build on a busy machine, so the
/// bound here only catches a plan that isn't linear any more.
#[test]
fn l17_ten_thousand_workloads_on_a_thousand_hosts_are_planned_without_a_write_when_nothing_changed() {
    let mut world = World::new();
    for i in 0..1000 {
        world.host(&format!("host-{i}"), &[("zone", if i % 2 == 0 { "a" } else { "b" })]);
    }
    for i in 0..200 {
        world.apply(deployment(&format!("app-{i}"), 50, &format!("file:///{i}.wasm")));
    }
    world.settle();
    assert_eq!(world.names().len(), 10_000);
    assert_eq!(world.placed().len(), 1000);
    assert!(world.placed().values().all(|names| names.len() == 10), "spread evenly");

    assert!(world.pass().0.writes.is_empty());
    let begin = Instant::now();
    assert!(crate::plan::plan(&world.snapshot).writes.is_empty());
    assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
}
