//! Manifests: text to resources.
//!
//! A manifest is YAML or JSON, one or several documents, also Kubernetes' `kind: List`. Reading has three steps: cut the
//! text into documents, read each into a tree of nodes that know their lines, and decode the nodes into the
//! kinds that Berth serves. A fault in one document doesn't hide those of the others. Only the form is checked here; what the
//! values mean is for [`crate::validate`].
//!
//! Unlike most YAML readers, numbers and truth values aren't taken for text: Kubernetes refuses them too, and a manifest
//! must mean the same on both.

mod decode;
mod kinds;
mod node;
mod split;

use std::fmt;

use crate::resource::Resource;

/// Longest manifest, bytes.
pub const MAX_BYTES: usize = 4 << 20;
/// Deepest nesting of lists and maps. The deepest field of any kind is at 12.
pub const MAX_DEPTH: usize = 64;
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

/// Reads every document of `text`. Empty documents are passed over; a text without any document is an error. `origin` says in
/// errors where the text is from: a file name, `standard input`.
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
    if problems.is_empty() { Ok(documents) } else { Err(problems.into_error(origin)) }
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
        Problem { document: self.document, line: if line == 0 { 0 } else { line + self.line_offset }, field, message }
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
