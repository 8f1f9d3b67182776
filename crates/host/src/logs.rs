//! Logs of guests: lines with identity, bounded in number, length and rate (L44), kept per workload and followed live.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, RwLock};
use std::time::Instant;

use serde::{Deserialize, Serialize};
use tokio::sync::broadcast;

/// Longest line kept, bytes; the rest of a longer one is cut.
pub const MAX_LINE_BYTES: usize = 8 << 10;
/// Workloads that are gone whose logs are kept: why something failed is asked after it went.
const GONE_KEPT: usize = 100;
/// Text kept of each, bytes: with the above, 3 MiB in all, besides what goes with each line.
const GONE_BYTES: usize = 32 << 10;
/// Lines kept of each.
const GONE_LINES: usize = 200;
/// Lines that a follower may be behind before it loses some.
const FOLLOW_BUFFER: usize = 4096;

/// Where a line came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stream {
    /// The guest's standard output.
    Stdout,
    /// The guest's standard error.
    Stderr,
    /// The host, about the guest: traps, denials, dropped lines.
    Host,
}

/// One line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LogLine {
    /// When it was written.
    pub time: jiff::Timestamp,
    /// Namespace of the workload.
    pub namespace: String,
    /// Name of the workload.
    pub workload: String,
    /// Name of the component in the workload.
    pub component: String,
    /// The request it was written in; none where an instance serves several at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<String>,
    /// Where it came from.
    pub stream: Stream,
    /// The line, without its end, at most [`MAX_LINE_BYTES`] long.
    pub text: String,
}

/// Logs of all workloads of a host.
pub struct LogBook {
    lines_kept: usize,
    lines_per_second: u32,
    workloads: RwLock<Workloads>,
    live: Arc<Live>,
}

/// Namespace and name of a workload.
type Key = (String, String);

#[derive(Default)]
struct Workloads {
    logs: HashMap<Key, Held>,
    /// Those that nobody holds, the longest gone first.
    gone: VecDeque<Key>,
}

/// A log, and how many workloads write to it: those that went by one name and overlap share it.
struct Held {
    log: Arc<WorkloadLog>,
    /// None: the workload is gone, and the log's last lines are kept for a while.
    holders: usize,
}

impl LogBook {
    pub(crate) fn new(lines_kept: usize, lines_per_second: u32) -> LogBook {
        LogBook { lines_kept, lines_per_second, workloads: RwLock::default(), live: Arc::new(Live::new()) }
    }

    /// The last `lines` lines of a namespace's workloads, oldest first. With a prefix: of workloads whose name is it, or begins
    /// with it and a dash, as the names of a deployment's workloads do. Of the last 100 workloads that went, the last lines are there
    /// too: 200 of each, and 32 KiB of text.
    pub fn tail(&self, namespace: &str, workload_prefix: Option<&str>, lines: usize) -> Vec<Arc<LogLine>> {
        let workloads = self.workloads.read().expect("no panic while held");
        let mut found: Vec<Arc<LogLine>> = workloads
            .logs
            .values()
            .map(|held| &held.log)
            .filter(|log| log.namespace == namespace && workload_prefix.is_none_or(|prefix| belongs(&log.workload, prefix)))
            .flat_map(|log| log.ring.lock().expect("no panic while held").lines.iter().cloned().collect::<Vec<_>>())
            .collect();
        found.sort_by_key(|line| line.time);
        found.split_off(found.len().saturating_sub(lines))
    }

    /// Lines as they are written. A follower that falls more than 4,096 lines behind is told how many it lost.
    pub fn follow(&self) -> broadcast::Receiver<Arc<LogLine>> {
        self.live.follow()
    }

    /// The log of one workload; made when it isn't there. One that comes back under its name goes on with what is kept of its log.
    /// Whoever opens it gives it back with [`LogBook::release`].
    pub(crate) fn open(&self, namespace: &str, workload: &str) -> Arc<WorkloadLog> {
        let mut workloads = self.workloads.write().expect("no panic while held");
        let Workloads { logs, gone } = &mut *workloads;
        let key = (namespace.to_owned(), workload.to_owned());
        let held = logs.entry(key).or_insert_with_key(|key| Held { log: Arc::new(self.log(key)), holders: 0 });
        if held.holders == 0 {
            gone.retain(|(ns, name)| (ns.as_str(), name.as_str()) != (namespace, workload));
        }
        held.holders += 1;
        held.log.clone()
    }

    /// Takes the lock of all workloads' logs, as long as the result lives.
    #[cfg(test)]
    pub(crate) fn hold(&self) -> impl Sized + '_ {
        self.workloads.write().expect("no panic while held")
    }

    fn log(&self, (namespace, workload): &Key) -> WorkloadLog {
        let ring = Ring { lines: VecDeque::new(), bucket: Bucket::full(self.lines_per_second), dropped: 0 };
        WorkloadLog {
            namespace: namespace.clone(),
            workload: workload.clone(),
            lines_kept: self.lines_kept,
            ring: Mutex::new(ring),
            live: self.live.clone(),
        }
    }

    /// A workload is gone: with the last that holds it, its log shrinks, and goes when enough others have gone after it.
    pub(crate) fn release(&self, log: &Arc<WorkloadLog>) {
        let mut workloads = self.workloads.write().expect("no panic while held");
        let Workloads { logs, gone } = &mut *workloads;
        let key = (log.namespace.clone(), log.workload.clone());
        let Some(held) = logs.get_mut(&key) else { return };
        held.holders -= 1;
        if held.holders > 0 {
            return;
        }
        if !held.log.shrink() {
            logs.remove(&key);
            return;
        }
        gone.push_back(key);
        if gone.len() > GONE_KEPT {
            gone.pop_front().map(|longest| logs.remove(&longest));
        }
    }
}

/// Lines of all workloads as they are written. Its lock is shared by workloads, so it is taken only while somebody follows.
struct Live {
    lines: broadcast::Sender<Arc<LogLine>>,
    /// Whether there may be followers. Becomes true when one comes, false when a line finds that all have left.
    followed: AtomicBool,
    /// Held while that is decided, so that a follower that comes isn't overlooked.
    deciding: Mutex<()>,
}

impl Live {
    fn new() -> Live {
        Live { lines: broadcast::channel(FOLLOW_BUFFER).0, followed: AtomicBool::new(false), deciding: Mutex::new(()) }
    }

    fn follow(&self) -> broadcast::Receiver<Arc<LogLine>> {
        let _deciding = self.deciding.lock().expect("no panic while held");
        let follower = self.lines.subscribe();
        self.followed.store(true, Ordering::Release);
        follower
    }

    fn send(&self, line: Arc<LogLine>) {
        if !self.followed.load(Ordering::Acquire) || self.lines.send(line).is_ok() {
            return;
        }
        let _deciding = self.deciding.lock().expect("no panic while held");
        if self.lines.receiver_count() == 0 {
            self.followed.store(false, Ordering::Release);
        }
    }
}

/// Whether a workload's name is `prefix`, or one that a deployment or replica set of that name gives.
pub fn belongs(workload: &str, prefix: &str) -> bool {
    workload.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
}

/// The log of one workload.
pub(crate) struct WorkloadLog {
    namespace: String,
    workload: String,
    lines_kept: usize,
    ring: Mutex<Ring>,
    live: Arc<Live>,
}

struct Ring {
    lines: VecDeque<Arc<LogLine>>,
    bucket: Bucket,
    dropped: u64,
}

impl WorkloadLog {
    /// Adds one line, or counts it as dropped when the workload writes faster than it may.
    pub(crate) fn write(&self, component: &str, request: Option<String>, stream: Stream, text: &str) {
        let mut ring = self.ring.lock().expect("no panic while held");
        let now = Instant::now();
        if stream != Stream::Host && !ring.bucket.take(now) {
            ring.dropped += 1;
            return;
        }
        let dropped = std::mem::take(&mut ring.dropped);
        if dropped > 0 {
            let text = format!("{dropped} lines dropped: the workload wrote faster than the host keeps (log-lines-per-second)");
            self.push(&mut ring, component, None, Stream::Host, text);
        }
        self.push(&mut ring, component, request, stream, cut(text).to_owned());
    }

    /// Keeps the last lines alone. Says whether there are any.
    fn shrink(&self) -> bool {
        let mut ring = self.ring.lock().expect("no panic while held");
        let mut bytes = 0;
        let kept = ring.lines.iter().rev().take(GONE_LINES).take_while(|line| {
            bytes += line.text.len();
            bytes <= GONE_BYTES
        });
        let excess = ring.lines.len() - kept.count();
        ring.lines.drain(..excess);
        ring.lines.shrink_to_fit();
        !ring.lines.is_empty()
    }

    fn push(&self, ring: &mut Ring, component: &str, request: Option<String>, stream: Stream, text: String) {
        let line = Arc::new(LogLine {
            time: jiff::Timestamp::now(),
            namespace: self.namespace.clone(),
            workload: self.workload.clone(),
            component: component.to_owned(),
            request,
            stream,
            text,
        });
        if ring.lines.len() >= self.lines_kept {
            ring.lines.pop_front();
        }
        ring.lines.push_back(line.clone());
        self.live.send(line);
    }
}

/// At most [`MAX_LINE_BYTES`] of a text, cut between characters.
fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(MAX_LINE_BYTES)]
}

/// A token bucket: `rate` lines a second, and bursts of twice that.
struct Bucket {
    rate: f64,
    tokens: f64,
    filled: Instant,
}

impl Bucket {
    fn full(rate: u32) -> Bucket {
        Bucket { rate: f64::from(rate), tokens: f64::from(rate) * 2.0, filled: Instant::now() }
    }

    fn take(&mut self, now: Instant) -> bool {
        let gained = now.saturating_duration_since(self.filled).as_secs_f64() * self.rate;
        self.tokens = (self.tokens + gained).min(self.rate * 2.0);
        self.filled = now;
        if self.tokens < 1.0 {
            return false;
        }
        self.tokens -= 1.0;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn l44_the_last_lines_are_kept_and_no_more() {
        let book = LogBook::new(3, 1000);
        let log = book.open("default", "a-1");
        for n in 0..10 {
            log.write("c", Some("7".into()), Stream::Stdout, &format!("line {n}"));
        }
        let texts: Vec<_> = book.tail("default", Some("a"), 100).iter().map(|l| l.text.clone()).collect();
        assert_eq!(texts, ["line 7", "line 8", "line 9"]);
        assert_eq!(book.tail("default", Some("a"), 1).len(), 1);
        assert!(book.tail("default", Some("b"), 100).is_empty());
    }

    #[test]
    fn l44_a_flood_is_cut_and_counted() {
        let book = LogBook::new(100_000, 10);
        let log = book.open("default", "a");
        for _ in 0..1000 {
            log.write("c", None, Stream::Stdout, "x");
        }
        assert!(book.tail("default", None, 100_000).len() <= 25);
        log.write("c", None, Stream::Host, "trap");
        let lines = book.tail("default", None, 100_000);
        assert!(lines.iter().any(|l| l.text.contains("lines dropped")));
        assert_eq!(lines.last().unwrap().text, "trap");
    }

    #[test]
    fn l44_a_long_line_is_cut_between_characters() {
        let book = LogBook::new(10, 10);
        book.open("d", "w").write("c", None, Stream::Stdout, &"ä".repeat(MAX_LINE_BYTES));
        let line = &book.tail("d", None, 1)[0];
        assert!(line.text.len() <= MAX_LINE_BYTES && line.text.chars().all(|c| c == 'ä'));
    }

    #[test]
    fn a_log_is_whole_until_the_last_workload_of_its_name_is_gone() {
        let book = LogBook::new(1000, 1000);
        let (old, new) = (book.open("d", "w"), book.open("d", "w"));
        for n in 0..300 {
            new.write("c", None, Stream::Stdout, &format!("line {n}"));
        }
        book.release(&old);
        assert_eq!(book.tail("d", Some("w"), 1000).len(), 300);
        book.release(&new);
        let kept = book.tail("d", Some("w"), 1000);
        assert_eq!((kept.len(), kept[199].text.as_str()), (GONE_LINES, "line 299"));
    }

    #[test]
    fn l44_what_is_kept_of_workloads_that_went_is_bounded() {
        let book = LogBook::new(1000, 1_000_000);
        let (long, silent) = ("x".repeat(MAX_LINE_BYTES), book.open("d", "silent"));
        book.release(&silent);
        for n in 0..GONE_KEPT + 20 {
            let log = book.open("d", &format!("w{n}"));
            (0..10).for_each(|_| log.write("c", None, Stream::Host, &long));
            book.release(&log);
        }
        assert!(book.tail("d", Some("w19"), 10).is_empty() && !book.tail("d", Some("w20"), 10).is_empty());
        let kept: usize = book.tail("d", None, usize::MAX).iter().map(|line| line.text.len()).sum();
        assert_eq!(kept, GONE_KEPT * GONE_BYTES);
        assert_eq!(book.workloads.read().unwrap().logs.len(), GONE_KEPT);
    }

    #[test]
    fn a_workload_that_comes_back_goes_on_with_its_log() {
        let book = LogBook::new(10, 10);
        for text in ["first", "second"] {
            let log = book.open("d", "w");
            log.write("c", None, Stream::Host, text);
            book.release(&log);
        }
        let again = book.open("d", "w");
        for n in 0..=GONE_KEPT {
            let other = book.open("d", &format!("other{n}"));
            other.write("c", None, Stream::Host, "x");
            book.release(&other);
        }
        assert_eq!(book.tail("d", Some("w"), 10).len(), 2, "who runs is not pushed out by who went");
        book.release(&again);
    }

    #[test]
    fn followers_get_lines_also_after_a_time_without_any() {
        let book = LogBook::new(10, 10);
        let log = book.open("d", "w");
        let write = |text| log.write("c", None, Stream::Stdout, text);
        write("nobody follows");
        for text in ["first", "second"] {
            let mut follower = book.follow();
            write(text);
            assert_eq!(follower.try_recv().unwrap().text, text);
            drop(follower);
            write("nobody follows");
            assert!(!book.live.followed.load(Ordering::Relaxed));
        }
    }

    #[test]
    fn a_prefix_means_the_workloads_of_a_deployment() {
        assert!(belongs("hello", "hello"));
        assert!(belongs("hello-5f-0", "hello"));
        assert!(!belongs("hello2", "hello"));
    }
}
