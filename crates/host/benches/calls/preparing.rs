//! How long a host takes to prepare a workload of eight components whose code it has, composed ones among them.

use std::time::{Duration, Instant};

use berth_host::{State, WantedWorkload};
use berth_model::workload::{Component, Link};

use crate::fused::{component, host, wanted};

/// What is wanted.
const AT_MOST: Duration = Duration::from_millis(20);

/// Eight components: a front of WASI 0.2 composed of three and one of 0.3 of two, a middleware that is bridged to its handler, and one that
/// stands alone.
fn eight(name: &str) -> WantedWorkload {
    let guests = ["link-front", "link-middle", "link-back", "link-front-p3", "link-back-p3", "p3-middleware", "p3-hello", "p2-hello"];
    let mut components: Vec<Component> = guests.map(component).to_vec();
    // Several could answer it.
    let handler = "wasi:http/handler".parse().unwrap();
    components[5].links = vec![Link { import: handler, component: Some("p3-hello".into()), fuse: false }];
    wanted(name, components)
}

/// Starts the workload under another name beside the first, so often; prints the median.
pub async fn measure(times: usize) {
    let host = host();
    let start = async |name: String| {
        let wanted = eight(&name);
        let begin = Instant::now();
        let status = host.start_workload(wanted).await;
        let took = begin.elapsed();
        assert_eq!(status.state, State::Running, "{}", status.message);
        took
    };
    let first = start("first".into()).await;
    let mut all = Vec::new();
    for at in 0..times {
        all.push(start(format!("again-{at}")).await);
    }
    all.sort();
    println!(
        "a workload of 8 components: {first:.1?} with compiling, then {:.1?} (median of {times}, {:.1?} to {:.1?}); wanted: at most {AT_MOST:.0?}",
        all[all.len() / 2],
        all[0],
        all[all.len() - 1]
    );
}
