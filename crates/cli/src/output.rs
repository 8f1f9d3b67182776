//! Standard output: lines, tables, JSON and YAML, each for one reader. Nothing else in this crate writes there.

mod age;
mod columns;
mod describe;
mod inspection;
mod table;

use std::io::{self, Write};

use serde::Serialize;

pub(crate) use age::{age, duration, size};
pub(crate) use columns::{columns, object_name, ready, status};
pub(crate) use describe::describe;
pub(crate) use inspection::inspection;
pub(crate) use table::Table;

/// A color with a meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tone {
    Good,
    Bad,
    Warn,
    Faint,
    Strong,
}

impl Tone {
    /// Its SGR parameter (ECMA-48).
    fn sgr(self) -> &'static str {
        match self {
            Tone::Good => "32",
            Tone::Bad => "31",
            Tone::Warn => "33",
            Tone::Faint => "2",
            Tone::Strong => "1",
        }
    }
}

/// Standard output.
pub(crate) struct Output {
    color: bool,
    out: io::Stdout,
}

impl Output {
    pub(crate) fn new(color: bool) -> Output {
        Output { color, out: io::stdout() }
    }

    /// One line, sent at once.
    pub(crate) fn line(&mut self, text: impl AsRef<str>) -> io::Result<()> {
        let mut out = self.out.lock();
        out.write_all(text.as_ref().as_bytes())?;
        out.write_all(b"\n")?;
        out.flush()
    }

    /// Text as it is.
    pub(crate) fn text(&mut self, text: &str) -> io::Result<()> {
        let mut out = self.out.lock();
        out.write_all(text.as_bytes())?;
        out.flush()
    }

    /// `text` in a tone, where colors are wanted.
    pub(crate) fn paint(&self, tone: Tone, text: &str) -> String {
        if self.color { format!("\x1b[{}m{text}\x1b[0m", tone.sgr()) } else { text.to_owned() }
    }

    /// JSON for a person's eyes and a program alike: indented.
    pub(crate) fn json(&mut self, value: &impl Serialize) -> io::Result<()> {
        self.line(serde_json::to_string_pretty(value).map_err(io::Error::other)?)
    }

    /// One JSON value on one line, for streams.
    pub(crate) fn json_line(&mut self, value: &impl Serialize) -> io::Result<()> {
        self.line(serde_json::to_string(value).map_err(io::Error::other)?)
    }

    /// YAML.
    pub(crate) fn yaml(&mut self, value: &impl Serialize) -> io::Result<()> {
        let text = yaml(value)?;
        self.text(&text)
    }

    /// A table, its header first.
    pub(crate) fn table(&mut self, table: &Table) -> io::Result<()> {
        let text = table.render(|tone, text| self.paint(tone, text));
        self.text(&text)
    }
}

/// A value as YAML that ends with a line's end.
pub(crate) fn yaml(value: &impl Serialize) -> io::Result<String> {
    let mut text = serde_saphyr::to_string(value).map_err(io::Error::other)?;
    if !text.ends_with('\n') {
        text.push('\n');
    }
    Ok(text)
}

/// What a guest or a user wrote, safe for a terminal: control characters but tabs are shown, not obeyed.
pub(crate) fn printable(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() && c != '\t' {
            safe.extend(c.escape_default());
        } else {
            safe.push(c);
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_guest_writes_moves_no_cursor() {
        assert_eq!(printable("a\tb\x1b[2Jc\rd"), "a\tb\\u{1b}[2Jc\\rd");
    }
}
