//! Raw values with where they come from; the strongest place wins.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use super::file::ConfigFile;
use super::flags::Given;
use super::table::SETTINGS;

/// One raw value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Value {
    pub(super) text: String,
    pub(super) origin: Origin,
}

/// Where a value was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    Flag(&'static str),
    Variable(String),
    File { path: PathBuf, line: usize, key: &'static str },
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Flag(name) => write!(f, "--{name}"),
            Origin::Variable(name) => f.write_str(name),
            Origin::File { path, line, key } => write!(f, "{} line {line}: {key}", path.display()),
        }
    }
}

/// Every value that was given somewhere.
#[derive(Debug, Default)]
pub(super) struct Values(BTreeMap<&'static str, Value>);

impl Values {
    /// Flags before environment before file.
    pub(super) fn gather(flags: &Given, environment: &dyn Fn(&str) -> Option<String>, file: ConfigFile) -> Values {
        let mut values = BTreeMap::new();
        for setting in SETTINGS {
            let name = setting.name;
            let flag = || flags.get(name).map(|text| Value { text: text.clone(), origin: Origin::Flag(name) });
            let variable = || {
                let variable = setting.variable();
                environment(&variable).map(|text| Value { text, origin: Origin::Variable(variable) })
            };
            let in_file = || {
                let (text, line) = file.values.get(name)?.clone();
                Some(Value { text, origin: Origin::File { path: file.path.clone(), line, key: name } })
            };
            if let Some(value) = flag().or_else(variable).or_else(in_file) {
                values.insert(name, value);
            }
        }
        Values(values)
    }

    /// Where a value was given, for a person: `--slots`, `BERTH_SLOTS`, or `slots, as it is by default`.
    pub(super) fn origin(&self, name: &str) -> String {
        self.get(name).map_or_else(|| format!("{name}, as it is by default"), |value| value.origin.to_string())
    }

    pub(super) fn get(&self, name: &str) -> Option<&Value> {
        debug_assert!(SETTINGS.iter().any(|setting| setting.name == name), "{name} is no setting");
        self.0.get(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flag_wins_over_the_environment_and_that_over_the_file() {
        let flags = Given::from([("slots", "1".to_owned())]);
        let environment = |name: &str| match name {
            "BERTH_SLOTS" | "BERTH_THREADS" => Some("2".to_owned()),
            _ => None,
        };
        let values = ["slots", "threads", "memory"].map(|name| (name, ("3".to_owned(), 7)));
        let values = Values::gather(&flags, &environment, ConfigFile { path: "b.toml".into(), values: values.into() });
        let get = |name: &str| values.get(name).map(|v| (v.text.clone(), v.origin.to_string())).unwrap();
        assert_eq!(get("slots"), ("1".into(), "--slots".into()));
        assert_eq!(get("threads"), ("2".into(), "BERTH_THREADS".into()));
        assert_eq!(get("memory"), ("3".into(), "b.toml line 7: memory".into()));
        assert!(values.get("environment").is_none());
    }
}
