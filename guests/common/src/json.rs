//! JSON text from strings: all that the guests answer with.

use std::fmt::Write as _;

/// A JSON string literal.
#[must_use]
pub fn string(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            c if c < ' ' => write!(out, "\\u{:04x}", u32::from(c)).expect("writing to a String can't fail"),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// A JSON array of values that are JSON already.
#[must_use]
pub fn array(values: impl IntoIterator<Item = String>) -> String {
    format!("[{}]", values.into_iter().collect::<Vec<_>>().join(","))
}

/// A JSON object of names and values that are JSON already; the order is kept.
#[must_use]
pub fn object(members: impl IntoIterator<Item = (String, String)>) -> String {
    let members: Vec<_> = members.into_iter().map(|(name, value)| format!("{}:{value}", string(&name))).collect();
    format!("{{{}}}\n", members.join(","))
}

/// A JSON object of strings.
#[must_use]
pub fn strings(members: impl IntoIterator<Item = (String, String)>) -> String {
    object(members.into_iter().map(|(name, value)| (name, string(&value))))
}

/// Each name once, with the array of its values in order: how repeated headers are shown.
#[must_use]
pub fn multimap(entries: impl IntoIterator<Item = (String, Vec<u8>)>) -> String {
    let mut names: Vec<(String, Vec<String>)> = Vec::new();
    for (name, value) in entries {
        let value = string(&String::from_utf8_lossy(&value));
        match names.iter_mut().find(|(known, _)| *known == name) {
            Some((_, values)) => values.push(value),
            None => names.push((name, vec![value])),
        }
    }
    object(names.into_iter().map(|(name, values)| (name, array(values))))
}

/// What `/json` answers.
#[must_use]
pub fn about(guest: &str, wasi: &str, method: &str, path: &str) -> String {
    let members = [("guest", guest), ("language", "Rust"), ("wasi", wasi), ("method", method), ("path", path)];
    strings(members.map(|(name, value)| (name.to_owned(), value.to_owned())))
}
