//! Opening the volumes of a workload, when it is prepared.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use berth_model::workload::{self, VolumeSource};
use cap_primitives::ambient_authority;
use cap_primitives::fs as beneath;

use super::bound::Bound;
use super::budget::{NoRoom, Room, VolumeBudget};
use super::place;
use super::removal::{Folder, Remover};
use super::{Mount, Volume};
use crate::config::VolumeConfig;
use crate::metrics::WorkloadMetrics;

/// Opens volumes as the host's owner allows it.
pub(crate) struct Volumes {
    config: VolumeConfig,
    /// Room for the ephemeral ones.
    budget: Arc<VolumeBudget>,
    /// Where ephemeral volumes are, and what removes them.
    ephemeral: Option<(PathBuf, Arc<Remover>)>,
}

/// Why a volume can't be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum VolumeError {
    #[error("hostPath {} can't be opened: {source}; make that folder, or name another one", path.display())]
    HostPath { path: PathBuf, source: io::Error },
    #[error("hostPath {} is no folder: name one", .0.display())]
    NotFolder(PathBuf),
    #[error(
        "hostPath {} is not allowed, with all links in it followed: this host has {}; start it with --volume-root {} (or a folder above it), or make the volume `ephemeral: {{}}`",
        path.display(), allowed(roots), path.display()
    )]
    NotAllowed { path: PathBuf, roots: Vec<PathBuf> },
    #[error("this host has no folder for ephemeral volumes")]
    NoFolder,
    #[error("a folder for it can't be made in {}: {source}", folder.display())]
    Ephemeral { folder: PathBuf, source: io::Error },
    #[error(
        "its {each} bytes have no room: {taken} of {most} bytes are reserved for ephemeral volumes of this host (volume-budget); delete a workload that has some, or start the host with a larger --volume-budget or a smaller --ephemeral-volume-size"
    )]
    NoRoom { each: u64, taken: u64, most: u64 },
    #[error("there is no such volume")]
    Unknown,
    #[error("it can't be mounted: {0}")]
    Mount(io::Error),
}

impl VolumeError {
    /// Why, in one CamelCase word.
    pub(crate) fn reason(&self) -> &'static str {
        match self {
            VolumeError::NotAllowed { .. } => "VolumeNotAllowed",
            VolumeError::NoRoom { .. } => "VolumeLimit",
            _ => "VolumeFailed",
        }
    }
}

fn allowed(roots: &[PathBuf]) -> String {
    if roots.is_empty() {
        return "no folders for that".to_owned();
    }
    let roots: Vec<String> = roots.iter().map(|root| root.display().to_string()).collect();
    format!("only {} and what is below for that", roots.join(", "))
}

/// A volume's name, and what is wrong with it.
pub(crate) type Refused = (String, VolumeError);

impl Volumes {
    /// Makes the folder of ephemeral volumes and begins to remove what is left in it.
    pub(crate) fn start(config: VolumeConfig) -> io::Result<Volumes> {
        let budget = VolumeBudget::new(config.budget_bytes);
        let ephemeral = match &config.folder {
            Some(folder) => Some((folder.clone(), Remover::start(folder, &budget, config.ephemeral_bytes)?)),
            None => None,
        };
        Ok(Volumes { config, budget, ephemeral })
    }

    /// Room for all ephemeral volumes.
    pub(crate) fn budget(&self) -> &VolumeBudget {
        &self.budget
    }

    /// Waits until the folders of all volumes are removed, for `patience` at most.
    pub(crate) async fn settled(&self, patience: Duration) {
        if let Some((_, remover)) = &self.ephemeral {
            remover.settled(patience).await;
        }
    }

    /// Opens `volumes` and mounts them as each of `mounts`, those of one component, wants it. Blocks.
    pub(crate) fn open(
        &self,
        volumes: &[workload::Volume],
        mounts: &[Vec<workload::Mount>],
        metrics: &Arc<WorkloadMetrics>,
    ) -> Result<Vec<Arc<[Mount]>>, Refused> {
        // Before a folder is made.
        let mut rooms = rooms(&self.budget, self.config.ephemeral_bytes, volumes)?.into_iter();
        let mut opened = Vec::with_capacity(volumes.len());
        for volume in volumes {
            let refused = |error| (volume.name.clone(), error);
            let (dir, bound) = match &volume.source {
                VolumeSource::HostPath(path) => (host_path(&self.config.roots, path).map_err(refused)?, None),
                VolumeSource::Ephemeral => {
                    let room = rooms.next().expect("there is one for each");
                    let (dir, bound) = self.ephemeral(room).map_err(refused)?;
                    metrics.volumes.add(&bound);
                    (dir, Some(bound))
                }
            };
            opened.push(Arc::new(Volume { name: volume.name.clone(), dir, bound }));
        }
        let mount = |mount: &workload::Mount| {
            let refused = |error| (mount.volume.clone(), error);
            let volume = opened.iter().find(|volume| volume.name == mount.volume).ok_or_else(|| refused(VolumeError::Unknown))?;
            Mount::new(volume, &mount.path, mount.read_only).map_err(|error| refused(VolumeError::Mount(error)))
        };
        mounts.iter().map(|mounts| mounts.iter().map(mount).collect()).collect()
    }

    fn ephemeral(&self, room: Room) -> Result<(File, Arc<Bound>), VolumeError> {
        let (folder, remover) = self.ephemeral.as_ref().ok_or(VolumeError::NoFolder)?;
        let failed = |source| VolumeError::Ephemeral { folder: folder.clone(), source };
        let made = Folder::make(folder, remover, room).map_err(failed)?;
        let dir = beneath::open_ambient_dir(&made.files(), ambient_authority()).map_err(failed)?;
        Ok((dir, Arc::new(Bound::new(self.config.ephemeral_bytes, made))))
    }
}

/// What a host of `config` would refuse of `volumes`, whatever else it runs. Blocks.
pub(crate) fn check(config: &VolumeConfig, volumes: &[workload::Volume]) -> Vec<Refused> {
    let mut refused: Vec<Refused> = Vec::new();
    for volume in volumes {
        if let VolumeSource::HostPath(path) = &volume.source
            && let Err(error) = host_path(&config.roots, path)
        {
            refused.push((volume.name.clone(), error));
        }
    }
    refused.extend(rooms(&VolumeBudget::new(config.budget_bytes), config.ephemeral_bytes, volumes).err());
    refused
}

/// Room for each of the ephemeral `volumes`, of `each` bytes.
fn rooms(budget: &Arc<VolumeBudget>, each: u64, volumes: &[workload::Volume]) -> Result<Vec<Room>, Refused> {
    let ephemeral = || volumes.iter().filter(|volume| volume.source == VolumeSource::Ephemeral);
    budget.take(each, ephemeral().count()).map_err(|NoRoom { fit, taken_bytes, most_bytes }| {
        let name = ephemeral().nth(fit).map_or_else(String::new, |volume| volume.name.clone());
        (name, VolumeError::NoRoom { each, taken: taken_bytes, most: most_bytes })
    })
}

/// The folder at `path`, if it is in one that is allowed, all links resolved. It is opened from there on by handles, so that links that
/// change meanwhile lead nowhere else.
fn host_path(allowed: &[PathBuf], path: &Path) -> Result<File, VolumeError> {
    let failed = |source| VolumeError::HostPath { path: path.to_owned(), source };
    let roots: Vec<PathBuf> = allowed.iter().filter_map(|root| root.canonicalize().ok()).collect();
    let not_allowed = || VolumeError::NotAllowed { path: path.to_owned(), roots: allowed.to_vec() };
    // Nothing is said about what is there outside the roots: neither whether anything is, nor where it leads.
    let as_written = allowed.iter().chain(&roots).any(|root| path.starts_with(root));
    if roots.is_empty() {
        return Err(not_allowed());
    }
    let real = match path.canonicalize() {
        Ok(real) => real,
        Err(error) if as_written => return Err(failed(error)),
        Err(_) => return Err(not_allowed()),
    };
    let Some((root, rest)) = place::below(&real, &roots) else { return Err(not_allowed()) };
    let root = beneath::open_ambient_dir(root, ambient_authority()).map_err(failed)?;
    let opened = match rest.as_os_str().is_empty() {
        true => Ok(root),
        false => beneath::open_dir(&root, &rest),
    };
    match opened {
        Ok(folder) => Ok(folder),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => Err(VolumeError::NotFolder(path.to_owned())),
        Err(error) => Err(failed(error)),
    }
}
