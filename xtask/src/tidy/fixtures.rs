//! A fixture guest is there for a test: one that no test uses, or that can't be asked for, goes.

use super::Finding;
use super::tokens::{self, Token};
use super::tree::Tree;

/// Where the guests are.
const FOLDER: &str = "guests/";
/// What the guests written in Rust share.
const SHARED: &str = "common";

/// Fixtures of `names` that no test uses, and packages under `guests/` that are no fixture.
pub fn check(tree: &Tree, names: &[&str]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let tests: Vec<Vec<Token>> =
        tree.files.iter().filter_map(|file| tokens::lex(file).ok()).filter(|tokens| asks_for_guests(tokens)).collect();
    for name in names {
        let literal = format!("\"{name}\"");
        if !tests.iter().flatten().any(|token| token.test && token.text == literal) {
            findings.push(Finding::new("fixture", FOLDER, 0, format!("no test uses the guest {name}: use it, or remove it")));
        }
    }
    for file in &tree.files {
        let package = file.path.strip_prefix(FOLDER).and_then(|path| path.strip_suffix("/Cargo.toml"));
        if let Some(name) = package.filter(|name| *name != SHARED && !names.contains(name)) {
            findings.push(Finding::new("fixture", &file.path, 0, format!("{name} is no fixture in berth-testkit: no test can ask for it")));
        }
    }
    findings
}

/// Whether the file has to do with guests, so that a short name in quotes is one.
fn asks_for_guests(tokens: &[Token]) -> bool {
    tokens.iter().any(|token| token.test && token.text.to_lowercase().contains("guest"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages(files: &[(&str, &str)], names: &[&str]) -> Vec<String> {
        check(&Tree::of(files), names).into_iter().map(|finding| finding.message).collect()
    }

    #[test]
    fn a_guest_that_no_test_uses_is_found() {
        let files = [
            ("crates/host/tests/it/a.rs", "fn a() { guests::bytes(\"p2\") }"),
            ("crates/host/tests/it/b.rs", "fn b() { f(\"c\") }"),
            ("crates/host/src/lib.rs", "//! Docs.\nfn c() { guests::bytes(\"p3\") }"),
        ];
        assert_eq!(
            messages(&files, &["p2", "p3", "c"]),
            ["no test uses the guest p3: use it, or remove it", "no test uses the guest c: use it, or remove it"]
        );
    }

    #[test]
    fn a_package_that_no_test_can_ask_for_is_found() {
        let files = [("guests/Cargo.toml", ""), ("guests/common/Cargo.toml", ""), ("guests/stray/Cargo.toml", "")];
        assert_eq!(messages(&files, &[]), ["stray is no fixture in berth-testkit: no test can ask for it"]);
    }
}
