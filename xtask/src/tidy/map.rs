//! ARCHITECTURE.md and docs/ tell the truth: every crate is on the map, every fault they claim to test against has a test, and every number
//! of a fault can be looked up.

use std::collections::BTreeSet;

use super::Finding;
use super::metadata::Metadata;
use super::tree::{self, File, Tree};

/// The map.
const MAP: &str = "ARCHITECTURE.md";

/// Crates that the map doesn't mention.
pub fn crates(tree: &Tree, metadata: &Metadata) -> Vec<Finding> {
    let Some(map) = tree.file(MAP) else { return vec![Finding::new("map", MAP, 0, "is missing")] };
    let folders = metadata.ours().map(|package| package.manifest().trim_end_matches("/Cargo.toml").to_owned());
    folders
        .filter(|folder| !map.text.contains(&format!("`{folder}`")))
        .map(|folder| Finding::new("map", MAP, 0, format!("doesn't mention `{folder}`")))
        .collect()
}

/// Words with which the map admits that a fault has no test.
const UNTESTED: &str = "no test yet";

/// Numbered faults (`L07`): those that ARCHITECTURE.md or docs/ claim have tests, and those that the code names are on the map.
pub fn lessons(tree: &Tree) -> Vec<Finding> {
    let rust = || tree.files.iter().filter(|file| file.path.ends_with(".rs"));
    let tested: BTreeSet<u32> = rust().flat_map(|file| numbers(tests_of(file))).collect();
    let mapped: BTreeSet<u32> = tree.file(MAP).map(|map| numbers(&map.text).collect()).unwrap_or_default();
    let mut findings = Vec::new();
    for file in tree.files.iter().filter(|file| file.path == MAP || file.path.starts_with("docs/")) {
        for (index, line) in file.text.lines().enumerate() {
            let admitted = line.contains(UNTESTED);
            for number in numbers(line).filter(|number| tested.contains(number) == admitted) {
                let message = match admitted {
                    true => format!("L{number:02} has a test by now"),
                    false => format!("L{number:02} is claimed here, but no test carries its number in its name or docs"),
                };
                findings.push(Finding::new("lesson", &file.path, index + 1, message));
            }
        }
    }
    for file in rust().filter(|file| file.is_ours() && !file.path.starts_with("xtask/")) {
        for (index, line) in file.text.lines().enumerate() {
            for number in numbers(line).filter(|number| !mapped.contains(number)) {
                findings.push(Finding::new(
                    "lesson",
                    &file.path,
                    index + 1,
                    format!("L{number:02} is explained nowhere: {MAP} lists the numbers"),
                ));
            }
        }
    }
    findings
}

/// The part of a file that holds tests.
fn tests_of(file: &File) -> &str {
    if tree::is_test(&file.path) {
        return &file.text;
    }
    file.text.find("#[cfg(test)]").map_or("", |at| &file.text[at..])
}

/// Numbers written as `L07`, or `l07` at the start or end of a part of a name.
fn numbers(text: &str) -> impl Iterator<Item = u32> + '_ {
    text.split(|c: char| !c.is_ascii_alphanumeric()).filter_map(|word| {
        let digits = word.strip_prefix(['L', 'l'])?;
        (digits.len() == 2).then(|| digits.parse().ok())?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crate_off_the_map_is_found() {
        let metadata = Metadata::of(&[("berth-model", "0.1.0", true, &[]), ("berth-http", "0.1.0", true, &[])]);
        let findings = crates(&Tree::of(&[(MAP, "| `crates/model` | values |")]), &metadata);
        assert_eq!(findings.into_iter().map(|finding| finding.message).collect::<Vec<_>>(), ["doesn't mention `crates/http`"]);
    }

    #[test]
    fn a_claim_without_a_test_is_found() {
        let tree = Tree::of(&[
            (MAP, "| L07 | a |\n| L08 | b |"),
            ("docs/a.md", "L09 and L10"),
            ("crates/a/src/lib.rs", "// L08\nfn f() {}\n#[cfg(test)]\nmod tests {\n    /// L07\n    fn x() {} }"),
            ("crates/a/tests/it/main.rs", "fn l09_is_held() {}"),
        ]);
        let mut found = lessons(&tree);
        found.retain(|finding| finding.message.contains("claimed"));
        let found: Vec<_> = found.into_iter().map(|finding| (finding.path, finding.line)).collect();
        assert_eq!(found, [(MAP.to_owned(), 2), ("docs/a.md".to_owned(), 1)]);
    }

    #[test]
    fn an_admission_that_a_test_is_missing_holds_until_there_is_one() {
        let map = (MAP, "| L07 | a; no test yet |\n| L08 | b; no test yet |");
        let tree = Tree::of(&[map, ("crates/a/tests/it/main.rs", "fn l08_is_held() {}")]);
        assert_eq!(lessons(&tree).into_iter().map(|finding| finding.message).collect::<Vec<_>>(), ["L08 has a test by now"]);
    }

    #[test]
    fn a_number_that_nobody_can_look_up_is_found() {
        let tree = Tree::of(&[(MAP, "| L07 | a |"), ("crates/a/src/lib.rs", "//! L08\n#[cfg(test)]\n// L07")]);
        assert_eq!(
            lessons(&tree).into_iter().map(|finding| finding.message).collect::<Vec<_>>(),
            ["L08 is explained nowhere: ARCHITECTURE.md lists the numbers"]
        );
    }

    #[test]
    fn numbers_are_whole_words() {
        assert_eq!(numbers("L07, l30_a_b, HTML12 L123 XL44 wait_l45").collect::<Vec<_>>(), [7, 30, 45]);
    }
}
