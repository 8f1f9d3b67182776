//! Names of imports: what a component asks others for, an interface or a function of its own.

use std::fmt;
use std::str::FromStr;

use crate::interface::{InterfaceName, is_kebab_name, versions_meet};
use crate::text::{quote, serde_as_text};

/// The name of an import: `wasi:http/handler@0.3.0`, `acme:kv/store` or, of a function that stands by itself, `log-line`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ImportName {
    /// An interface. Without a version it stands for every version.
    Interface(InterfaceName),
    /// A function, or an interface that a component names as it likes.
    Plain(String),
}

impl ImportName {
    /// Whether the two may mean one import: the same name, and versions of which each would do for the other.
    pub fn meets(&self, other: &ImportName) -> bool {
        match (self, other) {
            (ImportName::Interface(a), ImportName::Interface(b)) => {
                a.same_but_version(b) && versions_meet(a.version.as_ref(), b.version.as_ref())
            }
            (ImportName::Plain(a), ImportName::Plain(b)) => a == b,
            _ => false,
        }
    }
}

impl FromStr for ImportName {
    type Err = InvalidImport;

    fn from_str(text: &str) -> Result<ImportName, InvalidImport> {
        if is_kebab_name(text) {
            return Ok(ImportName::Plain(text.to_owned()));
        }
        text.parse().map(ImportName::Interface).map_err(|_| InvalidImport { text: quote(text) })
    }
}

impl fmt::Display for ImportName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ImportName::Interface(name) => name.fmt(f),
            ImportName::Plain(name) => f.write_str(name),
        }
    }
}

serde_as_text!(ImportName);

/// A text that is no import's name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` is not an import: it must be an interface like `acme:kv/store` or `acme:kv/store@1.2.0`, or a function's name like `log-line`"
)]
pub struct InvalidImport {
    text: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> ImportName {
        text.parse().unwrap()
    }

    #[test]
    fn an_import_is_an_interface_or_a_function() {
        for text in ["wasi:http/handler@0.3.0", "acme:kv/store", "log-line", "x"] {
            assert_eq!(name(text).to_string(), text);
        }
        for text in ["", "acme:kv", "kv/store", "a_b", "acme:kv/store@1", "log line", "Log-line-2x-Y-"] {
            assert!(text.parse::<ImportName>().is_err(), "{text}");
        }
    }

    #[test]
    fn imports_meet_when_one_version_would_do_for_both() {
        let meet = |a: &str, b: &str| name(a).meets(&name(b));
        assert!(meet("acme:kv/store", "acme:kv/store@1.2.0") && meet("acme:kv/store@1.0.0", "acme:kv/store@1.2.0"));
        assert!(meet("get", "get"));
        assert!(!meet("acme:kv/store@1.0.0", "acme:kv/store@2.0.0"));
        assert!(!meet("acme:kv/store", "acme:kv/stores") && !meet("get", "acme:kv/get") && !meet("get", "set"));
    }
}
