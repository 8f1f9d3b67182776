//! `berth top`.

use std::time::Duration;

use berth_node::api::{Client, Top as Figures};

use super::is_json;
use crate::args::Top;
use crate::exit::{Exit, Failure};
use crate::output::{Output, Table, Tone, duration, size};

const HEADERS: [&str; 9] = ["NAMESPACE", "NAME", "REQUESTS", "ERRORS", "IN-FLIGHT", "QUEUED", "MEMORY", "P50", "P99"];

pub(super) async fn run(args: &Top, client: &Client, out: &mut Output) -> Result<Exit, Failure> {
    let mut top: Figures = client.top().await?;
    top.workloads.retain(|w| args.namespace.as_ref().is_none_or(|namespace| *namespace == w.namespace));
    if is_json(args.output) {
        out.json(&top)?;
        return Ok(Exit::Ok);
    }
    if top.workloads.is_empty() {
        super::note("nothing runs");
        return Ok(Exit::Ok);
    }
    let mut table = Table::new(HEADERS);
    for w in &top.workloads {
        let errors = (w.errors.to_string(), (w.errors > 0).then_some(Tone::Warn));
        let rest = [
            w.in_flight.to_string(),
            w.queued.to_string(),
            size(w.memory_bytes),
            duration(Duration::from_micros(w.p50_us)),
            duration(Duration::from_micros(w.p99_us)),
        ];
        let first = [w.namespace.clone(), w.name.clone(), w.requests.to_string()];
        table.row(first.map(|cell| (cell, None)).into_iter().chain([errors]).chain(rest.map(|cell| (cell, None))));
    }
    out.table(&table)?;
    Ok(Exit::Ok)
}
