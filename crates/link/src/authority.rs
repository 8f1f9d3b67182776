//! Which imports carry authority, and the names under which a unit's members import them.
//!
//! An interface carries authority when a call without a handle gets something out of the host that one component was given and its
//! sibling wasn't: variables, standard streams, folders, ways out, and the entry points of every capability. What is listed here as shared
//! has none: it only works on handles that somebody gave, makes values that the guest could as well make itself, or tells what everybody
//! may know. **What isn't listed carries authority**, so that an interface of a later version, or a capability nobody thought of here,
//! is bound to the one component that it was granted to.

use berth_model::interface::InterfaceName;

/// Interfaces of WASI that all members of a unit import together, at whatever version, each with its reason.
///
/// Those that are not here, with what each is bound to: `wasi:cli` environment (variables, arguments), stdin, stdout, stderr and
/// terminal-stdin, -stdout, -stderr (the identity of what is logged); `wasi:filesystem/preopens` (volumes); `wasi:http` outgoing-handler,
/// client and handler (where HTTP goes); `wasi:sockets` tcp-create-socket, udp-create-socket and ip-name-lookup of 0.2, types (it has the
/// constructors of sockets) and ip-name-lookup of 0.3 (ways out); `wasi:config/store`, and every capability: `wasi:keyvalue`,
/// `wasi:blobstore`, `wasi:logging`, `wasmcloud:messaging`, `wasmcloud:secrets` and what comes.
const SHARED: [(&str, &str, &[&str]); 7] = [
    // Streams and errors are made by others; `poll` works on what one has.
    ("wasi", "io", ANY),
    // The same time for everybody.
    ("wasi", "clocks", ANY),
    // Random numbers are nobody's.
    ("wasi", "random", ANY),
    // Requests, responses and bodies are values; sending them is another interface.
    ("wasi", "http", &["types"]),
    // Works on descriptors, and only preopens give the first one.
    ("wasi", "filesystem", &["types"]),
    // A network handle allows nothing by itself: each socket and each lookup is checked where it is made. `tcp` and `udp` work on sockets.
    ("wasi", "sockets", &["network", "instance-network", "tcp", "udp"]),
    // Ends the instance, which all members share anyway; the rest are types of handles and errors.
    ("wasi", "cli", &["exit", "terminal-input", "terminal-output", "types"]),
];

/// Every interface of the package.
const ANY: &[&str] = &[];

/// Whether the import `import` gives its component something of its own. What has no interface's name does.
pub fn carries_authority(import: &str) -> bool {
    let Ok(name) = import.parse::<InterfaceName>() else { return true };
    let is_listed = |(namespace, package, interfaces): &(&str, &str, &[&str])| {
        name.namespace == *namespace && name.package == *package && (interfaces.is_empty() || interfaces.contains(&name.interface.as_str()))
    };
    !SHARED.iter().any(is_listed)
}

/// The name under which member `member` of a unit imports `import` from the host: of the root, 0, and of what carries no authority, its
/// own; of every other member with the member's number: `m1-wasi:cli/environment@0.2.3`.
pub fn renamed(member: usize, import: &str) -> String {
    if member == 0 || !carries_authority(import) { import.to_owned() } else { format!("m{member}-{import}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn l38_whatever_is_not_known_to_be_shared_carries_authority() {
        for import in [
            "wasi:cli/environment@0.2.3",
            "wasi:cli/stdout@0.3.0",
            "wasi:cli/terminal-stdin@0.2.0",
            "wasi:filesystem/preopens@0.2.6",
            "wasi:http/outgoing-handler@0.2.0",
            "wasi:http/client@0.3.0",
            "wasi:http/handler@0.3.0",
            "wasi:sockets/tcp-create-socket@0.2.0",
            "wasi:sockets/ip-name-lookup@0.3.0",
            "wasi:sockets/types@0.3.0",
            "wasi:config/store@0.2.0-rc.1",
            "wasi:keyvalue/store@0.2.0-draft",
            "wasi:keyvalue/atomics",
            "wasi:logging/logging",
            "wasmcloud:messaging/consumer@0.2.0",
            "wasi:whatever/comes@9.0.0",
            "acme:kv/store",
            "log-line",
            "not a name",
        ] {
            assert!(carries_authority(import), "{import}");
            assert_eq!(renamed(0, import), import);
            assert_eq!(renamed(3, import), format!("m3-{import}"));
        }
        for import in [
            "wasi:io/streams@0.2.3",
            "wasi:clocks/monotonic-clock@0.3.0",
            "wasi:random/insecure-seed@0.2.0",
            "wasi:http/types@0.3.0",
            "wasi:filesystem/types@0.2.6",
            "wasi:sockets/tcp@0.2.0",
            "wasi:cli/types@0.3.0",
            "wasi:cli/exit@0.2.0",
        ] {
            assert!(!carries_authority(import), "{import}");
            assert_eq!(renamed(3, import), import);
        }
    }
}
