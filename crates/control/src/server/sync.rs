//! Comparison of sets: one at a time and in order, or an older set could undo a newer one.
//!
//! After each round the server keeps what it answered, so that the next round can be a change against it, and its answer, too. A base
//! that isn't the last round is refused: then the peer sends the whole set. So it does when what has gone is more than a message holds.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use berth_model::id::WorkloadId;

use super::Server;
use super::lane::bounded;
use super::rounds::{Rounds, Step};
use crate::bus::{BusError, Subscription};
use crate::convert::{report_to_wire, wanted_from_wire};
use crate::parts::fits;
use crate::report::Report;
use crate::subjects;
use crate::wanted::Wanted;
use crate::wire::{compact, decode, describe, ext};

/// Answers sync requests until shutdown.
pub(super) async fn answer(server: Arc<Server>, mut messages: Subscription) -> Result<(), BusError> {
    let mut syncs = Syncs::default();
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
        let response = match syncs.respond(&server, &message.payload).await {
            Ok(response) => response,
            Err(error) => ext::SyncResponse { error, ..Default::default() },
        };
        server.reply(message.reply, compact(&response)).await;
    }
}

/// What is kept from one message to the next.
#[derive(Default)]
struct Syncs {
    rounds: Rounds,
    agreed: Option<Agreed>,
}

/// The last complete round.
struct Agreed {
    round: String,
    /// Workloads of it that can't be read.
    refused: HashMap<WorkloadId, Report>,
    /// What was answered.
    reports: HashMap<WorkloadId, Report>,
}

impl Syncs {
    async fn respond(&mut self, server: &Server, payload: &[u8]) -> Result<ext::SyncResponse, String> {
        let limit = server.bus.max_payload();
        let request: ext::SyncRequest = decode("SyncRequest", payload).map_err(|error| describe(&error))?;
        if !request.base.is_empty() {
            return self.change(server, request, limit).await;
        }
        match self.rounds.take(request, limit)? {
            Step::Wait => Ok(ext::SyncResponse::default()),
            Step::Page(page) => Ok(page),
            Step::Whole { round, wanted } => self.whole(server, round, wanted, limit).await,
        }
    }

    async fn whole(&mut self, server: &Server, round: String, wanted: Vec<ext::Wanted>, limit: usize) -> Result<ext::SyncResponse, String> {
        // What is cut on its way leaves nothing that a change could be made to.
        self.agreed = None;
        let (wanted, refused) = read(wanted);
        let work = server.handler.sync(wanted);
        let answered = bounded(server.config.sync_deadline, &server.shutdown, work).await.map_err(|cut| describe(&cut))?;
        let mut reports: Vec<ext::Report> = refused.values().map(report_to_wire).collect();
        reports.extend(answered.iter().filter(|report| !refused.contains_key(&report.id)).map(report_to_wire));
        let agreed = Agreed { round: round.clone(), reports: all(&refused, answered), refused };
        self.agreed = Some(agreed);
        Ok(self.rounds.finish(round, reports, limit))
    }

    async fn change(&mut self, server: &Server, request: ext::SyncRequest, limit: usize) -> Result<ext::SyncResponse, String> {
        let ext::SyncRequest { round, wanted, base, unwanted, .. } = request;
        // Taken: what is cut on its way leaves nothing that another change could be made to.
        let Some(before) = self.agreed.take().filter(|agreed| agreed.round == base) else {
            return Ok(ext::SyncResponse { unknown_base: true, ..Default::default() });
        };
        let (wanted, newly_refused) = read(wanted);
        let mut unwanted: Vec<WorkloadId> = unwanted.iter().filter_map(|id| id.parse().ok()).collect();
        let mut refused = before.refused;
        refused.retain(|id, _| !unwanted.contains(id) && !wanted.iter().any(|wanted| wanted.id == *id));
        // One that can't be read takes the place of the one that could be, as in a whole set.
        unwanted.extend(newly_refused.keys().cloned());
        refused.extend(newly_refused);
        let work = server.handler.change(wanted, unwanted);
        let answered = bounded(server.config.sync_deadline, &server.shutdown, work).await.map_err(|cut| describe(&cut))?;
        let reports = all(&refused, answered);
        let differ = reports.iter().filter(|(id, report)| before.reports.get(id) != Some(report));
        let differ = differ.map(|(_, report)| report_to_wire(report)).collect();
        let gone: Vec<String> = before.reports.keys().filter(|id| !reports.contains_key(id)).map(ToString::to_string).collect();
        let bytes: usize = gone.iter().map(|id| id.len() + 3).sum();
        if !fits(bytes, limit / 2) {
            // The change is made, and its answer is told as that to the whole set.
            return Ok(ext::SyncResponse { unknown_base: true, ..Default::default() });
        }
        self.agreed = Some(Agreed { round: round.clone(), refused, reports });
        Ok(ext::SyncResponse { gone, ..self.rounds.finish(round, differ, limit - bytes) })
    }
}

/// All reports: what couldn't be read is what it is, whatever the host runs under its id.
fn all(refused: &HashMap<WorkloadId, Report>, answered: Vec<Report>) -> HashMap<WorkloadId, Report> {
    let mut reports: HashMap<_, _> = answered.into_iter().map(|report| (report.id.clone(), report)).collect();
    reports.extend(refused.iter().map(|(id, report)| (id.clone(), report.clone())));
    reports
}

/// What can be read of the set, and reports on the rest: one bad workload doesn't keep the others from running.
fn read(wire: Vec<ext::Wanted>) -> (Vec<Wanted>, HashMap<WorkloadId, Report>) {
    let mut seen = HashSet::new();
    let (mut wanted, mut refused) = (Vec::new(), HashMap::new());
    for one in wire {
        let id: WorkloadId = match one.workload_id.parse() {
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
            Err(error) => drop(refused.insert(id.clone(), Report::failed(id, "InvalidWorkload", describe(&error)))),
        }
    }
    (wanted, refused)
}
