//! `cargo xtask tidy`: the rules of the source tree that no compiler checks. ARCHITECTURE.md says which rule each one holds.
//!
//! Every rule is a pure function of the files' text or of cargo's metadata, so each is tested on made-up input below it. A line may be
//! excused by a comment on it or right above it, with a reason: `// tidy: allow(sleep): the server under test is slow on purpose`.

mod calls;
mod directions;
mod documents;
mod excuse;
mod fixtures;
mod map;
mod metadata;
mod names;
mod shape;
mod text;
mod tokens;
mod tree;
mod unsafety;

use std::fmt;

use anyhow::{Result, bail};

use self::metadata::Metadata;
use self::tree::Tree;
use crate::workspace::Workspace;

/// One place that breaks a rule.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Finding {
    /// Path in the repository.
    path: String,
    /// Line, from 1; 0 if it is about the whole file.
    line: usize,
    /// The rule's name.
    rule: &'static str,
    /// What is wrong, and the way out.
    message: String,
    /// Whether it only warns.
    warning: bool,
}

impl Finding {
    fn new(rule: &'static str, path: &str, line: usize, message: impl Into<String>) -> Finding {
        Finding { path: path.to_owned(), line, rule, message: message.into(), warning: false }
    }

    fn warning(rule: &'static str, path: &str, line: usize, message: impl Into<String>) -> Finding {
        Finding { warning: true, ..Finding::new(rule, path, line, message) }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Finding { path, line, rule, message, warning } = self;
        let level = if *warning { "warning" } else { "error" };
        let line = if *line == 0 { String::new() } else { format!(":{line}") };
        write!(f, "{level}: {path}{line}: [{rule}] {message}")
    }
}

/// Checks the whole repository; prints every finding and fails if one is an error.
pub fn run(workspace: &Workspace) -> Result<()> {
    let tree = Tree::read(&workspace.root)?;
    let metadata = Metadata::read(workspace)?;
    let fixtures: Vec<&str> = berth_testkit::guests::FIXTURES.iter().map(|fixture| fixture.name).collect();
    let findings = check(&tree, &metadata, &fixtures);
    for finding in &findings {
        println!("{finding}");
    }
    let errors = findings.iter().filter(|finding| !finding.warning).count();
    println!("tidy: {} files, {errors} errors, {} warnings", tree.files.len(), findings.len() - errors);
    if errors > 0 {
        bail!("tidy found {errors} errors");
    }
    Ok(())
}

/// Every finding, sorted by place.
fn check(tree: &Tree, metadata: &Metadata, fixtures: &[&str]) -> Vec<Finding> {
    let mut findings = Vec::new();
    findings.extend(directions::check(metadata));
    findings.extend(directions::majors(metadata));
    findings.extend(map::crates(tree, metadata));
    findings.extend(map::lessons(tree));
    findings.extend(documents::check(tree));
    findings.extend(fixtures::check(tree, fixtures));
    findings.extend(unsafety::check(tree, &unsafety::MODULES));
    for file in &tree.files {
        findings.extend(shape::check(file));
        findings.extend(text::check(file));
        match tokens::lex(file) {
            Ok(tokens) => {
                findings.extend(names::check(&file.path, &tokens));
                findings.extend(calls::check(&file.path, &tokens));
                findings.extend(shape::functions(&file.path, &tokens));
            }
            Err(finding) => findings.push(finding),
        }
    }
    let mut findings = excuse::apply(tree, findings);
    findings.sort();
    findings
}
