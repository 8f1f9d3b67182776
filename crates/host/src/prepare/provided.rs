//! What the host provides of WASI, and which imports nobody has: known from names, before anything is compiled.

use berth_model::interface::InterfaceName;

use crate::compile::Provides;
use crate::config::HostConfig;
use crate::engine;
use crate::intake::Inspection;

/// Packages of WASI that the host provides.
pub(super) const PROVIDED: [&str; 8] = ["cli", "clocks", "config", "filesystem", "http", "io", "random", "sockets"];

/// What a component may import.
pub(super) fn provided_packages() -> String {
    PROVIDED.map(|package| format!("wasi:{package}")).join(", ")
}

/// What this host provides.
pub(crate) fn provides(config: &HostConfig) -> Provides {
    Provides { missing, largest_table: engine::largest_table(config) }
}

/// Imports that nothing provides: known before anything is compiled.
pub(crate) fn missing(inspection: &Inspection) -> Vec<String> {
    inspection.imports.iter().filter(|import| !provided(import)).cloned().collect()
}

pub(crate) fn provided(import: &str) -> bool {
    // A handler of HTTP is a sibling's.
    let is_ours =
        |name: InterfaceName| name.namespace == "wasi" && PROVIDED.contains(&name.package.as_str()) && !name.is("wasi", "http", "handler");
    import.parse().is_ok_and(is_ours)
}
