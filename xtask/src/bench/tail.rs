//! Latency of the smallest guests at half of the peer's peak, at a constant rate of arrivals.

use anyhow::{Context, Result};
use bytes::Bytes;
use serde::Serialize;
use serde_json::json;

use super::client::Ask;
use super::figures::{count, median, ratio, spread, time};
use super::hello::{Hello, P2_FRESH, P3_FRESH};
use super::lab::Lab;
use super::load::{Load, Measured, Pace};
use super::outcome::{Report, Table, Target, Verdict};
use super::process::{Pair, Server, Side};
use super::wrk;

/// Connections with which the peer's peak is measured, and of the load.
const CONNECTIONS: u32 = 64;
/// What is compared.
const QUANTILES: [(&str, f64); 3] = [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999)];

/// WASI 0.2.
pub const P2: Tail = Tail { hello: &P2_FRESH };
/// WASI 0.3.
pub const P3: Tail = Tail { hello: &P3_FRESH };

/// A guest on both sides at one rate.
pub struct Tail {
    hello: &'static Hello,
}

/// One measurement.
#[derive(Clone, Debug, Serialize)]
struct Sample {
    side: Side,
    round: u32,
    answered: u64,
    failed: u64,
    failures: String,
    /// Of each of [`QUANTILES`], microseconds.
    micros: [f64; QUANTILES.len()],
    /// CPU time of the server per request, microseconds.
    cpu_micros: f64,
}

impl Tail {
    /// Measures the peer's peak, then both sides at half of it.
    pub async fn measure(&self, lab: &Lab) -> Result<Report> {
        let (berth, peer, _) = self.hello.launches(lab)?;
        let pair = Pair::serve(lab, &berth, &peer).await?;
        for side in Side::BOTH {
            wrk::run(lab, pair.of(side).addr(), "/", CONNECTIONS, lab.warm_up()).await?;
        }
        let mut peaks = Vec::new();
        for _ in 0..lab.rounds().min(3) {
            peaks.push(wrk::run(lab, pair.peer.addr(), "/", CONNECTIONS, lab.seconds()).await?.rate());
        }
        let peak = median(&peaks).context("there is a round at least")?;
        println!("the peer's peak is {} requests/s", count(peak));
        let answer = pair.berth.ask("/").await?.body;
        let mut samples = Vec::new();
        for round in 0..lab.rounds() {
            for side in lab.order(round) {
                let sample = sample(lab, pair.of(side), side, round, peak / 2.0, &answer).await?;
                let [p50, p99, p999] = sample.micros.map(|micros| time(std::time::Duration::from_secs_f64(micros / 1e6)));
                println!("round {}: {} p50 {p50}, p99 {p99}, p99.9 {p999}, {} failed", round + 1, side.name(), sample.failed);
                samples.push(sample);
            }
        }
        pair.kill().await?;
        Ok(report(&samples, peak, vec![berth.line(), peer.line(), wrk::line("/", CONNECTIONS, lab.seconds())]))
    }
}

async fn sample(lab: &Lab, server: &Server, side: Side, round: u32, rate: f64, answer: &Bytes) -> Result<Sample> {
    let ask = Ask { addr: server.addr(), host: "localhost".into(), path: "/".into(), body: Bytes::new(), answer: Some(answer.clone()) };
    let load = Load { asks: vec![ask], connections: CONNECTIONS as usize, pace: Pace::PerSecond(rate), time: lab.time() };
    let before = server.process.cpu()?;
    let measured: Measured = load.run().await?;
    let cpu = server.process.cpu()?.saturating_sub(before);
    Ok(Sample {
        side,
        round,
        answered: measured.answered(),
        failed: measured.failed(),
        failures: measured.failures(),
        micros: QUANTILES.map(|(_, q)| measured.quantile(q).as_secs_f64() * 1e6),
        cpu_micros: cpu.as_secs_f64() * 1e6 / measured.answered().max(1) as f64,
    })
}

fn report(samples: &[Sample], peak: f64, commands: Vec<String>) -> Report {
    let of = |side, read: &dyn Fn(&Sample) -> f64| -> Vec<f64> { samples.iter().filter(|sample| sample.side == side).map(read).collect() };
    let mut table = Table::new(&["of each request", "berth", "wasmtime serve", "ratio (range over rounds)"]);
    let micros = |micros: f64| time(std::time::Duration::from_secs_f64(micros / 1e6));
    let mut row = |what: &str, read: &dyn Fn(&Sample) -> f64| {
        let [ours, theirs] = Side::BOTH.map(|side| of(side, read));
        let ratios: Vec<f64> = ours.iter().zip(&theirs).map(|(ours, theirs)| ours / theirs).collect();
        let [a, b] = [&ours, &theirs].map(|values| micros(median(values).unwrap_or_default()));
        table.row([what.to_owned(), a, b, spread(&ratios, ratio)]);
        median(&ratios).unwrap_or(f64::INFINITY)
    };
    let mut tail = f64::INFINITY;
    for (at, (name, _)) in QUANTILES.into_iter().enumerate() {
        let ratio = row(name, &|sample| sample.micros[at]);
        if name == "p99" {
            tail = ratio;
        }
    }
    row("CPU time", &|sample| sample.cpu_micros);
    let [ours, theirs] = Side::BOTH.map(|side| of(side, &|sample| sample.failed as f64).iter().sum::<f64>());
    let target = Target {
        what: "p99 at half of the peer's peak".into(),
        wanted: "not above the peer's".into(),
        measured: format!("{tail:.2} of the peer's"),
        verdict: Verdict::of(tail <= 1.0 && ours == 0.0),
    };
    let notes = vec![
        format!(
            "The peer's peak, by wrk, is {} requests/s; the load is {} requests/s at equal distances on {CONNECTIONS} connections, from \
             the bench command itself. Latency counts from when a request was to be sent.",
            count(peak),
            count(peak / 2.0)
        ),
        format!("Failed: {ours} requests of berth, {theirs} of wasmtime serve."),
    ];
    Report { commands, notes, tables: vec![table], targets: vec![target], raw: json!({"peak": peak, "samples": samples}) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(ours: f64, theirs: f64, failed: u64) -> [Sample; 2] {
        [(Side::Berth, ours, failed), (Side::Peer, theirs, 0)].map(|(side, p99, failed)| {
            let micros = [100.0, p99, 2.0 * p99];
            Sample { side, round: 0, answered: 1000, failed, failures: String::new(), micros, cpu_micros: 80.0 }
        })
    }

    #[test]
    fn a_tail_that_is_longer_or_loses_requests_misses_the_target() {
        let verdict = |ours, failed| report(&samples(ours, 400.0, failed), 5000.0, Vec::new()).targets[0].verdict;
        assert_eq!([verdict(400.0, 0), verdict(401.0, 0), verdict(300.0, 1)], [Verdict::Met, Verdict::Missed, Verdict::Missed]);
    }

    #[test]
    fn each_quantile_and_the_cpu_time_have_a_row() {
        let report = report(&samples(300.0, 400.0, 0), 5000.0, Vec::new());
        assert_eq!(report.tables[0].rows.len(), QUANTILES.len() + 1);
        assert_eq!(report.tables[0].rows[1], ["p99", "300 us", "400 us", "0.75"].map(str::to_owned));
    }
}
