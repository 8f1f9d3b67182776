//! Who sees a volume, and when an ephemeral one comes and goes.

use berth_host::State;
use berth_model::image::ImageRef;
use berth_model::resource::PullPolicy;
use berth_model::workload::{Component, Service};

use super::*;
use crate::harness::wanted;

fn folders(root: &Path) -> usize {
    root.join("ephemeral").read_dir().unwrap().count()
}

fn component(name: &str, guest: &str, mounts: Vec<Mount>) -> Component {
    let mut component = workload(name, guest, &[]).components.remove(0);
    component.resources.mounts = mounts;
    component
}

#[tokio::test]
async fn l33_an_ephemeral_volume_is_kept_between_requests_and_goes_with_its_workload() {
    for guest in GUESTS {
        let tmp = tempfile::tempdir().unwrap();
        let bench = bench(tmp.path());
        bench.run(with(guest, vec![ephemeral("v")], vec![mount("v", "/v", false)])).await;
        assert_eq!(act(&bench, guest, "write&bytes=7&path=/v/file").await, Ok("wrote 7".into()));
        assert_eq!(act(&bench, guest, "read&path=/v/file").await, Ok("xxxxxxx".into()));
        assert_eq!(folders(tmp.path()), 1);
        bench.host.set_wanted(Vec::new());
        bench.eventually("its folder is gone", || folders(tmp.path()) == 0).await;
    }
}

#[tokio::test]
async fn l33_a_new_version_of_a_workload_gets_a_new_ephemeral_volume() {
    let tmp = tempfile::tempdir().unwrap();
    let bench = bench(tmp.path());
    let workload = with("p2", vec![ephemeral("v")], vec![mount("v", "/v", false)]);
    bench.run(workload.clone()).await;
    assert!(act(&bench, "p2", "write&bytes=7&path=/v/file").await.is_ok());
    let mut edited = workload;
    edited.components[0].resources.environment.insert("VERSION".into(), "2".into());
    bench.host.set_wanted(vec![wanted(edited)]);
    let replaced = async || while act(&bench, "p2", "read&path=/v/file").await != Err("NotFound".into()) {};
    crate::harness::within(replaced()).await;
    bench.eventually("the old folder is gone", || folders(tmp.path()) == 1).await;
}

#[tokio::test]
async fn l33_nothing_is_left_of_a_preparation_that_failed_of_a_kill_or_of_a_drain() {
    let tmp = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(tmp.path().join("ephemeral/left/files/behind")).unwrap();
    let bench = bench(tmp.path());
    bench.eventually("what was left is gone", || folders(tmp.path()) == 0).await;
    let mut broken = with("p2", vec![ephemeral("v")], vec![mount("v", "/v", false)]);
    broken.components[0].image = ImageRef::File(berth_testkit::guests::path("p2-no-http"));
    let status = bench.host.start_workload(wanted(broken)).await;
    assert_eq!((status.state, status.reason.as_str()), (State::Error, "NoHttpExport"));
    bench.eventually("its folder is gone", || folders(tmp.path()) == 0).await;
    bench.run(with("p2", vec![ephemeral("v")], vec![mount("v", "/v", false)])).await;
    assert_eq!(folders(tmp.path()), 1);
    bench.host.drain(std::time::Duration::from_secs(10)).await;
    assert_eq!(folders(tmp.path()), 0);
}

#[tokio::test]
async fn l38_members_of_a_unit_see_their_own_mounts_and_share_what_they_both_mount() {
    let tmp = tempfile::tempdir().unwrap();
    let bench = bench(tmp.path());
    for name in ["front", "back", "both"] {
        std::fs::create_dir(tmp.path().join("allowed").join(name)).unwrap();
        std::fs::write(tmp.path().join("allowed").join(name).join("file"), name).unwrap();
    }
    let volumes = || ["front", "back", "both"].map(|name| host_path(name, tmp.path().join("allowed").join(name))).to_vec();
    let mounts = |name: &str| vec![mount(name, "/own", false), mount(name, &format!("/{name}"), false), mount("both", "/both", true)];
    let mut two = workload("two", "p2-hello", &["two"]);
    two.components = vec![
        component("front", "link-front", mounts("front")),
        component("back", "link-back", mounts("back")),
        component("middle", "link-middle", Vec::new()),
    ];
    two.volumes = volumes();
    bench.run(two).await;
    let get = async |path: &str| bench.get_from("two", path).await.body.trim_end().to_owned();
    assert_eq!(get("/own/folders").await, "/own\n/front\n/both");
    assert_eq!(get("/back/folders").await, "/own\n/back\n/both");
    assert_eq!((get("/own/read?path=/own/file").await, get("/back/read?path=/own/file").await), ("front".into(), "back".into()));
    assert_eq!((get("/own/read?path=/both/file").await, get("/back/read?path=/both/file").await), ("both".into(), "both".into()));
    for denied in ["/own/read?path=/back/file", "/back/read?path=/front/file"] {
        assert_ne!(bench.get_from("two", denied).await.status, StatusCode::OK, "{denied}");
    }

    let mut three = workload("three", "p2-hello", &["three"]);
    three.components = vec![
        component("front", "link-front-p3", vec![mount("front", "/front", true)]),
        component("back", "link-back", vec![mount("back", "/back", true)]),
        component("flow", "link-back-p3", vec![mount("both", "/flow", true)]),
    ];
    three.volumes = volumes();
    bench.run(three).await;
    for (who, sees) in [("own", "/front"), ("back", "/back"), ("flow", "/flow")] {
        assert_eq!(bench.get_from("three", &format!("/{who}/folders")).await.body.trim_end(), sees, "{who}");
    }
}

#[tokio::test]
async fn a_service_shares_a_volume_with_the_components_that_mount_it() {
    let tmp = tempfile::tempdir().unwrap();
    let bench = bench(tmp.path());
    let mut shared = with("p2", vec![ephemeral("v")], vec![mount("v", "/read", true)]);
    let mut resources = component("service", "service-p2", vec![mount("v", "/write", false)]).resources;
    resources.environment = [("DO".to_owned(), "write".to_owned()), ("TO".to_owned(), "/write/said".to_owned())].into();
    shared.service = Some(Service {
        image: ImageRef::File(berth_testkit::guests::path("service-p2")),
        pull_policy: PullPolicy::IfNotPresent,
        pull_credentials: None,
        max_restarts: 0,
        resources,
        links: Vec::new(),
    });
    bench.run(shared).await;
    let written = async || while act(&bench, "p2", "read&path=/read/said").await != Ok("by the service".into()) {};
    crate::harness::within(written()).await;
    assert_eq!(act(&bench, "p2", "write&bytes=1&path=/read/said").await, not_permitted("p2"));
    assert_eq!(act(&bench, "p2", "read&path=/write/said").await, Err("NotFound".into()));
    bench.host.set_wanted(Vec::new());
    bench.eventually("its folder is gone", || folders(tmp.path()) == 0).await;
}
