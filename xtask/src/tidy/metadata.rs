//! What `cargo metadata` says about the workspace, as far as the rules ask.

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::command;
use crate::workspace::Workspace;

/// The workspace's packages and everything they depend on.
#[derive(Deserialize)]
pub struct Metadata {
    /// All packages of the lockfile that this machine's target uses.
    pub packages: Vec<Package>,
}

/// One package.
#[derive(Deserialize)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Where it comes from; the workspace's own come from nowhere.
    pub source: Option<String>,
    /// What its manifest asks for.
    pub dependencies: Vec<Dependency>,
    /// Path of its Cargo.toml.
    pub manifest_path: String,
}

/// One line of a manifest's dependencies.
#[derive(Deserialize)]
pub struct Dependency {
    /// Name of the package.
    pub name: String,
    /// Nothing for a normal dependency, else `dev` or `build`.
    pub kind: Option<String>,
}

/// A package of a test's workspace: name, version, whether it is ours, and its dependencies with their kinds.
#[cfg(test)]
type Listed<'a> = (&'a str, &'a str, bool, &'a [(&'a str, Option<&'a str>)]);

impl Metadata {
    /// Asks cargo.
    pub fn read(workspace: &Workspace) -> Result<Metadata> {
        let text = command::stdout(&mut command::cargo(workspace, &["metadata", "--format-version=1", "--locked"]))?;
        serde_json::from_str(&text).context("cargo metadata printed something unexpected")
    }

    /// The workspace's own packages.
    pub fn ours(&self) -> impl Iterator<Item = &Package> {
        self.packages.iter().filter(|package| package.source.is_none())
    }

    #[cfg(test)]
    pub fn of(packages: &[Listed<'_>]) -> Metadata {
        let package = |(name, version, ours, dependencies): &Listed<'_>| Package {
            name: (*name).to_owned(),
            version: (*version).to_owned(),
            source: (!ours).then(|| "registry".to_owned()),
            dependencies: dependencies
                .iter()
                .map(|(name, kind)| Dependency { name: (*name).to_owned(), kind: kind.map(str::to_owned) })
                .collect(),
            manifest_path: format!("/x/crates/{}/Cargo.toml", name.trim_start_matches("berth-")),
        };
        Metadata { packages: packages.iter().map(package).collect() }
    }
}

impl Package {
    /// Path of its manifest in the repository.
    pub fn manifest(&self) -> String {
        match self.manifest_path.rfind("/crates/") {
            Some(at) => self.manifest_path[at + 1..].to_owned(),
            None => format!("{}/Cargo.toml", self.name),
        }
    }
}
