//! Benchmarks of `benches/`, which run a host in their own process: built with cargo, run without it, so that ending this program ends
//! them.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};

use super::lab::Lab;
use crate::command;

/// One must end within this.
const WITHIN: Duration = Duration::from_secs(1200);

/// Builds the benchmark of that name, runs it, and gives the lines that it prints.
pub async fn run(lab: &Lab, name: &str) -> Result<Vec<String>> {
    println!("building the benchmark {name} (a release build takes some minutes the first time)");
    let mut bench = tokio::process::Command::new(build(lab, name)?);
    let mut child = bench.current_dir(&lab.root).stdout(Stdio::piped()).kill_on_drop(true).spawn().context("cannot start the benchmark")?;
    let mut text = BufReader::new(child.stdout.take().context("the output was piped")?).lines();
    let mut lines = Vec::new();
    let read = async {
        while let Some(line) = text.next_line().await.context("cannot read the benchmark's output")? {
            println!("{line}");
            lines.push(line);
        }
        child.wait().await.context("cannot wait for the benchmark")
    };
    let status = tokio::time::timeout(WITHIN, read).await.map_err(|_| anyhow!("the benchmark didn't end within {WITHIN:?}"))??;
    if !status.success() {
        bail!("the benchmark {name} ended with {status} after {} lines", lines.len());
    }
    Ok(lines)
}

fn build(lab: &Lab, name: &str) -> Result<PathBuf> {
    let mut cargo = Command::new("cargo");
    cargo.args(["bench", "--locked", "--package=berth-benches", "--no-run", "--message-format=json-render-diagnostics"]);
    cargo.arg(format!("--bench={name}")).current_dir(&lab.root).env("CARGO_TARGET_DIR", &lab.target);
    let messages = command::stdout(&mut cargo)?;
    executable(&messages, name).with_context(|| format!("cargo made no benchmark {name}"))
}

/// The program among cargo's messages.
fn executable(messages: &str, name: &str) -> Option<PathBuf> {
    let messages = messages.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    messages.filter(|message| message["target"]["name"] == name).find_map(|message| Some(message["executable"].as_str()?.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_is_found_among_cargo_s_messages() {
        let messages = "{\"reason\":\"compiler-artifact\",\"target\":{\"name\":\"other\"},\"executable\":\"/a\"}\nnoise\n\
            {\"reason\":\"compiler-artifact\",\"target\":{\"name\":\"neighbours\"},\"executable\":\"/target/neighbours-1\"}\n";
        assert_eq!(executable(messages, "neighbours"), Some("/target/neighbours-1".into()));
    }
}
