//! `cargo xtask guests`: builds every guest and example that the tests run, where the tests look for them.

use std::time::Instant;

use anyhow::{Context, Result};
use berth_testkit::guests;

/// Builds the guests and examples; those whose sources didn't change are left alone.
pub fn run() -> Result<()> {
    println!("guests: building what changed (all of them: some minutes)");
    let start = Instant::now();
    let built = guests::build_all().context("what the tests run can't be built")?;
    println!("guests: {} ready after {:.1} s", built.len(), start.elapsed().as_secs_f64());
    Ok(())
}
