//! Cuts a text into documents.
//!
//! YAML lets no content line begin with `---` or `...` and white space (YAML 1.2.2, section 9.1.2), not even inside a block of text, so the
//! cuts are found without parsing. Each document is then read for itself: its faults don't hide others.

/// A document's text.
pub(super) struct Chunk<'a> {
    /// The text, with the `---` it began with.
    pub(super) text: &'a str,
    /// Lines of the whole text before it.
    pub(super) lines_before: u64,
}

/// The documents of `text`, empty ones too.
pub(super) fn documents(text: &str) -> Vec<Chunk<'_>> {
    let mut chunks = Vec::new();
    let (mut start, mut start_line) = (0, 0);
    let (mut offset, mut number) = (0, 0);
    for line in text.split_inclusive('\n') {
        if is_marker(line, "---") {
            chunks.push(Chunk { text: &text[start..offset], lines_before: start_line });
            (start, start_line) = (offset, number);
        }
        offset += line.len();
        number += 1;
        if is_marker(line, "...") {
            chunks.push(Chunk { text: &text[start..offset], lines_before: start_line });
            (start, start_line) = (offset, number);
        }
    }
    chunks.push(Chunk { text: &text[start..], lines_before: start_line });
    chunks.retain(|chunk| !is_blank(chunk.text));
    chunks
}

fn is_marker(line: &str, marker: &str) -> bool {
    line.strip_prefix(marker).is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\r', '\n']))
}

/// Whether a chunk holds nothing but comments, directives and markers.
fn is_blank(text: &str) -> bool {
    text.lines().all(|line| {
        let content = if is_marker(line, "---") || is_marker(line, "...") { &line[3..] } else { line };
        let content = content.trim();
        content.is_empty() || content.starts_with('#') || line.starts_with('%')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(text: &str) -> Vec<(&str, u64)> {
        documents(text).into_iter().map(|c| (c.text, c.lines_before)).collect()
    }

    #[test]
    fn markers_at_the_start_of_a_line_cut_and_know_their_line() {
        assert_eq!(cut("a: 1\n---\nb: 2\n"), [("a: 1\n", 0), ("---\nb: 2\n", 1)]);
        assert_eq!(cut("--- {a: 1}\n--- # c\nb: 2"), [("--- {a: 1}\n", 0), ("--- # c\nb: 2", 1)]);
        assert_eq!(cut("a: 1\r\n---\r\nb: 2\r\n"), [("a: 1\r\n", 0), ("---\r\nb: 2\r\n", 1)]);
        assert_eq!(cut("a: 1\n...\nb: 2"), [("a: 1\n...\n", 0), ("b: 2", 2)]);
    }

    #[test]
    fn other_lines_with_hyphens_do_not_cut() {
        for text in ["a: |\n  ---\n  b\n", "- a\n- ---b\n", "---a: 1\n", "a: ---\n"] {
            assert_eq!(cut(text).len(), 1, "{text}");
        }
    }

    #[test]
    fn comments_directives_and_bare_markers_are_no_documents() {
        for text in ["", "\n\n", "# hello\n", "---\n---\n", "%YAML 1.2\n---\n...\n", "  # x\n---  \n# y"] {
            assert!(cut(text).is_empty(), "{text}");
        }
    }
}
