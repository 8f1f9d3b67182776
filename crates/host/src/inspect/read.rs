//! From images to what is known of their components, and the plan; the way that preparing goes, without compiling.

use berth_link::{LinkPlan, Part, Role, World};
use berth_model::workload::{self, Workload};
use berth_oci::{Artifact, Source};

use crate::intake::{self, Inspection, check_header};
use crate::prepare::{PrepareError, service, units};

/// A part of a workload with its bytes, or why there are none.
pub(super) struct Fetched {
    spec: workload::Component,
    role: Role,
    artifact: Result<Artifact, PrepareError>,
}

/// A part of a workload with what its bytes say.
pub(super) struct Seen {
    pub(super) spec: workload::Component,
    pub(super) role: Role,
    pub(super) artifact: Option<Artifact>,
    pub(super) known: Result<Known, PrepareError>,
}

/// What a component's bytes say.
pub(super) struct Known {
    pub(super) outline: Inspection,
    pub(super) world: World,
}

/// What was decided: the plan, and what of it can't be composed; or why there is none.
pub(super) struct Planned {
    pub(super) plan: Option<LinkPlan>,
    pub(super) errors: Vec<PrepareError>,
}

/// All parts, with what could be had of them.
pub(super) async fn fetch(workload: &Workload, source: &dyn Source) -> Vec<Fetched> {
    let components = workload.components.iter().map(|component| (component.clone(), Role::Component));
    let service = workload.service.iter().map(|spec| (service::as_component(spec), Role::Service));
    let mut fetched = Vec::new();
    for (spec, role) in components.chain(service) {
        let artifact = source.fetch(&spec.image, spec.pull_policy, spec.pull_credentials.as_ref()).await;
        let artifact = artifact.map_err(|source| PrepareError::Fetch { component: spec.name.clone(), source });
        fetched.push(Fetched { spec, role, artifact });
    }
    fetched
}

/// Reads all parts.
pub(super) fn read(fetched: Vec<Fetched>) -> Vec<Seen> {
    let seen = |Fetched { spec, role, artifact }: Fetched| match artifact {
        Ok(artifact) => {
            let known = known(&spec, &artifact);
            Seen { spec, role, artifact: Some(artifact), known }
        }
        Err(error) => Seen { spec, role, artifact: None, known: Err(error) },
    };
    fetched.into_iter().map(seen).collect()
}

fn known(spec: &workload::Component, artifact: &Artifact) -> Result<Known, PrepareError> {
    let intake = |source| PrepareError::Intake { component: spec.name.clone(), image: spec.image.to_string(), source };
    check_header(&artifact.bytes).map_err(intake)?;
    let outline = intake::outline(&artifact.bytes).map_err(intake)?;
    let world = World::read(&artifact.bytes).map_err(|source| PrepareError::Unreadable { component: spec.name.clone(), source })?;
    Ok(Known { outline, world })
}

/// The plan, and whether what is to become one can be composed. Where a part can't be read there is none, and that part says why.
pub(super) fn plan(workload: &Workload, seen: &[Seen]) -> Planned {
    let mut parts = Vec::with_capacity(seen.len());
    for part in seen {
        let Ok(known) = &part.known else { return Planned { plan: None, errors: Vec::new() } };
        parts.push(Part { name: &part.spec.name, world: &known.world, links: &part.spec.links, role: part.role });
    }
    // As when it is prepared: one alone is linked to nobody.
    if let [only] = seen
        && only.spec.links.is_empty()
    {
        return Planned { plan: Some(units::alone()), errors: Vec::new() };
    }
    let plan = match units::decide(workload, &parts) {
        Ok(plan) => plan,
        Err(error) => return Planned { plan: None, errors: vec![error] },
    };
    let mut errors = Vec::new();
    let bytes: Vec<&[u8]> = seen.iter().map(|part| part.artifact.as_ref().map_or(&[][..], |artifact| &artifact.bytes)).collect();
    for unit in plan.units.iter().filter(|unit| unit.members.len() > 1) {
        if let Err(source) = berth_link::compose(&plan, unit, &bytes) {
            errors.push(PrepareError::of_unit(source.into(), unit, &|part| &seen[part].spec));
        }
    }
    Planned { plan: Some(plan), errors }
}
