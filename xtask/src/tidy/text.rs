//! What no file may contain: notes of unfinished work, paths of one machine, package hosts of one network.

use super::Finding;
use super::tree::File;

/// Words that mark unfinished work. Put together here, so that this file doesn't contain them.
const MARKS: [&str; 3] = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X")];

/// Where people's and programs' own folders are. Put together for the same reason.
const MACHINE: [&str; 4] = [concat!("/ro", "ot/"), concat!("/ho", "me/"), concat!("/Us", "ers/"), concat!("/wo", "rk/main")];

/// A home folder that nobody has: for examples and tests.
const NOBODYS: &str = concat!("/ho", "me/me");

/// Files that say where packages come from.
const PACKAGE_FILES: [&str; 9] =
    ["Cargo.lock", "config.toml", "go.sum", "package-lock.json", "pip.conf", "pnpm-lock.yaml", "requirements.txt", "uv.lock", "yarn.lock"];

/// Keys in them that name a place.
const PLACE_KEYS: [&str; 5] = ["index", "registry", "resolved", "source", "url"];

/// The public registries.
const PUBLIC_HOSTS: [&str; 6] =
    ["files.pythonhosted.org", "github.com", "index.crates.io", "proxy.golang.org", "pypi.org", "registry.npmjs.org"];

/// Marks, machine paths and private hosts in one file.
pub fn check(file: &File) -> Vec<Finding> {
    let mut findings = Vec::new();
    let name = file.path.rsplit('/').next().unwrap_or(&file.path);
    let says_places = PACKAGE_FILES.contains(&name) || name == ".npmrc";
    for (index, line) in file.text.lines().enumerate() {
        let mut found = |rule, message: String| findings.push(Finding::new(rule, &file.path, index + 1, message));
        if let Some(mark) = MARKS.iter().find(|mark| has_word(line, mark)) {
            found("unfinished", format!("{mark}: do it now, or write an issue"));
        }
        if let Some(path) = MACHINE.iter().find(|path| has_path(line, path)) {
            found("machine", format!("{path} is there on one machine only"));
        }
        let names_place = says_places && PLACE_KEYS.iter().any(|key| line.contains(key));
        if let Some(host) = host(line).filter(|host| names_place && !PUBLIC_HOSTS.contains(host)) {
            found("machine", format!("{host} is no public registry"));
        }
    }
    findings
}

/// Whether `word` stands in `line` with neither a letter, a digit nor `_` beside it.
fn has_word(line: &str, word: &str) -> bool {
    let part_of_word = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word).any(|(at, _)| !line[..at].ends_with(part_of_word) && !line[at + word.len()..].starts_with(part_of_word))
}

/// Whether `path` stands in `line` as the start of a path.
fn has_path(line: &str, path: &str) -> bool {
    let inside = |c: char| c.is_alphanumeric() || matches!(c, '.' | '_' | '-' | '~' | '}' | '/');
    let starts = |at: usize| !line[..at].ends_with(inside) || line[..at].ends_with("file://");
    let nobodys = |at: usize| line[at..].strip_prefix(NOBODYS).is_some_and(|rest| !rest.starts_with(inside) || rest.starts_with('/'));
    line.match_indices(path).any(|(at, _)| starts(at) && !nobodys(at))
}

/// Host of the first URL in `line`.
fn host(line: &str) -> Option<&str> {
    let (_, rest) = line.split_once("://")?;
    let authority = rest.split(['/', '"', '\'', '?', '#', ' ']).next()?;
    Some(authority.rsplit('@').next().unwrap_or(authority))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, text: &str) -> Vec<(&'static str, usize)> {
        check(&File { path: path.into(), text: text.into() }).into_iter().map(|finding| (finding.rule, finding.line)).collect()
    }

    #[test]
    fn unfinished_work_is_found_in_any_file() {
        assert_eq!(found("README.md", &format!("a\n{}: b", MARKS[0])), [("unfinished", 2)]);
        assert_eq!(found("a.sh", &format!("mktemp {}{}", MARKS[2], MARKS[2])), []);
    }

    #[test]
    fn a_path_of_one_machine_is_found() {
        assert_eq!(found("a.rs", &format!("let a = \"{}you/b\";", MACHINE[1])), [("machine", 1)]);
        assert_eq!(found("a.rs", &format!("let a = \"{NOBODYS}/b\";")), []);
        assert_eq!(found("a.rs", &format!("image: file://{}b", MACHINE[0])), [("machine", 1)]);
        assert_eq!(found("a.rs", &format!("https://example.com{}b and $X/a{}", MACHINE[0], MACHINE[1])), []);
    }

    #[test]
    fn packages_come_from_public_registries() {
        let lock = "\"resolved\": \"https://registry.npmjs.org/a.tgz\",\n\"resolved\": \"http://user@mirror.example:80/a.tgz\",\n\"funding\": \"https://b.example\"";
        assert_eq!(found("guests/package-lock.json", lock), [("machine", 2)]);
        assert_eq!(found("README.md", lock), []);
        assert_eq!(found("Cargo.lock", "source = \"registry+https://github.com/rust-lang/crates.io-index\""), []);
    }
}
