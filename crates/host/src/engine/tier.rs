//! How well code is compiled: baseline code is there in half the time, optimized code answers faster.
//!
//! Baseline code is compiled without optimizations, and with registers allocated in a single pass, which keeps nearly every value on the stack:
//! frames are 7 times as large on average, and Python's interpreter, which gets by with 12 KiB of stack, needs 192 (measured). So it
//! runs on an engine of its own, whose stacks are larger. Its instances come from no pool, as that takes longer to make than most components to
//! compile; there are as many of them as a pool would have.

use std::sync::Arc;

use tokio::sync::Semaphore;
use wasmtime::{Config, Engine, OptLevel, RegallocAlgorithm};

use super::pool::Room;
use super::{EngineSet, Flavor, engine_config, stack};
use crate::config::HostConfig;
use crate::later::Later;

/// How much larger the stacks for baseline code are.
const STACKS: usize = 16;

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
            stack(&mut c, first.stack_bytes * STACKS);
            let set = Engine::new(&c).and_then(|engine| EngineSet::linked(engine, flavor));
            let places = Some(Arc::new(Semaphore::new(Room::of(&first).instances() as usize)));
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

    pub(super) fn optimize(&self, component: &[u8]) -> wasmtime::Result<Vec<u8>> {
        let engine = self.alone.get().as_ref().map_err(|error| wasmtime::format_err!("{error:#}"))?;
        engine.precompile_component(component)
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
