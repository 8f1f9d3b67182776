//! Volumes from the command line: which folders may be mounted, and that ephemeral ones go with what they belong to.

use std::path::Path;
use std::time::Instant;

use berth_testkit::guests::path;
use rustix::process::Signal;

use crate::process::{Home, PATIENCE, Up};

/// The guest with an ephemeral volume at `/tmp` and a folder of the host, `data`, at `/data` for reading.
pub fn with_volumes(data: &Path) -> String {
    let mounts = "localResources: {volumeMounts: [{name: scratch, mountPath: /tmp}, {name: data, mountPath: /data, readOnly: true}]}";
    let volumes = format!("volumes: [{{name: scratch, ephemeral: {{}}}}, {{name: data, hostPath: {{path: {}}}}}]", data.display());
    format!(
        "apiVersion: runtime.wasmcloud.dev/v1alpha1\nkind: WorkloadDeployment\nmetadata: {{name: files}}\nspec:\n  replicas: 1\n  template:\n    spec:\n      \
         hostInterfaces: [{{namespace: wasi, package: http, interfaces: [incoming-handler], config: {{host: files.test}}}}]\n      \
         {volumes}\n      components: [{{name: files, image: 'file://{}', {mounts}}}]\n",
        path("p2").display()
    )
}

fn volumes(home: &Home) -> usize {
    home.path(".local/share/berth/volumes").read_dir().map_or(0, Iterator::count)
}

fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "never so: {what}");
        std::thread::yield_now();
    }
}

#[test]
fn l33_l41_a_manifests_volumes_are_served_below_a_root_and_go_when_it_is_deleted_or_berth_was_killed() {
    let home = Home::new();
    let data = home.path("shared");
    std::fs::create_dir(&data).unwrap();
    std::fs::write(data.join("hello"), "from the host").unwrap();
    home.write("files.yaml", with_volumes(&data));
    let settings = ["--volume-root", "shared"];
    let mut up = home.up(&[&settings[..], &["-f", "files.yaml"]].concat());
    up.wait_for("ready in");
    let says = |up: &Up, what: &str, expected: &str| {
        let text = up.get("files.test", &format!("/fs?do={what}")).text;
        assert!(text.contains(expected), "{what}: {text}");
    };
    says(&up, "read&path=/data/hello", "from the host");
    says(&up, "write&bytes=1&path=/data/hello", "PermissionDenied");
    says(&up, "write&bytes=9&path=/tmp/kept", "wrote 9");
    assert_eq!(volumes(&home), 1);
    up.signal(Signal::KILL);
    up.ended();
    assert_eq!(volumes(&home), 1, "nobody was there to remove it");

    let mut up = home.up(&settings);
    up.wait_for("ready in");
    says(&up, "read&path=/tmp/kept", "NotFound");
    until("the killed one's folder is gone", || volumes(&home) == 1);
    home.run(&["delete", "workloaddeployment", "files"]).ok();
    until("its folder is gone", || volumes(&home) == 0);
    drop(up);

    // What was applied is refused by a berth that allows no such folder, with words.
    home.write("files.yaml", with_volumes(&data));
    let mut up = home.up(&["-f", "files.yaml"]);
    up.wait_for("--volume-root");
    assert_eq!(up.get("files.test", "/").status, 404);
}

#[test]
fn a_folder_of_volumes_that_is_not_there_is_an_error_of_the_settings() {
    let home = Home::new();
    let said = home.run(&["up", "--volume-root", "none", "--volume-root", "."]).failed(2);
    assert!(said.contains("--volume-root: `none` can't be opened"), "{said}");
}

#[test]
fn l05_l31_a_workload_whose_volumes_have_no_room_says_so_and_starts_when_there_is_some() {
    let home = Home::new();
    let manifest = |name: &str| with_volumes(home.dir.path()).replace("{name: files}", &format!("{{name: {name}}}"));
    home.write("first.yaml", manifest("first"));
    home.write("second.yaml", manifest("second").replace("files.test", "second.test"));
    let mut up = home.up(&["--volume-budget", "100Mi", "--volume-root", ".", "-f", "first.yaml"]);
    up.wait_for("ready in");
    home.run(&["apply", "-f", "second.yaml"]).ok();
    up.wait_for("(volume-budget)");
    until("its condition says so", || {
        let workloads = home.run(&["get", "ww", "-o", "json"]).ok();
        workloads.contains("VolumeLimit") && workloads.contains("volume scratch: its 67108864 bytes have no room")
    });
    assert_eq!(up.get("second.test", "/").status, 404);
    home.run(&["delete", "workloaddeployment", "first"]).ok();
    until("the second has its room", || up.get("second.test", "/").status == 200);
}
