//! Raw values to checked ones: which setting becomes what, within which bounds, and which contradict each other.

mod read;

use std::io::IsTerminal;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use berth_node::caches::CachesConfig;
use berth_node::host::{HostConfig, NetworkConfig, VolumeConfig};
use berth_node::http_stack::TlsConfig;
use berth_node::model::grants::PortSet;
use berth_node::model::limits::Effective;
use berth_node::oci::{RegistryLimits, RegistrySettings};
use berth_node::roles::local::LocalConfig;
use berth_node::telemetry::{LogConfig, LogFormat};

use self::read::{address, bytes, certificates, duration, folders, label, number, open_files, path, ports, registry_list, switch};
use super::table::host_defaults;
use super::values::{Origin, Values};

/// What every command needs.
#[derive(Clone, Debug)]
pub struct Common {
    /// The data folder.
    pub data_dir: PathBuf,
    /// The caches.
    pub caches: CachesConfig,
    /// Whether the caches' folder was named, and isn't the default.
    pub cache_dir_given: bool,
    /// Docker's configuration, where there may be one.
    pub docker_config: Option<PathBuf>,
    /// Logs.
    pub log: LogConfig,
    /// Whether standard output is colored.
    pub color: bool,
}

/// What `up` needs.
#[derive(Clone, Debug)]
pub struct Up {
    /// Open files to ask the system for; none: as many as it gives.
    pub open_files: Option<u64>,
    /// What the node takes.
    pub local: LocalConfig,
}

/// Whether the user asked all programs for no colors (no-color.org).
pub(super) fn no_color() -> bool {
    std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
}

pub(super) fn common(values: &Values, environment: &dyn Fn(&str) -> Option<String>, errors: &mut Vec<String>) -> Common {
    let mut check = Check { values, errors };
    let format = check.read("log-format", LogFormat::Pretty, |text| match text {
        "pretty" => Ok(LogFormat::Pretty),
        "json" => Ok(LogFormat::Json),
        _ => Err(format!("`{text}` is not a log format: pretty or json")),
    });
    let color = check.read("color", None, |text| match text {
        "auto" => Ok(None),
        "always" => Ok(Some(true)),
        "never" => Ok(Some(false)),
        _ => Err(format!("`{text}` is not a choice of colors: auto, always or never")),
    });
    let verbosity = check.read("verbose", 0, number(0..=u8::MAX));
    let data_dir = check.read("data-dir", PathBuf::new(), path);
    let data_dir = if data_dir.as_os_str().is_empty() { default_data_dir(environment, check.errors) } else { data_dir };
    let named = check.read("cache-dir", None, |text| path(text).map(Some));
    let cache_dir_given = named.is_some();
    let sizes = CachesConfig::default();
    let caches = CachesConfig {
        required: cache_dir_given,
        dir: named.or_else(|| xdg(environment, "XDG_CACHE_HOME", ".cache")),
        image_bytes: check.read("image-cache-size", sizes.image_bytes, bytes(0..=u64::MAX)),
        code_bytes: check.read("code-cache-size", sizes.code_bytes, bytes(0..=u64::MAX)),
    };
    let docker = environment("DOCKER_CONFIG").map(PathBuf::from);
    let docker = docker.or_else(|| environment("HOME").map(|home| PathBuf::from(home).join(".docker")));
    let docker_config = docker.map(|folder| folder.join("config.json"));
    let colored = |terminal: bool| color.unwrap_or(terminal && !no_color());
    let log = LogConfig { format, verbosity, filter: environment("BERTH_LOG"), color: colored(std::io::stderr().is_terminal()) };
    Common { data_dir, caches, cache_dir_given, docker_config, log, color: colored(std::io::stdout().is_terminal()) }
}

fn default_data_dir(environment: &dyn Fn(&str) -> Option<String>, errors: &mut Vec<String>) -> PathBuf {
    xdg(environment, "XDG_DATA_HOME", ".local/share").unwrap_or_else(|| {
        errors.push("there is neither XDG_DATA_HOME nor HOME to find the data folder by: name it with --data-dir".to_owned());
        PathBuf::new()
    })
}

/// Berth's folder in one of the user's base directories: `variable`, or else `below` the home.
fn xdg(environment: &dyn Fn(&str) -> Option<String>, variable: &str, below: &str) -> Option<PathBuf> {
    // A relative path there is to be ignored (XDG base directory specification).
    let absolute = |name: &str| environment(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let base = absolute(variable).or_else(|| absolute("HOME").map(|home| home.join(below)));
    base.map(|base| base.join("berth"))
}

pub(super) fn up(values: &Values, common: &Common, errors: &mut Vec<String>) -> Up {
    let mut check = Check { values, errors };
    let mut host = host_defaults();
    ingress(&mut check, &mut host);
    bounds(&mut check, &mut host);
    host.limits = limits(&mut check, host.limits);
    host.wasi_p3 &= !check.read("no-wasi-p3", false, switch);
    host.tiered_compilation = check.read("tiered-compilation", host.tiered_compilation, switch);
    host.name = check.read("host-name", host.name, label);
    let group = check.read("host-group", "default".to_owned(), label);
    host.labels.insert("hostgroup".into(), group);
    host.environment = check.read("environment", host.environment, label);
    host.drain_grace = check.read("drain-grace", host.drain_grace, duration(Duration::ZERO..=Duration::from_secs(3600)));
    host.services.grace = check.read("service-grace", host.services.grace, duration(Duration::ZERO..=Duration::from_secs(3600)));
    host.extra_ca = check.read("extra-ca-path", None, |text| certificates(text).map(Some));
    host.network = network(&mut check, host.network);
    host.volumes = volumes(&mut check, host.volumes);
    let admin_addr = check.read("admin-addr", None, |text| address(text).map(Some));
    if let Some(admin) = admin_addr.filter(|admin| collide(host.ingress.addr, *admin)) {
        let [http_addr, admin_addr] = ["http-addr", "admin-addr"].map(|name| values.origin(name));
        check.errors.push(format!(
            "{http_addr}: {} and {admin_addr}: {admin} want the same port {}: give each a port of its own",
            host.ingress.addr,
            admin.port()
        ));
    }
    let ephemeral = check.read("ephemeral", false, switch);
    if ephemeral && let Some(Origin::Flag(_)) = values.get("data-dir").map(|value| &value.origin) {
        check.errors.push("--ephemeral keeps nothing and --data-dir says where to keep it: give one of them".to_owned());
    }
    let data_dir = (!ephemeral).then(|| common.data_dir.clone());
    let mut caches = common.caches.clone();
    if ephemeral && !common.cache_dir_given {
        caches.dir = None;
    }
    let registries = registries(&mut check, common);
    let open_files = check.read("open-files", None, open_files);
    Up { open_files, local: LocalConfig { host, data_dir, admin_addr, caches, registries, ..LocalConfig::default() } }
}

/// What components get of this machine's loopback and ports. Local mode opens the ports that any user of the machine may open, as who
/// runs it and who writes the grants is mostly one person; those below, of the system's own services, are to be named.
fn network(check: &mut Check<'_>, defaults: NetworkConfig) -> NetworkConfig {
    NetworkConfig {
        loopback_ports: check.read("host-loopback-ports", PortSet::of(1024..=u16::MAX), ports),
        service_ports: check.read("service-ports", defaults.service_ports, ports),
        service_addr: check.read("service-addr", defaults.service_addr, |text| {
            text.parse().map_err(|_| format!("`{}` is not an address like 127.0.0.1, 0.0.0.0 or ::1", text.escape_debug()))
        }),
    }
}

/// What volumes may be. Where ephemeral ones are is the node's affair.
fn volumes(check: &mut Check<'_>, defaults: VolumeConfig) -> VolumeConfig {
    let volumes = VolumeConfig {
        roots: check.read("volume-root", defaults.roots, folders),
        ephemeral_bytes: check.read("ephemeral-volume-size", defaults.ephemeral_bytes, bytes(4 << 10..=1 << 40)),
        budget_bytes: check.read("volume-budget", defaults.budget_bytes, bytes(0..=1 << 50)),
        folder: defaults.folder,
    };
    if (1..volumes.ephemeral_bytes).contains(&volumes.budget_bytes) {
        let [budget, each] = ["volume-budget", "ephemeral-volume-size"].map(|name| check.values.origin(name));
        check.errors.push(format!(
            "{budget}: {} bytes are fewer than {each}: {}, so that no ephemeral volume would have room; 0 is for none",
            volumes.budget_bytes, volumes.ephemeral_bytes
        ));
    }
    volumes
}

fn registries(check: &mut Check<'_>, common: &Common) -> RegistrySettings {
    let limits = RegistryLimits::default();
    RegistrySettings {
        ca_file: check.read("registry-ca-path", None, |text| certificates(text).map(Some)),
        insecure: check.read("insecure-registry", Vec::new(), registry_list),
        docker_config: common.docker_config.clone(),
        cached_when_unreachable: check.read("cached-when-unreachable", false, switch),
        limits: RegistryLimits {
            concurrent_pulls: check.read("pulls", limits.concurrent_pulls, number(1..=1000)),
            concurrent_pulls_per_registry: check.read("pulls-per-registry", limits.concurrent_pulls_per_registry, number(1..=1000)),
            ..limits
        },
        ..RegistrySettings::default()
    }
}

fn ingress(check: &mut Check<'_>, host: &mut HostConfig) {
    host.ingress.addr = check.read("http-addr", host.ingress.addr, address);
    host.ingress.threads = check.read("threads", host.ingress.threads, number(0..=1024));
    let cert = check.read("tls-cert-path", None, |text| path(text).map(Some));
    let key = check.read("tls-key-path", None, |text| path(text).map(Some));
    match (cert, key) {
        (Some(cert), Some(key)) => host.ingress.tls = Some(TlsConfig::new(cert, key)),
        (None, None) => {}
        (Some(_), None) => check.errors.push("tls-cert-path is given without tls-key-path: TLS needs both".to_owned()),
        (None, Some(_)) => check.errors.push("tls-key-path is given without tls-cert-path: TLS needs both".to_owned()),
    }
}

fn bounds(check: &mut Check<'_>, host: &mut HostConfig) {
    let compile_threads = check.read("compile-threads", 0, number(0..=1024));
    if compile_threads > 0 {
        host.compile_threads = compile_threads;
    }
    let budget = check.read("memory-budget", 0, bytes(0..=u64::MAX));
    if budget > 0 {
        host.memory_budget_bytes = budget;
    }
    host.compile_queue = check.read("compile-queue", host.compile_queue, number(0..=100_000));
    host.slots = check.read("slots", host.slots, number(1..=10_000));
    host.services.most = check.read("services", host.services.most, number(0..=10_000));
    let instances = check.read("instances", 0, number(0..=100_000));
    if instances > 0 {
        host.instances = Some(instances);
        if instances < host.slots {
            let [instances_from, slots_from] = ["instances", "slots"].map(|name| check.values.origin(name));
            check.errors.push(format!(
                "{instances_from}: {instances} are fewer than {slots_from}: {}, and each request in flight takes one",
                host.slots
            ));
        }
    }
    let keep_resident = check.read("keep-resident", 0, bytes(0..=u64::MAX));
    host.keep_resident_bytes = (keep_resident > 0).then_some(keep_resident);
    let guest_connections = check.read("guest-connections", 0, number(0..=1_000_000));
    host.guest_connections = (guest_connections > 0).then_some(guest_connections);
    let most = &mut host.ingress.limits.max_connections;
    *most = check.read("max-connections", *most, number(1..=1_000_000));
    host.log_lines = check.read("log-lines", host.log_lines, number(1..=1_000_000));
    host.log_lines_per_second = check.read("log-lines-per-second", host.log_lines_per_second, number(1..=1_000_000));
}

/// Bounds as `localResources.limits` has them ([`berth_node::model::limits::Limits`]).
fn limits(check: &mut Check<'_>, defaults: Effective) -> Effective {
    let ms = Duration::from_millis(1);
    let hour = Duration::from_secs(3600);
    Effective {
        memory_bytes: check.read("memory", defaults.memory_bytes, bytes(64 << 10..=4 << 30)),
        request_timeout: check.read("request-timeout", defaults.request_timeout, duration(ms..=24 * hour)),
        max_in_flight: check.read("max-in-flight", defaults.max_in_flight, number(1..=65_536)),
        max_queued: check.read("max-queued", defaults.max_queued, number(0..=65_536)),
        queue_timeout: check.read("queue-timeout", defaults.queue_timeout, duration(Duration::ZERO..=hour)),
        max_request_body_bytes: check.read("max-request-body", defaults.max_request_body_bytes, bytes(0..=1 << 40)),
        table_elements: check.read("table-elements", defaults.table_elements, number(0..=10_000_000)),
    }
}

/// Reads values and collects what is wrong with them.
struct Check<'a> {
    values: &'a Values,
    errors: &'a mut Vec<String>,
}

impl Check<'_> {
    fn read<T>(&mut self, name: &str, default: T, read: impl FnOnce(&str) -> Result<T, String>) -> T {
        let Some(value) = self.values.get(name) else { return default };
        read(&value.text).unwrap_or_else(|error| {
            self.errors.push(format!("{}: {error}", value.origin));
            default
        })
    }
}

/// Whether one process can't listen on both.
fn collide(a: SocketAddr, b: SocketAddr) -> bool {
    let meet = a.ip() == b.ip() || a.ip().is_unspecified() || b.ip().is_unspecified();
    a.port() == b.port() && a.port() != 0 && meet && a.is_ipv4() == b.is_ipv4()
}

#[cfg(test)]
mod tests {
    use super::super::file::ConfigFile;
    use super::super::flags::Given;
    use super::super::table::{SETTINGS, Scope};
    use super::*;

    fn checked(flags: &[(&'static str, &str)]) -> (Up, Vec<String>) {
        let flags: Given = flags.iter().map(|(name, text)| (*name, (*text).to_owned())).collect();
        let environment = |name: &str| (name == "HOME").then(|| "/home/me".to_owned());
        let values = Values::gather(&flags, &environment, ConfigFile::default());
        let mut errors = Vec::new();
        let common = common(&values, &environment, &mut errors);
        let up = up(&values, &common, &mut errors);
        (up, errors)
    }

    #[test]
    fn everything_wrong_is_told_at_once() {
        let (_, errors) = checked(&[
            ("http-addr", "localhost"),
            ("drain-grace", "long"),
            ("slots", "0"),
            ("memory", "1Ki"),
            ("color", "red"),
            ("tls-key-path", "key.pem"),
            ("host-name", "My Host"),
        ]);
        for part in
            ["--http-addr: `localhost` is not an address", "--drain-grace: ", "--slots: ", "--memory: ", "--color: ", "tls-cert-path"]
        {
            assert!(errors.iter().any(|e| e.contains(part)), "{part} is missing in {errors:#?}");
        }
        assert_eq!(errors.len(), 7, "{errors:#?}");
    }

    #[test]
    fn a_place_to_keep_things_contradicts_keeping_nothing() {
        assert!(checked(&[("ephemeral", "true"), ("data-dir", "/x")]).1[0].contains("give one of them"));
        let (up, errors) = checked(&[("ephemeral", "true")]);
        assert!(errors.is_empty() && up.local.data_dir.is_none());
        assert_eq!(checked(&[]).0.local.data_dir, Some("/home/me/.local/share/berth".into()));
    }

    #[test]
    fn two_settings_that_want_one_port_are_both_named() {
        let (_, errors) = checked(&[("http-addr", "127.0.0.1:9000"), ("admin-addr", "0.0.0.0:9000")]);
        let expected = "--http-addr: 127.0.0.1:9000 and --admin-addr: 0.0.0.0:9000 want the same port 9000: give each a port of its own";
        assert_eq!(errors, [expected]);
        assert!(checked(&[("admin-addr", "127.0.0.1:8000")]).1[0].starts_with("http-addr, as it is by default: 127.0.0.1:8000 and"));
        for (http, admin) in [("127.0.0.1:0", "127.0.0.1:0"), ("127.0.0.1:80", "127.0.0.2:80"), ("[::1]:80", "127.0.0.1:80")] {
            assert!(checked(&[("http-addr", http), ("admin-addr", admin)]).1.is_empty(), "{http} {admin}");
        }
    }

    #[test]
    fn l41_folders_for_volumes_are_there_and_are_taken_as_what_they_lead_to() {
        let tmp = tempfile::tempdir().unwrap();
        let root = tmp.path().canonicalize().unwrap();
        std::fs::create_dir(root.join("a")).unwrap();
        std::fs::write(root.join("file"), "").unwrap();
        std::os::unix::fs::symlink("a", root.join("link")).unwrap();
        let list = format!("{}:{}", root.join("link").display(), root.display());
        let (up, errors) = checked(&[("volume-root", &list), ("ephemeral-volume-size", "1Mi")]);
        let volumes = &up.local.host.volumes;
        assert!(errors.is_empty(), "{errors:?}");
        assert_eq!((volumes.roots.as_slice(), volumes.ephemeral_bytes), ([root.join("a"), root.clone()].as_slice(), 1 << 20));
        for (wrong, part) in [("none", "can't be opened"), ("file", "is no folder")] {
            let (_, errors) = checked(&[("volume-root", root.join(wrong).to_str().unwrap()), ("ephemeral-volume-size", "1")]);
            assert!(errors.len() == 2 && errors[0].starts_with("--volume-root: ") && errors[0].contains(part), "{errors:#?}");
        }
        assert!(checked(&[("volume-root", "")]).1[0].contains("it is empty"));
    }

    #[test]
    fn l31_the_budget_of_volumes_has_room_for_one_or_is_none() {
        let budget = |flags: &[(&'static str, &str)]| {
            let (up, errors) = checked(flags);
            (up.local.host.volumes.budget_bytes, errors)
        };
        assert_eq!(budget(&[]), (16 << 30, Vec::new()));
        assert_eq!(budget(&[("volume-budget", "64Mi")]), (64 << 20, Vec::new()));
        assert_eq!(budget(&[("volume-budget", "0")]), (0, Vec::new()));
        let (_, errors) = budget(&[("volume-budget", "1Mi")]);
        let expected = "--volume-budget: 1048576 bytes are fewer than ephemeral-volume-size, as it is by default: 67108864, so that no ephemeral volume would have room; 0 is for none";
        assert_eq!(errors, [expected]);
        let (_, errors) = budget(&[("ephemeral-volume-size", "17Gi")]);
        assert!(
            errors[0].starts_with("volume-budget, as it is by default: ") && errors[0].contains("--ephemeral-volume-size: "),
            "{errors:?}"
        );
    }

    #[test]
    fn ports_are_opened_by_ranges_or_not_at_all() {
        let (up, errors) = checked(&[("host-loopback-ports", "none"), ("service-ports", "9000-9010/tcp,53"), ("service-addr", "0.0.0.0")]);
        let network = &up.local.host.network;
        assert!(errors.is_empty() && network.loopback_ports.is_empty(), "{errors:?}");
        assert_eq!((network.service_ports.to_string(), network.service_addr.to_string()), ("9000-9010/tcp,53".into(), "0.0.0.0".into()));
        let (_, errors) = checked(&[("host-loopback-ports", "all"), ("service-ports", "9-1"), ("service-addr", "localhost")]);
        let parts = ["--host-loopback-ports: `all` is not", "--service-ports: `9-1` is not", "--service-addr: `localhost` is not"];
        assert!(errors.len() == 3 && errors.iter().zip(parts).all(|(error, part)| error.starts_with(part)), "{errors:#?}");
    }

    #[test]
    fn bounds_are_told_as_they_can_be_typed() {
        let (_, errors) = checked(&[("request-timeout", "25h"), ("queue-timeout", "61m")]);
        assert_eq!(errors, ["--request-timeout: 25h is out of bounds: 1ms to 24h", "--queue-timeout: 1h1m is out of bounds: 0s to 1h"]);
    }

    #[test]
    fn the_defaults_in_the_table_are_those_that_hold() {
        let (untold, errors) = checked(&[]);
        assert!(errors.is_empty(), "{errors:?}");
        let all: Vec<_> = SETTINGS.iter().filter(|s| s.scope == Scope::Up && !s.default.is_empty()).map(|s| (s.name, s.default)).collect();
        let (told, errors) = checked(&all);
        assert!(errors.is_empty(), "{errors:?}");
        assert_eq!(format!("{told:?}"), format!("{untold:?}"));
    }
}
