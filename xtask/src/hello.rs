//! `cargo xtask hello`: from a fresh clone to a component that answers HTTP.

use std::os::unix::process::CommandExt;
use std::process::Command;

use anyhow::{Context, Result};

use crate::workspace::Workspace;
use crate::{command, setup};

/// The example that runs; its manifest names the component that cargo builds in its own `target`.
const EXAMPLE: &str = "examples/hello";

/// Sets up the Wasm target, builds the example and Berth, and becomes `berth up`, which prints the URL to curl and runs until Ctrl-C.
pub fn run(workspace: &Workspace, berth: &[String]) -> Result<()> {
    let toolchain = setup::wasm_target(workspace)?;
    println!("hello: building {EXAMPLE}");
    let mut example = command::cargo(workspace, &["build", "--release", "--locked", "--target", "wasm32-wasip2"]);
    example.current_dir(workspace.root.join(EXAMPLE)).env("RUSTUP_TOOLCHAIN", toolchain).env_remove("CARGO_TARGET_DIR");
    command::run(&mut example)?;
    println!("hello: building berth (the engine takes some minutes the first time)");
    command::run(&mut command::cargo(workspace, &["build", "--locked", "--package", "berth-cli"]))?;

    let mut up = Command::new(workspace.target.join("debug/berth"));
    // Nothing is kept, so that it neither meets nor leaves what another `berth up` runs.
    up.current_dir(&workspace.root).args(["up", EXAMPLE, "--ephemeral"]).args(berth);
    println!("hello: {}", command::line(&up));
    // In this process's place, so that Ctrl-C is berth's and the shell waits for its drain.
    let error = up.exec();
    Err(error).with_context(|| format!("cannot start {}", command::line(&up)))
}
