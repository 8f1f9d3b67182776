//! How well code is compiled: baseline code is there in half the time, optimized code answers faster.
//!
//! Baseline code is compiled without optimizations, and with registers allocated in a single pass, which keeps nearly every value on the stack:
//! frames are 7 times as large on average, and Python's interpreter, which gets by with 12 KiB of stack, needs 192 (measured). So it
//! runs on an engine of its own, whose stacks are larger. Its instances come from no pool, as that takes longer to make than most components to
//! compile; what fits no pool is refused all the same, and there are no more of them than a pool would have.
//!
//! Allocating in a single pass is what Wasmtime 48 gives no security support for (`RegallocAlgorithm::SinglePass`), so a host does it only
//! where its owner asks for it.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use wasmtime::{Config, Engine, OptLevel, RegallocAlgorithm, ResourcesRequired};

use super::pool::{DEPTHS_PER_STACK, Room, TABLES_PER_SLOT};
use super::{EngineSet, Flavor, engine_config, stack};
use crate::config::HostConfig;
use crate::later::Later;
use crate::limiter::{MAX_MEMORIES, MAX_TABLES};

/// How much larger the stacks for baseline code are.
const STACKS: usize = 16;
/// The part of the memory budget that the stacks of one engine for baseline code may take: one in this many, of two such engines.
const STACKS_SHARE: u64 = 4;
/// The least places, however little memory there is: as many as a small host's requests at once.
const LEAST_PLACES: u32 = 16;

/// How well code is compiled. The lesser comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Tier {
    /// Soon there.
    Baseline,
    /// Fast.
    Optimized,
}

/// What an engine has beside it, each made when it is first asked for.
pub(super) struct Tiers {
    /// Runs baseline code.
    baseline: Later<Result<EngineSet, String>>,
    /// Compiles optimized code on the thread that asks, and runs nothing.
    alone: Later<wasmtime::Result<Engine>>,
}

impl Tiers {
    pub(super) fn new(config: &HostConfig, flavor: Flavor) -> Tiers {
        let (first, second) = (config.clone(), config.clone());
        let baseline = Later::new(move || {
            let mut c = engine_config(&first, flavor);
            quick(&mut c);
            stack(&mut c, first.stack_bytes * STACKS, DEPTHS_PER_STACK);
            let set = Engine::new(&c).and_then(|engine| EngineSet::linked(engine, flavor));
            let places = Some(Arc::new(Places::new(&first)));
            set.map(|set| EngineSet { places, ..set }).map_err(|error| format!("the engine for baseline code can't be made: {error:#}"))
        });
        let alone = Later::new(move || Engine::new(engine_config(&second, flavor).parallel_compilation(false)));
        Tiers { baseline, alone }
    }

    pub(super) fn baseline(&self) -> Result<&EngineSet, String> {
        self.baseline.get().as_ref().map_err(Clone::clone)
    }

    /// The same, if it is made.
    pub(super) fn made(&self) -> Option<&EngineSet> {
        self.baseline.made()?.as_ref().ok()
    }

    /// The engine that compiles optimized code on the thread that asks.
    pub(super) fn alone(&self) -> wasmtime::Result<&Engine> {
        self.alone.get().as_ref().map_err(|error| wasmtime::format_err!("{error:#}"))
    }
}

/// Places for instances that come from no pool: as many as a pool would have, and no more than have room for a stack each in a part of the
/// memory budget.
pub(crate) struct Places {
    free: Arc<Semaphore>,
    most: u32,
    /// What a pool would have.
    instances: u32,
}

impl Places {
    fn new(config: &HostConfig) -> Places {
        let stack = (config.stack_bytes * STACKS * DEPTHS_PER_STACK) as u64;
        let fit = u32::try_from(config.memory_budget_bytes / STACKS_SHARE / stack.max(1)).unwrap_or(u32::MAX).max(LEAST_PLACES);
        let instances = Room::of(config).instances();
        let most = instances.min(fit);
        Places { free: Arc::new(Semaphore::new(most as usize)), most, instances }
    }

    /// Places for one instance of what needs so much; all there are, where it needs more. None where too few are left.
    pub(crate) fn take(&self, needs: Option<&ResourcesRequired>) -> Option<OwnedSemaphorePermit> {
        let memories = needs.map_or(MAX_MEMORIES, |needs| needs.num_memories);
        let tables = needs.map_or(MAX_TABLES, |needs| needs.num_tables);
        let weight = memories.max(tables.div_ceil(TABLES_PER_SLOT)).max(1).min(self.most);
        self.free.clone().try_acquire_many_owned(weight).ok()
    }

    /// How many are taken, in instances of a pool.
    pub(super) fn taken(&self) -> u64 {
        let taken = u64::from(self.most).saturating_sub(self.free.available_permits() as u64);
        (taken * u64::from(self.instances)).div_ceil(u64::from(self.most))
    }
}

fn quick(c: &mut Config) {
    c.cranelift_opt_level(OptLevel::None).cranelift_regalloc_algorithm(RegallocAlgorithm::SinglePass);
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use wasmtime::{Instance, Module, Store};

    use super::*;
    use crate::engine::Engines;

    #[test]
    fn l31_what_has_many_memories_takes_many_places_and_stacks_have_room_in_the_memory_budget() {
        let config = |memory_budget_bytes| HostConfig { memory_budget_bytes, instances: Some(100), ..HostConfig::default() };
        let places = Places::new(&config(64 << 30));
        let of = |num_memories, num_tables| ResourcesRequired {
            num_memories,
            max_initial_memory_size: None,
            num_tables,
            max_initial_table_size: None,
        };
        let held: Vec<_> = [of(1, 1), of(32, 2), of(0, 9)].iter().map(|needs| places.take(Some(needs)).unwrap()).collect();
        assert_eq!(places.taken(), 1 + 32 + 5);
        assert!(places.take(Some(&of(63, 0))).is_none() && places.take(Some(&of(62, 0))).is_some());
        drop(held);
        assert!(places.taken() == 0 && places.take(Some(&of(1000, 0))).is_some(), "the largest can run, alone");
        let small = Places::new(&config(4 << 30));
        assert!(small.most < 100 && u64::from(small.most) * (16 << 20) <= 1 << 30);
        let _held = (0..small.most).map(|_| small.take(Some(&of(1, 1))).unwrap()).collect::<Vec<_>>();
        assert_eq!(small.taken(), 100, "as full as a pool whose 100 instances are taken");
        assert_eq!(Places::new(&config(1 << 20)).most, LEAST_PLACES);
    }

    /// A function that calls itself as often as it is told, after a long computation of which little is left in the end.
    fn recursion() -> String {
        let mut text = "(module (func $f (export \"f\") (param $n i64) (param $x i64) (result i64) (local $y i64)\n".to_owned();
        for step in 0..200 {
            let _ = writeln!(
                text,
                "(local.set $y (i64.mul (i64.xor (local.get $x) (i64.const {step})) (i64.add (local.get $y) (local.get $n))))"
            );
        }
        text + "(if (result i64) (i64.eqz (local.get $n)) (then (local.get $y)) (else (i64.add (local.get $y)
            (call $f (i64.sub (local.get $n) (i64.const 1)) (local.get $x)))))))"
    }

    /// Whether a guest of this engine can go so deep.
    async fn reaches(engine: &Engine, module: &Module, depth: i64) -> bool {
        let mut store = Store::new(engine, ());
        store.set_epoch_deadline(u64::MAX / 2);
        let instance = Instance::new_async(&mut store, module, &[]).await.unwrap();
        let f = instance.get_typed_func::<(i64, i64), i64>(&mut store, "f").unwrap();
        f.call_async(&mut store, (depth, 7)).await.is_ok()
    }

    #[tokio::test]
    async fn baseline_code_can_go_as_deep_as_optimized_code() {
        let engines = Engines::new(&HostConfig { slots: 1, ..HostConfig::default() }, Arc::default()).unwrap();
        let set = engines.get(Flavor::P2).unwrap();
        let bytes = wat::parse_str(recursion()).unwrap();
        let module = Module::new(&set.engine, &bytes).unwrap();
        let (mut deep, mut too_deep) = (1, 1_000_000);
        assert!(reaches(&set.engine, &module, deep).await && !reaches(&set.engine, &module, too_deep).await);
        while deep + 1 < too_deep {
            let middle = i64::midpoint(deep, too_deep);
            if reaches(&set.engine, &module, middle).await { deep = middle } else { too_deep = middle }
        }
        let baseline = set.tier(Tier::Baseline).unwrap();
        let module = Module::new(&baseline.engine, &bytes).unwrap();
        assert!(reaches(&baseline.engine, &module, deep).await, "{deep}");
        assert!(!reaches(&baseline.engine, &module, 1_000_000).await, "it has an end too");
    }
}
