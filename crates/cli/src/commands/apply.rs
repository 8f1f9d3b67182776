//! `berth apply`.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use berth_node::api::{Change, Client, ClientError, Outcome, ResourceRef, WatchKind};
use berth_node::intake::{self, Input, Intake, Warning};
use berth_node::model::quantity::write_duration;
use berth_node::model::resource::{Kind, Resource};
use serde_json::json;

use super::{is_json, tell, warn};
use crate::args::Apply;
use crate::exit::{Exit, Failure};
use crate::output::{Output, Tone, object_name, ready, status};

pub(super) async fn run(args: &Apply, client: &Client, out: &mut Output) -> Result<Exit, Failure> {
    let Intake { resources, skipped, warnings } = intake::read(&manifests(&args.files), &mut std::io::stdin())?;
    if !is_json(args.output) {
        for object in &skipped {
            out.line(skip_line(object))?;
        }
    }
    let results = client.apply(resources).await?.results;
    if is_json(args.output) {
        let skipped: Vec<_> = skipped.iter().map(|s| json!({"apiVersion": s.api_version, "kind": s.kind, "name": s.name})).collect();
        let warned = |w: &Warning| json!({"kind": w.kind, "name": w.name, "field": w.remark.field, "message": w.remark.message});
        let warnings: Vec<_> = warnings.iter().map(warned).collect();
        out.json(&json!({"results": results, "skipped": skipped, "warnings": warnings}))?;
    } else {
        for warning in &warnings {
            warn(&warning_line(warning));
        }
        for change in &results {
            tell_change(change, out)?;
        }
    }
    let refused = results.iter().any(|change| change.outcome == Outcome::Refused);
    if args.wait {
        wait(&results, client, args.timeout, is_json(args.output), out).await?;
    }
    Ok(if refused { Exit::Refused } else { Exit::Ok })
}

/// `-f` arguments as inputs.
pub(super) fn manifests(files: &[PathBuf]) -> Vec<Input> {
    let input = |path: &PathBuf| if path == Path::new("-") { Input::Stdin } else { Input::Manifests(path.clone()) };
    files.iter().map(input).collect()
}

pub(super) fn skip_line(object: &intake::Skipped) -> String {
    format!("{}/{} skipped: berth on one machine doesn't serve {}", object.kind.to_ascii_lowercase(), object.name, object.api_version)
}

pub(super) fn warning_line(warning: &Warning) -> String {
    format!("{}: {}", object_name(warning.kind, &warning.name), warning.remark)
}

/// What became of one resource: on standard output, or as an error.
pub(super) fn tell_change(change: &Change, out: &mut Output) -> std::io::Result<()> {
    let name = object_name(change.object.kind, &change.object.name);
    let word = match change.outcome {
        Outcome::Created => out.paint(Tone::Good, "created"),
        Outcome::Configured => out.paint(Tone::Good, "configured"),
        Outcome::Unchanged => "unchanged".to_owned(),
        Outcome::Refused => {
            let why = change.error.as_ref().map_or("", |error| error.message.as_str());
            tell(&format!("{name} is refused: {why}"));
            return Ok(());
        }
    };
    out.line(format!("{name} {word}"))
}

/// Waits until everything that was applied is ready, each object in its new generation.
async fn wait(results: &[Change], client: &Client, patience: Duration, quiet: bool, out: &mut Output) -> Result<(), Failure> {
    let mut waiting: HashMap<ResourceRef, (i64, String)> = results
        .iter()
        .filter(|change| change.outcome != Outcome::Refused && !change.object.kind.is_data())
        .map(|change| (change.object.clone(), (change.generation, "Pending".to_owned())))
        .collect();
    let waited = tokio::time::timeout(patience, async {
        for kind in Kind::ALL {
            if waiting.keys().any(|object| object.kind == kind) {
                wait_for_kind(kind, &mut waiting, client, quiet, out).await?;
            }
        }
        Ok::<_, Failure>(())
    });
    match waited.await {
        Ok(done) => done,
        Err(_) => {
            let still: Vec<_> = waiting.iter().map(|(o, (_, why))| format!("{} ({why})", object_name(o.kind, &o.name))).collect();
            let message = format!("not ready after {}: {}; `berth describe` says more", write_duration(patience), still.join(", "));
            Err(Failure::new(Exit::Failure, message))
        }
    }
}

async fn wait_for_kind(
    kind: Kind,
    waiting: &mut HashMap<ResourceRef, (i64, String)>,
    client: &Client,
    quiet: bool,
    out: &mut Output,
) -> Result<(), Failure> {
    let mut changes = client.watch(kind, None, None).await?;
    while waiting.keys().any(|object| object.kind == kind) {
        let event = changes.next().await?.ok_or(ClientError::Closed(None))?;
        let object = reference(&event.object);
        let Some((generation, why)) = waiting.get_mut(&object) else { continue };
        if event.kind == WatchKind::Deleted {
            return Err(Failure::new(Exit::NotFound, format!("{} was deleted meanwhile", object_name(kind, &object.name))));
        }
        if event.object.metadata().generation >= *generation && ready(&event.object) == "True" && is_alone(&event.object) {
            waiting.remove(&object);
            if !quiet {
                let word = out.paint(Tone::Good, "ready");
                out.line(format!("{} {word}", object_name(kind, &object.name)))?;
            }
        } else {
            *why = status(&event.object);
        }
    }
    Ok(())
}

/// Whether nothing of an older version answers any more, and there are just as many replicas as are wanted.
fn is_alone(resource: &Resource) -> bool {
    let (previous, counts) = match resource {
        Resource::Deployment(deployment) => (deployment.status.previous_replica_set.as_ref(), deployment.status.replicas),
        Resource::ReplicaSet(set) => (None, set.status.replicas),
        _ => return true,
    };
    previous.is_none() && counts.is_some_and(|counts| counts.current == counts.expected && counts.ready == counts.expected)
}

fn reference(resource: &Resource) -> ResourceRef {
    let key = resource.key();
    ResourceRef { kind: key.kind, namespace: key.namespace, name: key.name }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deployment(current: i32, ready: i32) -> Resource {
        serde_json::from_value(json!({
            "apiVersion": "runtime.wasmcloud.dev/v1alpha1", "kind": "WorkloadDeployment", "metadata": { "name": "web" },
            "spec": { "replicas": 0, "template": { "spec": {} } },
            "status": { "replicas": { "expected": 0, "current": current, "ready": ready, "unavailable": 0 } }
        }))
        .expect("it is a deployment")
    }

    #[test]
    fn a_deployment_with_more_replicas_than_wanted_is_waited_for() {
        assert!(!is_alone(&deployment(2, 2)));
        assert!(!is_alone(&deployment(1, 0)));
        assert!(is_alone(&deployment(0, 0)));
    }
}
