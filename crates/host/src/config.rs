//! What a host can be told.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use berth_http::{ServerLimits, TlsConfig};
use berth_model::limits::Effective;

/// Configuration of a host. Every default is decided in [`HostConfig::default`].
#[derive(Clone, Debug)]
pub struct HostConfig {
    /// Friendly name, a DNS label.
    pub name: String,
    /// Labels that selectors match.
    pub labels: BTreeMap<String, String>,
    /// The tenant the host belongs to; empty: none.
    pub environment: String,
    /// Where and how HTTP is answered.
    pub ingress: IngressConfig,
    /// Whether WASI 0.3 components run; without the build feature `wasi-p3` they never do.
    pub wasi_p3: bool,
    /// Limits of components that ask for none of their own.
    pub limits: Effective,
    /// Requests in flight on the whole host, 1 to 10,000. Each may hold an instance.
    pub slots: u32,
    /// Linear memory of all instances together, bytes.
    pub memory_budget_bytes: u64,
    /// Wasm stack per call, bytes: 64 KiB to 1 MiB.
    pub stack_bytes: usize,
    /// Components compiled at once, 1 or more.
    pub compile_threads: usize,
    /// How often a guest that computes is interrupted: its deadline is checked and others get their turn. What waits beside such a
    /// guest waits for a tick at most; an interruption costs some microseconds.
    pub tick: Duration,
    /// How long a workload that stops may finish its requests.
    pub drain_grace: Duration,
    /// Log lines kept per workload.
    pub log_lines: usize,
    /// Log lines per second per workload, beyond a burst of twice as many; more are counted and dropped.
    pub log_lines_per_second: u32,
    /// Certificates that outgoing TLS trusts, beside the system's: a PEM file.
    pub extra_ca: Option<PathBuf>,
}

/// Where and how HTTP is answered.
#[derive(Clone, Debug)]
pub struct IngressConfig {
    /// Address to listen on; port 0 takes a free one.
    pub addr: SocketAddr,
    /// Threads that serve; each runs guests too. 0: one per core.
    pub threads: usize,
    /// Serves TLS when set.
    pub tls: Option<TlsConfig>,
    /// Bounds on connections and heads.
    pub limits: ServerLimits,
}

impl Default for HostConfig {
    fn default() -> HostConfig {
        HostConfig {
            name: "berth".into(),
            labels: BTreeMap::from([("hostgroup".into(), "default".into())]),
            environment: String::new(),
            ingress: IngressConfig {
                addr: SocketAddr::from(([127, 0, 0, 1], 8000)),
                threads: 0,
                tls: None,
                limits: ServerLimits::default(),
            },
            wasi_p3: cfg!(feature = "wasi-p3"),
            limits: Effective::default(),
            // Pooled instances reserve address space, 4 GiB and a guard each: 1,000 per engine are 8 TiB of the 128 there are.
            slots: 1000,
            memory_budget_bytes: default_memory_budget(),
            // Wasmtime's default, which Python's and JavaScript's components are built for.
            stack_bytes: 512 << 10,
            compile_threads: std::thread::available_parallelism().map_or(1, |n| n.get().div_ceil(2)),
            // A neighbour that computes delays others on its core by this at each step of their requests. Shorter ones are not
            // measured yet.
            tick: Duration::from_millis(1),
            drain_grace: Duration::from_secs(30),
            log_lines: 1000,
            log_lines_per_second: 1000,
            extra_ca: None,
        }
    }
}

/// Three quarters of the memory that the process may use, of the machine's or its cgroup's, whichever is less: the rest is for the
/// host itself, compiles and the page cache.
fn default_memory_budget() -> u64 {
    let total = std::fs::read_to_string("/proc/meminfo").ok().and_then(|text| {
        let line = text.lines().find(|l| l.starts_with("MemTotal:"))?;
        line.split_whitespace().nth(1)?.parse::<u64>().ok()
    });
    let groups = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let machine = total.map_or(u64::MAX, |kib| kib.saturating_mul(1024));
    let usable = cgroup_memory(&groups, Path::new("/sys/fs/cgroup")).map_or(machine, |group| group.min(machine));
    if usable == u64::MAX { 2 << 30 } else { usable / 4 * 3 }
}

/// The least `memory.max` of the process's cgroup (v2) and those around it, bytes. `groups` is the text of `/proc/self/cgroup`,
/// `root` where the hierarchy is mounted; in a container both begin at the container's own group.
fn cgroup_memory(groups: &str, root: &Path) -> Option<u64> {
    let own = groups.lines().find_map(|line| line.strip_prefix("0::"))?;
    let own = Path::new(own.trim_start_matches('/'));
    let limit = |group: &Path| std::fs::read_to_string(root.join(group).join("memory.max")).ok()?.trim().parse::<u64>().ok();
    own.ancestors().filter_map(limit).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tightest_cgroup_around_the_process_bounds_the_memory_budget() {
        let root = tempfile::tempdir().unwrap();
        let own = root.path().join("system.slice/berth.service");
        std::fs::create_dir_all(&own).unwrap();
        let groups = "1:name=systemd:/elsewhere\n0::/system.slice/berth.service\n";
        assert_eq!(cgroup_memory(groups, root.path()), None);
        std::fs::write(own.join("memory.max"), "max\n").unwrap();
        assert_eq!(cgroup_memory(groups, root.path()), None);
        std::fs::write(root.path().join("system.slice/memory.max"), "536870912\n").unwrap();
        assert_eq!(cgroup_memory(groups, root.path()), Some(512 << 20));
        std::fs::write(own.join("memory.max"), "268435456\n").unwrap();
        assert_eq!(cgroup_memory(groups, root.path()), Some(256 << 20));
        assert_eq!(cgroup_memory("0::/\n", root.path()), None);
        assert_eq!(cgroup_memory("", root.path()), None);
    }
}
