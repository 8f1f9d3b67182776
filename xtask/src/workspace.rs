//! Where things are: the repository, the build output, the tools that `setup` installs.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// Folders that the tasks work in.
pub struct Workspace {
    /// The repository.
    pub root: PathBuf,
    /// Cargo's output: `CARGO_TARGET_DIR`, else `target` in the repository.
    pub target: PathBuf,
    /// Installed tools, shared by all clones: `tools` in `BERTH_CACHE`, by default `~/.cache/berth`.
    pub tools: PathBuf,
}

impl Workspace {
    /// Finds the folders from the environment that cargo gives this program.
    pub fn find() -> Result<Workspace> {
        let manifest = env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
        let root = manifest.parent().context("xtask's folder has no parent")?.to_path_buf();
        let target = match env::var_os("CARGO_TARGET_DIR").filter(|folder| !folder.is_empty()) {
            // Relative to where cargo was called, as cargo takes it.
            Some(folder) => env::current_dir().context("cannot tell the current folder")?.join(folder),
            None => root.join("target"),
        };
        let cache = match env::var_os("BERTH_CACHE").filter(|folder| !folder.is_empty()) {
            Some(folder) => std::path::absolute(folder).context("BERTH_CACHE is no path")?,
            None => env::home_dir().context("no place for tools: set BERTH_CACHE or HOME")?.join(".cache/berth"),
        };
        Ok(Workspace { root, target, tools: cache.join("tools") })
    }

    /// Manifests of the cargo workspaces in the repository: the main one, and those that are built apart from it.
    pub fn manifests(&self) -> Result<Vec<PathBuf>> {
        let mut manifests = vec![self.root.join("Cargo.toml")];
        let apart = ["guests", "fuzz"].map(|folder| self.root.join(folder)).into_iter().chain(folders(&self.root.join("examples"))?);
        manifests.extend(apart.map(|folder| folder.join("Cargo.toml")).filter(|manifest| manifest.is_file()));
        Ok(manifests)
    }
}

/// The folders in `path`, sorted; none if there is no such folder.
fn folders(path: &Path) -> Result<Vec<PathBuf>> {
    if !path.is_dir() {
        return Ok(Vec::new());
    }
    let mut folders = Vec::new();
    for entry in fs::read_dir(path).with_context(|| format!("cannot read {}", path.display()))? {
        let entry = entry.with_context(|| format!("cannot read {}", path.display()))?.path();
        if entry.is_dir() {
            folders.push(entry);
        }
    }
    folders.sort();
    Ok(folders)
}
