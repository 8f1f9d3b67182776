//! What it was measured on: the machine, and the versions of what was measured.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::procfs::kibibytes;
use crate::command;

/// A machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// The processor, as it calls itself.
    pub cpu: String,
    /// Cores that this process may use.
    pub cores: usize,
    /// Memory, bytes.
    pub memory_bytes: u64,
    /// The kernel.
    pub kernel: String,
}

/// What was measured, and with what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Versions {
    /// What `berth --version` says.
    pub berth: String,
    /// The commit of the workspace.
    pub commit: String,
    /// What `wasmtime --version` says; empty where it takes no part.
    pub peer: String,
    /// wrk's version; empty where it takes no part.
    pub wrk: String,
    /// The compiler of berth and of the Rust guests.
    pub rustc: String,
}

impl Machine {
    /// This machine.
    pub fn here() -> Result<Machine> {
        let read = |path: &str| fs::read_to_string(path).with_context(|| format!("cannot read {path}"));
        Ok(Machine {
            cpu: cpu_model(&read("/proc/cpuinfo")?).unwrap_or_else(|| "unknown".into()),
            cores: std::thread::available_parallelism().context("cannot count the cores")?.get(),
            memory_bytes: kibibytes(&read("/proc/meminfo")?, "MemTotal").context("/proc/meminfo has no MemTotal")?,
            kernel: command::stdout(Command::new("uname").args(["-s", "-r", "-m"]))?.trim().to_owned(),
        })
    }
}

fn cpu_model(cpuinfo: &str) -> Option<String> {
    let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'))?.1;
    Some(model.split_whitespace().collect::<Vec<_>>().join(" "))
}

/// How many processes wanted to run over the last minute, on average.
pub fn load_average() -> Option<f64> {
    fs::read_to_string("/proc/loadavg").ok()?.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_processor_s_name_is_read() {
        let cpuinfo = "processor\t: 0\nvendor_id\t: X\nmodel\t\t: 167\nmodel name\t: Some(R) CPU  @ 2.60GHz\n";
        assert_eq!(cpu_model(cpuinfo).as_deref(), Some("Some(R) CPU @ 2.60GHz"));
        assert_eq!(cpu_model("processor: 0"), None);
    }

    #[test]
    fn this_machine_is_described() {
        let machine = Machine::here().expect("it is readable");
        assert!(machine.cores > 0 && machine.memory_bytes > 0 && machine.kernel.starts_with("Linux"), "{machine:?}");
        assert!(load_average().is_some());
    }
}
