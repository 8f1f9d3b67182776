//! What all tasks of a soak share: the clock, the berth, the book, the killed moments.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::asks::Asker;
use super::ledger::{Kind, Ledger};
use super::memory::Sample;
use super::outages::Outages;
use super::process::Seat;
use super::workloads::Components;

/// Losses told as they happen; the rest comes with the table.
const TOLD: u64 = 20;

/// What all tasks share.
pub struct Site {
    start: Instant,
    /// The berth.
    pub seat: Seat,
    /// Makes requests.
    pub asker: Asker,
    /// Makes manifests.
    pub components: Components,
    /// Cancelled when the load ends.
    pub stop: CancellationToken,
    serving: watch::Sender<Serving>,
    book: Mutex<Book>,
}

/// Whether berth serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Serving {
    /// Which process it is, from 1; the next one while berth is down.
    pub life: u32,
    /// Since when it serves; `None` in a killed moment.
    pub since: Option<Duration>,
}

#[derive(Default)]
struct Book {
    ledger: Ledger,
    outages: Outages,
    samples: Vec<Sample>,
}

impl Site {
    /// A site whose berth serves as of now.
    pub fn new(seat: Seat, asker: Asker, components: Components) -> Site {
        let serving = watch::Sender::new(Serving { life: 1, since: Some(Duration::ZERO) });
        let stop = CancellationToken::new();
        Site { start: Instant::now(), seat, asker, components, stop, serving, book: Mutex::default() }
    }

    /// Time since the start of the load.
    pub fn now(&self) -> Duration {
        self.start.elapsed()
    }

    /// The process that serves, once one does; `None` when the load ends before.
    pub async fn serving(&self) -> Option<u32> {
        let mut serving = self.serving.subscribe();
        tokio::select! {
            biased;
            () = self.stop.cancelled() => None,
            now = serving.wait_for(|serving| serving.since.is_some()) => now.ok().map(|serving| serving.life),
        }
    }

    /// Whether berth serves now.
    pub fn state(&self) -> Serving {
        *self.serving.borrow()
    }

    /// A pause; `false` when the load ends.
    pub async fn pause(&self, time: Duration) -> bool {
        tokio::select! {
            biased;
            () = self.stop.cancelled() => false,
            () = tokio::time::sleep(time) => true,
        }
    }

    /// Enters what began at `from` and ended now.
    pub fn enter(&self, kind: Kind, from: Duration, ended: Result<(), String>) {
        let mut guard = self.book();
        // Read under the lock: a killed moment begins before what it breaks ends, and is entered before it, too.
        let until = self.now();
        let book = &mut *guard;
        let told = book.ledger.enter(kind, from, until, ended, &book.outages);
        if let Some(loss) = told.filter(|_| book.ledger.lost() <= TOLD) {
            println!("soak: lost at {loss}");
        }
    }

    /// Enters a loss that no killed moment excuses.
    pub fn lose(&self, kind: Kind, what: String) {
        let mut book = self.book();
        let now = self.now();
        if let Some(loss) = book.ledger.enter(kind, now, now, Err(what), &Outages::default()) {
            println!("soak: lost at {loss}");
        }
    }

    /// Berth is about to be killed.
    pub fn begin_outage(&self) {
        self.serving.send_modify(|serving| *serving = Serving { life: serving.life + 1, since: None });
        let mut book = self.book();
        book.outages.begin(self.now());
    }

    /// Berth serves again; returns how long it did not.
    pub fn end_outage(&self) -> Duration {
        let now = self.now();
        let took = {
            let mut book = self.book();
            book.outages.end(now);
            book.outages.lengths().last().copied().unwrap_or_default()
        };
        self.serving.send_modify(|serving| serving.since = Some(now));
        took
    }

    /// Keeps a measurement of memory.
    pub fn sample(&self, sample: Sample) {
        self.book().samples.push(sample);
    }

    /// Reads the book.
    pub fn read<T>(&self, look: impl FnOnce(&Ledger, &Outages, &[Sample]) -> T) -> T {
        let book = self.book();
        look(&book.ledger, &book.outages, &book.samples)
    }

    fn book(&self) -> std::sync::MutexGuard<'_, Book> {
        self.book.lock().expect("no panic while held")
    }
}
