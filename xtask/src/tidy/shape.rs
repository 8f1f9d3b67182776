//! The shape of files: how long they and their functions are, and that each begins by saying what it is.

use super::Finding;
use super::tokens::{Token, closing, occurrences};
use super::tree::{self, File};

/// A file longer than this is split by concept, lines.
const MAX_LINES: usize = 800;
/// A file longer than this is mentioned, lines.
const MANY_LINES: usize = 400;
/// A function longer than this doesn't fit a screen and is mentioned, lines.
const LONG_FUNCTION: usize = 70;

/// Endings of files that people write programs in.
const SOURCES: [&str; 7] = [".c", ".go", ".js", ".proto", ".py", ".rs", ".sh"];

/// Long files, and source files without module docs.
pub fn check(file: &File) -> Vec<Finding> {
    let mut findings = Vec::new();
    let lines = file.text.lines().count();
    if SOURCES.iter().any(|ending| file.path.ends_with(ending)) && !file.is_generated() {
        if lines > MAX_LINES {
            findings.push(Finding::new("size", &file.path, 0, format!("{lines} lines, more than {MAX_LINES}: split it by concept")));
        } else if lines > MANY_LINES {
            findings.push(Finding::warning("size", &file.path, 0, format!("{lines} lines, more than {MANY_LINES}")));
        }
    }
    if file.is_ours() && !tree::is_test(&file.path) && !file.text.starts_with("//!") {
        findings.push(Finding::new("docs", &file.path, 1, "begins without module docs: say what it is and what it must not know (//!)"));
    }
    findings
}

/// Long functions outside tests.
pub fn functions(path: &str, tokens: &[Token]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for at in occurrences(tokens, "fn").filter(|at| !tokens[*at].test) {
        // A function type (`fn(u8)`) has no name, a trait's method may have no body.
        let Some(name) = tokens.get(at + 1).filter(|name| name.text != "(") else { continue };
        let Some(open) = (at..tokens.len()).find(|index| matches!(tokens[*index].text.as_str(), "{" | ";")) else { continue };
        let lines = tokens[closing(tokens, open)].line - tokens[at].line + 1;
        if tokens[open].text == "{" && lines > LONG_FUNCTION {
            findings.push(Finding::warning(
                "size",
                path,
                tokens[at].line,
                format!("fn {} has {lines} lines, more than {LONG_FUNCTION}", name.text),
            ));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::tokens;

    fn found(path: &str, text: &str) -> Vec<(&'static str, bool)> {
        check(&File { path: path.into(), text: text.into() }).into_iter().map(|finding| (finding.rule, finding.warning)).collect()
    }

    #[test]
    fn a_long_file_is_found_unless_a_program_wrote_it() {
        let text = |lines: usize| format!("//! Docs.\n{}", "\n".repeat(lines - 1));
        assert_eq!(found("crates/a/src/lib.rs", &text(400)), []);
        assert_eq!(found("crates/a/src/lib.rs", &text(401)), [("size", true)]);
        assert_eq!(found("scripts/a.sh", &text(801)), [("size", false)]);
        assert_eq!(found("crates/a/src/generated/b.rs", &text(801)), []);
        assert_eq!(found("README.md", &text(801)), []);
    }

    #[test]
    fn a_source_file_begins_with_module_docs() {
        assert_eq!(found("crates/a/src/lib.rs", "use x;\n"), [("docs", false)]);
        assert_eq!(found("crates/a/tests/it/b.rs", "use x;\n"), []);
    }

    #[test]
    fn a_long_function_is_mentioned() {
        let path = "crates/a/src/lib.rs";
        let long = format!("type F = fn(u8);\ntrait T {{ fn declared(&self); }}\nfn short() {{}}\nfn long() {{{}}}", "\n".repeat(70));
        let findings = functions(path, &tokens::of(path, &long));
        assert_eq!(findings.len(), 1);
        assert_eq!(findings[0].message, "fn long has 71 lines, more than 70");
    }
}
