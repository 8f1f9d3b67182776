//! Reports to and from the wire: in full between Berth's own, as upstream's WorkloadStatus otherwise.

use berth_model::id::{InvalidId, WorkloadId};

use super::ConvertError;
use crate::report::{DomainConflict, Report, WorkloadState};
use crate::wire::{ext, pb, shorten};

/// Longest message that travels, bytes: room for a backtrace, and thousands of reports in a few messages.
pub(crate) const MAX_MESSAGE_BYTES: usize = 4096;
/// Longest reason and name that travel, bytes.
const MAX_WORD_BYTES: usize = 512;
/// Conflicts that travel.
const MAX_CONFLICTS: usize = 32;

/// What a WorkloadStatus answers. Upstream words its messages by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Question {
    Start,
    Status,
    Stop,
}

/// The answer as upstream words it, where the report has no message of its own.
pub(crate) fn answer_of(question: Question, report: &Report) -> pb::WorkloadStatus {
    let message = match (question, report.state) {
        _ if !report.message.is_empty() => shorten(&report.message, MAX_MESSAGE_BYTES),
        (_, WorkloadState::Error) if !report.reason.is_empty() => report.reason.clone(),
        (Question::Start, WorkloadState::Running) => "Workload started successfully".to_owned(),
        (Question::Stop, WorkloadState::Stopping) => "Workload stopped successfully".to_owned(),
        (Question::Stop, WorkloadState::NotFound) => "Workload not found".to_owned(),
        (_, WorkloadState::NotFound) => format!("Workload not found: {}", report.id),
        (_, state) => format!("Workload is {state}"),
    };
    reported(report.id.as_str(), report.state, message)
}

/// A WorkloadStatus of parts.
pub(crate) fn reported(id: &str, state: WorkloadState, message: String) -> pb::WorkloadStatus {
    pb::WorkloadStatus { workload_id: id.to_owned(), workload_state: state_to_wire(state).into(), message }
}

/// What a WorkloadStatus about `asked` says. An answer to what the host couldn't read has no id.
pub(crate) fn report_from_status(asked: &WorkloadId, status: Option<pb::WorkloadStatus>) -> Result<Report, ConvertError> {
    let status = status.ok_or_else(|| ConvertError::field("workloadStatus", "it is missing"))?;
    if !status.workload_id.is_empty() && status.workload_id != asked.as_str() {
        let answered = shorten(&status.workload_id, MAX_WORD_BYTES);
        return Err(ConvertError::field("workloadStatus.workloadId", format!("it is `{answered}`, but `{asked}` was asked about")));
    }
    let state = state_from_wire(status.workload_state());
    Ok(Report { message: status.message, ..Report::new(asked.clone(), state) })
}

pub(crate) fn report_to_wire(report: &Report) -> ext::Report {
    let conflict = |conflict: &DomainConflict| ext::DomainConflict {
        domain: shorten(&conflict.domain, MAX_WORD_BYTES),
        owner: shorten(&conflict.owner, MAX_WORD_BYTES),
    };
    ext::Report {
        workload_id: report.id.to_string(),
        state: state_to_wire(report.state).into(),
        reason: shorten(&report.reason, MAX_WORD_BYTES),
        message: shorten(&report.message, MAX_MESSAGE_BYTES),
        conflicts: report.conflicts.iter().take(MAX_CONFLICTS).map(conflict).collect(),
        restarts: report.restarts,
        ready: report.ready,
        took_ms: report.took_ms,
    }
}

/// Fails only for an id that isn't one.
pub(crate) fn report_from_wire(wire: ext::Report) -> Result<Report, InvalidId> {
    let state = state_from_wire(wire.state());
    let conflicts = wire.conflicts.into_iter().map(|c| DomainConflict { domain: c.domain, owner: c.owner }).collect();
    Ok(Report {
        id: wire.workload_id.parse()?,
        state,
        reason: wire.reason,
        message: wire.message,
        conflicts,
        restarts: wire.restarts,
        ready: wire.ready,
        took_ms: wire.took_ms,
    })
}

fn state_to_wire(state: WorkloadState) -> pb::WorkloadState {
    match state {
        WorkloadState::Unspecified => pb::WorkloadState::Unspecified,
        WorkloadState::Starting => pb::WorkloadState::Starting,
        WorkloadState::Running => pb::WorkloadState::Running,
        WorkloadState::Completed => pb::WorkloadState::Completed,
        WorkloadState::Stopping => pb::WorkloadState::Stopping,
        WorkloadState::Error => pb::WorkloadState::Error,
        WorkloadState::NotFound => pb::WorkloadState::NotFound,
    }
}

fn state_from_wire(state: pb::WorkloadState) -> WorkloadState {
    match state {
        pb::WorkloadState::Unspecified => WorkloadState::Unspecified,
        pb::WorkloadState::Starting => WorkloadState::Starting,
        pb::WorkloadState::Running => WorkloadState::Running,
        pb::WorkloadState::Completed => WorkloadState::Completed,
        pb::WorkloadState::Stopping => WorkloadState::Stopping,
        pb::WorkloadState::Error => WorkloadState::Error,
        pb::WorkloadState::NotFound => WorkloadState::NotFound,
    }
}
