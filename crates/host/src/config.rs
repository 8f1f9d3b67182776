//! What a host can be told.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
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
    /// How often a guest that computes is interrupted: its deadline is checked and others get their turn.
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
            // A spinning neighbour delays others on its core by at most this; shorter ticks cost more than they save.
            tick: Duration::from_millis(10),
            drain_grace: Duration::from_secs(30),
            log_lines: 1000,
            log_lines_per_second: 1000,
            extra_ca: None,
        }
    }
}

/// Three quarters of the machine's memory: the rest is for the host itself, compiles and the page cache.
fn default_memory_budget() -> u64 {
    let total = std::fs::read_to_string("/proc/meminfo").ok().and_then(|text| {
        let line = text.lines().find(|l| l.starts_with("MemTotal:"))?;
        line.split_whitespace().nth(1)?.parse::<u64>().ok()
    });
    total.map_or(2 << 30, |kib| kib * 1024 / 4 * 3)
}
