//! Volumes: folders that the components of a workload share (L41). What guests do in them goes through here, not through the engine's
//! own file system, because that has no bounds: neither on what an ephemeral volume takes, nor on open files, nor on threads that wait.
//!
//! A volume is opened once, when its workload is prepared, and held by its handle: what its path leads to afterwards doesn't matter.
//! Every path that a guest names is resolved below the handle that the guest has. The module knows nothing of requests; who runs guests
//! gives each component its [`Mount`]s.

mod bound;
mod budget;
mod calls;
mod handles;
mod ledger;
mod listing;
mod open;
mod p2;
#[cfg(feature = "wasi-p3")]
mod p3;
mod place;
mod removal;
mod tree;

use std::fs::File;
use std::io;
use std::sync::Arc;

use rustix::io::Errno;
use wasmtime_wasi::filesystem::{Dir, FsPerms, OpenMode};

use self::bound::Bound;
use self::tree::{Accounts, Failed};
use crate::egress::Asker;
use crate::logs::Stream;

pub(crate) use self::bound::VolumeBytes;
pub(crate) use self::handles::Handles;
pub(crate) use self::open::{Refused, VolumeError, Volumes, check};
pub(crate) use self::p2::link as link_p2;
#[cfg(feature = "wasi-p3")]
pub(crate) use self::p3::link as link_p3;

/// A volume of one prepared workload. An ephemeral one goes, with all that is in it, when nothing holds it any more: neither the workload
/// nor what still runs of it.
pub(crate) struct Volume {
    name: String,
    dir: File,
    /// None: a folder of the host's.
    bound: Option<Arc<Bound>>,
}

/// Where a component sees a volume.
pub(crate) struct Mount {
    path: String,
    dir: Dir,
    volume: Arc<Volume>,
}

impl Mount {
    fn new(volume: &Arc<Volume>, path: &str, read_only: bool) -> io::Result<Mount> {
        let (perms, mode) =
            if read_only { (FsPerms::ReadOnly, OpenMode::READ) } else { (FsPerms::ReadWrite, OpenMode::READ | OpenMode::WRITE) };
        // Each component has a handle of its own, by which it is known whose what is opened from it is.
        let dir = Dir::new(volume.dir.try_clone()?, perms, mode, false);
        let path = match path.trim_end_matches('/') {
            "" => "/".to_owned(),
            path => path.to_owned(),
        };
        Ok(Mount { path, dir, volume: volume.clone() })
    }
}

impl Volume {
    /// Does something in the volume's folder, for `asker`, on this thread. One at a time changes a bounded volume.
    fn change<R>(&self, asker: &Asker, what: impl FnOnce(Accounts<'_>) -> Result<R, Failed>) -> io::Result<R> {
        let done = match &self.bound {
            None => what(None),
            Some(bound) => bound.change(what),
        };
        done.map_err(|failed| match failed {
            Failed::Io(error) => error,
            Failed::Full(full) => {
                self.tell_full(asker, full);
                Errno::NOSPC.into()
            }
        })
    }

    /// A log line and an event, as often as the workload may speak.
    fn tell_full(&self, asker: &Asker, full: ledger::Full) {
        let component = &asker.component;
        let message = format!(
            "component {}: the ephemeral volume {} is full, {} of {} bytes are in use (ephemeral-volume-size): nothing more is written to it until something is removed",
            component.name, self.name, full.used, full.most
        );
        if component.warn("VolumeFull", message.clone()) {
            component.log.write(&component.name, asker.request(), Stream::Host, &message);
        }
    }
}
