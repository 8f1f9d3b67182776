//! Images that are plain files.

use std::fs;
use std::path::Path;

use berth_model::digest::Digest;
use berth_model::image::ImageRef;
use berth_oci::{Artifact, FetchError, LocalLimits};

use crate::folder::{Folder, fetch};

fn fetch_file(path: &Path) -> Result<Artifact, FetchError> {
    fetch(LocalLimits::default(), &ImageRef::File(path.to_owned()))
}

#[test]
fn a_file_is_its_bytes_and_their_digest() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("hello.wasm");
    fs::write(&path, b"component").unwrap();
    let artifact = fetch_file(&path).unwrap();
    assert_eq!(artifact, Artifact { digest: Digest::of(b"component"), bytes: b"component".as_slice().into(), cached: false });
    fs::write(&path, b"rebuilt").unwrap();
    assert_eq!(fetch_file(&path).unwrap().digest, Digest::of(b"rebuilt"));
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("absent/hello.wasm");
    let error = fetch_file(&path).unwrap_err();
    assert_eq!(error.to_string(), format!("{} does not exist", path.display()));
}

#[test]
fn a_folder_is_read_as_a_layout_if_it_is_one_and_refused_if_not() {
    let folder = Folder::of(b"component");
    assert_eq!(&fetch_file(folder.path()).unwrap().bytes[..], b"component");
    let plain = tempfile::tempdir().unwrap();
    let error = fetch_file(plain.path()).unwrap_err();
    assert!(matches!(error, FetchError::NotALayout { .. }), "{error}");
    assert!(error.to_string().contains("without an `oci-layout` file"), "{error}");
}

#[test]
fn a_component_at_the_limit_is_read_and_one_byte_more_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("hello.wasm");
    let limits = LocalLimits { component_bytes: 9, ..LocalLimits::default() };
    let image = ImageRef::File(path.clone());
    fs::write(&path, b"component").unwrap();
    assert!(fetch(limits, &image).is_ok());
    fs::write(&path, b"components").unwrap();
    let error = fetch(limits, &image).unwrap_err();
    assert_eq!(error.to_string(), format!("{} has 10 bytes; at most 9 are read", path.display()));
}

#[test]
fn a_sparse_file_of_a_terabyte_takes_no_memory() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("huge.wasm");
    fs::File::create(&path).unwrap().set_len(1 << 40).unwrap();
    assert!(matches!(fetch_file(&path), Err(FetchError::TooLarge { actual_bytes, .. }) if actual_bytes == 1 << 40));
}

#[cfg(unix)]
#[test]
fn a_pipe_is_refused_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("pipe.wasm");
    assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
    assert!(matches!(fetch_file(&path), Err(FetchError::NotAFile { .. })));
}

#[test]
fn a_registry_reference_says_what_to_use_instead() {
    let image = ImageRef::parse("ghcr.io/acme/hello:1.2").unwrap();
    let error = fetch(LocalLimits::default(), &image).unwrap_err().to_string();
    assert!(error.starts_with("ghcr.io/acme/hello:1.2 is in a registry"), "{error}");
    assert!(error.contains("file://PATH") && error.contains("oci:PATH"), "{error}");
}

#[test]
fn an_artifact_that_nobody_resolved_says_where_it_should_be_listed() {
    let error = fetch(LocalLimits::default(), &ImageRef::Artifact("shop".to_owned())).unwrap_err().to_string();
    assert!(error.contains("artifact://shop") && error.contains("`artifacts`"), "{error}");
}
