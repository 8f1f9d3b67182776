//! WIT interfaces: their names, versions, and the entries by which a workload asks the host for them.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use semver::Version;

use crate::text::{quote, serde_as_text};

/// An entry of a workload's host interfaces, with its configuration merged.
#[derive(Clone, PartialEq, Eq)]
pub struct HostInterface {
    /// WIT namespace: `wasi`.
    pub namespace: String,
    /// WIT package: `http`.
    pub package: String,
    /// Interfaces of the package, one at least.
    pub interfaces: Vec<String>,
    /// WIT version; `None` matches any.
    pub version: Option<Version>,
    /// Tells several entries of one package apart.
    pub name: Option<String>,
    /// Merged configuration.
    pub config: BTreeMap<String, String>,
}

impl HostInterface {
    /// Whether this entry is about `interface`: same namespace and package, listed by name, and a compatible version. A
    /// version that either side leaves out matches any.
    pub fn covers(&self, interface: &InterfaceName) -> bool {
        self.namespace == interface.namespace
            && self.package == interface.package
            && self.interfaces.contains(&interface.interface)
            && versions_meet(self.version.as_ref(), interface.version.as_ref())
    }

    /// Whether its configuration is what components read by `wasi:config/store`. An entry with a name isn't: no import could ask for it.
    pub fn is_config_store(&self) -> bool {
        self.namespace == "wasi" && self.package == "config" && self.name.is_none() && self.interfaces.iter().any(|name| name == "store")
    }
}

/// Without values, as they may come from Secrets.
impl fmt::Debug for HostInterface {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let HostInterface { namespace, package, interfaces, version, name, config } = self;
        f.debug_struct("HostInterface")
            .field("namespace", namespace)
            .field("package", package)
            .field("interfaces", interfaces)
            .field("version", version)
            .field("name", name)
            .field("config", &config.keys())
            .finish()
    }
}

/// Whether a component that wants one version can be given the other: the component model's rule for WASI and every other
/// WIT package. The leftmost number that isn't zero must be equal; pre-releases are compatible only with themselves.
pub fn compatible(a: &Version, b: &Version) -> bool {
    if !a.pre.is_empty() || !b.pre.is_empty() {
        return a.cmp_precedence(b).is_eq();
    }
    if a.major != 0 || b.major != 0 {
        return a.major == b.major;
    }
    if a.minor != 0 || b.minor != 0 {
        return a.minor == b.minor;
    }
    a.patch == b.patch
}

/// [`compatible`], where an absent version matches any.
pub fn versions_meet(a: Option<&Version>, b: Option<&Version>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => compatible(a, b),
        _ => true,
    }
}

/// An interface as components import and export it: `wasi:http/handler@0.3.0`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct InterfaceName {
    /// WIT namespace: `wasi`.
    pub namespace: String,
    /// WIT package: `http`.
    pub package: String,
    /// Interface: `handler`.
    pub interface: String,
    /// WIT version.
    pub version: Option<Version>,
}

impl InterfaceName {
    /// Whether it is this interface, at whatever version.
    pub fn is(&self, namespace: &str, package: &str, interface: &str) -> bool {
        self.namespace == namespace && self.package == package && self.interface == interface
    }

    /// Whether the two name one interface, at whatever version.
    pub fn same_but_version(&self, other: &InterfaceName) -> bool {
        self.is(&other.namespace, &other.package, &other.interface)
    }
}

impl FromStr for InterfaceName {
    type Err = InvalidInterface;

    fn from_str(text: &str) -> Result<InterfaceName, InvalidInterface> {
        let invalid = || InvalidInterface { text: quote(text) };
        let (path, version) = match text.split_once('@') {
            Some((path, version)) => (path, Some(Version::parse(version).map_err(|_| invalid())?)),
            None => (text, None),
        };
        let (namespace, rest) = path.split_once(':').ok_or_else(invalid)?;
        let (package, interface) = rest.split_once('/').ok_or_else(invalid)?;
        if ![namespace, package, interface].into_iter().all(is_kebab_name) {
            return Err(invalid());
        }
        Ok(InterfaceName { namespace: namespace.into(), package: package.into(), interface: interface.into(), version })
    }
}

impl fmt::Display for InterfaceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}/{}", self.namespace, self.package, self.interface)?;
        match &self.version {
            Some(version) => write!(f, "@{version}"),
            None => Ok(()),
        }
    }
}

serde_as_text!(InterfaceName);

/// Whether `text` is a WIT name: words of letters and digits, each in one case, joined by single `-`, the first of them
/// starting with a letter. At most 64 characters.
pub fn is_kebab_name(text: &str) -> bool {
    let lower = |word: &str| word.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    let upper = |word: &str| word.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit());
    text.len() <= 64
        && text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.split('-').all(|word| !word.is_empty() && (lower(word) || upper(word)))
}

/// A text that is no interface name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not an interface name: it must be like `wasi:http/handler@0.3.0`")]
pub struct InvalidInterface {
    text: String,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn version(text: &str) -> Version {
        text.parse().unwrap()
    }

    #[test]
    fn versions_are_compatible_while_the_leftmost_number_stands() {
        let cases = [
            ("0.2.0", "0.2.9", true),
            ("0.2.0", "0.3.0", false),
            ("0.0.1", "0.0.2", false),
            ("0.0.1", "0.0.1", true),
            ("1.0.0", "1.9.0", true),
            ("1.0.0", "2.0.0", false),
            ("0.3.0-rc-1", "0.3.0-rc-2", false),
            ("0.3.0-rc-1", "0.3.0-rc-1", true),
            ("0.3.0-rc-1", "0.3.0", false),
            ("0.3.0+a", "0.3.0+b", true),
        ];
        for (a, b, expected) in cases {
            assert_eq!(compatible(&version(a), &version(b)), expected, "{a} and {b}");
            assert_eq!(compatible(&version(b), &version(a)), expected, "{b} and {a}");
        }
    }

    #[test]
    fn an_entry_covers_its_interfaces_at_compatible_versions() {
        let mut entry = HostInterface {
            namespace: "wasi".into(),
            package: "http".into(),
            interfaces: vec!["handler".into()],
            version: Some(version("0.3.0")),
            name: None,
            config: BTreeMap::new(),
        };
        let covers = |entry: &HostInterface, text: &str| entry.covers(&text.parse().unwrap());
        assert!(covers(&entry, "wasi:http/handler@0.3.1") && covers(&entry, "wasi:http/handler"));
        for other in ["wasi:http/handler@0.2.0", "wasi:http/client@0.3.0", "wasi:io/handler@0.3.0", "acme:http/handler@0.3.0"] {
            assert!(!covers(&entry, other), "{other}");
        }
        entry.version = None;
        assert!(covers(&entry, "wasi:http/handler@0.2.0"));
    }

    #[test]
    fn names_have_four_parts_of_which_the_version_may_be_left_out() {
        for text in ["wasi:http/handler@0.3.0", "wasi:http/handler", "a-b1:c-2d/E-f@1.0.0-rc.1+x"] {
            assert_eq!(text.parse::<InterfaceName>().unwrap().to_string(), text);
        }
        for text in [
            "",
            "wasi",
            "wasi:http",
            "wasi/http",
            "wasi:http/",
            "wasi:http/handler@",
            "wasi:http/handler@0.3",
            "wasi:http/a/b",
            "1a:b/c",
            "a--b:c/d",
            "a:b/cD",
        ] {
            assert!(text.parse::<InterfaceName>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_an_interface_or_an_error_and_reads_back_as_itself(text in "\\PC{0,8}|[a-z-]{1,4}:[a-z0-9-]{1,4}/[a-zA-Z-]{1,4}(@[0-9]\\.[0-9]\\.[0-9])?") {
            if let Ok(name) = text.parse::<InterfaceName>() {
                prop_assert_eq!(name.to_string().parse::<InterfaceName>().unwrap(), name);
            }
        }
    }
}
