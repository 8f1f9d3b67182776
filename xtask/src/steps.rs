//! A run of named steps with their times: every step runs, the table tells how long each took and which failed.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// Steps done so far.
#[derive(Default)]
pub struct Steps {
    done: Vec<Step>,
}

struct Step {
    name: &'static str,
    took: Duration,
    outcome: Outcome,
}

/// What came of a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All is well.
    Passed,
    /// It couldn't be done here, and that is no failure; the text says why.
    Skipped(String),
    /// It failed.
    Failed,
}

impl Steps {
    /// Does one step and prints what it does and, if it fails, why. A failure doesn't stop later steps: one run shows all.
    pub fn step(&mut self, name: &'static str, action: impl FnOnce() -> Result<Outcome>) {
        println!("\n==> {name}");
        let start = Instant::now();
        let outcome = action().unwrap_or_else(|error| {
            println!("{name}: {error:#}");
            Outcome::Failed
        });
        self.done.push(Step { name, took: start.elapsed(), outcome });
    }

    /// One line per step and one for the sum.
    pub fn table(&self) -> String {
        let mut text = String::new();
        for step in &self.done {
            let outcome = match &step.outcome {
                Outcome::Passed => "ok".to_owned(),
                Outcome::Skipped(why) => format!("skipped: {why}"),
                Outcome::Failed => "FAILED".to_owned(),
            };
            text.push_str(&format!("{:>7.1} s  {:<28} {outcome}\n", step.took.as_secs_f64(), step.name));
        }
        let total: Duration = self.done.iter().map(|step| step.took).sum();
        text.push_str(&format!("{:>7.1} s  together\n", total.as_secs_f64()));
        text
    }

    /// An error that names the failed steps, if there are any.
    pub fn verdict(&self) -> Result<()> {
        let failed: Vec<&str> = self.done.iter().filter(|step| step.outcome == Outcome::Failed).map(|step| step.name).collect();
        if !failed.is_empty() {
            bail!("failed: {}", failed.join(", "));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::*;

    #[test]
    fn a_failed_step_is_named_and_does_not_stop_the_next() {
        let mut steps = Steps::default();
        steps.step("format", || Err(anyhow!("not formatted")));
        steps.step("lint", || Ok(Outcome::Passed));
        steps.step("advisories", || Ok(Outcome::Skipped("no network".into())));
        assert_eq!(steps.verdict().expect_err("format failed").to_string(), "failed: format");
        let table = steps.table();
        assert_eq!(table.lines().count(), 4);
        assert!(table.contains("FAILED") && table.contains("skipped: no network"), "{table}");
    }

    #[test]
    fn without_a_failure_the_verdict_is_good() {
        let mut steps = Steps::default();
        steps.step("lint", || Ok(Outcome::Passed));
        assert!(steps.verdict().is_ok());
    }
}
