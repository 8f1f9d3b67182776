//! `cargo xtask`: the development tasks of Berth. Each task is one module; this file only reads the command line.
//!
//! Tasks are idempotent: what is set up or built already is left alone, so running one again is cheap.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a developer's command: its output is its purpose")]

mod bench;
mod ci;
mod command;
mod example;
mod fuzz;
mod generate;
mod guests;
mod setup;
mod soak;
mod steps;
mod suite;
mod tidy;
mod tools;
mod workspace;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::workspace::Workspace;

/// Development tasks of Berth.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", disable_help_subcommand = true)]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Run the first example: `cargo xtask example hello`
    Hello {
        /// Arguments for `berth up`, after `--`
        #[arg(last = true)]
        berth: Vec<String>,
    },
    /// Run an example: set up what it needs, build it and Berth, start `berth up` and print the URL to curl
    Example {
        /// The name of a folder in `examples/`
        name: String,
        /// Arguments for `berth up`, after `--`
        #[arg(last = true)]
        berth: Vec<String>,
    },
    /// Set up everything and run all tests
    Test {
        /// Arguments for `cargo nextest run`, after `--`; with any, doc tests are left out
        #[arg(last = true)]
        nextest: Vec<String>,
    },
    /// Install what building and testing need beyond cargo: the Wasm target, the guests' tools, nextest, cargo-deny
    Setup,
    /// Build the guests of the tests, and the examples
    Guests,
    /// Generate checked-in code
    Generate {
        /// Write nothing; fail if a checked-in file isn't what would be generated
        #[arg(long)]
        check: bool,
    },
    /// Check the rules of the source tree that no compiler checks (ARCHITECTURE.md lists them)
    Tidy,
    /// Do what continuous integration does
    Ci,
    /// Fuzz the parsers of what users hand in, for a bounded time
    Fuzz {
        /// Time per target, seconds
        #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=86_400))]
        seconds: u32,
        /// Targets; without any, all of them
        targets: Vec<fuzz::Target>,
    },
    /// Measure berth side by side with `wasmtime serve`, and write docs/benchmarks.md
    Bench(bench::Options),
    /// Run berth under load for minutes, with updates, deletions, faults and kills, and see that nothing is lost
    Soak(soak::Options),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match Workspace::find().and_then(|workspace| run(&workspace, arguments.task)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(workspace: &Workspace, task: Task) -> Result<()> {
    match task {
        Task::Hello { berth } => example::run(workspace, "hello", &berth),
        Task::Example { name, berth } => example::run(workspace, &name, &berth),
        Task::Test { nextest } => {
            let summary = suite::run(workspace, &nextest)?;
            println!("\n{}", summary.closing());
            summary.verdict()
        }
        Task::Setup => setup::all(workspace),
        Task::Guests => guests::run(),
        Task::Generate { check } => generate::run(check),
        Task::Tidy => tidy::run(workspace),
        Task::Ci => ci::run(workspace),
        Task::Fuzz { seconds, targets } => fuzz::run(workspace, seconds, &targets),
        Task::Bench(options) => bench::run(workspace, &options),
        Task::Soak(options) => soak::run(workspace, &options),
    }
}
