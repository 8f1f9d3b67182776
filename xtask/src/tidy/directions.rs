//! Which crate may depend on which, where a foreign crate may be used, and that foreign crates have one major version.

use std::collections::{BTreeMap, BTreeSet};

use super::Finding;
use super::metadata::{Metadata, Package};

/// The crates and what of ours each may depend on. ARCHITECTURE.md draws it.
const DIRECTIONS: [(&str, &[&str]); 12] = [
    ("berth-model", &[]),
    ("berth-http", &[]),
    ("berth-control", &["berth-model"]),
    ("berth-oci", &["berth-model"]),
    ("berth-link", &["berth-model"]),
    ("berth-host", &["berth-model", "berth-oci", "berth-http", "berth-link"]),
    ("berth-operator", &["berth-model", "berth-control"]),
    ("berth-node", &["berth-model", "berth-control", "berth-oci", "berth-http", "berth-host", "berth-operator"]),
    ("berth-cli", &["berth-node"]),
    ("berth-testkit", &["berth-model", "berth-control", "berth-oci", "berth-http", "berth-host", "berth-operator", "berth-node"]),
    ("berth-benches", &["berth-model", "berth-control", "berth-oci", "berth-host", "berth-operator", "berth-testkit"]),
    ("xtask", &["berth-testkit"]),
];

/// What any crate's tests may use besides.
const FOR_TESTS: [&str; 1] = ["berth-testkit"];

/// A foreign crate that belongs into few of ours.
struct Seat {
    /// The crate's name, or with `*` how it starts.
    name: &'static str,
    /// Who may use it.
    crates: &'static [&'static str],
    /// Why only they.
    reason: &'static str,
}

/// Seats; tests are free to use what they like.
const SEATS: [Seat; 8] = [
    Seat { name: "wasmtime*", crates: &["berth-host"], reason: "the engine is seen only inside the host" },
    Seat { name: "wac-*", crates: &["berth-link"], reason: "composition stays inside link" },
    Seat { name: "rusqlite", crates: &["berth-operator"], reason: "the embedded store is the only database" },
    Seat { name: "prost*", crates: &["berth-control", "xtask"], reason: "the wire format stays inside control" },
    Seat { name: "pbjson*", crates: &["berth-control", "xtask"], reason: "the wire format stays inside control" },
    Seat { name: "clap*", crates: &["berth-cli", "xtask"], reason: "flags and environment are read only at the edge" },
    Seat { name: "anyhow", crates: &["berth-cli", "berth-testkit", "xtask"], reason: "libraries have error types of their own" },
    Seat {
        name: "tokio*",
        crates: &[
            "berth-control",
            "berth-oci",
            "berth-http",
            "berth-host",
            "berth-operator",
            "berth-node",
            "berth-cli",
            "berth-testkit",
            "berth-benches",
            "xtask",
        ],
        reason: "model and link hold values and know no runtime",
    },
];

/// Foreign crates whose types cross our interfaces: two majors of one would not meet.
const ONE_MAJOR: [&str; 13] = [
    "bytes",
    "http",
    "http-body",
    "hyper",
    "hyper-util",
    "jiff",
    "prost",
    "rustls",
    "serde",
    "tokio",
    "tokio-rustls",
    "tracing",
    "wasmtime",
];

/// Dependencies that go the wrong way.
pub fn check(metadata: &Metadata) -> Vec<Finding> {
    let ours: BTreeSet<&str> = metadata.ours().map(|package| package.name.as_str()).collect();
    let mut findings = Vec::new();
    for package in metadata.ours() {
        let Some((_, allowed)) = DIRECTIONS.iter().find(|(name, _)| *name == package.name) else {
            let message = format!("{} has no place in the crates' directions: give it one in xtask/src/tidy/directions.rs", package.name);
            findings.push(Finding::new("direction", &package.manifest(), 0, message));
            continue;
        };
        for dependency in &package.dependencies {
            let name = dependency.name.as_str();
            let for_tests = dependency.kind.as_deref() == Some("dev");
            if ours.contains(name) {
                let fine = allowed.contains(&name) || for_tests && (FOR_TESTS.contains(&name) || name == package.name);
                if !fine {
                    let message = format!("{} must not depend on {name}; it may on: {}", package.name, list(allowed));
                    findings.push(Finding::new("direction", &package.manifest(), 0, message));
                }
            } else if !for_tests {
                findings.extend(seats(package, name));
            }
        }
    }
    findings
}

fn seats<'a>(package: &'a Package, dependency: &'a str) -> impl Iterator<Item = Finding> + 'a {
    let fits = move |seat: &&Seat| match seat.name.strip_suffix('*') {
        Some(start) => dependency.starts_with(start),
        None => dependency == seat.name,
    };
    SEATS.iter().filter(fits).filter(|seat| !seat.crates.contains(&package.name.as_str())).map(move |seat| {
        let message = format!("{} must not depend on {dependency}: {}", package.name, seat.reason);
        Finding::new("direction", &package.manifest(), 0, message)
    })
}

/// Crates of [`ONE_MAJOR`] that the lockfile holds in several majors.
pub fn majors(metadata: &Metadata) -> Vec<Finding> {
    let mut versions: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for package in metadata.packages.iter().filter(|package| ONE_MAJOR.contains(&package.name.as_str())) {
        versions.entry(&package.name).or_default().insert(major(&package.version));
    }
    let several = versions.into_iter().filter(|(_, majors)| majors.len() > 1);
    several
        .map(|(name, majors)| {
            let majors = majors.into_iter().collect::<Vec<_>>().join(" and ");
            Finding::new(
                "major",
                "Cargo.lock",
                0,
                format!("{name} is there as {majors}: its types cross our interfaces, so there must be one"),
            )
        })
        .collect()
}

/// The part of a version that compatible versions share: `1` of 1.2.3, `0.23` of 0.23.4, `0.0.3` of 0.0.3.
fn major(version: &str) -> String {
    let parts: Vec<&str> = version.split('.').collect();
    let significant = parts.iter().position(|part| *part != "0").unwrap_or(parts.len() - 1);
    parts[..=significant].join(".")
}

fn list(names: &[&str]) -> String {
    if names.is_empty() { "none of ours".to_owned() } else { names.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages(findings: Vec<Finding>) -> Vec<String> {
        findings.into_iter().map(|finding| finding.message).collect()
    }

    #[test]
    fn a_dependency_against_the_direction_is_found() {
        let metadata = Metadata::of(&[
            ("berth-model", "0.1.0", true, &[("berth-host", None)]),
            ("berth-host", "0.1.0", true, &[("berth-model", None), ("wasmtime", None)]),
        ]);
        assert_eq!(messages(check(&metadata)), ["berth-model must not depend on berth-host; it may on: none of ours"]);
    }

    #[test]
    fn tests_may_use_the_testkit_but_not_reach_upwards() {
        let metadata = Metadata::of(&[
            ("berth-oci", "0.1.0", true, &[("berth-testkit", Some("dev")), ("berth-node", Some("dev")), ("anyhow", Some("dev"))]),
            ("berth-testkit", "0.1.0", true, &[]),
            ("berth-node", "0.1.0", true, &[]),
        ]);
        assert_eq!(messages(check(&metadata)), ["berth-oci must not depend on berth-node; it may on: berth-model"]);
    }

    #[test]
    fn a_foreign_crate_stays_in_its_seat() {
        let metadata = Metadata::of(&[("berth-operator", "0.1.0", true, &[("wasmtime-wasi", None), ("anyhow", None), ("rusqlite", None)])]);
        assert_eq!(
            messages(check(&metadata)),
            [
                "berth-operator must not depend on wasmtime-wasi: the engine is seen only inside the host",
                "berth-operator must not depend on anyhow: libraries have error types of their own",
            ]
        );
    }

    #[test]
    fn a_new_crate_needs_a_place() {
        let metadata = Metadata::of(&[("berth-new", "0.1.0", true, &[])]);
        assert_eq!(check(&metadata).len(), 1);
    }

    #[test]
    fn two_majors_of_a_key_crate_are_found() {
        let metadata = Metadata::of(&[
            ("http", "0.2.12", false, &[]),
            ("http", "1.4.0", false, &[]),
            ("tokio", "1.54.0", false, &[]),
            ("rand", "0.8.0", false, &[]),
            ("rand", "0.9.0", false, &[]),
        ]);
        assert_eq!(messages(majors(&metadata)), ["http is there as 0.2 and 1: its types cross our interfaces, so there must be one"]);
    }

    #[test]
    fn majors_follow_semver() {
        assert_eq!([major("1.2.3"), major("0.23.4"), major("0.0.3"), major("0.0.0")], ["1", "0.23", "0.0.3", "0.0.0"]);
    }

    #[test]
    fn no_crate_may_depend_on_one_that_may_depend_on_it() {
        for (name, allowed) in DIRECTIONS {
            for other in allowed {
                let (_, back) = DIRECTIONS.iter().find(|(crate_name, _)| crate_name == other).expect("a known crate");
                assert!(!back.contains(&name), "{name} and {other}");
            }
        }
    }
}
