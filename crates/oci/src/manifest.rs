//! OCI's documents, and the choices made from them: which manifest of an index, which layer of a manifest. Pure.
//!
//! Formats: OCI image specification 1.1 (image-layout.md, image-index.md, manifest.md). Unknown fields are ignored, as it demands.

use berth_model::digest::Digest;
use serde::Deserialize;

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// Docker's own, which registries give for container images: asked for to be able to say what an image is.
const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
const DOCKER_INDEX: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
/// What a registry is asked for, as an Accept header.
pub const ACCEPT: &str = "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json, \
    application/vnd.docker.distribution.manifest.v2+json, application/vnd.docker.distribution.manifest.list.v2+json";
/// The layer type of components, and the older one that is still found.
const COMPONENT_LAYERS: [&str; 2] = ["application/wasm", "application/vnd.module.wasm.content.layer.v1+wasm"];

/// What and how much a file of the layout holds.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    #[serde(default)]
    media_type: Option<String>,
    pub digest: Digest,
    pub size: u64,
    #[serde(default)]
    annotations: Option<Annotations>,
    #[serde(default)]
    platform: Option<Platform>,
}

/// What an image of an index runs on.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
struct Platform {
    #[serde(default)]
    architecture: String,
    #[serde(default)]
    os: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
struct Annotations {
    #[serde(rename = "org.opencontainers.image.ref.name", default)]
    ref_name: Option<String>,
}

impl Descriptor {
    fn name(&self) -> Option<&str> {
        self.annotations.as_ref()?.ref_name.as_deref()
    }

    fn architecture(&self) -> Option<&str> {
        Some(self.platform.as_ref()?.architecture.as_str())
    }

    /// What it runs on, for a person.
    fn platform_label(&self) -> String {
        self.platform.as_ref().map_or_else(|| self.digest.to_string(), |platform| format!("{}/{}", platform.os, platform.architecture))
    }

    /// The name a person chooses it by: the tag, else the digest.
    fn label(&self) -> String {
        self.name().map_or_else(|| self.digest.to_string(), str::to_owned)
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Layout {
    image_layout_version: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document<T> {
    schema_version: u32,
    #[serde(flatten)]
    body: T,
}

#[derive(Deserialize)]
struct Index {
    manifests: Vec<Descriptor>,
}

#[derive(Deserialize)]
struct Manifest {
    layers: Vec<Descriptor>,
}

/// Why no manifest of an index was chosen.
#[derive(Debug, PartialEq, Eq)]
pub enum NoChoice {
    /// The index lists none.
    Empty,
    /// None has the name or digest; these are there.
    NotFound(Vec<String>),
    /// Several would do.
    Ambiguous(Vec<String>),
    /// The one asked for is something else, such as an index of several platforms.
    NotAManifest(String),
}

/// A manifest or an index, as a registry gives either for one reference.
#[derive(Debug, PartialEq, Eq)]
pub enum Root {
    /// A manifest's layers.
    Manifest(Vec<Descriptor>),
    /// An index's images.
    Index(Vec<Descriptor>),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Either {
    #[serde(default)]
    media_type: Option<String>,
    #[serde(default)]
    layers: Option<Vec<Descriptor>>,
    #[serde(default)]
    manifests: Option<Vec<Descriptor>>,
}

/// Reads what a reference leads to. Its own media type says what it is; without one, what it has. One that has both is refused, as the
/// specification asks: two readers could take it for two different things.
pub fn root(content: &[u8]) -> Result<Root, String> {
    let Either { media_type, layers, manifests } = document(content)?;
    match (media_type.as_deref(), layers, manifests) {
        (_, Some(_), Some(_)) => Err("it has both layers and manifests".to_owned()),
        (None | Some(MANIFEST | DOCKER_MANIFEST), Some(layers), None) => Ok(Root::Manifest(layers)),
        (None | Some(INDEX | DOCKER_INDEX), None, Some(manifests)) => Ok(Root::Index(manifests)),
        (Some(media_type), _, _) if ![MANIFEST, DOCKER_MANIFEST, INDEX, DOCKER_INDEX].contains(&media_type) => {
            Err(format!("it is of type {media_type}"))
        }
        _ => Err("it has neither layers nor manifests".to_owned()),
    }
}

/// Why no image of an index of platforms was chosen. Both carry what there is.
#[derive(Debug, PartialEq, Eq)]
pub enum NoPlatform {
    /// None is for WebAssembly.
    Missing(Vec<String>),
    /// Several are.
    Ambiguous(Vec<String>),
}

/// The image of an index that is a component: the only image, or the only one whose architecture is `wasm`. What describes other
/// images (attestations) is none.
pub fn choose_platform(images: &[Descriptor]) -> Result<&Descriptor, NoPlatform> {
    let is_image = |image: &&Descriptor| {
        matches!(image.media_type.as_deref(), None | Some(MANIFEST | DOCKER_MANIFEST)) && image.architecture() != Some("unknown")
    };
    let candidates: Vec<_> = images.iter().filter(is_image).collect();
    if let [only] = candidates[..] {
        return Ok(only);
    }
    let wasm: Vec<_> = candidates.iter().copied().filter(|image| image.architecture() == Some("wasm")).collect();
    match wasm.split_first() {
        None => Err(NoPlatform::Missing(images.iter().map(Descriptor::platform_label).collect())),
        Some((first, others)) if others.iter().all(|other| other.digest == first.digest) => Ok(first),
        Some(_) => Err(NoPlatform::Ambiguous(wasm.iter().map(|image| image.digest.to_string()).collect())),
    }
}

/// What an image with layers of these types is, if it is something well known that isn't a component.
pub fn well_known(layers: &[String]) -> Option<&'static str> {
    let any = |start: &str| layers.iter().any(|layer| layer.starts_with(start));
    if any("application/vnd.oci.image.layer.") || any("application/vnd.docker.image.") {
        Some("a container image")
    } else if any("application/vnd.cncf.helm.") {
        Some("a Helm chart")
    } else {
        None
    }
}

/// Checks the content of an `oci-layout` file.
pub fn check_layout(content: &[u8]) -> Result<(), String> {
    let layout: Layout = parse(content)?;
    if layout.image_layout_version.starts_with("1.") {
        Ok(())
    } else {
        Err(format!("imageLayoutVersion is {:?}, and only 1.x is known", layout.image_layout_version))
    }
}

/// Reads an index: what images there are.
pub fn index(content: &[u8]) -> Result<Vec<Descriptor>, String> {
    document::<Index>(content).map(|index| index.manifests)
}

/// Reads a manifest: what layers the image has.
pub fn layers(content: &[u8]) -> Result<Vec<Descriptor>, String> {
    document::<Manifest>(content).map(|manifest| manifest.layers)
}

/// The image of an index that `reference` names by tag or digest, or the only one if there is no reference. One image under two
/// names is one image.
pub fn choose<'a>(images: &'a [Descriptor], reference: Option<&str>) -> Result<&'a Descriptor, NoChoice> {
    let matches = |image: &&Descriptor| reference.is_none_or(|wanted| image.name() == Some(wanted) || image.digest.as_str() == wanted);
    let found: Vec<_> = images.iter().filter(matches).collect();
    match found.split_first() {
        None if images.is_empty() => Err(NoChoice::Empty),
        None => Err(NoChoice::NotFound(images.iter().map(Descriptor::label).collect())),
        Some((first, others)) if others.iter().any(|other| other.digest != first.digest) => {
            // Of one name, only digests tell them apart.
            let label = |image: &&Descriptor| if reference.is_some() { image.digest.to_string() } else { image.label() };
            Err(NoChoice::Ambiguous(found.iter().map(label).collect()))
        }
        Some((image, _)) => match image.media_type.as_deref() {
            None | Some(MANIFEST) => Ok(image),
            Some(other) => Err(NoChoice::NotAManifest(other.to_owned())),
        },
    }
}

/// The layer that is the component: the only one, of a type that is known. Otherwise the types there are.
pub fn component(layers: &[Descriptor]) -> Result<&Descriptor, Vec<String>> {
    match layers {
        [layer] if layer.media_type.as_deref().is_some_and(|media_type| COMPONENT_LAYERS.contains(&media_type)) => Ok(layer),
        layers => {
            let media_type = |layer: &Descriptor| layer.media_type.clone().unwrap_or_else(|| "no media type".to_owned());
            Err(layers.iter().map(media_type).collect())
        }
    }
}

fn document<T: for<'a> Deserialize<'a>>(content: &[u8]) -> Result<T, String> {
    let document: Document<T> = parse(content)?;
    if document.schema_version == 2 {
        Ok(document.body)
    } else {
        Err(format!("schemaVersion is {}, and only 2 is known", document.schema_version))
    }
}

fn parse<T: for<'a> Deserialize<'a>>(content: &[u8]) -> Result<T, String> {
    serde_json::from_slice(content).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn image(name: Option<&str>, content: &str) -> Descriptor {
        Descriptor {
            media_type: Some(MANIFEST.to_owned()),
            digest: Digest::of(content.as_bytes()),
            size: 1,
            annotations: name.map(|name| Annotations { ref_name: Some(name.to_owned()) }),
            platform: None,
        }
    }

    fn layer(media_type: &str) -> Descriptor {
        Descriptor { media_type: Some(media_type.to_owned()), ..image(None, "layer") }
    }

    #[test]
    fn the_only_image_needs_no_name_and_one_of_several_does() {
        let one = [image(None, "a")];
        assert_eq!(choose(&one, None), Ok(&one[0]));
        let two = [image(Some("a"), "a"), image(None, "b")];
        assert_eq!(choose(&two, None), Err(NoChoice::Ambiguous(vec!["a".to_owned(), Digest::of(b"b").to_string()])));
        assert_eq!(choose(&two, Some("a")), Ok(&two[0]));
        assert_eq!(choose(&two, Some(Digest::of(b"b").as_str())), Ok(&two[1]));
        assert_eq!(choose(&two, Some("c")), Err(NoChoice::NotFound(vec!["a".to_owned(), Digest::of(b"b").to_string()])));
        assert_eq!(choose(&[], Some("c")), Err(NoChoice::Empty));
    }

    #[test]
    fn one_image_under_two_names_is_one_and_two_under_one_name_are_two() {
        let same = [image(Some("a"), "x"), image(Some("b"), "x")];
        assert_eq!(choose(&same, None), Ok(&same[0]));
        let clash = [image(Some("a"), "x"), image(Some("a"), "y")];
        let digests = vec![Digest::of(b"x").to_string(), Digest::of(b"y").to_string()];
        assert_eq!(choose(&clash, Some("a")), Err(NoChoice::Ambiguous(digests)));
    }

    #[test]
    fn an_index_of_platforms_is_no_manifest() {
        let index = [layer("application/vnd.oci.image.index.v1+json")];
        assert_eq!(choose(&index, None), Err(NoChoice::NotAManifest("application/vnd.oci.image.index.v1+json".to_owned())));
    }

    #[test]
    fn a_component_is_exactly_one_layer_of_a_known_type() {
        for media_type in COMPONENT_LAYERS {
            assert!(component(&[layer(media_type)]).is_ok());
            assert!(component(&[layer(media_type), layer(media_type)]).is_err());
        }
        assert_eq!(component(&[]), Err(vec![]));
        assert_eq!(component(&[layer("text/plain")]), Err(vec!["text/plain".to_owned()]));
    }

    fn on(os: &str, architecture: &str) -> Descriptor {
        let platform = Platform { os: os.to_owned(), architecture: architecture.to_owned() };
        Descriptor { platform: Some(platform), ..image(None, &format!("{os}/{architecture}")) }
    }

    #[test]
    fn of_an_index_of_platforms_the_one_for_wasm_is_taken() {
        let images = [on("linux", "amd64"), on("wasip2", "wasm"), on("unknown", "unknown")];
        assert_eq!(choose_platform(&images), Ok(&images[1]));
        // Whatever the only image says of itself, its layers decide.
        assert_eq!(choose_platform(&images[..1]), Ok(&images[0]));
        assert_eq!(choose_platform(&[on("linux", "amd64"), on("unknown", "unknown")]), Ok(&on("linux", "amd64")));
        let containers = [on("linux", "amd64"), on("linux", "arm64")];
        assert_eq!(choose_platform(&containers), Err(NoPlatform::Missing(vec!["linux/amd64".to_owned(), "linux/arm64".to_owned()])));
        assert!(matches!(choose_platform(&[on("wasip1", "wasm"), on("wasip2", "wasm")]), Err(NoPlatform::Ambiguous(_))));
        assert_eq!(choose_platform(&[]), Err(NoPlatform::Missing(vec![])));
    }

    #[test]
    fn a_document_is_a_manifest_or_an_index_and_never_both() {
        assert_eq!(root(br#"{"schemaVersion":2,"layers":[]}"#), Ok(Root::Manifest(vec![])));
        assert_eq!(root(br#"{"schemaVersion":2,"manifests":[]}"#), Ok(Root::Index(vec![])));
        for (text, problem) in [
            (r#"{"schemaVersion":2,"layers":[],"manifests":[]}"#, "both"),
            (r#"{"schemaVersion":2}"#, "neither"),
            (r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","layers":[]}"#, "neither"),
            (r#"{"schemaVersion":2,"mediaType":"text/plain","layers":[]}"#, "text/plain"),
        ] {
            let error = root(text.as_bytes()).unwrap_err();
            assert!(error.contains(problem), "{text}: {error}");
        }
    }

    #[test]
    fn what_is_no_component_is_called_by_its_name() {
        let types = |name: &str| vec![name.to_owned()];
        assert_eq!(well_known(&types("application/vnd.oci.image.layer.v1.tar+gzip")), Some("a container image"));
        assert_eq!(well_known(&types("application/vnd.docker.image.rootfs.diff.tar.gzip")), Some("a container image"));
        assert_eq!(well_known(&types("application/vnd.cncf.helm.chart.content.v1.tar+gzip")), Some("a Helm chart"));
        assert_eq!(well_known(&types("text/plain")), None);
    }

    #[test]
    fn other_versions_of_the_formats_are_refused_by_name() {
        assert!(check_layout(br#"{"imageLayoutVersion":"1.0.0"}"#).is_ok());
        assert!(check_layout(br#"{"imageLayoutVersion":"2.0.0"}"#).unwrap_err().contains("2.0.0"));
        assert!(index(br#"{"schemaVersion":1,"manifests":[]}"#).unwrap_err().contains("schemaVersion is 1"));
    }

    #[test]
    fn sizes_and_digests_that_cannot_be_are_refused() {
        for (digest, size) in
            [("sha512:00", "1"), ("../../etc/passwd", "1"), (Digest::of(b"").as_str(), "-1"), (Digest::of(b"").as_str(), "1e99")]
        {
            let text = format!(r#"{{"schemaVersion":2,"layers":[{{"digest":"{digest}","size":{size}}}]}}"#);
            assert!(layers(text.as_bytes()).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_content_makes_the_parsers_panic(content in any::<Vec<u8>>()) {
            let _ = (check_layout(&content), index(&content), layers(&content), root(&content));
        }

        #[test]
        fn no_json_of_the_right_names_makes_them_panic(content in r#"\{"schemaVersion":[12],"(manifests|layers)":[\[\]{}":,a-z0-9]{0,40}\}"#) {
            let _ = (index(content.as_bytes()), layers(content.as_bytes()), root(content.as_bytes()));
        }

        #[test]
        fn whatever_is_chosen_is_in_the_index_and_is_what_was_asked_for(
            names in proptest::collection::vec((proptest::option::of("[ab]"), "[xyz]"), 0..6),
            reference in proptest::option::of("[abc]"),
        ) {
            let images: Vec<_> = names.iter().map(|(name, content)| image(name.as_deref(), content)).collect();
            if let Ok(chosen) = choose(&images, reference.as_deref()) {
                prop_assert!(images.contains(chosen));
                prop_assert!(reference.is_none() || chosen.name() == reference.as_deref());
            }
        }
    }
}
