//! `berth apply`.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use berth_node::api::{Change, Client, ClientError, Outcome, ResourceRef, WatchKind};
use berth_node::intake::{self, Input, Intake};
use berth_node::model::resource::{Kind, Resource};
use serde_json::json;

use super::{is_json, tell};
use crate::args::Apply;
use crate::exit::{Exit, Failure};
use crate::output::{Output, Tone, object_name, ready, status};

pub(super) async fn run(args: &Apply, client: &Client, out: &mut Output) -> Result<Exit, Failure> {
    let Intake { resources, skipped } = intake::read(&manifests(&args.files), &mut std::io::stdin())?;
    if !is_json(args.output) {
        for object in &skipped {
            out.line(skip_line(object))?;
        }
    }
    let results = client.apply(resources).await?.results;
    if is_json(args.output) {
        let skipped: Vec<_> = skipped.iter().map(|s| json!({"apiVersion": s.api_version, "kind": s.kind, "name": s.name})).collect();
        out.json(&json!({"results": results, "skipped": skipped}))?;
    } else {
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
        .filter(|change| change.outcome != Outcome::Refused && change.object.kind != Kind::ConfigMap)
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
            let message = format!("not ready after {patience:?}: {}; `berth describe` says more", still.join(", "));
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

/// Whether nothing of an older version answers any more.
fn is_alone(resource: &Resource) -> bool {
    !matches!(resource, Resource::Deployment(deployment) if deployment.status.previous_replica_set.is_some())
}

fn reference(resource: &Resource) -> ResourceRef {
    let key = resource.key();
    ResourceRef { kind: key.kind, namespace: key.namespace, name: key.name }
}
