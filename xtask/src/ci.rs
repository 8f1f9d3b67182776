//! `cargo xtask ci`, which `.ci/run` calls: every check, each with its time, and the tests' closing lines at the end.

use std::time::Duration;

use anyhow::Result;

use crate::steps::{Outcome, Steps};
use crate::workspace::Workspace;
use crate::{command, fuzz, generate, setup, soak, suite, tidy, tools};

/// How long fetching the advisory database may take before it counts as out of reach.
const ADVISORIES_TIMEOUT: Duration = Duration::from_secs(60);

/// Time per fuzz target, seconds: enough to notice a target that no longer builds or a fault near the seeds.
const FUZZ_SECONDS: u32 = 15;

/// How long the soak lasts, minutes: two kills, and a minute after them in which memory must stay flat.
const SOAK_MINUTES: u32 = 2;

/// Crates that can be built without WASI 0.3.
const WITHOUT_P3: [&str; 3] = ["berth-host", "berth-node", "berth-cli"];

/// Does every step, prints the table of times and then the tests' closing lines; fails if a step did.
pub fn run(workspace: &Workspace) -> Result<()> {
    let mut steps = Steps::default();
    let mut closing = "no tests ran".to_owned();
    steps.step("setup", || done(setup::all(workspace)));
    steps.step("format", || done(format(workspace)));
    steps.step("clippy", || {
        let lint = ["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"];
        done(command::run(&mut command::cargo(workspace, &lint)))
    });
    steps.step("clippy without WASI 0.3", || {
        let mut lint = command::cargo(workspace, &["clippy", "--all-targets", "--locked", "--no-default-features"]);
        for name in WITHOUT_P3 {
            lint.args(["--package", name]);
        }
        done(command::run(lint.args(["--", "-D", "warnings"])))
    });
    steps.step("documentation", || {
        let mut doc = command::cargo(workspace, &["doc", "--workspace", "--no-deps", "--locked"]);
        // Links to private items are for readers of the source.
        done(command::run(doc.env("RUSTDOCFLAGS", "-D warnings -A rustdoc::private_intra_doc_links")))
    });
    steps.step("tidy", || done(tidy::run(workspace)));
    steps.step("generated code is current", || done(generate::run(true)));
    steps.step("dependencies", || done(deny(workspace, &["check", "bans", "licenses", "sources"])));
    steps.step("advisories", || advisories(workspace));
    steps.step("fuzz", || match fuzz::has_compiler() {
        true => done(fuzz::run(workspace, FUZZ_SECONDS, &[])),
        false => Ok(Outcome::Skipped("there is no C++ compiler for libFuzzer".into())),
    });
    steps.step("test", || {
        let summary = suite::run(workspace, &[])?;
        closing = summary.closing().to_owned();
        done(summary.verdict())
    });
    steps.step("soak", || done(soak::run(workspace, &soak::Options::minutes(SOAK_MINUTES))));
    println!("\n{}\n{closing}", steps.table());
    steps.verdict()
}

/// Checks the formatting of the workspace and of the workspaces beside it (guests, examples, fuzz targets).
fn format(workspace: &Workspace) -> Result<()> {
    for manifest in workspace.manifests()? {
        let path = manifest.to_string_lossy().into_owned();
        command::run(&mut command::cargo(workspace, &["fmt", "--all", "--manifest-path", &path, "--", "--check"]))?;
    }
    Ok(())
}

fn deny(workspace: &Workspace, arguments: &[&str]) -> Result<()> {
    let mut deny = tools::DENY.command(workspace);
    command::run(deny.args(arguments))
}

/// Checks for known vulnerabilities, where the database can be had.
fn advisories(workspace: &Workspace) -> Result<Outcome> {
    let mut fetch = tools::DENY.command(workspace);
    if !command::succeeds_within(fetch.args(["fetch", "db"]), ADVISORIES_TIMEOUT)? {
        return Ok(Outcome::Skipped("the advisory database can't be fetched from here".into()));
    }
    done(deny(workspace, &["check", "--disable-fetch", "advisories"]))
}

fn done(result: Result<()>) -> Result<Outcome> {
    result.map(|()| Outcome::Passed)
}
