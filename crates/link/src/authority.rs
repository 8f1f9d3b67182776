//! Which imports carry authority, and the names under which a unit's members import them.
//!
//! An interface carries authority when a call without a handle gets something out of the host that one component was given and its
//! sibling wasn't: variables, standard streams, folders, ways out, and the entry points of every capability. What is listed here as shared
//! has none: it only works on handles that somebody gave, makes values that the guest could as well make itself, or tells what everybody
//! may know. **What isn't listed carries authority**, so that an interface of a later version, or a capability nobody thought of here,
//! is bound to the one component that it was granted to.
//!
//! One interface is both: `wasi:sockets/types` of 0.3 has the types of sockets, and makes them. It is divided. Its types and what is done
//! with a socket that somebody has are shared, so that a socket can be handed over; each function that makes one is a member's own.

use berth_model::interface::InterfaceName;

/// Interfaces of WASI that all members of a unit import together, at whatever version, each with its reason.
///
/// Those that are not here, with what each is bound to: `wasi:cli` environment (variables, arguments), stdin, stdout, stderr and
/// terminal-stdin, -stdout, -stderr (the identity of what is logged); `wasi:filesystem/preopens` (volumes); `wasi:http` outgoing-handler,
/// client and handler (where HTTP goes); `wasi:sockets` tcp-create-socket, udp-create-socket and ip-name-lookup of 0.2, ip-name-lookup
/// and what makes sockets in types of 0.3 (ways out); `wasi:config/store`, and every capability: `wasi:keyvalue`, `wasi:blobstore`,
/// `wasi:logging`, `wasmcloud:messaging`, `wasmcloud:secrets` and what comes.
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

/// Whether the import `import` carries authority by some of its functions alone, and is shared but for these.
pub fn is_divided(import: &str) -> bool {
    import.parse::<InterfaceName>().is_ok_and(|name| name.is("wasi", "sockets", "types"))
}

/// The name under which member `member` of a unit imports `import` from the host: of the root, 0, and of what is shared, its own; of every
/// other member with the member's number: `m1-wasi:cli/environment@0.2.3`.
pub fn renamed(member: usize, import: &str) -> String {
    let is_shared = !carries_authority(import) || is_divided(import);
    if member == 0 || is_shared { import.to_owned() } else { format!("m{member}-{import}") }
}

/// The name under which member `member` has function `function` of a divided interface: of methods, which work on what somebody has, and
/// of the root's functions, their own; of every other member's with the member's number: `[static]tcp-socket.m1-create`.
///
/// None for what can't be told from another member's: a constructor, which has no name to change, and a function of the root's that is
/// called like another member's.
pub fn renamed_function(member: usize, function: &str) -> Option<String> {
    if function.starts_with("[method]") {
        return Some(function.to_owned());
    }
    let (of, name) = match function.rsplit_once('.') {
        Some((of, name)) if of.starts_with("[static]") => (format!("{of}."), name),
        None if !function.starts_with('[') => (String::new(), function),
        _ => return None,
    };
    match member {
        0 => (!is_of_a_member(name)).then(|| function.to_owned()),
        member => Some(format!("{of}m{member}-{name}")),
    }
}

/// Whether a name is one that [`renamed_function`] makes.
fn is_of_a_member(name: &str) -> bool {
    let number = name.strip_prefix('m').and_then(|rest| rest.split_once('-'));
    number.is_some_and(|(number, _)| !number.is_empty() && number.bytes().all(|digit| digit.is_ascii_digit()))
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

    #[test]
    fn l38_what_makes_sockets_is_each_members_own_and_what_works_on_one_is_shared() {
        for import in ["wasi:sockets/types@0.3.0", "wasi:sockets/types@0.4.0-rc.1", "wasi:sockets/types"] {
            assert!(carries_authority(import) && is_divided(import));
            assert_eq!(renamed(3, import), import);
        }
        let names = |member, function| renamed_function(member, function).unwrap_or_default();
        for method in ["[method]tcp-socket.connect", "[method]tcp-socket.m2-connect"] {
            assert_eq!((names(0, method), names(2, method)), (method.to_owned(), method.to_owned()));
        }
        assert_eq!(names(0, "[static]tcp-socket.create"), "[static]tcp-socket.create");
        assert_eq!(names(2, "[static]tcp-socket.create"), "[static]tcp-socket.m2-create");
        assert_eq!((names(0, "open"), names(12, "open")), ("open".to_owned(), "m12-open".to_owned()));
    }

    #[test]
    fn l38_no_function_passes_for_another_members() {
        for (member, function) in [
            (0, "[static]tcp-socket.m1-create"),
            (0, "m1-open"),
            (0, "[constructor]tcp-socket"),
            (1, "[constructor]tcp-socket"),
            (1, "[some]tcp-socket.other"),
        ] {
            assert_eq!(renamed_function(member, function), None, "{member} {function}");
        }
        // One that isn't the root's gets its number before whatever it says.
        assert_eq!(renamed_function(1, "[static]tcp-socket.m2-create").as_deref(), Some("[static]tcp-socket.m1-m2-create"));
        assert_eq!(renamed_function(0, "[static]tcp-socket.make-it").as_deref(), Some("[static]tcp-socket.make-it"));
    }
}
