//! `spec.hostInterfaces`.

use semver::Version;

use super::checker::Checker;
use super::config;
use crate::interface::{HostInterface, is_kebab_name, versions_meet};
use crate::path::Path;
use crate::resource::HostInterfaceSpec;
use crate::text::quote;

/// Most host interfaces of one workload.
pub const MAX_INTERFACES: usize = 64;
/// Longest name of an entry, characters.
const MAX_NAME: usize = 64;

/// Checks each entry and how they stand beside each other. Each comes
/// with its place in the list, as an invalid one is left out.
pub(super) fn check(checker: &mut Checker<'_>, specs: &[HostInterfaceSpec], spec_path: &Path<'_>) -> Vec<(usize, HostInterface)> {
    let list = spec_path.field("hostInterfaces");
    if specs.len() > MAX_INTERFACES {
        checker.wrong(&list, format!("must have at most {MAX_INTERFACES} entries, but has {}", specs.len()));
        return Vec::new();
    }
    let mut checked: Vec<(usize, HostInterface)> = Vec::with_capacity(specs.len());
    for (index, spec) in specs.iter().enumerate() {
        let path = list.index(index);
        let Some(entry) = one(checker, spec, &path) else { continue };
        if let Some((_, other)) = checked.iter().find(|(_, other)| clash(&entry, other)) {
            checker.wrong(&path, clash_message(&entry, other));
        }
        checked.push((index, entry));
    }
    checked
}

fn one(checker: &mut Checker<'_>, spec: &HostInterfaceSpec, path: &Path<'_>) -> Option<HostInterface> {
    let mut valid = true;
    let mut wit_name = |checker: &mut Checker<'_>, text: &str, path: &Path<'_>| {
        if !is_kebab_name(text) {
            checker.wrong(path, format!("`{}` is not a WIT name: words of letters and digits joined by `-`", quote(text)));
            valid = false;
        }
    };
    wit_name(checker, &spec.namespace, &path.field("namespace"));
    wit_name(checker, &spec.package, &path.field("package"));
    let list = path.field("interfaces");
    let mut interfaces: Vec<String> = Vec::with_capacity(spec.interfaces.len());
    for (index, interface) in spec.interfaces.iter().enumerate() {
        wit_name(checker, interface, &list.index(index));
        if !interfaces.contains(interface) {
            interfaces.push(interface.clone());
        }
    }
    if interfaces.is_empty() {
        checker.wrong(&list, "must name at least one interface of the package");
        valid = false;
    }
    // Kubernetes' clients leave an empty text out, so it says the same as none.
    let version = spec.version.as_deref().filter(|text| !text.is_empty());
    let version = version
        .map(|text| Version::parse(text).map_err(|error| format!("`{}` is not a version: {error}; write it like `0.2.3`", quote(text))));
    let version = version.map(|version| checker.keep(version, &path.field("version")));
    let name = spec.name.clone().filter(|text| !text.is_empty());
    if let Some(name) = name.as_deref().filter(|name| !is_entry_name(name)) {
        let message = format!(
            "`{}` is not a name: at most {MAX_NAME} lower-case letters, digits and `-`, a letter or digit at both ends",
            quote(name)
        );
        checker.wrong(&path.field("name"), message);
        valid = false;
    }
    let config = config::merge(checker, &spec.config, &spec.config_from, &spec.secret_from, path);
    let version = match version {
        Some(None) => return None,
        Some(Some(version)) => Some(version),
        None => None,
    };
    let (namespace, package) = (spec.namespace.clone(), spec.package.clone());
    valid.then_some(HostInterface { namespace, package, interfaces, version, name, config })
}

fn is_entry_name(text: &str) -> bool {
    let edge = |b: Option<&u8>| b.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    let bytes = text.as_bytes();
    bytes.len() <= MAX_NAME
        && edge(bytes.first())
        && edge(bytes.last())
        && bytes.iter().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-')
}

/// Whether a component's import couldn't be told to belong to one of the two.
fn clash(a: &HostInterface, b: &HostInterface) -> bool {
    if (&a.namespace, &a.package) != (&b.namespace, &b.package) || a.name != b.name {
        return false;
    }
    match a.name {
        Some(_) => a.version == b.version,
        None => versions_meet(a.version.as_ref(), b.version.as_ref()),
    }
}

fn clash_message(entry: &HostInterface, other: &HostInterface) -> String {
    let package = format!("{}:{}", entry.namespace, entry.package);
    match (&entry.name, &entry.version, &other.version) {
        (Some(name), ..) => format!("another entry for {package} has the name `{name}` and this version too; merge them, or rename one"),
        (None, Some(a), Some(b)) if a != b => {
            format!("another entry for {package} has no name either, and its version {b} is compatible with {a}; merge them, or name one")
        }
        (None, ..) => format!("another entry for {package} has no name either; merge them, or give one a name or a version of its own"),
    }
}
