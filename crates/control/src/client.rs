//! The operator's end: typed calls to one host.
//!
//! Calls share nothing but the bus, so a host that doesn't answer delays no call but those to itself, and not even those delay each
//! other (L03).

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use berth_model::id::{HostId, WorkloadId};
use berth_model::workload::Workload;
use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::bus::{Bus, BusError};
use crate::convert::{ConvertError, heartbeat_from_wire, report_from_status, report_from_wire, wanted_to_wire, workload_to_wire};
use crate::heartbeat::Heartbeat;
use crate::parts::{MAX_PARTS, fits, fitting};
use crate::report::Report;
use crate::subjects;
use crate::wanted::Wanted;
use crate::wire::{DecodeError, compact, decode, describe, ext, pb};

/// How long replies are waited for.
#[derive(Clone, Copy, Debug)]
pub struct Deadlines {
    /// For a heartbeat.
    pub heartbeat: Duration,
    /// For a start: a pull and a compile may be part of it.
    pub start: Duration,
    /// For a workload's state.
    pub status: Duration,
    /// For a stop: requests may have to finish.
    pub stop: Duration,
    /// For each message of a sync.
    pub sync: Duration,
    /// For a drain.
    pub drain: Duration,
}

/// The deadlines of upstream's protocol (docs/compatibility.md), and ours.
pub const DEADLINES: Deadlines = Deadlines {
    heartbeat: Duration::from_secs(5),
    start: Duration::from_secs(60),
    status: Duration::from_secs(5),
    stop: Duration::from_secs(30),
    sync: Duration::from_secs(10),
    drain: Duration::from_secs(5),
};

/// Calls one host. Cheap to clone.
#[derive(Clone)]
pub struct HostClient {
    bus: Arc<dyn Bus>,
    host: HostId,
}

impl std::fmt::Debug for HostClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HostClient").field("host", &self.host).finish_non_exhaustive()
    }
}

impl HostClient {
    /// A client of host `host`.
    pub fn new(bus: Arc<dyn Bus>, host: HostId) -> HostClient {
        HostClient { bus, host }
    }

    /// The host that it calls.
    pub fn host(&self) -> HostId {
        self.host
    }

    /// Asks how the host is.
    pub async fn heartbeat(&self) -> Result<Heartbeat, CallError> {
        let call = Call { name: "heartbeat", reply: "HostHeartbeat" };
        let payload = Bytes::from_static(b"{}");
        let wire = self.call(call, &self.command(subjects::HEARTBEAT), payload, DEADLINES.heartbeat).await?;
        heartbeat_from_wire(wire).map_err(|source| self.bad_values(call, source))
    }

    /// Asks the host to start a workload; answers when it runs or has failed, which is a report, not an error. An upstream peer,
    /// and this message, know of a component's limits only the one on memory, in whole MiB; [`HostClient::sync`] carries all.
    pub async fn start(&self, id: &WorkloadId, workload: &Workload) -> Result<Report, CallError> {
        let call = Call { name: "start", reply: "WorkloadStartResponse" };
        let request = pb::WorkloadStartRequest { workload: Some(workload_to_wire(workload)), workload_id: id.to_string() };
        let wire: pb::WorkloadStartResponse = self.call(call, &self.command(subjects::START), compact(&request), DEADLINES.start).await?;
        report_from_status(id, wire.workload_status).map_err(|source| self.bad_values(call, source))
    }

    /// Asks where a workload stands.
    pub async fn status(&self, id: &WorkloadId) -> Result<Report, CallError> {
        let call = Call { name: "status", reply: "WorkloadStatusResponse" };
        let request = pb::WorkloadStatusRequest { workload_id: id.to_string() };
        let wire: pb::WorkloadStatusResponse =
            self.call(call, &self.command(subjects::STATUS), compact(&request), DEADLINES.status).await?;
        report_from_status(id, wire.workload_status).map_err(|source| self.bad_values(call, source))
    }

    /// Asks the host to stop a workload.
    pub async fn stop(&self, id: &WorkloadId) -> Result<Report, CallError> {
        let call = Call { name: "stop", reply: "WorkloadStopResponse" };
        let request = pb::WorkloadStopRequest { workload_id: id.to_string() };
        let wire: pb::WorkloadStopResponse = self.call(call, &self.command(subjects::STOP), compact(&request), DEADLINES.stop).await?;
        report_from_status(id, wire.workload_status).map_err(|source| self.bad_values(call, source))
    }

    /// Tells the host the whole set that it is to run, and learns where every workload stands. See [`HostClient::agree`].
    pub async fn sync(&self, wanted: &[Wanted]) -> Result<Vec<Report>, CallError> {
        let (_, mut reports, told) = self.whole(wanted).await?;
        reports.extend(told);
        Ok(reports)
    }

    /// Tells the host the whole set that it is to run, in as many messages as it takes, and learns where every workload stands.
    /// One whose message alone would be too large for the bus isn't told, and reported as failed with reason `TooLarge`; so are those
    /// beyond what a set may take in all. Only for hosts that speak Berth's extension. Calls about the set of one host must not
    /// overlap: the later one would end the earlier.
    pub async fn agree(&self, wanted: &[Wanted]) -> Result<Agreement, CallError> {
        let (round, untold, reports) = self.whole(wanted).await?;
        Ok(Agreement { round, reports: by_id(reports), untold: by_id(untold) })
    }

    /// Changes the set that both ends agreed on: `wanted` are those that are new or differ, `unwanted` those that it has no more.
    /// `None`: the host has to be told the whole set, whether it made the change or not, because it knows that agreement no more, or
    /// because the change or its answer is too large for one message. Otherwise as [`HostClient::agree`].
    pub async fn amend(&self, agreed: Agreement, wanted: &[Wanted], unwanted: &[WorkloadId]) -> Result<Option<Agreement>, CallError> {
        let limit = self.bus.max_payload();
        let changed: HashSet<WorkloadId> = wanted.iter().map(|wanted| &wanted.id).chain(unwanted).cloned().collect();
        let (fitting, too_large) = split_off_too_large(wanted, limit);
        let mut unwanted: Vec<String> = unwanted.iter().map(ToString::to_string).collect();
        unwanted.extend(too_large.iter().map(|report| report.id.to_string()));
        let bytes = fitting.iter().map(|one| one.bytes + 1).chain(unwanted.iter().map(|id| id.len() + 3)).sum();
        if !fits(bytes, limit) {
            return Ok(None);
        }
        let Agreement { round: base, mut reports, mut untold } = agreed;
        let round = uuid::Uuid::new_v4().to_string();
        let wanted = fitting.into_iter().map(|one| one.wire).collect();
        let request = ext::SyncRequest { round: round.clone(), base, wanted, unwanted, ..Default::default() };
        let response = self.sync_message(&request).await?;
        if response.unknown_base {
            return Ok(None);
        }
        let gone: Vec<WorkloadId> = response.gone.iter().filter_map(|id| id.parse().ok()).collect();
        gone.iter().for_each(|id| drop(reports.remove(id)));
        reports.extend(by_id(self.rest_of(&round, response).await?));
        untold.retain(|id, _| !changed.contains(id));
        untold.extend(by_id(too_large));
        Ok(Some(Agreement { round, reports, untold }))
    }

    /// Tells the whole set; returns the round's name, reports on what can't be told, and the host's.
    async fn whole(&self, wanted: &[Wanted]) -> Result<(String, Vec<Report>, Vec<Report>), CallError> {
        let limit = self.bus.max_payload();
        let (fitting, mut untold) = split_off_too_large(wanted, limit);
        let mut parts = parts_of(fitting, limit);
        for one in parts.split_off(parts.len().min(MAX_PARTS as usize)).into_iter().flatten() {
            let message = format!("{} workloads take more than the {MAX_PARTS} messages that a host takes: use more hosts", wanted.len());
            untold.extend(one.workload_id.parse().ok().map(|id| Report::failed(id, "TooLarge", message)));
        }
        let count = u32::try_from(parts.len()).unwrap_or(u32::MAX);
        let round = uuid::Uuid::new_v4().to_string();
        let mut response = ext::SyncResponse::default();
        for (part, wanted) in (0..).zip(parts) {
            let request = ext::SyncRequest { round: round.clone(), part, parts: count, wanted, ..Default::default() };
            response = self.sync_message(&request).await?;
        }
        let reports = self.rest_of(&round, response).await?;
        Ok((round, untold, reports))
    }

    /// The reports of a round, of which `response` has the first.
    async fn rest_of(&self, round: &str, mut response: ext::SyncResponse) -> Result<Vec<Report>, CallError> {
        let (mut reports, mut received) = (Vec::new(), 0);
        for _ in 0..=MAX_PARTS {
            received += u32::try_from(response.reports.len()).unwrap_or(u32::MAX);
            reports.extend(response.reports.into_iter().filter_map(|report| self.known(report)));
            if !response.more || received == 0 {
                return Ok(reports);
            }
            let request = ext::SyncRequest { round: round.to_owned(), reports_from: received, ..Default::default() };
            response = self.sync_message(&request).await?;
        }
        let message = format!("the host's reports don't fit into {MAX_PARTS} messages");
        Err(CallError::Refused { host: self.host, call: "sync", message })
    }

    /// Asks the host to take nothing new and finish what runs (`on`), or to go back to work. Only for hosts that speak Berth's
    /// extension.
    pub async fn drain(&self, on: bool) -> Result<(), CallError> {
        let call = Call { name: "drain", reply: "DrainResponse" };
        let subject = subjects::extension(self.host, subjects::DRAIN);
        let response: ext::DrainResponse = self.call(call, &subject, compact(&ext::DrainRequest { on }), DEADLINES.drain).await?;
        self.accepted(call, response.error)
    }

    async fn sync_message(&self, request: &ext::SyncRequest) -> Result<ext::SyncResponse, CallError> {
        let call = Call { name: "sync", reply: "SyncResponse" };
        let subject = subjects::extension(self.host, subjects::SYNC);
        let mut response: ext::SyncResponse = self.call(call, &subject, compact(request), DEADLINES.sync).await?;
        self.accepted(call, std::mem::take(&mut response.error))?;
        Ok(response)
    }

    fn accepted(&self, call: Call, error: String) -> Result<(), CallError> {
        if error.is_empty() { Ok(()) } else { Err(CallError::Refused { host: self.host, call: call.name, message: error }) }
    }

    /// A report whose id no workload can have is about nothing.
    fn known(&self, wire: ext::Report) -> Option<Report> {
        let report = report_from_wire(wire);
        if let Err(error) = &report {
            tracing::warn!(host = %self.host, error = describe(error), "a report is left out");
        }
        report.ok()
    }

    fn command(&self, command: &str) -> String {
        subjects::command(self.host, command)
    }

    async fn call<T: DeserializeOwned>(&self, call: Call, subject: &str, payload: Bytes, deadline: Duration) -> Result<T, CallError> {
        let request = self.bus.request(subject, payload, deadline);
        let reply = request.await.map_err(|source| CallError::Bus { host: self.host, call: call.name, source })?;
        decode(call.reply, &reply).map_err(|source| CallError::Reply { host: self.host, call: call.name, source })
    }

    fn bad_values(&self, call: Call, source: ConvertError) -> CallError {
        let source = DecodeError::Values { message: call.reply, source };
        CallError::Reply { host: self.host, call: call.name, source }
    }
}

/// The set that an operator and a host agreed on last, and where its workloads stood then.
#[derive(Debug)]
pub struct Agreement {
    round: String,
    reports: HashMap<WorkloadId, Report>,
    /// Reports on workloads that are too large to be told.
    untold: HashMap<WorkloadId, Report>,
}

impl Agreement {
    /// Where every workload stood.
    pub fn reports(&self) -> HashMap<WorkloadId, Report> {
        let mut reports = self.reports.clone();
        reports.extend(self.untold.clone());
        reports
    }
}

fn by_id(reports: Vec<Report>) -> HashMap<WorkloadId, Report> {
    reports.into_iter().map(|report| (report.id.clone(), report)).collect()
}

/// A call's name and the type of its reply.
#[derive(Clone, Copy)]
struct Call {
    name: &'static str,
    reply: &'static str,
}

/// A workload on the wire, and its size there.
struct Sized {
    wire: ext::Wanted,
    bytes: usize,
}

fn split_off_too_large(wanted: &[Wanted], limit: usize) -> (Vec<Sized>, Vec<Report>) {
    let (mut small, mut too_large) = (Vec::with_capacity(wanted.len()), Vec::new());
    for one in wanted {
        let wire = wanted_to_wire(one);
        let bytes = size(&wire);
        if fits(bytes, limit) {
            small.push(Sized { wire, bytes });
        } else {
            let message = format!(
                "the workload is {bytes} bytes long on the bus, which takes {limit}: move large configuration into a volume or the image",
            );
            too_large.push(Report::failed(one.id.clone(), "TooLarge", message));
        }
    }
    (small, too_large)
}

fn size<T: Serialize>(message: &T) -> usize {
    compact(message).len()
}

/// Cuts the set into messages; an empty set is one message, too.
fn parts_of(mut wanted: Vec<Sized>, limit: usize) -> Vec<Vec<ext::Wanted>> {
    let mut parts = Vec::new();
    loop {
        let count = fitting(wanted.iter().map(|one| one.bytes), limit);
        let rest = wanted.split_off(count);
        parts.push(wanted.into_iter().map(|one| one.wire).collect());
        if rest.is_empty() {
            return parts;
        }
        wanted = rest;
    }
}

/// Why a call has no result.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The bus didn't bring a reply.
    #[error("{call} of host {host} failed")]
    Bus {
        /// The host called.
        host: HostId,
        /// What it was asked.
        call: &'static str,
        /// Why.
        #[source]
        source: BusError,
    },
    /// The reply can't be understood.
    #[error("{call} of host {host} was answered with what can't be understood")]
    Reply {
        /// The host called.
        host: HostId,
        /// What it was asked.
        call: &'static str,
        /// Why.
        #[source]
        source: DecodeError,
    },
    /// The host said no, or couldn't be asked.
    #[error("{call} of host {host} was refused: {message}")]
    Refused {
        /// The host called.
        host: HostId,
        /// What it was asked.
        call: &'static str,
        /// What it said.
        message: String,
    },
}

impl CallError {
    /// Whether the operator's own connection is at fault, so that the error says nothing about the host (L01).
    pub fn is_disconnected(&self) -> bool {
        matches!(self, CallError::Bus { source: BusError::Disconnected | BusError::Closed { .. }, .. })
    }

    /// Whether nobody listens as this host: evidence that it is gone, sooner than its lease says (L02).
    pub fn is_no_responders(&self) -> bool {
        matches!(self, CallError::Bus { source: BusError::NoResponders { .. }, .. })
    }
}
