//! Single steps for hosts that don't understand whole sets: start, status and stop, as the upstream protocol has them.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use berth_control::{CallError, HostClient, Report, WorkloadState};
use berth_model::id::WorkloadId;
use berth_model::workload::Workload;
use futures::StreamExt;
use tokio::task::JoinSet;

use crate::plan::HostWants;

/// Calls to one host at a time.
const AT_ONCE: usize = 16;

/// What one host was told to start.
#[derive(Default)]
pub(super) struct Steps {
    running: HashMap<WorkloadId, Arc<Workload>>,
    /// Starts on their way; each answers when the workload runs or has failed.
    starting: HashMap<WorkloadId, Arc<Workload>>,
    tasks: JoinSet<(WorkloadId, Result<Report, CallError>)>,
    /// Starts that ended, and weren't looked at yet.
    ended: Vec<(WorkloadId, Result<Report, CallError>)>,
    /// Starts that failed, until the operator takes them back.
    failed: HashMap<WorkloadId, (Arc<Workload>, Report)>,
}

impl Steps {
    /// Waits until a start ends. Cancel safe.
    pub(super) async fn progress(&mut self) {
        match self.tasks.join_next().await {
            Some(Ok(ended)) => self.ended.push(ended),
            // A start that panicked is forgotten with its task, and made again.
            Some(Err(_)) => self.starting.clear(),
            None => std::future::pending().await,
        }
    }

    /// Takes the next steps towards `to`, and tells where every workload stands.
    pub(super) async fn take(&mut self, client: &HostClient, to: &HostWants) -> Result<Vec<Report>, CallError> {
        self.settle_starts();
        let mut reports = self.stop(client, to).await?;
        self.start(client, to);
        reports.extend(self.starting.keys().map(|id| Report { ready: false, ..Report::new(id.clone(), WorkloadState::Starting) }));
        reports.extend(self.failed.values().map(|(_, report)| report.clone()));
        reports.extend(self.ask(client, to).await?);
        Ok(reports)
    }

    fn settle_starts(&mut self) {
        while let Some(Ok(ended)) = self.tasks.try_join_next() {
            self.ended.push(ended);
        }
        for (id, result) in std::mem::take(&mut self.ended) {
            let Some(workload) = self.starting.remove(&id) else { continue };
            match result {
                // It runs from before this operator's time, or from a start whose answer got lost.
                Ok(report) if report.state != WorkloadState::Error || report.is_already_exists() => {
                    self.running.insert(id, workload);
                }
                Ok(report) => {
                    self.failed.insert(id, (workload, report));
                }
                // Whether it runs shows when it is started again.
                Err(error) => tracing::debug!(error = crate::describe(&error), "a start had no answer"),
            }
        }
    }

    /// Stops what isn't wanted, or not as it is. Reports what hasn't stopped yet.
    async fn stop(&mut self, client: &HostClient, to: &HostWants) -> Result<Vec<Report>, CallError> {
        let is_wanted = |id: &WorkloadId, is: &Arc<Workload>| to.get(id).is_some_and(|want| *want.workload == **is);
        self.failed.retain(|id, (workload, _)| is_wanted(id, workload));
        let mut unwanted: HashSet<WorkloadId> =
            self.running.iter().filter(|(id, is)| !is_wanted(id, is) && !to.held.contains(id)).map(|(id, _)| id.clone()).collect();
        unwanted.extend(to.stop.iter().filter(|id| !self.starting.contains_key(*id)).cloned());
        let calls = unwanted.into_iter().map(|id| async move { (client.stop(&id).await, id) });
        let results: Vec<_> = futures::stream::iter(calls).buffer_unordered(AT_ONCE).collect().await;
        let mut left = Vec::new();
        for (result, id) in results {
            match result?.state {
                // Stopping means that the id is free.
                WorkloadState::Stopping | WorkloadState::NotFound | WorkloadState::Completed => {
                    self.running.remove(&id);
                }
                _ => left.push(Report { ready: false, ..Report::new(id, WorkloadState::Stopping) }),
            }
        }
        Ok(left)
    }

    fn start(&mut self, client: &HostClient, to: &HostWants) {
        for want in &to.run {
            let known = self.running.contains_key(&want.id) || self.starting.contains_key(&want.id) || self.failed.contains_key(&want.id);
            if known || self.starting.len() >= AT_ONCE {
                continue;
            }
            let (client, id, workload) = (client.clone(), want.id.clone(), want.workload.clone());
            self.starting.insert(id.clone(), workload.clone());
            self.tasks.spawn(async move {
                let result = client.start(&id, &workload).await;
                (id, result)
            });
        }
    }

    /// Asks where everything stands that should run.
    async fn ask(&mut self, client: &HostClient, to: &HostWants) -> Result<Vec<Report>, CallError> {
        let ids: Vec<_> = self.running.keys().chain(&to.held).cloned().collect();
        let calls = ids.into_iter().map(|id| async move { client.status(&id).await });
        let results: Vec<_> = futures::stream::iter(calls).buffer_unordered(AT_ONCE).collect().await;
        let mut reports = Vec::new();
        for result in results {
            let report = result?;
            if report.state == WorkloadState::NotFound {
                self.running.remove(&report.id);
            } else {
                reports.push(report);
            }
        }
        Ok(reports)
    }
}
