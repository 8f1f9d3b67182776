//! Intake: files that a person names, to resources.
//!
//! Manifests are read with images relative to their folder made absolute; a bare component, or an OCI layout folder, becomes
//! a WorkloadDeployment. Every file's faults are reported, not the first one's alone.

mod bare;
mod images;

use std::io::Read;
use std::path::{Path, PathBuf};

use berth_model::manifest::{self, Document, ManifestError};
use berth_model::resource::Resource;

pub use bare::name_from;

/// Longest input, bytes: what [`manifest::parse`] takes.
const MAX_MANIFEST_BYTES: u64 = manifest::MAX_BYTES as u64;
/// Files of one folder that are read as manifests.
const MAX_FILES: usize = 1000;

/// Something to run, as a person names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// `-f -`: manifests on standard input; images are relative to the working folder.
    Stdin,
    /// `-f FILE`: manifests, or a folder of them.
    Manifests(PathBuf),
    /// `up PATH`: a component, manifests, or a folder with either.
    Path(PathBuf),
}

/// What the inputs hold.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Intake {
    /// Resources in the order they were given.
    pub resources: Vec<Resource>,
    /// Objects that Berth doesn't serve on one machine.
    pub skipped: Vec<Skipped>,
}

/// An object that is left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skipped {
    /// Its apiVersion.
    pub api_version: String,
    /// Its kind.
    pub kind: String,
    /// Its name; may be empty.
    pub name: String,
}

/// Every input that can't be used.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.iter().map(|e| crate::chain(e)).collect::<Vec<_>>().join("\n"))]
pub struct IntakeErrors(pub Vec<IntakeError>);

/// Why an input can't be used.
#[derive(Debug, thiserror::Error)]
pub enum IntakeError {
    /// The file can't be read.
    #[error("can't read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// It isn't text.
    #[error("{origin} isn't text in UTF-8; a component is run with `berth up {origin}`, without -f")]
    NotText {
        /// The file.
        origin: String,
    },
    /// It is too large.
    #[error(
        "{origin} is larger than {MAX_MANIFEST_BYTES} bytes, too large for a manifest; a component is run with `berth up {origin}`, without -f"
    )]
    TooLarge {
        /// The file.
        origin: String,
    },
    /// The manifest has faults.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// The folder holds nothing that can be run, or too much.
    #[error("{}: {message}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What is there or isn't, and what to do.
        message: String,
    },
}

/// Reads every input; `stdin` is read when one of them is [`Input::Stdin`].
///
/// # Errors
///
/// Every fault of every input. Images that can't be read aren't among them: they are the workload's own trouble.
pub fn read(inputs: &[Input], stdin: &mut dyn Read) -> Result<Intake, IntakeErrors> {
    let mut intake = Intake::default();
    let mut errors = Vec::new();
    for input in inputs {
        let taken = match input {
            Input::Stdin => read_text("standard input", stdin).and_then(|text| {
                let here = std::env::current_dir().unwrap_or_else(|_| PathBuf::from("/"));
                take_manifest(&text, "standard input", &here, &mut intake)
            }),
            Input::Manifests(path) if path.is_dir() => match manifests_in(path) {
                Ok(files) if files.is_empty() => Err(folder(path, "no manifest (*.yaml, *.yml, *.json) is in the folder")),
                Ok(files) => take_files(&files, &mut intake, &mut errors),
                Err(error) => Err(error),
            },
            Input::Manifests(path) => take_file(path, &mut intake),
            Input::Path(path) => take_path(path, &mut intake, &mut errors),
        };
        errors.extend(taken.err());
    }
    if errors.is_empty() { Ok(intake) } else { Err(IntakeErrors(errors)) }
}

fn take_path(path: &Path, intake: &mut Intake, errors: &mut Vec<IntakeError>) -> Result<(), IntakeError> {
    let meta = path.metadata().map_err(|source| IntakeError::Read { path: path.into(), source })?;
    if meta.is_dir() {
        return take_folder(path, intake, errors);
    }
    if is_manifest(path) {
        return take_file(path, intake);
    }
    intake.resources.push(bare::component(path)?);
    Ok(())
}

/// A folder is what it holds: a manifest.yaml, other manifests, an OCI layout, or one component; in this order.
fn take_folder(path: &Path, intake: &mut Intake, errors: &mut Vec<IntakeError>) -> Result<(), IntakeError> {
    for name in ["manifest.yaml", "manifest.yml"] {
        let file = path.join(name);
        if file.is_file() {
            return take_file(&file, intake);
        }
    }
    if path.join("oci-layout").is_file() {
        intake.resources.push(bare::layout(path)?);
        return Ok(());
    }
    let manifests = manifests_in(path)?;
    if !manifests.is_empty() {
        return take_files(&manifests, intake, errors);
    }
    let components = files_in(path, &["wasm"])?;
    match components.as_slice() {
        [one] => {
            intake.resources.push(bare::component(one)?);
            Ok(())
        }
        [] if path.join("Cargo.toml").is_file() => {
            Err(folder(path, "a Rust package; build it (`cargo build --release --target wasm32-wasip2`) and give the .wasm file"))
        }
        [] => Err(folder(path, "nothing to run: a manifest.yaml, other *.yaml manifests, an OCI layout or one *.wasm file is expected")),
        several => {
            let names: Vec<_> = several.iter().filter_map(|p| p.file_name()).map(|n| n.to_string_lossy()).collect();
            Err(folder(path, &format!("{} components ({}): give one of them, or write a manifest.yaml", several.len(), names.join(", "))))
        }
    }
}

fn folder(path: &Path, message: &str) -> IntakeError {
    IntakeError::Folder { path: path.into(), message: message.into() }
}

fn is_manifest(path: &Path) -> bool {
    path.extension().and_then(|e| e.to_str()).is_some_and(|e| ["yaml", "yml", "json"].contains(&e.to_ascii_lowercase().as_str()))
}

fn manifests_in(path: &Path) -> Result<Vec<PathBuf>, IntakeError> {
    files_in(path, &["yaml", "yml", "json"])
}

/// Files of a folder with one of the extensions, by name; not those of folders in it, nor hidden ones.
fn files_in(path: &Path, extensions: &[&str]) -> Result<Vec<PathBuf>, IntakeError> {
    let unreadable = |source| IntakeError::Read { path: path.into(), source };
    let mut files = Vec::new();
    for entry in path.read_dir().map_err(unreadable)? {
        let file = entry.map_err(unreadable)?.path();
        let hidden = file.file_name().is_some_and(|n| n.as_encoded_bytes().starts_with(b"."));
        let fits = file.extension().and_then(|e| e.to_str()).is_some_and(|e| extensions.contains(&e));
        if fits && !hidden && file.is_file() {
            files.push(file);
        }
        if files.len() > MAX_FILES {
            return Err(folder(path, &format!("more than {MAX_FILES} files: give them in parts")));
        }
    }
    files.sort();
    Ok(files)
}

/// Takes every file; the faults of all but the last go to `errors`.
fn take_files(files: &[PathBuf], intake: &mut Intake, errors: &mut Vec<IntakeError>) -> Result<(), IntakeError> {
    for file in files {
        if let Err(error) = take_file(file, intake) {
            errors.push(error);
        }
    }
    Ok(())
}

fn take_file(path: &Path, intake: &mut Intake) -> Result<(), IntakeError> {
    let unreadable = |source| IntakeError::Read { path: path.into(), source };
    let origin = path.display().to_string();
    let mut file = std::fs::File::open(path).map_err(unreadable)?;
    let text = read_text(&origin, &mut file)?;
    let absolute = std::path::absolute(path).map_err(unreadable)?;
    let dir = absolute.parent().unwrap_or(Path::new("/"));
    take_manifest(&text, &origin, dir, intake)
}

fn read_text(origin: &str, from: &mut dyn Read) -> Result<String, IntakeError> {
    let mut bytes = Vec::new();
    let read = from.take(MAX_MANIFEST_BYTES + 1).read_to_end(&mut bytes);
    read.map_err(|source| IntakeError::Read { path: origin.into(), source })?;
    if bytes.len() as u64 > MAX_MANIFEST_BYTES {
        return Err(IntakeError::TooLarge { origin: origin.into() });
    }
    String::from_utf8(bytes).map_err(|_| IntakeError::NotText { origin: origin.into() })
}

fn take_manifest(text: &str, origin: &str, dir: &Path, intake: &mut Intake) -> Result<(), IntakeError> {
    for document in manifest::parse(text, origin)? {
        match document {
            Document::Resource(mut resource) => {
                images::settle(&mut resource, dir);
                intake.resources.push(*resource);
            }
            Document::Skipped { api_version, kind, name } => intake.skipped.push(Skipped { api_version, kind, name }),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
