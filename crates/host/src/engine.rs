//! The two engines (D11): WASI 0.2 runs on one without concurrency support, which saves a fifth of a request's CPU;
//! anything that uses 0.3 runs on one with it. Each has one linker, shared by all workloads.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use wasmtime::component::Linker;
use wasmtime::{Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, WasmBacktraceDetails};

use crate::config::HostConfig;
use crate::egress;
use crate::guest::Guest;
use crate::limiter::{MAX_CORE_INSTANCES, MAX_MEMORIES, MAX_TABLES};
use crate::member::{self, Seat};
use crate::ticker::{Pulse, Ticker};

/// Most memory that a pooled instance keeps for the next one: resetting resident pages beats giving them back.
const KEEP_RESIDENT_BYTES: usize = 2 << 20;
/// The same for each table.
const TABLE_KEEP_RESIDENT_BYTES: usize = 64 << 10;
/// The same for stacks; without it, zeroing them costs more than the request.
const STACK_KEEP_RESIDENT_BYTES: usize = 64 << 10;
/// What all pooled instances of all engines keep while they are unused, at most: one part in this many of the memory budget.
const KEEP_RESIDENT_PART: u64 = 4;
/// Tables that a component instance has on average, for which the pool has room.
const TABLES_PER_SLOT: u32 = 2;
/// Slots that keep the pages of the component they last served, per engine, before slots are taken from others.
const WARM_SLOTS: u32 = 100;
/// Freed slots are given back to the kernel in batches of this many.
const DECOMMIT_BATCH: usize = 16;
/// Core instances per component instance that the pool has room for: a Rust component has three or four.
const CORE_INSTANCES_PER_SLOT: u32 = 8;
/// Largest metadata of one core instance; JavaScript's and Python's interpreters need more than Wasmtime's 1 MiB.
const MAX_CORE_INSTANCE_BYTES: usize = 4 << 20;
/// Largest metadata of one component instance.
const MAX_COMPONENT_INSTANCE_BYTES: usize = 8 << 20;

/// Tables that one core module may define; toolchains make one, hand-written modules a few.
const MAX_TABLES_PER_MODULE: u32 = 16;
/// The least that the pool has room for per table, whatever the default limit: a component may ask for more than that limit.
const POOL_TABLE_ELEMENTS: u32 = 20_000;
/// Memories that one core module may define (the multi-memory proposal).
const MAX_MEMORIES_PER_MODULE: u32 = 8;

/// The engines of a host, and what ticks them.
pub(crate) struct Engines {
    p2: EngineSet,
    p3: Option<EngineSet>,
    _ticker: Ticker,
}

/// An engine and its linkers.
#[derive(Clone)]
pub(crate) struct EngineSet {
    pub(crate) engine: Engine,
    flavor: Flavor,
    /// For components by themselves.
    linker: Arc<Linker<Guest>>,
    /// For units of several members, by how many they have room for: powers of two, made when the first such unit comes.
    larger: Arc<Mutex<BTreeMap<usize, Arc<Linker<Guest>>>>>,
}

/// Which engine a component needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Flavor {
    /// WASI 0.2 only.
    P2,
    /// WASI 0.3, or async functions.
    P3,
}

impl Engines {
    /// Ticks the engines while `pulse` says that guests run.
    pub(crate) fn new(config: &HostConfig, pulse: Arc<Pulse>) -> wasmtime::Result<Engines> {
        let p2 = EngineSet::new(config, Flavor::P2)?;
        let p3 = if cfg!(feature = "wasi-p3") && config.wasi_p3 { Some(EngineSet::new(config, Flavor::P3)?) } else { None };
        let engines = [Some(p2.engine.clone()), p3.as_ref().map(|s| s.engine.clone())].into_iter().flatten().collect();
        Ok(Engines { p2, p3, _ticker: Ticker::start(engines, config.tick, pulse) })
    }

    /// The engine of a flavor; none for 0.3 where that is off.
    pub(crate) fn get(&self, flavor: Flavor) -> Option<&EngineSet> {
        match flavor {
            Flavor::P2 => Some(&self.p2),
            Flavor::P3 => self.p3.as_ref(),
        }
    }
}

impl EngineSet {
    fn new(config: &HostConfig, flavor: Flavor) -> wasmtime::Result<EngineSet> {
        let engine = Engine::new(&engine_config(config, flavor))?;
        let mut linker = Linker::new(&engine);
        link_p2(&mut linker)?;
        #[cfg(feature = "wasi-p3")]
        if flavor == Flavor::P3 {
            link_p3(&mut linker)?;
        }
        Ok(EngineSet { engine, flavor, linker: Arc::new(linker), larger: Arc::default() })
    }

    /// The linker for a unit of so many members, at most [`member::MAX_MEMBERS`].
    pub(crate) fn linker(&self, members: usize) -> wasmtime::Result<Arc<Linker<Guest>>> {
        if members <= 1 {
            return Ok(self.linker.clone());
        }
        let room = members.next_power_of_two();
        let mut larger = self.larger.lock().expect("no panic while held");
        if let Some(linker) = larger.get(&room) {
            return Ok(linker.clone());
        }
        let mut linker = Linker::clone(&self.linker);
        for seat in Seat::others(room) {
            member::link_p2(&mut linker, seat)?;
            #[cfg(feature = "wasi-p3")]
            if self.flavor == Flavor::P3 {
                member::link_p3(&mut linker, seat)?;
            }
        }
        Ok(larger.entry(room).or_insert(Arc::new(linker)).clone())
    }
}

fn engine_config(config: &HostConfig, flavor: Flavor) -> Config {
    let mut c = Config::new();
    c.wasm_component_model(true);
    c.epoch_interruption(true);
    c.memory_init_cow(true);
    c.max_wasm_stack(config.stack_bytes);
    // Host functions run on the guest's stack too; what Wasm may not use is theirs.
    c.async_stack_size(config.stack_bytes + (1536 << 10));
    c.async_stack_zeroing(true);
    c.wasm_backtrace_details(WasmBacktraceDetails::Enable);
    c.concurrency_support(flavor == Flavor::P3);
    #[cfg(feature = "wasi-p3")]
    if flavor == Flavor::P3 {
        c.wasm_component_model_async(true);
        c.wasm_component_model_more_async_builtins(true);
    }
    c.allocation_strategy(InstanceAllocationStrategy::Pooling(pool(config)));
    c
}

fn pool(config: &HostConfig) -> PoolingAllocationConfig {
    // Warm instances live beside those in flight, so there is room for twice the slots.
    let instances = config.slots.saturating_mul(2);
    let keep = Keep::of(config);
    let cores = instances.saturating_mul(CORE_INSTANCES_PER_SLOT);
    let mut p = PoolingAllocationConfig::new();
    p.pagemap_scan(Enabled::Auto)
        .linear_memory_keep_resident(keep.memory)
        .table_keep_resident(keep.table)
        .async_stack_keep_resident(keep.stack)
        .max_unused_warm_slots(WARM_SLOTS.min(instances))
        .decommit_batch_size(DECOMMIT_BATCH)
        .total_component_instances(instances)
        .total_core_instances(cores)
        .total_memories(instances)
        .total_tables(instances.saturating_mul(TABLES_PER_SLOT))
        .total_stacks(instances)
        .total_gc_heaps(instances.min(1000))
        .max_tables_per_module(MAX_TABLES_PER_MODULE)
        .max_memories_per_module(MAX_MEMORIES_PER_MODULE)
        // No component takes more of the pool than this, so that one can't starve the others.
        .max_core_instances_per_component(MAX_CORE_INSTANCES)
        .max_memories_per_component(MAX_MEMORIES)
        .max_tables_per_component(MAX_TABLES)
        .max_memory_size(4 << 30)
        .table_elements(largest_table(config) as usize)
        .max_core_instance_size(MAX_CORE_INSTANCE_BYTES)
        .max_component_instance_size(MAX_COMPONENT_INSTANCE_BYTES);
    p
}

/// Elements of the largest table that the pool has room for. What one component may have of all its tables is a limit of its own.
pub(crate) fn largest_table(config: &HostConfig) -> u32 {
    config.limits.table_elements.max(POOL_TABLE_ELEMENTS)
}

/// What a slot keeps resident while no instance uses it, bytes.
///
/// After a peak every slot that was used keeps its share, and nothing gives it back; so the shares are sized for all slots: slots of
/// one engine x engines x (memory + tables + stack) is at most a quarter of the memory budget. With the defaults, 2,000 slots in each
/// of two engines, a budget of 36 GiB keeps the full 2 MiB of memory and 192 KiB of tables and stack; 12 GiB keep 590 KiB and 192 KiB;
/// 1 GiB keeps 32 KiB and 32 KiB.
struct Keep {
    memory: usize,
    table: usize,
    stack: usize,
}

impl Keep {
    fn of(config: &HostConfig) -> Keep {
        let engines = if cfg!(feature = "wasi-p3") && config.wasi_p3 { 2 } else { 1 };
        let slots = u64::from(config.slots.saturating_mul(2).max(1)) * engines;
        let share = usize::try_from(config.memory_budget_bytes / KEEP_RESIDENT_PART / slots).unwrap_or(usize::MAX);
        let pages = |bytes: usize| bytes & !4095;
        let stack = pages(STACK_KEEP_RESIDENT_BYTES.min(share / 4));
        let table = pages(TABLE_KEEP_RESIDENT_BYTES.min(share / 8));
        let memory = pages(KEEP_RESIDENT_BYTES.min(share - stack - table * TABLES_PER_SLOT as usize));
        Keep { memory, table, stack }
    }
}

fn link_p2(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    wasmtime_wasi::p2::add_to_linker_async(linker)?;
    wasmtime_wasi_http::p2::add_only_http_to_linker_async(linker)?;
    // Name lookups are granted name by name and sockets are counted, which the stock implementation can't do.
    linker.allow_shadowing(true);
    egress::names::link_p2(linker, Seat::ROOT)?;
    egress::sockets::link_p2(linker, Seat::ROOT)?;
    linker.allow_shadowing(false);
    Ok(())
}

#[cfg(feature = "wasi-p3")]
fn link_p3(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    wasmtime_wasi::p3::add_to_linker(linker)?;
    wasmtime_wasi_http::p3::add_to_linker(linker)?;
    linker.allow_shadowing(true);
    egress::names::link_p3(linker, Seat::ROOT)?;
    egress::sockets::link_p3(linker, Seat::ROOT)?;
    linker.allow_shadowing(false);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn l31_what_unused_slots_keep_is_at_most_a_quarter_of_the_budget() {
        for (budget, slots) in [(64 << 20, 1000), (1 << 30, 1000), (12 << 30, 1000), (64 << 30, 1000), (1 << 30, 1), (0, 10_000)] {
            let config = HostConfig { memory_budget_bytes: budget, slots, ..HostConfig::default() };
            let keep = Keep::of(&config);
            let each = (keep.memory + 2 * keep.table + keep.stack) as u64;
            let engines = if config.wasi_p3 { 2 } else { 1 };
            assert!(each * u64::from(slots) * 2 * engines <= budget / 4, "{budget} {slots}");
            assert!(keep.memory <= 2 << 20 && (budget < 1 << 30 || keep.memory >= 32 << 10), "{budget} {slots}: {}", keep.memory);
        }
    }
}
