//! Commands but sync: what a message asks for, and the reply to it.

use std::sync::Arc;

use berth_model::id::{HostId, WorkloadId};
use berth_model::workload::Workload;
use bytes::Bytes;

use super::lane::{Cut, Lane, Ticket};
use super::{Lanes, Server};
use crate::bus::Message;
use crate::convert::{MAX_MESSAGE_BYTES, Question, answer_of, heartbeat_to_wire, reported, workload_from_wire};
use crate::report::{Report, WorkloadState};
use crate::subjects;
use crate::wire::{DecodeError, compact, decode, describe, ext, pb, pretty, shorten};

/// Longest workload id that an error repeats, bytes.
const MAX_ID_BYTES: usize = 128;

/// What a message asks for.
pub(super) enum Request {
    Heartbeat,
    Workload(Question),
    Drain,
    /// A command that doesn't exist, and which ones do.
    Unknown {
        command: String,
        known: &'static str,
    },
}

impl Request {
    /// What came to the heartbeat subject.
    pub(super) fn heartbeat(_: HostId, _: &Message) -> Option<Request> {
        Some(Request::Heartbeat)
    }

    /// What came to any of upstream's commands; heartbeats have a loop of their own.
    pub(super) fn command(host: HostId, message: &Message) -> Option<Request> {
        let known = "heartbeat, workload.start, workload.status and workload.stop";
        match last_part(&message.subject, &subjects::command(host, "")) {
            subjects::HEARTBEAT => None,
            subjects::START => Some(Request::Workload(Question::Start)),
            subjects::STATUS => Some(Request::Workload(Question::Status)),
            subjects::STOP => Some(Request::Workload(Question::Stop)),
            command => Some(Request::Unknown { command: shorten(command, MAX_ID_BYTES), known }),
        }
    }

    /// What came to any of Berth's commands; sync has a loop of its own.
    pub(super) fn extension(host: HostId, message: &Message) -> Option<Request> {
        match last_part(&message.subject, &subjects::extension(host, "")) {
            subjects::SYNC => None,
            subjects::DRAIN => Some(Request::Drain),
            command => Some(Request::Unknown { command: shorten(command, MAX_ID_BYTES), known: "sync and drain" }),
        }
    }

    /// The lane it goes through.
    pub(super) fn lane<'a>(&self, lanes: &'a Lanes) -> &'a Lane {
        match self {
            Request::Heartbeat => &lanes.heartbeat,
            Request::Workload(Question::Start) => &lanes.start,
            Request::Workload(Question::Status) => &lanes.status,
            Request::Workload(Question::Stop) => &lanes.stop,
            Request::Drain | Request::Unknown { .. } => &lanes.other,
        }
    }
}

fn last_part<'a>(subject: &'a str, prefix: &str) -> &'a str {
    subject.strip_prefix(prefix).unwrap_or(subject)
}

/// Does what is asked for and replies.
pub(super) async fn run(server: Arc<Server>, request: Request, ticket: Ticket, message: Message) {
    let reply = match &request {
        Request::Heartbeat => match ticket.run(server.heartbeat()).await {
            Ok(heartbeat) => pretty(&heartbeat_to_wire(&heartbeat)),
            Err(cut) => refuse(&request, &message.payload, &describe(&cut)),
        },
        Request::Workload(question) => wrap(*question, ask(&server, *question, ticket, &message.payload).await),
        Request::Drain => compact(&drain(&server, ticket, &message.payload).await),
        Request::Unknown { command, known } => {
            let why = format!("there is no command `{command}`: this host knows {known}");
            refuse(&request, &message.payload, &why)
        }
    };
    server.reply(message.reply, reply).await;
}

/// A reply that says why there is none.
pub(super) fn refuse(request: &Request, payload: &[u8], why: &str) -> Bytes {
    match request {
        Request::Drain => compact(&ext::DrainResponse { error: why.to_owned() }),
        Request::Workload(question) => wrap(*question, refusal(id_in(payload), why)),
        // A heartbeat has no room for an error, and an empty one would be believed: better what can't be read as one.
        Request::Heartbeat | Request::Unknown { .. } => wrap(Question::Status, refusal(id_in(payload), why)),
    }
}

fn refusal(id: String, why: &str) -> pb::WorkloadStatus {
    reported(&id, WorkloadState::Error, shorten(why, MAX_MESSAGE_BYTES))
}

fn wrap(question: Question, status: pb::WorkloadStatus) -> Bytes {
    let workload_status = Some(status);
    match question {
        Question::Start => pretty(&pb::WorkloadStartResponse { workload_status }),
        Question::Status => pretty(&pb::WorkloadStatusResponse { workload_status }),
        Question::Stop => pretty(&pb::WorkloadStopResponse { workload_status }),
    }
}

async fn ask(server: &Server, question: Question, ticket: Ticket, payload: &Bytes) -> pb::WorkloadStatus {
    let (id, result) = match question {
        Question::Start => match read_start(payload) {
            Ok((id, workload)) => (id.clone(), ticket.run(server.handler.start(id, workload)).await),
            Err(refusal) => return refusal,
        },
        Question::Status => match read_id::<pb::WorkloadStatusRequest>("WorkloadStatusRequest", payload, |r| r.workload_id) {
            Ok(id) => (id.clone(), ticket.run(server.handler.status(&id)).await),
            Err(refusal) => return refusal,
        },
        Question::Stop => match read_id::<pb::WorkloadStopRequest>("WorkloadStopRequest", payload, |r| r.workload_id) {
            Ok(id) => (id.clone(), ticket.run(server.handler.stop(&id)).await),
            Err(refusal) => return refusal,
        },
    };
    answer(question, &id, result)
}

fn answer(question: Question, id: &WorkloadId, result: Result<Report, Cut>) -> pb::WorkloadStatus {
    match result {
        Ok(report) => answer_of(question, &report),
        Err(cut) => refusal(id.to_string(), &describe(&cut)),
    }
}

fn read_start(payload: &Bytes) -> Result<(WorkloadId, Workload), pb::WorkloadStatus> {
    let message = "WorkloadStartRequest";
    let refuse = |error: &dyn std::error::Error| refusal(id_in(payload), &describe(error));
    let request: pb::WorkloadStartRequest = decode(message, payload).map_err(|error| refuse(&error))?;
    let id = request.workload_id.parse().map_err(|error| refuse(&error))?;
    let workload = workload_from_wire("workload", request.workload).map_err(|source| refuse(&DecodeError::Values { message, source }))?;
    Ok((id, workload))
}

/// The id that a question is about. One that no workload can have isn't found.
fn read_id<T: serde::de::DeserializeOwned>(
    message: &'static str,
    payload: &Bytes,
    id: impl FnOnce(T) -> String,
) -> Result<WorkloadId, pb::WorkloadStatus> {
    let request: T = decode(message, payload).map_err(|error| refusal(id_in(payload), &describe(&error)))?;
    let id = id(request);
    if id.is_empty() {
        return Err(refusal(id, &format!("{message}: workloadId is missing")));
    }
    id.parse().map_err(|error| {
        let id = shorten(&id, MAX_ID_BYTES);
        reported(&id, WorkloadState::NotFound, format!("Workload not found: {error}"))
    })
}

async fn drain(server: &Server, ticket: Ticket, payload: &Bytes) -> ext::DrainResponse {
    let error = match decode::<ext::DrainRequest>("DrainRequest", payload) {
        Ok(request) => match ticket.run(server.handler.drain(request.on)).await {
            Ok(()) => String::new(),
            Err(cut) => describe(&cut),
        },
        Err(error) => describe(&error),
    };
    ext::DrainResponse { error }
}

/// The workload id in a request that can't be read as a whole, so that even its refusal can be told apart.
fn id_in(payload: &[u8]) -> String {
    let value: serde_json::Value = serde_json::from_slice(payload).unwrap_or_default();
    let id = value.get("workloadId").or_else(|| value.get("workload_id")).and_then(serde_json::Value::as_str);
    shorten(id.unwrap_or_default(), MAX_ID_BYTES)
}
