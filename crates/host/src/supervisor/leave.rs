//! How workloads end: out of the routes first, then their requests finish, then their service, and what runs past its grace period is
//! cut (L08, L34).

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use berth_model::id::WorkloadId;

use super::Supervisor;
use super::item::{Item, Serving};
use crate::admission::Admission;
use crate::bridge::calls::Calls;
use crate::prepare::{HttpWorkload, Prepared};
use crate::routes::Routes;
use crate::service::Service;
use crate::status::State;

/// How long tasks may take to end once their requests are cut.
const CUT_GRACE: Duration = Duration::from_secs(1);

/// A workload that stops. Its requests are drained once the routes without it are published, no sooner: else routes would still lead
/// to a workload that refuses.
#[must_use]
pub(super) struct Leaving {
    id: WorkloadId,
    born: u64,
    forms: Vec<Serving>,
}

impl Supervisor {
    /// Takes one workload's forms away; [`Supervisor::leave`] must follow before the lock is given back. None: it stops already.
    pub(super) fn begin_stop(&self, items: &mut HashMap<WorkloadId, Item>, id: &WorkloadId) -> Option<Leaving> {
        let item = items.get_mut(id).filter(|item| item.state != State::Stopping)?;
        let forms = item.stop(self.serial());
        Some(Leaving { id: id.clone(), born: item.born, forms })
    }

    /// Publishes routes without those that stop, then drains them.
    pub(super) fn leave(self: &Arc<Self>, items: &mut HashMap<WorkloadId, Item>, leaving: Vec<Leaving>) {
        if leaving.is_empty() {
            return;
        }
        self.publish(items);
        for Leaving { id, born, forms } in leaving {
            let me = self.clone();
            self.tasks.spawn_on(
                async move {
                    futures::future::join_all(forms.iter().map(|form| me.ended(form))).await;
                    drop(forms);
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
            self.told(service).await;
        }
    }

    /// Tells a service to end, and waits until it is gone.
    async fn told(&self, service: &Service) {
        let by_itself = service.stop(self.preparer.config.services.grace, &self.hurry).await;
        tracing::debug!(by_itself, "service stopped");
    }

    /// Lets the service of a form end that is overtaken before it is anybody's.
    pub(super) fn dismiss(self: &Arc<Self>, form: Prepared, service: Service) {
        let me = self.clone();
        self.tasks.spawn_on(
            async move {
                me.told(&service).await;
                drop(form);
            },
            &self.runtime,
        );
    }

    /// Waits for requests to finish, as long as the grace period; then none comes in, and what still runs is cut.
    async fn drained(&self, http: &HttpWorkload) {
        let ended = tokio::select! {
            ended = finished(&http.admission, &http.siblings.calls, self.preparer.config.drain_grace) => ended,
            () = self.late.cancelled() => false,
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

    /// Stops all workloads, lets their requests finish for `grace` at most and then their services for as long as services have, cuts the
    /// rest, and waits for all tasks.
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
            self.late.cancel();
            // Enough also for a service that is told only now.
            if tokio::time::timeout(self.preparer.config.services.grace, self.tasks.wait()).await.is_ok() {
                return;
            }
            self.hurry.cancel();
            if tokio::time::timeout(CUT_GRACE, self.tasks.wait()).await.is_err() {
                tracing::warn!(tasks = self.tasks.len(), "tasks of workloads were still running when the host ended");
            }
        }
    }

    /// Ends everything at once: requests are cut, workloads forgotten, and all tasks end by themselves.
    pub(crate) fn kill(&self) {
        self.stop.cancel();
        self.late.cancel();
        self.hurry.cancel();
        let mut items = self.lock();
        self.routes.store(Arc::new(Routes::empty()));
        for (_, mut item) in items.drain() {
            // Not cut: the guests end with the ingress's threads, without a word to clients that are cut off too.
            item.stop(self.serial()).iter().filter_map(Serving::http).for_each(|http| http.admission.close());
            self.release(&item);
        }
        self.touch();
    }
}

/// Waits until no request is under way and nothing that one called works on, both within one `grace`. Says whether that came. A component
/// that was called may work on when the request that it was called for is done.
async fn finished(admission: &Admission, calls: &Calls, grace: Duration) -> bool {
    let all = async {
        admission.drained().await;
        calls.idle().await;
    };
    tokio::time::timeout(grace, all).await.is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use berth_model::limits::Effective;
    use tokio::time::Instant;

    use crate::admission::HostSlots;
    use crate::bridge::chain;
    use crate::metrics::HostMetrics;

    #[tokio::test(start_paused = true)]
    async fn l34_requests_and_what_they_called_have_one_grace_together() {
        let grace = Duration::from_secs(30);
        let (slots, metrics) = (Arc::new(HostSlots::new(8)), HostMetrics::default().workload("default", "app"));
        let admission = Admission::new(slots.clone(), &Effective::default(), metrics.clone());
        let calls = Calls::new(slots, metrics);
        let request = admission.admit().await.unwrap();
        let call = calls.admit(chain::tests::branch(), 1, Instant::now()).await;
        assert!(call.is_some());
        let begin = Instant::now();
        // The request takes most of it; what it called doesn't end.
        let most =
            async move { tokio::time::timeout(grace * 9 / 10, std::future::pending::<()>()).await.unwrap_or_else(|_| drop(request)) };
        let (ended, ()) = tokio::join!(finished(&admission, &calls, grace), most);
        assert_eq!((ended, begin.elapsed()), (false, grace));
        drop(call);
        assert!(finished(&admission, &calls, grace).await);
    }
}
