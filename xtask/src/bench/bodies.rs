//! Bodies echoed: bytes per second through both sides, and the most memory that takes.

use anyhow::Result;
use bytes::Bytes;
use serde::Serialize;
use serde_json::json;

use super::client::Ask;
use super::figures::{bytes, count, median, ratio, spread};
use super::hello::{PEER_FRESH, PEER_P2};
use super::lab::Lab;
use super::load::{Load, Pace};
use super::outcome::{Report, Table, Target, Verdict};
use super::process::{Pair, Server, Side};

/// Sizes of bodies, bytes, and connections.
const SIZES: [(usize, usize); 2] = [(64 << 10, 16), (16 << 20, 4)];

/// One measurement.
#[derive(Clone, Debug, Serialize)]
struct Sample {
    side: Side,
    size: usize,
    round: u32,
    /// Bodies per second, each of which went in and came out.
    rate: f64,
    peak_bytes: u64,
    cpu_micros: f64,
    failed: u64,
    failures: String,
}

/// Measures both sides.
pub async fn measure(lab: &Lab) -> Result<Report> {
    let guest = lab.guest("p2")?;
    let berth = lab.launch(Side::Berth, "bodies")?.path(&guest);
    let peer = lab.launch(Side::Peer, "bodies")?.words(PEER_P2).words(PEER_FRESH).path(&guest);
    let pair = Pair::serve(lab, &berth, &peer).await?;
    let mut samples = Vec::new();
    for round in 0..lab.rounds() {
        for (size, connections) in SIZES {
            for side in lab.order(round) {
                let sample = sample(lab, pair.of(side), side, round, (size, connections)).await?;
                println!(
                    "round {} of {}: {} {}/s, peak {}, {} failed {}",
                    round + 1,
                    bytes(size as f64),
                    side.name(),
                    bytes(sample.rate * size as f64),
                    bytes(sample.peak_bytes as f64),
                    sample.failed,
                    sample.failures
                );
                samples.push(sample);
            }
        }
    }
    pair.kill().await?;
    Ok(report(&samples, vec![berth.line(), peer.line()]))
}

async fn sample(lab: &Lab, server: &Server, side: Side, round: u32, (size, connections): (usize, usize)) -> Result<Sample> {
    // Every byte of a word differs from its neighbours, so that what is lost or doubled shows.
    let body: Bytes = (0..size).map(|at| (at ^ (at >> 8) ^ (at >> 16)) as u8).collect::<Vec<_>>().into();
    let ask = Ask { addr: server.addr(), host: "localhost".into(), path: "/echo".into(), body: body.clone(), answer: Some(body) };
    let load = Load { asks: vec![ask], connections, pace: Pace::Closed, time: lab.time() };
    server.process.forget_peak()?;
    let before = server.process.cpu()?;
    let measured = load.run().await?;
    let cpu = server.process.cpu()?.saturating_sub(before);
    Ok(Sample {
        side,
        size,
        round,
        rate: measured.rate(),
        peak_bytes: server.process.peak()?,
        cpu_micros: cpu.as_secs_f64() * 1e6 / measured.answered().max(1) as f64,
        failed: measured.failed(),
        failures: measured.failures(),
    })
}

fn report(samples: &[Sample], commands: Vec<String>) -> Report {
    let head = [
        "body, connections",
        "berth, per second",
        "wasmtime serve, per second",
        "ratio (range over rounds)",
        "CPU per body",
        "peak memory",
        "failed",
    ];
    let mut table = Table::new(&head);
    let mut lost = 0.0;
    for (size, connections) in SIZES {
        let of = |side, read: fn(&Sample) -> f64| -> Vec<f64> {
            samples.iter().filter(|sample| sample.side == side && sample.size == size).map(read).collect()
        };
        let [ours, theirs] = Side::BOTH.map(|side| of(side, |sample| sample.rate));
        let ratios: Vec<f64> = ours.iter().zip(&theirs).map(|(ours, theirs)| ours / theirs).collect();
        let rate = |values: &[f64]| {
            let rate = median(values).unwrap_or_default();
            format!("{} ({} bodies)", bytes(rate * size as f64), count(rate))
        };
        let cpu = Side::BOTH.map(|side| median(&of(side, |sample| sample.cpu_micros)).unwrap_or_default());
        let peak = Side::BOTH.map(|side| of(side, |sample| sample.peak_bytes as f64).into_iter().fold(0.0, f64::max));
        let failed = Side::BOTH.map(|side| of(side, |sample| sample.failed as f64).iter().sum::<f64>());
        lost += failed[0];
        table.row([
            format!("{}, {connections}", bytes(size as f64)),
            rate(&ours),
            rate(&theirs),
            spread(&ratios, ratio),
            format!("{} us, {} us", count(cpu[0]), count(cpu[1])),
            format!("{}, {}", bytes(peak[0]), bytes(peak[1])),
            format!("{}, {}", failed[0], failed[1]),
        ]);
    }
    let notes = vec![
        "The guest `p2` sends back what it reads while it reads it; the bench command posts as fast as it is answered, and compares every \
         byte. Each body counts once, though it went in and came out. Where a cell has two figures, berth's is the first. Peak memory is \
         the most that the process had in RAM in any round (VmHWM)."
            .to_owned(),
    ];
    let target = Target {
        what: "bodies come back whole".into(),
        wanted: "none lost".into(),
        measured: format!("{lost} lost"),
        verdict: Verdict::of(lost == 0.0),
    };
    Report { commands, notes, tables: vec![table], targets: vec![target], raw: json!(samples) }
}
