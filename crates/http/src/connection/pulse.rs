//! What a connection is doing, and when that has gone on for too long.
//!
//! The requests and the socket report what happens with a few relaxed atomic writes; nobody arms a timer per request. The one timer
//! of a connection asks [`verdict`] when it fires, and is brought forward in the two rare cases that shorten the wait: a head that
//! came in part, and a client that takes no bytes.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use tokio::time::Instant;

use super::tether::Tether;
use crate::config::ServerLimits;

/// No deadline is taken as later than this: 30 days.
pub(super) const LONGEST: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// No deadline is checked more often.
const SHORTEST: Duration = Duration::from_millis(10);

/// A moment that hasn't come.
const NEVER: u64 = 0;
/// A moment that came, and is to be stamped.
const UNSTAMPED: u64 = u64::MAX;

/// What one protocol's connections may take their time with.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    /// Until the first request.
    first: Duration,
    /// From a head's first byte to its last. HTTP/2 has no such deadline: frames of any kind arrive between requests.
    head: Option<Duration>,
    /// Between requests.
    idle: Duration,
    /// Until the client takes a byte that is ready.
    stall: Duration,
    /// From the beginning of a drain until the first byte of a first request.
    pub(super) last_call: Duration,
    /// By how many the cancelled requests may exceed the answered ones.
    pub(super) max_cancelled: u32,
}

impl Rules {
    pub(super) fn http1(limits: &ServerLimits) -> Self {
        let head = limits.header_read_timeout.min(LONGEST);
        // A cancelled HTTP/1 request has ended its connection already.
        Self { first: head, head: Some(head), max_cancelled: u32::MAX, ..Self::http2(limits) }
    }

    pub(super) fn http2(limits: &ServerLimits) -> Self {
        let idle = limits.keep_alive_timeout.min(LONGEST);
        Self {
            first: idle,
            head: None,
            idle,
            stall: limits.write_stall_timeout.min(LONGEST),
            last_call: limits.last_call.min(LONGEST),
            max_cancelled: limits.http2_max_cancelled_streams,
        }
    }

    /// How long to wait while a request is in flight: not past the nearest deadline that could begin unnoticed meanwhile.
    fn recheck(&self) -> Duration {
        self.idle.min(self.stall).max(SHORTEST)
    }
}

/// Which deadline passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expiry {
    /// No request came, or none after the last.
    Idle,
    /// A request's head didn't come to its end.
    SlowHead,
    /// The client took nothing of what was ready.
    Stalled,
    /// The client cancels request after request.
    Cancelling,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing can be overdue before.
    Until(Duration),
    Expired(Expiry),
}

/// A connection at one moment; times count from its start.
#[derive(Clone, Copy, Debug)]
struct View {
    in_flight: u32,
    /// When the last request ended; `None` before the first.
    idle_since: Option<Duration>,
    reading_since: Option<Duration>,
    stalled_since: Option<Duration>,
}

fn verdict(view: &View, rules: &Rules, now: Duration) -> Verdict {
    let (due, expiry) = match (view, rules.head) {
        (View { stalled_since: Some(since), .. }, _) => (*since + rules.stall, Expiry::Stalled),
        (View { in_flight: 1.., .. }, _) => return Verdict::Until(now + rules.recheck()),
        (View { reading_since: Some(since), .. }, Some(head)) => (*since + head, Expiry::SlowHead),
        (View { idle_since: Some(since), .. }, _) => (*since + rules.idle, Expiry::Idle),
        _ => (rules.first, Expiry::Idle),
    };
    if now >= due { Verdict::Expired(expiry) } else { Verdict::Until(due) }
}

/// See the module.
#[derive(Debug)]
pub(super) struct Pulse {
    started: Instant,
    in_flight: AtomicU32,
    /// Microseconds since `started`, like the other moments.
    idle_since: AtomicU64,
    reading_since: AtomicU64,
    stalled_since: AtomicU64,
    read_closed: AtomicBool,
    /// Requests cancelled, less those answered, never below zero.
    cancelled: AtomicU32,
    pub(super) tether: Tether,
}

impl Pulse {
    pub(super) fn new() -> Self {
        Self {
            started: Instant::now(),
            in_flight: AtomicU32::new(0),
            idle_since: AtomicU64::new(NEVER),
            reading_since: AtomicU64::new(NEVER),
            stalled_since: AtomicU64::new(NEVER),
            read_closed: AtomicBool::new(false),
            cancelled: AtomicU32::new(0),
            tether: Tether::default(),
        }
    }

    /// Bytes came from the client.
    pub(super) fn received(&self) {
        if self.reading_since.load(Relaxed) == NEVER && self.in_flight.load(Relaxed) == 0 {
            self.reading_since.store(UNSTAMPED, Relaxed);
        }
    }

    /// The client sends no more.
    pub(super) fn closed_by_client(&self) {
        self.read_closed.store(true, Relaxed);
    }

    pub(super) fn read_closed(&self) -> bool {
        self.read_closed.load(Relaxed)
    }

    /// The client takes no more at the moment.
    pub(super) fn stalled(&self) {
        if self.stalled_since.load(Relaxed) == NEVER {
            self.stalled_since.store(self.now(), Relaxed);
        }
    }

    /// The client takes bytes.
    pub(super) fn moving(&self) {
        if self.stalled_since.load(Relaxed) != NEVER {
            self.stalled_since.store(NEVER, Relaxed);
        }
    }

    /// A request's head is complete.
    pub(super) fn begin(&self) {
        self.in_flight.fetch_add(1, Relaxed);
        self.reading_since.store(NEVER, Relaxed);
    }

    /// A request ended; `answered` tells whether it had a response.
    pub(super) fn end(&self, answered: bool) {
        let cancelled = self.cancelled.load(Relaxed);
        match answered {
            true if cancelled == 0 => {}
            true => self.cancelled.store(cancelled - 1, Relaxed),
            false => self.cancelled.store(cancelled.saturating_add(1), Relaxed),
        }
        self.idle_since.store(self.now(), Relaxed);
        self.in_flight.fetch_sub(1, Relaxed);
    }

    /// See [`Rules::max_cancelled`].
    pub(super) fn cancelled(&self) -> u32 {
        self.cancelled.load(Relaxed)
    }

    /// Whether a request's head has come in part.
    pub(super) fn is_reading(&self, rules: &Rules) -> bool {
        rules.head.is_some() && self.reading_since.load(Relaxed) != NEVER
    }

    /// Whether nothing of a first request has come. HTTP/2 connections don't count: a GOAWAY tells their clients what will be served.
    pub(super) fn is_fresh(&self, rules: &Rules) -> bool {
        let idle = self.in_flight.load(Relaxed) == 0 && self.idle_since.load(Relaxed) == NEVER;
        rules.head.is_some() && idle && self.reading_since.load(Relaxed) == NEVER
    }

    /// When the connection is overdue, if that may be sooner than when last asked.
    pub(super) fn sooner(&self, rules: &Rules) -> Option<Instant> {
        if self.reading_since.load(Relaxed) == UNSTAMPED {
            self.reading_since.store(self.now(), Relaxed);
        }
        if !self.is_reading(rules) && self.stalled_since.load(Relaxed) == NEVER {
            return None;
        }
        match self.verdict(rules) {
            Verdict::Until(due) => Some(self.at(due)),
            Verdict::Expired(_) => Some(Instant::now()),
        }
    }

    pub(super) fn verdict(&self, rules: &Rules) -> Verdict {
        let moment = |moment: &AtomicU64| match moment.load(Relaxed) {
            NEVER => None,
            micros => Some(Duration::from_micros(micros)),
        };
        let view = View {
            in_flight: self.in_flight.load(Relaxed),
            idle_since: moment(&self.idle_since),
            reading_since: moment(&self.reading_since),
            stalled_since: moment(&self.stalled_since),
        };
        verdict(&view, rules, self.started.elapsed())
    }

    /// The moment `since` after the connection's start.
    pub(super) fn at(&self, since: Duration) -> Instant {
        self.started + since
    }

    /// Microseconds since the start, never [`NEVER`].
    fn now(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_micros()).unwrap_or(UNSTAMPED - 1).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    const FRESH: View = View { in_flight: 0, idle_since: None, reading_since: None, stalled_since: None };

    fn http1() -> Rules {
        Rules::http1(&ServerLimits::default())
    }

    fn http2() -> Rules {
        Rules::http2(&ServerLimits::default())
    }

    #[test]
    fn a_connection_without_a_first_request_ends_like_a_slow_head_but_http2_like_an_idle_one() {
        assert_eq!(verdict(&FRESH, &http1(), secs(3)), Verdict::Until(secs(10)));
        assert_eq!(verdict(&FRESH, &http1(), secs(10)), Verdict::Expired(Expiry::Idle));
        assert_eq!(verdict(&FRESH, &http2(), secs(10)), Verdict::Until(secs(75)));
    }

    #[test]
    fn a_head_in_part_has_its_own_deadline_whenever_it_began_l53() {
        let view = View { idle_since: Some(secs(50)), reading_since: Some(secs(60)), ..FRESH };
        assert_eq!(verdict(&view, &http1(), secs(61)), Verdict::Until(secs(70)));
        assert_eq!(verdict(&view, &http1(), secs(70)), Verdict::Expired(Expiry::SlowHead));
        assert_eq!(verdict(&view, &http2(), secs(70)), Verdict::Until(secs(125)));
    }

    #[test]
    fn an_idle_connection_ends_a_busy_one_never() {
        let idle = View { idle_since: Some(secs(100)), ..FRESH };
        assert_eq!(verdict(&idle, &http1(), secs(100)), Verdict::Until(secs(175)));
        assert_eq!(verdict(&idle, &http1(), secs(175)), Verdict::Expired(Expiry::Idle));
        let busy = View { in_flight: 1, ..idle };
        assert_eq!(verdict(&busy, &http1(), secs(1_000)), Verdict::Until(secs(1_060)));
    }

    #[test]
    fn a_client_that_takes_nothing_is_cut_also_in_the_middle_of_a_response() {
        let view = View { in_flight: 1, stalled_since: Some(secs(5)), ..FRESH };
        assert_eq!(verdict(&view, &http1(), secs(64)), Verdict::Until(secs(65)));
        assert_eq!(verdict(&view, &http1(), secs(65)), Verdict::Expired(Expiry::Stalled));
    }

    #[test]
    fn limits_without_end_dont_overflow() {
        let limits = ServerLimits {
            header_read_timeout: Duration::MAX,
            keep_alive_timeout: Duration::MAX,
            write_stall_timeout: Duration::MAX,
            ..ServerLimits::default()
        };
        let pulse = Pulse::new();
        pulse.stalled();
        assert!(matches!(pulse.verdict(&Rules::http1(&limits)), Verdict::Until(_)));
        assert!(pulse.sooner(&Rules::http1(&limits)).is_some());
    }

    #[test]
    fn answered_requests_make_up_for_cancelled_ones() {
        let pulse = Pulse::new();
        for answered in [false, false, true, true, true, false] {
            pulse.begin();
            pulse.end(answered);
        }
        assert_eq!(pulse.cancelled(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn bytes_start_the_heads_clock_once_and_the_request_stops_it() {
        let (pulse, rules) = (Pulse::new(), http1());
        assert_eq!(pulse.sooner(&rules), None);
        tokio::time::advance(secs(2)).await;
        pulse.received();
        assert_eq!(pulse.sooner(&rules), Some(pulse.at(secs(12))));
        tokio::time::advance(secs(2)).await;
        pulse.received();
        assert_eq!(pulse.sooner(&rules), Some(pulse.at(secs(12))));
        pulse.begin();
        assert_eq!(pulse.sooner(&rules), None);
        pulse.received();
        assert!(!pulse.is_reading(&rules), "a body's bytes aren't a head's");
    }
}
