//! Names that say nothing: a type or a file is named for what it is.

use super::Finding;
use super::tokens::Token;

/// Words that no type's name contains.
const EMPTY_WORDS: [&str; 9] = ["Context", "Ctx", "Data", "Helper", "Helpers", "Manager", "Util", "Utility", "Utils"];

/// Names of files that collect what has no concept.
const EMPTY_FILES: [&str; 5] = ["helper", "helpers", "misc", "util", "utils"];

/// Types that keep such a word, and why.
const ALLOWED: [(&str, &str); 2] =
    [("DataError", "what is wrong with a data folder"), ("DataFolder", "the folder that users know as --data-dir")];

/// Types and files whose names say nothing.
pub fn check(path: &str, tokens: &[Token]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let stem = path.rsplit('/').next().unwrap_or(path).trim_end_matches(".rs");
    if !tokens.is_empty() && EMPTY_FILES.contains(&stem) {
        findings.push(Finding::new("name", path, 0, format!("a file named {stem} has no concept: name it for what it holds")));
    }
    for pair in tokens.windows(2) {
        let [keyword, name] = pair else { continue };
        if !matches!(keyword.text.as_str(), "struct" | "enum" | "trait") || ALLOWED.iter().any(|(allowed, _)| *allowed == name.text) {
            continue;
        }
        if let Some(word) = words(&name.text).find(|word| EMPTY_WORDS.contains(word)) {
            let message = format!("{} {} contains {word}, which says nothing: name it for what it is", keyword.text, name.text);
            findings.push(Finding::new("name", path, name.line, message));
        }
    }
    findings
}

/// The words of a CamelCase name.
fn words(name: &str) -> impl Iterator<Item = &str> {
    let mut rest = name;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let end = rest.char_indices().skip(1).find(|(_, c)| c.is_uppercase()).map_or(rest.len(), |(at, _)| at);
        let (word, tail) = rest.split_at(end);
        rest = tail;
        Some(word)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::tokens;

    fn found(text: &str) -> usize {
        check("crates/model/src/a.rs", &tokens::of("crates/model/src/a.rs", text)).len()
    }

    #[test]
    fn a_type_named_for_nothing_is_found() {
        assert_eq!(found("struct HostManager; pub enum Data {} trait RequestContext {}"), 3);
    }

    #[test]
    fn only_whole_words_count_and_only_definitions() {
        assert_eq!(found("struct Database; struct Metadata; fn f(c: Context<'_>) {} impl Body for X { type Data = Bytes; }"), 0);
    }

    #[test]
    fn a_file_of_leftovers_is_found() {
        let path = "crates/model/src/utils.rs";
        assert_eq!(check(path, &tokens::of(path, "fn a() {}")).len(), 1);
    }

    #[test]
    fn camel_case_is_split_into_words() {
        assert_eq!(words("HostDataURL").collect::<Vec<_>>(), ["Host", "Data", "U", "R", "L"]);
    }
}
