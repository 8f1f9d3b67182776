//! Preparing the volumes: opened once for the workload, and given to the components that mount them.

use std::sync::Arc;

use berth_model::workload::Workload;

use super::units::Fetched;
use super::{PrepareError, Preparer};
use crate::metrics::WorkloadMetrics;

impl Preparer {
    /// Opens the workload's volumes and gives each component its own. They go with the last of who has them, also when preparing fails.
    pub(super) async fn mount(
        &self,
        workload: &Workload,
        fetched: &mut [Fetched],
        metrics: &Arc<WorkloadMetrics>,
    ) -> Result<(), PrepareError> {
        if workload.volumes.is_empty() {
            return Ok(());
        }
        let (opener, volumes, metrics) = (self.volumes.clone(), workload.volumes.clone(), metrics.clone());
        let wanted: Vec<_> = fetched.iter().map(|part| part.spec.resources.mounts.clone()).collect();
        let opened = tokio::task::spawn_blocking(move || opener.open(&volumes, &wanted, &metrics)).await;
        let mounts = opened.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()));
        let mounts = mounts.map_err(|(volume, source)| PrepareError::Volume { volume, source })?;
        fetched.iter_mut().zip(mounts).for_each(|(part, mounts)| part.mounts = mounts);
        Ok(())
    }
}
