//! Runs other programs: an error always names the command line and what came of it.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::workspace::Workspace;

/// A cargo command at the repository's root, with its output where this program's is.
pub fn cargo(workspace: &Workspace, arguments: &[&str]) -> Command {
    let mut command = Command::new("cargo");
    command.args(arguments).current_dir(&workspace.root).env("CARGO_TARGET_DIR", &workspace.target);
    // `cargo run` sets these for us; a build script that watches them would run again in a cargo of ours.
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        if name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") {
            command.env_remove(name);
        }
    }
    command
}

/// Runs a command to its end; its output goes to this program's.
pub fn run(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("cannot start {}", line(command)))?;
    if !status.success() {
        bail!("{} failed: {status}", line(command));
    }
    Ok(())
}

/// Runs a command and returns its standard output; its standard error goes to this program's.
pub fn stdout(command: &mut Command) -> Result<String> {
    let output = command.stderr(Stdio::inherit()).output().with_context(|| format!("cannot start {}", line(command)))?;
    if !output.status.success() {
        bail!("{} failed: {}", line(command), output.status);
    }
    String::from_utf8(output.stdout).with_context(|| format!("{} printed something that isn't UTF-8", line(command)))
}

/// Runs a command; whether it succeeded, and in time. Past `limit` it is killed.
pub fn succeeds_within(command: &mut Command, limit: Duration) -> Result<bool> {
    let mut child = command.spawn().with_context(|| format!("cannot start {}", line(command)))?;
    let deadline = Instant::now() + limit;
    loop {
        if let Some(status) = child.try_wait().with_context(|| format!("cannot wait for {}", line(command)))? {
            return Ok(status.success());
        }
        if Instant::now() >= deadline {
            child.kill().and_then(|()| child.wait()).with_context(|| format!("cannot end {}", line(command)))?;
            return Ok(false);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Which of a command's outputs [`watch`] reads; the other goes to this program's.
#[derive(Clone, Copy)]
pub enum Output {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// Runs a command, passes on one of its outputs line by line, and lets `see` read each line. Returns whether it succeeded.
pub fn watch(command: &mut Command, output: Output, mut see: impl FnMut(&str)) -> Result<bool> {
    match output {
        Output::Stdout => command.stdout(Stdio::piped()),
        Output::Stderr => command.stderr(Stdio::piped()),
    };
    let mut child = command.spawn().with_context(|| format!("cannot start {}", line(command)))?;
    let reader: Box<dyn std::io::Read> = match output {
        Output::Stdout => Box::new(child.stdout.take().context("the output was piped")?),
        Output::Stderr => Box::new(child.stderr.take().context("the output was piped")?),
    };
    for text in BufReader::new(reader).split(b'\n') {
        let text = text.with_context(|| format!("cannot read the output of {}", line(command)))?;
        let text = String::from_utf8_lossy(&text);
        println!("{text}");
        see(&text);
    }
    Ok(child.wait().with_context(|| format!("cannot wait for {}", line(command)))?.success())
}

/// The command line, for messages.
pub fn line(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_command_is_named_with_its_arguments() {
        let error = run(Command::new("false").arg("--now")).expect_err("false fails");
        assert!(error.to_string().starts_with("false --now failed: exit status: 1"), "{error}");
    }

    #[test]
    fn a_missing_program_is_named() {
        let error = run(&mut Command::new("no-such-program-here")).expect_err("there is none");
        assert_eq!(error.to_string(), "cannot start no-such-program-here");
    }

    #[test]
    fn a_command_that_hangs_is_ended_at_the_limit() {
        let start = Instant::now();
        assert!(!succeeds_within(Command::new("sleep").arg("60"), Duration::from_millis(50)).expect("sleep runs"));
        assert!(start.elapsed() < Duration::from_secs(30));
        assert!(succeeds_within(&mut Command::new("true"), Duration::from_secs(30)).expect("true runs"));
    }

    #[test]
    fn watch_sees_each_line_and_the_outcome() {
        let mut seen = Vec::new();
        let ok =
            watch(Command::new("sh").args(["-c", "echo one >&2; echo two >&2; exit 3"]), Output::Stderr, |line| seen.push(line.to_owned()));
        assert!(!ok.expect("sh runs"));
        assert_eq!(seen, ["one", "two"]);
    }
}
