//! The bounds that all workloads of a host share: how much of each is used, and how often work was turned away for want of it.
//!
//! Each has the name of its setting, in metrics as in what a client, an event or a condition says of it.

use super::Host;

/// One bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bound {
    /// The setting's name.
    pub setting: &'static str,
    /// How much is used, in the setting's unit: a number, or bytes.
    pub used: u64,
    /// How much may be.
    pub most: u64,
    /// How often work was turned away or had to wait because of it; none where nothing is, because what is over it is given up instead.
    pub reached: Option<u64>,
}

impl Host {
    /// The host's bounds, by their settings.
    pub fn bounds(&self) -> Vec<Bound> {
        let preparer = &self.supervisor.preparer;
        let (config, shared) = (&preparer.config, &preparer.shared);
        let (pool, compiles) = (preparer.engines.load(), preparer.compiler.load());
        let volumes = preparer.volumes.budget();
        let bound = |setting, used, most, reached| Bound { setting, used, most, reached };
        let mut bounds = vec![
            bound("slots", self.slots.in_use().into(), self.slots.most().into(), Some(self.slots.refused())),
            bound("instances", pool.instances, config.instances().into(), Some(self.metrics.no_instance.get())),
            bound("services", preparer.services.used() as u64, config.services.most.into(), Some(self.metrics.no_service.get())),
            bound("memory-budget", shared.memory.used_bytes(), shared.memory.most_bytes(), Some(shared.memory.refused())),
            bound("keep-resident", pool.kept_bytes, config.keep_resident_bytes(), None),
            bound(
                "guest-connections",
                shared.connections.held() as u64,
                shared.connections.most() as u64,
                Some(shared.connections.refused()),
            ),
            bound("volume-budget", volumes.taken_bytes(), volumes.most_bytes(), Some(volumes.refused())),
            bound("compile-threads", compiles.running as u64, compiles.bounds.threads as u64, None),
            bound("compile-queue", compiles.waiting as u64, compiles.bounds.queue as u64, Some(compiles.refused)),
        ];
        if let Some(ingress) = self.server.lock().expect("no panic while held").as_ref() {
            let (figures, most) = (ingress.figures(), config.ingress.limits.max_connections);
            bounds.push(bound("max-connections", figures.open, most as u64, Some(figures.refused)));
        }
        bounds
    }
}
