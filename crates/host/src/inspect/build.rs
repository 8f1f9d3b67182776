//! The inspected workload, from what was read, the plan and the host's rules: a pure function.

use std::collections::{BTreeSet, HashSet};

use berth_link::{LinkError, LinkPlan, Role, Way, carries_authority};
use berth_model::interface::InterfaceName;
use berth_model::limits::Effective;
use berth_model::workload::Workload;

use super::read::{Known, Planned, Seen};
use super::{Door, Inspected, InspectedComponent, InspectedImport, InspectedLink, InspectedUnit, Problem, Provider, denied, granted};
use crate::bridge::names;
use crate::config::{HostConfig, NetworkConfig};
use crate::engine;
use crate::prepare::{self, PrepareError};
use crate::volumes::{Refused, VolumeError};

/// What a host gives and refuses, of its settings.
#[derive(Clone, Debug)]
pub(super) struct Rules {
    pub(super) wasi_p3: bool,
    pub(super) largest_table: u32,
    pub(super) limits: Effective,
    pub(super) network: NetworkConfig,
}

impl Rules {
    pub(super) fn of(config: &HostConfig) -> Rules {
        Rules {
            wasi_p3: config.wasi_p3 && cfg!(feature = "wasi-p3"),
            largest_table: engine::largest_table(config),
            limits: config.limits,
            network: config.network.clone(),
        }
    }
}

/// What `seen` comes to. `refused` are the workload's volumes that the host wouldn't open.
pub(super) fn build(workload: &Workload, seen: &[Seen], planned: Planned, refused: Vec<Refused>, rules: &Rules) -> Inspected {
    let Planned { plan, errors } = planned;
    let mut problems: Vec<Problem> = seen.iter().filter_map(|part| part.known.as_ref().err()).flat_map(problems_of).collect();
    problems.extend(errors.iter().flat_map(problems_of));
    problems.extend(own_faults(workload, seen, plan.as_ref(), rules).iter().flat_map(problems_of));
    let forbidden = forbidden(&refused);
    problems.extend(refused.into_iter().flat_map(|(volume, source)| problems_of(&PrepareError::Volume { volume, source })));
    let callable = seen.iter().filter(|part| answers_http(part)).map(|part| format!("http://{}.{}", part.spec.name, names::DOMAIN));
    let whole = Whole { workload, seen, plan: plan.as_ref(), unmet: unmet(&errors), forbidden, callable: callable.collect(), rules };
    Inspected {
        problems,
        http: workload.http.as_ref().map(|http| Door {
            domains: http.domains.iter().map(ToString::to_string).collect(),
            entry: plan.as_ref().and_then(|plan| entry(seen, plan)),
        }),
        components: (0..seen.len()).map(|place| whole.component(place)).collect(),
        links: plan.iter().flat_map(|plan| links(seen, plan)).collect(),
        units: plan.iter().flat_map(|plan| units(seen, plan)).collect(),
    }
}

/// One problem for each thing that is wrong.
fn problems_of(error: &PrepareError) -> Vec<Problem> {
    let one = |error: &LinkError| Problem { reason: error.reason().to_owned(), message: error.to_string() };
    match error {
        PrepareError::Linking(error) => match &**error {
            LinkError::Several(all) => all.iter().map(one).collect(),
            error => vec![one(error)],
        },
        error => vec![Problem { reason: error.reason().to_owned(), message: error.to_string() }],
    }
}

/// Imports that nobody provides, with whose they are, as far as planning told of them.
fn unmet(errors: &[PrepareError]) -> HashSet<(String, String)> {
    let mut unmet = HashSet::new();
    for error in errors {
        let PrepareError::Linking(error) = error else { continue };
        let all = if let LinkError::Several(all) = &**error { all.as_slice() } else { std::slice::from_ref(&**error) };
        for error in all {
            if let LinkError::Missing(missing) = error {
                unmet.insert((missing.component.clone(), missing.import.clone()));
            }
        }
    }
    unmet
}

/// Volumes that are folders which the host's owner doesn't allow, by name.
fn forbidden(refused: &[Refused]) -> BTreeSet<String> {
    let forbidden = refused.iter().filter(|(_, error)| matches!(error, VolumeError::NotAllowed { .. }));
    forbidden.map(|(volume, _)| volume.clone()).collect()
}

/// What a host would find while it prepares the parts, without compiling them.
fn own_faults(workload: &Workload, seen: &[Seen], plan: Option<&LinkPlan>, rules: &Rules) -> Vec<PrepareError> {
    let mut faults = Vec::new();
    let known = |part: &'_ Seen| part.known.as_ref().ok().map(|known| known.outline.clone());
    for (part, outline) in seen.iter().filter_map(|part| Some((part, known(part)?))) {
        let component = part.spec.name.clone();
        if outline.uses_p3() && !rules.wasi_p3 {
            let import = outline.imports.iter().chain(&outline.exports).find(|name| name.contains("@0.3")).cloned().unwrap_or_default();
            faults.push(PrepareError::P3Off { component: component.clone(), import });
        }
        if outline.largest_table > u64::from(rules.largest_table) {
            let (elements, largest) = (outline.largest_table, rules.largest_table);
            faults.push(PrepareError::TableTooLarge { component, elements, largest });
        }
        if part.role == Role::Service && outline.run().is_none() {
            faults.push(PrepareError::NoRunExport(outline.exports));
        }
    }
    // One alone has a plan that says nothing of these.
    if let ([only], Some(_)) = (seen, plan)
        && only.spec.links.is_empty()
        && let Some(outline) = known(only)
    {
        let imports = prepare::missing(&outline);
        if !imports.is_empty() {
            faults.push(PrepareError::MissingImport { component: only.spec.name.clone(), imports });
        }
        let named = workload.http.as_ref().and_then(|http| http.component.clone());
        match (&workload.http, named) {
            (Some(_), Some(named)) if named != only.spec.name || !answers_http(only) => faults.push(PrepareError::NoSuchEntry(named)),
            (Some(_), None) if !answers_http(only) => {
                let expected = "a workload with the wasi:http host interface needs one that exports";
                faults.push(PrepareError::NoHttpExport { expected, found: vec![(only.spec.name.clone(), outline.exports)] });
            }
            _ => {}
        }
    }
    faults
}

fn answers_http(part: &Seen) -> bool {
    part.role == Role::Component && part.known.as_ref().is_ok_and(|known| known.outline.http().is_some())
}

/// The component that answers; of one alone that is known without a plan.
fn entry(seen: &[Seen], plan: &LinkPlan) -> Option<String> {
    let part = match seen {
        [only] if answers_http(only) => only,
        _ => &seen[plan.entry?],
    };
    Some(part.spec.name.clone())
}

fn links<'a>(seen: &'a [Seen], plan: &'a LinkPlan) -> impl Iterator<Item = InspectedLink> + 'a {
    plan.links.iter().map(|link| InspectedLink {
        importer: seen[link.importer].spec.name.clone(),
        import: link.import.clone(),
        exporter: seen[link.exporter].spec.name.clone(),
        export: link.export.clone(),
        way: link.way.word().to_owned(),
        why: link.way.why().to_owned(),
    })
}

fn units<'a>(seen: &'a [Seen], plan: &'a LinkPlan) -> impl Iterator<Item = InspectedUnit> + 'a {
    plan.units.iter().map(|unit| InspectedUnit {
        root: seen[unit.root].spec.name.clone(),
        with: unit.members.iter().filter(|part| **part != unit.root).map(|part| seen[*part].spec.name.clone()).collect(),
    })
}

/// What a component is seen with.
struct Whole<'a> {
    workload: &'a Workload,
    seen: &'a [Seen],
    plan: Option<&'a LinkPlan>,
    /// Imports that nobody provides, with whose they are.
    unmet: HashSet<(String, String)>,
    /// Volumes that the host's owner doesn't allow.
    forbidden: BTreeSet<String>,
    /// Where components may be called over HTTP.
    callable: Vec<String>,
    rules: &'a Rules,
}

impl Whole<'_> {
    fn component(&self, place: usize) -> InspectedComponent {
        let part = &self.seen[place];
        let (spec, known) = (&part.spec, part.known.as_ref().ok());
        let imports = known.iter().flat_map(|known| &known.outline.imports);
        let imports: Vec<InspectedImport> = imports.map(|import| self.import(place, import)).collect();
        let of_host = || imports.iter().filter(|import| import.from == Provider::Host).map(|import| import.name.as_str());
        let exports = known.map(|known| known.outline.exports.clone()).unwrap_or_default();
        let mut denied = denied::denied(of_host(), &spec.resources, &self.rules.network);
        let mut granted = granted::granted(&spec.resources, &self.workload.volumes, &self.rules.limits);
        denied.extend(denied::forbidden(&mut granted.volumes, &self.forbidden));
        InspectedComponent {
            name: spec.name.clone(),
            role: part.role.word().to_owned(),
            image: spec.image.to_string(),
            digest: part.artifact.as_ref().map(|artifact| artifact.digest.to_string()),
            bytes: part.artifact.as_ref().map_or(0, |artifact| artifact.bytes.len() as u64),
            wasi: known.map(wasi).unwrap_or_default(),
            answers_http: exports.iter().find(|export| part.role == Role::Component && is_handler(export)).cloned(),
            runs: exports.iter().find(|export| is(export, "cli", &["run"])).cloned(),
            calls: if of_host().any(is_sending) { self.callable.clone() } else { Vec::new() },
            denied,
            granted,
            exports,
            imports,
        }
    }

    fn import(&self, place: usize, import: &str) -> InspectedImport {
        let spec = &self.seen[place].spec;
        let link = self.plan.and_then(|plan| plan.link(place, import));
        let from = match (self.plan, link) {
            (_, Some(_)) => Provider::Component,
            _ if self.unmet.contains(&(spec.name.clone(), import.to_owned())) => Provider::Nobody,
            _ if prepare::provided(import) => Provider::Host,
            (None, None) => Provider::Undecided,
            // A component alone has no sibling to ask.
            (Some(_), None) if self.seen.len() == 1 && spec.links.is_empty() => Provider::Nobody,
            (Some(_), None) => Provider::Types,
        };
        // The host carries bridged calls for the importer alone; what is fused is the same for all.
        let own = (from == Provider::Host && carries_authority(import)) || link.is_some_and(|link| link.way == Way::Bridged);
        let component = link.map(|link| self.seen[link.exporter].spec.name.clone());
        InspectedImport { name: import.to_owned(), from, component, own }
    }
}

/// Versions of WASI that it speaks.
fn wasi(known: &Known) -> Vec<String> {
    let names = known.outline.imports.iter().chain(&known.outline.exports);
    let versions = names.filter_map(|name| name.parse::<InterfaceName>().ok()).filter(|name| name.namespace == "wasi");
    let versions = versions.filter_map(|name| name.version).filter(|version| version.major == 0 && matches!(version.minor, 2 | 3));
    let mut found: BTreeSet<String> = versions.map(|version| format!("{}.{}", version.major, version.minor)).collect();
    // Async functions, streams and futures came with 0.3.
    found.extend(known.outline.uses_async.then(|| "0.3".to_owned()));
    found.into_iter().collect()
}

fn is(name: &str, package: &str, interfaces: &[&str]) -> bool {
    name.parse().is_ok_and(|name: InterfaceName| {
        name.namespace == "wasi" && name.package == package && interfaces.contains(&name.interface.as_str())
    })
}

fn is_handler(export: &str) -> bool {
    is(export, "http", &["incoming-handler", "handler"])
}

fn is_sending(import: &str) -> bool {
    is(import, "http", &["outgoing-handler", "client"])
}
