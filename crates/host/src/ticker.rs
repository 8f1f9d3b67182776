//! The tick: a thread moves the epoch of all engines on while guests run, and sleeps while none does.
//!
//! A tick that comes late makes the slice of every guest that computes longer. Where all cores are busy the system wakes a thread like any
//! other only when a slice of its own making is over, milliseconds later, however little it did before: one tick in a hundred was 3 to
//! 9 ms late (measured). So the thread asks for real time, at the least priority of it; it runs some microseconds a tick.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::{JoinHandle, Thread};
use std::time::Duration;

use thread_priority::{RealtimeThreadSchedulePolicy, ThreadPriority, ThreadSchedulePolicy};

/// Ticks without any guest after which the thread sleeps: a tenth of a second with the default tick, so that what comes now and then
/// doesn't pay for waking it each time.
const QUIET_TICKS: u32 = 100;
/// Counters of guests that run, so that threads don't share a cache line.
const SHARDS: usize = 64;
/// In a shard the lower half counts the guests that run now, the upper half all that ever did.
const ONE_STARTED: u64 = (1 << 32) | 1;
const RUNNING: u64 = 0xffff_ffff;

/// Whether guests run, and the thread that is to know.
pub(crate) struct Pulse {
    shards: [Shard; SHARDS],
    asleep: AtomicBool,
    thread: OnceLock<Thread>,
}

#[repr(align(128))]
#[derive(Default)]
struct Shard(AtomicU64);

impl Default for Pulse {
    fn default() -> Pulse {
        Pulse { shards: std::array::from_fn(|_| Shard::default()), asleep: AtomicBool::new(false), thread: OnceLock::new() }
    }
}

impl Pulse {
    fn counts(&self) -> [u64; SHARDS] {
        std::array::from_fn(|n| self.shards[n].0.load(Ordering::SeqCst))
    }

    /// Falls asleep if nothing ran since `before` was counted, until somebody starts to.
    ///
    /// No guest is missed: it is counted before it looks whether the thread sleeps, and the thread says that it sleeps before it
    /// counts (all sequentially consistent), so either the count differs or the thread is woken.
    fn sleep_unless_busy(&self, before: &[u64; SHARDS], stopped: &AtomicBool) {
        if before.iter().any(|count| count & RUNNING != 0) || self.counts() != *before {
            return;
        }
        self.asleep.store(true, Ordering::SeqCst);
        if self.counts() != *before {
            self.asleep.store(false, Ordering::SeqCst);
            return;
        }
        while self.asleep.load(Ordering::SeqCst) && !stopped.load(Ordering::SeqCst) {
            std::thread::park();
        }
    }

    fn wake(&self) {
        self.asleep.store(false, Ordering::SeqCst);
        if let Some(thread) = self.thread.get() {
            thread.unpark();
        }
    }
}

/// A guest runs on this thread, as long as this lives.
pub(crate) struct Ticking<'a>(&'a Shard);

impl<'a> Ticking<'a> {
    pub(crate) fn new(pulse: &'a Pulse) -> Ticking<'a> {
        let shard = &pulse.shards[shard()];
        shard.0.fetch_add(ONE_STARTED, Ordering::SeqCst);
        if pulse.asleep.load(Ordering::SeqCst) {
            pulse.wake();
        }
        Ticking(shard)
    }
}

impl Drop for Ticking<'_> {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// The shard of this thread: each takes the next one.
fn shard() -> usize {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    thread_local! {
        static MINE: usize = NEXT.fetch_add(1, Ordering::Relaxed) as usize % SHARDS;
    }
    MINE.with(|mine| *mine)
}

/// Moves the epoch of all engines on, each tick, on a thread of its own so that no load delays it.
pub(crate) struct Ticker {
    stop: Arc<AtomicBool>,
    pulse: Arc<Pulse>,
    thread: Option<JoinHandle<()>>,
}

impl Ticker {
    /// Calls `tick_all`, which moves the epoch of each engine on, every `tick` while guests run.
    pub(crate) fn start(tick_all: impl Fn() + Send + 'static, tick: Duration, pulse: Arc<Pulse>) -> Ticker {
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, beat) = (stop.clone(), pulse.clone());
        let run = move || {
            if let Err(error) = be_prompt() {
                tracing::info!(
                    ?error,
                    "no real time for the ticking thread, so slices are longer where all cores are busy: it wants RLIMIT_RTPRIO of 1 or CAP_SYS_NICE"
                );
            }
            while !stopped.load(Ordering::SeqCst) {
                let before = beat.counts();
                for _ in 0..QUIET_TICKS {
                    std::thread::park_timeout(tick);
                    tick_all();
                    if stopped.load(Ordering::SeqCst) {
                        return;
                    }
                }
                beat.sleep_unless_busy(&before, &stopped);
            }
        };
        let thread = std::thread::Builder::new().name("berth-epoch".into()).spawn(run);
        let thread = thread.expect("a thread at start: without one the process is of no use");
        let _ = pulse.thread.set(thread.thread().clone());
        Ticker { stop, pulse, thread: Some(thread) }
    }
}

/// Has the system run this thread as soon as its time comes, before all that isn't real time. Fails where the process may not ask for it.
fn be_prompt() -> Result<(), thread_priority::Error> {
    let policy = ThreadSchedulePolicy::Realtime(RealtimeThreadSchedulePolicy::Fifo);
    thread_priority::set_thread_priority_and_policy(thread_priority::thread_native_id(), ThreadPriority::Min, policy)
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        self.pulse.wake();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    use wasmtime::Engine;

    fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
        let start = Instant::now();
        while !holds() {
            assert!(start.elapsed() < Duration::from_secs(20), "{what}");
            std::thread::yield_now();
        }
    }

    #[test]
    fn l30_ticks_come_while_a_guest_runs_and_stop_while_none_does() {
        let mut config = wasmtime::Config::new();
        config.epoch_interruption(true);
        let engine = Engine::new(&config).unwrap();
        // (module (func (export "spin") (loop br 0)))
        let spin = b"\0asm\x01\0\0\0\x01\x04\x01\x60\0\0\x03\x02\x01\0\x07\x08\x01\x04spin\0\0\x0a\x09\x01\x07\0\x03\x40\x0c\0\x0b\x0b";
        let module = wasmtime::Module::new(&engine, spin).unwrap();
        let pulse = Arc::new(Pulse::default());
        let ticked = engine.clone();
        let ticker = Ticker::start(move || ticked.increment_epoch(), Duration::from_micros(100), pulse.clone());
        for _ in 0..3 {
            eventually("the thread sleeps", || pulse.asleep.load(Ordering::SeqCst));
            let _ticking = Ticking::new(&pulse);
            let mut store = wasmtime::Store::new(&engine, ());
            store.set_epoch_deadline(QUIET_TICKS.into());
            let spin = wasmtime::Instance::new(&mut store, &module, &[]).unwrap().get_func(&mut store, "spin").unwrap();
            // Ends only if ticks go on for longer than the quiet that would stop them.
            assert!(spin.call(&mut store, &[], &mut []).is_err());
        }
        drop(ticker);
    }

    #[test]
    fn l30_a_thread_that_asked_for_real_time_has_it_or_is_told_why_not() {
        let asked = std::thread::spawn(|| (be_prompt(), thread_priority::thread_schedule_policy()));
        let (asked, policy) = asked.join().unwrap();
        assert_eq!(asked.is_ok(), matches!(policy, Ok(ThreadSchedulePolicy::Realtime(_))), "{asked:?} {policy:?}");
    }

    #[test]
    fn no_guest_is_missed_by_a_thread_that_falls_asleep() {
        let pulse = Arc::new(Pulse::default());
        let ticker = Ticker::start(|| {}, Duration::from_nanos(1), pulse.clone());
        for _ in 0..300 {
            eventually("the thread sleeps", || pulse.asleep.load(Ordering::SeqCst));
            let ticking = Ticking::new(&pulse);
            assert!(!pulse.asleep.load(Ordering::SeqCst), "awake while a guest runs");
            drop(ticking);
        }
        drop(ticker);
    }
}
