//! `cargo xtask example NAME` and `cargo xtask hello`: from a fresh clone to an example that runs.

use std::os::unix::process::CommandExt;
use std::process::Command;

use anyhow::{Context, Result};
use berth_testkit::guests::Builder;

use crate::command;
use crate::workspace::Workspace;

/// Sets up the Wasm target and the C library, builds the example and Berth, and becomes `berth up`, which prints what to curl and runs until
/// Ctrl-C.
pub fn run(workspace: &Workspace, name: &str, berth: &[String]) -> Result<()> {
    println!("example: building examples/{name} (setting up what that needs takes a minute the first time)");
    Builder::from_env().and_then(|builder| builder.example_in_place(name)).context("the example can't be built")?;
    println!("example: building berth (the engine takes some minutes the first time)");
    command::run(&mut command::cargo(workspace, &["build", "--locked", "--package", "berth-cli"]))?;

    let mut up = Command::new(workspace.target.join("debug/berth"));
    // Nothing is kept, so that it neither meets nor leaves what another `berth up` runs.
    up.current_dir(&workspace.root).arg("up").arg(format!("examples/{name}")).arg("--ephemeral").args(berth);
    println!("example: {}", command::line(&up));
    // In this process's place, so that Ctrl-C is berth's and the shell waits for its drain.
    let error = up.exec();
    Err(error).with_context(|| format!("cannot start {}", command::line(&up)))
}
