//! What a host can be told.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use berth_http::{ServerLimits, TlsConfig};
use berth_model::grants::PortSet;
use berth_model::image::ImageRef;
use berth_model::limits::Effective;

use crate::code::CodeCache;

/// An image that a workload will ask for at once. The first 16 local ones are compiled while the host starts, and kept for 10 s.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expected {
    /// Where it is.
    pub image: ImageRef,
    /// Whether instances of it last longer than a request: those of a service, and those that are used again.
    pub lasting: bool,
}

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
    /// Instances at once in each of the two engines, warm ones and services included, 1 to 100,000. None: twice the slots, since warm
    /// instances live beside those in flight, and the services.
    pub instances: Option<u32>,
    /// Linear memory of all instances together, bytes.
    pub memory_budget_bytes: u64,
    /// Memory that instances which are gone may leave resident for those to come, bytes. None: a quarter of the memory budget.
    pub keep_resident_bytes: Option<u64>,
    /// Sockets and outgoing connections of all guests, 1 to 1,000,000. None: a quarter of the files that the process may open.
    pub guest_connections: Option<usize>,
    /// Wasm stack per call, bytes: 64 KiB to 1 MiB.
    pub stack_bytes: usize,
    /// Components compiled at once, 1 or more.
    pub compile_threads: usize,
    /// Components that may wait to be compiled, each with its bytes in memory; the start of one more fails and is tried again.
    pub compile_queue: usize,
    /// How often a guest that computes is interrupted: its deadline is checked and others get their turn. What waits beside such a
    /// guest waits for a tick at most; an interruption costs some microseconds.
    pub tick: Duration,
    /// How long a workload that stops may finish its requests.
    pub drain_grace: Duration,
    /// How services are kept going.
    pub services: ServiceConfig,
    /// What guests get of the host's own loopback and ports.
    pub network: NetworkConfig,
    /// Folders that components share.
    pub volumes: VolumeConfig,
    /// Where the memory of instances that end is given back.
    pub reclaim: ReclaimConfig,
    /// Log lines kept per workload.
    pub log_lines: usize,
    /// Log lines per second per workload, beyond a burst of twice as many; more are counted and dropped.
    pub log_lines_per_second: u32,
    /// Where compiled code is kept from one start to the next; none: every process compiles anew.
    pub code: Option<Arc<CodeCache>>,
    /// Whether code for which a start waits is compiled in haste and replaced by optimized code as soon as that is there. Services, what
    /// calls them, and components whose instances are used again are optimized at once all the same. Default false: Wasmtime gives no
    /// security support for the way in which the hasty code is made, so it is for components that are trusted.
    pub tiered_compilation: bool,
    /// Images that workloads will ask for at once.
    pub expected: Vec<Expected>,
    /// Certificates that outgoing TLS trusts, beside the system's: a PEM file.
    pub extra_ca: Option<PathBuf>,
}

/// Where the memory of instances that end is given back: on the thread that served them, which nobody else uses meanwhile, or on others.
#[derive(Clone, Debug)]
pub struct ReclaimConfig {
    /// Threads that give back memory; 0: each instance's is given back where it ended.
    pub threads: usize,
    /// Linear memory from which on an instance's is given back on these threads, bytes.
    pub threshold_bytes: u64,
    /// Instances that may wait for it at once, an eighth of all there may be at most; past that it is done where they ended, as it is where
    /// more memory would wait than is free of the budget.
    pub most_waiting: u32,
}

/// How services, the long-running components of workloads, are kept going.
#[derive(Clone, Debug)]
pub struct ServiceConfig {
    /// Services at once on the whole host, 0 to 10,000, beside one that takes the place of another. Each holds an instance for as long as its
    /// workload lives.
    pub most: u32,
    /// How long a service that was told to end may take for it before it is interrupted.
    pub grace: Duration,
    /// A service that doesn't listen counts as running once it has gone on for this long.
    pub settle: Duration,
    /// Wait before the first restart within the window; it doubles with each further one.
    pub first_wait: Duration,
    /// The longest wait before a restart.
    pub longest_wait: Duration,
    /// The time within which restarts are counted, for their number as for their waits.
    pub window: Duration,
}

/// What the host's owner lets guests have of the host's own loopback and ports. The default is nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkConfig {
    /// Ports of the host's loopback that components may reach as `host.wasmcloud.internal`, where their grants name them too.
    pub loopback_ports: PortSet,
    /// Ports that a service opens on the host when it listens there on all addresses. Others are seen within its workload alone, as all
    /// are by default.
    pub service_ports: PortSet,
    /// Address of the host at which services open them. Default: 127.0.0.1, so that they are seen on this machine alone.
    pub service_addr: IpAddr,
}

/// What the host's owner lets volumes be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VolumeConfig {
    /// Folders that hostPath volumes may be, or may be in. The default is none.
    pub roots: Vec<PathBuf>,
    /// Where ephemeral volumes are: a folder of this host alone, made if it isn't there. What is in it is removed when the host starts.
    /// None: there are no ephemeral volumes.
    pub folder: Option<PathBuf>,
    /// What one ephemeral volume may take, bytes: its files, and 4 KiB for each name in it.
    pub ephemeral_bytes: u64,
    /// What all ephemeral volumes together may take, bytes. Each has `ephemeral_bytes` of it reserved from its start until its folder is
    /// removed, so that none is ever short of what it may take.
    pub budget_bytes: u64,
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
            instances: None,
            memory_budget_bytes: default_memory_budget(),
            keep_resident_bytes: None,
            guest_connections: None,
            // Wasmtime's default, which Python's and JavaScript's components are built for.
            stack_bytes: 512 << 10,
            compile_threads: std::thread::available_parallelism().map_or(1, |n| n.get().div_ceil(2)),
            // A component has some megabytes: a burst of this many takes a gigabyte or less.
            compile_queue: 256,
            // A neighbour that computes delays others on its core by this at each step of their requests: with 10 ms they waited 20 to
            // 50 at the 99th percentile, with 1 ms as long as beside any program that computes.
            tick: Duration::from_millis(1),
            drain_grace: Duration::from_secs(30),
            services: ServiceConfig::default(),
            network: NetworkConfig::default(),
            volumes: VolumeConfig::default(),
            reclaim: ReclaimConfig::default(),
            log_lines: 1000,
            log_lines_per_second: 1000,
            code: None,
            tiered_compilation: false,
            expected: Vec::new(),
            extra_ca: None,
        }
    }
}

impl Default for VolumeConfig {
    fn default() -> VolumeConfig {
        VolumeConfig {
            roots: Vec::new(),
            folder: None,
            // Room for what one request unpacks, and a thousand of them fit a common disk.
            ephemeral_bytes: 64 << 20,
            // 256 of them, as many as services: what a laptop's disk has free, beside the caches.
            budget_bytes: 16 << 30,
        }
    }
}

impl Default for ServiceConfig {
    fn default() -> ServiceConfig {
        ServiceConfig {
            // 4 GiB of address space each and per engine, like the instances of requests.
            most: 250,
            // Docker's. Most servers don't look at their standard input, and would use up all of a longer one.
            grace: Duration::from_secs(10),
            // Longer than programs need to read their configuration and fail.
            settle: Duration::from_secs(1),
            // A crash that happens once is hardly noticed; one that goes on happening is slowed to two to four starts a minute.
            first_wait: Duration::from_millis(200),
            longest_wait: Duration::from_secs(30),
            window: Duration::from_secs(600),
        }
    }
}

/// The part of the memory budget that instances which are gone may leave resident: one in this many.
const KEEP_RESIDENT_PART: u64 = 4;
/// The part of the process's open files that guests get: one in this many. The ingress and the host itself need the others.
const GUESTS_PART: u64 = 4;
/// The part that the ingress's connections get.
const INGRESS_PART: u64 = 2;

impl HostConfig {
    /// Instances at once in each engine.
    pub fn instances(&self) -> u32 {
        self.instances
            .unwrap_or_else(|| self.slots.saturating_mul(2).saturating_add(self.services.most).saturating_add(self.reclaim.most_waiting))
    }

    /// Memory that instances which are gone may leave resident, bytes.
    pub fn keep_resident_bytes(&self) -> u64 {
        self.keep_resident_bytes.unwrap_or(self.memory_budget_bytes / KEEP_RESIDENT_PART)
    }

    /// Sockets and outgoing connections of all guests, where the process may open `files`.
    pub(crate) fn guest_connections(&self, files: u64) -> usize {
        /// As many as one address has ports.
        const MOST: u64 = 65_536;
        self.guest_connections.unwrap_or_else(|| usize::try_from((files / GUESTS_PART).clamp(1, MOST)).unwrap_or(1))
    }

    /// Connections of the ingress, where the process may open `files`: those that are configured, as far as half of the files go. Past
    /// that accepting would fail, where past this a client is answered.
    pub(crate) fn max_connections(&self, files: u64) -> usize {
        self.ingress.limits.max_connections.min(usize::try_from((files / INGRESS_PART).max(1)).unwrap_or(usize::MAX))
    }
}

impl Default for ReclaimConfig {
    fn default() -> ReclaimConfig {
        ReclaimConfig {
            // Filling memory takes several times as long as giving it back, so one keeps up with the cores that do nothing else.
            threads: std::thread::available_parallelism().map_or(1, |n| n.get().div_ceil(4)),
            // Less is given back in less than half a tick.
            threshold_bytes: 4 << 20,
            // A fifth of a second at 32 MiB each.
            most_waiting: 64,
        }
    }
}

impl Default for NetworkConfig {
    fn default() -> NetworkConfig {
        NetworkConfig {
            loopback_ports: PortSet::default(),
            service_ports: PortSet::default(),
            service_addr: IpAddr::V4(Ipv4Addr::LOCALHOST),
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
    fn connections_fit_the_files_that_the_process_may_open() {
        let config = HostConfig::default();
        assert_eq!((config.guest_connections(1024), config.max_connections(1024)), (256, 512));
        assert_eq!((config.guest_connections(u64::MAX), config.max_connections(u64::MAX)), (65_536, 16_384));
        assert_eq!((config.guest_connections(0), config.max_connections(0)), (1, 1));
        assert_eq!(HostConfig { guest_connections: Some(7), ..config }.guest_connections(1024), 7);
    }

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
