//! The book of a soak: every request and command, how it ended, and each loss with its time.

use std::fmt;
use std::time::Duration;

use super::latency::Latencies;
use super::outages::Outages;

/// Losses kept with their words; more are only counted.
const MAX_LOSSES: usize = 200;

/// What was asked of berth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A short answer of a workload that never changes.
    Hello,
    /// The version that a workload under rolling updates says.
    Version,
    /// A body that must come back byte by byte.
    Echo,
    /// A long answer.
    Stream,
    /// Lines for the log.
    Log,
    /// A request whose client leaves in the middle.
    Leave,
    /// A request to a workload that comes and goes.
    Passing,
    /// A request that makes a guest trap, spin, hoard or hang.
    Fault,
    /// A `berth` command.
    Command,
    /// A look at `/metrics`.
    Metrics,
}

impl Kind {
    const ALL: [Kind; 10] = [
        Kind::Hello,
        Kind::Version,
        Kind::Echo,
        Kind::Stream,
        Kind::Log,
        Kind::Leave,
        Kind::Passing,
        Kind::Fault,
        Kind::Command,
        Kind::Metrics,
    ];

    fn label(self) -> &'static str {
        match self {
            Kind::Hello => "steady answers",
            Kind::Version => "under rolling updates",
            Kind::Echo => "echoes",
            Kind::Stream => "streams",
            Kind::Log => "log lines",
            Kind::Leave => "clients that leave",
            Kind::Passing => "workload that comes and goes",
            Kind::Fault => "guests' faults",
            Kind::Command => "berth commands",
            Kind::Metrics => "looks at /metrics",
        }
    }
}

/// What came of everything of one kind.
#[derive(Default)]
struct Row {
    good: u64,
    killed: u64,
    lost: u64,
    latency: Latencies,
}

/// Something that failed although berth should have served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loss {
    at: Duration,
    kind: Kind,
    what: String,
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>9.3} s  {}: {}", self.at.as_secs_f64(), self.kind.label(), self.what)
    }
}

/// The book.
#[derive(Default)]
pub struct Ledger {
    rows: [Row; Kind::ALL.len()],
    losses: Vec<Loss>,
    lost: u64,
}

impl Ledger {
    /// Enters one thing that lasted `from..=until`, and how it ended. A failure in a killed moment is none. Returns a loss to be told.
    pub fn enter(&mut self, kind: Kind, from: Duration, until: Duration, ended: Result<(), String>, outages: &Outages) -> Option<Loss> {
        let row = &mut self.rows[kind as usize];
        match ended {
            Ok(()) => {
                row.good += 1;
                row.latency.add(until.saturating_sub(from));
                None
            }
            Err(_) if outages.touch(from, until) => {
                row.killed += 1;
                None
            }
            Err(what) => {
                row.lost += 1;
                self.lost += 1;
                let took = until.saturating_sub(from).as_secs_f64();
                let loss = Loss { at: until, kind, what: format!("{what} (after {took:.3} s)") };
                let told = self.losses.len() < MAX_LOSSES;
                told.then(|| self.losses.push(loss.clone()))?;
                Some(loss)
            }
        }
    }

    /// Things entered.
    pub fn entries(&self) -> u64 {
        self.rows.iter().map(|row| row.good + row.killed + row.lost).sum()
    }

    /// How many were lost.
    pub fn lost(&self) -> u64 {
        self.lost
    }

    /// The losses, the first [`MAX_LOSSES`] of them.
    pub fn losses(&self) -> &[Loss] {
        &self.losses
    }

    /// A line per kind.
    pub fn table(&self) -> String {
        let mut text = format!("{:<30}{:>10}{:>10}{:>8}{:>8}{:>11}{:>11}\n", "", "all", "good", "killed", "lost", "p50", "p99");
        let quantile = |row: &Row, q| row.latency.quantile(q).map_or_else(|| "-".to_owned(), |took| format!("{took:.1?}"));
        for kind in Kind::ALL {
            let row = &self.rows[kind as usize];
            let (all, p50, p99) = (row.good + row.killed + row.lost, quantile(row, 0.5), quantile(row, 0.99));
            text.push_str(&format!("{:<30}{all:>10}{:>10}{:>8}{:>8}{p50:>11}{p99:>11}\n", kind.label(), row.good, row.killed, row.lost));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_failure_is_lost_unless_berth_was_killed_meanwhile() {
        let (mut ledger, mut outages) = (Ledger::default(), Outages::default());
        outages.begin(s(10));
        outages.end(s(12));
        let failed = || Err("broke off".to_owned());
        assert_eq!(ledger.enter(Kind::Echo, s(9), s(11), failed(), &outages), None);
        assert_eq!(ledger.enter(Kind::Echo, s(1), s(2), Ok(()), &outages), None);
        let loss = ledger.enter(Kind::Echo, s(20), s(21), failed(), &outages).expect("berth ran");
        assert_eq!(loss.to_string(), "   21.000 s  echoes: broke off (after 1.000 s)");
        assert_eq!((ledger.entries(), ledger.lost(), ledger.losses()), (3, 1, &[loss][..]));
        let table = ledger.table();
        let row = table.lines().find(|line| line.starts_with("echoes")).expect("there is a row for each kind");
        assert_eq!(row.split_whitespace().collect::<Vec<_>>(), ["echoes", "3", "1", "1", "1", "1.0s", "1.0s"]);
    }

    #[test]
    fn every_kind_has_its_row_and_losses_are_bounded() {
        for (index, kind) in Kind::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, index);
        }
        let mut ledger = Ledger::default();
        for _ in 0..MAX_LOSSES + 5 {
            ledger.enter(Kind::Hello, s(1), s(1), Err(String::new()), &Outages::default());
        }
        assert_eq!((ledger.lost(), ledger.losses().len()), (MAX_LOSSES as u64 + 5, MAX_LOSSES));
    }
}
