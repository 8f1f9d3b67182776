//! How workloads end: out of the routes first, then their requests finish, then their service, and what runs past its grace period is
//! cut (L08, L34).

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use berth_model::id::WorkloadId;

use super::Supervisor;
use super::item::{Item, Serving};
use crate::prepare::HttpWorkload;
use crate::routes::Routes;
use crate::status::State;

/// How long tasks may take to end once their requests are cut.
const CUT_GRACE: Duration = Duration::from_secs(1);

/// A workload that stops. Its requests are drained once the routes without it are published, no sooner: else routes would still lead
/// to a workload that refuses.
#[must_use]
pub(super) struct Leaving {
    id: WorkloadId,
    born: u64,
    form: Option<Serving>,
}

impl Supervisor {
    /// Takes one workload's form away; [`Supervisor::leave`] must follow before the lock is given back. None: it stops already.
    pub(super) fn begin_stop(&self, items: &mut HashMap<WorkloadId, Item>, id: &WorkloadId) -> Option<Leaving> {
        let item = items.get_mut(id).filter(|item| item.state != State::Stopping)?;
        let form = item.stop(self.serial());
        Some(Leaving { id: id.clone(), born: item.born, form })
    }

    /// Publishes routes without those that stop, then drains them.
    pub(super) fn leave(self: &Arc<Self>, items: &mut HashMap<WorkloadId, Item>, leaving: Vec<Leaving>) {
        if leaving.is_empty() {
            return;
        }
        self.publish(items);
        for Leaving { id, born, form } in leaving {
            let me = self.clone();
            self.tasks.spawn_on(
                async move {
                    if let Some(form) = form {
                        me.ended(&form).await;
                    }
                    me.left(&id, born);
                },
                &self.runtime,
            );
        }
    }

    /// Lets the requests of a replaced form finish, then its service.
    pub(super) fn drain(self: &Arc<Self>, replaced: Serving) {
        if replaced.http().is_some() || replaced.service().is_some() {
            let me = self.clone();
            self.tasks.spawn_on(async move { me.ended(&replaced).await }, &self.runtime);
        }
    }

    /// Ends what serves: the service outlives the requests, which may need it.
    async fn ended(&self, form: &Serving) {
        if let Some(http) = form.http() {
            self.drained(http).await;
        }
        if let Some(service) = form.service() {
            let by_itself = service.stop(self.preparer.config.services.grace, &self.hurry).await;
            tracing::debug!(by_itself, "service stopped");
        }
    }

    /// Waits for requests to finish, as long as the grace period; then none comes in, and what still runs is cut.
    async fn drained(&self, http: &HttpWorkload) {
        let grace = self.preparer.config.drain_grace;
        // A component that was called may work on when the request that it was called for is done.
        let all = async { http.admission.drained(grace).await && tokio::time::timeout(grace, http.siblings.calls.idle()).await.is_ok() };
        let ended = tokio::select! {
            ended = all => ended,
            () = self.hurry.cancelled() => false,
        };
        http.admission.close();
        if !ended {
            http.entry.cut.cancel();
            let component = &http.entry.component;
            tracing::warn!(
                namespace = &*component.namespace,
                workload = &*component.workload,
                "requests were still running when the workload's grace period ended, and were cut"
            );
        }
    }

    /// Forgets a workload that has stopped, and starts it anew when it is wanted again.
    fn left(self: &Arc<Self>, id: &WorkloadId, born: u64) {
        let mut items = self.lock();
        let next = items.get_mut(id).filter(|item| item.born == born).and_then(|item| item.next.take());
        match next.filter(|_| !self.stop.is_cancelled()) {
            Some(next) => drop(self.begin_start(&mut items, next)),
            None => self.forget(&mut items, id, born),
        }
    }

    /// Stops all workloads, lets their requests finish for `grace` at most, cuts the rest, and waits for all tasks.
    pub(crate) async fn shutdown(self: &Arc<Self>, grace: Duration) {
        self.stop.cancel();
        {
            let mut items = self.lock();
            let ids: Vec<WorkloadId> = items.keys().cloned().collect();
            let leaving = ids.iter().filter_map(|id| self.begin_stop(&mut items, id)).collect();
            self.leave(&mut items, leaving);
        }
        self.tasks.close();
        if tokio::time::timeout(grace, self.tasks.wait()).await.is_err() {
            self.hurry.cancel();
            if tokio::time::timeout(CUT_GRACE, self.tasks.wait()).await.is_err() {
                tracing::warn!(tasks = self.tasks.len(), "tasks of workloads were still running when the host ended");
            }
        }
    }

    /// Ends everything at once: requests are cut, workloads forgotten, and all tasks end by themselves.
    pub(crate) fn kill(&self) {
        self.stop.cancel();
        self.hurry.cancel();
        let mut items = self.lock();
        self.routes.store(Arc::new(Routes::empty()));
        for (_, mut item) in items.drain() {
            if let Some(http) = item.stop(self.serial()).as_ref().and_then(Serving::http) {
                // Not cut: the guests end with the ingress's threads, without a word to clients that are cut off too.
                http.admission.close();
            }
            self.release(&item);
        }
        self.touch();
    }
}
