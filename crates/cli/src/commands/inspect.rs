//! `berth inspect`: of files without a running berth, or of an object that is applied.

mod subject;

use berth_node::api::Client;
use berth_node::inspect::{self, Images, InspectError, Inspection};
use berth_node::intake::{self, Input};
use berth_node::model::resource::Kind;
use serde::Serialize;

use super::apply::{skip_line, warning_line};
use super::{note, usage, warn};
use crate::args::Inspect;
use crate::args::values::ValuesFormat;
use crate::config::{self, Common};
use crate::exit::{Exit, Failure};
use crate::output::{Output, inspection};
use subject::Subject;

/// Kinds that a name without one may be of, the one that people write first.
const KINDS: [Kind; 3] = [Kind::WorkloadDeployment, Kind::WorkloadReplicaSet, Kind::Workload];

/// All that was inspected: of a file there may be several.
#[derive(Serialize)]
struct Inspections<'a> {
    workloads: &'a [Inspection],
}

pub(super) async fn run(args: &Inspect, up: config::Up, common: &Common, out: &mut Output) -> Result<Exit, Failure> {
    let subject = subject::subject(&args.subject, args.name.as_deref(), &|path| path.exists()).map_err(usage)?;
    let inspections = match subject {
        Subject::Path(path) => of_files(Input::Path(path), up, common).await?,
        Subject::Object(kind, name) => vec![of_object(kind, &name, args, common).await?],
    };
    match args.output {
        ValuesFormat::Json => out.json(&Inspections { workloads: &inspections })?,
        ValuesFormat::Yaml => out.yaml(&Inspections { workloads: &inspections })?,
        ValuesFormat::Text => {
            for (place, inspected) in inspections.iter().enumerate() {
                if place > 0 {
                    out.line("")?;
                }
                let text = inspection(inspected, &|tone, text| out.paint(tone, text));
                out.text(&text)?;
            }
        }
    }
    let good = inspections.iter().all(|inspection| inspection.inspected.problems.is_empty());
    if good { Ok(Exit::Ok) } else { Err(Failure::told(Exit::Failure)) }
}

async fn of_files(input: Input, up: config::Up, common: &Common) -> Result<Vec<Inspection>, Failure> {
    let intake = intake::read(&[input], &mut std::io::stdin())?;
    intake.skipped.iter().for_each(|object| note(&skip_line(object)));
    intake.warnings.iter().for_each(|warning| warn(&warning_line(warning)));
    let images = Images { caches: common.caches.clone(), registries: up.local.registries };
    let inspections = inspect::files(intake, &up.local.host, images).await?;
    if inspections.iter().flat_map(|inspection| &inspection.inspected.problems).any(|problem| problem.reason == "VolumeNotAllowed") {
        note(
            "which folders hostPath volumes may be in is taken from BERTH_VOLUME_ROOT or the configuration file here; `berth inspect NAME` asks the running berth, which may have been started with --volume-root",
        );
    }
    if inspections.is_empty() {
        return Err(Failure::new(Exit::Refused, "there is no deployment, replica set or workload in it to inspect"));
    }
    Ok(inspections)
}

async fn of_object(kind: Option<Kind>, name: &str, args: &Inspect, common: &Common) -> Result<Inspection, Failure> {
    let client = Client::new(&common.data_dir)?;
    let namespace = args.namespaced.namespace.as_str();
    if let Some(kind) = kind {
        return Ok(client.inspect(kind, namespace, name).await?);
    }
    for kind in KINDS {
        match client.inspect(kind, namespace, name).await {
            Err(error) if error.is_not_found() => {}
            // Who meant a file hears so first.
            Err(error) if error.is_unreachable() => {
                let failure = Failure::from(error);
                return Err(Failure { message: format!("there is no file `{name}` here, and {}", failure.message), ..failure });
            }
            inspected => return Ok(inspected?),
        }
    }
    let message =
        format!("there is neither a file `{name}` here, nor a deployment, replica set or workload {name} in namespace {namespace}");
    Err(Failure::new(Exit::NotFound, message))
}

impl From<InspectError> for Failure {
    fn from(error: InspectError) -> Failure {
        let exit = if let InspectError::NoCache = error { Exit::Usage } else { Exit::Failure };
        Failure::new(exit, berth_node::chain(&error))
    }
}
