//! What bounds one ephemeral volume, and what the volumes of a workload hold, for its metric.
//!
//! The bytes are looked at when they are asked for: a file that was removed goes when nobody has it open any more, and nothing tells of that.

use std::fs::File;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};

use super::ledger::Ledger;
use super::removal::Folder;
use super::tree::{Accounts, Failed};

/// The bound of one volume.
pub(super) struct Bound {
    ledger: Mutex<Ledger<File>>,
    /// What the ledger said last.
    bytes: AtomicU64,
    /// Goes with it, and all that is in it.
    _folder: Folder,
}

impl Bound {
    pub(super) fn new(most_bytes: u64, folder: Folder) -> Bound {
        Bound { ledger: Mutex::new(Ledger::new(most_bytes)), bytes: AtomicU64::new(0), _folder: folder }
    }

    /// Does something that changes the volume. One at a time does.
    pub(super) fn change<R>(&self, what: impl FnOnce(Accounts<'_>) -> Result<R, Failed>) -> Result<R, Failed> {
        let mut ledger = self.ledger.lock().expect("no panic while held");
        let done = what(Some(&mut ledger));
        self.note(&mut ledger);
        done
    }

    /// Bytes in it. Waits for nobody: while the volume is being changed, what was in it after the change before.
    fn bytes(&self) -> u64 {
        if let Ok(mut ledger) = self.ledger.try_lock() {
            self.note(&mut ledger);
        }
        self.bytes.load(Ordering::Relaxed)
    }

    fn note(&self, ledger: &mut Ledger<File>) {
        self.bytes.store(ledger.used(), Ordering::Relaxed);
    }
}

/// The ephemeral volumes of the workloads of one name, those that drain among them.
#[derive(Default)]
pub(crate) struct VolumeBytes(Mutex<Vec<Weak<Bound>>>);

impl VolumeBytes {
    pub(super) fn add(&self, bound: &Arc<Bound>) {
        let mut all = self.0.lock().expect("no panic while held");
        all.retain(|bound| bound.strong_count() > 0);
        all.push(Arc::downgrade(bound));
    }

    /// What is in them.
    pub(crate) fn read(&self) -> u64 {
        let all: Vec<Arc<Bound>> = self.0.lock().expect("no panic while held").iter().filter_map(Weak::upgrade).collect();
        all.iter().map(|bound| bound.bytes()).fold(0, u64::saturating_add)
    }
}
