//! Images of a manifest: relative paths become absolute, and local files' contents show in the template.

use std::path::Path;

use berth_host::intake::MAX_COMPONENT_BYTES;
use berth_model::digest::Digest;
use berth_model::image::ImageRef;
use berth_model::resource::{Resource, Template, WorkloadSpec};

/// Annotation of a template that says what its local images held when it was applied. A file that was built again so makes a
/// new version of the deployment, which is rolled out, although its path is the same.
const CONTENT: &str = "berth.dev/images";

/// Makes the images of `resource` mean the same wherever it is read: paths are taken from `dir`, the manifest's folder.
pub(super) fn settle(resource: &mut Resource, dir: &Path) {
    match resource {
        Resource::Workload(workload) => absolute(&mut workload.spec, dir),
        Resource::ReplicaSet(set) => settle_template(&mut set.spec.template, dir),
        Resource::Deployment(deployment) => settle_template(&mut deployment.spec.template, dir),
        Resource::Artifact(artifact) => absolute_image(&mut artifact.spec.image, dir),
        Resource::Host(_) | Resource::ConfigMap(_) => {}
    }
}

/// As [`settle`], for the template of a deployment that Berth makes itself.
pub(super) fn settle_template(template: &mut Template, dir: &Path) {
    absolute(&mut template.spec, dir);
    if let Some(content) = content(&template.spec) {
        template.annotations.insert(CONTENT.into(), content);
    }
}

fn absolute(spec: &mut WorkloadSpec, dir: &Path) {
    for image in images_mut(spec) {
        absolute_image(image, dir);
    }
}

/// An image that isn't valid stays as it is: admission says what is wrong with it, with its field.
fn absolute_image(image: &mut String, dir: &Path) {
    if let Ok(parsed @ (ImageRef::File(_) | ImageRef::OciLayout { .. })) = ImageRef::parse(image) {
        *image = without_dots(parsed.relative_to(dir)).to_string();
    }
}

/// `/a/./b` is `/a/b`. `..` stays: behind a symbolic link it means something else.
fn without_dots(image: ImageRef) -> ImageRef {
    let tidy = |path: std::path::PathBuf| path.components().collect();
    match image {
        ImageRef::File(path) => ImageRef::File(tidy(path)),
        ImageRef::OciLayout { path, reference } => ImageRef::OciLayout { path: tidy(path), reference },
        other => other,
    }
}

fn images_mut(spec: &mut WorkloadSpec) -> impl Iterator<Item = &mut String> {
    spec.components.iter_mut().map(|c| &mut c.image).chain(spec.service.iter_mut().map(|s| &mut s.image))
}

/// A short digest over what the local images hold; `None` when none is local or none can be read.
fn content(spec: &WorkloadSpec) -> Option<String> {
    let images = spec.components.iter().map(|c| &c.image).chain(spec.service.iter().map(|s| &s.image));
    let files = images.filter_map(|image| match ImageRef::parse(image) {
        Ok(ImageRef::File(path)) => Some(path),
        Ok(ImageRef::OciLayout { path, .. }) => Some(path.join("index.json")),
        _ => None,
    });
    let digests: String = files.filter_map(|file| read_component(&file).ok()).map(|bytes| Digest::of(&bytes).to_string()).collect();
    (!digests.is_empty()).then(|| Digest::of(digests.as_bytes()).hex()[..16].to_owned())
}

/// The bytes of a regular file, of at most what a host takes for a component. Looks before it opens: opening a pipe would wait for a
/// writer, and a device may never end.
pub(super) fn read_component(path: &Path) -> std::io::Result<Vec<u8>> {
    let meta = path.metadata()?;
    if !meta.is_file() {
        return Err(std::io::Error::other("it isn't a regular file"));
    }
    if meta.len() > MAX_COMPONENT_BYTES as u64 {
        return Err(std::io::Error::other(format!("it has {} bytes, and a component at most {MAX_COMPONENT_BYTES}", meta.len())));
    }
    std::fs::read(path)
}
