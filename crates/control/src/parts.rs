//! Cutting lists into messages that the bus takes.

/// Messages that one round of sync may take: with 1 MiB each, 1 GiB of workloads. A whole set is sent rarely; changes go alone.
pub(crate) const MAX_PARTS: u32 = 1024;

/// What a message takes besides its list, bytes: names of fields, a round's and a host's id.
const ENVELOPE_BYTES: usize = 1024;

/// How many of the items with these sizes fit into a message of `limit` bytes; one at least, if there is one.
pub(crate) fn fitting(sizes: impl IntoIterator<Item = usize>, limit: usize) -> usize {
    let mut left = limit.saturating_sub(ENVELOPE_BYTES);
    let mut count = 0;
    for size in sizes {
        // And a comma.
        let size = size + 1;
        if size > left && count > 0 {
            break;
        }
        left = left.saturating_sub(size);
        count += 1;
    }
    count
}

/// Whether an item of this size fits into a message of `limit` bytes by itself.
pub(crate) fn fits(size: usize, limit: usize) -> bool {
    size < limit.saturating_sub(ENVELOPE_BYTES)
}
