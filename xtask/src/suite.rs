//! `cargo xtask test`: sets everything up, builds the guests and runs every test; the last lines say how many ran.
//!
//! Tests run under nextest (a process each, with a time limit, .config/nextest.toml); doc tests, which nextest can't run, go first.

use anyhow::{Context, Result, bail};

use crate::command::{self, Output};
use crate::workspace::Workspace;
use crate::{guests, setup, tools};

/// How many tests ran and how many of them failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counts {
    run: u64,
    failed: u64,
}

/// What came of the tests.
pub struct Summary {
    passed: bool,
    counts: Counts,
    /// The runner's own closing line and one with the sum.
    closing: String,
}

impl Summary {
    /// The closing lines.
    pub fn closing(&self) -> &str {
        &self.closing
    }

    /// An error unless tests ran and all of them passed.
    pub fn verdict(&self) -> Result<()> {
        if !self.passed || self.counts.failed > 0 {
            bail!("tests failed");
        }
        if self.counts.run == 0 {
            bail!("no test ran");
        }
        Ok(())
    }
}

/// Sets up and runs the tests. `nextest` is handed to `cargo nextest run`, to pick tests; then doc tests are left out.
pub fn run(workspace: &Workspace, nextest: &[String]) -> Result<Summary> {
    setup::for_tests(workspace)?;
    guests::run()?;
    println!("test: building Berth and its tests (the engine takes some minutes the first time)");
    let doc_tests = if nextest.is_empty() { doc_tests(workspace)? } else { Counts::default() };

    let mut command = command::cargo(workspace, &["nextest", "run", "--workspace"]);
    command.args(nextest).env("PATH", with_tools(workspace)?);
    let mut summary = None;
    let passed = command::watch(&mut command, Output::Stderr, |line| {
        if let Some(counts) = nextest_counts(line) {
            summary = Some((line.trim().to_owned(), counts));
        }
    })?;
    let (line, counts) = summary.context("there is no summary: the tests didn't build, or were interrupted")?;
    let sum = Counts { run: counts.run + doc_tests.run, failed: counts.failed + doc_tests.failed };
    let closing = format!("{line}\ntests run: {} ({} and {} doc tests), {} failed", sum.run, counts.run, doc_tests.run, sum.failed);
    Ok(Summary { passed, counts: sum, closing })
}

fn doc_tests(workspace: &Workspace) -> Result<Counts> {
    let mut counts = Counts::default();
    let mut results = 0;
    let passed = command::watch(&mut command::cargo(workspace, &["test", "--workspace", "--doc"]), Output::Stdout, |line| {
        if let Some(one) = libtest_counts(line) {
            results += 1;
            counts.run += one.run;
            counts.failed += one.failed;
        }
    })?;
    if !passed && counts.failed == 0 {
        bail!("doc tests didn't build");
    }
    if results == 0 {
        bail!("doc tests ended without a result");
    }
    Ok(counts)
}

/// PATH with the installed tools in front, so that `cargo nextest` finds the pinned one.
fn with_tools(workspace: &Workspace) -> Result<std::ffi::OsString> {
    let own = tools::NEXTEST.path(workspace).parent().context("a tool is in a folder")?.to_path_buf();
    let rest = std::env::var_os("PATH").unwrap_or_default();
    Ok(std::env::join_paths(std::iter::once(own).chain(std::env::split_paths(&rest)))?)
}

/// Counts in nextest's closing line, `Summary [ 1.2s] 12/30 tests run: 11 passed (1 slow), 1 failed, 2 timed out, 0 skipped`.
fn nextest_counts(line: &str) -> Option<Counts> {
    let rest = line.trim_start().strip_prefix("Summary [")?.split_once(']')?.1;
    let (run, results) = rest.split_once(" run: ")?;
    let run = run.split_whitespace().next()?.split('/').next()?.parse().ok()?;
    let passed = number_before(results, " passed")?;
    Some(Counts { run, failed: run - passed.min(run) })
}

/// Counts in the closing line of one libtest binary, `test result: ok. 3 passed; 0 failed; ...`.
fn libtest_counts(line: &str) -> Option<Counts> {
    let rest = line.strip_prefix("test result: ")?;
    let (passed, failed) = (number_before(rest, " passed")?, number_before(rest, " failed")?);
    Some(Counts { run: passed + failed, failed })
}

/// The number that stands right before `word`.
fn number_before(text: &str, word: &str) -> Option<u64> {
    text.split_once(word)?.0.rsplit(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nextest_s_closing_line_is_counted() {
        let all = "     Summary [   0.512s] 30 tests run: 30 passed (2 slow), 1 skipped";
        assert_eq!(nextest_counts(all), Some(Counts { run: 30, failed: 0 }));
        let some = "     Summary [   9.1s] 12/30 tests run: 9 passed, 2 failed, 1 timed out, 0 skipped";
        assert_eq!(nextest_counts(some), Some(Counts { run: 12, failed: 3 }));
        let one = "     Summary [   0.010s] 1 test run: 1 passed, 0 skipped";
        assert_eq!(nextest_counts(one), Some(Counts { run: 1, failed: 0 }));
        assert_eq!(nextest_counts("        PASS [   0.5s] berth-model domain::tests::a"), None);
    }

    #[test]
    fn a_run_of_which_nothing_passed_is_all_failures() {
        let none = "     Summary [   9.1s] 2 tests run: 0 passed, 2 failed, 0 skipped";
        assert_eq!(nextest_counts(none), Some(Counts { run: 2, failed: 2 }));
    }

    #[test]
    fn only_tests_that_ran_and_passed_make_a_good_verdict() {
        let summary = |passed, run, failed| Summary { passed, counts: Counts { run, failed }, closing: String::new() };
        assert!(summary(true, 3, 0).verdict().is_ok());
        assert!(summary(true, 0, 0).verdict().is_err());
        assert!(summary(true, 3, 1).verdict().is_err());
        assert!(summary(false, 3, 0).verdict().is_err());
    }

    #[test]
    fn libtest_s_result_line_is_counted() {
        let line = "test result: FAILED. 3 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.31s";
        assert_eq!(libtest_counts(line), Some(Counts { run: 4, failed: 1 }));
        assert_eq!(libtest_counts("running 4 tests"), None);
    }
}
