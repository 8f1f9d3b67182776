//! What a guest writes to its standard output and error.

use std::io::Write as _;

/// The lines of `/log` on one stream, numbered from 1.
pub fn lines(stream: &str, count: u64) -> impl Iterator<Item = String> {
    (1..=count).map(move |n| format!("{stream} line {n}\n"))
}

/// Writes `mib` MiB to standard output: lines of 1 KiB, or, if not `newlines`, one line that doesn't end.
/// A refused write ends it, without complaint.
pub fn flood(mib: u64, newlines: bool) {
    let mut line = [b'x'; 1024];
    if newlines {
        line[1023] = b'\n';
    }
    let mut out = std::io::stdout().lock();
    for _ in 0..mib * 1024 {
        if out.write_all(&line).is_err() {
            return;
        }
    }
}
