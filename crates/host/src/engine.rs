//! The two engines (D11): WASI 0.2 runs on one without concurrency support, which saves a fifth of a request's CPU;
//! anything that uses 0.3 runs on one with it. Each has one linker, shared by all workloads.

mod pool;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock};
use std::thread::JoinHandle;

use wasmtime::component::Linker;
use wasmtime::{Config, Engine, InstanceAllocationStrategy, WasmBacktraceDetails};

use self::pool::Room;
pub(crate) use self::pool::{PoolLoad, largest_table};
use crate::bridge;
use crate::config::HostConfig;
use crate::config_store;
use crate::egress;
use crate::guest::Guest;
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

/// An engine that is made on a thread of its own while the host starts, so that nothing that doesn't need it waits for it: its pool
/// takes some milliseconds.
pub(crate) struct Coming {
    thread: Mutex<Option<JoinHandle<wasmtime::Result<EngineSet>>>>,
    set: OnceLock<wasmtime::Result<EngineSet>>,
}

impl Coming {
    fn start(config: HostConfig, flavor: Flavor) -> wasmtime::Result<Coming> {
        let make = move || EngineSet::new(&config, flavor);
        let thread = std::thread::Builder::new().name("berth-engine".into()).spawn(make)?;
        Ok(Coming { thread: Mutex::new(Some(thread)), set: OnceLock::new() })
    }

    /// The engine, or why there is none. Blocks until it is made.
    fn wait(&self) -> &wasmtime::Result<EngineSet> {
        self.set.get_or_init(|| {
            let thread = self.thread.lock().expect("no panic while held").take().expect("it is waited for once");
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// The engine. Blocks until it is made; none if that failed, which the host's start tells.
    pub(crate) fn set(&self) -> Option<&EngineSet> {
        self.wait().as_ref().ok()
    }
}

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
    /// Ticks the engines while `pulse` says that guests run. The engine of WASI 0.2 is there at once, the other is coming.
    pub(crate) fn new(config: &HostConfig, pulse: Arc<Pulse>) -> wasmtime::Result<Engines> {
        let p2 = EngineSet::new(config, Flavor::P2)?;
        let wanted = cfg!(feature = "wasi-p3") && config.wasi_p3;
        let p3 = wanted.then(|| Coming::start(config.clone(), Flavor::P3)).transpose()?.map(Arc::new);
        let (first, second) = (p2.engine.clone(), p3.clone());
        let engines = move || [Some(first), second.and_then(|p3| Some(p3.set()?.engine.clone()))].into_iter().flatten().collect();
        Ok(Engines { p2, p3, room: Room::of(config), _ticker: Ticker::start(engines, config.tick, pulse) })
    }

    /// What the pools hold.
    pub(crate) fn load(&self) -> PoolLoad {
        let sets = [Some(&self.p2), self.get(Flavor::P3)].into_iter().flatten();
        self.room.load(sets.filter_map(|set| set.engine.pooling_allocator_metrics()))
    }

    /// Blocks until both are made. Says why one couldn't be.
    pub(crate) fn complete(&self) -> Result<(), String> {
        let failed = self.p3.as_ref().and_then(|p3| p3.wait().as_ref().err());
        failed.map_or(Ok(()), |error| Err(format!("{error:#}")))
    }

    /// The engine of a flavor; none for 0.3 where that is off. Blocks if it isn't made yet.
    pub(crate) fn get(&self, flavor: Flavor) -> Option<&EngineSet> {
        match flavor {
            Flavor::P2 => Some(&self.p2),
            Flavor::P3 => self.p3.as_ref()?.set(),
        }
    }

    /// The engine of WASI 0.2, and the other where there is one, to be waited for by who needs it.
    pub(crate) fn handles(&self) -> (Engine, Option<Arc<Coming>>) {
        (self.p2.engine.clone(), self.p3.clone())
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
        Ok(EngineSet {
            engine,
            #[cfg(feature = "wasi-p3")]
            flavor,
            linker: Arc::new(linker),
            larger: Arc::default(),
        })
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
    c.allocation_strategy(InstanceAllocationStrategy::Pooling(pool::pool(config)));
    c
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
