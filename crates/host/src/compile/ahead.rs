//! Compiling ahead: images that workloads are about to ask for, while the rest of the process starts.

use std::sync::Arc;
use std::time::Duration;

use berth_model::image::ImageRef;
use berth_model::resource::PullPolicy;
use berth_oci::Source;

use super::{Asked, Compiler, Provides};
use crate::engine::{Engines, Tier};

/// Images that are compiled ahead, at most; the others are compiled when they are asked for.
const MOST: usize = 16;
/// How long what was compiled ahead is kept for a workload to ask for it.
const KEPT: Duration = Duration::from_secs(10);

impl Compiler {
    /// Begins to fetch and compile `images`, the first [`MOST`] of them. Only those on this machine's disk: a pull is for the workload that
    /// asks for it, with its credentials. What goes wrong is told when a workload asks.
    pub(crate) fn expect(
        &self,
        images: impl Iterator<Item = (ImageRef, Tier)>,
        source: &Arc<dyn Source>,
        engines: &Engines,
        provides: Provides,
    ) {
        let is_local = |(image, _): &(ImageRef, Tier)| matches!(image, ImageRef::File(_) | ImageRef::OciLayout { .. });
        for (image, tier) in images.filter(is_local).take(MOST) {
            let (pool, tasks, source, engines) = (self.pool.clone(), self.tasks.clone(), source.clone(), engines.handles());
            let work = async move {
                let Ok(artifact) = source.fetch(&image, PullPolicy::IfNotPresent, None).await else { return };
                let (digest, recipe) = (&artifact.digest, artifact.bytes.into());
                let compiled = pool.ask(&tasks, Asked { digest, recipe, engines, provides, tier, ahead: true }).compiling.await;
                tokio::time::sleep(KEPT).await;
                drop(compiled);
            };
            drop(self.tasks.spawn(self.over.token().clone().run_until_cancelled_owned(work)));
        }
    }
}
