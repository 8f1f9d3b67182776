//! The examples: how each folder of `examples/` is built, for those who run it in its place and for tests, which keep it by content.
//!
//! An example is a cargo workspace of its own and a manifest, whose images are paths below the example's own `target`.

use std::fs;
use std::path::{Path, PathBuf};

use berth_model::manifest::{self, Document, ManifestError};

use super::build::{BuildError, Builder, failed, make_dir, say};
use super::hash;

/// Where cargo leaves components, below its target folder; manifests of examples name them there.
const BUILT: &str = "wasm32-wasip2/release";

impl Builder {
    /// The names of all examples, sorted: the folders of `examples/`.
    ///
    /// # Errors
    /// If the folder can't be read.
    pub fn examples(&self) -> Result<Vec<String>, BuildError> {
        let folder = self.repository.join("examples");
        let mut names = Vec::new();
        for entry in fs::read_dir(&folder).map_err(failed("reading folder", &folder))? {
            let entry = entry.map_err(failed("reading folder", &folder))?;
            if entry.path().is_dir() {
                names.push(entry.file_name().to_string_lossy().into_owned());
            }
        }
        names.sort();
        Ok(names)
    }

    /// Builds an example in its place, as `cargo build --release` in its folder does; the folder, which `berth up` runs.
    ///
    /// # Errors
    /// If there is no such example or it can't be built.
    pub fn example_in_place(&self, name: &str) -> Result<PathBuf, BuildError> {
        let folder = self.example_folder(name)?;
        self.build_example(name, &folder.join("target"))?;
        Ok(folder)
    }

    /// A folder with the manifest and the components of an example, built first if its content or tools changed.
    ///
    /// # Errors
    /// If there is no such example or it can't be built.
    pub fn example(&self, name: &str) -> Result<PathBuf, BuildError> {
        let folder = self.example_folder(name)?;
        let inputs = [
            "rust-toolchain.toml",
            // The C library comes by it.
            "scripts/setup-guest-tools.sh",
            &format!("examples/{name}"),
            // Hidden, so it has to be named.
            &format!("examples/{name}/.cargo"),
        ];
        let hash = hash::of(&self.repository, &inputs.map(PathBuf::from)).map_err(|(path, source)| BuildError::Io {
            action: "reading example",
            path,
            source,
        })?;
        let built = self.cache.join("examples").join(hash).join(name);
        if built.is_dir() {
            return Ok(built);
        }
        let _lock = self.lock(&self.cache.join("examples").join(format!(".{name}.lock")), name)?;
        // Another process may have built it while this one waited.
        if !built.is_dir() {
            let target = self.cache.join("examples/target").join(name);
            self.build_example(name, &target)?;
            keep(&folder.join("manifest.yaml"), &target, &built)?;
        }
        Ok(built)
    }

    fn example_folder(&self, name: &str) -> Result<PathBuf, BuildError> {
        let names = self.examples()?;
        if names.iter().any(|known| known == name) {
            return Ok(self.repository.join("examples").join(name));
        }
        Err(BuildError::UnknownExample { name: name.to_owned(), names: names.join(", ") })
    }

    fn build_example(&self, name: &str, target: &Path) -> Result<(), BuildError> {
        say(format_args!("building example {name}"));
        let (what, folder) = (format!("example {name}"), self.repository.join("examples").join(name));
        let mut cargo = self.cargo_for_wasm(&what)?;
        let manifest = folder.join("manifest.yaml");
        let text = fs::read_to_string(&manifest).map_err(failed("reading", &manifest))?;
        if has_service(&text, &manifest.display().to_string())? {
            cargo.command.arg("--config").arg(self.newer_libc(&what)?);
        }
        cargo.command.current_dir(&folder).env("CARGO_TARGET_DIR", target);
        cargo.run().map(drop)
    }
}

/// Whether a manifest has a service. Nothing else accepts connections, for which the toolchain's own C library is too old.
fn has_service(manifest: &str, origin: &str) -> Result<bool, ManifestError> {
    let has_one = |document: &Document| match document {
        Document::Resource(resource) => resource.workload_spec().is_some_and(|(_, spec)| spec.service.is_some()),
        Document::Skipped { .. } => false,
    };
    Ok(manifest::parse(manifest, origin)?.iter().any(has_one))
}

/// Puts a manifest and the components below `target` into the folder `built`, which appears whole or not at all.
fn keep(manifest: &Path, target: &Path, built: &Path) -> Result<(), BuildError> {
    let fresh = built.with_file_name(format!(".{}", std::process::id()));
    let components = fresh.join("target").join(BUILT);
    make_dir(&components)?;
    let copy = |from: &Path, to: PathBuf| fs::copy(from, to).map(drop).map_err(failed("copying", from));
    copy(manifest, fresh.join("manifest.yaml"))?;
    let release = target.join(BUILT);
    for entry in fs::read_dir(&release).map_err(failed("reading folder", &release))? {
        let path = entry.map_err(failed("reading folder", &release))?.path();
        if let Some(name) = path.file_name().filter(|_| path.extension().is_some_and(|extension| extension == "wasm")) {
            copy(&path, components.join(name))?;
        }
    }
    fs::rename(&fresh, built).map_err(failed("placing example", built))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_example_that_is_not_there_is_refused_with_those_that_are() {
        let error = Builder::with_cache(std::env::temp_dir()).example("helo").unwrap_err().to_string();
        assert!(error.starts_with("no example is named \"helo\"; there are ") && error.contains("hello, hello-p3"), "{error}");
    }

    #[test]
    fn only_a_manifest_with_a_service_needs_more_than_the_toolchain() {
        let manifest = |kind: &str, spec: &str| {
            let text = format!("apiVersion: runtime.wasmcloud.dev/v1alpha1\nkind: {kind}\nmetadata: {{name: app}}\nspec: {spec}\n");
            has_service(&text, "manifest.yaml").unwrap()
        };
        assert!(manifest("WorkloadDeployment", "{template: {spec: {service: {image: 'file://a.wasm'}}}}"));
        assert!(manifest("Workload", "\n  service:  # the only component\n    image: file://a.wasm"));
        assert!(!manifest("Workload", "{components: [{name: service, image: 'file://a.wasm'}]}"));
        let text = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: words}\ndata:\n  notes: |\n    service:\n";
        assert!(!has_service(text, "manifest.yaml").unwrap(), "a text that only looks like one");
        assert!(has_service("service: none", "manifest.yaml").unwrap_err().to_string().contains("manifest.yaml"));
    }

    #[test]
    fn what_is_kept_is_the_manifest_and_the_components_alone() {
        let dir = tempfile::tempdir().unwrap();
        let release = dir.path().join("target").join(BUILT);
        fs::create_dir_all(release.join("deps")).unwrap();
        for (path, content) in [("front.wasm", "component"), ("front.d", "not kept")] {
            fs::write(release.join(path), content).unwrap();
        }
        fs::write(dir.path().join("manifest.yaml"), "kind: Workload").unwrap();
        let built = dir.path().join("kept/example");
        keep(&dir.path().join("manifest.yaml"), &dir.path().join("target"), &built).unwrap();
        assert_eq!(fs::read_to_string(built.join("manifest.yaml")).unwrap(), "kind: Workload");
        let kept: Vec<_> = fs::read_dir(built.join("target").join(BUILT)).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(kept, ["front.wasm"]);
    }
}
