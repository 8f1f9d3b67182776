//! A document that a file names is there: a reader who is sent to it finds it.

use std::collections::BTreeSet;

use super::Finding;
use super::tree::Tree;

/// Markdown files that a text or a comment names and that are nowhere in the repository.
pub fn check(tree: &Tree) -> Vec<Finding> {
    let there: BTreeSet<&str> = tree.files.iter().map(|file| name(&file.path)).collect();
    let mut findings = Vec::new();
    for file in tree.files.iter().filter(|file| !file.path.starts_with("xtask/src/tidy")) {
        for (index, line) in file.text.lines().enumerate().filter(|(_, line)| line.contains(".md")) {
            for missing in documents(line).filter(|document| !there.contains(name(document))) {
                findings.push(Finding::new("document", &file.path, index + 1, format!("{missing} isn't in the repository")));
            }
        }
    }
    findings
}

/// Words of a line that name a document of this repository: in capitals, or in docs/. Others are a specification's.
fn documents(line: &str) -> impl Iterator<Item = &str> {
    let words = line.split(|c: char| !(c.is_alphanumeric() || matches!(c, '.' | '/' | '_' | '-' | ':' | '*')));
    words.filter_map(|word| {
        let word = word.trim_end_matches(['.', ':']);
        let stem = word.strip_suffix(".md")?;
        let ours = stem.starts_with("docs/") || name(stem).chars().all(|c| c.is_ascii_uppercase() || c == '_');
        (ours && !stem.contains("://") && !stem.contains('*') && !stem.is_empty()).then_some(word)
    })
}

fn name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_that_is_not_there_is_found() {
        let tree = Tree::of(&[
            ("README.md", "See [the map](ARCHITECTURE.md), docs/cli.md and GONE.md."),
            ("ARCHITECTURE.md", ""),
            ("docs/cli.md", ""),
            ("crates/a/src/lib.rs", "// As MISSING.md says; https://example.com/A.md, docs/*.md and image-index.md don't count."),
        ]);
        let found: Vec<_> = check(&tree).into_iter().map(|finding| finding.message).collect();
        assert_eq!(found, ["GONE.md isn't in the repository", "MISSING.md isn't in the repository"]);
    }
}
