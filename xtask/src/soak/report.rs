//! What a soak found: the closing table and the verdict.

use std::fmt::Write;
use std::time::Duration;

use super::ledger::{Ledger, Loss};
use super::memory::Growth;
use super::metrics::{Figures, Leftovers};

/// What a soak found.
#[derive(Default)]
pub struct Report {
    /// Requests and commands by kind, as a table.
    pub requests: String,
    /// What was lost, with times; the first ones if there are very many.
    pub losses: Vec<Loss>,
    /// How many were lost.
    pub lost: u64,
    /// For each kill the time until everything answered again.
    pub back: Vec<Duration>,
    /// Memory of each process that lived long enough to tell.
    pub growth: Vec<Growth>,
    /// Figures after the last request.
    pub idle: Figures,
    /// What was left of requests then.
    pub left_of_requests: Leftovers,
    /// What was left of workloads after the last was deleted.
    pub left_of_workloads: Leftovers,
    /// Other faults, in words: a panic in the log, an end that was not clean.
    pub faults: Vec<String>,
}

impl Report {
    /// Takes over what the book says.
    pub fn read(&mut self, ledger: &Ledger, back: Vec<Duration>, growth: Vec<Growth>) {
        (self.requests, self.losses, self.lost) = (ledger.table(), ledger.losses().to_vec(), ledger.lost());
        (self.back, self.growth) = (back, growth);
    }

    /// Everything that is wrong, in words; empty after a good soak.
    pub fn wrongs(&self) -> Vec<String> {
        let mut wrongs = Vec::new();
        if self.lost > 0 {
            wrongs.push(format!("{} lost outside killed moments", self.lost));
        }
        for growth in self.growth.iter().filter(|growth| !growth.is_flat()) {
            let (warm, end, bound) = (mib(growth.warm_bytes), mib(growth.end_bytes), mib(growth.bound_bytes()));
            wrongs.push(format!("memory of process {} grew from {warm} to {end}, more than {bound}", growth.life));
        }
        if self.growth.is_empty() {
            wrongs.push("no process lived long enough to tell whether memory is flat: fewer --kills, or more --minutes".into());
        }
        for (when, left) in [("requests", &self.left_of_requests), ("workloads", &self.left_of_workloads)] {
            if !left.is_empty() {
                wrongs.push(format!("left of {when}: {left}"));
            }
        }
        wrongs.extend(self.faults.iter().cloned());
        wrongs
    }

    /// The closing table.
    pub fn table(&self) -> String {
        let mut text = String::new();
        if !self.losses.is_empty() {
            text.push_str("lost:\n");
            for loss in &self.losses {
                text.push_str(&format!("{loss}\n"));
            }
            let more = self.lost - self.losses.len() as u64;
            text.push_str(&format!("{}\n", if more > 0 { format!("and {more} more\n") } else { String::new() }));
        }
        text.push_str(&self.requests);
        text.push('\n');
        let back: Vec<String> = self.back.iter().map(|took| format!("{took:.2?}")).collect();
        row(&mut text, "kills", &self.back.len().to_string());
        row(&mut text, "everything answers again after", &if back.is_empty() { "-".into() } else { back.join(", ") });
        for growth in &self.growth {
            let (warm, end, bound) = (mib(growth.warm_bytes), mib(growth.end_bytes), mib(growth.bound_bytes()));
            row(&mut text, &format!("memory of process {}", growth.life), &format!("{warm} warm, {end} at the end (allowed: {bound})"));
        }
        let Figures { resident_bytes, open_fds, threads, .. } = self.idle;
        row(&mut text, "idle after the load", &format!("{}, {open_fds} descriptors, {threads} threads", mib(resident_bytes)));
        row(&mut text, "left of requests", &self.left_of_requests.to_string());
        row(&mut text, "left of deleted workloads", &self.left_of_workloads.to_string());
        let wrongs = self.wrongs();
        row(&mut text, "verdict", &if wrongs.is_empty() { "good".to_owned() } else { wrongs.join("; ") });
        text
    }
}

fn row(text: &mut String, name: &str, value: &str) {
    writeln!(text, "{name:<32}{value}").expect("writing to a String can't fail");
}

fn mib(bytes: u64) -> String {
    format!("{} MiB", bytes >> 20)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::soak::ledger::Kind;
    use crate::soak::outages::Outages;

    fn good() -> Report {
        let growth = vec![Growth { life: 1, warm_bytes: 100 << 20, end_bytes: 110 << 20 }];
        Report { back: vec![Duration::from_millis(700)], growth, ..Report::default() }
    }

    #[test]
    fn a_good_soak_says_so() {
        let report = good();
        assert_eq!(report.wrongs(), [""; 0]);
        let table = report.table();
        assert!(table.ends_with("verdict                         good\n"), "{table}");
        assert!(table.contains("100 MiB warm, 110 MiB at the end (allowed: 152 MiB)") && table.contains("700.00ms"), "{table}");
    }

    #[test]
    fn losses_growth_leftovers_and_faults_are_each_wrong() {
        let mut report = good();
        let mut ledger = Ledger::default();
        ledger.enter(Kind::Echo, Duration::ZERO, Duration::from_secs(1), Err("broke off".into()), &Outages::default());
        report.read(&ledger, Vec::new(), vec![Growth { life: 2, warm_bytes: 100 << 20, end_bytes: 300 << 20 }]);
        report.left_of_requests = Figures { slots: 2, ..Figures::default() }.left_of_requests();
        report.left_of_workloads = Figures { instances: 1, ..Figures::default() }.left_of_workloads();
        report.faults.push("berth panicked".into());
        let wrongs = [
            "1 lost outside killed moments",
            "memory of process 2 grew from 100 MiB to 300 MiB, more than 152 MiB",
            "left of requests: 2 slots",
            "left of workloads: 1 instances",
            "berth panicked",
        ];
        assert_eq!(report.wrongs(), wrongs);
        assert!(report.table().starts_with("lost:\n    1.000 s  echoes: broke off (after 1.000 s)\n"), "{}", report.table());
    }

    #[test]
    fn memory_that_nobody_could_judge_is_no_good_news() {
        assert_eq!(Report::default().wrongs().len(), 1);
    }
}
