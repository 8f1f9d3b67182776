//! Nothing leads out of a volume (L41).

use std::os::unix::fs::symlink;

use berth_host::State;
use rustix::fs::{CWD, FileType, Mode, mknodat};

use super::*;
use crate::harness::wanted;

/// A folder with a secret outside of the allowed root, one for volumes in it, and a host.
fn place() -> (tempfile::TempDir, Bench) {
    let tmp = tempfile::tempdir().unwrap();
    let bench = bench(tmp.path());
    std::fs::create_dir_all(tmp.path().join("allowed/data/inner")).unwrap();
    std::fs::write(tmp.path().join("allowed/data/hello"), "hello").unwrap();
    std::fs::create_dir(tmp.path().join("outside")).unwrap();
    std::fs::write(tmp.path().join("outside/secret"), "secret").unwrap();
    (tmp, bench)
}

#[tokio::test]
async fn l41_a_host_path_is_refused_but_below_a_root_and_says_the_way_out() {
    let (tmp, bench) = place();
    let root = tmp.path().canonicalize().unwrap();
    symlink("../outside", root.join("allowed/leads-out")).unwrap();
    symlink("data", root.join("allowed/leads-in")).unwrap();
    symlink("../allowed", root.join("outside/back")).unwrap();
    let refused = async |path: &Path| {
        let workload = with("p2", vec![host_path("v", path)], vec![mount("v", "/v", false)]);
        let seen = bench.host.inspect(workload.clone()).await;
        let status = bench.host.start_workload(wanted(workload)).await;
        assert_eq!(status.state, State::Error, "{}", path.display());
        // It is known before.
        let [problem] = seen.problems.as_slice() else { panic!("{}: {seen:?}", path.display()) };
        assert_eq!((&problem.reason, &problem.message), (&status.reason, &status.message));
        assert_eq!(seen.components[0].granted.volumes.is_empty(), status.reason == "VolumeNotAllowed", "{seen:?}");
        (status.reason, status.message)
    };
    for outside in ["", "outside", "allowed/leads-out"] {
        let (reason, message) = refused(&root.join(outside)).await;
        assert_eq!(reason, "VolumeNotAllowed");
        let written = root.join(outside);
        for part in
            ["volume v: hostPath ", &format!("--volume-root {}", written.display()), &format!("only {}", root.join("allowed").display())]
        {
            assert!(message.contains(part), "{part}: {message}");
        }
        assert!(outside == "outside" || !message.contains("/outside"), "where links lead is nobody's business: {message}");
    }
    // Whether anything is there isn't either.
    assert_eq!(refused(&root.join("outside/none")).await.0, "VolumeNotAllowed");
    let (reason, message) = refused(&root.join("allowed/none")).await;
    assert!(reason == "VolumeFailed" && message.contains("make that folder"), "{message}");
    let (reason, message) = refused(&root.join("allowed/data/hello")).await;
    assert!(reason == "VolumeFailed" && message.contains("is no folder"), "{message}");
    // Links are resolved first, whichever way they lead.
    for inside in ["allowed", "allowed/data", "allowed/leads-in", "outside/back/data"] {
        let workload = with("p2", vec![host_path("v", root.join(inside))], vec![mount("v", "/v/", true)]);
        let seen = bench.host.inspect(workload.clone()).await;
        assert!(seen.problems.is_empty() && seen.components[0].granted.volumes.len() == 1, "{seen:?}");
        bench.run(workload).await;
        bench.host.set_wanted(Vec::new());
        bench.eventually("it is gone", || bench.host.statuses().is_empty()).await;
    }
}

#[tokio::test]
async fn l41_without_roots_no_host_path_is_allowed() {
    let bench = Bench::start();
    let tmp = tempfile::tempdir().unwrap();
    let workload = with("p2", vec![host_path("v", tmp.path())], vec![mount("v", "/v", true)]);
    let status = bench.host.start_workload(wanted(workload)).await;
    assert!(status.reason == "VolumeNotAllowed" && status.message.contains("this host has no folders for that"), "{status:?}");
    let status = bench.host.start_workload(wanted(with("p2", vec![ephemeral("v")], Vec::new()))).await;
    assert!(status.reason == "VolumeFailed" && status.message.contains("volume v: this host has no folder"), "{status:?}");
}

#[tokio::test]
async fn l41_neither_dots_nor_absolute_paths_nor_links_lead_out() {
    let (tmp, bench) = place();
    let data = tmp.path().join("allowed/data");
    symlink("../../outside", data.join("up")).unwrap();
    symlink(tmp.path().join("outside"), data.join("absolute")).unwrap();
    symlink("up/secret", data.join("chained")).unwrap();
    symlink("../hello", data.join("inner/back")).unwrap();
    for guest in GUESTS {
        bench.run(with(guest, vec![host_path("v", &data)], vec![mount("v", "/v", false)])).await;
        assert_eq!(act(&bench, guest, "read&path=/v/hello").await, Ok("hello".into()), "{guest}");
        assert_eq!(act(&bench, guest, "read&path=/v/inner/back").await, Ok("hello".into()), "{guest}");
        let secret = tmp.path().join("outside/secret");
        let direct = [secret.to_str().unwrap(), "/v/../../outside/secret", "/v/inner/../../../outside/secret", "/etc/passwd"];
        let through = ["/v/up/secret", "/v/absolute/secret", "/v/chained", "/v/inner/../up/secret"];
        for path in direct.into_iter().chain(through) {
            // What a link is can be removed; where it leads can't.
            let tried = ["read", "write&bytes=1", "list", "mkdir", "resize", "remove"];
            for what in tried.into_iter().filter(|what| *what != "remove" || path != "/v/chained") {
                let tried = act(&bench, guest, &format!("{what}&path={path}")).await;
                assert!(tried.is_err(), "{guest} {what} {path}: {tried:?}");
            }
            if path != "/v/chained" {
                let moved = act(&bench, guest, &format!("rename&path=/v/hello&to={path}-new")).await;
                assert!(moved.is_err(), "{guest} {path}: {moved:?}");
            }
            // A link has another name then, and leads nowhere by that either.
            let linked = act(&bench, guest, &format!("link&path={path}&to=/v/linked")).await;
            assert_eq!(linked.is_ok(), path == "/v/chained", "{guest} {path}: {linked:?}");
            if linked.is_ok() {
                assert_eq!(act(&bench, guest, "read&path=/v/linked").await, not_permitted(guest));
                assert!(act(&bench, guest, "remove&path=/v/linked").await.is_ok());
            }
        }
        // Links that guests make lead no further; those to absolute paths aren't made.
        assert_eq!(act(&bench, guest, "symlink&path=/etc/passwd&to=/v/mine").await, not_permitted(guest));
        let relative = act(&bench, guest, "symlink&path=../../outside/secret&to=/v/mine").await;
        assert!(relative.is_ok(), "{guest}: {relative:?}");
        assert_eq!(act(&bench, guest, "read&path=/v/mine").await, not_permitted(guest));
        assert_eq!(act(&bench, guest, "write&bytes=1&path=/v/mine").await, not_permitted(guest));
        assert_eq!(std::fs::read_to_string(&secret).unwrap(), "secret");
        std::fs::remove_file(data.join("mine")).unwrap();
    }
}

#[tokio::test]
async fn l41_nothing_changes_by_a_read_only_mount_or_is_linked_out_of_it() {
    let (tmp, bench) = place();
    let data = tmp.path().join("allowed/data");
    for guest in GUESTS {
        let volumes = vec![host_path("v", &data), ephemeral("e")];
        let mounts = vec![mount("v", "/ro", true), mount("v", "/rw", false), mount("e", "/e", false), mount("e", "/e-ro", true)];
        bench.run(with(guest, volumes, mounts)).await;
        assert_eq!(act(&bench, guest, "read&path=/ro/hello").await, Ok("hello".into()), "{guest}");
        let changes = [
            "write&bytes=1&path=/ro/hello",
            "append&bytes=1&path=/ro/new",
            "resize&path=/ro/hello",
            "mkdir&path=/ro/new",
            "rmdir&path=/ro/inner",
            "remove&path=/ro/hello",
            "symlink&path=hello&to=/ro/new",
            "rename&path=/ro/hello&to=/ro/new",
            "rename&path=/ro/hello&to=/rw/new",
            "rename&path=/rw/hello&to=/ro/new",
            "link&path=/ro/hello&to=/ro/new",
            "link&path=/ro/hello&to=/rw/new",
            "link&path=/rw/hello&to=/ro/new",
            "link&path=/ro/hello&to=/e/new",
        ];
        for change in changes {
            assert_eq!(act(&bench, guest, change).await, not_permitted(guest), "{guest} {change}");
        }
        // Within a volume both are allowed where it may be changed; from one to another they aren't, as between file systems.
        assert!(act(&bench, guest, "link&path=/rw/hello&to=/rw/other").await.is_ok());
        let across = name(guest, "CrossesDevices", "CrossDevice");
        assert_eq!(act(&bench, guest, "link&path=/rw/hello&to=/e/new").await, across, "{guest}");
        assert_eq!(act(&bench, guest, "rename&path=/rw/hello&to=/e/new").await, across, "{guest}");
        assert!(act(&bench, guest, "write&bytes=10&path=/e/file").await.is_ok());
        assert_eq!(act(&bench, guest, "link&path=/e/file&to=/rw/new").await, across, "{guest}");
        assert_eq!(act(&bench, guest, "list&path=/e-ro").await, Ok("file".into()));
        assert_eq!(act(&bench, guest, "remove&path=/e-ro/file").await, not_permitted(guest));
        assert_eq!(act(&bench, guest, "list&path=/ro").await, Ok("hello inner other".into()));
        std::fs::remove_file(data.join("other")).unwrap();
    }
}

#[tokio::test]
async fn l41_a_volume_is_what_was_opened_whatever_its_path_becomes() {
    let (tmp, bench) = place();
    let data = tmp.path().join("allowed/data");
    bench.run(with("p2", vec![host_path("v", &data)], vec![mount("v", "/v", false)])).await;
    std::fs::rename(&data, tmp.path().join("allowed/moved")).unwrap();
    symlink("../outside", &data).unwrap();
    assert_eq!(act(&bench, "p2", "list&path=/v").await, Ok("hello inner".into()));
    assert_eq!(act(&bench, "p2", "read&path=/v/secret").await, Err("NotFound".into()));
}

#[tokio::test]
async fn l31_a_pipe_in_a_volume_holds_nobody() {
    let (tmp, bench) = place();
    let data = tmp.path().join("allowed/data");
    mknodat(CWD, data.join("pipe"), FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
    for guest in GUESTS {
        bench.run(with(guest, vec![host_path("v", &data)], vec![mount("v", "/v", false)])).await;
        let tried = act(&bench, guest, "read&path=/v/pipe").await;
        assert_eq!(tried, name(guest, "Unsupported", "Unsupported"), "{guest}");
        assert!(act(&bench, guest, "write&bytes=1&path=/v/pipe").await.is_err());
    }
}
