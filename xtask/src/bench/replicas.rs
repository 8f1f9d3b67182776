//! Idle memory of one more replica of a component that runs already; beside it, of one more `wasmtime serve` of the same component.

use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::json;

use super::figures::{bytes, median, spread};
use super::hello::PEER_P2;
use super::lab::Lab;
use super::manifest::Spec;
use super::outcome::{Report, Table, Target, Verdict};
use super::process::{Server, Side};
use super::procfs::Memory;

/// Replicas before and after.
const REPLICAS: [u32; 2] = [1, 1001];
/// Processes of the peer beside the first.
const PROCESSES: u32 = 10;
/// What a replica may take, bytes.
const WANTED: f64 = 50.0 * 1024.0;
/// Time for what was needed only to start to be given back.
const SETTLE: Duration = Duration::from_secs(3);

/// Measures both sides.
pub async fn measure(lab: &Lab) -> Result<Report> {
    let guest = lab.guest("p2-hello")?;
    let spec =
        Spec { kind: "WorkloadDeployment", name: "hello", host: None, replicas: REPLICAS[0], component: &guest, p3: false, fields: &[] };
    let [few, many] = REPLICAS.map(|replicas| Spec { replicas, ..spec });
    let [few_file, many_file] = [("few.yaml", few), ("many.yaml", many)].map(|(name, spec)| lab.write(name, spec.yaml(false)));
    let (few_file, many_file) = (few_file?, many_file?);
    let extra = f64::from(REPLICAS[1] - REPLICAS[0]);
    let (mut ours, mut theirs, mut took) = (Vec::new(), Vec::new(), Vec::new());
    let berth = lab.launch(Side::Berth, "replicas")?.words(&["-f"]).path(&few_file);
    let peer = lab.launch(Side::Peer, "replicas")?.words(PEER_P2).path(&guest);
    for round in 0..lab.rounds().min(3) {
        let server = lab.launch(Side::Berth, "replicas")?.words(&["-f"]).path(&few_file).serve(lab).await?;
        let before = idle(&server).await?;
        let start = std::time::Instant::now();
        let path = many_file.to_str().context("the path is UTF-8")?;
        server.berth(lab, &["apply", "-f", path, "--wait", "--timeout", "600s"]).await?;
        took.push(start.elapsed().as_secs_f64());
        let after = idle(&server).await?;
        server.kill().await?;
        ours.push(per_one(before, after, extra));
        theirs.push(peers(lab, &guest).await?);
        let [a, b] = [&ours, &theirs].map(|all| all.last().map_or(0.0, |one: &[f64; 2]| one[1]));
        println!("round {}: berth {} per replica, wasmtime serve {} per process (PSS)", round + 1, bytes(a), bytes(b));
    }
    let of = |all: &[[f64; 2]], at: usize| all.iter().map(|one| one[at]).collect::<Vec<_>>();
    let mut table = Table::new(&["one more", "RSS", "PSS"]);
    table.row(["berth: replica, of 1,000".into(), spread(&of(&ours, 0), bytes), spread(&of(&ours, 1), bytes)]);
    table.row([format!("wasmtime serve: process, of {PROCESSES}"), spread(&of(&theirs, 0), bytes), spread(&of(&theirs, 1), bytes)]);
    let middle = median(&of(&ours, 1)).context("there is a round at least")?;
    let target = Target {
        what: "idle memory per extra replica".into(),
        wanted: format!("{} at most", bytes(WANTED)),
        measured: bytes(middle),
        verdict: Verdict::of(middle <= WANTED),
    };
    let notes = vec![
        format!(
            "Memory of the process at {} replicas less that at {}, divided by the difference. PSS (/proc/PID/smaps_rollup) shares out what \
             several processes map; a process of the peer serves one component, so one more of it is one more process.",
            REPLICAS[1], REPLICAS[0]
        ),
        format!(
            "Scaling from {} to {} replicas, until all were ready, took {} s.",
            REPLICAS[0],
            REPLICAS[1],
            spread(&took, |s| format!("{s:.2}"))
        ),
    ];
    let commands = vec![
        berth.line(),
        format!("# few.yaml\n{}", few.yaml(true)),
        "berth apply -f many.yaml --wait --timeout 600s    # the same with replicas: 1001".into(),
        peer.line(),
    ];
    Ok(Report { commands, notes, tables: vec![table], targets: vec![target], raw: json!({"berth": ours, "peer": theirs, "seconds": took}) })
}

/// Memory once a process has nothing to do any more.
pub async fn idle(server: &Server) -> Result<Memory> {
    tokio::time::sleep(SETTLE).await;
    server.process.memory()
}

/// RSS and PSS per one, bytes.
pub fn per_one(before: Memory, after: Memory, extra: f64) -> [f64; 2] {
    [(after.rss as f64 - before.rss as f64) / extra, (after.pss as f64 - before.pss as f64) / extra]
}

/// What one more process of the peer takes.
async fn peers(lab: &Lab, guest: &std::path::Path) -> Result<[f64; 2]> {
    let mut servers = Vec::new();
    let mut sums = [Memory::default(); 2];
    for number in 0..=PROCESSES {
        servers.push(lab.launch(Side::Peer, &format!("replicas-{number}"))?.words(PEER_P2).path(guest).serve(lab).await?);
        if number == 0 {
            sums[0] = idle(&servers[0]).await?;
        }
    }
    tokio::time::sleep(SETTLE).await;
    for server in &servers {
        let memory = server.process.memory()?;
        sums[1] = Memory { rss: sums[1].rss + memory.rss, pss: sums[1].pss + memory.pss };
    }
    for server in servers {
        server.kill().await?;
    }
    Ok(per_one(sums[0], sums[1], f64::from(PROCESSES)))
}
