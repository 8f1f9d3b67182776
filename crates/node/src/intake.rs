//! Intake: files that a person names, to resources.
//!
//! Manifests are read with images relative to their folder made absolute; a bare component, or an OCI layout folder, becomes
//! a WorkloadDeployment. Every file's faults are reported, not the first one's alone; what is no fault and still hardly meant becomes a
//! warning.

mod bare;
mod images;

use std::collections::HashMap;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use berth_host::Expected;
use berth_model::image::{ImageRef, InvalidImage};
use berth_model::manifest::{self, Document, ManifestError};
use berth_model::resource::{Kind, ObjectKey, Resource};
use berth_model::validate::{self, Remark};

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
    /// `up PATH`: a component, manifests, or a folder with either; where no such file is, an image in a registry.
    Path(PathBuf),
}

/// What the inputs hold.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Intake {
    /// Resources in the order they were given.
    pub resources: Vec<Resource>,
    /// Objects that Berth doesn't serve on one machine.
    pub skipped: Vec<Skipped>,
    /// What a person should know of; nothing is refused for it.
    pub warnings: Vec<Warning>,
}

impl Intake {
    /// What a host will be asked for: the images of resources that name only one, each once, in their order. What is composed with others
    /// isn't compiled as it is.
    pub fn expected(&self) -> Vec<Expected> {
        let mut expected: Vec<Expected> = Vec::new();
        for resource in &self.resources {
            let images = resource.images();
            let [(_, image)] = images.as_slice() else { continue };
            // One that isn't valid is refused with its field when it is applied.
            let Ok(image) = ImageRef::parse(image) else { continue };
            if expected.iter().all(|known| known.image != image) {
                expected.push(Expected { image, lasting: resource.workload_spec().is_some_and(|(_, spec)| spec.has_lasting_instances()) });
            }
        }
        expected
    }
}

/// Something in a resource that has no effect, or hardly the one that was meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// The object's kind.
    pub kind: Kind,
    /// The object's name.
    pub name: String,
    /// What there is to know.
    pub remark: Remark,
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
    #[error("{origin} isn't text in UTF-8, so it is no manifest")]
    NotText {
        /// The file.
        origin: String,
    },
    /// It is WebAssembly where a manifest is wanted.
    #[error("{origin} is WebAssembly, not a manifest; a component is run with `berth up FILE`, without -f")]
    Component {
        /// The file.
        origin: String,
    },
    /// It is too large.
    #[error("{origin} is larger than {} MiB, the most that a manifest may have; split it into several files", MAX_MANIFEST_BYTES >> 20)]
    TooLarge {
        /// The file.
        origin: String,
    },
    /// Two inputs have the same object; which one is meant, nobody can know.
    #[error("the {} `{}` of namespace {} comes from {first} and from {second}; give one of the two another name, or leave it out", object.kind, object.name, object.namespace)]
    Twice {
        /// The object.
        object: ObjectKey,
        /// Where it was found first.
        first: String,
        /// Where it was found again.
        second: String,
    },
    /// No such file is there, and as an image's reference it isn't valid.
    #[error("there is no such file, and as an image in a registry it isn't valid")]
    Image(#[from] InvalidImage),
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
    let mut reader = Reader::default();
    for input in inputs {
        let taken = reader.input(input, stdin);
        reader.errors.extend(taken.err());
    }
    if reader.errors.is_empty() { Ok(reader.intake) } else { Err(IntakeErrors(reader.errors)) }
}

/// What was read so far.
#[derive(Default)]
struct Reader {
    intake: Intake,
    errors: Vec<IntakeError>,
    /// Where each object is from.
    origins: HashMap<ObjectKey, String>,
}

impl Reader {
    fn input(&mut self, input: &Input, stdin: &mut dyn Read) -> Result<(), IntakeError> {
        match input {
            Input::Stdin => {
                let text = read_text("standard input", stdin)?;
                let here = std::env::current_dir().unwrap_or_else(|_| PathBuf::from("/"));
                self.manifest(&text, "standard input", &here)
            }
            Input::Manifests(path) if path.is_dir() => match manifests_in(path)? {
                files if files.is_empty() => Err(folder(path, "no manifest (*.yaml, *.yml, *.json) is in the folder")),
                files => self.files(&files),
            },
            Input::Manifests(path) => self.file(path),
            Input::Path(path) => self.path(path),
        }
    }

    fn path(&mut self, path: &Path) -> Result<(), IntakeError> {
        let meta = match path.metadata() {
            Ok(meta) => meta,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let image = bare::image(path)?.ok_or(IntakeError::Read { path: path.into(), source: error })?;
                self.keep(image, path.display().to_string());
                return Ok(());
            }
            Err(source) => return Err(IntakeError::Read { path: path.into(), source }),
        };
        if meta.is_dir() {
            return self.folder(path);
        }
        if is_manifest(path) {
            return self.file(path);
        }
        self.keep(bare::component(path)?, path.display().to_string());
        Ok(())
    }

    /// A folder is what it holds: a manifest.yaml, other manifests, an OCI layout, or one component; in this order.
    fn folder(&mut self, path: &Path) -> Result<(), IntakeError> {
        for name in ["manifest.yaml", "manifest.yml"] {
            let file = path.join(name);
            if file.is_file() {
                return self.file(&file);
            }
        }
        if path.join("oci-layout").is_file() {
            self.keep(bare::layout(path)?, path.display().to_string());
            return Ok(());
        }
        let manifests = manifests_in(path)?;
        if !manifests.is_empty() {
            return self.files(&manifests);
        }
        let component = the_component_in(path)?;
        self.keep(bare::component(&component)?, component.display().to_string());
        Ok(())
    }

    /// Takes every file; their faults go to the errors.
    fn files(&mut self, files: &[PathBuf]) -> Result<(), IntakeError> {
        for file in files {
            let taken = self.file(file);
            self.errors.extend(taken.err());
        }
        Ok(())
    }

    fn file(&mut self, path: &Path) -> Result<(), IntakeError> {
        let unreadable = |source| IntakeError::Read { path: path.into(), source };
        let origin = path.display().to_string();
        let mut file = std::fs::File::open(path).map_err(unreadable)?;
        let text = read_text(&origin, &mut file)?;
        let absolute = std::path::absolute(path).map_err(unreadable)?;
        let dir = absolute.parent().unwrap_or(Path::new("/"));
        self.manifest(&text, &origin, dir)
    }

    fn manifest(&mut self, text: &str, origin: &str, dir: &Path) -> Result<(), IntakeError> {
        for document in manifest::parse(text, origin)? {
            match document {
                Document::Resource(mut resource) => {
                    images::settle(&mut resource, dir);
                    self.keep(*resource, origin.to_owned());
                }
                Document::Skipped { api_version, kind, name } => self.intake.skipped.push(Skipped { api_version, kind, name }),
            }
        }
        Ok(())
    }

    /// Keeps a resource, unless it is there already.
    fn keep(&mut self, resource: Resource, origin: String) {
        let mut object = resource.key();
        if object.namespace.is_empty() {
            "default".clone_into(&mut object.namespace);
        }
        if let Some(first) = self.origins.get(&object) {
            return self.errors.push(IntakeError::Twice { object, first: first.clone(), second: origin });
        }
        let remarks = validate::remarks(&resource).into_iter().chain(images::unreadable(&resource));
        self.intake.warnings.extend(remarks.map(|remark| Warning { kind: object.kind, name: object.name.clone(), remark }));
        self.origins.insert(object, origin);
        self.intake.resources.push(resource);
    }
}

/// The one component in a folder without manifests.
fn the_component_in(path: &Path) -> Result<PathBuf, IntakeError> {
    let mut components = files_in(path, &["wasm"])?;
    match components.len() {
        1 => Ok(components.remove(0)),
        0 if path.join("Cargo.toml").is_file() => {
            Err(folder(path, "a Rust package; build it (`cargo build --release --target wasm32-wasip2`) and give the .wasm file"))
        }
        0 => Err(folder(path, "nothing to run: a manifest.yaml, other *.yaml manifests, an OCI layout or one *.wasm file is expected")),
        several => {
            let names: Vec<_> = components.iter().filter_map(|p| p.file_name()).map(|n| n.to_string_lossy()).collect();
            Err(folder(path, &format!("{several} components ({}): give one of them, or write a manifest.yaml", names.join(", "))))
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

fn read_text(origin: &str, from: &mut dyn Read) -> Result<String, IntakeError> {
    let mut bytes = Vec::new();
    let read = from.take(MAX_MANIFEST_BYTES + 1).read_to_end(&mut bytes);
    read.map_err(|source| IntakeError::Read { path: origin.into(), source })?;
    // Components of both kinds, and core modules, begin so.
    if bytes.starts_with(b"\0asm") {
        return Err(IntakeError::Component { origin: origin.into() });
    }
    if bytes.len() as u64 > MAX_MANIFEST_BYTES {
        return Err(IntakeError::TooLarge { origin: origin.into() });
    }
    String::from_utf8(bytes).map_err(|_| IntakeError::NotText { origin: origin.into() })
}

#[cfg(test)]
mod tests;
