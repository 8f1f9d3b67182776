//! The host's own part of a start: from being told of a workload to its first answer, of a component that was compiled before.
//! `cargo bench -p berth-benches --bench start`
//!
//! And the same of a workload of eight components, two of which call others that they are composed with: known ones are neither planned nor
//! composed again, and 20 ms is what preparing them may take.
//!
//! Each round begins with a new host over the code that an earlier one kept on disk, so that the first workload loads that and the
//! second finds a replica of it running. No store, operator or bus takes part; `cargo xtask bench start` measures the way through them.

#![allow(clippy::print_stdout, reason = "a benchmark's table is its output")]
#![allow(clippy::unwrap_used, reason = "a benchmark that can't go on ends with the reason")]

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use berth_benches::{connect, get, host_with, percentile, wanted};
use berth_host::{CodeCache, CodeSettings, Host, HostConfig, WantedWorkload};
use berth_model::image::ImageRef;
use berth_model::limits::Limits;
use berth_model::workload::{Component, HttpEntry};

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
    let mut times = [const { Vec::new() }; 4];
    for _ in 0..ROUNDS {
        for (all, took) in times.iter_mut().zip(round(&folder).await) {
            all.push(took);
        }
    }
    std::fs::remove_dir_all(&folder).unwrap();
    println!("{:<24} {:>12} {:>12} {:>12}", "from told to answered", "median", "least", "most");
    let names = ["from disk", "beside another replica", "eight from disk", "eight beside a replica"];
    for (name, mut all) in names.into_iter().zip(times) {
        all.sort();
        let [median, least, most] = [0.5, 0.0, 1.0].map(|part| percentile(&all, part));
        println!("{name:<24} {median:>12.1?} {least:>12.1?} {most:>12.1?}");
    }
}

/// Starts one component, and a workload of eight, twice in new hosts.
async fn round(folder: &Path) -> [Duration; 4] {
    let single = |name: &str| wanted(name, "p2-hello", Limits::default());
    let [first, second] = twice(folder, "/", single).await;
    let [third, fourth] = twice(folder, "/own/env", eight).await;
    [first, second, third, fourth]
}

async fn twice(folder: &Path, path: &str, of: impl Fn(&str) -> WantedWorkload) -> [Duration; 2] {
    let code = CodeCache::open(CodeSettings::in_folder(folder.to_owned())).unwrap();
    let host = host_with(HostConfig { code: Some(Arc::new(code)), ..HostConfig::default() });
    let times = [start(&host, path, of("one")).await, start(&host, path, of("two")).await];
    host.drain(GRACE).await;
    times
}

/// A workload that a front answers for, which calls two of the others.
fn eight(name: &str) -> WantedWorkload {
    let mut wanted = wanted(name, "link-front", Limits::default());
    let component = wanted.workload.components[0].clone();
    let guests = ["link-front", "link-middle", "link-back", "link-front-p3", "link-back-p3", "p2", "p3", "p2-hello"];
    let components = guests.map(|guest| Component {
        name: guest.to_owned(),
        image: ImageRef::File(berth_testkit::guests::path(guest)),
        ..component.clone()
    });
    wanted.workload.components = components.into();
    wanted.workload.http = wanted.workload.http.map(|http| HttpEntry { component: Some("link-front".to_owned()), ..http });
    wanted
}

async fn start(host: &Arc<Host>, path: &str, wanted: WantedWorkload) -> Duration {
    let name = wanted.workload.name.clone();
    let mut client = connect(host.http_addr()).await.unwrap();
    assert_eq!(get(&mut client, &name, path).await, Some(false), "nobody answers yet");
    let begin = Instant::now();
    host.change_wanted(vec![wanted], &[]);
    // Each asks as soon as it is answered.
    while get(&mut client, &name, path).await != Some(true) {
        assert!(begin.elapsed() < WITHIN, "{:?}", host.statuses());
    }
    begin.elapsed()
}
