//! From components to units: fetching them, planning who gets what from whom, and composing those that run together (D4).
//!
//! `berth-link` decides; here is where bytes come from and where the work is done: reading and composing large components takes as long
//! as many requests, and happens on the compiler's threads.

use std::sync::Arc;

use berth_link::{LinkPlan, Part, Role, Unit, World};
use berth_model::digest::Digest;
use berth_model::workload::{self, Workload};
use berth_oci::Artifact;
use bytes::Bytes;

use super::{PrepareError, Preparer, known, provided};
use crate::compile::{self, Recipe};
use crate::intake::check_header;
use crate::volumes::Mount;

/// A component of a workload, or its service, with its bytes.
pub(super) struct Fetched {
    pub(super) spec: workload::Component,
    pub(super) role: Role,
    pub(super) artifact: Artifact,
    /// The volumes that it sees, once they are opened.
    pub(super) mounts: Arc<[Mount]>,
}

/// The plan of a component that is all there is.
pub(crate) fn alone() -> LinkPlan {
    LinkPlan { units: vec![Unit { root: 0, members: vec![0] }], links: Vec::new(), entry: None }
}

/// Who is linked to whom: a pure function of the parts' types and of what the workload says.
pub(crate) fn decide(workload: &Workload, parts: &[Part<'_>]) -> Result<LinkPlan, PrepareError> {
    let entry = workload.http.as_ref().and_then(|http| http.component.as_deref());
    berth_link::plan(parts, entry, workload.http.is_some(), &provided).map_err(|error| PrepareError::Linking(Box::new(error)))
}

/// What is compiled for one unit.
pub(super) struct Binary {
    /// What stands for it: its own digest, or what it is composed of.
    pub(super) digest: Digest,
    pub(super) recipe: Recipe,
}

impl Preparer {
    pub(super) async fn fetch(&self, spec: workload::Component, role: Role) -> Result<Fetched, PrepareError> {
        match self.source.fetch(&spec.image, spec.pull_policy, spec.pull_credentials.as_ref()).await {
            Ok(artifact) => Ok(Fetched { spec, role, artifact, mounts: Arc::default() }),
            Err(source) => Err(PrepareError::Fetch { component: spec.name, source }),
        }
    }

    /// Who is linked to whom. A component alone needs no plan: what it lacks is found when it is compiled.
    pub(super) async fn plan(&self, workload: &Workload, fetched: &[Fetched]) -> Result<Arc<LinkPlan>, PrepareError> {
        if let [only] = fetched
            && only.spec.links.is_empty()
        {
            return Ok(Arc::new(alone()));
        }
        let key = known::key(workload, fetched);
        if let Some(plan) = self.known_plan(&key).await {
            return Ok(plan);
        }
        self.shared.metrics.code.planned.inc();
        let mut worlds = Vec::with_capacity(fetched.len());
        for part in fetched {
            worlds.push(self.world(part).await?);
        }
        let parts: Vec<Part<'_>> = fetched
            .iter()
            .zip(&worlds)
            .map(|(part, world)| Part { name: &part.spec.name, world, links: &part.spec.links, role: part.role })
            .collect();
        let plan = Arc::new(decide(workload, &parts)?);
        self.remember_plan(key, &plan);
        Ok(plan)
    }

    /// The types of a component.
    async fn world(&self, part: &Fetched) -> Result<Arc<World>, PrepareError> {
        let Artifact { digest, bytes, .. } = &part.artifact;
        if let Some(world) = self.known.world(digest) {
            return Ok(world);
        }
        let bytes = bytes.clone();
        let read = self.compiler.run(move || check_header(&bytes).map(|()| World::read(&bytes))).await;
        let read = read.map_err(|error| PrepareError::of_compile(error, &part.spec))?;
        let intake = |source| PrepareError::Intake { component: part.spec.name.clone(), image: part.spec.image.to_string(), source };
        let world = read.map_err(intake)?;
        let world = world.map_err(|source| PrepareError::Unreadable { component: part.spec.name.clone(), source })?;
        let world = Arc::new(world);
        self.known.remember_world(digest.clone(), &world);
        Ok(world)
    }
}

/// What is compiled for `unit`: the component as it is, or one made of all its members.
pub(super) fn binary(plan: &Arc<LinkPlan>, unit: &Unit, fetched: &[Fetched]) -> Binary {
    if unit.members.len() == 1 {
        let Artifact { digest, bytes, .. } = &fetched[unit.root].artifact;
        return Binary { digest: digest.clone(), recipe: bytes.clone().into() };
    }
    let digests: Vec<Digest> = fetched.iter().map(|part| part.artifact.digest.clone()).collect();
    let parts: Vec<Bytes> = fetched.iter().map(|part| part.artifact.bytes.clone()).collect();
    let digest = berth_link::identity(plan, unit, &digests);
    Binary { digest, recipe: Recipe::Composed(Arc::new(compile::Unit { plan: plan.clone(), unit: unit.clone(), parts })) }
}
