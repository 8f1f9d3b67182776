//! `cargo xtask fuzz`: runs the targets in fuzz/ for a bounded time, with libFuzzer, on the stable toolchain.
//!
//! No sanitizer is used: it would need the nightly toolchain, and Berth has no unsafe code for it to look at. Panics, failed
//! assertions, overflows, hangs and unbounded memory are found without. What a run learns stays in the build output, so the next
//! one begins where it ended; an input that fails is kept beside it and its path is printed.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use clap::ValueEnum;

use crate::workspace::Workspace;
use crate::{command, tools};

/// What can be fuzzed; fuzz/src/lib.rs says what each does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Target {
    /// Reading manifests
    Manifest,
    /// Inspecting components
    Intake,
    /// Linking components
    Link,
}

/// One input may take so long, seconds.
const INPUT_TIMEOUT: u32 = 10;
/// The process may use so much memory, MiB.
const MEMORY: u32 = 2048;

impl Target {
    const ALL: [Target; 3] = [Target::Manifest, Target::Intake, Target::Link];

    fn name(self) -> &'static str {
        match self {
            Target::Manifest => "manifest",
            Target::Intake => "intake",
            Target::Link => "link",
        }
    }
}

/// Runs the targets, each for so many seconds; without any, all of them.
pub fn run(workspace: &Workspace, seconds: u32, targets: &[Target]) -> Result<()> {
    if !has_compiler() {
        bail!("fuzzing needs a C++ compiler, for libFuzzer is written in it: install one (Debian: apt-get install g++)");
    }
    tools::FUZZ.install(workspace).context("fuzzing needs cargo-fuzz, and it can't be installed")?;
    let targets = if targets.is_empty() { &Target::ALL } else { targets };
    for target in targets {
        one(workspace, seconds, *target)?;
    }
    Ok(())
}

/// Whether there is a C++ compiler to build libFuzzer with.
pub fn has_compiler() -> bool {
    let compiler = std::env::var_os("CXX").unwrap_or_else(|| "c++".into());
    Command::new(compiler).arg("--version").output().is_ok_and(|output| output.status.success())
}

fn one(workspace: &Workspace, seconds: u32, target: Target) -> Result<()> {
    let output = workspace.target.join("fuzz");
    let corpus = output.join("corpus").join(target.name());
    let failures = output.join("failures").join(target.name());
    for folder in [&corpus, &failures] {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    seed(workspace, target, &corpus)?;
    println!("fuzz: building {} (a minute the first time), then {seconds} s of it", target.name());
    let mut fuzz = tools::FUZZ.command(workspace);
    fuzz.args(["run", "--sanitizer", "none", "--fuzz-dir"]).arg(workspace.root.join("fuzz"));
    fuzz.arg("--target-dir").arg(&output).arg(target.name()).arg(&corpus).arg("--");
    fuzz.arg(format!("-max_total_time={seconds}")).arg(format!("-timeout={INPUT_TIMEOUT}")).arg(format!("-rss_limit_mb={MEMORY}"));
    fuzz.args(["-print_final_stats=1", "-verbosity=0"]).arg(prefix(&failures));
    command::run(&mut fuzz).with_context(|| format!("fuzzing {} failed; an input that fails is in {}", target.name(), failures.display()))
}

/// Puts the inputs to start from into the corpus.
fn seed(workspace: &Workspace, target: Target, corpus: &Path) -> Result<()> {
    let seeds: Vec<PathBuf> = match target {
        Target::Manifest => {
            let folder = workspace.root.join("fuzz/seeds/manifest");
            let entries = fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))?;
            entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<_, _>>()?
        }
        // Real components of both versions of WASI, and one that is no HTTP server.
        Target::Intake | Target::Link => ["p2-hello", "p3-hello", "p2-no-http"].map(berth_testkit::guests::path).into(),
    };
    if seeds.is_empty() {
        bail!("{} has no seeds", target.name());
    }
    for seed in seeds {
        let name = seed.file_name().context("a seed is a file")?;
        fs::copy(&seed, corpus.join(name)).with_context(|| format!("cannot copy {}", seed.display()))?;
    }
    Ok(())
}

/// libFuzzer's option for the folder of failing inputs; without the slash it would be the start of a name.
fn prefix(failures: &Path) -> OsString {
    let mut option = OsString::from("-artifact_prefix=");
    option.push(failures);
    option.push("/");
    option
}
