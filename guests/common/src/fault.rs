//! What a hostile or broken guest does.

use std::cell::Cell;
use std::hint::black_box;
use std::time::{Duration, Instant};

const MIB: usize = 1 << 20;
const PAGE: usize = 64 << 10;

/// Computes without calling the host; for ever if no time is given.
pub fn spin(time: Option<Duration>) {
    let started = Instant::now();
    loop {
        for n in 0..1_000_000_u32 {
            black_box(n);
        }
        if time.is_some_and(|time| started.elapsed() >= time) {
            return;
        }
    }
}

/// Executes `unreachable`.
pub fn trap() -> ! {
    #[cfg(target_arch = "wasm32")]
    core::arch::wasm32::unreachable();
    #[cfg(not(target_arch = "wasm32"))]
    std::process::abort()
}

/// Calls itself until the stack ends. The sum after the call keeps it from becoming a loop.
#[expect(unconditional_recursion, reason = "that is the fault")]
pub fn recurse(depth: u64) -> u64 {
    black_box(recurse(black_box(depth + 1))) + depth
}

/// Memory that one call holds.
#[derive(Default)]
pub struct Hoard(Vec<Vec<u8>>);

impl Hoard {
    /// Grows by `mib` MiB and touches every page. If memory is refused, dies as Rust programs do, or, if `soft`, says how
    /// many MiB it got.
    pub fn grow(&mut self, mib: u64, soft: bool) -> Result<(), u64> {
        for grown in 0..mib {
            let mut block = Vec::new();
            if soft {
                block.try_reserve_exact(MIB).map_err(|_| grown)?;
            }
            block.resize(MIB, 0);
            for page in block.chunks_mut(PAGE) {
                page[0] = black_box(1);
            }
            self.0.push(block);
        }
        Ok(())
    }

    /// Keeps the memory for as long as the instance lives.
    pub fn leak(self) {
        std::mem::forget(self);
    }
}

thread_local! {
    static CALLS: Cell<u64> = const { Cell::new(0) };
    static IN_FLIGHT: Cell<u64> = const { Cell::new(0) };
}

/// How many calls this instance had, this one included: 1 always, unless instances are reused.
pub fn count() -> u64 {
    CALLS.set(CALLS.get() + 1);
    CALLS.get()
}

/// One call in flight on this instance, from `enter` until dropped.
pub struct InFlight {
    seen: u64,
}

impl InFlight {
    /// Counts this call in.
    #[must_use]
    pub fn enter() -> Self {
        IN_FLIGHT.set(IN_FLIGHT.get() + 1);
        Self { seen: IN_FLIGHT.get() }
    }

    /// The most calls in flight at this call's begin and now, itself included.
    #[must_use]
    pub fn overlap(&self) -> u64 {
        self.seen.max(IN_FLIGHT.get())
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        IN_FLIGHT.set(IN_FLIGHT.get() - 1);
    }
}
