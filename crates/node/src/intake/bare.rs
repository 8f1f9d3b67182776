//! What a person gives without a manifest: a component's file, or an OCI layout folder, as a WorkloadDeployment.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use berth_host::intake::{HttpExport, outline};
use berth_model::image::ImageRef;
use berth_model::resource::{ComponentSpec, Deployment, DeploymentSpec, HostInterfaceSpec, ObjectMeta, Resource, Template, WorkloadSpec};

use super::{IntakeError, images};

/// A deployment's name leaves room in a DNS label for its workloads' suffixes: a template hash and a random part.
const MAX_NAME: usize = 40;

/// A deployment of the component in the file at `path`.
pub(super) fn component(path: &Path) -> Result<Resource, IntakeError> {
    let bytes = images::read_component(path).map_err(|source| IntakeError::Read { path: path.into(), source })?;
    // A file that is no component is deployed all the same, so that the error is the workload's and the rest keeps running.
    let http = outline(&bytes).ok().and_then(|found| found.http()).unwrap_or(HttpExport::P2);
    Ok(deployment(path, ImageRef::File(absolute(path)?), &[handler(http)]))
}

/// A deployment of the component in the OCI layout folder at `path`.
pub(super) fn layout(path: &Path) -> Result<Resource, IntakeError> {
    let image = ImageRef::OciLayout { path: absolute(path)?, reference: None };
    // What it exports is known when it has been read and verified; either version may be.
    Ok(deployment(path, image, &[handler(HttpExport::P2), handler(HttpExport::P3)]))
}

/// A deployment of an image in a registry, where `typed` names one: its registry has to be said, so that a path that isn't there stays a
/// path.
///
/// # Errors
/// When it does, and the reference isn't valid.
pub(super) fn image(typed: &Path) -> Result<Option<Resource>, IntakeError> {
    let Some((text, (registry, _))) = typed.to_str().and_then(|text| Some((text, text.split_once('/')?))) else { return Ok(None) };
    let is_file = [".wasm", ".yaml", ".yml", ".json"].iter().any(|ending| text.ends_with(ending));
    if is_file || !(registry == "localhost" || registry.trim_start_matches('.').contains(['.', ':'])) {
        return Ok(None);
    }
    let ImageRef::Registry(image) = ImageRef::parse(text)? else { return Ok(None) };
    let name = image.repository.clone();
    // What it exports is known when it has been pulled; either version may be.
    Ok(Some(deployment(Path::new(&name), ImageRef::Registry(image), &[handler(HttpExport::P2), handler(HttpExport::P3)])))
}

/// The path as it was given, made absolute. A symbolic link stays one: what it leads to is read anew each time it is given, and each time
/// the component starts. Only folders before a `..` are followed, as that says where it leads.
fn absolute(path: &Path) -> Result<PathBuf, IntakeError> {
    let unreadable = |source| IntakeError::Read { path: path.into(), source };
    let absolute = std::path::absolute(path).map_err(unreadable)?;
    let leads_up = absolute.components().any(|part| part == Component::ParentDir);
    match (absolute.parent(), absolute.file_name()) {
        (Some(parent), Some(name)) if leads_up => Ok(parent.canonicalize().map_err(unreadable)?.join(name)),
        (_, None) => path.canonicalize().map_err(unreadable),
        _ => Ok(absolute),
    }
}

fn handler(http: HttpExport) -> &'static str {
    match http {
        HttpExport::P2 => "incoming-handler",
        HttpExport::P3 => "handler",
    }
}

/// No domain is given, so that it answers whatever host a client asks for.
fn deployment(path: &Path, image: ImageRef, handlers: &[&str]) -> Resource {
    let name = name_from(path);
    let labels = BTreeMap::from([("app".to_owned(), name.clone())]);
    let spec = WorkloadSpec {
        components: vec![ComponentSpec { name: name.clone(), image: image.to_string(), ..ComponentSpec::default() }],
        host_interfaces: vec![HostInterfaceSpec {
            namespace: "wasi".into(),
            package: "http".into(),
            interfaces: handlers.iter().map(|h| (*h).to_owned()).collect(),
            ..HostInterfaceSpec::default()
        }],
        ..WorkloadSpec::default()
    };
    let mut template = Template { labels: labels.clone(), annotations: BTreeMap::new(), spec };
    images::settle_template(&mut template, Path::new("/"));
    let metadata = ObjectMeta { name, namespace: "default".into(), labels, ..ObjectMeta::default() };
    let spec = DeploymentSpec { template, ..DeploymentSpec::default() };
    Resource::Deployment(Deployment { metadata, spec, status: Default::default() })
}

/// A DNS label from a file's or folder's name, as it was typed: `Hello_World.wasm` is `hello-world`. `.` and `..` have the names of what
/// they are.
pub fn name_from(path: &Path) -> String {
    let typed = path.file_name().map(|_| path.to_owned());
    let named = typed.unwrap_or_else(|| path.canonicalize().unwrap_or_else(|_| path.into()));
    let stem = named.file_stem().map(|s| s.to_string_lossy().to_ascii_lowercase()).unwrap_or_default();
    let mut name = String::new();
    for c in stem.chars() {
        if c.is_ascii_alphanumeric() {
            name.push(c);
        } else if !name.is_empty() && !name.ends_with('-') {
            name.push('-');
        }
        if name.len() == MAX_NAME {
            break;
        }
    }
    let name = name.trim_end_matches('-');
    // A label begins with a letter, as Kubernetes asks of a Service of that name (RFC 1035).
    match name.bytes().next() {
        None => "component".into(),
        Some(first) if first.is_ascii_digit() => format!("c-{name}"),
        Some(_) => name.into(),
    }
}
