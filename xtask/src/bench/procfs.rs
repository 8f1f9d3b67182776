//! What Linux says of a process: CPU time and memory, from /proc (proc(5)).

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

/// Memory of one process, bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memory {
    /// In RAM, pages shared with other processes counted whole.
    pub rss: u64,
    /// In RAM, shared pages divided by how many share them.
    pub pss: u64,
}

/// A process, looked at from outside.
#[derive(Clone, Copy, Debug)]
pub struct Process {
    pid: u32,
    /// The kernel's clock ticks per second, for CPU time.
    ticks: u64,
}

impl Process {
    /// The process with this id; `ticks` is `getconf CLK_TCK`.
    pub fn new(pid: u32, ticks: u64) -> Process {
        Process { pid, ticks }
    }

    /// CPU time so far, of the user and of the system, all threads.
    pub fn cpu(&self) -> Result<Duration> {
        let text = self.read("stat")?;
        let ticks = cpu_ticks(&text).with_context(|| format!("{} isn't understood: {text}", self.path("stat").display()))?;
        Ok(Duration::from_secs_f64(ticks as f64 / self.ticks as f64))
    }

    /// Memory now.
    pub fn memory(&self) -> Result<Memory> {
        let text = self.read("smaps_rollup")?;
        let field = |name| kibibytes(&text, name).with_context(|| format!("{} has no {name}", self.path("smaps_rollup").display()));
        Ok(Memory { rss: field("Rss")?, pss: field("Pss")? })
    }

    /// The most memory in RAM since the start or the last [`forget_peak`](Process::forget_peak), bytes.
    pub fn peak(&self) -> Result<u64> {
        let text = self.read("status")?;
        kibibytes(&text, "VmHWM").with_context(|| format!("{} has no VmHWM", self.path("status").display()))
    }

    /// Lets the peak begin anew.
    pub fn forget_peak(&self) -> Result<()> {
        let path = self.path("clear_refs");
        fs::write(&path, "5").with_context(|| format!("cannot write {}", path.display()))
    }

    fn path(&self, file: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/{file}", self.pid))
    }

    fn read(&self, file: &str) -> Result<String> {
        let path = self.path(file);
        fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
    }
}

/// Fields 14 and 15 of /proc/PID/stat. The second is the program's name in brackets, which may hold anything.
fn cpu_ticks(stat: &str) -> Option<u64> {
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
    Some(field(14)? + field(15)?)
}

/// `Name:   123 kB`, in bytes.
pub fn kibibytes(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_is_read_whatever_the_program_is_called() {
        let stat = "4242 (a) R (b) S 1 4242 4242 0 -1 4194560 1500 0 2 0 1234 66 7 8 20 0 9 0 55 1000 200 18446744073709551615\n";
        assert_eq!(cpu_ticks(stat), Some(1300));
        assert_eq!(cpu_ticks("4242 (a) R 1 2"), None);
    }

    #[test]
    fn memory_is_read_by_its_name() {
        let rollup = "5610000-7ff (deleted) ---p 00000000 00:00 0   [rollup]\nRss:   10240 kB\nPss:    9000 kB\nPss_Dirty:   1 kB\n";
        assert_eq!(kibibytes(rollup, "Rss"), Some(10240 << 10));
        assert_eq!(kibibytes(rollup, "Pss"), Some(9000 << 10));
        assert_eq!(kibibytes(rollup, "Swap"), None);
    }

    #[test]
    fn this_process_has_memory_and_a_peak() {
        let this = Process::new(std::process::id(), 100);
        let memory = this.memory().expect("it is readable");
        assert!(memory.pss > 0 && memory.pss <= memory.rss, "{memory:?}");
        assert!(this.peak().expect("it is readable") > 0);
        this.cpu().expect("it is readable");
    }
}
