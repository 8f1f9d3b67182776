//! What the threads of one server share: its limits, its counters, and how many connections each thread has. Touched when a
//! connection comes or goes, never per request.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

use tokio::sync::Notify;

use crate::config::ServerLimits;

/// By how many connections a thread may exceed the least loaded one before it hands a new one over. Below it the difference is noise
/// and handing over (two system calls and a wake-up) costs more than it gains.
const SPREAD_MARGIN: usize = 2;

/// Connections of a server, counted since it started, and those open now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Connections the operating system handed over, refused ones included.
    pub accepted: u64,
    /// Connections open now, from before the TLS handshake until the socket is closed.
    pub open: u64,
    /// Connections turned away because `max_connections` were open.
    pub refused: u64,
    /// TLS handshakes that failed or took too long.
    pub tls_failures: u64,
    /// Errors of accepting itself, such as running out of file descriptors.
    pub accept_errors: u64,
    /// Connections ended because the client was too slow: with a request's head, or with taking a response.
    pub timed_out: u64,
    /// Connections that another thread serves than the one that accepted them.
    pub handed_over: u64,
}

/// The counters behind [`Figures`].
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) accepted: AtomicU64,
    pub(crate) refused: AtomicU64,
    pub(crate) tls_failures: AtomicU64,
    pub(crate) accept_errors: AtomicU64,
    pub(crate) timed_out: AtomicU64,
    pub(crate) handed_over: AtomicU64,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) limits: ServerLimits,
    pub(crate) counters: Counters,
    open: AtomicUsize,
    /// Open connections by thread, those on their way to it included.
    loads: Box<[AtomicUsize]>,
    /// Told whenever `open` falls to zero.
    pub(crate) empty: Notify,
}

impl Shared {
    pub(crate) fn new(limits: ServerLimits, threads: usize) -> Arc<Self> {
        let loads = (0..threads).map(|_| AtomicUsize::new(0)).collect();
        Arc::new(Self { limits, counters: Counters::default(), open: AtomicUsize::new(0), loads, empty: Notify::new() })
    }

    pub(crate) fn open(&self) -> usize {
        self.open.load(Relaxed)
    }

    pub(crate) fn figures(&self) -> Figures {
        let Counters { accepted, refused, tls_failures, accept_errors, timed_out, handed_over } = &self.counters;
        Figures {
            accepted: accepted.load(Relaxed),
            open: self.open() as u64,
            refused: refused.load(Relaxed),
            tls_failures: tls_failures.load(Relaxed),
            accept_errors: accept_errors.load(Relaxed),
            timed_out: timed_out.load(Relaxed),
            handed_over: handed_over.load(Relaxed),
        }
    }

    /// A place for a connection that thread `own` accepted, on that thread or on a less loaded one; `None` if the server is full.
    pub(crate) fn take_slot(self: &Arc<Self>, own: usize) -> Option<Slot> {
        if self.open.fetch_add(1, Relaxed) >= self.limits.max_connections {
            self.leave();
            return None;
        }
        let thread = place(own, self.loads.iter().map(|load| load.load(Relaxed)));
        self.loads[thread].fetch_add(1, Relaxed);
        Some(Slot { shared: Arc::clone(self), thread })
    }

    fn leave(&self) {
        if self.open.fetch_sub(1, Relaxed) == 1 {
            self.empty.notify_waiters();
        }
    }
}

/// The thread that serves a connection which thread `own` accepted, given every thread's open connections.
fn place(own: usize, loads: impl Iterator<Item = usize> + Clone) -> usize {
    let own_load = loads.clone().nth(own).unwrap_or(0);
    match loads.enumerate().min_by_key(|(_, load)| *load) {
        Some((least, least_load)) if own_load + 1 > least_load + SPREAD_MARGIN => least,
        _ => own,
    }
}

/// One open connection's place in the counts, given back when dropped.
#[derive(Debug)]
pub(crate) struct Slot {
    shared: Arc<Shared>,
    thread: usize,
}

impl Slot {
    /// The thread that serves the connection.
    pub(crate) fn thread(&self) -> usize {
        self.thread
    }

    /// Moves the connection to another thread.
    pub(crate) fn move_to(&mut self, thread: usize) {
        self.shared.loads[self.thread].fetch_sub(1, Relaxed);
        self.shared.loads[thread].fetch_add(1, Relaxed);
        self.thread = thread;
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.shared.loads[self.thread].fetch_sub(1, Relaxed);
        self.shared.leave();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place_in(own: usize, loads: &[usize]) -> usize {
        place(own, loads.iter().copied())
    }

    #[test]
    fn a_balanced_thread_keeps_what_it_accepted() {
        assert_eq!(place_in(1, &[4, 4, 4]), 1);
        assert_eq!(place_in(0, &[5, 4]), 0);
        assert_eq!(place_in(0, &[0]), 0);
    }

    #[test]
    fn a_thread_above_the_margin_hands_over_to_the_least_loaded() {
        assert_eq!(place_in(0, &[6, 5, 4]), 2);
        assert_eq!(place_in(2, &[3, 0, 9]), 1);
    }

    #[test]
    fn however_connections_arrive_no_thread_exceeds_another_by_more_than_the_margin() {
        let shared = Shared::new(ServerLimits::default(), 4);
        let slots: Vec<Slot> = (0..100).map(|n| shared.take_slot(if n % 7 == 0 { 2 } else { 0 }).expect("there is room")).collect();
        let loads: Vec<usize> = shared.loads.iter().map(|load| load.load(Relaxed)).collect();
        let (least, most) = (loads.iter().min().expect("some"), loads.iter().max().expect("some"));
        assert!(most - least <= SPREAD_MARGIN, "{loads:?}");
        drop(slots);
        assert_eq!(shared.open(), 0);
        assert!(shared.loads.iter().all(|load| load.load(Relaxed) == 0));
    }

    #[test]
    fn a_full_server_has_no_slot_until_one_is_given_back() {
        let shared = Shared::new(ServerLimits { max_connections: 2, ..ServerLimits::default() }, 2);
        let first = shared.take_slot(0).expect("room for one");
        let _second = shared.take_slot(0).expect("room for two");
        assert!(shared.take_slot(0).is_none());
        assert_eq!(shared.open(), 2);
        drop(first);
        assert!(shared.take_slot(1).is_some());
    }
}
