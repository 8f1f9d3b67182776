//! Edits in place that a host couldn't make: tried again with back-off, while the previous version serves (L05).
//!
//! A host prepares again what differs from what it was told before, so each try is told as the same workload with the try's number as
//! an annotation.

use std::sync::Arc;
use std::time::Duration;

use berth_model::workload::Workload;
use jiff::Timestamp;

use super::contents::Content;
use super::index::{self, Index, Stand, WorkloadFacts};
use super::snapshot::PlanConfig;

/// Annotation of what a host is told: which try of an edit it is.
const TRY_ANNOTATION: &str = "berth.dev/try";

/// An edit that failed.
#[derive(Clone, Debug)]
pub struct Edit {
    /// What the workload was to become.
    content: Arc<Content>,
    /// Failures in a row.
    failures: u32,
    /// Whether it waits for its next try; else that was told.
    waiting: bool,
    /// When to try again, on the clock of [`super::Snapshot::uptime`].
    retry_at: Duration,
    /// The same moment on the wall clock.
    retry_time: Timestamp,
    /// Why it failed, in one CamelCase word.
    pub(super) reason: String,
    /// Why it failed, for a person.
    message: String,
    /// What the host was told last, from the second try on.
    told: Option<Arc<Workload>>,
}

impl Edit {
    /// When to plan again because of it.
    pub(super) fn due(&self) -> Option<Duration> {
        self.waiting.then_some(self.retry_at)
    }

    /// What the host is to be told instead of the content itself.
    pub(super) fn told(&self) -> Option<&Arc<Workload>> {
        self.told.as_ref()
    }

    /// What a person is to know. Fixed per try, so that waiting writes nothing.
    pub(super) fn message(&self) -> String {
        let next = match self.waiting {
            true => format!("follows at {}", self.retry_time.round(jiff::Unit::Second).unwrap_or(self.retry_time)),
            false => "is under way".to_owned(),
        };
        format!("the previous version still serves, and try {} {next}, because the new one failed: {}", self.failures + 1, self.message)
    }
}

/// How the edit to `content` stands, if it ever failed.
pub(super) fn next(index: &Index<'_>, facts: &WorkloadFacts<'_>, content: &Arc<Content>) -> Option<Edit> {
    let (snapshot, config) = (index.snapshot, &index.snapshot.config);
    let before = snapshot.memory.edits.get(&facts.id).filter(|edit| Arc::ptr_eq(&edit.content, content));
    let failed = match facts.stand {
        Stand::Reported(report) if index::edit_failed(report) => Some(report),
        Stand::Unplaced | Stand::Lost => return None,
        _ => None,
    };
    let fresh = before.is_none_or(|edit| !edit.waiting && has_answered(index, facts, edit));
    match (before, failed) {
        (_, Some(report)) if fresh => {
            let failures = before.map_or(1, |edit| edit.failures.saturating_add(1));
            let wait = back_off(config, failures);
            Some(Edit {
                content: content.clone(),
                failures,
                waiting: true,
                retry_at: snapshot.uptime + wait,
                retry_time: snapshot.now.checked_add(wait).unwrap_or(snapshot.now),
                reason: report.reason.clone(),
                message: report.message.clone(),
                told: before.and_then(|edit| edit.told.clone()),
            })
        }
        (Some(edit), Some(_)) if edit.waiting && edit.retry_at <= snapshot.uptime => {
            let mut workload = (**content.to_run()?).clone();
            workload.annotations.insert(TRY_ANNOTATION.to_owned(), (edit.failures + 1).to_string());
            Some(Edit { waiting: false, told: Some(Arc::new(workload)), ..edit.clone() })
        }
        (before, _) => before.cloned(),
    }
}

/// Whether what the host says is an answer to the latest try.
fn has_answered(index: &Index<'_>, facts: &WorkloadFacts<'_>, edit: &Edit) -> bool {
    let answer = facts.host.and_then(|host| index.hosts.get(&host)).and_then(|host| host.answer);
    let heard = answer.and_then(|answer| answer.to.get(&facts.id)).map(|want| &want.workload);
    heard.zip(edit.told.as_ref()).is_some_and(|(heard, told)| Arc::ptr_eq(heard, told))
}

/// How long to wait after so many failures in a row.
pub(super) fn back_off(config: &PlanConfig, failures: u32) -> Duration {
    config.retry_first.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(config.retry_max)
}
