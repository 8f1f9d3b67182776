//! Installs what cargo alone doesn't bring. Everything is idempotent and says what it does and how long it takes.

use std::process::Command;
use std::time::Instant;

use anyhow::Result;

use crate::command;
use crate::tools;
use crate::workspace::Workspace;

/// All that building, testing and checking need.
pub fn all(workspace: &Workspace) -> Result<()> {
    wasm_target(workspace)?;
    guest_tools(workspace)?;
    registry(workspace)?;
    tools::NEXTEST.install(workspace)?;
    tools::DENY.install(workspace)
}

/// What the tests need.
pub fn for_tests(workspace: &Workspace) -> Result<()> {
    wasm_target(workspace)?;
    guest_tools(workspace)?;
    registry(workspace)?;
    tools::NEXTEST.install(workspace)
}

/// The standard library of wasm32-wasip2. Returns the toolchain to build Rust guests with.
pub fn wasm_target(workspace: &Workspace) -> Result<String> {
    println!("setup: wasm32-wasip2 for Rust (at once when there; else seconds by rustup, or a minute to build it)");
    let toolchain = timed("wasm32-wasip2", || {
        command::stdout(Command::new(workspace.root.join("scripts/setup-wasm-target.sh")).arg("wasm32-wasip2").current_dir(&workspace.root))
    })?;
    Ok(toolchain.trim().to_owned())
}

/// The tools of the guests that aren't written in Rust.
fn guest_tools(workspace: &Workspace) -> Result<()> {
    println!("setup: tools for the Go, JavaScript, Python and C guests (at once when there; else some minutes)");
    timed("guest tools", || {
        command::run(
            Command::new(workspace.root.join("scripts/setup-guest-tools.sh"))
                .env("BERTH_TOOLS", &workspace.tools)
                .current_dir(&workspace.root),
        )
    })
}

/// The OCI registry that tests pull from.
fn registry(workspace: &Workspace) -> Result<()> {
    println!("setup: an OCI registry for tests (at once when there; else two minutes to build it with Go)");
    timed("registry", || {
        command::run(
            Command::new(workspace.root.join("scripts/setup-registry.sh"))
                .env("BERTH_TOOLS", &workspace.tools)
                .current_dir(&workspace.root),
        )
    })
}

fn timed<T>(what: &str, action: impl FnOnce() -> Result<T>) -> Result<T> {
    let start = Instant::now();
    let value = action()?;
    println!("setup: {what} ready after {:.1} s", start.elapsed().as_secs_f64());
    Ok(value)
}
