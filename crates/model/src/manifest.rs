//! Manifests: text to resources.
//!
//! A manifest is YAML or JSON, one or several documents, also Kubernetes' `kind: List`. Reading has three steps: cut the
//! text into documents, read each into a tree of nodes that know their lines, and decode the nodes into the
//! kinds that Berth serves. No fault hides another one: all that is wrong is told at once. Only the form is checked here; what the
//! values mean is for [`crate::validate`], which is asked too where the form of something is wrong.
//!
//! Unlike most YAML readers, numbers and truth values aren't taken for text: Kubernetes refuses them too, and a manifest
//! must mean the same on both.

mod blank;
mod decode;
mod kinds;
mod node;
mod split;

use std::collections::HashMap;
use std::fmt;

use crate::resource::{ObjectKey, Resource};
use crate::text::quote;
use crate::validate;

/// Longest manifest, bytes.
pub const MAX_BYTES: usize = 4 << 20;
/// Deepest nesting of lists and maps. The deepest field of any kind is at 12, and of what a cluster writes into `managedFields` at about 20;
/// reading takes up to 40 KB of stack per level in an unoptimized build, and threads have 2 MiB.
pub const MAX_DEPTH: usize = 32;
/// Most problems that one error lists.
pub const MAX_PROBLEMS: usize = 100;

/// What one document of a manifest is.
#[derive(Clone, Debug, PartialEq)]
pub enum Document {
    /// An object of a kind that Berth serves. Its status is empty, whatever the manifest says: only Berth writes it.
    Resource(Box<Resource>),
    /// An object that Berth doesn't serve, such as a Service or a HorizontalPodAutoscaler.
    Skipped {
        /// Its apiVersion.
        api_version: String,
        /// Its kind.
        kind: String,
        /// Its name; empty when it has none.
        name: String,
    },
}

/// A document and where it stands.
struct Taken {
    document: Document,
    /// The document's number, counted from 1.
    number: usize,
    /// Its first line in the whole text; 0 when unknown.
    line: u64,
}

/// Reads every document of `text`. Empty documents are passed over; a text without any document is an error, and so is one that has an
/// object twice. `origin` says in errors where the text is from: a file name, `standard input`.
pub fn parse(text: &str, origin: &str) -> Result<Vec<Document>, ManifestError> {
    let mut problems = Problems::default();
    let mut documents = Vec::new();
    if text.len() > MAX_BYTES {
        problems.add(Problem::of_text(format!("it has {} bytes; a manifest may have {MAX_BYTES}, so split it", text.len())));
        return Err(problems.into_error(origin));
    }
    let mut number = 0;
    for chunk in split::documents(text.strip_prefix('\u{feff}').unwrap_or(text)) {
        match node::read(chunk.text) {
            Ok(node) if node.is_null() => continue,
            Ok(node) => {
                number += 1;
                let place = Place { document: number, line_offset: chunk.lines_before };
                kinds::decode(&node, &place, &mut documents, &mut problems);
            }
            Err(error) => {
                number += 1;
                let place = Place { document: number, line_offset: chunk.lines_before };
                problems.add(place.problem(String::new(), error.line, error.message));
            }
        }
    }
    if number == 0 {
        problems.add(Problem::of_text("it has no document".to_owned()));
    }
    find_twice(&documents, &mut problems);
    if problems.is_empty() {
        return Ok(documents.into_iter().map(|taken| taken.document).collect());
    }
    find_invalid(documents, &mut problems);
    Err(problems.into_error(origin))
}

/// Objects that stand in the text more than once: which of them is meant, nobody can know.
fn find_twice(documents: &[Taken], problems: &mut Problems) {
    let mut seen: HashMap<ObjectKey, &Taken> = HashMap::new();
    for taken in documents {
        let Document::Resource(resource) = &taken.document else { continue };
        let key = with_namespace(resource.key());
        let Some(first) = seen.get(&key) else {
            seen.insert(key, taken);
            continue;
        };
        let place = match first.line {
            0 => format!("in document {}", first.number),
            line => format!("in line {line}"),
        };
        let message = format!("the {} `{}` is {place} already; keep one of the two", key.kind, quote(&key.name));
        problems.add(Problem { document: taken.number, line: taken.line, field: "metadata.name".to_owned(), message });
    }
}

/// As the store has it: an object without a namespace is in `default`.
fn with_namespace(mut key: ObjectKey) -> ObjectKey {
    if key.namespace.is_empty() {
        "default".clone_into(&mut key.namespace);
    }
    key
}

/// What the values of documents get wrong whose form is right, so that nobody learns of it only when the form of the others is right too.
fn find_invalid(documents: Vec<Taken>, problems: &mut Problems) {
    for Taken { document, number, line } in documents {
        let Document::Resource(mut resource) = document else { continue };
        resource.metadata_mut().namespace = with_namespace(resource.key()).namespace;
        for invalid in validate::resource(&resource).err().into_iter().flat_map(|invalid| invalid.0) {
            problems.add(Problem { document: number, line, field: invalid.field, message: invalid.message });
        }
    }
}

/// Everything that is wrong with a manifest's form.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct ManifestError {
    /// Where the text is from.
    pub origin: String,
    /// What is wrong, in the order of the text; at most [`MAX_PROBLEMS`].
    pub problems: Vec<Problem>,
    /// Problems beyond those.
    pub omitted: usize,
}

impl fmt::Display for ManifestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{}: {problem}", self.origin)?;
        }
        match self.omitted {
            0 => Ok(()),
            omitted => write!(f, "\n{}: {omitted} more problems", self.origin),
        }
    }
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The document, counted from 1 without the empty ones; 0 when it is about the whole text.
    pub document: usize,
    /// The line in the text, counted from 1; 0 when unknown.
    pub line: u64,
    /// The field: `spec.components[0].image`; empty when it is about the whole document.
    pub field: String,
    /// What is wrong, and what would be right.
    pub message: String,
}

impl Problem {
    fn of_text(message: String) -> Problem {
        Problem { document: 0, line: 0, field: String::new(), message }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.document > 0 {
            write!(f, "document {}", self.document)?;
            if self.line > 0 {
                write!(f, ", line {}", self.line)?;
            }
            f.write_str(": ")?;
        }
        if !self.field.is_empty() {
            write!(f, "{}: ", self.field)?;
        }
        f.write_str(&self.message)
    }
}

/// Where in the text a document stands.
struct Place {
    document: usize,
    line_offset: u64,
}

impl Place {
    /// A problem at `line` of the document; 0 when unknown.
    fn problem(&self, field: String, line: u64, message: String) -> Problem {
        Problem { document: self.document, line: self.line(line), field, message }
    }

    /// A line of the document as one of the whole text; 0 when unknown.
    fn line(&self, line: u64) -> u64 {
        if line == 0 { 0 } else { line + self.line_offset }
    }
}

/// Problems found so far.
#[derive(Default)]
struct Problems {
    listed: Vec<Problem>,
    omitted: usize,
}

impl Problems {
    fn add(&mut self, problem: Problem) {
        if self.listed.len() < MAX_PROBLEMS { self.listed.push(problem) } else { self.omitted += 1 }
    }

    fn is_empty(&self) -> bool {
        self.listed.is_empty()
    }

    fn into_error(self, origin: &str) -> ManifestError {
        ManifestError { origin: origin.to_owned(), problems: self.listed, omitted: self.omitted }
    }
}
