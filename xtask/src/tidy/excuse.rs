//! Excuses: `tidy: allow(RULE): REASON` in a comment on the line of a finding, or on the line above it, takes the finding away.
//!
//! An excuse needs a reason, and one that excuses nothing is a finding itself.

use std::collections::BTreeSet;

use super::Finding;
use super::tree::Tree;

const MARK: &str = "tidy: allow(";

/// A reason shorter than this isn't one, characters.
const MIN_REASON: usize = 15;

struct Excuse {
    path: String,
    line: usize,
    rule: String,
}

/// The findings that nothing excuses, and one for each excuse without a reason or use.
pub fn apply(tree: &Tree, findings: Vec<Finding>) -> Vec<Finding> {
    let mut left = Vec::new();
    let excuses = excuses(tree, &mut left);
    let mut used = BTreeSet::new();
    for finding in findings {
        let excused = excuses.iter().position(|excuse| {
            excuse.path == finding.path && excuse.rule == finding.rule && (excuse.line == finding.line || excuse.line + 1 == finding.line)
        });
        match excused {
            Some(index) => _ = used.insert(index),
            None => left.push(finding),
        }
    }
    for (_, excuse) in excuses.iter().enumerate().filter(|(index, _)| !used.contains(index)) {
        left.push(Finding::new(
            "excuse",
            &excuse.path,
            excuse.line,
            format!("nothing here breaks the rule {}: remove the excuse", excuse.rule),
        ));
    }
    left
}

fn excuses(tree: &Tree, findings: &mut Vec<Finding>) -> Vec<Excuse> {
    let mut excuses = Vec::new();
    for file in tree.files.iter().filter(|file| file.is_ours() && !file.path.starts_with("xtask/src/tidy")) {
        for (index, text) in file.text.lines().enumerate() {
            let Some((_, rest)) = text.split_once(MARK) else { continue };
            let (rule, reason) = rest.split_once(')').unwrap_or((rest, ""));
            if reason.trim_start_matches(':').trim().chars().count() < MIN_REASON {
                findings.push(Finding::new("excuse", &file.path, index + 1, "say why: `tidy: allow(RULE): REASON`"));
            }
            excuses.push(Excuse { path: file.path.clone(), line: index + 1, rule: rule.to_owned() });
        }
    }
    excuses
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATH: &str = "crates/http/tests/it/slow.rs";

    fn left(text: &str, line: usize) -> Vec<(&'static str, usize)> {
        let finding = Finding::new("sleep", PATH, line, "");
        apply(&Tree::of(&[(PATH, text)]), vec![finding]).into_iter().map(|finding| (finding.rule, finding.line)).collect()
    }

    #[test]
    fn a_reason_on_the_line_or_above_excuses() {
        assert_eq!(left("// tidy: allow(sleep): the server is slow on purpose\nsleep(a);", 2), []);
        assert_eq!(left("sleep(a); // tidy: allow(sleep): the server is slow on purpose", 1), []);
    }

    #[test]
    fn another_rule_or_place_is_not_excused() {
        assert_eq!(left("// tidy: allow(print): the server is slow on purpose\nsleep(a);", 2), [("sleep", 2), ("excuse", 1)]);
        assert_eq!(left("// tidy: allow(sleep): the server is slow on purpose\n\nsleep(a);", 3), [("sleep", 3), ("excuse", 1)]);
    }

    #[test]
    fn an_excuse_needs_a_reason() {
        assert_eq!(left("sleep(a); // tidy: allow(sleep)", 1), [("excuse", 1)]);
    }
}
