//! Room for all ephemeral volumes of a host together. Pure: numbers in, decisions out.
//!
//! Reserved is what a volume may take, whole and before it is made, and not what it has taken so far: so a workload that starts has the
//! room that it is promised, and no guest's write fails because of what others wrote meanwhile. Room is given back when a volume's folder is
//! gone from the disk.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::metrics::Counter;

/// The room of one host.
pub(crate) struct VolumeBudget {
    most_bytes: u64,
    taken_bytes: AtomicU64,
    /// Workloads whose volumes had no room.
    refused: Counter,
}

/// Some of it; given back when dropped.
pub(super) struct Room {
    bytes: u64,
    budget: Arc<VolumeBudget>,
}

/// Not all of some volumes fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NoRoom {
    /// How many of them would.
    pub(super) fit: usize,
    pub(super) taken_bytes: u64,
    pub(super) most_bytes: u64,
}

impl VolumeBudget {
    pub(crate) fn new(most_bytes: u64) -> Arc<VolumeBudget> {
        Arc::new(VolumeBudget { most_bytes, taken_bytes: AtomicU64::new(0), refused: Counter::default() })
    }

    /// All there is, bytes.
    pub(crate) fn most_bytes(&self) -> u64 {
        self.most_bytes
    }

    /// What is reserved, bytes.
    pub(crate) fn taken_bytes(&self) -> u64 {
        self.taken_bytes.load(Ordering::Relaxed)
    }

    /// Workloads whose volumes had no room.
    pub(crate) fn refused(&self) -> u64 {
        self.refused.get()
    }

    /// Room for `count` volumes of `each` bytes: for all of them or for none, so that two workloads that start at once don't keep each
    /// other from it.
    pub(super) fn take(self: &Arc<Self>, each: u64, count: usize) -> Result<Vec<Room>, NoRoom> {
        let wanted = each.saturating_mul(count as u64);
        let fits = |taken: u64| taken.checked_add(wanted).filter(|sum| *sum <= self.most_bytes);
        match self.taken_bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits) {
            Ok(_) => Ok((0..count).map(|_| Room { bytes: each, budget: self.clone() }).collect()),
            Err(taken_bytes) => {
                self.refused.inc();
                let fit = self.most_bytes.saturating_sub(taken_bytes).checked_div(each).unwrap_or(0);
                Err(NoRoom { fit: usize::try_from(fit).unwrap_or(usize::MAX), taken_bytes, most_bytes: self.most_bytes })
            }
        }
    }

    /// Room for what is on the disk already, whether it fits or not.
    pub(super) fn found(self: &Arc<Self>, bytes: u64) -> Room {
        let before = self.taken_bytes();
        let bytes = bytes.min(u64::MAX - before);
        self.taken_bytes.fetch_add(bytes, Ordering::Relaxed);
        Room { bytes, budget: self.clone() }
    }
}

impl Room {
    /// It stays taken as long as the host runs: what it is for can't be removed from the disk.
    pub(super) fn keep(mut self) {
        self.bytes = 0;
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.budget.taken_bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn l31_volumes_fit_all_or_none_and_give_their_room_back() {
        let budget = VolumeBudget::new(100);
        let two = budget.take(40, 2).unwrap();
        assert_eq!((budget.taken_bytes(), budget.refused()), (80, 0));
        assert_eq!(budget.take(15, 3).err(), Some(NoRoom { fit: 1, taken_bytes: 80, most_bytes: 100 }));
        assert_eq!((budget.taken_bytes(), budget.refused()), (80, 1), "none of them took any");
        let last = budget.take(20, 1).unwrap();
        assert_eq!(budget.take(1, 1).err(), Some(NoRoom { fit: 0, taken_bytes: 100, most_bytes: 100 }));
        drop(two);
        assert_eq!(budget.taken_bytes(), 20);
        drop(last);
        assert_eq!((budget.taken_bytes(), budget.most_bytes()), (0, 100));
        assert!(budget.take(u64::MAX, 2).is_err() && budget.take(0, 5).is_ok() && budget.take(101, 0).is_ok());
    }

    #[test]
    fn l31_what_is_found_on_the_disk_counts_beyond_what_there_may_be_and_what_cannot_be_removed_for_good() {
        let budget = VolumeBudget::new(100);
        let found = [budget.found(80), budget.found(80)];
        assert_eq!(budget.take(40, 1).err(), Some(NoRoom { fit: 0, taken_bytes: 160, most_bytes: 100 }));
        let [first, second] = found;
        drop(first);
        second.keep();
        assert_eq!(budget.taken_bytes(), 80);
        assert!(budget.take(20, 1).is_ok());
        budget.found(u64::MAX).keep();
        assert_eq!(budget.taken_bytes(), u64::MAX);
    }
}
