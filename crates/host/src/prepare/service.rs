//! Preparing the service: like the other components, and then there has to be a program in it, and room for one more.

use std::sync::Arc;

use berth_model::workload::{self, Workload};

use super::{Linked, PrepareError, Preparer};
use crate::copied::door::Door;
use crate::service::restart::Policy;
use crate::service::run::RunPre;
use crate::service::{NAME, Program};

/// The service as a component: what preparing one asks for.
pub(crate) fn as_component(service: &workload::Service) -> workload::Component {
    workload::Component {
        name: NAME.to_owned(),
        image: service.image.clone(),
        pull_policy: service.pull_policy,
        pull_credentials: service.pull_credentials.clone(),
        reuse: workload::Reuse::default(),
        resources: service.resources.clone(),
        links: service.links.clone(),
    }
}

impl Preparer {
    /// The service, ready to be started.
    pub(super) fn program(
        &self,
        linked: Linked,
        service: &workload::Service,
        (workload, owner): (&Workload, &str),
        door: Arc<Door>,
    ) -> Result<Program, PrepareError> {
        let Linked { inspection, runs, engine, pre, code, .. } = linked;
        let export = inspection.run().ok_or(PrepareError::NoRunExport(inspection.exports))?;
        let pre = RunPre::new(export, pre);
        let pre = pre.map_err(|error| PrepareError::Link { component: NAME.to_owned(), message: format!("{error:#}") })?;
        let services = &self.config.services;
        let room = self.services.take(owner, workload).ok_or_else(|| {
            self.shared.metrics.no_service.inc();
            PrepareError::ServiceLimit(services.most)
        })?;
        let restarts =
            Policy { most: service.max_restarts, window: services.window, first: services.first_wait, longest: services.longest_wait };
        Ok(Program { unit: runs, engine, pre, door, restarts, settle: services.settle, _room: room, _compiled: code })
    }
}
