//! Cargo's companions that the tasks use, at pinned versions, installed once per user.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

use crate::command;
use crate::workspace::Workspace;

/// A program that `cargo install` gets from crates.io.
pub struct Tool {
    name: &'static str,
    version: &'static str,
    /// What it is for, and how long building it takes on two cores.
    about: &'static str,
}

/// Runs the tests: a process each, in parallel, with a time limit.
pub const NEXTEST: Tool = Tool { name: "cargo-nextest", version: "0.9.151", about: "runs the tests; 2 to 5 minutes to build" };
/// Checks licences, sources and duplicates of dependencies.
pub const DENY: Tool = Tool { name: "cargo-deny", version: "0.20.2", about: "checks dependencies; 1 to 2 minutes to build" };
/// Drives libFuzzer.
pub const FUZZ: Tool = Tool { name: "cargo-fuzz", version: "0.13.2", about: "drives the fuzzer; half a minute to build" };

impl Tool {
    /// Where the program is, once [`Tool::install`] was there.
    pub fn path(&self, workspace: &Workspace) -> PathBuf {
        workspace.tools.join("bin").join(self.name)
    }

    /// The program, at the repository's root.
    pub fn command(&self, workspace: &Workspace) -> Command {
        let mut command = Command::new(self.path(workspace));
        command.current_dir(&workspace.root).env("CARGO_TARGET_DIR", &workspace.target);
        command
    }

    /// Installs this version unless it is there.
    pub fn install(&self, workspace: &Workspace) -> Result<()> {
        if self.is_there(workspace) {
            println!("setup: {} {} is there", self.name, self.version);
            return Ok(());
        }
        println!("setup: building {} {} ({})", self.name, self.version, self.about);
        let wanted = format!("{}@{}", self.name, self.version);
        let mut install = command::cargo(workspace, &["install", "--locked", "--quiet", "--profile", "dev", "--root"]);
        // Half the time of a release build and fast enough; in a folder of its own that cargo removes afterwards.
        install.arg(&workspace.tools).arg(wanted).env_remove("CARGO_TARGET_DIR");
        install.envs([("CARGO_PROFILE_DEV_OPT_LEVEL", "1"), ("CARGO_PROFILE_DEV_DEBUG", "0"), ("CARGO_INCREMENTAL", "0")]);
        command::run(&mut install)
    }

    fn is_there(&self, workspace: &Workspace) -> bool {
        // A cargo subcommand expects its own name first.
        let subcommand = self.name.trim_start_matches("cargo-");
        let asked = Command::new(self.path(workspace)).args([subcommand, "--version"]).output();
        asked.is_ok_and(|output| says_version(&String::from_utf8_lossy(&output.stdout), self.version))
    }
}

/// Whether a `--version` answer names exactly this version.
fn says_version(answer: &str, version: &str) -> bool {
    answer.split_whitespace().any(|word| word == version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_pinned_version_counts_as_installed() {
        assert!(says_version("cargo-nextest 0.9.151 (abc 2026-01-01)\nrelease: 0.9.151", "0.9.151"));
        assert!(!says_version("cargo-nextest 0.9.1510", "0.9.151"));
        assert!(!says_version("", "0.9.151"));
    }
}
