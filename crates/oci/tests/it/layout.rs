//! OCI image layout folders: whole, chosen from, and broken in every way.

use std::fs;

use berth_model::digest::Digest;
use berth_oci::{FetchError, LocalLimits};
use proptest::prelude::*;

use crate::folder::{Folder, MANIFEST, WASM, descriptor};

const OLD_WASM: &str = "application/vnd.module.wasm.content.layer.v1+wasm";

#[test]
fn a_component_is_read_whole_with_the_digest_of_its_layer() {
    let artifact = Folder::of(b"component").fetch(None).unwrap();
    assert_eq!((&artifact.bytes[..], artifact.digest), (&b"component"[..], Digest::of(b"component")));
}

#[test]
fn the_older_layer_type_is_accepted() {
    let mut folder = Folder::new();
    folder.add(None, &[(OLD_WASM, b"component")]);
    assert_eq!(&folder.fetch(None).unwrap().bytes[..], b"component");
}

#[test]
fn an_image_is_chosen_by_tag_and_by_digest() {
    let mut folder = Folder::new();
    folder.add(Some("v1"), &[(WASM, b"one")]);
    let second = folder.add(Some("v2"), &[(WASM, b"two")]);
    assert_eq!(&folder.fetch(Some("v1")).unwrap().bytes[..], b"one");
    assert_eq!(&folder.fetch(Some(second.as_str())).unwrap().bytes[..], b"two");
}

#[test]
fn several_images_without_a_choice_are_listed() {
    let mut folder = Folder::new();
    folder.add(Some("v1"), &[(WASM, b"one")]);
    folder.add(Some("v2"), &[(WASM, b"two")]);
    let error = folder.fetch(None).unwrap_err().to_string();
    assert!(error.contains("has several images: v1, v2; choose one as oci:PATH:NAME"), "{error}");
    let error = folder.fetch(Some("v3")).unwrap_err().to_string();
    assert!(error.contains("has no image v3; it has v1, v2"), "{error}");
}

#[test]
fn a_layout_without_images_says_so() {
    assert!(matches!(Folder::new().fetch(None), Err(FetchError::Empty { .. })));
}

#[test]
fn a_truncated_blob_is_refused_with_both_sizes() {
    let folder = Folder::of(b"component");
    let path = folder.blob_path(&Digest::of(b"component"));
    fs::write(&path, b"compo").unwrap();
    let error = folder.fetch(None).unwrap_err().to_string();
    assert!(error.contains("has 5 bytes and should have 9"), "{error}");
}

#[test]
fn a_blob_with_another_content_is_refused_with_its_digest() {
    let folder = Folder::of(b"component");
    fs::write(folder.blob_path(&Digest::of(b"component")), b"malicious").unwrap();
    let error = folder.fetch(None).unwrap_err();
    assert!(matches!(&error, FetchError::WrongDigest { actual, .. } if *actual == Digest::of(b"malicious")), "{error}");
}

#[test]
fn a_manifest_with_another_content_is_refused() {
    let mut folder = Folder::new();
    let digest = folder.add(None, &[(WASM, b"component")]);
    let manifest = fs::read_to_string(folder.blob_path(&digest)).unwrap();
    fs::write(folder.blob_path(&digest), manifest.replace("config.v0", "config.v9")).unwrap();
    assert!(matches!(folder.fetch(None), Err(FetchError::WrongDigest { .. })));
}

#[test]
fn a_missing_blob_is_named() {
    let folder = Folder::of(b"component");
    let digest = Digest::of(b"component");
    fs::remove_file(folder.blob_path(&digest)).unwrap();
    let error = folder.fetch(None).unwrap_err().to_string();
    assert!(error.contains(digest.hex()) && error.ends_with("does not exist"), "{error}");
}

#[test]
fn images_that_are_no_components_are_refused_with_their_layers() {
    let cases: [&[(&str, &[u8])]; 3] = [&[], &[("application/vnd.oci.image.layer.v1.tar+gzip", b"tar")], &[(WASM, b"one"), (WASM, b"two")]];
    for layers in cases {
        let mut folder = Folder::new();
        folder.add(None, layers);
        let error = folder.fetch(None).unwrap_err();
        assert!(matches!(&error, FetchError::NotAComponent { layers: found, .. } if found.len() == layers.len()), "{error}");
    }
}

#[test]
fn a_claimed_size_beyond_the_limit_is_refused_before_anything_is_read() {
    let mut folder = Folder::new();
    let layer = descriptor(WASM, &Digest::of(b"absent"), usize::MAX);
    folder.add_manifest(None, &format!(r#"{{"schemaVersion":2,"layers":[{layer}]}}"#));
    assert!(matches!(folder.fetch(None), Err(FetchError::TooLarge { actual_bytes: u64::MAX, .. })));
    let limits = LocalLimits { component_bytes: 8, ..LocalLimits::default() };
    assert!(matches!(Folder::of(b"component").fetch_within(limits, None), Err(FetchError::TooLarge { limit_bytes: 8, .. })));
}

#[test]
fn an_index_beyond_the_limit_is_refused() {
    let folder = Folder::of(b"component");
    fs::File::options().write(true).open(folder.path().join("index.json")).unwrap().set_len(1 << 40).unwrap();
    assert!(matches!(folder.fetch(None), Err(FetchError::TooLarge { .. })));
}

#[test]
fn a_file_is_no_layout() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let image = berth_model::image::ImageRef::OciLayout { path: file.path().to_owned(), reference: None };
    let error = crate::folder::fetch(LocalLimits::default(), &image).unwrap_err();
    assert!(matches!(error, FetchError::LayoutIsFile { .. }), "{error}");
}

#[test]
fn documents_of_other_kinds_are_refused_with_what_they_are() {
    let folder = Folder::of(b"component");
    folder.write("oci-layout", r#"{"imageLayoutVersion":"7.0.0"}"#);
    assert!(folder.fetch(None).unwrap_err().to_string().contains("imageLayoutVersion is \"7.0.0\""));

    let folder = Folder::of(b"component");
    folder.write("index.json", "not JSON");
    assert!(matches!(folder.fetch(None), Err(FetchError::Malformed { .. })));

    let folder = Folder::of(b"component");
    let index = fs::read_to_string(folder.path().join("index.json")).unwrap();
    folder.write("index.json", &index.replace(MANIFEST, "application/vnd.oci.image.index.v1+json"));
    assert!(folder.fetch(None).unwrap_err().to_string().contains("is of type application/vnd.oci.image.index.v1+json"));
}

#[cfg(unix)]
#[test]
fn a_link_out_of_the_layout_is_refused_and_one_within_is_followed() {
    use std::os::unix::fs::symlink;

    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("secret"), b"component").unwrap();
    let folder = Folder::of(b"component");
    let blob = folder.blob_path(&Digest::of(b"component"));

    fs::rename(&blob, folder.path().join("elsewhere")).unwrap();
    symlink("../../elsewhere", &blob).unwrap();
    assert!(folder.fetch(None).is_ok());

    fs::remove_file(&blob).unwrap();
    symlink(outside.path().join("secret"), &blob).unwrap();
    assert!(matches!(folder.fetch(None), Err(FetchError::Escapes { .. })));

    let folder = Folder::of(b"component");
    fs::rename(folder.path().join("blobs"), outside.path().join("blobs")).unwrap();
    symlink(outside.path().join("blobs"), folder.path().join("blobs")).unwrap();
    assert!(matches!(folder.fetch(None), Err(FetchError::Escapes { .. })));

    let folder = Folder::of(b"component");
    fs::remove_file(folder.path().join("index.json")).unwrap();
    symlink("/etc/passwd", folder.path().join("index.json")).unwrap();
    assert!(matches!(folder.fetch(None), Err(FetchError::Escapes { .. })));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_component_comes_back_byte_for_byte(component in proptest::collection::vec(any::<u8>(), 0..4096), name in "[a-z0-9._-]{1,20}") {
        let mut folder = Folder::new();
        folder.add(Some(&name), &[(WASM, &component)]);
        prop_assert_eq!(&folder.fetch(Some(&name)).unwrap().bytes[..], &component[..]);
    }

    #[test]
    fn any_changed_byte_of_any_blob_is_noticed(component in proptest::collection::vec(any::<u8>(), 1..256), at in any::<usize>(), flip in 1..=255_u8, which in any::<bool>()) {
        let mut folder = Folder::new();
        let manifest = folder.add(None, &[(WASM, &component)]);
        let path = folder.blob_path(&if which { manifest } else { Digest::of(&component) });
        let mut content = fs::read(&path).unwrap();
        let at = at % content.len();
        content[at] ^= flip;
        fs::write(&path, &content).unwrap();
        let noticed = matches!(folder.fetch(None), Err(FetchError::WrongDigest { .. }));
        prop_assert!(noticed);
    }

    #[test]
    fn no_index_whatever_makes_it_panic_or_find_another_component(content in any::<Vec<u8>>()) {
        let folder = Folder::of(b"component");
        fs::write(folder.path().join("index.json"), content).unwrap();
        prop_assert!(folder.fetch(None).is_err());
    }
}
