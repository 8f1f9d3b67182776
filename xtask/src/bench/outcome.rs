//! What a scenario found: what is printed, what is kept in `target/bench`, and whether the targets are met.

use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::lab::Lab;
use super::machine::{Machine, Versions};
use crate::command;

/// What a scenario says.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The exact commands and manifests, a block each.
    pub commands: Vec<String>,
    /// What one must know to read the tables, a sentence or two each.
    pub notes: Vec<String>,
    /// The figures for people.
    pub tables: Vec<Table>,
    /// What was to be reached.
    pub targets: Vec<Target>,
    /// Every single measurement.
    pub raw: serde_json::Value,
}

/// A table.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Table {
    /// The names of the columns.
    pub head: Vec<String>,
    /// The cells, as many per row as the head has.
    pub rows: Vec<Vec<String>>,
}

/// Something to be reached.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Target {
    /// Of what.
    pub what: String,
    /// What is wanted.
    pub wanted: String,
    /// What was measured.
    pub measured: String,
    /// Whether it was reached.
    pub verdict: Verdict,
}

/// Whether a target was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Yes.
    Met,
    /// Not all that was wanted, but what it must be at the least.
    AtLeast,
    /// No.
    Missed,
}

impl Verdict {
    /// Met or missed.
    pub fn of(met: bool) -> Verdict {
        if met { Verdict::Met } else { Verdict::Missed }
    }

    /// In words.
    pub fn words(self) -> &'static str {
        match self {
            Verdict::Met => "met",
            Verdict::AtLeast => "met at the least",
            Verdict::Missed => "not met",
        }
    }
}

impl Table {
    /// An empty table with these columns.
    pub fn new(head: &[&str]) -> Table {
        Table { head: head.iter().map(|name| (*name).to_owned()).collect(), rows: Vec::new() }
    }

    /// Adds a row.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// In Markdown, padded so that it reads as text too.
    pub fn markdown(&self) -> String {
        let width = |column: usize| {
            let cells = self.rows.iter().map(|row| row.get(column).map_or(0, |cell| cell.chars().count()));
            cells.chain([self.head[column].chars().count(), 3]).max().unwrap_or(3)
        };
        let widths: Vec<usize> = (0..self.head.len()).map(width).collect();
        let line = |cells: &[String]| {
            let padded = widths.iter().enumerate().map(|(at, width)| format!("{:<width$}", cells.get(at).map_or("", String::as_str)));
            format!("| {} |\n", padded.collect::<Vec<_>>().join(" | "))
        };
        let rule = widths.iter().map(|width| "-".repeat(width + 2)).collect::<Vec<_>>().join("|");
        let mut text = line(&self.head);
        text.push_str(&format!("|{rule}|\n"));
        self.rows.iter().for_each(|row| text.push_str(&line(row)));
        text
    }
}

impl Report {
    /// For the terminal.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for table in &self.tables {
            text.push_str(&format!("\n{}", table.markdown()));
        }
        text.push('\n');
        for note in &self.notes {
            text.push_str(&format!("{note}\n"));
        }
        for Target { what, wanted, measured, verdict } in &self.targets {
            writeln!(text, "{}: {what}: {measured}, wanted {wanted}", verdict.words()).expect("writing to a String can't fail");
        }
        text
    }
}

/// What a scenario found, with all that is needed to judge it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// The scenario's name.
    pub scenario: String,
    /// When it ended, UTC.
    pub date: String,
    /// Rounds that were asked for.
    pub rounds: Option<u32>,
    /// Seconds that were asked for.
    pub seconds: Option<u32>,
    /// The part of the machine that others used before it began.
    pub busy_before: f64,
    /// The machine.
    pub machine: Machine,
    /// What was measured.
    pub versions: Versions,
    /// What it says.
    pub report: Report,
}

impl Outcome {
    /// A scenario's report with what was so when it was measured.
    pub fn new(scenario: String, busy_before: f64, machine: Machine, versions: Versions, lab: &Lab, report: Report) -> Result<Outcome> {
        let date = command::stdout(Command::new("date").args(["-u", "+%Y-%m-%d %H:%M"]))?.trim().to_owned();
        Ok(Outcome { scenario, date, rounds: lab.options.rounds, seconds: lab.options.seconds, busy_before, machine, versions, report })
    }

    /// Keeps it in `folder`, in the place of an earlier one of the same scenario.
    pub fn write(&self, folder: &Path) -> Result<()> {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let path = folder.join(format!("{}.json", self.scenario));
        let text = serde_json::to_string_pretty(self).context("an outcome is plain data")?;
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
    }

    /// All that are kept in `folder`; none if there is no such folder.
    pub fn read_all(folder: &Path) -> Result<Vec<Outcome>> {
        let mut outcomes = Vec::new();
        if !folder.exists() {
            return Ok(outcomes);
        }
        let entries = fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
        for entry in entries {
            let path = entry.with_context(|| format!("cannot read {}", folder.display()))?.path();
            if path.extension().is_some_and(|extension| extension == "json") {
                let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
                let outcome =
                    serde_json::from_str(&text).with_context(|| format!("{} is of another version: measure again", path.display()))?;
                outcomes.push(outcome);
            }
        }
        Ok(outcomes)
    }
}

/// Keeps `outcomes` in `folder` without their single measurements, but for those that are there of a later date. What can't be read there is
/// of another version, and older.
pub fn keep(outcomes: Vec<Outcome>, folder: &Path) -> Result<()> {
    for mut outcome in outcomes {
        let known = fs::read_to_string(folder.join(format!("{}.json", outcome.scenario))).ok();
        let known = known.and_then(|text| serde_json::from_str::<Outcome>(&text).ok());
        if known.is_none_or(|known| known.date < outcome.date) {
            outcome.report.raw = serde_json::Value::Null;
            outcome.write(folder)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_measured_last_is_kept_and_no_single_measurements() {
        let folder = tempfile::tempdir().expect("a folder of its own");
        let report = |raw: &str| Report { raw: serde_json::json!([raw]), notes: vec![raw.into()], ..Report::default() };
        let outcome = |scenario: &str, date: &str| Outcome {
            scenario: scenario.into(),
            date: date.into(),
            rounds: None,
            seconds: None,
            busy_before: 0.0,
            machine: Machine { cpu: String::new(), cores: 2, memory_bytes: 0, kernel: String::new() },
            versions: Versions {
                berth: String::new(),
                commit: String::new(),
                peer: String::new(),
                wrk: String::new(),
                rustc: String::new(),
            },
            report: report(date),
        };
        fs::write(folder.path().join("tail.json"), "{}").expect("a folder of its own");
        keep(vec![outcome("tail", "2026-11-28 10:00"), outcome("start", "2026-11-28 10:00")], folder.path()).expect("a folder of its own");
        keep(vec![outcome("tail", "2026-11-28 09:59"), outcome("start", "2026-11-29 08:00")], folder.path()).expect("a folder of its own");
        let mut kept = Outcome::read_all(folder.path()).expect("a folder of its own");
        kept.sort_by(|a, b| a.scenario.cmp(&b.scenario));
        let dates: Vec<&str> = kept.iter().map(|outcome| outcome.date.as_str()).collect();
        assert_eq!(dates, ["2026-11-29 08:00", "2026-11-28 10:00"]);
        assert!(kept.iter().all(|outcome| outcome.report.raw.is_null() && outcome.report.notes == [outcome.date.clone()]));
    }

    #[test]
    fn a_table_is_markdown_and_reads_as_text() {
        let mut table = Table::new(&["c", "req/s"]);
        table.row(["16".into(), "20,410".into()]);
        assert_eq!(table.markdown(), "| c   | req/s  |\n|-----|--------|\n| 16  | 20,410 |\n");
    }

    #[test]
    fn a_report_names_each_target_and_whether_it_is_met() {
        let target = Target { what: "0.2".into(), wanted: "4.00x".into(), measured: "3.61x".into(), verdict: Verdict::AtLeast };
        let report = Report { targets: vec![target], ..Report::default() };
        assert_eq!(report.text(), "\nmet at the least: 0.2: 3.61x, wanted 4.00x\n");
    }
}
