//! A hundred workloads of five languages on one host under mixed load, beside one `wasmtime serve` per language that does the same.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use serde::Serialize;
use serde_json::json;

use super::client::{self, Ask};
use super::figures::{bytes, count, median, time};
use super::hello::PEER_P2;
use super::lab::Lab;
use super::load::{Load, Pace};
use super::manifest::Spec;
use super::outcome::{Report, Table, Target, Verdict};
use super::process::{Server, Side};

/// The languages and their guests.
const GUESTS: [(&str, &str); 5] = [("Rust", "p2"), ("JavaScript", "js"), ("Python", "py"), ("Go", "go"), ("C", "c")];
/// Workloads per guest.
const PER_GUEST: usize = 20;
/// What is asked.
const PATH: &str = "/json";
/// The load, as a part of what can be served.
const PART: f64 = 0.7;
/// Connections of the load.
const CONNECTIONS: usize = 64;
/// Connections that measure what can be served.
const CAPACITY_CONNECTIONS: usize = 32;
/// What can be served is measured for so long at most.
const CAPACITY_TIME: Duration = Duration::from_secs(30);
/// All must answer within this of their start: Python is a large component to compile.
const WITHIN: Duration = Duration::from_secs(600);
/// What is compared.
const QUANTILES: [(&str, f64); 3] = [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999)];

/// The processes of a side and what is asked of them.
struct Stand {
    side: Side,
    servers: Vec<Server>,
    asks: Vec<Ask>,
}

/// One measurement.
#[derive(Clone, Debug, Serialize)]
struct Sample {
    side: Side,
    /// Whether at the rate that is the same for both, or at the part of its own capacity.
    same: bool,
    rate: f64,
    answered: u64,
    failed: u64,
    failures: String,
    /// Of each of [`QUANTILES`], microseconds.
    micros: [f64; QUANTILES.len()],
    cpu_micros: f64,
    /// The most memory in RAM and the shared-out one at the end, of all processes, bytes.
    peak_bytes: u64,
    pss_bytes: u64,
}

/// Measures both sides.
pub async fn measure(lab: &Lab) -> Result<Report> {
    let time_of_load = Duration::from_secs(lab.options.seconds.unwrap_or(300).into());
    let mut commands = Vec::new();
    let stands = [berth(lab, &mut commands).await?, peer(lab, &mut commands).await?];
    for (ours, theirs) in stands[0].asks.iter().zip(&stands[1].asks) {
        if ours.answer != theirs.answer {
            bail!("the two sides answer differently, berth {:?} and wasmtime serve {:?}", ours.answer, theirs.answer);
        }
    }
    println!("{} workloads and {} processes answer", stands[0].asks.len(), stands[1].servers.len());
    let mut capacity = Vec::new();
    for stand in &stands {
        let load = |time| Load { asks: stand.asks.clone(), connections: CAPACITY_CONNECTIONS, pace: Pace::Closed, time };
        load(Duration::from_secs(lab.warm_up().into())).run().await?;
        let rate = load(time_of_load.min(CAPACITY_TIME)).run().await?.rate();
        println!("{} serves {} requests/s", stand.side.name(), count(rate));
        capacity.push(rate);
    }
    let same = PART * capacity[0].min(capacity[1]);
    let mut samples = Vec::new();
    for round in 0..lab.options.rounds.unwrap_or(1) {
        for side in lab.order(round) {
            let stand = stands.iter().find(|stand| stand.side == side).context("both sides stand")?;
            samples.push(sample(stand, same, true, time_of_load).await?);
        }
        samples.push(sample(&stands[0], PART * capacity[0], false, time_of_load).await?);
    }
    for stand in stands {
        for server in stand.servers {
            server.kill().await?;
        }
    }
    Ok(report(&samples, [capacity[0], capacity[1]], commands))
}

/// All workloads in one berth.
async fn berth(lab: &Lab, commands: &mut Vec<String>) -> Result<Stand> {
    let mut documents = Vec::new();
    let mut shown = None;
    let mut domains = Vec::new();
    for (_, guest) in GUESTS {
        let component = lab.guest(guest)?;
        for number in 0..PER_GUEST {
            let (name, host) = (format!("{guest}-{number:02}"), format!("{guest}-{number:02}.test"));
            let spec = Spec {
                kind: "WorkloadDeployment",
                name: &name,
                host: Some(&host),
                replicas: 1,
                component: &component,
                p3: false,
                fields: &[],
            };
            documents.push(spec.yaml(false));
            shown.get_or_insert_with(|| spec.yaml(true));
            domains.push(host);
        }
    }
    let file = lab.write("macro.yaml", documents.join("---\n"))?;
    let launch = lab.launch(Side::Berth, "macro")?.words(&["-f"]).path(&file);
    commands.push(launch.line());
    commands.push(format!("# macro.yaml; the others have their own names, domains and images\n{}", shown.unwrap_or_default()));
    let mut server = launch.start(lab)?;
    server.answers(&domains[0], "/").await?;
    client::all_answer(server.addr(), &domains, 4, WITHIN).await?;
    let mut asks = Vec::new();
    for host in domains {
        asks.push(ask(&server, host).await?);
    }
    Ok(Stand { side: Side::Berth, servers: vec![server], asks })
}

/// A process per language.
async fn peer(lab: &Lab, commands: &mut Vec<String>) -> Result<Stand> {
    let mut stand = Stand { side: Side::Peer, servers: Vec::new(), asks: Vec::new() };
    for (language, guest) in GUESTS {
        let launch = lab.launch(Side::Peer, &format!("macro-{guest}"))?.words(PEER_P2).path(&lab.guest(guest)?);
        commands.push(format!("{}    # {language}", launch.line()));
        let server = launch.serve(lab).await?;
        let one = ask(&server, "localhost".to_owned()).await?;
        stand.asks.extend(std::iter::repeat_n(one, PER_GUEST));
        stand.servers.push(server);
    }
    Ok(stand)
}

/// A request whose answer is known from now on.
async fn ask(server: &Server, host: String) -> Result<Ask> {
    let reply = client::get(server.addr(), &host, PATH).await.map_err(|error| anyhow::anyhow!("{host}{PATH}: {error}"))?;
    if reply.status != 200 {
        bail!("{host}{PATH} answers {}", reply.status);
    }
    Ok(Ask { addr: server.addr(), host, path: PATH.into(), body: Bytes::new(), answer: Some(reply.body) })
}

async fn sample(stand: &Stand, rate: f64, same: bool, time_of_load: Duration) -> Result<Sample> {
    let sum = |read: &dyn Fn(&Server) -> Result<u64>| stand.servers.iter().map(read).sum::<Result<u64>>();
    let cpu = || sum(&|server| Ok(server.process.cpu()?.as_micros() as u64));
    for server in &stand.servers {
        server.process.forget_peak()?;
    }
    let before = cpu()?;
    let load = Load { asks: stand.asks.clone(), connections: CONNECTIONS, pace: Pace::PerSecond(rate), time: time_of_load };
    let measured = load.run().await?;
    let cpu = cpu()?.saturating_sub(before);
    let sample = Sample {
        side: stand.side,
        same,
        rate,
        answered: measured.answered(),
        failed: measured.failed(),
        failures: measured.failures(),
        micros: QUANTILES.map(|(_, q)| measured.quantile(q).as_secs_f64() * 1e6),
        cpu_micros: cpu as f64 / measured.answered().max(1) as f64,
        peak_bytes: sum(&|server| server.process.peak())?,
        pss_bytes: sum(&|server| Ok(server.process.memory()?.pss))?,
    };
    println!(
        "{} at {} requests/s: p99 {}, {:.0} us of CPU each, {} failed {}",
        stand.side.name(),
        count(rate),
        time(measured.quantile(0.99)),
        sample.cpu_micros,
        sample.failed,
        sample.failures
    );
    Ok(sample)
}

fn report(samples: &[Sample], capacity: [f64; 2], commands: Vec<String>) -> Report {
    let runs = [(Side::Berth, true), (Side::Peer, true), (Side::Berth, false)];
    let of = |(side, same): (Side, bool), read: &dyn Fn(&Sample) -> f64| -> Vec<f64> {
        samples.iter().filter(|sample| (sample.side, sample.same) == (side, same)).map(read).collect()
    };
    let middle = |run, read: &dyn Fn(&Sample) -> f64| median(&of(run, read)).unwrap_or_default();
    let micros = |micros: f64| time(Duration::from_secs_f64(micros / 1e6));
    let mut table = Table::new(&["of each request", "berth", "wasmtime serve", "berth at its own 70%"]);
    let mut row = |what: &str, read: &dyn Fn(&Sample) -> f64, write: &dyn Fn(f64) -> String| {
        table.row([what.to_owned()].into_iter().chain(runs.map(|run| write(middle(run, read)))));
    };
    row("requests/s", &|sample| sample.rate, &count);
    for (at, (name, _)) in QUANTILES.into_iter().enumerate() {
        row(name, &|sample| sample.micros[at], &micros);
    }
    row("CPU time", &|sample| sample.cpu_micros, &micros);
    row("peak memory (RSS), all processes", &|sample| sample.peak_bytes as f64, &bytes);
    row("memory at the end (PSS), all processes", &|sample| sample.pss_bytes as f64, &bytes);
    row("answered", &|sample| sample.answered as f64, &count);
    row("failed", &|sample| sample.failed as f64, &count);

    let failed = of(runs[0], &|sample| sample.failed as f64).iter().chain(&of(runs[2], &|sample| sample.failed as f64)).sum::<f64>();
    let languages = GUESTS.map(|(language, _)| language).join(", ");
    let targets = vec![Target {
        what: "errors under the mixed load".into(),
        wanted: "none".into(),
        measured: count(failed),
        verdict: Verdict::of(failed == 0.0 && !samples.is_empty()),
    }];
    let notes = vec![
        format!(
            "{languages}: {PER_GUEST} workloads each, a domain each, a fresh instance per request; every request is GET {PATH} of a random \
             one, and its body is compared. A process of the peer serves one component, so there is one per language, which gets the \
             requests of all {PER_GUEST}."
        ),
        format!(
            "As fast as they answer, on {CAPACITY_CONNECTIONS} connections, berth serves {} requests/s and wasmtime serve {}. The load is \
             {:.0}% of the smaller figure on {CONNECTIONS} connections; in the last column, of berth's own. Latency counts from when a \
             request was to be sent.",
            count(capacity[0]),
            count(capacity[1]),
            PART * 100.0
        ),
    ];
    Report { commands, notes, tables: vec![table], targets, raw: json!({"capacity": capacity, "samples": samples}) }
}
