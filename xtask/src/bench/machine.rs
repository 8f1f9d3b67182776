//! What it was measured on: the machine, and the versions of what was measured.

use std::fs;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::procfs::kibibytes;
use crate::command;

/// How long to look at what others do.
const LOOK: Duration = Duration::from_secs(2);

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

/// The part (0 to 1) of all cores' time that others use, looked at for a while in which this program does nothing.
pub async fn busy() -> Result<f64> {
    let before = times()?;
    tokio::time::sleep(LOOK).await;
    let after = times()?;
    let [idle, all] = [0, 1].map(|at| (after[at] - before[at]) as f64);
    Ok(1.0 - idle / all.max(1.0))
}

fn times() -> Result<[u64; 2]> {
    let text = fs::read_to_string("/proc/stat").context("cannot read /proc/stat")?;
    idle_and_all(&text).context("/proc/stat isn't understood")
}

/// Clock ticks since the start of the machine that were idle (also while waiting for a disk), and all.
fn idle_and_all(stat: &str) -> Option<[u64; 2]> {
    let line = stat.lines().find_map(|line| line.strip_prefix("cpu "))?;
    // The last two, of guests of this machine, are part of the first two.
    let ticks: Vec<u64> = line.split_whitespace().take(8).map_while(|ticks| ticks.parse().ok()).collect();
    Some([ticks.get(3)? + ticks.get(4)?, ticks.iter().sum()])
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
    fn idle_time_is_idle_and_waiting() {
        let stat = "cpu  100 1 20 1000 50 0 3 7 90 0\ncpu0 1 1 1 1 1 1 1 1 1 1\n";
        assert_eq!(idle_and_all(stat), Some([1050, 1181]));
        assert_eq!(idle_and_all("intr 1"), None);
    }

    #[test]
    fn this_machine_is_described() {
        let machine = Machine::here().expect("it is readable");
        assert!(machine.cores > 0 && machine.memory_bytes > 0 && machine.kernel.starts_with("Linux"), "{machine:?}");
        let [idle, all] = times().expect("it is readable");
        assert!(idle <= all);
    }
}
