//! Every setting: its flag, its environment variable and its key in the file are one name.

use berth_node::host::HostConfig;

/// Which commands a setting is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// All.
    Global,
    /// `berth up`.
    Up,
}

/// How a setting is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// `--name VALUE`; the word in help for the value.
    Value(&'static str),
    /// `--name PATH`, as often as there are; in the environment with colons between, in the file a list.
    Paths,
    /// `--name`; in environment and file `true` or `false`.
    Switch,
    /// `-v`, `-vv`; in environment and file a number.
    Count(char),
}

/// One setting.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// Flag without dashes, key in the file.
    pub name: &'static str,
    /// Which commands it is for.
    pub scope: Scope,
    /// How it is given.
    pub shape: Shape,
    /// What it does, in one line.
    pub help: &'static str,
    /// What it is when nobody says; empty: see the help.
    pub default: &'static str,
}

impl Setting {
    /// Its environment variable: `BERTH_HTTP_ADDR`.
    pub fn variable(&self) -> String {
        format!("BERTH_{}", self.name.to_ascii_uppercase().replace('-', "_"))
    }

    /// The setting of this name.
    pub fn find(name: &str) -> Option<&'static Setting> {
        SETTINGS.iter().find(|setting| setting.name == name)
    }
}

const fn value(name: &'static str, word: &'static str, default: &'static str, help: &'static str) -> Setting {
    Setting { name, scope: Scope::Up, shape: Shape::Value(word), help, default }
}

const fn switch(name: &'static str, help: &'static str) -> Setting {
    Setting { name, scope: Scope::Up, shape: Shape::Switch, help, default: "" }
}

const fn global(name: &'static str, shape: Shape, default: &'static str, help: &'static str) -> Setting {
    Setting { name, scope: Scope::Global, shape, help, default }
}

/// Every setting, in the order of help and docs. A test compares the defaults with [`HostConfig::default`].
pub const SETTINGS: &[Setting] = &[
    global(
        "data-dir",
        Shape::Value("DIR"),
        "",
        "Folder of one berth: resources, lock and socket [default: $XDG_DATA_HOME/berth, or ~/.local/share/berth]",
    ),
    global(
        "cache-dir",
        Shape::Value("DIR"),
        "",
        "Folder of pulled images and compiled code; several berths share it [default: $XDG_CACHE_HOME/berth, or ~/.cache/berth]",
    ),
    global("image-cache-size", Shape::Value("BYTES"), "4Gi", "The most that pulled images take on disk; the longest unused go first"),
    global("code-cache-size", Shape::Value("BYTES"), "8Gi", "The most that compiled code takes on disk, likewise"),
    global("log-format", Shape::Value("FORMAT"), "pretty", "Logs on standard error: pretty or json"),
    global("color", Shape::Value("WHEN"), "auto", "Colors: auto (on a terminal without NO_COLOR), always or never"),
    global(
        "verbose",
        Shape::Count('v'),
        "0",
        "Log more: what berth does (-v), details and each request (-vv), everything (-vvv); BERTH_LOG takes a filter",
    ),
    value("http-addr", "ADDR", "127.0.0.1:8000", "Where HTTP is answered; port 0 takes a free one"),
    value("admin-addr", "ADDR", "", "Where /livez, /readyz and /metrics are answered [default: nowhere]"),
    switch("ephemeral", "Keep nothing: a data folder of its own that goes at the end, with its caches where no --cache-dir is given"),
    value("drain-grace", "DURATION", "30s", "Time for requests under way to finish when it ends"),
    value("service-grace", "DURATION", "10s", "Time for a service to end by itself once it is told to"),
    value("tls-cert-path", "FILE", "", "Serve TLS with this certificate chain (PEM); read again when it changes"),
    value("tls-key-path", "FILE", "", "The certificate's private key (PEM)"),
    switch("no-wasi-p3", "Refuse components of WASI 0.3"),
    switch(
        "tiered-compilation",
        "Compile in haste what a start waits for, and optimize it while it serves; for components that are trusted",
    ),
    value("registry-ca-path", "FILE", "", "Certificates (PEM) that registries are trusted by beside the system's"),
    switch(
        "cached-when-unreachable",
        "Take a cached image with a warning where imagePullPolicy Always can't ask its registry; otherwise such a start fails and is tried again",
    ),
    value("pulls", "N", "8", "Images pulled at once; others wait"),
    value("pulls-per-registry", "N", "4", "The same from one registry, so that one that hangs leaves places for others"),
    value("insecure-registry", "LIST", "", "Registries spoken to in plain HTTP, HOST[:PORT] with commas between [default: none]"),
    value("host-name", "NAME", "berth", "Name of the Host object"),
    value("host-group", "NAME", "default", "The host's label hostgroup, for hostSelector"),
    value("environment", "NAME", "", "The host's environment, for workloads that ask for one [default: none]"),
    value("threads", "N", "0", "Threads that answer requests; 0: one per core"),
    value("compile-threads", "N", "0", "Components compiled at once; 0: half of the cores"),
    value("compile-queue", "N", "256", "Components that wait to be compiled; the start of one more fails and is tried again"),
    value("slots", "N", "1000", "Requests in flight on the whole host, 1 to 10000"),
    value("services", "N", "250", "Services at once on the whole host, 0 to 10000; each holds an instance"),
    value(
        "instances",
        "N",
        "0",
        "Component instances at once, warm ones and services included, of WASI 0.2 and 0.3 each; 0: twice the slots, one per service, and 64",
    ),
    value("memory-budget", "BYTES", "0", "Memory of all component instances together; 0: three quarters of the machine's"),
    value(
        "keep-resident",
        "BYTES",
        "0",
        "Memory that instances which are gone may leave for those to come; 0: a quarter of the memory budget",
    ),
    value("open-files", "N", "0", "Files, sockets and connections that the process may open; 0: as many as the system allows"),
    value("max-connections", "N", "16384", "Connections of clients, half of the open files at most; one more is answered 503"),
    value("guest-connections", "N", "0", "Sockets, outgoing connections and open files of all components; 0: a quarter of the open files"),
    value("memory", "BYTES", "256Mi", "Memory per instance, for components that ask for no limit of their own"),
    value("request-timeout", "DURATION", "30s", "Time per request, likewise"),
    value("max-in-flight", "N", "256", "Requests in flight per replica, likewise"),
    value("max-queued", "N", "1024", "Requests that wait for a slot, per replica, likewise"),
    value("queue-timeout", "DURATION", "1s", "How long a request waits for a slot, likewise"),
    value("max-request-body", "BYTES", "1Gi", "Size of a request's body, likewise"),
    value("table-elements", "N", "100000", "Elements of all tables of an instance, likewise"),
    value("log-lines", "N", "1000", "Lines kept per workload; the oldest go first"),
    value("log-lines-per-second", "N", "1000", "Lines that a workload may write per second; more are dropped and counted"),
    value("extra-ca-path", "FILE", "", "Certificates (PEM) that components' outgoing TLS trusts beside the system's"),
    value(
        "host-loopback-ports",
        "PORTS",
        "1024-65535",
        "Ports of this machine's loopback that components may reach as host.wasmcloud.internal where a manifest grants them too: PORT[-PORT][/tcp|/udp] with commas between, or none",
    ),
    value(
        "service-ports",
        "PORTS",
        "none",
        "Ports that services may open on this machine, written likewise; others are seen within their workload alone",
    ),
    value("service-addr", "IP", "127.0.0.1", "Address of this machine at which services open them; 0.0.0.0: all of them"),
    Setting {
        name: "volume-root",
        scope: Scope::Up,
        shape: Shape::Paths,
        help: "A folder that hostPath volumes may be, or may be in; give it again for each further one [default: none]",
        default: "",
    },
    value("ephemeral-volume-size", "BYTES", "64Mi", "The most that one ephemeral volume takes: its files, and 4Ki for each name in it"),
    value(
        "volume-budget",
        "BYTES",
        "16Gi",
        "The most that all ephemeral volumes together take; each reserves its size of it while it is there; 0: there are none",
    ),
];

/// The host's defaults, in one place with the table.
pub(super) fn host_defaults() -> HostConfig {
    HostConfig::default()
}
