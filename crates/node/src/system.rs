//! Figures of the machine and of this process, from `/proc`, and how many files it may open. What can't be read is zero.

use std::sync::Mutex;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// The most open files that are taken without being asked for: beyond what any host of ten thousand workloads needs.
const ENOUGH_FILES: u64 = 1 << 20;

/// Figures of the machine.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct MachineFigures {
    /// CPU in use since the last reading, percent of all cores, 0 to 100.
    pub cpu_percent: f32,
    /// Memory of the machine, bytes.
    pub memory_total_bytes: u64,
    /// Memory that programs can still get, bytes.
    pub memory_free_bytes: u64,
}

/// Reads the machine's figures; remembers the last reading, as CPU use is a difference.
#[derive(Debug, Default)]
pub struct Machine {
    last: Mutex<CpuTicks>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct CpuTicks {
    busy: u64,
    total: u64,
}

impl Machine {
    /// Today's figures.
    pub fn read(&self) -> MachineFigures {
        let (memory_total_bytes, memory_free_bytes) = memory(&read("/proc/meminfo"));
        MachineFigures { cpu_percent: self.cpu_percent(cpu_ticks(&read("/proc/stat"))), memory_total_bytes, memory_free_bytes }
    }

    fn cpu_percent(&self, now: CpuTicks) -> f32 {
        let mut last = self.last.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let before = std::mem::replace(&mut *last, now);
        let total = now.total.saturating_sub(before.total);
        if total == 0 {
            return 0.0;
        }
        now.busy.saturating_sub(before.busy) as f32 / total as f32 * 100.0
    }
}

/// Figures of this process.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ProcessFigures {
    /// Memory in RAM, bytes.
    pub resident_bytes: u64,
    /// Address space, bytes; pooled instances reserve most of it.
    pub virtual_bytes: u64,
    /// CPU time used, user and system.
    pub cpu: Duration,
    /// File descriptors open.
    pub open_fds: u64,
    /// Threads.
    pub threads: u64,
}

impl ProcessFigures {
    /// Today's figures.
    pub fn read() -> ProcessFigures {
        let page = rustix::param::page_size() as u64;
        let statm = read("/proc/self/statm");
        let mut pages = statm.split_whitespace().map(|n| n.parse::<u64>().unwrap_or(0));
        let virtual_bytes = pages.next().unwrap_or(0) * page;
        let resident_bytes = pages.next().unwrap_or(0) * page;
        let (cpu_ticks, threads) = process_stat(&read("/proc/self/stat"));
        let open_fds = std::fs::read_dir("/proc/self/fd").map_or(0, |entries| entries.count() as u64);
        let hertz = rustix::param::clock_ticks_per_second().max(1);
        ProcessFigures { resident_bytes, virtual_bytes, cpu: Duration::from_millis(cpu_ticks * 1000 / hertz), open_fds, threads }
    }
}

/// How many files this process may open now.
pub fn open_files() -> u64 {
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// Why a process can't have so many open files.
#[derive(Debug, thiserror::Error)]
pub enum OpenFilesError {
    /// The system's own limit is lower.
    #[error("{wanted} open files are more than the {hard} that the system allows this process (`ulimit -Hn`; LimitNOFILE of a unit)")]
    Hard {
        /// How many were asked for.
        wanted: u64,
        /// How many there may be.
        hard: u64,
    },
    /// The system refuses.
    #[error("the system doesn't allow {wanted} open files: {source}")]
    Refused {
        /// How many were asked for.
        wanted: u64,
        /// What it said.
        source: rustix::io::Errno,
    },
}

/// Lets this process open so many files; by default as many as the system lets it, a million at most. Shells and containers often begin
/// with 1,024, for programs that can't cope with more; this one counts with what it has.
///
/// # Errors
/// If they are more than the system allows.
pub fn allow_open_files(wanted: Option<u64>) -> Result<u64, OpenFilesError> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let aim = aim(wanted, current, maximum)?;
    if current != Some(aim) {
        setrlimit(Resource::Nofile, Rlimit { current: Some(aim), maximum })
            .map_err(|source| OpenFilesError::Refused { wanted: aim, source })?;
    }
    Ok(aim)
}

/// How many open files to ask for, where the limits are these; none: there is no limit.
fn aim(wanted: Option<u64>, soft: Option<u64>, hard: Option<u64>) -> Result<u64, OpenFilesError> {
    match (wanted, hard) {
        (Some(wanted), Some(hard)) if wanted > hard => Err(OpenFilesError::Hard { wanted, hard }),
        (Some(wanted), _) => Ok(wanted),
        (None, hard) => Ok(hard.unwrap_or(ENOUGH_FILES).min(ENOUGH_FILES).max(soft.unwrap_or(0))),
    }
}

fn read(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

/// `MemTotal` and `MemAvailable` of /proc/meminfo, bytes.
fn memory(meminfo: &str) -> (u64, u64) {
    let field = |name: &str| {
        let line = meminfo.lines().find(|l| l.starts_with(name));
        let kib = line.and_then(|l| l.split_whitespace().nth(1)).and_then(|n| n.parse::<u64>().ok());
        kib.unwrap_or(0) * 1024
    };
    (field("MemTotal:"), field("MemAvailable:"))
}

/// The first line of /proc/stat (proc(5)): user, nice, system, idle, iowait, irq, softirq, steal.
fn cpu_ticks(stat: &str) -> CpuTicks {
    let line = stat.lines().next().unwrap_or_default();
    let ticks: Vec<u64> = line.split_whitespace().skip(1).take(8).map(|n| n.parse().unwrap_or(0)).collect();
    let total = ticks.iter().sum();
    let idle: u64 = ticks.iter().skip(3).take(2).sum();
    CpuTicks { busy: total - idle, total }
}

/// Ticks of CPU time, and threads, of /proc/self/stat (proc(5)): fields 14, 15 and 20, counted behind the command's name, which
/// may hold spaces and parentheses.
fn process_stat(stat: &str) -> (u64, u64) {
    let rest = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let fields: Vec<u64> = rest.split_whitespace().map(|n| n.parse().unwrap_or(0)).collect();
    let field = |number: usize| fields.get(number - 3).copied().unwrap_or(0);
    (field(14) + field(15), field(20))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_use_is_the_difference_between_two_readings() {
        let machine = Machine::default();
        machine.cpu_percent(cpu_ticks("cpu  100 0 100 800 0 0 0 0 0 0\ncpu0 1 2"));
        assert_eq!(machine.cpu_percent(cpu_ticks("cpu  120 0 110 860 10 0 0 0 0 0")).round(), 30.0);
        assert_eq!(machine.cpu_percent(cpu_ticks("cpu  120 0 110 860 10 0 0 0 0 0")), 0.0);
    }

    #[test]
    fn a_command_name_with_spaces_and_parentheses_moves_no_field() {
        let stat = "7 (be) (rth) S 1 7 7 0 -1 4194560 100 0 0 0 30 12 0 0 20 0 9 0 1000 1 2 3";
        assert_eq!(process_stat(stat), (42, 9));
    }

    #[test]
    fn unreadable_figures_are_zero() {
        assert_eq!(memory(""), (0, 0));
        assert_eq!(cpu_ticks(""), CpuTicks::default());
        assert_eq!(process_stat(""), (0, 0));
    }

    #[test]
    fn open_files_are_raised_as_far_as_the_system_goes_and_never_lowered_unasked() {
        assert_eq!(aim(None, Some(1024), Some(4096)).unwrap(), 4096);
        assert_eq!(aim(None, Some(1024), None).unwrap(), ENOUGH_FILES);
        assert_eq!(aim(None, Some(2 * ENOUGH_FILES), Some(4 * ENOUGH_FILES)).unwrap(), 2 * ENOUGH_FILES);
        assert_eq!(aim(Some(100), Some(1024), Some(4096)).unwrap(), 100);
        let refused = aim(Some(5000), Some(1024), Some(4096)).unwrap_err().to_string();
        assert!(refused.contains("5000") && refused.contains("4096"), "{refused}");
    }

    #[test]
    fn this_process_has_figures() {
        let figures = ProcessFigures::read();
        assert!(figures.resident_bytes > 0 && figures.open_fds > 2 && figures.threads > 0, "{figures:?}");
        assert!(Machine::default().read().memory_total_bytes > 0);
    }
}
