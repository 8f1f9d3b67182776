//! The smallest guests as fast as they answer: requests per second and CPU time per request, a fresh instance for each or reused ones.

use anyhow::{Context, Result};
use serde::Serialize;
use serde_json::json;

use super::figures::{count, median, ratio, spread};
use super::lab::Lab;
use super::manifest::Spec;
use super::outcome::{Report, Table, Target, Verdict};
use super::process::{Launch, Pair, Server, Side};
use super::wrk::{self, Counted};

/// How many connections wrk holds.
const CONNECTIONS: [u32; 2] = [16, 64];
/// Connections of the warm-up.
const WARM_UP_CONNECTIONS: u32 = 16;

/// The peer takes WASI 0.2's command interfaces only when told to.
pub const PEER_P2: &[&str] = &["-Scli"];
/// The peer with WASI 0.3.
pub const PEER_P3: &[&str] = &["-Scli", "-Sp3", "-Wcomponent-model-async"];
/// The peer with a fresh instance per request.
pub const PEER_FRESH: &[&str] = &["--max-instance-reuse-count=1"];
/// The peer's pooling allocator as fast as its options make it: what is used again stays resident, what was touched is found by
/// PAGEMAP_SCAN, and what is given back is given back in batches.
const PEER_TUNED: &[&str] = &[
    "-Opooling-allocator=y",
    "-Opooling-pagemap-scan=y",
    "-Opooling-memory-keep-resident=2097152",
    "-Opooling-table-keep-resident=65536",
    "-Opooling-async-stack-keep-resident=65536",
    "-Opooling-decommit-batch-size=16",
    "-Opooling-max-unused-warm-slots=1000",
];
/// Requests per instance where instances are used again: the peer's default for WASI 0.3.
const PEER_REUSE: &[&str] = &["--max-instance-reuse-count=128"];
/// The same, with the peer's default of requests at once.
const PEER_REUSE_P3: &[&str] = &["--max-instance-reuse-count=128", "--max-instance-concurrent-reuse-count=16"];

/// A guest on both sides.
pub struct Hello {
    /// Names the home folders.
    pub name: &'static str,
    /// The guest.
    pub guest: &'static str,
    /// What the peer is told, in groups.
    pub peer: &'static [&'static [&'static str]],
    /// What berth's manifest says of the component; empty: there is no manifest.
    reuse: &'static [&'static str],
    /// Requests per second, as a multiple of the peer's: what is wanted, and what it must be at the least.
    wanted: f64,
    at_least: f64,
}

/// WASI 0.2, an instance per request.
pub const P2_FRESH: Hello =
    Hello { name: "p2-fresh", guest: "p2-hello", peer: &[PEER_P2, PEER_FRESH], reuse: &[], wanted: 4.0, at_least: 3.5 };
/// The same, the peer tuned.
pub const P2_TUNED: Hello = Hello { name: "p2-tuned", peer: &[PEER_P2, PEER_FRESH, PEER_TUNED], wanted: 2.0, at_least: 2.0, ..P2_FRESH };
/// WASI 0.3, an instance per request.
pub const P3_FRESH: Hello =
    Hello { name: "p3-fresh", guest: "p3-hello", peer: &[PEER_P3, PEER_FRESH], reuse: &[], wanted: 3.0, at_least: 3.0 };
/// WASI 0.2, 128 requests per instance. The peer keeps as many idle instances as it had in use, so berth may too.
pub const P2_REUSE: Hello = Hello {
    name: "p2-reuse",
    guest: "p2-hello",
    peer: &[PEER_P2, PEER_REUSE],
    reuse: &["poolSize: 64", "maxInvocations: 128"],
    wanted: 1.6,
    at_least: 1.6,
};
/// WASI 0.3, 128 requests per instance, 16 of them at once.
pub const P3_REUSE: Hello = Hello {
    name: "p3-reuse",
    guest: "p3-hello",
    peer: &[PEER_P3, PEER_REUSE_P3],
    reuse: &["poolSize: 64", "maxInvocations: 128", "maxConcurrency: 16"],
    wanted: 1.3,
    at_least: 1.3,
};

/// One measurement.
#[derive(Clone, Debug, Serialize)]
struct Sample {
    side: Side,
    connections: u32,
    round: u32,
    #[serde(flatten)]
    counted: Counted,
    /// CPU time of the server per request, microseconds.
    cpu_micros: f64,
}

impl Hello {
    /// How to start berth and the peer, and the manifest if there is one.
    pub fn launches(&self, lab: &Lab) -> Result<(Launch, Launch, Option<String>)> {
        let guest = lab.guest(self.guest)?;
        let berth = lab.launch(Side::Berth, self.name)?;
        let (berth, manifest) = if self.reuse.is_empty() {
            (berth.path(&guest), None)
        } else {
            let spec = Spec {
                kind: "WorkloadDeployment",
                name: self.name,
                host: None,
                replicas: 1,
                component: &guest,
                p3: self.guest.starts_with("p3"),
                fields: self.reuse,
            };
            let file = lab.write(&format!("{}.yaml", self.name), spec.yaml(false))?;
            (berth.words(&["-f"]).path(&file), Some(format!("# {}.yaml\n{}", self.name, spec.yaml(true))))
        };
        let peer = self.peer.iter().fold(lab.launch(Side::Peer, self.name)?, |launch, words| launch.words(words));
        Ok((berth, peer.path(&guest), manifest))
    }

    /// Measures both sides.
    pub async fn measure(&self, lab: &Lab) -> Result<Report> {
        let (berth, peer, manifest) = self.launches(lab)?;
        let pair = Pair::serve(lab, &berth, &peer).await?;
        for side in Side::BOTH {
            wrk::run(lab, pair.of(side).addr(), "/", WARM_UP_CONNECTIONS, lab.warm_up()).await?;
        }
        let (mut samples, mut empty) = (Vec::new(), Vec::new());
        let without = lab.launch(Side::Berth, &format!("{}-nothing", self.name))?;
        let nothing = if self.reuse.is_empty() { None } else { Some(nothing(lab, &without).await?) };
        for round in 0..lab.rounds() {
            for connections in CONNECTIONS {
                for side in lab.order(round) {
                    let sample = sample(lab, pair.of(side), side, connections, round).await?;
                    println!(
                        "round {} -c{connections}: {} {} requests/s, {:.0} us of CPU each",
                        round + 1,
                        side.name(),
                        count(sample.counted.rate()),
                        sample.cpu_micros
                    );
                    samples.push(sample);
                }
                if let Some(nothing) = &nothing {
                    let sample = sample(lab, nothing, Side::Berth, connections, round).await?;
                    println!(
                        "round {} -c{connections}: berth without a guest {} requests/s, {:.0} us of CPU each",
                        round + 1,
                        count(sample.counted.rate()),
                        sample.cpu_micros
                    );
                    empty.push(sample);
                }
            }
        }
        pair.kill().await?;
        if let Some(nothing) = nothing {
            nothing.kill().await?;
        }
        let mut commands = vec![berth.line()];
        commands.extend(manifest);
        commands.push(peer.line());
        commands.extend(CONNECTIONS.map(|connections| wrk::line("/", connections, lab.seconds())));
        let mut report = self.report(&samples, commands);
        if !empty.is_empty() {
            without_a_guest(&mut report, &empty, &samples);
            report.commands.push(without.line());
        }
        Ok(report)
    }

    fn report(&self, samples: &[Sample], commands: Vec<String>) -> Report {
        let mut table = Table::new(&[
            "connections",
            "berth, requests/s",
            "wasmtime serve, requests/s",
            "ratio (range over rounds)",
            "CPU per request",
            "p99",
            "errors",
        ]);
        let mut targets = Vec::new();
        for connections in CONNECTIONS {
            let of = |side, read: fn(&Sample) -> f64| -> Vec<f64> {
                samples.iter().filter(|sample| sample.side == side && sample.connections == connections).map(read).collect()
            };
            let both = |read: fn(&Sample) -> f64| Side::BOTH.map(|side| median(&of(side, read)).unwrap_or_default());
            let [ours, theirs] = Side::BOTH.map(|side| of(side, |sample| sample.counted.rate()));
            let ratios: Vec<f64> = ours.iter().zip(&theirs).map(|(ours, theirs)| ours / theirs).collect();
            let errors = Side::BOTH.map(|side| of(side, |sample| sample.counted.errors as f64).iter().sum::<f64>());
            let (cpu, p99) = (both(|sample| sample.cpu_micros), both(|sample| sample.counted.p99 * 1e3));
            table.row([
                connections.to_string(),
                count(median(&ours).unwrap_or_default()),
                count(median(&theirs).unwrap_or_default()),
                spread(&ratios, ratio),
                format!("{:.0} us, {:.0} us", cpu[0], cpu[1]),
                format!("{:.2} ms, {:.2} ms", p99[0], p99[1]),
                format!("{}, {}", errors[0], errors[1]),
            ]);
            targets.push(self.target(connections, median(&ratios).unwrap_or_default(), errors[0] == 0.0));
        }
        let notes = vec![
            "Medians over the rounds; where a cell has two figures, berth's is the first. p99 is wrk's, as fast as each side answers, so \
             it is not of one load: the tail scenarios compare it at one. Errors are answers other than 2xx or 3xx, and broken connections."
                .to_owned(),
        ];
        Report { commands, notes, tables: vec![table], targets, raw: json!(samples) }
    }

    fn target(&self, connections: u32, ratio: f64, clean: bool) -> Target {
        let wanted = match self.at_least < self.wanted {
            true => format!("{}x, {}x at the least", self.wanted, self.at_least),
            false => format!("{}x", self.wanted),
        };
        let verdict = match ratio {
            r if clean && r >= self.wanted => Verdict::Met,
            r if clean && r >= self.at_least => Verdict::AtLeast,
            _ => Verdict::Missed,
        };
        let errors = if clean { "" } else { ", with errors" };
        Target { what: format!("requests/s with {connections} connections"), wanted, measured: format!("{ratio:.2}x{errors}"), verdict }
    }
}

/// A berth that runs nothing, and so answers 404: what HTTP alone costs.
async fn nothing(lab: &Lab, launch: &Launch) -> Result<Server> {
    let mut server = launch.start(lab)?;
    server.answers_with(404, "localhost", "/").await?;
    wrk::run(lab, server.addr(), "/", WARM_UP_CONNECTIONS, lab.warm_up()).await?;
    Ok(server)
}

/// Adds what berth answers without a guest, as a multiple of what the peer answers with one: about the most that a target can be.
fn without_a_guest(report: &mut Report, empty: &[Sample], samples: &[Sample]) {
    let mut table = Table::new(&["connections", "berth without a guest, requests/s", "ratio (range over rounds)", "CPU per request"]);
    for connections in CONNECTIONS {
        let of = |sample: &&Sample| sample.connections == connections;
        let rates = |samples: &[Sample], side| -> Vec<f64> {
            samples.iter().filter(of).filter(|sample| sample.side == side).map(|sample| sample.counted.rate()).collect()
        };
        let (ours, theirs) = (rates(empty, Side::Berth), rates(samples, Side::Peer));
        let ratios: Vec<f64> = ours.iter().zip(&theirs).map(|(ours, theirs)| ours / theirs).collect();
        let cpu: Vec<f64> = empty.iter().filter(of).map(|sample| sample.cpu_micros).collect();
        table.row([
            connections.to_string(),
            count(median(&ours).unwrap_or_default()),
            spread(&ratios, ratio),
            format!("{:.0} us", median(&cpu).unwrap_or_default()),
        ]);
    }
    report.tables.push(table);
    report.notes.push(
        "Berth without a guest is a `berth up` that runs nothing and answers every request 404: what HTTP costs it, with its share of the \
         system's time and of the client's."
            .to_owned(),
    );
    report.raw = json!({ "sides": report.raw, "without_a_guest": empty });
}

async fn sample(lab: &Lab, server: &Server, side: Side, connections: u32, round: u32) -> Result<Sample> {
    let before = server.process.cpu()?;
    let counted = wrk::run(lab, server.addr(), "/", connections, lab.seconds()).await?;
    let cpu = server.process.cpu()?.checked_sub(before).context("CPU time doesn't go back")?;
    let cpu_micros = cpu.as_secs_f64() * 1e6 / counted.requests.max(1) as f64;
    Ok(Sample { side, connections, round, counted, cpu_micros })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(side: Side, round: u32, requests: u64, errors: u64) -> Sample {
        let counted = Counted { requests, seconds: 1.0, p50: 0.001, p99: 0.002, errors };
        Sample { side, connections: 16, round, counted, cpu_micros: 70.0 }
    }

    #[test]
    fn the_ratio_is_the_median_of_the_rounds_ratios() {
        let rounds = [(4000, 1000), (3600, 1000), (9000, 1000)];
        let samples = |errors| -> Vec<Sample> {
            let both = |(round, (ours, theirs)): (usize, &(u64, u64))| {
                [sample(Side::Berth, round as u32, *ours, errors), sample(Side::Peer, round as u32, *theirs, 0)]
            };
            rounds.iter().enumerate().flat_map(both).collect()
        };
        let report = P2_FRESH.report(&samples(0), Vec::new());
        assert_eq!(report.tables[0].rows[0][1..4], ["4,000", "1,000", "4.00 (3.60 to 9.00)"].map(str::to_owned));
        assert_eq!(report.targets[0].verdict, Verdict::Met);
        assert_eq!(P2_FRESH.report(&samples(1), Vec::new()).targets[0].verdict, Verdict::Missed, "errors are no answers");
    }

    #[test]
    fn what_is_answered_without_a_guest_is_beside_what_the_peer_answers_with_one() {
        let samples = [sample(Side::Berth, 0, 1100, 0), sample(Side::Peer, 0, 1000, 0)];
        let mut report = P2_REUSE.report(&samples, Vec::new());
        without_a_guest(&mut report, &[sample(Side::Berth, 0, 1700, 1700)], &samples);
        assert_eq!(report.tables[1].rows[0], ["16", "1,700", "1.70", "70 us"].map(str::to_owned));
        assert_eq!(report.targets[0].measured, "1.10x", "that a 404 is no success is nobody's error");
    }

    #[test]
    fn a_ratio_between_the_two_bounds_is_met_at_the_least() {
        let verdicts = [3.4, 3.5, 4.0].map(|ratio| P2_FRESH.target(16, ratio, true).verdict);
        assert_eq!(verdicts, [Verdict::Missed, Verdict::AtLeast, Verdict::Met]);
        assert_eq!(P3_FRESH.target(16, 2.99, true).verdict, Verdict::Missed);
    }
}
