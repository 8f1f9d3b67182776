//! Limits of a component. Upstream has a field only for memory, in MiB; the rest is Berth's.

use std::time::Duration;

use berth_model::limits::Limits;
use berth_model::resource::LimitsSpec;

use crate::wire::ext;

const MIB: u64 = 1 << 20;
/// A 32-bit memory has no more; a larger upstream limit is none.
const MAX_MEMORY_BYTES: u64 = 4 << 30;

pub(super) fn limits_to_wire(limits: &Limits) -> Option<ext::Limits> {
    let wire = ext::Limits {
        memory_bytes: limits.memory_bytes,
        request_timeout_nanos: limits.request_timeout.map(nanos),
        max_in_flight: limits.max_in_flight,
        max_queued: limits.max_queued,
        queue_timeout_nanos: limits.queue_timeout.map(nanos),
        max_request_body_bytes: limits.max_request_body_bytes,
        table_elements: limits.table_elements,
    };
    (wire != ext::Limits::default()).then_some(wire)
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// The limits as a manifest would write them, so that the manifest's rules check them.
pub(super) fn limits_to_spec(wire: &ext::Limits) -> LimitsSpec {
    LimitsSpec {
        memory: wire.memory_bytes.map(|bytes| bytes.to_string()),
        request_timeout: wire.request_timeout_nanos.map(duration_text),
        max_in_flight: wire.max_in_flight,
        max_queued: wire.max_queued,
        queue_timeout: wire.queue_timeout_nanos.map(duration_text),
        max_request_body: wire.max_request_body_bytes.map(|bytes| bytes.to_string()),
        table_elements: wire.table_elements,
    }
}

/// In a manifest's notation, to the nanosecond.
fn duration_text(nanos: u64) -> String {
    format!("{}.{:09}s", nanos / 1_000_000_000, nanos % 1_000_000_000)
}

/// Upstream's limit for a memory of so many bytes: the next whole MiB.
pub(super) fn memory_limit_mb(memory_bytes: Option<u64>) -> i32 {
    memory_bytes.map_or(0, |bytes| i32::try_from(bytes.div_ceil(MIB)).unwrap_or(i32::MAX))
}

/// What upstream's limit means: 0 and less mean the host's default.
pub(super) fn memory_bytes(memory_limit_mb: i32) -> Option<u64> {
    u64::try_from(memory_limit_mb).ok().filter(|mib| *mib > 0).map(|mib| (mib * MIB).min(MAX_MEMORY_BYTES))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn upstreams_memory_limit_is_in_mib_and_off_at_zero_and_below() {
        assert_eq!(memory_bytes(64), Some(64 << 20));
        assert_eq!(memory_bytes(0), None);
        assert_eq!(memory_bytes(-1), None);
        assert_eq!(memory_bytes(i32::MAX), Some(4 << 30));
        assert_eq!(memory_limit_mb(Some((64 << 20) + 1)), 65);
        assert_eq!(memory_limit_mb(None), 0);
    }
}
