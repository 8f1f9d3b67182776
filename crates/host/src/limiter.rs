//! Memory and tables of one store, bounded per instance and over the host (L31).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use berth_model::limits::Effective;
use wasmtime::ResourceLimiter;

use crate::metrics::{Counter, WorkloadMetrics};

/// Core instances of one component; componentized interpreters have some tens.
pub(crate) const MAX_CORE_INSTANCES: u32 = 128;
/// Linear memories of one component; nearly all have one.
pub(crate) const MAX_MEMORIES: u32 = 32;
/// Tables of one component.
pub(crate) const MAX_TABLES: u32 = 64;

/// Linear memory of all instances of a host together.
pub(crate) struct MemoryBudget {
    max_bytes: u64,
    used_bytes: AtomicU64,
    /// Growths that were refused for want of it.
    refused: Counter,
}

impl MemoryBudget {
    pub(crate) fn new(max_bytes: u64) -> MemoryBudget {
        MemoryBudget { max_bytes, used_bytes: AtomicU64::new(0), refused: Counter::default() }
    }

    /// All there is, bytes.
    pub(crate) fn most_bytes(&self) -> u64 {
        self.max_bytes
    }

    /// Growths that were refused for want of it.
    pub(crate) fn refused(&self) -> u64 {
        self.refused.get()
    }

    /// Linear memory in use, bytes.
    pub(crate) fn used_bytes(&self) -> u64 {
        self.used_bytes.load(Ordering::Relaxed)
    }

    /// What is left, bytes.
    pub(crate) fn free_bytes(&self) -> u64 {
        self.max_bytes.saturating_sub(self.used_bytes())
    }

    fn take(&self, bytes: u64) -> bool {
        let before = self.used_bytes.fetch_add(bytes, Ordering::Relaxed);
        if before.saturating_add(bytes) > self.max_bytes {
            self.give_back(bytes);
            self.refused.inc();
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

/// The linear memory that one store took of the host's budget, until it is dropped: when the memory really is free, or later.
pub(crate) struct Account {
    bytes: u64,
    budget: Arc<MemoryBudget>,
    metrics: Arc<WorkloadMetrics>,
}

impl Account {
    /// What was taken, bytes.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    fn take(&mut self, bytes: u64) -> bool {
        if !self.budget.take(bytes) {
            return false;
        }
        self.bytes += bytes;
        self.metrics.memory_bytes.add(bytes as i64);
        true
    }

    fn give_back(&mut self, bytes: u64) {
        self.bytes -= bytes;
        self.budget.give_back(bytes);
        self.metrics.memory_bytes.add(-(bytes as i64));
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        self.give_back(self.bytes);
    }
}

/// What one store may still take.
pub(crate) struct Limiter {
    memory_bytes: u64,
    table_elements: u32,
    /// None once the store has ended: it takes no more.
    account: Option<Account>,
    table_used: u32,
    hit: Option<Hit>,
    /// What was allowed last, until it is known to have failed: bytes and elements.
    last_memory: u64,
    last_table: u32,
}

impl Limiter {
    pub(crate) fn new(limits: &Effective, budget: Arc<MemoryBudget>, metrics: Arc<WorkloadMetrics>) -> Limiter {
        let (memory_bytes, table_elements) = (limits.memory_bytes, limits.table_elements);
        let account = Some(Account { bytes: 0, budget, metrics });
        Limiter { memory_bytes, table_elements, account, table_used: 0, hit: None, last_memory: 0, last_table: 0 }
    }

    /// What the store took. A store that ends hands it to whoever frees its memory, for a store drops its data first.
    pub(crate) fn close(&mut self) -> Option<Account> {
        self.account.take()
    }

    /// The limit that was hit, if one was.
    pub(crate) fn hit(&self) -> Option<Hit> {
        self.hit
    }
}

impl ResourceLimiter for Limiter {
    fn memory_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        self.last_memory = 0;
        if maximum.is_some_and(|maximum| desired > maximum) {
            // The memory's own bound, none of ours.
            return Ok(false);
        }
        let more = desired.saturating_sub(current) as u64;
        let Some(account) = &mut self.account else { return Ok(false) };
        if account.bytes.saturating_add(more) > self.memory_bytes {
            self.hit = Some(Hit::Memory(self.memory_bytes));
            return Ok(false);
        }
        if !account.take(more) {
            self.hit = Some(Hit::HostMemory);
            return Ok(false);
        }
        self.last_memory = more;
        Ok(true)
    }

    fn memory_grow_failed(&mut self, error: wasmtime::Error) -> wasmtime::Result<()> {
        if !was_allowed(&error) {
            return Ok(());
        }
        let more = std::mem::take(&mut self.last_memory);
        if let Some(account) = &mut self.account {
            account.give_back(more);
        }
        Ok(())
    }

    fn table_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        self.last_table = 0;
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }
        let more = u32::try_from(desired.saturating_sub(current)).unwrap_or(u32::MAX);
        if self.table_used.saturating_add(more) > self.table_elements {
            self.hit = Some(Hit::Table(self.table_elements));
            return Ok(false);
        }
        self.table_used += more;
        self.last_table = more;
        Ok(true)
    }

    fn table_grow_failed(&mut self, error: wasmtime::Error) -> wasmtime::Result<()> {
        if was_allowed(&error) {
            self.table_used -= std::mem::take(&mut self.last_table);
        }
        Ok(())
    }

    fn instances(&self) -> usize {
        MAX_CORE_INSTANCES as usize
    }

    fn tables(&self) -> usize {
        MAX_TABLES as usize
    }

    fn memories(&self) -> usize {
        MAX_MEMORIES as usize
    }
}

/// Whether growth that failed had been asked for before. Wasmtime also reports growth that it refuses unasked, beyond what the type of
/// a memory can have; undoing an earlier growth for that would let a guest take memory that nobody counts. What fails otherwise stays
/// counted until the store ends.
fn was_allowed(error: &wasmtime::Error) -> bool {
    error.to_string().ends_with("maximum size exceeded")
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

    #[test]
    fn l31_growth_that_fails_after_it_was_allowed_is_not_counted() {
        let budget = Arc::new(MemoryBudget::new(1 << 30));
        let mut store = limiter(100, budget.clone());
        assert!(store.memory_growing(0, 60, None).unwrap());
        assert!(store.memory_growing(60, 100, None).unwrap());
        for _ in 0..2 {
            // One failure undoes one growth, even if it is reported again.
            store.memory_grow_failed(wasmtime::format_err!("Memory maximum size exceeded")).unwrap();
        }
        assert_eq!(budget.used_bytes(), 60);
        assert!(store.memory_growing(60, 100, None).unwrap());
        assert!(store.table_growing(0, 10, None).unwrap());
        store.table_grow_failed(wasmtime::format_err!("Table maximum size exceeded")).unwrap();
        assert!(store.table_growing(0, 10, None).unwrap());
        assert_eq!(store.hit(), None);
    }

    #[test]
    fn a_memory_that_reaches_its_own_maximum_hits_no_limit_of_the_host() {
        let mut store = limiter(100, Arc::new(MemoryBudget::new(1 << 30)));
        assert!(!store.memory_growing(0, 200, Some(64)).unwrap());
        assert!(!store.table_growing(0, 200, Some(5)).unwrap());
        assert_eq!(store.hit(), None);
    }

    #[test]
    fn l31_growth_that_was_never_asked_for_undoes_nothing() {
        let budget = Arc::new(MemoryBudget::new(1 << 30));
        let mut store = limiter(100, budget.clone());
        assert!(store.memory_growing(0, 60, None).unwrap());
        store.memory_grow_failed(wasmtime::format_err!("memory growth exceeds memory type's limits")).unwrap();
        assert_eq!(budget.used_bytes(), 60);
    }
}
