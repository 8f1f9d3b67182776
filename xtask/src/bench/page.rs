//! docs/benchmarks.md, from what was measured.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use clap::ValueEnum;

use super::Scenario;
use super::figures::bytes;
use super::machine::{Machine, Versions};
use super::outcome::{Outcome, Table};

const HEAD: &str = "# Benchmarks

<!-- Made by `cargo xtask bench --write`; what explains a figure is put in from the folder docs/benchmarks, a file per scenario. -->

`berth up` beside `wasmtime serve`, the engine's own server, of the version of the engine that Berth has. Both run on one machine, together
with the client, and are measured in turn in alternating rounds: ratios say more than figures, and CPU time per request is the steadiest of
these. Berth runs as anyone starts it, with deadlines, memory limits, interruption and metrics on, of which `wasmtime serve` has
none on by default.

To repeat it on a machine that does nothing else (`cargo xtask bench --help` has the options):

```sh
cargo xtask bench --write                      # all of it: about an hour, the first time after half an hour of building
cargo xtask bench hello-p2-fresh --rounds 3    # one scenario
```

Each run keeps every single measurement in `target/bench/SCENARIO.json`. What of it is on this page is in `docs/benchmarks/SCENARIO.json`
too, from which the page is made, so that one scenario can be measured again alone.
";

/// The page; `explanations` is the folder of what people wrote about single scenarios.
pub fn page(outcomes: &[Outcome], explanations: &Path) -> Result<String> {
    let found = |scenario: &Scenario| {
        let name = scenario.name();
        outcomes.iter().find(|outcome| outcome.scenario == name)
    };
    let ordered: Vec<&Outcome> = Scenario::value_variants().iter().filter_map(found).collect();
    let newest = ordered.iter().max_by(|a, b| a.date.cmp(&b.date));
    let mut text = String::from(HEAD);
    if let Some(Outcome { machine: one, versions: those, .. }) = newest {
        text.push_str(&format!("\n## Machine and versions\n\n{}\n{}", machine(one), versions(those)));
    }
    let reached = targets(&ordered);
    if !reached.rows.is_empty() {
        text.push_str(&format!("\n## Targets\n\n{}", reached.markdown()));
    }
    let missing: Vec<String> = Scenario::value_variants().iter().filter(|scenario| found(scenario).is_none()).map(|s| s.name()).collect();
    if !missing.is_empty() {
        text.push_str(&format!("\nNot measured: {}.\n", missing.join(", ")));
    }
    for scenario in Scenario::value_variants() {
        if let (Some(outcome), Some(newest)) = (found(scenario), newest) {
            text.push_str(&section(*scenario, outcome, newest, explanations)?);
        }
    }
    Ok(text)
}

fn machine(machine: &Machine) -> String {
    let Machine { cpu, cores, memory_bytes, kernel } = machine;
    format!("{cores} cores of {cpu}, {} of memory, {kernel}.\n", bytes(*memory_bytes as f64))
}

fn versions(versions: &Versions) -> String {
    let Versions { berth, commit, peer, wrk, rustc } = versions;
    format!("{berth} (release build, commit {commit}), {peer}, {wrk}, {rustc}.\n")
}

fn targets(outcomes: &[&Outcome]) -> Table {
    let mut table = Table::new(&["scenario", "what", "wanted", "measured", "verdict"]);
    for outcome in outcomes {
        for target in &outcome.report.targets {
            let cells = [&outcome.scenario, &target.what, &target.wanted, &target.measured].map(String::clone);
            table.row(cells.into_iter().chain([target.verdict.words().to_owned()]));
        }
    }
    table
}

fn section(scenario: Scenario, outcome: &Outcome, newest: &Outcome, explanations: &Path) -> Result<String> {
    let name = &outcome.scenario;
    let about = scenario.to_possible_value().and_then(|value| value.get_help().map(ToString::to_string)).unwrap_or_default();
    let mut text = format!("\n## {name}\n\n{about}. Measured on {} UTC{}.\n", outcome.date, choices(outcome));
    if outcome.machine != newest.machine {
        text.push_str(&format!("On another machine: {}", machine(&outcome.machine)));
    }
    if outcome.versions != newest.versions {
        text.push_str(&format!("With other versions: {}", versions(&outcome.versions)));
    }
    if outcome.busy_before > super::QUIET {
        let part = outcome.busy_before * 100.0;
        text.push_str(&format!(
            "**Others used {part:.0}% of the machine before it began: don't trust these figures.**
"
        ));
    }
    for table in &outcome.report.tables {
        text.push_str(&format!("\n{}", table.markdown()));
    }
    for note in &outcome.report.notes {
        text.push_str(&format!("\n{note}\n"));
    }
    let explanation = explanations.join(format!("{name}.md"));
    if explanation.is_file() {
        let words = fs::read_to_string(&explanation).with_context(|| format!("cannot read {}", explanation.display()))?;
        text.push_str(&format!("\n{}\n", words.trim()));
    }
    let (shell, yaml): (Vec<&String>, Vec<&String>) = outcome.report.commands.iter().partition(|command| !command.starts_with('#'));
    if !shell.is_empty() {
        text.push_str(&format!("\n```sh\n{}\n```\n", lines(&shell)));
    }
    for manifest in yaml {
        text.push_str(&format!("\n```yaml\n{}\n```\n", manifest.trim_end()));
    }
    Ok(text)
}

fn lines(commands: &[&String]) -> String {
    commands.iter().map(|command| command.trim_end()).collect::<Vec<_>>().join("\n")
}

fn choices(outcome: &Outcome) -> String {
    let part = |value: Option<u32>, what: &str| value.map(|value| format!(", with --{what} {value}"));
    [part(outcome.rounds, "rounds"), part(outcome.seconds, "seconds")].into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::outcome::{Report, Target, Verdict};

    fn outcome(scenario: &str, date: &str, busy_before: f64) -> Outcome {
        let machine = Machine { cpu: "Some CPU".into(), cores: 2, memory_bytes: 8 << 30, kernel: "Linux 6.18".into() };
        let versions = Versions {
            berth: "berth 0.1.0".into(),
            commit: "abc".into(),
            peer: "wasmtime 48".into(),
            wrk: "wrk".into(),
            rustc: "rustc".into(),
        };
        let target = Target { what: "requests/s".into(), wanted: "4x".into(), measured: "3.00x".into(), verdict: Verdict::Missed };
        let commands = vec!["berth up hello.wasm".into(), "# a.yaml\nkind: Workload\n".into()];
        let report = Report { commands, targets: vec![target], ..Report::default() };
        Outcome { scenario: scenario.into(), date: date.into(), rounds: Some(1), seconds: None, busy_before, machine, versions, report }
    }

    #[test]
    fn the_page_says_what_was_measured_when_and_what_was_not() {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("start.md"), "The time goes into reading.\n").expect("it is writable");
        let outcomes = [outcome("start", "2026-01-02 10:00", 0.01), outcome("hello-p2-fresh", "2026-01-01 10:00", 0.3)];
        let text = page(&outcomes, folder.path()).expect("there are outcomes");
        assert!(text.find("## hello-p2-fresh").expect("it is there") < text.find("## start").expect("it is there"), "{text}");
        for part in [
            "2 cores of Some CPU, 8.00 GiB of memory, Linux 6.18.",
            "| hello-p2-fresh | requests/s | 4x     | 3.00x    | not met |",
            "Not measured: hello-p2-tuned,",
            "Measured on 2026-01-01 10:00 UTC, with --rounds 1.",
            "**Others used 30% of the machine before it began",
            "The time goes into reading.",
            "```sh\nberth up hello.wasm\n```\n\n```yaml\n# a.yaml\nkind: Workload\n```",
        ] {
            assert!(text.contains(part), "{part}\n{text}");
        }
    }

    #[test]
    fn another_machine_or_version_is_told() {
        let mut older = outcome("start", "2026-01-01 10:00", 0.01);
        older.machine.cores = 64;
        older.versions.berth = "berth 0.0.9".into();
        let text = page(&[older, outcome("macro", "2026-01-02 10:00", 0.01)], Path::new("/nowhere")).expect("there are outcomes");
        assert!(text.contains("On another machine: 64 cores") && text.contains("With other versions: berth 0.0.9"), "{text}");
    }

    #[test]
    fn a_page_of_nothing_says_so() {
        let text = page(&[], Path::new("/nowhere")).expect("it is possible");
        assert!(text.contains("Not measured: hello-p2-fresh,") && !text.contains("## Machine"), "{text}");
    }
}
