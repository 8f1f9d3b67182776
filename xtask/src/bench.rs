//! `cargo xtask bench`: `berth up` side by side with `wasmtime serve`, and docs/benchmarks.md from what was measured.
//!
//! Each scenario is a module that starts both sides, asks the same of them in alternating rounds, and reports. It knows both programs
//! from outside only: command lines, HTTP, and /proc. What a run found is kept in `target/bench/SCENARIO.json`, and beside the page's
//! explanations without the single measurements. The page is made from these, so it may come from several runs, on several machines.

mod bodies;
mod chains;
mod client;
mod figures;
mod hello;
mod inner;
mod lab;
mod load;
mod machine;
mod manifest;
mod mixed;
mod neighbours;
mod outcome;
mod page;
mod process;
mod procfs;
mod replicas;
mod start;
mod tail;
mod workloads;
mod wrk;

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use tokio::signal::unix::{SignalKind, signal};

use self::lab::Lab;
use self::machine::Machine;
use self::outcome::{Outcome, Report};
use crate::workspace::Workspace;

/// If others use more of the machine than this part before a scenario begins, its figures are not to be trusted.
const QUIET: f64 = 0.05;

/// Measures berth (a release build) beside `wasmtime serve` of the engine's own version, in alternating rounds, and prints medians.
///
/// Needs a machine that does nothing else. The first run compiles both programs, which takes a quarter of an hour.
#[derive(Args)]
pub struct Options {
    /// Scenarios; without any, all of them
    scenarios: Vec<Scenario>,
    /// Rounds, in each of which both sides are measured [default: 5; macro: 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=99))]
    rounds: Option<u32>,
    /// Time of one measurement, seconds [default: 10; macro: 300]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=3600))]
    seconds: Option<u32>,
    /// Workloads of the scenario `workloads`
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(100..=10_000))]
    workloads: u32,
    /// Write docs/benchmarks.md from what this run and earlier ones found
    #[arg(long)]
    write: bool,
    /// Measure nothing; only write the page
    #[arg(long, requires = "write", conflicts_with = "scenarios")]
    no_run: bool,
    /// The berth command to measure [default: a release build, made now]
    #[arg(long, value_name = "FILE", env = "BERTH")]
    berth: Option<PathBuf>,
}

/// What can be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Scenario {
    /// WASI 0.2, an instance per request, against the peer's defaults
    HelloP2Fresh,
    /// The same against the peer with its pooling allocator tuned
    HelloP2Tuned,
    /// WASI 0.3, an instance per request
    HelloP3Fresh,
    /// WASI 0.2, instances used again
    HelloP2Reuse,
    /// WASI 0.3, instances used again, several requests at once in each
    HelloP3Reuse,
    /// Latency of WASI 0.2 at half of the peer's peak
    TailP2,
    /// Latency of WASI 0.3 at half of the peer's peak
    TailP3,
    /// Time from a start to the first answer
    Start,
    /// Idle memory of one more replica
    Replicas,
    /// Ten thousand workloads of a hundred components on one host
    Workloads,
    /// Bodies of 64 KiB and 16 MiB, echoed
    Bodies,
    /// A hundred workloads of five languages under mixed load
    Macro,
    /// A workload beside one that spins, leaks, floods or traps
    Neighbours,
    /// Two components of a workload that call each other over HTTP, in every direction between WASI 0.2 and 0.3
    Chains,
}

impl Scenario {
    /// Its name on the command line.
    pub fn name(self) -> String {
        self.to_possible_value().expect("no scenario is hidden").get_name().to_owned()
    }

    async fn measure(self, lab: &Lab) -> Result<Report> {
        match self {
            Scenario::HelloP2Fresh => hello::P2_FRESH.measure(lab).await,
            Scenario::HelloP2Tuned => hello::P2_TUNED.measure(lab).await,
            Scenario::HelloP3Fresh => hello::P3_FRESH.measure(lab).await,
            Scenario::HelloP2Reuse => hello::P2_REUSE.measure(lab).await,
            Scenario::HelloP3Reuse => hello::P3_REUSE.measure(lab).await,
            Scenario::TailP2 => tail::P2.measure(lab).await,
            Scenario::TailP3 => tail::P3.measure(lab).await,
            Scenario::Start => start::measure(lab).await,
            Scenario::Replicas => replicas::measure(lab).await,
            Scenario::Workloads => workloads::measure(lab).await,
            Scenario::Bodies => bodies::measure(lab).await,
            Scenario::Macro => mixed::measure(lab).await,
            Scenario::Neighbours => neighbours::measure(lab).await,
            Scenario::Chains => chains::measure(lab).await,
        }
    }
}

/// Measures, prints, keeps what was found, and writes the page if asked to.
pub fn run(workspace: &Workspace, options: &Options) -> Result<()> {
    let results = workspace.target.join("bench");
    if !options.no_run {
        let scenarios = if options.scenarios.is_empty() { Scenario::value_variants() } else { &options.scenarios };
        let lab = Lab::set_up(workspace, options)?;
        // One thread: on few cores, what measures must not take more than it needs.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start the runtime")?;
        let measured = runtime.block_on(async {
            // Whatever ends the measuring drops it, and dropping it kills every process that it started.
            tokio::select! {
                biased;
                signalled = interrupted() => signalled.err().map(Err),
                measured = measure(&lab, scenarios, &results) => Some(measured),
            }
        });
        match measured {
            Some(Ok(())) => {}
            Some(Err(error)) => return Err(error.context(format!("the logs of what was measured are in {}", lab.keep().display()))),
            None => bail!("interrupted"),
        }
    }
    if options.write {
        let (page, kept) = (workspace.root.join("docs/benchmarks.md"), workspace.root.join("docs/benchmarks"));
        outcome::keep(Outcome::read_all(&results)?, &kept)?;
        let text = page::page(&Outcome::read_all(&kept)?, &kept)?;
        std::fs::write(&page, text).with_context(|| format!("cannot write {}", page.display()))?;
        println!("bench: wrote {}", page.display());
    }
    Ok(())
}

async fn measure(lab: &Lab, scenarios: &[Scenario], results: &std::path::Path) -> Result<()> {
    for scenario in scenarios {
        let name = scenario.name();
        let busy = machine::busy().await?;
        if busy > QUIET {
            println!("bench: {name}: others use {:.0}% of this machine, so don't trust these figures", busy * 100.0);
        }
        println!("\n== {name}");
        let machine = Machine::here()?;
        let versions = lab.versions()?;
        let report = scenario.measure(lab).await.with_context(|| format!("scenario {name}"))?;
        print!("{}", report.text());
        Outcome::new(name, busy, machine, versions, lab, report)?.write(results)?;
    }
    println!("\nbench: kept in {}", results.display());
    Ok(())
}

/// Resolves when the user or the system asks for the end.
async fn interrupted() -> Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot wait for SIGTERM")?;
    tokio::select! {
        ended = tokio::signal::ctrl_c() => ended.context("cannot wait for Ctrl-C"),
        _ = terminate.recv() => Ok(()),
    }
}
