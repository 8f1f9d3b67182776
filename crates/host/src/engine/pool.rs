//! The pools that the engines take instances from: how many there are of everything that an instance needs, and what they keep in memory
//! for the next one.

use wasmtime::{Enabled, PoolingAllocationConfig, PoolingAllocatorMetrics};

use super::Flavor;
use crate::config::HostConfig;
use crate::limiter::{MAX_CORE_INSTANCES, MAX_MEMORIES, MAX_TABLES};

/// Most memory that a pooled instance keeps for the next one: resetting resident pages beats giving them back.
const KEEP_RESIDENT_BYTES: usize = 2 << 20;
/// The same for each table.
const TABLE_KEEP_RESIDENT_BYTES: usize = 64 << 10;
/// The same for stacks that are zeroed; without it, zeroing them costs more than the request.
const STACK_KEEP_RESIDENT_BYTES: usize = 64 << 10;
/// Most that host functions use of a stack that guests called them on: they don't call each other in circles. (Measured: a tenth of it.)
const HOST_FRAMES_BYTES: usize = 128 << 10;
/// How often guests may use up their limit on one stack: a host function that was called from deep down calls `cabi_realloc`, for which the
/// engine counts anew.
pub(super) const DEPTHS_PER_STACK: usize = 2;
/// The part of what may be kept that is left to memories and tables where stacks are kept as they are: one in this many.
const STACKS_LEAVE: u64 = 3;
/// Tables that a component instance has on average, for which the pool has room.
pub(super) const TABLES_PER_SLOT: u32 = 2;
/// Slots that keep the pages of the component they last served, per engine, before slots are taken from others.
const WARM_SLOTS: u32 = 100;
/// Freed regions that the allocator collects before it gives them back to the kernel: none. What it collects is still resident, and
/// whoever frees the last region of a batch, on a thread that serves perhaps, gives back what others freed.
const DECOMMIT_BATCH: usize = 1;
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

/// The pool of each engine.
pub(super) fn pool(config: &HostConfig, keep: Keep) -> PoolingAllocationConfig {
    let Room { instances, cores, memories, tables } = Room::of(config);
    let mut p = PoolingAllocationConfig::new();
    p.pagemap_scan(Enabled::Auto)
        .linear_memory_keep_resident(keep.memory)
        .table_keep_resident(keep.table)
        .async_stack_keep_resident(if let StackKeep::Top(bytes) = keep.stack { bytes } else { 0 })
        .max_unused_warm_slots(WARM_SLOTS.min(instances))
        .decommit_batch_size(DECOMMIT_BATCH)
        .total_component_instances(instances)
        .total_core_instances(cores)
        .total_memories(memories)
        .total_tables(tables)
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

/// How many of each kind one engine's pool has room for; of stacks as many as of instances. However few the instances, the largest
/// component finds room: otherwise it could never run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Room {
    instances: u32,
    cores: u32,
    memories: u32,
    tables: u32,
}

impl Room {
    pub(super) fn of(config: &HostConfig) -> Room {
        let instances = config.instances().max(1);
        Room {
            instances,
            cores: instances.saturating_mul(CORE_INSTANCES_PER_SLOT).max(MAX_CORE_INSTANCES),
            memories: instances.max(MAX_MEMORIES),
            tables: instances.saturating_mul(TABLES_PER_SLOT).max(MAX_TABLES),
        }
    }

    /// What the pools hold, one per engine, and how many places for instances that come from no pool are taken, per engine.
    pub(super) fn load(&self, pools: impl Iterator<Item = PoolingAllocatorMetrics>, places: impl Iterator<Item = u64>) -> PoolLoad {
        pools.fold(PoolLoad { instances: places.max().unwrap_or(0), ..PoolLoad::default() }, |load, pool| {
            let kept =
                [pool.unused_memory_bytes_resident(), pool.unused_table_bytes_resident(), pool.unused_stack_bytes_resident().unwrap_or(0)];
            PoolLoad {
                instances: load.instances.max(self.taken(&pool)),
                kept_bytes: load.kept_bytes + kept.map(|bytes| bytes as u64).iter().sum::<u64>(),
            }
        })
    }

    /// Instances that there is room for.
    pub(super) fn instances(&self) -> u32 {
        self.instances
    }

    /// How full a pool is, in instances: of whatever it has the least left.
    fn taken(&self, pool: &PoolingAllocatorMetrics) -> u64 {
        let kinds = [
            (pool.component_instances(), self.instances),
            (pool.core_instances(), self.cores),
            (pool.memories() as u64, self.memories),
            (pool.tables() as u64, self.tables),
            (pool.stacks() as u64, self.instances),
        ];
        let in_instances = |(taken, room): (u64, u32)| (taken * u64::from(self.instances)).div_ceil(u64::from(room));
        kinds.into_iter().map(in_instances).max().unwrap_or(0)
    }
}

/// What the pools of all engines hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct PoolLoad {
    /// Instances in the fuller engine; more where its memories, tables, stacks or core instances are scarcer.
    pub(crate) instances: u64,
    /// Memory that unused slots keep, bytes; stacks that are kept as they are not counted.
    pub(crate) kept_bytes: u64,
}

/// What a slot of one engine keeps resident while no instance uses it, bytes.
///
/// After a peak every slot that was used keeps its share, and nothing gives it back; so the shares are sized for all slots: the sum of
/// slots x (memory + tables + stack) over the engines is at most `keep_resident_bytes`, by default a quarter of the memory budget. With the
/// defaults, some 2,300 slots in each of two engines, a budget of 36 GiB keeps 756 KiB of memory and 128 KiB of tables, and stacks as they
/// are; 18 GiB keep 336 KiB and 104 KiB, and stacks as they are, of 0.3 272 KiB, 104 KiB and 64 KiB of stacks; 12 GiB keep 484 KiB and 192 KiB of
/// tables and stack; 1 GiB keeps 36 KiB and 20 KiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Keep {
    memory: usize,
    table: usize,
    pub(super) stack: StackKeep,
}

/// What becomes of a stack that isn't used any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StackKeep {
    /// It stays as it is, for which the bound has room however deep guests went: a tenth of a small request's time.
    Whole,
    /// So many bytes of it are zeroed and stay, the rest is given back.
    Top(usize),
}

/// Most that becomes resident of a stack, bytes.
fn whole(config: &HostConfig) -> usize {
    DEPTHS_PER_STACK * config.stack_bytes + HOST_FRAMES_BYTES
}

impl Keep {
    /// For the engine of a flavor. Where there is room for the stacks of one engine only, they are those of WASI 0.2: what is built for it
    /// is most of what there is.
    pub(super) fn of(config: &HostConfig, flavor: Flavor) -> Keep {
        let engines: u64 = if cfg!(feature = "wasi-p3") && config.wasi_p3 { 2 } else { 1 };
        let Room { instances, memories, tables, .. } = Room::of(config);
        let slots = u64::from(instances.max(memories).max(tables / TABLES_PER_SLOT)) * engines;
        let bytes = config.keep_resident_bytes();
        let stacks = u64::from(instances) * whole(config) as u64;
        let fit = engines.min((bytes - bytes / STACKS_LEAVE) / stacks);
        let share = usize::try_from((bytes - fit * stacks) / slots).unwrap_or(usize::MAX);
        let pages = |bytes: usize| bytes & !4095;
        let stack = match (flavor, fit) {
            (Flavor::P2, 1..) | (Flavor::P3, 2..) => StackKeep::Whole,
            _ => StackKeep::Top(pages(STACK_KEEP_RESIDENT_BYTES.min(share / 4))),
        };
        let top = if let StackKeep::Top(bytes) = stack { bytes } else { 0 };
        let table = pages(TABLE_KEEP_RESIDENT_BYTES.min(share / 8));
        let memory = pages(KEEP_RESIDENT_BYTES.min(share - top - table * TABLES_PER_SLOT as usize));
        Keep { memory, table, stack }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use http::StatusCode;
    use wasmtime::Store;
    use wasmtime::component::{Component, Linker};

    use super::*;
    use crate::engine::Engines;
    use crate::invoke::failure::Failure;

    /// A component that instantiates a core module so often; the module has this one section, or none. The binary format is that of the
    /// component model's Binary.md.
    fn component(section: &[u8], instances: u8) -> Vec<u8> {
        let module = [b"\0asm\x01\0\0\0", section].concat();
        let instantiations = [&[instances][..], &[0, 0, 0].repeat(instances.into())].concat();
        let part = |id: u8, content: &[u8]| [&[id, (content.len() & 0x7f) as u8 | 0x80, (content.len() >> 7) as u8], content].concat();
        [b"\0asm\x0d\0\x01\0".to_vec(), part(1, &module), part(2, &instantiations)].concat()
    }

    const MEMORY: &[u8] = &[5, 3, 1, 0, 0];
    const TABLE: &[u8] = &[4, 4, 1, 0x70, 0, 0];

    #[tokio::test]
    async fn l31_whatever_the_pool_has_no_more_of_the_request_gets_503_and_the_settings_name() {
        let cases: [(&str, u32, &[u8], u8); 4] =
            [("component instances", 1, &[], 1), ("core instances", 4, &[], 100), ("memory", 4, MEMORY, 20), ("tables", 4, TABLE, 40)];
        for (kind, instances, section, of_each) in cases {
            let config = HostConfig { instances: Some(instances), ..HostConfig::default() };
            let engines = Engines::new(&config, Arc::default()).unwrap();
            let engine = &engines.get(Flavor::P2).unwrap().engine;
            let component = Component::from_binary(engine, &component(section, of_each)).unwrap();
            let start = async || {
                let mut store = Store::new(engine, ());
                store.set_epoch_deadline(u64::MAX / 2);
                Linker::new(engine).instantiate_async(&mut store, &component).await.map(|_instance| store)
            };
            let first = start().await.unwrap();
            let used = engines.load().instances;
            assert!(used >= 1 && used <= instances.into(), "{kind}: {used} of {instances}");
            let failure = Failure::of(&start().await.map(drop).unwrap_err(), None, Duration::ZERO);
            let Failure::NoInstance(what) = &failure else { panic!("{kind}: {failure:?}") };
            assert!(what.contains(kind), "{kind}: {what}");
            assert!(failure.to_string().contains("(instances)"), "{failure}");
            assert_eq!(failure.status(), StatusCode::SERVICE_UNAVAILABLE);
            drop(first);
            assert_eq!(engines.load().instances, 0, "{kind}");
            assert!(start().await.is_ok(), "{kind}: the pool has it again");
        }
    }

    fn engines(config: &HostConfig) -> &'static [Flavor] {
        if cfg!(feature = "wasi-p3") && config.wasi_p3 { &[Flavor::P2, Flavor::P3] } else { &[Flavor::P2] }
    }

    #[test]
    fn l31_what_unused_slots_keep_is_at_most_a_quarter_of_the_budget_or_what_is_configured() {
        for (budget, slots) in
            [(64 << 20, 1000), (1 << 30, 1000), (12 << 30, 1000), (18 << 30, 1000), (64 << 30, 1000), (1 << 30, 1), (0, 10_000)]
        {
            for kept in [None, Some(0), Some(64 << 20), Some(budget)] {
                let config = HostConfig { memory_budget_bytes: budget, slots, keep_resident_bytes: kept, ..HostConfig::default() };
                let mut all = 0;
                for flavor in engines(&config) {
                    let keep = Keep::of(&config, *flavor);
                    let stack = match keep.stack {
                        StackKeep::Whole => whole(&config),
                        StackKeep::Top(bytes) => bytes,
                    };
                    all += (keep.memory + 2 * keep.table + stack) as u64 * u64::from(config.instances());
                    assert!(keep.memory <= 2 << 20, "{budget} {slots} {kept:?}: {}", keep.memory);
                    let plain = kept.is_none() && budget >= 1 << 30;
                    assert!(!plain || keep.memory >= 24 << 10, "{budget} {slots}: {}", keep.memory);
                }
                assert!(all <= kept.unwrap_or(budget / 4), "{budget} {slots} {kept:?}: {all}");
            }
        }
    }

    #[test]
    fn stacks_stay_as_they_are_where_two_thirds_of_what_may_be_kept_have_room_for_all_of_an_engine() {
        let config = HostConfig { instances: Some(100), ..HostConfig::default() };
        let stacks = (100 * (2 * 512 + 128)) << 10;
        let zeroed = StackKeep::Top(STACK_KEEP_RESIDENT_BYTES);
        let keep = |bytes, flavor| Keep::of(&HostConfig { keep_resident_bytes: Some(bytes), ..config.clone() }, flavor).stack;
        let (one, all) = (stacks + stacks / 2, engines(&config).len() as u64 * (stacks + stacks / 2));
        assert_eq!(keep(one - 3, Flavor::P2), zeroed);
        assert_eq!(keep(one + 3, Flavor::P2), StackKeep::Whole);
        assert_eq!(keep(all - 3, Flavor::P3), zeroed, "those of WASI 0.2 come first");
        for flavor in engines(&config) {
            assert_eq!(keep(all + 3, *flavor), StackKeep::Whole);
        }
    }

    #[test]
    fn l31_however_few_instances_there_are_the_largest_component_finds_room() {
        let room = Room::of(&HostConfig { instances: Some(1), ..HostConfig::default() });
        assert_eq!(room, Room { instances: 1, cores: MAX_CORE_INSTANCES, memories: MAX_MEMORIES, tables: MAX_TABLES });
    }
}
