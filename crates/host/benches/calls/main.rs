//! What a call from one component of a workload to another costs, beside the two obvious ways of doing without Berth, and how long
//! a workload of eight components takes to prepare whose code the host has already.
//! `cargo bench -p berth-host --bench calls`, with `-- --quick` only to see that it runs.
//!
//! The same guests call each other in a loop by three ways: fused by Berth's host; composed by the library of `wac` and run by plain
//! Wasmtime; and run by plain Wasmtime apart, every call carried over by a host function that knows the types at run time only
//! (`component::Val`). The caller measures by its own monotonic clock, so HTTP and the making of instances are no part of it. It stands
//! here and not in `benches/`, for the engine is seen inside this crate only; of the crate it knows no more than anybody outside.

#![allow(clippy::print_stdout, reason = "a benchmark's table is its output")]
#![allow(clippy::unwrap_used, reason = "a benchmark that can't go on ends with the reason")]
#![allow(missing_docs, reason = "nobody else uses what is in here")]

mod apart;
mod fused;
mod peer;
mod preparing;

use std::time::Duration;

use fused::Fused;
use peer::{Peer, Settings};

/// What a call carries.
const CALLS: [&str; 4] = ["u32", "string", "list", "method"];
/// The path of the front that calls so often.
const ROUTE: &str = "/calls";
/// What a call of fused components may take, in calls of those composed by `wac`.
const RATIO_AT_MOST: f64 = 1.1;
/// How many times faster than a round trip over the host they are to be.
const FASTER_AT_LEAST: f64 = 100.0;

/// How much to measure.
#[derive(Clone, Copy)]
struct Effort {
    rounds: usize,
    /// How long the calls of one measurement take together, about.
    loops: Duration,
}

/// Who is measured.
enum Side {
    Fused(Fused),
    Plain(Box<Peer>),
}

impl Side {
    /// What the front answers.
    async fn ask(&self, path: &str) -> String {
        match self {
            Side::Fused(fused) => fused.ask(path).await,
            Side::Plain(peer) => peer.ask(path).await,
        }
    }

    /// Time of so many calls.
    async fn run(&self, what: &str, times: u64) -> Duration {
        let answer = self.ask(&format!("{ROUTE}?what={what}&n={times}")).await;
        let (nanoseconds, last) = answer.split_once(' ').unwrap();
        let expected = match what {
            "string" => 64,
            "list" => 64 << 10,
            // Counts on from 0, in an instance that is new.
            _ => times,
        };
        assert_eq!(last, expected.to_string(), "{what}");
        Duration::from_nanos(nanoseconds.parse().unwrap())
    }

    /// As many calls as take about so long.
    async fn times(&self, what: &str, about: Duration) -> u64 {
        let mut times = 1;
        loop {
            let took = self.run(what, times).await;
            if took * 4 >= about {
                return (times as f64 * about.as_secs_f64() / took.as_secs_f64()).ceil() as u64;
            }
            times *= 4;
        }
    }
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let quick = std::env::args().any(|word| word == "--quick");
    let effort = match quick {
        true => Effort { rounds: 1, loops: Duration::from_millis(2) },
        false => Effort { rounds: 7, loops: Duration::from_millis(200) },
    };
    let sides = [
        Side::Fused(Fused::start().await),
        Side::Plain(Box::new(Peer::composed(Settings::LIKE_BERTH))),
        Side::Plain(Box::new(Peer::composed(Settings::BARE))),
        Side::Plain(Box::new(Peer::apart(Settings::LIKE_BERTH))),
        Side::Plain(Box::new(Peer::apart(Settings::BARE))),
    ];
    println!(
        "{:<8} {:>10} {:>10} {:>22} {:>10} {:>8} {:>10} {:>8} {:>10} {:>8}",
        "call", "fused", "wac", "fused/wac", "wac, bare", "ratio", "Val", "times", "Val, bare", "times"
    );
    for what in CALLS {
        let found = compare(&sides, what, effort).await;
        println!("{}", line(what, &found));
    }
    println!("wanted: fused/wac at most {RATIO_AT_MOST}, Val at least {FASTER_AT_LEAST} times what fused takes");
    println!("bare: without epoch interruption, and stacks aren't zeroed");
    preparing::measure(if quick { 2 } else { 20 }).await;
}

/// Nanoseconds of one call, by side and round. Each round begins with another side.
async fn compare(sides: &[Side], what: &str, effort: Effort) -> Vec<Vec<f64>> {
    let mut times = Vec::new();
    for side in sides {
        times.push(side.times(what, effort.loops).await);
    }
    let mut found = vec![Vec::new(); sides.len()];
    for round in 0..effort.rounds {
        for at in (0..sides.len()).map(|at| (at + round) % sides.len()) {
            let took = sides[at].run(what, times[at]).await;
            found[at].push(took.as_secs_f64() * 1e9 / times[at] as f64);
        }
    }
    found
}

/// A row: medians, and medians of the rounds' ratios.
fn line(what: &str, found: &[Vec<f64>]) -> String {
    let [fused, wac, wac_bare, val, val_bare] = found else { panic!("there are five sides") };
    let ratios = |a: &[f64], b: &[f64]| -> Vec<f64> { a.iter().zip(b).map(|(a, b)| a / b).collect() };
    let over = ratios(fused, wac);
    let range = over.iter().fold((f64::MAX, f64::MIN), |(low, high), ratio| (low.min(*ratio), high.max(*ratio)));
    // A call takes few nanoseconds, of which `Duration` knows whole ones only.
    let time = |all: &[f64]| match median(all) {
        short if short < 100.0 => format!("{short:.2}ns"),
        long => format!("{:.1?}", Duration::from_nanos(long as u64)),
    };
    format!(
        "{what:<8} {:>10} {:>10} {:>22} {:>10} {:>8.2} {:>10} {:>8.0} {:>10} {:>8.0}",
        time(fused),
        time(wac),
        format!("{:.2} ({:.2} to {:.2})", median(&over), range.0, range.1),
        time(wac_bare),
        median(&ratios(fused, wac_bare)),
        time(val),
        median(&ratios(val, fused)),
        time(val_bare),
        median(&ratios(val_bare, fused)),
    )
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}
