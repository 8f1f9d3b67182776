//! `unsafe` stands in named modules only, and each block says why it is sound. The compiler's `unsafe_code` holds the rest too.

use super::Finding;
use super::tokens;
use super::tree::Tree;

/// The module that may hold unsafe code: it loads machine code that Berth itself compiled and authenticated.
pub const MODULES: [&str; 1] = ["crates/host/src/code/load.rs"];

/// Every `unsafe` outside `modules`, or without a `SAFETY:` comment above it.
pub fn check(tree: &Tree, modules: &[&str]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in &tree.files {
        let Ok(tokens) = tokens::lex(file) else { continue };
        for token in tokens.iter().filter(|token| token.text == "unsafe") {
            if !modules.contains(&file.path.as_str()) {
                findings.push(Finding::new("unsafe", &file.path, token.line, "unsafe code has no place here"));
            } else if !is_explained(&file.text, token.line) {
                findings.push(Finding::new("unsafe", &file.path, token.line, "say above it why it is sound: `// SAFETY: ...`"));
            }
        }
    }
    findings
}

/// Whether the comment right above `line` has `SAFETY:` in it.
fn is_explained(text: &str, line: usize) -> bool {
    let lines: Vec<&str> = text.lines().collect();
    let above = lines[..line - 1].iter().rev().map(|text| text.trim_start());
    above.take_while(|text| text.starts_with("//") || text.starts_with("#[")).any(|text| text.contains("SAFETY:"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MODULE: &str = "crates/host/src/load.rs";

    fn lines(path: &str, text: &str) -> Vec<usize> {
        check(&Tree::of(&[(path, text)]), &[MODULE]).into_iter().map(|finding| finding.line).collect()
    }

    #[test]
    fn unsafe_outside_its_module_is_found() {
        assert_eq!(lines("crates/model/src/a.rs", "// SAFETY: no\nfn f() { unsafe { g() } }"), [2]);
    }

    #[test]
    fn unsafe_without_a_reason_is_found() {
        assert_eq!(lines(MODULE, "fn f() {\n    unsafe { g() }\n}"), [2]);
        assert_eq!(lines(MODULE, "fn f() {\n    // SAFETY: authenticated\n    // above\n    unsafe { g() }\n}"), [0; 0]);
    }

    #[test]
    fn the_word_alone_is_no_code() {
        assert_eq!(lines("crates/model/src/a.rs", "// unsafe\nconst A: &str = \"unsafe\";"), [0; 0]);
    }
}
