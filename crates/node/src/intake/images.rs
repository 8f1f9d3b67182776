//! Images of a manifest: relative paths become absolute, and local files' contents show in an annotation, so that a file that was built
//! again takes effect when it is applied, although its path is the same.

use std::collections::BTreeMap;
use std::path::Path;

use berth_host::intake::MAX_COMPONENT_BYTES;
use berth_model::digest::Digest;
use berth_model::image::ImageRef;
use berth_model::resource::{Resource, Template, WorkloadSpec};
use berth_model::validate::Remark;
use berth_operator::store::IMAGES_ANNOTATION;

/// Makes the images of `resource` mean the same wherever it is read: paths are taken from `dir`, the manifest's folder.
pub(super) fn settle(resource: &mut Resource, dir: &Path) {
    match resource {
        Resource::Workload(workload) => {
            absolute(&mut workload.spec, dir);
            note(&mut workload.metadata.annotations, content(&workload.spec));
        }
        Resource::ReplicaSet(set) => settle_template(&mut set.spec.template, dir),
        Resource::Deployment(deployment) => settle_template(&mut deployment.spec.template, dir),
        Resource::Artifact(artifact) => {
            absolute_image(&mut artifact.spec.image, dir);
            note(&mut artifact.metadata.annotations, content_of([&artifact.spec.image]));
        }
        Resource::Host(_) | Resource::ConfigMap(_) | Resource::Secret(_) => {}
    }
}

/// As [`settle`], for the template of a deployment that Berth makes itself.
pub(super) fn settle_template(template: &mut Template, dir: &Path) {
    absolute(&mut template.spec, dir);
    note(&mut template.annotations, content(&template.spec));
}

/// Nothing is noted of images that aren't local: an annotation that was applied before doesn't stay then, either.
fn note(annotations: &mut BTreeMap<String, String>, content: Option<String>) {
    annotations.extend(content.map(|content| (IMAGES_ANNOTATION.to_owned(), content)));
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
    content_of(spec.components.iter().map(|c| &c.image).chain(spec.service.iter().map(|s| &s.image)))
}

fn content_of<'a>(images: impl IntoIterator<Item = &'a String>) -> Option<String> {
    let files = images.into_iter().filter_map(|image| match ImageRef::parse(image) {
        Ok(ImageRef::File(path)) => Some(path),
        Ok(ImageRef::OciLayout { path, .. }) => Some(path.join("index.json")),
        _ => None,
    });
    let digests: String = files.filter_map(|file| read_component(&file).ok()).map(|bytes| Digest::of(&bytes).to_string()).collect();
    (!digests.is_empty()).then(|| Digest::of(digests.as_bytes()).hex()[..16].to_owned())
}

/// Images that lead to files which aren't there, or can't be read. That is no fault of the manifest: they may be built later.
pub(super) fn unreadable(resource: &Resource) -> Vec<Remark> {
    let unreadable = |(field, image): (String, &str)| {
        let file = match ImageRef::parse(image).ok()? {
            ImageRef::File(path) => path,
            ImageRef::OciLayout { path, .. } => path.join("index.json"),
            ImageRef::Registry(_) | ImageRef::Artifact(_) => return None,
        };
        let error = std::fs::metadata(&file).err()?;
        let message = format!("{} can't be read: {error}; what needs it starts when it is there", file.display());
        Some(Remark { field, message })
    };
    resource.images().into_iter().filter_map(unreadable).collect()
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
