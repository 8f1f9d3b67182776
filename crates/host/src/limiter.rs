//! Memory and tables of one store, bounded per instance and over the host (L31).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use berth_model::limits::Effective;
use wasmtime::ResourceLimiter;

use crate::metrics::WorkloadMetrics;

/// Core instances, memories and tables of one store; far above what componentized interpreters use (some tens).
const MAX_ITEMS: usize = 256;

/// Linear memory of all instances of a host together.
pub(crate) struct MemoryBudget {
    max_bytes: u64,
    used_bytes: AtomicU64,
}

impl MemoryBudget {
    pub(crate) fn new(max_bytes: u64) -> MemoryBudget {
        MemoryBudget { max_bytes, used_bytes: AtomicU64::new(0) }
    }

    /// Linear memory in use, bytes.
    pub(crate) fn used_bytes(&self) -> u64 {
        self.used_bytes.load(Ordering::Relaxed)
    }

    fn take(&self, bytes: u64) -> bool {
        let before = self.used_bytes.fetch_add(bytes, Ordering::Relaxed);
        if before.saturating_add(bytes) > self.max_bytes {
            self.give_back(bytes);
            return false;
        }
        true
    }

    fn give_back(&self, bytes: u64) {
        self.used_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// The limit that a guest ran into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hit {
    /// Linear memory of its instance, bytes allowed.
    Memory(u64),
    /// Linear memory of the host.
    HostMemory,
    /// Table elements of its instance, elements allowed.
    Table(u32),
}

/// What one store may still take.
pub(crate) struct Limiter {
    memory_bytes: u64,
    table_elements: u32,
    memory_used: u64,
    table_used: u32,
    budget: Arc<MemoryBudget>,
    metrics: Arc<WorkloadMetrics>,
    hit: Option<Hit>,
}

impl Limiter {
    pub(crate) fn new(limits: &Effective, budget: Arc<MemoryBudget>, metrics: Arc<WorkloadMetrics>) -> Limiter {
        let (memory_bytes, table_elements) = (limits.memory_bytes, limits.table_elements);
        Limiter { memory_bytes, table_elements, memory_used: 0, table_used: 0, budget, metrics, hit: None }
    }

    /// The limit that was hit, if one was.
    pub(crate) fn hit(&self) -> Option<Hit> {
        self.hit
    }
}

impl ResourceLimiter for Limiter {
    fn memory_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        let more = desired.saturating_sub(current) as u64;
        if self.memory_used.saturating_add(more) > self.memory_bytes {
            self.hit = Some(Hit::Memory(self.memory_bytes));
            return Ok(false);
        }
        if !self.budget.take(more) {
            self.hit = Some(Hit::HostMemory);
            return Ok(false);
        }
        self.memory_used += more;
        self.metrics.memory_bytes.add(more as i64);
        Ok(true)
    }

    fn table_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        let more = u32::try_from(desired.saturating_sub(current)).unwrap_or(u32::MAX);
        if self.table_used.saturating_add(more) > self.table_elements {
            self.hit = Some(Hit::Table(self.table_elements));
            return Ok(false);
        }
        self.table_used += more;
        Ok(true)
    }

    fn instances(&self) -> usize {
        MAX_ITEMS
    }

    fn tables(&self) -> usize {
        MAX_ITEMS
    }

    fn memories(&self) -> usize {
        MAX_ITEMS
    }
}

impl Drop for Limiter {
    fn drop(&mut self) {
        self.budget.give_back(self.memory_used);
        self.metrics.memory_bytes.add(-(self.memory_used as i64));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::HostMetrics;

    fn limiter(memory_bytes: u64, budget: Arc<MemoryBudget>) -> Limiter {
        Limiter::new(&limits(memory_bytes), budget, HostMetrics::default().workload("default", "test"))
    }

    fn limits(memory_bytes: u64) -> Effective {
        Effective { memory_bytes, table_elements: 10, ..Effective::default() }
    }

    #[test]
    fn l31_memory_of_all_memories_of_a_store_counts_together() {
        let budget = Arc::new(MemoryBudget::new(1 << 30));
        let mut store = limiter(100, budget.clone());
        assert!(store.memory_growing(0, 60, None).unwrap());
        assert!(!store.memory_growing(0, 60, None).unwrap());
        assert_eq!(store.hit(), Some(Hit::Memory(100)));
        assert_eq!(budget.used_bytes(), 60);
        drop(store);
        assert_eq!(budget.used_bytes(), 0);
    }

    #[test]
    fn l31_the_hosts_budget_bounds_all_stores_together() {
        let budget = Arc::new(MemoryBudget::new(100));
        let mut first = limiter(80, budget.clone());
        let mut second = limiter(80, budget.clone());
        assert!(first.memory_growing(0, 80, None).unwrap());
        assert!(!second.memory_growing(0, 80, None).unwrap());
        assert_eq!(second.hit(), Some(Hit::HostMemory));
        drop(first);
        assert!(second.memory_growing(0, 80, None).unwrap());
    }

    #[test]
    fn l31_tables_are_bounded() {
        let mut store = limiter(1, Arc::new(MemoryBudget::new(1)));
        assert!(store.table_growing(0, 10, None).unwrap());
        assert!(!store.table_growing(10, 11, None).unwrap());
        assert_eq!(store.hit(), Some(Hit::Table(10)));
    }
}
