//! `cargo xtask hello`: from a fresh clone to a component that answers HTTP.

use std::process::Command;

use anyhow::Result;

use crate::workspace::Workspace;
use crate::{command, setup};

/// The example that runs.
const EXAMPLE: &str = "examples/hello";

/// Sets up the Wasm target, builds the example and Berth, and runs the one under the other until Ctrl-C.
pub fn run(workspace: &Workspace, berth: &[String]) -> Result<()> {
    let toolchain = setup::wasm_target(workspace)?;
    println!("hello: building {EXAMPLE}");
    let mut example = command::cargo(workspace, &["build", "--release", "--target", "wasm32-wasip2"]);
    example.current_dir(workspace.root.join(EXAMPLE)).env("RUSTUP_TOOLCHAIN", toolchain);
    command::run(&mut example)?;
    println!("hello: building berth (the engine takes some minutes the first time)");
    command::run(&mut command::cargo(workspace, &["build", "--package", "berth-cli"]))?;

    let mut up = Command::new(workspace.target.join("debug/berth"));
    up.current_dir(&workspace.root).args(["up", EXAMPLE]).args(berth);
    println!("hello: {}", command::line(&up));
    command::run(&mut up)
}
