//! What is being pulled: a line that is rewritten on a terminal, a line per image elsewhere.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use berth_node::oci::{PullStage, Pulling};

use crate::output::{printable, size};

/// Time between two states of the line: often enough for an eye.
const EVERY: Duration = Duration::from_millis(100);

/// Shows pulls.
pub(super) struct Progress {
    terminal: bool,
    /// Whether the line stands there now.
    shown: bool,
    last: Option<Instant>,
    /// Images that are being pulled and were named.
    named: Vec<String>,
}

impl Progress {
    /// On standard error, if that is a terminal.
    pub(super) fn new(json: bool) -> Progress {
        Progress { terminal: !json && std::io::stderr().is_terminal(), shown: false, last: None, named: Vec::new() }
    }

    /// Takes the state of all pulls; gives lines to print where there is no terminal.
    pub(super) fn show(&mut self, pulls: &[Pulling], now: Instant) -> Vec<String> {
        if !self.terminal {
            return self.name(pulls);
        }
        if pulls.is_empty() {
            self.clear();
        } else if self.last.is_none_or(|last| now.saturating_duration_since(last) >= EVERY) {
            self.last = Some(now);
            self.shown = true;
            // Nobody is told less when the terminal is gone.
            let _ = write!(std::io::stderr(), "\r\x1b[K{}", line(pulls));
        }
        Vec::new()
    }

    /// Makes room for another line.
    pub(super) fn clear(&mut self) {
        if std::mem::take(&mut self.shown) {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
        self.last = None;
    }

    /// A line for each image whose size is known and that was not named yet.
    fn name(&mut self, pulls: &[Pulling]) -> Vec<String> {
        self.named.retain(|image| pulls.iter().any(|pull| pull.image == *image));
        let mut lines = Vec::new();
        for pull in pulls.iter().filter(|pull| pull.total_bytes > 0) {
            if !self.named.contains(&pull.image) {
                self.named.push(pull.image.clone());
                lines.push(format!("pulling {} ({})", printable(&pull.image), size(pull.total_bytes)));
            }
        }
        lines
    }
}

/// The oldest pull, and how many more there are.
fn line(pulls: &[Pulling]) -> String {
    let Some(pull) = pulls.first() else { return String::new() };
    let image = printable(&pull.image);
    let state = match (pull.stage, pull.total_bytes) {
        (PullStage::Waiting, _) => "waits for other pulls".to_owned(),
        (PullStage::Retrying, _) => "is tried again".to_owned(),
        (PullStage::Resolving, _) | (PullStage::Transferring, 0) => "asks the registry".to_owned(),
        (PullStage::Transferring, total) => format!("{} of {}", size(pull.done_bytes), size(total)),
    };
    let more = if pulls.len() > 1 { format!(", {} more", pulls.len() - 1) } else { String::new() };
    format!("pulling {image}: {state}{more}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pulling(image: &str, stage: PullStage, done_bytes: u64, total_bytes: u64) -> Pulling {
        Pulling { image: image.into(), stage, done_bytes, total_bytes }
    }

    #[test]
    fn a_terminal_shows_the_oldest_pull_and_how_many_more_there_are() {
        let pulls = [pulling("a/b:1", PullStage::Transferring, 2048, 12 << 20), pulling("a/c:1", PullStage::Waiting, 0, 0)];
        assert_eq!(line(&pulls), "pulling a/b:1: 2Ki of 12Mi, 1 more");
        assert_eq!(line(&pulls[1..]), "pulling a/c:1: waits for other pulls");
        assert_eq!(line(&[pulling("a/d:1", PullStage::Transferring, 0, 0)]), "pulling a/d:1: asks the registry");
    }

    #[test]
    fn without_a_terminal_each_image_is_named_once_when_its_size_is_known() {
        let mut progress = Progress { terminal: false, shown: false, last: None, named: Vec::new() };
        let now = Instant::now();
        let unknown = [pulling("a/b:1", PullStage::Resolving, 0, 0)];
        let known = [pulling("a/b:1", PullStage::Transferring, 0, 2048)];
        assert!(progress.show(&unknown, now).is_empty());
        assert_eq!(progress.show(&known, now), ["pulling a/b:1 (2Ki)"]);
        assert!(progress.show(&known, now).is_empty());
        assert!(progress.show(&[], now).is_empty());
        assert_eq!(progress.show(&known, now).len(), 1, "another pull");
    }
}
