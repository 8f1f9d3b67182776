//! Volumes and where components see them.

use std::collections::HashSet;
use std::path::{Component as PathPart, Path as FilePath};

use super::checker::Checker;
use crate::path::Path;
use crate::resource::{VolumeMountSpec, VolumeSpec};
use crate::text::quote;
use crate::workload::{Mount, Volume, VolumeSource};

/// `spec.volumes`: unique names, each with exactly one source.
pub(super) fn check(checker: &mut Checker<'_>, specs: &[VolumeSpec], spec_path: &Path<'_>) -> Vec<Volume> {
    let list = spec_path.field("volumes");
    let mut names = HashSet::new();
    let mut volumes = Vec::with_capacity(specs.len());
    for (index, spec) in specs.iter().enumerate() {
        let path = list.index(index);
        let name_path = path.field("name");
        checker.demand(!spec.name.is_empty(), &name_path, || "is missing".to_owned());
        checker.demand(names.insert(&spec.name), &name_path, || format!("another volume is named `{}` too", quote(&spec.name)));
        let source = match (&spec.ephemeral, &spec.host_path) {
            (Some(_), None) => VolumeSource::Ephemeral,
            (None, Some(host)) => {
                let path = path.field("hostPath");
                check_absolute(checker, &host.path, &path.field("path"));
                VolumeSource::HostPath(host.path.clone().into())
            }
            (Some(_), Some(_)) => {
                checker.wrong(&path, "has both `ephemeral` and `hostPath`; keep one");
                continue;
            }
            (None, None) => {
                checker.wrong(&path, "has no source; write `ephemeral: {}`, or `hostPath` with a `path`");
                continue;
            }
        };
        volumes.push(Volume { name: spec.name.clone(), source });
    }
    volumes
}

/// `volumeMounts` of one component: known volumes, each at a place of its own.
pub(super) fn mounts(checker: &mut Checker<'_>, specs: &[VolumeMountSpec], volumes: &[VolumeSpec], path: &Path<'_>) -> Vec<Mount> {
    let list = path.field("volumeMounts");
    let mut places = HashSet::new();
    let mut mounts = Vec::with_capacity(specs.len());
    for (index, spec) in specs.iter().enumerate() {
        let path = list.index(index);
        checker.demand(volumes.iter().any(|volume| volume.name == spec.name), &path.field("name"), || {
            let hint = crate::suggest::hint(&spec.name, volumes.iter().map(|volume| volume.name.as_str()));
            format!("`volumes` has no `{}`{hint}", quote(&spec.name))
        });
        let place = path.field("mountPath");
        check_absolute(checker, &spec.mount_path, &place);
        let normal = spec.mount_path.trim_end_matches('/');
        checker
            .demand(places.insert(normal.to_owned()), &place, || format!("another volume is mounted at `{}` too", quote(&spec.mount_path)));
        mounts.push(Mount { volume: spec.name.clone(), path: spec.mount_path.clone(), read_only: spec.read_only });
    }
    mounts
}

/// Absolute, and nothing in it leads upwards (L41).
fn check_absolute(checker: &mut Checker<'_>, text: &str, path: &Path<'_>) {
    let file = FilePath::new(text);
    checker.demand(file.is_absolute(), path, || format!("`{}` must be an absolute path", quote(text)));
    checker.demand(!file.components().any(|part| part == PathPart::ParentDir), path, || format!("`{}` must not contain `..`", quote(text)));
    checker.demand(!text.contains('\0'), path, || "must not contain a NUL character".to_owned());
}
