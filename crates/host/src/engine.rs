//! The two engines (D11): WASI 0.2 runs on one without concurrency support, which saves a fifth of a request's CPU;
//! anything that uses 0.3 runs on one with it. Each has one linker, shared by all workloads. Beside each is one for code that was compiled in
//! haste ([`tier`]).

mod pool;
mod tier;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use wasmtime::component::Linker;
use wasmtime::{Config, Engine, InstanceAllocationStrategy, WasmBacktraceDetails};

use self::pool::{Keep, Room, StackKeep};
pub(crate) use self::pool::{PoolLoad, largest_table};
use self::tier::Tiers;
pub(crate) use self::tier::{Places, Tier};
use crate::bridge;
use crate::code::Written;
use crate::config::HostConfig;
use crate::config_store;
use crate::egress;
use crate::guest::Guest;
use crate::later::Later;
use crate::member::{self, Seat};
use crate::ticker::{Pulse, Ticker};
use crate::volumes;

/// The engines of a host, and what ticks them.
pub(crate) struct Engines {
    p2: EngineSet,
    p3: Option<Arc<Coming>>,
    room: Room,
    _ticker: Ticker,
}

/// The engine of WASI 0.3, made when a component first needs it or a while after the start: its pool takes some milliseconds, in which
/// little else gets memory from the system. Or why it can't be made.
pub(crate) type Coming = Later<Result<EngineSet, String>>;

/// What to do where an engine can't be made.
pub(crate) const WAY_OUT: &str = "instances reserve address space, so a machine that bounds it may need fewer of them (instances, slots)";

/// An engine and its linkers.
#[derive(Clone)]
pub(crate) struct EngineSet {
    pub(crate) engine: Engine,
    #[cfg(feature = "wasi-p3")]
    flavor: Flavor,
    /// For components by themselves.
    linker: Arc<Linker<Guest>>,
    /// For units of several members, by how many they have room for: powers of two, made when the first such unit comes.
    larger: Arc<Mutex<BTreeMap<usize, Arc<Linker<Guest>>>>>,
    /// None of an engine for baseline code.
    tiers: Option<Arc<Tiers>>,
    /// For the instances of an engine without a pool.
    places: Option<Arc<Places>>,
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
    /// Ticks the engines while `pulse` says that guests run. The engine of WASI 0.2 is there at once, the other is to come.
    pub(crate) fn new(config: &HostConfig, pulse: Arc<Pulse>) -> wasmtime::Result<Engines> {
        let p2 = EngineSet::new(config, Flavor::P2)?;
        let wanted = cfg!(feature = "wasi-p3") && config.wasi_p3;
        let p3 = wanted.then(|| Arc::new(coming(config.clone())));
        let (first, second) = (p2.clone(), p3.clone());
        let tick = move || {
            first.tick();
            if let Some(Ok(set)) = second.as_ref().and_then(|p3| p3.made()) {
                set.tick();
            }
        };
        Ok(Engines { p2, p3, room: Room::of(config), _ticker: Ticker::start(tick, config.tick, pulse) })
    }

    /// What the pools hold.
    pub(crate) fn load(&self) -> PoolLoad {
        let p3 = self.p3.as_ref().and_then(|p3| p3.made()?.as_ref().ok());
        let sets = || [Some(&self.p2), p3].into_iter().flatten();
        let places = sets().filter_map(|set| set.baseline()?.places());
        self.room.load(sets().filter_map(|set| set.engine.pooling_allocator_metrics()), places.map(|places| places.taken()))
    }

    /// The engine of a flavor; none for 0.3 where that is off or can't be made. Blocks until it is made.
    pub(crate) fn get(&self, flavor: Flavor) -> Option<&EngineSet> {
        match flavor {
            Flavor::P2 => Some(&self.p2),
            Flavor::P3 => self.p3.as_ref()?.get().as_ref().ok(),
        }
    }

    /// The engine of WASI 0.2, and the other where there is one, to be waited for by who needs it.
    pub(crate) fn handles(&self) -> (EngineSet, Option<Arc<Coming>>) {
        (self.p2.clone(), self.p3.clone())
    }
}

fn coming(config: HostConfig) -> Coming {
    Later::new(move || {
        EngineSet::new(&config, Flavor::P3).map_err(|error| {
            let error = format!("the engine for WASI 0.3 can't be made: {error:#}; {WAY_OUT}");
            tracing::error!("{error}; what uses 0.3 doesn't run until berth is started anew");
            error
        })
    })
}

impl EngineSet {
    fn new(config: &HostConfig, flavor: Flavor) -> wasmtime::Result<EngineSet> {
        let mut pooled = engine_config(config, flavor);
        pooled.allocation_strategy(InstanceAllocationStrategy::Pooling(pool::pool(config, Keep::of(config, flavor))));
        let tiers = Some(Arc::new(Tiers::new(config, flavor)));
        Ok(EngineSet { tiers, ..EngineSet::linked(Engine::new(&pooled)?, flavor)? })
    }

    #[cfg_attr(not(feature = "wasi-p3"), expect(unused_variables, reason = "without 0.3 all are of one flavor"))]
    fn linked(engine: Engine, flavor: Flavor) -> wasmtime::Result<EngineSet> {
        let mut linker = Linker::new(&engine);
        link_p2(&mut linker)?;
        #[cfg(feature = "wasi-p3")]
        if flavor == Flavor::P3 {
            link_p3(&mut linker)?;
        }
        Ok(EngineSet {
            engine,
            #[cfg(feature = "wasi-p3")]
            flavor,
            linker: Arc::new(linker),
            larger: Arc::default(),
            tiers: None,
            places: None,
        })
    }

    /// The engine for code of this tier. Blocks until it is made; an error where it can't be.
    pub(crate) fn tier(&self, tier: Tier) -> Result<&EngineSet, String> {
        match (tier, &self.tiers) {
            (Tier::Baseline, Some(tiers)) => tiers.baseline(),
            _ => Ok(self),
        }
    }

    /// Places for instances, where they come from no pool.
    pub(crate) fn places(&self) -> Option<&Arc<Places>> {
        self.places.as_ref()
    }

    /// The engine for baseline code, if it is made.
    pub(crate) fn baseline(&self) -> Option<&EngineSet> {
        self.tiers.as_ref()?.made()
    }

    /// The code of a component for this engine: made by this thread alone, however long that takes.
    pub(crate) fn optimize(&self, component: &[u8]) -> wasmtime::Result<Written> {
        Written::compile(self.tiers.as_ref().map_or(Ok(&self.engine), |tiers| tiers.alone())?, component)
    }

    fn tick(&self) {
        self.engine.increment_epoch();
        // Nothing runs on an engine that isn't made.
        if let Some(baseline) = self.baseline() {
            baseline.engine.increment_epoch();
        }
    }

    /// The linker for a unit of so many members, at most [`berth_link::MAX_MEMBERS`].
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

/// What code for this flavor is compiled for; instances are allocated as they come.
fn engine_config(config: &HostConfig, flavor: Flavor) -> Config {
    let mut c = Config::new();
    c.wasm_component_model(true);
    c.epoch_interruption(true);
    c.memory_init_cow(true);
    stack(&mut c, config.stack_bytes, 1);
    let keep = Keep::of(config, flavor);
    // No guest can read what another left on a stack: what isn't written isn't read. Zeroing also gives back what was touched.
    c.async_stack_zeroing(keep.stack != StackKeep::Whole);
    c.wasm_backtrace_details(WasmBacktraceDetails::Enable);
    c.concurrency_support(flavor == Flavor::P3);
    #[cfg(feature = "wasi-p3")]
    if flavor == Flavor::P3 {
        c.wasm_component_model_async(true);
        c.wasm_component_model_more_async_builtins(true);
    }
    c
}

/// Gives guests a stack of so many bytes, and fibers room for so many times that much: a host function that is called from deep down may call
/// the guest, for which the engine counts anew.
fn stack(c: &mut Config, bytes: usize, depths: usize) {
    c.max_wasm_stack(bytes);
    // Host functions run on the guest's stack too; what Wasm may not use is theirs.
    c.async_stack_size(bytes * depths + (1536 << 10));
}

fn link_p2(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    wasmtime_wasi::p2::add_to_linker_async(linker)?;
    wasmtime_wasi_http::p2::add_only_http_to_linker_async(linker)?;
    config_store::link(linker, Seat::ROOT)?;
    // Name lookups are granted name by name, sockets and files are counted, which the stock implementation can't do.
    linker.allow_shadowing(true);
    egress::names::link_p2(linker, Seat::ROOT)?;
    egress::sockets::link_p2(linker, Seat::ROOT)?;
    volumes::link_p2(linker, Seat::ROOT)?;
    bridge::link::link_p2(linker)?;
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
    volumes::link_p3(linker, Seat::ROOT)?;
    member::link_calls(linker)?;
    linker.allow_shadowing(false);
    Ok(())
}
