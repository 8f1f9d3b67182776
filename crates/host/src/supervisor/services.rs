//! Services in the life of their workloads: a form serves once its service is up, and what becomes of the service shows on it.

use std::sync::Arc;

use berth_model::id::WorkloadId;
use tokio_util::sync::CancellationToken;

use super::{Supervisor, current};
use crate::service::standing::{Phase, Standing};
use crate::service::{Program, Service};

/// Why a form's service isn't up.
pub(super) enum Down {
    /// Another form is wanted by now, or none.
    Overtaken,
    /// It failed for good: reason and message. Whoever reads logs and events was told.
    Failed(&'static str, String),
}

impl Supervisor {
    /// Starts the service of the form that `attempt` prepared, and waits until it is up, which includes that it has completed.
    ///
    /// Cancel safe: dropping the future interrupts the service.
    pub(super) async fn bring_up(
        self: &Arc<Self>,
        (id, attempt): (&WorkloadId, u64),
        program: Program,
        overtaken: &CancellationToken,
    ) -> Result<Service, Down> {
        let service = Service::start(program, self.threads.clone(), &self.tasks, &self.runtime);
        let mut standing = service.watch();
        loop {
            let now = standing.borrow_and_update().clone();
            match &now.phase {
                phase if phase.is_up() => break,
                Phase::Failed(message) => return Err(Down::Failed(now.phase.reason(), message.clone())),
                Phase::Stopped => return Err(Down::Overtaken),
                _ => self.comes_up(id, attempt, &now),
            }
            tokio::select! {
                changed = standing.changed() => if changed.is_err() { return Err(Down::Overtaken) },
                () = overtaken.cancelled() => return Err(Down::Overtaken),
            }
        }
        self.tasks.spawn_on(self.clone().attend(standing), &self.runtime);
        Ok(service)
    }

    /// Says on the workload why its service isn't up yet.
    fn comes_up(&self, id: &WorkloadId, attempt: u64, standing: &Standing) {
        if let Some(item) = current(&mut self.lock(), id, attempt) {
            item.comes_up(standing);
        }
        self.touch();
    }

    /// Tells who watches the host of each change, until the service is over.
    async fn attend(self: Arc<Self>, mut standing: tokio::sync::watch::Receiver<Standing>) {
        while !standing.borrow_and_update().phase.is_over() {
            self.touch();
            tokio::select! {
                changed = standing.changed() => if changed.is_err() { break },
                () = self.hurry.cancelled() => return,
            }
        }
        self.touch();
    }
}
