//! Ten thousand workloads of a hundred components on one host: how fast they start, what they take, and whether the host still serves.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use bytes::Bytes;
use serde_json::json;

use super::client::{self, Ask};
use super::figures::{bytes, count, median_time, time};
use super::lab::Lab;
use super::load::{Load, Measured, Pace};
use super::manifest::{Spec, variant};
use super::outcome::{Report, Table, Target, Verdict};
use super::process::{Launch, Server, Side};
use super::replicas::{idle, per_one};
use super::wrk;

/// Components that differ.
const COMPONENTS: u32 = 100;
/// Workloads per manifest: a manifest has 4 MiB at most.
const PER_FILE: usize = 1000;
/// Clients that ask each workload.
const CLIENTS: usize = 8;
/// Every workload must answer within this.
const WITHIN: Duration = Duration::from_secs(900);
/// The busy workload, which runs before the others.
const BUSY: &str = "busy.test";
/// The busy workload's load, as a part of its peak: little enough that the client, on the same cores, isn't what is measured.
const PART: f64 = 0.2;
/// Connections of the busy workload.
const CONNECTIONS: u32 = 16;

/// What was found.
struct Found {
    workloads: u32,
    /// Until all answered, with everything to be compiled.
    first: Duration,
    /// The same in a new process on the same data folder.
    restart: Duration,
    /// Until `berth apply` returned.
    applied: Duration,
    /// Memory per workload, RSS and PSS, bytes; and of all.
    each: [f64; 2],
    all: [f64; 2],
    /// The rate of the busy workload.
    rate: f64,
    /// The busy workload alone, and beside all others.
    alone: Vec<Measured>,
    beside: Vec<Measured>,
}

/// Measures berth.
pub async fn measure(lab: &Lab) -> Result<Report> {
    let (folder, domains) = write_manifests(lab)?;
    let busy = lab.guest("p2-hello")?;
    let spec = Spec { kind: "Workload", name: "busy", host: Some(BUSY), replicas: 1, component: &busy, p3: false, fields: &[] };
    let first = lab.write("busy.yaml", spec.yaml(false))?;
    let launch = lab.launch(Side::Berth, "workloads")?;
    let mut server = launch.clone().words(&["-f"]).path(&first).start(lab)?;
    server.answers(BUSY, "/").await?;

    let peak = wrk_peak(lab, &busy).await?;
    let rate = PART * peak;
    tail(lab, &server, rate).await.context("warming up")?;
    let mut alone = Vec::new();
    for _ in 0..lab.rounds() {
        alone.push(tail(lab, &server, rate).await?);
    }
    let before = idle(&server).await?;
    println!("alone: p99 {} at {} requests/s", time(p99(&alone)), count(rate));

    let start = Instant::now();
    let path = folder.to_str().context("the path is UTF-8")?;
    server.berth(lab, &["apply", "-f", path]).await?;
    let applied = start.elapsed();
    client::all_answer(server.addr(), &domains, CLIENTS, WITHIN).await?;
    let first = start.elapsed();
    println!("{} workloads answer after {}", domains.len(), time(first));

    let after = idle(&server).await?;
    let mut beside = Vec::new();
    for _ in 0..lab.rounds() {
        beside.push(tail(lab, &server, rate).await?);
    }
    println!("beside {}: p99 {}", domains.len(), time(p99(&beside)));
    server.kill().await?;
    let restart = restart(lab, &launch, &domains).await?;
    println!("after a restart all answer after {}", time(restart));
    let each = per_one(before, after, domains.len() as f64);
    let workloads = domains.len() as u32 + 1;
    let all = [after.rss as f64, after.pss as f64];
    Ok(report(&Found { workloads, first, restart, applied, each, all, rate, alone, beside }, &launch, &spec))
}

/// Components and manifests of all workloads but the busy one; the domains of these.
fn write_manifests(lab: &Lab) -> Result<(PathBuf, Vec<String>)> {
    let original = lab.guest("p2-hello")?;
    let content = fs::read(&original).with_context(|| format!("cannot read {}", original.display()))?;
    let (components, manifests) = (lab.fresh("components")?, lab.fresh("manifests")?);
    let component = |number: u32| components.join(format!("hello-{number:02}.wasm"));
    for number in 0..COMPONENTS {
        let path = component(number);
        fs::write(&path, variant(&content, number)).with_context(|| format!("cannot write {}", path.display()))?;
    }
    let mut domains = Vec::new();
    let mut documents = Vec::new();
    for number in 1..lab.options.workloads {
        let (name, host) = (format!("w{number:05}"), format!("w{number:05}.test"));
        let component = component(number % COMPONENTS);
        let spec = Spec { kind: "Workload", name: &name, host: Some(&host), replicas: 1, component: &component, p3: false, fields: &[] };
        documents.push(spec.yaml(false));
        domains.push(host);
    }
    for (number, documents) in documents.chunks(PER_FILE).enumerate() {
        let path = manifests.join(format!("{number:02}.yaml"));
        fs::write(&path, documents.join("---\n")).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok((manifests, domains))
}

/// Requests per second of the busy workload alone, in a berth of its own, which wrk can ask without a domain.
async fn wrk_peak(lab: &Lab, component: &Path) -> Result<f64> {
    let server = lab.launch(Side::Berth, "workloads-peak")?.path(component).serve(lab).await?;
    wrk::run(lab, server.addr(), "/", CONNECTIONS, lab.warm_up()).await?;
    let peak = wrk::run(lab, server.addr(), "/", CONNECTIONS, lab.seconds()).await?.rate();
    server.kill().await?;
    Ok(peak)
}

async fn tail(lab: &Lab, server: &Server, rate: f64) -> Result<Measured> {
    let ask = Ask { addr: server.addr(), host: BUSY.into(), path: "/".into(), body: Bytes::new(), answer: None };
    Load { asks: vec![ask], connections: CONNECTIONS as usize, pace: Pace::PerSecond(rate), time: lab.time() }.run().await
}

/// Starts berth again on the same data folder, with nothing but what was applied before.
async fn restart(lab: &Lab, launch: &Launch, domains: &[String]) -> Result<Duration> {
    let start = Instant::now();
    let mut server = launch.start(lab)?;
    server.answers(BUSY, "/").await?;
    client::all_answer(server.addr(), domains, CLIENTS, WITHIN).await?;
    let took = start.elapsed();
    server.kill().await?;
    Ok(took)
}

fn p99(measured: &[Measured]) -> Duration {
    median_time(&measured.iter().map(|one| one.quantile(0.99)).collect::<Vec<_>>())
}

fn report(found: &Found, launch: &Launch, spec: &Spec) -> Report {
    let others = found.workloads - 1;
    let per_second = |took: Duration| count(f64::from(others) / took.as_secs_f64());
    let mut table = Table::new(&["what", "measured"]);
    let mut row = |what: &str, measured: String| table.row([what.to_owned(), measured]);
    row("workloads, components", format!("{}, {COMPONENTS} and one", count(found.workloads.into())));
    row(
        "from `berth apply` to an answer of each, all to be compiled",
        format!("{}, {} per second", time(found.first), per_second(found.first)),
    );
    row("of this, until `berth apply` returned", time(found.applied));
    row("killed and started again, to an answer of each", format!("{}, {} per second", time(found.restart), per_second(found.restart)));
    row("memory per workload, components included", format!("{} RSS, {} PSS", bytes(found.each[0]), bytes(found.each[1])));
    row("memory of the process, idle", format!("{} RSS, {} PSS", bytes(found.all[0]), bytes(found.all[1])));
    row(&format!("p99 of one workload at {} requests/s, alone", count(found.rate)), time(p99(&found.alone)));
    row(&format!("the same beside {} idle ones", count(others.into())), time(p99(&found.beside)));
    let failed: u64 = found.alone.iter().chain(&found.beside).map(Measured::failed).sum();
    row("requests that failed", failed.to_string());
    let target = Target {
        what: "10,000 workloads on one host".into(),
        wanted: "every one answers".into(),
        measured: format!("{} answer", count(found.workloads.into())),
        verdict: Verdict::of(found.workloads >= 10_000 && failed == 0),
    };
    let notes = vec![
        format!(
            "Each is a Workload with a domain of its own and a fresh instance per request; the components are `p2-hello` with a custom \
             section that differs. {CLIENTS} clients ask each domain until it answers. The busy one is asked at {:.0}% of its peak alone; medians \
             over the rounds.",
            PART * 100.0
        ),
        "`wasmtime serve` has no counterpart: a process of it serves one component (see `replicas`).".to_owned(),
    ];
    let commands = vec![
        format!("{} -f busy.yaml", launch.line()),
        format!("# busy.yaml; the others have their own names, domains and images\n{}", spec.yaml(true)),
        "berth apply -f manifests/".into(),
        format!("{}    # again, after SIGKILL", launch.line()),
    ];
    let micros = |all: &[Measured]| all.iter().map(|one| one.quantile(0.99).as_micros() as u64).collect::<Vec<_>>();
    let raw = json!({
        "workloads": found.workloads,
        "first_seconds": found.first.as_secs_f64(),
        "applied_seconds": found.applied.as_secs_f64(),
        "restart_seconds": found.restart.as_secs_f64(),
        "each_bytes": found.each,
        "all_bytes": found.all,
        "rate": found.rate,
        "alone_p99_micros": micros(&found.alone),
        "beside_p99_micros": micros(&found.beside),
    });
    Report { commands, notes, tables: vec![table], targets: vec![target], raw }
}
