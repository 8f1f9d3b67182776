//! The configuration file: TOML, flat, every key a setting's name. A key that isn't one is refused, with the one it was meant to be.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use berth_node::model::suggest::closest;
use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

use super::table::{SETTINGS, Setting, Shape};

/// Longest file, bytes: a hundred times what all settings take.
const MAX_BYTES: u64 = 1 << 20;

/// What a file says: name to value and line.
#[derive(Debug, Default)]
pub(super) struct ConfigFile {
    pub(super) path: PathBuf,
    pub(super) values: BTreeMap<&'static str, (String, usize)>,
}

/// Where the file is when nobody names one.
pub(super) fn default_path() -> Option<PathBuf> {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let config = set("XDG_CONFIG_HOME").or_else(|| set("HOME").map(|home| home.join(".config")))?;
    Some(config.join("berth/config.toml"))
}

/// Reads the file that was named, which must be there, or the default one, which may be.
pub(super) fn read(named: Option<&Path>, default: Option<&Path>) -> Result<ConfigFile, Vec<String>> {
    let Some(path) = named.or(default) else { return Ok(ConfigFile::default()) };
    let failed = |error: &dyn std::fmt::Display| vec![format!("can't read the configuration file {}: {error}", path.display())];
    match path.metadata() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && named.is_none() => return Ok(ConfigFile::default()),
        Ok(meta) if meta.len() > MAX_BYTES => return Err(failed(&format!("it has more than {MAX_BYTES} bytes"))),
        _ => {}
    }
    let text = std::fs::read_to_string(path).map_err(|error| failed(&error))?;
    parse(path, &text)
}

fn parse(path: &Path, text: &str) -> Result<ConfigFile, Vec<String>> {
    let place = |at: usize| format!("{} line {}", path.display(), line_of(text, at));
    let table = DeTable::parse(text).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start);
        vec![format!("{}: {}", place(at), error.message())]
    })?;
    let mut file = ConfigFile { path: path.into(), values: BTreeMap::new() };
    let mut errors = Vec::new();
    for (key, value) in table.get_ref() {
        let at = key.span().start;
        match Setting::find(key.get_ref()) {
            None => errors.push(format!("{}: {}", place(at), unknown(key.get_ref()))),
            Some(setting) => match text_of(setting, value.get_ref()) {
                Ok(value) => drop(file.values.insert(setting.name, (value, line_of(text, at)))),
                Err(error) => errors.push(format!("{}: {}: {error}", place(at), setting.name)),
            },
        }
    }
    if errors.is_empty() { Ok(file) } else { Err(errors) }
}

fn unknown(key: &str) -> String {
    let hint = closest(key, SETTINGS.iter().map(|setting| setting.name));
    let hint = hint.map_or_else(|| "see `berth up --help` for the names".to_owned(), |name| format!("did you mean `{name}`?"));
    format!("unknown key `{}`; {hint}", key.escape_debug())
}

/// The value as a flag would have it.
fn text_of(setting: &Setting, value: &DeValue<'_>) -> Result<String, String> {
    match (setting.shape, value) {
        (Shape::Switch, DeValue::Boolean(on)) => Ok(on.to_string()),
        (Shape::Switch, other) => Err(format!("must be true or false, not {}", described(other))),
        (Shape::Value(_) | Shape::Paths, DeValue::String(text)) => Ok(text.to_string()),
        (Shape::Paths, DeValue::Array(list)) => paths(list),
        (Shape::Paths, other) => Err(format!("must be a list of texts in quotes, not {}", described(other))),
        (Shape::Value(_) | Shape::Count(_), DeValue::Integer(number)) => Ok(number.to_string()),
        (Shape::Value(_), other) => Err(format!("must be a text in quotes or a whole number, not {}", described(other))),
        (Shape::Count(_), other) => Err(format!("must be a whole number, not {}", described(other))),
    }
}

/// A list as the environment would have it.
fn paths(list: &DeArray<'_>) -> Result<String, String> {
    let path = |value: &Spanned<DeValue<'_>>| match value.get_ref() {
        DeValue::String(text) => Ok(text.to_string()),
        other => Err(format!("must be a list of texts in quotes, not of {}", described(other))),
    };
    Ok(list.iter().map(path).collect::<Result<Vec<_>, _>>()?.join(":"))
}

fn described(value: &DeValue<'_>) -> String {
    let kind = value.type_str();
    if matches!(kind.as_bytes().first(), Some(b'a' | b'e' | b'i' | b'o' | b'u')) { format!("an {kind}") } else { format!("a {kind}") }
}

fn line_of(text: &str, at: usize) -> usize {
    1 + text.bytes().take(at).filter(|byte| *byte == b'\n').count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn errors(text: &str) -> String {
        parse(Path::new("berth.toml"), text).unwrap_err().join("\n")
    }

    #[test]
    fn l60_an_unknown_key_is_refused_with_a_suggestion_and_its_line() {
        assert_eq!(errors("# hello\nhttp_addr = \"x\""), "berth.toml line 2: unknown key `http_addr`; did you mean `http-addr`?");
        assert_eq!(errors("[up]\nhttp-addr = \"x\""), "berth.toml line 1: unknown key `up`; see `berth up --help` for the names");
    }

    #[test]
    fn folders_are_a_list_or_one_text() {
        let get = |text: &str| parse(Path::new("x"), text).map(|file| file.values["volume-root"].0.clone());
        assert_eq!(get("volume-root = [\"/a\", \"/b\"]").unwrap(), "/a:/b");
        assert_eq!(get("volume-root = \"/a\"").unwrap(), "/a");
        assert!(errors("volume-root = [1]").contains("must be a list of texts in quotes, not of an integer"));
        assert!(errors("volume-root = 1").contains("must be a list of texts in quotes, not an integer"));
    }

    #[test]
    fn values_are_texts_numbers_and_switches() {
        let file = parse(Path::new("x"), "http-addr = \"[::1]:80\"\nslots = 10\nephemeral = true\nverbose = 2\n").unwrap();
        let get = |name| file.values.get(name).map(|(text, line)| (text.as_str(), *line));
        assert_eq!(get("http-addr"), Some(("[::1]:80", 1)));
        assert_eq!(get("slots"), Some(("10", 2)));
        assert_eq!(get("ephemeral"), Some(("true", 3)));
        assert_eq!(get("verbose"), Some(("2", 4)));
    }

    #[test]
    fn every_fault_is_told_at_once() {
        let text = errors("ephemeral = \"yes\"\nslots = [1]\nslot = 1\n");
        assert!(text.contains("line 1: ephemeral: must be true or false, not a string"), "{text}");
        assert!(text.contains("line 2: slots: must be a text in quotes or a whole number, not an array"), "{text}");
        assert!(text.contains("line 3: unknown key `slot`; did you mean `slots`?"), "{text}");
    }

    #[test]
    fn what_is_not_toml_says_where() {
        assert!(errors("a = 1\nb = = 2").starts_with("berth.toml line 2: "));
    }

    #[test]
    fn a_file_that_was_named_must_be_there_and_the_default_one_need_not() {
        let none = Path::new("/nonexistent/berth.toml");
        assert!(read(None, Some(none)).unwrap().values.is_empty());
        assert!(read(Some(none), None).unwrap_err()[0].contains("/nonexistent/berth.toml"));
    }
}
