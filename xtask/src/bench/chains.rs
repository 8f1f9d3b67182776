//! Requests through two components of a workload, in every direction between WASI 0.2 and 0.3, as a part of what the handler of 0.3 alone
//! answers. Berth only: `wasmtime serve` runs one component.

mod workload;

use anyhow::{Result, bail};
use serde::Serialize;
use serde_json::json;

use self::workload::{CHAINS, Chain, HELLO_P3};
use super::figures::{count, median, ratio, spread};
use super::lab::Lab;
use super::outcome::{Report, Table, Target, Verdict};
use super::process::{Launch, Server, Side};
use super::wrk::{self, Counted};

/// How many connections wrk holds.
const CONNECTIONS: u32 = 16;

/// One measurement.
#[derive(Clone, Debug, Serialize)]
struct Sample {
    /// Which of [`CHAINS`].
    chain: usize,
    reuse: bool,
    round: u32,
    #[serde(flatten)]
    counted: Counted,
    /// CPU time of the server per request, microseconds.
    cpu_micros: f64,
}

/// A chain that is served.
struct Served {
    chain: usize,
    reuse: bool,
    server: Server,
}

/// Measures every chain, fresh and with reuse, each on a server of its own.
pub async fn measure(lab: &Lab) -> Result<Report> {
    let mut served = Vec::new();
    let mut commands = Vec::new();
    for reuse in [false, true] {
        for (at, chain) in CHAINS.iter().enumerate() {
            let (launch, manifest) = launch(lab, chain, reuse)?;
            let server = serve(lab, &launch, chain).await?;
            served.push(Served { chain: at, reuse, server });
            commands.push(launch.line());
            commands.push(manifest);
        }
    }
    commands.push(wrk::line("/", CONNECTIONS, lab.seconds()));
    commands.push(wrk::line(workload::AS_IS, CONNECTIONS, lab.seconds()));
    commands.push(wrk::line(workload::VIA, CONNECTIONS, lab.seconds()));
    let mut samples = Vec::new();
    for round in 0..lab.rounds() {
        // Who began a round ends the next one: what warms up or slows down in between is nobody's alone.
        let forth = round.is_multiple_of(2);
        for place in 0..served.len() {
            let of = &served[if forth { place } else { served.len() - 1 - place }];
            let sample = sample(lab, of, round).await?;
            println!(
                "round {} {}, {}: {} requests/s, {:.0} us of CPU each, {} errors",
                round + 1,
                CHAINS[of.chain].name,
                word(of.reuse),
                count(sample.counted.rate()),
                sample.cpu_micros,
                sample.counted.errors
            );
            samples.push(sample);
        }
    }
    for of in served {
        of.server.kill().await?;
    }
    Ok(report(&samples, commands))
}

/// How to start berth with a chain, and the manifest for people.
fn launch(lab: &Lab, chain: &Chain, reuse: bool) -> Result<(Launch, String)> {
    let name = format!("{}-{}", chain.id, word(reuse));
    let mut files = Vec::new();
    for guest in chain.guests {
        files.push(lab.guest(guest)?);
    }
    let files: Vec<&std::path::Path> = files.iter().map(|file| file.as_path()).collect();
    let file = lab.write(&format!("{name}.yaml"), chain.manifest(&name, &files, reuse, false))?;
    let launch = lab.launch(Side::Berth, &name)?.words(&["-f"]).path(&file);
    Ok((launch, format!("# {name}.yaml\n{}", chain.manifest(&name, &files, reuse, true))))
}

/// Starts it, sees that the last one of the chain answers, and warms it up.
async fn serve(lab: &Lab, launch: &Launch, chain: &Chain) -> Result<Server> {
    let mut server = launch.start(lab)?;
    server.answers("localhost", chain.path).await?;
    let reply = server.ask(chain.path).await?;
    if reply.body != chain.answer() {
        bail!("{} answers {:?} to {}", launch.line(), reply, chain.path);
    }
    wrk::run(lab, server.addr(), chain.path, CONNECTIONS, lab.warm_up()).await?;
    Ok(server)
}

async fn sample(lab: &Lab, Served { chain, reuse, server }: &Served, round: u32) -> Result<Sample> {
    let before = server.process.cpu()?;
    let counted = wrk::run(lab, server.addr(), CHAINS[*chain].path, CONNECTIONS, lab.seconds()).await?;
    let cpu = server.process.cpu()?.saturating_sub(before);
    let cpu_micros = cpu.as_secs_f64() * 1e6 / counted.requests.max(1) as f64;
    Ok(Sample { chain: *chain, reuse: *reuse, round, counted, cpu_micros })
}

fn word(reuse: bool) -> &'static str {
    if reuse { "reuse" } else { "fresh" }
}

fn report(samples: &[Sample], commands: Vec<String>) -> Report {
    let head = ["chain", "instances", "requests/s", "of 0.3 alone (range over rounds)", "wanted", "CPU per request", "p99", "errors"];
    let mut table = Table::new(&head);
    let mut targets = Vec::new();
    for reuse in [false, true] {
        let of = |chain: usize, read: fn(&Sample) -> f64| -> Vec<f64> {
            let mut found: Vec<&Sample> = samples.iter().filter(|sample| sample.chain == chain && sample.reuse == reuse).collect();
            found.sort_by_key(|sample| sample.round);
            found.into_iter().map(read).collect()
        };
        let alone = of(HELLO_P3, |sample| sample.counted.rate());
        for (at, chain) in CHAINS.iter().enumerate() {
            let rates = of(at, |sample| sample.counted.rate());
            let ratios: Vec<f64> = rates.iter().zip(&alone).map(|(rate, alone)| rate / alone).collect();
            let errors: f64 = of(at, |sample| sample.counted.errors as f64).iter().sum();
            let wanted = if reuse { chain.wanted_reused } else { chain.wanted_fresh };
            table.row([
                chain.name.to_owned(),
                word(reuse).to_owned(),
                count(median(&rates).unwrap_or_default()),
                spread(&ratios, ratio),
                wanted.map_or_else(|| "-".to_owned(), ratio),
                format!("{:.0} us", median(&of(at, |sample| sample.cpu_micros)).unwrap_or_default()),
                format!("{:.2} ms", median(&of(at, |sample| sample.counted.p99 * 1e3)).unwrap_or_default()),
                errors.to_string(),
            ]);
            if let Some(wanted) = wanted {
                let reached = median(&ratios).unwrap_or_default();
                targets.push(Target {
                    what: format!("requests/s of {}, {}", chain.name, word(reuse)),
                    wanted: format!("{wanted} of 0.3 alone"),
                    measured: format!("{reached:.2}{}", if errors > 0.0 { ", with errors" } else { "" }),
                    verdict: Verdict::of(errors == 0.0 && reached >= wanted),
                });
            }
        }
    }
    let notes = vec![
        format!(
            "{CONNECTIONS} connections; medians over the rounds, and medians of the rounds' ratios to `p3-hello` alone with the same \
             reuse. By import: the middleware imports `wasi:http/handler`; it makes a new request and a new response with a header more, \
             or hands on what it gets. By name: the caller asks `http://back.workload.internal`; the \
             callers are the guests `p2` and `p3`, which do more per instance than `p3-middleware`. Reuse is poolSize 8, and \
             maxConcurrency 16 for components of 0.3. Errors are answers other than 2xx or 3xx, and broken connections."
        ),
        "`wasmtime serve` has no counterpart: it runs one component.".to_owned(),
    ];
    Report { commands, notes, tables: vec![table], targets, raw: json!(samples) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_to_the_handler_alone_of_the_same_round_and_reuse() {
        let sample = |chain, reuse, round, requests| {
            let counted = Counted { requests, seconds: 1.0, p50: 0.001, p99: 0.002, errors: 0 };
            Sample { chain, reuse, round, counted, cpu_micros: 70.0 }
        };
        let middleware = HELLO_P3 + 1;
        // The second round went backwards.
        let samples = [
            sample(HELLO_P3, false, 0, 1000),
            sample(middleware, false, 0, 850),
            sample(middleware, false, 1, 1700),
            sample(HELLO_P3, false, 1, 2000),
            sample(HELLO_P3, true, 0, 4000),
            sample(middleware, true, 0, 2000),
        ];
        let report = report(&samples, Vec::new());
        let (fresh, reused) = (&report.tables[0].rows[middleware], &report.tables[0].rows[CHAINS.len() + middleware]);
        assert_eq!((fresh[3].as_str(), fresh[4].as_str()), ("0.85 (0.85 to 0.85)", "0.80"));
        assert_eq!(reused[3], "0.50");
        let verdicts: Vec<Verdict> =
            report.targets.iter().filter(|target| target.what.contains("middleware, 0.2 handler")).map(|t| t.verdict).collect();
        assert_eq!(verdicts, [Verdict::Met, Verdict::Missed]);
    }
}
