//! Comparison of whole sets: one at a time and in order, or an older set could undo a newer one.

use std::collections::HashSet;
use std::sync::Arc;

use super::Server;
use super::lane::bounded;
use super::rounds::{Rounds, Step};
use crate::bus::{BusError, Subscription};
use crate::convert::{report_to_wire, wanted_from_wire};
use crate::report::Report;
use crate::subjects;
use crate::wanted::Wanted;
use crate::wire::{compact, decode, describe, ext};

/// Answers sync requests until shutdown.
pub(super) async fn answer(server: Arc<Server>, mut messages: Subscription) -> Result<(), BusError> {
    let mut rounds = Rounds::default();
    loop {
        let message = tokio::select! {
            biased;
            () = server.shutdown.cancelled() => return Ok(()),
            message = messages.next() => message,
        };
        let Some(message) = message else {
            return Err(BusError::Closed { pattern: subjects::extension(server.id, subjects::SYNC) });
        };
        server.tell_lost(&mut messages);
        let response = match respond(&server, &mut rounds, &message.payload).await {
            Ok(response) => response,
            Err(error) => ext::SyncResponse { error, ..Default::default() },
        };
        server.reply(message.reply, compact(&response)).await;
    }
}

async fn respond(server: &Server, rounds: &mut Rounds, payload: &[u8]) -> Result<ext::SyncResponse, String> {
    let limit = server.bus.max_payload();
    let request: ext::SyncRequest = decode("SyncRequest", payload).map_err(|error| describe(&error))?;
    let (round, wanted) = match rounds.take(request, limit)? {
        Step::Wait => return Ok(ext::SyncResponse::default()),
        Step::Page(page) => return Ok(page),
        Step::Whole { round, wanted } => (round, wanted),
    };
    let (wanted, mut reports) = read(wanted);
    let refused: HashSet<String> = reports.iter().map(|report| report.workload_id.clone()).collect();
    let work = server.handler.sync(wanted);
    let answered = bounded(server.config.sync_deadline, &server.shutdown, work).await.map_err(|cut| describe(&cut))?;
    reports.extend(answered.iter().map(report_to_wire).filter(|report| !refused.contains(&report.workload_id)));
    Ok(rounds.finish(round, reports, limit))
}

/// What can be read of the set, and reports on the rest: one bad workload doesn't keep the others from running.
fn read(wire: Vec<ext::Wanted>) -> (Vec<Wanted>, Vec<ext::Report>) {
    let mut seen = HashSet::new();
    let (mut wanted, mut reports) = (Vec::new(), Vec::new());
    for one in wire {
        let id = match one.workload_id.parse() {
            Ok(id) => id,
            Err(error) => {
                tracing::warn!(error = describe(&error), "a workload without a valid id is left out");
                continue;
            }
        };
        if !seen.insert(one.workload_id.clone()) {
            tracing::warn!(workload = %id, "a workload is there twice; the first one counts");
            continue;
        }
        match wanted_from_wire(one) {
            Ok(one) => wanted.push(one),
            Err(error) => reports.push(report_to_wire(&Report::failed(id, "InvalidWorkload", describe(&error)))),
        }
    }
    (wanted, reports)
}
