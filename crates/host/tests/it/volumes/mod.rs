//! Volumes: where they may be, who sees them, what bounds them, and that nothing leads out of them.

mod bounds;
mod budget;
mod escapes;
mod lives;

use std::path::Path;

use berth_model::workload::{Mount, Volume, VolumeSource, Workload};
use http::StatusCode;

use crate::harness::{Bench, workload};

/// The guests that do things with files: by WASI 0.2 and by 0.3.
const GUESTS: [&str; 2] = ["p2", "p3"];

/// A host whose hostPath volumes may be in `root/allowed`, and whose ephemeral ones, of a MiB, are in `root/ephemeral`.
fn bench(root: &Path) -> Bench {
    std::fs::create_dir_all(root.join("allowed")).unwrap();
    Bench::with(|config| {
        config.volumes.roots = vec![root.join("allowed")];
        config.volumes.folder = Some(root.join("ephemeral"));
        config.volumes.ephemeral_bytes = 1 << 20;
    })
}

fn ephemeral(name: &str) -> Volume {
    Volume { name: name.into(), source: VolumeSource::Ephemeral }
}

fn host_path(name: &str, path: impl AsRef<Path>) -> Volume {
    Volume { name: name.into(), source: VolumeSource::HostPath(path.as_ref().to_owned()) }
}

fn mount(volume: &str, path: &str, read_only: bool) -> Mount {
    Mount { volume: volume.into(), path: path.into(), read_only }
}

/// The guest as a workload of its name, for the domain of that name, with volumes and mounts.
fn with(guest: &str, volumes: Vec<Volume>, mounts: Vec<Mount>) -> Workload {
    let mut workload = workload(guest, guest, &[guest]);
    workload.volumes = volumes;
    workload.components[0].resources.mounts = mounts;
    workload
}

/// What came of doing something with files: what was said, or the error's name.
async fn act(bench: &Bench, guest: &str, what: &str) -> Result<String, String> {
    let answer = bench.get_from(guest, &format!("/fs?do={what}")).await;
    let said = answer.body.trim_end().to_owned();
    match answer.status {
        StatusCode::OK => Ok(said),
        StatusCode::BAD_GATEWAY => Err(said),
        other => panic!("{guest} {what}: {other} {said}"),
    }
}

/// The error's name in the words of the standard library (0.2) and of WASI 0.3.
fn name(guest: &str, p2: &'static str, p3: &'static str) -> Result<String, String> {
    Err(if guest == "p2" { p2 } else { p3 }.to_owned())
}

fn not_permitted(guest: &str) -> Result<String, String> {
    name(guest, "PermissionDenied", "NotPermitted")
}
