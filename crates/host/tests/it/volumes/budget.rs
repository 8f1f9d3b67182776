//! What all ephemeral volumes of a host take together (L31).

use berth_host::{Bound, State};

use super::*;
use crate::harness::wanted;

const BYTES: u64 = 1 << 20;

/// A host with room for two volumes and a half.
fn host(root: &Path) -> Bench {
    Bench::with(|config| {
        config.volumes.folder = Some(root.join("ephemeral"));
        config.volumes.ephemeral_bytes = BYTES;
        config.volumes.budget_bytes = 2 * BYTES + BYTES / 2;
    })
}

/// A workload whose component mounts so many ephemeral volumes.
fn with_some(name: &str, volumes: usize) -> Workload {
    let mut workload = workload(name, "p2-hello", &[name]);
    workload.volumes = (0..volumes).map(|number| ephemeral(&format!("v{number}"))).collect();
    let mounts = (0..volumes).map(|number| mount(&format!("v{number}"), &format!("/v{number}"), false));
    workload.components[0].resources.mounts = mounts.collect();
    workload
}

fn budget(bench: &Bench) -> Bound {
    bench.host.bounds().into_iter().find(|bound| bound.setting == "volume-budget").unwrap()
}

fn used(bench: &Bench) -> u64 {
    budget(bench).used
}

#[tokio::test]
async fn l31_volumes_reserve_what_they_may_take_and_those_that_have_no_room_say_so_before_anything_is_made() {
    let tmp = tempfile::tempdir().unwrap();
    let bench = host(tmp.path());
    bench.run(with_some("two", 2)).await;
    assert_eq!(budget(&bench), Bound { setting: "volume-budget", used: 2 * BYTES, most: 2 * BYTES + BYTES / 2, reached: Some(0) });
    let status = bench.host.start_workload(wanted(with_some("one", 1))).await;
    assert_eq!((status.state, status.reason.as_str()), (State::Error, "VolumeLimit"), "{status:?}");
    for part in ["volume v0: its 1048576 bytes", "2097152 of 2621440 bytes", "(volume-budget)", "--volume-budget"] {
        assert!(status.message.contains(part), "{part}: {}", status.message);
    }
    assert_eq!((used(&bench), budget(&bench).reached), (2 * BYTES, Some(1)));
    assert_eq!(tmp.path().join("ephemeral").read_dir().unwrap().count(), 2);
    assert_eq!(bench.events.with_reason("VolumeLimit").len(), 1);
    // Who has none needs no room.
    bench.run(with_some("none", 0)).await;
    bench.host.set_wanted(Vec::new());
    bench.eventually("the room is back", || used(&bench) == 0).await;
    // All of a workload's have room, or none takes any.
    let status = bench.host.start_workload(wanted(with_some("three", 3))).await;
    assert!(status.reason == "VolumeLimit" && status.message.starts_with("volume v2: "), "{status:?}");
    assert_eq!(used(&bench), 0);
    bench.run(with_some("one", 1)).await;
}

#[tokio::test]
async fn l07_an_edit_needs_room_for_both_versions_and_leaves_the_one_before_it_where_there_is_none() {
    let tmp = tempfile::tempdir().unwrap();
    let bench = host(tmp.path());
    let edited = |volumes: usize, version: &str| {
        let mut workload = with_some("app", volumes);
        workload.components[0].resources.environment.insert("VERSION".into(), version.into());
        wanted(workload)
    };
    bench.run(edited(1, "1").workload).await;
    bench.host.set_wanted(vec![edited(1, "2")]);
    let serves = |reason: &str| bench.host.statuses().iter().any(|s| s.state == State::Running && s.reason == reason);
    bench.eventually("the first version's room is back", || serves("") && used(&bench) == BYTES).await;
    bench.host.set_wanted(vec![edited(2, "3")]);
    bench.eventually("the edit has no room", || serves("VolumeLimit")).await;
    assert_eq!((bench.get_from("app", "/").await.status, used(&bench)), (StatusCode::OK, BYTES));
}

#[tokio::test]
async fn l31_what_a_workload_would_want_of_more_than_there_is_is_known_before_it_starts() {
    let tmp = tempfile::tempdir().unwrap();
    let bench = host(tmp.path());
    bench.run(with_some("two", 2)).await;
    // What others take may be free by then.
    let found = bench.host.inspect(with_some("one", 1)).await.problems;
    assert!(found.is_empty(), "{found:?}");
    let found = bench.host.inspect(with_some("three", 3)).await.problems;
    assert!(found.len() == 1 && found[0].reason == "VolumeLimit" && found[0].message.contains("0 of 2621440 bytes"), "{found:?}");
    assert_eq!((used(&bench), budget(&bench).reached), (2 * BYTES, Some(0)), "looking takes nothing");
}
