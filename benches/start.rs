//! The host's own part of a start: from being told of a workload to its first answer, of a component that was compiled before.
//! `cargo bench -p berth-benches --bench start`
//!
//! Each round begins with a new host over the code that an earlier one kept on disk, so that the first workload loads that and the
//! second finds a replica of it running. No store, operator or bus takes part; `cargo xtask bench start` measures the way through them.

#![allow(clippy::print_stdout, reason = "a benchmark's table is its output")]
#![allow(clippy::unwrap_used, reason = "a benchmark that can't go on ends with the reason")]

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use berth_benches::{connect, get, host_with, percentile, wanted};
use berth_host::{CodeCache, CodeSettings, Host, HostConfig};
use berth_model::limits::Limits;

const ROUNDS: usize = 20;
/// A workload must answer within this.
const WITHIN: Duration = Duration::from_secs(60);
/// Time for what is under way when a host ends.
const GRACE: Duration = Duration::from_secs(5);

// As many threads as a node's control tasks have.
#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let folder = std::env::temp_dir().join(format!("berth-bench-start-{}", std::process::id()));
    // The first host compiles, and keeps the code.
    round(&folder).await;
    let mut times = [Vec::new(), Vec::new()];
    for _ in 0..ROUNDS {
        for (all, took) in times.iter_mut().zip(round(&folder).await) {
            all.push(took);
        }
    }
    std::fs::remove_dir_all(&folder).unwrap();
    println!("{:<24} {:>12} {:>12} {:>12}", "from told to answered", "median", "least", "most");
    for (name, mut all) in ["from disk", "beside another replica"].into_iter().zip(times) {
        all.sort();
        let [median, least, most] = [0.5, 0.0, 1.0].map(|part| percentile(&all, part));
        println!("{name:<24} {median:>12.1?} {least:>12.1?} {most:>12.1?}");
    }
}

/// Starts one component twice in a new host.
async fn round(folder: &Path) -> [Duration; 2] {
    let code = CodeCache::open(CodeSettings::in_folder(folder.to_owned())).unwrap();
    let host = host_with(HostConfig { code: Some(Arc::new(code)), ..HostConfig::default() });
    let times = [start(&host, "one").await, start(&host, "two").await];
    host.drain(GRACE).await;
    times
}

async fn start(host: &Arc<Host>, name: &str) -> Duration {
    let mut client = connect(host.http_addr()).await.unwrap();
    assert_eq!(get(&mut client, name, "/").await, Some(false), "nobody answers yet");
    let wanted = wanted(name, "p2-hello", Limits::default());
    let begin = Instant::now();
    host.change_wanted(vec![wanted], &[]);
    // Each asks as soon as it is answered.
    while get(&mut client, name, "/").await != Some(true) {
        assert!(begin.elapsed() < WITHIN, "{:?}", host.statuses());
    }
    begin.elapsed()
}
