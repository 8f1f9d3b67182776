//! What an ephemeral volume holds, and whether more fits. Pure: sizes and handles in, decisions out.
//!
//! Counted are the bytes of every file as long as it exists, holes included, and [`ENTRY_BYTES`] for every name: so small files, folders
//! and links are bounded too. A file whose last name is removed exists while somebody has it open, and counts until then: the ledger
//! keeps weak handles of the open files, and looks at those when it needs the room or is asked what is used.

use std::collections::HashMap;
use std::sync::Weak;

/// What a name counts, bytes: the inode, the directory's entry, and what the last block of a file wastes, on common file systems.
pub(super) const ENTRY_BYTES: u64 = 4096;

/// Accounts of one volume, by inode. `H` is what an open file is held by.
pub(super) struct Ledger<H> {
    most: u64,
    used: u64,
    open: HashMap<u64, Open<H>>,
    /// How many of these have no name any more.
    unlinked: usize,
}

/// A file that is or was open.
struct Open<H> {
    handles: Vec<Weak<H>>,
    size: u64,
    /// Its last name is gone.
    unlinked: bool,
}

impl<H> Open<H> {
    fn is_held(&self) -> bool {
        self.handles.iter().any(|handle| handle.strong_count() > 0)
    }
}

/// The volume has no room for what was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Full {
    pub(super) used: u64,
    pub(super) most: u64,
}

impl<H> Ledger<H> {
    pub(super) fn new(most: u64) -> Ledger<H> {
        Ledger { most, used: 0, open: HashMap::new(), unlinked: 0 }
    }

    /// Bytes in use.
    pub(super) fn used(&mut self) -> u64 {
        self.sweep();
        self.used
    }

    /// Whether `more` bytes fit.
    pub(super) fn room(&mut self, more: u64) -> Result<(), Full> {
        let fits = |ledger: &Ledger<H>| ledger.used.checked_add(more).is_some_and(|sum| sum <= ledger.most);
        if more == 0 || fits(self) {
            return Ok(());
        }
        self.sweep();
        if fits(self) { Ok(()) } else { Err(Full { used: self.used, most: self.most }) }
    }

    /// There is one name more.
    pub(super) fn named(&mut self) {
        self.used += ENTRY_BYTES;
    }

    /// A name of something is gone that has others, or that has no bytes of its own.
    pub(super) fn unnamed(&mut self) {
        self.used = self.used.saturating_sub(ENTRY_BYTES);
    }

    /// A file has another size.
    pub(super) fn resized(&mut self, inode: u64, before: u64, after: u64) {
        self.used = self.used.saturating_add(after).saturating_sub(before);
        if let Some(open) = self.open.get_mut(&inode) {
            open.size = after;
        }
    }

    /// A file was opened.
    pub(super) fn opened(&mut self, inode: u64, size: u64, handle: Weak<H>) {
        // An inode with another file's number is another file: the first one is gone.
        if self.open.get(&inode).is_some_and(|open| open.unlinked && !open.is_held()) {
            self.close(inode);
        }
        let open = self.open.entry(inode).or_insert_with(|| Open { handles: Vec::new(), size, unlinked: false });
        open.handles.retain(|handle| handle.strong_count() > 0);
        open.handles.push(handle);
        open.size = size;
    }

    /// The last name of a file is gone.
    pub(super) fn unlinked(&mut self, inode: u64, size: u64) {
        match self.open.get_mut(&inode) {
            Some(open) if open.is_held() => {
                self.unlinked += usize::from(!open.unlinked);
                (open.unlinked, open.size) = (true, size);
            }
            _ => {
                self.open.remove(&inode);
                self.used = self.used.saturating_sub(size + ENTRY_BYTES);
            }
        }
    }

    /// Looks at which files are still open, where that makes a difference.
    fn sweep(&mut self) {
        if self.unlinked == 0 {
            return;
        }
        let closed: Vec<u64> = self.open.iter().filter(|(_, open)| !open.is_held()).map(|(inode, _)| *inode).collect();
        closed.into_iter().for_each(|inode| self.close(inode));
    }

    fn close(&mut self, inode: u64) {
        if let Some(open) = self.open.remove(&inode).filter(|open| open.unlinked) {
            self.unlinked -= 1;
            self.used = self.used.saturating_sub(open.size + ENTRY_BYTES);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn ledger(most: u64) -> Ledger<()> {
        Ledger::new(most)
    }

    #[test]
    fn names_and_bytes_are_counted_and_given_back() {
        let mut ledger = ledger(3 * ENTRY_BYTES);
        ledger.named();
        ledger.resized(1, 0, 100);
        assert_eq!(ledger.used(), ENTRY_BYTES + 100);
        assert_eq!(ledger.room(2 * ENTRY_BYTES), Err(Full { used: ENTRY_BYTES + 100, most: 3 * ENTRY_BYTES }));
        assert_eq!(ledger.room(2 * ENTRY_BYTES - 100), Ok(()));
        assert_eq!(ledger.room(u64::MAX), Err(Full { used: ENTRY_BYTES + 100, most: 3 * ENTRY_BYTES }));
        ledger.resized(1, 100, 40);
        ledger.unlinked(1, 40);
        assert_eq!(ledger.used(), 0);
    }

    #[test]
    fn a_removed_file_counts_until_nobody_has_it_open() {
        let mut ledger = ledger(10_000);
        let (first, second) = (Arc::new(()), Arc::new(()));
        ledger.named();
        ledger.opened(1, 0, Arc::downgrade(&first));
        ledger.opened(1, 0, Arc::downgrade(&second));
        ledger.resized(1, 0, 5000);
        ledger.unlinked(1, 5000);
        ledger.resized(1, 5000, 5500);
        drop(first);
        assert!(ledger.room(5000).is_err());
        assert_eq!(ledger.used(), ENTRY_BYTES + 5500);
        drop(second);
        assert_eq!(ledger.room(5000), Ok(()));
        assert_eq!(ledger.used(), 0);
    }

    #[test]
    fn l45_what_is_used_falls_when_a_removed_file_is_closed_and_not_only_when_its_room_is_needed() {
        let mut ledger = ledger(100_000);
        let handles = [Arc::new(()), Arc::new(())];
        for (inode, handle) in (1..).zip(&handles) {
            ledger.named();
            ledger.opened(inode, 0, Arc::downgrade(handle));
            ledger.resized(inode, 0, 5000);
            ledger.unlinked(inode, 5000);
        }
        assert_eq!(ledger.used(), 2 * (ENTRY_BYTES + 5000));
        let [first, second] = handles;
        drop(first);
        assert_eq!(ledger.used(), ENTRY_BYTES + 5000);
        drop(second);
        assert_eq!(ledger.used(), 0);
    }

    #[test]
    fn an_inode_that_comes_again_is_another_file() {
        let mut ledger = ledger(100_000);
        let handle = Arc::new(());
        ledger.named();
        ledger.opened(1, 0, Arc::downgrade(&handle));
        ledger.resized(1, 0, 5000);
        ledger.unlinked(1, 5000);
        drop(handle);
        ledger.named();
        let other = Arc::new(());
        ledger.opened(1, 0, Arc::downgrade(&other));
        assert_eq!(ledger.used(), ENTRY_BYTES);
        ledger.unlinked(1, 0);
        drop(other);
        assert_eq!((ledger.room(100_000), ledger.used()), (Ok(()), 0));
    }

    #[test]
    fn a_hard_link_counts_as_a_name() {
        let mut ledger = ledger(100_000);
        ledger.named();
        ledger.resized(1, 0, 500);
        ledger.named();
        ledger.unnamed();
        assert_eq!(ledger.used(), ENTRY_BYTES + 500);
    }
}
